"""LLaVA v1 gives the numbers of the original code (see ../shared/golden/README.md)."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from lasagna.core.batch import Query
from lasagna.core.prompt_formats import RELEASED
from lasagna.modules import Assistant, FeatureSpec
from lasagna.modules.decoding.cache import right_pad, row_positions
from lasagna.modules.llava.language_model import LlavaV1
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

pytest.importorskip("sentencepiece")
pytestmark = pytest.mark.shared
CLOSE = {"atol": 1.5e-4, "rtol": 0.0}
"""Ten times the distance between two versions of torch that ran the original code."""
FEATURES = FeatureSpec((1,), (1,), (1, 1))
IMAGES = {"complex": "a", "refer": "bb", "two_image": "abb", "with_vqa": "ab", "vqa_only": "b"}
"""The image of each row."""


@pytest.fixture(scope="module")
def golden(shared):
    if not (shared / "golden" / "checkpoints" / "release").is_dir():
        pytest.skip("there are no golden numbers of the original code in shared/golden")
    return shared / "golden"


@pytest.fixture(scope="module")
def model(golden):
    model = LlavaV1(str(golden / "checkpoints" / "release"))
    model.build(FEATURES, RELEASED.special_tokens)
    return model.eval()


@pytest.fixture(scope="module")
def tokenizer_cases(golden):
    cases = json.loads((golden / "data" / "tokenizer_cases.json").read_text(encoding="utf-8"))
    assert all(cases.values())
    return cases


@pytest.fixture(scope="module", params=IMAGES)
def case(request, golden, model):
    """The hidden states of a case's conversations, and what is expected of them."""
    name = request.param
    if not (golden / "outputs" / f"random_{name}.npz").is_file():
        pytest.skip(f"the case {name} is not in this copy of shared/golden")
    inputs = json.loads((golden / "inputs" / "inputs.json").read_text(encoding="utf-8"))
    rows = [model.text_processor.prompt_ids(text) for text in inputs[name]["conversations"]]
    pixels = torch.stack([model.tower_processor.pixels(picture(golden, image)) for image in IMAGES[name]])
    ids, mask = right_pad(rows, model.text_processor.padding_token_id, "cpu")
    with torch.no_grad():
        patches = model.vision_tower(pixels)
        vectors = model.embed_image([pixels])
        hidden = model(model.embed(ids, vectors), mask, row_positions(mask))
    facts = json.loads((golden / "outputs" / "random.json").read_text(encoding="utf-8"))[name]
    return patches, vectors, hidden, np.load(golden / "outputs" / f"random_{name}.npz"), facts


def picture(golden, name):
    return np.asarray(Image.open(golden / "inputs" / f"image_{name}.png"))


def with_image(model, ids):
    """Put image tokens in the original's place of the image, -200."""
    text = model.text_processor
    return [token for place in ids for token in ([text.image_token_id] * 256 if place == -200 else [place])]


def test_token_ids_of_texts(model, tokenizer_cases):
    for case in tokenizer_cases["plain"]:
        assert model.text_processor.answer_ids(case["text"]) == case["ids_no_special"], case["text"]
        assert model.text_processor.prompt_ids(case["text"]) == case["ids"], case["text"]


def test_texts_of_token_ids(model, tokenizer_cases):
    for case in tokenizer_cases["decode"]:
        assert model.text_processor.tokenizer.text(case["ids"], core=True) == case["text"]
        assert model.text_processor.text(case["ids"]) == case["text_skip_special"]


def test_token_ids_of_prompts(model, tokenizer_cases):
    for case in tokenizer_cases["prompts_with_image_token_minus_200"]:
        ids = with_image(model, case["ids"])
        assert model.text_processor.prompt_ids(case["prompt"]) == ids
        plain = case["prompt"].replace("<im_start><image><im_end>", "<image>")
        assert model.text_processor.prompt_ids(plain) == ids


def test_ids_of_special_tokens(model, tokenizer_cases):
    for token, token_id in tokenizer_cases["special_ids"].items():
        assert model.text_processor.answer_ids(token) == [token_id]


def test_new_tokens_get_the_ids_of_the_release_on_its_base(golden):
    base, release = (golden / "checkpoints" / name for name in ("tiny-llava", "release"))
    model = LlavaV1(str(base))
    model.build(FEATURES, RELEASED.special_tokens)
    added = json.loads((release / "added_tokens.json").read_text(encoding="utf-8"))
    assert model.text_processor.tokenizer.added == {**added, "<image>": 1008}
    rows = model.llama.get_input_embeddings().weight
    old = torch.load(base / "pytorch_model.bin", weights_only=True)["model.embed_tokens.weight"]
    assert torch.equal(rows[:1003], old)
    assert 0.015 < rows[1003:].std() < 0.025


