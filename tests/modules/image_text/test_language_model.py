"""Image-text models give the numbers of transformers' own forward, with tiny random weights and no network."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import yaml
from transformers import Qwen2VLImageProcessor

from lasagna.core.batch import Query
from lasagna.core.config import build as rebuild
from lasagna.core.config import config_of
from lasagna.core.image_prompts import prompt_ids
from lasagna.core.prompt_formats import CHAT, PAPER, TINY
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import Assistant, LoRA, TinyMaskHead, TinyVisionEncoder
from lasagna.modules.base import LanguageModel
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.decoding.recurrent import version
from lasagna.modules.image_text.families import FAMILIES
from lasagna.modules.image_text.inputs import grid_positions
from lasagna.modules.image_text.language_model import ImageTextModel
from lasagna.modules.image_text.patch_towers import view_tokens
from lasagna.modules.language_models import pretrained_model
from tests.helpers import parts
from tests.helpers.assistants import greedy_under_grammar
from tests.helpers.chat_processors import PROCESSORS, VICUNA, VIEWS, chat_model, lfm2_vl_images, molmo2_images, own_ids
from tests.helpers.documented import ROOT, write_named
from tests.helpers.image_text_models import CONFIGS, FEATURES, SETTINGS, SIDES, built, made, needs
from tests.modules.test_language_models import LanguageModelContract


class TestLlava(LanguageModelContract):
    kind = "llava"

    def make(self):
        return made(self.kind)

    def vectors(self, model, count=1):
        pixels = torch.randn(count, 3, 28, 28, generator=torch.Generator().manual_seed(1))
        return model.embed_image([pixels]).detach()

    def test_gradients_reach_what_is_trained(self):
        model = self.build().train()
        ids = torch.tensor([self.prompt(model)])
        hidden = self.hidden(model, ids, torch.ones_like(ids), self.vectors(model))
        model.logits(hidden).square().mean().backward()
        trained = [value for value in model.decoder.parameters() if value.requires_grad]
        assert trained
        assert all(value.grad is not None for value in trained)

    @pytest.mark.parametrize("side", SIDES)
    def test_logits_are_those_of_the_model_itself(self, side):
        """Run transformers' own forward on the same ids and pixels, which counts and places the images by itself."""
        model, images = built(self.kind, side), 2 if side == SIDES[1] else 1
        names = ("sun", "dog", "house")
        tokens = prompt_ids(model.text_processor, TINY, "categories", names, images=images)
        if images > 1:  # some families tell images apart by what is between them
            tokens.insert(tokens.index(model.image_token_id) + model.text_processor.image_tokens, 9)
        ids = torch.tensor([tokens])
        pictures = np.random.default_rng(0).integers(0, 256, (images, 40, 50, 3), dtype=np.uint8)
        pixels = torch.stack([model.tower_processor.pixels(picture) for picture in pictures])
        with torch.no_grad():
            vectors = model.embed_image([pixels]).flatten(0, 1)[None]
            hidden = self.hidden(model, ids, torch.ones_like(ids), vectors)
            found = model.logits(hidden)
            own = model.vlm(**self.own_arguments(model, ids, pixels)).logits
            blind = model.vlm(**self.own_arguments(model, ids, pixels * 0 + 0.5)).logits
        torch.testing.assert_close(found, own, atol=1e-4, rtol=1e-4)
        assert (own - blind).abs().max() > 0.01

    def own_arguments(self, model, ids, pixels):
        image = getattr(model.vlm.config, "image_token_id", None) or model.vlm.config.image_token_index
        own = ids.masked_fill(ids == model.image_token_id, image)
        return {"input_ids": own, "attention_mask": torch.ones_like(ids), **self.own_image(own == image, pixels)}

    def own_image(self, places, pixels):
        return {"pixel_values": pixels}

    def test_a_chat_prompt_has_the_ids_of_the_processor(self, tmp_path):
        """For every kind of query, with one start token; and in later turns, which have no image."""
        processor = PROCESSORS[self.kind]()
        model = chat_model(self.kind, processor, tmp_path)
        form = model.adopt(CHAT)
        model.build(FEATURES, form.special_tokens)
        text = model.text_processor
        for kind, images in (("categories", 1), ("question", 2)):
            found = prompt_ids(text, form, kind, ("dog",), images=images)
            own = own_ids(processor, CHAT.prompt(kind, ("dog",)).removeprefix("<image>").strip(), images)
            assert found.count(model.image_token_id) == images * text.image_tokens
            assert self.without_tiles(found, model) == self.without_tiles(own, model)
        assert text.first == found.index(model.image_token_id)
        special = {token for tokens in FAMILIES[self.kind].enclosing for token in tokens if not token.isspace()}
        assert special <= {*form.reserved_tokens}
        turns = [("user", "A?"), ("assistant", "It is."), ("user", "dog")]
        turns = [{"role": role, "content": [{"type": "text", "text": words}]} for role, words in turns]
        whole = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        further = text.further_ids(form.further_prompt("question", ("dog",)))
        end = [text.end_token_id] if processor.chat_template != VICUNA else []  # which has no ends of turns
        written = [*text.answer_ids("It is."), *end, *further]
        assert processor.tokenizer(whole, add_special_tokens=False).input_ids[-len(written) :] == written

    def without_tiles(self, ids, model):
        return ids

    def test_the_projector_learns_if_asked_and_the_tower_never(self):
        model = built(self.kind, train_projector=True, frozen=True).train()
        trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
        assert trained
        pixels = torch.randn(2, 3, model.side, model.side)
        model.embed_image([pixels]).square().mean().backward()
        assert all(value.grad is not None and value.grad.abs().sum() > 0 for value in trained.values())

    def test_recomputing_gives_the_same_gradients(self):
        gradients = []
        for recompute in (False, True):
            model = built(self.kind, recompute=recompute).train()
            ids = torch.tensor([self.prompt(model)])
            hidden = self.hidden(model, ids, torch.ones_like(ids), self.vectors(model))
            hidden.square().mean().backward()
            gradients.append([value.grad for value in model.decoder.parameters()])
        for plain, again in zip(*gradients, strict=True):
            torch.testing.assert_close(plain, again)

    def test_tied_embeddings_grow_together(self):
        """Settings say so at one place or the other, and the vocabulary lacks most words."""
        settings = SETTINGS[self.kind]
        text = settings["text_config"] | {"vocab_size": 60, "tie_word_embeddings": True}
        settings = settings | {"text_config": text, "tie_word_embeddings": True}
        model = ImageTextModel(settings, "words", image_size=28, max_length=512)
        model.build(FEATURES, TINY.special_tokens)
        words, output = model.vlm.get_input_embeddings().weight, model.vlm.get_output_embeddings().weight
        assert words is output
        [present] = model.text_processor.answer_ids(TINY.present_token)
        assert present >= 60
        assert model.logits(torch.zeros(1, model.hidden_size)).shape == (1, len(words))
        assert len(words) > present

    def test_an_assistant_takes_a_step(self):
        model = made(self.kind, adapter=LoRA(rank=2, targets=("q_proj",), embeddings=False))
        assistant = Assistant(
            TinyVisionEncoder((32, 32), weights="random"), model, TinyMaskHead(weights="random"), prompt_format="paper"
        )
        assistant.configure_model()
        trained = {name for name, value in model.named_parameters() if value.requires_grad}
        assert trained
        assert all("lora_" in name for name in trained)
        decoder = {id(value) for value in model.decoder.parameters()}
        assert all(id(value) in decoder for name, value in model.named_parameters() if name in trained)


