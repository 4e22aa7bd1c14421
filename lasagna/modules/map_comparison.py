"""What an image's maps show of its differences from the images that are shown with it.

Notation: b: images that are asked about; b': all images; k: images that are shown together; for maps, c, h, w:
channels, height, width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lasagna.core.config import Configurable
from lasagna.errors import ConfigError
from lasagna.modules.base import FeatureSpec
from lasagna.modules.state import precision_of


class MapComparison(Configurable, nn.Module):
    """Adds to the maps of an image what a small network sees in them and in their difference from the other images'.

    The difference is that from the mean of the images that are shown with it, as in the comparison of two pictures of
    one place (FC-Siam-diff, arXiv 1810.08462). Language model and mask head read the sums. The network is 1 cell wide
    and its last layer starts at zero, so that pretrained parts begin as they are; an image that is shown alone keeps
    its maps.
    """

    def build(self, features: FeatureSpec) -> None:
        """Make the layers for the vision encoder's maps.

        Args:
            features: The maps.
        """
        self.networks = nn.ModuleList([_network(channels) for channels in features.channels])

    def forward(self, maps: Sequence[Tensor], shown: Tensor) -> list[Tensor]:
        """Compare images with those that are shown with them.

        Args:
            maps: Maps of all images, each float ``[b', c, h, w]``; those that are asked about are the first.
            shown: Positions of the images that are shown together, long ``[b, k]``, as of ``Batch``.

        Returns:
            The maps; those of the images that are asked about have the differences in them.

        Raises:
            ConfigError: If the vision encoder has not seen the other images.
        """
        count = len(shown)
        if len(maps[0]) == count:
            raise ConfigError(
                "comparison: the language model reads further images by a visual tower of its own, so that they have "
                "no maps to compare; leave it out, or take a language model that reads the vision encoder's maps"
            )
        share = (shown >= count).float()  # rows are filled up by images that are asked about
        several = share.sum(1)
        share = share / several.clamp(min=1)[:, None]
        compared = []
        for single, network in zip(maps, self.networks, strict=True):
            own, others = single[:count], torch.einsum("bk,bkchw->bchw", share.to(single), single[shown])
            # the vision encoder may have another precision
            found = network(torch.cat([own, own - others], 1).to(precision_of(network))).to(single)
            compared.append(torch.cat([own + found * (several > 0).to(single)[:, None, None, None], single[count:]]))
        return compared


def _network(channels: int) -> nn.Sequential:
    last = nn.Conv2d(channels, channels, 1)
    for value in last.parameters():
        nn.init.zeros_(value)
    return nn.Sequential(nn.Conv2d(2 * channels, channels, 1), nn.GELU(), last)
