"""Loading an assistant without a path: the one that comes with the package."""

import json
import shutil
import warnings
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import lasagna
from lasagna.__main__ import main
from lasagna.cli.predict import predict, read_queries
from lasagna.core.prompt_formats import TINY
from lasagna.core.seeding import generator
from lasagna.datamodules.scenes.settings import SceneSettings
from lasagna.datamodules.scenes.writer import scene_record
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules.checkpoints.folder import ASSISTANT, HEADS, SUMS, write_assistant
from lasagna.modules.checkpoints.load import read_checkpoint, stored_kinds
from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG, CONFIG, FROZEN, LEARNED, OPTIMISED, SEED
from lasagna.modules.learned_kinds import UnlearnedKindWarning
from lasagna.modules.tiny.weights import ASSISTANT as PACKAGED
from lasagna.tasks import Referring, Semantic

SCENE = Path(__file__).parents[3] / "docs" / "images" / "scene.png"


@pytest.fixture(scope="module")
def assistant():
    return lasagna.load()


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        (Semantic(), {"miou/lasagna-v1": 0.85, "presence_f1/lasagna-v1": 0.98}),
        (Referring(phrases=4), {"giou/grefcoco": 0.75}),
    ],
    ids=["semantic", "referring"],
)
def test_packaged_assistant_knows_scenes_that_it_has_not_seen(assistant, task, expected):
    settings = SceneSettings(seed=11, split="unseen", count=4)
    metrics = task.metrics(settings.manifest().categories)
    for index in range(settings.count):
        record = scene_record(settings, index)
        for dialogue in task.dialogues(record, generator(0, 0, record.key)):
            answer = assistant.answer(record.image(), dialogue.query, dialogue.kind)
            for metric in metrics.values():
                metric.update(dialogue, answer)
    scores = metrics.compute()
    assert {key: float(scores[key]) for key, least in expected.items() if scores[key] < least} == {}


def test_predict_asks_the_packaged_assistant_unless_one_is_named(tmp_path, capsys):
    main(["predict", f"--image={SCENE}", "--query=sky, dog, house", f"--out={tmp_path}", "--device=cpu"])
    assert "small assistant of the package" in capsys.readouterr().out
    entries = json.loads((tmp_path / "scene.json").read_text(encoding="utf-8"))["answers"][0]["entries"]
    assert [(entry["name"], entry["present"]) for entry in entries] == [("sky", True), ("dog", False), ("house", True)]


def test_an_answer_of_a_kind_that_was_never_learned_comes_with_a_warning(assistant, tmp_path, capsys):
    black = np.zeros((20, 24, 3), np.uint8)
    told = "never trained on grounded_caption, only on categories, question, reasoning, referring"
    with pytest.warns(UnlearnedKindWarning, match=told):
        assistant.answer(black, ["it"], "grounded_caption")
    with pytest.warns(UnlearnedKindWarning, match=told):
        assistant.chat(black).ask("it", kind="grounded_caption")
    Image.fromarray(black).save(tmp_path / "black.png")
    predict(tmp_path / "black.png", query="sky", own={"instances_by_token": "dog"}, out=tmp_path, device="cpu")
    [line] = [line for line in capsys.readouterr().err.splitlines() if "trained on" in line]
    assert line.startswith("warning: kind: this assistant was never trained on instances_by_token, only on categories")


def test_kinds_that_were_learned_are_known_by_name(tmp_path, checkpoint):
    config = deepcopy(checkpoint[ASSISTANT_CONFIG])
    prompts = {"counting": "<image> find {query} answer how many ", "categories": "<image> list {query} answer "}
    tokens = {"present_token": "<SEG>", "absent_token": "<NEG>", "image_token": "<image>"}
    config["init_args"]["prompt_format"] = {**tokens, "prompts": prompts, "name_separator": " "}
    forms = {"counting": {"words": True}}
    path = saved(tmp_path, checkpoint, **{ASSISTANT_CONFIG: config, LEARNED: forms})
    [query] = read_queries(own={"counting": "birds"}, ckpt=path)
    assert (query.kind, query.kind.form, query.names) == ("counting", {"words": True}, ("birds",))
    own = lasagna.load(path)
    with warnings.catch_warnings(action="error"):
        assert own.answer(np.zeros((20, 24, 3), np.uint8), ["birds"], "counting").entries
    write_assistant(tmp_path / "exported", own, read_checkpoint(path))
    assert stored_kinds(tmp_path / "exported") == {"counting": query.kind}
    unknown = {key: value for key, value in checkpoint.items() if key != LEARNED}
    assert list(lasagna.load(saved(tmp_path, unknown)).learned_kinds) == list(TINY.prompts)
    assert "learned_kinds: kind 'own': expected values of many" in refused(
        saved(tmp_path, checkpoint, **{LEARNED: {"own": {"masks": 1}}})
    )


