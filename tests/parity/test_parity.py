"""The whole assistant gives the numbers of the original code, and its checkpoints go in and out unchanged."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import lasagna
from lasagna.cli.export import export
from lasagna.core.geometry import restore_logits
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.released.adapters import to_released
from lasagna.modules.checkpoints.released.importing import import_assistant
from lasagna.modules.losses import SegmentationLoss
from tests.helpers.golden_batch import batch_of, spliced

pytestmark = pytest.mark.shared
NAMES = ("complex", "refer", "two_image", "with_vqa", "vqa_only")
"""The original's cases with losses; what of them is stored is checked."""
WEIGHTS = {"random": "release", "fit": "release_fit"}
"""Report of the original to the checkpoint that it belongs to."""
FINE = {
    "random": {"mask": 1.5e-4, "gradient": 5e-5, "group": 5e-6},
    "fit": {"mask": 1.5e-3, "gradient": 5e-4, "group": 5e-4},
}
"""Ten times the distance between two versions of torch that ran the original code: masks' logits, relative norms."""
GROUPS = {
    "embed_tokens": "embed_tokens",
    "llm_other": "model.layers.",
    "mask_decoder": "mask_decoder",
    "text_hidden_fcs": "text_hidden_fcs",
    "lm_head": "lm_head",
}
"""Group of the original's report to a part of its parameters' names."""

GIVEN = [
    (0, "Can you detect and segment the {query} in this image?", "It is ", "the dog on the left"),
    (1, "Please visualize the {query}.", "Sure, the detection and segmentation result is ", "man with hat"),
]
"""Row of the original's batch, its question, what its answer begins with, and the phrase."""


@pytest.fixture(scope="module", params=WEIGHTS)
def weights(request, checkpoints, facts):
    if request.param not in facts.outputs or not (checkpoints / WEIGHTS[request.param]).is_dir():
        pytest.skip(f"numbers or weights of `{request.param}` are not in this copy of shared/golden")
    return request.param


@pytest.fixture(scope="module")
def assistant(checkpoints, weights):
    """The released model by the one line that users write."""
    return lasagna.load(checkpoints / WEIGHTS[weights])


@pytest.fixture(params=NAMES)
def case(request, weights, facts):
    if request.param not in facts.outputs[weights]:
        pytest.skip(f"the case {request.param} of `{weights}` is not in this copy of shared/golden")
    return request.param


def test_losses_and_gradients(case, weights, golden, assistant, facts):
    expected = facts.outputs[weights][case]
    assistant.zero_grad()
    batch = batch_of(case, golden, assistant, facts, expected["seg_positions_spliced"])
    losses = SegmentationLoss(resolution="image", ignored="background")(assistant(batch), batch)
    assert losses["loss"].item() == pytest.approx(expected["loss"]["loss"], abs=1e-5)
    assert losses["ce"].item() == pytest.approx(expected["loss"]["ce_loss"], abs=1e-5)
    # the original reports the parts with their weights
    assert 2 * losses["bce"].item() == pytest.approx(expected["loss"]["mask_bce_loss"], abs=1e-5)
    assert 0.5 * losses["dice"].item() == pytest.approx(expected["loss"]["mask_dice_loss"], abs=1e-5)
    losses["loss"].backward()
    gradients = {name: value.grad for name, value in assistant.named_parameters() if value.grad is not None}
    norms = {name: value.norm().item() for name, value in to_released(gradients).items()}
    for name, norm in expected["grad_norm_params"].items():
        assert norms.get(name, 0.0) == pytest.approx(norm, rel=FINE[weights]["gradient"], abs=2e-6), name
    for group, parts in GROUPS.items():
        squares = [norms[name] ** 2 for name in expected["grad_norm_params"] if name in norms and parts in name]
        assert sum(squares) ** 0.5 == pytest.approx(
            expected["grad_norm_groups"][group], rel=FINE[weights]["group"], abs=1e-9
        ), group


