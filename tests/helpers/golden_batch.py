"""Batches as the original's collate function made them, in our form."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image

from lasagna.core.batch import Batch, Sample
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask

REPORTS = ("random", "fit")
"""Names of the original's reports."""


def read_facts(golden):
    """Return the original's inputs, and those of its reports that are there."""
    return SimpleNamespace(
        inputs=json.loads((golden / "inputs" / "inputs.json").read_text(encoding="utf-8")),
        tokens=np.load(golden / "inputs" / "inputs_tokens.npz"),
        masks=np.load(golden / "inputs" / "inputs_masks.npz"),
        outputs={
            weights: json.loads(file.read_text(encoding="utf-8"))
            for weights in REPORTS
            if (file := golden / "outputs" / f"{weights}.json").is_file()
        },
    )


def batch_of(case, golden, assistant, facts, positions):
    """The batch that the original's collate function made, in our form; positions are those before present tokens."""
    processors = assistant.processors
    names = [Path(file).stem.lower() for file in facts.inputs[case]["images"]]
    offset = facts.tokens[f"{case}.offset"]
    owners = [image for image, count in enumerate(np.diff(offset)) for _ in range(count)]
    pictures = [np.asarray(Image.open(golden / "inputs" / f"image_{name}.png")) for name in names]
    ids, labels, lengths = spliced(case, processors.text, facts.tokens)
    places = torch.tensor(positions, dtype=torch.long).reshape(-1, 2)
    dialogues = [Dialogue("categories", ("x",)) for _ in owners]
    masks = {name: unpacked(facts, name) for name in names}
    for row, image in enumerate(owners):
        rank = sum(int(place[0]) == row for place in places)
        own = masks[names[image]]
        entries = tuple(Entry("x", True, RLEMask.from_array(own.pop(0))) for _ in range(rank))
        dialogues[row] = Dialogue("categories", ("x",), entries)
    return Batch(
        pixels=torch.stack([processors.image.pixels(picture) for picture in pictures]),
        geometries=[processors.image.geometry(picture.shape[:2]) for picture in pictures],
        input_ids=ids,
        labels=labels,
        lengths=lengths,
        image_index=torch.tensor(owners),
        mask_targets=torch.zeros(len(places), 1024, 1024, dtype=torch.uint8),
        mask_rows=places[:, 0],
        mask_positions=places[:, 1] + 1,
        samples=[Sample("x", "x", image, dialogues[row]) for row, image in enumerate(owners)],
        images=[],
        tower_pixels=torch.stack([processors.tower.pixels(picture) for picture in pictures]),
    )


def unpacked(facts, name):
    height, width = facts.inputs[f"image_{name}"]["original_hw"]
    masks = np.unpackbits(facts.masks[f"mask_{name}"], axis=-1)[..., :width]
    assert masks.shape[1:] == (height, width)
    return list(masks)


def spliced(case, text, tokens):
    """Put as many image ids where the original has one -200; the image is not supervised."""
    ids, labels, masks = (tokens[f"{case}.{part}"] for part in ("input_ids", "labels", "attention_masks"))
    count = text.image_tokens
    image = [text.image_token_id] * count
    rows = [[part for token in row for part in (image if token == -200 else [token])] for row in ids]
    places = [row.tolist().index(-200) for row in ids]
    wanted = [
        [*row[:place], *[-100] * count, *row[place + 1 :]] for row, place in zip(labels.tolist(), places, strict=True)
    ]
    return torch.tensor(rows), torch.tensor(wanted), torch.from_numpy(masks.sum(1)) + count - 1
