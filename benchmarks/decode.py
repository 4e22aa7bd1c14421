"""Three ways to answer a query of many names, on the same weights in one run.

*Whole sequence*: the original's way, which reads the entire sequence again for each token and computes all its logits.
*Cached*: token by token with a key-value cache. *Ordered*: all decisions drafted, verified in one forward, redrafted.

``python benchmarks/decode.py`` measures 20, 80 and 150 names at the tiny size, ``--size realistic --dtype bfloat16``
with a Llama of 135 million parameters. Weights are random, so that the tokens of the answer are forced except for its
decisions; the work is the same. Where the whole sequence would take minutes, its forwards are timed at ``--points``
lengths and summed along the line between them; the line then says "estimated". ``--results`` files the numbers as
``docs/results/decode.json`` and draws ``docs/images/decode.png``.

``--one_pass`` measures a presence head beside ordered decoding instead, in turns, for answers in which every name is
present and for those in which none is. Ordered decoding reads its draft together with the prompt. It drafts that none
is, so that it takes two passes and one; real answers take two or three. *Drafted* is ordered decoding of an assistant
with the head, which is right here: it reads the prompt, then the answer. *Prompt* is reading the query alone.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from models import SIZES, make_assistant
from torch import Tensor

from lasagna.core.batch import Query
from lasagna.core.dialogue import Decoding
from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.modules import PresenceHead
from lasagna.modules.base import LanguageModel
from lasagna.modules.decoding.cache import CachedPrompts
from lasagna.modules.decoding.decoder import Decoder
from lasagna.tasks.callbacks.run_facts import versions, write_json

DOCS = Path(__file__).resolve().parents[1] / "docs"
WAYS = ("whole sequence", "cached", "ordered")
COMPARED: dict[str, tuple[Decoding, bool]] = {
    "ordered": ("ordered", False),
    "drafted": ("ordered", True),
    "one_pass": ("one_pass", True),
}
"""How each way decodes, and whether the assistant has a presence head."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        assistant = make_assistant(SIZES[options.size], Path(folder))
        model = assistant.language_model.to(options.device, getattr(torch, options.dtype)).eval()
        decoder = Decoder(model, assistant.format)
        tower = assistant.processors.tower
        assert tower is not None
        pixels = tower.pixels(np.zeros((480, 640, 3), np.uint8))[None]
        with torch.no_grad():
            vectors = model.embed_image([pixels.to(options.device, getattr(torch, options.dtype))])
        if options.one_pass:
            rows = [measure_one_pass(decoder, vectors, count, options.runs) for count in options.names]
        else:
            rows = [measure(model, decoder, vectors, count, options) for count in options.names]
    for row in rows:
        print(_one_pass_line(row) if options.one_pass else _line(row))
    if options.results:
        _file(options, rows)


def measure(
    model: LanguageModel, decoder: Decoder, vectors: Tensor, count: int, options: argparse.Namespace
) -> dict[str, object]:
    """Time the three ways for a query of some names.

    Args:
        model: The language model.
        decoder: A decoder that uses it.
        vectors: The image as the language model reads it, float ``[1, i, d]``.
        count: How many names.
        options: Options of the command line.
    """
    query = Query(0, "categories", tuple(f"word{rank}" for rank in range(count)))
    text = model.text_processor
    prompt = text.prompt_ids(decoder.format.prompt(query.kind, query.names))
    answer = text.answer_ids(decoder.format.render(query.kind, [(name, False) for name in query.names]))
    answer += [text.end_token_id]
    decoded = decoder.decode(vectors, [query])[0]
    whole, estimated = whole_sequence(model, prompt, answer, vectors, options.points)
    seconds = {
        "whole sequence": whole,
        "cached": _seconds(lambda: cached(model, prompt, answer, vectors), 1),
        "ordered": _seconds(lambda: decoder.decode(vectors, [query]), options.runs),
    }
    row = {"names": count, "prompt_tokens": len(prompt), "answer_tokens": len(answer), "forwards": decoded.forwards}
    return row | {"seconds": seconds, "estimated": estimated}


