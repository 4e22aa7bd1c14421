"""The runs of a sweep: variants, a grid of config values, and seeds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, field
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any

from lasagna.cli.configs import local_or_packaged
from lasagna.cli.sweeps.dependencies import digest, file_digests
from lasagna.errors import LasagnaError

MARKER = "sweep_run.json"


GridValue = None | bool | int | float | str | list | dict  # type: ignore[type-arg]
"""A value of a config; with an element type, or as ``Any``, the parser would make objects of classes that it names."""


class SweepError(LasagnaError, ValueError):
    """A sweep that cannot start, or with failed runs."""


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep.

    Args:
        base: Config files of every run.
        variants: Name of each variant to its further config files.
        grid: Config key to its values; every combination is run.
        seeds: Seeds of each combination.
        script: Script that starts a run; None for ``lasagna train``.
        subcommands: Subcommands of the script, run in order; the first one trains.
        seed_keys: Config keys that are set to the seed.
        folder_key: Config key that is set to the run's folder.
        checkpoint: Path of a run's last checkpoint within its folder.
        defaults: Config file that the script reads by default, if it exists.
    """

    base: list[str] = field(default_factory=list)
    variants: dict[str, list[str]] = field(default_factory=lambda: {"base": []})
    grid: dict[str, list[GridValue]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=lambda: [0])
    script: str | None = None
    subcommands: list[str] = field(default_factory=lambda: ["run"])
    seed_keys: list[str] = field(default_factory=lambda: ["seed_everything"])
    folder_key: str = "trainer.default_root_dir"
    checkpoint: str = "checkpoints/last.ckpt"
    defaults: str = "configs/default.yaml"

    def check(self) -> None:
        """Check that there is something to run and that all files exist.

        Raises:
            SweepError: If not; it lists everything that is wrong.
        """
        errors = [f"{key}: it is empty" for key in ("variants", "seeds", "subcommands") if not getattr(self, key)]
        odd = [key for key in (*self.variants, *self.grid) if not isinstance(key, str)]
        errors += [f"{key!r}: YAML does not read this key as text; put it in quotes" for key in odd]
        errors += [f"grid.{key}: it has no values" for key, values in self.grid.items() if not values]
        errors += [f"seeds: {seed} is listed twice" for seed in sorted(set(self.seeds)) if self.seeds.count(seed) > 1]
        files = [*self.base, *(file for extra in self.variants.values() for file in extra)]
        files = [*([] if self.script is None else [self.script]), *map(local_or_packaged, files)]
        errors += [f"{file}: no such file" for file in dict.fromkeys(files) if not Path(file).is_file()]
        if errors:
            raise SweepError("sweep: " + "; ".join(errors))

    @property
    def command(self) -> list[str]:
        """What Python is called with to start a run, without its subcommand."""
        return ["-m", "lasagna", "train"] if self.script is None else [self.script]

    def runs(self, out: Path) -> list[Run]:
        """Return the runs, seed by seed, so that an interrupted sweep has runs of every variant.

        Args:
            out: Folder of the sweep.
        """
        settings = [dict(zip(self.grid, values, strict=True)) for values in product(*self.grid.values())]
        return [
            Run(variant_name(name, values), seed, tuple([*self.base, *extra]), values, out)
            for seed in self.seeds
            for name, extra in self.variants.items()
            for values in settings
        ]


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Args:
        variant: Name of the variant with its grid values.
        seed: Seed of the run.
        configs: Config files; later ones override earlier ones.
        values: Config key to value.
        out: Folder of the sweep.
    """

    variant: str
    seed: int
    configs: tuple[str, ...]
    values: Mapping[str, Any]
    out: Path

    @property
    def name(self) -> str:
        """Name of the run within its sweep."""
        return f"{self.variant}/seed_{self.seed}"

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.out / self.variant / f"seed_{self.seed}"

    def arguments(self, plan: SweepPlan) -> list[str]:
        """Return the arguments that follow the subcommand.

        Args:
            plan: The plan of the sweep.
        """
        arguments = [part for file in self.configs for part in ("--config", file)]
        arguments += [f"--{key}={_as_text(value)}" for key, value in self.values.items()]
        arguments += [f"--{key}={self.seed}" for key in plan.seed_keys]
        return [*arguments, f"--{plan.folder_key}={self.folder}"]

    def settings(self, plan: SweepPlan) -> dict[str, Any]:
        """Return everything that determines the result, to notice when a finished run had other settings.

        Args:
            plan: The plan of the sweep.
        """
        values = {key: _as_text(value) for key, value in self.values.items()}
        files = [*plan.command, *map(local_or_packaged, (plan.defaults, *self.configs, *values.values()))]
        contents = {"order": list(self.configs), "files": file_digests(files)}
        return {"seed": self.seed, "values": values, "subcommands": plan.subcommands} | contents


_OWN_SCRIPT = "lasagna.cli.train"
"""In the text of a script whose command line is this package's."""


def check_configs(runs: Sequence[Run], plan: SweepPlan) -> None:
    """Parse the config of each variant once, as its runs will; the command line of another script is not known.

    Args:
        runs: The runs that are ahead.
        plan: The plan of the sweep.

    Raises:
        SweepError: If a config is wrong.
    """
    if plan.script is not None and _OWN_SCRIPT not in Path(plan.script).read_text(encoding="utf-8"):
        return
    from lasagna.cli.training_cli import parse_only

    for run in {run.variant: run for run in runs}.values():
        told = StringIO()
        try:
            with redirect_stderr(told):
                parse_only([plan.subcommands[0], *run.arguments(plan)])
        except SystemExit as error:
            reason = told.getvalue().strip().removeprefix("error: ")
            raise SweepError(f"sweep: the config of {run.variant!r} is wrong: {reason}") from error
        except LasagnaError as error:
            raise SweepError(f"sweep: the config of {run.variant!r} is wrong: {error}") from error


def variant_name(name: str, values: Mapping[str, Any]) -> str:
    """Return the name of a variant with its grid values, valid as the name of a folder.

    Args:
        name: Name of the variant.
        values: Config key to value; long values are abbreviated and get a digest.
    """
    parts = [name, *(f"{key.rsplit('.', 1)[-1]}={_as_text(value)}" for key, value in values.items())]
    for rank, part in enumerate(parts):
        plain = re.sub(r"[^\w.=+-]+", "_", part)
        if plain != part or len(part) > 40:
            parts[rank] = f"{plain[:32]}~{digest(part.encode())[:6]}"
    return ",".join(parts)


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