class TestLlavaNext(TestLlava):
    kind = "llava_next"

    def without_tiles(self, ids, model):
        """Drop all image tokens but the first, since the processor counts those of a tile too."""
        return [token for place, token in enumerate(ids) if token != model.image_token_id or ids[place - 1] != token]

    def own_image(self, places, pixels):
        return {"pixel_values": pixels, "image_sizes": torch.tensor([pixels.shape[2:]] * len(pixels))}

    @pytest.mark.parametrize("side", SIDES)
    def test_logits_are_those_of_the_model_itself(self, side, monkeypatch):
        """Transformers counts a tile at least beside the whole image; told that there is none, it has its own way."""
        from transformers.models.llava_next import modeling_llava_next

        monkeypatch.setattr(modeling_llava_next, "image_size_to_num_patches", lambda **_: 1)
        super().test_logits_are_those_of_the_model_itself(side)


class TestLlavaOneVision(TestLlavaNext):
    kind = "llava_onevision"
    test_logits_are_those_of_the_model_itself = TestLlava.test_logits_are_those_of_the_model_itself

    def vectors(self, model, count=1):
        pixels = torch.randn(count, 3, 30, 30, generator=torch.Generator().manual_seed(1))
        return model.embed_image([pixels]).detach()

    def own_image(self, places, pixels):
        # an image is not cut into tiles where there are several
        several = torch.tensor([2])
        return {**super().own_image(places, pixels), "batch_num_images": several}


