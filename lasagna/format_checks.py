"""What is wrong with a prompt format, so that answers cannot be written and read in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from lasagna.dialogue import Kind

if TYPE_CHECKING:
    from lasagna.prompt_format import PromptFormat

OPTIONAL_KINDS = frozenset({"explained"})
"""Kinds of queries that a format need not have."""


def format_faults(form: PromptFormat) -> list[str]:
    """Return what is wrong with a format; nothing if it can be used."""
    return [*_token_faults(form), *_prompt_faults(form), *_joint_faults(form)]


def _token_faults(form: PromptFormat) -> list[str]:
    names = ("present_token", "absent_token", "image_token")
    empty = [name for name in names if not getattr(form, name).strip()]
    faults = [f"{name}: it is empty; give a token such as '<SEG>'" for name in empty]
    for rank, name in enumerate(names):
        for other in () if empty else names[:rank]:
            one, two = getattr(form, other), getattr(form, name)
            if one in two or two in one:
                faults.append(f"{other} {one!r} and {name} {two!r}: neither may hold the other")
    return faults


def _prompt_faults(form: PromptFormat) -> list[str]:
    kinds = set(get_args(Kind))
    if not kinds - OPTIONAL_KINDS <= form.prompts.keys() <= kinds:
        return [f"prompts: expected one for each of {sorted(kinds)}, got {sorted(form.prompts)}"]
    strange = sorted(form.further_prompts.keys() - form.prompts.keys())
    faults = [f"further_prompts: {strange} have no first prompt in `prompts`"] if strange else []
    places = [(f"prompts.{kind}", prompt) for kind, prompt in form.prompts.items()]
    places += [(f"further_prompts.{kind}", prompt) for kind, more in form.further_prompts.items() for prompt in more]
    for place, prompt in places:
        if form.image_token and prompt.count(form.image_token) != 1:
            faults.append(f"{place}: {prompt!r} must hold {form.image_token!r} once")
        if "{query}" not in prompt:
            faults.append(f"{place}: {prompt!r} must hold {{query}}, the place of the names")
    return faults


def _joint_faults(form: PromptFormat) -> list[str]:
    joints = ("name_separator", "entry_separator", "token_gap", "lead_in", "given_lead_in", "tail", "next_round")
    faults = [] if form.name_separator else ["name_separator: it is empty, so that names would run together"]
    for joint in joints:
        text = getattr(form, joint) or ""
        faults += [f"{joint}: {text!r} holds {token!r}" for token in form.special_tokens if token and token in text]
    for answer in form.single_answers:
        if answer.count("{token}") != 1 or any(token and token in answer for token in form.special_tokens):
            faults.append(f"single_answers: {answer!r} must hold {{token}} once, and no token itself")
    return faults
