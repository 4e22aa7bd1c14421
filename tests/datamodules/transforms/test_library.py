"""Transforms of other libraries move all masks as they move the image, and are a function of the seed."""

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from lasagna.core.config import build
from lasagna.core.foreign import Foreign
from lasagna.core.masks import RLEMask
from lasagna.core.record import Caption, CaptionPhrase, Phrase, Question, Region
from lasagna.datamodules import RecordTransform, Torchvision
from lasagna.errors import CheckpointError, ConfigError, RecordError
from tests.datamodules.transforms.test_geometric import encoded, make_record

GEOMETRIC = [
    v2.RandomHorizontalFlip(1.0),
    v2.RandomResizedCrop(16),
    v2.RandomAffine(40, (0.2, 0.2), (0.5, 1.5)),
    v2.Compose([v2.RandomZoomOut(p=1.0), v2.RandomPerspective(p=1.0)]),
]


def make_objects():
    """A record with two objects and a crowd of a category, besides what ``make_record`` has."""
    record = make_record(height=48, width=60)
    left, right, crowd = (np.zeros(record.size, bool) for _ in range(3))
    left[5:20, 4:18], right[8:30, 30:50], crowd[35:45, 5:55] = True, True, True
    region = Region.of_objects(
        "car", [RLEMask.from_array(left), RLEMask.from_array(right)], [RLEMask.from_array(crowd)]
    )
    return replace(record, regions=(region,))


@pytest.mark.parametrize("transform", GEOMETRIC, ids=lambda transform: type(transform).__name__)
def test_every_mask_moves_as_the_library_moves_it(transform):
    record, rng = make_objects(), np.random.default_rng(5)
    changed = Torchvision(transform)(record, np.random.default_rng(5))
    [region] = record.regions
    masks = [mask.decode() for mask in (*region.masks, *region.crowds)]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(rng.integers(1 << 62)))
        image = tv_tensors.Image(torch.from_numpy(np.array(record.image())).permute(2, 0, 1))
        pixels, expected = transform(image, tv_tensors.Mask(torch.from_numpy(np.stack(masks).astype(np.uint8))))
    assert np.array_equal(changed.image(), pixels.permute(1, 2, 0).numpy())
    [moved] = changed.regions
    assert changed.size == tuple(expected.shape[1:])
    kept = [mask.numpy().astype(bool) for mask in expected if mask.any()]
    assert all(np.array_equal(new.decode(), old) for new, old in zip((*moved.masks, *moved.crowds), kept, strict=True))


def test_padding_counts_nowhere_and_is_no_category():
    changed = Torchvision(v2.Pad(6, fill=255))(make_objects(), np.random.default_rng(0))
    ignored = changed.ignored().decode()
    assert ignored[:6].all()
    assert ignored[:, -6:].all()
    assert (changed.label_map.pixels[:6] == 11).all(), "the manifest's void value"
    assert not any(mask.decode()[:6].any() for mask in changed.category_masks().values())
    plain = replace(make_record(), manifest=replace(make_record().manifest, void=(), labels={0: "sky", 1: "road"}))
    plain = replace(plain, label_bytes=encoded(np.zeros(plain.size, np.uint8), "PNG"))
    padded = Torchvision(v2.Pad(2))(plain, np.random.default_rng(0))
    assert "road" not in padded.category_masks()
    assert padded.ignored().decode()[:2].all()


def test_results_depend_on_the_record_only_and_leave_global_generators_alone():
    transform, record = Torchvision([v2.RandomResizedCrop(12), v2.ColorJitter(0.3)]), make_record()
    before = torch.get_rng_state(), random.getstate()
    first = transform(record, np.random.default_rng(1))
    torch.rand(7)
    assert transform(record, np.random.default_rng(1)) == first
    assert transform(record, np.random.default_rng(2)) != first
    torch.set_rng_state(before[0])
    transform(record, np.random.default_rng(3))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


@pytest.mark.filterwarnings("ignore:RandomErasing")
def test_words_that_no_longer_hold_are_dropped():
    record, rng = make_record(), np.random.default_rng(0)
    record = replace(record, phrases=(*record.phrases, Phrase("the car at the top", record.phrases[0].masks)))

    def texts(transform):
        return [phrase.text for phrase in Torchvision(transform)(record, rng).phrases]

    everything = [phrase.text for phrase in record.phrases]
    assert texts(v2.RandomHorizontalFlip(1.0)) == ["the red car", "the blue dog", "the car at the top"]
    assert texts(v2.RandomVerticalFlip(1.0)) == everything[:3]
    assert texts(v2.RandomRotation((180, 180))) == ["the red car", "the blue dog"]
    assert texts(v2.RandomAffine((5, 5))) == everything
    assert texts(v2.CenterCrop(10)) == []
    assert texts(v2.ColorJitter(brightness=(0.7, 0.7))) == everything
    assert texts(v2.Grayscale(3)) == ["the car on the left", "the car at the top"]
    assert texts(v2.RandomErasing(1.0, scale=(0.3, 0.3))) == everything, "the masks stay"


