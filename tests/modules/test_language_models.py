"""The contract of language models that read the vision encoder's map, which every one of them keeps.

A test class of a new model inherits ``LanguageModelContract`` and says how to make one.
"""

from __future__ import annotations

import json
import pickle
import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lasagna.core.batch import Query
from lasagna.core.config import build as rebuild
from lasagna.core.config import config_of
from lasagna.core.prompt_formats import RELEASED, TINY
from lasagna.core.query_kind import QueryKind
from lasagna.errors import ConfigError
from lasagna.modules import (
    FeatureSpec,
    LoRA,
    TinyLanguageModel,
    TinyMaskHead,
    TinyVisionEncoder,
)
from lasagna.modules.base import LanguageModel
from lasagna.modules.decoding import recurrent
from lasagna.modules.decoding.cache import CachedPrompts, ChatHistory, left_pad, row_positions
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.decoding.recurrent import PROVEN, SINCE, version
from lasagna.modules.language_models import pretrained_model
from lasagna.modules.language_models.causal import CausalLanguageModel
from tests.helpers import parts
from tests.helpers.assistants import (
    check_one_pass,
    greedy_tokens,
    greedy_under_grammar,
    plain_logits,
    presence_head,
    token_counts,
)

FEATURES = FeatureSpec((24,), (8,), (32, 32))
CONFIGS = {
    "llama": {
        "model_type": "llama",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 60,
        "tie_word_embeddings": True,
    },
    "qwen2": {
        "model_type": "qwen2",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 3000,
        "tie_word_embeddings": False,
    },
    "gpt_neox": {
        "model_type": "gpt_neox",
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 60,
    },
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 60, "n_positions": 256},
    "opt": {
        "model_type": "opt",
        "hidden_size": 32,
        "ffn_dim": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "word_embed_proj_dim": 32,
        "vocab_size": 60,
        "max_position_embeddings": 256,
    },
}
WINDOW = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "vocab_size": 60,
    "sliding_window": 16,
}
"""Sizes of models that look back 16 tokens, fewer than most queries here have with their answers."""
GATED = {
    "num_hidden_layers": 3,
    "layer_types": ["linear_attention", "full_attention", "linear_attention"],
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
RECURRENT_SIZES = {
    "lfm2": {"num_hidden_layers": 3, "conv_L_cache": 3, "layer_types": ["conv", "full_attention", "conv"]},
    "lfm2_moe": {
        "num_hidden_layers": 3,
        "conv_L_cache": 3,
        "layer_types": ["conv", "full_attention", "conv"],
        "num_dense_layers": 1,
        **EXPERTS,
    },
    "qwen3_next": {**GATED, "mlp_only_layers": [0, 1, 2]},
    "qwen3_5_text": GATED,
    "qwen3_5_moe_text": {**GATED, **EXPERTS, "shared_expert_intermediate_size": 16},
}
"""Sizes of models in which most layers keep a state in place of keys and values."""
WINDOWED = {
    "mistral": {},
    "qwen2": {"use_sliding_window": True, "max_window_layers": 1},
    "gemma2": {"query_pre_attn_scalar": 8},
    "gemma3_text": {"query_pre_attn_scalar": 8, "layer_types": ["sliding_attention", "full_attention"]},
    "cohere2": {"layer_types": ["sliding_attention", "full_attention"]},
}


QUERIES = [
    Query(0, "categories", ("sun", "red ball", "dog")),
    Query(1, "categories", ("car", "car door", "door of a car", "old car", "a")),
    Query(0, "categories", ("dog", "house", "old oak", "car", "kite", "kit", "sun")),
    Query(1, "categories", ("car door",)),
    Query(1, "categories", tuple("abcdefghijklmnopqrstuvwxyz")),
    Query(0, "referring", ("the ball left of the sun",)),
]
"""Names of unequal numbers of tokens, alone and in lists, some of which begin or end as others do; and enough
of them that drafts of most families are revised."""


BY_TOKEN = Query(0, QueryKind("instances_by_token", many=True, objects=True, tokens=4), ("sun", "red ball", "dog"))
"""A query whose answer has a token for each object."""


class LanguageModelContract:
    """What holds for every language model that reads the vision encoder's map."""

    def make(self):
        raise NotImplementedError

    def build(self, special_tokens=TINY.special_tokens):
        return parts.built(self.make(), FEATURES, special_tokens)

    def vectors(self, model, count=1):
        generator = torch.Generator().manual_seed(1)
        return model.embed_image([torch.randn(count, 24, 4, 4, generator=generator)])

    def prompt(self, model, names=("sun", "dog")):
        return model.text_processor.prompt_ids(TINY.prompt("categories", names))

    def hidden(self, model, ids, mask, vectors, cache=None, past=0):
        positions = row_positions(mask)[:, past:]
        return model(model.embed(ids, vectors), mask, positions, cache)

    def test_special_tokens_are_one_piece_each_and_come_back(self):
        model = self.build(RELEASED.special_tokens)
        text = model.text_processor
        ids = [text.answer_ids(token) for token in RELEASED.special_tokens]
        assert all(len(pieces) == 1 for pieces in ids)
        assert len({pieces[0] for pieces in ids}) == len(ids)
        assert "<ins>" in text.text(text.answer_ids("sun<ins>"))
        assert model.logits(torch.zeros(1, model.hidden_size)).shape[1] > max(max(pieces) for pieces in ids)

    def test_an_image_costs_as_many_tokens_as_it_has_vectors(self):
        model = self.build()
        [image] = model.text_processor.answer_ids(TINY.image_token)
        assert self.prompt(model).count(image) == self.vectors(model).shape[1]
        assert self.vectors(model).shape[2] == model.hidden_size

    def test_image_vectors_stand_at_the_image_tokens(self):
        model = self.build()
        ids = torch.tensor([self.prompt(model)])
        vectors = self.vectors(model)
        [image] = model.text_processor.answer_ids(TINY.image_token)
        embedded = model.embed(ids, vectors)
        assert torch.equal(embedded[ids == image], vectors[0])
        other = model.embed(ids, vectors + 1)
        assert torch.equal(embedded[ids != image], other[ids != image])

    def test_the_cache_gives_the_hidden_states_of_one_forward(self):
        """Of rows of unequal lengths, of whose tokens some are dropped and read again, and one of which ends first."""
        model = self.build()
        vectors, prompts = self.vectors(model, 2).detach(), [self.prompt(model), self.prompt(model, ("red ball", "a"))]
        tails = [
            model.text_processor.answer_ids(text) for text in ("sun <SEG> dog <NEG>", "car <NEG> red ball <SEG> a")
        ]
        assert len(tails[0]) < len(tails[1])
        with torch.no_grad():
            cached = CachedPrompts(model, prompts, vectors)
            pieces = [cached.read(tails)[:, :2]]
            cached.commit(2)
            pieces.append(cached.extend([tail[2:3] for tail in tails], keep=True))
            pieces.append(cached.extend([tail[3 : len(tails[0])] for tail in tails], keep=True))
            pieces.append(cached.extend([[], tails[1][len(tails[0]) :]], keep=True))
            found = torch.cat(pieces, 1)
            for row, (prompt, tail) in enumerate(zip(prompts, tails, strict=True)):
                ids = torch.tensor([prompt + tail])
                whole = self.hidden(model, ids, torch.ones_like(ids), vectors[row : row + 1])[0, len(prompt) :]
                torch.testing.assert_close(found[row, : len(tail)], whole, atol=1e-5, rtol=1e-4)

    def test_a_forward_with_cache_warns_of_nothing(self):
        model = self.build()
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            cached = CachedPrompts(model, [self.prompt(model)], self.vectors(model))
            cached.extend([model.text_processor.answer_ids("sun <SEG>")], keep=False)

    def test_rows_that_are_padded_at_the_left_are_those_that_stand_alone(self):
        model = self.build()
        rows = [self.prompt(model), self.prompt(model, ("sun", "dog", "house", "ball"))]
        ids, mask = left_pad(rows, model.text_processor.padding_token_id, "cpu")
        vectors = self.vectors(model, 2)
        together = self.hidden(model, ids, mask, vectors)
        for place, row in enumerate(rows):
            alone = self.hidden(
                model, torch.tensor([row]), torch.ones(1, len(row), dtype=torch.long), vectors[place : place + 1]
            )
            torch.testing.assert_close(together[place, -len(row) :], alone[0], atol=1e-5, rtol=1e-4)

    def lively(self, model):
        """Weights that make decisions lean on what stands before them; fresh rows of both tokens are alike."""
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for value in (value for value in model.parameters() if value.dim() > 1):
                noise = torch.randn(value.shape, generator=generator)
                value.copy_(2 * (value + noise * value.std()))
        return model

    def trained(self, model):
        """Weights after some steps towards answers of all kinds."""
        text, vectors = model.text_processor, self.vectors(model).detach()
        answers = ("sun <SEG> dog <NEG>", "sun <NEG> dog <SEG>", "sun <SEG> dog <SEG>")
        optimiser = torch.optim.Adam([value for value in model.parameters() if value.requires_grad], 3e-3)
        for answer in answers * 3:
            row = torch.tensor([self.prompt(model) + text.answer_ids(answer)])
            hidden = self.hidden(model, row, torch.ones_like(row), vectors)
            torch.nn.functional.cross_entropy(model.logits(hidden[0, :-1]), row[0, 1:]).backward()
            optimiser.step()
            optimiser.zero_grad()
        return model

    @pytest.mark.parametrize("weights", ["lively", "trained"])
    def test_ordered_decoding_is_greedy_under_the_grammar(self, weights):
        """Over two images, in one batch: lists of unequal lengths, one name, names within names, and a phrase."""
        model = getattr(self, weights)(self.build())
        vectors = self.vectors(model, 2).detach()
        decoder = Decoder(model, TINY, presence_head=presence_head(model.hidden_size))
        if weights == "lively":
            for query, answer in zip(QUERIES, decoder.decode(vectors, QUERIES, "one_pass"), strict=True):
                check_one_pass(decoder, vectors, query, answer)
        decoded = decoder.decode(vectors, QUERIES)
        wanted = [greedy_under_grammar(model, TINY, vectors, query) for query in QUERIES]
        assert [answer.present for answer in decoded] == wanted
        assert weights == "trained" or {True, False} == {there for answer in wanted for there in answer}
        [answer] = decoder.decode(vectors, [BY_TOKEN])
        counts = greedy_tokens(model, TINY, vectors, BY_TOKEN)
        assert token_counts(answer) == counts
        self.is_written_so(model, BY_TOKEN, counts)

    def is_written_so(self, model, query, counts):
        """Check that the answer to learn has the tokens of the answer with one token a name, and those between."""
        text = model.text_processor
        [present], [absent] = map(text.answer_ids, (TINY.present_token, TINY.absent_token))
        left, tokens = iter(counts), []
        for token in text.answer_ids(TINY.render(query.kind, [(name, 0) for name in query.names])):
            tokens += [present] * next(left) or [absent] if token == absent else [token]
        assert text.answer_ids(TINY.render(query.kind, list(zip(query.names, counts, strict=True)))) == tokens

    def test_ordered_decoding_in_half_precision_decides_as_its_own_answer_says(self):
        """Rounding may turn a decision near the threshold; no other one differs from that of one whole forward."""
        model = self.lively(self.build())
        vectors, text = self.vectors(model, 2).detach().to(torch.bfloat16), model.text_processor
        model.to(torch.bfloat16)
        decoder, clear = Decoder(model, TINY), 0
        for query, answer in zip(QUERIES, decoder.decode(vectors, QUERIES), strict=True):
            row = text.prompt_ids(TINY.prompt(query.kind, query.names))
            decided = text.answer_ids(TINY.render(query.kind, list(zip(query.names, answer.present, strict=True))))
            ids = torch.tensor([row + decided])
            hidden = self.hidden(model, ids, torch.ones_like(ids), vectors[query.image : query.image + 1])[0]
            ends = [
                place
                for place in range(len(row), ids.shape[1])
                if int(ids[0, place]) in (decoder.present_id, decoder.absent_id)
            ]
            logits = model.logits(hidden[[place - 1 for place in ends]]).float()
            lead = logits[:, decoder.present_id] - logits[:, decoder.absent_id]
            for there, margin in zip(answer.present, lead.tolist(), strict=True):
                assert there == (margin >= 0) or abs(margin) < 0.05 * logits.abs().max()
                clear += abs(margin) >= 0.05 * logits.abs().max()
        assert clear > 3

    def test_a_remembered_conversation_is_as_if_all_were_read_again(self):
        model, spelling = self.build(), replace(TINY, next_turn="")
        decoder, vectors = Decoder(model, spelling), self.vectors(model, 1)
        histories = [ChatHistory(), ChatHistory()]
        for names, kind in (
            (("sun", "dog"), "categories"),
            (("the red ball",), "referring"),
            (("car", "sun"), "categories"),
        ):
            answers = [decoder.decode(vectors, [Query(0, kind, names)], history=history)[0] for history in histories]
            assert answers[0].present == answers[1].present
            torch.testing.assert_close(answers[0].hidden, answers[1].hidden, atol=1e-4, rtol=1e-3)
            histories[1]._cached = None
        assert histories[0].ids == histories[1].ids

    def test_gradients_reach_what_is_trained(self):
        model = self.build().train()
        ids = torch.tensor([self.prompt(model)])
        hidden = self.hidden(model, ids, torch.ones_like(ids), self.vectors(model))
        model.logits(hidden).square().mean().backward()
        assert all(value.grad is not None for value in model.projector.parameters())

    def test_processor_can_be_sent_to_workers(self):
        text = self.build().text_processor
        again = pickle.loads(pickle.dumps(text))
        assert again.answer_ids("sun <SEG>") == text.answer_ids("sun <SEG>")

    def test_a_checkpoint_can_say_how_to_make_it(self):
        model = self.make()
        assert type(rebuild(config_of(model), LanguageModel)) is type(model)

    @pytest.mark.parametrize("decoding", ["ordered", "free"])
    def test_an_assistant_answers(self, decoding):
        encoder, head = TinyVisionEncoder((32, 32), weights="random"), TinyMaskHead(weights="random")
        assistant = parts.joined(encoder, self.make(), head)
        picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        queries = [Query(0, "categories", ("sun", "red ball", "dog")), Query(0, "referring", ("the ball",))]
        answers = assistant.answers(picture, queries, decoding)
        if decoding == "ordered":
            assert [entry.name for entry in answers[0].entries] == ["sun", "red ball", "dog"]
        assert len(answers) == 2


class TestTinyLanguageModel(LanguageModelContract):
    def make(self):
        return TinyLanguageModel(weights="random", projector="random", image_grid=(2, 2))


class TestLlama(LanguageModelContract):
    kind = "llama"

    def make(self, **settings):
        return CausalLanguageModel(CONFIGS[self.kind], "words", **{"image_grid": (2, 2), "max_length": 256} | settings)


class TestQwen2(TestLlama):
    kind = "qwen2"


class TestGPTNeoX(TestLlama):
    kind = "gpt_neox"


class TestGPT2(TestLlama):
    kind = "gpt2"


class TestOPT(TestLlama):
    kind = "opt"


class TestMistral(TestLlama):
    """All layers look back a window."""

    kind = "mistral"

    def make(self, **settings):
        sizes = {"model_type": self.kind, **WINDOW, **(WINDOWED | RECURRENT_SIZES)[self.kind]}
        return CausalLanguageModel(sizes, "words", **{"image_grid": (2, 2), "max_length": 256} | settings)


class DecodingAgainstWholeForwards:
    """Models some layers of which do not attend to all tokens before, against whole forwards without a cache."""

    def contract(self, kind):
        contract = TestMistral()
        contract.kind = kind
        return contract

    def build(self, kind):
        contract = self.contract(kind)
        model = contract.lively(contract.build())
        return model, contract.vectors(model, 2).detach()

    def test_ordered_decoding_is_greedy_under_the_grammar(self, kind):
        model, vectors = self.build(kind)
        wanted = [greedy_under_grammar(model, TINY, vectors, query) for query in QUERIES]
        assert {True, False} == {there for answer in wanted for there in answer}
        counts = greedy_tokens(model, TINY, vectors, BY_TOKEN)
        for head in (None, presence_head(model.hidden_size)):
            decoder = Decoder(model, TINY, presence_head=head)
            assert [answer.present for answer in decoder.decode(vectors, QUERIES)] == wanted
            assert token_counts(decoder.decode(vectors, [BY_TOKEN])[0]) == counts

    def test_free_decoding_is_greedy(self, kind):
        model, vectors = self.build(kind)
        decoded = Decoder(model, TINY).free(vectors, QUERIES[2:5], max_new_tokens=20)
        for query, answer in zip(QUERIES[2:5], decoded, strict=True):
            assert answer.text == model.text_processor.text(greedy(model, vectors[query.image], query, 20))

    def test_turns_of_a_conversation_are_as_if_all_were_read_again(self, kind):
        model, vectors = self.build(kind)
        head, histories = presence_head(model.hidden_size), [ChatHistory(), ChatHistory()]
        decoder = Decoder(model, replace(TINY, next_turn=""), presence_head=head)
        for query in (QUERIES[0], QUERIES[5], QUERIES[2]):
            answers = [decoder.decode(vectors[:1], [query], history=history)[0] for history in histories]
            assert answers[0].present == answers[1].present
            torch.testing.assert_close(answers[0].hidden, answers[1].hidden, atol=1e-3, rtol=1e-3)
            histories[1]._cached = None


@pytest.mark.parametrize("kind", WINDOWED)
class TestWindows(DecodingAgainstWholeForwards):
    """Layers look back fewer tokens than a row has."""

    def test_the_window_is_looked_through(self, kind):
        """Where it is as long as the row, the model answers otherwise."""
        model, vectors = self.build(kind)
        row = model.text_processor.prompt_ids(TINY.prompt("categories", QUERIES[4].names))
        narrow, config = plain_logits(model, row, vectors[0]), model.llm.config
        assert len(row) >= 2 * config.sliding_window
        config.sliding_window = 256
        assert not torch.allclose(narrow, plain_logits(model, row, vectors[0]), atol=1e-3)


@pytest.mark.skipif(version() < SINCE, reason="older layers cannot go on from their state with several tokens")
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=() if kind in ("lfm2", "qwen3_5_text") else pytest.mark.slow)
        for kind in RECURRENT_SIZES
    ],
)
class TestStates(DecodingAgainstWholeForwards):
    """Layers keep a state in place of keys and values."""

    def test_tokens_are_dropped_from_a_state(self, kind):
        self.contract(kind).test_the_cache_gives_the_hidden_states_of_one_forward()

    def test_padding_leaves_no_trace_in_a_state(self, kind):
        self.contract(kind).test_rows_that_are_padded_at_the_left_are_those_that_stand_alone()


