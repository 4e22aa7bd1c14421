"""LLaVA v1 on a tiny random checkpoint that is made here."""

from __future__ import annotations

import json
import pickle
import shutil
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import CLIPVisionModel, LlamaConfig, LlamaForCausalLM

from lasagna.core.batch import Query
from lasagna.core.config import build, config_of
from lasagna.core.prompt_formats import RELEASED
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import Assistant, FeatureSpec, LoRA, TinyMaskHead, TinyVisionEncoder
from lasagna.modules.base import LanguageModel
from lasagna.modules.decoding.cache import CachedPrompts
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.llava.language_model import LlavaV1
from lasagna.modules.llava.settings import llama_config
from tests.helpers.assistants import greedy_tokens, greedy_under_grammar, token_counts

pytest.importorskip("sentencepiece")
from tests.helpers.tiny_llava import ADDED, HIDDEN, write_json, write_llava

FEATURES = FeatureSpec((1,), (1,), (1, 1))
PATCHES = 16


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of a checkpoint, and its tower's beside it."""
    return write_llava(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def folder(base, tmp_path):
    """A copy of the checkpoint that may be spoilt."""
    shutil.copytree(base.parent, tmp_path / "weights")
    return tmp_path / "weights" / base.name


@pytest.fixture(scope="module")
def model(base):
    return built(base)


def change(path, **settings):
    write_json(path, {**json.loads(path.read_text()), **settings})


def built(folder, **settings):
    model = LlavaV1(str(folder), **settings)
    model.build(FEATURES, RELEASED.special_tokens)
    return model.eval()


def test_tokens_are_added_in_the_originals_order(model):
    first = model.text_processor.tokenizer.pieces.get_piece_size()
    names = [*ADDED, "<cat_start>", "<cat_end>", "<semantic>", "<ins>", "<no_ins>", "<image>"]
    assert [model.text_processor.answer_ids(name) for name in names] == [[first + place] for place in range(len(names))]
    assert set(model.text_processor.reserved_tokens) == {"<unk>", "<s>", "</s>", *names}


def test_tokens_of_a_folder_without_any(folder):
    (folder / "added_tokens.json").unlink()
    text = built(folder).text_processor
    first = text.tokenizer.pieces.get_piece_size()
    ids = [text.answer_ids(name)[0] - first for name in ("<cat_start>", "<ins>", "<im_start>", "<im_end>", "<image>")]
    assert ids == [0, 3, 5, 6, 7]


def test_core_tokens_may_be_listed_with_the_ids_they_have(folder, model):
    change(folder / "added_tokens.json", **{"<unk>": 0, "<s>": 1, "</s>": 2})
    assert built(folder).text_processor.tokenizer.added == model.text_processor.tokenizer.added


def test_white_space_around_added_tokens_is_dropped_and_around_core_tokens_kept(model):
    ids = model.text_processor.answer_ids
    assert ids("sky <ins>\n wall") == ids("sky<ins>wall") == ids("sky") + ids("<ins>") + ids("wall")
    assert len(ids("sky </s>")) == len(ids("sky</s>")) + 1


def test_an_image_costs_as_many_tokens_as_the_tower_has_patches_between_start_and_end(model):
    text = model.text_processor
    [start], [end], [image] = map(text.answer_ids, ("<im_start>", "<im_end>", "<image>"))
    ids = text.prompt_ids("USER: <image>\nthe sky")
    assert ids == [1, *text.answer_ids("USER:"), start, *[image] * PATCHES, end, *text.answer_ids("the sky")]
    assert text.prompt_ids("USER: <im_start><image><im_end>\nthe sky") == ids
    first, several = ids.index(start), [start, *[image] * PATCHES, end]
    assert text.prompt_ids("USER: <image>\n<image>\nthe sky") == [*ids[:first], *several, *ids[first:]]


def test_prompt_and_answer_are_tokenised_as_their_text_is(model):
    text = model.text_processor
    assert text.prompt_ids("ASSISTANT:\n") == [*text.prompt_ids("ASSISTANT:"), text.tokenizer.ids("\n")[-1]]
    said = text.prompt_ids("<image> ASSISTANT: ") + text.answer_ids("the sky")
    assert said == text.prompt_ids("<image> ASSISTANT: the sky")
    # a text without an image is read as the original reads any
    assert all(
        text.prompt_ids(plain)[1:] == text.answer_ids(plain) for plain in ("the ", " sky  ", "sky<ins> ", "sky \n")
    )


def test_texts_come_back(model):
    text = model.text_processor
    ids = text.answer_ids("It is the sky<ins>the wall<no_ins>")
    assert text.text([*ids, text.end_token_id, text.padding_token_id]) == "It is the sky <ins> the wall <no_ins>"
    assert text.text([]) == ""


def test_processors_can_be_sent_to_a_worker(model):
    text = pickle.loads(pickle.dumps(model.text_processor))
    assert text.prompt_ids("<image> sky") == model.text_processor.prompt_ids("<image> sky")
    assert pickle.loads(pickle.dumps(model.tower_processor)) == model.tower_processor


def test_image_vectors_stand_between_the_words_of_start_and_end(model):
    ids = torch.tensor([model.text_processor.prompt_ids("<image> the sky")])
    vectors = torch.randn(1, PATCHES, HIDDEN)
    embedded, words = model.embed(ids, vectors), model.llama.get_input_embeddings().weight
    torch.testing.assert_close(embedded[:, 2 : 2 + PATCHES], vectors)
    for place in (0, 1, 2 + PATCHES, -1):
        torch.testing.assert_close(embedded[0, place], words[ids[0, place]])


def test_rows_without_image_take_none_of_the_vectors(model):
    with_image = model.text_processor.prompt_ids("<image>")
    ids = torch.tensor([[5] * len(with_image), with_image])
    vectors = torch.randn(2, PATCHES, HIDDEN)
    torch.testing.assert_close(model.embed(ids, vectors)[1, 2:-1], vectors[1])


@pytest.mark.parametrize("layer", [-2, -1, 1, 0])
def test_the_image_is_a_hidden_layer_of_clip_without_class_token(folder, layer):
    change(folder / "config.json", mm_vision_select_layer=layer)
    model, pixels = built(folder), torch.randn(2, 3, 28, 28)
    clip = CLIPVisionModel.from_pretrained(folder.parent / "clip")
    with torch.no_grad():
        states = clip(pixels, output_hidden_states=True).hidden_states[layer][:, 1:]
        torch.testing.assert_close(model.embed_image([pixels]), model.mm_projector(states))
    assert model.embed_image([pixels]).shape == (2, PATCHES, HIDDEN)


def test_the_tower_of_a_whole_clip(folder, model):
    change(folder.parent / "clip" / "config.json", model_type="clip")
    config = json.loads((folder.parent / "clip" / "config.json").read_text())
    write_json(folder.parent / "clip" / "config.json", {"model_type": "clip", "vision_config": config})
    pixels = torch.randn(1, 3, 28, 28)
    assert torch.equal(built(folder).embed_image([pixels]), model.embed_image([pixels]))


def test_hidden_states_are_those_of_the_llama(base, model):
    ids = torch.tensor([model.text_processor.answer_ids("the dog on the left")])
    config = LlamaConfig(**{**json.loads((base / "config.json").read_text()), "model_type": "llama"})
    llama = LlamaForCausalLM(config)
    state = torch.load(base / "pytorch_model.bin", weights_only=True)
    llama.load_state_dict({name: state[name] for name in llama.state_dict()})
    with torch.no_grad():
        hidden = model(
            model.embed(ids, torch.zeros(1, 0, HIDDEN)), torch.ones_like(ids), torch.arange(ids.shape[1])[None]
        )
        expected = llama(ids).logits
        torch.testing.assert_close(model.logits(hidden)[..., : expected.shape[-1]], expected)


def test_the_cache_gives_the_hidden_states_of_one_forward(model):
    text, vectors = model.text_processor, torch.randn(2, PATCHES, HIDDEN)
    prompts = [text.prompt_ids("<image> Can you segment the sky?"), text.prompt_ids("<image> the")]
    tails = [text.answer_ids("the wall<ins>sky<no_ins>"), text.answer_ids("the sky<ins>")]
    with torch.no_grad():
        cached = CachedPrompts(model, prompts, vectors)
        first, again = cached.extend(tails, keep=False), cached.extend(tails, keep=True)
        torch.testing.assert_close(first, again)
        for row, (prompt, tail) in enumerate(zip(prompts, tails, strict=True)):
            ids = torch.tensor([prompt + tail])
            places = torch.arange(ids.shape[1])[None]
            whole = model(model.embed(ids, vectors[row : row + 1]), torch.ones_like(ids), places)
            torch.testing.assert_close(again[row, : len(tail)], whole[0, len(prompt) :], atol=1e-5, rtol=1e-4)


def test_a_forward_with_cache_warns_of_nothing(model):
    text = model.text_processor
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        prompts = CachedPrompts(
            model, [text.prompt_ids("<image> Can you segment the sky?")], torch.zeros(1, PATCHES, HIDDEN)
        )
        prompts.extend([text.answer_ids("the wall<ins>")], keep=False)


def test_ordered_decoding_is_greedy_under_the_grammar(model):
    names = ("the sky", "wall", "the dog", "scissors", "traffic light")
    queries = [Query(rank % 2, "categories", names[rank : 3 + 2 * rank]) for rank in range(3)]
    queries.append(Query(0, "referring", ("the dog on the left",)))
    vectors = torch.randn(2, PATCHES, HIDDEN, generator=torch.Generator().manual_seed(2))
    decoded = Decoder(model, RELEASED).decode(vectors, queries)
    wanted = [greedy_under_grammar(model, RELEASED, vectors, query) for query in queries]
    assert [answer.present for answer in decoded] == wanted
    assert {True, False} == {there for answer in wanted for there in answer}
    form = replace(RELEASED, prompts=RELEASED.prompts | {"instances_by_token": RELEASED.prompts["categories"]})
    query = Query(0, "instances_by_token", names)
    [answer] = Decoder(model, form).decode(vectors, [query])
    assert token_counts(answer) == greedy_tokens(model, form, vectors, query)


def test_new_tokens_get_fresh_rows_and_old_ones_keep_theirs(base, model):
    state = torch.load(base / "pytorch_model.bin", weights_only=True)
    for name, weight in (
        ("model.embed_tokens.weight", model.llama.model.embed_tokens.weight),
        ("lm_head.weight", model.llama.lm_head.weight),
    ):
        assert torch.equal(weight[: len(state[name])], state[name])
        assert len(weight) == len(state[name]) + 5
        assert 0.01 < weight[len(state[name]) :].std() < 0.03


def test_rows_behind_the_last_token_are_left_out(folder):
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        state[name] = torch.cat([state[name], torch.zeros(61, HIDDEN)])
    torch.save(state, folder / "pytorch_model.bin")
    model = built(folder)
    assert len(model.llama.lm_head.weight) == model.text_processor.image_token_id


def test_adapters_sit_where_they_are_told_and_the_tower_is_not_trained(base):
    model = built(base, adapter=LoRA(rank=2, targets=("q_proj", "v_proj")))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    adapters = {name for name in trained if "lora_" in name}
    assert {name.split(".")[5] for name in adapters} == {"q_proj", "v_proj"}
    assert len(adapters) == 2 * 2 * 2
    assert trained - adapters == {"llama.model.embed_tokens.weight", "llama.lm_head.weight"}


def test_without_adapters_the_llama_is_trained_and_the_projector_if_asked_for(base, model):
    trained = {name.split(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"llama"}
    assert built(base, train_projector=True).mm_projector.weight.requires_grad


def test_gradients_reach_the_adapters_through_an_image(base):
    model = built(base, adapter=LoRA(rank=2, targets=("q_proj", "v_proj"))).train()
    ids = torch.tensor([model.text_processor.prompt_ids("<image> the sky<ins>")])
    vectors = model.embed_image([torch.randn(1, 3, 28, 28)])
    hidden = model(model.embed(ids, vectors), torch.ones_like(ids), torch.arange(ids.shape[1])[None])
    model.logits(hidden).square().mean().backward()
    assert {name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None} == set()


def test_recomputing_gives_the_same_gradients(base):
    gradients = []
    for recompute in (False, True):
        model = built(base, recompute=recompute).train()
        ids = torch.tensor([model.text_processor.prompt_ids("USER: <image> sky ASSISTANT:")])
        embedded = model.embed(ids, model.embed_image([torch.ones(1, 3, 28, 28)]))
        model(embedded, torch.ones_like(ids), torch.arange(ids.shape[1])[None]).square().mean().backward()
        gradients.append(model.llama.get_input_embeddings().weight.grad)
    torch.testing.assert_close(*gradients)


def test_weights_get_the_default_precision_and_positions_stay_exact(base, model):
    exact = model.llama.model.rotary_emb.inv_freq
    torch.set_default_dtype(torch.bfloat16)
    try:
        half = built(base)
    finally:
        torch.set_default_dtype(torch.float32)
    for converted in (half, built(base).to(torch.bfloat16)):
        assert {weight.dtype for weight in converted.parameters()} == {torch.bfloat16}
        assert torch.equal(converted.llama.model.rotary_emb.inv_freq, exact)
        assert converted.embed_image([torch.randn(1, 3, 28, 28)]).dtype == torch.bfloat16


def test_weights_in_half_precision_by_config(base, model):
    half = built(base, dtype="bfloat16")
    assert {weight.dtype for weight in half.parameters()} == {torch.bfloat16}
    assert torch.equal(half.llama.model.rotary_emb.inv_freq, model.llama.model.rotary_emb.inv_freq)
    rounded = {name: weight.bfloat16() for name, weight in model.state_dict().items() if "embed_tokens" not in name}
    old = len(torch.load(base / "pytorch_model.bin", weights_only=True)["lm_head.weight"])
    assert all(torch.equal(half.state_dict()[name][:old], weight[:old]) for name, weight in rounded.items())
    torch.set_default_dtype(torch.bfloat16)
    try:
        full = built(base, dtype="float32")
    finally:
        torch.set_default_dtype(torch.float32)
    assert {weight.dtype for weight in full.parameters()} == {torch.float32}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("bits", ["4bit", "8bit"])
def test_without_a_gpu_quantization_is_refused_before_anything_is_read(bits, tmp_path):
    with pytest.raises(ConfigError, match=f"quantization: '{bits}' needs a CUDA device.*take dtype: bfloat16"):
        built(tmp_path / "nowhere", quantization=bits)


@pytest.mark.parametrize("adapter", [None, LoRA(rank=2, targets=("q_proj",))])
def test_quantization_is_left_to_transformers_and_freezes_the_llama(adapter, base, model, monkeypatch):
    given, load = {}, LlamaForCausalLM.from_pretrained

    def spied(*args, quantization_config, **settings):
        given.update(settings, bits=quantization_config)
        return load(*args, **settings)

    monkeypatch.setattr("lasagna.modules.llava.language_model.check_quantization", lambda *_: None)
    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", spied)
    half = built(base, dtype="bfloat16", quantization="4bit", adapter=adapter)
    assert (given["bits"].load_in_4bit, given["bits"].bnb_4bit_quant_type) == (True, "nf4")
    assert given["dtype"] == torch.bfloat16
    assert {weight.dtype for name, weight in half.named_parameters() if "lora" not in name} == {torch.bfloat16}
    name = "model.layers.1.mlp.up_proj.weight"
    assert torch.equal(half.llama.state_dict()[name], model.llama.state_dict()[name].bfloat16())
    assert torch.equal(half.llama.model.rotary_emb.inv_freq, model.llama.model.rotary_emb.inv_freq)
    trained = {name.split(".")[-2] for name, weight in half.named_parameters() if weight.requires_grad}
    assert trained == (set() if adapter is None else {"embed_tokens", "lm_head", "default"})


def test_quantized_too_a_missing_tensor_is_named(folder, monkeypatch):
    monkeypatch.setattr("lasagna.modules.llava.language_model.check_quantization", lambda *_: None)
    without("model.norm.weight")(folder)
    with pytest.raises(CheckpointError, match=r"folder: .*: model\.norm\.weight is missing"):
        built(folder, quantization="8bit")


def test_the_tower_sees_the_middle_or_all_of_an_image(base, model):
    image = np.full((40, 80, 3), 128, np.uint8)
    blind = image.copy()
    blind[:, :15] = blind[:, 65:] = 0
    crop, whole = model.tower_processor, built(base, centre_crop=False).tower_processor
    assert crop.pixels(image).shape == whole.pixels(image).shape == (3, 28, 28)
    assert torch.equal(crop.pixels(image), crop.pixels(blind))
    assert not torch.equal(whole.pixels(image), whole.pixels(blind))
    assert crop.geometry((40, 80)).padded == (28, 28)
    assert crop.geometry((40, 80)).seen == (0, 20, 40, 40)
    assert crop.geometry((81, 40)).seen == (20, 0, 40, 40)
    assert crop.geometry((40, 40)).seen is None


def test_small_images_and_mean_and_deviation_of_the_tower(folder):
    settings = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    write_json(folder.parent / "clip" / "preprocessor_config.json", settings)
    pixels = built(folder).tower_processor.pixels(np.full((1, 1, 3), 255, np.uint8))
    torch.testing.assert_close(pixels, torch.full((3, 28, 28), 2.0))


def test_the_tower_is_looked_for_in_the_folder_beside_it_and_here(folder, monkeypatch):
    tower = folder.parent / "clip"
    assert built(folder, vision_tower=str(tower.resolve())).vision_tower.tokens == PATCHES
    shutil.copytree(tower, folder / "inside")
    assert built(folder, vision_tower="inside").vision_tower.tokens == PATCHES
    (folder.parent / "here").mkdir()
    monkeypatch.chdir(folder.parent / "here")
    shutil.copytree(tower, "elsewhere")
    assert built(folder, vision_tower="elsewhere").vision_tower.tokens == PATCHES


def test_settings_are_described_and_length_can_be_set(base):
    model = LlavaV1(str(base), adapter=LoRA(rank=2), max_length=77)
    again = build(config_of(model), LanguageModel)
    again.build(FEATURES, RELEASED.special_tokens)
    assert again.adapter.rank == 2
    assert again.text_processor.max_length == 77
    assert built(base).text_processor.max_length == 2048


@pytest.mark.parametrize("prompt_format", ["released", "paper"])
@pytest.mark.parametrize("decoding", ["ordered", "free"])
def test_an_assistant_answers(base, prompt_format, decoding):
    torch.manual_seed(0)
    parts = TinyVisionEncoder((32, 32), weights="random"), LlavaV1(str(base)), TinyMaskHead(weights="random")
    assistant = Assistant(*parts, prompt_format=prompt_format).eval()
    queries = [
        Query(0, "categories", ("sky", "wall")),
        Query(0, "referring", ("dog",)),
        Query(0, "question", ("Why?",)),
    ]
    answers = assistant.answers(np.zeros((20, 30, 3), np.uint8), queries, decoding)
    if decoding == "ordered":
        assert [[entry.name for entry in answer.entries] for answer in answers] == [["sky", "wall"], ["dog"], []]
    assert all(entry.mask.shape == (20, 30) for answer in answers for entry in answer.entries if entry.present)


def without(name):
    def spoil(folder):
        state = torch.load(folder / "pytorch_model.bin", weights_only=True)
        del state[name]
        torch.save(state, folder / "pytorch_model.bin")

    return spoil


def no_heads(folder):
    # their number follows from the rotary frequencies, where a folder holds these
    without("model.layers.0.self_attn.rotary_emb.inv_freq")(folder)
    change(folder / "config.json", num_attention_heads=None)


SPOILT = {
    "config": (lambda folder: (folder / "config.json").unlink(), "folder: .* has no config.json"),
    "setting": (no_heads, "config.json has no num_attention_heads, which the tensors do not reveal"),
    "later": (lambda folder: change(folder / "config.json", mm_projector_type="mlp2x_gelu"), "'mlp2x_gelu'.*'linear'"),
    "pieces": (lambda folder: (folder / "tokenizer.model").unlink(), "has no tokenizer.model"),
    "no pieces": (lambda folder: (folder / "tokenizer.model").write_bytes(b"?"), "is not a sentencepiece model"),
    "added": (lambda folder: change(folder / "added_tokens.json", more=5), r"ids in .* \d+, 5\]; .* one piece each"),
    "other core": (lambda folder: change(folder / "added_tokens.json", **{"<s>": 2}), r", 2\]; .* one piece each"),
    "tower": (lambda folder: shutil.rmtree(folder.parent / "clip"), "vision_tower: there is no CLIP folder for 'clip'"),
    "other tower": (
        lambda folder: change(folder.parent / "clip" / "config.json", model_type="vit"),
        "model_type 'vit'",
    ),
    "layer": (lambda folder: change(folder / "config.json", mm_vision_select_layer=-5), "3 layers and no layer -5"),
    "deep tower": (
        lambda folder: change(folder.parent / "clip" / "config.json", num_hidden_layers=6),
        "vision_tower: .*encoder.layers.3.* is missing.*; give",
    ),
    "head": (without("lm_head.weight"), "folder: .*: lm_head.weight is missing; give"),
    "layers": (without("model.layers.1.mlp.up_proj.weight"), "model.layers.1.mlp.up_proj.weight is missing"),
    "projector": (without("model.mm_projector.bias"), "model.mm_projector.bias is missing"),
    "sizes": (lambda folder: change(folder / "config.json", intermediate_size=64), r"\(32, 16\), here \(64, 16\)"),
}


@pytest.mark.parametrize("case", SPOILT)
def test_folders_that_do_not_fit(folder, case):
    spoil, message = SPOILT[case]
    spoil(folder)
    with pytest.raises(CheckpointError, match=message):
        built(folder)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"folder: there is no folder .*nowhere"):
        built(tmp_path / "nowhere")


def test_a_tower_that_is_not_named(folder):
    change(folder / "config.json", mm_vision_tower=None)
    with pytest.raises(CheckpointError, match=r"looked for config\.json in: nowhere"):
        built(folder)


def test_without_sentencepiece_its_extra_is_named(base, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(CheckpointError, match=r"install \"lasagna\[llava\]\""):
        built(base)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"rope_theta": 5e5}, "default"),
        ({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}}, "linear"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "default"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 5e5, "factor": 2.0}}, "linear"),
    ],
)
def test_positions_are_reported_in_the_old_and_the_new_spelling(settings, kind):
    """Transformers 5 writes one entry where earlier versions wrote two."""
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4}
    rope = llama_config(sizes | settings, 40).rope_parameters
    assert (rope["rope_type"], rope["rope_theta"], rope.get("factor", 2.0)) == (kind, 5e5, 2.0)
