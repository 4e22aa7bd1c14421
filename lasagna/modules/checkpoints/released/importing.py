"""The ``lasagna import`` command: makes an assistant of a released model or a training state."""

from __future__ import annotations

from pathlib import Path

from lasagna.modules.checkpoints.released import KeptOrMerged


def import_assistant(
    source: str,
    output: str,
    vision_tower: str | None = None,
    base: str | None = None,
    sam: str | None = None,
    lora_alpha: float = 16.0,
    adapters: KeptOrMerged = "merged",
) -> None:
    """Make an assistant of a released LaSagnA or LISA model, of a LLaVA v1 model, or of a training state.

    The output folder refers to the source's files and copies none of them, unless adapters have to be merged. It
    contains a report on every tensor. Load it with ``lasagna.load(folder)``, ask it with ``lasagna predict --ckpt
    folder``, train it with ``python train.py --config folder/config.yaml``.

    Args:
        source: Folder of a release (one or several files, .bin or safetensors) or of LLaVA v1; or a training state, a
            file or a folder without config.
        output: A new or empty folder.
        vision_tower: Folder of the CLIP tower; by default the one in the model's config.
        base: Folder of the LLaVA v1 model that a training state started from: its config and tokeniser are used.
        sam: Original checkpoint of SAM, for a source without one.
        lora_alpha: Alpha of a training state's adapters; the original's is 16.
        adapters: Whether a training state's adapters are "merged" into their layers, so that further training starts
            with new ones, or "kept", so that it continues with them.

    Raises:
        CheckpointError: If something cannot be read, is missing or does not fit; then nothing is written.
    """
    # not earlier, since the help of the command needs no torch
    from lasagna.modules.checkpoints.released.assistant_folder import write_assistant_folder

    target = Path(output)
    report = write_assistant_folder(Path(source), target, vision_tower, base, sam, lora_alpha, adapters)
    print("\n".join(report.lines()))
    print(f"wrote {target}: lasagna predict --ckpt {target} --image FILE --query ...")
