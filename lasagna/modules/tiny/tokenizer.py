"""The tiny language model's tokeniser: one token for each known word, letters for all others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from string import ascii_lowercase, digits, punctuation

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lasagna.modules.language_models.text_processor import TokenizerTextProcessor

PADDING, UNKNOWN, END, IMAGE, YES, NO = "<pad>", "<unk>", "<end>", "<image>", "<yes>", "<no>"
RESERVED = (PADDING, UNKNOWN, END, IMAGE, YES, NO)


def build_tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """Return a tokeniser that has a token for each given word and spells all others.

    Args:
        words: Lower-case words, each of which becomes one token.

    Returns:
        A WordPiece tokeniser; a character that is neither a letter a to z, a digit nor punctuation becomes ``<unk>``.
    """
    characters = ascii_lowercase + digits + punctuation
    pieces = [*RESERVED, *characters, *(f"##{character}" for character in characters), *words]
    vocabulary = {piece: rank for rank, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=64))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.Lowercase(), normalizers.StripAccents()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation()])
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PADDING,
        unk_token=UNKNOWN,
        eos_token=END,
        additional_special_tokens=[IMAGE, YES, NO],
    )


KEPT = 1 << 16
"""Most words in the cache of token ids."""


@dataclass(frozen=True)
class WordTextProcessor(TokenizerTextProcessor):
    """Caches the token ids of words, since the names of a data set recur in every text.

    This is valid for tokenisers that split texts at spaces first, if no token contains a space or absorbs one next to
    it.
    """

    _known: dict[str, list[int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def _ids(self, text: str) -> list[int]:
        words, known = text.split(" "), self._known
        if len(known) > KEPT:
            known.clear()
        known.update({word: super(WordTextProcessor, self)._ids(word) for word in set(words).difference(known)})
        return [token for word in words for token in known[word]]
