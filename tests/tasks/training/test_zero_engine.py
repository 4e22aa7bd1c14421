"""What DeepSpeed takes, and how it is told of a process."""

import os

import pytest
import torch
from torch import nn

from lasagna.errors import ConfigError
from lasagna.tasks.training.zero_engine import check_weights, local_rank, settings


def test_the_number_of_the_process_is_set_for_a_while(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with local_rank(3):
        assert os.environ["LOCAL_RANK"] == "3"
    assert "LOCAL_RANK" not in os.environ
    monkeypatch.setenv("LOCAL_RANK", "1")
    with local_rank(1):
        pass
    assert os.environ["LOCAL_RANK"] == "1"


def test_buckets_are_aligned():
    found = settings(5, 0.1)
    assert found["gradient_clipping"] == 0.1
    assert found["zero_optimization"]["reduce_bucket_size"] == 5
    assert found["zero_optimization"]["allgather_bucket_size"] == 6


def test_trained_weights_in_less_than_float32_are_refused_and_frozen_ones_are_not():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).to(torch.bfloat16))
    check_weights(model, torch.optim.SGD(model[0].parameters()))
    with pytest.raises(ConfigError, match=r"1\.weight is in bfloat16.*fsdp2"):
        check_weights(model, torch.optim.SGD(model.parameters()))
    model.scale = nn.Parameter(torch.tensor(1.0))
    with pytest.raises(ConfigError, match=r"without a dimension, and scale is one"):
        check_weights(model, torch.optim.SGD([model.scale]))
