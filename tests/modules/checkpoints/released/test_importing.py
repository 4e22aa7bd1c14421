"""Released models in and out, on a tiny random one that is made here."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

import lasagna
from lasagna.__main__ import main as command
from lasagna.cli.export import export
from lasagna.cli.train import main
from lasagna.errors import CheckpointError
from lasagna.modules.checkpoints.released.adapters import separated, to_released, unwrapped
from lasagna.modules.checkpoints.released.importing import import_assistant

pytest.importorskip("sentencepiece", reason="the tokeniser of LLaVA v1 needs sentencepiece")
from tests.helpers.tiny_llava import sam_state, write_llava
from tests.helpers.tiny_run import write_config, write_scenes

ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("released")
    write_llava(root)
    torch.save(sam_state(), root / "sam.pth")
    return root


@pytest.fixture(scope="module")
def release(root):
    """A release: LLaVA v1 and SAM, with the projection as it was fresh."""
    import_assistant(str(root / "llava"), str(root / "start"), sam=str(root / "sam.pth"))
    export(str(root / "start"), str(root / "release"), layout="released")
    change(root / "release" / "config.json", mm_vision_tower="clip")
    return root / "release"


def change(file, **settings):
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))


def picture():
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


def tensors(folder):
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def test_a_release_is_loaded_in_a_line_and_answers(release):
    answer = lasagna.load(release).answer(picture(), ["sky", "dog"])
    assert [entry.name for entry in answer.entries] == ["sky", "dog"]


def test_an_exported_release_finds_its_tower_from_anywhere(release, tmp_path, monkeypatch):
    export(str(release), str(tmp_path / "out"), layout="released")
    monkeypatch.chdir(tmp_path)
    assert lasagna.load(tmp_path / "out").answer(picture(), ["sky"]).entries
    # beside the old one the name in it serves as well
    export(str(release), str(release.parent / "again"), layout="released")
    assert json.loads((release.parent / "again" / "config.json").read_text())["mm_vision_tower"] == "clip"


def test_a_release_goes_in_and_out_unchanged(release, tmp_path):
    import_assistant(str(release), str(tmp_path / "in"))
    export(str(tmp_path / "in"), str(tmp_path / "out"), layout="released")
    before, after = tensors(release), tensors(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_each_tensor_keeps_its_precision(release, tmp_path):
    folder = tmp_path / "mixed"
    shutil.copytree(release, folder)
    mixed = {name: value if "visual" in name else value.bfloat16() for name, value in tensors(release).items()}
    torch.save(mixed, folder / "pytorch_model.bin")
    change(folder / "config.json", torch_dtype="bfloat16", mm_vision_tower=str(release.parent / "clip"))
    export(str(folder), str(tmp_path / "out"), layout="released")
    after = tensors(tmp_path / "out")
    assert mixed.keys() == after.keys()
    assert all(value.dtype == after[name].dtype and torch.equal(value, after[name]) for name, value in mixed.items())


@pytest.mark.parametrize("form", ["safetensors", "parts"])
def test_other_files_hold_the_same(form, release, tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    for file in release.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    state = {name: value.clone() for name, value in tensors(release).items()}
    (folder / "pytorch_model.bin").unlink()
    if form == "safetensors":
        save_file(state, folder / "model.safetensors")
    else:
        places = {name: f"pytorch_model-{rank % 2}.bin" for rank, name in enumerate(state)}
        for part in set(places.values()):
            torch.save({name: state[name] for name, place in places.items() if place == part}, folder / part)
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": places}))
    import_assistant(str(folder), str(tmp_path / "in"), vision_tower=str(release.parent / "clip"))
    given, wanted = lasagna.load(tmp_path / "in").state_dict(), lasagna.load(release).state_dict()
    assert all(torch.equal(given[name], value) for name, value in wanted.items())


SIZES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")


def without_sizes(release, folder):
    shutil.copytree(release, folder)
    settings = json.loads((folder / "config.json").read_text())
    kept = {name: value for name, value in settings.items() if name not in SIZES}
    kept["mm_vision_tower"] = str(release.parent / "clip")
    (folder / "config.json").write_text(json.dumps(kept))


def test_sizes_that_the_config_lacks_are_read_off_the_tensors(release, tmp_path):
    without_sizes(release, tmp_path / "bare")
    given, wanted = lasagna.load(tmp_path / "bare"), lasagna.load(release)
    one, other = (assistant.language_model.llama.config for assistant in (given, wanted))
    assert [getattr(one, name) for name in SIZES] == [getattr(other, name) for name in SIZES]
    assert all(torch.equal(value, given.state_dict()[name]) for name, value in wanted.state_dict().items())


def test_sizes_that_are_not_stated_are_named(release, tmp_path):
    without_sizes(release, tmp_path / "bare")
    file = tmp_path / "bare" / "pytorch_model.bin"
    state = {name: value.clone() for name, value in tensors(file.parent).items() if "inv_freq" not in name}
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=r"has no num_attention_heads, which the tensors do not reveal"):
        lasagna.load(tmp_path / "bare")


LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def training_state(release, tmp_path):
    """A training state of the release with an adapter on one layer, and the adapter's two halves."""
    state = {f"base_model.model.{name}": value for name, value in tensors(release).items()}
    low, high = torch.randn(4, 16), torch.randn(16, 4)
    halves = {
        f"base_model.model.{LAYER}.lora_{half}.default.weight": value
        for half, value in zip("AB", (low, high), strict=True)
    }
    torch.save({**state, **halves}, tmp_path / "state.bin")
    return tmp_path / "state.bin", low, high


