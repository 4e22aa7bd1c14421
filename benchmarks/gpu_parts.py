"""What a lent GPU is to show, part by part. Each returns numbers, and a sentence of them as ``found``."""

from __future__ import annotations

import copy
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import list_length
import numpy as np
import torch
from lightning import Trainer
from measure import cost, in_use, peak, reset
from real_models import build, make_training

import lasagna
from lasagna.core.masks import RLEMask
from lasagna.datamodules import ShardDataModule, Source
from lasagna.datamodules.scenes import CATEGORIES, draw_scene
from lasagna.datamodules.scenes.writer import SceneWriter
from lasagna.modules import (
    Assistant,
    DotMaskHead,
    Sam3MaskHead,
    TinyLanguageModel,
    TinyMaskHead,
    TinyVisionEncoder,
)
from lasagna.modules.sam3.sizes import Sam3HeadSize, Sam3Size
from lasagna.modules.tiny.weights import packaged_words
from lasagna.tasks import AssistantTraining, Optimiser, Semantic
from lasagna.tasks.callbacks.run_facts import versions
from lasagna.tasks.planning.batches import drawn_batch
from lasagna.tasks.planning.step import cost_of, outline, precision_plugin

IMAGES, LISTED, NAMES = 2, 24, 150
TINY_LISTS = list_length.Size(
    Sam3Size(width=16, depth=2, heads=2, mlp_dim=16, window=2, global_blocks=(1,), out_channels=32),
    56,
    Sam3HeadSize(prompt_dim=32, encoder_layers=1, decoder_layers=2, heads=2, mlp_dim=32, masks=4),
    {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2},
    (4, 4),
)
COMPILED = ("vision_encoder", "language_model", "mask_head", "prompt_projection")
"""Parts that ``model.compile`` compiles, each by itself."""


def facts(tiny: bool) -> dict[str, Any]:
    """Say what it is measured on."""
    device = platform.machine() if tiny else torch.cuda.get_device_name()
    return {"device": device, "tiny": tiny, "versions": versions()}


def step(tiny: bool, tflops: float) -> dict[str, Any]:
    """Train adapters of LLaVA v1 7B with SAM ViT-H as the config for 24 GB does, and answer."""
    return _step(tiny, tflops, compiled=False)


def compiled(tiny: bool, tflops: float) -> dict[str, Any]:
    """Train the same with compiled parts."""
    return _step(tiny, tflops, compiled=True)


