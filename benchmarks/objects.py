"""What an answer with every object costs: ordered decoding against token by token, and both ways by number of objects.

*Passes*: names are answered with a token for each object, by ordered decoding and, in the same run on the same weights,
token by token with a key-value cache. A third of the names are present, and four of ten objects are followed by another
one. Since the language model knows nothing of such numbers, its decisions are replaced by drawn ones after they were
computed; the work is the same, and both ways read the same answer. *Least* is the time of the prompt and one pass over
the answer, which any way of drafting takes. The tiny language model and a random Llama (12 layers, 512 wide) are
measured.

Times are seconds of the processor, of the fastest run, which other programs change least.

*Objects*: ten names with 1 to 16 objects each are answered by the package's tiny parts, with a token for each object,
and with a token for each name and a head that draws 5 or 16 masks. Every name is taken for present.

``python benchmarks/objects.py`` prints both; ``--results`` files them as ``docs/results/objects.json`` and draws
``docs/images/objects.png``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from decode import cached

from lasagna.core.batch import Query
from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.core.query_kind import INSTANCES, INSTANCES_BY_TOKEN, QueryKind
from lasagna.modules import (
    Assistant,
    CausalLanguageModel,
    ObjectMaskHead,
    TinyLanguageModel,
    TinyMaskHead,
    TinyVisionEncoder,
)
from lasagna.modules.base import MaskHead
from lasagna.modules.decoding.cache import CachedPrompts
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.decoding.object_tokens import Decision, TokenDraft
from lasagna.modules.tiny.weights import packaged_words
from lasagna.tasks.callbacks.run_facts import versions, write_json

DOCS = Path(__file__).resolve().parents[1] / "docs"
COUNTS = (1, 2, 4, 8, 16)
NAMES = 10
SIZES: dict[str, dict[str, Any]] = {
    "tiny": {},
    "medium": {
        "model_type": "llama",
        "hidden_size": 512,
        "intermediate_size": 1536,
        "num_hidden_layers": 12,
        "num_attention_heads": 8,
    },
}
"""Settings of language models with random weights; none for the package's own."""

NAMES_OF = {"tiny": (20, 80, 150), "medium": (20, 80)}
"""Numbers of names that are measured with each."""

