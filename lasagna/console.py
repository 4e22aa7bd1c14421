"""What a job does not print: remarks of its dependencies on what is so on purpose."""

from __future__ import annotations

import logging
import warnings

_WARNINGS = (
    "LightningCLI's args parameter",  # main() takes a command line on purpose
    "Found .* module.* in eval mode",  # frozen parts are, on purpose
    "Checkpoint directory .* exists and is not empty",  # a run is resumed and tested in its own folder
    ".*LeafSpec.* is deprecated",  # Lightning's own use of torch
    ".*does not have many workers",  # the number of workers is the config's choice
)
"""Beginnings of warnings, as regular expressions, each with the reason why it says nothing to the user."""

_LINES = (
    "💡",  # an advertisement of a service
    "TPU available",  # there are no configs for them
    "stopped: `max_steps=",  # the progress bar shows the last step
    "Restored all states from",  # said before as `Restoring states from`
)
"""Parts of log lines, each with the reason why it says nothing to the user."""


def calm() -> None:
    """Leave the remarks out that say nothing to the user; all others stay."""
    for reason in _WARNINGS:
        warnings.filterwarnings("ignore", message=reason)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(line in message for line in _LINES)
