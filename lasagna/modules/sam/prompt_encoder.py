"""SAM's and SAM 2's prompt encoder: points, boxes and masks as vectors and maps.

Prompts of a language model take the place of its vectors, or stand beside them. Notation: b: images; h, w: cells of the
main map; d: width of a prompt; p: points; t: vectors of a prompt.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from lasagna.core.visual_prompt import FittedPrompt
from lasagna.modules.sam.layers import LayerNorm2d
from lasagna.modules.sam.sizes import SamHeadSize


class PromptEncoder(nn.Module):
    """The prompt encoder (arXiv 2304.02643, appendix A), which SAM and SAM 2 share.

    Args:
        size: Sizes of the mask head.
        always_padded: Whether a vector that stands for "no point" follows boxes as well, as in SAM 2; in SAM it
            follows points without a box.
    """

    def __init__(self, size: SamHeadSize, always_padded: bool = False) -> None:
        super().__init__()
        width, narrow = size.prompt_dim, size.mask_channels
        self.always_padded = always_padded
        self.pe_layer = PositionEmbeddingRandom(width)
        self.no_mask_embed = nn.Embedding(1, width)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, width) for _ in range(4)])
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, narrow // 4, 2, stride=2),
            LayerNorm2d(narrow // 4),
            nn.GELU(),
            nn.Conv2d(narrow // 4, narrow, 2, stride=2),
            LayerNorm2d(narrow),
            nn.GELU(),
            nn.Conv2d(narrow, width, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """Add the embedding of "no mask given" to maps ``[b, d, h, w]``."""
        return features + self.no_mask_embed.weight.to(features)[0, :, None, None]

    def positions(self, height: int, width: int) -> Tensor:
        """Return the position of each cell of a map, float ``[h*w, d]``."""
        waves: Tensor = self.pe_layer(height, width)
        return waves

    def with_mask(self, features: Tensor, mask: Tensor | None) -> Tensor:
        """Add an earlier mask, or that there is none, to the map of one image.

        Args:
            features: The map, float ``[1, d, h, w]``.
            mask: Logits over the padded input, float ``[H, W]``, or None.

        Returns:
            Float ``[1, d, h, w]``.
        """
        if mask is None:
            plain: Tensor = self(features)
            return plain
        size = [4 * side for side in features.shape[2:]]
        # as transformers resizes it for SAM 2; masks of this size stay as they are
        if list(mask.shape) != size:
            mask = nn.functional.interpolate(mask[None, None], size, mode="bilinear", antialias=True)[0, 0]
        embedded: Tensor = self.mask_downscaling(mask[None, None].to(features))
        return features + embedded

    def vectors(self, visual: FittedPrompt, image_size: tuple[int, int]) -> Tensor:
        """Turn points and a box into vectors, float32 ``[t, d]``; none if there are neither.

        Args:
            visual: The points and the box.
            image_size: Height and width of the padded input.
        """
        kinds = torch.cat(list(self.point_embeddings.parameters())).float()
        vectors = [self._placed(visual.points, image_size) + kinds[visual.positive.long().to(kinds.device)]]
        if visual.box is not None:
            vectors.append(self._placed(visual.box.unflatten(0, (2, 2)), image_size) + kinds[2:])
        if self.always_padded if visual.box is not None else len(visual.points):
            vectors.append(self.not_a_point_embed.weight.float())
        return torch.cat(vectors)

    def _placed(self, points: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Return the positions of points ``[p, 2]`` (column and row) whose pixels' middle is meant, ``[p, d]``."""
        points = points.to(self.no_mask_embed.weight.device)
        columns, rows = ((points + 0.5) / points.new_tensor(image_size[::-1])).T
        waves: Tensor = self.pe_layer.at(rows, columns)
        return waves


class PositionEmbeddingRandom(nn.Module):
    """Positions as sines and cosines of random frequencies (arXiv 2006.10739), which are a buffer.

    Matrix products are avoided, because autocast would round the angles to half precision, which is far too coarse.

    Args:
        width: Width of a position.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, height: int, width: int) -> Tensor:
        """Return the position of each cell of a map, float ``[h*w, d]``."""
        device = self.positional_encoding_gaussian_matrix.device
        rows, columns = ((torch.arange(side, device=device) + 0.5) / side for side in (height, width))
        waves: Tensor = self.at(rows[:, None], columns[None, :]).flatten(0, 1)
        return waves

    def at(self, rows: Tensor, columns: Tensor) -> Tensor:
        """Return positions, float ``[..., d]``.

        Args:
            rows: Rows in [0, 1], float ``[...]``.
            columns: Columns in [0, 1], float of a shape that fits.
        """
        across, down = self.positional_encoding_gaussian_matrix.float()
        rows, columns = 2 * rows - 1, 2 * columns - 1
        angles = 2 * math.pi * (rows[..., None] * down + columns[..., None] * across)
        return torch.cat([angles.sin(), angles.cos()], -1)
