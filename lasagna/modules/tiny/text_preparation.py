"""Tokenisation of texts whose words are tokenised apart from one another."""

from __future__ import annotations

from dataclasses import dataclass, field

from lasagna.modules.language_models.causal import TokenizerPreparation

KEPT = 1 << 16
"""How many words' token ids are kept."""


@dataclass(frozen=True)
class WordPreparation(TokenizerPreparation):
    """Keeps the token ids of words, since those of a data set's names come again in every text.

    That is right for a tokeniser that splits texts at blanks before all else, and none of whose tokens holds a blank or
    takes one away beside it.
    """

    _known: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def _ids(self, text: str) -> list[int]:
        words, known = text.split(" "), self._known
        if len(known) > KEPT:
            known.clear()
        known.update({word: super(WordPreparation, self)._ids(word) for word in set(words).difference(known)})
        return [token for word in words for token in known[word]]