PRESENT, FURTHER = 1 / 3, 0.4
"""Share of names that are present, and of objects that another one follows."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    torch.set_num_threads(options.threads)
    rows: dict[str, list[dict[str, float]]] = {size: [] for size in options.sizes}
    for size, some in rows.items():
        for count in options.names or NAMES_OF[size]:
            some.append(row := passes(count, size, options))
            print(_line(size, row), flush=True)
    seconds = objects(options)
    for way, times in seconds.items():
        print(f"{way}: " + ", ".join(f"{n} objects {one * 1000:.0f} ms" for n, one in zip(COUNTS, times, strict=True)))
    if options.results:
        facts = {"cores": os.cpu_count(), "threads": options.threads, "versions": versions(), "counts": COUNTS}
        write_json(DOCS / "results" / "objects.json", facts | {"passes": rows, "seconds": seconds})
        _draw(rows, seconds)


def _line(size: str, row: dict[str, float]) -> str:
    most = row["cached"] / row["least"]
    return (
        f"{size}, {row['names']:>3} names, {row['objects']} objects, up to {row['largest']} of a name: token by token "
        f"{row['cached']:.3f} s, ordered {row['ordered']:.3f} s in {row['forwards']} passes; ordered is "
        f"{row['cached'] / row['ordered']:.1f} times as fast, of at most {most:.1f} times"
    )


@torch.no_grad()
def passes(count: int, size: str, options: argparse.Namespace) -> dict[str, float]:
    """Time an answer about some names, ordered and token by token.

    Args:
        count: How many names.
        size: Size of the language model, one of ``SIZES``.
        options: Options of the command line.
    """
    rng = np.random.default_rng(0)
    counts = [int(there) * int(rng.geometric(1 - FURTHER)) for there in rng.random(count) < PRESENT]
    assistant = _assistant(TinyMaskHead(), size)
    model, text, form = assistant.language_model, assistant.processors.text, assistant.format
    vectors = assistant.encode(torch.rand(1, 3, 96, 96)).image_vectors
    query = Query(0, INSTANCES_BY_TOKEN, tuple(packaged_words()[10 : 10 + count]))
    prompt = text.prompt_ids(form.prompt(query.kind, query.names))
    answer = text.answer_ids(form.render(query.kind, list(zip(query.names, counts, strict=True))))
    answer += [text.end_token_id]
    decoder = Decoder(model, form)
    with _decided(counts):
        [decoded] = decoder.decode(vectors, [query])
        ordered = _seconds(lambda: decoder.decode(vectors, [query]), options.runs)
    assert [entry.count * entry.present for entry in decoded.entries] == counts
    tail = prompt[-1:] + answer[:-1]
    least = _seconds(lambda: CachedPrompts(model, [prompt[:-1]], vectors).read([tail]), options.runs)
    one_by_one = _seconds(lambda: cached(model, prompt, answer, vectors), options.runs)
    row = {"names": count, "objects": sum(counts), "largest": max(counts), "forwards": decoded.forwards}
    return row | {"answer_tokens": len(answer), "cached": one_by_one, "ordered": ordered, "least": least}


@contextmanager
def _decided(counts: list[int]) -> Iterator[None]:
    """Let drafts be revised as if each name had a certain number of objects."""
    revised = TokenDraft.revised

    def as_drawn(draft: TokenDraft, decided: dict[int, Decision]) -> TokenDraft:
        drawn = {
            start + rank: (float(rank < count), decided[start + rank][1])
            for start, count, drafted in zip(draft.starts, counts, draft.counts, strict=True)
            for rank in range(drafted + 1)
        }
        return revised(draft, drawn)

    with patch.object(TokenDraft, "revised", as_drawn):
        yield


def objects(options: argparse.Namespace) -> dict[str, list[float]]:
    """Time answers about names with different numbers of objects, by way of telling them.

    Args:
        options: Options of the command line.
    """
    image = np.random.default_rng(0).integers(0, 255, (96, 96, 3), dtype=np.uint8)
    names, seconds = packaged_words()[10 : 10 + NAMES], {}
    heads = {f"a set of {k} masks": ObjectMaskHead(TinyMaskHead(), masks=k) for k in (5, 16)}
    for way, head in {"a token for each object": TinyMaskHead(), **heads}.items():
        assistant = _assistant(head)
        assistant.presence_threshold, assistant.object_threshold, assistant.object_overlap = 0.0, 0.0, 1.1
        encoded, geometry = assistant.encode_image(image)
        seconds[way] = []
        for count in COUNTS:
            own = QueryKind("instances_by_token", many=True, objects=True, tokens=count)
            query = Query(0, INSTANCES if isinstance(head, ObjectMaskHead) else own, tuple(names))
            answer = lambda: assistant.answer_batch(encoded, [geometry], [query])  # noqa: B023, E731
            seconds[way].append(_seconds(answer, options.runs))
    return seconds


def _assistant(head: MaskHead, size: str = "tiny") -> Assistant:
    settings = SIZES[size]
    model = CausalLanguageModel(settings, "words", image_grid=(6, 6)) if settings else TinyLanguageModel()
    assistant = Assistant(TinyVisionEncoder(), model, head, "tiny")
    assistant.configure_model()
    return assistant.eval()


def _seconds(call: Callable[[], object], runs: int) -> float:
    times = []
    for _ in range(runs):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)


def _draw(rows: dict[str, list[dict[str, float]]], seconds: dict[str, list[float]]) -> None:
    figure = new_figure(9.6, 3.6)
    axes = style_axes(figure.add_subplot(1, 2, 1), "a token for each object, by names")
    for (size, some), style in zip(rows.items(), ("o-", "s--"), strict=False):
        for way, label, colour in (("cached", "token by token", "C0"), ("ordered", "ordered", "C1")):
            seen = [row["names"] for row in some], [row[way] for row in some]
            axes.plot(*seen, style, color=colour, label=f"{size}, {label}")
    axes.set_yscale("log")
    axes.set_xlabel("names in the query", fontsize=8)
    own = style_axes(figure.add_subplot(1, 2, 2), f"ways to tell objects, {NAMES} names")
    for way, times in seconds.items():
        own.plot(COUNTS, times, "o-", label=way)
    own.set_xscale("log", base=2)
    own.set_xlabel("objects of each name", fontsize=8)
    for one in (axes, own):
        one.set_ylabel("CPU seconds", fontsize=8)
        one.legend(frameon=False, fontsize=8)
    save(figure, DOCS / "images" / "objects.png")


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--names", type=int, nargs="+")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
