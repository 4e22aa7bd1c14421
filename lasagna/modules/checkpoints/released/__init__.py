"""Import and export of checkpoints in the layout of LaSagnA's and LISA's releases."""

from typing import Literal

KeptOrMerged = Literal["merged", "kept"]
"""What becomes of a training state's adapters."""
