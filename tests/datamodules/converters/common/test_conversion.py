from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.__main__ import main
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules.converters import CamVid, Converter, Split, convert
from lasagna.datamodules.converters.coco_panoptic import CocoPanoptic
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.converters.reasonseg import ReasonSeg
from lasagna.datamodules.shards.manifest import UNFINISHED_FILE, read_manifest
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import ConfigError, LasagnaError, NoRecordsError, OutputError, RecordError, ShardError

MANIFEST = Manifest("dots", ("dot",), aliases={"dot": ("point", "spot")})


def png(value):
    buffer = BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class ReadDot:
    """Every third item has nothing, every fifth an annotation too many; one may be broken."""

    def __init__(self, broken):
        self.broken = broken

    def __call__(self, item):
        if item == self.broken:
            raise RecordError(f"dot {item}: broken")
        if item % 3 == 2:
            return ReadResult(None, (Skipped("nothing on it", f"dot {item}"),))
        mask = RLEMask.from_array(np.eye(4, 6, dtype=bool))
        left = (Skipped("empty segmentation", f"annotation of dot {item}"),) if item % 5 == 0 else ()
        return ReadResult(Record(f"dot-{item}", png(item), (4, 6), MANIFEST, regions=(Region("dot", mask),)), left)


class Dots(Converter):
    """Dots of one's own.

    Args:
        count: How many.
        broken: Which cannot be read.
    """

    def __init__(self, count: int = 20, broken: int = -1):
        self.count, self.broken = count, broken

    def splits(self):
        return {
            "train": Split(MANIFEST, range(self.count), ReadDot(self.broken)),
            "val": Split(MANIFEST, [0], ReadDot(-1)),
        }

    def settings(self):
        return {"count": self.count}


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.suffix == ".tar"}


def test_what_is_left_out_is_counted_and_kept(tmp_path, capsys):
    written = convert(Dots(), tmp_path, records_per_shard=4)["train"]
    assert written.records == 14
    tally = read_manifest(tmp_path / "train").tally
    assert tally == written.tally
    assert (tally.taken, tally.entries["categories"]) == (20, 14)
    assert tally.left_out == {"nothing on it": 6, "empty segmentation": 3}
    assert tally.examples["nothing on it"] == ["dot 2", "dot 5", "dot 8"]
    assert "left out: 6 x nothing on it (e.g. dot 2; dot 5; dot 8)" in capsys.readouterr().out


def test_aliases_are_kept(tmp_path):
    convert(Dots(), tmp_path)
    assert read_manifest(tmp_path / "val").manifest == MANIFEST


@pytest.mark.parametrize("processes", [0, 2])
def test_a_stopped_conversion_continues_and_gives_the_same_bytes(tmp_path, processes):
    whole = convert(Dots(), tmp_path / "whole", records_per_shard=4, processes=0)["train"]
    with pytest.raises(RecordError, match="dot 13"):
        convert(Dots(broken=13), tmp_path / "parts", records_per_shard=4, processes=processes)
    begun = read_manifest(tmp_path / "parts" / "train", UNFINISHED_FILE)
    assert (begun.records, begun.tally.taken) == (8, 11)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts" / "train").glob("*.tar")}
    assert len(before) == 2
    resumed = convert(Dots(), tmp_path / "parts", records_per_shard=4, processes=processes)["train"]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert contents(tmp_path / "parts" / "train") == contents(tmp_path / "whole" / "train")
    assert resumed.tally == whole.tally


class DotsOf(Dots):
    """Dots that are read from a folder."""

    def __init__(self, source, count=20, broken=-1):
        super().__init__(count, broken)
        self.source = source

    def settings(self):
        return {}


