"""The original's reports of free answers and of a training: read, and written again by the plain computation.

Only ``golden/README.md`` tells what these reports hold, and not under which names; parts are found by what they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.helpers.plain_lasagna import IMAGE, PlainLasagna
from tests.helpers.tiny_llava import SAM_SIZES, training_state, write_llava, write_release

STEPS = 5
RATE = 3e-4
"""Learning rate of the original, for a trace that names none."""
LOSSES = {"loss": ("loss", 1.0), "ce": ("ce_loss", 1.0), "bce": ("mask_bce_loss", 2.0), "dice": ("mask_dice_loss", 0.5)}
"""Our name of a loss to the original's, and the weight that is in it there."""
MOST = 32
"""New tokens of a free answer at most."""
TRAINED = ("lora_", "embed_tokens", "lm_head", "mask_decoder", "text_hidden_fcs")


def within(content: Any) -> Iterator[Any]:
    """All that is inside of JSON, from the outside in."""
    yield content
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for part in parts:
        yield from within(part)


def written_answers(content: Any, cases: Collection[str], case: str = "") -> dict[str, tuple[list[int], list[int]]]:
    """Return the ids of the prompt and those written behind it, for each case of a report, at any depth.

    The written ids may be stored alone or behind the prompt, as one row or as a batch of one. The case is the innermost
    key around them that is the name of one, with or without words around it.
    """
    found: dict[str, tuple[list[int], list[int]]] = {}
    for key, part in content.items() if isinstance(content, dict) else ():
        named = [name for name in cases if name in key]
        found |= written_answers(part, cases, max(named, key=len, default=case))
    rows = [_row(part) for key, part in content.items() if "ids" in key] if isinstance(content, dict) else []
    if len(rows) > 1:
        prompt, written = sorted(rows, key=lambda row: (IMAGE not in row, len(row)))
        found[case] = prompt, written[len(prompt) :] if written[: len(prompt)] == prompt else written
    return found


def _row(ids: list[Any]) -> list[int]:
    return _row(ids[0]) if isinstance(ids[0], list) and len(ids) == 1 else ids


@dataclass
class Trace:
    """Losses, norms of gradients before clipping and learning rate of each step, and norms of tensors afterwards."""

    losses: list[dict[str, float]]
    norms: list[dict[str, float]]
    rates: list[float]
    after: dict[str, float]


def training_trace(told: Any) -> Trace:
    """Read the report of a training of five steps."""
    parts = [part for part in within(told) if isinstance(part, dict)]
    losses = [part for part in parts if {theirs for theirs, _ in LOSSES.values()} <= part.keys()]
    norms = [part for part in parts if {"lm_head", "mask_decoder"} <= part.keys()]
    rates = [float(rate) for rate in re.findall(r"(?:\blr|learning_rate)\W+(\d[\d.e-]*)", json.dumps(told))]
    after = {
        name.removeprefix("base_model.model."): value
        for path, value in numbers(told)
        for name in path
        if name.endswith((".weight", ".bias")) and _is_norm([key for key in path if key != name])
    }
    rates = rates or [RATE]
    return Trace(losses, norms, rates * STEPS if len(set(rates)) == 1 else rates, after)


def _is_norm(keys: list[str]) -> bool:
    """Say whether the keys around a tensor's name, which may itself be that of a norm, mean the norm of its values."""
    return "norm" in " ".join(keys) and "grad" not in " ".join(keys)


