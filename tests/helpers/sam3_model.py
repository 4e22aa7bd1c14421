"""A tiny random SAM 3 of transformers."""

from __future__ import annotations

import torch
from transformers import Sam3Config, Sam3Model, Sam3VideoConfig

from lasagna.modules.sam3.sizes import PATCH, Sam3HeadSize, Sam3Size

SIDE = 4 * PATCH
SMALL = Sam3Size(width=16, depth=3, heads=2, mlp_dim=24, window=2, global_blocks=(2,), position_side=2, out_channels=16)
HEAD = Sam3HeadSize(prompt_dim=16, encoder_layers=2, decoder_layers=2, heads=2, mlp_dim=24, masks=5)
TEXT = {
    "model_type": "clip_text_model",
    "vocab_size": 20,
    "hidden_size": 16,
    "intermediate_size": 16,
    "projection_dim": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


def image_model():
    """Return a tiny image model whose weights are all large enough to matter."""
    vision = SMALL.config().to_dict()
    vision["backbone_config"]["image_size"] = SIDE
    parts = HEAD.config()
    config = Sam3Config(
        vision_config=vision,
        text_config=TEXT,
        geometry_encoder_config={
            "hidden_size": 16,
            "num_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "roi_size": 2,
        },
        detr_encoder_config=parts.detr_encoder_config.to_dict(),
        detr_decoder_config=parts.detr_decoder_config.to_dict(),
        mask_decoder_config=parts.mask_decoder_config.to_dict(),
    )
    model = Sam3Model(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in model.named_parameters():
            norm = "norm" in name and name.endswith("weight")
            value.copy_(norm + 0.3 * torch.randn(value.shape, generator=generator))
    return model.eval()


def video_folder(model, folder):
    """Write the folder of a video model, as the release is one, that holds an image model and parts of a tracker."""
    Sam3VideoConfig(detector_config=model.config.to_dict()).save_pretrained(folder)
    state = {f"detector_model.{name}": value for name, value in model.state_dict().items()}
    torch.save(state | {"tracker_model.no_memory": torch.zeros(1)}, folder / "pytorch_model.bin")
