"""Which records an evaluation asks about, and with which seed."""

import pytest

from lasagna.tasks.evaluation.data_choice import choose_data, without_writers

TRAINED = {"data": {"class_path": "lasagna.datamodules.ShardDataModule", "init_args": {"seed": 5}}}


@pytest.mark.parametrize(("stated", "trained", "seed"), [("", TRAINED, 5), ("seed: 3", TRAINED, 3), ("", None, 0)])
def test_a_data_config_without_a_seed_has_that_of_the_training(stated, trained, seed, tmp_path):
    file = tmp_path / "data.yaml"
    file.write_text(f"class_path: lasagna.datamodules.ShardDataModule\ninit_args:\n  batch_size: 2\n  {stated}\n")
    assert choose_data(str(file), "test", trained).config["init_args"].get("seed", 0) == seed


def test_a_data_module_of_ones_own_need_not_take_a_seed(tmp_path):
    file = tmp_path / "data.yaml"
    file.write_text("class_path: own.Data\ninit_args: {folder: here}\n")
    chosen = choose_data(str(file), "test", TRAINED).config
    assert without_writers(chosen) == chosen == {"class_path": "own.Data", "init_args": {"folder": "here"}}
