"""DeepSpeed's ZeRO 2 as a strategy: gradients and the optimiser's state are divided, weights are whole everywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.overrides.distributed import _sync_module_states
from lightning.pytorch.strategies import DDPStrategy, StrategyRegistry
from torch import Tensor, distributed, nn
from torch.optim import Optimizer

from lasagna.errors import ConfigError, TrainingError
from lasagna.modules.checkpoints.weights import PREFIX
from lasagna.tasks.training.optimiser import Optimiser
from lasagna.tasks.training.zero_engine import check_weights, divided
from lasagna.tasks.training.zero_reduction import OrderedReduction
from lasagna.tasks.training.zero_state import Slices, divided_state, whole_state

ELEMENTWISE = ("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "SGD")
"""Algorithms of ``torch.optim`` that treat each number alone, so that they train a part of a flat vector rightly."""

PRECISIONS = ("32-true", "bf16-mixed")
"""Values of ``trainer.precision`` with which trained weights are float32, and gradients are not scaled."""

BUCKET = 50_000_000
"""Numbers that are reduced, or gathered, at once."""


class ZeroStrategy(DDPStrategy):
    """Divides gradients and the optimiser's state among all processes with DeepSpeed's ZeRO 2.

    Each process has all weights. It takes the steps of its part of them, which the others get from it. DeepSpeed's
    engine, its files and its learning rates are not used, so that checkpoints are those of other strategies.

    Args:
        bucket: Numbers that are reduced, or gathered, at once; a buffer of 4 bytes for each is held in the backward
            pass.
        process_group_backend: Backend of ``torch.distributed``; None for the usual one of the devices.

    Raises:
        ConfigError: If the bucket is not positive.
    """

    def __init__(self, bucket: int = BUCKET, process_group_backend: str | None = None) -> None:
        if bucket < 1:
            raise ConfigError(f"trainer.strategy.bucket: expected at least 1, got {bucket}")
        super().__init__(process_group_backend=process_group_backend)
        self.bucket = bucket
        self._zero: Any = None
        self._reduction: OrderedReduction | None = None
        self._slices: list[Slices] = []
        self._buffers: list[Tensor] = []
        self._steps_next = True

    def check(self, trainer: Trainer, optimiser: Optimiser, compiled: bool = False) -> None:
        """Refuse, before anything is built, what DeepSpeed would train wrongly.

        Other jobs do not use DeepSpeed, and are not checked.

        Args:
            trainer: The trainer.
            optimiser: The settings of the optimiser.
            compiled: Whether parts are compiled, which is not known to be right.

        Raises:
            ConfigError: If DeepSpeed is missing, or the optimiser, the precision, the clipping or compiling does not
                fit.
        """
        if trainer.state.fn != "fit":
            return
        if find_spec("deepspeed") is None:
            raise ConfigError(
                "trainer.strategy: zero2 needs DeepSpeed, which is not installed; pip install -e '.[deepspeed]', or "
                "choose fsdp2 or ddp"
            )
        if optimiser.others is not None or optimiser.algorithm not in ELEMENTWISE:
            name = optimiser.algorithm if optimiser.others is None else f"{optimiser.algorithm} with `others`"
            raise ConfigError(
                f"optimiser.algorithm: zero2 gives each process a part of a flat vector, which {name} may not train "
                f"rightly; choose one of {', '.join(ELEMENTWISE)}, or fsdp2 or ddp"
            )
        precision = str(self.precision_plugin.precision)
        if precision not in PRECISIONS:
            raise ConfigError(
                f"trainer.precision: zero2 trains with {' or '.join(PRECISIONS)}, got {precision}; choose one of them, "
                "or fsdp2"
            )
        if compiled:
            raise ConfigError("model.compile: zero2 trains parts that are not compiled; leave it out, or choose ddp")
        if trainer.gradient_clip_algorithm == "value":
            raise ConfigError(
                "trainer.gradient_clip_algorithm: zero2 clips gradients by their norm, got 'value'; choose norm, or ddp"
            )

    def configure_ddp(self) -> None:
        """Give all processes the weights of the first one; ZeRO reduces the gradients of the model as it is."""
        assert self.lightning_module is not None
        _sync_module_states(self.lightning_module)

    def setup_optimizers(self, trainer: Trainer) -> None:
        """Build optimiser and schedule, and divide the optimiser among the processes."""
        super().setup_optimizers(trainer)
        module: Any = self.lightning_module
        trained = {f"{PREFIX}{name}" for name in module.trained}
        self._buffers = [value for name, value in module.named_buffers() if name in trained]
        optimizer = self.optimizers[0]
        check_weights(module, optimizer)
        parameters = [list(group["params"]) for group in optimizer.param_groups]
        clip = float(trainer.gradient_clip_val or 0)
        self._zero = divided(optimizer, self.root_device, self.local_rank, self.bucket, clip)
        flats = self._zero.bit16_groups_flat
        self._slices = [Slices.of(group, flat) for group, flat in zip(parameters, flats, strict=True)]
        self._reduction = OrderedReduction(self._zero)

    @contextmanager
    def block_backward_sync(self) -> Iterator[None]:
        """Add the gradients of a batch to those that this process holds; its step comes later."""
        self._steps_next = False
        try:
            yield
        finally:
            self._steps_next = True

    def pre_backward(self, closure_loss: Tensor) -> None:
        """Say whether a step follows."""
        self._zero.set_gradient_accumulation_boundary(self._steps_next)

    def post_backward(self, closure_loss: Tensor) -> None:
        """Reduce what is left."""
        assert self._reduction is not None
        self._reduction.finish()

    def optimizer_step(
        self,
        optimizer: Optimizer,
        closure: Callable[[], Any],
        model: LightningModule | nn.Module | None = None,
        **kwargs: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Take the step of this process's part, and give it to the others.

        Args:
            optimizer: The optimiser.
            closure: Computes loss and gradients.
            model: The training.
            kwargs: Further arguments of the optimiser's step.

        Raises:
            TrainingError: If gradients are not finite.
        """
        training = self.lightning_module
        assert training is not None
        loss = self.precision_plugin._wrap_closure(training, optimizer, closure)
        # somebody else may have written the weights, e.g. the average of a validation, or a checkpoint
        self._zero.refresh_fp32_params()
        self._zero.step()
        if self._zero.overflow:
            raise TrainingError(
                "the gradients are not finite, so that DeepSpeed took no step; lower `optimiser.lr`, set "
                "`trainer.gradient_clip_val`, or take a wider `trainer.precision`; earlier checkpoints stay"
            )
        for buffer in self._buffers:
            distributed.broadcast(buffer, 0)
        return loss

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Return the state as that of an optimiser of one process, in the first one; all must call this together."""
        return whole_state(optimizer, self._slices, self.root_device, self.is_global_zero)

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:  # noqa: ANN401
        """Load this process's part of a state that any strategy has written."""
        (state,) = checkpoint["optimizer_states"]
        (optimizer,) = self.optimizers
        optimizer.load_state_dict(divided_state(optimizer, state, self._slices, self.global_rank, self.world_size))

    def teardown(self) -> None:
        """Stop watching the gradients, and let go of the vectors of all weights; checkpoints need only the layout."""
        if self._reduction is not None:
            self._reduction.remove()
        self._zero = self._reduction = None
        super().teardown()


StrategyRegistry.register("zero2", ZeroStrategy, "Gradients and optimiser divided among processes (DeepSpeed ZeRO 2).")
