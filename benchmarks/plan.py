"""What `lasagna plan` computes beside the memory that real training steps take on the CPU.

``python benchmarks/plan.py`` builds each case with random weights in a process of its own, takes three steps and
compares the growth of the process with the planned peak. ``--results`` files the table in ``docs/how_to/plan.md``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import in_use, peak, reset

from lasagna.core.batch import Batch
from lasagna.modules import (
    Assistant,
    CausalLanguageModel,
    LoRA,
    SamMaskHead,
    SamVisionEncoder,
    TinyLanguageModel,
    TinyMaskHead,
    TinyVisionEncoder,
)
from lasagna.tasks import AssistantTraining
from lasagna.tasks.planning.batches import drawn_batch
from lasagna.tasks.planning.step import cost_of, outline, precision_plugin

PAGE = Path(__file__).parent.parent / "docs" / "how_to" / "plan.md"
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
"""Settings of glibc with which memory that is freed goes back at once: the process is as large as its tensors."""
DEVICE = torch.device("cpu")
LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 512,
    "intermediate_size": 1536,
    "num_hidden_layers": 12,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "vocab_size": 8192,
}


def tiny() -> AssistantTraining:
    """The default assistant."""
    adapter = LoRA(rank=16, alpha=32.0)
    return AssistantTraining(Assistant(TinyVisionEncoder(), TinyLanguageModel(adapter=adapter), TinyMaskHead(), "tiny"))


def llama(recompute: bool = False) -> AssistantTraining:
    """A language model of 38 million parameters, all trained."""
    model = CausalLanguageModel(LLAMA, "words", recompute=recompute, image_grid=(8, 8))
    return AssistantTraining(Assistant(TinyVisionEncoder(), model, TinyMaskHead(weights="random"), "tiny"))


def sam() -> AssistantTraining:
    """SAM ViT-B with its mask head, beside adapters of the same language model."""
    model = CausalLanguageModel(LLAMA, "words", adapter=LoRA(rank=8), image_grid=(8, 8))
    return AssistantTraining(Assistant(SamVisionEncoder("vit_b"), model, SamMaskHead(), "tiny"))


CASES: dict[str, tuple[Callable[[], AssistantTraining], str, int, int]] = {
    "tiny, 12 images": (tiny, "32-true", 12, 24),
    "language model of 38 million, 2 images": (llama, "32-true", 2, 24),
    "the same, recomputed": (lambda: llama(recompute=True), "32-true", 2, 24),
    "the same, bf16-true": (llama, "bf16-true", 2, 24),
    "SAM ViT-B, 1 image": (sam, "32-true", 1, 24),
}
"""Name to the training, its precision, images and names of a batch."""


def main() -> None:
    """Plan and measure each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", action="store_true", help="file the table")
    parser.add_argument("--case", choices=CASES, help="measure one case in this process, and print JSON")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measured(arguments.case)))
        return
    lines = ["| case | planned in MiB | measured in MiB | planned / measured |", "| --- | ---: | ---: | ---: |"]
    for name in CASES:
        command = [sys.executable, __file__, "--case", name]
        found = json.loads(
            subprocess.run(
                command, check=True, capture_output=True, text=True, env=os.environ | RETURNED
            ).stdout.splitlines()[-1]
        )
        ratio = found["planned"] / found["measured"]
        lines.append(f"| {name} | {found['planned']:.0f} | {found['measured']:.0f} | {ratio:.2f} |")
        print(lines[-1], flush=True)
    if arguments.results:
        begin, end = "<!-- planned -->\n", "<!-- /planned -->"
        before, rest = PAGE.read_text().split(begin)
        PAGE.write_text(before + begin + "\n".join(lines) + "\n" + end + rest.split(end)[1])


def measured(name: str) -> dict[str, float]:
    """Return the planned and the measured peak of a case in MiB."""
    warnings.simplefilter("ignore")
    make, precision, images, names = CASES[name]
    outlined = outline(make(), precision)
    assistant = outlined.training.assistant
    batch, _ = drawn_batch(assistant.processors, images, names, assistant.vision_encoder.spec.image_size)
    planned = cost_of(outlined, batch).peak / 2**20
    take_steps(tiny(), "32-true", steps=1)  # loads what torch loads once
    gc.collect()
    before = in_use(DEVICE)
    reset(DEVICE)
    take_steps(make(), precision, batch)
    return {"planned": planned, "measured": peak(DEVICE) - before}


def take_steps(training: AssistantTraining, precision: str, batch: Batch | None = None, steps: int = 3) -> None:
    """Train for some steps, in Lightning's order."""
    plugin = precision_plugin(precision)
    with plugin.module_init_context():
        training.build_assistant()
        plugin.convert_module(training)
    training.train()
    if batch is None:
        assistant = training.assistant
        batch, _ = drawn_batch(assistant.processors, 1, 8, assistant.vision_encoder.spec.image_size)
    optimiser = training.optimiser.build(training.factors, training.assistant.named_parameters())
    for _ in range(steps):
        with plugin.forward_context():
            loss = training.loss(training.assistant(batch), batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


if __name__ == "__main__":
    main()
