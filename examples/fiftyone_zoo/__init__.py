"""A source of models for FiftyOne's zoo: put this folder into the folder of the zoo's models.

``foz.load_zoo_model("lasagna", names=["sky", "dog"], ckpt="last.ckpt")`` then returns an assistant as a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def download_model(model_name: str, model_path: str) -> None:
    """Mark the model as there; its weights come with the package, or from the checkpoint that ``load_model`` names."""
    Path(model_path).write_text("The weights come with the package lasagna, or from a checkpoint.\n", encoding="utf-8")


def load_model(model_name: str, model_path: str, **options: Any) -> object:  # noqa: ANN401 - as that function has them
    """Return the model; the options are those of ``lasagna.integrations.fiftyone.load_model``."""
    from lasagna.integrations.fiftyone import load_model as load

    return load(**options)
