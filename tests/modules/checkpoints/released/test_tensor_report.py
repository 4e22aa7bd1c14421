"""What an import says of each tensor: surplus ones, rows of words that are too few or too many, another tower."""

from __future__ import annotations

import json
import shutil
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

import lasagna
from lasagna.cli.export import export
from lasagna.core.prompt_formats import RELEASED
from lasagna.errors import CheckpointError
from lasagna.modules import FeatureSpec
from lasagna.modules.checkpoints.released.adapters import WORDS
from lasagna.modules.checkpoints.released.importing import import_assistant
from lasagna.modules.llava.language_model import LlavaV1

pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
from tests.helpers.tiny_llava import HIDDEN, TRAINED, sam_state, training_state, write_llava, write_release


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("accounts")
    write_llava(root)
    write_release(root)
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy of LLaVA v1, its tower and a release, which may be spoilt."""
    shutil.copytree(made, tmp_path / "root")
    return tmp_path / "root"


def tensors(folder):
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def change(folder, **values):
    state = {name: value.clone() for name, value in tensors(folder).items()}
    torch.save({**state, **values}, folder / "pytorch_model.bin")


def cut(folder, rows):
    """Give embedding and output layer so many rows."""
    state = tensors(folder)
    long = {name: torch.cat([state[name], torch.randn(max(0, rows), HIDDEN)])[:rows].clone() for name in WORDS}
    change(folder, **long)


def report(source, output, **options):
    import_assistant(str(source), str(output), **options)
    return json.loads((output / "report.json").read_text())


def test_what_a_file_of_sam_holds_beside_it_is_listed(root, capsys):
    torch.save({**sam_state(), "foo.bar": torch.ones(1), "pixel_mean": torch.ones(3)}, root / "sam.pth")
    found = report(root / "llava", root / "in", sam=str(root / "sam.pth"))
    assert found["unknown"] == ["sam: foo.bar"]
    assert "sam: pixel_mean" in found["ignored"]
    assert "sam: foo.bar" in capsys.readouterr().out


def test_words_that_llava_lacks_are_called_fresh(root, capsys):
    torch.save(sam_state(), root / "sam.pth")
    found = report(root / "llava", root / "in", sam=str(root / "sam.pth"))
    assert found["fresh_rows"] == list(TRAINED)
    assert "fresh        5 rows of words: <cat_start>" in capsys.readouterr().out
    whole = report(root / "release", root / "again")
    assert (whole["fresh_rows"], whole["padding"]) == ([], 0)


def test_tokens_without_rows_are_refused(root):
    cut(root / "release", 334)
    with pytest.raises(CheckpointError, match=r"source: .*embed_tokens.weight has shape \(334, 16\), .* 338 tokens"):
        report(root / "release", root / "in")
    with pytest.raises(CheckpointError, match=r"folder: .* does not fit its tokeniser: .* 334 rows for 338 tokens"):
        LlavaV1(str(root / "release")).build(FeatureSpec((1,), (1,), (1, 1)), RELEASED.special_tokens)


@pytest.mark.parametrize("lisa", [False, True])
def test_padding_of_the_vocabulary_is_told_and_comes_back(lisa, root):
    folder = root / "release"
    if lisa:
        added = json.loads((root / "llava" / "added_tokens.json").read_text())
        (folder / "added_tokens.json").write_text(json.dumps({**added, "[SEG]": 1 + max(added.values())}))
        cut(folder, 2 + max(added.values()))
    words = len(tensors(folder)["lm_head.weight"])
    cut(folder, 384)
    before = (folder / "added_tokens.json").read_text()
    assert report(folder, root / "in")["padding"] == 384 - words
    export(str(root / "in"), str(root / "out"), layout="released")
    # of the rotary frequencies, which follow from the config, the one made here has but a few
    state = {name: value for name, value in tensors(folder).items() if "inv_freq" not in name}
    again = tensors(root / "out")
    assert state.keys() == {name for name in again if "inv_freq" not in name}
    assert all(torch.equal(value, again[name]) for name, value in state.items())
    assert json.loads((root / "out" / "added_tokens.json").read_text()) == json.loads(before)
    assert json.loads((root / "out" / "config.json").read_text())["vocab_size"] == 384


@pytest.mark.parametrize("name", ["model.layers.7.mlp.up_proj.weight", "model.visual_model.image_encoder.more"])
def test_loading_a_release_warns_of_what_nothing_reads(name, root):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        lasagna.load(root / "release")
    change(root / "release", **{name: torch.ones(1)})
    with pytest.warns(UserWarning, match=f"holds tensors that nothing reads: {name}"):
        lasagna.load(root / "release")


def test_biases_of_the_llama_are_read(root):
    folder = root / "llava"
    settings = {**json.loads((folder / "config.json").read_text()), "attention_bias": True, "mlp_bias": True}
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match=r"q_proj\.bias is missing"):
        LlavaV1(str(folder)).build(FeatureSpec((1,), (1,), (1, 1)), RELEASED.special_tokens)
    plain = LlamaForCausalLM(LlamaConfig(**{**settings, "model_type": "llama"})).eval()
    for name, weight in plain.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight)
    change(folder, **plain.state_dict())
    model = LlavaV1(str(folder))
    model.build(FeatureSpec((1,), (1,), (1, 1)), RELEASED.special_tokens)
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        hidden = model.eval()(model.embed(ids, torch.zeros(1, 0, HIDDEN)), torch.ones_like(ids), torch.arange(3)[None])
        torch.testing.assert_close(model.logits(hidden)[..., : settings["vocab_size"]], plain(ids).logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_state_of_another_tower_is_refused(dtype, root):
    tower = load_file(root / "clip" / "model.safetensors")
    inside = {f"base_model.model.model.vision_tower.vision_tower.{name}": value for name, value in tower.items()}
    inside = {
        name
        if "vision_model." in name
        else name.replace("vision_tower.vision_tower.", "vision_tower.vision_tower.vision_model."): value.to(dtype)
        for name, value in inside.items()
    }
    torch.save({**training_state(root / "release"), **inside}, root / "state.bin")
    options = {"base": str(root / "llava"), "vision_tower": str(root / "clip")}
    assert len(
        [
            reason
            for reason in report(root / "state.bin", root / "in", **options)["ignored"].values()
            if "tower" in reason
        ]
    )
    save_file(
        {name: value + torch.randn(value.shape) for name, value in tower.items()}, root / "clip" / "model.safetensors"
    )
    with pytest.raises(CheckpointError, match="vision_tower: the source was trained with another tower"):
        report(root / "state.bin", root / "again", **options)
