import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lasagna.tasks.visualization.overlay import PALETTE_SIZE, name_colours, palette


@given(st.lists(st.text(), max_size=PALETTE_SIZE, unique_by=lambda name: " ".join(name.split()).casefold()))
def test_names_do_not_share_colours_while_there_are_enough(names):
    plain = [name for name in names if name.isascii()]
    assert len(set(name_colours(plain).values())) == len(plain)


def test_a_name_keeps_its_colour():
    assert name_colours(["sky"])["sky"] == name_colours(["Sky ", "dog"])["Sky "]
    colours = name_colours(["sky", "SKY"])
    assert colours["sky"] == colours["SKY"]


def test_more_names_than_colours_share_them():
    names = [f"thing {number}" for number in range(3 * PALETTE_SIZE)]
    assert set(name_colours(names).values()) == set(palette())


def test_colours_can_be_told_apart():
    colours = np.array(palette(), dtype=float)
    distance = np.linalg.norm(colours[:, None] - colours[None], axis=-1)
    assert (distance + 1000 * np.eye(PALETTE_SIZE)).min() > 30
    assert (np.ptp(colours, axis=1) > 30).all()
