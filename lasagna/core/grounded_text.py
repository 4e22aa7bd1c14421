"""Words with masks among them: phrases marked in a text, each followed by the present token, and read back.

With the marks ``<p>`` and ``</p>``, "a red boat on the sea" reads ``a <p>red boat</p> <SEG> on the <p>sea</p> <SEG>``
(Rasheed et al., GLaMM, arXiv 2311.03356).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from unicodedata import east_asian_width

from lasagna.core.answer_parser import Fault, ParsedEntry, Piece
from lasagna.errors import QueryError

Span = tuple[int, int]
"""Begin and end of a phrase, as positions in a text; the end is exclusive."""


@dataclass(frozen=True)
class ParsedCaption:
    """An answer with masks among its words, taken apart.

    Args:
        words: The words without marks and tokens.
        entries: The phrases that have a mask, in order, with their spans in the words.
        faults: "missing" for each mark or pair of marks without a token, and "unknown" for each token without a marked
            phrase directly before it.
    """

    words: str
    entries: tuple[ParsedEntry, ...]
    faults: tuple[Fault, ...]


def span_error(text: str, spans: Sequence[Span | None]) -> str | None:
    """Return what is wrong with the spans of a text's phrases, or None.

    They must lie in the text, hold visible characters, follow one another and not overlap.

    Args:
        text: The text.
        spans: The spans, in order.
    """
    last = 0
    for rank, span in enumerate(spans):
        if span is None:
            return f"phrase {rank} has no span; give its begin and end in {text[:60]!r}"
        begin, end = span
        if not (hasattr(begin, "__index__") and hasattr(end, "__index__")):
            return f"the span {[begin, end]} must be two whole numbers, begin and end in {text[:60]!r}"
        if not 0 <= begin < end <= len(text) or not text[begin:end].strip():
            return f"the span {[begin, end]} holds no words of {text[:60]!r}, which has {len(text)} characters"
        if begin < last:
            return f"the span {[begin, end]} begins before the end of the one before it, {last}; sort the phrases"
        last = end
    return None


def mark_phrases(text: str, spans: Sequence[Span | None], before: str, behind: str) -> str:
    """Return a text with texts around its phrases.

    Args:
        text: The text.
        spans: Span of each phrase, in order.
        before: What precedes each phrase.
        behind: What follows it: the second mark and the present token.

    Raises:
        QueryError: If a span is missing, lies outside the text, or overlaps another.
    """
    if error := span_error(text, spans):
        raise QueryError(f"answer: {error}")
    parts, start = list[str](), 0
    for begin, end in filter(None, spans):
        parts += [text[start:begin], before, text[begin:end], behind]
        start = end
    return "".join([*parts, text[start:]])


def read_caption(pieces: Sequence[Piece], rest: str, marks: Sequence[str]) -> ParsedCaption:
    """Read a text whose phrases are marked; accepts whatever a model may write.

    Blanks are single in the words that are returned.

    Args:
        pieces: For each decision token the text before it, and whether it was the present token.
        rest: Text behind the last decision token.
        marks: The marks before and behind a phrase, as the tokeniser can write them.
    """
    before, behind = (mark.strip() for mark in marks)
    words, entries, faults = "", list[ParsedEntry](), list[Fault]()
    for decision, (piece, present) in enumerate(pieces):
        marked = piece.rstrip()
        begin = marked.rfind(before, 0, -len(behind)) if present and marked.endswith(behind) else -1
        phrase = " ".join(marked[begin + len(before) : -len(behind)].split()) if begin >= 0 else ""
        # a mark within the phrase would be one that nothing opened
        if not phrase or behind in phrase:
            faults.append("unknown")
            words = _joined(words, _unmarked(piece, before, behind, faults))
            continue
        words = _joined(words, _unmarked(marked[:begin], before, behind, faults))
        words = _joined(words, phrase, spaced=marked[:begin][-1:].isspace())
        entries.append(ParsedEntry(phrase, True, decision, span=(len(words) - len(phrase), len(words))))
    words = _joined(words, _unmarked(rest, before, behind, faults))
    return ParsedCaption(words.rstrip(), tuple(entries), tuple(faults))


def _unmarked(text: str, before: str, behind: str, faults: list[Fault]) -> str:
    """Return a text without marks, each pair of which, or each single one, is a phrase without a token."""
    faults += ["missing"] * max(text.count(before), text.count(behind))
    return text.replace(before, " ").replace(behind, " ")


def _joined(words: str, text: str, spaced: bool = False) -> str:
    """Return words and what follows them, with a blank between them where one of them has it, or letters would meet."""
    plain = " ".join(text.split())
    if not words or not plain:
        return words or plain
    spaced = spaced or text[:1].isspace() or (_is_spaced(words[-1]) and _is_spaced(plain[0]))
    return f"{words} {plain}" if spaced else words + plain


def _is_spaced(character: str) -> bool:
    """Return whether a character belongs to words between which there are blanks, unlike those of Chinese."""
    return character.isalnum() and east_asian_width(character) not in ("W", "F")
