"""Evaluation of a checkpoint: answer every source, store the answers, score them by each protocol, write a report."""

from typing import Literal

Control = Literal["blind", "same-set", "co-occurring", "counterfactual"]
"""Controls measure how far words suffice without the image. "blind" replaces images by noise; "same-set" and
"co-occurring" ask for as many absent names as present ones, random ones or the likeliest beside those present.
"counterfactual" asks the same of an image and of its twin in which one thing was exchanged for another."""
