"""The weights in the package, as safetensors, and the vocabulary of the tiny language model.

``lasagna pretrain`` made those of the parts, and the default run the trained assistant (see ``docs/pretraining.md``).
"""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor, nn

from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.files import save_tensors

FOLDER = Path(__file__).parent
ASSISTANT = FOLDER / "assistant"
"""The assistant that the default run trains, as ``lasagna export`` writes it."""


def packaged_words() -> tuple[str, ...]:
    """Return the words that the tiny language model was pretrained on, in the order of their token ids."""
    return tuple((FOLDER / "words.txt").read_text(encoding="utf-8").split())


def load_packaged(module: nn.Module, name: str, argument: str = "weights") -> None:
    """Load weights from the package into a module.

    Args:
        module: A freshly built module.
        name: Name of the file in the package, without extension.
        argument: The setting that requested them, for messages.

    Raises:
        CheckpointError: If names or shapes do not fit, because the module is not the one that was pretrained.
    """
    tensors = load_file(FOLDER / f"{name}.safetensors")
    expected = module.state_dict()
    wrong = sorted(
        key for key in {*expected, *tensors} if key not in tensors or key not in expected
        or expected[key].shape != tensors[key].shape
    )  # fmt: skip
    if wrong:
        raise CheckpointError(
            f"{argument}: the packaged {name!r} does not fit {type(module).__name__} as configured, first at "
            f"{wrong[:3]}; use the default sizes, or {argument}: random"
        )
    module.load_state_dict({key: tensor.to(expected[key].dtype) for key, tensor in tensors.items()})


def save_packaged(state: dict[str, Tensor], name: str, folder: Path = FOLDER) -> Path:
    """Write weights for the package.

    Args:
        state: Tensors by name.
        name: Name of the file, without extension.
        folder: Where to write.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.safetensors"
    save_tensors(state, file)
    return file
