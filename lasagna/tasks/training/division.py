"""Dividing the weights of a training among processes with FSDP2, and gathering them to answer.

Each block of the language model and the vision encoder is gathered when it is used, equally often in all processes.
What remains is gathered for the entire step: embeddings and projector are used outside of ``forward`` too, embeddings
may be tied to the output layer, and how often a mask head uses a layer depends on the number of masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor

from lasagna.errors import ConfigError
from lasagna.modules.checkpoints.weights import PREFIX

STEPS = ("training_step", "validation_step", "test_step", "predict_step", "gather_weights")
"""Methods of the training before which the weights outside of blocks are gathered."""


def divide(training: nn.Module, parts: Iterable[nn.Module], mesh: DeviceMesh, methods: Sequence[str] = STEPS) -> None:
    """Divide all parameters of a training among processes, in place; each has the rows of its rank.

    Args:
        training: The training, built.
        parts: The parts whose blocks are gathered one by one, since all processes use them equally often.
        mesh: The processes, in one dimension.
        methods: Methods, beside ``forward``, before which the weights outside of blocks are gathered.

    Raises:
        ConfigError: If there are weights that cannot be divided.
    """
    blocks, _ = checked_groups(training, parts)
    for parameter in training.parameters():
        # the tokens of a model that has none, for example, whose gradients cannot be divided
        parameter.requires_grad_(parameter.requires_grad and parameter.numel() > 0)
    for block in blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(training, mesh=mesh)
    for name in methods:
        register_fsdp_forward_method(training, name)


def checked_groups(training: nn.Module, parts: Iterable[nn.Module]) -> tuple[list[nn.Module], list[nn.Parameter]]:
    """Return the blocks that are gathered one by one, and the parameters outside of them, gathered for a whole step.

    Args:
        training: The training, built.
        parts: The parts whose blocks are gathered one by one.

    Raises:
        ConfigError: If there are weights that cannot be divided.
    """
    blocks = list(dict.fromkeys(block for part in parts for block in blocks_of(part, training)))
    inside = {id(parameter) for block in blocks for parameter in block.parameters()}
    outside = [parameter for parameter in training.parameters() if id(parameter) not in inside]
    for group in (*(list(block.parameters()) for block in blocks), outside):
        check_group(training, group)
    return blocks, outside


def blocks_of(module: nn.Module, root: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost stacked blocks of a module, such as the layers of a transformer.

    A stack is a list or sequence of at least two modules of one class that have modules of their own. Stacks that share
    parameters with something outside of a block are left out.

    Args:
        module: The module.
        root: What it is a part of.
    """
    holders: dict[int, set[int]] = {}
    for part in root.modules():
        for parameter in part.parameters(recurse=False):
            holders.setdefault(id(parameter), set()).add(id(part))
    return _blocks(module, holders)


def _blocks(module: nn.Module, holders: dict[int, set[int]]) -> Iterator[nn.Module]:
    for child in module.children():
        if _is_stack(child) and all(_is_alone(block, holders) for block in child.children()):
            yield from child.children()
        else:
            yield from _blocks(child, holders)


def _is_stack(module: nn.Module) -> bool:
    items = list(module.children())
    containers = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
    return (
        isinstance(module, nn.ModuleList | nn.Sequential)
        and len(items) > 1
        and len({type(item) for item in items}) == 1
        and not isinstance(items[0], containers)
        and all(any(True for _ in item.children()) and any(True for _ in item.parameters()) for item in items)
    )


def _is_alone(block: nn.Module, holders: dict[int, set[int]]) -> bool:
    own = {id(part) for part in block.modules()}
    return all(holders[id(parameter)] <= own for parameter in block.parameters())


