"""What an assistant computes of made-up batches is what a plain computation of the original gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lasagna
from lasagna.core.batch import Query
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.geometry import restore_logits
from lasagna.core.masks import RLEMask
from lasagna.core.prompt_formats import RELEASED
from lasagna.core.record import Turn
from lasagna.datamodules.streaming.collate import collate
from lasagna.datamodules.streaming.preparation import prepare_sample
from lasagna.modules.checkpoints.released.adapters import to_released
from lasagna.modules.checkpoints.released.importing import import_assistant
from lasagna.modules.llava.text_processor import LlavaTextProcessor
from lasagna.modules.losses import SegmentationLoss

pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
from tests.helpers.plain_lasagna import PlainLasagna
from tests.helpers.tiny_llava import SAM_SIZES, training_state, write_llava, write_release

SIZES = [(48, 64), (64, 48), (37, 53), (1, 40), (3, 150), (150, 4), (9, 9), (200, 130)]
"""Height and width of images; the longest are fifty times as long as wide."""
NAMES = ("sky", "the dog", "traffic light", "wall", "scissors", "x")
PHRASES = ("the dog on the left", "sky", "the scissors, because they are sharp")
TURNS = (
    Turn("Why is it sharp?", "It is the dog."),
    Turn("Which wall", "left"),
    Turn("the image?", "the sky, the wall."),
)
LOSS = SegmentationLoss(resolution="image", ignored="background")
LORA = (4, 8.0, ("q_proj", "v_proj"))

answers = st.lists(
    st.tuples(st.sampled_from(NAMES), st.booleans()), min_size=1, max_size=6, unique_by=lambda one: one[0]
)
complexes = st.tuples(st.just("categories"), answers)
phrases = st.tuples(st.sampled_from(["referring", "reasoning", "reasoning_with_explanation"]), st.sampled_from(PHRASES))
talks = st.tuples(st.just("question"), st.lists(st.sampled_from(TURNS), min_size=1, max_size=3))
images = st.tuples(st.sampled_from(SIZES), st.lists(complexes | phrases | talks, min_size=1, max_size=3))
batches = st.lists(images, min_size=1, max_size=3)


class Both(tuple):
    """An assistant and the plain computation, in double precision, so that a fault is no rounding."""

    def __new__(cls, *networks):
        return super().__new__(cls, [network.double() for network in networks])

    def __repr__(self):
        return "both"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("generated")
    write_llava(root)
    write_release(root)
    torch.save(training_state(root / "release"), root / "state.bin")
    return root


@pytest.fixture(scope="module", params=["release", "state"])
def both(request, root):
    """An assistant and the plain computation, of a release or of a training state with adapters."""
    if request.param == "release":
        return Both(lasagna.load(root / "release"), PlainLasagna(root / "release", root / "clip", SAM_SIZES))
    import_assistant(
        str(root / "state.bin"), str(root / "start"), base=str(root / "llava"), lora_alpha=8.0, adapters="kept"
    )
    state = torch.load(root / "state.bin", weights_only=True)
    return Both(lasagna.load(root / "start"), PlainLasagna(root / "release", root / "clip", SAM_SIZES, state, LORA))


def made(batch):
    """Images with dialogues of a description, and the same as talks of the original: prompts, answers, masks."""
    rng = np.random.default_rng(0)
    for size, described in batch:
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        yield image, [dialogue(*one, size, rng) for one in described]


def dialogue(kind, content, size, rng):
    wording = tuple(rng.integers(100, size=2).tolist())
    if kind == "question":
        first, *later = content
        return Dialogue(kind, (first.question,), text=first.answer, later=tuple(later), wording=wording)
    decided = content if kind == "categories" else [(content, True)]
    entries = [Entry(name, there, blob(size, rng) if there else None) for name, there in decided]
    asked = tuple(rng.permutation([name for name, _ in decided]).tolist())
    return Dialogue(
        kind,
        asked,
        tuple(entries),
        text="It is sharp." if kind == "reasoning_with_explanation" else "",
        wording=wording,
    )


def blob(size, rng):
    """A mask that may be empty or all of the image."""
    return RLEMask.from_array(rng.random(size) < rng.choice([0.0, 0.3, 1.0]))


def rounds(dialogue):
    """The words of a dialogue, which have tests of their own; how they become ids, labels and masks is plain."""
    first = RELEASED.prompt(dialogue.kind, dialogue.query, dialogue.wording[0]), RELEASED.answer(dialogue)
    return [first, *((f"USER: {turn.question} ASSISTANT:", turn.answer) for turn in dialogue.later)]


def plain_rows(plain, described):
    return [
        plain.row(image, rounds(one), [entry.mask.decode() for entry in one.entries if entry.present])
        for image, dialogues in described
        for one in dialogues
    ]


def norms(named):
    """Norm of the gradients of each group that is trained."""
    groups = dict.fromkeys(("embed_tokens", "lm_head", "lora_", "mask_decoder", "text_hidden_fcs"), 0.0)
    for name, value in named.items():
        [group] = [group for group in groups if group in name] or [None]
        if group is not None and value.grad is not None:
            groups[group] += value.grad.double().square().sum().item()
    return {group: total**0.5 for group, total in groups.items()}


@settings(max_examples=12)
@given(batch=batches)
def test_losses_gradients_and_masks(both, batch):
    check(both, batch)


@pytest.mark.slow
@settings(max_examples=200)
@given(batch=batches)
def test_losses_gradients_and_masks_of_many(both, batch):
    check(both, batch)


def check(both, batch):
    """Compare a batch's losses, gradients and masks."""
    assistant, plain = both
    described = list(made(batch))
    samples = [prepare_sample(image, dialogues, assistant.processors) for image, dialogues in described]
    collated = collate(samples, assistant.processors)
    rows = plain_rows(plain, described)
    for network in both:
        network.zero_grad()
    output = assistant(collated)
    given, wanted = LOSS(output, collated), plain.losses(rows)
    for name, value in wanted.items():
        torch.testing.assert_close(given[name].double(), value.double(), atol=1e-6, rtol=1e-6)
    given["loss"].backward()
    wanted["loss"].backward()
    found, expected = norms(to_released(dict(assistant.named_parameters()))), norms(plain.named_trained())
    assert found == pytest.approx(expected, rel=5e-6, abs=1e-8)
    check_masks(output.mask_logits.detach(), collated, rows, plain)


