"""Which modules are gathered on their own, and which weights cannot be divided."""

import pytest
import torch
from torch import nn

from lasagna.errors import ConfigError
from lasagna.tasks.training.division import blocks_of, check_group
from tests.helpers.assistants import random_assistant


def layer():
    return nn.TransformerEncoderLayer(8, 2, 8)


def test_the_layers_of_the_parts_are_blocks_and_embeddings_are_not():
    assistant = random_assistant()
    assistant.configure_model()
    names = {id(part): name for name, part in assistant.named_modules()}
    found = {names[id(block)] for block in blocks_of(assistant.language_model, assistant)}
    assert found == {f"language_model.llama.model.layers.{number}" for number in range(4)}


def test_single_layers_and_mixed_stacks_are_none():
    mixed = nn.Sequential(layer(), nn.Linear(8, 8))
    leaves = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
    part = nn.ModuleList([mixed, leaves, nn.ModuleList([layer()])])
    assert list(blocks_of(part, part)) == []


def test_blocks_that_share_a_weight_are_gathered_with_the_rest():
    shared, alone = nn.ModuleList([layer(), layer()]), nn.ModuleList([layer(), layer()])
    shared[1].linear1.weight = shared[0].linear1.weight
    parts = nn.ModuleDict({"shared": shared, "alone": alone})
    assert list(blocks_of(parts, parts)) == list(alone)


def test_weights_of_two_precisions_are_refused_where_both_are_trained():
    parts = nn.ModuleDict({"wide": nn.Linear(2, 2), "narrow": nn.Linear(2, 2, dtype=torch.bfloat16)})
    with pytest.raises(ConfigError, match=r"gathers wide\.\w+ in float32 and narrow\.\w+ in bfloat16 to") as refused:
        check_group(parts, list(parts.parameters()))
    assert "\n" not in str(refused.value)
    parts["narrow"].requires_grad_(False)
    check_group(parts, list(parts.parameters()))


def test_quantized_weights_are_refused():
    part = nn.Linear(2, 2)
    part.weight = nn.Parameter(torch.ones(2, 2, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(ConfigError, match="cannot divide weight, which is quantized"):
        check_group(part, list(part.parameters()))