def check_group(training: nn.Module, group: list[nn.Parameter]) -> None:
    """Check that the parameters of a group can be divided together.

    Args:
        training: The training, for their names.
        group: The parameters.

    Raises:
        ConfigError: If some are quantized, or trained in another precision than the others.
    """
    names = {id(parameter): name for name, parameter in training.named_parameters()}
    quantized = [parameter for parameter in group if not parameter.is_floating_point()]
    if quantized:
        raise ConfigError(
            f"trainer.strategy: fsdp2 cannot divide {names[id(quantized[0])]}, which is quantized; leave out "
            "language_model.init_args.quantization, or choose ddp"
        )
    trained = dict[torch.dtype, nn.Parameter]()
    for parameter in group:
        if parameter.requires_grad:
            trained.setdefault(parameter.dtype, parameter)
    if len(trained) > 1:
        told = " and ".join(f"{names[id(one)]} in {str(kind)[6:]}" for kind, one in trained.items())
        raise ConfigError(
            f"trainer.strategy: fsdp2 gathers {told} together, which takes one precision; train all in "
            "float32 (dtype: float32 of the language model), or all in bfloat16 with --trainer.precision bf16-true"
        )


def gather_blocks(module: nn.Module) -> None:
    """Hold all weights in each process until ``release_weights``; all processes must call this together.

    Args:
        module: The training; its own parameters outside of blocks are gathered already.
    """
    for part in _divided(module):
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()


def release_weights(module: nn.Module) -> None:
    """Hold only this process's rows of the weights again; does nothing for a module that is not divided.

    Args:
        module: The training.
    """
    for part in _divided(module):
        part.reshard()
        part.set_reshard_after_forward(part is not module, recurse=False)


def _divided(module: nn.Module) -> Iterator[Any]:
    return (part for part in module.modules() if isinstance(part, FSDPModule))


class DividedWeights(Callback):
    """Gathers divided weights to answer, and keeps the buffers of all processes equal.

    Answers take as many steps as the answer is long, and processes may have different numbers of samples, so that they
    cannot gather weights block by block together.

    Args:
        compiled: Whether parts are compiled.

    Raises:
        ConfigError: If they are.
    """

    def __init__(self, compiled: bool = False) -> None:
        if compiled:
            raise ConfigError("model.compile: fsdp2 trains parts that are not compiled; leave it out, or choose ddp")
        self._buffers: list[str] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the buffers that training changes, such as the statistics of norms."""
        training: Any = pl_module
        trained = {f"{PREFIX}{name}" for name in training.trained}
        self._buffers = sorted(trained - dict(pl_module.named_parameters()).keys())

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401
        batch: Any,  # noqa: ANN401
        batch_idx: int,
    ) -> None:
        """Give all processes the buffers of the first one, as DDP does; FSDP2 leaves them to each."""
        for name in self._buffers:
            distributed.broadcast(pl_module.get_buffer(name), 0)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gather the weights."""
        training: Any = pl_module
        training.gather_weights()

    on_test_epoch_start = on_predict_epoch_start = on_validation_epoch_start

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Release the weights."""
        release_weights(pl_module)

    on_test_epoch_end = on_predict_epoch_end = on_validation_epoch_end


def row_range(like: DTensor) -> tuple[int, int]:
    """Return first row and row after the last one that this process holds of a divided tensor."""
    mesh, rows = like.device_mesh, like.shape[0]
    each = -(-rows // mesh.size())
    start = min(mesh.get_local_rank() * each, rows)
    return start, min(start + each, rows)


def divided_like(like: DTensor, rows: Tensor) -> DTensor:
    """Return a divided tensor of the given rows, on their device.

    Args:
        like: A tensor of the same shape, divided in the same way.
        rows: The rows of ``row_range``.
    """
    local = rows.to(like.to_local().device).contiguous()
    return DTensor.from_local(
        local, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )


def parameters_of(module: nn.Module) -> dict[str, DTensor]:
    """Return the divided parameters by name."""
    return {name: value for name, value in module.named_parameters() if isinstance(value, DTensor)}


def whole(value: DTensor) -> Tensor:
    """Return all rows of a divided tensor; all processes must call this together."""
    with torch.no_grad():
        full: Tensor = value.full_tensor()
    return full
