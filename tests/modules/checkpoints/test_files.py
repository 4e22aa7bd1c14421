"""Weights out of a checkpoint's folder."""

from __future__ import annotations

import json
import re

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import fill, read_state, save_tensors
from lasagna.modules.checkpoints.load import read_checkpoint
from lasagna.modules.vision_encoders.timm import read_weights

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2), "other": torch.zeros(1)}


def write(path, state):
    save_file(state, path) if path.suffix == ".safetensors" else torch.save(state, path)


def write_sharded(folder, name):
    stem, _, end = name.partition(".")
    places = {key: f"{stem}-0000{rank}-of-00003.{end}" for rank, key in enumerate(STATE, 1)}
    for key, file in places.items():
        write(folder / file, {key: STATE[key]})
    (folder / f"{name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return list(places.values())


def same(state):
    return state.keys() == STATE.keys() and all(torch.equal(state[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_one_file(tmp_path, name):
    write(tmp_path / name, STATE)
    assert same(read_state(tmp_path))


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_several_files_with_an_index(tmp_path, name):
    write_sharded(tmp_path, name)
    assert same(read_state(str(tmp_path)))


def test_the_old_format_of_pytorch(tmp_path):
    torch.save(STATE, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    assert same(read_state(tmp_path))


def test_safetensors_are_preferred(tmp_path):
    write(tmp_path / "model.safetensors", STATE)
    (tmp_path / "pytorch_model.bin").write_text("not read")
    assert same(read_state(tmp_path))


def test_no_folder_and_no_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"vision_tower: .*nowhere.* no such folder; check the path"):
        read_state(tmp_path / "nowhere", "vision_tower")
    with pytest.raises(CheckpointError, match=r"folder: .* it has neither model.safetensors nor pytorch_model.bin"):
        read_state(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_files_that_cannot_be_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(CheckpointError, match=f"folder: .*{name} is neither safetensors nor a plain state dict"):
        read_state(tmp_path)


def test_what_is_pickled_is_refused(tmp_path):
    file = tmp_path / "pytorch_model.bin"
    torch.save({"a": nn.Linear(1, 1)}, file)
    for read in (read_state, read_weights, read_checkpoint):
        with pytest.raises(CheckpointError, match="it holds objects or code besides tensors") as refused:
            read(str(file))
        # torch's own text tells how to run what is in the file
        assert not re.search("weights_only|\x1b|\n", str(refused.value))
    torch.save({"state": STATE}, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds more than tensors by name"):
        read_state(tmp_path)


def test_an_index_that_does_not_fit_its_files(tmp_path):
    first, second, _ = write_sharded(tmp_path, "model.safetensors")
    write(tmp_path / second, {"else": STATE["other"]})
    with pytest.raises(CheckpointError, match=f"tensors that are missing: a.bias in {second}"):
        read_state(tmp_path)
    (tmp_path / first).unlink()
    with pytest.raises(CheckpointError, match=f"files that are missing: {first}; download them"):
        read_state(tmp_path)


@pytest.mark.parametrize(("text", "message"), [("{}", "no weight_map"), ("[]", "a JSON object"), ("{", "not JSON")])
def test_an_index_that_is_none(tmp_path, text, message):
    (tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=message):
        read_state(tmp_path)


def meta_network():
    with torch.device("meta"):
        return nn.Linear(3, 2)


def test_a_network_is_filled_with_copies_of_the_default_precision():
    network = meta_network()
    halves = {name: tensor.half() for name, tensor in STATE.items()}
    fill(network, halves, "folder: x", "a.")
    assert torch.equal(network.weight, STATE["a.weight"])
    assert network.bias.dtype == torch.float32
    assert network.weight.requires_grad
    assert network.weight.data_ptr() != halves["a.weight"].data_ptr()


def test_what_is_missing_or_of_another_shape_is_named():
    with pytest.raises(CheckpointError, match=r"folder: x does not fit its config: a.bias is missing; give"):
        fill(meta_network(), {"a.weight": STATE["a.weight"]}, "folder: x", "a.")
    with pytest.raises(CheckpointError, match=r"weight has shape \(3, 3\), here \(2, 3\)"):
        fill(meta_network(), {"weight": torch.ones(3, 3), "bias": torch.ones(2)}, "folder: x")


def test_written_tensors_may_be_read_by_whoever_may_read_new_files(tmp_path):
    (tmp_path / "other.txt").touch()
    shared = torch.arange(6.0)
    save_tensors({"whole": shared, "part": shared[:3], "turned": shared.view(2, 3).T}, tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "other.txt").stat().st_mode
    read = read_state(tmp_path)
    assert torch.equal(read["part"], shared[:3])
    assert torch.equal(read["turned"], shared.view(2, 3).T)
