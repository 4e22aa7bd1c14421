"""What training watches its batches for: losses that are not finite, small masks, surplus objects, kinds of query."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from lasagna.core.batch import Batch
from lasagna.errors import ConfigError, TrainingError
from lasagna.modules.assistant import Assistant
from lasagna.modules.losses import SegmentationLoss

NAMED_RECORDS = 16
"""Number of records of a batch that an error names."""

ENOUGH = 1000
"""Number of masks or objects after which small, empty or surplus ones are reported."""


def check_batch(batch: object) -> None:
    """Check that a loader has yielded a batch, as those of a data module of one's own may not.

    Raises:
        ConfigError: If it is anything else.
    """
    if not isinstance(batch, Batch):
        raise ConfigError(
            f"data: a loader yields {type(batch).__name__} objects; make batches of its samples "
            "(collate_fn=functools.partial(lasagna.datamodules.collate, processors=...))"
        )


def check_losses(loss: object, losses: object) -> None:
    """Check what a loss has returned.

    Args:
        loss: The loss.
        losses: What it returned for a batch.

    Raises:
        ConfigError: If it is no dict of tensors of one number each, with the sum to minimise as "loss".
    """
    name = f"model.loss: {getattr(loss, '__name__', type(loss).__name__)}"
    if not isinstance(losses, dict) or "loss" not in losses:
        found = list(losses) if isinstance(losses, dict) else type(losses).__name__
        raise ConfigError(f"{name} must return a dict with the sum to minimise as 'loss', got {found}")
    for part, value in losses.items():
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ConfigError(f"{name} must return a tensor of one number as {part!r}, got {shape}; take its mean")
    if not losses["loss"].requires_grad:
        raise ConfigError(f"{name}: its 'loss' has no gradient; compute it from the output, without detach() or item()")


class FiniteLoss(Callback):
    """Stops a training at the first loss that is not finite, before a step is taken with its gradients.

    The loss is read after the backward pass, so that a GPU need not wait between the passes.
    """

    def __init__(self) -> None:
        """Wait for a loss."""
        self._batch: Any = None
        self._loss: Tensor | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Keep the batch."""
        self._batch = batch

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Keep the loss."""
        self._loss = loss.detach()

    def on_after_backward(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the loss.

        Raises:
            TrainingError: If it is not finite; names the batch's records.
        """
        if self._loss is None or bool(torch.isfinite(self._loss)):
            return
        metrics = trainer.callback_metrics
        parts = {name: float(value) for name, value in metrics.items() if "loss" not in name and name != "train/lr"}
        bad = [f"{name} {value}" for name, value in parts.items() if not torch.isfinite(torch.tensor(value))]
        raise TrainingError(
            f"step {trainer.global_step}: the loss is {float(self._loss)}{_listed(bad)}; records of the batch: "
            f"{_records(self._batch)}. Training stops before a step is taken with it; earlier checkpoints stay. Lower "
            "`optimiser.lr` or set `trainer.gradient_clip_val`, take a wider `trainer.precision`, or look at the "
            "records with `lasagna inspect`"
        )


def watches(resized: bool) -> list[Callback]:
    """Return the callbacks that watch the batches of every training.

    Args:
        resized: Whether masks are compared in the size of the vision encoder's input, where small ones lose their
            pixels.
    """
    return [
        FiniteLoss(),
        EmptyMasks(),
        ManyObjects(),
        ObjectsLearned(),
        LearnedKinds(),
        *([SmallMasks()] if resized else []),
    ]