class TestInternVL(TestLlava):
    kind = "internvl"


class TestSmolVLM(TestLlava):
    kind = "smolvlm"

    def own_image(self, places, pixels):
        return {"pixel_values": pixels[None]}


class TestIdefics3(TestSmolVLM):
    kind = "idefics3"


class TestPaliGemma(TestLlava):
    kind = "paligemma"

    def test_a_chat_prompt_has_the_ids_of_the_processor(self):
        with pytest.raises(ConfigError, match="prompt_format: PaliGemma reads one question and has no chat template"):
            made(self.kind).adopt(CHAT)

    def test_an_image_costs_as_many_tokens_as_it_has_vectors(self):
        """A last channel says what is read in both directions."""
        model = self.build()
        assert self.prompt(model).count(model.image_token_id) == self.vectors(model).shape[1]
        assert self.vectors(model).shape[2] == model.hidden_size + 1

    def own_arguments(self, model, ids, pixels):
        """Say as its own processor does what is prefix; what the answer is begins behind the new line."""
        suffix = (ids == model.text_processor.prefix_end_id).cumsum(1) - (
            ids == model.text_processor.prefix_end_id
        ).long()
        assert 0 < suffix.sum() < ids.shape[1] / 2
        return super().own_arguments(model, ids, pixels) | {"token_type_ids": suffix}

    def test_answers_are_read_in_one_direction_and_prompts_in_both(self):
        model = built(self.kind)
        prompt = self.prompt(model)
        ids = torch.tensor([prompt + model.text_processor.answer_ids("sun <SEG> dog <NEG>")])
        hidden = self.hidden(model, ids, torch.ones_like(ids), self.vectors(model))
        for place, changes_before in ((len(prompt) - 3, True), (len(prompt) - 1, False), (ids.shape[1] - 2, False)):
            other = ids.clone()
            other[0, place] = model.text_processor.answer_ids("house")[0]
            difference = (
                (self.hidden(model, other, torch.ones_like(ids), self.vectors(model)) - hidden).abs().amax(-1)[0]
            )
            assert (difference[:place].max() > 1e-3) == changes_before
            assert difference[place:].max() > 1e-3

    def test_the_prefix_ends_once(self):
        model = self.build()
        text = model.text_processor
        ids = text.prompt_ids("a <image>\nsun\nand dog")
        assert ids[: text.image_tokens] == [model.image_token_id] * text.image_tokens
        assert ids.count(model.text_processor.prefix_end_id) == 1
        assert ids[-2] == model.text_processor.prefix_end_id
        assert model.text_processor.prefix_end_id not in text.answer_ids("sun\ndog")


class TestPaliGemma2(TestPaliGemma):
    """A Gemma 2 instead of a Gemma: some layers look back a certain way, and logits are bounded."""

    kind = "paligemma2"

    def test_logits_are_bounded(self, monkeypatch):
        """As Gemma 2 bounds them; not all versions of transformers do so in PaliGemma's own forward."""
        model = built(self.kind)
        hidden = torch.randn(5, model.hidden_size)
        free = model.logits(hidden)
        monkeypatch.setattr(model.decoder.config, "final_logit_softcapping", 2.0)
        torch.testing.assert_close(model.logits(hidden), 2 * torch.tanh(free / 2))

    def test_rows_longer_than_layers_look_back_are_refused(self):
        with pytest.raises(ConfigError, match=r"max_length: layers .* attend to the last 600 tokens only, got 601"):
            built(self.kind, max_length=601)


@pytest.mark.parametrize("kind", ["llava_mistral", "qwen2_vl_windowed", "paligemma2_short", "gemma3"])
def test_layers_that_look_back_a_window_decode_as_one_forward_does(kind):
    """Rows that pass the window; PaliGemma's do so with their padding alone."""
    window = SETTINGS[kind]["text_config"]["sliding_window"]
    model = built(kind, max_length=80)
    vectors = model.embed_image([torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(1))]).detach()
    queries = [Query(0, "categories", tuple("abcdefghi")), Query(1, "referring", (" ".join(["old oak"] * 13),))]
    prompts = [model.text_processor.prompt_ids(TINY.prompt(query.kind, query.names)) for query in queries]
    answer = model.text_processor.answer_ids(TINY.render("categories", [(name, True) for name in queries[0].names]))
    assert max(map(len, prompts)) + len(answer) > window
    for decoded, query in zip(Decoder(model, TINY).decode(vectors, queries), queries, strict=True):
        assert decoded.present == greedy_under_grammar(model, TINY, vectors, query)


