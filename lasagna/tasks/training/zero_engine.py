"""DeepSpeed's optimiser, made of one of torch."""

from __future__ import annotations

import logging
import os
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lasagna.errors import ConfigError


def divided(optimizer: Optimizer, device: torch.device, rank: int, bucket: int, clip: float) -> Any:  # noqa: ANN401
    """Divide an optimiser among all processes, which are connected; its groups hold parts of flat vectors afterwards.

    Args:
        optimizer: The optimiser, whose parameters become views of these vectors.
        device: The device of this process.
        rank: Number of the process on its machine.
        bucket: Numbers that are reduced, or gathered, at once.
        clip: Largest norm of all gradients, or 0 for any.

    Returns:
        DeepSpeed's optimiser of ZeRO 2.

    Raises:
        ConfigError: If DeepSpeed computes on other devices.
    """
    if device.type == "cpu":
        # it would take a GPU that the trainer does not use
        os.environ.setdefault("DS_ACCELERATOR", "cpu")
    import deepspeed

    taken = deepspeed.accelerator.get_accelerator().device_name()
    if taken != device.type:
        raise ConfigError(
            f"trainer.accelerator: DeepSpeed computes on {taken}, and the training on {device.type}; set "
            f"DS_ACCELERATOR={device.type}, or choose ddp"
        )
    # else it would compile a kernel for CPUs, which ZeRO does not call
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    # else it says that it has not tried the optimiser
    deepspeed.utils.logger.setLevel(logging.ERROR)
    trained = nn.ParameterList(parameter for group in optimizer.param_groups for parameter in group["params"])
    with local_rank(rank):
        _, zero, _, _ = deepspeed.initialize(
            args=Namespace(device_rank=device.index or 0),
            model=trained,
            optimizer=optimizer,
            model_parameters=list(trained),
            config=settings(bucket, clip),
            dist_init_required=False,
        )
    return zero


def settings(bucket: int, clip: float) -> dict[str, Any]:
    """Return the settings of DeepSpeed, in the form of its files.

    Args:
        bucket: Numbers that are reduced, or gathered, at once.
        clip: Largest norm of all gradients, or 0 for any.
    """
    return {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_clipping": clip,
        "zero_allow_untested_optimizer": True,
        "zero_optimization": {
            "stage": 2,
            "overlap_comm": False,
            "reduce_bucket_size": bucket,
            # its buffers must be aligned
            "allgather_bucket_size": bucket + bucket % 2,
        },
    }


@contextmanager
def local_rank(rank: int) -> Iterator[None]:
    """Set the variable in which DeepSpeed looks for the process's number; Lightning would take it for a launcher's.

    Args:
        rank: The number.
    """
    before = os.environ.get("LOCAL_RANK")
    os.environ["LOCAL_RANK"] = str(rank)
    try:
        yield
    finally:
        os.environ.pop("LOCAL_RANK")
        if before is not None:
            os.environ["LOCAL_RANK"] = before


def check_weights(module: nn.Module, optimizer: Optimizer) -> None:
    """Check that DeepSpeed takes all trained weights.

    Args:
        module: The training, for names.
        optimizer: The optimiser over the trained weights.

    Raises:
        ConfigError: If some are not float32, or have no dimension.
    """
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for name, parameter in module.named_parameters():
        if id(parameter) not in trained:
            continue
        if parameter.dtype != torch.float32:
            raise ConfigError(
                f"trainer.strategy: zero2 trains weights in float32, and {name} is in {str(parameter.dtype)[6:]}; "
                "choose dtype: float32 for what is trained, or fsdp2"
            )
        if parameter.ndim == 0:
            raise ConfigError(
                f"trainer.strategy: zero2 takes no parameter without a dimension, and {name} is one; leave it out of "
                "model.trainable, or choose ddp"
            )
