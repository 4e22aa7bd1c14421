"""Evaluation of a checkpoint: answer every source, store the answers, score them by each protocol, write a report."""

from typing import Literal

Control = Literal["blind", "same-set", "co-occurring"]
"""What else is asked, to see what words reach without the image: "blind" replaces images by noise; "same-set" and
"co-occurring" ask for as many absent names as present ones, random ones of the data set or the likeliest beside them."""
