"""What the original's code wrote, and how it trained: compared where these numbers are there, and with made ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

import lasagna
from lasagna.modules.checkpoints.released.adapters import to_released
from lasagna.modules.checkpoints.released.importing import import_assistant
from lasagna.modules.decoding.cache import CachedPrompts
from lasagna.modules.losses import SegmentationLoss
from tests.helpers.golden_batch import batch_of, read_facts

pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
from tests.helpers.golden_files import (
    LOSSES,
    MOST,
    STEPS,
    TRAINED,
    group_norms,
    training_trace,
    write_golden,
    written_answers,
)

pytestmark = pytest.mark.shared
WEIGHTS = {"random": "release", "fit": "release_fit"}


@pytest.fixture(scope="module", params=["stored", "made"])
def golden(request, tmp_path_factory):
    """The original's files, or files of their form that the plain computation has written."""
    if request.param == "stored":
        return request.getfixturevalue("shared") / "golden"
    folder = tmp_path_factory.mktemp("golden") / "golden"
    write_golden(folder)
    return folder


@pytest.mark.parametrize("weights", WEIGHTS)
def test_greedy_ids(weights, golden):
    report, folder = golden / "outputs" / f"{weights}.json", golden / "checkpoints" / WEIGHTS[weights]
    text = report.read_text(encoding="utf-8") if report.is_file() else ""
    if "evaluate" not in text or not folder.is_dir():
        pytest.skip(f"the case evaluate of `{weights}` is not in this copy of shared/golden")
    assistant, inputs = lasagna.load(folder), json.loads((golden / "inputs" / "inputs.json").read_text("utf-8"))
    answers = written_answers(json.loads(text), [case for case in inputs if "images" in inputs[case]])
    assert answers
    for case, (prompt, written) in answers.items():
        [name, *_] = inputs[case]["images"]
        image = np.asarray(Image.open(golden / "inputs" / f"image_{name.lower()}"))
        assert 0 < len(written) <= MOST, case
        assert greedy(assistant, prompt, image) == written, case


def greedy(assistant, prompt, image):
    """The ids that are written behind a prompt's, one at a time out of the cache."""
    text, place = assistant.processors.text, prompt.index(-200)
    ids = [*prompt[:place], *[text.image_token_id] * text.image_tokens, *prompt[place + 1 :]]
    written, model = [ids[-1]], assistant.language_model
    with torch.no_grad():
        cached = CachedPrompts(model, [ids[:-1]], assistant.encode_image(image)[0].image_vectors)
        while len(written) <= MOST and written[-1] != text.end_token_id:
            written.append(int(model.logits(cached.extend([written[-1:]], keep=True)[0, 0]).argmax()))
    return written[1:]


def test_five_steps(golden, tmp_path):
    file = golden / "outputs" / "train_trace.json"
    if not file.is_file():
        pytest.skip("the case train_trace is not in this copy of shared/golden")
    told = training_trace(json.loads(file.read_text(encoding="utf-8")))
    assert [len(part) for part in (told.losses, told.norms, told.rates)] == [STEPS] * 3
    checkpoints, facts = golden / "checkpoints", read_facts(golden)
    state = str(checkpoints / "train_state.safetensors")
    import_assistant(state, str(tmp_path / "in"), base=str(checkpoints / "tiny-llava"), adapters="kept")
    assistant = lasagna.load(tmp_path / "in")
    named = to_released(dict(assistant.named_parameters()))
    trained = {name: value for name, value in named.items() if any(part in name for part in TRAINED)}
    optimiser = torch.optim.AdamW(trained.values(), betas=(0.9, 0.95), weight_decay=0.0)
    places = facts.outputs["random"]["two_image"]["seg_positions_spliced"]
    for step in range(STEPS):
        batch = batch_of("two_image", golden, assistant, facts, places)
        losses = SegmentationLoss(resolution="image", ignored="background")(assistant(batch), batch)
        for name, (theirs, weight) in LOSSES.items():
            assert weight * losses[name].item() == pytest.approx(told.losses[step][theirs], abs=2e-5), (step, name)
        optimiser.zero_grad()
        losses["loss"].backward()
        found = group_norms(trained, [group for group in told.norms[step] if group != "llm_other"])
        assert found == pytest.approx(told.norms[step], rel=1e-4), step
        torch.nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimiser.param_groups[0]["lr"] = told.rates[step]
        optimiser.step()
    assert told.after
    for name, norm in told.after.items():
        # the gradient of this one is but noise, and so is the direction of its steps
        close = STEPS * max(told.rates) * trained[name].numel() ** 0.5 if name.endswith("k_proj.bias") else 1e-5
        assert trained[name].norm().item() == pytest.approx(norm, rel=1e-4, abs=close), name
