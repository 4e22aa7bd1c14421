"""Checks of a prompt format: that answers can be written and read in it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING

from lasagna.core.query_kind import KINDS, RENAMED_KINDS, renamed

if TYPE_CHECKING:
    from lasagna.core.prompt_format import PromptFormat


_SHOWN = 80
"""Number of characters of a text that a message shows."""


def format_errors(form: PromptFormat) -> list[str]:
    """Return what is wrong with a prompt format: missing texts, and those that cannot be told apart.

    Args:
        form: The format.
    """
    return [*_token_errors(form), *_prompt_errors(form), *_joint_errors(form)]


def _token_errors(form: PromptFormat) -> list[str]:
    names = ("present_token", "absent_token", "image_token")
    empty = [name for name in names if not getattr(form, name).strip()]
    errors = [f"{name}: it is empty; give a token such as '<SEG>'" for name in empty]
    for rank, name in enumerate(names):
        for other in () if empty else names[:rank]:
            one, two = getattr(form, other), getattr(form, name)
            if one in two or two in one:
                errors.append(f"{other} {one!r} and {name} {two!r}: neither may contain the other")
    return errors


def _prompt_errors(form: PromptFormat) -> list[str]:
    given: dict[str, Iterable[str]] = {"prompts": form.prompts, "further_prompts": form.further_prompts}
    if former := [f"{place}: {renamed(k)}" for place, kinds in given.items() for k in kinds if k in RENAMED_KINDS]:
        return former
    if not form.prompts:
        return [f"prompts: there is none; give one for each kind of query that is asked, such as {', '.join(KINDS)}"]
    missing = [kind for kind in KINDS if kind not in form.prompts]
    others = [kind for kind in form.prompts if kind not in KINDS and kind not in form.own_kinds]
    if misspelt := {kind: near for kind in others for near in _near(kind, missing)}:
        return [
            f"prompts: there is no kind {kind!r}; did you mean {near!r}? If it is a kind of your own, list it in "
            f"`own_kinds`: [{kind}]"
            for kind, near in misspelt.items()
        ]
    if strange := sorted(set(form.own_kinds) - form.prompts.keys()):
        return [f"own_kinds: {strange} have no prompt; `prompts` has {', '.join(form.prompts)}"]
    strange = sorted(form.further_prompts.keys() - form.prompts.keys())
    errors = [f"further_prompts: {strange} have no first prompt in `prompts`"] if strange else []
    places = [(f"prompts.{kind}", prompt) for kind, prompt in form.prompts.items()]
    places += [(f"further_prompts.{kind}", prompt) for kind, more in form.further_prompts.items() for prompt in more]
    for place, prompt in places:
        if form.image_token and prompt.count(form.image_token) != 1:
            errors.append(f"{place}: {prompt!r} must contain {form.image_token!r} once")
        if "{query}" not in prompt:
            errors.append(f"{place}: {prompt!r} must contain {{query}}, the place of the names")
    return errors


def _near(kind: str, missing: Sequence[str]) -> list[str]:
    """Return the kind of the package that a key of the prompts probably means, if there is one."""
    return get_close_matches(kind, missing, n=1, cutoff=0.8)


def _joint_errors(form: PromptFormat) -> list[str]:
    separators = ("name_separator", "entry_separator", "image_separator")
    joints = (*separators, "token_gap", "lead_in", "given_lead_in", "tail", "next_turn")
    errors = [] if form.name_separator else ["name_separator: it is empty, so that names would run together"]
    for joint in joints:
        text = getattr(form, joint) or ""
        errors += [f"{joint}: {text!r} contains {token!r}" for token in form.special_tokens if token and token in text]
    for answer in form.single_answers:
        if answer.count("{token}") != 1 or any(token and token in answer for token in form.special_tokens):
            errors.append(f"single_answers: {answer!r} must contain {{token}} once, and no token itself")
    before, behind = form.phrase_marks
    if not before.strip() or not behind.strip() or before in behind or behind in before:
        errors.append(f"phrase_marks: {before!r} and {behind!r} cannot be told apart; give two such as <p> and </p>")
    tokens, marks = (form.present_token, form.absent_token, form.image_token), list(filter(None, form.phrase_marks))
    if found := [token for token in tokens if token and any(token in mark or mark in token for mark in marks)]:
        errors.append(f"phrase_marks: {before!r} and {behind!r} cannot be told from {found}; give other marks")
    return errors


def shortened(text: str) -> str:
    """Return the beginning of a long text, for messages."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


@lru_cache(maxsize=1 << 16)
def name_error(name: str, reserved: tuple[str, ...], separators: tuple[str, ...]) -> str | None:
    """Return why a name cannot be asked for, or None if it can.

    Args:
        name: The name.
        reserved: Tokens of the format and its language model.
        separators: What stands between names.
    """
    if all(unicodedata.category(character)[0] in "CZ" for character in name):
        return f"the name {name!r} is blank; every name needs a visible character"
    found = [text for text in (*reserved, *separators) if text in name]
    return f"the name {shortened(name)!r} contains {found}, which this prompt format uses itself" if found else None