def _listed(parts: list[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""


def _records(batch: Any) -> str:  # noqa: ANN401
    if not isinstance(batch, Batch):
        return "unknown"
    names = list(dict.fromkeys(f"{sample.source} {sample.key}" for sample in batch.samples))
    more = f" and {len(names) - NAMED_RECORDS} more" if len(names) > NAMED_RECORDS else ""
    return ", ".join(names[:NAMED_RECORDS]) + more


class _CountOfRun(Callback):
    """Counts what batches hold and what of it needs a word, and says so once a run: early, or at its end."""

    warning: ClassVar[type[UserWarning]]

    def __init__(self) -> None:
        """Start counting."""
        self.seen = 0
        self.told = 0
        self._said = False

    def count(self, batch: Batch, module: LightningModule) -> tuple[int, int]:
        """Return how many things a batch holds, and how many of them need a word."""
        raise NotImplementedError(f"{type(self).__name__} counts nothing")

    def message(self) -> str:
        """Return what is said about the things counted."""
        raise NotImplementedError(f"{type(self).__name__} has nothing to say")

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Count the things of a batch."""
        if self._said or not isinstance(batch, Batch):
            return
        seen, told = self.count(batch, pl_module)
        self.seen += seen
        self.told += told
        if self.seen >= ENOUGH:
            self._report(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report those of a run that held few."""
        if not self._said:
            self._report(trainer)

    def _report(self, trainer: Trainer) -> None:
        self._said = True
        if self.told and trainer.is_global_zero:
            warnings.warn(self.message(), self.warning, stacklevel=2)


class LearnedKinds(Callback):
    """Notes which kinds of query an assistant is trained on, so that others can be told from them later."""

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Note those of a batch."""
        assistant = getattr(pl_module, "assistant", None)
        if isinstance(batch, Batch) and isinstance(assistant, Assistant):
            assistant.learned_kinds |= batch.kinds


class ObjectsLearned(Callback):
    """Warns once where a head draws several masks for a prompt, and the loss trains only their union."""

    def __init__(self) -> None:
        """Nothing is said yet."""
        self._said = False

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:  # noqa: ANN401
        """Look at the kinds of a batch."""
        head = getattr(getattr(pl_module, "assistant", None), "mask_head", None)
        plain = type(getattr(pl_module, "loss", None)) is SegmentationLoss and getattr(head, "most_masks", 1) > 1
        if self._said or not plain or not isinstance(batch, Batch):
            return
        if kinds := {str(sample.dialogue.kind) for sample in batch.samples if sample.dialogue.kind.is_set}:
            self._said = True
            if trainer.is_global_zero:
                warnings.warn(
                    f"model.loss: {type(head).__name__} draws several masks for a prompt, and SegmentationLoss trains "
                    f"only their union, so that queries of kind {', '.join(map(repr, sorted(kinds)))} learn no "
                    "objects; set `model.loss: lasagna.modules.ObjectLoss`",
                    stacklevel=2,
                )


class SmallMaskWarning(UserWarning):
    """Masks to learn are smaller than a pixel of the vision encoder's input."""


class SmallMasks(_CountOfRun):
    """Counts the masks that are learned as one pixel of the vision encoder's input, and says so once a run."""

    warning = SmallMaskWarning

    def count(self, batch: Batch, module: LightningModule) -> tuple[int, int]:
        """Return the number of masks, and of those smaller than a pixel."""
        return len(batch.mask_rows), batch.small_masks

    def message(self) -> str:
        """Return what to do about small masks."""
        return (
            f"{self.told} of the first {self.seen} masks ({self.told / self.seen:.1%}) are smaller than a pixel of the "
            "vision encoder's input, and each is learned as one pixel of it; set the encoder's `image_size` higher, "
            "crop with `transforms` (RandomCrop), or compare masks at the images' own size (`loss.resolution: image`)"
        )


class EmptyMaskWarning(UserWarning):
    """Names that are called present, or their objects, have masks without a pixel."""


class EmptyMasks(_CountOfRun):
    """Counts the masks to learn that have no pixel, of names and of their objects, and says so once a run."""

    warning = EmptyMaskWarning

    def count(self, batch: Batch, module: LightningModule) -> tuple[int, int]:
        """Return the number of masks and objects, and of those without a pixel."""
        return len(batch.mask_rows) + batch.object_counts[1], batch.empty_masks

    def message(self) -> str:
        """Return what to do about empty masks."""
        return (
            f"{self.told} of the first {self.seen} masks ({self.told / self.seen:.1%}) have no pixel, so that a "
            "present thing is learned to be nowhere; let the task leave them out (lasagna.tasks.targets.is_visible)"
        )


class ManyObjectsWarning(UserWarning):
    """A name has more objects than an answer can tell."""


class ManyObjects(_CountOfRun):
    """Counts the objects that have neither a token nor a mask, the smallest of a name, and says so once a run."""

    warning = ManyObjectsWarning

    def count(self, batch: Batch, module: LightningModule) -> tuple[int, int]:
        """Return the number of objects, and of those beyond the most that an answer tells."""
        masks = getattr(getattr(getattr(module, "assistant", None), "mask_head", None), "most_masks", 1)
        seen = told = 0
        for dialogue in (sample.dialogue for sample in batch.samples if sample.dialogue.kind.objects):
            counts = [len(entry.masks) for entry in dialogue.entries]
            seen += sum(counts)
            told += sum(max(0, count - (dialogue.kind.tokens or masks)) for count in counts)
        return seen, told

    def message(self) -> str:
        """Return what to do about objects that are left out."""
        return (
            f"{self.told} of the first {self.seen} objects ({self.told / self.seen:.1%}) are not learned, the smallest "
            "of names that have more objects than an answer tells: raise `masks` of the mask head, or ask a kind of "
            "query with more `tokens`"
        )
