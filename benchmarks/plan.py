"""What `lasagna plan` computes beside the memory that real training steps take on the CPU.

``python benchmarks/plan.py`` builds each case with random weights in a process of its own, or two that train together,
takes three steps and compares the growth of the process with the planned peak. ``--results`` files the lines of the
measured cases in ``docs/how_to/plan.md``.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from measure import in_use, peak, reset
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh

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
from lasagna.tasks.planning.cost import Devices
from lasagna.tasks.planning.step import cost_of, outline, precision_plugin
from lasagna.tasks.training.division import divide

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
WIDE = LLAMA | {"hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 6}


def tiny() -> AssistantTraining:
    """The default assistant."""
    adapter = LoRA(rank=16, alpha=32.0)
    return AssistantTraining(Assistant(TinyVisionEncoder(), TinyLanguageModel(adapter=adapter), TinyMaskHead(), "tiny"))


def llama(recompute: bool = False) -> AssistantTraining:
    """A language model of 38 million parameters, all trained."""
    model = CausalLanguageModel(LLAMA, "words", recompute=recompute, image_grid=(8, 8))
    return AssistantTraining(Assistant(TinyVisionEncoder(), model, TinyMaskHead(weights="random"), "tiny"))


def wide() -> AssistantTraining:
    """A language model of 98 million parameters, whose weights take more than activations."""
    model = CausalLanguageModel(WIDE, "words", recompute=True, image_grid=(8, 8))
    return AssistantTraining(Assistant(TinyVisionEncoder(), model, TinyMaskHead(weights="random"), "tiny"))


def sam() -> AssistantTraining:
    """SAM ViT-B with its mask head, beside adapters of the same language model."""
    model = CausalLanguageModel(LLAMA, "words", adapter=LoRA(rank=8), image_grid=(8, 8))
    return AssistantTraining(Assistant(SamVisionEncoder("vit_b"), model, SamMaskHead(), "tiny"))


@dataclass(frozen=True)
class Case:
    """A training that is planned and measured.

    Args:
        make: Makes the training, not built.
        precision: The trainer's precision.
        images: Images of a batch, each with a list of names.
        names: Names of a list.
        processes: How many train together.
        divided: Whether they divide the weights (FSDP2); otherwise each has all of them (DDP).
    """

    make: Callable[[], AssistantTraining]
    precision: str = "32-true"
    images: int = 2
    names: int = 24
    processes: int = 1
    divided: bool = False

    @property
    def devices(self) -> Devices:
        """The devices that the case is planned for."""
        return Devices(self.processes, self.divided)


CASES = {
    "tiny, 12 images": Case(tiny, images=12),
    "language model of 38 million, 2 images": Case(llama),
    "the same, recomputed": Case(lambda: llama(recompute=True)),
    "the same, bf16-true": Case(llama, "bf16-true"),
    "the same, bf16-mixed": Case(llama, "bf16-mixed"),
    "the same, DDP of two processes": Case(llama, processes=2),
    "the same, DDP, bf16-mixed and recomputed": Case(lambda: llama(recompute=True), "bf16-mixed", processes=2),
    "language model of 98 million, FSDP2 of two processes": Case(wide, images=1, names=4, processes=2, divided=True),
    "SAM ViT-B, 1 image": Case(sam, images=1),
    "SAM ViT-B, bf16-mixed": Case(sam, "bf16-mixed", images=1),
    "SAM ViT-B, DDP of two processes": Case(sam, images=1, processes=2),
}
HEAD = ("| case | planned in MiB | measured in MiB | planned / measured |", "| --- | ---: | ---: | ---: |")


def main() -> None:
    """Plan and measure each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", action="store_true", help="file the table")
    parser.add_argument("--only", choices=CASES, nargs="+", help="cases to measure, instead of all of them")
    parser.add_argument("--case", choices=CASES, help="measure one case in this process, and print JSON")
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(measured(arguments.case)))
        return
    for name in arguments.only or CASES:
        found = in_processes(name)
        ratio = found["planned"] / found["measured"]
        line = f"| {name} | {found['planned']:.0f} | {found['measured']:.0f} | {ratio:.2f} |"
        print(line, flush=True)
        if arguments.results:
            _file(name, line)


