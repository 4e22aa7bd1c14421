"""Write pictures and questions for the task ``saco_gold_pictures`` from a folder of shards.

``python examples/lmms_eval_task/write_pictures.py data/scenes/test pictures 5`` takes the first five records. Each
present category is asked for, and as many absent ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import lasagna
from lasagna.core.masks import RLEMask


def questions(shards: str, folder: Path, count: int) -> Iterator[dict[str, Any]]:
    """Write the pictures of some records; yield what is asked about them."""
    for record in islice(lasagna.records(shards), count):
        path = folder / f"{record.key}.png"
        path.write_bytes(record.image_bytes)
        masks, objects = record.category_masks(), record.objects()
        absent = [name for name in record.manifest.categories if name not in masks][: len(masks)]
        for name in (*masks, *absent):
            true = objects[name].masks if name in objects else [masks[name]] if name in masks else ()
            codes = [RLEMask.from_array(mask.decode()).to_json() for mask in true or ()]
            yield {"image": str(path), "expression": name, "masks": codes}


if __name__ == "__main__":
    target = Path(sys.argv[2]).resolve()
    target.mkdir(parents=True, exist_ok=True)
    with (target / "pictures.jsonl").open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(one) + "\n" for one in questions(sys.argv[1], target, int(sys.argv[3])))
