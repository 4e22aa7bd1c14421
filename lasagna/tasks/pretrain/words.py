"""The words that are single tokens of the tiny language model."""

from __future__ import annotations

from pathlib import Path

from lasagna.datamodules.scenes import CATEGORIES, WORDS
from lasagna.modules.tiny.weights import FOLDER

PROMPT_WORDS = ("list", "find", "show", "say", "answer")
"""Words of the tiny prompt format."""

NOUNS = tuple(
    """
    aeroplane airplane animal apple arcade armchair awning backpack bag banana banner bannister bar barrel
    baseball basketball bat bathtub bear bed bee bell belt bench bicycle bicyclist blanket blind book bookcase
    booth bottle bowl box bridge broccoli broom building bulletin bus butterfly cabinet cake camel camera candle
    canopy cap cardboard carpet carrot cat ceiling chair chandelier chest chicken clock coat coffee column
    computer cook couch counter cow cradle crane crown cup curtain cushion deer desk dishwasher dog dolphin
    donut door drawer dress drum duck eagle ear earth elephant escalator eye fan field finger fire fireplace
    fish flag floor food fork fountain fox frisbee frog fruit garden giraffe glass glove goat gravel guitar hair
    hammer handbag hat helmet hill hippo hood horse hydrant island jacket keyboard kitchen knife ladder lake
    lamp laptop leaf lemon letter lion lorry machine map meter microwave minibike mirror monitor monkey
    motorbike motorcycle mouse newspaper nose orchid oven owl painting palm paper parking path pavement
    pedestrian pen penguin person phone piano picture pier pig pillow pizza plane plant plate platform pole pool
    poster pot potato pram rabbit racket radiator radio railing railroad refrigerator remote rider ring river
    robot rock roof rope rose rug runway sandwich scissors screen sculpture seat shark sheep shelf ship shirt
    shoe shower sidewalk sign sink skateboard skis skyscraper snake snowboard sock sofa spider spoon squirrel
    stage stairs statue stone stool stop stove streetlight suitcase surfboard swan swing symbol table tank teddy
    telephone television tennis tent terrain tie tiger tile toaster toilet toothbrush towel tower toy track
    traffic train tram tray tree trolley truck trumpet tunnel turtle vase vegetation violin waiter wardrobe
    washer water waterfall whale wheel wheelchair window windmill wine wolf wood zebra light
    """.split()  # noqa: SIM905 - a list literal would take a line for each word
)
"""Common nouns that no scene shows; they are asked for and called absent."""


def vocabulary() -> tuple[str, ...]:
    """Return all words without duplicates."""
    names = [word for name in CATEGORIES for word in name.split()]
    return tuple(dict.fromkeys([*PROMPT_WORDS, *names, *WORDS, *NOUNS]))


def write_vocabulary(folder: Path = FOLDER) -> Path:
    """Write the words, one per line in the order of their token ids, and return the file.

    Args:
        folder: Folder of the file ``words.txt``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "words.txt"
    file.write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    return file
