"""LLaVA v1, the language model that LaSagnA builds on: a Llama with a CLIP tower of its own (arXiv 2304.08485)."""

from __future__ import annotations

from lasagna.modules.llava.language_model import LlavaV1

__all__ = ["LlavaV1"]
