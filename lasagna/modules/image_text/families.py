"""The families of image-text models that are known here."""

from __future__ import annotations

from typing import Any

from lasagna.errors import ConfigError
from lasagna.modules.image_text.family import Family
from lasagna.modules.image_text.patch_towers import POOLED, FlexibleTower, PooledTower, view_tokens
from lasagna.modules.image_text.qwen_towers import MergedTower, StackedTower, WindowedTower
from lasagna.modules.image_text.towers import (
    ConnectedTower,
    FinalTower,
    LayerTower,
    LineTower,
    ShuffledTower,
    patch_side,
)


class Llava(Family):
    """LLaVA 1.5."""

    name = "LLaVA 1.5"
    tower = LayerTower()


class LlavaNext(Family):
    """LLaVA-NeXT, whose image ends with a learned vector, as does that of its successors."""

    name = "LLaVA-NeXT"
    tower = LineTower()
    projector = ("multi_modal_projector", "image_newline")

    def image_tokens(self, config: Any, image_size: int) -> int:  # noqa: ANN401
        """Return the number of tokens that stand for an image, with the end of the line."""
        return super().image_tokens(config, image_size) + 1


class LlavaOneVision(LlavaNext):
    """LLaVA-OneVision."""

    name = "LLaVA-OneVision"


class InternVL(Family):
    """InternVL."""

    name = "InternVL"
    tower = ShuffledTower()
    enclosing = (("<img>",), ("</img>",))

    def unit(self, config: Any) -> int:  # noqa: ANN401
        """Return the pixels along a side of an image token."""
        ratio: float = config.downsample_ratio
        return round(patch_side(config) / ratio)


class SmolVLM(Family):
    """SmolVLM, which can also read an image in parts; here it reads it as a whole."""

    name = "SmolVLM"
    tower = ConnectedTower()
    enclosing = (("<fake_token_around_image>", "<global-img>"), ("<fake_token_around_image>",))
    projector = ("connector",)
    language_layers = "text_model"

    def unit(self, config: Any) -> int:  # noqa: ANN401
        """Return the pixels along a side of an image token."""
        return int(patch_side(config) * config.scale_factor)


class Idefics3(SmolVLM):
    """Idefics3."""

    name = "Idefics3"


class PaliGemma(Family):
    """PaliGemma and PaliGemma 2."""

    name = "PaliGemma"
    tower = FinalTower()
    prefix = True


