"""An assistant on the hub and back, with a stand-in of the hub on the loopback."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import lasagna
from lasagna.cli.calibrate import calibrate
from lasagna.cli.push import push
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules.checkpoints.calibration import Calibration, checksum, write_calibration
from lasagna.modules.checkpoints.load import downloading, read_checkpoint
from lasagna.modules.checkpoints.weights import ASSISTANT_CONFIG
from lasagna.modules.tiny.weights import ASSISTANT as PACKAGED
from tests.helpers.hub_server import hub_server

NAME = "ann/scenes"
SCORES = {
    "test/scenes/miou/lasagna-v1": 0.9154,
    "test/scenes/miou/lasagna-v1/names-1-4": 0.5,
    "test/phrases/giou/grefcoco": None,
}
RECORDS = {"train": {"scenes": {"broken": 0, "empty": 0, "read": 440, "used": 439}}}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    with hub_server() as (hub, address):
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_ann")
        yield hub


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(PACKAGED, tmp_path / "mine")
    write_calibration(Calibration(1.5, {"all": 0.4}, checksum(tmp_path / "mine")), tmp_path / "mine")
    stages = {"fit": {"records": RECORDS}, "test": {"scores": SCORES}}
    (tmp_path / "mine" / "scores.json").write_text(json.dumps({"stages": stages}), encoding="utf-8")
    (tmp_path / "mine" / "notes.py").write_text("", encoding="utf-8")
    return tmp_path / "mine"


def refused(*args, **options):
    with pytest.raises(CheckpointError) as caught:
        lasagna.load(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_an_assistant_goes_to_the_hub_and_comes_back(hub, folder, capsys):
    push(str(folder), NAME, tag="v1", licence="mit")
    [commit] = hub.commits[NAME]
    assert f'lasagna.load("{NAME}", revision="v1", download=True)' in capsys.readouterr().out
    assert {file.name for file in folder.iterdir()} - {"notes.py"} | {"README.md"} == hub.commits[NAME][commit].keys()
    assert b"calibrated for decoding `ordered`; a name" in hub.commits[NAME][commit]["README.md"]
    assert {token for _, path, token in hub.asked if path.startswith("/api/models")} == {"Bearer hf_ann"}
    # offline first: a name that was never fetched is a path that is missing, with the way out
    hub.asked.clear()
    assert f"fetched by lasagna.load('{NAME}', download=True)" in refused(NAME)
    assert f"lasagna.load('{NAME}', revision='v1', download=True)" in refused(NAME, revision="v1")
    assert hub.asked == []
    given, wanted = lasagna.load(NAME, revision="v1", download=True), lasagna.load(folder)
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    answers = [one.answer(picture, ["sun", "dog"]) for one in (given, wanted)]
    assert answers[0].text == answers[1].text
    assert [entry.score for entry in answers[0].entries] == [entry.score for entry in answers[1].entries]
    assert (given.presence_temperature, given.presence_threshold) == (1.5, 0.4)
    hub.asked.clear()
    for cached in (f"{NAME}@v1", f"{NAME}@{commit}"):
        assert read_checkpoint(cached).keys() == read_checkpoint(folder).keys()
    assert hub.asked == []
    with pytest.raises(CheckpointError, match=rf"copy it with `lasagna export --ckpt {NAME}@v1 --output FOLDER`"):
        calibrate(Path(f"{NAME}@v1"), ["shards"])
    (folder / "calibration.json").unlink()
    (folder / "README.md").write_text("My own card.\n", encoding="utf-8")
    push(str(folder), NAME)
    newest = list(hub.commits[NAME].values())[-1]
    assert newest["README.md"] == b"My own card.\n"
    assert "calibration.json" not in newest


def test_a_download_includes_the_frozen_models():
    parts = {"init_args": {"model": "ann/frozen", "download": False, "adapter": None}}
    config = {"init_args": {"language_model": parts, "others": [parts]}}
    allowed = {"init_args": parts["init_args"] | {"download": True}}
    given = downloading({ASSISTANT_CONFIG: config, "state_dict": {}})
    assert given == {
        ASSISTANT_CONFIG: {"init_args": {"language_model": allowed, "others": [allowed]}},
        "state_dict": {},
    }


def test_what_the_hub_lacks_is_one_line(hub, monkeypatch):
    assert "the hub has no 'ann/none', or refuses it to you; check the name, and log in" in refused(
        "ann/none", download=True
    )
    hub.commits[NAME] = {"1" * 40: {"README.md": b"nothing else"}}
    assert f"'{NAME}' of the hub has no revision 'v2'" in refused(NAME, revision="v2", download=True)
    assert f"'{NAME}' of the hub has no assistant.json" in refused(NAME, download=True)
    assert "neither here nor a name of the hub" in refused("one_word", download=True)
    assert "has no revision 'v1'; leave it out" in refused(PACKAGED, revision="v1")
    assert "revision: got 'v1' and 'v2'" in refused(f"{NAME}@v2", revision="v1")
    with pytest.raises(ConfigError, match="name: 'one_word' is no name of the hub"):
        push(str(PACKAGED), "one_word")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "could not be exchanged with the hub" in refused("ann/other", download=True)


def test_the_card_tells_scores_protocols_data_and_limits(folder, capsys):
    (folder / "modeling_lasagna.py").write_text("", encoding="utf-8")
    push(str(folder), NAME, dry_run=True, licence="mit", tag="v1")
    out = capsys.readouterr().out
    for line in (
        "library_name: lasagna",
        "license: mit",
        f'assistant = lasagna.load("{NAME}", revision="v1", download=True)',
        f'folder = snapshot_download("{NAME}", revision="v1")',
        "| vision encoder | `TinyVisionEncoder` (weights: pretrained) |",
        "| kinds of query that it learned | categories, question, reasoning, referring |",
        "| test | scenes | miou/lasagna-v1 | 0.9154 |",
        "| training | scenes | 439 records read, repetitions included |",
        "a name counts as present from these scores on: all 0.40.",
    ):
        assert line in out
    assert "- `lasagna-v1`: This package's own rules" in out
    assert "names-1-4" not in out
    assert "grefcoco" not in out
    assert out.endswith("nothing was sent\n")
