"""A report on a release's tensors: which are read, which are not and why, and which are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM

from lasagna.errors import CheckpointError
from lasagna.modules.base import FeatureSpec
from lasagna.modules.checkpoints.released.adapters import PROJECTION, VISUAL, WORDS, ignored_because
from lasagna.modules.checkpoints.released.reload import with_added_tokens
from lasagna.modules.llava.settings import llama_config
from lasagna.modules.llava.tokenizer import LlavaTokenizer
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.sizes import encoder_size, head_size
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

_SHOWN = 6


@dataclass(frozen=True)
class TensorReport:
    """What happens to each tensor.

    Args:
        used: Names of the tensors that are read.
        ignored: Name of a tensor that is not read, to the reason.
        unknown: Names of tensors that the model does not have.
        missing: Names of tensors that the model needs and the state lacks.
        misshapen: Name of a tensor to what is wrong with its shape.
        fresh: Names of the tensors of a part that the state lacks completely; they start from random weights.
        adapters: Names of the adapters' tensors, merged into their layers or kept.
        fresh_rows: Tokens without a row in embedding and output layer; they get random rows.
        padding: Rows of both after the last token; new tokens use them first, and an export writes them again.
    """

    used: tuple[str, ...]
    ignored: dict[str, str]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]
    misshapen: dict[str, str]
    fresh: tuple[str, ...]
    adapters: tuple[str, ...] = ()
    fresh_rows: tuple[str, ...] = ()
    padding: int = 0

    def check(self, source: str) -> None:
        """Check that nothing is missing and all shapes fit.

        Args:
            source: Where the tensors come from, for the message.

        Raises:
            CheckpointError: If tensors are missing or have another shape; names the first few.
        """
        problems = [f"{name} is missing" for name in self.missing]
        problems += [f"{name} has shape {problem}" for name, problem in self.misshapen.items()]
        if problems:
            more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
            what = "is incomplete" if self.missing else "does not fit"
            raise CheckpointError(
                f"source: {source} {what}: {'; '.join(problems[:_SHOWN])}{more}; give all files of a complete model, "
                "with the config.json and the vision_tower that belong to it"
            )

    def with_others(self, adapters: Sequence[str], others: Sequence[str]) -> TensorReport:
        """Return the report with tensors that are not the model's own.

        Args:
            adapters: Names of the adapters' tensors.
            others: Names of the tensors besides SAM in a file of SAM.
        """
        reasons = {name: ignored_because(name) for name in others}
        ignored = {f"sam: {name}": reason for name, reason in reasons.items() if reason is not None}
        unknown = sorted(f"sam: {name}" for name, reason in reasons.items() if reason is None)
        return replace(
            self, adapters=tuple(adapters), ignored={**self.ignored, **ignored}, unknown=(*self.unknown, *unknown)
        )

    def lines(self) -> list[str]:
        """Return a summary to print."""
        reasons = sorted(set(self.ignored.values()))
        lines = [f"used     {len(self.used):5d} tensors"]
        lines += [f"ignored  {list(self.ignored.values()).count(reason):5d} tensors, {reason}" for reason in reasons]
        for word, names in (("adapters", self.adapters), ("unknown", self.unknown), ("fresh", self.fresh)):
            more = ", ..." if len(names) > _SHOWN else ""
            lines += [f"{word:8s} {len(names):5d} tensors: {', '.join(names[:_SHOWN])}{more}"] if names else []
        if self.fresh_rows:
            lines.append(f"fresh    {len(self.fresh_rows):5d} rows of words: {', '.join(self.fresh_rows)}")
        if self.padding:
            lines.append(f"padding  {self.padding:5d} rows after the last word, for new words; export keeps them")
        return lines


def tensor_report(
    state: Mapping[str, Tensor], settings: Mapping[str, Any], tower_width: int, tokenizer: LlavaTokenizer, sam: str
) -> TensorReport:
    """Compare a state with what a model of these settings needs.

    Args:
        state: Tensors by a release's names, without peft's prefix, adapters merged.
        settings: Content of the model's ``config.json``.
        tower_width: Width of the CLIP tower.
        tokenizer: The source's tokeniser, before tokens are added.
        sam: Where SAM's tensors come from, for the message.

    Returns:
        The report.

    Raises:
        CheckpointError: If SAM's sizes cannot be determined.
    """
    wanted = _needed(state, settings, tower_width, sam)
    projection = [name for name in wanted if name.startswith(PROJECTION)]
    fresh = projection if not any(name in state for name in projection) else []
    present = {name for name in wanted if name in state}
    rest = {name: ignored_because(name) for name in state if name not in wanted}
    return TensorReport(
        used=tuple(sorted(present)),
        ignored={name: reason for name, reason in rest.items() if reason is not None},
        unknown=tuple(sorted(name for name, reason in rest.items() if reason is None)),
        missing=tuple(name for name in wanted if name not in present and name not in fresh),
        misshapen=_misshapen({name: tuple(state[name].shape) for name in sorted(present)}, wanted, tokenizer),
        fresh=tuple(fresh),
        fresh_rows=tuple(
            token for token, rank in with_added_tokens(tokenizer).added.items() if rank >= _rows(state, tokenizer)
        ),
        padding=max(0, _rows(state, tokenizer) - len(tokenizer)),
    )


def _rows(state: Mapping[str, Tensor], tokenizer: LlavaTokenizer) -> int:
    return len(state[WORDS[0]]) if WORDS[0] in state else len(tokenizer)


def _misshapen(
    found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, tuple[int, ...]], tokenizer: LlavaTokenizer
) -> dict[str, str]:
    problems = {name: f"{shape}, needed is {wanted[name]}" for name, shape in found.items() if shape != wanted[name]}
    few = {name: found[name] for name in WORDS if name in found and found[name][0] < len(tokenizer)}
    return problems | {name: f"{shape}, but the tokeniser has {len(tokenizer)} tokens" for name, shape in few.items()}


def visual_shapes(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Return name and shape of SAM's tensors, by SAM's own names; empty if the state has no SAM."""
    return {name.removeprefix(VISUAL): tuple(value.shape) for name, value in state.items() if name.startswith(VISUAL)}


def _needed(
    state: Mapping[str, Tensor], settings: Mapping[str, Any], tower_width: int, sam: str
) -> dict[str, tuple[int, ...]]:
    hidden = int(settings["hidden_size"])
    words = state.get(WORDS[0])
    with torch.device("meta"):
        llama = LlamaForCausalLM(llama_config(settings, int(settings["vocab_size"]) if words is None else len(words)))
        projector = nn.Linear(tower_width, hidden)
    wanted = {**_shapes(llama), **_shapes(projector, "model.mm_projector.")}
    shapes = visual_shapes(state)
    if shapes:
        wanted |= _visual(shapes, hidden, sam)
    return wanted


def _visual(shapes: Mapping[str, tuple[int, ...]], hidden: int, sam: str) -> dict[str, tuple[int, ...]]:
    encoder, head = SamVisionEncoder(encoder_size(shapes, sam)), SamMaskHead(size=head_size(shapes, sam))
    with torch.device("meta"):
        encoder.build()
        head.build(FeatureSpec((head.prompt_dim,), (16,), (1024, 1024)))
        projection = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, head.prompt_dim))
    return {**_shapes(encoder, VISUAL), **_shapes(head, VISUAL), **_shapes(projection, PROJECTION)}


def _shapes(network: nn.Module, prefix: str = "") -> dict[str, tuple[int, ...]]:
    return {prefix + name: tuple(value.shape) for name, value in network.state_dict().items()}
