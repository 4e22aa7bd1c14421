"""Names are found at the token that holds their last character, whatever the tokeniser and the prompt format."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lasagna.core.image_prompts import prompt_ids
from lasagna.core.name_places import check_names_behind_image, name_places
from lasagna.core.prompt_formats import CHAT, LISA, PAPER, PROMPT_FORMATS, RELEASED, TINY
from lasagna.core.query_kind import QueryKind
from lasagna.errors import ConfigError
from lasagna.modules import TokenizerTextProcessor
from lasagna.modules.image_text.text import ImageFirst, PrefixFirst
from lasagna.modules.language_models.chat_template import ChatTemplate
from lasagna.modules.language_models.text_processor import ChatTextProcessor
from lasagna.modules.tiny.tokenizer import WordTextProcessor, build_tokenizer
from tests.helpers.chat_tokenizers import TOKENIZERS, blank_tokenizer, byte_tokenizer

NAMES = ["dog", "dog  house", "traffic light", "house dog", "caf\u00e9", "man (left)", "dog"]
"""Names that begin or end with others, of several words, with a sign at the end, and one twice."""

SPECIAL = (PAPER.image_token, *PAPER.special_tokens[:2], "\n")


def words():
    return WordTextProcessor(build_tokenizer(["dog", "house", "light", "left"]), "<image>", 3, 2, 0, 512)


def of(kind, tokenizer, **more):
    end = tokenizer.eos_token_id
    return kind(tokenizer, "<image>", 3, end_token_id=end, padding_token_id=end, max_length=512, **more)


class Plain:
    """Knows nothing of characters, as text processors of users."""

    def __init__(self, text):
        self.prompt_ids, self.answer_ids, self.text = text.prompt_ids, text.answer_ids, text.text


PROCESSORS = {
    "words": words,
    "bytes": lambda: of(TokenizerTextProcessor, byte_tokenizer(None, SPECIAL)),
    "blanks": lambda: of(TokenizerTextProcessor, blank_tokenizer(None, SPECIAL)),
    "image first": lambda: of(ImageFirst, byte_tokenizer(None, SPECIAL, bos="<s>")),
    "prefix first": lambda: of(PrefixFirst, byte_tokenizer(None, SPECIAL, bos="<s>")),
    "plain": lambda: Plain(of(TokenizerTextProcessor, byte_tokenizer(None, SPECIAL))),
}


def ends_of(text, form, kind, names, wording=0, images=1):
    """Return what a tokeniser makes of the words of a prompt up to the place of each name."""
    ids = prompt_ids(text, form, kind, names, wording, images)
    places, length = name_places(text, form, kind, names, wording, images)
    assert (length, places) == (len(ids), sorted(places))
    last_image = len(ids) - 1 - ids[::-1].index(text.answer_ids("<image>")[-1])
    assert last_image < places[0]
    return [text.text(ids[last_image + 1 : place + 1]) for place in places], [ids[: place + 1] for place in places]


def spelled(text, name):
    return text.text(text.answer_ids(" ".join(name.split()))).strip()


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("form", [TINY, PAPER, RELEASED, LISA], ids=["tiny", "paper", "released", "lisa"])
def test_names_end_where_they_are_written(kind, form):
    text = PROCESSORS[kind]()
    for wording, images in ((0, 1), (1, 1), (0, 2)):
        found, starts = ends_of(text, form, "categories", NAMES, wording, images)
        before = -1
        for name, words_so_far, ids in zip(NAMES, found, starts, strict=True):
            assert words_so_far.endswith(spelled(text, name))
            assert len(ids) > before
            assert not text.text(ids[:-1]).endswith(spelled(text, name))
            before = len(ids)
        [phrase], _ = ends_of(text, form, "referring", NAMES[5:6], wording, images)
        assert phrase.endswith(spelled(text, NAMES[5]))


@pytest.mark.parametrize("family", TOKENIZERS)
def test_names_are_found_in_chat_templates(family):
    tokenizer = TOKENIZERS[family]()
    tokenizer.add_special_tokens({"additional_special_tokens": list(SPECIAL[:3])})
    chat = ChatTemplate("name", tokenizer).render(CHAT)
    text = of(ChatTextProcessor, tokenizer, sample=chat.sample, enclosing=("[", "]"))
    found, _ = ends_of(text, chat.prompt_format, "categories", NAMES)
    assert all(words.endswith(spelled(text, name)) for words, name in zip(found, NAMES, strict=True))


def test_the_last_character_may_share_its_token_with_what_follows_and_may_take_several():
    vocabulary = {character: rank for rank, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE({**vocabulary, "),": 256, "g,": 257}, [(")", ","), ("g", ",")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>")
    made.add_special_tokens({"additional_special_tokens": list(SPECIAL[:3])})
    text = of(TokenizerTextProcessor, made)
    for located in (text, Plain(text)):
        found, _ = ends_of(located, PAPER, "categories", NAMES)
        wanted = ["dog,", "dog house", "traffic light", "house dog,", "caf\u00e9", "man (left),", "dog"]
        assert all(words.endswith(name) for words, name in zip(found, wanted, strict=True)), found


def test_formats_that_name_things_before_the_image_are_refused():
    blind = {**PAPER.prompts, "referring": "Segment {query} in <image>, please"}
    with pytest.raises(ConfigError, match=r"^prompt_format: the prompt of 'referring' has its names before the image"):
        check_names_behind_image(replace(PAPER, prompts=blind), "presence_head")
    further = {"referring": ("{query} in <image>",)}
    with pytest.raises(ConfigError, match=r"write {query} behind '<image>', or leave out `presence_head`"):
        check_names_behind_image(replace(PAPER, further_prompts=further), "presence_head")
    check_names_behind_image(replace(PAPER, prompts={**PAPER.prompts, "question": "{query} in <image>"}), "it")
    own = replace(PAPER, prompts={**PAPER.prompts, "counting": "{query} in <image>"})
    check_names_behind_image(own, "it", [QueryKind("counting", masks=False, words=True)])
    check_names_behind_image(own, "it")  # whether it decides is not known from the format
    with pytest.raises(ConfigError, match=r"the prompt of 'counting' has its names before the image"):
        check_names_behind_image(own, "it", [QueryKind("counting", many=True)])
    for form in PROMPT_FORMATS.values():
        check_names_behind_image(form, "it")
