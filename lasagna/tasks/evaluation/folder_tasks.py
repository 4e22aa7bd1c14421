"""Which tasks ask about a folder of shards: those that its records have annotations for, each with all of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lasagna.core.config import Config
from lasagna.datamodules.shards.manifest import ShardSet
from lasagna.datamodules.shards.tally import MASKED_QUESTIONS
from lasagna.errors import ConfigError

TRAINED = ("Instances", "Panoptic", "GroundedCaption")
"""Tasks whose answers an assistant gives only if it was trained to."""

CONCEPTS = "sa-co"
"""First letters of data sets whose phrases are noun phrases with all their objects."""

BY_KIND: dict[str, tuple[str, Config]] = {
    "instances": ("Instances", {}),
    "instances_by_token": ("Instances", {"by_token": True}),
    "grounded_caption": ("GroundedCaption", {}),
}
"""Kind of query to the task that asks it, with its arguments, for assistants that learned it from another task."""

UNKNOWN = "unknown"


@dataclass(frozen=True)
class FolderTasks:
    """The tasks of a folder of shards.

    Args:
        tasks: Their configs.
        remarks: What is asked and what is not, one sentence each.
    """

    tasks: tuple[Config, ...]
    remarks: tuple[str, ...]


def folder_tasks(shard_set: ShardSet, trained: Config | None = None, learned: Collection[str] = ()) -> FolderTasks:
    """Return the tasks that a folder of shards has annotations for.

    The counts of its manifest decide; shards without counts are asked by every task that words or masks answer.

    Args:
        shard_set: The shards.
        trained: The config that the assistant was trained with, which says whether it tells objects apart and writes
            captions; None if it is not known.
        learned: The kinds of query that it learned, also from tasks of a user's own.

    Raises:
        ConfigError: If nothing in the records can be scored.
    """
    counts, name = shard_set.tally.entries, shard_set.manifest.name
    asked = [*_lists(shard_set), *_phrases(counts), *_trained(shard_set, trained, learned)]
    remarks = [f"{name}: {what} are asked for" for what, _ in asked] + [f"{name}: {part}" for part in _left_out(counts)]
    taught = {config["class_path"].rpartition(".")[2] for _, config in asked}
    if counts.get("objects") and not taught & {"Instances", "Panoptic"}:
        remarks.append(
            f"{name}: {counts['objects']} objects are scored by the union of each name, since the assistant was not "
            "trained by the task Instances or Panoptic"
        )
    if counts.get("captions") and "GroundedCaption" not in taught:
        remarks.append(
            f"{name}: {counts['captions']} captions are not asked for, since the assistant was not trained by the task "
            "GroundedCaption"
        )
    if not asked:
        why = "; ".join(remark.removeprefix(f"{name}: ") for remark in remarks) or "it has no annotations"
        raise ConfigError(
            f"data: nothing in {name!r} can be scored ({why}); choose other data, or name a task in a data config"
        )
    return FolderTasks(tuple(config for _, config in asked), tuple(remarks))


def _lists(shard_set: ShardSet) -> Iterator[tuple[str, Config]]:
    counts, manifest = shard_set.tally.entries, shard_set.manifest
    if not counts and not manifest.categories:
        return
    absent = counts.get("names known to be absent", 0)
    if not counts or counts.get("categories") or absent:
        rates = manifest.unannotated == UNKNOWN and counts and not absent
        note = " (present ones only: nothing says which names are absent)" if rates else ""
        yield f"lists of {len(manifest.categories)} categories{note}", _config("Semantic")


def _phrases(counts: Mapping[str, int]) -> Iterator[tuple[str, Config]]:
    questions = counts.get("questions", 0)
    masked = counts.get(MASKED_QUESTIONS, questions)
    worded = questions - counts.get(MASKED_QUESTIONS, 0)
    if not counts or counts.get("phrases"):
        yield f"all {counts.get('phrases', '')} phrases".replace("  ", " "), _config("Referring", phrases=None)
    if not counts or masked:
        yield f"all {masked or ''} questions that masks answer".replace("  ", " "), _config("Reasoning", questions=None)
    if not counts or worded:
        # free answers in conversations hardly ever equal the reference to the letter
        task = _config("VQA", questions=None, conversation=False)
        yield f"all {worded or ''} questions that words answer".replace("  ", " "), task


def _trained(shard_set: ShardSet, trained: Config | None, learned: Collection[str]) -> Iterator[tuple[str, Config]]:
    counts, found = shard_set.tally.entries, dict(_tasks_of(trained))
    for kind, (name, arguments) in BY_KIND.items():
        if kind in learned:
            found.setdefault(name, arguments)
    for name in ("Instances", "Panoptic"):
        stuff = set(found.get(name, {}).get("stuff", ()))
        if counts.get("objects") and name in found and stuff <= set(shard_set.manifest.categories):
            yield f"{counts['objects']} objects ({name})", _config(name, **found[name])
    if counts.get("phrases") and "Instances" in found and shard_set.manifest.name.startswith(CONCEPTS):
        yield "the objects of each phrase", _config("Concepts", **found["Instances"])
    if counts.get("captions") and "GroundedCaption" in found:
        yield f"all {counts['captions']} captions", _config("GroundedCaption", captions=None)


def _tasks_of(trained: Config | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the tasks among ``TRAINED`` that a training asked by, with what matters of their arguments."""
    arguments = ((trained or {}).get("data") or {}).get("init_args") or {}
    sources = [source for part in arguments.values() if isinstance(part, list) for source in part]
    for source in sources:
        task = source.get("task") if isinstance(source, Mapping) else None
        task = task if isinstance(task, Mapping) else {}
        path = str(task.get("class_path"))
        # a class of the user's own is not imported from the config of a checkpoint
        if path in {name for kind in TRAINED for name in (kind, f"lasagna.tasks.{kind}")}:
            given = task.get("init_args") or {}
            yield path.rpartition(".")[2], {name: given[name] for name in ("by_token", "stuff") if given.get(name)}


def _left_out(counts: Mapping[str, int]) -> Iterator[str]:
    if turns := counts.get("turns of conversations"):
        yield (
            f"{turns} turns of conversations are not asked for, since answers in free words hardly ever equal the "
            "reference to the letter"
        )


def _config(name: str, **arguments: Any) -> Config:  # noqa: ANN401
    return {"class_path": f"lasagna.tasks.{name}", "init_args": arguments}
