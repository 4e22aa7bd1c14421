from lasagna.core.dialogue import Dialogue, Entry


def test_with_answer_keeps_the_rest():
    dialogue = Dialogue("categories", ("sky", "dog"), (Entry("sky", True),), text="words")
    changed = dialogue.with_answer(["dog"], [Entry("dog", False)])
    assert (changed.query, changed.entries) == (("dog",), (Entry("dog", False),))
    assert (changed.kind, changed.text, changed.ignore) == ("categories", "words", None)
    assert dialogue.query == ("sky", "dog")
