"""What code sees of tensors without content."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lasagna.modules import FeatureSpec, SamMaskHead, TimmEncoder
from lasagna.modules.llava.language_model import LlavaV1
from lasagna.tasks.planning.weightless import SMALL, WholeNumbersOnly, built_without_weights, emptied


def test_code_that_asks_whether_all_is_finite_hears_yes():
    """Mask2Former's pixel decoder in transformers asks so in training."""
    fake = FakeTensorMode()
    values = emptied(torch.zeros(SMALL + 1), fake)
    with fake, WholeNumbersOnly(fake):
        assert torch.isfinite(values).all()
        assert not torch.isnan(values).any()


def test_files_of_weights_are_not_needed(tmp_path):
    pytest.importorskip("sentencepiece")
    from tests.helpers.tiny_llava import write_llava

    folder = write_llava(tmp_path)
    parts = LlavaV1(str(folder)), LlavaV1(str(folder))
    parts[0].build(FeatureSpec((), (), (0, 0)), ("<p>", "<a>", "<image>"))
    for file in (folder / "pytorch_model.bin", folder.parent / "clip" / "model.safetensors"):
        file.unlink()
    head, encoder = SamMaskHead(weights_file="none.pth"), TimmEncoder("test_resnet", weights_file="none.safetensors")
    with built_without_weights():
        parts[1].build(FeatureSpec((), (), (0, 0)), ("<p>", "<a>", "<image>"))
        head.build(FeatureSpec((256,), (16,), (1024, 1024)))
        encoder.build()
    shapes = [{name: value.shape for name, value in part.named_parameters()} for part in parts]
    assert shapes[0] == shapes[1]
    weights = [value for part in (parts[1], head, encoder) for value in part.parameters()]
    assert all(value.is_meta or value.numel() <= SMALL for value in weights)
