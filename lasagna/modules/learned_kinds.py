"""Kinds of query that an assistant is asked without having learned them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lasagna.core.query_kind import CATEGORY_LIST, INSTANCES, QueryKind

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant


class UnlearnedKindWarning(UserWarning):
    """An assistant is asked a kind of query that its training did not have."""


def list_kind(assistant: Assistant, objects: bool = False) -> QueryKind:
    """Return the kind of query by which an assistant lists names.

    Args:
        assistant: The assistant.
        objects: Whether each object of a name is told apart.

    Returns:
        "categories" or "instances", unless the assistant learned other kinds of this form instead; then the first one.
    """
    usual, learned = INSTANCES if objects else CATEGORY_LIST, assistant.learned_kinds
    if usual in learned:
        return usual
    return next((kind for kind in learned.values() if kind.many and kind.objects == objects), usual)


def warn_of_unlearned(assistant: Assistant, kinds: Iterable[QueryKind]) -> None:
    """Warn of kinds of query that an assistant's training did not have, as far as that is known.

    Args:
        assistant: The assistant.
        kinds: The kinds that it is to be asked.
    """
    learned = assistant.learned_kinds
    others = [str(kind) for kind in dict.fromkeys(kinds) if kind not in learned]
    if learned and others:
        warnings.warn(
            f"kind: this assistant was never trained on {' or '.join(others)}, only on {', '.join(learned)}, so that "
            "its answer may mean nothing; train it with a task of this kind",
            UnlearnedKindWarning,
            stacklevel=4,
        )