@pytest.mark.parametrize("kind", ["llava", "gemma3", "qwen3_vl"])
def test_several_images_decode_as_one_forward_does(kind):
    """Beside a row of one image, whose vectors are filled up."""
    model = built(kind, new_tokens="random")
    vectors = model.embed_image([torch.randn(4, 3, 28, 28, generator=torch.Generator().manual_seed(1))]).detach()
    queries = [Query(0, "categories", tuple("abcde"), images=2), Query(1, "categories", ("sun", "dog", "cat"))]
    shown = vectors[torch.tensor([[0, 1], [2, 3]])].flatten(1, 2)
    decoded = Decoder(model, TINY).decode(shown, queries)
    for one, query in zip(decoded, queries, strict=True):
        assert one.present == greedy_under_grammar(model, TINY, shown, query)
    [alone] = Decoder(model, TINY).decode(vectors[2:3], [Query(0, "categories", ("sun", "dog", "cat"))])
    torch.testing.assert_close(decoded[1].scores, alone.scores, atol=1e-4, rtol=1e-4)
    [other] = Decoder(model, TINY).decode(vectors[torch.tensor([[1, 0]])].flatten(1, 2), queries[:1])
    assert (decoded[0].scores - other.scores).abs().max() > 1e-3


class TestQwen2VL(TestLlava):
    kind = "qwen2_vl"

    def own_image(self, places, pixels):
        """Cut images by transformers' own processor."""
        vision = {"patch_size": 7, "merge_size": 2, "temporal_patch_size": 2}
        processor = Qwen2VLImageProcessor(do_resize=False, do_rescale=False, do_normalize=False, **vision)
        return {**processor(images=list(pixels), return_tensors="pt"), "mm_token_type_ids": places.int()}

    def test_positions_count_from_where_a_chat_has_its_image(self, tmp_path):
        model = chat_model(self.kind, PROCESSORS[self.kind](), tmp_path)
        form = model.adopt(CHAT)
        parts.built(model, FEATURES, form.special_tokens)
        # the lowest version of transformers multiplies the position of an image's start by it too
        model.vlm.config.vision_config.tokens_per_second = 1
        ids = torch.tensor([model.text_processor.prompt_ids(form.prompt("referring", ("dog",)))])
        pixels = torch.randn(1, 3, 28, 28, generator=torch.Generator().manual_seed(1))
        with torch.no_grad():
            hidden = self.hidden(model, ids, torch.ones_like(ids), model.embed_image([pixels]))
            own = model.vlm(**self.own_arguments(model, ids, pixels)).logits
        torch.testing.assert_close(model.logits(hidden), own, atol=1e-5, rtol=1e-5)
        assert model.text_processor.first > 10


class TestQwen25VL(TestQwen2VL):
    kind = "qwen2_5_vl"

    @pytest.mark.parametrize("side", SIDES)
    def test_logits_are_those_of_the_model_itself(self, side):
        if side == SIDES[1] and version() < (5, 6):
            pytest.skip("transformers 5.5 multiplies the place of a second image by the interval of frames")
        super().test_logits_are_those_of_the_model_itself(side)


class TestQwen3VL(TestQwen2VL):
    kind = "qwen3_vl"

    def test_an_image_costs_as_many_tokens_as_it_has_vectors(self):
        """Each token has a vector for the words' place, and one for each of two layers."""
        model = self.build()
        assert self.prompt(model).count(model.image_token_id) == self.vectors(model).shape[1]
        assert self.vectors(model).shape[2] == 3 * model.hidden_size

    def test_vectors_of_deeper_layers_count(self):
        model = built(self.kind)
        ids = torch.tensor([self.prompt(model)])
        vectors = self.vectors(model)
        whole = self.hidden(model, ids, torch.ones_like(ids), vectors)
        for part in (1, 2):
            fewer = vectors.clone()
            fewer[..., part * model.hidden_size : (part + 1) * model.hidden_size] = 0
            assert (self.hidden(model, ids, torch.ones_like(ids), fewer) - whole).abs().max() > 0.01


