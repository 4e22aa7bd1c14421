"""The model card of an assistant on the hub: how to load it, its kinds of query, scores, protocols, data, limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lasagna import __version__
from lasagna.errors import ConfigError
from lasagna.modules.checkpoints.calibration import Calibration
from lasagna.tasks.metrics.names import PROTOCOLS, ScoreName

_PARTS = ("vision_encoder", "language_model", "mask_head")


@dataclass(frozen=True)
class CardFacts:
    """What a model card tells.

    Args:
        name: "user/name" on the hub.
        config: How to build the assistant, as its checkpoint stores it.
        kinds: Names of the kinds of query that it learned; empty if that is not stored.
        scores: Content of ``scores.json``; empty without one.
        calibration: The calibration of its presence scores, if there is one.
        tag: Revision to load.
        licence: Licence of the weights, as the hub names it ("apache-2.0").
        auto_model: Whether transformers' ``AutoModel`` loads the folder.
    """

    name: str
    config: Mapping[str, Any]
    kinds: Sequence[str] = ()
    scores: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None
    tag: str | None = None
    licence: str | None = None
    auto_model: bool = False


def find_scores(ckpt: Path) -> Path | None:
    """Return the ``scores.json`` in a checkpoint's folder or run, or None."""
    folders = [ckpt if ckpt.is_dir() else ckpt.parent]
    if ckpt.parent.name == "checkpoints":
        folders.append(ckpt.parent.parent)
    return next((folder / "scores.json" for folder in folders if (folder / "scores.json").is_file()), None)


def read_run_scores(file: Path | None) -> dict[str, Any]:
    """Return the content of a ``scores.json`` of a training or an evaluation, empty without one.

    Raises:
        ConfigError: If it cannot be read.
    """
    from lasagna.tasks.callbacks.summary import read_scores

    try:
        return {} if file is None else read_scores(file)
    except (OSError, ValueError) as error:
        raise ConfigError(f"scores: {error}; give the scores.json of a training or of `lasagna evaluate`") from error


def write_card(facts: CardFacts) -> str:
    """Return a model card in Markdown, with the settings that the hub reads at its beginning."""
    header = ["library_name: lasagna", "pipeline_tag: image-segmentation", "tags: [lasagna, image-segmentation]"]
    if facts.licence is not None:
        header.append(f"license: {facts.licence}")
    sections = (_loading(facts), _assistant(facts), _scores(facts), _data(facts), _limits(facts))
    lines = ["---", *header, "---", "", f"# {facts.name}", "", *(line for part in sections for line in (*part, ""))]
    return "\n".join(lines).rstrip() + "\n"


def local_paths(config: Any) -> list[str]:  # noqa: ANN401
    """Return the absolute paths in an assistant's config, which others do not have."""
    return sorted({text for text in _texts(config) if Path(text).is_absolute()})


