"""One training step and one answer of published sizes on this machine, and the memory that they take beside a plan.

``python benchmarks/real_size.py --size 3b`` builds Qwen2.5-VL-3B and SAM ViT-B with random weights from settings,
nothing is downloaded; ``7b`` is LLaVA v1 7B and SAM ViT-H. Frozen weights are in bfloat16; adapters, word embeddings
and mask head are trained in float32. Blocks are computed again in the backward pass. Two steps are taken, since the
states of the optimiser exist from the first one on. ``--fixed_rows`` leaves word embeddings and output layer frozen.

What ``lasagna plan`` says is compared with the free memory first: a training that does not fit is not built, and the
result says so. The process may not take more than was free, and ends if other programs take the rest. ``--out`` files
the result in a JSON, beside those of other sizes; ``docs/results.py`` puts them into ``docs/memory.md``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import torch
from measure import in_use, peak, reset
from plan import RETURNED
from real_models import NAMES, build, make_training

from lasagna.core.batch import Batch
from lasagna.errors import LasagnaError
from lasagna.modules.tiny.weights import packaged_words
from lasagna.tasks import AssistantTraining
from lasagna.tasks.callbacks.run_facts import versions, write_json
from lasagna.tasks.planning.batches import drawn_batch
from lasagna.tasks.planning.step import PARTS, cost_of, outline, parameters_of
from lasagna.tasks.training.float32_copies import float32_weights

DEVICE = torch.device("cpu")
RESERVE = 800 * 2**20
"""Bytes that are left to other programs."""
PATIENCE = 0.25
"""Seconds between two looks at the free memory."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    # what is filed first stays if the process is killed
    file(options, {"fits": False, "said": "the process was killed while it was measured"})
    done = Event()
    Thread(target=watch, args=(options, done), daemon=True).start()
    found = measured(options)
    done.set()
    file(options, found)


def file(options: argparse.Namespace, found: dict[str, Any]) -> None:
    """Print a result, and put it into the JSON in the place of an earlier one of the same case."""
    found = {"case": NAMES[options.size] + (", word embeddings frozen" if options.fixed_rows else ""), **found}
    print(json.dumps(found), flush=True)
    if options.out is not None:
        content = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {"rows": []}
        rows = [row for row in content["rows"] if row["case"] != found["case"]]
        facts = {"versions": versions(), "cores": os.cpu_count(), "threads": options.threads}
        write_json(options.out, facts | {"rows": [*rows, found]})


def watch(options: argparse.Namespace, done: Event) -> None:
    """End the process before the machine is out of memory."""
    while not done.wait(PATIENCE):
        if free() < RESERVE / 2:
            file(options, {"fits": False, "said": "ended, since other programs took the rest of the memory"})
            os._exit(1)


