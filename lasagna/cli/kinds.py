"""Kinds of query on the command line: by their names, or by the paths of kinds of a user's own."""

# without `from __future__ import annotations`, as `predict` has it
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lasagna.errors import QueryError

if TYPE_CHECKING:
    from lasagna.core.query_kind import QueryKind


OPTIONS = {
    "categories": "query",
    "referring": "refer",
    "reasoning": "reason",
    "reasoning_with_explanation": "explain",
    "question": "ask",
}
"""Kinds that have an option of their own."""


def own_texts(own: Mapping[str, str], ckpt: Path | None) -> "dict[QueryKind, str]":
    """Return what is asked by the option ``--own``, by kind.

    Args:
        own: Text by name or path of a kind that has no option of its own.
        ckpt: The checkpoint, as of ``find_kind``.

    Raises:
        QueryError: If there is no such kind, or it has an option of its own.
        CheckpointError: If the checkpoint cannot be read.
    """
    if name := next((name for name in own if name in OPTIONS), None):
        raise QueryError(f"own: {name!r} has an option of its own; give it as --{OPTIONS[name]}")
    texts = {find_kind("own", name, ckpt): text for name, text in own.items()}
    if len(texts) < len(own):
        raise QueryError(f"own: {', '.join(own)} are the same kind; ask one query of each kind at a time")
    return texts


def find_kind(argument: str, text: str, ckpt: Path | None) -> "QueryKind":
    """Return a kind of query by the name that the checkpoint or the package has for it, or import it by its path.

    Args:
        argument: The argument that names it, for messages.
        text: Name, or path such as "my_kinds.COUNTING".
        ckpt: The checkpoint, whose own kinds have names too; None for the assistant of the package.

    Raises:
        QueryError: If there is none of this name or at this path.
        CheckpointError: If the checkpoint cannot be read.
    """
    from lasagna.core.query_kind import KINDS, RENAMED_KINDS, QueryKind, renamed
    from lasagna.modules.checkpoints.load import stored_kinds, stored_prompts

    if text in RENAMED_KINDS:
        raise QueryError(f"{argument}: {renamed(text)}")
    module, _, name = text.rpartition(".")
    if not module:
        known = KINDS | stored_kinds(ckpt)
        if text not in known:
            prompts = stored_prompts(ckpt)
            names = ", ".join(name for name in known if prompts is None or name in prompts)
            raise QueryError(f"{argument}: {text!r} is none of {names}; give one, or FILE.NAME of a kind of your own")
        return known[text]
    try:
        kind = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise QueryError(f"{argument}: there is no kind of query at {text!r} ({error}); give FILE.NAME") from error
    if not isinstance(kind, QueryKind):
        raise QueryError(f"{argument}: {text} is a {type(kind).__name__}, not a lasagna.core.query_kind.QueryKind")
    return kind
