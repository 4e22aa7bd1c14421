from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lasagna.datamodules.converters import CamVid, LayoutError, convert
from lasagna.datamodules.converters.camvid import CAMVID_11, CAMVID_32, NAMES_32
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.errors import ConfigError, LasagnaError, RecordError, ShardError

SHARED = Path(__file__).parents[4] / "shared" / "data"
DRIVES = ("0001TP_006690", "0006R0_f00930", "0016E5_00390")


def picture(seed, size=(24, 32)):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def ids(seed, size=(24, 32)):
    return np.random.default_rng(seed).integers(0, 12, size, dtype=np.uint8)


def save(pixels, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def tutorial(tmp_path):
    """The folder of the SegNet tutorial's repository: grey label files, lists of paths."""
    root = tmp_path / "SegNet" / "CamVid"
    for split, frames in (("train", DRIVES), ("val", ["0016E5_07959"]), ("test", ["Seq05VD_f00000"])):
        for seed, frame in enumerate(frames):
            save(picture(seed), root / split / f"{frame}.png")
            save(ids(seed), root / f"{split}annot" / f"{frame}.png")
        lines = [
            f"/SegNet/CamVid/{split}/{frame}.png /SegNet/CamVid/{split}annot/{frame}.png" for frame in frames[::-1]
        ]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


@pytest.fixture
def sorted_otherwise(tmp_path):
    """The same in other folders: JPEG images, palette label files, lists of bare names."""
    root = tmp_path / "camvid"
    for split, frames in (("train", DRIVES), ("val", ["0016E5_07959"])):
        for seed, frame in enumerate(frames):
            save(picture(seed), root / "images" / split / f"{frame}.jpg")
            label = Image.fromarray(ids(seed))
            label.putpalette([128, 0, 255] * 12)
            (root / "labels" / split).mkdir(parents=True, exist_ok=True)
            label.save(root / "labels" / split / f"{frame}.png")
        (root / "splits").mkdir(exist_ok=True)
        (root / "splits" / f"{split}.txt").write_text("\n".join(frames) + "\n")
    return root


@pytest.fixture
def original(tmp_path):
    """The original release: RGB label files with 32 colours."""
    root = tmp_path / "original"
    colours = np.array([*NAMES_32, (0, 0, 0)], dtype=np.uint8)
    for seed, frame in enumerate([*DRIVES, "Seq05VD_f00000"]):
        save(picture(seed), root / "701_StillsRaw_full" / f"{frame}.png")
        label = colours[np.random.default_rng(seed).integers(0, 32, (24, 32))]
        save(label, root / "LabeledApproved_full" / f"{frame}_L.png")
    return root


def keys(split):
    return [pair.key for pair in split.items]


def test_the_tutorial_layout_keeps_splits_lists_and_bytes(tutorial):
    for source in (tutorial, tutorial.parent):
        splits = CamVid(source).splits()
        assert {name: keys(split) for name, split in splits.items()} == {
            "train": list(DRIVES[::-1]),
            "val": ["0016E5_07959"],
            "test": ["Seq05VD_f00000"],
        }
    records = {record.key: record for record in splits["train"].records()}
    record = records[DRIVES[1]]
    assert record.image_bytes == (tutorial / "train" / f"{DRIVES[1]}.png").read_bytes()
    assert record.size == (24, 32)
    assert record.manifest == CAMVID_11
    assert np.array_equal(record.label_map.pixels, ids(1))
    assert np.array_equal(record.ignored().decode(), ids(1) == 11)
    assert np.array_equal(record.category_masks()["sign symbol"].decode(), ids(1) == 6)
    assert "unlabelled" not in record.category_masks()


def test_palette_labels_stay_ids(sorted_otherwise):
    splits = CamVid(sorted_otherwise).splits()
    assert {name: keys(split) for name, split in splits.items()} == {"train": list(DRIVES), "val": ["0016E5_07959"]}
    for seed, record in enumerate(splits["train"].records()):
        assert np.array_equal(record.label_map.pixels, ids(seed))
        assert record.image_bytes[:3] == b"\xff\xd8\xff"


def test_without_a_list_all_frames_of_a_split_count(tutorial):
    (tutorial / "train.txt").unlink()
    assert keys(CamVid(tutorial).splits()["train"]) == sorted(DRIVES)


def test_a_list_may_name_a_part_of_the_frames(tutorial):
    (tutorial / "train.txt").write_text(f"{DRIVES[2]}\n\n{DRIVES[0]}\n")
    assert keys(CamVid(tutorial).splits()["train"]) == [DRIVES[2], DRIVES[0]]


def test_colours_become_label_values(original):
    split = CamVid(original).splits()["train"]
    assert split.manifest == CAMVID_32
    assert len(split) == 4
    for record in split.records():
        path = original / "LabeledApproved_full" / f"{record.key}_L.png"
        colours = np.asarray(Image.open(path))
        masks = record.category_masks()
        with Image.open(BytesIO(record.label_bytes)) as label:
            assert (label.mode, label.format) == ("L", "PNG")
        for colour, name in NAMES_32.items():
            assert np.array_equal(masks[name].decode(), (colours == colour).all(-1))
        assert np.array_equal(record.ignored().decode(), (colours == 0).all(-1))


@pytest.mark.parametrize(("drive", "expected"), [("0006R0", 2), ("0001TP", 2), ("0016E5", 2)])
def test_a_whole_drive_is_held_out_of_every_split(tutorial, drive, expected):
    splits = CamVid(tutorial, held_out_drive=drive).splits()
    assert len(splits["train"]) == expected
    assert all(key.startswith(drive) for key in keys(splits["held_out"]))
    assert not any(key.startswith(drive) for name in splits if name != "held_out" for key in keys(splits[name]))
    assert ("val" in splits) == (drive != "0016E5")
    assert sum(map(len, splits.values())) == 5


def test_an_unknown_drive_names_those_there_are(original):
    with pytest.raises(LasagnaError, match=r"'0099XX'; there are 0001TP \(1 frames\).*Seq05VD \(1 frames\)"):
        CamVid(original, held_out_drive="0099XX").splits()


def test_names_suit_queries_of_every_prompt_format():
    from lasagna.core.prompt_formats import PROMPT_FORMATS

    for manifest in (CAMVID_11, CAMVID_32):
        assert len(set(manifest.categories)) == len(manifest.labels)
        for prompt_format in PROMPT_FORMATS.values():
            prompt_format.check("categories", manifest.categories)


def test_another_folder_is_refused_with_the_expected_trees(tmp_path):
    with pytest.raises(LayoutError, match=r"(?s)not a CamVid folder.*trainannot|annot.*701_StillsRaw_full"):
        CamVid(tmp_path).splits()


def test_an_image_without_label_and_a_label_without_image_are_reported_together(tutorial):
    (tutorial / "trainannot" / f"{DRIVES[0]}.png").unlink()
    (tutorial / "train" / f"{DRIVES[1]}.png").unlink()
    with pytest.raises(
        LayoutError, match=f"2 of the 6 .*train/{DRIVES[1]}.png, .*trainannot/{DRIVES[0]}.png.*--broken skip"
    ):
        convert(CamVid(tutorial), tutorial / "shards", processes=0)
    written = convert(CamVid(tutorial), tutorial / "shards", broken="skip", processes=0)["train"]
    assert written.tally.left_out == {"missing or broken files": 2}


def test_a_missing_half_of_the_original_is_refused(original):
    (original / "LabeledApproved_full").rename(original / "elsewhere")
    with pytest.raises(LayoutError, match="LabeledApproved_full: there is no such folder"):
        CamVid(original).splits()


def test_a_listed_frame_that_is_not_there(tutorial):
    (tutorial / "val.txt").write_text("0016E5_99999\n")
    with pytest.raises(LayoutError, match=r"2 of the 2 files that the split 'val' needs.*val/0016E5_99999\.png"):
        convert(CamVid(tutorial), tutorial / "shards", processes=0)
    (tutorial / "val.txt").write_text(f"0016E5_99999\n{next((tutorial / 'val').glob('*.png')).stem}\n")
    written = convert(CamVid(tutorial), tutorial / "shards", broken="skip", processes=0)["val"]
    assert (written.records, written.tally.left_out) == (1, {"missing or broken files": 1})


def test_one_frame_in_two_files(tutorial):
    save(picture(0), tutorial / "train" / f"{DRIVES[0]}.jpg")
    with pytest.raises(LayoutError, match="keep one of them"):
        CamVid(tutorial).splits()


def test_an_unknown_colour_names_file_colour_and_count(original):
    path = original / "LabeledApproved_full" / f"{DRIVES[0]}_L.png"
    pixels = np.array(Image.open(path))
    pixels[0, :3] = (1, 2, 3)
    pixels[1, 0] = (255, 255, 255)
    save(pixels, path)
    with pytest.raises(RecordError, match=rf"{path.name}: 2 colours.*\(1, 2, 3\) on 3 pixels, \(255, 255, 255\) on 1"):
        list(CamVid(original).splits()["train"].records())


def test_an_unknown_label_value(tutorial):
    path = tutorial / "trainannot" / f"{DRIVES[0]}.png"
    save(np.full((24, 32), 12, np.uint8), path)
    with pytest.raises(RecordError, match=rf"{path.name}.*label values \[12\]"):
        list(CamVid(tutorial).splits()["train"].records())


def test_a_label_of_another_size(original):
    path = original / "LabeledApproved_full" / f"{DRIVES[0]}_L.png"
    save(np.zeros((24, 30, 3), np.uint8), path)
    with pytest.raises(RecordError, match=rf"{path.name}.*\(24, 30\).*\(24, 32\)"):
        list(CamVid(original).splits()["train"].records())


def test_colours_where_ids_should_be(tutorial):
    path = tutorial / "trainannot" / f"{DRIVES[0]}.png"
    save(np.zeros((24, 32, 3), np.uint8), path)
    with pytest.raises(RecordError, match="one channel"):
        list(CamVid(tutorial).splits()["train"].records())


@pytest.mark.parametrize("folder", ["train", "trainannot"])
def test_a_broken_file(tutorial, folder):
    path = tutorial / folder / f"{DRIVES[0]}.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(RecordError, match=rf"{path.name}.*cannot be decoded"):
        list(CamVid(tutorial).splits()["train"].records())


def test_convert_writes_a_folder_of_shards_a_split(tutorial, tmp_path):
    target = tmp_path / "shards"
    written = convert(CamVid(tutorial, held_out_drive="0006R0"), target, records_per_shard=1)
    assert {name: shards.records for name, shards in written.items()} == {
        "train": 2,
        "val": 1,
        "test": 1,
        "held_out": 1,
    }
    for name, shards in written.items():
        read_manifest(target / name).verify()
        assert shards.manifest == CAMVID_11
    assert len(written["train"].shards) == 2


def test_convert_twice_gives_the_same_shards_again(tutorial, tmp_path):
    first, second = (convert(CamVid(tutorial), tmp_path / "shards") for _ in range(2))
    assert first == second


def test_a_target_of_another_conversion_is_refused(tutorial, tmp_path):
    convert(CamVid(tutorial, held_out_drive="0006R0"), tmp_path / "shards")
    with pytest.raises(ShardError, match="holds held_out of another conversion"):
        convert(CamVid(tutorial), tmp_path / "shards")


def test_a_target_with_other_files_is_refused(tutorial):
    with pytest.raises(ShardError, match=r"holds other files \(0001TP_006690.png"):
        convert(CamVid(tutorial), tutorial)
    assert (tutorial / "train" / f"{DRIVES[0]}.png").exists()


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real frames are not beside the repository")
def test_real_frames_of_both_forms_convert(tmp_path):
    small = CamVid(SHARED / "camvid", held_out_drive="0006R0").splits()
    assert {name: len(split) for name, split in small.items()} == {"train": 266, "val": 101, "held_out": 101}
    record = next(small["val"].records())
    assert record.size == (360, 480)
    assert {"sky", "road", "sign symbol"} <= set(record.category_masks())
    large = convert(CamVid(SHARED / "samples" / "camvid_32class", held_out_drive="0006R0"), tmp_path)
    assert {name: shards.records for name, shards in large.items()} == {"train": 6, "held_out": 2}


@pytest.mark.parametrize("left", ["failed", "stopped"])
def test_a_conversion_that_did_not_end_can_be_run_again(tutorial, tmp_path, left):
    target, broken = tmp_path / "shards", tutorial / "train" / f"{DRIVES[0]}.png"
    content = broken.read_bytes()
    broken.write_bytes(content[:60])
    with pytest.raises(RecordError):
        convert(CamVid(tutorial), target, records_per_shard=1)
    assert (target / "train" / "unfinished.json").is_file()
    if left == "stopped":
        for name in ("000001.tar.part", "unfinished.json.part", "manifest.json.part"):
            (target / "train" / name).write_bytes(b"half")
    broken.write_bytes(content)
    written = convert(CamVid(tutorial), target, records_per_shard=1)
    assert written["train"].records == 3
    names = {path.name for path in (target / "train").iterdir()}
    assert names == {"manifest.json", *(f"{number:06d}.tar" for number in range(3))}


def test_a_target_with_tars_of_others_is_refused(tutorial, tmp_path):
    foreign = tmp_path / "shards" / "train" / "photos.tar"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    with pytest.raises(ShardError, match=r"holds other files \(photos.tar\)"):
        convert(CamVid(tutorial), tmp_path / "shards")
    assert foreign.read_bytes() == b"mine"


def test_a_split_without_frames_is_left_out(tutorial, tmp_path):
    for folder in ("test", "testannot"):
        for path in (tutorial / folder).iterdir():
            path.unlink()
    (tutorial / "test.txt").unlink()
    assert set(convert(CamVid(tutorial), tmp_path / "shards")) == {"train", "val"}
    assert not (tmp_path / "shards" / "test").exists()


@pytest.mark.parametrize("folders", [("train", "trainannot"), ("701_StillsRaw_full", "LabeledApproved_full")])
def test_a_folder_without_any_frames(tmp_path, folders):
    for folder in folders:
        (tmp_path / "empty" / folder).mkdir(parents=True)
    with pytest.raises(LayoutError, match="empty holds no frames"):
        CamVid(tmp_path / "empty").splits()


def test_shards_hold_at_least_one_record(tutorial, tmp_path):
    with pytest.raises(ConfigError, match="records_per_shard: expected a whole number of at least 1, got 0"):
        convert(CamVid(tutorial), tmp_path / "shards", records_per_shard=0)
    assert not (tmp_path / "shards").exists()


def test_a_damaged_label_file_is_named_whatever_the_decoder_says(tutorial):
    path = tutorial / "trainannot" / f"{DRIVES[0]}.png"
    content = path.read_bytes()
    # a length of a chunk beyond the end of the file, for which Pillow has an error of another type
    path.write_bytes(content[:8] + b"\x00\x00\x00\x02" + content[12:])
    with pytest.raises(RecordError, match=rf"{path.name}.*cannot be decoded"):
        list(CamVid(tutorial).splits()["train"].records())
