"""A short table of the assistant's parts and how much of each is trained."""

from __future__ import annotations

from lightning import Callback, LightningModule, Trainer
from rich.console import Console
from rich.table import Table
from torch import nn


class PartsTable(Callback):
    """Prints the parts before training, with their classes, parameters and trained parameters.

    Lightning's own summary sees one module, the assistant, and estimates sizes that mixed precision makes wrong.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table, once."""
        if trainer.is_global_zero:
            Console().print(parts_table(getattr(pl_module, "assistant", pl_module)))


def parts_table(module: nn.Module) -> Table:
    """Return a row for each direct part that has parameters.

    Args:
        module: The assistant, built.
    """
    table = Table("part", "class")
    for title in ("parameters", "trained"):
        table.add_column(title, justify="right")
    for name, part in module.named_children():
        parameters = list(part.parameters())
        if parameters:
            trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
            total = sum(parameter.numel() for parameter in parameters)
            table.add_row(name, type(part).__name__, f"{total:,}", f"{trained:,}")
    return table
