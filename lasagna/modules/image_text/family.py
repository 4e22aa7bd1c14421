"""A family of image-text models: how it reads an image, and how it counts tokens and positions."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar

from lasagna.core.config import Configurable
from lasagna.errors import ConfigError
from lasagna.modules.image_text.towers import TowerReading, patch_side


class Family(Configurable):
    """A family of models, as a class with few attributes and methods to replace. All methods take the model's config.

    Attributes:
        name: Common name of the family.
        tower: How the tower is read.
        enclosing: Tokens before and after an image, as its processor or its chat template puts them.
        placeholder: Token that a chat template puts where an image goes, if it is none of those that its vectors
            replace.
        projector: Parts of the names of the weights between tower and language layers.
        language_layers: Name of the language layers in the model.
        axes: Whether positions have three axes (time, row, column), as in M-RoPE.
        prefix: Whether image and question attend to each other in both directions, with positions from 1.
        mutual: Whether the tokens of an image attend to each other in both directions.
        across: Whether those of several images do so too.
        starts: Whether its processor puts the start token before each prompt, or else the end token.
    """

    name: ClassVar[str]
    tower: ClassVar[TowerReading]
    enclosing: ClassVar[tuple[tuple[str, ...], tuple[str, ...]]] = ((), ())
    placeholder: ClassVar[str | None] = None
    projector: ClassVar[tuple[str, ...]] = ("multi_modal_projector",)
    language_layers: ClassVar[str] = "language_model"
    axes: ClassVar[bool] = False
    prefix: ClassVar[bool] = False
    mutual: ClassVar[bool] = False
    across: ClassVar[bool] = False
    starts: ClassVar[bool] = False

    def side(self, config: Any) -> int | None:  # noqa: ANN401
        """Return the fixed height and width of the tower's input in pixels, or None if any will do."""
        side = config.vision_config.image_size
        return int(side[0] if isinstance(side, list | tuple) else side)

    def unit(self, config: Any) -> int:  # noqa: ANN401
        """Return the pixels along a side of an image token."""
        return patch_side(config)

    def input_side(self, config: Any, image_size: int) -> int:  # noqa: ANN401
        """Return height and width of the tower's input in pixels: ``image_size``, where the family takes any."""
        return self.side(config) or image_size

    def grid(self, config: Any, image_size: int) -> int:  # noqa: ANN401
        """Return the number of image tokens along a side."""
        return self.input_side(config, image_size) // self.unit(config)

    def image_tokens(self, config: Any, image_size: int) -> int:  # noqa: ANN401
        """Return the number of tokens that stand for an image."""
        return self.grid(config, image_size) ** 2

    def enclosing_text(self, vocabulary: Collection[str]) -> tuple[str, str]:
        """Return the tokens before and after an image; empty texts where a vocabulary does not have them all."""
        before, after = self.enclosing
        known = all(token in vocabulary or token.isspace() for token in (*before, *after))
        return ("".join(before), "".join(after)) if known else ("", "")

    def image_token(self, config: Any, tokenizer: Any) -> str | None:  # noqa: ANN401
        """Return the token that stands for an image in the model's own prompts."""
        number = getattr(config, "image_token_id", None) or config.image_token_index
        token: str | None = tokenizer.convert_ids_to_tokens(number)
        return token

    def check(self, config: Any, image_size: int) -> None:  # noqa: ANN401
        """Check that an image fits the model.

        Raises:
            ConfigError: If the patches of the tower form no grid, or a size does not fit.
        """
        self.tower.check(config)
        side, unit = self.input_side(config, image_size), self.unit(config)
        # a tower of fixed size ignores pixels that fill no patch, as convolutions do
        used = side if self.side(config) is None else side // patch_side(config) * patch_side(config)
        if used < unit or used % unit:
            raise ConfigError(f"image_size: {side} is not a multiple of {unit}, the pixels of an image token")
