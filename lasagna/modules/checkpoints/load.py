"""Reading checkpoints, and loading assistants from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lasagna.errors import CheckpointError, LasagnaError
from lasagna.modules.checkpoints.folder import is_assistant_folder, read_assistant
from lasagna.modules.checkpoints.hub import local_copy, missing_hint

if TYPE_CHECKING:
    from lasagna.core.query_kind import QueryKind
    from lasagna.modules.assistant import Assistant


_EVALUATED = ("pytorch-lightning_version", "loops")
_RESUMED = (*_EVALUATED, "callbacks", "optimizer_states", "lr_schedulers")


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint; only plain data and tensors are unpickled.

    Args:
        path: A file or folder that training wrote, a folder that ``lasagna export`` or ``lasagna import`` wrote, or a
            folder in the layout of LaSagnA's releases, or the name of one in the hub's local cache. Of a training's
            folder only the weights are read.

    Raises:
        CheckpointError: If there is no such file or folder, or it is not a checkpoint of a training run.
    """
    from lasagna.modules.checkpoints.files import read_plain
    from lasagna.modules.checkpoints.parted import is_parted, read_parted
    from lasagna.modules.checkpoints.weights import check_content

    path = Path(local_copy(path))
    if is_assistant_folder(path):
        return read_assistant(path)
    if is_parted(path):
        return read_parted(path, ("state_dict",))
    if (path / "config.json").is_file():
        from lasagna.modules.checkpoints.released.assistant_folder import release_checkpoint

        return release_checkpoint(path)
    if not path.is_file():
        raise CheckpointError(f"checkpoint: there is no file {str(path)!r}{_nearby(path)}{missing_hint(path)}")
    checkpoint = read_plain(path)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise CheckpointError(
            f"checkpoint: {str(path)!r} holds no state_dict; give one that `fit` has written, "
            "or import a release or its training state with `lasagna import`"
        )
    check_content(checkpoint, path)
    return checkpoint


def check_job(checkpoint: dict[str, Any], path: str | Path, *, resumed: bool) -> None:
    """Check that a trainer can continue from a checkpoint, or evaluate it.

    Args:
        checkpoint: What ``read_checkpoint`` returned.
        path: Its file, for the message.
        resumed: Whether training is to be continued.

    Raises:
        CheckpointError: If it lacks what a trainer stores besides the weights.
    """
    missing = [key for key in (_RESUMED if resumed else _EVALUATED) if key not in checkpoint]
    if missing:
        way_out = "start from its weights with model.warm_start" if resumed else "use it with lasagna.load"
        raise CheckpointError(
            f"checkpoint: {str(path)!r} lacks {', '.join(missing)}, which a training run stores besides the weights; "
            f"give one that `fit` has written, or {way_out}"
        )


def load(
    path: str | Path | None = None,
    *,
    assistant: Assistant | None = None,
    frozen_check: bool = True,
    calibrated: bool | str | None = None,
    download: bool = False,
    revision: str | None = None,
) -> Assistant:
    """Load an assistant, ready to answer.

    Args:
        path: A checkpoint that training wrote, a folder from ``lasagna export`` or ``lasagna import``, or a folder in
            the layout of LaSagnA's releases, or the name of one on the hub, "user/name" or "user/name@revision". None
            for the small assistant that comes with the package; it knows drawn scenes and their 24 categories, and
            nothing else.
        assistant: The assistant to load into, for checkpoints that do not say how to build it; it is built here.
        frozen_check: Whether the frozen weights must be those that the checkpoint was trained with.
        calibrated: Whether to use the calibration that ``lasagna calibrate`` wrote; the name of a data set uses its
            threshold, None uses a calibration if there is one.
        download: Whether a name of the hub, and the frozen models that it names, may be fetched from the network;
            otherwise only the hub's local cache is read.
        revision: Branch, tag or commit of a name of the hub; a commit never changes.

    Returns:
        The assistant on the CPU, in evaluation mode.

    Raises:
        CheckpointError: If the checkpoint cannot be read, has another architecture or other frozen weights, or has no
            calibration although one is requested.
    """
    from lasagna.core.seeding import seeded
    from lasagna.modules.checkpoints.weights import (
        ASSISTANT_CONFIG,
        FROZEN,
        SEED,
        assistant_weights,
        check_frozen,
        check_weights,
        fingerprint,
        learned_kinds,
    )
    from lasagna.modules.tiny.weights import ASSISTANT

    path = local_copy(ASSISTANT if path is None else path, download=download, revision=revision)
    checkpoint = read_checkpoint(path)
    if assistant is None:
        if checkpoint.get(ASSISTANT_CONFIG) is None:
            raise CheckpointError(
                f"checkpoint: {str(path)!r} does not say how to build its assistant; give it: load(path, assistant=...)"
            )
        assistant = unbuilt_assistant(downloading(checkpoint) if download else checkpoint, path)
    with seeded(checkpoint.get(SEED, 0), "fresh weights"):
        _build(assistant, path)
    weights = assistant_weights(checkpoint)
    check_weights(weights, weights.keys(), assistant)
    if frozen_check and FROZEN in checkpoint:
        check_frozen(checkpoint[FROZEN], fingerprint(assistant, weights.keys()))
    assistant.load_state_dict(weights, strict=False)
    assistant.learned_kinds = learned_kinds(checkpoint, assistant.format)
    if calibrated is not False:
        _apply_calibration(assistant, Path(path), calibrated)
    return assistant.eval()


