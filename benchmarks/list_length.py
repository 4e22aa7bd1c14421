"""What one image costs against the number of names that are asked: the assistant, and SAM 3 asked name by name.

All have a SAM 3 image encoder of the same size, with random weights, in one run. *SAM 3* is transformers' whole model:
it encodes the image once, and reads each name (32 tokens) and draws its masks by itself, one name after the other. The
*assistant* encodes the image once, decides on all names in one answer (ordered decoding), and draws masks of names that
are present: of every name by a dot product, or of at most ``--present`` names by SAM 3's detector.

``python benchmarks/list_length.py`` measures 1 to 200 names at sizes that one core bears in a minute, in seconds of
that core's time, which other programs do not change. ``--size real --device cuda`` measures at the published sizes, in
bfloat16, with a language model of 1.6 billion parameters. The number of forward passes of an answer depends on the
weights; the figures state it. ``--results`` files them as ``docs/results/list_length.json`` and draws
``docs/images/list_length.png``.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import Sam3Config, Sam3Model

from lasagna.core.batch import Query
from lasagna.core.plotting import new_figure, save, style_axes
from lasagna.modules import Assistant, CausalLanguageModel, DotMaskHead, Sam3MaskHead, Sam3VisionEncoder
from lasagna.modules.sam3.sizes import PATCH, SIDE, Sam3HeadSize, Sam3Size
from lasagna.modules.tiny.weights import packaged_words
from lasagna.tasks.callbacks.run_facts import versions, write_json

DOCS = Path(__file__).resolve().parents[1] / "docs"
READ = 32
"""Tokens that SAM 3 reads for a name, padding included."""
SAM3, DOT, DETECTOR = "SAM 3, name by name", "assistant, dot product", "assistant, SAM 3's detector"


@dataclass(frozen=True)
class Size:
    """Sizes of what is compared.

    Args:
        encoder: SAM 3's image encoder, of all three.
        side: Side of its input in pixels.
        detector: SAM 3's detector.
        words: SAM 3's encoder of words.
        llama: The assistant's language model.
        grid: Rows and columns of image tokens that it reads.
    """

    encoder: Sam3Size
    side: int
    detector: Sam3HeadSize
    words: dict[str, int]
    llama: dict[str, int]
    grid: tuple[int, int] = (16, 16)


SIZES = {
    "small": Size(
        Sam3Size(192, 12, 6, 768, 12, (2, 5, 8, 11), 12, out_channels=64),
        24 * PATCH,
        Sam3HeadSize(prompt_dim=64, heads=4, mlp_dim=256, masks=100),
        {"hidden_size": 192, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 6},
        {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 6, "num_attention_heads": 4},
        (8, 8),
    ),
    "real": Size(
        Sam3Size(),
        SIDE,
        Sam3HeadSize(),
        {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16},
        {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 24, "num_attention_heads": 32},
    ),
}


def main(argv: list[str] | None = None) -> None:
    """Measure, print and file."""
    options = _options(argv)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size, device = SIZES[options.size], torch.device(options.device)
    pixels = torch.randn(1, 3, size.side, size.side, device=device)
    counts = sorted(options.names)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        by_name = sam3_seconds(size, pixels, counts)
        lists = {
            DOT: assistant_seconds(size, DotMaskHead(), pixels, counts, max(counts)),
            DETECTOR: assistant_seconds(size, Sam3MaskHead(size=size.detector), pixels, counts, options.present),
        }
    rows = [
        {"names": count, "seconds": {SAM3: by_name[rank]} | {way: found[rank][0] for way, found in lists.items()}}
        | {"forwards": lists[DOT][rank][1]}
        for rank, count in enumerate(counts)
    ]
    for row in rows:
        print(_line(row))
    if options.results:
        _file(options, rows)


def sam3_seconds(size: Size, pixels: Tensor, counts: list[int]) -> list[float]:
    """Return the seconds of SAM 3 for each number of names: the image once, then name after name."""
    parts = size.detector.config()
    vision = size.encoder.config()
    vision.backbone_config.image_size = size.side
    words = {"model_type": "clip_text_model", "vocab_size": 49408, "projection_dim": 512}
    config = Sam3Config(
        vision_config=vision,
        text_config=words | {"max_position_embeddings": READ} | size.words,
        geometry_encoder_config={"hidden_size": size.detector.prompt_dim, "num_layers": 1},
        detr_encoder_config=parts.detr_encoder_config,
        detr_decoder_config=parts.detr_decoder_config,
        mask_decoder_config=parts.mask_decoder_config,
    )
    model = Sam3Model(config).to(pixels.device).eval()
    ids = torch.randint(100, 40000, (1, READ), device=pixels.device)
    mask = torch.arange(READ, device=pixels.device)[None] < READ // 8
    encoded: list[Any] = []

    def ask() -> None:
        model(vision_embeds=encoded[0], input_ids=ids, attention_mask=mask)

    encode = _seconds(pixels, lambda: encoded.append(model.get_vision_features(pixels)), warm=True)
    ask()
    names = [_seconds(pixels, ask) for _ in range(max(counts))]
    return [encode + sum(names[:count]) for count in counts]


def assistant_seconds(
    size: Size, head: DotMaskHead | Sam3MaskHead, pixels: Tensor, counts: list[int], present: int
) -> list[tuple[float, int]]:
    """Return seconds and forward passes of an assistant for each number of names.

    Args:
        size: The sizes.
        head: The mask head.
        pixels: The image, float ``[1, 3, H, W]``.
        counts: The numbers of names.
        present: For how many names masks are drawn, at most.
    """
    settings = size.llama | {"model_type": "llama", "vocab_size": 3000, "max_position_embeddings": 8192}
    dtype = "bfloat16" if pixels.is_cuda else "float32"
    language_model = CausalLanguageModel(settings, "words", image_grid=size.grid, max_length=8192, dtype=dtype)
    assistant = Assistant(Sam3VisionEncoder(size.encoder, image_size=size.side), language_model, head, "tiny")
    assistant.configure_model()
    assistant.to(pixels.device).eval()
    words = [word for word in packaged_words() if word.isalpha() and len(word) > 2][: max(counts)]
    forwards: list[int] = []

    def ask(count: int) -> None:
        encoded = assistant.encode(pixels)
        query = Query(0, "categories", tuple(words[:count]))
        forwards.append(assistant.decoder.decode(encoded.image_vectors, [query])[0].forwards)
        states = torch.randn(min(count, present), language_model.hidden_size, device=pixels.device)
        index = torch.zeros(len(states), dtype=torch.long, device=pixels.device)
        assistant.mask_head(encoded.features, assistant.prompt_projection(states), index)

    ask(1)
    return [(_seconds(pixels, lambda count=count: ask(count)), forwards[-1]) for count in counts]


def _seconds(pixels: Tensor, call: Callable[[], object], warm: bool = False) -> float:
    if warm:
        call()
    wait, clock = (torch.cuda.synchronize, time.perf_counter) if pixels.is_cuda else (bool, time.process_time)
    wait()
    began = clock()
    call()
    wait()
    return clock() - began


def _line(row: dict[str, Any]) -> str:
    parts = ", ".join(f"{way} {seconds:.2f} s" for way, seconds in row["seconds"].items())
    return f"{row['names']:>4} names: {parts}; the answer in {row['forwards']} forwards"


def _file(options: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    path = DOCS / "results" / "list_length.json"
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    facts = {"device": options.device, "cores": os.cpu_count(), "present": options.present}
    content[options.size] = facts | {"versions": versions(), "rows": rows}
    write_json(path, content)
    figure = new_figure(5.2 * len(content), 3.6)
    for rank, (size, part) in enumerate(content.items()):
        axes = style_axes(figure.add_subplot(1, len(content), rank + 1), f"{size} sizes, {part['device']}")
        names = [row["names"] for row in part["rows"]]
        for way in (SAM3, DOT, DETECTOR):
            axes.plot(names, [row["seconds"][way] for row in part["rows"]], "o-", label=way)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("names that are asked", fontsize=8)
        axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylabel("seconds of one core" if part["device"] == "cpu" else "seconds", fontsize=8)
        axes.legend(frameon=False, fontsize=8)
    save(figure, DOCS / "images" / "list_length.png")


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="small")
    parser.add_argument("--names", type=int, nargs="+", default=[1, 2, 5, 10, 20, 50, 100, 200])
    parser.add_argument("--present", type=int, default=10, help="most names that SAM 3's detector draws masks for")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", action="store_true")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