def test_a_stopped_conversion_does_not_go_on_with_another_source(tmp_path):
    target = tmp_path / "shards"
    with pytest.raises(RecordError, match="dot 13"):
        convert(DotsOf(tmp_path / "a", broken=13), target, records_per_shard=4, processes=0)
    before = contents(target / "train")
    with pytest.raises(ShardError, match=rf"source {tmp_path}/a; now they are source {tmp_path}/b; .* choose another"):
        convert(DotsOf(tmp_path / "b"), target, records_per_shard=4, processes=0)
    with pytest.raises(ShardError, match=r"items 20 items, sha256 \w+; now they are items 21 items"):
        convert(DotsOf(tmp_path / "a", 21), target, records_per_shard=4, processes=0)
    assert contents(target / "train") == before
    convert(DotsOf(tmp_path / "b" / ".." / "a"), target, records_per_shard=4, processes=0)
    assert str(tmp_path) not in (target / "train" / "manifest.json").read_text()


@dataclass(frozen=True)
class File:
    """An item with a file of its own."""

    key: int
    path: Path


class ReadFile:
    def __call__(self, item):
        if item.path.read_bytes() == b"broken":
            raise RecordError(f"{item.path}: broken")
        return ReadDot(-1)(item.key)


class DotsOfFiles(DotsOf):
    """Dots that are annotated in a file, and each of which has a file."""

    def splits(self):
        items = [File(3 * number, self.source / f"{number}.png") for number in range(20)]
        return {"train": Split(MANIFEST, items, ReadFile(), annotations=(self.source / "all.json",))}


def test_a_stopped_conversion_does_not_go_on_over_files_that_changed_where_they_were_read(tmp_path):
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(b"broken" if number == 13 else b"fine")
    (tmp_path / "all.json").write_text("{}")
    converter, shards = DotsOfFiles(tmp_path), tmp_path / "shards"
    for target in (shards, tmp_path / "others"):
        with pytest.raises(RecordError, match=r"13\.png: broken"):
            convert(converter, target, records_per_shard=4, processes=0)
    (tmp_path / "13.png").write_bytes(b"mended")
    (tmp_path / "all.json").write_text("[]")
    with pytest.raises(ShardError, match=r"had other inputs: all\.json sha256 \w+; now they are all\.json sha256"):
        convert(converter, shards, records_per_shard=4, processes=0)
    (tmp_path / "all.json").write_text("{}")
    assert convert(converter, shards, records_per_shard=4, processes=0)["train"].records == 20
    (tmp_path / "5.png").write_bytes(b"other")
    with pytest.raises(ShardError, match=r"the inputs of its first 12 items have changed since"):
        convert(converter, tmp_path / "others", records_per_shard=4, processes=0)


def test_broken_items_can_be_left_out(tmp_path):
    written = convert(Dots(broken=4), tmp_path, broken="skip")["train"]
    assert written.tally.left_out["missing or broken files"] == 1
    assert written.tally.examples["missing or broken files"] == ["dot 4: broken"]
    assert written.records == 13


def test_a_part_of_the_splits(tmp_path):
    assert set(convert(Dots(), tmp_path, splits=["val"])) == {"val"}
    with pytest.raises(ConfigError, match="splits: test do not exist; there are train, val"):
        convert(Dots(), tmp_path, splits=["test"])


class FewDots(Dots):
    """Dots without options."""

    def __init__(self):
        super().__init__(6)


def test_splits_are_named_with_commas_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "tests_dots", __import__("sys").modules[__name__])
    for given, written in (("val", {"val"}), ("val,train", {"train", "val"}), ("[val]", {"val"})):
        main(["convert", "tests_dots.FewDots", "--target", str(tmp_path / given), "--splits", given])
        assert {path.name for path in (tmp_path / given).iterdir()} == written
    with pytest.raises(SystemExit):
        main(["convert", "tests_dots.Dots", "--target", str(tmp_path / "clash")])
    assert "Dots: `broken` is an option of every conversion; rename the converter's option" in capsys.readouterr().err


def test_a_split_is_written_nowhere_but_in_the_target(tmp_path):
    class Upwards(Dots):
        def splits(self):
            return {"../evil": super().splits()["val"]}

    with pytest.raises(LayoutError, match=r"the split '\.\./evil' cannot be the name of a folder"):
        convert(Upwards(), tmp_path / "shards", processes=0)
    assert not list(tmp_path.iterdir())


