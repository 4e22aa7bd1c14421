"""Which of Lightning's strategies for several devices train an assistant rightly."""

from __future__ import annotations

from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy, Strategy

from lasagna.errors import ConfigError

SHARDING = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)
"""Strategies that divide the weights among devices; the parts of an assistant are not written for that."""


def check_strategy(strategy: Strategy) -> None:
    """Refuse a strategy with which training would be wrong.

    ``ModelParallelStrategy`` leaves it to the model to shard itself and to average the gradients. A model that does not
    trains with other weights on each device, without an error.

    Args:
        strategy: The trainer's strategy.

    Raises:
        ConfigError: If the strategy shards the weights.
    """
    if isinstance(strategy, SHARDING):
        raise ConfigError(
            f"trainer.strategy: {type(strategy).__name__} divides the weights among devices, which the assistant does "
            "not support; choose ddp, which has all weights on each device, with adapters "
            "(language_model.init_args.adapter) or --trainer.precision bf16-true where memory is short"
        )
