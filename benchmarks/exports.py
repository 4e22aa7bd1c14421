"""Half-precision and quantised inference beside float32, with the small assistant of the package.

``python benchmarks/exports.py`` asks for the same names in drawn scenes, and in photographs if ``--photos`` names their
folder, in float32, bfloat16 and float16, with the language model's linear layers in eight bits, and with image encoder
and mask decoder in ONNX Runtime (extra ``onnx``) in float32 and with weights of eight bits. The table says what becomes
of masks and decisions, and what it costs. ``--ckpt`` takes another assistant. ``--results`` files the figures as
``docs/results/exports.json`` and writes the tables into ``docs/exports.md``; ``--draw`` writes them again.
"""

from __future__ import annotations

import argparse
import copy
import json
import re
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import lasagna
from lasagna.core.answer import Answer
from lasagna.core.storage import write_text
from lasagna.datamodules.scenes import CATEGORIES, draw_scene
from lasagna.integrations.onnx import DECODER, ENCODER, with_runtime, write_onnx
from lasagna.modules.assistant import Assistant
from lasagna.tasks.callbacks.run_facts import versions, write_json

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS, PAGE = DOCS / "results" / "exports.json", DOCS / "exports.md"

HEAD = (
    "inference",
    "mIoU with float32",
    "pixels that differ",
    "decisions that differ",
    "largest change of a score",
    "mIoU with the truth",
    "ms an image",
    "MB of weights",
)

Picture = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]
"""A picture, and the index of each pixel's category where that is known."""


@dataclass
class Way:
    """A way to infer.

    Args:
        assistant: What answers.
        megabytes: Size of its weights.
    """

    assistant: Assistant
    megabytes: float
    answers: list[Answer] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    if options.draw:
        draw(json.loads(RESULTS.read_text("utf-8")))
        return
    torch.set_num_threads(options.threads)
    assistant = lasagna.load(options.ckpt)
    sets = {"scenes": list(_scenes(options.images))}
    if options.photos:
        sets["photographs"] = list(_photographs(options.photos, options.images))
    facts: dict[str, Any] = {"threads": options.threads, "versions": versions() | _runtime_versions(), "sets": {}}
    with TemporaryDirectory() as folder:
        ways = _ways(assistant, Path(folder), options.threads)
        for title, pictures in sets.items():
            facts["sets"][title] = {"images": len(pictures), "ways": compared(ways, pictures)}
            print(f"{title}\n\n{table(facts['sets'][title])}\n", flush=True)
    if options.results:
        write_json(RESULTS, facts)
        draw(facts)


def compared(ways: dict[str, Way], pictures: Sequence[Picture]) -> dict[str, dict[str, float | None]]:
    """Ask all names of all pictures in each way, and compare the answers with those of the first way.

    Args:
        ways: The ways by name.
        pictures: The pictures.
    """
    for way in ways.values():
        way.assistant.answer(pictures[0][0], CATEGORIES)  # warms up
        way.answers, way.seconds = [], []
    for image, _ in pictures:  # in turns, so that other programs disturb all alike
        for way in ways.values():
            began = time.perf_counter()
            way.answers.append(way.assistant.answer(image, CATEGORIES))
            way.seconds.append(time.perf_counter() - began)
    first = next(iter(ways.values())).answers
    return {name: _figures(way, first, pictures) for name, way in ways.items()}


def _figures(way: Way, first: Sequence[Answer], pictures: Sequence[Picture]) -> dict[str, float | None]:
    pairs = [
        pair
        for one, other in zip(way.answers, first, strict=True)
        for pair in zip(one.entries, other.entries, strict=True)
    ]
    drawn = [(one.mask, other.mask) for one, other in pairs if one.present and other.present]
    pixels = sum(mask.size for mask, _ in drawn)
    truth = [
        iou(entry.mask if entry.mask is not None else np.zeros(labels.shape, bool), labels == place)
        for answer, (_, labels) in zip(way.answers, pictures, strict=True)
        if labels is not None
        for place, entry in enumerate(answer.entries)
        if (labels == place).any()
    ]
    return {
        "iou": round(float(np.mean([iou(*pair) for pair in drawn])), 4) if drawn else None,
        "masks": len(drawn),
        "pixels": round(sum(int((one != other).sum()) for one, other in drawn) / pixels, 6) if pixels else None,
        "decisions": sum(one.present != other.present for one, other in pairs),
        "names": len(pairs),
        "score": round(max(abs(one.score - other.score) for one, other in pairs), 4),
        "truth": round(float(np.mean(truth)), 4) if truth else None,
        "milliseconds": round(1000 * statistics.median(way.seconds), 1),
        "megabytes": round(way.megabytes, 1),
    }


