"""What an evaluation asked, whom and how: enough to tell whether stored answers belong to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lasagna.errors import ConfigError
from lasagna.evaluating.answering import Job
from lasagna.evaluating.passes import Pass
from lasagna.modules.assistant import Assistant
from lasagna.tasks.callbacks.run_facts import versions


def header_of(job: Job, passes: Sequence[Pass], assistant: Assistant) -> dict[str, Any]:
    """Return the header of an evaluation, as plain data."""
    return {
        "checkpoint": str(job.ckpt),
        "weights": weights_digest(assistant),
        "data": job.data.recipe,
        "split": job.data.split,
        "passes": [one.about() for one in passes],
        "decodings": None if job.decodings is None else list(job.decodings),
        "teacher_forced": job.teacher_forced,
        "controls": list(job.controls),
        "limit": job.limit,
        "seed": job.seed,
        "thresholds": {
            "presence": job.thresholds(passes, assistant),
            "temperature": assistant.presence_temperature,
            "mask": assistant.mask_threshold,
        },
        "device": str(assistant.device),
        "versions": versions(),
    }


def weights_digest(module: nn.Module) -> str:
    """Return a checksum of all weights."""
    digest = blake2b(digest_size=16)
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_data(header: Mapping[str, Any], passes: Sequence[Pass], folder: Path) -> None:
    """Check that the data is what was asked about.

    Raises:
        ConfigError: If passes or shards are others; names the first.
    """
    stored = {one["name"]: one for one in header["passes"]}
    here = {one.name: one.about() for one in passes}
    if stored.keys() != here.keys():
        raise ConfigError(
            f"predictions: {str(folder)!r} has answers of {', '.join(stored)}; the data has {', '.join(here)}"
        )
    for name, about in here.items():
        if changed := [part for part in about if about[part] != stored[name].get(part)]:
            raise ConfigError(
                f"predictions: {str(folder)!r} is about other images or questions: {', '.join(changed)} of {name!r} "
                "differ; give the data that was asked about, or leave --data out"
            )
