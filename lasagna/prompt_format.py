"""How queries and answers are written: the formats as data, rendering, and reading answers back.

An answer to a complex query has a known skeleton, so that only its decisions are free: each entry is a lead (text that
contains the name) and one token, present or absent. Rendering joins leads and tokens; parsing takes them apart again.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lasagna.dialogue import Dialogue, Kind
from lasagna.errors import QueryError

Fault = Literal["missing", "repeated", "unknown", "order", "trailing"]


@dataclass(frozen=True)
class ParsedEntry:
    """An entry that was read from an answer.

    Args:
        name: The name as it was asked for.
        present: Whether the present token stood behind it.
        decision: Which of the answer's decision tokens it was, counted from 0.
    """

    name: str
    present: bool
    decision: int


@dataclass(frozen=True)
class PromptFormat:
    """The spelling of queries and answers.

    Args:
        present_token: Token that says "here it is" and carries a mask.
        absent_token: Token that says "not in the picture".
        image_token: Place of the image in a prompt.
        prompts: Prompt for each kind of query; ``{query}`` is replaced by the names or the phrase.
        name_separator: What stands between the names of a complex query.
        entry_separator: What stands between the entries of an answer.
        token_gap: What stands between a name and its token.
        lead_in: What stands before the one token of a referring or reasoning answer.
        tail: What stands at the end of an answer, before the language model's own end token.
    """

    present_token: str
    absent_token: str
    image_token: str
    prompts: dict[Kind, str]
    name_separator: str = ", "
    entry_separator: str = ", "
    token_gap: str = " "
    lead_in: str = ""
    tail: str = ""

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The tokens that a language model must know as one piece each."""
        return self.present_token, self.absent_token, self.image_token

    def check(self, kind: Kind, query: Sequence[str]) -> None:
        """Check that a query can be asked in this format.

        Raises:
            QueryError: If it is empty, has an empty or doubled name, or a name that holds a token or separator.
        """
        if not query:
            raise QueryError("query: it is empty; name at least one category or phrase")
        for name in query:
            self._check_name(kind, name)
        doubled = sorted(name for name, count in Counter(map(normalise, query)).items() if count > 1)
        if doubled:
            raise QueryError(f"query: {doubled} asked more than once; name each category once")

    def _check_name(self, kind: Kind, name: str) -> None:
        if all(unicodedata.category(character)[0] in "CZ" for character in name):
            raise QueryError(f"query: nothing can be seen in the name {name!r}; every name needs a visible character")
        reserved = [token for token in self.special_tokens if token in name]
        if kind == "complex":
            separators = {self.name_separator.strip(), self.entry_separator.strip()}
            reserved += [text for text in sorted(separators) if text and text in name]
        if reserved:
            raise QueryError(f"query: the name {name!r} holds {reserved}, which this prompt format uses itself")

    def prompt(self, kind: Kind, query: Sequence[str]) -> str:
        """Return the text that the assistant reads before it answers."""
        names = self.name_separator.join(" ".join(name.split()) for name in query)
        return self.prompts[kind].replace("{query}", names)

    def lead(self, kind: Kind, name: str, first: bool) -> str:
        """Return what stands before an entry's token."""
        if kind != "complex":
            return self.lead_in
        return ("" if first else self.entry_separator) + " ".join(name.split()) + self.token_gap

    def answer(self, dialogue: Dialogue) -> str:
        """Return the answer's text."""
        if dialogue.kind == "question":
            return dialogue.text
        return self.render(dialogue.kind, [(entry.name, entry.present) for entry in dialogue.entries])

    def render(self, kind: Kind, decisions: Sequence[tuple[str, bool]]) -> str:
        """Return the answer that decides for each name whether it is present."""
        tokens = {True: self.present_token, False: self.absent_token}
        parts = [self.lead(kind, name, rank == 0) + tokens[present] for rank, (name, present) in enumerate(decisions)]
        return "".join(parts) + self.tail

    def parse(self, kind: Kind, query: Sequence[str], text: str) -> tuple[tuple[ParsedEntry, ...], tuple[Fault, ...]]:
        """Read an answer back; never raises on what a model wrote.

        Args:
            kind: Kind of the query that was asked.
            query: The names that were asked for, in order.
            text: The answer as it was written, without the language model's end token.

        Returns:
            The entries in the order written, each name once (the first counts), and one fault for each name that is
            missing, repeated or was not asked for, for an order unlike the query's, and for text behind the last token.
        """
        pieces, rest = self._split(text)
        if kind != "complex":
            return self._parse_single(kind, query, pieces, rest)
        asked = {normalise(name): name for name in query}
        entries: dict[str, ParsedEntry] = {}
        faults: list[Fault] = []
        for decision, (lead, present) in enumerate(pieces):
            name = asked.get(normalise(self._strip(lead)))
            if name is None or name in entries:
                faults.append("unknown" if name is None else "repeated")
            else:
                entries[name] = ParsedEntry(name, present, decision)
        faults += ["missing"] * (len(asked) - len(entries))
        faults += ["order"] if list(entries) != [name for name in query if name in entries] else []
        faults += ["trailing"] if normalise(rest) != normalise(self.tail) else []
        return tuple(entries.values()), tuple(faults)

    def _parse_single(
        self, kind: Kind, query: Sequence[str], pieces: list[tuple[str, bool]], rest: str
    ) -> tuple[tuple[ParsedEntry, ...], tuple[Fault, ...]]:
        entries = tuple(ParsedEntry(query[0], present, 0) for _, present in pieces[:1])
        if kind == "question" and not pieces:
            return (), ()
        faults: list[Fault] = [] if pieces else ["missing"]
        faults += ["repeated"] * (len(pieces) - 1)
        faults += ["trailing"] if pieces and normalise(rest) != normalise(self.tail) and kind != "question" else []
        return entries, tuple(faults)

    def _split(self, text: str) -> tuple[list[tuple[str, bool]], str]:
        pieces: list[tuple[str, bool]] = []
        while True:
            found = [(text.find(token), token) for token in (self.present_token, self.absent_token) if token in text]
            if not found:
                return pieces, text
            place, token = min(found)
            pieces.append((text[:place], token == self.present_token))
            text = text[place + len(token) :]

    def _strip(self, lead: str) -> str:
        separator = self.entry_separator.strip()
        lead = lead.strip()
        return lead.removeprefix(separator) if separator else lead