def _file(name: str, line: str) -> None:
    """Put the line of a case into the page, in the order of the cases."""
    begin, end = "<!-- planned -->\n", "<!-- /planned -->"
    before, rest = PAGE.read_text().split(begin)
    block, after = rest.split(end)
    lines = {known: own for own in block.splitlines() for known in CASES if own.startswith(f"| {known} |")}
    lines[name] = line
    table = [*HEAD, *(lines[known] for known in CASES if known in lines)]
    PAGE.write_text(before + begin + "\n".join(table) + "\n" + end + after)


def in_processes(name: str) -> dict[str, float]:
    """Measure a case in as many processes as it has, and return what the largest of them found."""
    count = CASES[name].processes
    with tempfile.TemporaryDirectory() as folder:
        places = [
            os.environ | RETURNED | {"RANK": str(rank), "STORE": f"file://{folder}/store"} for rank in range(count)
        ]
        command = [sys.executable, __file__, "--case", name]
        started = [subprocess.Popen(command, env=place, stdout=subprocess.PIPE, text=True) for place in places]
        printed = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"{name}: it failed; see above")
    found = [json.loads(text.splitlines()[-1]) for text in printed]
    return max(found, key=lambda one: one["measured"])


def measured(name: str) -> dict[str, float]:
    """Return the planned and the measured peak of a case in MiB."""
    warnings.simplefilter("ignore")
    case = CASES[name]
    outlined = outline(case.make(), case.precision)
    assistant = outlined.training.assistant
    batch, _ = drawn_batch(assistant.processors, case.images, case.names, assistant.vision_encoder.spec.image_size)
    cost = cost_of(outlined, batch, count=False)
    planned = (cost.peak_on(case.devices) or 0) / 2**20
    if case.processes > 1:
        rank, store = int(os.environ["RANK"]), os.environ["STORE"]
        distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=case.processes)
    take_steps(tiny(), "32-true", steps=1, divided=case.divided)  # loads what torch loads once
    gc.collect()
    before = in_use(DEVICE)
    take_steps(case.make(), case.precision, batch, divided=case.divided)
    found = {"planned": planned, "measured": peak(DEVICE) - before}
    if case.processes > 1:
        distributed.destroy_process_group()
    return found


class Loss(nn.Module):
    """A training's loss as the output of a module, as ``DistributedDataParallel`` wants it."""

    def __init__(self, training: AssistantTraining) -> None:
        super().__init__()
        self.training_part = training

    def forward(self, batch: Batch) -> Tensor:
        """Return the loss."""
        loss: Tensor = self.training_part.loss(self.training_part.assistant(batch), batch)["loss"]
        return loss


def take_steps(
    training: AssistantTraining, precision: str, batch: Batch | None = None, steps: int = 3, divided: bool = False
) -> None:
    """Train for some steps, in Lightning's order; the peak counts from the first one.

    DDP makes new buckets in the second one, so that it holds all that it needs from the third one on.
    """
    plugin = precision_plugin(precision)
    with plugin.module_init_context():
        training.build_assistant()
        plugin.convert_module(training)
    training.train()
    if batch is None:
        assistant = training.assistant
        batch, _ = drawn_batch(assistant.processors, 1, 8, assistant.vision_encoder.spec.image_size)
    module: nn.Module = Loss(training)
    if divided:
        divide(module, training.divided_parts, init_device_mesh("cpu", (distributed.get_world_size(),)), methods=())
    optimiser = training.optimiser.build(training.factors, training.assistant.named_parameters())
    if distributed.is_initialized() and not divided:
        module = nn.parallel.DistributedDataParallel(module)
    gc.collect()
    reset(DEVICE)
    for _ in range(steps):
        with plugin.forward_context():
            loss = module(batch)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


if __name__ == "__main__":
    main()
