"""The named prompt formats: the paper's, alone or in a chat template, that of LaSagnA's weights, LISA's, a tiny one."""

from __future__ import annotations

from dataclasses import replace

from lasagna.core.prompt_format import PromptFormat
from lasagna.errors import QueryError

_SEGMENT = ("Segment {}.", "Please segment {}.", "Can you segment {}?")
_OUTPUTS = (
    "respond with segmentation mask",
    "output segmentation mask",
    "give segmentation result",
    "visualize segmentation mask",
    "respond with segmentation result",
    "output segmentation result",
)
_LISTED = "What are in this image? Please {}."

CATEGORIES = (
    *(request.format("this image") for request in _SEGMENT),
    *map(_LISTED.format, _OUTPUTS),
    *(request.format("all the objects in this image") for request in _SEGMENT),
    *(_LISTED.format(f"{output} of all the objects") for output in _OUTPUTS),
)
"""Requests that precede the names of the categories, in the original's order; evaluation uses the first."""

REFERRING = (
    "Can you detect and segment the {query} in this image?",
    "Can you find the {query} in the image?",
    "Can you find the {query}?",
    "Can you visualize the {query} in this image?",
    "Detect and segment the {query} in the image.",
    "Detect and segment the {query}.",
    "I need the box and mask specifically for the {query} in the image.",
    "I need the mask specifically for the {query} in image.",
    "I need the segmentation and detection specifically for the {query} in image.",
    "I need the segmentation mask and detection box specifically for the {query} in image.",
    "I need the visualization specifically for the {query} in image.",
    "Please detect and segment the {query} in the image.",
    "Please visualize the {query}.",
    "Visualize the {query}.",
    "What is {query} in this image? Please output detection and segmentation result.",
    "What is {query} in this image? Please output detection box and segmentation mask.",
    "What is {query} in this image? Please respond with detection and segmentation result.",
    "What is {query} in this image? Please visualize detection and segmentation result.",
    "Where is the {query} in the image?",
)
"""Questions about a phrase. A phrase that begins with an article gets a second one, as in the original."""

REASONING = (
    "{query} Find detection box and segmentation mask.",
    "{query} Respond with detection box and segmentation mask in the image?",
    "{query} Visualize detection and segmentation result in this image?",
)
"""Requests that follow a question."""

EXPLAINED = (
    "{query} Please find detection box and segmentation mask and explain why.",
    "{query} Find detection and segmentation result and explain why.",
    "{query} Find detection and segmentation result and give the reason.",
)
"""Requests that follow a question whose answer needs an explanation."""

ANSWERS = (
    "{token}.",
    "It is {token}.",
    "Sure, {token}.",
    "Sure, it is {token}.",
    "The result is {token}.",
    "Sure, the result is {token}.",
    "The detection result is {token}.",
    "Sure, the detection result is {token}.",
    "The segmentation result is {token}.",
    "Sure, the segmentation result is {token}.",
    "Sure, the segmentation is {token}.",
    "The detection and segmentation result is {token}.",
    "Sure, the detection and segmentation result is {token}.",
    "The detection box and segmentation mask is {token}.",
    "Sure, the detection box and segmentation mask is {token}.",
)
"""Answers to referring and reasoning queries, with and without explanation; evaluation uses the first."""

PAPER = PromptFormat(
    present_token="<SEG>",
    absent_token="<NEG>",
    image_token="<image>",
    prompts={
        "categories": "USER: <image>\nPlease segment the following categories: {query}. ASSISTANT: ",
        "referring": "USER: <image>\nPlease segment {query} in this image. ASSISTANT: ",
        "reasoning": "USER: <image>\n{query} Please answer with a segmentation mask. ASSISTANT: ",
        "reasoning_with_explanation": (
            "USER: <image>\n{query} Please answer with a segmentation mask and explain why. ASSISTANT: "
        ),
        "question": "USER: <image>\n{query} ASSISTANT: ",
        "instances": "USER: <image>\nPlease segment each object of the following categories: {query}. ASSISTANT: ",
        "panoptic": "USER: <image>\nPlease segment everything of the following categories: {query}. ASSISTANT: ",
        "instances_by_token": (
            "USER: <image>\nPlease segment the objects of the following categories one by one: {query}. ASSISTANT: "
        ),
        "panoptic_by_token": (
            "USER: <image>\nPlease segment everything of the following categories one by one: {query}. ASSISTANT: "
        ),
        "grounded_caption": "USER: <image>\nPlease describe {query}, and segment what you mention. ASSISTANT: ",
    },
    lead_in="Sure, it is ",
    tail=".",
    next_turn="USER: ",
    image_separator="\n",
)
"""The paper's spelling (arXiv 2404.08506, section 3): one entry per category, in the query's order."""