@torch.no_grad()
def measure_one_pass(decoder: Decoder, vectors: Tensor, count: int, runs: int) -> dict[str, object]:
    """Time answers in one pass and in the known order, also drafted by the head, and reading the query alone, in turns.

    Args:
        decoder: A decoder.
        vectors: The image as the language model reads it, float ``[1, i, d]``.
        count: How many names.
        runs: How often each is timed.
    """
    query, head = Query(0, "categories", tuple(f"word{rank}" for rank in range(count))), PresenceHead()
    head.build(decoder.model.hidden_size)
    head.to(vectors.device, vectors.dtype)
    prompt = decoder.text.prompt_ids(decoder.format.prompt(query.kind, query.names))
    times: dict[str, list[float]] = {}
    passes: dict[str, int] = {}
    for _ in range(runs + 1):
        times.setdefault("prompt", []).append(
            _seconds(lambda: CachedPrompts(decoder.model, [prompt], vectors).last_states(), 1)
        )
        for found, cut in (("all present", 1e-6), ("none present", 2.0)):
            decoder.threshold = cut
            for way, (decoding, with_head) in COMPARED.items():
                decoder.presence_head = head if with_head else None
                name, decode = f"{way}, {found}", partial(decoder.decode, vectors, [query], decoding)
                if name not in passes:
                    passes[name] = decode()[0].forwards
                times.setdefault(name, []).append(_seconds(decode, 1))
    # the first of each warms up
    seconds = {name: float(np.median(found[1:])) for name, found in times.items()}
    return {"names": count, "prompt_tokens": len(prompt), "seconds": seconds, "passes": passes}


@torch.no_grad()
def whole_sequence(
    model: LanguageModel, prompt: list[int], answer: list[int], vectors: Tensor, points: int
) -> tuple[float, bool]:
    """Return the seconds of reading everything again for each token, and whether they are estimated."""

    def forward(length: int) -> None:
        ids = torch.tensor([prompt + answer[:length]], device=vectors.device)
        places = torch.arange(ids.shape[1], device=vectors.device)[None]
        model.logits(model(model.embed(ids, vectors), torch.ones_like(ids), places)).argmax(-1)

    forward(0)
    if not points:
        return _seconds(lambda: [forward(length) for length in range(len(answer))], 1), False
    lengths = np.linspace(0, len(answer) - 1, points).round().astype(int)
    times = [_seconds(lambda length=length: forward(int(length)), 1) for length in lengths]
    return float(np.interp(np.arange(len(answer)), lengths, times).sum()), True


@torch.no_grad()
def cached(model: LanguageModel, prompt: list[int], answer: list[int], vectors: Tensor) -> None:
    """Read the prompt once, then one token after the other."""
    prompts = CachedPrompts(model, [prompt], vectors)
    for token in answer:
        model.logits(prompts.extend([[token]], keep=True)[:, -1]).argmax(-1)


def _seconds(call: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return sorted(times)[len(times) // 2]


def _line(row: dict[str, object]) -> str:
    seconds = row["seconds"]
    assert isinstance(seconds, dict)
    parts = [
        f"{way} {seconds[way]:.3f} s{' (estimated)' * (way == WAYS[0] and bool(row['estimated']))}" for way in WAYS
    ]
    times = seconds["whole sequence"] / seconds["ordered"]
    head = f"{row['names']:>4} names, {row['answer_tokens']} answer tokens"
    return f"{head}: {', '.join(parts)}; ordered is {times:.0f} times as fast, in {row['forwards']} forwards"


def _one_pass_line(row: dict[str, Any]) -> str:
    seconds, passes = row["seconds"], row["passes"]
    parts = [f"prompt {seconds['prompt']:.3f} s"]
    parts += [f"{name} {seconds[name]:.3f} s in {count} passes" for name, count in passes.items()]
    parts += [f"ratio, {found}: {_ratio(seconds, found):.2f}" for found in ("all present", "none present")]
    return f"{row['names']:>4} names: {'; '.join(parts)}"


def _ratio(seconds: dict[str, float], found: str) -> float:
    return seconds[f"ordered, {found}"] / seconds[f"one_pass, {found}"]


def _file(options: argparse.Namespace, rows: list[dict[str, object]]) -> None:
    path = DOCS / "results" / "decode.json"
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    facts = {"cores": os.cpu_count(), "threads": options.threads, "dtype": options.dtype, "versions": versions()}
    if options.one_pass:
        content[options.size]["one_pass"] = facts | {"rows": rows}
        write_json(path, content)
        return
    content[options.size] = content.get(options.size, {}) | facts | {"rows": rows}
    write_json(path, content)
    figure = new_figure(5.2 * len(content), 3.6)
    for rank, (size, part) in enumerate(content.items()):
        axes = style_axes(figure.add_subplot(1, len(content), rank + 1), f"{size}, {part['dtype']}")
        for way in WAYS:
            axes.plot(
                [row["names"] for row in part["rows"]], [row["seconds"][way] for row in part["rows"]], "o-", label=way
            )
        axes.set_yscale("log")
        axes.set_xlabel("names in the query", fontsize=8)
        axes.set_ylabel("seconds", fontsize=8)
        axes.legend(frameon=False, fontsize=8)
    save(figure, DOCS / "images" / "decode.png")


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--names", type=int, nargs="+", default=[20, 80, 150])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--points", type=int, default=0, help="lengths to time the whole sequence at; 0 for all")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--one_pass", action="store_true", help="a presence head beside ordered decoding")
    parser.add_argument("--results", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
