"""Optimisers over parts of flat vectors train what undivided ones train, and their state has the same form."""

import pytest
import torch
from torch import nn

from lasagna.tasks.training import zero_state
from lasagna.tasks.training.zero import ELEMENTWISE
from lasagna.tasks.training.zero_state import Slices, divided_state, whole_state

SHAPES = ((3, 4), (5,), (1,), ())


@pytest.fixture(params=ELEMENTWISE)
def algorithm(request):
    more = {"momentum": 0.9} if request.param in ("SGD", "RMSprop") else {}
    return lambda parameters: getattr(torch.optim, request.param)(parameters, lr=0.1, weight_decay=0.1, **more)


def layout():
    """Parameters as views of a vector, with a gap and padding."""
    flat, views, offset = torch.randn(24, generator=torch.Generator().manual_seed(0)), [], 0
    for shape in map(torch.Size, SHAPES):
        views.append(flat[offset : offset + shape.numel()].view(shape))
        offset += shape.numel() + 1
    return flat, views


def gradients(step):
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(shape, generator=generator) for shape in SHAPES]


def train(optimizer, parameters, steps):
    for step in steps:
        for parameter, gradient in zip(parameters, gradients(step), strict=True):
            parameter.grad = gradient
        optimizer.step()


def test_a_state_is_divided_trained_on_and_put_together_again(algorithm, monkeypatch):
    flat, views = layout()
    slices = [Slices.of(views, flat)]
    undivided = [nn.Parameter(view.clone()) for view in views]
    whole = algorithm(undivided)
    train(whole, undivided, [0, 1])
    state = whole.state_dict()
    vector = slices[0].joined([parameter.detach() for parameter in undivided])
    parts = [nn.Parameter(part.clone()) for part in vector.chunk(2)]
    optimizers = [algorithm([part]) for part in parts]
    for rank, optimizer in enumerate(optimizers):
        optimizer.load_state_dict(divided_state(optimizer, state, slices, rank, 2))
    for step in (2, 3):
        for part, gradient in zip(parts, slices[0].joined(gradients(step)).chunk(2), strict=True):
            part.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    train(whole, undivided, [2, 3])
    trained = torch.cat([part.detach() for part in parts])
    for index, parameter in enumerate(undivided):
        torch.testing.assert_close(slices[0].cut(trained, index), parameter.detach(), rtol=1e-6, atol=1e-7)

    def gathered(value, device, keep):
        (key,) = {key for key, found in optimizers[0].state[parts[0]].items() if found is value}
        return torch.cat([optimizer.state[part][key] for optimizer, part in zip(optimizers, parts, strict=True)])

    monkeypatch.setattr(zero_state, "_gathered", gathered)
    found, expected = whole_state(optimizers[0], slices, torch.device("cpu")), whole.state_dict()
    assert found["param_groups"] == expected["param_groups"]
    torch.testing.assert_close(found["state"], expected["state"], rtol=1e-6, atol=1e-7)
    assert whole_state(optimizers[0], slices, torch.device("cpu"), keep=False)["state"] == {}


def test_a_state_before_the_first_step_is_empty():
    flat, views = layout()
    slices, optimizer = [Slices.of(views, flat)], torch.optim.AdamW([nn.Parameter(flat[:12].clone())])
    whole = whole_state(optimizer, slices, torch.device("cpu"))
    assert whole["state"] == {}
    assert whole["param_groups"][0]["params"] == [0, 1, 2, 3]
    assert divided_state(optimizer, whole, slices, 0, 2)["state"] == {}


def test_parts_are_gathered_in_chunks(monkeypatch):
    parts = torch.arange(10.0).view(2, 5)

    def all_gather(chunks, own):
        start = int(own[0])
        for chunk, part in zip(chunks, parts, strict=True):
            chunk.copy_(part[start : start + len(own)])

    monkeypatch.setattr(zero_state, "CHUNK", 2)
    monkeypatch.setattr(zero_state.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(zero_state.distributed, "all_gather", all_gather)
    assert zero_state._gathered(parts[0], torch.device("cpu"), keep=True).tolist() == list(range(10))
    assert len(zero_state._gathered(parts[0], torch.device("cpu"), keep=False)) == 0
