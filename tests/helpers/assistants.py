"""A tiny assistant with random weights, lively enough that its decisions depend on what stands before them."""

from __future__ import annotations

import pytest
import torch

from lasagna.core.image_prompts import prompt_ids
from lasagna.modules import (
    Assistant,
    LanguageModel,
    PresenceHead,
    TinyLanguageModel,
    TinyMaskHead,
    TinyVisionEncoder,
)


def random_assistant(
    seed: int = 0, prompt_format: str = "tiny", scale: float = 6.0, max_length: int = 256
) -> Assistant:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        assistant = Assistant(
            TinyVisionEncoder(image_size=(32, 32), weights="random"),
            TinyLanguageModel(weights="random", projector="random", image_grid=(2, 2), max_length=max_length),
            TinyMaskHead(weights="random"),
            prompt_format,
        )
        assistant.configure_model()
    with torch.no_grad():
        for parameter in assistant.language_model.llama.parameters():
            if parameter.dim() == 2:
                parameter.mul_(scale)
    return assistant.eval()


def greedy_under_grammar(model, prompt_format, vectors, query):
    """Decide one name at a time, each time over the whole sequence, without cache and without padding."""
    text = model.text_processor
    present, absent = (text.answer_ids(token)[0] for token in (prompt_format.present_token, prompt_format.absent_token))
    tokens = prompt_ids(text, prompt_format, query.kind, query.names, query.wording, query.images)
    decisions = []
    for rank, name in enumerate(query.names):
        tokens += text.answer_ids(prompt_format.lead(query.kind, name, rank == 0))
        logits = plain_logits(model, tokens, vectors[query.image])
        decisions.append(bool(logits[present] >= logits[absent]))
        tokens.append(present if decisions[-1] else absent)
    return tuple(decisions)


def greedy_tokens(model, prompt_format, vectors, query):
    """Count the tokens of each name, one token at a time over the whole sequence, where each object has a token."""
    text = model.text_processor
    present, absent = (text.answer_ids(token)[0] for token in (prompt_format.present_token, prompt_format.absent_token))
    skeleton = text.answer_ids(prompt_format.render(query.kind, [(name, 0) for name in query.names]))
    tokens = text.prompt_ids(prompt_format.prompt(query.kind, query.names))
    room, counts = text.max_length - len(tokens) - len(skeleton) - 1, []
    for token, coming in zip(skeleton, [*skeleton[1:], text.end_token_id], strict=True):
        if token != absent:
            tokens.append(token)
            continue
        logits, count = plain_logits(model, tokens, vectors[query.image]), 0
        while (
            count < query.kind.tokens
            and logits[present] >= logits[coming if count else absent]
            and (room > 0 or not count)
        ):
            room -= count > 0
            count += 1
            tokens.append(present)
            logits = plain_logits(model, tokens, vectors[query.image])
        counts.append(count)
        tokens += [] if count else [absent]
    return counts


def token_counts(answer):
    """Return the number of present tokens of each name of a decoded answer."""
    return [entry.count if entry.present else 0 for entry in answer.entries]


def plain_logits(model, tokens, vectors):
    """Return the logits behind a row of tokens, computed over all of it."""
    ids = torch.tensor([tokens])
    with torch.no_grad():
        hidden = model(model.embed(ids, vectors[None]), torch.ones_like(ids), torch.arange(len(tokens))[None])
        return model.logits(hidden[0, -1])


def dictate(monkeypatch: pytest.MonkeyPatch, model: LanguageModel, token_ids: list[int]) -> None:
    """Let a model write certain tokens, then its end token, whatever it reads."""
    coming = iter(token_ids)

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        scores = torch.zeros(len(hidden), len(model.tokenizer))
        scores[:, next(coming, model.text_processor.end_token_id)] = 1
        return scores

    monkeypatch.setattr(model, "logits", logits)


def presence_head(hidden_size: int, seed: int = 0, scale: float = 4.0) -> PresenceHead:
    """Return a head with random weights, which calls about half of the names present."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = PresenceHead()
        head.build(hidden_size)
    with torch.no_grad():
        head.layers[2].weight.mul_(scale)
        head.layers[2].bias.zero_()
    return head


def check_one_pass(decoder, vectors, query, answer):
    """Check an answer in one pass against one forward over prompt and answer, without cache and without padding."""
    model, text, form, head = decoder.model, decoder.text, decoder.format, decoder.presence_head
    prompt = prompt_ids(text, form, query.kind, query.names, query.wording, query.images)
    written = text.answer_ids(answer.text)
    ids = torch.tensor([prompt + written])
    with torch.no_grad():
        embeddings, positions = model.embed(ids, vectors[query.image][None]), torch.arange(ids.shape[1])[None]
        hidden = model(embeddings, torch.ones_like(ids), positions)[0]
        states = hidden[places_of(text, prompt, query.names)]
        first, second = head.layers[0], head.layers[2]
        logits = torch.nn.functional.gelu(states @ first.weight.T + first.bias) @ second.weight[0] + second.bias
    torch.testing.assert_close(answer.scores, torch.sigmoid(logits / decoder.temperature), atol=1e-3, rtol=1e-3)
    assert answer.present == tuple((answer.scores >= decoder.threshold).tolist())
    assert answer.text == form.render(query.kind, list(zip(query.names, answer.present, strict=True)))
    assert [(entry.name, entry.present) for entry in answer.entries] == list(
        zip(query.names, answer.present, strict=True)
    )
    present = [place for place in decoder.decision_places(written) if written[place] == decoder.present_id]
    wanted = hidden[[len(prompt) + place - 1 for place in present]]
    torch.testing.assert_close(answer.mask_states, wanted, atol=1e-3, rtol=1e-2)


def places_of(text, prompt, names):
    """Return the position of the last token of each name, found as a run of the name's own tokens."""
    places, start = [], 0
    for name in names:
        own = text.answer_ids(name)
        start = next(place for place in range(start, len(prompt)) if prompt[place : place + len(own)] == own) + len(own)
        places.append(start - 1)
    return places
