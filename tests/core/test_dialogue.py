import numpy as np

from lasagna.core.dialogue import Dialogue, Entry
from tests.helpers.made_records import mask


def test_with_answer_keeps_the_rest():
    dialogue = Dialogue("categories", ("sky", "dog"), (Entry("sky", True),), text="words")
    changed = dialogue.with_answer(["dog"], [Entry("dog", False)])
    assert (changed.query, changed.entries) == (("dog",), (Entry("dog", False),))
    assert (changed.kind, changed.text, changed.ignore) == ("categories", "words", None)
    assert dialogue.query == ("sky", "dog")


def test_a_token_for_each_object_has_its_mask_without_crowds():
    one, two, group, void = mask("#...", "...."), mask("..##", "...."), mask("....", "...#"), mask("....", "#...")
    entries = (
        Entry("dog", True, mask("####", "...."), (one, two, mask("....", "....")), (group,)),
        Entry("sea", True, group, (), (group,)),
        Entry("cat", True, one, (one,)),
        Entry("sky", False),
        Entry("sun", True),
    )
    names = tuple(entry.name for entry in entries)
    dogs, *others = Dialogue("instances_by_token", names, entries, ignore=void).targets
    assert [target[0] for target in dogs] == [two, one]
    assert np.array_equal(dogs[0][1].decode(), mask("....", "#..#").decode())
    assert others == [((group, void),), ((one, void),), (), (None,)]
    plain = Dialogue("instances", names, entries, ignore=void).targets
    assert [len(found) for found in plain] == [1, 1, 1, 0, 1]
    assert plain[0] == ((entries[0].mask, void),)
