"""An assistant for ``transformers.AutoModel``: the file that ``lasagna export --layout transformers`` copies.

``AutoModel.from_pretrained(folder, trust_remote_code=True)`` imports this file from the folder. It must therefore stand
alone, and imports this package only when a model is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image
from transformers import PretrainedConfig, PreTrainedModel

_INSTALL = "this model needs the package lasagna, which is not installed; install it where the model card says"
_UNUSED = ("dtype", "torch_dtype", "device_map", "quantization_config")


def _of_package(name: str) -> ModuleType:
    # an import statement would make transformers ask for the package before this file can say where it is
    return import_module(f"lasagna.core.{name}")


class LasagnaConfig(PretrainedConfig):  # type: ignore[misc]
    """The config of an assistant; its settings are in ``assistant.json``."""

    model_type = "lasagna"


class LasagnaModel(PreTrainedModel):  # type: ignore[misc]
    """An assistant as a model of transformers.

    Args:
        config: The config.
        assistant: The assistant.
    """

    config_class = LasagnaConfig

    def __init__(self, config: LasagnaConfig, assistant: Any) -> None:  # noqa: ANN401
        super().__init__(config)
        self.assistant = assistant

    @classmethod
    def from_pretrained(cls, folder: str | Path, *args: Any, config: Any = None, **options: Any) -> LasagnaModel:  # noqa: ANN401
        """Load an assistant.

        Args:
            folder: The folder.
            args: What transformers passes besides.
            config: The config; it is read from the folder by default.
            options: What transformers passes besides; ``local_files_only`` allows no download of frozen models.

        Raises:
            ImportError: If the package lasagna is not installed.
            ValueError: If a precision or a place is asked for.
        """
        if asked := [name for name in _UNUSED if options.get(name) is not None]:
            raise ValueError(f"{asked[0]}: it is not available here; load the model, and then use model.to(...)")
        if not Path(folder).is_dir():
            raise ValueError(
                f"folder: there is no folder {str(folder)!r}; fetch a name of the hub by huggingface_hub."
                "snapshot_download first, and give the folder that it returns"
            )
        try:
            import lasagna
        except ModuleNotFoundError as error:
            raise ImportError(_INSTALL) from error
        download = not options.get("local_files_only", False)
        model = cls(config or LasagnaConfig.from_pretrained(folder), lasagna.load(folder, download=download))
        model.eval()
        return model

    def predict(self, image: Any, text: str | Sequence[str], kind: str = "categories") -> Any:  # noqa: ANN401
        """Answer a query about an image.

        Args:
            image: A file, which is turned upright, an image of Pillow, or an array, uint8 ``[H, W, 3]``.
            text: Names, in a list or separated by commas; a single phrase or question for other kinds.
            kind: The kind of query, such as "categories", "referring" or "question".

        Returns:
            The answer: ``text``, and ``entries`` with name, presence, score and mask.
        """
        if isinstance(image, str | Path):
            image = _of_package("image_files").decode_image(Path(image).read_bytes(), str(image), upright=True)
        if isinstance(image, Image.Image):
            image = _of_package("images").to_rgb(image)
        if isinstance(text, str):
            known = self.assistant.learned_kinds.get(kind)
            text = [part.strip() for part in text.split(",")] if getattr(known, "many", False) else [text]
        return self.assistant.answer(image, list(text), kind)
