"""The spelling of queries and answers: prompts, answers to learn, and reading what a model wrote.

The answer about categories has a fixed skeleton, so that only its decisions are free. Each entry is a lead, which is
text that contains the name, followed by one token, present or absent. Rendering joins leads and tokens; parsing takes
them apart again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import repeat

from lasagna.core.answer_parser import (
    Fault,
    ParsedEntry,
    Piece,
    normalise,
    read_entries,
    read_single,
    split_text,
    token_runs,
)
from lasagna.core.dialogue import Dialogue
from lasagna.core.grounded_text import mark_phrases, read_caption
from lasagna.core.prompt_format_checks import format_errors, name_error, shortened
from lasagna.core.query_kind import QUESTION, QueryKind, kind_of
from lasagna.core.record import Turn
from lasagna.errors import ConfigError, QueryError

__all__ = ["Fault", "ParsedEntry", "PromptFormat", "normalise", "shortened"]


@dataclass(frozen=True)
class PromptFormat:
    """The spelling of queries and answers.

    Args:
        present_token: Token that says that a name is in the image, and prompts its mask.
        absent_token: Token that says that a name is not in the image.
        image_token: Place of the image in a prompt, or of the first of several.
        prompts: Prompt for each kind of query, by its name; ``{query}`` is replaced by the names or the phrase. Kinds
            that are left out cannot be asked.
        name_separator: Text between the names of a list.
        entry_separator: Text between the entries of an answer.
        token_gap: Text between a name and its token.
        lead_in: Text before the one token of an answer to a phrase.
        given_lead_in: The same where evaluation gives the answer to the model ("teacher_forced"); None for ``lead_in``.
        tail: End of an answer, before the language model's own end token.
        next_turn: Text that replaces everything up to the image in the later turns of a conversation; None if
            conversations have one turn.
        markers: Further tokens of the prompts, such as those around the names of a query about categories.
        reserved_tokens: Further tokens that no name and no answer in words may contain; the assistant adds those of its
            language model.
        further_prompts: Further wordings of the prompts by kind, which training can draw from (``RandomWording``).
        single_answers: Wordings of the answer to a phrase; ``{token}`` is replaced by its token. Evaluation uses the
            first. Empty for the one made of ``lead_in`` and ``tail``.
        phrase_marks: Texts before and behind a phrase that has a mask, where masks stand among words; the present token
            follows them. List them in ``markers`` too if the language model should read each as one token.
        chat_template: Whether the prompts are a user's messages, which the assistant turns into prompts by the chat
            template of its language model; ``next_turn`` and the end of an answer then come from there too.
        image_separator: Text between the images where several are shown; None if a prompt takes one.
        own_kinds: Kinds of your own in ``prompts`` whose names are like those of the package.

    Raises:
        ConfigError: If a token, a prompt or a separator is missing, or two of them cannot be told apart.
    """

    present_token: str
    absent_token: str
    image_token: str
    prompts: dict[str, str]
    name_separator: str = ", "
    entry_separator: str = ", "
    token_gap: str = " "
    lead_in: str = ""
    given_lead_in: str | None = None
    tail: str = ""
    next_turn: str | None = None
    markers: tuple[str, ...] = ()
    reserved_tokens: tuple[str, ...] = ()
    further_prompts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    single_answers: tuple[str, ...] = ()
    chat_template: bool = False
    phrase_marks: tuple[str, str] = ("<p>", "</p>")
    image_separator: str | None = " "
    own_kinds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check that answers can be written and read in this format."""
        if errors := format_errors(self):
            raise ConfigError(f"prompt_format: {'; '.join(errors)}")

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Tokens that the language model must read as one token each: present, absent, image token, and markers."""
        return self.present_token, self.absent_token, self.image_token, *self.markers

    def check(self, kind: str, query: Sequence[str]) -> None:
        """Check that a query can be asked in this format.

        Args:
            kind: Kind of the query.
            query: The names asked for.

        Raises:
            QueryError: If the format does not have the kind, the query is empty or not a list of names, a name is
                empty, asked twice or contains a token or separator, or a kind that takes one name gets several.
        """
        kind = kind_of(kind)
        if kind not in self.prompts:
            raise QueryError(
                f"kind: {str(kind)!r} is not in this prompt format, which has {', '.join(self.prompts)}; add a line to "
                f"its prompts, such as {kind}: {next(iter(self.prompts.values()))!r}"
            )
        if isinstance(query, str):
            raise QueryError(f"query: expected a list of names such as {[query]}, got the text {query!r}")
        if not all(isinstance(name, str) for name in query):
            raise QueryError(f"query: expected a list of names such as {list(map(str, query))}, got {list(query)}")
        if not query:
            raise QueryError("query: it is empty; name at least one category or phrase")
        if not kind.many and len(query) > 1:
            raise QueryError(f"query: kind {str(kind)!r} takes one name, got {len(query)}; ask one query for each")
        separators = self._separators if kind.many else ()
        if error := next(filter(None, map(name_error, query, repeat(self._all_reserved), repeat(separators))), None):
            raise QueryError(f"query: {error}")
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

    def prompt(self, kind: str, query: Sequence[str], wording: int = 0) -> str:
        """Return the text that the assistant reads before it answers.

        Args:
            kind: Kind of the query.
            query: The names asked for.
            wording: Number of the wording, modulo the count of wordings.
        """
        wordings = (self.prompts[kind], *self.further_prompts.get(kind, ()))
        names = self.name_separator.join(map(_single_spaced, query))
        return wordings[wording % len(wordings)].replace("{query}", names)

    def further_prompt(self, kind: str, query: Sequence[str]) -> str:
        """Return the text that the assistant reads before it answers in a later turn of a conversation.

        Args:
            kind: Kind of the query.
            query: The names asked for.

        Raises:
            QueryError: If the format has no ``next_turn``.
        """
        if self.next_turn is None:
            raise QueryError(
                "query: this prompt format has no `next_turn`, so a conversation has one turn; set `next_turn`, or "
                "ask each turn by itself (`turns: apart` of VQA, `remember=False` of a chat)"
            )
        return self.next_turn + self.prompt(kind, query).partition(self.image_token)[2].lstrip()

    def lead(self, kind: str, name: str, first: bool) -> str:
        """Return the text before an entry's token.

        Args:
            kind: Kind of the query.
            name: The entry's name.
            first: Whether it is the first entry of the answer.
        """
        if not kind_of(kind).many:
            return self._singles[0].partition("{token}")[0]
        return ("" if first else self.entry_separator) + _single_spaced(name) + self.token_gap

    def answer(self, dialogue: Dialogue) -> str:
        """Return the text of the answer to learn.

        Args:
            dialogue: The dialogue with its answer.

        Raises:
            QueryError: If an answer in words contains a token.
        """
        if not dialogue.kind.masks:
            return self._words(dialogue.text)
        if dialogue.kind.grounded:
            before, behind = self.phrase_marks
            words, spans = self._words(dialogue.text, self.phrase_marks), [entry.span for entry in dialogue.entries]
            return mark_phrases(words, spans, before, f"{behind}{self.token_gap}{self.present_token}")
        decisions = [(entry.name, len(found)) for entry, found in zip(dialogue.entries, dialogue.targets, strict=True)]
        decided = self.render(dialogue.kind, decisions, dialogue.wording[1])
        has_words = dialogue.kind.words and dialogue.text
        return f"{decided} {self._words(dialogue.text)}" if has_words else decided

    def later(self, turn: Turn) -> tuple[str, str]:
        """Return prompt and answer of a later turn of a conversation.

        Args:
            turn: Question and answer.

        Raises:
            QueryError: If the format has no ``next_turn``, or one of the texts contains a token.
        """
        self.check(QUESTION, (turn.question,))
        return self.further_prompt(QUESTION, (turn.question,)), self._words(turn.answer)

    def _words(self, text: str, marks: Sequence[str] = ()) -> str:
        if reserved := [token for token in (*self._all_reserved, *marks) if token in text]:
            raise QueryError(f"answer: {shortened(text)!r} contains {reserved}, which must not appear among words")
        return text

    def render(self, kind: str, decisions: Sequence[tuple[str, int]], wording: int = 0) -> str:
        """Return the answer that decides for each name whether it is present, without words behind it.

        Args:
            kind: Kind of the query.
            decisions: Names and their numbers of present tokens, or whether they are present; one unless the kind lists
                names.
            wording: Number of the wording, modulo the count of wordings.
        """
        present_token, absent_token = self.present_token, self.absent_token
        if not kind_of(kind).many:
            single = self._singles[wording % len(self._singles)]
            return "".join(single.replace("{token}", present_token * count or absent_token) for _, count in decisions)
        lead = self.token_gap
        entries = (_single_spaced(name) + lead + (present_token * count or absent_token) for name, count in decisions)
        return self.entry_separator.join(entries) + self.tail

    def teacher_forced(self) -> str:
        """Return the answer to a phrase that evaluation gives to the model, up to the present token."""
        return (self.lead_in if self.given_lead_in is None else self.given_lead_in) + self.present_token

    def parse(self, kind: str, query: Sequence[str], text: str) -> tuple[tuple[ParsedEntry, ...], tuple[Fault, ...]]:
        """Read an answer; accepts whatever a model may write.

        Args:
            kind: Kind of the query.
            query: The names asked for, in order.
            text: The answer as it was written, without the language model's end token.

        Returns:
            The entries in the order written, each name once (the first counts), and the faults: one for each name that
            is missing, repeated or was not asked for, for an order unlike the query's, and for text behind the last
            token that is not an explanation.
        """
        return self.read(kind, query, *split_text(text, self.present_token, self.absent_token))

    def read(
        self,
        kind: str,
        query: Sequence[str],
        pieces: Sequence[Piece],
        rest: str,
        spelling: Callable[[str], str] = normalise,
    ) -> tuple[tuple[ParsedEntry, ...], tuple[Fault, ...]]:
        """Read an answer that is already split at its decision tokens.

        Args:
            kind: Kind of the query.
            query: The names asked for, in order.
            pieces: For each decision token the text before it, and whether it was the present token.
            rest: Text behind the last decision token.
            spelling: Maps texts to the form in which they are compared, such as what a tokeniser leaves of them.

        Returns:
            Entries and faults as of ``parse``.
        """
        kind = kind_of(kind)
        if not kind.masks and not pieces:
            return (), ()
        if kind.grounded:
            caption = read_caption(pieces, rest, list(map(spelling, self.phrase_marks)))
            return caption.entries, caption.faults
        runs, more = token_runs(pieces, kind.tokens)
        if kind.many:
            separator = spelling(self.entry_separator)
            written = [
                (spelling(lead).removeprefix(separator).strip(), present, place, count)
                for lead, present, place, count in runs
            ]
            entries, faults = read_entries(query, [spelling(name) for name in query], written)
        else:
            entries, faults = read_single(query[0], runs)
        faults += more
        ends = kind.many or (pieces and kind.masks)
        faults += ["trailing"] if ends and not self._is_end(kind, spelling(rest), spelling) else []
        return entries, tuple(faults)

    def _is_end(self, kind: QueryKind, rest: str, spelling: Callable[[str], str]) -> bool:
        singles = (answer.partition("{token}")[2] for answer in self._singles)
        tails = {spelling(tail) for tail in ((self.tail,) if kind.many else singles)}
        return any(map(rest.startswith, tails)) if kind.words else rest in tails


@lru_cache(maxsize=1 << 16)
def _single_spaced(name: str) -> str:
    """Return a name as prompts and answers spell it: no blanks around it, and single ones within."""
    return " ".join(name.split())