def normalise(name: str) -> str:
    """Return the form in which names are compared: single blanks, whatever their case and Unicode composition."""
    plain = " ".join(name.split())
    if plain.isascii():
        return plain.casefold()
    # Unicode's canonical caseless matching: tokenisers may compose characters that a user typed apart
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", plain).casefold())


PAPER = PromptFormat(
    present_token="<SEG>",
    absent_token="<NEG>",
    image_token="<image>",
    prompts={
        "complex": "USER: <image>\nPlease segment the following categories: {query}. ASSISTANT: ",
        "referring": "USER: <image>\nPlease segment {query} in this image. ASSISTANT: ",
        "reasoning": "USER: <image>\n{query} Please answer with a segmentation mask. ASSISTANT: ",
        "question": "USER: <image>\n{query} ASSISTANT: ",
    },
    lead_in="Sure, it is ",
    tail=".",
)
"""The paper's spelling (arXiv 2404.08506, section 3): one entry a category, in the query's order."""

RELEASED = PromptFormat(
    present_token="<ins>",
    absent_token="<no_ins>",
    image_token="<image>",
    prompts={
        "complex": (
            "USER: <image>\n<semantic>Can you segment the following categories in this image?"
            "<cat_start> {query} <cat_end> ASSISTANT: "
        ),
        "referring": "USER: <image>\nCan you segment {query} in this image? ASSISTANT: ",
        "reasoning": "USER: <image>\n{query} Please output segmentation mask. ASSISTANT: ",
        "question": "USER: <image>\n{query} ASSISTANT: ",
    },
    entry_separator="",
    token_gap="",
    lead_in="Sure, it is ",
    tail="",
)
"""The spelling of the released code and weights: category markers, no separator between entries."""

TINY = PromptFormat(
    present_token="<SEG>",
    absent_token="<NEG>",
    image_token="<image>",
    prompts={
        "complex": "<image> list {query} answer ",
        "referring": "<image> find {query} answer ",
        "reasoning": "<image> show {query} answer ",
        "question": "<image> say {query} answer ",
    },
    name_separator=" ",
    entry_separator=" ",
)
"""For tiny language models: no commas, so that a name's own last word is all that stands before its token."""

PROMPT_FORMATS: dict[str, PromptFormat] = {"paper": PAPER, "released": RELEASED, "tiny": TINY}
