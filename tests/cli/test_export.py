"""A trained assistant as a folder: small, the same answers, and readable for peft."""

from __future__ import annotations

import json
import sys
from shutil import copytree

import numpy as np
import pytest
import torch
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file
from transformers import AutoModel, LlamaConfig, LlamaForCausalLM

import lasagna
from lasagna.cli.export import export
from lasagna.cli.push import push
from lasagna.cli.train import main
from lasagna.errors import CheckpointError, ConfigError
from tests.helpers.tiny_run import write_config, write_scenes

LORA = "--model.assistant.language_model.adapter={rank: 4, alpha: 8, embeddings: false}"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    return write_config(folder, write_scenes(folder / "scenes"))


@pytest.fixture(scope="module")
def ckpt(config):
    folder = config.parent / "run"
    main(["fit", f"--config={config}", f"--trainer.default_root_dir={folder}", "--model.optimiser.lr=0.01", LORA])
    return folder / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def folder(ckpt):
    folder = ckpt.parents[1] / "exported"
    export(str(ckpt), str(folder))
    return folder


def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_the_folder_holds_adapters_heads_and_how_to_make_the_rest(folder, ckpt):
    assert {file.name for file in folder.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "assistant.json",
        "config.yaml",
        "heads.safetensors",
    }
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["peft_type"], config["r"], config["lora_alpha"]) == ("LORA", 4, 8)
    adapters = load_file(folder / "adapter_model.safetensors")
    assert all(name.startswith("base_model.model.model.layers.") for name in adapters)
    assert len(adapters) == 2 * 7 * 4  # A and B of seven layers in each of four blocks
    heads = load_file(folder / "heads.safetensors")
    stored = torch.load(ckpt, weights_only=True)["state_dict"]
    trained = [name for name in stored if name.startswith("assistant.")]
    assert len(adapters) + len(heads) == len(trained)
    assert not any("lora" in name for name in heads)


def test_answers_are_those_of_the_checkpoint(folder, ckpt):
    given, wanted = (lasagna.load(path).answer(picture(), ["sun", "dog"]) for path in (folder, ckpt))
    assert given.text == wanted.text
    assert [entry.score for entry in given.entries] == [entry.score for entry in wanted.entries]


def test_peft_reads_the_adapters(folder):
    assistant = lasagna.load(folder)
    adapted = assistant.language_model.llama
    config = LlamaConfig(**adapted.config.to_dict())
    config._attn_implementation = "eager"
    plain = LlamaForCausalLM(config)
    bare = {
        name.replace(".base_layer", ""): value for name, value in adapted.state_dict().items() if "lora" not in name
    }
    plain.load_state_dict(bare)
    ids = torch.tensor([[5, 6, 7]])
    before = plain(ids).logits
    loaded = PeftModel.from_pretrained(plain, str(folder)).eval()
    torch.testing.assert_close(loaded(ids).logits, adapted(ids).logits, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(before, adapted(ids).logits, atol=1e-4)


def test_training_continues_from_the_folder_wherever_it_is_moved(folder, config, tmp_path):
    moved = tmp_path / "moved"
    copytree(folder, moved)
    assert not [file for file in moved.iterdir() if str(folder).encode() in file.read_bytes()]
    cli = main(
        [
            "fit",
            f"--config={config}",
            f"--config={moved / 'config.yaml'}",
            f"--trainer.default_root_dir={tmp_path}",
            "--trainer.max_steps=1",
            "--model.optimiser.lr=1e-9",
        ]
    )
    assert cli.model.warm_start == str(moved)
    weights = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    for name, value in load_file(folder / "heads.safetensors").items():
        torch.testing.assert_close(weights[f"assistant.{name}"], value, atol=1e-6, rtol=0)


def test_a_folder_that_holds_something_is_left_alone(folder, ckpt):
    before = {file: file.read_bytes() for file in folder.iterdir()}
    with pytest.raises(CheckpointError, match="is not empty"):
        export(str(ckpt), str(folder))
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("assistant.json", "{", "assistant.json cannot be read"),
        ("assistant.json", '{"form": 99}', "has form 99, but this version reads 1"),
        ("heads.safetensors", "nothing", "heads.safetensors cannot be read"),
        ("adapter_model.safetensors", None, "adapter_model.safetensors cannot be read"),
    ],
)
def test_broken_folders(file, content, reason, folder, tmp_path):
    broken = tmp_path / "broken"
    broken.mkdir()
    for source in folder.iterdir():
        (broken / source.name).write_bytes(source.read_bytes())
    if content is None:
        (broken / file).unlink()
    else:
        (broken / file).write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=reason):
        lasagna.load(broken)


