"""The LightningModule: losses, scores of each source, and what checkpoints store."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from lightning import Callback, LightningModule
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from lasagna.core.answer_json import answer_json
from lasagna.core.batch import Batch, StepCounts
from lasagna.core.config import Config
from lasagna.core.seeding import seeded
from lasagna.datamodules.protocols import DataWithSources, check_sources
from lasagna.datamodules.streaming.distributed import sum_over_processes
from lasagna.datamodules.streaming.loader import TrainingLoader
from lasagna.errors import ConfigError
from lasagna.modules.assistant import Assistant
from lasagna.modules.checkpoints.weights import CONFIG, FROZEN, OPTIMISED, assistant_weights, check_finite, fingerprint
from lasagna.modules.contract import check_presence, check_wording
from lasagna.modules.losses import SegmentationLoss, TrainingLoss
from lasagna.modules.vision_encoders.feature_cache import FeatureCache
from lasagna.tasks.training.batch_checks import check_batch, check_losses, watches
from lasagna.tasks.training.buffers import share_buffers
from lasagna.tasks.training.checkpointing import assistant_config, load_trained, restore, store
from lasagna.tasks.training.compiling import CompiledParts
from lasagna.tasks.training.division import DividedWeights, divide, gather_blocks
from lasagna.tasks.training.ema import WeightAverage
from lasagna.tasks.training.float32_copies import float32_weights
from lasagna.tasks.training.fsdp2 import FSDP2Strategy
from lasagna.tasks.training.optimiser import Optimiser
from lasagna.tasks.training.source_scores import Evaluation, answer, check_used, queries_of
from lasagna.tasks.training.strategies import check_strategy
from lasagna.tasks.training.trainable import check_factors, freeze_others, set_modes, trainable_sets, trained_state


class AssistantTraining(LightningModule):
    """Trains an assistant and scores its answers.

    Args:
        assistant: The assistant.
        loss: The loss, called with the assistant's output and the batch; None for ``SegmentationLoss``, that of the
            paper (arXiv 2404.08506).
        optimiser: Optimiser and learning-rate schedule.
        trainable: Glob pattern over the assistant's parameter names to a factor of the learning rate, e.g.
            ``{"mask_head": 1.0, "language_model.*lora_*": 0.5}``. If several patterns match, the last one counts;
            parameters without a match are frozen and stay in evaluation mode. By default everything is trained that no
            part keeps frozen.
        ema_decay: Decay of an average of the trained weights that evaluation uses, or None for no average.
        warm_start: A checkpoint whose weights training starts from; weights that it lacks start fresh.
        warm_start_parts: Parts of the assistant whose weights are taken from ``warm_start``, e.g. ``[language_model]``
            where another mask head is tried; None for all.
        frozen_check: Whether a checkpoint, also a warm start, is refused if the frozen weights are not those that it
            was trained with.
        feature_cache: Cache on disk for the features of a frozen vision encoder, or None to compute them each time.
        seed: Seed of fresh weights and of dropout, which depends on the seed, the step and the process.
        compile: Backend of ``torch.compile`` for the parts in training, such as "inductor", or None to train them as
            they are.

    Raises:
        ConfigError: If parts of a warm start are given without one, or their list is empty.
    """

    def __init__(
        self,
        assistant: Assistant,
        loss: TrainingLoss | None = None,
        optimiser: Optimiser = Optimiser(),  # noqa: B008 - frozen
        trainable: dict[str, float] | None = None,
        ema_decay: float | None = None,
        warm_start: str | None = None,
        warm_start_parts: list[str] | None = None,
        frozen_check: bool = True,
        feature_cache: FeatureCache | None = None,
        seed: int = 0,
        compile: str | None = None,
    ) -> None:
        super().__init__()
        if warm_start_parts == []:
            raise ConfigError(
                "warm_start_parts: the list is empty; name parts such as language_model, or leave it out for all"
            )
        if warm_start_parts is not None and warm_start is None:
            raise ConfigError(
                f"warm_start_parts: {warm_start_parts} without a checkpoint to take them from; give warm_start, or "
                "leave them out"
            )
        self.assistant = assistant
        self.compiled = None if compile is None else CompiledParts(compile)
        self.loss: TrainingLoss = SegmentationLoss() if loss is None else loss
        self.optimiser = optimiser
        self.trainable = {"*": 1.0} if trainable is None else trainable
        self.average = None if ema_decay is None else WeightAverage(ema_decay)
        self.warm_start = warm_start
        self.warm_start_parts = warm_start_parts
        self.frozen_check = frozen_check
        self.feature_cache = feature_cache
        self.seed = seed
        self.config: Config | None = None
        self.assistant_config: Config | None = None
        self.factors: dict[str, float] = {}
        self.trained: frozenset[str] = frozenset()
        self.evaluations = nn.ModuleDict()
        self._own_counts: StepCounts | None = None
        self._step_counts: StepCounts | None = None
        # checkpoints hold only a part of the weights; `restore` checks their names and shapes
        self.strict_loading = False

    def configure_callbacks(self) -> list[Callback]:
        """Return the callbacks that watch the batches, and the one that averages the weights, if there is one.

        Raises:
            ConfigError: If the trainer's strategy is not supported, or not together with compiled parts; nothing comes
                before this hook.
        """
        if self._trainer is not None:
            check_strategy(self._trainer.strategy, self)
        # at the images' own size no mask loses its pixels
        watch = watches(getattr(self.loss, "resolution", "input") == "input")
        watch += [callback for callback in (self.average, self.compiled) if callback is not None]
        if self._trainer is not None and isinstance(self._trainer.strategy, FSDP2Strategy):
            # after the average, which validation gathers
            watch.append(DividedWeights(self.compiled is not None))
        # a second job of the same trainer asks again, and Lightning would say that it replaces the callbacks
        attached = (
            [] if self._trainer is None else [type(callback) for callback in getattr(self.trainer, "callbacks", ())]
        )
        return [callback for callback in watch if type(callback) not in attached]

    def build_assistant(self) -> None:
        """Build the assistant, and freeze what is not trained."""
        check_wording(self.assistant.language_model, self.assistant.format)
        with seeded(self.seed, "fresh weights", self.device):
            self.assistant.configure_model()
        self.factors = trainable_sets(self.assistant.named_parameters(), self.trainable)
        freeze_others(self.assistant, self.factors)
        self.trained = trained_state(self.assistant)

    def configure_model(self) -> None:
        """Build the assistant, freeze what is not trained, and give the datamodule its processors."""
        if not self.factors:
            self.build_assistant()
            if self.warm_start is not None:
                checked, parts = self.frozen_check, self.warm_start_parts
                load_trained(self.assistant, self.warm_start, frozen_check=checked, parts=parts)
            check_presence(self.assistant.language_model, self.assistant.format)
            if self.feature_cache is not None:
                self.feature_cache.check(self.assistant.vision_encoder)
                self.assistant.feature_cache = self.feature_cache
            self.train(self.training)
            self._divide()
        if self._trainer is not None:
            self._data.connect(self.assistant.processors)

    def _divide(self) -> None:
        """Divide the weights among processes if the strategy wants it; what needs all of them comes before."""
        strategy = None if self._trainer is None else self.trainer.strategy
        if isinstance(strategy, FSDP2Strategy):
            assert isinstance(self.frozen, dict)
            divide(self, self.divided_parts, strategy.processes)

    @property
    def divided_parts(self) -> list[nn.Module]:
        """Parts whose blocks are gathered one by one where the weights are divided among processes."""
        parts: list[nn.Module] = [self.assistant.language_model, self.assistant.vision_encoder]
        # a cache calls its encoder for images that are missing
        return parts if self.feature_cache is None else parts[:1]

    def gather_weights(self) -> None:
        """Hold all weights in each process, if they are divided; all processes must call this together."""
        gather_blocks(self)

    def setup(self, stage: str) -> None:
        """Create the metrics of each source that is scored."""
        for split in {"fit": ("val",), "validate": ("val",), "test": ("test",)}.get(stage, ()):
            self.evaluations[split] = Evaluation(self._data.sources.get(split, ()), self.assistant)

    def train(self, mode: bool = True) -> AssistantTraining:
        """Set the mode of trained modules; frozen ones stay in evaluation mode."""
        super().train(mode)
        if mode and self.factors:
            set_modes(self.assistant, training=True)
        return self

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimiser over the trained parameters, and its schedule."""
        optimizer = self.optimiser.build(self.factors, self.assistant.named_parameters())
        scheduler = self.optimiser.scheduler(optimizer, lambda: self.trainer.estimated_stepping_batches)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def on_fit_start(self) -> None:
        """Find the assistant's config now, so that a warning about it comes before training."""
        self.assistant_config = assistant_config(self.assistant, self.config)
        self.train()

    def on_train_start(self) -> None:
        """Check that the schedule fits the length of the run, which is known only now."""
        self.optimiser.check(self.trainer.estimated_stepping_batches)
        # a run that is resumed within an epoch does not start that epoch again
        self._set_steps()

    def on_train_epoch_start(self) -> None:
        """Tell the loader how many batches an optimiser step takes, which callbacks may change between epochs."""
        self._set_steps()

    def _set_steps(self) -> None:
        loader = self.trainer.train_dataloader
        if isinstance(loader, TrainingLoader):
            loader.set_steps(self.trainer.accumulate_grad_batches, int(self.trainer.num_training_batches))

    def on_train_batch_start(self, batch: object, batch_idx: int) -> None:
        """Check that the loader yields batches."""
        check_batch(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch."""
        batch.step = self._over_processes(batch.step)
        key = f"step {self.global_step} batch {batch_idx} process {self.global_rank}"
        with seeded(self.seed, key, self.device):
            losses = self.loss(self.assistant(batch), batch)
        check_losses(self.loss, losses)
        for name, value in losses.items():
            prog_bar, size = name == "loss", len(batch.geometries)
            self.log(f"train/{name}", value.detach(), prog_bar=prog_bar, batch_size=size, sync_dist=True)
        loss: Tensor = losses["loss"]
        return loss

    def on_before_optimizer_step(self, optimizer: Any) -> None:  # noqa: ANN401
        """Log the learning rate of the step."""
        self.log("train/lr", max(group["lr"] for group in optimizer.param_groups))

    def on_validation_start(self) -> None:
        """Give all processes the same buffers, also those that have no record to validate on."""
        share_buffers(self.trainer.strategy.model)

    def validation_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Answer and score a batch; return what callbacks draw."""
        return self._evaluation("val").step(self.assistant, batch, dataloader_idx)

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> dict[str, Any]:
        """Answer and score a batch; return what callbacks draw."""
        return self._evaluation("test").step(self.assistant, batch, dataloader_idx)

    def on_validation_epoch_end(self) -> None:
        """Log the scores."""
        self._log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the scores."""
        self._log_scores("test")

    def on_predict_epoch_end(self) -> None:
        """Check that there was something to answer."""
        check_used(self._data, "predict")

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> list[dict[str, Any]]:
        """Answer a batch; return source, key and answer of each sample as plain data, which Lightning can gather."""
        queries = queries_of(batch)
        answers = answer(self.assistant, batch, ("ordered",))["ordered"]
        return [
            {"source": sample.source, "key": sample.key, **answer_json(query, given)}
            for sample, query, given in zip(batch.samples, queries, answers, strict=True)
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only trained weights, in float32 or wider, and add what is needed to build the rest.

        Raises:
            CheckpointError: If trained weights are not finite.
        """
        state, optimizers = checkpoint["state_dict"], [] if self._trainer is None else self.trainer.optimizers
        # averages of the weights, which are wide enough, may have taken their place already
        weights = float32_weights(optimizers, self).items()
        narrow = {name: value for name, value in weights if state[name].dtype != value.dtype}
        checkpoint["state_dict"] = {**state, **narrow}
        store(checkpoint, self.assistant.learned_kinds, self.trained, self.frozen, self.assistant_config, self.seed)
        # before anything is written, so that the checkpoint from before stays
        check_finite(assistant_weights(checkpoint), self.factors.keys())
        checkpoint[CONFIG] = self.config
        checkpoint[OPTIMISED] = {"settings": self.optimiser.settings(), "factors": self.factors}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Check that the checkpoint fits, before its weights are copied."""
        if self.trainer.state.fn == "fit" and OPTIMISED in checkpoint:
            self.optimiser.check_resumed(checkpoint[OPTIMISED]["settings"])
            check_factors(checkpoint[OPTIMISED]["factors"], self.factors)
        averaged = self.average is not None or self.trainer.state.fn != "fit"
        found = self.frozen if self.frozen_check and FROZEN in checkpoint else None
        restore(checkpoint, self.assistant, self.trained, averaged=averaged, frozen=found)

    @cached_property
    def frozen(self) -> dict[str, str]:
        """Fingerprint of the frozen weights; reads all of them, once."""
        return fingerprint(self.assistant, self.trained)

    def _over_processes(self, own: StepCounts | None) -> StepCounts | None:
        """Return what the batches of a step hold over all processes, which are asked once a step."""
        if own is not self._own_counts:
            self._own_counts = self._step_counts = own
            if own is not None and self.trainer.world_size > 1:
                own_sums = (own.tokens, own.masks, own.apart, own.objects, own.names)
                tokens, masks, *others = sum_over_processes(own_sums, self.device)
                divisor = own.divisor * self.trainer.world_size
                self._step_counts = StepCounts(tokens, masks, divisor, *others)
        return self._step_counts

    @property
    def _data(self) -> DataWithSources:
        return check_sources(getattr(self.trainer, "datamodule", None))

    def _evaluation(self, stage: str) -> Evaluation:
        evaluation = self.evaluations[stage]
        assert isinstance(evaluation, Evaluation)
        return evaluation

    def _log_scores(self, stage: str) -> None:
        check_used(self._data, "validate" if stage == "val" else stage)
        scores = self._evaluation(stage).compute()
        # they are the same in all processes already, and without `sync_dist` Lightning warns that they might not be
        self.log_dict(
            {f"{stage}/{name}": value.to(self.device).float() for name, value in scores.items()}, sync_dist=True
        )
