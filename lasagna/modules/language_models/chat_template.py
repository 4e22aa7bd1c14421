"""A prompt format in the chat template of a language model, which transformers renders in its sandbox."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from string import punctuation
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase, ProcessorMixin

from lasagna.core.prompt_format import PromptFormat
from lasagna.errors import ConfigError

_DAY = date(2024, 7, 26)
"""Today in templates that name the date, which is Llama 3's own default; prompts must not change from day to day."""

_CODES = {code: _DAY.strftime(code) for code in ("%A", "%a", "%B", "%b", "%d", "%j", "%m", "%Y", "%y")}
_CLOCK = "".join(f" | replace('{code}', '{text}')" for code, text in (_CODES | {"%-d": str(_DAY.day)}).items())
_FIXED = f"{{% macro strftime_now(format) %}}{{{{ format{_CLOCK} }}}}{{% endmacro %}}"

_ASKED, _ANSWERED, _NEXT = "first question", "answer to it", "next question"
_FAULTS = (ArithmeticError, AttributeError, ImportError, LookupError, TemplateError, TypeError, ValueError)
"""What a template may raise; it is a program."""


@dataclass(frozen=True)
class ChatFormat:
    """A prompt format whose prompts are rendered.

    Args:
        prompt_format: The format.
        end_token: Token that ends an answer, or None for the tokeniser's own end token.
    """

    prompt_format: PromptFormat
    end_token: str | None

    @property
    def sample(self) -> str:
        """One of the prompts."""
        return next(iter(self.prompt_format.prompts.values()))


