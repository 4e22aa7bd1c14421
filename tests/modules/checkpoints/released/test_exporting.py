"""What a trained assistant has learned is in its exported folder, and what cannot be there is refused or told."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import lasagna
from lasagna.cli.export import export
from lasagna.core.config import config_of
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import Assistant, VisionLoRA
from lasagna.modules.checkpoints.calibration import Calibration, checksum, write_calibration
from lasagna.modules.checkpoints.released.exporting import check_parts
from lasagna.modules.checkpoints.released.importing import import_assistant
from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, PREFIX
from lasagna.modules.llava.language_model import LlavaV1
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
from tests.helpers.tiny_llava import sam_state, write_llava, write_release

WORDS = ("model.embed_tokens.weight", "lm_head.weight")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("out")
    write_llava(root)
    write_release(root)
    torch.save(sam_state(), root / "sam.pth")
    return root


@pytest.fixture(scope="module")
def lisa(root):
    """A release of LISA: LLaVA's words, and [SEG]."""
    folder = root / "lisa"
    folder.mkdir()
    for file in (root / "release").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    added = json.loads((root / "llava" / "added_tokens.json").read_text())
    words = 1 + max(added.values())
    (folder / "added_tokens.json").write_text(json.dumps({**added, "[SEG]": words}))
    state = tensors(folder)
    state |= {name: state[name][: words + 1].clone() for name in WORDS}
    torch.save(state, folder / "pytorch_model.bin")
    return folder


@pytest.mark.parametrize(
    ("encoder", "head", "message"),
    [
        ({"adapter": VisionLoRA()}, {}, "holds no adapters of a vision encoder; export it with --layout adapter"),
        ({}, {"neck": True}, "holds no neck before a mask head"),
    ],
)
def test_what_the_released_layout_has_no_place_for(root, encoder, head, message):
    parts = SamVisionEncoder("vit_b", **encoder), LlavaV1(str(root / "llava")), SamMaskHead(**head)
    with pytest.raises(CheckpointError, match=message):
        check_parts(Assistant(*parts))


def tensors(folder):
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def checkpoint(path, assistant, names):
    """Write a checkpoint of an assistant of which some weights were trained."""
    state = {PREFIX + name: value for name, value in assistant.state_dict().items() if any(map(name.count, names))}
    torch.save({"state_dict": state, ASSISTANT_CONFIG: config_of(assistant)}, path)
    return str(path)


def made(folder, prompt_format, **settings):
    """An assistant of a release's parts, its projection random."""
    weights = str(folder / "pytorch_model.bin")
    parts = SamVisionEncoder(weights_file=weights), LlavaV1(str(folder), **settings), SamMaskHead(weights)
    torch.manual_seed(0)
    assistant = Assistant(*parts, prompt_format=prompt_format, mask_threshold=0.4).eval()
    assistant.configure_model()
    return assistant


def answers(assistant):
    answer = assistant.answer(picture(), ["sky", "dog", "wall"])
    return [(entry.name, round(entry.score, 6), entry.present) for entry in answer.entries]


def test_what_lisa_has_learned_of_absence_goes_out_too(lisa, tmp_path, capsys):
    assistant = made(lisa, "lisa")
    with torch.no_grad():
        assistant.language_model.llama.lm_head.weight[-1] += 1.0
    path = checkpoint(tmp_path / "last.ckpt", assistant, ("lm_head", "embed_tokens", "prompt_projection"))
    export(path, str(tmp_path / "out"), layout="released")
    assert "[NEG]" in capsys.readouterr().out
    again = lasagna.load(tmp_path / "out")
    assert answers(again) == answers(lasagna.load(path))
    added = json.loads((tmp_path / "out" / "added_tokens.json").read_text())
    assert added["[NEG]"] == added["[SEG]"] + 1
    assert len(tensors(tmp_path / "out")["lm_head.weight"]) == added["[NEG]"] + 1
    # and from there again, though nothing is trained any more
    import_assistant(str(tmp_path / "out"), str(tmp_path / "in"))
    export(str(tmp_path / "in"), str(tmp_path / "twice"), layout="released")
    before, after = tensors(tmp_path / "out"), tensors(tmp_path / "twice")
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_lisas_own_words_are_all_where_none_was_trained(lisa, tmp_path, capsys):
    path = checkpoint(tmp_path / "last.ckpt", made(lisa, "lisa"), ("prompt_projection",))
    export(path, str(tmp_path / "out"), layout="released")
    assert "[NEG]" not in capsys.readouterr().out
    assert all(torch.equal(tensors(tmp_path / "out")[name], tensors(lisa)[name]) for name in WORDS)


def test_a_prompt_format_that_the_layout_cannot_tell_is_refused(root, tmp_path):
    path = checkpoint(tmp_path / "last.ckpt", made(root / "release", "paper"), ("prompt_projection",))
    with pytest.raises(CheckpointError, match=r"layout: .*'<ins>'.* this assistant writes '<SEG>' .* adapter"):
        export(path, str(tmp_path / "out"), layout="released")
    assert not (tmp_path / "out").exists()


def test_parts_without_a_place_are_refused_before_weights_are_read(root, tmp_path, monkeypatch):
    from lasagna.modules import TinyLanguageModel, TinyMaskHead, TinyVisionEncoder

    assistant = Assistant(TinyVisionEncoder(), TinyLanguageModel(), TinyMaskHead(), prompt_format="tiny")
    torch.save({"state_dict": {}, ASSISTANT_CONFIG: config_of(assistant)}, tmp_path / "last.ckpt")
    monkeypatch.setattr(Assistant, "configure_model", lambda assistant: pytest.fail("it was built"))
    with pytest.raises(CheckpointError, match="holds a SamVisionEncoder, but this assistant has a TinyVisionEncoder"):
        export(str(tmp_path / "last.ckpt"), str(tmp_path / "out"), layout="released")


