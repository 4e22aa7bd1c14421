"""What an answer with every object costs: ordered decoding against token by token, and both ways by number of objects.

*Passes*: names are answered by ordered decoding and, in the same run on the same weights, token by token with a cache
of keys and values: with a token for each name that prompts a set of masks, and with a token for each object. Ordered
decoding drafts without a presence head, with one that is right, and with one that is right on 95 % of the names. A
third of the names are present, and four of ten objects are followed by another one. Since neither the language model
nor the head knows of these, their decisions are replaced by drawn ones after they were computed; the work is the same,
and all ways read the same answer. *Least* is the time of the prompt and one pass over the answer, which any way of
drafting takes. The tiny language model and a random Llama (12 layers, 512 wide) are measured.

Times are seconds of the processor, of the fastest run, which other programs change least; ways are timed in turns.

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
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from decode import cached
from torch import Tensor

from lasagna.core.batch import Query
from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.core.query_kind import INSTANCES, INSTANCES_BY_TOKEN, QueryKind
from lasagna.modules import (
    Assistant,
    CausalLanguageModel,
    ObjectMaskHead,
    PresenceHead,
    TinyLanguageModel,
    TinyMaskHead,
    TinyVisionEncoder,
)
from lasagna.modules.base import MaskHead
from lasagna.modules.decoding import ordered
from lasagna.modules.decoding.cache import CachedPrompts
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.decoding.object_tokens import Decision, TokenDraft
from lasagna.modules.decoding.reading import presence_scores
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

PRESENT, FURTHER, WRONG = 1 / 3, 0.4, 0.05
"""Share of names that are present, of objects that another one follows, and of names on which a head may be wrong."""

KINDS = {INSTANCES: "a set for each name", INSTANCES_BY_TOKEN: "a token for each object"}
"""Kinds of query that tell objects, and how."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    torch.set_num_threads(options.threads)
    rows: dict[str, list[dict[str, Any]]] = {size: [] for size in options.sizes}
    for size, some in rows.items():
        for count in options.names or NAMES_OF[size]:
            some.append(row := passes(count, size, options))
            print(*_lines(size, row), sep="\n", flush=True)
    seconds = objects(options)
    for way, times in seconds.items():
        print(f"{way}: " + ", ".join(f"{n} objects {one * 1000:.0f} ms" for n, one in zip(COUNTS, times, strict=True)))
    if options.results:
        facts = {"cores": os.cpu_count(), "threads": options.threads, "versions": versions(), "counts": COUNTS}
        write_json(DOCS / "results" / "objects.json", facts | {"passes": rows, "seconds": seconds})
        _draw(rows, seconds)


def _lines(size: str, row: dict[str, Any]) -> Iterator[str]:
    yield f"{size}, {row['names']} names, {row['objects']} objects, up to {row['largest']} of a name"
    for kind, way in KINDS.items():
        one = row[kind]
        seconds, passes = one["seconds"], one["passes"]
        yield (
            f"  {way}: token by token {seconds['cached']:.3f} s, least {seconds['least']:.3f} s; ordered is at most "
            f"{seconds['cached'] / seconds['least']:.1f} times as fast"
        )
        for draft, count in passes.items():
            times = seconds["cached"] / seconds[draft]
            yield f"    ordered, {draft}: {seconds[draft]:.3f} s in {count} passes, {times:.1f} times as fast"


@torch.no_grad()
def passes(count: int, size: str, options: argparse.Namespace) -> dict[str, Any]:
    """Time answers about some names, ordered and token by token.

    Args:
        count: How many names.
        size: Size of the language model, one of ``SIZES``.
        options: Options of the command line.
    """
    rng = np.random.default_rng(0)
    counts = [int(there) * int(rng.geometric(1 - FURTHER)) for there in rng.random(count) < PRESENT]
    wrong = set(rng.choice(count, round(WRONG * count), replace=False).tolist())
    assistant = _assistant(TinyMaskHead(), size)
    vectors = assistant.encode(torch.rand(1, 3, 96, 96)).image_vectors
    row: dict[str, Any] = {"names": count, "objects": sum(counts), "largest": max(counts)}
    for kind in KINDS:
        query = Query(0, kind, tuple(packaged_words()[10 : 10 + count]))
        there = [bool(one) for one in counts]
        heads = {
            "no head": None,
            "head right": DrawnHead(assistant.language_model.hidden_size, there),
            "head right on 95 %": DrawnHead(
                assistant.language_model.hidden_size, [one != (rank in wrong) for rank, one in enumerate(there)]
            ),
        }
        row[kind] = _timed(
            assistant, vectors, query, counts if query.kind.tokens else list(map(int, there)), heads, options
        )
    return row


