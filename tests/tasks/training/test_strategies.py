"""Strategies for several devices that would train wrongly are refused."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
)

from lasagna.errors import ConfigError
from lasagna.tasks import AssistantTraining
from lasagna.tasks.training.strategies import check_strategy
from tests.helpers.assistants import random_assistant


@pytest.mark.parametrize("kind", [FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy])
def test_strategies_that_divide_the_weights_are_refused(kind):
    # the constructor of DeepSpeed's needs DeepSpeed
    strategy = kind.__new__(kind)
    with pytest.raises(ConfigError, match=rf"trainer\.strategy: {kind.__name__} .*choose ddp") as refused:
        check_strategy(strategy)
    assert "\n" not in str(refused.value)


def test_strategies_with_all_weights_on_each_device_are_not():
    check_strategy(DDPStrategy())
    check_strategy(SingleDeviceStrategy())


def test_a_trainer_of_ones_own_is_checked_before_anything_is_built():
    model = AssistantTraining(random_assistant())
    model._trainer = SimpleNamespace(strategy=ModelParallelStrategy())
    with pytest.raises(ConfigError, match="ModelParallelStrategy"):
        model.configure_callbacks()
