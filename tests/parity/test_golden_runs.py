"""What the original's code wrote, and how it trained: compared where these numbers are there.

Of both only the README of the numbers is known here, which names what a file holds and not under which keys. So things
are looked for by what they are: lists of ids by the image's place in them, numbers by the names that other reports use.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lasagna
from lasagna.modules.checkpoints.released.adapters import to_released
from lasagna.modules.checkpoints.released.importing import import_assistant
from lasagna.modules.decoding.cache import CachedPrompts
from lasagna.modules.losses import SegmentationLoss
from tests.helpers.golden_batch import batch_of

pytestmark = pytest.mark.shared
IMAGE = -200
MOST = 32
WEIGHTS = {"random": "release", "fit": "release_fit"}
LOSSES = {"loss": ("loss", 1.0), "ce": ("ce_loss", 1.0), "bce": ("mask_bce_loss", 2.0), "dice": ("mask_dice_loss", 0.5)}
"""Our name of a loss to the original's, and the weight that is in it there."""

TRAINED = ("lora_", "embed_tokens", "lm_head", "mask_decoder", "text_hidden_fcs")


def within(content: Any) -> Iterator[Any]:
    """All that is inside of JSON, from the outside in."""
    yield content
    parts = content.values() if isinstance(content, dict) else content if isinstance(content, list) else ()
    for part in parts:
        yield from within(part)


def id_lists(content: Any) -> list[list[int]]:
    lists = [part for part in within(content) if isinstance(part, list) and part]
    return [part for part in lists if all(type(value) is int for value in part)]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_greedy_ids(weights, golden, checkpoints, facts):
    report = facts.outputs.get(weights, {}).get("evaluate")
    if not isinstance(report, dict) or not (checkpoints / WEIGHTS[weights]).is_dir():
        pytest.skip(f"what the original wrote with `{weights}` is not in shared/golden")
    assistant, compared = lasagna.load(checkpoints / WEIGHTS[weights]), 0
    for case in facts.inputs.keys() & report.keys():
        lists = id_lists(report[case])
        prompts, written = ([ids for ids in lists if (IMAGE in ids) is there] for there in (True, False))
        if len(prompts) == 1 and len(written) == 1:
            [name, *_] = facts.inputs[case]["images"]
            image = np.asarray(Image.open(golden / "inputs" / f"image_{name.lower()}"))
            assert greedy(assistant, prompts[0], image) == written[0]
            compared += 1
    if not compared:
        pytest.skip(f"what the original wrote with `{weights}` is there in a form that is not known here")


def greedy(assistant, prompt, image):
    """The ids that are written behind a prompt's, one at a time out of the cache."""
    text, place = assistant.processors.text, prompt.index(IMAGE)
    ids = [*prompt[:place], *[text.image_token_id] * text.image_tokens, *prompt[place + 1 :]]
    written, model = [ids[-1]], assistant.language_model
    with torch.no_grad():
        cached = CachedPrompts(model, [ids[:-1]], assistant.encode_image(image)[0].image_vectors)
        while len(written) <= MOST and written[-1] != text.end_token_id:
            written.append(int(model.logits(cached.extend([written[-1:]], keep=True)[0, 0]).argmax()))
    return written[1:]


def numbers(content: Any, name: str) -> list[float]:
    return [part[name] for part in within(content) if isinstance(part, dict) and isinstance(part.get(name), float)]


def test_five_steps(golden, checkpoints, facts, tmp_path):
    file = golden / "outputs" / "train_trace.json"
    if not file.is_file():
        pytest.skip("the original's trace of a training is not in shared/golden")
    told = json.loads(file.read_text(encoding="utf-8"))
    rates = {*numbers(told, "lr"), *numbers(told, "learning_rate")}
    wanted = {name: numbers(told, theirs) for name, (theirs, _) in LOSSES.items()}
    if any(len(values) != 5 for values in wanted.values()):
        pytest.skip("the original's trace of a training is there in a form that is not known here")
    state = str(checkpoints / "train_state.safetensors")
    import_assistant(state, str(tmp_path / "in"), base=str(checkpoints / "tiny-llava"), adapters="kept")
    assistant = lasagna.load(tmp_path / "in")
    named = to_released(dict(assistant.named_parameters()))
    trained = [value for name, value in named.items() if any(part in name for part in TRAINED)]
    optimiser = torch.optim.AdamW(trained, lr=max(rates, default=0.0), betas=(0.9, 0.95), weight_decay=0.0)
    places = facts.outputs["random"]["two_image"]["seg_positions_spliced"]
    # how large one size of all steps was has to be told; the first losses come before any step
    for step in range(5 if len(rates) == 1 else 1):
        batch = batch_of("two_image", golden, assistant, facts, places)
        losses = SegmentationLoss(resolution="image", ignored="background")(assistant(batch), batch)
        for name, (_, weight) in LOSSES.items():
            assert weight * losses[name].item() == pytest.approx(wanted[name][step], abs=1e-5), (step, name)
        optimiser.zero_grad()
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
