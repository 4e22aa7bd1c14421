"""Builds distributions of the project from a copy of its files, since building writes into the folder."""

import subprocess
import sys
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

ROOT = Path(__file__).parents[2]
FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "constraints.txt", "train.py")
"""What is built from, beside the package and the configs."""

BUILD = "import sys; from setuptools import build_meta; print(getattr(build_meta, sys.argv[1])(sys.argv[2]))"


def copied(folder):
    """Copy what distributions are built from."""
    for name in ("lasagna", "configs"):
        copytree(ROOT / name, folder / name, ignore=ignore_patterns("__pycache__"))
    for name in FILES:
        copy(ROOT / name, folder / name)
    return folder


def built(kind, source, target):
    """Build a distribution by the project's own backend, as pip does, without its network."""
    words = [sys.executable, "-c", BUILD, kind, str(target)]
    printed = subprocess.run(words, cwd=source, check=True, capture_output=True, text=True).stdout
    return target / printed.splitlines()[-1]
