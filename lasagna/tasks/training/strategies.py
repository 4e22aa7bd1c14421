"""Which of Lightning's strategies for several devices train an assistant rightly."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.strategies import (
    DeepSpeedStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    Strategy,
    StrategyRegistry,
)

from lasagna.errors import ConfigError
from lasagna.tasks.training.fsdp2 import FSDP2Strategy
from lasagna.tasks.training.zero import ZeroStrategy

SHARDING = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)
"""Strategies that divide the weights among devices; the assistant is written for ``FSDP2Strategy`` alone."""


def check_strategy(strategy: Strategy, training: Any = None) -> None:  # noqa: ANN401
    """Refuse a strategy with which training would be wrong, or is not known to be right.

    Args:
        strategy: The trainer's strategy.
        training: The training, if it is there already, whose settings a strategy may not take.

    Raises:
        ConfigError: If the strategy shards the weights in another way than ``FSDP2Strategy``, or does not fit the
            settings.
    """
    check_strategy_class(type(strategy))
    if isinstance(strategy, ZeroStrategy) and training is not None:
        strategy.check(training.trainer, training.optimiser, training.compiled is not None)


def named_strategy(named: object) -> type[Strategy]:
    """Return the class of a strategy.

    Args:
        named: A name, a ``class_path`` with arguments, or the strategy itself.

    Returns:
        The class; ``Strategy`` itself for what no class is known of, such as "auto".
    """
    if isinstance(named, Strategy):
        return type(named)
    if isinstance(named, str) and named in StrategyRegistry:
        kind: type[Strategy] = StrategyRegistry[named]["strategy"]
        return kind
    name = str(getattr(named, "class_path", "")).rpartition(".")[2]
    return {kind.__name__: kind for kind in (*SHARDING, FSDP2Strategy, ZeroStrategy)}.get(name, Strategy)


def check_strategy_class(kind: type[Strategy]) -> None:
    """Refuse a class of strategies as ``check_strategy`` does.

    ``ModelParallelStrategy`` leaves it to the model to shard itself and to average the gradients, which the assistant
    does for ``FSDP2Strategy``, a subclass that also reads and writes its checkpoints.

    Args:
        kind: The class of the trainer's strategy.

    Raises:
        ConfigError: If the strategy shards the weights in another way than ``FSDP2Strategy``.
    """
    if issubclass(kind, SHARDING) and not issubclass(kind, FSDP2Strategy):
        raise ConfigError(
            f"trainer.strategy: {kind.__name__} divides the weights among devices in a way that is not "
            "supported; choose fsdp2 (configs/trainer/fsdp2.yaml), or ddp or zero2 (configs/trainer/deepspeed.yaml), "
            "which hold all weights on each device"
        )
