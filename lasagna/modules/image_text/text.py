"""Prompts of image-text models: the image stands first, enclosed as its family encloses it."""

from __future__ import annotations

from dataclasses import dataclass

from lasagna.modules.language_models.causal import TokenizerPreparation


@dataclass(frozen=True)
class ImageFirst(TokenizerPreparation):
    """A tokeniser that puts the image before all text, wherever the prompt format has it.

    So the image begins at the same position in every row, which positions with three axes are computed from.

    Args:
        enclosing: Tokens before and behind the image; empty where the tokeniser does not know them.
    """

    enclosing: tuple[str, str] = ("", "")

    @property
    def first(self) -> int:
        """Position of the image's first token."""
        start = 0 if self.tokenizer.bos_token_id is None else 1
        return start + len(self._ids(self.enclosing[0]))

    def prompt_ids(self, text: str) -> list[int]:
        """Turn a prompt into token ids, with as many image tokens as an image costs."""
        before, image, after = text.partition(self.image_token)
        return super().prompt_ids(f"{self.enclosing[0]}{image}{self.enclosing[1]}{before.strip()}{after}")
