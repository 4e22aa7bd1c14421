"""Landscapes drawn by code, with exact maps and descriptions that are true of them."""

from __future__ import annotations

from lasagna.datamodules.scenes.draw import draw_scene, least_visible
from lasagna.datamodules.scenes.phrases import Phrase, describe
from lasagna.datamodules.scenes.questions import Question, ask
from lasagna.datamodules.scenes.reasoning import RULES, Riddle, riddles
from lasagna.datamodules.scenes.scene import Scene, Thing
from lasagna.datamodules.scenes.vocabulary import CATEGORIES, COLOURED, COLOURS, STUFF, THINGS, VOID, plural
from lasagna.datamodules.scenes.words import LONG_NAMES, WORDS, long_labels

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
    "Thing",
    "ask",
    "describe",
    "draw_scene",
    "least_visible",
    "long_labels",
    "plural",
    "riddles",
]