def iou(mask: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the intersection over union of two masks; 1 where both are empty."""
    union = (mask | other).sum()
    return float((mask & other).sum() / union) if union else 1.0


def table(result: dict[str, Any]) -> str:
    """Return the figures of one set of pictures as a table in Markdown.

    Args:
        result: What ``main`` files for the set.
    """
    head = [f"| {' | '.join(HEAD)} |", f"| --- |{' ---: |' * (len(HEAD) - 1)}"]
    return "\n".join([*head, *(_row(name, part) for name, part in result["ways"].items())])


def _row(name: str, part: dict[str, Any]) -> str:
    shares = [_known(part["iou"], ".4f"), _known(part["pixels"], ".3%"), f"{part['decisions']} of {part['names']}"]
    costs = [
        f"{part['score']:.4f}",
        _known(part["truth"], ".4f"),
        f"{part['milliseconds']:.0f}",
        f"{part['megabytes']}",
    ]
    return f"| {' | '.join([name, *shares, *costs])} |"


def _known(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def draw(facts: dict[str, Any]) -> None:
    """Write the tables between the marks of the page.

    Args:
        facts: What was filed.
    """
    text = PAGE.read_text("utf-8")
    for title, result in facts["sets"].items():
        body = f"<!-- {title} -->\n{table(result)}\n<!-- end -->"
        text = re.sub(rf"<!-- {title} -->\n.*?<!-- end -->", lambda _, body=body: body, text, flags=re.DOTALL)
    write_text(PAGE, text)


def _ways(assistant: Assistant, folder: Path, threads: int) -> dict[str, Way]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is going to move its quantisation
        files = write_onnx(assistant, folder, int8=True)
        eight = copy.deepcopy(assistant)
        eight.language_model = torch.ao.quantization.quantize_dynamic(eight.language_model, _wide(eight))
    sizes = {file.stem: file.stat().st_size / 1e6 for file in files}
    whole, language = _megabytes(assistant), _megabytes(assistant.language_model)
    ways = {"float32": Way(assistant, whole)}
    for kind in (torch.bfloat16, torch.float16):
        half = copy.deepcopy(assistant).to(kind)
        ways[str(kind).removeprefix("torch.")] = Way(half, _megabytes(half))
    ways["language model in int8"] = Way(eight, whole - language + _megabytes(eight.language_model))
    for ending, name in (("", "ONNX Runtime, float32"), ("_int8", "ONNX Runtime, int8")):
        parts = sizes[f"{ENCODER}{ending}"] + sizes[f"{DECODER}{ending}"]
        ways[name] = Way(with_runtime(assistant, folder, bool(ending), threads), language + parts)
    return ways


def _wide(assistant: Assistant) -> set[str]:
    """Return the linear layers of the language model's blocks; peft reads the weights of its adapters itself."""
    named = assistant.language_model.named_modules()
    found = {name for name, layer in named if isinstance(layer, torch.nn.Linear)}
    return {name for name in found if "layers." in name and "lora_" not in name}


def _megabytes(part: torch.nn.Module) -> float:
    found = 0
    for value in part.state_dict().values():
        packed = value if isinstance(value, tuple) else (value,)
        found += sum(one.nbytes for one in packed if isinstance(one, torch.Tensor))
    return found / 1e6


def _scenes(count: int) -> Iterator[Picture]:
    rng = np.random.default_rng(12345)
    for _ in range(count):
        scene = draw_scene(rng)
        yield scene.image, scene.labels


def _photographs(folder: Path, count: int) -> Iterator[Picture]:
    files = sorted(file for ending in ("*.jpg", "*.png") for file in folder.rglob(ending))
    for file in files[:: max(1, len(files) // count)][:count]:
        with Image.open(file) as opened:
            yield np.asarray(opened.convert("RGB")), None


def _runtime_versions() -> dict[str, str]:
    return {name: version(name) for name in ("onnx", "onnxscript", "onnxruntime")}


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt", help="checkpoint or folder; the small assistant of the package by default")
    parser.add_argument("--images", type=int, default=100, help="pictures of each set")
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", action="store_true")
    parser.add_argument("--draw", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