def test_final_masks(case, weights, golden, assistant, facts):
    facts_of_case = facts.outputs[weights][case]
    positions = facts_of_case["seg_positions_spliced"]
    expected = np.load(golden / "outputs" / f"{weights}_{case}.npz")
    close = {"atol": FINE[weights]["mask"], "rtol": 0}
    with torch.no_grad():
        prompts = assistant.prompt_projection(torch.from_numpy(expected["seg_last_hidden"]))
        torch.testing.assert_close(prompts, torch.from_numpy(expected["seg_embeddings"]), **close)
        batch = batch_of(case, golden, assistant, facts, positions)
        logits = assistant(batch).mask_logits
    if "low_res" in expected:
        torch.testing.assert_close(logits, torch.from_numpy(expected["low_res"]), **close)
    for image, full in enumerate(full_masks(logits, batch)):
        wanted = torch.from_numpy(expected[f"post_{image}_stride8"])
        torch.testing.assert_close(full[:, ::8, ::8], wanted, **close)
        assert (full > 0).flatten(1).sum(1).tolist() == facts_of_case["post_positive_pixels"][image]


def test_masks_of_given_answers(weights, golden, assistant, facts):
    outputs = facts.outputs[weights]
    if not {"refer", "refer_infer"} <= outputs.keys():
        pytest.skip(f"the case refer_infer of `{weights}` is not in this copy of shared/golden")
    batch = batch_of("refer_infer", golden, assistant, facts, outputs["refer"]["seg_positions_spliced"])
    with torch.no_grad():
        masks = torch.cat(full_masks(assistant(batch).mask_logits, batch))
    assert (masks > 0).flatten(1).sum(1).tolist() == np.ravel(outputs["refer_infer"]["positive_pixels"]).tolist()


def full_masks(logits, batch):
    """Logits at each image's own size."""
    images = batch.image_index[batch.mask_rows]
    return [restore_logits(logits[images == image], geometry) for image, geometry in enumerate(batch.geometries)]


@pytest.mark.parametrize(("row", "question", "lead", "phrase"), GIVEN)
def test_given_answers_are_drawn_as_the_original_draws_them(
    golden, assistant, weights, facts, monkeypatch, row, question, lead, phrase
):
    """The original's inference path: the answer is in the talk, and one forward is done."""
    if "refer_infer" not in facts.outputs[weights]:
        pytest.skip(f"the case refer_infer of `{weights}` is not in this copy of shared/golden")
    prompts = assistant.format.prompts | {
        "referring": assistant.format.prompts["question"].replace("{query}", question)
    }
    monkeypatch.setattr(assistant, "format", replace(assistant.format, prompts=prompts, given_lead_in=lead))
    picture = np.asarray(Image.open(golden / "inputs" / "image_b.png"))
    answer = assistant.answer(picture, [phrase], kind="referring", decoding="teacher_forced")
    conversation = facts.inputs["refer_infer"]["conversations"][row].replace("<im_start><image><im_end>", "<image>")
    assert conversation == f"{prompts['referring'].replace('{query}', phrase)} {answer.text}.</s>"
    assert answer.entries[0].mask.sum() == facts.outputs[weights]["refer_infer"]["positive_pixels"][row]


def test_a_conversation_of_two_turns_is_read_as_the_original_does(golden, assistant, facts):
    text, spelling, said = assistant.processors.text, assistant.format, facts.inputs["vqa_only"]["conversations"][0]
    asked = [
        piece.partition(" ASSISTANT:")[0] for piece in said.replace("<im_start><image><im_end>\n", "").split("USER: ")
    ]
    answered = [piece.partition("</s>")[0] for piece in said.split("ASSISTANT: ")[1:]]
    ids = text.prompt_ids(spelling.prompt("question", asked[1:2]))
    ids += [*text.answer_ids(answered[0]), text.end_token_id]
    ids += text.further_ids(spelling.further_prompt("question", asked[2:3]))
    ids += [*text.answer_ids(answered[1]), text.end_token_id]
    assert ids == spliced("vqa_only", text, facts.tokens)[0][0].tolist()


def same(one, other):
    first, second = (torch.load(folder / "pytorch_model.bin", weights_only=True) for folder in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(value, second[name]) and value.dtype == second[name].dtype for name, value in first.items())


def test_a_release_goes_in_and_out_unchanged(checkpoints, tmp_path, capsys):
    import_assistant(str(checkpoints / "release"), str(tmp_path / "in"))
    assert "used       201 tensors" in capsys.readouterr().out
    # where the tower that the config names is found, the config stays as well
    (tmp_path / "tiny-clip").symlink_to(checkpoints / "tiny-clip")
    export(str(tmp_path / "in"), str(tmp_path / "out"), layout="released")
    same(checkpoints / "release", tmp_path / "out")
    for name in ("added_tokens.json", "config.json"):
        one, other = (json.loads((folder / name).read_text()) for folder in (checkpoints / "release", tmp_path / "out"))
        assert one == other


