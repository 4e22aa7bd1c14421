"""What calibration found, as a file beside its checkpoint."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from lasagna.errors import CheckpointError

ALL = "all"
"""Key of the threshold over all sets together."""

_WEIGHTS = (".safetensors", ".bin", ".ckpt")
_BLOCK = 1 << 16
"""Bytes of a block."""

_BLOCKS = 1024
"""Blocks of a file that enter its checksum, at most about so many."""


@dataclass(frozen=True)
class Calibration:
    """What makes presence scores mean what they say.

    Args:
        temperature: By what logits are divided.
        thresholds: Name of each data set to the score from which a name is called present there; "all" for all.
        checkpoint: Checksum of the checkpoint that it was found for.
        figures: What was measured, by data set.
    """

    temperature: float
    thresholds: dict[str, float]
    checkpoint: str
    figures: dict[str, dict[str, float]] = field(default_factory=dict)

    def threshold(self, data_set: str | None = None) -> float:
        """Return the threshold of a data set, or that over all.

        Raises:
            CheckpointError: If the calibration knows no such data set.
        """
        if (data_set or ALL) not in self.thresholds:
            known = ", ".join(sorted(self.thresholds))
            raise CheckpointError(f"calibrated_for: {data_set!r} was not calibrated; there are {known}")
        return self.thresholds[data_set or ALL]


def calibration_file(checkpoint: Path) -> Path:
    """Return where the calibration of a checkpoint is: beside a file, in a folder."""
    if checkpoint.is_dir():
        return checkpoint / "calibration.json"
    return checkpoint.with_name(f"{checkpoint.stem}.calibration.json")


def checksum(checkpoint: Path) -> str:
    """Return a checksum of a checkpoint, a file or a folder, from evenly spread blocks of its weights.

    What is not larger than all blocks together enters as a whole.
    """
    digest = sha256()
    files = sorted(checkpoint.rglob("*")) if checkpoint.is_dir() else [checkpoint]
    for path in files:
        if path == checkpoint or path.suffix in _WEIGHTS:
            name = "" if path == checkpoint else path.relative_to(checkpoint).as_posix()
            digest.update(f"{name} {path.stat().st_size}\n".encode())
            _add_blocks(digest, path)
    return digest.hexdigest()


def _add_blocks(digest: Any, path: Path) -> None:  # noqa: ANN401 - hashlib names no type
    step = max(_BLOCK, path.stat().st_size // _BLOCKS)
    with path.open("rb") as file:
        for first in range(0, path.stat().st_size, step):
            file.seek(first)
            digest.update(file.read(_BLOCK))


def write_calibration(calibration: Calibration, checkpoint: Path) -> Path:
    """Write a calibration beside its checkpoint, whole or not at all; return the file."""
    path = calibration_file(checkpoint)
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(asdict(calibration), indent=1) + "\n", encoding="utf-8")
    part.replace(path)
    return path


def read_calibration(checkpoint: Path) -> Calibration | None:
    """Return the calibration of a checkpoint; None, with a warning, if it was made for what the file held before.

    Raises:
        CheckpointError: If the file is there and is none.
    """
    path = calibration_file(checkpoint)
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        thresholds = {str(name): float(value) for name, value in content["thresholds"].items()}
        found = Calibration(float(content["temperature"]), thresholds, content["checkpoint"], content["figures"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: not a calibration ({error!r}); run `lasagna calibrate` again") from error
    if found.checkpoint != checksum(checkpoint):
        warnings.warn(f"{path} was made for another checkpoint and is not used; calibrate again", stacklevel=2)
        return None
    return found
