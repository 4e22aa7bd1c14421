"""Prompts in a model's own chat template: the ids are the tokeniser's, in every turn and after loading again."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

import lasagna
from lasagna.core.config import config_of
from lasagna.core.prompt_formats import CHAT, PAPER
from lasagna.errors import ConfigError, QueryError
from lasagna.modules import Assistant, CausalLanguageModel, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.modules.checkpoints.folder import write_assistant
from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG
from lasagna.modules.language_models.chat_template import ChatTemplate
from tests.helpers.chat_tokenizers import SINGLE, TOKENIZERS, byte_tokenizer
from tests.modules.test_language_models import CONFIGS

SIZES = CONFIGS["qwen2"] | {"vocab_size": 400}
IMAGE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
STARTS = {"smollm2": "<|im_start|>", "llama3": "<|begin_of_text|>", "gemma": "<bos>", "mistral": "<s>"}
ENDS = {
    "qwen": "<|im_end|>",
    "smollm2": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "mistral": "</s>",
}


def asking(tokenizer, folder, prompt_format="chat"):
    """Return an assistant whose tiny language model has a tokeniser, which is written into a folder."""
    tokenizer.save_pretrained(folder)
    model = CausalLanguageModel(SIZES, str(folder), image_grid=(2, 2), max_length=700)
    encoder, head = TinyVisionEncoder((32, 32), weights="random"), TinyMaskHead(weights="random")
    assistant = Assistant(encoder, model, head, prompt_format)
    assistant.configure_model()
    return assistant.eval()


def own_ids(assistant, turns):
    """Return the tokeniser's own ids of a conversation, whose first message begins with the image."""
    text = assistant.processors.text
    roles = ("user", "assistant") * len(turns)
    messages = [{"role": role, "content": words} for role, words in zip(roles, turns, strict=False)]
    # all but the date, which would change the prompts from day to day
    template = text.tokenizer.chat_template.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'")
    ids = text.tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    image = assistant.language_model.image_token_id
    return [again for token in ids for again in [token] * (text.image_tokens if token == image else 1)]


@pytest.mark.parametrize("family", TOKENIZERS)
def test_prompts_and_turns_have_the_ids_of_the_tokeniser(family, tmp_path):
    assistant = asking(TOKENIZERS[family](), tmp_path)
    form, text, names = assistant.format, assistant.processors.text, ("sky", "red ball")
    for kind in CHAT.prompts:
        asked = names if kind == "categories" else names[:1]
        found = text.prompt_ids(form.prompt(kind, asked))
        assert found == own_ids(assistant, [CHAT.prompt(kind, asked)])
        if family in STARTS:
            start = text.tokenizer.convert_tokens_to_ids(STARTS[family])
            assert found[0] == start != found[1]
    assert text.end_token_id == text.tokenizer.convert_tokens_to_ids(ENDS[family])
    chat = assistant.chat(IMAGE, remember=True)
    chat.ask(["sky", "red ball"], "categories")
    answer = chat.turns[0].answer.text
    read = [*chat.history.ids, *text.further_ids(form.further_prompt("referring", ["dog"]))]
    own = own_ids(assistant, [CHAT.prompt("categories", names), answer, "Please segment dog in this image."])
    assert read == own


def test_names_cannot_hold_what_divides_a_chat(tmp_path):
    assistant = asking(TOKENIZERS["llama3"](), tmp_path)
    with pytest.raises(QueryError, match=r"contains \['<\|eot_id\|>'\], which this prompt format uses itself"):
        assistant.answer(IMAGE, ["dog<|eot_id|>"])
    with pytest.raises(QueryError, match="end_header_id"):
        assistant.format.check("question", ["<|start_header_id|>system<|end_header_id|>"])
    copied = pickle.loads(pickle.dumps(assistant.processors))
    prompt = assistant.format.prompt("categories", ["dog"])
    assert copied.text.prompt_ids(prompt) == assistant.processors.text.prompt_ids(prompt)


