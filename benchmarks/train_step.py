"""One training step (forward and backward) against that of the original code, at the same sizes and shapes.

``python benchmarks/train_step.py`` runs the tiny sizes, ``--size realistic`` those of SAM ViT-B and a language model
of 143 million parameters, ``--size 7b --device cuda --dtype bfloat16 --lora --recompute --peak TFLOPS`` those of the
released model. The original's figures, in
``benchmarks/original.json``, were taken on two cores with two threads, so that ratios mean something on such a machine.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from measure import Cost, cost
from models import SIZES, make_assistant, stored_bytes
from torch.utils.flop_counter import FlopCounterMode

from lasagna.core.batch import Batch, Sample
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.modules import Assistant, SegmentationLoss
from lasagna.modules.llava.text_processor import LlavaTextProcessor
from lasagna.modules.vision_encoders.feature_cache import FeatureCache

CASES = {"two_image": ([0, 1, 1], 325, [3, 1, 1], 30), "ade80": ([0, 1], 784, [8, 8], 240)}
"""Name to image of each row, length of the rows, masks of each row, and supervised tokens at the end of each row."""

IMAGES = [(480, 640), (500, 375)]


def main(argv: list[str] | None = None) -> None:
    """Measure each case in a process of its own, and print."""
    options = _options(argv)
    for case in options.cases:
        for on_disk in (False, True):
            # memory that an earlier case has freed would count as in use before a later case
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                print(pool.submit(measured, options, case, on_disk).result(), flush=True)


def measured(options: argparse.Namespace, case: str, on_disk: bool) -> str:
    """Measure a case and return the line about it.

    Args:
        options: The options of the command.
        case: Name of the case.
        on_disk: Whether the vision encoder's features are read from disk.
    """
    torch.set_num_threads(options.threads)
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    original = json.loads((Path(__file__).parent / "original.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        _warn(stored_bytes(SIZES[options.size], dtype), Path(folder))
        torch.manual_seed(0)
        assistant = make_assistant(SIZES[options.size], Path(folder), options.lora, options.recompute, options.dtype)
        assistant.to(device, dtype).train()
        batch = make_batch(case, assistant, device)
        if on_disk:
            assistant.feature_cache = FeatureCache(str(Path(folder) / "features"))
            assistant.encode(batch.pixels, batch.tower_pixels)
        step = _step(assistant, batch)
        found = cost(step, options.runs, device)
        name = f"{options.size} {case}{', features on disk' if on_disk else ''}"
        line = _line(name, found, original[options.size].get(case), batch)
        return line + ("" if options.peak is None else _share(step, found, options.peak))


def _warn(size: int, folder: Path) -> None:
    """Print the disk space that large weights need, and stop if the disk has less."""
    needed, free = size / 1e9, shutil.disk_usage(folder).free / 1e9
    if needed > free:
        raise SystemExit(
            f"weights of {needed:.1f} GB go to {folder}, which has {free:.1f} GB; set TMPDIR to another disk"
        )
    if needed > 1:
        print(
            f"writes weights of {needed:.1f} GB to {folder} (TMPDIR), and takes twice as much memory as it reads them"
        )


def make_batch(case: str, assistant: Assistant, device: torch.device) -> Batch:
    """Make a batch of random images, tokens and masks in the shapes of a case."""
    images, length, counts, supervised = CASES[case]
    generator = torch.Generator().manual_seed(0)
    processors = assistant.processors
    text = processors.text
    assert isinstance(text, LlavaTextProcessor)
    pictures = [np.random.default_rng(rank).integers(0, 256, (*size, 3), np.uint8) for rank, size in enumerate(IMAGES)]
    ids = torch.randint(3, 900, (len(images), length), generator=generator)
    ids[:, 10 : 10 + text.image_tokens] = text.image_token_id
    labels = ids.masked_fill(torch.arange(length) < length - supervised, -100)
    places = [(row, length - supervised + 2 * rank) for row, count in enumerate(counts) for rank in range(count)]
    masks = [
        [Entry("sky", True, RLEMask.from_array(_box(IMAGES[image], rank))) for rank in range(count)]
        for image, count in zip(images, counts, strict=True)
    ]
    dialogues = [Dialogue("categories", ("sky",), tuple(own)) for own in masks]
    tower = processors.tower
    assert tower is not None
    return Batch(
        pixels=torch.stack([processors.image.pixels(picture) for picture in pictures]),
        geometries=[processors.image.geometry(size) for size in IMAGES],
        input_ids=ids,
        labels=labels,
        lengths=torch.full((len(images),), length),
        image_index=torch.tensor(images),
        mask_targets=torch.zeros(len(places), 1024, 1024, dtype=torch.uint8),
        mask_rows=torch.tensor([row for row, _ in places]),
        mask_positions=torch.tensor([place for _, place in places]),
        samples=[Sample("x", "x", image, dialogue) for image, dialogue in zip(images, dialogues, strict=True)],
        images=[],
        tower_pixels=torch.stack([tower.pixels(picture) for picture in pictures]),
    ).to(device)


def _box(size: tuple[int, int], rank: int) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[10 * rank : 10 * rank + 120, 5 * rank : 5 * rank + 200] = 1
    return mask


def _step(assistant: Assistant, batch: Batch) -> Callable[[], None]:
    loss = SegmentationLoss(resolution="image", ignored="background")

    def step() -> None:
        assistant.zero_grad()
        loss(assistant(batch), batch)["loss"].backward()

    return step


def _line(name: str, found: Cost, original: dict[str, float] | None, batch: Batch) -> str:
    tokens = batch.input_ids.numel() / found.seconds
    line = f"{name:32s} {found.seconds:8.3f} s {found.added_mib:8.0f} MiB added {tokens:8.0f} tokens/s"
    if original is None:
        return line
    times, memory = original["seconds"] / found.seconds, found.added_mib / original["added_mib"]
    return f"{line}; {times:.1f} times as fast as the original, with {memory:.2f} of its memory"


def _share(step: Callable[[], None], found: Cost, peak: float) -> str:
    """Return the share of a device's peak that a step reaches; recomputed operations count twice."""
    with FlopCounterMode(display=False) as counter:
        step()
    done = counter.get_total_flops() / found.seconds / 1e12
    return f"; {done:.2f} TFLOPS, {done / peak:.1%} of the peak"


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--cases", choices=CASES, nargs="+", default=list(CASES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument(
        "--peak", type=float, help="TFLOPS of the device in --dtype, to print the share that is reached"
    )
    parser.add_argument("--lora", action="store_true", help="train adapters, as the original does")
    parser.add_argument("--recompute", action="store_true", help="recompute blocks in the backward pass to save memory")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
