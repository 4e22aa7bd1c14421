"""How queries and answers are written: rendering, and reading answers back.

An answer to a complex query has a known skeleton, so that only its decisions are free: each entry is a lead (text that
contains the name) and one token, present or absent. Rendering joins leads and tokens; parsing takes them apart again.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import repeat
from typing import get_args

from lasagna.core.answer_parser import Fault, ParsedEntry, Piece, normalise, read_entries, read_single, split_text
from lasagna.core.dialogue import Dialogue, Kind
from lasagna.core.record import Turn
from lasagna.errors import ConfigError, QueryError

OPTIONAL_KINDS = frozenset({"reasoning_with_explanation"})
"""Kinds of queries that a format need not have."""


def format_faults(form: PromptFormat) -> list[str]:
    """Return what is wrong with a format; nothing if it can be used."""
    return [*_token_faults(form), *_prompt_faults(form), *_joint_faults(form)]


def _token_faults(form: PromptFormat) -> list[str]:
    names = ("present_token", "absent_token", "image_token")
    empty = [name for name in names if not getattr(form, name).strip()]
    faults = [f"{name}: it is empty; give a token such as '<SEG>'" for name in empty]
    for rank, name in enumerate(names):
        for other in () if empty else names[:rank]:
            one, two = getattr(form, other), getattr(form, name)
            if one in two or two in one:
                faults.append(f"{other} {one!r} and {name} {two!r}: neither may hold the other")
    return faults


def _prompt_faults(form: PromptFormat) -> list[str]:
    kinds = set(get_args(Kind))
    if not kinds - OPTIONAL_KINDS <= form.prompts.keys() <= kinds:
        return [f"prompts: expected one for each of {sorted(kinds)}, got {sorted(form.prompts)}"]
    strange = sorted(form.further_prompts.keys() - form.prompts.keys())
    faults = [f"further_prompts: {strange} have no first prompt in `prompts`"] if strange else []
    places = [(f"prompts.{kind}", prompt) for kind, prompt in form.prompts.items()]
    places += [(f"further_prompts.{kind}", prompt) for kind, more in form.further_prompts.items() for prompt in more]
    for place, prompt in places:
        if form.image_token and prompt.count(form.image_token) != 1:
            faults.append(f"{place}: {prompt!r} must hold {form.image_token!r} once")
        if "{query}" not in prompt:
            faults.append(f"{place}: {prompt!r} must hold {{query}}, the place of the names")
    return faults


def _joint_faults(form: PromptFormat) -> list[str]:
    joints = ("name_separator", "entry_separator", "token_gap", "lead_in", "given_lead_in", "tail", "next_round")
    faults = [] if form.name_separator else ["name_separator: it is empty, so that names would run together"]
    for joint in joints:
        text = getattr(form, joint) or ""
        faults += [f"{joint}: {text!r} holds {token!r}" for token in form.special_tokens if token and token in text]
    for answer in form.single_answers:
        if answer.count("{token}") != 1 or any(token and token in answer for token in form.special_tokens):
            faults.append(f"single_answers: {answer!r} must hold {{token}} once, and no token itself")
    return faults


KEPT = 1 << 16
"""About how many names something is kept."""


@lru_cache(maxsize=KEPT)
def single_spaced(name: str) -> str:
    """Return a name as it is written in prompts and answers: without blanks around it, and single ones within."""
    return " ".join(name.split())


@lru_cache(maxsize=KEPT)
def name_fault(name: str, reserved: tuple[str, ...], separators: tuple[str, ...]) -> str | None:
    """Say why a name cannot be asked for, or None if it can.

    Args:
        name: The name.
        reserved: Tokens that it must not hold.
        separators: What stands between names, which it must not hold either.
    """
    if all(unicodedata.category(character)[0] in "CZ" for character in name):
        return f"nothing can be seen in the name {name!r}; every name needs a visible character"
    held = [text for text in (*reserved, *separators) if text in name]
    return f"the name {name!r} holds {held}, which this prompt format uses itself" if held else None


__all__ = ["Fault", "ParsedEntry", "PromptFormat", "normalise"]


@dataclass(frozen=True)
class PromptFormat:
    """The spelling of queries and answers.

    Args:
        present_token: Token that says "here it is" and carries a mask.
        absent_token: Token that says "not in the picture".
        image_token: Place of the image in a prompt.
        prompts: Prompt for each kind of query; ``{query}`` is replaced by the names or the phrase. The one
            for "reasoning_with_explanation" may be left out; explanations cannot be asked for then.
        name_separator: What stands between the names of a complex query.
        entry_separator: What stands between the entries of an answer.
        token_gap: What stands between a name and its token.
        lead_in: What stands before the one token of a referring, reasoning or explained answer.
        given_lead_in: The same where the answer is given to the model and not written by it; None for ``lead_in``.
        tail: What stands at the end of an answer, before the language model's own end token.
        next_round: What stands in the place of all up to the image in a further round of a talk; None if there are no
            further rounds.
        markers: Further tokens of the prompts, such as those that enclose the names of a complex query.
        reserved_tokens: Further tokens that no name and no answer in words may hold; the assistant adds those of its
            language model.
        further_prompts: Further wordings of the prompts by kind, from which training may draw (``RandomWording``).
        single_answers: Wordings of the answer to a referring, reasoning or explained query; ``{token}`` is replaced by
            its token. The first is used in evaluation. Empty for the one of ``lead_in`` and ``tail``.

    Raises:
        ConfigError: If a token, a prompt or a separator is missing or in the way of another.
    """

    present_token: str
    absent_token: str
    image_token: str
    prompts: dict[Kind, str]
    name_separator: str = ", "
    entry_separator: str = ", "
    token_gap: str = " "
    lead_in: str = ""
    given_lead_in: str | None = None
    tail: str = ""
    next_round: str | None = None
    markers: tuple[str, ...] = ()
    reserved_tokens: tuple[str, ...] = ()
    further_prompts: dict[Kind, tuple[str, ...]] = field(default_factory=dict)
    single_answers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that answers can be written and read in this format."""
        if faults := format_faults(self):
            raise ConfigError(f"prompt_format: {'; '.join(faults)}")

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The tokens that a language model must know as one piece each: present, absent, image token, and markers."""
        return self.present_token, self.absent_token, self.image_token, *self.markers

    def check(self, kind: Kind, query: Sequence[str]) -> None:
        """Check that a query can be asked in this format.

        Raises:
            QueryError: If there is no such kind, the query is empty or no list of names, has an empty or doubled name,
                a name that holds a token or separator, or several names where the kind takes one.
        """
        if kind not in self.prompts:
            raise QueryError(f"kind: {kind!r} is none of this prompt format; choose one of {', '.join(self.prompts)}")
        if isinstance(query, str):
            raise QueryError(f"query: expected a list of names such as {[query]}, got the text {query!r}")
        if not all(isinstance(name, str) for name in query):
            raise QueryError(f"query: expected a list of names such as {list(map(str, query))}, got {list(query)}")
        if not query:
            raise QueryError("query: it is empty; name at least one category or phrase")
        if kind != "categories" and len(query) > 1:
            raise QueryError(f"query: kind {kind!r} takes one name, got {len(query)}; ask one query for each")
        reserved, separators = self._all_reserved, self._separators if kind == "categories" else ()
        fault = next(filter(None, map(name_fault, query, repeat(reserved), repeat(separators))), None)
        if fault:
            raise QueryError(f"query: {fault}")
        if len(set(map(normalise, query))) < len(query):
            doubled = sorted(name for name, count in Counter(map(normalise, query)).items() if count > 1)
            raise QueryError(f"query: {doubled} asked more than once; name each category once")

    @cached_property
    def _all_reserved(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.special_tokens, *self.reserved_tokens)))

    @cached_property
    def _separators(self) -> tuple[str, ...]:
        return tuple(sorted({self.name_separator.strip(), self.entry_separator.strip()} - {""}))

    @cached_property
    def _singles(self) -> tuple[str, ...]:
        return self.single_answers or (f"{self.lead_in}{{token}}{self.tail}",)

    def prompt(self, kind: Kind, query: Sequence[str], wording: int = 0) -> str:
        """Return the text that the assistant reads before it answers.

        Args:
            kind: Kind of the query.
            query: The names asked for.
            wording: Number of the wording, counted round and round among those that there are.
        """
        names = self.name_separator.join(map(single_spaced, query))
        return _one_of((self.prompts[kind], *self.further_prompts.get(kind, ())), wording).replace("{query}", names)

    def further_prompt(self, kind: Kind, query: Sequence[str]) -> str:
        """Return the text that the assistant reads in a further round of a talk before it answers.

        Raises:
            QueryError: If this format knows single rounds alone.
        """
        if self.next_round is None:
            raise QueryError(
                "query: a talk of several rounds, and this prompt format has no `next_round`: a row holds one round; "
                "give it one, or ask each round by itself (`rounds: apart` of VQA, `remember=False` of a talk)"
            )
        return self.next_round + self.prompt(kind, query).partition(self.image_token)[2].lstrip()

    def lead(self, kind: Kind, name: str, first: bool) -> str:
        """Return what stands before an entry's token."""
        if kind != "categories":
            return self._singles[0].partition("{token}")[0]
        return ("" if first else self.entry_separator) + single_spaced(name) + self.token_gap

    def answer(self, dialogue: Dialogue) -> str:
        """Return the answer's text.

        Raises:
            QueryError: If an answer in words holds a token.
        """
        if dialogue.kind == "question":
            return self._words(dialogue.text)
        decisions = [(entry.name, entry.present) for entry in dialogue.entries]
        decided = self.render(dialogue.kind, decisions, dialogue.wording[1])
        return (
            f"{decided} {self._words(dialogue.text)}"
            if dialogue.kind == "reasoning_with_explanation" and dialogue.text
            else decided
        )

    def later(self, turn: Turn) -> tuple[str, str]:
        """Return prompt and answer of a further round of a talk.

        Raises:
            QueryError: If the format has no further rounds, or one of the texts holds a token.
        """
        self.check("question", (turn.question,))
        return self.further_prompt("question", (turn.question,)), self._words(turn.answer)

    def _words(self, text: str) -> str:
        if reserved := [token for token in self._all_reserved if token in text]:
            raise QueryError(f"answer: {text!r} holds {reserved}, which must not stand among words")
        return text

    def render(self, kind: Kind, decisions: Sequence[tuple[str, bool]], wording: int = 0) -> str:
        """Return the answer that decides for each name whether it is present, without an explanation.

        Args:
            kind: Kind of the query.
            decisions: Names and whether they are present; one if the query is not complex.
            wording: Number of the wording, counted round and round among those that there are.
        """
        tokens = {True: self.present_token, False: self.absent_token}
        if kind != "categories":
            return "".join(_one_of(self._singles, wording).replace("{token}", tokens[there]) for _, there in decisions)
        entries = (single_spaced(name) + self.token_gap + tokens[present] for name, present in decisions)
        return self.entry_separator.join(entries) + self.tail

    def teacher_forced(self) -> str:
        """Return the answer to a phrase that is given to the model, up to the present token."""
        return (self.lead_in if self.given_lead_in is None else self.given_lead_in) + self.present_token

    def parse(self, kind: Kind, query: Sequence[str], text: str) -> tuple[tuple[ParsedEntry, ...], tuple[Fault, ...]]:
        """Read an answer back; never raises on what a model wrote.

        Args:
            kind: Kind of the query that was asked.
            query: The names that were asked for, in order.
            text: The answer as it was written, without the language model's end token.

        Returns:
            The entries in the order written, each name once (the first counts), and one fault for each name that is
            missing, repeated or was not asked for, for an order unlike the query's, and for text behind the last token
            that is no explanation.
        """
        return self.read(kind, query, *split_text(text, self.present_token, self.absent_token))

    def read(
        self,
        kind: Kind,
        query: Sequence[str],
        pieces: Sequence[Piece],
        rest: str,
        spelling: Callable[[str], str] = normalise,
    ) -> tuple[tuple[ParsedEntry, ...], tuple[Fault, ...]]:
        """Read an answer that is taken apart at its decision tokens already; as ``parse`` otherwise.

        Args:
            kind: Kind of the query that was asked.
            query: The names that were asked for, in order.
            pieces: For each decision token the text before it, and whether it was the present token.
            rest: Text behind the last decision token.
            spelling: The form in which texts are compared, such as what a tokeniser leaves of them.
        """
        if kind == "question" and not pieces:
            return (), ()
        if kind == "categories":
            separator = spelling(self.entry_separator)
            written = [(spelling(lead).removeprefix(separator).strip(), present) for lead, present in pieces]
            entries, faults = read_entries(query, [spelling(name) for name in query], written)
        else:
            entries, faults = read_single(query[0], pieces)
        ends = kind == "categories" or (pieces and kind != "question")
        faults += ["trailing"] if ends and not self._is_end(kind, rest, spelling) else []
        return entries, tuple(faults)

    def _is_end(self, kind: Kind, rest: str, spelling: Callable[[str], str]) -> bool:
        singles = (answer.partition("{token}")[2] for answer in self._singles)
        tails = {spelling(tail) for tail in ((self.tail,) if kind == "categories" else singles)}
        written = spelling(rest)
        return any(map(written.startswith, tails)) if kind == "reasoning_with_explanation" else written in tails


def _one_of(wordings: Sequence[str], number: int) -> str:
    return wordings[number % len(wordings)]
