"""What happens to a command line before it is parsed: config files come before the other options."""

from __future__ import annotations

import pytest

from lasagna.cli.arguments import configs_first
from lasagna.cli.training_cli import TrainingCLI, command_line


def test_flags_win_over_a_file_that_comes_after_them(tmp_path):
    file = tmp_path / "own.yaml"
    file.write_text("seed_everything: 3\ndata: {init_args: {batch_size: 2, num_workers: 0}}\n")
    words = ["--seed_everything", "7", "--data.batch_size=5", "--config", str(file), "--trainer.max_steps=1"]
    cli = TrainingCLI(**command_line(words, run=False), run=False)
    assert (cli.datamodule.seed, cli.datamodule.batch_size, cli.datamodule.num_workers) == (7, 5, 0)


@pytest.mark.parametrize(
    ("words", "ordered"),
    [
        ("fit --a 1 --config x -b --config=y", "fit --config x --config=y --a 1 -b"),
        ("--print_config -c x", "-c x --print_config"),
        ("fit", "fit"),
        ("", ""),
    ],
)
def test_files_come_before_flags_and_after_the_job(words, ordered):
    assert configs_first(words.split()) == ordered.split()
