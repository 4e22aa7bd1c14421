"""Import and export of checkpoints in the layout of LaSagnA's and LISA's releases."""

from __future__ import annotations
