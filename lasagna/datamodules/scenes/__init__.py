"""Landscapes drawn by code, with exact label maps and true descriptions."""

from __future__ import annotations

from lasagna.datamodules.scenes.captions import SceneCaption, caption
from lasagna.datamodules.scenes.draw import draw_scene, least_visible
from lasagna.datamodules.scenes.phrases import Phrase, describe
from lasagna.datamodules.scenes.questions import RULES, WORDS, Question, Riddle, ask, riddles
from lasagna.datamodules.scenes.scene import (
    CATEGORIES,
    COLOURED,
    COLOURS,
    LONG_NAMES,
    STUFF,
    THINGS,
    VOID,
    Scene,
    Thing,
    long_labels,
    members,
    plural,
)

__all__ = [
    "CATEGORIES",
    "COLOURED",
    "COLOURS",
    "LONG_NAMES",
    "RULES",
    "STUFF",
    "THINGS",
    "VOID",
    "WORDS",
    "Phrase",
    "Question",
    "Riddle",
    "Scene",
    "SceneCaption",
    "Thing",
    "ask",
    "caption",
    "describe",
    "draw_scene",
    "least_visible",
    "long_labels",
    "members",
    "plural",
    "riddles",
]
