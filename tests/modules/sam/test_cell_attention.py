"""What SAM's tokens and cells see of each other, against the attention as the paper writes it."""

from __future__ import annotations

import pytest
import torch

from lasagna.modules.sam.cell_attention import read_cells, write_cells
from lasagna.modules.sam.mask_decoder import Attention


def parts(images, dtype=torch.float64):
    """Layers, three prompts of two tokens, five cells (of one image, or as each prompt sees them), positions."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        attention = Attention(width=8, heads=2, inner=4).to(dtype)
        drawn = [torch.randn(size, dtype=dtype) for size in ((3, 2, 8), (3, 2, 8), (images, 5, 8), (5, 8))]
    tokens, values, cells, positions = drawn
    return attention, tokens.requires_grad_(), values.requires_grad_(), cells.requires_grad_(), positions


def plain(attention, queries, keys, values):
    """Multi-head attention with every side projected."""
    count = max(len(queries), len(keys))
    queries, keys, values = attention.q_proj(queries), attention.k_proj(keys), attention.v_proj(values)
    split = [part.expand(count, -1, -1).unflatten(2, (2, 2)).transpose(1, 2) for part in (queries, keys, values)]
    weights = (split[0] @ split[1].transpose(2, 3) / 2**0.5).softmax(3)
    return attention.out_proj((weights @ split[2]).transpose(1, 2).flatten(2))


def gradients(result, given):
    return torch.autograd.grad(result.sin().sum(), given, allow_unused=True)


@pytest.mark.parametrize("images", [1, 3])
def test_tokens_see_the_image_as_with_all_cells_projected(images):
    attention, tokens, _, cells, positions = parts(images)
    found = attention.of_image(tokens, cells, positions)
    wanted = plain(attention, tokens, cells + positions, cells)
    given = [tokens, cells, *attention.parameters()]
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradients(found, given), gradients(wanted, given))


@pytest.mark.parametrize("images", [1, 3])
def test_the_image_sees_tokens_as_with_all_cells_projected(images):
    attention, tokens, values, cells, positions = parts(images)
    found = attention.to_image(tokens, values, cells, positions)
    wanted = cells + plain(attention, cells + positions, tokens, values)
    given = [tokens, values, cells, *attention.parameters()]
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradients(found, given), gradients(wanted, given))


@pytest.mark.parametrize("images", [1, 3])
def test_gradients_are_those_of_small_differences(images):
    _, _, _, cells, positions = parts(images)
    generator = torch.Generator().manual_seed(1)
    # two heads of two vectors, as the weights of a single one are always 1
    sizes = (3, 4, 8), (3, 4, 1), (3, 4, 8)
    drawn = [torch.randn(size, dtype=torch.float64, generator=generator).requires_grad_() for size in sizes]
    probes, bias, written = drawn
    assert torch.autograd.gradcheck(read_cells, (probes, bias, cells, positions))
    assert torch.autograd.gradcheck(write_cells, (probes, bias, written, cells, positions, 2))
    changed = write_cells(probes, bias, written, cells, positions, 2)
    assert all(gradient.abs().sum() > 0.1 for gradient in gradients(changed, drawn))


def test_frozen_cells_get_no_gradient():
    attention, tokens, values, cells, positions = parts(1)
    cells = cells.detach()
    changed = (
        attention.to_image(tokens, values, cells, positions).sum() + attention.of_image(tokens, cells, positions).sum()
    )
    changed.backward()
    assert cells.grad is None
    assert tokens.grad.abs().sum() > 0


@pytest.mark.parametrize("images", [1, 3])
def test_under_autocast_cells_and_their_gradients_keep_their_precision(images):
    results = []
    for enabled in (False, True):
        attention, tokens, values, cells, positions = parts(images, torch.float32)
        with torch.autocast("cpu", torch.bfloat16, enabled):
            changed = attention.to_image(tokens, values, cells, positions)
            seen = attention.of_image(tokens, cells, positions)
        assert changed.dtype == torch.float32
        (changed.sum() + seen.float().sum()).backward()
        results.append((changed.detach(), seen.detach().float(), cells.grad, tokens.grad, attention.q_proj.weight.grad))
    torch.testing.assert_close(*results, rtol=0.1, atol=0.1)