def test_a_training_state_is_merged_as_the_original_does(checkpoints, tmp_path):
    state = checkpoints / "train_state.safetensors"
    import_assistant(str(state), str(tmp_path / "in"), base=str(checkpoints / "tiny-llava"))
    same(checkpoints / "release", tmp_path / "in" / "merged")
    report = json.loads((tmp_path / "in" / "report.json").read_text(encoding="utf-8"))
    assert len(report["used"]) == 201
    assert len(report["adapters"]) == 8
    assert len(report["ignored"]) == 57
    assert report["unknown"] == report["missing"] == []
    given, wanted = lasagna.load(tmp_path / "in").state_dict(), lasagna.load(checkpoints / "release").state_dict()
    assert all(torch.equal(given[name], value) for name, value in wanted.items())


def test_kept_adapters_get_the_gradients_of_the_original(golden, checkpoints, facts, tmp_path):
    assistant, expected = lasagna.load(checkpoints / "release"), facts.outputs["random"]["two_image"]
    state = str(checkpoints / "train_state.safetensors")
    import_assistant(state, str(tmp_path / "in"), base=str(checkpoints / "tiny-llava"), adapters="kept")
    kept = lasagna.load(tmp_path / "in")
    loss = SegmentationLoss(resolution="image", ignored="background")
    for each in (assistant, kept):
        each.zero_grad()
        batch = batch_of("two_image", golden, each, facts, expected["seg_positions_spliced"])
        losses = loss(each(batch), batch)
        assert losses["loss"].item() == pytest.approx(expected["loss"]["loss"], abs=1e-5)
        losses["loss"].backward()
    layers = (each.language_model.llama.model.layers for each in (assistant, kept))
    for given, layer in zip(*layers, strict=True):
        for name in ("q_proj", "v_proj"):
            # by the chain rule, from the gradient of the merged weight, which the original's norms were compared with
            whole, adapted = getattr(given.self_attn, name).weight.grad, getattr(layer.self_attn, name)
            low, high = adapted.lora_A["default"].weight, adapted.lora_B["default"].weight
            close = {"rtol": 1e-3, "atol": 1e-8}
            torch.testing.assert_close(low.grad, 2 * high.detach().T @ whole, **close)
            torch.testing.assert_close(high.grad, 2 * whole @ low.detach().T, **close)


def test_llava_and_sam_make_an_assistant_with_a_fresh_projection(checkpoints, tmp_path, capsys):
    import_assistant(str(checkpoints / "tiny-llava"), str(tmp_path / "in"), sam=str(checkpoints / "tiny_sam.pth"))
    assert "fresh        4 tensors" in capsys.readouterr().out
    answer = lasagna.load(tmp_path / "in").answer(np.zeros((40, 50, 3), np.uint8), ["sky"])
    assert answer.text in ("sky<ins>", "sky<no_ins>")


def test_a_missing_tensor_and_a_surplus_one(checkpoints, tmp_path, capsys):
    state = torch.load(checkpoints / "release" / "pytorch_model.bin", weights_only=True)
    folder = tmp_path / "release"
    folder.mkdir()
    for file in (checkpoints / "release").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tower = str(checkpoints / "tiny-clip")
    torch.save({**state, "model.surplus": torch.zeros(1)}, folder / "pytorch_model.bin")
    import_assistant(str(folder), str(tmp_path / "surplus"), vision_tower=tower)
    assert "unknown      1 tensors: model.surplus" in capsys.readouterr().out
    for missing in (
        "model.layers.1.mlp.up_proj.weight",
        "model.text_hidden_fcs.0.2.bias",
        "model.visual_model.image_encoder.neck.0.weight",
    ):
        torch.save({name: value for name, value in state.items() if name != missing}, folder / "pytorch_model.bin")
        with pytest.raises(CheckpointError, match=missing.removeprefix("model.visual_model.").replace(".", r"\.")):
            import_assistant(str(folder), str(tmp_path / "missing"), vision_tower=tower)
        assert not (tmp_path / "missing").exists()
