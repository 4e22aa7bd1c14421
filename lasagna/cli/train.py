"""Training on the command line, as ``python train.py`` or ``lasagna train``: the jobs, their help and their errors."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lasagna import __version__
from lasagna.cli.entry import errors_on_one_line, message_of, unknown_word

if TYPE_CHECKING:
    from lasagna.cli.training_cli import TrainingCLI

JOBS = {
    "run": "train, then test; the default",
    "fit": "train",
    "validate": "score a trained assistant on the validation data",
    "test": "score a trained assistant on the test data and draw answers",
    "predict": "write a trained assistant's answers about a data set",
}
"""Job to what it does."""

ABOUT = (
    "Train, test and show an assistant. Without arguments it runs the main job: it writes the data, trains the default "
    "assistant, tests it, and leaves scores, curves and pictures in the run's folder."
)


def main(argv: list[str] | None = None) -> TrainingCLI:
    """Run a job.

    Args:
        argv: The command line without the program's name; None for that of the process. Without a job's name it runs
            the main job, ``run``.

    Returns:
        The command line with its ``trainer``, ``model`` and ``datamodule`` after the job.

    Raises:
        SystemExit: After help, if the input is wrong, or if the job was stopped by Ctrl-C or SIGTERM; the reason has
            been printed.
    """
    argv = with_job(sys.argv[1:] if argv is None else argv)
    if argv[0].startswith("-"):
        print(__version__ if argv[0] == "--version" else usage())
        raise SystemExit(0)
    if argv[0] not in JOBS:
        print(unknown_word("job", argv[0], JOBS), file=sys.stderr)
        raise SystemExit(2)
    with errors_on_one_line(short_message):
        # imports Lightning, which takes seconds that the help and a wrong job need not wait for
        from lasagna.cli.training_cli import TrainingCLI, command_line

        return TrainingCLI(**command_line(argv))


def with_job(argv: list[str]) -> list[str]:
    """Return a command line with its job: the main one where none is named."""
    wants_help = any(word in ("-h", "--help", "--version") for word in argv[:1])
    return argv if wants_help or (argv and not argv[0].startswith("-")) else ["run", *argv]


def usage() -> str:
    """Return what the command does and the list of its jobs."""
    jobs = [f"  {name:<10}{text}" for name, text in JOBS.items()]
    more = [
        "`lasagna train JOB --help` lists the options, `lasagna configs` the configs for --config NAME.",
        "`python train.py` is the same command.",
    ]
    return "\n".join(["usage: lasagna train [JOB] [OPTION ...]", "", ABOUT, "", "jobs:", *jobs, "", *more])


def short_message(error: BaseException) -> str:
    """Return an error's message, without the traceback or the inner keys that libraries put into it.

    Args:
        error: An error that is due to the input.
    """
    text = message_of(error)
    if type(error).__module__.startswith("omegaconf"):
        return text.splitlines()[0]
    return text.rsplit(f"{type(error).__name__}: ", 1)[-1].strip() if "Original Traceback" in text else text
