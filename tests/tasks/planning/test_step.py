"""A step without weights holds the bytes, and takes the operations, of the step with weights."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.prompt_formats import TINY
from lasagna.datamodules import collate, prepare_sample
from lasagna.errors import ConfigError
from lasagna.modules import (
    Assistant,
    LoRA,
    ObjectLoss,
    ObjectMaskHead,
    SamVisionEncoder,
    TinyLanguageModel,
    TinyMaskHead,
    TinyVisionEncoder,
    VisionLoRA,
)
from lasagna.modules.sam.sizes import SamSize
from lasagna.tasks import AssistantTraining
from lasagna.tasks.planning.batches import drawn_batch
from lasagna.tasks.planning.step import checkpoint_bytes, cost_of, outline, parameters_of


def training(head=None, loss=None, encoder=None):
    model = TinyLanguageModel("random", "random", adapter=LoRA(rank=4), image_grid=(2, 2))
    head = head or TinyMaskHead(weights="random")
    return AssistantTraining(Assistant(encoder or TinyVisionEncoder(weights="random"), model, head, TINY), loss)


def test_a_step_without_weights_is_that_of_a_training():
    outlined, real = outline(training(), "32-true"), training()
    built, spec = outlined.training, outlined.training.assistant.vision_encoder.spec
    assert all(parameter.is_meta for parameter in built.parameters())
    batch, names = drawn_batch(built.assistant.processors, 2, 8, spec.image_size)
    real.build_assistant()
    assert parameters_of(built) == parameters_of(real)
    trained = [parameter for parameter in real.parameters() if parameter.requires_grad]
    optimiser = real.optimiser.build(real.factors, real.assistant.named_parameters())
    saved = {}

    def pack(tensor):
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with FlopCounterMode(display=False) as counter, torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        real.loss(real.assistant(batch), batch)["loss"].backward()
    optimiser.step()
    checkpoint = checkpoint_bytes(built, 0)
    cost = cost_of(outlined, batch)
    assert (names, len(batch.mask_rows)) == (8, 8)
    assert cost.weights == sum(value.nbytes for value in [*real.parameters(), *real.buffers()] if value.nbytes)
    assert cost.gradients == checkpoint == sum(parameter.nbytes for parameter in trained)
    states = [value for state in optimiser.state.values() for value in state.values()]
    assert cost.optimiser == sum(value.nbytes for value in states)
    assert cost.flops == counter.get_total_flops()
    held = {parameter.data_ptr() for parameter in real.parameters()}
    kept = sum(size for place, size in saved.items() if place not in held)
    assert kept <= cost.activations <= 2 * kept


def test_counting_operations_adds_no_memory():
    costs = []
    for count in (True, False):
        size = SamSize(64, 8, 2, (1,), 64, image_size=256, out_channels=64)
        encoder = SamVisionEncoder(size, adapter=VisionLoRA(rank=4), recompute=True)
        outlined = outline(training(encoder=encoder), "32-true")
        assistant = outlined.training.assistant
        batch, _ = drawn_batch(assistant.processors, 4, 4, assistant.vision_encoder.spec.image_size)
        costs.append(cost_of(outlined, batch, count=count))
    assert costs[0].flops
    assert costs[0].peak == costs[1].peak


@pytest.mark.slow
def test_objects_without_content_are_assigned_and_have_the_operations_of_a_training():
    def made():
        return training(ObjectMaskHead(TinyMaskHead(weights="random"), masks=3), ObjectLoss())

    outlined, real = outline(made(), "32-true"), made()
    bands = [RLEMask.from_array(np.arange(96)[:, None] // 48 == np.full(96, rank)) for rank in (0, 1)]
    entry = Entry("bird", True, RLEMask.from_array(np.ones((96, 96), bool)), tuple(bands))
    processors = outlined.training.assistant.processors
    sample = prepare_sample(np.zeros((96, 96, 3), np.uint8), [Dialogue("instances", ("bird",), (entry,))], processors)
    batch = collate([sample], processors)
    real.build_assistant()
    with FlopCounterMode(display=False) as counter:
        losses = real.loss(real.assistant(batch), batch)
        losses["loss"].backward()
    assert "object_dice" in losses
    assert cost_of(outlined, batch).flops == counter.get_total_flops()


@pytest.mark.slow
def test_half_precision_has_float32_copies_and_an_unknown_one_is_refused():
    outlined = outline(training(), "bf16-true")
    assistant = outlined.training.assistant
    batch, _ = drawn_batch(assistant.processors, 1, 4, assistant.vision_encoder.spec.image_size)
    cost = cost_of(outlined, batch, count=False)
    trained = parameters_of(outlined.training)[1]
    assert cost.gradients == 2 * trained
    assert 12 * trained <= cost.optimiser <= 12.1 * trained
    with pytest.raises(ConfigError, match=r"trainer.precision: '64-true' cannot be planned"):
        outline(training(), "64-true")