@dataclass(frozen=True)
class ChatTemplate:
    """The chat template of a model.

    Args:
        name: Folder or name of the model, for messages.
        tokenizer: Its tokeniser.
        template: The template of its processor, or None for the tokeniser's own.
        image_token: Token that the template puts in the place of an image; None for a model that has never seen an
            image, whose messages hold the image token of the prompt format as text.
        enclosing: Tokens around the image, which the text processor adds.
        placeholder: What the template writes for an image, if it is another token.
    """

    name: str
    tokenizer: PreTrainedTokenizerBase
    template: str | None = None
    image_token: str | None = None
    enclosing: tuple[str, str] = ("", "")
    placeholder: str | None = None

    def render(self, prompt_format: PromptFormat) -> ChatFormat:
        """Render the prompts of a format, each as the message of a user.

        Args:
            prompt_format: The format, with messages as its prompts.

        Raises:
            ConfigError: If there is no template, or it has no place for an image and a question.
        """
        first, further = prompt_format.prompts, prompt_format.further_prompts
        rendered = {text: self._prompt(text, prompt_format) for text in (*first.values(), *sum(further.values(), ()))}
        end_token, next_turn = self._turns(prompt_format)
        written = [*rendered.values(), *self.enclosing, end_token or "", next_turn or ""]
        form = replace(
            prompt_format,
            image_token=self.image_token or prompt_format.image_token,
            prompts={kind: rendered[text] for kind, text in first.items()},
            further_prompts={kind: tuple(rendered[text] for text in texts) for kind, texts in further.items()},
            next_turn=next_turn,
            reserved_tokens=(*prompt_format.reserved_tokens, *self._own_tokens(written, rendered)),
            chat_template=False,
            image_separator=self._separator(prompt_format),
        )
        return ChatFormat(form, end_token)

    def _prompt(self, text: str, prompt_format: PromptFormat) -> str:
        prompt = self._rendered([self._asked(text, prompt_format)])
        image = self.image_token or prompt_format.image_token
        prompt = prompt.replace(self.placeholder or image.join(self.enclosing), image)
        if prompt.count(image) != 1 or prompt.count("{query}") != 1:
            raise self._unusable(f"a prompt must hold {image!r} and the question once, it renders {prompt!r}")
        return prompt

    def _separator(self, prompt_format: PromptFormat) -> str | None:
        """Return what stands between two images, or None if the template takes only one."""
        if self.image_token is None:
            return prompt_format.image_separator
        message = self._asked(prompt_format.image_token + _ASKED, prompt_format)
        try:
            one = self._rendered([message])
            two = self._rendered([{**message, "content": [{"type": "image"}, *message["content"]]}])
        except ConfigError:
            return None
        image = self.placeholder or self.image_token.join(self.enclosing)
        image = image if image in one else self.image_token
        before, _, behind = one.partition(image)
        between = two.removeprefix(before + image).removesuffix(image + behind)
        return between if two == before + image + between + image + behind else None

    def _turns(self, prompt_format: PromptFormat) -> tuple[str | None, str | None]:
        """Return the token that ends an answer, and what stands between it and the next question, if there is one."""
        text = prompt_format.image_token + _ASKED
        turns = [self._asked(text, prompt_format), self._message(_ANSWERED, "assistant")]
        try:
            closing = self._rendered(turns, generates=False).rpartition(_ANSWERED)[2]
            conversation = self._rendered([*turns, self._message(_NEXT)])
        except ConfigError:  # a template for a single question
            return None, None
        before, _, _ = conversation.rpartition(_NEXT)
        _, answered, between = before.rpartition(_ANSWERED)
        return self._end(closing)[0], self._end(between)[1] if answered else None

    def _end(self, text: str) -> tuple[str | None, str]:
        """Return the token at the start of a text, or None, and what follows."""
        trimmed = text.lstrip()
        ends = [token for token in self._added_tokens if trimmed.startswith(token)]
        return (max(ends, key=len), trimmed[len(max(ends, key=len)) :]) if ends else (None, text)

    @property
    def _added_tokens(self) -> list[str]:
        # some tokenisers also have added tokens for several blanks
        return [token for token in self.tokenizer.added_tokens_encoder if set(token) & set(punctuation)]

    def _own_tokens(self, rendered: Iterable[str], messages: Iterable[str]) -> list[str]:
        """Return the tokens by which the template divides a conversation; in a name they would do so too."""
        written, asked = "\0".join(rendered), "\0".join(messages)
        return [token for token in self._added_tokens if token in written and token not in asked]

    def _asked(self, text: str, prompt_format: PromptFormat) -> dict[str, Any]:
        """Return the message that asks about an image."""
        before, _, after = text.partition(prompt_format.image_token)
        if self.image_token is None:
            return self._message(text)
        words = self._message(f"{before.strip()} {after.strip()}".strip())
        return {**words, "content": [{"type": "image"}, *words["content"]]}

    def _message(self, text: str, role: str = "user") -> dict[str, Any]:
        return {"role": role, "content": text if self.image_token is None else [{"type": "text", "text": text}]}

    @property
    def _source(self) -> str:
        """The template, in which today is always the same day."""
        if self.template is None and self.tokenizer.chat_template is None:
            raise ConfigError(
                f"prompt_format: {self.name!r} has no chat template; set `prompt_format: paper`, or give a `tokenizer` "
                "that has one"
            )
        source = self.tokenizer.get_chat_template(self.template)
        return f"{_FIXED}{source}" if "strftime_now" in source else source

    def _rendered(self, messages: list[dict[str, Any]], generates: bool = True) -> str:
        try:
            rendered = self.tokenizer.apply_chat_template(
                messages,
                chat_template=self._source,
                tokenize=False,
                add_generation_prompt=generates,
                enable_thinking=False,
            )
        except _FAULTS as error:
            raise self._unusable((str(error).splitlines() or [type(error).__name__])[0]) from error
        return str(rendered)

    def _unusable(self, reason: str) -> ConfigError:
        return ConfigError(
            f"prompt_format: the chat template of {self.name!r} cannot ask about an image ({reason[:200]}); set "
            "`prompt_format: paper`"
        )


def processor_template(model: str, download: bool = False) -> str | None:
    """Return the chat template of a model's processor, or None.

    Args:
        model: A folder, or a name on the hub.
        download: Whether the network may be used.

    Raises:
        ConfigError: If the processor's file cannot be read.
    """
    try:
        settings, _ = ProcessorMixin.get_processor_dict(model, local_files_only=not download)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"model: the processor of {model!r} cannot be read ({error}); download it again") from error
    template = settings.get("chat_template")
    return template.get("default") if isinstance(template, dict) else template