def numbers(content: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """All numbers in nested dictionaries, with the keys that lead to each."""
    if isinstance(content, dict):
        for key, part in content.items():
            yield from numbers(part, (*path, key))
    elif isinstance(content, float):
        yield path, content


def group_norms(named: dict[str, torch.Tensor], groups: Any) -> dict[str, float]:
    """Return the norm of the gradients of each group; what has no group of its own is the language model's."""
    squares = dict.fromkeys(groups, 0.0)
    for name, value in named.items():
        if value.grad is not None:
            group = next((group for group in groups if group in name), "llm_other")
            squares[group] = squares.get(group, 0.0) + value.grad.double().square().sum().item()
    return {group: total**0.5 for group, total in squares.items()}


def write_golden(folder):
    """Write golden files of the documented form and of tiny size, computed plainly."""
    checkpoints, inputs, outputs = (folder / name for name in ("checkpoints", "inputs", "outputs"))
    for place in (checkpoints, inputs, outputs):
        place.mkdir(parents=True)
    write_llava(checkpoints)
    release = write_release(checkpoints)
    (checkpoints / "tiny-llava").symlink_to("llava")
    (checkpoints / "release_fit").symlink_to("release")
    state = training_state(release, rank=8)
    save_file({name: value.contiguous() for name, value in state.items()}, checkpoints / "train_state.safetensors")
    plain = PlainLasagna(release, checkpoints / "clip", SAM_SIZES)
    rows = write_inputs(inputs, plain)
    places = [[row, at] for row, one in enumerate(rows) for at in plain.mask_positions(one)]
    prompts = {"complex": rows[0], "refer": rows[1]}
    for weights, whole in (("random", False), ("fit", True)):
        report = {name: evaluated(plain, row, whole) for name, row in prompts.items()}
        told = {"two_image": {"seg_positions_spliced": places}}
        told |= {"evaluate": report} if whole else {f"evaluate_{name}": part for name, part in report.items()}
        (outputs / f"{weights}.json").write_text(json.dumps(told))
    trained = PlainLasagna(release, checkpoints / "clip", SAM_SIZES, state, (8, 16.0, ("q_proj", "v_proj")))
    (outputs / "train_trace.json").write_text(json.dumps(trace(trained, rows)))


def write_inputs(folder, plain):
    """Write two images, their masks, and a question about each; return the rows of both."""
    rng = np.random.default_rng(7)
    facts, arrays, masks, rows = {}, {}, {}, []
    talks = {"a": ("What is the sky", "It is<ins>and the wall<ins>."), "b": ("Which wall?", "Sure, it is<ins>.")}
    for name, (question, answer) in talks.items():
        size = (48, 64) if name == "a" else (50, 40)
        pixels = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"image_{name}.png")
        drawn = rng.random((answer.count("<ins>"), *size)) < 0.5
        masks[f"mask_{name}"] = np.packbits(drawn, axis=-1)
        facts[f"image_{name}"] = {"original_hw": size}
        rows.append(plain.row(pixels, [(f"USER: <image>\n{question} ASSISTANT:", answer)], list(drawn)))
    cases = {"complex": (rows[:1], ["A.png"]), "refer": (rows[1:], ["B.png"]), "two_image": (rows, ["A.png", "B.png"])}
    for case, (some, images) in cases.items():
        facts[case] = {"images": images}
        longest = max(len(row.ids) for row in some)
        padded = {"input_ids": [], "labels": [], "attention_masks": []}
        for row in some:
            rest = longest - len(row.ids)
            for part, values in (("input_ids", row.ids + rest * [0]), ("labels", row.labels + rest * [-100])):
                padded[part].append(values)
            padded["attention_masks"].append(len(row.ids) * [True] + rest * [False])
        arrays |= {f"{case}.{part}": np.array(values) for part, values in padded.items()}
        arrays[f"{case}.offset"] = np.arange(len(images) + 1)
    (folder / "inputs.json").write_text(json.dumps(facts))
    np.savez(folder / "inputs_tokens.npz", **arrays)
    np.savez(folder / "inputs_masks.npz", **masks)
    return rows


def evaluated(plain, row, whole):
    """What is written behind a row's prompt, alone or as a batch of one with the prompt."""
    prompt = row.ids[: next(place for place, label in enumerate(row.labels) if label != -100)]
    written = plain.write(prompt, row.image, most=MOST)
    ids = {"prompt_ids": [prompt], "output_ids": [[*prompt, *written]]} if whole else {"prompt_ids": prompt}
    ids = ids if whole else {**ids, "greedy_ids": written}
    return {**ids, "text": "", "n_masks": 2, "mask_sums": [1.0, 2.0], "positive_pixels": [3, 4]}


def trace(plain, rows):
    """Five steps of AdamW, told as the original tells a batch's losses and norms."""
    named = plain.named_trained()
    groups = ("embed_tokens", "lm_head", "mask_decoder", "text_hidden_fcs")
    optimiser = torch.optim.AdamW(named.values(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)
    steps = []
    for _ in range(STEPS):
        losses = plain.losses(rows)
        optimiser.zero_grad()
        losses["loss"].backward()
        told = {theirs: weight * losses[name].item() for name, (theirs, weight) in LOSSES.items()}
        steps.append({"loss": told, "grad_norm_groups": group_norms(named, groups)})
        torch.nn.utils.clip_grad_norm_(named.values(), 1.0)
        optimiser.step()
    after = {f"base_model.model.{name}": value.detach().double() for name, value in named.items()}
    sizes = {name: {"norm": value.norm().item(), "sum": value.sum().item()} for name, value in after.items()}
    return {"steps": steps, "trainable_after": sizes}