def test_every_model_with_a_state_is_proven():
    assert RECURRENT_SIZES.keys() == PROVEN


def greedy(model, vectors, query, most):
    """Write tokens one at a time, each time over the whole sequence."""
    image_id, end = model.image_token_id, model.text_processor.end_token_id
    row, written = model.text_processor.prompt_ids(TINY.prompt(query.kind, query.names)), []
    while len(written) < most and end not in written:
        logits = plain_logits(model, row + written, vectors)
        logits[image_id] = -torch.inf
        written.append(int(logits.argmax()))
    return written


def built(**settings):
    model = TestLlama().make(**settings)
    model.build(FEATURES, TINY.special_tokens)
    return model


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_new_rows_begin_as_the_mean_of_the_others(kind):
    model = {"llama": TestLlama, "qwen2": TestQwen2}[kind]().build()
    [present], [absent] = (model.text_processor.answer_ids(token) for token in TINY.special_tokens[:2])
    for layer in (model.llm.get_input_embeddings(), model.llm.get_output_embeddings()):
        kept = torch.ones(len(layer.weight), dtype=torch.bool)
        # the package's vocabulary has the image token already
        kept[[present, absent]] = False
        torch.testing.assert_close(layer.weight[present], layer.weight[kept].mean(0))
        assert torch.equal(layer.weight[present], layer.weight[absent])
    tied = model.llm.get_input_embeddings().weight is model.llm.get_output_embeddings().weight
    assert tied == CONFIGS[kind]["tie_word_embeddings"]


