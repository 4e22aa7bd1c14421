"""``lasagna plan``: what a training takes, without weights and before a GPU is rented."""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser

from lasagna.cli.entry import errors_on_one_line
from lasagna.cli.train import short_message
from lasagna.cli.training_cli import TrainingCLI, command_line
from lasagna.errors import ConfigError
from lasagna.tasks.planning.cost import Devices
from lasagna.tasks.planning.plan import USABLE, Plan, make_plan
from lasagna.tasks.training.fsdp2 import FSDP2Strategy
from lasagna.tasks.training.module import AssistantTraining
from lasagna.tasks.training.strategies import named_strategy

ABOUT = (
    "Say what a training takes, without its weights: parameters, memory, operations, hours, disk, and what would make "
    "it fit. Takes the config files and options of `lasagna train`."
)

USUAL = (2, 8)
"""Numbers of devices for which divided weights are planned if the config has one."""


class PlanCLI(TrainingCLI):
    """The command line of training, whose training is planned and not run."""

    settings: dict[str, Any]

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what a plan needs to know about the GPU."""
        super().add_arguments_to_parser(parser)
        parser.add_argument("--gpu_memory", type=float, default=24.0, help="Memory of a GPU in GiB.")
        parser.add_argument("--peak", type=float | None, default=None, help="Peak of a GPU in TFLOPS, for the hours.")
        parser.add_argument("--share", type=float, default=0.4, help="Part of the peak that is reached.")

    def instantiate_trainer(self, **kwargs: Any) -> Any:  # noqa: ANN401
        """Keep the settings of the trainer, whose devices need not be here."""
        self.settings = dict(self._get(self.config_init, "trainer", default={}))
        return None

    def after_instantiate_classes(self) -> None:
        """Leave everything alone."""


def run(argv: list[str]) -> None:
    """Plan a training.

    Args:
        argv: The command line after ``lasagna plan``.

    Raises:
        SystemExit: After help, or if the input is wrong; the reason has been printed.
    """
    with errors_on_one_line(short_message):
        options = command_line(argv, run=False)
        options["parser_kwargs"] |= {"prog": "lasagna plan", "description": ABOUT}
        cli = PlanCLI(**options, run=False)
        memory, peak, share = (cli.config[name] for name in ("gpu_memory", "peak", "share"))
        check_numbers(memory, peak, share)
        devices = devices_of(cli.settings)
        if not isinstance(cli.model, AssistantTraining):
            raise ConfigError(f"model: {type(cli.model).__name__} cannot be planned; give an AssistantTraining")
        plan = make_plan(cli.model, cli.datamodule, cli.settings, devices.divided)
        lines = lines_of(plan, memory, peak, share, devices)
        if count_of(given := cli.settings.get("devices")) is None:
            lines.append(
                f"trainer.devices is {given!r}: planned for one on each machine; give --trainer.devices NUMBER"
            )
        print("\n".join(lines), file=sys.stdout)


def check_numbers(memory: float, peak: float | None, share: float) -> None:
    """Check what is said about the GPU.

    Raises:
        ConfigError: If a number is out of range.
    """
    for name, value in (("gpu_memory", memory), ("peak", peak)):
        if value is not None and not value > 0:
            raise ConfigError(f"{name}: expected a number above 0, got {value}")
    if not 0 < share <= 1:
        raise ConfigError(f"share: expected a number above 0 and up to 1, got {share}")


def devices_of(trainer: dict[str, Any]) -> Devices:
    """Return the devices of a trainer; one on each machine if their number is found only where it trains.

    Args:
        trainer: Settings of the trainer.
    """
    kind = named_strategy(trainer.get("strategy"))
    count, nodes = count_of(trainer.get("devices")) or 1, int(trainer.get("num_nodes") or 1)
    return Devices(count * nodes, issubclass(kind, FSDP2Strategy))


def count_of(devices: object) -> int | None:
    """Return how many devices of a machine a trainer takes; None if that is found only where it trains.

    Args:
        devices: Their number, their indices as a list or with commas, or "auto" or -1.
    """
    if isinstance(devices, list) and devices != [-1]:
        return len(devices)
    words = [word for word in str(devices).split(",") if word.strip()]
    if "," in str(devices) and words != ["-1"]:
        return len(words)
    return int(str(devices)) if str(devices).isdigit() else None


def lines_of(plan: Plan, memory: float, peak: float | None, share: float, devices: Devices) -> list[str]:
    """Return a plan in words.

    Args:
        plan: The plan.
        memory: Memory of a GPU in GiB.
        peak: Peak of a GPU in TFLOPS, or None.
        share: Part of the peak that is reached.
        devices: The devices of the config.
    """
    return [
        *_parameters(plan),
        "",
        *_memory(plan, memory, devices),
        "",
        *_work(plan, peak, share, devices.count),
        "",
        *_disk(plan),
    ]


def _parameters(plan: Plan) -> list[str]:
    parts = plan.parts | {"together": tuple(map(sum, zip(*plan.parts.values(), strict=True)))}
    lines = [f"  {name:<18} {held / 1e6:>10.2f} {trained / 1e6:>10.2f}" for name, (held, trained) in parts.items()]
    return [f"{'parameters, million':<20} {'all':>10} {'trained':>10}", *lines]


def _memory(plan: Plan, memory: float, devices: Devices) -> list[str]:
    # what the config takes is judged by a column, also where its devices divide the weights and one is known
    counts = (devices.count,) if devices.count > 1 else (1, *USUAL) if devices.divided else USUAL
    ways = {"one device": Devices(), "ddp": Devices(max(2, devices.count))}
    ways |= {f"fsdp2 of {count}": Devices(count, divided=True) for count in counts}
    names = ("weights", "gradients", "optimiser", "activations", *ways)
    lines = [f"{'GiB on each device':<32}" + "".join(f"{name:>12}" for name in names)]
    for (precision, recompute), cost in plan.costs.items():
        words = {True: ", recomputed", False: ", nothing recomputed", None: ""}[recompute]
        name = f"{'* ' if (precision, recompute) == plan.own else '  '}{precision}{words}"
        values = (cost.weights, cost.gradients, cost.optimiser, cost.activations)
        peaks = (cost.peak_on(way) for way in ways.values())
        fits = "" if plan.fits(cost, memory, devices) else f"  does not fit into {memory:g}"
        lines.append(f"{name:<32}" + "".join(_gib(value) for value in (*values, *peaks)) + fits)
    lines += [
        "* this config",
        *_divided(plan, memory, devices.count if devices.divided else counts[-1], devices.divided),
    ]
    if not plan.fits(plan.costs[plan.own], memory, devices):
        lines.append(f"to fit into {memory:g} GiB: {plan.way_out(memory, devices)}")
    return lines


def _gib(value: int | None) -> str:
    return f"{'refused' if value is None else f'{value / 2**30:.2f}':>12}"


def _divided(plan: Plan, memory: float, processes: int, chosen: bool) -> list[str]:
    """Say what the config takes in each process that divides the weights."""
    cost = plan.costs[plan.own]
    if cost.division is None:
        return ["  fsdp2 refuses this config: parts are compiled, quantized, or trained in two precisions"]
    each, validated = cost.divided(processes), cost.division.all_weights(processes)
    sizes = {
        "weights": each.weights,
        "gradients": each.gradients,
        "optimiser": each.optimiser,
        "activations": each.activations,
        "gathered from the others": each.gathered,
    }
    held = (each.gradients + each.optimiser + validated) / 2**30
    told = ", ".join(f"{name} {value / 2**30:.2f}" for name, value in sizes.items())
    lines = [f"  fsdp2 of {processes}: {told}; {held:.2f} in validation, before answers"]
    if chosen and held > memory * USABLE:
        lines.append(f"  validation does not fit into {memory:g}: --trainer.limit_val_batches 0")
    return lines


def _work(plan: Plan, peak: float | None, share: float, processes: int) -> list[str]:
    means = {name: plan.batches.mean(name) * plan.accumulate for name in ("images", "rows", "tokens", "masks")}
    counts = ", ".join(f"{value:,.0f} {name}" for name, value in means.items())
    hours = None if peak is None else plan.hours(peak, share)
    time = "hours: give --peak, the TFLOPS of a GPU, and trainer.max_steps"
    if hours is not None:
        time = f"hours: {hours:.2g} for {plan.steps:,} steps at {share:.0%} of {peak:g} TFLOPS, without validation"
    return [
        f"a step on each of {processes} device(s): {counts}",
        f"  {plan.flops / 1e12:.4g} TFLOP, what is recomputed included",
        f"  batches: {plan.batches.origin}",
        time,
    ]


def _disk(plan: Plan) -> list[str]:
    each, images = plan.features
    whole = "" if images is None else f", {each * images / 1e9:.3g} GB for {images:,} images"
    return [
        f"disk: a checkpoint {plan.checkpoint / 1e9:.3g} GB",
        f"  a feature cache {each / 1e6:.3g} MB an image{whole}",
    ]