def free() -> int:
    """Return the bytes that programs may still take, as Linux estimates them."""
    return _status("/proc/meminfo", "MemAvailable")


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Plan, and measure what fits.

    Returns:
        Plain numbers in GiB, seconds and counts, and what was said where something did not fit.
    """
    warnings.simplefilter("ignore")
    torch.set_num_threads(options.threads)
    found: dict[str, Any] = {"fits": False, "free_gib": _gib(free())}
    with tempfile.TemporaryDirectory() as folder:
        training = make_training(options.size, Path(folder), rows=not options.fixed_rows)
        with stage("plan", found):
            batch = _planned(training, options.listed, found)
        gc.collect()
        room = free() - RESERVE
        if found["planned_gib"] > _gib(room):
            return found | {"said": f"planned {found['planned_gib']} GiB of {_gib(room)} that are free"}
        own = _status("/proc/self/status", "VmData")
        resource.setrlimit(resource.RLIMIT_DATA, (room + own, resource.RLIM_INFINITY))
        try:
            _measure(training, batch, options, found)
        except (MemoryError, RuntimeError, LasagnaError) as error:
            if not isinstance(error, MemoryError) and "memory" not in str(error):
                raise
            return found | {"said": str(error).splitlines()[0][:200]}
    return found | {"fits": True}


def _planned(training: AssistantTraining, names: int, found: dict[str, Any]) -> Batch:
    outlined = outline(training, "32-true")
    assistant = outlined.training.assistant
    batch, listed = drawn_batch(assistant.processors, 1, names, assistant.vision_encoder.spec.image_size)
    counts = [parameters_of(getattr(assistant, part)) for part in (*PARTS, "prompt_projection")]
    held, trained = (sum(numbers) for numbers in zip(*counts, strict=True))
    cost = cost_of(outlined, batch)
    found |= {
        "million_parameters": round(held / 1e6),
        "million_trained": round(trained / 1e6, 1),
        "listed": listed,
        "tokens": batch.input_ids.numel(),
        "masks": len(batch.mask_rows),
        "tflop": round((cost.flops or 0) / 1e12, 2),
        "planned_gib": _gib(cost.peak),
        "planned": {name: _gib(getattr(cost, name)) for name in ("weights", "gradients", "optimiser", "activations")},
    }
    return batch


def _measure(training: AssistantTraining, batch: Batch, options: argparse.Namespace, found: dict[str, Any]) -> None:
    before = in_use(DEVICE)
    reset(DEVICE)
    with stage("build", found, before):
        torch.manual_seed(0)
        build(training, DEVICE)
    optimiser = training.optimiser.build(training.factors, training.assistant.named_parameters())
    for number in (1, 2):
        with stage(f"step {number}", found, before):
            loss = training.loss(training.assistant(batch), batch)["loss"]
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        found.setdefault("losses", []).append(round(float(loss), 3))
    found["measured_gib"] = round(found["gib"]["step 2"], 2)
    found["planned / measured"] = round(found["planned_gib"] / found["measured_gib"], 2)
    trained = float32_weights([optimiser], training)
    found["trained_in"] = sorted({str(value.dtype).removeprefix("torch.") for value in trained.values()})
    found["finite"] = all(bool(value.isfinite().all()) for value in trained.values())
    del loss, optimiser, trained
    for weight in training.parameters():
        weight.grad = None
    gc.collect()
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    words = [word for word in packaged_words() if word.isalpha() and len(word) > 2][: options.names]
    with stage("answer", found, before):
        answer = training.assistant.answer(image, words)
    found["answer_gib"] = round(found["gib"]["answer"], 2)
    found["answer"] = {"names": len(answer.entries), "present": sum(entry.present for entry in answer.entries)}


@contextmanager
def stage(name: str, found: dict[str, Any], before: float | None = None) -> Iterator[None]:
    """Time a stage, say that it begins and ends, and note the peak of the memory since it began."""
    print(f"{time.strftime('%H:%M:%S')} {name} ...", file=sys.stderr, flush=True)
    if before is not None:
        reset(DEVICE)
    wall, own = time.perf_counter(), time.process_time()
    yield
    seconds = {"wall": round(time.perf_counter() - wall, 2), "processor": round(time.process_time() - own, 2)}
    found.setdefault("seconds", {})[name] = seconds
    if before is not None:
        found.setdefault("gib", {})[name] = round((peak(DEVICE) - before) / 1024, 3)
    print(f"{time.strftime('%H:%M:%S')} {name}: {json.dumps(found)}", file=sys.stderr, flush=True)


def _status(path: str, field: str) -> int:
    """Return a number of bytes of the kernel."""
    fields = dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    return int(fields[field].split()[0]) * 1024


def _gib(size: float) -> float:
    return round(size / 2**30, 2)


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=NAMES, default="tiny")
    parser.add_argument("--listed", type=int, default=24, help="names of the training's list, half of them present")
    parser.add_argument("--names", type=int, default=80, help="names of the answer")
    parser.add_argument("--fixed_rows", action="store_true", help="train neither word embeddings nor output layer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args(argv)


if __name__ == "__main__":
    if not RETURNED.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | RETURNED)
    main()
