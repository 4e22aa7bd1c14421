"""A head that decides on all names of a query where the language model reads them.

Notation: r: rows; t: tokens; k: names; d: hidden size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lasagna.core.batch import Batch
from lasagna.core.config import Configurable
from lasagna.core.name_places import check_names_behind_image, name_places, names_behind_image
from lasagna.core.processors import TextProcessor
from lasagna.core.prompt_format import PromptFormat
from lasagna.core.query_kind import QueryKind
from lasagna.errors import QueryError, check_counts
from lasagna.modules.state import precision_of


class PresenceHead(Configurable, nn.Module):
    """Tells from a hidden state at the end of a name in the prompt whether the name is in the image.

    The state is the one after the final norm, at the token that holds the name's last character. With causal attention
    it has seen the image, the names before it and the whole name. Two linear layers with a GELU between them decide.

    Args:
        width: Width between the layers; None for that of the hidden states.
        detached: Whether its loss trains the head alone, and has no gradient in what makes the states.
    """

    def __init__(self, width: int | None = None, detached: bool = False) -> None:
        super().__init__()
        check_counts(width=width)
        self.width = width
        self.detached = detached

    def build(self, hidden_size: int) -> None:
        """Make the layers.

        Args:
            hidden_size: Width of the hidden states.
        """
        width = self.width or hidden_size
        self.layers = nn.Sequential(nn.Linear(hidden_size, width), nn.GELU(), nn.Linear(width, 1))

    def forward(self, states: Tensor) -> Tensor:
        """Return the logit of presence, float32 ``[k]``, for hidden states ``[k, d]``."""
        states = states.detach() if self.detached else states
        logits: Tensor = self.layers(states.to(precision_of(self.layers)))  # precisions may differ
        return logits[:, 0].float()


@dataclass(frozen=True)
class PresencePrediction:
    """What a ``PresenceHead`` says of the names of a batch that the answers to learn decide on.

    Args:
        logits: Logit of presence of each name, float ``[k]``.
        present: Whether it is present, bool ``[k]``.
    """

    logits: Tensor
    present: Tensor


def predict_presence(
    head: PresenceHead, hidden: Tensor, batch: Batch, text: TextProcessor, prompt_format: PromptFormat
) -> PresencePrediction:
    """Decide on the names of a batch in training.

    Names on which an answer says nothing are left out, as those that a strategy leaves unanswered.

    Args:
        head: The head.
        hidden: Hidden states of the rows, float ``[r, t, d]``.
        batch: The batch.
        text: The language model's text processor.
        prompt_format: How prompts are written.

    Raises:
        ConfigError: If the prompt of a kind has its names before the image.
    """
    dialogues = [sample.dialogue for sample in batch.samples]
    check_names_behind_image(prompt_format, "presence_head", {dialogue.kind for dialogue in dialogues})
    rows, columns, present = [], [], []
    for row, sample in enumerate(batch.samples):
        dialogue = sample.dialogue
        decisions = dialogue.decisions
        if all(known is None for known in decisions):
            continue
        asked = (dialogue.kind, dialogue.query, dialogue.wording[0], sample.images)
        places, _ = name_places(text, prompt_format, *asked)
        for place, known in zip(places, decisions, strict=True):
            if known is not None:
                rows.append(row)
                columns.append(place)
                present.append(known)
    index = torch.tensor([rows, columns], dtype=torch.long, device=hidden.device)
    return PresencePrediction(head(hidden[index[0], index[1]]), torch.tensor(present, device=hidden.device).bool())


def check_one_pass(head: PresenceHead | None, prompt_format: PromptFormat, kinds: Iterable[QueryKind]) -> None:
    """Check that queries of some kinds can be decided on in one pass.

    Args:
        head: The assistant's presence head, if it has one.
        prompt_format: How prompts are written.
        kinds: The kinds of query.

    Raises:
        QueryError: If the assistant has no presence head, or a kind has a token for each object, or its names before
            the image.
    """
    if head is None:
        raise QueryError(
            "decoding: 'one_pass' takes the decisions of a presence head, and this assistant has none; train it with "
            "`--model.assistant.presence_head lasagna.modules.PresenceHead`, or use 'ordered'"
        )
    kinds = set(kinds)
    if by_token := sorted(str(kind) for kind in kinds if kind.tokens):
        raise QueryError(
            f"decoding: 'one_pass' decides which names are present, and not how many tokens each has in an answer of "
            f"kind {' or '.join(by_token)}; use 'ordered', or a kind with a set of masks for a token, such as instances"
        )
    asked = [kind for kind in kinds if kind.decides and kind in prompt_format.prompts]
    if blind := sorted(str(kind) for kind in asked if not names_behind_image(prompt_format, kind)):
        raise QueryError(
            f"decoding: 'one_pass' decides on names where they are read, and the prompt of {' or '.join(blind)} has "
            f"them before the image; use 'ordered', or train with {{query}} behind {prompt_format.image_token!r}"
        )
