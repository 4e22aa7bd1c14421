"""Users can have the checksums of their shards compared."""

from __future__ import annotations

import pytest

from lasagna.__main__ import main
from tests.helpers.data_fakes import write


def damage(path):
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("asked", ["", "train"])
def test_whole_shards_are_called_whole(tmp_path, capsys, asked):
    for split in ("train", "val"):
        write(tmp_path / split, 7)
    main(["verify", "--shards", str(tmp_path / asked)])
    printed = capsys.readouterr().out
    assert "train: 7 records in 2 shards, as they were written" in printed
    assert ("val: 7 records" in printed) == (asked == "")


def test_all_damaged_shards_are_named(tmp_path, capsys):
    for split in ("train", "val"):
        write(tmp_path / split, 7)
    damage(tmp_path / "train" / "000001.tar")
    damage(tmp_path / "val" / "000000.tar")
    with pytest.raises(SystemExit) as stopped:
        main(["verify", str(tmp_path)])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert "train/000001.tar: expected sha256" in told
    assert "val/000000.tar: expected sha256" in told
    assert "train/000000.tar" not in told


def test_a_folder_without_shards(tmp_path, capsys):
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "unfinished.json").write_text("{}")
    with pytest.raises(SystemExit):
        main(["verify", "--shards", str(tmp_path)])
    assert "has no manifest.json" in capsys.readouterr().err
