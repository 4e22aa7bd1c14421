"""The files of ``lasagna predict``: a drawing of each answer, and JSON and GeoJSON of all."""

# without `from __future__ import annotations`, as `predict` has it
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lasagna.core.storage import whole_file, write_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lasagna.core.answer import Answer, AnsweredEntry
    from lasagna.core.batch import Query
    from lasagna.core.tiff import Georeference

DRAWN = 2048
"""Longest side of the drawing of an answer in tiles, in pixels of the picture."""


_PNG: dict[str, int] = {"compress_level": 1, "compress_type": zlib.Z_RLE}
"""How drawings are compressed: a quarter of the usual time, for files that are a fifteenth larger with photographs."""


def write_answers(
    out: Path,
    name: str,
    paths: Sequence[Path],
    pixels: "NDArray[np.uint8]",
    queries: "Sequence[Query]",
    answers: "Sequence[Answer]",
    place: "Georeference | None" = None,
    geojson: bool = False,
) -> Path:
    """Write the answers about an image; return the JSON file.

    Args:
        out: The folder.
        name: Name of the files without extension.
        paths: The image that masks belong to, followed by all that are shown.
        pixels: Its pixels.
        queries: The queries.
        answers: The answer to each.
        place: Where on a map the image lies, or None.
        geojson: Whether to write the masks as GeoJSON too, if the image lies on a map.
    """
    from lasagna.core.answer_json import answer_json
    from lasagna.core.geojson import answers_geojson
    from lasagna.core.tiled_answers import TiledAnswer
    from lasagna.tasks.visualization.answer import draw_answer, shown_words

    step = 1
    if any(isinstance(answer, TiledAnswer) for answer in answers):
        step = -(-max(pixels.shape) // DRAWN)
    for query, answer in zip(queries, answers, strict=True):
        text = shown_words(query.kind, answer)
        entries = answer.entries if step == 1 else [_shrunk(entry, step) for entry in answer.entries]
        with whole_file(out / f"{name}-{query.kind}.png") as draft:
            draw_answer(pixels[::step, ::step], ", ".join(query.names), entries, text=text).save(draft, "PNG", **_PNG)
    parts = [answer_json(query, answer) for query, answer in zip(queries, answers, strict=True)]
    path, *shown = paths
    together = {"images": [each.name for each in shown]} if len(shown) > 1 else {}
    lies = {} if place is None else {"georeference": place.to_json()}
    content = {"image": path.name, **together, "size": list(pixels.shape[:2]), **lies, "answers": parts}
    write_json(out / f"{name}.json", content, indent=2)
    if geojson and place is not None:
        write_json(out / f"{name}.geojson", answers_geojson(queries, answers, place))
    return out / f"{name}.json"


def _shrunk(entry: "AnsweredEntry", step: int) -> "AnsweredEntry":
    """Return an entry for a small drawing; masks stay packed until they are small."""
    from lasagna.core.answer import AnsweredEntry
    from lasagna.core.mask_lines import MaskLines
    from lasagna.core.tiled_answers import packed_mask, packed_masks

    packed = packed_mask(entry)
    if packed is None:
        return entry
    size = (-(-packed.height // step), -(-packed.width // step))
    mask, *masks = (MaskLines.of(each).shrunk(step).mask(size).decode() for each in (packed, *packed_masks(entry)))
    return AnsweredEntry(
        entry.name, True, entry.score, mask, entry.confidence, masks=tuple(masks), scores=tuple(entry.scores)
    )
