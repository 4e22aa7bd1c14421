"""The ``lasagna export`` command: a trained assistant as a folder that others can load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from lasagna.errors import ConfigError


def export(
    ckpt: str,
    output: str,
    layout: Literal["adapter", "transformers", "released", "onnx"] = "adapter",
    shard_size: str = "5GB",
    consolidate: bool = False,
    int8: bool = False,
    image_size: tuple[int, int] | None = None,
) -> None:
    """Write a trained assistant into a folder, or a training's checkpoint into a file.

    The layout "adapter" holds the trained weights (adapters in peft's format, heads) and a config that names the
    frozen ones. Load it with ``lasagna.load(folder)``, ask it with ``lasagna predict --ckpt folder``, train it with
    ``python train.py --config folder/config.yaml``. The layout "released" is a complete model for LaSagnA's own code
    with merged adapters; load it with ``lasagna.load(folder)``, or train it after ``lasagna import``. Notes are printed
    about whatever it cannot hold. The layout "transformers" is "adapter" with two more files, so that
    ``AutoModel.from_pretrained(folder, trust_remote_code=True)`` loads it too, where this package is installed. These
    layouts include the calibration. The layout "onnx" holds the image encoder and the mask decoder as two graphs, and
    not the language model.

    With ``--consolidate``, the checkpoint folder of a training with divided weights (FSDP2) becomes a file with all
    that is in it, from which training can be resumed too.

    Args:
        ckpt: A checkpoint of training, or a folder of the layout "adapter".
        output: A new or empty folder; with ``--consolidate`` a new file, such as "last.ckpt".
        layout: The layout; "released" needs LLaVA v1 with SAM.
        shard_size: Largest size of one file of weights in the released layout, such as "5GB"; larger weights are split
            into several files with an index.
        consolidate: Whether to write the checkpoint's folder as a file.
        int8: Whether the layout "onnx" also holds both graphs with weights of eight bits.
        image_size: Height and width of the encoder's input in the layout "onnx", if others than in training.

    Raises:
        CheckpointError: If the checkpoint cannot be used, the folder is not empty, or the file exists.
        ConfigError: If ``shard_size`` is not a size, an option belongs to another layout, or a part cannot be exported.
    """
    # imports torch, which the help need not wait for
    from lasagna.modules.checkpoints.calibration import checksum, read_calibration, write_calibration
    from lasagna.modules.checkpoints.folder import check_empty, write_assistant
    from lasagna.modules.checkpoints.hub import local_copy
    from lasagna.modules.checkpoints.load import load, read_checkpoint
    from lasagna.modules.checkpoints.parted import consolidated

    if layout != "onnx" and (int8 or image_size is not None):
        raise ConfigError(f"{'int8' if int8 else 'image_size'}: only the layout onnx has it, got {layout!r}")
    ckpt, target, notes = str(local_copy(ckpt)), Path(output), list[str]()
    if consolidate:
        consolidated(Path(ckpt), target)
        files = [target]
    elif layout == "onnx":
        files = _write_onnx(ckpt, target, int8, image_size)
    else:
        check_empty(target)
        if layout == "released":
            files, notes = _release(ckpt, target, shard_size)
        else:
            files = write_assistant(target, load(ckpt, calibrated=False), read_checkpoint(ckpt))
        if layout == "transformers":
            files += _write_auto_model(target)
    calibration = None if layout == "onnx" else read_calibration(Path(ckpt))
    if calibration is not None:
        files.append(write_calibration(replace(calibration, checkpoint=checksum(target)), target))
    for file in files:
        print(f"{file}  {file.stat().st_size / 2**20:.2f} MiB")
    for note in notes:
        print(f"note: {note}")


def _write_onnx(ckpt: str, folder: Path, int8: bool, image_size: tuple[int, int] | None) -> list[Path]:
    from lasagna.integrations.onnx import check_installed, write_onnx
    from lasagna.modules.checkpoints.folder import check_empty
    from lasagna.modules.exported import load_resized

    check_empty(folder)
    check_installed()
    return write_onnx(load_resized(ckpt, image_size), folder, int8)


def _write_auto_model(folder: Path) -> list[Path]:
    """Write what ``AutoModel`` needs to find its class, and return the files."""
    from importlib.resources import files

    from lasagna.core.storage import write_json, write_text

    code = "modeling_lasagna"
    classes = {"AutoConfig": f"{code}.LasagnaConfig", "AutoModel": f"{code}.LasagnaModel"}
    content = {"model_type": "lasagna", "architectures": ["LasagnaModel"], "auto_map": classes}
    write_json(folder / "config.json", content, indent=2)
    write_text(folder / f"{code}.py", (files("lasagna.integrations") / f"{code}.py").read_text(encoding="utf-8"))
    return [folder / "config.json", folder / f"{code}.py"]


def _release(ckpt: str, target: Path, shard_size: str) -> tuple[list[Path], list[str]]:
    from lasagna.modules.checkpoints.load import load, read_checkpoint, unbuilt_assistant
    from lasagna.modules.checkpoints.released.exporting import check_parts, export_release
    from lasagna.modules.checkpoints.released.folder import check_shard_size
    from lasagna.modules.checkpoints.released.reload import remarks
    from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, PREFIX

    check_shard_size(shard_size)
    checkpoint = read_checkpoint(ckpt)
    if checkpoint.get(ASSISTANT_CONFIG) is not None:  # before reading the weights, which may take minutes
        check_parts(unbuilt_assistant(checkpoint, ckpt))
    assistant = load(ckpt, calibrated=False)
    trained = {name.removeprefix(PREFIX) for name in checkpoint["state_dict"]}
    return export_release(assistant, target, trained, shard_size), remarks(assistant, target)