def check_masks(logits, batch, rows, plain):
    ranks = iter(logits)
    for row, image in zip(rows, batch.image_index.tolist(), strict=True):
        with torch.no_grad():
            wanted = plain.drawn(row)
        for mask in wanted:
            [full] = restore_logits(next(ranks)[None], batch.geometries[image])
            torch.testing.assert_close(full.double(), mask, atol=1e-5, rtol=1e-5)
    assert next(ranks, None) is None


QUERIES = [
    ("categories", ("sky",)),
    ("categories", NAMES),
    ("referring", ("the dog on the left",)),
    ("reasoning_with_explanation", ("the scissors",)),
    ("question", ("What is in this image?",)),
]


@pytest.mark.parametrize("size", [(48, 64), (3, 150)])
def test_greedy_answers(both, size, monkeypatch):
    """The cache, and prompts of unequal lengths in one batch, change no token."""
    assistant, plain = both
    image = np.random.default_rng(5).integers(0, 256, (*size, 3), dtype=np.uint8)
    queries = [Query(0, kind, names) for kind, names in QUERIES]
    read, written = LlavaTextProcessor.text, []
    monkeypatch.setattr(LlavaTextProcessor, "text", lambda text, ids: (written.append(list(ids)), read(text, ids))[1])
    encoded, _ = assistant.encode_image(image)
    found, tokens = [], (plain.added["<ins>"], plain.added["<no_ins>"])
    answers = assistant.decoder.free(encoded.image_vectors, queries, max_new_tokens=24)
    for query, decoded in zip(queries, answers, strict=True):
        prompt = plain.prompt_ids(RELEASED.prompt(query.kind, query.names))
        wanted = plain.write(prompt, image, most=24)
        assert wanted in written, (query, wanted)
        found.append(wanted)
        hidden = plain.hidden([*prompt, *wanted], image).detach()
        before = len(hidden) - len(wanted) - 1
        decisions = [before + rank for rank, token in enumerate(wanted) if token in tokens]
        torch.testing.assert_close(decoded.hidden, hidden[decisions], atol=1e-5, rtol=1e-5)
        assert list(decoded.present) == [token == tokens[0] for token in wanted if token in tokens]
    assert len({tuple(ids) for ids in found}) == len(QUERIES)
    assert {token for ids in found for token in ids} >= set(tokens)
