"""The tiny language model: tokens, image places, adapters."""

from __future__ import annotations

import pytest
import torch

from lasagna.errors import ConfigError
from lasagna.modules import LoRA, TinyLanguageModel, TinyVisionEncoder
from lasagna.modules.tiny.tokenizer import build_tokenizer

SPEC = TinyVisionEncoder(weights="random").spec
TOKENS = ("<SEG>", "<NEG>", "<image>")


def built(**settings):
    model = TinyLanguageModel(weights="random", projector="random", **settings)
    model.build(SPEC, TOKENS)
    return model.eval()


def test_known_words_are_one_token_and_others_are_spelled():
    tokenizer = build_tokenizer(["sky", "wall"])
    assert len(tokenizer("sky wall").input_ids) == 2
    assert tokenizer.decode(tokenizer("Zebra-42 sky", add_special_tokens=False).input_ids) == "zebra - 42 sky"


def test_special_tokens_are_one_piece_each_even_between_words():
    text = built().text_processor
    present, absent = text.answer_ids("<SEG>"), text.answer_ids("<NEG>")
    assert len(present) == len(absent) == 1
    assert text.answer_ids("sky<SEG>wall<NEG>")[1::2] == present + absent


def test_an_image_costs_as_many_tokens_as_its_grid_has_cells():
    text = built(image_grid=(3, 5)).text_processor
    image = text.answer_ids("<image>")[0]
    assert text.prompt_ids("<image> list sky answer").count(image) == 15


def test_image_vectors_stand_at_the_image_tokens_of_their_rows():
    model = built(image_grid=(2, 2))
    image = model.image_token_id
    ids = torch.tensor([[image] * 4 + [7, 8], [image] * 4 + [9, 0]])
    vectors = torch.arange(2 * 4 * 128, dtype=torch.float).view(2, 4, 128)
    embedded = model.embed(ids, vectors)
    torch.testing.assert_close(embedded[:, :4], vectors)
    torch.testing.assert_close(embedded[0, 4], model.llama.get_input_embeddings().weight[7])


def test_rows_without_image_take_none_of_the_vectors():
    model = built(image_grid=(2, 2))
    ids = torch.tensor([[7, 8, 9, 5, 6], [model.image_token_id] * 4 + [6]])
    vectors = torch.randn(2, 4, 128)
    torch.testing.assert_close(model.embed(ids, vectors)[1, :4], vectors[1])


def test_decision_tokens_start_from_yes_and_no():
    model = built()
    ids, words = model.tokenizer.convert_tokens_to_ids, model.llama.get_input_embeddings().weight
    assert torch.equal(words[ids("<SEG>")], words[ids("<yes>")])
    assert torch.equal(words[ids("<NEG>")], words[ids("<no>")])


def test_adapters_train_and_their_layers_do_not():
    model = built(adapter=LoRA(rank=2))
    trained = {name for name, parameter in model.llama.named_parameters() if parameter.requires_grad}
    assert {name.rpartition(".")[0] for name in trained if "lora_" not in name} == {"model.embed_tokens"}
    assert sum("lora_A" in name for name in trained) == 4 * 7
    assert built(adapter=LoRA(rank=2, embeddings=False)).llama.get_input_embeddings().weight.requires_grad is False


def test_adapter_targets_that_match_nothing_are_named():
    with pytest.raises(ConfigError, match=r"adapter.targets: no linear .* called \['query'\]; the model has .*q_proj"):
        built(adapter=LoRA(targets=("query",)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ()}, "adapter.targets: it is empty"),
        ({"rank": 0}, "adapter.rank: .*0"),
        ({"dropout": 1.5}, "adapter.dropout: .*1.5"),
    ],
)
def test_adapters_that_cannot_work(settings, message):
    with pytest.raises(ConfigError, match=message):
        LoRA(**settings)


def test_special_tokens_are_reserved():
    assert set(built().text_processor.reserved_tokens) >= {*TOKENS, "<end>", "<pad>", "<unk>", "<yes>", "<no>"}
