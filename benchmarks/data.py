"""Samples per second from shards to batches, compared with only decoding the JPEG in the same run.

Two paths: *SAM and CLIP*, 640 x 480 photographs of 150 classes prepared for SAM (1024 pixels) and for CLIP (224), as
the original was measured, with 10 and with 60 classes present; *small*, 96 pixels for the tiny parts. The measured work
is that of a data worker: read the shard, decode image and label map, make the dialogue, apply strategies, tokenise,
process the image for both inputs, prepare masks, collate. ``finish_ms`` is the rest of the work on a sample, done on
the device of the model and here on one CPU core: normalising and padding both inputs, and fitting the masks into the
encoder's input.

``python benchmarks/data.py`` measures in this process and with ``--workers`` processes; ``--results`` saves the
numbers as ``docs/results/data.json``. The original took 25 to 32 ms of wall time for a sample without collating it, and
12 and 65 ms to collate two samples of 10 and of 60 classes (two cores, measured elsewhere).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from models import SIZES, make_assistant
from PIL import Image

from lasagna.core.batch import Batch
from lasagna.core.processors import Processors
from lasagna.core.record import Manifest, Record
from lasagna.datamodules import (
    ClassSampling,
    NegativeInjection,
    OrderRandomization,
    ShardDataModule,
    Source,
    collate,
    write_shards,
)
from lasagna.datamodules.shards.reader import read_shard
from lasagna.datamodules.streaming.sample import SampleMaker
from lasagna.datamodules.streaming.skipped import RecordCounts
from lasagna.modules import Assistant, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.modules.tiny.weights import packaged_words
from lasagna.tasks import Semantic
from lasagna.tasks.callbacks.run_facts import versions, write_json

RESULTS = Path(__file__).resolve().parents[1] / "docs" / "results" / "data.json"
NAMES = (*packaged_words()[10:90], *(f"thing {rank}" for rank in range(70)))
MANIFEST = Manifest("made", NAMES, labels=dict(enumerate(NAMES)), void=(255,))
SECONDS, SAMPLES = 4.0, 1_000_000
"""How long a stream is read, and how many samples it has: more than can be read in that time."""
STRATEGIES = [ClassSampling(limit=60), NegativeInjection(), OrderRandomization()]


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    torch.set_num_threads(1)
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        large = make_assistant(SIZES["tiny"], Path(folder)).processors
        small = _tiny().processors
        cases = (
            ("SAM and CLIP, 10 classes", large, (480, 640), 10),
            ("SAM and CLIP, 60 classes", large, (480, 640), 60),
            ("small, 5 classes", small, (96, 96), 5),
        )
        for rank, (name, processors, size, present) in enumerate(cases):
            shards = Path(folder) / f"shards-{rank}"
            write_shards(
                _records(options.records, size, present), shards, MANIFEST, records_per_shard=options.records // 2
            )
            found[name] = measure(shards, processors, options)
            print(f"{name:28s}" + ", ".join(f"{what} {value:.2f}" for what, value in found[name].items()))
    if options.results:
        write_json(
            RESULTS, {"cores": os.cpu_count(), "workers": options.workers, "versions": versions(), "data": found}
        )


def measure(folder: Path, processors: Processors, options: argparse.Namespace) -> dict[str, float]:
    """Return milliseconds per sample of each step, and their ratio to bare decoding.

    Args:
        folder: The shards.
        processors: Of the assistant.
        options: Options of the command line.
    """
    source = Source(str(folder), Semantic())
    raw = [sample for shard in source.shard_set.shards for sample in read_shard(source.shard_set, shard)]
    maker = SampleMaker(source, STRATEGIES, processors, 0, RecordCounts([source.label], 0))
    maker(raw[0])
    decode = _milliseconds(lambda: [np.asarray(Image.open(BytesIO(sample["jpg"])).convert("RGB")) for sample in raw])
    samples = [maker(sample) for sample in raw]
    made = _milliseconds(lambda: [maker(sample) for sample in raw])
    pairs = [[one, other] for one, other in zip(samples[::2], samples[1::2], strict=True) if one and other]
    collated = _milliseconds(lambda: [collate(pair, processors) for pair in pairs])
    batches = [collate(pair, processors) for pair in pairs]
    finished = _milliseconds(lambda: [_finish(batch) for batch in batches])
    alone, shared = (_stream(source, processors, workers) for workers in (1, options.workers))
    return {
        "decode_ms": decode / len(raw),
        "sample_ms": made / len(raw),
        "collate_two_ms": collated / len(pairs),
        "finish_ms": finished / len(samples),
        "one_worker_per_second": alone,
        f"{options.workers}_workers_per_second": shared,
        "share_of_bare_decoding": decode / made,
    }


def _stream(source: Source, processors: Processors, workers: int) -> float:
    data = ShardDataModule(
        train=[source],
        strategies=STRATEGIES,
        batch_size=2,
        num_workers=workers,
        samples_per_epoch=SAMPLES,
    )
    data.setup("fit")
    data.connect(processors)
    loader = iter(data.train_dataloader())
    next(loader)
    began = ended = time.perf_counter()
    seen = 0
    # shutting workers down takes longer than making many small samples, so the clock stops at the last batch
    while ended - began < SECONDS:
        seen += len(next(loader).geometries)
        ended = time.perf_counter()
    return seen / (ended - began)


def _finish(batch: Batch) -> None:
    fresh = batch.to("cpu")  # a batch keeps what it has computed once
    assert fresh.pixels.is_floating_point() and fresh.mask_targets.dtype == torch.uint8
    assert fresh.tower_pixels is None or fresh.tower_pixels.is_floating_point()


def _milliseconds(call: object) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        call()  # type: ignore[operator]
        times.append(time.perf_counter() - began)
    return 1000 * min(times)


def _records(count: int, size: tuple[int, int], present: int) -> list[Record]:
    rng = np.random.default_rng(0)
    records = []
    for rank in range(count):
        rough = rng.integers(0, 256, (size[0] // 16, size[1] // 16, 3), dtype=np.uint8)
        image = Image.fromarray(rough).resize(size[::-1], Image.Resampling.BICUBIC)
        buffer, labels = BytesIO(), BytesIO()
        image.save(buffer, "JPEG", quality=90)
        chosen = rng.choice(150, present, replace=False)
        cells = rng.choice(chosen, (size[0] // 16, size[1] // 16)).astype(np.uint8)
        Image.fromarray(np.repeat(np.repeat(cells, 16, 0), 16, 1)).save(labels, "PNG")
        records.append(Record(f"r{rank}", buffer.getvalue(), size, MANIFEST, label_bytes=labels.getvalue()))
    return records


def _tiny() -> Assistant:
    parts = TinyVisionEncoder(weights="random"), TinyLanguageModel(weights="random", projector="random")
    assistant = Assistant(*parts, TinyMaskHead(weights="random"), prompt_format="tiny")
    assistant.configure_model()
    return assistant


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
