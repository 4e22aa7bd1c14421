"""Kinds of queries as data: whether names or a phrase are asked for, and whether masks or words answer them."""

from __future__ import annotations

from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Any

from lasagna.errors import ConfigError, QueryError

RENAMED_KINDS = {"complex": "categories", "explained": "reasoning_with_explanation"}
"""Former names of kinds, to point out the present ones."""


USUAL: dict[str, bool | int] = {
    "many": False,
    "masks": True,
    "words": False,
    "objects": False,
    "tokens": 0,
    "grounded": False,
}
"""What a kind is unless it says otherwise: one phrase, answered by a mask."""


class QueryKind(str):
    """A kind of query.

    It is its own name, a text, so that it can be the key of a prompt format's prompts and stand in files. A task
    brings its kinds along; a prompt format has a prompt for each.

    Args:
        name: The name, a Python identifier such as "categories".
        many: Whether a query lists names, each with an entry in the answer, rather than being one phrase.
        masks: Whether the answer decides which names are present, and present ones have a mask.
        words: Whether the answer has words: alone, or behind the decision about a phrase.
        objects: Whether present names have a mask for each of their objects, rather than one for all.
        tokens: Most objects of a name, where each has a present token of its own that prompts its mask; 0 if one token
            prompts the masks of all objects.
        grounded: Whether masks stand among the words, each behind the phrase that it shows, rather than before them.

    Raises:
        ConfigError: If the name is no identifier, or there are no answers of this form.
    """

    many: bool
    masks: bool
    words: bool
    objects: bool
    tokens: int
    grounded: bool

    def __new__(cls, name: str, **_form: object) -> QueryKind:
        """Make the text."""
        return super().__new__(cls, name)

    def __init__(
        self,
        name: str,
        *,
        many: bool = False,
        masks: bool = True,
        words: bool = False,
        objects: bool = False,
        tokens: int = 0,
        grounded: bool = False,
    ) -> None:
        """Check the form."""
        if not name.isidentifier():
            raise ConfigError(f"name: a kind of query is called by an identifier such as 'counting', not {name!r}")
        given = {"many": many, "masks": masks, "words": words, "objects": objects, "grounded": grounded}
        if odd := [f"{key}={value!r}" for key, value in given.items() if not isinstance(value, bool)]:
            raise ConfigError(f"{name}: {', '.join(odd)}: expected true or false")
        if not masks and not words:
            raise ConfigError(f"{name}: an answer needs masks or words; set one of them")
        if many and words:
            raise ConfigError(f"{name}: an answer to a list of names has no words; leave out `many` or `words`")
        if many and not masks:
            raise ConfigError(f"{name}: a list of names is answered by decisions; set `masks`, or leave out `many`")
        if objects and not masks:
            raise ConfigError(f"{name}: objects are told apart by masks; set `masks`, or leave out `objects`")
        if tokens < 0 or (tokens and (not objects or words)):
            raise ConfigError(
                f"{name}: tokens={tokens} is the most objects of a name in an answer without words; set `objects`, and "
                "leave out `words`, or leave out `tokens`"
            )
        if grounded and not (masks and words):
            raise ConfigError(f"{name}: grounded words have masks among them; set `masks` and `words`")
        super().__init__()
        self.many, self.masks, self.words, self.objects = many, masks, words, objects
        self.tokens, self.grounded = tokens, grounded

    @property
    def form(self) -> dict[str, bool | int]:
        """The arguments that differ from their defaults, as plain data."""
        return {name: getattr(self, name) for name, usual in USUAL.items() if getattr(self, name) != usual}

    @property
    def is_set(self) -> bool:
        """Whether one token prompts a set of masks."""
        return self.objects and not self.tokens

    @property
    def is_phrase(self) -> bool:
        """Whether one phrase is asked for, and answered by a mask or as absent."""
        return self.masks and not self.many and not self.grounded

    @property
    def decides(self) -> bool:
        """Whether an answer says of each name or phrase that is asked for whether it is present."""
        return self.masks and not self.grounded

    @property
    def is_free(self) -> bool:
        """Whether answers are always written freely, since none of their text is known before."""
        return not self.masks or self.grounded


CATEGORY_LIST = QueryKind("categories", many=True)
REFERRING = QueryKind("referring")
REASONING = QueryKind("reasoning")
REASONING_WITH_EXPLANATION = QueryKind("reasoning_with_explanation", words=True)
QUESTION = QueryKind("question", masks=False, words=True)
INSTANCES = QueryKind("instances", many=True, objects=True)
PANOPTIC = QueryKind("panoptic", many=True, objects=True)
GROUNDED_CAPTION = QueryKind("grounded_caption", words=True, grounded=True)

TOKENS = 16
"""Most objects of a name in the package's kinds with a token for each."""

INSTANCES_BY_TOKEN = QueryKind("instances_by_token", many=True, objects=True, tokens=TOKENS)
PANOPTIC_BY_TOKEN = QueryKind("panoptic_by_token", many=True, objects=True, tokens=TOKENS)

KINDS: dict[str, QueryKind] = {
    kind: kind
    for kind in (
        CATEGORY_LIST,
        REFERRING,
        REASONING,
        REASONING_WITH_EXPLANATION,
        QUESTION,
        INSTANCES,
        PANOPTIC,
        INSTANCES_BY_TOKEN,
        PANOPTIC_BY_TOKEN,
        GROUNDED_CAPTION,
    )
}
"""The kinds of the package by name."""


def kind_of(
    kind: str, others: Mapping[str, QueryKind] = MappingProxyType({}), asked: Container[str] | None = None
) -> QueryKind:
    """Return the kind that a name stands for; a kind stands for itself.

    Args:
        kind: A kind, or the name of one of ``others`` or ``KINDS``.
        others: Further kinds by name, such as those that an assistant learned.
        asked: Names of the kinds that can be asked, such as those with a prompt; None if that is not known.

    Raises:
        QueryError: If it is neither.
    """
    if isinstance(kind, QueryKind):
        return kind
    if kind in others:
        return others[kind]
    if kind in RENAMED_KINDS:
        raise QueryError(f"kind: {renamed(kind)}")
    if kind not in KINDS:
        names = ", ".join(name for name in {**KINDS, **others} if asked is None or name in asked)
        raise QueryError(
            f"kind: {kind!r} is none of those known here; choose one of {names}, or give your own QueryKind"
        )
    return KINDS[kind]


def kinds_of_forms(forms: Mapping[str, Mapping[str, Any]]) -> dict[str, QueryKind]:
    """Return kinds by name, from their names and forms.

    Args:
        forms: Name to ``QueryKind.form``.

    Raises:
        ConfigError: If one is no form.
    """
    for name, form in forms.items():
        given = form.items() if isinstance(form, Mapping) else [("form", form)]
        odd = [key for key, value in given if key not in USUAL or type(value) is not type(USUAL[key])]
        if odd or not isinstance(name, str):
            raise ConfigError(f"kind {name!r}: expected values of {', '.join(USUAL)}, got {form!r}")
    return {name: QueryKind(name, **form) for name, form in forms.items()}


def renamed(kind: str) -> str:
    """Return what to say about the former name of a kind."""
    return f"{kind!r} is called {RENAMED_KINDS[kind]!r} now; rename it"
