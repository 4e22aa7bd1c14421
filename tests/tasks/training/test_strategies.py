"""Strategies for several devices that would train wrongly are refused."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.strategies import (
    DDPStrategy,
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    SingleDeviceStrategy,
    Strategy,
    StrategyRegistry,
)

from lasagna.errors import ConfigError
from lasagna.tasks import AssistantTraining, FSDP2Strategy
from lasagna.tasks.training.strategies import check_strategy, check_strategy_class, named_strategy
from tests.helpers.assistants import random_assistant


@pytest.mark.parametrize("kind", [FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy])
def test_strategies_that_divide_the_weights_in_another_way_are_refused(kind):
    # the constructor of DeepSpeed's needs DeepSpeed
    strategy = kind.__new__(kind)
    with pytest.raises(ConfigError, match=rf"trainer\.strategy: {kind.__name__} .*choose fsdp2") as refused:
        check_strategy(strategy)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "named", ["deepspeed_stage_3", "fsdp", SimpleNamespace(class_path="lightning.pytorch.strategies.DeepSpeedStrategy")]
)
def test_they_are_refused_by_name_before_they_ask_for_their_packages(named):
    with pytest.raises(ConfigError, match=r"trainer\.strategy: .*choose fsdp2"):
        check_strategy_class(named_strategy(named))


@pytest.mark.parametrize(
    ("named", "kind"), [("fsdp2", FSDP2Strategy), ("auto", Strategy), (DDPStrategy(), DDPStrategy)]
)
def test_other_names_are_left_to_lightning(named, kind):
    check_strategy_class(named_strategy(named))
    assert named_strategy(named) is kind


def test_strategies_that_train_rightly_are_not():
    check_strategy(DDPStrategy())
    check_strategy(SingleDeviceStrategy())
    check_strategy(StrategyRegistry.get("fsdp2"))
    check_strategy(StrategyRegistry.get("zero2"))


def test_a_trainer_of_ones_own_is_checked_before_anything_is_built():
    model = AssistantTraining(random_assistant())
    model._trainer = SimpleNamespace(strategy=ModelParallelStrategy())
    with pytest.raises(ConfigError, match="ModelParallelStrategy"):
        model.configure_callbacks()


def test_compiled_parts_are_refused_with_divided_weights():
    model = AssistantTraining(random_assistant(), compile="eager")
    model._trainer = SimpleNamespace(strategy=FSDP2Strategy())
    with pytest.raises(ConfigError, match=r"model\.compile: .*choose ddp"):
        model.configure_callbacks()
