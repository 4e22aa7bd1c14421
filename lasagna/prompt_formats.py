"""The prompt formats that have a name, as data."""

from __future__ import annotations

from lasagna.dialogue import Kind
from lasagna.prompt_format import PromptFormat
from lasagna.released_wordings import ANSWERS, COMPLEX, EXPLAINED, REASONING, REFERRING

PAPER = PromptFormat(
    present_token="<SEG>",
    absent_token="<NEG>",
    image_token="<image>",
    prompts={
        "complex": "USER: <image>\nPlease segment the following categories: {query}. ASSISTANT: ",
        "referring": "USER: <image>\nPlease segment {query} in this image. ASSISTANT: ",
        "reasoning": "USER: <image>\n{query} Please answer with a segmentation mask. ASSISTANT: ",
        "explained": "USER: <image>\n{query} Please answer with a segmentation mask and explain why. ASSISTANT: ",
        "question": "USER: <image>\n{query} ASSISTANT: ",
    },
    lead_in="Sure, it is ",
    tail=".",
    next_round="USER: ",
)
"""The paper's spelling (arXiv 2404.08506, section 3): one entry a category, in the query's order."""

_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions. "
)

_FURTHER: dict[Kind, tuple[str, ...]] = {
    "complex": tuple(f"<semantic>{question}<cat_start> {{query}} <cat_end>" for question in COMPLEX),
    "referring": REFERRING,
    "reasoning": REASONING,
    "explained": EXPLAINED[1:],
}

RELEASED = PromptFormat(
    present_token="<ins>",
    absent_token="<no_ins>",
    image_token="<image>",
    prompts={
        "complex": _SYSTEM + "USER: <image>\n<semantic>Segment this image.<cat_start> {query} <cat_end> ASSISTANT:",
        "referring": (
            _SYSTEM + "USER: <image>\n What is {query} in this image? Please output segmentation mask. ASSISTANT:"
        ),
        "reasoning": _SYSTEM + "USER: <image>\n{query} Please output segmentation mask. ASSISTANT:",
        "explained": _SYSTEM + f"USER: <image>\n{EXPLAINED[0]} ASSISTANT:",
        "question": _SYSTEM + "USER: <image>\n{query} ASSISTANT:",
    },
    entry_separator="",
    token_gap="",
    next_round="USER: ",
    markers=("<cat_start>", "<cat_end>", "<semantic>"),
    further_prompts={
        kind: tuple(f"{_SYSTEM}USER: <image>\n{question} ASSISTANT:" for question in questions)
        for kind, questions in _FURTHER.items()
    },
    single_answers=ANSWERS,
)
"""The spelling of the released code and weights: LLaVA v1's talk, category markers, no separator between entries.

The prompts are those of its evaluation (``test_sem.py``; ``utils/refer_seg_dataset.py``, validation), which leave no
blank behind "ASSISTANT:"; further ones are those of its training."""

LISA = PromptFormat(
    present_token="[SEG]",
    absent_token="[NEG]",
    image_token="<image>",
    prompts={
        "complex": _SYSTEM + "USER: <image>\nPlease segment the following categories: {query}. ASSISTANT:",
        "referring": (
            _SYSTEM + "USER: <image>\n What is {query} in this image? Please output segmentation mask. ASSISTANT:"
        ),
        "reasoning": _SYSTEM + "USER: <image>\n{query} Please output segmentation mask. ASSISTANT:",
        "explained": _SYSTEM + "USER: <image>\n{query} Please output segmentation mask and explain why. ASSISTANT:",
        "question": _SYSTEM + "USER: <image>\n{query} ASSISTANT:",
    },
    lead_in="It is ",
    given_lead_in="",
    tail=".",
    next_round="USER: ",
)
"""The spelling of LISA's weights (arXiv 2308.00692), which know one token, for what is there, and no lists.

Its validation gives the answer "[SEG]." (``utils/dataset.py``, class ``ValDataset``)."""

TINY = PromptFormat(
    present_token="<SEG>",
    absent_token="<NEG>",
    image_token="<image>",
    prompts={
        "complex": "<image> list {query} answer ",
        "referring": "<image> find {query} answer ",
        "reasoning": "<image> show {query} answer ",
        "question": "<image> say {query} answer ",
    },
    name_separator=" ",
    entry_separator=" ",
)
"""For tiny language models: no commas, so that a name's own last word is all that stands before its token."""

PROMPT_FORMATS: dict[str, PromptFormat] = {"lisa": LISA, "paper": PAPER, "released": RELEASED, "tiny": TINY}