CHAT = replace(
    PAPER,
    prompts={kind: text.removeprefix("USER: ").removesuffix(" ASSISTANT: ") for kind, text in PAPER.prompts.items()},
    next_turn=None,
    chat_template=True,
)
"""The paper's requests and answers in the chat template of the language model, for models trained to follow one."""

_SYSTEM = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, detailed, "
    "and polite answers to the human's questions. "
)

_FURTHER: dict[str, tuple[str, ...]] = {
    "categories": tuple(f"<semantic>{question}<cat_start> {{query}} <cat_end>" for question in CATEGORIES[1:]),
    "referring": REFERRING,
    "reasoning": REASONING,
    "reasoning_with_explanation": EXPLAINED[1:],
}

RELEASED = PromptFormat(
    present_token="<ins>",
    absent_token="<no_ins>",
    image_token="<image>",
    prompts={
        "categories": _SYSTEM + f"USER: <image>\n<semantic>{CATEGORIES[0]}<cat_start> {{query}} <cat_end> ASSISTANT:",
        "referring": (
            _SYSTEM + "USER: <image>\n What is {query} in this image? Please output segmentation mask. ASSISTANT:"
        ),
        "reasoning": _SYSTEM + "USER: <image>\n {query} Please output segmentation mask. ASSISTANT:",
        "reasoning_with_explanation": _SYSTEM + f"USER: <image>\n{EXPLAINED[0]} ASSISTANT:",
        "question": _SYSTEM + "USER: <image>\n{query} ASSISTANT:",
    },
    entry_separator="",
    token_gap="",
    next_turn="USER: ",
    markers=("<cat_start>", "<cat_end>", "<semantic>"),
    further_prompts={
        kind: tuple(f"{_SYSTEM}USER: <image>\n{question} ASSISTANT:" for question in questions)
        for kind, questions in _FURTHER.items()
    },
    single_answers=ANSWERS,
    image_separator="\n",
)
"""The spelling of the released code and weights: LLaVA v1's conversation, category markers, no entry separator.

The prompts are those of its evaluation (``test_sem.py``; ``utils/refer_seg_dataset.py``, validation), which leave no
blank behind "ASSISTANT:". The further prompts are those of its training."""

LISA = PromptFormat(
    present_token="[SEG]",
    absent_token="[NEG]",
    image_token="<image>",
    prompts={
        "categories": _SYSTEM + "USER: <image>\nPlease segment the following categories: {query}. ASSISTANT:",
        "referring": (
            _SYSTEM + "USER: <image>\n What is {query} in this image? Please output segmentation mask. ASSISTANT:"
        ),
        "reasoning": _SYSTEM + "USER: <image>\n {query} Please output segmentation mask. ASSISTANT:",
        "reasoning_with_explanation": _SYSTEM
        + "USER: <image>\n{query} Please output segmentation mask and explain why. ASSISTANT:",
        "question": _SYSTEM + "USER: <image>\n{query} ASSISTANT:",
    },
    lead_in="It is ",
    given_lead_in="",
    tail=".",
    next_turn="USER: ",
    image_separator="\n",
)
"""The spelling of LISA's weights (arXiv 2308.00692), which have only the present token and know no lists.

LISA's validation gives the answer "[SEG]." (``utils/dataset.py``, class ``ValDataset``)."""

TINY = PromptFormat(
    present_token="<SEG>",
    absent_token="<NEG>",
    image_token="<image>",
    prompts={
        "categories": "<image> list {query} answer ",
        "referring": "<image> find {query} answer ",
        "reasoning": "<image> show {query} answer ",
        "question": "<image> say {query} answer ",
        "instances": "<image> find all {query} answer ",
        "panoptic": "<image> list all {query} answer ",
        "instances_by_token": "<image> find one by one {query} answer ",
        "panoptic_by_token": "<image> list one by one {query} answer ",
        "grounded_caption": "<image> say all {query} answer ",
    },
    name_separator=" ",
    entry_separator=" ",
    phrase_marks=("[", "]"),
)
"""For tiny language models: without commas, so that each token directly follows the last word of its name.

The marks of phrases are brackets, each of which is a token of the tiny tokeniser."""

PROMPT_FORMATS: dict[str, PromptFormat] = {
    "chat": CHAT,
    "lisa": LISA,
    "paper": PAPER,
    "released": RELEASED,
    "tiny": TINY,
}


def name_error(name: str) -> str:
    """Return why a category cannot be asked for in one of the named prompt formats, or an empty text if it can.

    Args:
        name: The name.
    """
    try:
        for prompt_format in PROMPT_FORMATS.values():
            prompt_format.check("categories", [name])
    except QueryError as error:
        return str(error).removeprefix("query: ")
    return ""