@pytest.fixture(scope="module")
def of_seed_five(config):
    """A checkpoint, and its adapter folder, of a run whose frozen encoder is random, of a seed of its own."""
    run = config.parent / "five"
    main(["fit", f"--config={config}", f"--trainer.default_root_dir={run}", "--seed_everything=5", LORA])
    export(str(run / "checkpoints" / "last.ckpt"), str(run / "exported"))
    return run


def train_on(config, run, tmp_path, *options):
    start = f"--config={run / 'exported' / 'config.yaml'}"
    steps = ["--trainer.max_steps=1", "--model.optimiser.lr=0"]
    main(["fit", f"--config={config}", start, f"--trainer.default_root_dir={tmp_path}", *steps, *options])
    return lasagna.load(tmp_path / "checkpoints" / "last.ckpt")


def test_training_continues_with_the_random_weights_that_were_frozen(of_seed_five, config, tmp_path):
    wanted = lasagna.load(of_seed_five / "checkpoints" / "last.ckpt")
    trained = train_on(config, of_seed_five, tmp_path, "--seed_everything=7")
    given = trained.state_dict()
    assert all(torch.equal(given[name], value) for name, value in wanted.state_dict().items())
    assert trained.answer(picture(), ["sun"]).entries[0].score == wanted.answer(picture(), ["sun"]).entries[0].score


def test_other_random_weights_are_refused_where_training_continues(of_seed_five, config, tmp_path, capsys):
    with pytest.raises(SystemExit):
        train_on(config, of_seed_five, tmp_path, "--model.seed=7")
    error = capsys.readouterr().err
    assert "frozen weights of language_model, vision_encoder" in error or "frozen weights of vision_encoder" in error
    assert "model.seed: 5" in error
    assert not (tmp_path / "checkpoints").exists()
    train_on(config, of_seed_five, tmp_path, "--model.seed=7", "--model.frozen_check=false")


def test_a_checkpoint_is_pushed_with_the_scores_of_its_run(ckpt, capsys):
    stages = {"validate": {"scores": {"val/scenes/miou/mmseg": 0.25}}}
    scores = ckpt.parents[1] / "scores.json"
    scores.write_text(json.dumps({"stages": stages}), encoding="utf-8")
    push(str(ckpt), "ann/scenes", dry_run=True)
    out = capsys.readouterr().out
    assert "| val | scenes | miou/mmseg | 0.2500 |" in out
    assert "adapter_model.safetensors" in out
    scores.write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"expected an object with `stages`.*; give the scores.json of a training"):
        push(str(ckpt), "ann/scenes", dry_run=True)


def test_transformers_loads_an_exported_folder(ckpt, tmp_path, monkeypatch):
    export(str(ckpt), str(tmp_path / "auto"), layout="transformers")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    model = AutoModel.from_pretrained(tmp_path / "auto", trust_remote_code=True)
    wanted = lasagna.load(ckpt)
    for given in (model.predict(picture(), "sun, dog"), model.predict(Image.fromarray(picture()), ["sun", "dog"])):
        expected = wanted.answer(picture(), ["sun", "dog"])
        assert given.text == expected.text
        for entry, same in zip(given.entries, expected.entries, strict=True):
            assert (entry.name, entry.present, entry.score) == (same.name, same.present, same.score)
            assert np.array_equal(entry.mask, same.mask)
    stored, exif = Image.fromarray(picture()), Image.Exif()
    exif[0x0112] = 6
    stored.save(tmp_path / "turned.png", exif=exif)
    turned = np.rot90(picture(), -1)
    assert (
        model.predict(tmp_path / "turned.png", "sun").entries[0].score
        == wanted.answer(turned, ["sun"]).entries[0].score
    )
    clear = Image.new("RGBA", (20, 20))
    white = wanted.answer(np.full((20, 20, 3), 255, np.uint8), ["sun"])
    assert model.predict(clear, "sun").entries[0].score == white.entries[0].score
    given = model.predict(picture(), "the sun, far away", "referring")
    assert given.text == wanted.answer(picture(), ["the sun, far away"], "referring").text
    with pytest.raises(ValueError, match=r"dtype: it is not available here; load the model"):
        AutoModel.from_pretrained(tmp_path / "auto", trust_remote_code=True, dtype=torch.float16)
    monkeypatch.setitem(sys.modules, "lasagna", None)
    with pytest.raises(ImportError, match="needs the package lasagna"):
        AutoModel.from_pretrained(tmp_path / "auto", trust_remote_code=True)
