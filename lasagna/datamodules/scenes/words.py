"""Every word that names, phrases, riddles, questions and answers are made of."""

from __future__ import annotations

from lasagna.datamodules.scenes.forms import EXTREMES, HALVES, RELATIONS, SIZES
from lasagna.datamodules.scenes.long_names import LONG_NAMES
from lasagna.datamodules.scenes.questions import NUMBERS
from lasagna.datamodules.scenes.reasoning import RULES
from lasagna.datamodules.scenes.vocabulary import CATEGORIES, THINGS, plural

_TEXTS = (
    *CATEGORIES,
    *(plural(name) for name in THINGS),
    *(EXTREMES + SIZES + HALVES + RELATIONS),
    *RULES,
    *LONG_NAMES,
    *NUMBERS,
    "how many are there",
    "what colour is the",
    "is there a an yes no",
)

WORDS: tuple[str, ...] = tuple(sorted({word for text in _TEXTS for word in text.split()}))