def test_images_that_are_listed_twice_are_named_before_anything_is_written(tmp_path):
    class Twice(Dots):
        def splits(self):
            items = [File(0, Path("a.b")), File(3, Path("c")), File(0, Path("d"))]
            return {"train": Split(MANIFEST, items, ReadFile())}

    with pytest.raises(LayoutError, match=r"'train' 1 images are listed several times \(0\); keep one"):
        convert(Twice(), tmp_path / "shards", processes=0)
    assert not (tmp_path / "shards").exists()


def test_a_target_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"target: .*file is not a folder; choose another folder"):
        convert(Dots(), tmp_path / "file", processes=0)


def test_shards_of_another_data_set_are_not_written_over(tmp_path):
    class Others(Dots):
        def splits(self):
            return {"train": replace(super().splits()["train"], manifest=replace(MANIFEST, name="others"))}

    convert(Dots(), tmp_path, ["train"], processes=0)
    before = contents(tmp_path / "train")
    with pytest.raises(ShardError, match="holds the shards of 'dots', not of 'others'; choose another"):
        convert(Others(), tmp_path, processes=0)
    assert contents(tmp_path / "train") == before
    convert(Dots(), tmp_path, ["train"], processes=0)


def test_files_that_are_not_there_are_named_before_anything_is_written(tmp_path):
    class Needy(Dots):
        def splits(self):
            files = [tmp_path / "a.jpg", tmp_path / "nowhere" / "b.jpg"]
            return {"train": Split(MANIFEST, range(3), ReadDot(-1), files)}

    (tmp_path / "a.jpg").touch()
    with pytest.raises(LasagnaError, match=r"1 of the 2 files that the split 'train' needs.*b\.jpg.*--broken skip"):
        convert(Needy(), tmp_path / "shards")
    assert not (tmp_path / "shards").exists()
    assert convert(Needy(), tmp_path / "shards", broken="skip")["train"].records == 2


def test_nothing_left_says_why(tmp_path):
    class Empty(Dots):
        def splits(self):
            return {"train": Split(MANIFEST, [2, 5], ReadDot(-1))}

    with pytest.raises(ShardError, match="no records to write; left out: 2 x nothing on it"):
        convert(Empty(), tmp_path)


@pytest.mark.parametrize("broken", ["stop", "skip"])
def test_an_empty_split_does_not_keep_the_others_from_being_written(tmp_path, broken):
    class HalfEmpty(Dots):
        def splits(self):
            return {"first": Split(MANIFEST, [2], ReadDot(-1))} | super().splits()

    message = r"first: there were no records to write; left out: 1 x nothing.*\ntrain, val were written, first were not"
    with pytest.raises(NoRecordsError, match=message):
        convert(HalfEmpty(), tmp_path, broken=broken, processes=0)
    assert {path.parent.name for path in tmp_path.glob("*/manifest.json")} == {"train", "val"}


def test_a_split_that_does_not_pair_up_keeps_the_others_from_being_written_unless_faults_are_skipped(tmp_path):
    for part, suffixes in (("train", ("jpg", "json")), ("val", ("jpg",))):
        (tmp_path / "source" / part).mkdir(parents=True)
        for suffix in suffixes:
            (tmp_path / "source" / part / f"1.{suffix}").write_bytes(png(70))
    (tmp_path / "source" / "train" / "1.json").write_text(
        '{"text": "What?", "is_sentence": true, "shapes": [{"label": "target", "points": [[0, 0], [5, 0], [5, 3]]}]}'
    )
    with pytest.raises(LayoutError, match=r"1 images \(1\) and no label files; unpack both\.\nOr convert some"):
        convert(ReasonSeg(tmp_path / "source", explanations=False), tmp_path / "stopped", processes=0)
    assert not (tmp_path / "stopped").exists()
    with pytest.raises(NoRecordsError, match=r"1 images .* and no label files.*\ntrain were written, val were not"):
        convert(ReasonSeg(tmp_path / "source", explanations=False), tmp_path / "shards", broken="skip", processes=0)
    assert read_manifest(tmp_path / "shards" / "train").records == 1


