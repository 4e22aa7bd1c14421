"""Phrases of captions have the colours of their masks."""

import numpy as np

from lasagna.core.answer import AnsweredEntry
from lasagna.tasks.visualization.answer import draw_answer
from lasagna.tasks.visualization.caption import GROUND, caption_block
from lasagna.tasks.visualization.contact_sheet import Example, contact_sheet
from lasagna.tasks.visualization.overlay import name_colours

TEXT = "a red boat on the sea"
MASK = np.zeros((40, 60), bool)
MASK[:20] = True
ENTRIES = (
    AnsweredEntry("a red boat", True, 0.9, MASK, span=(0, 10)),
    AnsweredEntry("sea", True, 0.9, ~MASK, span=(18, 21)),
)
COLOURS = name_colours([entry.name for entry in ENTRIES])
IMAGE = np.full((40, 60, 3), 150, np.uint8)


def places(picture, name):
    """Rows and columns of the ground of a phrase."""
    ground = [round(255 + GROUND * (level - 255)) for level in COLOURS[name]]
    return np.nonzero((np.asarray(picture) == ground).all(-1))


def test_each_phrase_has_its_ground_once_and_words_between_have_none():
    block = caption_block(TEXT, ENTRIES, COLOURS, 400, 16, 3)
    boat, sea = (places(block, entry.name)[1] for entry in ENTRIES)
    assert boat.min() == 0 and boat.max() + 20 < sea.min()
    assert block.height == caption_block("a", (), {}, 400, 16, 3).height


def test_long_captions_are_broken_and_cut():
    narrow = caption_block(TEXT, ENTRIES, COLOURS, 60, 16, 9)
    rows = places(narrow, "sea")[0]
    assert len(rows) and rows.min() > places(narrow, "a red boat")[0].max()
    cut = caption_block(" ".join([TEXT] * 9), ENTRIES, COLOURS, 90, 16, 2)
    assert cut.height * 4 < caption_block(" ".join([TEXT] * 9), ENTRIES, COLOURS, 90, 16, 99).height
    assert caption_block("", (), {}, 90, 16, 2).height == 1


def test_answers_and_sheets_show_them():
    drawn = draw_answer(IMAGE, "the picture", ENTRIES, text=TEXT)
    plain = [AnsweredEntry(entry.name, True, 0.9, entry.mask) for entry in ENTRIES]
    bare = draw_answer(IMAGE, "the picture", plain, text=TEXT)
    assert all(len(places(drawn, entry.name)[0]) and not len(places(bare, entry.name)[0]) for entry in ENTRIES)
    example = Example(IMAGE, "the picture", ENTRIES[:1], text="a red boat", truth=ENTRIES, truth_text=TEXT)
    sheet = contact_sheet([example])
    assert all(len(places(sheet, entry.name)[0]) for entry in ENTRIES)
    assert len(places(contact_sheet([Example(IMAGE, "", (), text="", truth=ENTRIES, truth_text=TEXT)]), "sea")[0])
