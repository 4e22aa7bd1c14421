"""A tiny assistant with random weights, lively enough that its decisions depend on what stands before them."""

from __future__ import annotations

import torch

from lasagna.modules import Assistant, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder


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