def test_a_full_disk_leaves_no_shard_that_looks_whole(tmp_path, monkeypatch):
    def full(tar, info, file):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tarfile.TarFile.addfile", full)
    with pytest.raises(ShardError, match=r"could not be written.*No space left.*make room"):
        convert(Dots(), tmp_path, processes=0)
    assert not [path for path in (tmp_path / "train").iterdir() if path.suffix in (".tar", ".part")]


def test_a_full_disk_leaves_no_manifest(tmp_path, monkeypatch):
    write_text = Path.write_text

    def full(path, text, encoding):
        write_text(path, text[:100], encoding)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ShardError, match=r"unfinished\.json: the manifest could not be written.*No space.*make room"):
        convert(Dots(), tmp_path, records_per_shard=4, processes=0)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["000000.tar"]
    monkeypatch.undo()
    assert convert(Dots(), tmp_path, records_per_shard=4, processes=0)["train"].records == 14


def test_an_archive_is_to_be_unpacked(tmp_path):
    (tmp_path / "release.zip").write_bytes(b"PK")
    with pytest.raises(LayoutError, match=r"release\.zip is an archive; unpack it"):
        convert(CamVid(tmp_path / "release.zip"), tmp_path / "shards")


def test_archives_in_the_folder_are_reported_where_something_is_missing(tmp_path):
    (tmp_path / "coco" / "annotations").mkdir(parents=True)
    (tmp_path / "coco" / "annotations" / "panoptic_val2017.zip").write_bytes(b"PK")
    with pytest.raises(LayoutError, match=r"(?s)no annotations/panoptic.*not unpacked: .*panoptic_val2017\.zip"):
        convert(CocoPanoptic(tmp_path / "coco"), tmp_path / "shards")


def test_a_converter_of_ones_own_through_the_command(tmp_path, monkeypatch, capsys):
    lines = [
        "from tests_dots import Dots as Theirs",
        "class Mine(Theirs):",
        '    """My dots."""',
        "    def __init__(self, source: str, count: int = 6):",
        "        super().__init__(count)",
    ]
    (tmp_path / "my_dots.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(__import__("sys").modules, "tests_dots", __import__("sys").modules[__name__])
    main(["convert", "my_dots.Mine", "--source", "here", "--target", str(tmp_path / "out"), "--count", "7"])
    assert read_manifest(tmp_path / "out" / "train").records == 5
    for name, message in (("my_dots.Nothing", "cannot be imported"), ("pathlib.Path", "not a subclass")):
        with pytest.raises(SystemExit):
            main(["convert", name, "--target", "x"])
        assert message in capsys.readouterr().err


def test_the_list_of_data_sets(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["convert", "--help"])
    assert stopped.value.code == 0
    assert "camvid" in capsys.readouterr().out


class Bare(Dots):
    """Images without annotations in one split; in the other, an annotation without a mask, or what dots have."""

    def __init__(self, has_dots=False):
        super().__init__()
        self.has_dots = has_dots

    def splits(self):
        boxed = Split(MANIFEST, [1], ReadBare((Skipped("box without a mask", "dot 1"),)))
        return {
            "val": Split(MANIFEST, [1], ReadBare(())),
            "train": super().splits()["train"] if self.has_dots else boxed,
        }


class ReadBare:
    def __init__(self, left):
        self.left = left

    def __call__(self, item):
        return ReadResult(
            Record(f"dot-{item}", png(item), (4, 6), MANIFEST, unclear=("dot",) * len(self.left)), self.left
        )


def test_images_without_any_annotation_are_no_data_set(tmp_path):
    message = (
        r"train: none of its 1 images has a mask.* left out: 1 x box without a mask \(e\.g\. dot 1\); .* draw masks"
        r", for example with a segmentation tool that boxes prompt$"
    )
    with pytest.raises(NoRecordsError, match=message):
        convert(Bare(), tmp_path / "shards", processes=0)
    assert not list(tmp_path.glob("shards/*/manifest.json"))
    # a split that has nothing on its images is one of absent names
    assert set(convert(Bare(has_dots=True), tmp_path / "shards", processes=0)) == {"train", "val"}