def stored_kinds(path: str | Path | None = None) -> dict[str, QueryKind]:
    """Return the kinds of query that an assistant learned, by name, without building it; none if that is not stored.

    Args:
        path: As of ``load``.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
    """
    from lasagna.modules.checkpoints.weights import learned_kinds
    from lasagna.modules.tiny.weights import ASSISTANT

    return learned_kinds(read_checkpoint(ASSISTANT if path is None else path))


def stored_prompts(path: str | Path | None = None) -> Mapping[str, str] | None:
    """Return the prompts of an assistant by kind, without making its layers; None if its config is not stored.

    Args:
        path: As of ``load``.

    Raises:
        CheckpointError: If the checkpoint cannot be read.
    """
    from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG
    from lasagna.modules.tiny.weights import ASSISTANT

    path = ASSISTANT if path is None else path
    checkpoint = read_checkpoint(path)
    return unbuilt_assistant(checkpoint, path).format.prompts if checkpoint.get(ASSISTANT_CONFIG) else None


def downloading(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint whose parts may fetch their frozen models from the hub."""
    from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG

    def allowed(content: Any) -> Any:  # noqa: ANN401
        if isinstance(content, list):
            return [allowed(part) for part in content]
        if not isinstance(content, dict):
            return content
        return {key: True if (key, part) == ("download", False) else allowed(part) for key, part in content.items()}

    return {**checkpoint, ASSISTANT_CONFIG: allowed(checkpoint[ASSISTANT_CONFIG])}


def _build(assistant: Assistant, path: str | Path) -> None:
    """Make an assistant's layers; what a checkpoint asks for may not be possible."""
    try:
        assistant.configure_model()
    except LasagnaError:
        raise
    except (RuntimeError, MemoryError, ArithmeticError, TypeError, ValueError, AssertionError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"checkpoint: the assistant of {str(path)!r} cannot be built from its config ({reason[:200]}); compare the "
            "sizes in it with those of the training, or use another one"
        ) from error


def unbuilt_assistant(checkpoint: dict[str, Any], path: str | Path) -> Assistant:
    """Make the assistant that a checkpoint describes, without its layers.

    Args:
        checkpoint: What ``read_checkpoint`` returned, with a description.
        path: Its file or folder, for messages.

    Raises:
        CheckpointError: If it cannot be made.
        ConfigError: If its description names other objects than parts.
    """
    from lasagna.core.config import build
    from lasagna.core.foreign import Foreign
    from lasagna.modules.assistant import Assistant
    from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG

    foreign = Foreign(f"the checkpoint {str(path)!r}", "make the assistant yourself: load(path, assistant=...)")
    return build(checkpoint[ASSISTANT_CONFIG], Assistant, foreign=foreign)


def _apply_calibration(assistant: Assistant, path: Path, wanted: bool | str | None) -> None:
    from lasagna.modules.checkpoints.calibration import calibration_file, read_calibration

    found = read_calibration(path)
    if found is not None:
        assistant.presence_temperature, assistant.calibrated_decoding = found.temperature, found.decoding
        assistant.presence_threshold = found.threshold(wanted if isinstance(wanted, str) else None)
    elif wanted:
        raise CheckpointError(
            f"calibrated: {str(path)!r} has no calibration ({calibration_file(path)}); make one with `lasagna "
            "calibrate`"
        )


def _nearby(path: Path) -> str:
    patterns, folders = ("*.ckpt", "checkpoints/*.ckpt"), (path, path.parent)
    beside = [file for folder in folders for pattern in patterns for file in sorted(folder.glob(pattern))]
    files = [*beside, *sorted(Path().glob("runs/*/checkpoints/*.ckpt"))]
    # a file beside the path may also be one of the runs, with its path spelled differently
    found = list({file.resolve(): str(file) for file in reversed(files)}.values())[::-1]
    return f"; there are {', '.join(found[:4])}" if found else "; train one with `python train.py`"
