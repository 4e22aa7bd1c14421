"""Evaluation of a checkpoint: answer every source, store the answers, score them by each protocol, write a report."""

from typing import Literal

Control = Literal["blind", "same-set", "co-occurring"]
"""Controls measure how far words suffice without the image. "blind" replaces images by noise; the others ask for as
many absent names as present ones, random ones ("same-set") or the likeliest beside those present ("co-occurring")."""
