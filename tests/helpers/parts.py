"""Parts and assistants with random weights that are the same whenever they are built."""

from __future__ import annotations

import torch

from lasagna.modules import Assistant, SamHeadSize, SamMaskHead, SamSize, SamVisionEncoder, TinyLanguageModel


def built(part, *arguments, seed=0):
    """Build a part, and return it in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        part.build(*arguments)
    return part.eval()


def joined(encoder, language_model, mask_head, prompt_format="tiny"):
    """Return an assistant of three parts that it builds, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assistant = Assistant(encoder, language_model, mask_head, prompt_format)
        assistant.configure_model()
    return assistant.eval()


def sam_assistant(weights_file=None):
    """Return a tiny assistant with the mask head of SAM, which takes points, boxes and masks; from a file or random."""
    size = SamSize(24, 3, 2, (1,), 40, window=3, image_size=64, patch=8, out_channels=32)
    head = SamMaskHead(weights_file, SamHeadSize(32, 2, 4, 48, mask_channels=8, iou_dim=24))
    words = TinyLanguageModel(weights="random", projector="random", image_grid=(2, 2), max_length=256)
    return joined(SamVisionEncoder(size), words, head)


def maps_of(spec, count, seed=1):
    """Return random feature maps of some images, as a vision encoder with a spec gives them."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(count, channels, *(int(side // stride) for side in spec.image_size), generator=generator)
        for channels, stride in zip(spec.channels, spec.strides, strict=True)
    ]