def test_nothing_is_said_about_what_was_pushed_over_the_edge():
    record = make_record(height=60, width=60, unannotated="unknown")
    edge, middle = np.zeros((2, *record.size), bool)
    edge[30:33, 59], middle[20:40, 20:40] = True, True
    masks = RLEMask.from_array(edge), RLEMask.from_array(middle)
    said = ("the thin post", "the block")
    changed = Torchvision([v2.Pad([2, 0, 0, 0]), v2.CenterCrop(60)])(
        replace(
            record,
            label_bytes=None,
            regions=(Region.of_objects("car", [masks[0]]), Region.of_objects("tree", masks)),
            phrases=tuple(Phrase(text, (mask,)) for text, mask in zip(said, masks, strict=True)),
            questions=tuple(Question(text, masks=(mask,)) for text, mask in zip(said, masks, strict=True)),
            captions=tuple(
                Caption(text, (CaptionPhrase((4, 8), (mask,)),)) for text, mask in zip(said, masks, strict=True)
            ),
        ),
        np.random.default_rng(1),
    )
    assert [item.text for item in (*changed.phrases, *changed.questions, *changed.captions)] == ["the block"] * 3
    assert [len(region.masks) for region in changed.regions] == [1]
    assert changed.absent == ("car",)


def test_phrases_about_whole_objects_may_stay_with_a_part():
    record = make_record()
    whole = Torchvision(v2.CenterCrop(17), phrases="whole")(record, np.random.default_rng(0))
    assert [phrase.text for phrase in whole.phrases] == [phrase.text for phrase in record.phrases]
    cut = Torchvision(v2.CenterCrop(8), phrases="whole")(record, np.random.default_rng(0))
    assert [phrase.text for phrase in cut.phrases] == ["the blue dog"]


def test_the_images_of_a_record_change_alike():
    record = make_record()
    transform = Torchvision([v2.RandomResizedCrop(14), v2.ColorJitter(0.5)])
    several = transform(replace(record, others=(record.image_bytes,)), np.random.default_rng(3))
    assert np.array_equal(several.image(), several.other_images()[0])
    smaller = replace(record, others=(make_record(height=8).image_bytes,))
    with pytest.raises(RecordError, match="frame: Torchvision takes images of one size"):
        transform(smaller, np.random.default_rng(3))


class MirrorsTheImageOnly(v2.Transform):
    def transform(self, inpt, params):
        return inpt.flip(-1) if isinstance(inpt, tv_tensors.Image) else inpt


class DrawsElsewhere(v2.Transform):
    def transform(self, inpt, params):
        return (inpt * random.uniform(0.5, 1)).to(inpt.dtype) if isinstance(inpt, tv_tensors.Image) else inpt


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (MirrorsTheImageOnly(), "Torchvision: the image no longer shows its mask"),
        (DrawsElsewhere(), "Torchvision: the same seed gave two results"),
        (v2.ToDtype(torch.float32, scale=True), r"the image becomes float32 \[96, 96, 3\]; it must stay uint8"),
        (v2.Grayscale(), r"the image becomes uint8 \[96, 96, 1\]"),
        (v2.FiveCrop(10), "Torchvision: the transforms fail on a uint8 image with a mask"),
        (torch.nn.ReLU(), "`transforms` takes torchvision.transforms.v2, which moves masks too, got ReLU"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_transforms_that_spoil_masks_are_refused_before_training(transform, message):
    with pytest.raises(ConfigError, match=message):
        Torchvision(transform)


def test_an_image_that_the_library_refuses_is_named():
    with pytest.raises(RecordError, match=r"frame: Torchvision fails on its image of height and width .*Required"):
        Torchvision(v2.RandomCrop(40))(make_record(), np.random.default_rng(0))
    with pytest.raises(ConfigError, match="`phrases` must be 'drop' or 'whole', got 'some'"):
        Torchvision(v2.RandomCrop(40), phrases="some")


def listed(*transforms):
    parts = [{"class_path": path, "init_args": arguments} for path, arguments in transforms]
    return {"class_path": "lasagna.datamodules.Torchvision", "init_args": {"transforms": parts}}


def test_a_config_lists_transforms_and_one_from_a_checkpoint_no_other_classes():
    foreign = Foreign("the checkpoint", "name the data with --data")
    path = "torchvision.transforms.v2."
    config = listed((f"{path}RandomRotation", {"degrees": 10}), (f"{path}RandomResizedCrop", {"size": [32, 32]}))
    transform = build(config, RecordTransform, (RecordTransform,), foreign)
    assert [type(part) for part in transform.chain.transforms] == [v2.RandomRotation, v2.RandomResizedCrop]
    for wrong, reason in (
        (listed((f"{path}RandomFoo", {})), "RandomFoo' is no class"),
        (listed((f"{path}RandomRotation", {"angle": 3})), "angle"),
        (listed((f"{path}RandomRotation", {"degrees": "x"})), "expected a number"),
        (listed((f"{path}Lambda", {"lambd": "json.dumps"})), "a function to call as 'lambd'"),
    ):
        with pytest.raises((CheckpointError, ConfigError), match=reason):
            build(wrong, RecordTransform, (RecordTransform,), foreign)
