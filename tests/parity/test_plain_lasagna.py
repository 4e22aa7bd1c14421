"""The plain computation that made-up cases are compared with gives the original's own numbers where there are any."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import lasagna
from lasagna.modules.llava.text_processor import LlavaTextProcessor
from tests.helpers.golden_batch import unpacked

pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
from lasagna.core.batch import Query
from tests.helpers.plain_lasagna import PlainLasagna

pytestmark = pytest.mark.shared
IMAGES = {"complex": "a", "refer": "bb", "two_image": "abb", "with_vqa": "ab", "vqa_only": "b"}
"""Image of each talk of a case."""
SIZES = {
    "vision_config": {
        "hidden_size": 32,
        "output_channels": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 1024,
        "patch_size": 16,
        "mlp_dim": 128,
        "window_size": 14,
        "global_attn_indexes": [1],
        "num_pos_feats": 32,
    },
    "prompt_encoder_config": {"hidden_size": 64, "image_size": 1024, "patch_size": 16, "mask_input_channels": 16},
    "mask_decoder_config": {"hidden_size": 64, "mlp_dim": 128, "iou_head_hidden_dim": 64, "layer_norm_eps": 1e-5},
}
"""SAM's in the golden checkpoints."""


@pytest.fixture(scope="module")
def plain(checkpoints):
    return PlainLasagna(checkpoints / "release", checkpoints / "tiny-clip", SIZES)


def picture(golden, name):
    return np.asarray(Image.open(golden / "inputs" / f"image_{name}.png"))


@pytest.mark.parametrize("case", IMAGES)
def test_losses(case, golden, facts, plain):
    if case not in facts.outputs["random"]:
        pytest.skip(f"the case {case} is not in this copy of shared/golden")
    rows, masks = [], {name: unpacked(facts, name) for name in set(IMAGES[case])}
    for conversation, name in zip(facts.inputs[case]["conversations"], IMAGES[case], strict=True):
        spoken = conversation.replace("<im_start><image><im_end>", "<image>").split("</s>")[:-1]
        rounds = [(f"{asked} ASSISTANT:", told) for asked, told in (said.split(" ASSISTANT: ") for said in spoken)]
        rows.append(
            plain.row(picture(golden, name), rounds, [masks[name].pop(0) for _ in range(conversation.count("<ins>"))])
        )
    with torch.no_grad():
        found = plain.losses(rows)
    wanted = facts.outputs["random"][case]["loss"]
    assert found["loss"].item() == pytest.approx(wanted["loss"], abs=1e-5)
    assert found["ce"].item() == pytest.approx(wanted["ce_loss"], abs=1e-5)
    assert 2 * found["bce"].item() == pytest.approx(wanted["mask_bce_loss"], abs=1e-5)
    assert 0.5 * found["dice"].item() == pytest.approx(wanted["mask_dice_loss"], abs=1e-5)


def test_greedy_ids_at_these_sizes(golden, checkpoints, plain, monkeypatch):
    assistant, read, written = lasagna.load(checkpoints / "release"), LlavaTextProcessor.text, []
    monkeypatch.setattr(LlavaTextProcessor, "text", lambda text, ids: (written.append(list(ids)), read(text, ids))[1])
    image = picture(golden, "b")
    encoded, _ = assistant.encode_image(image)
    queries = [Query(0, "categories", ("wall", "sky", "traffic light")), Query(0, "question", ("What is there?",))]
    assistant.decoder.free(encoded.image_vectors, queries, max_new_tokens=12)
    for query in queries:
        prompt = plain.prompt_ids(assistant.format.prompt(query.kind, query.names))
        told = plain.write(prompt, image, most=12)
        assert told
        assert told in written
