"""A training starts from the weights of another one, whose assistant may have lacked a part."""

from __future__ import annotations

import pytest
import torch

from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import PresenceHead
from lasagna.modules.checkpoints.weights import FROZEN, PREFIX, fingerprint
from lasagna.tasks import AssistantTraining
from lasagna.tasks.training.checkpointing import load_trained
from tests.helpers.assistants import presence_head, random_assistant


def saved(path):
    """Write a checkpoint of an assistant whose mask head and projection were trained."""
    state = random_assistant(seed=1).state_dict()
    trained = {name: value for name, value in state.items() if name.startswith(("mask_head.", "prompt_projection."))}
    frozen = fingerprint(random_assistant(), trained)
    torch.save({"state_dict": {PREFIX + name: value for name, value in trained.items()}, FROZEN: frozen}, path)
    return trained


def test_a_head_that_the_checkpoint_lacks_starts_fresh(tmp_path):
    assistant, trained = random_assistant(), saved(tmp_path / "one.ckpt")
    assistant.presence_head = presence_head(128)
    fresh = {name: value.clone() for name, value in assistant.presence_head.state_dict().items()}
    load_trained(assistant, str(tmp_path / "one.ckpt"), frozen_check=True)
    state = assistant.state_dict()
    assert all(torch.equal(state[name], value) for name, value in trained.items())
    assert all(torch.equal(state[f"presence_head.{name}"], value) for name, value in fresh.items())
    assert isinstance(assistant.presence_head, PresenceHead)


def test_other_frozen_weights_of_a_part_that_it_had_are_refused(tmp_path):
    assistant = random_assistant(seed=2)
    assistant.presence_head = presence_head(128)
    saved(tmp_path / "one.ckpt")
    with pytest.raises(CheckpointError, match="the frozen weights of language_model, vision_encoder are not those"):
        load_trained(assistant, str(tmp_path / "one.ckpt"), frozen_check=True)


def test_only_the_named_parts_are_taken_whatever_the_others_are(tmp_path):
    trained = saved(tmp_path / "one.ckpt")
    assistant = random_assistant()
    assistant.mask_head = torch.nn.Linear(3, 3)
    before = {name: value.clone() for name, value in assistant.state_dict().items()}
    load_trained(assistant, str(tmp_path / "one.ckpt"), frozen_check=True, parts=["prompt_projection"])
    with pytest.raises(CheckpointError, match=r"another architecture: mask_head.*warm_start_parts=\[language_model\]"):
        load_trained(assistant, str(tmp_path / "one.ckpt"), frozen_check=True)
    changed = {name for name, value in assistant.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in trained if name.startswith("prompt_projection.")}


def test_frozen_weights_count_only_of_the_named_parts(tmp_path):
    saved(tmp_path / "one.ckpt")
    other = random_assistant(seed=2)
    load_trained(other, str(tmp_path / "one.ckpt"), frozen_check=True, parts=["mask_head", "prompt_projection"])
    with pytest.raises(CheckpointError, match=r"of 'vision_encoder'; it has mask_head, prompt_p"):
        load_trained(other, str(tmp_path / "one.ckpt"), frozen_check=True, parts=["mask_head", "vision_encoder"])


def test_parts_need_a_checkpoint():
    with pytest.raises(ConfigError, match=r"warm_start_parts: .* warm_start"):
        AssistantTraining(random_assistant(), warm_start_parts=["mask_head"])
    with pytest.raises(ConfigError, match="warm_start_parts: the list is empty"):
        AssistantTraining(random_assistant(), warm_start="one.ckpt", warm_start_parts=[])