def test_new_rows_can_begin_random():
    model = built(new_tokens="random")
    [present], [absent] = (model.text_processor.answer_ids(token) for token in TINY.special_tokens[:2])
    words = model.llm.get_input_embeddings().weight
    assert not torch.allclose(words[present], words[absent])


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize(
    "settings", [{"frozen": True}, {"adapter": LoRA(rank=2, targets=("q_proj",), embeddings=False)}]
)
def test_rows_that_are_not_trained_begin_apart(kind, settings, monkeypatch):
    read = pretrained_model.read_model

    def padded(*given):
        """As in models whose vocabulary was padded with rows that are all the same."""
        model = read(*given)
        with torch.no_grad():
            for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
                layer.weight[40:] = 0.0
        return model

    monkeypatch.setattr(pretrained_model, "read_model", padded)
    model = {"llama": TestLlama, "qwen2": TestQwen2}[kind]().make(**settings)
    model.build(FEATURES, TINY.special_tokens)
    ids = [model.text_processor.answer_ids(token)[0] for token in TINY.special_tokens[:2]]
    for layer in (model.llm.get_input_embeddings(), model.llm.get_output_embeddings()):
        present, absent = layer.weight[ids]
        assert (present - absent).norm() > present.norm() / 2 > 0
        assert not layer.weight.requires_grad


