"""Training with features on disk ends with the weights of training without."""

from __future__ import annotations

import re

import pytest
import torch

from lasagna.cli.train import main
from tests.helpers.tiny_run import write_config, write_scenes


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    config = write_config(folder, write_scenes(folder / "scenes"))

    def run(name, *options):
        main(["fit", f"--config={config}", f"--trainer.default_root_dir={folder / name}", *options])
        file = folder / name / "checkpoints" / "last.ckpt"
        return torch.load(file, weights_only=True)["state_dict"]

    return run


def test_weights_are_those_of_training_without_a_cache(fit, tmp_path):
    plain = fit("plain")
    for name in ("empty", "full"):
        cached = fit(name, f"--model.feature_cache.folder={tmp_path}", "--model.feature_cache.limit_gb=0.1")
        assert plain.keys() == cached.keys()
        for key, value in plain.items():
            torch.testing.assert_close(cached[key], value, atol=1e-5, rtol=1e-4)
    assert 0 < len(list(tmp_path.rglob("*.safetensors"))) <= 20


def test_a_trained_encoder_is_refused(fit, capsys, tmp_path):
    with pytest.raises(SystemExit):
        fit(
            "refused",
            f"--model.feature_cache.folder={tmp_path}",
            "--model.assistant.vision_encoder.frozen=false",
        )
    assert re.search(r"feature_cache: the vision encoder is trained", capsys.readouterr().err)
