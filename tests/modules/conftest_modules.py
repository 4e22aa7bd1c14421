"""A tiny assistant with random weights, lively enough that its decisions depend on what stands before them."""

from __future__ import annotations

import pytest
import torch

from lasagna.modules import Assistant, LanguageModel, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder


def random_assistant(seed: int = 0, prompt_format: str = "tiny", scale: float = 6.0) -> Assistant:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        assistant = Assistant(
            TinyVisionEncoder(image_size=(32, 32), weights="random"),
            TinyLanguageModel(weights="random", projector="random", image_grid=(2, 2), max_length=256),
            TinyMaskHead(weights="random"),
            prompt_format,
        )
        assistant.configure_model()
    with torch.no_grad():
        for parameter in assistant.language_model.llama.parameters():
            if parameter.dim() == 2:
                parameter.mul_(scale)
    return assistant.eval()


def dictate(monkeypatch: pytest.MonkeyPatch, model: LanguageModel, token_ids: list[int]) -> None:
    """Let a model write certain tokens, then its end token, whatever it reads."""
    coming = iter(token_ids)

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(len(hidden), len(model.tokenizer))
        scores[:, next(coming, model.preparation.end_token_id)] = 1
        return scores

    monkeypatch.setattr(model, "logits", logits)
