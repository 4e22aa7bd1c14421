"""Optimisers over weights of less than float32: what a step changes, and what is stored."""

import copy

import pytest
import torch
from torch import nn

from lasagna.tasks import Optimiser
from lasagna.tasks.training.float32_copies import float32_weights


def norm_and_matrix(dtype):
    """A layer whose weights are far larger than a step, as those of norms are."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)).to(dtype)


def train(model, optimizer, steps, start=0):
    for step in range(start, start + steps):
        inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()

        def closure(inputs=inputs):
            loss = (model(inputs.to(model[0].weight.dtype)).float() - inputs.sin()).square().mean()
            loss.backward()
            return loss

        optimizer.step(closure)


def optimised(model):
    names = dict.fromkeys(dict(model.named_parameters()), 1.0)
    return Optimiser(lr=3e-4, weight_decay=0.1).build(names, model.named_parameters())


def own(optimizer, model):
    return float32_weights([optimizer], model)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_small_steps_are_not_lost_in_low_precision(dtype):
    model, full = norm_and_matrix(dtype), norm_and_matrix(dtype).float()
    before = copy.deepcopy(dict(full.named_parameters()))
    optimizer, other = optimised(model), optimised(full)
    train(model, optimizer, 60)
    train(full, other, 60)
    trained = own(optimizer, model)
    for name, value in full.named_parameters():
        way = (value - before[name]).abs().mean()
        assert (trained[name] - value).abs().mean() < 0.1 * way, name
        assert trained[name].dtype == torch.float32
        assert model.get_parameter(name).dtype == dtype
        assert torch.equal(model.get_parameter(name), trained[name].to(dtype))
    assert not torch.equal(model[1].weight, torch.ones(8, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_what_is_stored_continues_to_the_same_bits(dtype):
    whole = norm_and_matrix(dtype)
    optimizer = optimised(whole)
    train(whole, optimizer, 3)
    cut = copy.deepcopy(whole)
    resumed = optimised(cut)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(whole, optimizer, 3, start=3)
    train(cut, resumed, 3, start=3)
    found = own(resumed, cut)
    assert all(torch.equal(found[name], value) for name, value in own(optimizer, whole).items())


def test_another_precision_takes_over_the_stored_state():
    model = norm_and_matrix(torch.bfloat16)
    optimizer = optimised(model)
    train(model, optimizer, 3)
    stored = own(optimizer, model)
    full = norm_and_matrix(torch.float32)
    full.load_state_dict(stored)
    resumed = optimised(full)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(full, resumed, 1)
    assert all(torch.equal(value, full.get_parameter(name)) for name, value in own(resumed, full).items())
    narrow = optimised(model)
    narrow.load_state_dict(copy.deepcopy(resumed.state_dict()))
    assert all(torch.equal(value, model.get_parameter(name).float()) for name, value in own(narrow, model).items())


def test_weights_that_somebody_else_writes_are_taken_over():
    model = norm_and_matrix(torch.bfloat16)
    optimizer = optimised(model)
    train(model, optimizer, 2)
    with torch.no_grad():
        model[1].weight.fill_(3.0)
    train(model, optimizer, 1, start=2)
    assert (own(optimizer, model)["1.weight"] - 3.0).abs().max() < 0.01