def _timed(
    assistant: Assistant,
    vectors: Tensor,
    query: Query,
    counts: list[int],
    heads: dict[str, PresenceHead | None],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Time an answer with some number of tokens of each name in all ways."""
    model, text, form = assistant.language_model, assistant.processors.text, assistant.format
    prompt = text.prompt_ids(form.prompt(query.kind, query.names))
    answer = text.answer_ids(form.render(query.kind, list(zip(query.names, counts, strict=True))))
    answer += [text.end_token_id]
    tail = prompt[-1:] + answer[:-1]
    ways: dict[str, Callable[[], Any]] = {
        draft: partial(Decoder(model, form, presence_head=head).decode, vectors, [query])
        for draft, head in heads.items()
    }
    found = {}
    with _decided(counts):
        for draft, decode in ways.items():
            [decoded] = decode()
            assert [entry.count * entry.present for entry in decoded.entries] == counts
            found[draft] = decoded.forwards
        ways["cached"] = partial(cached, model, prompt, answer, vectors)
        ways["least"] = lambda: CachedPrompts(model, [prompt[:-1]], vectors).read([tail])
        seconds = _seconds(ways, options.runs)
    return {"prompt_tokens": len(prompt), "answer_tokens": len(answer), "passes": found, "seconds": seconds}


class DrawnHead(PresenceHead):
    """A presence head that computes its decisions and says others.

    Args:
        hidden_size: Width of the hidden states.
        decisions: What it says of each name.
    """

    def __init__(self, hidden_size: int, decisions: list[bool]) -> None:
        super().__init__()
        self.build(hidden_size)
        self.said = torch.tensor(decisions).float() * 40 - 20

    def forward(self, states: Tensor) -> Tensor:
        """Return a logit for each name, float32 ``[k]``."""
        super().forward(states)
        return self.said


@contextmanager
def _decided(counts: list[int]) -> Iterator[None]:
    """Let the language model decide as if each name had a certain number of present tokens."""
    revised, scores = TokenDraft.revised, presence_scores

    def as_drawn(draft: TokenDraft, decided: dict[int, Decision]) -> TokenDraft:
        drawn = {
            start + rank: (float(rank < count), decided[start + rank][1])
            for start, count, drafted in zip(draft.starts, counts, draft.counts, strict=True)
            for rank in range(drafted + 1)
        }
        return revised(draft, drawn)

    def scores_drawn(decoder: Decoder, states: list[Tensor]) -> list[Tensor]:
        scores(decoder, states)
        return [torch.tensor([float(count > 0) for count in counts])]

    with patch.object(TokenDraft, "revised", as_drawn), patch.object(ordered, "presence_scores", scores_drawn):
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
            seconds[way] += _seconds({way: answer}, options.runs).values()
    return seconds


def _assistant(head: MaskHead, size: str = "tiny") -> Assistant:
    settings = SIZES[size]
    model = CausalLanguageModel(settings, "words", image_grid=(6, 6)) if settings else TinyLanguageModel()
    assistant = Assistant(TinyVisionEncoder(), model, head, "tiny")
    assistant.configure_model()
    return assistant.eval()


def _seconds(ways: dict[str, Callable[[], object]], runs: int) -> dict[str, float]:
    """Time some ways in turns; return the shortest time of each."""
    fastest = dict.fromkeys(ways, float("inf"))
    for _ in range(runs):
        for way, call in ways.items():
            began = time.process_time()
            call()
            fastest[way] = min(fastest[way], time.process_time() - began)
    return fastest


def _draw(rows: dict[str, list[dict[str, Any]]], seconds: dict[str, list[float]]) -> None:
    figure = new_figure(14.4, 3.6)
    panels = [
        style_axes(figure.add_subplot(1, 3, 1 + rank), f"{way}, by names") for rank, way in enumerate(KINDS.values())
    ]
    labels = {"cached": "token by token", "no head": "ordered", "head right": "ordered, head right", "least": "least"}
    for axes, kind in zip(panels, KINDS, strict=True):
        for (size, some), style in zip(rows.items(), ("o-", "s--"), strict=False):
            for colour, (way, label) in enumerate(labels.items()):
                times = [row[kind]["seconds"][way] for row in some]
                axes.plot([row["names"] for row in some], times, style, color=f"C{colour}", label=f"{size}, {label}")
        axes.set_yscale("log")
        axes.set_xlabel("names in the query", fontsize=8)
    own = style_axes(figure.add_subplot(1, 3, 3), f"ways to tell objects, {NAMES} names")
    for way, times in seconds.items():
        own.plot(COUNTS, times, "o-", label=way)
    own.set_xscale("log", base=2)
    own.set_xticks(COUNTS, list(map(str, COUNTS)))
    own.set_xlabel("objects of each name", fontsize=8)
    for one in (*panels, own):
        one.set_ylabel("CPU seconds", fontsize=8)
        one.legend(frameon=False, fontsize=6)
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
