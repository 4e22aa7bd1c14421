"""A key-value cache that forgets nothing unless told to."""

from __future__ import annotations

from typing import Any

from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer


def whole_cache(config: Any) -> DynamicCache:  # noqa: ANN401
    """Return an empty key-value cache from which the last tokens can be taken back.

    Layers that look back a window only keep all tokens too: what has left the window comes back into it when tokens
    behind are taken back. That they do not look further is what the model's own mask says.

    Args:
        config: The model's config.
    """
    cache = DynamicCache(config=config)
    cache.layers = [DynamicLayer() if type(layer) is DynamicSlidingWindowLayer else layer for layer in cache.layers]
    return cache