HEAD = "assistant.prompt_projection.0.weight"


@pytest.fixture(scope="module")
def checkpoint():
    return read_checkpoint(PACKAGED)


def saved(folder, checkpoint, **changes):
    """Write a checkpoint with changes, as training writes one."""
    torch.save({**checkpoint, **changes}, folder / "last.ckpt")
    return folder / "last.ckpt"


def refused(path):
    with pytest.raises(CheckpointError) as caught:
        lasagna.load(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(tmp_path, checkpoint, value):
    weight = checkpoint["state_dict"][HEAD].clone()
    weight[0, :3] = value
    path = saved(tmp_path, checkpoint, state_dict=checkpoint["state_dict"] | {HEAD: weight})
    said = f"weights that are not finite: 3 of the {weight.numel()} values of prompt_projection.0.weight"
    assert said in refused(path)


def test_a_flipped_byte_is_noticed(tmp_path, checkpoint):
    path = saved(tmp_path, checkpoint)
    content = bytearray(path.read_bytes())
    weight = checkpoint["state_dict"][HEAD].contiguous().numpy().tobytes()[:64]
    content[content.index(weight)] ^= 1
    path.write_bytes(content)
    assert "differs from its checksum; copy it again" in refused(path)


def test_a_changed_file_of_an_exported_folder_is_noticed(tmp_path, assistant, checkpoint):
    folder = tmp_path / "out"
    write_assistant(folder, assistant, checkpoint)
    lasagna.load(folder)
    heads = load_file(folder / HEADS)
    name = min(heads)
    save_file(heads | {name: heads[name] + 1}, folder / HEADS)
    assert "(SHA-256); it is damaged" in refused(folder)
    about = json.loads((folder / ASSISTANT).read_text())
    del about[SUMS]
    (folder / ASSISTANT).write_text(json.dumps(about))
    lasagna.load(folder)
    shutil.copy(PACKAGED / ASSISTANT, folder / ASSISTANT)
    (folder / ASSISTANT).write_text("[]")
    assert "holds no JSON object" in refused(folder)


@pytest.mark.parametrize("key", ["state_dict", ASSISTANT_CONFIG, CONFIG, FROZEN, OPTIMISED, SEED])
@pytest.mark.parametrize("value", ["a text", ["a", "list"]])
def test_values_of_another_kind_are_named(tmp_path, checkpoint, key, value):
    assert f"has a {type(value).__name__} as {key}, expected " in refused(saved(tmp_path, checkpoint, **{key: value}))


def test_a_config_that_cannot_be_built_is_one_line(tmp_path, checkpoint):
    assert "class_path and init_args is needed" in refused(saved(tmp_path, checkpoint, **{ASSISTANT_CONFIG: {"a": 1}}))
    config = json.loads(json.dumps(checkpoint[ASSISTANT_CONFIG]))
    # more than any machine can address, so that nothing is ever allocated
    config["init_args"]["language_model"]["init_args"]["adapter"]["rank"] = 10**12
    with pytest.raises(ConfigError, match=r"assistant: its parts do not fit into the memory .*choose smaller sizes"):
        lasagna.load(saved(tmp_path, checkpoint, **{ASSISTANT_CONFIG: config}))
    odd = checkpoint["state_dict"] | {HEAD: "a text"}
    assert f"no tensor at '{HEAD}'" in refused(saved(tmp_path, checkpoint, state_dict=odd))
