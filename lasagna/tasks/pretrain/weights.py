"""The stages that make the weights in the package, each with the files of those before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from lasagna.modules.checkpoints.files import save_tensors
from lasagna.modules.tiny.weights import load_packaged, save_packaged
from lasagna.tasks.pretrain.language_model import ReadingStage
from lasagna.tasks.pretrain.mask_head import MaskHeadStage
from lasagna.tasks.pretrain.projector import ProjectorStage
from lasagna.tasks.pretrain.stage import draw_pool
from lasagna.tasks.pretrain.text_rows import Lesson, make_lessons
from lasagna.tasks.pretrain.vision_encoder import EncoderStage
from lasagna.tasks.pretrain.words import write_vocabulary

SEEDS = {"vision_encoder": 1, "mask_head": 2, "projector": 3, "neutral": 5, "language_model": 11}
"""Seed of the scenes of each stage; evaluations use other seeds."""


def make_weights(stages: Sequence[str] | None, scenes: int, out: Path) -> None:
    """Make weights of the package.

    Args:
        stages: Names of stages, in the order in which they run; None for all.
        scenes: Number of scenes that each stage learns from.
        out: Folder for logs and intermediate files.
    """
    torch.set_num_threads(1)
    makers: dict[str, Callable[[int, Path], None]] = {
        "vocabulary": lambda scenes, out: print(f"wrote {write_vocabulary()}"),
        "vision_encoder": _vision_encoder,
        "language_model": _language_model,
        "projector": _projector,
        "mask_head": _mask_head,
        "neutral": _neutral,
    }
    out.mkdir(parents=True, exist_ok=True)
    for stage in makers if stages is None else stages:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            makers[stage](scenes, out)


def _vision_encoder(scenes: int, out: Path) -> None:
    stage = EncoderStage(draw_pool(scenes, SEEDS["vision_encoder"]))
    stage.run(out)
    save_packaged(stage.encoder.state_dict(), "vision_encoder")


def _language_model(scenes: int, out: Path) -> None:
    lessons = make_lessons(scenes, SEEDS["language_model"])
    reading = ReadingStage(lessons)
    reading.run(out)
    stage = attribute_stage(lessons)
    stage.load_state_dict(reading.state_dict())
    stage.run(out)
    save_tensors(_untied(stage), out / "reading.safetensors")
    save_packaged(stage.model.llama.model.state_dict(), "language_model")


def attribute_stage(lessons: Sequence[Lesson]) -> ReadingStage:
    """Return the stage after reading, with fewer lists and more phrases and colours, which take longer to learn.

    Args:
        lessons: Scenes to learn from.
    """
    kinds = ("list", "point", "point", "question", "question")
    return ReadingStage(lessons, 0, 2500, kinds=kinds, colours=0.5, lr=1.5e-3, name="attributes")


def neutral_stage(lessons: Sequence[Lesson]) -> ReadingStage:
    """Return the stage that removes the preference for one form of answers.

    The packaged language model goes on reading lists, equally often in random or fixed order, answered in that order or
    in one of its own, with or without absent names.

    Args:
        lessons: Scenes to learn from.
    """
    stage = ReadingStage(lessons, 0, 1500, kinds=("form", "form", "point"), lr=1.5e-3, name="neutral")
    load_packaged(stage.model.llama.model, "language_model")
    return stage


def _neutral(scenes: int, out: Path) -> None:
    reading = neutral_stage(make_lessons(scenes, SEEDS["neutral"]))
    reading.run(out)
    save_packaged(_halved(reading.model.llama.model), "neutral_language_model")
    aligned = ProjectorStage(draw_pool(scenes, SEEDS["projector"]), reading, name="neutral_projector")
    aligned.run(out)
    save_packaged(_halved(aligned.projector), "neutral_projector")


def _halved(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return weights in bfloat16, in which they were trained, to halve their size."""
    return {name: tensor.to(torch.bfloat16) for name, tensor in module.state_dict().items()}


def _projector(scenes: int, out: Path) -> None:
    reading = ReadingStage([])
    reading.load_state_dict(load_file(_existing(out / "reading.safetensors")), strict=False)
    stage = ProjectorStage(draw_pool(scenes, SEEDS["projector"]), reading)
    stage.run(out)
    save_packaged(stage.projector.state_dict(), "projector")


def _mask_head(scenes: int, out: Path) -> None:
    stage = MaskHeadStage(draw_pool(scenes, SEEDS["mask_head"]))
    stage.run(out)
    save_packaged(stage.head.state_dict(), "mask_head")


def _untied(stage: ReadingStage) -> dict[str, torch.Tensor]:
    """Leave out the output layer, which shares its weights with the word embeddings."""
    return {name: tensor for name, tensor in stage.state_dict().items() if not name.endswith("lm_head.weight")}


def _existing(file: Path) -> Path:
    if not file.is_file():
        raise FileNotFoundError(f"out: {file} is missing; run the stage language_model first, with the same --out")
    return file
