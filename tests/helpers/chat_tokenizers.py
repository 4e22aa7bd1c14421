"""Tokenisers with chat templates in the shape of those of well-known models, and folders that hold them."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}"
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}{{ no_thoughts }}{% endif %}{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% if strftime_now is defined %}{{ '<|start_header_id|>system<|end_header_id|>\n\nToday Date: ' + "
    "strftime_now('%d %b %Y') + '<|eot_id|>' }}{% endif %}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for message in messages %}{% set role = 'model' if message['role'] == 'assistant' else 'user' %}"
    "{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
)
SINGLE = (
    "{% if messages | length > 1 %}{{ raise_exception('one question only') }}{% endif %}"
    "Question: {{ messages[0]['content'] }} Answer:"
)


def byte_tokenizer(template, special=(), bos=None, eos="</s>", adds_start=False):
    """Return a tokeniser whose tokens are bytes and special tokens."""
    vocabulary = {character: rank for rank, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _finished(tokenizer, template, special, bos, eos, adds_start)


def blank_tokenizer(template, special=(), bos="<s>", eos="</s>", adds_start=True, prepends="first"):
    """Return a tokeniser of characters that puts a blank before a text, as SentencePiece does unless told not to."""
    characters = ["<unk>", *map(chr, range(33, 127)), "\u2581", "\n"]
    vocabulary = {character: rank for rank, character in enumerate(characters)}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Replace(" ", "\u2581")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=prepends, split=False)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=prepends)
    return _finished(tokenizer, template, special, bos, eos, adds_start)


def _finished(tokenizer, template, special, bos, eos, adds_start):
    tokens = dict.fromkeys([*([bos] if bos else []), eos, *special])
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in tokens])
    if adds_start:
        start = (bos, tokenizer.token_to_id(bos))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[start])
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=bos, eos_token=eos)
    made.chat_template = template
    return made


CHATML_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
HEADERS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
TURNS = ("<start_of_turn>", "<end_of_turn>")
TOKENIZERS = {
    "qwen": lambda: byte_tokenizer(CHATML, CHATML_TOKENS, eos="<|im_end|>"),
    "smollm2": lambda: byte_tokenizer(CHATML, CHATML_TOKENS, bos="<|im_start|>", eos="<|im_end|>"),
    "llama3": lambda: byte_tokenizer(LLAMA3, HEADERS, bos="<|begin_of_text|>", eos="<|eot_id|>", adds_start=True),
    "gemma": lambda: blank_tokenizer(GEMMA, TURNS, bos="<bos>", eos="<eos>", prepends="never"),
    "mistral": lambda: blank_tokenizer(MISTRAL),
}
"""A tokeniser in the shape of each family's."""