@pytest.mark.parametrize("name", ["complex", "refer", "two_image", "with_vqa", "vqa_only", "refer_infer"])
def test_token_ids_of_conversations(golden, model, name):
    texts = json.loads((golden / "inputs" / "inputs.json").read_text(encoding="utf-8"))[name]["conversations"]
    stored = np.load(golden / "inputs" / "inputs_tokens.npz")
    for text, ids, mask in zip(texts, stored[f"{name}.input_ids"], stored[f"{name}.attention_masks"], strict=True):
        assert model.text_processor.prompt_ids(text) == with_image(model, ids[mask.astype(bool)].tolist())
        assert set(ids[~mask.astype(bool)].tolist()) <= {model.text_processor.padding_token_id}


@pytest.mark.parametrize("name", ["a", "b"])
def test_pixels_of_the_tower_are_identical(golden, model, name):
    expected = np.load(golden / "inputs" / "inputs_images.npz")[f"clip_{name}"]
    assert np.array_equal(model.tower_processor.pixels(picture(golden, name)).numpy(), expected)


def test_the_image(case):
    patches, vectors, _, expected, _ = case
    if "clip_features" not in expected:
        pytest.skip("the features of this case are not stored")
    torch.testing.assert_close(patches, torch.from_numpy(expected["clip_features"]), **CLOSE)
    torch.testing.assert_close(vectors[0], torch.from_numpy(expected["projected_row0"]), **CLOSE)


def test_hidden_states(case):
    _, _, hidden, expected, facts = case
    assert hidden.shape[1] == facts["spliced_length"]
    places = torch.tensor(facts["seg_positions_spliced"], dtype=torch.long).view(-1, 2)
    torch.testing.assert_close(
        hidden[places[:, 0], places[:, 1]], torch.from_numpy(expected["seg_last_hidden"]), **CLOSE
    )
    if "last_hidden_row0" in expected:
        torch.testing.assert_close(hidden[0], torch.from_numpy(expected["last_hidden_row0"]), **CLOSE)


def test_logits_of_answers(case, model):
    _, _, hidden, expected, facts = case
    places = torch.tensor(facts["answer_positions_spliced"])
    with torch.no_grad():
        logits = model.logits(hidden[places[:, 0], places[:, 1]])
    torch.testing.assert_close(logits, torch.from_numpy(expected["answer_logits"]), **CLOSE)


def greedy(assistant, query, image):
    """The text that is written, each token from the whole row before it."""
    model = assistant.language_model
    ids = model.text_processor.prompt_ids(assistant.format.prompt(query.kind, query.names))
    vectors, start = assistant.encode_image(image)[0].image_vectors, len(ids)
    with torch.no_grad():
        while len(ids) < start + assistant.max_new_tokens and ids[-1] != model.text_processor.end_token_id:
            row = torch.tensor([ids])
            hidden = model(model.embed(row, vectors), torch.ones_like(row), torch.arange(len(ids))[None])
            ids.append(int(model.logits(hidden[0, -1]).argmax()))
    return model.text_processor.text(ids[start:])


@pytest.mark.parametrize("decoding", ["ordered", "free"])
def test_the_assembled_assistant_answers(golden, decoding):
    release = golden / "checkpoints" / "release"
    weights = str(release / "pytorch_model.bin")
    parts = SamVisionEncoder(weights_file=weights), LlavaV1(str(release)), SamMaskHead(weights)
    assistant = Assistant(*parts, prompt_format="released", presence_threshold=0.0, max_new_tokens=6).eval()
    image = picture(golden, "b")
    queries = [Query(0, "categories", ("wall", "traffic light")), Query(0, "referring", ("the dog",))]
    answers = assistant.answers(image, queries, decoding)
    assert len(answers) == 2
    if decoding == "free":
        # what weights at random write is no list of names
        assert answers[0].text != answers[1].text
        assert all(
            answer.text == greedy(assistant, query, image) for query, answer in zip(queries, answers, strict=True)
        )
    else:
        assert answers[0].text == "wall<ins>traffic light<ins>"
        assert [entry.name for entry in answers[0].entries] == ["wall", "traffic light"]
        assert all(entry.mask.shape == image.shape[:2] for answer in answers for entry in answer.entries)
