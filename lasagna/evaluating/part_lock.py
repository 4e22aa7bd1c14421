"""Locks of the files of answers: each has one process that writes it, which may outlive the one that began it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TextIO

from lasagna.core.locks import held
from lasagna.evaluating.predictions import predictions_file, predictions_files


def opened(file: Path) -> AbstractContextManager[TextIO]:
    """Open a file of answers, to add to it; nobody else can until it is closed.

    Raises:
        BusyError: If another process is adding to it.
    """
    return held(
        file,
        f"another process still adds answers to {file}; wait until it has ended, end it, or choose another folder with "
        "--out",
    )


def check_free(folder: Path, first: int = 0) -> None:
    """Check that no process of an earlier evaluation is still at it.

    Args:
        folder: The folder of the evaluation.
        first: The first part that is looked at.

    Raises:
        BusyError: If one is.
    """
    for file in predictions_files(folder):
        if file >= predictions_file(folder, first):
            with opened(file):
                pass
