"""Answers about the large pictures of an evaluation, tile by tile, in the form in which they are stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lasagna.core.batch import Query
from lasagna.core.tile_joining import check_tiled
from lasagna.core.tiles import Tiles
from lasagna.datamodules.shards.reader import RawSample
from lasagna.datamodules.streaming.sample import naming
from lasagna.errors import ConfigError
from lasagna.modules.assistant import Assistant
from lasagna.modules.contract import check_queries
from lasagna.modules.decoding.tiles import answer_tiles
from lasagna.tasks.evaluation.predictions import to_json
from lasagna.tasks.evaluation.runs import EvaluationRun


def check_tiled_runs(runs: Sequence[EvaluationRun]) -> None:
    """Check that the answers of runs about tiles can be joined, as far as their tasks say what they ask.

    Raises:
        ConfigError: If a task asks for words.
    """
    for run in runs:
        if words := [kind for kind in run.task.kinds if kind.words]:
            raise ConfigError(
                f"tiles: the source {run.source.label} asks for words ({', '.join(words)}), which cannot be joined; "
                "name the data by a config without this task, or leave --tiles out"
            )


@dataclass(frozen=True)
class TiledSample:
    """A record whose picture is answered in tiles.

    Args:
        key: Its key.
        image: The picture that the assistant sees, uint8 ``[H, W, 3]``.
        queries: What is asked about it.
    """

    key: str
    image: NDArray[np.uint8]
    queries: tuple[Query, ...]


def make_tiled(raw: RawSample, run: EvaluationRun, assistant: Assistant) -> TiledSample | None:
    """Make the sample of a record.

    Args:
        raw: Files of the record by extension.
        run: The run.
        assistant: The assistant that answers.

    Returns:
        The sample, or None if there is nothing to ask.

    Raises:
        RecordError: If the record or its image cannot be used; names its shard.
        QueryError: If the record shows several images, or a query cannot be asked or joined; names shard and record.
    """
    sample = run.ask(raw)
    if sample is None:
        return None
    with naming(raw):
        queries = tuple(
            Query(0, dialogue.kind, dialogue.query, wording=dialogue.wording[0]) for dialogue in sample.dialogues
        )
        check_tiled(queries, len(sample.record.others) + 1)
        for decoding in run.decodings:
            check_queries(assistant, queries, decoding)
        return TiledSample(sample.record.key, run.image(sample.record), queries)


def answer_tiled(assistant: Assistant, run: EvaluationRun, sample: TiledSample, tiles: Tiles) -> dict[str, Any]:
    """Answer a record; return the line to store.

    Args:
        assistant: The assistant.
        run: The run.
        sample: The record.
        tiles: How its picture is divided.
    """
    queries = sample.queries
    answers = {
        decoding: answer_tiles(assistant, sample.image, queries, tiles, decoding, checked=True)
        for decoding in run.decodings
    }
    dialogues = [
        {
            "kind": query.kind,
            "query": list(query.names),
            "answers": {decoding: to_json(rows[row]) for decoding, rows in answers.items()},
        }
        for row, query in enumerate(queries)
    ]
    return {"run": run.name, "key": sample.key, "size": list(sample.image.shape[:2]), "dialogues": dialogues}
