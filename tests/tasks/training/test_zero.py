"""What DeepSpeed would train wrongly is refused."""

from types import SimpleNamespace

import pytest
from lightning.pytorch.strategies import StrategyRegistry

from lasagna.errors import ConfigError
from lasagna.tasks import AssistantTraining, Optimiser, OtherOptimiser, ZeroStrategy
from lasagna.tasks.training import zero
from lasagna.tasks.training.strategies import check_strategy, named_strategy
from tests.helpers.assistants import random_assistant


@pytest.fixture
def strategy(monkeypatch):
    monkeypatch.setattr(zero, "find_spec", lambda name: name)
    return StrategyRegistry.get("zero2")


def trainer(clip=None, job="fit", **more):
    return SimpleNamespace(gradient_clip_algorithm=clip, state=SimpleNamespace(fn=job), **more)


def check(strategy, optimiser=None, clip=None, job="fit"):
    strategy.check(trainer(clip, job), optimiser or Optimiser())


def test_it_has_a_name_and_takes_the_defaults(strategy):
    assert named_strategy("zero2") is named_strategy(SimpleNamespace(class_path="ZeroStrategy")) is ZeroStrategy
    check(strategy)
    check(strategy, Optimiser(algorithm="SGD"), "norm")


@pytest.mark.parametrize(
    ("optimiser", "clip", "message"),
    [
        (Optimiser(algorithm="Adafactor"), None, "optimiser.algorithm: .*Adafactor.* AdamW"),
        (Optimiser(others=OtherOptimiser()), None, "optimiser.algorithm: .*others"),
        (Optimiser(), "value", "trainer.gradient_clip_algorithm: .*norm"),
    ],
)
def test_settings_that_it_would_train_wrongly_are_refused(strategy, optimiser, clip, message):
    with pytest.raises(ConfigError, match=message) as refused:
        check(strategy, optimiser, clip)
    assert "\n" not in str(refused.value)
    # nothing is trained
    check(strategy, optimiser, clip, "test")


def test_other_precisions_compiled_parts_and_no_bucket_are_refused(strategy):
    with pytest.raises(ConfigError, match=r"model\.compile: .*choose ddp"):
        strategy.check(trainer(), Optimiser(), compiled=True)
    strategy.precision_plugin = SimpleNamespace(precision="16-mixed")
    with pytest.raises(ConfigError, match=r"trainer\.precision: .*bf16-mixed, got 16-mixed"):
        check(strategy)
    with pytest.raises(ConfigError, match=r"bucket: expected at least 1, got 0"):
        ZeroStrategy(0)


def test_a_training_without_deepspeed_is_refused_before_anything_is_built(monkeypatch):
    monkeypatch.setattr(zero, "find_spec", lambda name: None)
    model = AssistantTraining(random_assistant())
    model._trainer = trainer(strategy=ZeroStrategy())
    with pytest.raises(ConfigError, match=r"zero2 needs DeepSpeed.*pip install.*choose fsdp2 or ddp"):
        model.configure_callbacks()
    # nothing is known yet of the training
    check_strategy(model._trainer.strategy)
