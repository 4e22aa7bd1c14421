"""Warnings and log lines of libraries that users of ``train.py`` need not see."""

from __future__ import annotations

import logging
import warnings

_WARNINGS = (
    "LightningCLI's args parameter",  # main() takes a command line on purpose
    "Found .* module.* in eval mode",  # frozen parts are, on purpose
    "Checkpoint directory .* exists and is not empty",  # a run is resumed and tested in its own folder
    ".*LeafSpec.* is deprecated",  # Lightning's own use of torch
    ".*does not have many workers",  # the number of workers is the config's choice
    "\\s*Dump of a value that does not round-trip",  # tuples of albumentations, which takes lists as well
    "Total length of `list` across ranks is zero",  # `val: []` validates on nothing, on purpose
)
"""Beginnings of warnings, as regular expressions, each with the reason why users need not see it."""

_LINES = (
    "💡",  # an advertisement of a service
    "TPU available",  # there are no configs for them
    "stopped: `max_steps=",  # the progress bar shows the last step
    "Restored all states from",  # said before as `Restoring states from`
)
"""Parts of log lines, each with the reason why users need not see it."""


def silence_known_warnings() -> None:
    """Hide the warnings and log lines that users need not see."""
    for reason in _WARNINGS:
        warnings.filterwarnings("ignore", message=reason)
    log = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    log.addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return not any(line in message for line in _LINES)
