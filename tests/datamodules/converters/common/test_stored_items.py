"""Items on disk are those that were given, in any process, and their file ends with them."""

import gc
import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest

from lasagna.datamodules.converters.common.base import ItemFiles
from lasagna.datamodules.converters.common.preflight import doubled_keys, missing_files
from lasagna.datamodules.converters.common.stored_items import StoredItems, repeated


@dataclass(frozen=True)
class Item:
    key: str
    files: tuple[Path, ...] = ()


def test_items_come_back_one_by_one_in_order_and_from_a_copy(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    wanted = [Item(f"k{rank}", (Path(f"{rank}.png"),)) for rank in range(5)]
    items = StoredItems(iter(wanted))
    assert (len(items), items[3], items[-1], items[1:3], list(items)) == (5, wanted[3], wanted[4], wanted[1:3], wanted)
    with pytest.raises(IndexError):
        items[5]
    copy = pickle.loads(pickle.dumps(items))
    assert list(copy) == wanted
    assert list(ItemFiles(items)) == [item.files[0] for item in wanted]
    del copy
    gc.collect()
    assert items[0] == wanted[0]
    del items
    gc.collect()
    assert not list(tmp_path.iterdir())


def test_texts_that_occur_twice_are_found_among_texts_of_equal_numbers():
    class Same(str):
        def __hash__(self):
            return 7

    assert repeated(lambda: [Same("a"), "b", Same("c")]) == []
    assert repeated(lambda: [Same("a"), "b", Same("c"), Same("a")]) == ["a"]
    assert doubled_keys([*map(Item, "abcb"), Item("a"), "no key"]) == ["a", "b"]


def test_missing_files_are_named_once_in_order(tmp_path):
    for name in ("a", "c"):
        (tmp_path / name).touch()
    wanted = [tmp_path / name for name in "dabcd"] + [tmp_path / "nowhere" / "a"]
    assert missing_files(iter(wanted)) == [tmp_path / "d", tmp_path / "b", tmp_path / "nowhere" / "a"]