def test_settings_that_the_layout_has_no_place_for_are_reported(root, tmp_path, capsys):
    path = checkpoint(
        tmp_path / "a.ckpt", made(root / "release", "released", centre_crop=False), ("prompt_projection",)
    )
    export(path, str(tmp_path / "out"), layout="released")
    assert "cannot hold centre_crop: False, mask_threshold: 0.4" in capsys.readouterr().out


def test_large_releases_go_out_in_parts(root, tmp_path):
    export(str(root / "release"), str(tmp_path / "one"), layout="released")
    export(str(root / "release"), str(tmp_path / "parts"), layout="released", shard_size="40KB")
    files = sorted(file.name for file in (tmp_path / "parts").glob("*.bin"))
    assert files[0] == f"pytorch_model-00001-of-{len(files):05d}.bin"
    assert len(files) > 3
    whole = tensors(tmp_path / "one")
    apart = {}
    for file in files:
        apart |= torch.load(tmp_path / "parts" / file, weights_only=True)
    index = json.loads((tmp_path / "parts" / "pytorch_model.bin.index.json").read_text())
    assert index["weight_map"].keys() == apart.keys() == whole.keys()
    assert all(torch.equal(value, apart[name]) for name, value in whole.items())
    given, wanted = (lasagna.load(tmp_path / name).state_dict() for name in ("parts", "one"))
    assert all(torch.equal(given[name], value) for name, value in wanted.items())
    with pytest.raises(ConfigError, match="shard_size: expected a size such as 5GB or 500MB, got 'much'"):
        export(str(root / "release"), str(tmp_path / "x"), layout="released", shard_size="much")


def test_weights_that_were_rounded_are_reported(root, tmp_path, capsys):
    path = checkpoint(tmp_path / "a.ckpt", made(root / "release", "released", dtype="bfloat16"), ("prompt_projection",))
    export(path, str(tmp_path / "out"), layout="released")
    assert "rounded by dtype: bfloat16" in capsys.readouterr().out
    stored, before = tensors(tmp_path / "out"), tensors(root / "release")
    name = "model.layers.0.mlp.up_proj.weight"
    assert torch.equal(stored[name], before[name].bfloat16().float())


def test_quantized_weights_are_not_exported_as_whole_ones(root, tmp_path):
    assistant = made(root / "release", "released")
    config = config_of(assistant)
    config["init_args"]["language_model"]["init_args"]["quantization"] = "4bit"
    torch.save({"state_dict": {}, ASSISTANT_CONFIG: config}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"layout: .* quantized \(4bit\); export it with --layout adapter"):
        export(str(tmp_path / "a.ckpt"), str(tmp_path / "out"), layout="released")


def test_nothing_is_rounded_that_was_trained_or_came_from_another_file(root, tmp_path):
    base = tmp_path / "llava"
    base.mkdir()
    for file in (root / "llava").iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    torch.save({name: value.half() for name, value in tensors(base).items()}, base / "pytorch_model.bin")
    settings = json.loads((base / "config.json").read_text())
    tower = {"mm_vision_tower": str(root / "clip"), "torch_dtype": "float16"}
    (base / "config.json").write_text(json.dumps({**settings, **tower}))
    import_assistant(str(base), str(tmp_path / "in"), sam=str(root / "sam.pth"))
    assistant = lasagna.load(tmp_path / "in")
    torch.nn.init.normal_(assistant.language_model.llama.model.layers[0].self_attn.q_proj.weight)
    path = checkpoint(tmp_path / "last.ckpt", assistant, ("q_proj", "lm_head", "embed_tokens", "prompt_projection"))
    export(path, str(tmp_path / "out"), layout="released")
    given, wanted = lasagna.load(tmp_path / "out").state_dict(), assistant.state_dict()
    assert all(torch.equal(given[name], value) for name, value in wanted.items())
    stored = tensors(tmp_path / "out")
    assert stored["model.layers.0.mlp.up_proj.weight"].dtype == torch.float16
    assert stored["model.layers.0.self_attn.q_proj.weight"].dtype == torch.float32


def test_a_merged_training_state_keeps_its_precision(root, tmp_path):
    base = tmp_path / "llava"
    base.mkdir()
    for file in (root / "llava").iterdir():
        (base / file.name).write_bytes(file.read_bytes())
    settings = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**settings, "torch_dtype": "float16"}))
    state = tensors(root / "release")
    torch.save(state, tmp_path / "state.bin")
    import_assistant(str(tmp_path / "state.bin"), str(tmp_path / "in"), base=str(base), vision_tower=str(root / "clip"))
    merged = tensors(tmp_path / "in" / "merged")
    assert all(torch.equal(merged[name], value) for name, value in state.items() if "inv_freq" not in name)


@pytest.mark.parametrize("layout", ["adapter", "released"])
def test_a_calibration_goes_with_its_checkpoint(layout, root, tmp_path):
    path = checkpoint(tmp_path / "last.ckpt", made(root / "release", "released"), ("prompt_projection",))
    write_calibration(Calibration(2.0, {"all": 0.25}, checksum(Path(path)), {}), Path(path))
    export(path, str(tmp_path / "out"), layout=layout)
    again = lasagna.load(tmp_path / "out")
    assert (again.presence_temperature, again.presence_threshold) == (2.0, 0.25)
    assert answers(again) == answers(lasagna.load(path))
    if layout == "adapter":
        # what was calibrated is beside the config, not in it
        config = OmegaConf.load(tmp_path / "out" / "config.yaml").model.init_args.assistant
        assert config.init_args.presence_temperature == 1.0
