"""All runs of an evaluation: each source as it is, and once more for each control that applies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lasagna.core.dialogue import Decoding
from lasagna.datamodules import DataWithSources
from lasagna.errors import ConfigError
from lasagna.tasks import Task
from lasagna.tasks.evaluation import Control
from lasagna.tasks.evaluation.counterfactual import COUNTERFACTUAL, CounterfactualRun, can_ask, twin_maker
from lasagna.tasks.evaluation.runs import EvaluationRun


def make_runs(
    data: DataWithSources,
    split: str,
    *,
    seed: int | None,
    decodings: Sequence[Decoding] | None,
    controls: Sequence[Control],
    limit: int | None,
    teacher_forced: bool = False,
) -> list[EvaluationRun]:
    """Return all runs of an evaluation.

    Args:
        data: The datamodule.
        split: Which of its splits.
        seed: Seed of the dialogues; None for the datamodule's own, as tests have it.
        decodings: How answers are decoded; None for the decodings of each task. Controls use only the first one.
        controls: Which controls to run; "same-set" and "co-occurring" apply to lists of names, "counterfactual" to
            lists and phrases about records of which there can be twins.
        limit: Maximum number of records of a source; None for all.
        teacher_forced: Whether phrases are also scored with the answer given to the model.

    Raises:
        ConfigError: If a source's task cannot score answers, or two runs have the same name.
    """
    runs: list[EvaluationRun] = []
    for source in data.sources[split]:
        if not isinstance(source.task, Task):
            raise ConfigError(f"source {source.label}: its task cannot score answers; give a subclass of Task")
        own = getattr(source, "strategies", None)
        chosen = getattr(data, "evaluation_strategies", ()) if own is None else own
        strategies = tuple(strategy.for_source(source) for strategy in chosen)
        ways = tuple(decodings or source.task.decoding)
        forced = teacher_forced and any(kind.is_phrase and not kind.words for kind in source.task.kinds)
        if forced and "teacher_forced" not in ways:
            ways += ("teacher_forced",)
        plain = EvaluationRun(
            source,
            source.task,
            strategies,
            getattr(data, "seed", 0) if seed is None else seed,
            ways,
            broken=getattr(data, "broken", "error"),
            limit=limit,
        )
        combinations = _combinations(source.task, controls)
        runs += [replace(plain, decodings=ways[:1] if found else ways, controls=found) for found in combinations]
        if COUNTERFACTUAL in controls and can_ask(source.task) and (twins := twin_maker(source)) is not None:
            runs.append(CounterfactualRun.of_run(plain, twins))
    names = [run.name for run in runs]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"data.{split}: several sources are named {duplicates}; give each a `name` of its own")
    return runs


LISTS: tuple[Control, ...] = ("same-set", "co-occurring")
"""The controls that choose the names of lists."""


def _combinations(task: Task, controls: Sequence[Control]) -> list[tuple[Control, ...]]:
    """Return the controls of each run: none, then each one that chooses names, each with the image and blind."""
    lists: list[tuple[Control, ...]] = [()]
    if not task.kinds or any(kind.many for kind in task.kinds):
        lists += [(control,) for control in LISTS if control in controls]
    return [names + blind for names in lists for blind in (((), ("blind",)) if "blind" in controls else ((),))]