def import_state(file, root, output, **options):
    tower = str(root / "clip")
    import_assistant(str(file), str(output), base=str(root / "llava"), vision_tower=tower, lora_alpha=8.0, **options)
    return json.loads((output / "report.json").read_text())


def test_a_training_state_is_merged(training_state, release, root, tmp_path):
    file, low, high = training_state
    report = import_state(file, root, tmp_path / "in")
    name = f"{LAYER}.weight"
    assert torch.equal(tensors(tmp_path / "in" / "merged")[name], tensors(release)[name] + high @ low * 2)
    assert report["adapters"] == [f"{LAYER}.lora_A.weight", f"{LAYER}.lora_B.weight"]


@pytest.fixture
def lisa_state(release, root, tmp_path):
    """A training state of LISA: LLaVA's own words, and [SEG]."""
    words = len(torch.load(root / "llava" / "pytorch_model.bin", weights_only=True)["model.embed_tokens.weight"]) + 1
    state = {
        name: value[:words].clone() if "embed_tokens" in name or "lm_head" in name else value
        for name, value in tensors(release).items()
    }
    torch.save(state, tmp_path / "lisa.bin")
    return tmp_path / "lisa.bin", words


def test_a_training_state_of_lisa_gets_its_tokens(lisa_state, root, tmp_path):
    file, words = lisa_state
    import_state(file, root, tmp_path / "in")
    added = json.loads((tmp_path / "in" / "merged" / "added_tokens.json").read_text())
    assert added["[SEG]"] == words - 1
    assert "<ins>" not in added
    assistant = lasagna.load(tmp_path / "in")
    assert re.search(r"\[(SEG|NEG)\]", assistant.answer(picture(), ["sky"]).text)