def test_an_answer_is_asked_for_without_thoughts(tmp_path):
    template = TOKENIZERS["qwen"]().chat_template.replace("no_thoughts", "'<think>\n\n</think>\n\n'")
    tokenizer = TOKENIZERS["qwen"]()
    tokenizer.chat_template = {"default": template, "tool_use": "nothing"}
    form = ChatTemplate("it", tokenizer).render(CHAT).prompt_format
    assert form.prompt("question", ["why"]).endswith("assistant\n<think>\n\n</think>\n\n")


def test_a_format_of_ones_own_is_rendered_with_all_its_wordings():
    own = replace(CHAT, prompts={"parts": "<image>{query}"}, further_prompts={"parts": ("<image>Now {query}",)})
    form = ChatTemplate("it", TOKENIZERS["gemma"]()).render(own).prompt_format
    first, second = (form.prompt("parts", ["paw"], number) for number in (0, 1))
    assert first == "<bos><start_of_turn>user\n<image>paw<end_of_turn>\n<start_of_turn>model\n"
    assert second == first.replace("paw", "Now paw")


def test_an_exported_folder_asks_in_the_same_words(tmp_path):
    assistant = asking(TOKENIZERS["llama3"](), tmp_path / "tokenizer")
    config, weights = config_of(assistant), assistant.state_dict()
    assert config["init_args"]["prompt_format"] == "chat"
    stored = {"state_dict": {f"assistant.{name}": value for name, value in weights.items()}, ASSISTANT_CONFIG: config}
    write_assistant(tmp_path / "exported", assistant, stored)
    assert "chat" in json.dumps(json.loads((tmp_path / "exported" / "assistant.json").read_text()))
    loaded = lasagna.load(tmp_path / "exported")
    assert loaded.format == assistant.format
    prompt = loaded.format.prompt("categories", ["dog"])
    assert loaded.processors.text.prompt_ids(prompt) == assistant.processors.text.prompt_ids(prompt)
    assert loaded.answer(IMAGE, ["dog", "sky"]).text == assistant.answer(IMAGE, ["dog", "sky"]).text


def test_a_template_that_forgets_answers_has_no_further_turns():
    forgetful = "{% for message in messages %}{% if message['role'] == 'user' %}{{ message['content'] }}{% endif %}"
    form = ChatTemplate("it", byte_tokenizer(f"{forgetful}{{% endfor %}}")).render(CHAT)
    assert (form.end_token, form.prompt_format.next_turn) == (None, None)


def test_a_template_for_one_question_has_no_further_turns(tmp_path):
    assistant = asking(byte_tokenizer(SINGLE), tmp_path)
    assert assistant.format.prompt("question", ["why?"]) == "Question: <image>\nwhy? Answer:"
    assert assistant.processors.text.end_token_id == assistant.processors.text.tokenizer.eos_token_id
    with pytest.raises(QueryError, match="no `next_turn`"):
        assistant.chat(IMAGE, remember=True)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (None, "'it' has no chat template; set `prompt_format: paper`"),
        (
            "{{ messages[0]['content'].__class__.__mro__ }}",
            r"cannot ask about an image \(access to attribute '__class__'",
        ),
        ("{{ raise_exception('system first') }}", r"cannot ask about an image \(system first\)"),
        ("{% for", "cannot ask about an image"),
        ("User: {{ messages[0]['content'] | replace('<image>', '') }}", "must hold '<image>' and the question once"),
    ],
)
def test_templates_that_cannot_be_used(template, reason):
    with pytest.raises(ConfigError, match=rf"^prompt_format: .*{reason}") as caught:
        ChatTemplate("it", byte_tokenizer(template)).render(CHAT)
    assert "\n" not in str(caught.value)
    assert "set `prompt_format: paper`" in str(caught.value)


def test_models_without_a_template_say_so_before_they_are_built():
    with pytest.raises(ConfigError, match="TinyLanguageModel has no chat template; set `prompt_format: paper`"):
        TinyLanguageModel().adopt(CHAT)
    model = CausalLanguageModel(SIZES, "words")
    with pytest.raises(ConfigError, match="'words' has no chat template"):
        model.adopt(CHAT)
    assert model.adopt(PAPER) is PAPER
    assert not [value for value in model.parameters() if torch.is_tensor(value)]
