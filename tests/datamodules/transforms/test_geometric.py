from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from lasagna.core.masks import RLEMask
from lasagna.core.record import Caption, CaptionPhrase, Manifest, Phrase, Question, Record, Region, Turn
from lasagna.datamodules import ColourJitter, HorizontalFlip, LargeScaleJitter, RandomCrop, Torchvision
from lasagna.datamodules.transforms.base import edit_record
from lasagna.errors import RecordError
from lasagna.tasks import Semantic

NAMES = ("sky", "road", "tree", "car")


def make_record(seed=0, height=19, width=23, unannotated="absent"):
    """A record whose image holds the place of each pixel: red is the row, green the column."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    image = np.stack([rows, columns, rng.integers(0, 256, (height, width))], -1).astype(np.uint8)
    labels = rng.integers(0, 2, (height, width)).astype(np.uint8)
    labels[-2:, -2:] = 11
    labels[0, 0] = 2
    blob = np.zeros((height, width), bool)
    blob[5:9, 6:10] = True
    ignore = np.zeros((height, width), bool)
    ignore[3] = True
    return Record(
        key="frame",
        image_bytes=encoded(image, "PNG"),
        size=(height, width),
        manifest=Manifest("made", NAMES, dict(enumerate(NAMES[:3])), (11,), unannotated),
        regions=(Region("car", RLEMask.from_array(blob)),),
        phrases=(
            Phrase("the car on the left", (RLEMask.from_array(blob),)),
            Phrase("the red car", (RLEMask.from_array(blob),)),
            Phrase("the blue dog", ()),
        ),
        questions=(
            Question("how many cars", "one"),
            Question("what could one drive", masks=(RLEMask.from_array(blob),)),
            Question("on which side is the car", "Left"),
        ),
        conversation=(Turn("what is it", "a street"),),
        captions=(
            Caption("a red car", (CaptionPhrase((2, 9), (RLEMask.from_array(blob),)),)),
            Caption("a car on the left"),
        ),
        ignore=RLEMask.from_array(ignore),
        label_bytes=encoded(labels, "PNG"),
    )


def encoded(pixels, form):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


def arrays(record):
    masks = {name: mask.decode() for name, mask in record.category_masks().items()}
    return record.image(), record.label_map.pixels, record.ignored().decode() if record.ignored() else None, masks


def box_of(record):
    image = record.image()
    rows, columns = image[:, 0, 0], image[0, :, 1]
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def test_a_crop_keeps_objects_apart_and_drops_those_outside():
    record = make_record()
    left, right, away = (np.zeros(record.size, bool) for _ in range(3))
    left[5:9, 6:8], right[5:9, 8:10], away[-1, -1] = True, True, True
    codes = [RLEMask.from_array(pixels) for pixels in (left, right, away)]
    regions = (Region.of_objects("car", codes[:2], codes[2:]), Region.of_objects("dog", codes[2:]))
    (region,) = edit_record(replace(record, regions=regions), lambda pixels: pixels[4:10, 5:9]).regions
    assert [mask.decode().sum() for mask in region.masks] == [8, 4]
    assert (region.crowds, region.mask.decode().sum()) == ((), 12)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    size=st.tuples(st.integers(10, 40), st.integers(11, 40)),
    low=st.floats(0.01, 1),
    stretch=st.floats(1, 3),
)
def test_a_crop_of_a_record_is_the_crop_of_its_arrays(seed, size, low, stretch):
    record = make_record(seed % 7, *size)
    cropped = RandomCrop((low, 1.0), (1 / stretch, stretch))(record, np.random.default_rng(seed))
    box = box_of(cropped)
    image, labels, ignored, masks = arrays(record)
    new_image, new_labels, new_ignored, new_masks = arrays(cropped)
    assert cropped.size == new_image.shape[:2]
    assert np.array_equal(new_image, image[box])
    assert np.array_equal(new_labels, labels[box])
    assert np.array_equal(new_ignored if new_ignored is not None else np.zeros(cropped.size, bool), ignored[box])
    assert new_masks.keys() == {name for name, mask in masks.items() if mask[box].any()}
    assert all(np.array_equal(mask, masks[name][box]) for name, mask in new_masks.items())


def test_the_same_generator_gives_the_same_crop_and_another_another():
    record = make_record()
    first, again, other = (RandomCrop((0.2, 0.5))(record, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first == again
    assert box_of(first) != box_of(other)


def test_the_area_and_aspect_of_crops_are_within_their_ranges():
    record = make_record(height=200, width=240)
    crop = RandomCrop((0.25, 0.5), (0.8, 1.25))
    sizes = np.array([crop(record, np.random.default_rng(seed)).size for seed in range(60)])
    areas = sizes.prod(1) / (200 * 240)
    aspects = sizes[:, 1] / sizes[:, 0] / 1.2
    assert 0.24 < areas.min() < 0.3 < 0.45 < areas.max() < 0.51
    assert 0.78 < aspects.min() < 0.9 < 1.1 < aspects.max() < 1.28


def test_a_large_crop_is_stretched_only_as_far_as_the_image_reaches():
    record = make_record(height=200, width=240)
    crop = RandomCrop((0.9, 0.95), (0.5, 2.0))
    sizes = np.array([crop(record, np.random.default_rng(seed)).size for seed in range(80)])
    areas = sizes.prod(1) / (200 * 240)
    assert 0.89 < areas.min() < 0.91 < 0.94 < areas.max() < 0.96
    aspects = sizes[:, 1] / sizes[:, 0] / 1.2
    assert 0.88 < aspects.min() < 0.93 < 1.07 < aspects.max() < 1.13


def test_a_category_that_is_cut_away_is_absent_and_known_to_be_so():
    record = make_record(unannotated="unknown")
    cropped = next(
        crop
        for seed in range(100)
        if box_of(crop := RandomCrop((0.2, 0.3))(record, np.random.default_rng(seed)))[0].start > 9
    )
    assert "car" not in cropped.category_masks()
    assert set(cropped.absent) == {"car", "tree"}
    assert RandomCrop((0.2, 0.3))(make_record(), np.random.default_rng(0)).absent == ()


def test_a_mask_without_a_pixel_is_unclear_after_a_change():
    empty = Region("sky", RLEMask.from_array(np.zeros((9, 12))))
    for unannotated in ("absent", "unknown"):
        made = Record(
            "k", encoded(np.zeros((9, 12, 3), np.uint8), "PNG"), (9, 12), Manifest("m", ("sky",), {}, (), unannotated)
        )
        changed = HorizontalFlip(1.0)(replace(made, regions=(empty,)), np.random.default_rng(0))
        assert (changed.unclear, changed.absent) == (("sky",), ())


def test_what_was_said_about_the_whole_picture_does_not_survive_a_crop():
    cropped = RandomCrop((0.2, 0.5))(make_record(), np.random.default_rng(0))
    assert (cropped.phrases, cropped.questions, cropped.captions, cropped.conversation) == ((), (), (), ())


@pytest.mark.parametrize("seed", range(20))
def test_phrases_about_looks_may_stay_with_whole_things(seed):
    record = make_record()
    cropped = RandomCrop((0.2, 0.9), phrases="whole")(record, np.random.default_rng(seed))
    rows, columns = box_of(cropped)
    whole = rows.start <= 5 and rows.stop >= 9 and columns.start <= 6 and columns.stop >= 10
    expected = [phrase.text for phrase in record.phrases if whole or not phrase.masks]
    assert [phrase.text for phrase in cropped.phrases] == expected
    assert all(mask.decode().sum() == 16 for phrase in cropped.phrases for mask in phrase.masks)


def test_a_crop_of_everything_and_no_crop_leave_the_record():
    record = make_record()
    assert RandomCrop((1.0, 1.0), (1.0, 1.0))(record, np.random.default_rng(0)) is record
    assert RandomCrop(probability=0.0)(record, np.random.default_rng(0)) is record


@given(seed=st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_a_flip_mirrors_image_and_masks_alike(seed):
    record = make_record(seed)
    flipped = HorizontalFlip(1.0)(record, np.random.default_rng(seed))
    for old, new in zip(arrays(record)[:3], arrays(flipped)[:3], strict=True):
        assert np.array_equal(new, old[:, ::-1])
    old, new = arrays(record)[3], arrays(flipped)[3]
    assert old.keys() == new.keys()
    assert all(np.array_equal(new[name], old[name][:, ::-1]) for name in old)


def test_a_flip_keeps_what_does_not_speak_of_sides():
    record = make_record()
    flipped = HorizontalFlip(1.0)(record, np.random.default_rng(0))
    assert [phrase.text for phrase in flipped.phrases] == ["the red car", "the blue dog"]
    assert np.array_equal(flipped.phrases[0].masks[0].decode(), record.phrases[1].masks[0].decode()[:, ::-1])
    assert [question.text for question in flipped.questions] == ["how many cars", "what could one drive"]
    assert np.array_equal(flipped.questions[1].masks[0].decode(), record.questions[1].masks[0].decode()[:, ::-1])
    [caption] = flipped.captions
    [mask] = caption.phrases[0].masks
    assert caption.text == "a red car"
    assert np.array_equal(mask.decode(), record.captions[0].phrases[0].masks[0].decode()[:, ::-1])
    assert flipped.conversation == record.conversation
    sided = replace(record, conversation=(Turn("where", "at the leftmost edge"),))
    assert HorizontalFlip(1.0)(sided, np.random.default_rng(0)).conversation == ()


def test_flips_come_as_often_as_asked():
    record = make_record()
    flips = sum(HorizontalFlip(0.3)(record, np.random.default_rng(seed)) is not record for seed in range(200))
    assert 40 <= flips <= 80


def test_colours_change_within_limits_and_masks_do_not():
    record = make_record()
    jittered = ColourJitter(0.2, 0.2, 0.2)(record, np.random.default_rng(3))
    assert not np.array_equal(jittered.image(), record.image())
    assert jittered.label_bytes == record.label_bytes
    assert jittered.phrases == record.phrases
    grey = np.full((8, 8, 3), 100, np.uint8)
    plain = replace(record, image_bytes=encoded(grey, "PNG"))
    levels = [int(ColourJitter()(plain, np.random.default_rng(seed)).image()[0, 0, 0]) for seed in range(50)]
    assert 80 <= min(levels) < 90 < 110 < max(levels) <= 120
    assert np.array_equal(ColourJitter(0, 0, 0)(record, np.random.default_rng(0)).image(), record.image())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomCrop(scale=(0.5, 0.2)), "`scale`"),
        (lambda: RandomCrop(scale=(0.0, 0.2)), "`scale`"),
        (lambda: RandomCrop(aspect=(2.0, 1.0)), "`aspect`"),
        (lambda: RandomCrop(probability=1.5), "RandomCrop: `probability`"),
        (lambda: HorizontalFlip(-0.1), "HorizontalFlip: `probability`"),
        (lambda: ColourJitter(contrast=2.0), "`contrast`"),
        (lambda: LargeScaleJitter((2.0, 1.0)), "LargeScaleJitter: `scale`"),
        (lambda: LargeScaleJitter(size=(0, 3)), "LargeScaleJitter: `size`"),
        (lambda: LargeScaleJitter(fill=(0, 0, 300)), "LargeScaleJitter: `fill`"),
    ],
)
def test_arguments_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wide_label_values_survive():
    record = make_record()
    labels = np.full((19, 23), 300, np.uint16)
    manifest = replace(record.manifest, labels={300: "sky"})
    wide = replace(record, manifest=manifest, label_bytes=encoded(labels, "PNG"))
    assert HorizontalFlip(1.0)(wide, np.random.default_rng(0)).label_map.values == (300,)


@pytest.mark.parametrize("transform", [RandomCrop(), HorizontalFlip(1.0), ColourJitter(0.3, 0.3, 0.3)])
def test_the_images_of_a_record_are_changed_alike(transform):
    alone = make_record()
    darker = encoded(alone.image() // 2, "PNG")
    several = transform(replace(alone, others=(alone.image_bytes, darker)), np.random.default_rng(3))
    same, other = several.other_images()
    assert np.array_equal(several.image(), transform(alone, np.random.default_rng(3)).image())
    assert np.array_equal(several.image(), same)
    assert other.shape == same.shape
    assert (other < same).any()


def test_a_crop_of_images_of_several_sizes_is_refused():
    several = replace(make_record(), others=(make_record(height=8).image_bytes,))
    assert HorizontalFlip(1.0)(several, np.random.default_rng(0)).other_images()[0].shape == (8, 23, 3)
    with pytest.raises(RecordError, match=r"frame: RandomCrop takes images of one size, got \(19, 23\) and \(8, 23\)"):
        RandomCrop(scale=(0.2, 0.3))(several, np.random.default_rng(0))


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.7])
def test_jitter_of_scale_shows_the_same_part_in_image_and_masks(factor):
    record = make_record(height=40, width=60)
    record = replace(record, label_bytes=encoded(record.label_map.pixels % 2, "PNG"))
    changed = LargeScaleJitter((factor, factor), size=(48, 64))(record, np.random.default_rng(2))
    assert changed.size == changed.image().shape[:2] == changed.label_map.size == (48, 64)
    padding = changed.label_map.pixels == 11
    rows, columns = np.nonzero(~padding)
    image, labels = changed.image().astype(int), record.label_map.pixels
    # red and green of the image are the place of each pixel, which smooth sampling keeps up to a pixel or two
    near = [
        labels[np.clip(image[rows, columns, 0] + down, 0, 39), np.clip(image[rows, columns, 1] + across, 0, 59)]
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    ]
    agree = (np.stack(near) == changed.label_map.pixels[rows, columns]).any(0)
    assert agree.mean() > 0.98
    assert changed.ignored().decode()[padding].all()
    assert (image[padding] == (124, 116, 104)).all() or factor > 1


def test_what_becomes_too_small_is_unclear_and_what_is_cut_off_absent():
    record = make_record(height=60, width=60, unannotated="unknown")
    dot = np.zeros(record.size, bool)
    dot[31, 31] = True
    record = replace(record, label_bytes=None, regions=(Region("car", RLEMask.from_array(dot)),))
    shrunk = [LargeScaleJitter((0.1, 0.1))(record, np.random.default_rng(seed)) for seed in range(5)]
    assert all((one.unclear, one.absent) == (("car",), ()) for one in shrunk if not one.regions)
    assert any(not one.regions for one in shrunk)
    assert [phrase.text for phrase in shrunk[0].phrases][-1:] == ["the blue dog"], "nothing is cut off"
    grown = [LargeScaleJitter((6.0, 6.0))(record, np.random.default_rng(seed)) for seed in range(20)]
    gone = [one for one in grown if not one.regions]
    assert gone
    assert all((one.unclear, one.absent, one.phrases) == ((), ("car",), ()) for one in gone)


def test_nobody_asks_a_mirrored_image_for_categories_with_sides():
    names = ("left arm", "right arm", "sky", "arrow--right")
    record = make_record()
    sided = replace(
        record,
        manifest=Manifest("made", names, {0: "sky", 1: "left arm", 2: "sky"}, (11,), "unknown"),
        regions=(Region("arrow--right", record.regions[0].mask),),
        absent=("right arm",),
    )
    for changed in (
        HorizontalFlip(1.0)(sided, np.random.default_rng(0)),
        Torchvision(v2.RandomHorizontalFlip(1.0))(replace(sided, phrases=()), np.random.default_rng(0)),
    ):
        assert changed.unclear == ("left arm", "right arm", "arrow--right")
        [dialogue] = Semantic().dialogues(changed, np.random.default_rng(0))
        assert dialogue.query == ("sky",)
    assert HorizontalFlip(1.0)(record, np.random.default_rng(0)).unclear == ()