def test_a_vocabulary_with_room_keeps_its_size():
    assert TestQwen2().build().llm.get_input_embeddings().num_embeddings == 3000


def test_adapters_leave_the_layers_and_train_the_projector():
    model = built(adapter=LoRA(rank=2, alpha=4.0, targets=("q_proj",), embeddings=False))
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    assert all("lora_" in name or name.startswith("projector.") for name in trained)
    assert sum("lora_A" in name for name in trained) == 2


def test_a_frozen_model_trains_only_the_projector():
    trained = [name for name, value in built(frozen=True).named_parameters() if value.requires_grad]
    assert trained
    assert all(name.startswith("projector.") for name in trained)


def test_recomputing_gives_the_same_gradients():
    gradients = []
    for recompute in (False, True):
        torch.manual_seed(0)
        model = built(recompute=recompute).train()
        ids = torch.tensor([model.text_processor.prompt_ids(TINY.prompt("categories", ("sun",)))])
        vectors = model.embed_image([torch.ones(1, 24, 4, 4)])
        hidden = model(model.embed(ids, vectors), torch.ones_like(ids), row_positions(torch.ones_like(ids)))
        hidden.square().mean().backward()
        gradients.append(model.llm.get_input_embeddings().weight.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"adapter": LoRA(targets=("wq",))}, r"no linear layer is called \['wq'\]; the model has .*q_proj"),
        (
            {"adapter": LoRA(targets=("self_attn.q_proj", "v_proj"))},
            r"layer is called \['self_attn.q_proj'\]; .* has .*q_proj.*; a target is the last part of a name: 'q_proj'",
        ),
        ({"quantization": "3bit"}, "quantization: there is no '3bit'; choose '4bit' or '8bit', or leave it out"),
        ({"quantization": "4bit"}, "quantization: '4bit' needs .*leave it out, or take dtype: bfloat16"),
        ({"max_length": 100_000}, "takes rows of at most 2048 tokens, got 100000"),
    ],
)
def test_settings_that_cannot_be_met(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        built(**settings)


@pytest.mark.parametrize(
    ("model", "tokenizer", "reason"),
    [
        (
            "nobody/nothing",
            None,
            r"model: 'nobody/nothing' is neither a local folder nor in the hub.*download: true",
        ),
        (
            "nobody/nothing",
            "words",
            r"model: 'nobody/nothing' is neither a local folder nor in the hub.*download: true",
        ),
        (
            {"model_type": "nonsense"},
            "words",
            r"these settings are not a valid config \(transformers [\d.]+ has no model_type 'nonsense'\); upgrade",
        ),
        ({"model_type": "llama", "hidden_size": "x"}, "words", r"not a valid config \(.*'hidden_size' expected int"),
    ],
)
def test_models_that_are_not_here(model, tokenizer, reason, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match=reason):
        CausalLanguageModel(model, tokenizer).build(FEATURES, TINY.special_tokens)


class Splitting:
    """A tokeniser that takes no new tokens."""

    def get_vocab(self):
        return {"<": 0}

    def add_tokens(self, tokens, special_tokens):
        return 0

    def __call__(self, text, add_special_tokens):
        return SimpleNamespace(input_ids=list(text))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"adapter": LoRA(targets=("wq",))}, r"adapter\.targets: no linear layer is called \['wq'\]"),
        ({"max_length": 100_000}, "max_length: the model takes rows of at most 2048 tokens"),
        ({}, r"tokenizer: it splits \['<SEG>', .*choose another prompt format"),
    ],
)
def test_no_weight_is_read_for_what_cannot_be(settings, reason, monkeypatch):
    if not settings:
        monkeypatch.setattr(pretrained_model, "read_tokenizer", lambda *_: Splitting())
    monkeypatch.setattr(pretrained_model, "read_model", lambda *_: pytest.fail("weights were read"))
    with pytest.raises(ConfigError, match=reason):
        built(**settings)


