"""Lightning's strategy for divided weights (FSDP2), with checkpoints that any number of processes reads."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from lightning import Trainer
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from lightning.pytorch.strategies.strategy import Strategy
from torch import Tensor
from torch.distributed import default_pg_timeout
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from lasagna.modules.checkpoints.files import read_plain
from lasagna.modules.checkpoints.parted import (
    PartedCheckpoint,
    Place,
    is_parted,
    part_file,
    remove_others,
    replaced,
    tensors_in,
    write_meta,
    write_torch,
)
from lasagna.tasks.training.division import divided_like, parameters_of, row_range, whole
from lasagna.tasks.training.ema import RAW_WEIGHTS


class FSDP2Strategy(ModelParallelStrategy):
    """Divides weights, gradients and the optimiser's state among all processes.

    ``AssistantTraining`` divides its weights in ``configure_model``. To answer, in validation and tests, each process
    holds all weights.

    Args:
        save_distributed_checkpoint: Whether a checkpoint is a folder, into which each process writes its part, rather
            than a file, for which the first process gathers everything in its memory.
        process_group_backend: Backend of ``torch.distributed``; None for the usual one of the devices.
        timeout: How long a process waits for the others in one operation.
    """

    def __init__(
        self,
        save_distributed_checkpoint: bool = True,
        process_group_backend: str | None = None,
        timeout: timedelta | None = default_pg_timeout,
    ) -> None:
        super().__init__("auto", 1, save_distributed_checkpoint, process_group_backend, timeout)

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Lightning restores the optimiser, since ``load_checkpoint`` returns its state."""
        return True

    @property
    def processes(self) -> DeviceMesh:
        """All processes, in one dimension."""
        mesh: DeviceMesh = self.device_mesh["data_parallel"]
        return mesh

    def setup_environment(self) -> None:
        """Connect the processes, all of which divide the weights."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def setup(self, trainer: Trainer) -> None:
        """Set up model and optimisers; tensors of the inference mode could not be divided again."""
        fit = trainer.fit_loop.epoch_loop.val_loop
        for loop in (fit, trainer.validate_loop, trainer.test_loop, trainer.predict_loop):
            loop.inference_mode = False
        super().setup(trainer)

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Return the state of the training, in which parameters are divided."""
        return Strategy.lightning_module_state_dict(self)

    def load_model_state_dict(self, checkpoint: Any, strict: bool = True) -> None:  # noqa: ANN401
        """Load the weights that ``load_checkpoint`` has divided."""
        Strategy.load_model_state_dict(self, checkpoint, strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the state of an optimiser, in which what belongs to parameters is divided as they are."""
        return Strategy.optimizer_state(self, optimizer)

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:  # noqa: ANN401
        """Load the states that ``load_checkpoint`` has divided."""
        Strategy.load_optimizer_state_dict(self, checkpoint)

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        filepath: str | Path,
        storage_options: Any | None = None,  # noqa: ANN401
    ) -> None:
        """Write a checkpoint; all processes must call this together.

        Args:
            checkpoint: Its content.
            filepath: The folder, or the file.
            storage_options: Options of remote storage, for a file.
        """
        target = self.broadcast(str(filepath))
        if self._save_distributed_checkpoint:
            self._save_parts(checkpoint, Path(target))
        else:
            gathered = replaced(checkpoint, lambda _, value: self._whole(value))
            Strategy.save_checkpoint(self, gathered, target, storage_options)

    def _whole(self, value: Tensor) -> Tensor | None:
        """Return a tensor with all rows on the CPU, in the first process alone."""
        full = whole(value) if isinstance(value, DTensor) else value
        return full.detach().cpu() if self.is_global_zero else None

    def _save_parts(self, checkpoint: dict[str, Any], target: Path) -> None:
        name, was_file = self.broadcast((uuid4().hex[:8], target.is_file()))
        # a file stays until the folder that takes its place is complete
        folder = target.with_name(f"{target.name}.new") if was_file else target
        divided = [(place, value) for place, value in tensors_in(checkpoint) if isinstance(value, DTensor)]
        rows = {number: value.to_local().detach().cpu().clone() for number, (_, value) in enumerate(divided)}
        write_torch(rows, part_file(folder, name, self.global_rank, self.world_size))
        self.barrier()
        if self.is_global_zero:
            rest = replaced(checkpoint, lambda _, value: None if isinstance(value, DTensor) else value)
            shapes = [(place, value.shape) for place, value in divided]
            write_meta(folder, name, self.world_size, rest, shapes)
        self.barrier()
        if self.local_rank == 0:
            remove_others(folder, name)
            if was_file:
                # the first process on a machine that shares the disk with others may come too late
                with suppress(FileNotFoundError, OSError):
                    if target.is_file():
                        target.unlink()
                    folder.rename(target)
        self.barrier()

    def load_checkpoint(self, checkpoint_path: str | Path, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint, of which each process keeps the rows that it needs.

        Args:
            checkpoint_path: A folder that any number of processes has written, or a file.
            weights_only: Ignored; only plain data and tensors are read.

        Raises:
            CheckpointError: If it cannot be read, or parts are missing.
        """
        assert self.lightning_module is not None
        path, targets = Path(checkpoint_path), parameters_of(self.lightning_module)
        trained = [_parameters(optimizer) for optimizer in self.optimizers]
        find = partial(_target, targets, trained)
        if not is_parted(path):
            content: dict[str, Any] = replaced(read_plain(path), lambda place, value: _cut(find(place), value))
            return content
        parts = PartedCheckpoint(path)

        def rows(place: Place) -> Tensor | None:
            like = find(place)
            if like is not None and tuple(like.shape) == parts.shapes[place]:
                return divided_like(like, parts.rows(place, *row_range(like)))
            # without an optimiser there is nothing that its state is for
            return None if place[0] == "optimizer_states" and not trained else parts.rows(place)

        return parts.filled(rows)


def _cut(like: DTensor | None, value: Tensor) -> Tensor:
    if like is None or like.shape != value.shape:
        return value
    start, stop = row_range(like)
    return divided_like(like, value[start:stop].clone())


def _target(parameters: dict[str, DTensor], trained: list[list[Any]], place: Place) -> DTensor | None:
    """Return the parameter that a tensor of a checkpoint belongs to, if there is one and it is divided."""
    if place[0] in ("state_dict", RAW_WEIGHTS):
        return parameters.get(place[1])
    if place[0] == "optimizer_states" and place[2] == "state" and place[1] < len(trained):
        found = trained[place[1]][place[3]] if place[3] < len(trained[place[1]]) else None
        return found if isinstance(found, DTensor) else None
    return None


def _parameters(optimizer: Optimizer) -> list[Any]:
    """Return the parameters of an optimiser in the order in which its state numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


StrategyRegistry.register("fsdp2", FSDP2Strategy, "Weights, gradients and optimiser divided among processes (FSDP2).")