def _step(tiny: bool, tflops: float, compiled: bool) -> dict[str, Any]:
    warnings.simplefilter("ignore")
    device = _device(tiny)
    with tempfile.TemporaryDirectory() as folder:
        training = make_training("tiny" if tiny else "7b", Path(folder))
        outlined = outline(training, "bf16-true")
        spec = outlined.training.assistant.vision_encoder.spec
        batch, _ = drawn_batch(outlined.training.assistant.processors, IMAGES, LISTED, spec.image_size)
        planned = cost_of(outlined, batch)
        before = in_use(device)
        build(training, device)
    precision_plugin("bf16-true").convert_module(training)
    batch = batch.to(device)
    optimiser = training.optimiser.build(training.factors, training.assistant.named_parameters())
    if compiled:
        for name in COMPILED:
            part = getattr(training.assistant, name)
            part.forward = torch.compile(part.forward, backend="eager" if tiny else "inductor")

    def take() -> None:
        loss = training.loss(training.assistant(batch), batch)["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    reset(device)
    took = cost(take, 1 if tiny else 5, device).seconds
    gib, expected = (peak(device) - before) / 1024, planned.peak / 2**30
    tokens, share = batch.input_ids.numel() / took, (planned.flops or 0) / took / tflops / 1e12
    said = f"{took:.2f} s a step, {tokens:,.0f} tokens a second, {share:.1%} of {tflops:g} TFLOPS, "
    said += f"{gib:.1f} GiB at the peak (planned: {expected:.1f})"
    numbers = {"seconds": took, "tokens_a_second": tokens, "share": share, "gib": gib, "planned_gib": expected}
    if not compiled:
        numbers |= _answer(training.assistant, 6 if tiny else NAMES, device)
        said += f"; {numbers['names']:.0f} names in {numbers['answer_seconds']:.2f} s"
    return {"found": said, **numbers}


def _answer(assistant: Assistant, count: int, device: torch.device) -> dict[str, float]:
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    words = [word for word in packaged_words() if word.isalpha() and len(word) > 2][:count]
    took = cost(lambda: assistant.answer(image, words), 1, device).seconds
    return {"names": len(words), "answer_seconds": took}


def lists(tiny: bool, tflops: float) -> dict[str, Any]:
    """Ask SAM 3 one name after the other, and the assistant all names at once."""
    size, device = TINY_LISTS if tiny else list_length.SIZES["real"], _device(tiny)
    counts = [1, 2] if tiny else [10, NAMES]
    pixels = torch.randn(1, 3, size.side, size.side, device=device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=not tiny):
        one_by_one = list_length.sam3_seconds(size, pixels, counts)
        dot = list_length.assistant_seconds(size, DotMaskHead(), pixels, counts, max(counts))
        detected = list_length.assistant_seconds(size, Sam3MaskHead(size=size.detector), pixels, counts, 10)
    ways = {
        list_length.SAM3: one_by_one,
        list_length.DOT: [seconds for seconds, _ in dot],
        list_length.DETECTOR: [seconds for seconds, _ in detected],
    }
    last = ", ".join(f"{way} {seconds[-1]:.2f} s" for way, seconds in ways.items())
    return {"found": f"{counts[-1]} names: {last}", "counts": counts, "seconds": ways}


def fsdp2(tiny: bool, tflops: float) -> dict[str, Any]:
    """Train the tiny assistant with divided weights, in one process, and without."""
    warnings.simplefilter("ignore")
    start = _small_training()
    start.build_assistant()
    before = {name: value.detach().double() for name, value in start.named_parameters()}
    with tempfile.TemporaryDirectory() as folder:
        SceneWriter(folder, train=16, val=4, test=4, size=32, processes=1).prepare()
        (plain, own), (divided, other) = (_trained(way, Path(folder), tiny) for way in ("auto", "fsdp2"))
    apart = max(float((divided[name] - value).norm() / value.norm().clamp_min(1e-9)) for name, value in plain.items())
    steps = [float((before[name] - value).norm()) for name, value in plain.items()]
    moved = sum(step > 0 for step in steps) / len(steps)
    said = f"weights {apart:.1e} apart at most, relative, of which {moved:.0%} were trained; "
    return {"found": f"{said}{own:.1f} s without and {other:.1f} s with", "moved": moved, "apart": apart}


def _small_training() -> AssistantTraining:
    model = TinyLanguageModel(weights="random", projector="random", image_grid=(2, 2))
    encoder = TinyVisionEncoder(weights="random", image_size=(32, 32))
    assistant = Assistant(encoder, model, TinyMaskHead(weights="random"), "tiny")
    return AssistantTraining(assistant, optimiser=Optimiser(lr=0.01, warmup_steps=1))


def _trained(strategy: str, folder: Path, tiny: bool) -> tuple[dict[str, torch.Tensor], float]:
    training = _small_training()
    data = ShardDataModule(train=[Source(f"{folder}/train", Semantic())], val=[], batch_size=2, num_workers=0)
    trainer = Trainer(
        accelerator="cpu" if tiny else "gpu",
        devices=1,
        strategy=strategy,
        max_steps=3 if tiny else 20,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    began = time.perf_counter()
    trainer.fit(training, datamodule=data)
    took = time.perf_counter() - began
    training.gather_weights()
    return {name: _whole(value).double().cpu() for name, value in training.named_parameters()}, took


def _whole(value: Any) -> torch.Tensor:
    whole: Callable[[], torch.Tensor] | None = getattr(value, "full_tensor", None)
    return value.detach() if whole is None else whole().detach()


def masks(tiny: bool, tflops: float) -> dict[str, Any]:
    """Answer about drawn scenes with the package's trained assistant in both precisions."""
    device, generator = _device(tiny), np.random.default_rng(12345)
    single = lasagna.load().to(device)
    half = copy.deepcopy(single).bfloat16()
    shared, decisions, asked = [], 0, 0
    for _ in range(2 if tiny else 40):
        image = draw_scene(generator).image
        answers = [assistant.answer(image, CATEGORIES) for assistant in (single, half)]
        for one, other in zip(*(answer.entries for answer in answers), strict=True):
            decisions, asked = decisions + (one.present != other.present), asked + 1
            if one.present and other.present:
                shared.append(_iou(one.mask, other.mask))
    said = f"mIoU {np.mean(shared):.4f} of {len(shared)} masks, {decisions} of {asked} decisions differ"
    return {"found": said, "miou": float(np.mean(shared)), "decisions": decisions, "asked": asked}


def _iou(one: Any, other: Any) -> float:
    first, second = (value.to_array() if isinstance(value, RLEMask) else np.asarray(value) for value in (one, other))
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def _device(tiny: bool) -> torch.device:
    return torch.device("cpu" if tiny else "cuda")