def test_a_look_at_the_layers_leaves_fresh_weights_as_they_are():
    """So that a seed gives the same weights with and without what is checked before."""
    plain, adapted = TestLlama().build(), TestLlama()
    adapted.make = lambda: TestLlama().make(adapter=LoRA(rank=2, targets=("q_proj",)))
    words = [model.llm.get_input_embeddings().weight for model in (plain, adapted.build())]
    assert torch.equal(*words)


def test_a_folder_whose_model_transformers_does_not_have(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "nonsense"}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"^model: that of .* is not a valid config \(.* no model_type 'nonsense'\)"):
        CausalLanguageModel(str(tmp_path), "words").build(FEATURES, TINY.special_tokens)


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_model_of_another_kind_is_called_so(in_folder, tmp_path):
    """T5 reads and writes with two halves, and is no causal language model."""
    settings = {"model_type": "t5", "d_model": 16, "num_layers": 1, "num_heads": 2, "d_ff": 16, "vocab_size": 60}
    (tmp_path / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    model = CausalLanguageModel(str(tmp_path) if in_folder else settings, "words")
    with pytest.raises(ConfigError, match=r"^model: .* is a 't5', which is not a causal language model; .*another"):
        model.build(FEATURES, TINY.special_tokens)


def test_settings_that_a_model_cannot_be_made_of():
    settings = CONFIGS["opt"] | {"num_attention_heads": 5}
    with pytest.raises(ConfigError, match=r"^model: these settings make no valid model \(embed_dim must be divisible"):
        CausalLanguageModel(settings, "words").build(FEATURES, TINY.special_tokens)


STATEFUL = {
    "mamba": {"hidden_size": 32, "state_size": 4, "num_hidden_layers": 2, "vocab_size": 60},
    "jamba": {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "vocab_size": 60,
        "use_mamba_kernels": False,
    },
}


@pytest.mark.parametrize("kind", STATEFUL)
def test_models_that_cannot_forget_the_last_tokens_are_refused(kind):
    settings = {"model_type": kind, **STATEFUL[kind]}
    reason = (
        rf"^model: some layers of a '{kind}' keep no attention keys and values, .*; take one of lfm2, lfm2_moe, qwen3_5"
    )
    with pytest.raises(ConfigError, match=reason):
        CausalLanguageModel(settings, "words").build(FEATURES, TINY.special_tokens)


@pytest.mark.parametrize("kind", ["conv", "linear_attention", "hybrid", "hybrid_sliding"])
def test_layers_with_a_state_of_unknown_models_are_refused(kind):
    """Transformers says so of some models only by the names of their layers."""
    with pytest.raises(ConfigError, match="model: some layers of a 'unheard_of' keep no attention keys and values"):
        recurrent.check_recurrent(SimpleNamespace(model_type="unheard_of", layer_types=["full_attention", kind]))


def test_versions_in_which_states_cannot_go_on_are_refused(monkeypatch):
    monkeypatch.setattr(recurrent, "version", lambda: (5, 5))
    model = CausalLanguageModel({"model_type": "lfm2", **WINDOW, **RECURRENT_SIZES["lfm2"]}, "words")
    with pytest.raises(ConfigError, match=r"^model: a 'lfm2' needs transformers 5\.15, .* got 5\.5; upgrade it"):
        model.build(FEATURES, TINY.special_tokens)


def test_what_the_constructor_refuses():
    with pytest.raises(ConfigError, match=r"max_length: 4 leaves no room beside the image's \(2, 2\) tokens"):
        CausalLanguageModel("x", image_grid=(2, 2), max_length=4)
    with pytest.raises(ConfigError, match="image_grid: expected at least one row"):
        CausalLanguageModel("x", image_grid=(0, 1))
    with pytest.raises(
        ConfigError, match='tokenizer: a model given by settings has no tokeniser; give a folder, or "words"'
    ):
        CausalLanguageModel(CONFIGS["llama"])
