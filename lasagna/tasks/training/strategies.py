"""Which of Lightning's strategies for several devices train an assistant rightly."""

from __future__ import annotations

from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy, Strategy

from lasagna.errors import ConfigError
from lasagna.tasks.training.fsdp2 import FSDP2Strategy

SHARDING = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)
"""Strategies that divide the weights among devices; the assistant is written for ``FSDP2Strategy`` alone."""


def check_strategy(strategy: Strategy) -> None:
    """Refuse a strategy with which training would be wrong, or is not known to be right.

    ``ModelParallelStrategy`` leaves it to the model to shard itself and to average the gradients, which the assistant
    does for ``FSDP2Strategy``, a subclass that also reads and writes its checkpoints.

    Args:
        strategy: The trainer's strategy.

    Raises:
        ConfigError: If the strategy shards the weights in another way than ``FSDP2Strategy``.
    """
    if isinstance(strategy, SHARDING) and not isinstance(strategy, FSDP2Strategy):
        raise ConfigError(
            f"trainer.strategy: {type(strategy).__name__} divides the weights among devices in a way that is not "
            "supported; choose fsdp2 (configs/trainer/fsdp2.yaml), or ddp, which has all weights on each device"
        )
