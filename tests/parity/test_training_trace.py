"""The recipe of the original, run through the door, moves weights as a plain loop of torch does."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback
from PIL import Image

from lasagna.cli.train import main
from lasagna.core.masks import RLEMask
from lasagna.core.prompt_formats import RELEASED
from lasagna.core.record import Manifest, Phrase, Question, Record, Region, Turn
from lasagna.datamodules import write_shards
from lasagna.modules.checkpoints.released.adapters import to_released
from lasagna.modules.checkpoints.released.importing import import_assistant

pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
from tests.helpers.plain_lasagna import PlainLasagna
from tests.helpers.tiny_llava import SAM_SIZES, training_state, write_llava, write_release

CONFIG = Path(__file__).parents[2] / "configs" / "experiments" / "lasagna_original.yaml"
NAMES = ("sky", "the dog", "traffic light", "wall", "scissors")
RATES = [3e-4 * factor for factor in (0, 1 / 2, 1, 2 / 3, 1 / 3)]
"""Learning rate of each step, for a warm-up of two steps from 0 and a fall to 0 at the fifth."""
GROUPS = ("embed_tokens", "lm_head", "lora_", "mask_decoder", "text_hidden_fcs")
TASKS = {"Semantic": {}, "Referring": {"phrases": 2}, "VQA": {}, "Reasoning": {"explained": 0.5, "in_words": 0.2}}


class Trace(Callback):
    """What goes into each step, and what comes out of it."""

    def __init__(self):
        self.batches, self.losses, self.norms = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(batch.samples)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        parts = ("loss", "ce", "bce", "dice")
        self.losses.append({part: trainer.callback_metrics[f"train/{part}"].item() for part in parts})

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.norms.append(norms(to_released(dict(pl_module.assistant.named_parameters()))))


def norms(named):
    """Norm of the gradients of each group."""
    totals = dict.fromkeys(GROUPS, 0.0)
    for name, value in named.items():
        for group in GROUPS:
            if group in name and value.grad is not None:
                totals[group] += value.grad.double().square().sum().item()
    return {group: total**0.5 for group, total in totals.items()}


def picture(rank):
    rng = np.random.default_rng(rank)
    return rng.integers(0, 256, (*[(48, 64), (64, 40), (20, 90), (33, 33)][rank % 4], 3), dtype=np.uint8)


def record(rank, manifest):
    """A picture of noise with masks of noise."""
    image, rng = picture(rank), np.random.default_rng(100 + rank)
    data = io.BytesIO()
    Image.fromarray(image).save(data, "PNG")
    masks = [RLEMask.from_array(rng.random(image.shape[:2]) < 0.4) for _ in NAMES]
    return Record(
        str(rank),
        data.getvalue(),
        image.shape[:2],
        manifest,
        regions=tuple(Region(name, mask) for name, mask in zip(NAMES[: 1 + rank % 4], masks, strict=False)),
        phrases=(Phrase("the dog on the left", masks[:1]), Phrase("sky", masks[1:3])),
        questions=(Question("Why is it sharp?", "It is the scissors.", (masks[3],)),),
        conversation=(Turn("What is it?", "It is the dog."), Turn("Which wall?", "left")),
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("trace")
    write_llava(root)
    write_release(root)
    torch.save(training_state(root / "release"), root / "state.bin")
    manifest = Manifest("noise", NAMES)
    write_shards([record(rank, manifest) for rank in range(8)], root / "shards", manifest)
    return root


@pytest.fixture(scope="module")
def trained(root):
    """The run's own trace, and the weights that it has ended with."""
    import_assistant(
        str(root / "state.bin"), str(root / "start"), base=str(root / "llava"), lora_alpha=8.0, adapters="kept"
    )
    sources = [
        {"shards": f"{root / 'shards'}", "task": {"class_path": task, "init_args": settings}}
        for task, settings in TASKS.items()
    ]
    callbacks = [
        {"class_path": "lasagna.tasks.RunCheckpoint", "init_args": {"every_n_steps": 5}},
        {"class_path": f"{__name__}.Trace"},
    ]
    cli = main(
        [
            "fit",
            f"--config={CONFIG}",
            f"--config={root / 'start' / 'config.yaml'}",
            "--model.assistant.language_model.adapter.dropout=0",
            "--model.optimiser.warmup_steps=2",
            f"--data.train={json.dumps(sources)}",
            "--data.val=[]",
            "--data.writers=[]",
            "--data.num_workers=0",
            "--trainer.accelerator=cpu",
            "--trainer.max_steps=5",
            "--trainer.accumulate_grad_batches=2",
            "--trainer.precision=64-true",
            f"--trainer.callbacks={json.dumps(callbacks)}",
            f"--trainer.default_root_dir={root / 'run'}",
        ]
    )
    [trace] = [callback for callback in cli.trainer.callbacks if type(callback).__name__ == "Trace"]
    stored = torch.load(root / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    weights = {name.removeprefix("assistant."): value for name, value in stored.items()}
    return trace, to_released(weights)


@pytest.fixture(scope="module")
def plain(root):
    state = torch.load(root / "state.bin", weights_only=True)
    network = PlainLasagna(root / "release", root / "clip", SAM_SIZES, state, (4, 8.0, ("q_proj", "v_proj")))
    return network.double()


def rows(samples, plain):
    """The talks of a batch, in the words that the run drew for them."""
    for sample in samples:
        one = sample.dialogue
        first = RELEASED.prompt(one.kind, one.query, one.wording[0]), RELEASED.answer(one)
        rounds = [first, *((f"USER: {turn.question} ASSISTANT:", turn.answer) for turn in one.later)]
        masks = [entry.mask.decode() for entry in one.entries if entry.present]
        yield plain.row(picture(int(sample.key)), rounds, masks)


def test_five_steps(trained, plain):
    trace, weights = trained
    kinds = {sample.dialogue.kind for batch in trace.batches for sample in batch}
    assert {"categories", "referring", "reasoning_with_explanation", "question"} <= kinds
    named = plain.named_trained()
    optimiser = torch.optim.AdamW(named.values(), betas=(0.9, 0.95), weight_decay=0.0)
    for step, rate in enumerate(RATES):
        optimiser.zero_grad()
        for micro in (2 * step, 2 * step + 1):
            losses = plain.losses(list(rows(trace.batches[micro], plain)))
            found = {name: value.item() for name, value in losses.items()}
            assert trace.losses[micro] == pytest.approx(found, rel=1e-6, abs=1e-6), micro
            (losses["loss"] / 2).backward()
        assert trace.norms[step] == pytest.approx(norms(named), rel=5e-6), step
        for parameter in named.values():
            # DeepSpeed's flat gradients have zeros where no loss reaches, as in a step whose samples are all questions
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.nn.utils.clip_grad_norm_(named.values(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
    # a step whose samples are all questions teaches the mask decoder nothing
    assert min(max(norms_of_step[part] for norms_of_step in trace.norms) for part in trace.norms[0]) > 0
    assert sum(min(norms_of_step.values()) > 0 for norms_of_step in trace.norms) >= len(RATES) - 1
    for name, value in weights.items():
        torch.testing.assert_close(value, named[name].detach(), atol=1e-6, rtol=0, msg=name)
    for name in named.keys() - weights.keys():
        # what is not stored was not trained, and there was nothing to train it by
        assert "iou_prediction_head" in name or "output_hypernetworks_mlps" in name, name
        assert named[name].grad is None or not named[name].grad.any(), name
