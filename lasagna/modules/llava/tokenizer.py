"""The tokeniser that LLaVA v1 was trained with: sentencepiece between added tokens.

Today's tokenisers give other ids for the same folder. The original splits a text at core and added tokens, the longest
first, and drops white space around added tokens, but not around core tokens (``<s>``, ``</s>``, ``<unk>``). Each
remaining piece is encoded by itself, with sentencepiece's leading space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import read_json

SHORT, KEPT = 64, 1 << 16
"""Most characters of a text whose ids are cached, and most texts in the cache."""


@dataclass(frozen=True)
class LlavaTokenizer:
    """Sentencepiece with core and added tokens, which are one piece each.

    Args:
        pieces: The sentencepiece processor.
        added: Added tokens and their ids, which continue those of the pieces.
    """

    pieces: Any
    added: Mapping[str, int]

    def __len__(self) -> int:
        """Count all tokens."""
        return int(self.pieces.get_piece_size()) + len(self.added)

    @cached_property
    def core(self) -> dict[str, int]:
        """Start, end and unknown token with their ids."""
        ids = (self.pieces.bos_id(), self.pieces.eos_id(), self.pieces.unk_id())
        return {self.pieces.id_to_piece(token): token for token in ids}

    def with_tokens(self, tokens: Iterable[str]) -> LlavaTokenizer:
        """Return a tokeniser with additional tokens; new ones get the next ids, in order."""
        added = dict(self.added)
        for token in tokens:
            if token not in added and token not in self.core:
                added[token] = self.pieces.get_piece_size() + len(added)
        return replace(self, added=added)

    def ids(self, text: str) -> list[int]:
        """Turn a text into token ids, without start and end token."""
        parts = self._tokens.split(text)
        ids: list[int] = []
        for place, part in enumerate(parts):
            if place % 2:  # tokens alternate with text
                ids.append(self.added[part] if part in self.added else self.core[part])
                continue
            words = part.lstrip() if place and parts[place - 1] in self.added else part
            words = words.rstrip() if place + 1 < len(parts) and parts[place + 1] in self.added else words
            ids += self._encoded(words)
        return ids

    def ends(self, text: str, ids: Sequence[int]) -> list[int] | None:
        """Return where the characters of a text end that each of its tokens stands for, blanks apart.

        Args:
            text: The text.
            ids: What ``ids`` returned for it.

        Returns:
            The ends, ascending; None if a piece is not spelled as the text is, as that of an unknown character.
        """
        names, size = {token: name for name, token in self.added.items()}, self.pieces.get_piece_size()
        ends, end, held = list[int](), 0, b""
        for token in ids:
            piece = names[token] if token >= size else self.pieces.id_to_piece(token)
            is_byte = token < size and self.pieces.is_byte(token)
            held += bytes([int(piece[3:5], 16)]) if is_byte else piece.replace("\u2581", " ").encode()
            # the bytes of a character are a piece each
            if not is_byte or _is_whole(held):
                word, held = held.decode().strip(" "), b""
                start = text.find(word, end)
                if start < 0 or text[end:start].strip():
                    return None
                end = start + len(word)
            ends.append(end)
        return ends

    def _encoded(self, words: str) -> list[int]:
        """Encode the text between tokens; short texts are cached, since names recur in every answer."""
        if words in self._known:
            return self._known[words]
        ids = [int(token) for token in self.pieces.encode(words, out_type=int)] if words else []
        if len(words) <= SHORT and len(self._known) < KEPT:
            self._known[words] = ids
        return ids

    @cached_property
    def _known(self) -> dict[str, list[int]]:
        return {}

    def text(self, ids: Sequence[int], core: bool = False) -> str:
        """Turn token ids back into text, with a space on both sides of an added token.

        Args:
            ids: Token ids.
            core: Whether start, end and unknown tokens are included.
        """
        names = {token: name for name, token in self.added.items()}
        skipped = () if core else tuple(self.core.values())
        texts: list[str] = []
        words: list[int] = []
        for token in [token for token in ids if token not in skipped]:
            if token in names:
                texts += [self._words(words), names[token]] if words else [names[token]]
                words = []
            else:
                words.append(token)
        return " ".join([*texts, self._words(words)] if words else texts)

    @cached_property
    def _tokens(self) -> re.Pattern[str]:
        tokens = sorted((*self.core, *self.added), key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, tokens))})")

    def _words(self, ids: Sequence[int]) -> str:
        """Decode the ids between added tokens; a space comes before text that ends with a core token."""
        names = {token: name for name, token in self.core.items()}
        text, run = "", list[int]()
        for place, token in enumerate(ids):
            if token in names:
                blank = " " if place and ids[place - 1] not in names else ""
                text, run = text + blank + self._decoded(run) + names[token], []
            else:
                run.append(token)
        return text + self._decoded(run)

    def _decoded(self, ids: list[int]) -> str:
        return str(self.pieces.decode(ids)) if ids else ""


def _is_whole(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_tokenizer(folder: Path) -> LlavaTokenizer:
    """Read ``tokenizer.model`` and, if there is one, ``added_tokens.json``.

    Args:
        folder: The checkpoint's folder.

    Raises:
        CheckpointError: If the package sentencepiece or the file is missing, or the ids of added tokens do not continue
            those of the pieces, so that such a token would not be one piece. ``added_tokens.json`` may also list pieces
            with their ids, as newer versions of transformers do with the core tokens.
    """
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError as error:
        raise CheckpointError('LlavaV1 needs the package sentencepiece; install "lasagna[llava]"') from error
    path = folder / "tokenizer.model"
    if not path.is_file():
        raise CheckpointError(f"folder: {str(folder)!r} has no tokenizer.model; give the checkpoint's complete folder")
    try:
        pieces = SentencePieceProcessor(model_file=str(path))
    except (OSError, RuntimeError) as error:
        raise CheckpointError(f"folder: {path} is not a sentencepiece model ({error}); download it again") from error
    extra = folder / "added_tokens.json"
    listed = read_json(extra) if extra.is_file() else {}
    first = pieces.get_piece_size()
    known = {token for token, rank in listed.items() if rank in range(first) and pieces.id_to_piece(rank) == token}
    added = {token: rank for token, rank in listed.items() if token not in known}
    if set(added.values()) != set(range(first, first + len(added))):
        raise CheckpointError(
            f"folder: the ids in {extra} are {list(added.values())}; the {len(added)} added tokens must have the ids "
            f"from {first} on, after the pieces of tokenizer.model, to be one piece each; take both from one folder"
        )
    return LlavaTokenizer(pieces, added)