@pytest.mark.slow
class TestGemma3(TestLlava):
    kind = "gemma3"

    def own_arguments(self, model, ids, pixels):
        places = (ids == model.image_token_id).long()
        return super().own_arguments(model, ids, pixels) | {"token_type_ids": places}


@pytest.mark.slow
@needs("qwen3_5")
class TestQwen35(TestQwen2VL):
    kind = "qwen3_5"


@pytest.mark.slow
class TestQwen3VLMoE(TestQwen3VL):
    kind = "qwen3_vl_moe"


@pytest.mark.slow
@needs("qwen3_5_moe")
class TestQwen35MoE(TestQwen35):
    kind = "qwen3_5_moe"


@pytest.mark.slow
@needs("lfm2_vl")
class TestLfm2VL(TestLlava):
    kind = "lfm2_vl"

    def own_image(self, places, pixels):
        """Cut images by transformers' own processor."""
        return dict(lfm2_vl_images(do_rescale=False, do_normalize=False)(images=list(pixels), return_tensors="pt"))


@pytest.mark.slow
@needs("molmo2")
class TestMolmo2(TestLlava):
    kind = "molmo2"

    def vectors(self, model, count=1):
        pixels = torch.randn(count, 3, 35, 35, generator=torch.Generator().manual_seed(1))
        return model.embed_image([pixels]).detach()

    def own_arguments(self, model, ids, pixels):
        """Write both views and cut the image as transformers' own processor does."""
        images = molmo2_images(pixels.shape[2], do_rescale=False, do_normalize=False)
        cut = dict(images(images=list(pixels), return_tensors="pt"))
        views, config = view_tokens(model.vlm.config, model.grid), model.vlm.config
        places = ids == model.image_token_id
        own = ids.masked_scatter(places, torch.tensor(views * pixels.shape[0]))
        assert len(views) * pixels.shape[0] == places.sum()
        assert (own == config.image_patch_id).sum() == cut["image_token_pooling"].shape[0]
        return {"input_ids": own, "attention_mask": torch.ones_like(ids), "mm_token_type_ids": places.long(), **cut}

    def without_tiles(self, ids, model):
        """Compare both views with the processor's, and take one token for all of theirs."""
        views = set(model.text_processor.tokenizer.convert_tokens_to_ids(list(VIEWS)))
        shown = [token for token in ids if token in views]
        one = view_tokens(model.vlm.config, model.grid)
        assert shown in (one * (len(shown) // len(one)), [model.image_token_id] * len(shown))
        return [model.image_token_id if token in views else token for token in ids]

    def test_tied_embeddings_grow_together(self):
        """They are not tied; and the output layer is shorter than the word embeddings, and grows to their length."""
        text = SETTINGS[self.kind]["text_config"] | {"vocab_size": 60}
        model = ImageTextModel(SETTINGS[self.kind] | {"text_config": text}, "words", image_size=28, max_length=512)
        model.build(FEATURES, TINY.special_tokens)
        words, output = model.vlm.get_input_embeddings().weight, model.vlm.get_output_embeddings().weight
        assert len(words) == len(output) == len(model.text_processor.tokenizer)
        assert torch.equal(output[60:68], output[60].expand(8, -1))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.kind, marks=needs(case.kind))
        for case in (TestGemma3, TestQwen35, TestLfm2VL, TestMolmo2)
    ],
)
def test_the_most_of_a_family(case, tmp_path):
    """All of its contract is among the slow tests."""
    contract = case()
    contract.test_logits_are_those_of_the_model_itself(None)
    contract.test_a_chat_prompt_has_the_ids_of_the_processor(tmp_path)
    contract.test_ordered_decoding_is_greedy_under_the_grammar("lively")
    contract.test_the_cache_gives_the_hidden_states_of_one_forward()
    contract.test_rows_that_are_padded_at_the_left_are_those_that_stand_alone()


def test_every_family_is_proven():
    assert FAMILIES.keys() == CONFIGS.keys()


def test_positions_with_three_axes():
    found = grid_positions(torch.arange(8)[None], first=2, grid=2)[:, 0]
    assert found.tolist() == [[0, 1, 2, 2, 2, 2, 4, 5], [0, 1, 2, 2, 3, 3, 4, 5], [0, 1, 2, 3, 2, 3, 4, 5]]


