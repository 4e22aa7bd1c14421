"""Contact sheets of a report: the best, the median and the worst answers of a run, or pairs of image and twin."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from lasagna.datamodules.shards.codec import record_key
from lasagna.tasks.evaluation.counterfactual import OF_TWIN
from lasagna.tasks.evaluation.predictions import StoredLines
from lasagna.tasks.evaluation.runs import EvaluationSample
from lasagna.tasks.evaluation.scoring import Answered, EvaluationResult, RankedAnswer, rows_of
from lasagna.tasks.visualization.answer import object_counts, shown_words, truth_entries
from lasagna.tasks.visualization.contact_sheet import Example, contact_sheet


def choose(answers: Sequence[RankedAnswer]) -> dict[str, RankedAnswer]:
    """Return the best, the median and the worst answer; fewer if there are fewer answers."""
    order = sorted(answers)
    places = {"best": len(order) - 1, "median": (len(order) - 1) // 2, "worst": 0} if order else {}
    chosen: dict[str, RankedAnswer] = {}
    for name, place in places.items():
        if order[place] not in chosen.values():
            chosen[name] = order[place]
    return chosen


def draw_examples(result: EvaluationResult, lines: StoredLines, folder: Path, picture: Path) -> bool:
    """Draw the best, the median and the worst answer of a run.

    Args:
        result: The result of the run.
        lines: The stored lines.
        folder: The folder of the evaluation, for messages.
        picture: The PNG file to write.

    Returns:
        Whether there are any answers.
    """
    chosen = choose(result.answers)
    if not chosen:
        return False
    keys, found = {ranked.key for ranked in chosen.values()}, dict[str, Example]()
    for sample, rows in _answered(result, keys, lines, folder):
        for name, ranked in chosen.items():
            if ranked.key == sample.record.key:
                note = f"{name} ({ranked.quality:.2f}) - {result.run.name} - {ranked.key}"
                found[name] = _example(result, sample, [rows[ranked.row]], note)
    contact_sheet([found[name] for name in chosen], columns=1).save(picture)
    return True


def draw_pairs(result: EvaluationResult, lines: StoredLines, folder: Path, picture: Path) -> bool:
    """Draw the pairs of image and twin with the best, the median and the worst answers, side by side.

    Args:
        result: The result of a run of the control "counterfactual".
        lines: The stored lines.
        folder: The folder of the evaluation, for messages.
        picture: The PNG file to write.

    Returns:
        Whether there are any pairs.
    """
    chosen = choose(_pairs(result.answers))
    if not chosen:
        return False
    sides = {ranked.key + end: (name, ranked) for name, ranked in chosen.items() for end in ("", OF_TWIN)}
    found = dict[str, Example]()
    for sample, rows in _answered(result, sides, lines, folder):
        key = sample.record.key
        name, ranked = sides[key]
        said = f"{name} ({ranked.quality:.2f}) - {key}"
        found[key] = _example(result, sample, rows, f"twin of {ranked.key}" if key.endswith(OF_TWIN) else said)
    contact_sheet([found[key] for key in sides if key in found], columns=2).save(picture)
    return True


def _pairs(answers: Sequence[RankedAnswer]) -> list[RankedAnswer]:
    """Return the mean quality of the answers about each image and its twin, under the key of the image."""
    groups: dict[str, list[float]] = {}
    for ranked in answers:
        groups.setdefault(ranked.key.removesuffix(OF_TWIN), []).append(ranked.quality)
    return [RankedAnswer(sum(found) / len(found), key, 0) for key, found in groups.items()]


def _answered(
    result: EvaluationResult, keys: Collection[str], lines: StoredLines, folder: Path
) -> Iterator[tuple[EvaluationSample, list[Answered]]]:
    """Yield the records of some keys, with their dialogues and answers."""
    for raw in result.run.raw():
        if record_key(raw) in keys and (sample := result.run.ask(raw)) is not None:
            yield sample, rows_of(result.run, sample, lines[result.run.name, sample.record.key], folder)


def _example(result: EvaluationResult, sample: EvaluationSample, rows: Sequence[Answered], note: str) -> Example:
    """Return what was answered to one or several queries about an image."""
    dialogues = [dialogue for dialogue, _ in rows]
    answers = [answers[result.run.decodings[0]] for _, answers in rows]
    in_words = not any(dialogue.kind.masks for dialogue in dialogues)
    return Example(
        image=result.run.image(sample.record),
        query=", ".join(name for dialogue in dialogues for name in dialogue.query),
        entries=[entry for answer in answers for entry in answer.entries],
        text="; ".join(filter(None, map(shown_words, (dialogue.kind for dialogue in dialogues), answers))),
        truth=None if in_words else [entry for dialogue in dialogues for entry in truth_entries(dialogue)],
        truth_text="; ".join(filter(None, (dialogue.text for dialogue in dialogues))),
        counts={name: count for dialogue in dialogues for name, count in object_counts(dialogue).items()},
        note=note,
    )