def _texts(content: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(content, str):
        yield content
    elif isinstance(content, Mapping | list | tuple):
        for part in content.values() if isinstance(content, Mapping) else content:
            yield from _texts(part)


def _loading(facts: CardFacts) -> list[str]:
    pinned = f', revision="{facts.tag}"' if facts.tag else ""
    told = [] if facts.tag else ["", "`revision=` pins a commit of this repository, so that answers stay the same."]
    return [
        "An assistant that answers queries about an image in masks and words: trained weights (adapters and heads) and",
        "the recipe for the frozen rest.",
        "",
        "```python",
        "import lasagna",
        "",
        f'assistant = lasagna.load("{facts.name}"{pinned}, download=True)',
        'answer = assistant.answer(image, ["dog", "sky"])  # image: uint8 array, height x width x 3',
        "```",
        *told,
        *(_auto_loading(facts.name, pinned) if facts.auto_model else []),
    ]


def _auto_loading(name: str, pinned: str) -> list[str]:
    return [
        "",
        "The same through transformers, where lasagna is installed:",
        "",
        "```python",
        "from huggingface_hub import snapshot_download",
        "from transformers import AutoModel",
        "",
        f'folder = snapshot_download("{name}"{pinned})',
        "model = AutoModel.from_pretrained(folder, trust_remote_code=True)",
        'answer = model.predict(image, "dog, sky")',
        "```",
    ]


def _assistant(facts: CardFacts) -> list[str]:
    settings = facts.config.get("init_args", facts.config)
    rows = [f"| {name.replace('_', ' ')} | {_part(settings.get(name))} |" for name in _PARTS]
    kinds = ", ".join(facts.kinds) or "not stored"
    return [
        "## The assistant",
        "",
        "| part | |",
        "| --- | --- |",
        *rows,
        f"| kinds of query that it learned | {kinds} |",
        f"| written by | lasagna {__version__} |",
    ]


def _part(config: Any) -> str:  # noqa: ANN401
    if not isinstance(config, Mapping) or "class_path" not in config:
        return "not stored"
    named = config.get("init_args", {})
    texts = [f"{key}: {value}" for key, value in named.items() if key in _NAMING and isinstance(value, str)]
    kind = str(config["class_path"]).rsplit(".", 1)[-1]
    return f"`{kind}`" + (f" ({', '.join(texts)})" if texts else "")


_NAMING = ("model", "weights", "checkpoint", "release", "folder", "vision_tower", "projector")
"""Settings of parts that name frozen weights."""


def _scores(facts: CardFacts) -> list[str]:
    named = dict(_measured(facts.scores))
    if not named:
        return ["## Scores", "", "None were published with it."]
    parsed = {name: ScoreName.parse(name) for name in named}
    rows = [
        f"| {part.stage} | {part.source} | {'/'.join(name.split('/')[2:])} | {named[name]:.4f} |"
        for name, part in parsed.items()
    ]
    used = sorted({protocol for name in named for protocol in name.split("/")[3:4]})
    known = [f"- `{name}`: {PROTOCOLS.get(name, 'a protocol of its own.')}" for name in used]
    table = ["| split | data | score | value |", "| --- | --- | --- | ---: |", *rows]
    return ["## Scores", "", *table, "", "## Protocols", "", *known]


def _measured(scores: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the scores of test and validation; those of training, of lengths and of faults are left out."""
    for stage in ("test", "validate", "fit"):
        for name, value in scores.get("stages", {}).get(stage, {}).get("scores", {}).items():
            part = ScoreName.parse(name)
            hidden = part.stage == "train" or not part.source or part.is_fault or part.is_length_group
            if isinstance(value, int | float) and not hidden:
                yield name, float(value)


def _data(facts: CardFacts) -> list[str]:
    stages = facts.scores.get("stages", {})
    trained = stages.get("fit", {}).get("records", {}).get("train", {})
    rows = [
        f"| training | {name} | {count['used']} records read, repetitions included |" for name, count in trained.items()
    ]
    scored = sorted(
        {(ScoreName.parse(name).stage, ScoreName.parse(name).source) for name, _ in _measured(facts.scores)}
    )
    rows += [f"| {stage} | {source} | scored |" for stage, source in scored]
    if not rows:
        return ["## Data", "", "Not stated; ask who published it."]
    return ["## Data", "", "| use | data | |", "| --- | --- | --- |", *rows]


def _limits(facts: CardFacts) -> list[str]:
    if facts.calibration is None:
        presence = "Presence scores are not calibrated: 0.5 is not a probability of one half."
    else:
        sets = ", ".join(f"{name} {value:.2f}" for name, value in sorted(facts.calibration.thresholds.items()))
        way = f" for decoding `{facts.calibration.decoding}`"
        presence = f"Presence scores are calibrated{way}; a name counts as present from these scores on: {sets}."
    if any(_measured(facts.scores)):
        quality = "It is measured on the data above only; on other images, and for other names, answers may be worse."
    else:
        quality = "No measurement of its answers was published; score it on data of your own with `lasagna evaluate`."
    lines = [
        quality,
        presence,
        "Kinds of query that it never learned are answered with a warning.",
        "Frozen weights are not in this folder. They are named in `assistant.json` and fetched on loading, under their "
        "own licences.",
    ]
    if local_paths(facts.config):
        lines.append(
            "Some frozen weights are named by paths on the machine of the training; change them in `assistant.json`."
        )
    return ["## Limits", "", *(f"- {line}" for line in lines)]
