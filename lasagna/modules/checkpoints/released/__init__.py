"""Checkpoints in the layout of LaSagnA's and LISA's releases, in and out."""

from __future__ import annotations
