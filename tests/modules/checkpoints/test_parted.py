"""A checkpoint in parts is read as the file that it stands for, and a damaged one is refused."""

import pytest
import torch

from lasagna.core.storage import whole_file
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.calibration import checksum
from lasagna.modules.checkpoints.files import read_plain
from lasagna.modules.checkpoints.load import read_checkpoint
from lasagna.modules.checkpoints.parted import (
    META,
    PartedCheckpoint,
    consolidated,
    part_file,
    read_parted,
    remove_others,
    tensors_in,
    write_meta,
    write_torch,
)

WHOLE = {
    "state_dict": {"assistant.a": torch.arange(15.0).view(5, 3), "assistant.b": torch.ones(1), "c": torch.tensor(3)},
    "optimizer_states": [{"state": {0: {"step": torch.tensor(2.0), "exp_avg": torch.rand(5, 3)}}, "param_groups": []}],
    "global_step": 7,
}
DIVIDED = {
    ("state_dict", "assistant.a"): WHOLE["state_dict"]["assistant.a"],
    ("state_dict", "assistant.b"): WHOLE["state_dict"]["assistant.b"],
    ("optimizer_states", 0, "state", 0, "exp_avg"): WHOLE["optimizer_states"][0]["state"][0]["exp_avg"],
}


def write(folder, parts=2, name="x"):
    """Write ``WHOLE`` in parts, each with the rows that FSDP2 gives to its process."""
    for part in range(parts):
        own = {}
        for number, value in enumerate(DIVIDED.values()):
            each = -(-len(value) // parts)
            own[number] = value[part * each : (part + 1) * each].clone()
        write_torch(own, part_file(folder, name, part, parts))
    rest = {
        "state_dict": {"assistant.a": None, "assistant.b": None, "c": WHOLE["state_dict"]["c"]},
        "optimizer_states": [
            {"state": {0: {"step": torch.tensor(2.0), "exp_avg": None}}, "param_groups": []},
        ],
        "global_step": 7,
    }
    write_meta(folder, name, parts, rest, [(place, value.shape) for place, value in DIVIDED.items()])
    return folder


def equal(first, second):
    return {place: value.tolist() for place, value in tensors_in(first)} == {
        place: value.tolist() for place, value in tensors_in(second)
    }


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_any_number_of_parts_gives_the_whole(tmp_path, parts):
    folder = write(tmp_path / "last.ckpt", parts)
    assert equal(read_parted(folder), WHOLE)
    assert read_parted(folder)["global_step"] == 7
    found = PartedCheckpoint(folder).rows(("state_dict", "assistant.a"), 1, 4)
    assert torch.equal(found, DIVIDED["state_dict", "assistant.a"][1:4])


def test_what_loads_an_assistant_reads_the_weights_alone(tmp_path):
    checkpoint = read_checkpoint(write(tmp_path / "last.ckpt"))
    assert equal(checkpoint["state_dict"], WHOLE["state_dict"])
    assert checkpoint["optimizer_states"][0]["state"][0]["exp_avg"] is None


def test_a_file_is_made_of_it_once(tmp_path):
    folder, file = write(tmp_path / "last.ckpt"), tmp_path / "new" / "last.ckpt"
    consolidated(folder, file)
    assert equal(read_plain(file), WHOLE)
    with pytest.raises(CheckpointError, match="exists; give a new file"):
        consolidated(folder, file)
    with pytest.raises(CheckpointError, match="is no checkpoint folder of a training with divided weights"):
        consolidated(file, tmp_path / "other.ckpt")


def test_a_writing_that_was_cut_short_leaves_the_previous_one(tmp_path):
    folder = write(tmp_path / "last.ckpt")
    write_torch({0: torch.zeros(1)}, part_file(folder, "y", 0, 2))
    with pytest.raises(RuntimeError), whole_file(folder / META):
        raise RuntimeError
    assert equal(read_parted(folder), WHOLE)
    before = checksum(folder)
    write(folder, 1, "z")
    remove_others(folder, "z")
    assert sorted(file.name for file in folder.iterdir()) == [META, "part-z-00000-of-00001.bin"]
    assert checksum(folder) != before


def test_parts_that_are_missing_or_damaged_are_named(tmp_path):
    folder = write(tmp_path / "last.ckpt")
    second = part_file(folder, "x", 1, 2)
    content = read_plain(second)
    write_torch({**content, 0: content[0][:1]}, second)
    with pytest.raises(CheckpointError, match=r"is damaged at state_dict\.assistant\.a"):
        read_checkpoint(folder)
    second.unlink()
    with pytest.raises(CheckpointError, match=r"lacks part-x-00001-of-00002\.bin, of 2 parts; .* common disk"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "change",
    [{"form": 2}, {"rest": {}}, {"divided": [[["state_dict", "no"], [1]]]}, {"divided": [[3, 4]]}, {"parts": "two"}],
    ids=str,
)
def test_other_content_is_refused_in_one_line(tmp_path, change):
    folder = write(tmp_path / "last.ckpt")
    meta = read_plain(folder / META)
    write_torch({**meta, **change}, folder / META)
    with pytest.raises(CheckpointError) as refused:
        read_checkpoint(folder)
    assert "\n" not in str(refused.value)


def test_nothing_in_a_folder_is_unpickled(tmp_path):
    folder = write(tmp_path / "last.ckpt")
    torch.save(write, folder / META)
    with pytest.raises(CheckpointError, match="objects or code besides tensors"):
        read_checkpoint(folder)