def test_lisa_goes_out_in_its_own_layout(lisa_state, root, tmp_path):
    file, words = lisa_state
    import_state(file, root, tmp_path / "in")
    export(str(tmp_path / "in"), str(tmp_path / "out"), layout="released")
    before, after = tensors(tmp_path / "in" / "merged"), tensors(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    config, added = (json.loads((tmp_path / "out" / name).read_text()) for name in ("config.json", "added_tokens.json"))
    assert (config["architectures"], config["vocab_size"]) == (["LISAForCausalLM"], words)
    assert "[NEG]" not in added


def test_a_state_of_another_base_is_refused(lisa_state, root, tmp_path):
    file, words = lisa_state
    state = torch.load(file, weights_only=True)
    state["model.embed_tokens.weight"] = state["lm_head.weight"] = torch.zeros(words + 1, 16)
    torch.save(state, file)
    with pytest.raises(CheckpointError, match=rf"base: the state has {words + 1} words, .* LISA {words}"):
        import_state(file, root, tmp_path / "in")
    assert not (tmp_path / "in").exists()


def test_adapters_of_a_training_state_are_kept(training_state, release, root, tmp_path):
    file, low, high = training_state
    import_state(file, root, tmp_path / "first")
    (tmp_path / "first").rename(tmp_path / "merged")  # its model lies within and moves along
    import_state(file, root, tmp_path / "kept", adapters="kept")
    kept, merged = lasagna.load(tmp_path / "kept"), lasagna.load(tmp_path / "merged")
    adapted = kept.language_model.llama.model.layers[0].self_attn.q_proj
    assert torch.equal(adapted.lora_A["default"].weight, low)
    assert torch.equal(adapted.lora_B["default"].weight, high)
    assert adapted.scaling["default"] == 2.0
    one, other = (assistant.answer(picture(), ["sky", "dog"]) for assistant in (kept, merged))
    assert [entry.score for entry in one.entries] == pytest.approx([entry.score for entry in other.entries], abs=1e-5)
    export(str(tmp_path / "kept"), str(tmp_path / "out"), layout="released")
    assert all(
        torch.equal(value, tensors(tmp_path / "merged" / "merged")[name])
        for name, value in tensors(tmp_path / "out").items()
    )


def train_on(start, tmp_path):
    """Train a step without moving, as the docs say, and return the language model of the checkpoint."""
    run = write_config(tmp_path, write_scenes(tmp_path / "scenes"))
    data = OmegaConf.load(run)
    del data["model"]
    OmegaConf.save(data, run)
    main(
        [
            "fit",
            f"--config={ROOT / 'configs' / 'experiments' / 'gpu_24gb.yaml'}",
            f"--config={start / 'config.yaml'}",
            f"--config={run}",
            "--trainer.max_steps=1",
            "--trainer.precision=32-true",
            "--trainer.accumulate_grad_batches=1",
            "--model.optimiser={lr: 0.0, warmup_steps: 1}",
            f"--trainer.default_root_dir={tmp_path / 'run'}",
        ]
    )
    return lasagna.load(tmp_path / "run" / "checkpoints" / "last.ckpt").language_model


def test_training_continues_with_kept_adapters(training_state, root, tmp_path):
    file, low, high = training_state
    import_state(file, root, tmp_path / "start", adapters="kept")
    trained = train_on(tmp_path / "start", tmp_path)
    adapted = trained.llama.model.layers[0].self_attn.q_proj
    assert torch.equal(adapted.lora_A["default"].weight, low)
    assert torch.equal(adapted.lora_B["default"].weight, high)
    # what the import does not know comes from the config that trains on
    assert trained.adapter.dropout == 0.05


@pytest.mark.parametrize("layout", ["merged", "adapter", "released"])
def test_training_continues_from_each_folder(layout, training_state, root, tmp_path):
    file, low, high = training_state
    import_state(file, root, tmp_path / "start", adapters="merged" if layout == "merged" else "kept")
    if layout != "merged":
        export(str(tmp_path / "start"), str(tmp_path / "exported"), layout=layout)
    if layout == "released":
        import_assistant(str(tmp_path / "exported"), str(tmp_path / "again"))
    start = {"merged": "start", "adapter": "exported", "released": "again"}[layout]
    adapted = train_on(tmp_path / start, tmp_path).llama.model.layers[0].self_attn.q_proj
    state = torch.load(file, weights_only=True)
    base = state[f"base_model.model.{LAYER}.weight"]
    torch.testing.assert_close(
        adapted.base_layer.weight + adapted.get_delta_weight("default"), base + high @ low * 2, atol=1e-5, rtol=1e-5
    )


def test_adapters_of_several_ranks_are_not_kept(training_state, root, tmp_path):
    file, _, _ = training_state
    other = f"base_model.model.{LAYER}".replace("q_proj", "v_proj")
    halves = {f"{other}.lora_A.weight": torch.zeros(2, 16), f"{other}.lora_B.weight": torch.zeros(16, 2)}
    torch.save({**torch.load(file, weights_only=True), **halves}, file)
    with pytest.raises(
        CheckpointError, match=re.escape("adapters: to be kept, all must have the same rank, got [2, 4]")
    ):
        import_state(file, root, tmp_path / "in", adapters="kept")
    assert not (tmp_path / "in").exists()


def test_a_state_in_a_folder_and_behind_a_wrapper(training_state, root, tmp_path):
    file, _, _ = training_state
    wanted = import_state(file, root, tmp_path / "in")
    (tmp_path / "state").mkdir()
    state = {f"module.{name}": value for name, value in torch.load(file, weights_only=True).items()}
    torch.save(state, tmp_path / "state" / "pytorch_model.bin")
    assert import_state(tmp_path / "state", root, tmp_path / "again") == wanted
    one, other = (tensors(tmp_path / name / "merged") for name in ("in", "again"))
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_half_an_adapter_is_refused():
    with pytest.raises(CheckpointError, match="adapters: layer lacks lora_A, lora_B or its own weight"):
        separated({"layer.weight": torch.zeros(2, 2), "layer.lora_A.weight": torch.zeros(1, 2)}, 1.0)


@pytest.mark.parametrize("file", ["heads.safetensors", "adapter_model.safetensors"])
@pytest.mark.parametrize("exported", [False, True])
def test_a_tensor_that_an_imported_folder_lacks_is_named(file, exported, training_state, root, tmp_path):
    import_state(training_state[0], root, tmp_path / "in", adapters="kept")
    folder = tmp_path / "out" if exported else tmp_path / "in"
    if exported:
        export(str(tmp_path / "in"), str(folder))
    kept = load_file(folder / file)
    lost = sorted(kept)[0]
    save_file({name: value for name, value in kept.items() if name != lost}, folder / file)
    with pytest.raises(
        CheckpointError, match=r"checkpoint: .* lacks .*(prompt_projection\.0\.bias|lora_A).*; export or"
    ):
        lasagna.load(folder)
    save_file({**kept, lost.replace("0", "9"): kept[lost].clone()}, folder / file)
    with pytest.raises(CheckpointError, match=r"checkpoint: .* holds .*9.*, which belong to another"):
        lasagna.load(folder)


def test_adapters_of_another_kind_are_refused():
    halves = {f"layer.lora_{half}.weight": torch.zeros(2, 2) for half in "AB"}
    with pytest.raises(CheckpointError, match=r"adapters: layer\.lora_magnitude_vector\.default\.weight is of another"):
        separated({"layer.weight": torch.zeros(2, 2), **halves, "layer.lora_magnitude_vector.default.weight": 0}, 1.0)


def spoilt(release, tmp_path, change):
    """A copy of a release whose tensors were changed."""
    folder = tmp_path / "release"
    shutil.copytree(release, folder)
    torch.save(change(tensors(release)), folder / "pytorch_model.bin")
    return folder


class Code:
    """Something that runs a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ("false",)


NECK = "model.visual_model.image_encoder.neck.0.weight"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda state: {name: value for name, value in state.items() if name != NECK},
            "the SAM in .*release has no tensor .*neck",
        ),
        (lambda state: {**state, "model.norm.weight": torch.zeros(3)}, "does not fit: model.norm.*give all files"),
        (lambda state: {**state, "x": Code()}, "it holds objects or code besides tensors, which are never loaded"),
    ],
)
def test_what_is_wrong_with_a_release_is_said_of_the_source(change, reason, release, root, tmp_path):
    folder = spoilt(release, tmp_path, change)
    with pytest.raises(CheckpointError, match=f"source: .*{reason}"):
        import_assistant(str(folder), str(tmp_path / "in"), vision_tower=str(root / "clip"))


def test_a_file_that_is_cut_short_is_called_so(release, root, tmp_path):
    folder = spoilt(release, tmp_path, dict)
    whole = (folder / "pytorch_model.bin").read_bytes()
    (folder / "pytorch_model.bin").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        CheckpointError, match=r"pytorch_model\.bin is neither .*: it is truncated, or in another format"
    ):
        import_assistant(str(folder), str(tmp_path / "in"), vision_tower=str(root / "clip"))


def test_names_go_there_and_back():
    given = {"language_model.llama.lm_head.weight": torch.zeros(1), "prompt_projection.2.bias": torch.zeros(1)}
    assert set(to_released({**given, "language_model.vision_tower.x": torch.zeros(1)})) == {
        "lm_head.weight",
        "model.text_hidden_fcs.0.2.bias",
    }
    assert set(unwrapped({"base_model.model.lm_head.weight": torch.zeros(1)})) == {"lm_head.weight"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--source={root}/llava"], "sam: the source has no SAM"),
        (["--source={root}/release", "--sam={root}/sam.pth"], "sam: the source has its own SAM"),
        (["--source={root}/nothing"], "source: there is no file or folder"),
        (["--source={root}/sam.pth"], "base: .* is a single file without config and tokeniser"),
        (["--source={root}"], "base: .* is a folder without config and tokeniser"),
        (["--source={root}/release", "--vision_tower={root}/nothing"], "vision_tower: there is no CLIP folder"),
        (
            ["--source={root}/release", "--vision_tower={root}/llava"],
            "vision_tower: .* has model_type 'llava'; LLaVA v1",
        ),
        (["--source={root}/release", "--base={root}/llava"], "base: .* would not be used; leave it out"),
        (["--source={root}/release", "--adapters=kept"], "adapters: the source has none to keep"),
        (["--source={root}/sam.pth", "--base={root}/llava"], "source: .* is only a SAM; give it as sam"),
    ],
)
def test_what_import_refuses_leaves_nothing_behind(options, reason, root, release, tmp_path, capsys):
    words = [option.format(root=root) for option in options]
    with pytest.raises(SystemExit) as stopped:
        command(["import", *words, f"--output={tmp_path / 'in'}"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert re.search(reason, error), error
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize(
    "missing", ["model.norm.weight", "model.mm_projector.bias", "model.text_hidden_fcs.0.0.weight"]
)
def test_a_missing_tensor_is_named(missing, release, root, tmp_path):
    folder = tmp_path / "release"
    folder.mkdir()
    for file in release.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    torch.save(
        {name: value for name, value in tensors(release).items() if name != missing}, folder / "pytorch_model.bin"
    )
    with pytest.raises(CheckpointError, match=re.escape(f"is incomplete: {missing} is missing")):
        import_assistant(str(folder), str(tmp_path / "in"), vision_tower=str(root / "clip"))


def test_parts_that_the_released_layout_has_no_place_for(tmp_path):
    from lasagna.modules import Assistant, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
    from lasagna.modules.checkpoints.released.exporting import export_release

    assistant = Assistant(TinyVisionEncoder(), TinyLanguageModel(), TinyMaskHead(), prompt_format="tiny")
    with pytest.raises(CheckpointError, match="holds a SamVisionEncoder, but this assistant has a TinyVisionEncoder"):
        export_release(assistant, tmp_path / "out")
