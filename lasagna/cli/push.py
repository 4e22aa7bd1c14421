"""The ``lasagna push`` command: an assistant on the hub, with a model card."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory


def push(
    ckpt: str,
    name: str,
    private: bool = False,
    tag: str | None = None,
    scores: Path | None = None,
    licence: str | None = None,
    message: str = "Add an assistant",
    dry_run: bool = False,
) -> None:
    """Put an assistant on the hub: adapters, heads, recipe, calibration and a model card.

    Others load it with ``lasagna.load("user/name", download=True)``. The card tells its scores, protocols, data and
    limits. A ``README.md`` in the folder is used instead, so write your own if you have more to tell. Log in first,
    with ``hf auth login`` or the variable HF_TOKEN.

    Args:
        ckpt: A folder of ``lasagna export``, or a checkpoint of training.
        name: Name on the hub, user/name; it is made if there is none.
        private: Whether a new name is for you only.
        tag: Name of this version, such as "v1", to be given as revision on loading.
        scores: The ``scores.json`` of a training or of ``lasagna evaluate``; by default that beside the checkpoint or
            in its run.
        licence: Licence of the weights as the hub names it, such as "apache-2.0".
        message: Message of the commit.
        dry_run: Whether to print the card and the files only; nothing is sent.

    Raises:
        CheckpointError: If the checkpoint cannot be used, or the hub refuses it or cannot be reached.
        ConfigError: If the name or the scores cannot be used.
    """
    # imports torch, which the help need not wait for
    from lasagna.modules.checkpoints.hub import CARD, push_files

    _check_name(name)
    with TemporaryDirectory() as place:
        folder = _assistant_folder(Path(ckpt), Path(place) / "assistant")
        files = _files(folder, Path(ckpt), name, scores, tag, licence)
        if dry_run:
            card = files[CARD]
            print(card.read_text(encoding="utf-8") if isinstance(card, Path) else card.decode("utf-8"))
            print(f"files: {', '.join(sorted(files))}; nothing was sent")
            return
        commit = push_files(files, name, private=private, tag=tag, message=message)
    print(f'commit {commit}; load it with lasagna.load("{name}", revision="{tag or commit}", download=True)')


def _check_name(name: str) -> None:
    from lasagna.errors import ConfigError
    from lasagna.modules.checkpoints.hub import split_name

    if split_name(name) != (name, None):
        raise ConfigError(f"name: {name!r} is no name of the hub; give user/name of letters, digits, '-', '_' and '.'")


def _assistant_folder(ckpt: Path, made: Path) -> Path:
    """Return an assistant's folder, exported from a checkpoint if it is none."""
    from lasagna.cli.export import export
    from lasagna.errors import CheckpointError
    from lasagna.modules.checkpoints.folder import is_assistant_folder, read_assistant

    if is_assistant_folder(ckpt):
        read_assistant(ckpt)
        return ckpt
    if (ckpt / "config.json").is_file():
        raise CheckpointError(
            f"ckpt: {str(ckpt)!r} is a whole model in the layout of LaSagnA's releases; give a checkpoint of training, "
            "or a folder of `lasagna export`"
        )
    export(str(ckpt), str(made))
    return made


def _files(
    folder: Path, ckpt: Path, name: str, scores: Path | None, tag: str | None, licence: str | None
) -> dict[str, Path | bytes]:
    """Return the files for the hub by their paths there, with a card if the folder has none."""
    from lasagna.cli.model_card import CardFacts, find_scores, local_paths, read_run_scores, write_card
    from lasagna.modules.checkpoints.calibration import read_calibration
    from lasagna.modules.checkpoints.hub import AUTO_MODEL, CARD, folder_files
    from lasagna.modules.checkpoints.load import read_checkpoint
    from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, learned_kinds

    checkpoint = read_checkpoint(folder)
    facts = CardFacts(
        name=name,
        config=checkpoint[ASSISTANT_CONFIG],
        kinds=list(learned_kinds(checkpoint)),
        scores=read_run_scores(scores or find_scores(ckpt)),
        calibration=read_calibration(folder),
        tag=tag,
        licence=licence,
        auto_model=(folder / AUTO_MODEL).is_file(),
    )
    if paths := [path for path in local_paths(facts.config) if not Path(path).is_relative_to(folder.resolve())]:
        print(f"note: others do not have {', '.join(paths)}; assistant.json names them", file=sys.stderr)
    card: dict[str, Path | bytes] = {CARD: write_card(facts).encode("utf-8")}
    return card | folder_files(folder)
