"""From the body of a request to queries, checked before anything waits for the assistant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import zip_longest
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from lasagna.core.batch import Query
from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import QUESTION, kind_of
from lasagna.core.record import Turn
from lasagna.core.thresholds import with_thresholds
from lasagna.core.visual_prompt import VisualPrompt
from lasagna.errors import QueryError, RecordError
from lasagna.modules.assistant import Assistant
from lasagna.serving.jobs import AskedQuery
from lasagna.serving.limits import Limits, RequestError
from lasagna.serving.schemas import ChatBody, PredictBody, QueryBody
from lasagna.serving.uploads import read_body, read_form

B = TypeVar("B", bound=BaseModel)

_ERRORS_SHOWN = 3


async def read_request(request: Request, kind: type[B], limits: Limits) -> tuple[B, list[bytes]]:
    """Read the body of a request as JSON or as a form.

    Args:
        request: The request.
        kind: What its body holds.
        limits: What is read at most.

    Returns:
        The fields, and the files of a form.

    Raises:
        RequestError: If the body is too large, too slow, or something else.
    """
    content = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content not in ("application/json", "multipart/form-data"):
        raise RequestError(415, "content-type: send application/json or multipart/form-data")
    body = await read_body(request, limits)
    try:
        if content == "application/json":
            return kind.model_validate_json(body), []
        fields, files = await read_form(request.headers, body, limits.shown)
        return kind.model_validate(fields), files
    except ValidationError as error:
        raise RequestError(422, f"body: {_reasons(error)}") from error


def _reasons(error: ValidationError) -> str:
    """Return what is wrong with the fields, without what was sent in them."""
    faults = error.errors(include_url=False, include_input=False, include_context=False)
    places = ((".".join(map(str, fault["loc"]))[:80], fault["msg"][:200]) for fault in faults[:_ERRORS_SHOWN])
    return "; ".join(f"{place}: {text}" if place else text for place, text in places)


def read_queries(body: PredictBody, limits: Limits, assistant: Assistant) -> list[AskedQuery]:
    """Return the queries of a request.

    Args:
        body: The request.
        limits: What is asked at most.
        assistant: The assistant, which knows the kinds of query that can be asked.

    Raises:
        RequestError: If there are too many, or one has too many or too long names.
        QueryError: If there is no such kind, or no such mask, or a threshold is for a name that is not asked for.
    """
    if len(body.queries) > limits.queries:
        raise RequestError(422, f"queries: {len(body.queries)} are too many; ask at most {limits.queries} at a time")
    count = sum(len(query.names) for query in body.queries)
    if count > limits.names:
        raise RequestError(422, f"names: {count} are too many; ask for at most {limits.names} at a time")
    check_texts([name for query in body.queries for name in query.names], limits)
    known, prompts = assistant.learned_kinds, assistant.format.prompts
    queries = [
        Query(0, kind_of(query.kind, known, prompts), tuple(query.names), _visual(query)) for query in body.queries
    ]
    return [
        AskedQuery(asked, body.threshold if query.threshold is None else query.threshold, body.decoding)
        for query, asked in zip(body.queries, _with_thresholds(body, queries), strict=True)
    ]


def _with_thresholds(body: PredictBody, queries: Sequence[Query]) -> list[Query]:
    """Return queries with the thresholds of single names: those of the query, and then those of the request."""
    found = []
    for query, own, all_given in zip(
        queries, body.queries, with_thresholds(queries, body.thresholds, body.decoding), strict=True
    ):
        [asked] = with_thresholds([query], own.thresholds, body.decoding)
        pairs = zip_longest(asked.thresholds, all_given.thresholds)
        found.append(replace(query, thresholds=tuple(given if named is None else named for named, given in pairs)))
    return found


def _visual(query: QueryBody) -> VisualPrompt | None:
    if not query.points and not query.boxes and query.mask is None:
        return None
    points = [(point.x, point.y, point.label) for point in query.points]
    boxes = [(left, top, width, height) for left, top, width, height in query.boxes]
    if query.mask is None:
        return VisualPrompt(points, boxes)
    height, width = query.mask.size
    try:
        return VisualPrompt(points, boxes, RLEMask.from_json(query.mask.model_dump(), (height, width)))
    except RecordError as error:
        raise QueryError(str(error)) from error


def read_chat(body: ChatBody, limits: Limits) -> tuple[Query, list[Turn]]:
    """Return the question of a request, and the turns before it.

    Raises:
        RequestError: If there are too many turns, or a text is too long.
    """
    if len(body.history) > limits.turns:
        raise RequestError(422, f"history: {len(body.history)} turns are too many; send the last {limits.turns}")
    check_texts([body.question, *(text for turn in body.history for text in (turn.question, turn.answer))], limits)
    return Query(0, QUESTION, (body.question,)), [Turn(turn.question, turn.answer) for turn in body.history]


def check_texts(texts: Sequence[str], limits: Limits) -> None:
    """Check the lengths of names, phrases, questions and answers.

    Raises:
        RequestError: If one is too long.
    """
    longest = max(map(len, texts))
    if longest > limits.characters:
        raise RequestError(422, f"text: {longest} characters are too many; write at most {limits.characters}")
