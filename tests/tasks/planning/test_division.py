"""What each process holds and gathers when FSDP2 divides a training."""

import pytest

from lasagna.errors import ConfigError
from lasagna.modules import Assistant, LoRA, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.tasks import AssistantTraining
from lasagna.tasks.planning.cost import Devices, Phases, StepCost
from lasagna.tasks.planning.division import Division, Group, division_of
from lasagna.tasks.planning.step import outline

# 4 trained rows of 8 bytes and a frozen one outside of two blocks of 6 and 3 trained rows of 16 bytes
DIVISION = Division(Group(((4, 8, True), (1, 8, False))), (Group(((6, 16, True),)), Group(((3, 16, True),))), 5)


def test_rows_are_rounded_up_and_buffers_are_whole():
    assert DIVISION.weights(1) == 5 + 40 + 96 + 48
    assert DIVISION.weights(2) == 5 + (16 + 8) + 48 + 32
    assert DIVISION.gradients(4) == 8 + 32 + 16
    assert DIVISION.all_weights(2) == DIVISION.weights(2) + 48 + 96 + 64


def test_a_process_gathers_the_rest_and_two_blocks():
    assert DIVISION.rest_gradients(2) == 32
    assert DIVISION.gathered(2) == 48 + 4 * 96
    assert DIVISION.start(2) == 96


@pytest.mark.parametrize(
    ("phases", "activations", "gathered"),
    [
        # all gradients at the peak, but only those of the rest are complete
        (Phases(1000 + 176, 1000, 0), 1000 + 32, 432),
        # hardly any gradients at the peak
        (Phases(1000, 1000, 0), 1000 - 96, 432),
        # the optimiser copies everything; each process does so with its part
        (Phases(100, 100, 2000), 1000 - 0, 0),
    ],
)
def test_the_peak_is_that_of_the_largest_part_of_a_step(phases, activations, gathered):
    cost = StepCost(189, 176, 400, 500, phases=phases, division=DIVISION)
    each = cost.divided(2)
    assert (each.weights, each.gradients, each.optimiser) == (109, 96, 400 * 96 // 176)
    assert (each.activations, each.gathered) == (activations, gathered)
    assert cost.peak_on(Devices(2, divided=True)) == each.peak
    assert cost.peak_on(Devices(2)) == 189 + 2 * 176 + 400 + 500


def training(**changed):
    model = TinyLanguageModel("random", "random", adapter=LoRA(rank=4), image_grid=(2, 2))
    assistant = Assistant(TinyVisionEncoder(weights="random"), model, TinyMaskHead(weights="random"), "tiny")
    return AssistantTraining(assistant, **changed)


def test_blocks_of_language_model_and_vision_encoder_are_gathered_one_by_one():
    built = outline(training(), "32-true").training
    division = division_of(built)
    assert len(division.blocks) >= len(built.assistant.language_model.llama.model.layers) > 1
    held = [*built.parameters(), *built.buffers()]
    assert division.weights(1) == sum(value.nbytes for value in held)
    assert division.gradients(1) == sum(value.nbytes for value in built.parameters() if value.requires_grad)
    # the last rows are fewer, no process has more
    assert division.weights(1) / 8 <= division.weights(8) < division.weights(1) / 4


def test_what_cannot_be_divided_is_refused():
    with pytest.raises(ConfigError, match=r"model\.compile: fsdp2"):
        division_of(outline(training(compile="eager"), "32-true").training)
