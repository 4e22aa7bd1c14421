"""Kinds of query that an assistant is asked without having learned them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lasagna.core.query_kind import QueryKind

if TYPE_CHECKING:
    from lasagna.modules.assistant import Assistant


class UnlearnedKindWarning(UserWarning):
    """An assistant is asked a kind of query that its training did not have."""


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
