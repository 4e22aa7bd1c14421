"""What the mask heads of SAM and SAM 2 have in common: masks drawn for vectors in the place of points and boxes.

Notation: n: prompts; d: width of a prompt; h, w: cells of the main map.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor

from lasagna.errors import ConfigError
from lasagna.modules.base import MaskHead
from lasagna.modules.sam.by_image import draw_by_image
from lasagna.modules.sam.mask_network import MaskDecoder
from lasagna.modules.sam.prompt_network import DensePrompts
from lasagna.modules.sam.sizes import SamHeadSize


class PromptedMaskHead(MaskHead):
    """A mask decoder that is prompted by vectors; what stands in the place of other prompts is not trained.

    Args:
        chunk: Most prompts of one image decoded at once, which bounds the memory.
    """

    prompt_encoder: DensePrompts
    mask_decoder: MaskDecoder

    def __init__(self, chunk: int) -> None:
        super().__init__()
        if chunk < 1:
            raise ConfigError(f"chunk: expected at least 1 prompt at once, got {chunk}")
        self.chunk = chunk

    @property
    @abstractmethod
    def sizes(self) -> SamHeadSize:
        """The sizes in numbers."""

    @property
    def prompt_dim(self) -> int:
        """Width of a prompt."""
        return self.sizes.prompt_dim

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> Tensor:
        """Draw one mask for each prompt ``[n, d]``, logits ``[n, 4h, 4w]``."""
        images = self.prompt_encoder(features[0])
        height, width = images.shape[2:]
        positions = self.prompt_encoder.positions(height, width).to(images)
        finer = self.finer_cells(features)

        def draw(image: int, places: Tensor) -> Tensor:
            own = [cells[image] for cells in finer]
            masks: Tensor = self.mask_decoder(images[image], positions, prompts[places], own)
            return masks

        return draw_by_image(draw, image_index, len(images), self.chunk)

    def finer_cells(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return the finer maps that the decoder takes up, in the order of doubled cells; as a rule none."""
        return ()