class Gemma3(Family):
    """Gemma 3, which averages groups of patches."""

    name = "Gemma 3"
    tower = FinalTower()
    enclosing = (("\n\n", "<start_of_image>"), ("<end_of_image>", "\n\n"))
    placeholder = "<start_of_image>"
    mutual = True

    def unit(self, config: Any) -> int:  # noqa: ANN401
        """Return the pixels along a side of an image token.

        Raises:
            ConfigError: If there are more image tokens than patches.
        """
        patch, tokens = patch_side(config), round(config.mm_tokens_per_image**0.5)
        patches = (self.side(config) or 0) // patch
        if patches < tokens:
            raise ConfigError(
                f"model: {patches} patches along a side cannot be joined to {tokens} image tokens; give a larger "
                "image_size or fewer mm_tokens_per_image in the model's settings"
            )
        return int(patches // tokens * patch)


class Lfm2VL(Family):
    """LFM2-VL, which can also read an image in parts; here it reads it as a whole."""

    name = "LFM2-VL"
    tower = FlexibleTower()
    enclosing = (("<|image_start|>",), ("<|image_end|>",))

    def side(self, config: Any) -> int | None:  # noqa: ANN401
        """Return None, since any input will do."""
        return None

    def unit(self, config: Any) -> int:  # noqa: ANN401
        """Return the pixels along a side of an image token."""
        return int(patch_side(config) * config.downsample_factor)


class Qwen2VL(Family):
    """Qwen2-VL."""

    name = "Qwen2-VL"
    tower = MergedTower()
    enclosing = (("<|vision_start|>",), ("<|vision_end|>",))
    projector = ("visual.merger", "visual.deepstack_merger_list")
    axes = True

    def side(self, config: Any) -> int | None:  # noqa: ANN401
        """Return None, since any input will do."""
        return None

    def unit(self, config: Any) -> int:  # noqa: ANN401
        """Return the pixels along a side of an image token."""
        return int(patch_side(config) * config.vision_config.spatial_merge_size)


class Qwen25VL(Qwen2VL):
    """Qwen2.5-VL."""

    name = "Qwen2.5-VL"
    tower = WindowedTower()


class Qwen3VL(Qwen2VL):
    """Qwen3-VL."""

    name = "Qwen3-VL"
    tower = StackedTower()


class Qwen35(Qwen2VL):
    """Qwen3.5."""

    name = "Qwen3.5"


class Molmo2(Family):
    """Molmo 2, which is shown an image as a whole and in parts; here the only part is all of it."""

    name = "Molmo 2"
    tower = PooledTower()
    placeholder = "<|image|>"
    mutual = True
    across = True
    starts = True

    def unit(self, config: Any) -> int:  # noqa: ANN401
        """Return the pixels along a side of an image token."""
        return patch_side(config) * POOLED

    def grid(self, config: Any, image_size: int) -> int:  # noqa: ANN401
        """Return the number of image tokens along a side, of which the last may stand for fewer patches."""
        return -(-(self.input_side(config, image_size) // patch_side(config)) // POOLED)

    def image_tokens(self, config: Any, image_size: int) -> int:  # noqa: ANN401
        """Return the number of tokens that stand for an image, in both views."""
        return len(view_tokens(config, self.grid(config, image_size)))

    def check(self, config: Any, image_size: int) -> None:  # noqa: ANN401
        """Check nothing, since groups of patches need not be full."""


FAMILIES: dict[str, Family] = {
    "llava": Llava(),
    "llava_next": LlavaNext(),
    "llava_onevision": LlavaOneVision(),
    "internvl": InternVL(),
    "smolvlm": SmolVLM(),
    "idefics3": Idefics3(),
    "paligemma": PaliGemma(),
    "qwen2_vl": Qwen2VL(),
    "qwen2_5_vl": Qwen25VL(),
    "qwen3_vl": Qwen3VL(),
    "qwen3_vl_moe": Qwen3VL(),
    "qwen3_5": Qwen35(),
    "qwen3_5_moe": Qwen35(),
    "gemma3": Gemma3(),
    "lfm2_vl": Lfm2VL(),
    "molmo2": Molmo2(),
}
"""Transformers' model type to its family; a test compares each with transformers' own forward."""


def family_of(config: Any, given: Family | None = None) -> Family:  # noqa: ANN401
    """Return the family of a model.

    Args:
        config: The model's config.
        given: A family that the user names, or None for the one that is known here.

    Raises:
        ConfigError: If none is given or known.
    """
    if given is not None:
        return given
    if config.model_type not in FAMILIES:
        known = ", ".join(f"{kind} ({family.name})" for kind, family in FAMILIES.items())
        raise ConfigError(
            f"model: a {config.model_type!r} is not supported; choose one of {known}, or give a `family` of your own"
        )
    return FAMILIES[config.model_type]


def check_config(config: Any, family: Family, image_size: int, max_length: int) -> None:  # noqa: ANN401
    """Check that images and rows fit a model.

    Args:
        config: The model's config.
        family: Its family.
        image_size: Height and width of the tower's input in pixels, for families that take any.
        max_length: Longest row of tokens, the image's included.

    Raises:
        ConfigError: If the patches of its tower form no grid, or a size does not fit.
    """
    family.check(config, image_size)
    tokens = family.image_tokens(config, image_size)
    if max_length <= tokens:
        raise ConfigError(f"max_length: {max_length} leaves no room beside the image's {tokens} tokens; take more")
    window = getattr(config.get_text_config(), "sliding_window", None) if family.prefix else None
    if window is not None and max_length > window:
        raise ConfigError(
            f"max_length: layers of this model attend to the last {window} tokens only, got {max_length}; take at most "
            f"{window}"
        )
