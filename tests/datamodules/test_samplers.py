"""Records are drawn as often as a sampler says, as a function of seed, epoch and key."""

from collections import Counter

import numpy as np
import pytest

from lasagna.core.foreign import Foreign
from lasagna.core.seeding import generator
from lasagna.datamodules import RecordSampler, RepeatFactors
from lasagna.datamodules.samplers import Repeats, occurrence, other_weights
from lasagna.datamodules.shards.index import ShardIndex
from lasagna.errors import ConfigError
from lasagna.tasks.evaluation.data_choice import KINDS

# 4 records: two with a, one of them with b too, one with c, one with nothing
INDEX = ShardIndex(
    ("k0", "k1", "k2", "k3"),
    ("a", "b", "c", "d"),
    np.zeros((4, 2), np.int64),
    np.array([[0, 0, 0], [1, 0, 2], [1, 1, 1], [2, 2, 0]], np.int32),
)


def test_repeat_factors_are_those_of_lvis():
    weights = RepeatFactors(0.36).weights(INDEX)
    assert weights.tolist() == pytest.approx([1, 1.2, 1.2, 1])
    assert other_weights(RepeatFactors(0.36), INDEX, "made") == pytest.approx({"k1": 1.2, "k2": 1.2})
    assert other_weights(RepeatFactors(0.1), INDEX, "made") == {}
    for threshold in (0, 1.5):
        with pytest.raises(ValueError, match=r"RepeatFactors: `threshold` must be in \(0, 1\]"):
            RepeatFactors(threshold)


def test_records_come_as_often_as_their_weights_say_and_always_the_same():
    raws = [{"__key__": key} for key in INDEX.keys]
    weights = {"k1": 2.25, "k2": 0.5}

    def one_pass(visit):
        repeats = Repeats(weights, lambda key: generator(0, 0, f"made/{key}"))
        return [copy for raw in raws for copy in repeats(visit, raw)]

    counts = Counter(raw["__key__"] for visit in range(400) for raw in one_pass(visit))
    assert (counts["k0"], counts["k3"]) == (400, 400)
    assert abs(counts["k1"] / 400 - 2.25) < 0.06
    assert abs(counts["k2"] / 400 - 0.5) < 0.08
    assert one_pass(3) == one_pass(3)
    assert [occurrence(raw) for raw in one_pass(0) if raw["__key__"] == "k1"][:2] == ["", "/1"]


class Wrong(RecordSampler):
    def __init__(self, weights):
        self.given = weights

    def weights(self, index):
        return self.given


@pytest.mark.parametrize("weights", [[1.0, 1.0], [1, 1, 0, 1], [1, 1, float("nan"), 1]])
def test_weights_that_cannot_be_used_are_refused(weights):
    with pytest.raises(ConfigError, match="source made: Wrong must give a positive weight for each of 4 records"):
        other_weights(Wrong(weights), INDEX, "made")


def test_a_config_from_a_checkpoint_may_name_samplers_and_transforms():
    albumentations = {
        "class_path": "albumentations.OneOf",
        "init_args": {"transforms": [{"class_path": "albumentations.HorizontalFlip"}]},
    }
    transforms = [
        {"class_path": "lasagna.datamodules.CopyPaste"},
        {"class_path": "lasagna.datamodules.Albumentations", "init_args": {"transforms": [albumentations]}},
    ]
    sampler = {"class_path": "lasagna.datamodules.RepeatFactors"}
    source = {"shards": "data", "sampler": sampler, "transforms": transforms}
    config = {"class_path": "lasagna.datamodules.ShardDataModule", "init_args": {"train": [source]}}
    Foreign("the checkpoint", "name the data").check(config, KINDS)
