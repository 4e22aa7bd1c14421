"""Answers about images that lie on a map, as GeoJSON in the map's coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lasagna.core.answer import Answer
from lasagna.core.mask_lines import cut_mask
from lasagna.core.masks import RLEMask
from lasagna.core.outlines import rings_of
from lasagna.core.tiff import Georeference
from lasagna.core.tiled_answers import packed_mask, packed_masks
from lasagna.core.tiles import Tile

if TYPE_CHECKING:
    from lasagna.core.batch import Query

Ring = list[list[float]]


def answers_geojson(queries: Sequence[Query], answers: Sequence[Answer], place: Georeference) -> dict[str, Any]:
    """Return the masks of answers as a collection of features, one for each name or, where they are told apart, object.

    Coordinates are those of the image's map, whose system the member "crs" names as in the GeoJSON of 2008, which GDAL
    and QGIS read; RFC 7946 knows longitude and latitude only.

    Args:
        queries: The queries.
        answers: The answer to each.
        place: Where the image lies.

    Returns:
        Features with the properties "query" (its kind), "name" and "score"; names with an empty mask have none.
    """
    found = [
        {
            "type": "Feature",
            "properties": {"query": str(query.kind), "name": entry.name, "score": round(score, 6)},
            "geometry": {"type": "MultiPolygon", "coordinates": list(_polygons(mask, place))},
        }
        for query, answer in zip(queries, answers, strict=True)
        for entry in answer.entries
        if (whole := packed_mask(entry)) is not None
        for mask, score in (
            zip(packed_masks(entry), entry.scores, strict=True) if entry.apart else [(whole, entry.score)]
        )
        if mask.any()
    ]
    code = (place.crs or "").rpartition(":")[2]
    named = {"type": "name", "properties": {"name": f"urn:ogc:def:crs:EPSG::{code}"}}
    return {"type": "FeatureCollection", **({"crs": named} if code else {}), "features": found}


def _polygons(mask: RLEMask, place: Georeference) -> Iterator[list[Ring]]:
    """Yield the connected parts of a mask, each as its outer ring and those of its holes."""
    left, top, width, height = map(int, mask.box())
    # only the box is unpacked: an object is small in a large picture
    pixels = cut_mask(mask, Tile(top, left, height, width)).decode()
    for rings in rings_of(pixels):
        placed = [place.place(ring + np.array([left, top])) for ring in rings]
        yield [_turned(ring, rank == 0).tolist() for rank, ring in enumerate(placed)]


def _turned(ring: NDArray[np.float64], outer: bool) -> NDArray[np.float64]:
    """Return a closed ring with outer ones against the clock and holes with it."""
    (x, y), (following_x, following_y) = ring[:-1].T, ring[1:].T
    against = (x * following_y - following_x * y).sum() > 0
    return ring if against == outer else ring[::-1]