def test_the_image_stands_first_wherever_the_format_has_it():
    model = made("llava")
    model.build(FEATURES, PAPER.special_tokens)
    text = model.text_processor
    ids = text.prompt_ids(PAPER.prompt("referring", ("dog",)))
    assert ids[: text.image_tokens] == [model.image_token_id] * text.image_tokens
    assert model.image_token_id not in ids[text.image_tokens :]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            {"adapter": LoRA(targets=("k_projj",))},
            r"adapter\.targets: no linear layer is called \['k_projj'\]; .*k_proj",
        ),
        ({"max_length": 16}, "max_length: 16 leaves no room beside the image's 16 tokens"),
    ],
)
def test_no_weight_is_read_for_what_cannot_be(settings, reason, monkeypatch):
    monkeypatch.setattr(pretrained_model, "read_model", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(ConfigError, match=reason):
        built("llava", **settings)


def test_what_is_refused():
    with pytest.raises(ConfigError, match=r"a 'vipllava' is not supported; choose one of llava \(LLaVA 1.5\)"):
        ImageTextModel({"model_type": "vipllava"}, "words").build(FEATURES, TINY.special_tokens)
    with pytest.raises(ConfigError, match="image_size: 30 is not a multiple of 14"):
        built("qwen2_5_vl", image_size=30)
    with pytest.raises(ConfigError, match="model: 4 patches along a side cannot be joined to 16 image tokens"):
        ImageTextModel(CONFIGS["gemma3"] | {"mm_tokens_per_image": 256}, "words").build(FEATURES, TINY.special_tokens)
    with pytest.raises(ConfigError, match="quantization"):
        built("llava", quantization="8bit")
    mamba = {"model_type": "mamba", "hidden_size": 32, "state_size": 4, "num_hidden_layers": 2, "vocab_size": 60}
    with pytest.raises(ConfigError, match="model: some layers of a 'mamba' keep no attention keys and values"):
        ImageTextModel(CONFIGS["llava"] | {"text_config": mamba}, "words").build(FEATURES, TINY.special_tokens)


class TestFamilyOfOnesOwn:
    """The file that the page shows, which a config names."""

    @pytest.fixture
    def model(self, tmp_path, monkeypatch):
        write_named(ROOT / "docs" / "how_to" / "image_text.md", tmp_path)
        monkeypatch.syspath_prepend(tmp_path)
        settings = yaml.safe_load((tmp_path / "vip_llava.yaml").read_text(encoding="utf-8"))
        config = settings["model"]["init_args"]["assistant"]["init_args"]["language_model"]
        model = rebuild(config, LanguageModel)
        again = config_of(model)["init_args"]
        assert again["family"] == {"class_path": "vip_llava.VipLlava", "init_args": {}}
        return parts.built(model, FEATURES, TINY.special_tokens)

    def test_logits_are_those_of_the_model_itself(self, model):
        ids = torch.tensor([model.text_processor.prompt_ids(TINY.prompt("categories", ("sun", "dog")))])
        pixels = torch.randn(1, 3, 84, 84, generator=torch.Generator().manual_seed(1))
        model.vlm.config.image_token_index = 2999
        with torch.no_grad():
            hidden = model(
                model.embed(ids, model.embed_image([pixels])), torch.ones_like(ids), torch.arange(ids.shape[1])[None]
            )
            own = TestLlava().own_arguments(model, ids, pixels)
            torch.testing.assert_close(model.logits(hidden), model.vlm(**own).logits, atol=1e-5, rtol=1e-4)
            apart = model.embed_map(model.tower(pixels))
        torch.testing.assert_close(apart, model.embed_image([pixels]))

    def test_elsewhere_its_file_is_missed(self, model, monkeypatch):
        monkeypatch.delitem(sys.modules, "vip_llava")
        monkeypatch.setattr(sys, "path", [])
        with pytest.raises(
            CheckpointError, match=r"^\w+: 'vip_llava.VipLlava' is no class .* from the folder that [^\n]*$"
        ):
            rebuild(config_of(model), LanguageModel)

    def test_without_its_name_the_model_is_not_known(self, model):
        with pytest.raises(ConfigError, match=r"a 'vipllava' is not supported; .* or give a `family` of your own"):
            ImageTextModel(model.model, "words").build(FEATURES, TINY.special_tokens)
