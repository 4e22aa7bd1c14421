"""The result of a calibration, a file beside its checkpoint."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from lasagna.core.storage import write_json
from lasagna.errors import CheckpointError

ALL = "all"
"""Key of the threshold for all data sets together."""

_WEIGHTS = (".safetensors", ".bin", ".ckpt")
_BLOCK = 1 << 16
"""Bytes of a block."""

_BLOCKS = 1024
"""About how many blocks of a file enter its checksum at most."""


@dataclass(frozen=True)
class Calibration:
    """Temperature and thresholds that make presence scores probabilities.

    Args:
        temperature: Divisor of the presence logits.
        thresholds: Name of a data set to the score from which a name counts as present there; "all" for all sets.
        checkpoint: Checksum of the calibrated checkpoint.
        figures: Measured values, by data set.
        decoding: How the answers were decoded whose scores it fits.
    """

    temperature: float
    thresholds: dict[str, float]
    checkpoint: str
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    decoding: str = "ordered"

    def threshold(self, data_set: str | None = None) -> float:
        """Return the threshold of a data set, or that for all sets.

        Raises:
            CheckpointError: If the data set was not calibrated.
        """
        if (data_set or ALL) not in self.thresholds:
            known = ", ".join(sorted(self.thresholds))
            raise CheckpointError(f"calibrated_for: {data_set!r} was not calibrated; choose one of {known}")
        return self.thresholds[data_set or ALL]


def warn_of_decoding(fitted: str | None, decoding: str) -> None:
    """Warn if presence scores are calibrated for another way of decoding.

    Args:
        fitted: The decoding whose scores the calibration fits; None without a calibration.
        decoding: The decoding that is used.
    """
    ways = ("ordered", "one_pass")
    if fitted in ways and decoding in ways and decoding != fitted:
        warnings.warn(
            f"the calibration of this checkpoint fits the scores of decoding {fitted!r}, and {decoding!r} takes its "
            "temperature too, and its threshold where you give none; give one, such as 0.5, or fit both anew with "
            f"`lasagna calibrate --decoding {decoding}`",
            stacklevel=2,
        )


def calibration_file(checkpoint: Path) -> Path:
    """Return the path of a checkpoint's calibration: beside a file, inside a folder."""
    if checkpoint.is_dir():
        return checkpoint / "calibration.json"
    return checkpoint.with_name(f"{checkpoint.stem}.calibration.json")


def checksum(checkpoint: Path) -> str:
    """Return a checksum of a checkpoint file or folder, from evenly spaced blocks of its weights.

    A file that is not larger than all blocks together is read completely.
    """
    digest = sha256()
    files = sorted(checkpoint.rglob("*")) if checkpoint.is_dir() else [checkpoint]
    for path in files:
        if path == checkpoint or path.suffix in _WEIGHTS:
            name = "" if path == checkpoint else path.relative_to(checkpoint).as_posix()
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            step = max(_BLOCK, path.stat().st_size // _BLOCKS)
            with path.open("rb") as file:
                for first in range(0, path.stat().st_size, step):
                    file.seek(first)
                    digest.update(file.read(_BLOCK))
    return digest.hexdigest()


def write_calibration(calibration: Calibration, checkpoint: Path) -> Path:
    """Write a calibration beside its checkpoint, in one atomic step, and return the file."""
    path = calibration_file(checkpoint)
    write_json(path, asdict(calibration), indent=1)
    return path


def read_calibration(checkpoint: Path) -> Calibration | None:
    """Return the calibration of a checkpoint, or None if there is none.

    One that was made for earlier content of the file is not used, with a warning.

    Raises:
        CheckpointError: If the file exists and is not a calibration.
    """
    path = calibration_file(checkpoint)
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        thresholds = {str(name): float(value) for name, value in content["thresholds"].items()}
        facts = (content["checkpoint"], content["figures"], str(content.get("decoding", "ordered")))
        found = Calibration(float(content["temperature"]), thresholds, *facts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a calibration ({error!r}); run `lasagna calibrate` again") from error
    if found.checkpoint != checksum(checkpoint):
        warnings.warn(f"{path} was made for another checkpoint and is not used; calibrate again", stacklevel=2)
        return None
    return found
