"""Scores that callbacks wait for by ``monitor``: wrong names are refused as early as they can be told, or named."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from copy import deepcopy
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, cast

from lightning import Callback, LightningModule, Trainer
from torchmetrics import MetricCollection

from lasagna.errors import ConfigError
from lasagna.tasks.callbacks.checkpoint import ANY_SCORE
from lasagna.tasks.training.module import AssistantTraining
from lasagna.tasks.training.source_scores import Evaluation

_COUNTERS = ("epoch", "step")
"""What ``ModelCheckpoint`` can monitor besides scores."""


class MonitorCheck(Callback):
    """Checks the ``monitor`` of callbacks, and warns after training about those whose score never came.

    Which scores a training by ``AssistantTraining`` will have is known before its first step, unless a class of one's
    own logs more. A callback that is not strict is only warned about.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check scores of validations against the metrics of its sources.

        Raises:
            ConfigError: If a callback waits for a score that there will never be.
        """
        scores = _scores_to_come(trainer, pl_module)
        if scores is None:
            return
        for callback, monitor in _waiting(trainer):
            comes_later = monitor.startswith("train/") or monitor in (*_COUNTERS, ANY_SCORE)
            if not comes_later and not _came(monitor, scores):
                raise ConfigError(f"trainer.callbacks.{type(callback).__name__}.{missing_score(monitor, scores)}")

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Check scores of the training after its first step.

        Raises:
            ConfigError: If a callback waits for a score that the step did not give.
        """
        if trainer.global_step != 1 or not _logs_alone(trainer, pl_module):
            return
        known = list(trainer.callback_metrics)
        for callback, monitor in _waiting(trainer):
            if monitor.startswith("train/") and not _came(monitor, known):
                raise ConfigError(f"trainer.callbacks.{type(callback).__name__}.{missing_score(monitor, known)}")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn about callbacks that did nothing."""
        known = list(trainer.callback_metrics)
        has_validation = sum(trainer.num_val_batches) > 0
        for callback, monitor in _monitoring(trainer):
            if monitor == ANY_SCORE and not has_validation:
                continue  # the default, for runs without data to validate on
            if not _came(monitor, [*known, *_COUNTERS]):
                warnings.warn(f"{type(callback).__name__}: {missing_score(monitor, known)}", stacklevel=2)


def validation_scores(evaluation: Evaluation) -> list[str] | None:
    """Return the names of the scores that a validation will log.

    Args:
        evaluation: The metrics of its sources, before their first update.

    Returns:
        The names, or None if there are metrics of one's own, which tell only afterwards.
    """
    scores = []
    for source, metrics in zip(evaluation.names, evaluation.metrics, strict=True):
        # a copy, which other processes are not asked about
        copy = deepcopy(metrics)
        if not all(map(_is_ours, copy.children())):
            return None
        for metric in copy.children():
            vars(metric)["sync_on_compute"] = False
        assert isinstance(copy, MetricCollection)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchmetrics warns that there is nothing to measure yet
            scores += [f"val/{source}/{key}" for key in copy.compute()]
    return scores


def missing_score(monitor: str, known: Collection[str]) -> str:
    """Return what is wrong with the name of a score that never comes.

    Args:
        monitor: The name.
        known: The scores that come.
    """
    near = get_close_matches(monitor, known, n=1) or _with_pieces(monitor, known)
    hint = f"did you mean {near[0]!r}? " if near else ""
    scores = [name for name in known if monitor.startswith("train/") or not name.startswith("train/")] or known
    return f"monitor: there is no score {monitor!r}; {hint}there are {', '.join(scores) or 'none'}"


def _with_pieces(monitor: str, known: Collection[str]) -> list[str]:
    """Return the names that have all pieces of a shorter one: ``val/miou`` stands for one of a source and protocol."""
    return [name for name in known if set(monitor.split("/")) <= set(name.split("/"))]


_UNMONITORED = {
    re.compile(r"Early stopping conditioned on metric `(.*?)` which is not"): "trainer.callbacks.EarlyStopping",
    re.compile(r"`ModelCheckpoint\(monitor='(.*?)'\)` could not find"): "trainer.callbacks.ModelCheckpoint",
    re.compile(r"ReduceLROnPlateau conditioned on metric (.*?) which is not"): "configure_optimizers: lr_scheduler",
}
"""Beginning of what Lightning raises where the score is not there, to the place of the ``monitor``."""


def explained(error: BaseException, trainer: Trainer) -> BaseException:
    """Return an error in words of one's own if Lightning raised it because a monitored score is not there.

    Args:
        error: Any error.
        trainer: The trainer, which knows the scores.
    """
    for pattern, place in _UNMONITORED.items():
        if found := pattern.match(str(error)):
            return ConfigError(f"{place}.{missing_score(found[1], list(trainer.callback_metrics))}")
    return error


def _scores_to_come(trainer: Trainer, module: LightningModule) -> list[str] | None:
    """Return the names of the scores of validations, or None if they are not known beforehand."""
    if not _logs_alone(trainer, module):
        return None
    evaluation = cast("AssistantTraining", module).evaluations["val"]
    assert isinstance(evaluation, Evaluation)
    return validation_scores(evaluation)


def _logs_alone(trainer: Trainer, module: LightningModule) -> bool:
    """Say whether nothing but classes of the package and of Lightning logs scores."""
    return type(module) is AssistantTraining and all(map(_is_ours, (*vars(trainer)["callbacks"], module.loss)))


def _is_ours(part: object) -> bool:
    return type(part).__module__.startswith(("lasagna.", "lightning."))


def _monitoring(trainer: Trainer) -> Iterator[tuple[Callback, str]]:
    for callback in vars(trainer)["callbacks"]:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str):
            yield callback, monitor


def _waiting(trainer: Trainer) -> Iterator[tuple[Callback, str]]:
    """Yield the callbacks that cannot do without their score."""
    yield from ((callback, monitor) for callback, monitor in _monitoring(trainer) if getattr(callback, "strict", True))


def _came(monitor: str, known: Collection[str]) -> bool:
    return any(fnmatchcase(name, monitor) for name in known)
