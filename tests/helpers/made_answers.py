"""Dialogues and answers made by hand, and random ones, for the tests of metrics."""

import numpy as np
import torch

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.answer_parser import ParsedEntry
from lasagna.core.batch import Query
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.geometry import Geometry
from lasagna.core.masks import RLEMask
from lasagna.modules.decoding.answers import DecodedAnswer, make_answer


def pixels(*rows):
    """A mask from rows of "#" and "."."""
    return np.array([[letter == "#" for letter in row] for row in rows])


def dialogue(query, present, ignore=None, kind="categories", text=""):
    """A dialogue whose present names have the masks given (None: an entry that says absent)."""
    entries = tuple(
        Entry(name, mask is not None, None if mask is None else RLEMask.from_array(mask))
        for name, mask in present.items()
    )
    ignored = None if ignore is None else RLEMask.from_array(ignore)
    return Dialogue(kind, tuple(query), entries, text=text, ignore=ignored)


def answer(claimed, text="", faults=(), score=0.9, confidence=0.8):
    """An answer with masks, (mask, probability) pairs, or None for absent."""
    return Answer(text, tuple(_entry(name, what, score, confidence) for name, what in claimed.items()), tuple(faults))


def _entry(name, what, score, confidence):
    if what is None:
        return AnsweredEntry(name, False, 1 - score)
    mask, probability = what if isinstance(what, tuple) else (what, None)
    return AnsweredEntry(name, True, score, mask, confidence, probability)


def decoded_answer(query, logits, threshold=0.5):
    """The assistant's answer to a list, with the names of ``logits`` present in its order; each logit ``[H, W]``."""
    entries = tuple(ParsedEntry(name, True, rank) for rank, name in enumerate(logits))
    scores, states = torch.full((len(logits),), 0.9), torch.zeros(len(logits), 1)
    decoded = DecodedAnswer("", entries, (), (True,) * len(logits), scores, states, 1)
    maps = torch.stack([torch.as_tensor(logit).float() for logit in logits.values()])
    size = (maps.shape[1], maps.shape[2])
    geometry = Geometry(size, size, size)
    return make_answer(Query(0, "categories", tuple(query)), decoded, maps, geometry, threshold=threshold)


def random_case(rng, names, size=(5, 6), borrowed=("zeppelin",)):
    """A dialogue and an answer with overlaps, ignored pixels, unasked and borrowed names, and names left out."""
    asked = [name for name in (*names, *borrowed) if rng.random() < 0.8] or [names[0]]
    present = {name: rng.random(size) < 0.4 for name in asked if name in names and rng.random() < 0.6}
    claimed = {name: _random_claim(rng, size) for name in asked if rng.random() < 0.9}
    ignore = rng.random(size) < 0.2 if rng.random() < 0.6 else None
    return dialogue(asked, present, ignore), answer(claimed, confidence=float(rng.random()))


def _random_claim(rng, size):
    if rng.random() < 0.3:
        return None
    mask = rng.random(size) < 0.5
    return mask, rng.integers(1, 5, size).astype(np.float16) / 4
