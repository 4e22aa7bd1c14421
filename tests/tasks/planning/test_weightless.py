"""What code sees of tensors without content."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lasagna.tasks.planning.weightless import SMALL, WholeNumbersOnly, emptied


def test_code_that_asks_whether_all_is_finite_hears_yes():
    """Mask2Former's pixel decoder in transformers asks so in training."""
    fake = FakeTensorMode()
    values = emptied(torch.zeros(SMALL + 1), fake)
    with fake, WholeNumbersOnly(fake):
        assert torch.isfinite(values).all()
        assert not torch.isnan(values).any()
