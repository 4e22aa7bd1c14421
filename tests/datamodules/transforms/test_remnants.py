from dataclasses import replace

import numpy as np
import pytest

from lasagna.core.masks import RLEMask
from lasagna.core.record import Caption, CaptionPhrase, Phrase, Question, Region
from lasagna.datamodules import IgnoreSmall
from lasagna.tasks import Instances, Semantic
from tests.datamodules.transforms.test_geometric import make_record


def square(side, at=0):
    pixels = np.zeros((19, 23), bool)
    pixels[at : at + side, at : at + side] = True
    return RLEMask.from_array(pixels)


def test_what_is_too_small_is_neither_taught_as_present_nor_as_absent():
    tiny, large = square(2, 10), square(8)
    record = replace(
        make_record(),
        label_bytes=None,
        ignore=None,
        regions=(Region.of_objects("car", [tiny, large]), Region("tree", tiny), Region("sky", large)),
        phrases=(Phrase("far", (tiny,)), Phrase("near", (large,)), Phrase("none", ())),
        questions=(Question("which", masks=(large, tiny)), Question("how many", "two")),
        captions=(Caption("a car", (CaptionPhrase((2, 5), (tiny,)),)), Caption("a road")),
    )
    changed = IgnoreSmall(5)(record, np.random.default_rng(0))
    [semantic] = Semantic().dialogues(changed, np.random.default_rng(0))
    assert semantic.query == ("sky", "road", "car")
    assert [entry.name for entry in semantic.entries] == ["sky", "car"]
    assert np.array_equal(changed.category_masks()["car"].decode(), record.category_masks()["car"].decode())
    [instances] = Instances().dialogues(changed, np.random.default_rng(0))
    [car] = [entry for entry in instances.entries if entry.name == "car"]
    assert (car.masks, car.crowds) == ((large,), (tiny,))
    assert [phrase.text for phrase in changed.phrases] == ["near", "none"]
    assert [question.text for question in changed.questions] == ["how many"]
    assert [caption.text for caption in changed.captions] == ["a road"]
    assert IgnoreSmall(4)(record, np.random.default_rng(0)) == record
    with pytest.raises(ValueError, match="IgnoreSmall: `pixels` must be at least 1"):
        IgnoreSmall(0)
