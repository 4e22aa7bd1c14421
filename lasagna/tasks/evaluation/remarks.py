"""What is said before the first answer: which runs have nothing to ask."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from lasagna.errors import ConfigError, RecordError
from lasagna.tasks.evaluation.counterfactual import COUNTERFACTUAL
from lasagna.tasks.evaluation.runs import EvaluationRun

LOOKED_AT = 50
"""How many records of a run are looked at; those after them may have something to ask."""


def remarks(runs: Sequence[EvaluationRun]) -> list[str]:
    """Return a sentence for each run whose first records have nothing for its task, or no twins.

    Args:
        runs: The runs; those with controls ask about the same records, except for pairs of image and twin.

    Raises:
        ConfigError: If no record of any run has anything to ask.
    """
    plain = [run for run in runs if not run.controls]
    idle = {run.name: looked for run in plain if (looked := _without_question(run))}
    if len(idle) == len(plain) and all(looked < LOOKED_AT for looked in idle.values()):
        raise ConfigError(
            f"data: no record has anything to ask ({', '.join(idle)} have nothing for their tasks); choose other data "
            "or other tasks"
        )
    lines = [f"{name}: its first {looked} records have nothing for its task" for name, looked in idle.items()]
    for run in runs:
        if COUNTERFACTUAL in run.controls and (looked := _without_question(run)):
            lines.append(
                f"{run.name}: in its first {looked // 2} records no thing can be exchanged; it must be the only one of "
                "its category, with a mask of its own, and a category that is known to be absent must have objects"
            )
    return lines


def _without_question(run: EvaluationRun) -> int:
    """Return how many records were looked at if none of them has anything to ask, else 0."""
    looked = 0
    for raw in islice(run.raw(), LOOKED_AT):
        looked += 1
        try:
            if run.ask(raw) is not None:
                return 0
        except RecordError:
            return 0  # reported when its turn comes
    return looked
