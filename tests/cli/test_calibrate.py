"""Calibration through the commands, on a checkpoint of a few steps."""

import json
import shutil
import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import lasagna
from lasagna.__main__ import main
from lasagna.cli import calibrate as command
from lasagna.cli import calibration_scores as scoring
from lasagna.cli.train import main as train
from lasagna.core.batch import Query
from lasagna.core.prompt_formats import TINY
from lasagna.core.query_kind import QueryKind
from lasagna.datamodules import SkippedRecordWarning, write_shards
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.errors import CheckpointError, LasagnaError, QueryError
from lasagna.modules.checkpoints.calibration import calibration_file, checksum, read_calibration
from lasagna.modules.checkpoints.load import load
from lasagna.modules.contract import check_queries
from lasagna.tasks import Semantic
from tests.helpers.assistants import presence_head
from tests.helpers.tiny_run import write_config, write_scenes

QUERY = ["sky", "house", "sun"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrate")
    scenes = write_scenes(folder / "scenes")
    config = write_config(folder, scenes)
    train(["fit", "--config", str(config), "--trainer.default_root_dir", str(folder / "run")])
    return folder / "run" / "checkpoints" / "last.ckpt", scenes


@pytest.fixture
def place(run, tmp_path):
    shutil.copy(run[0], tmp_path / "last.ckpt")
    return tmp_path / "last.ckpt", run[1]


def calibrate(ckpt, *shards, **options):
    folders = [str(folder) for folder in shards]
    main(["calibrate", *folders, "--ckpt", str(ckpt), *(f"--{name}={value}" for name, value in options.items())])


def test_scores_are_scaled_where_the_checkpoint_is_used(place, tmp_path, capsys):
    ckpt, scenes = place
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    before = lasagna.load(ckpt).answer(image, QUERY)
    calibrate(ckpt, scenes / "val", limit=4)
    found = json.loads(calibration_file(ckpt).read_text())
    assert set(found["thresholds"]) == {"all", "scenes"}
    figures = found["figures"]["all"]
    assert figures["decisions"] > 50
    assert figures["negative_log_likelihood"] <= figures["negative_log_likelihood_before"]
    assert figures["f1"] >= figures["f1_before"]
    assert Image.open(tmp_path / "last.calibration.png").width > 300
    assert "temperature" in capsys.readouterr().out
    after = lasagna.load(ckpt)
    assert (after.presence_temperature, after.presence_threshold) == (found["temperature"], found["thresholds"]["all"])
    answer = after.answer(image, QUERY)
    logits = [np.log(entry.score / (1 - entry.score)) for entry in before.entries]
    scaled = [1 / (1 + np.exp(-logit / found["temperature"])) for logit in logits]
    assert answer.entries[0].score == pytest.approx(scaled[0], abs=1e-4)
    assert lasagna.load(ckpt, calibrated=False).presence_temperature == 1.0
    assert lasagna.load(ckpt, calibrated="scenes").presence_threshold == found["thresholds"]["scenes"]
    with pytest.raises(CheckpointError, match="'other' was not calibrated; choose one of all, scenes"):
        lasagna.load(ckpt, calibrated="other")


COUNTING = QueryKind("counting", words=True)
SHORTEST = QueryKind("shortest", many=True)


class Shortest(Semantic):
    """The two names with the fewest letters, in the order of the data set."""

    kinds = (SHORTEST, QueryKind("caption", words=True, grounded=True))

    def dialogues(self, record, rng):
        (dialogue,) = super().dialogues(record, rng)
        names = [name for name in dialogue.query if name in sorted(dialogue.query, key=len)[:2]]
        entries = [entry for entry in dialogue.entries if entry.name in names]
        return [replace(dialogue, kind=SHORTEST, query=tuple(names), entries=tuple(entries))]


def test_lists_and_phrases_can_be_asked_as_another_kind_and_by_a_task(place, monkeypatch):
    ckpt, scenes = place
    asked = []

    def given(assistant, batch, ways):
        asked.extend(sample.dialogue for sample in batch.samples)
        return answer(assistant, batch, ways)

    def calibrated(limit=2, **options):
        asked.clear()
        command.calibrate(ckpt, [str(scenes / "val")], limit=limit, device="cpu", **options)
        return {dialogue.kind for dialogue in asked}

    answer = scoring.answer
    monkeypatch.setattr(scoring, "answer", given)
    monkeypatch.setattr(scoring, "FEWEST", 4)
    (kind,) = calibrated(kind="instances_by_token")
    assert (kind, len(asked)) == ("instances_by_token", 2) and kind.tokens
    assert calibrated(kind="referring") == {"referring"} and len(asked) > 2
    phrases = {dialogue.query for dialogue in asked}
    assert calibrated(kind="reasoning") == {"reasoning"} and not phrases & {dialogue.query for dialogue in asked}
    # kinds of one's own, whose prompts the checkpoint's format would have
    prompts = TINY.prompts | {"counting": "<image> count {query} ", "shortest": "<image> short {query} "}
    loaded = load(ckpt, calibrated=False)
    loaded.format = replace(loaded.format, prompts=prompts)
    monkeypatch.setattr(scoring, "load", lambda *_, **__: loaded)
    monkeypatch.setattr(scoring, "find_kind", lambda _, kind, __: {"counting": COUNTING, "shortest": SHORTEST}[kind])
    assert calibrated(kind="counting") == {"counting"} and {dialogue.query for dialogue in asked} == phrases
    assert calibrated(kind="shortest") == {"shortest"} and all(len(one.query) > 20 for one in asked)
    with pytest.raises(QueryError, match="'caption' is not in this prompt format"):
        calibrated(limit=4, task=Shortest())
    loaded.format = replace(loaded.format, prompts=prompts | {"caption": "<image> tell {query} "})
    assert calibrated(limit=4, task=Shortest()) == {"shortest"} and len(asked) == 4
    with pytest.raises(QueryError, match="'one_pass' takes the decisions of a presence head, and this assistant has"):
        calibrated(kind="shortest", decoding="one_pass")
    loaded.presence_head = presence_head(128)
    assert calibrated(kind="shortest", decoding="one_pass") == {"shortest"}
    assert read_calibration(ckpt).decoding == "one_pass"
    query, again = Query(0, "categories", ("sky",)), load(ckpt)
    with pytest.warns(UserWarning, match="fits the scores of decoding 'one_pass', and 'ordered' takes its temp"):
        check_queries(again, [query], "ordered")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_queries(again, [query], "free")
        check_queries(load(ckpt, calibrated=False), [query], "ordered")


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"kind": "question"}, "'question' cannot be calibrated, since its answers are words without a decision"),
        ({"kind": "lists"}, "kind: 'lists' is none of categories"),
        ({"kind": "referring", "task": Shortest()}, "give either --kind or --task"),
    ],
)
def test_a_kind_that_decides_on_nothing_is_refused_before_the_assistant_is_loaded(place, monkeypatch, options, wrong):
    monkeypatch.delattr(scoring, "load")
    with pytest.raises(LasagnaError, match=wrong):
        command.calibrate(place[0], [str(place[1] / "val")], **options)


def test_a_limit_counts_records(place, monkeypatch):
    """Each scene is asked about its 24 categories, however many are answered together."""
    ckpt, scenes = place
    seen = []
    monkeypatch.setattr(scoring, "draw_reliability", lambda found, *_: seen.append(len(found["scenes"][0])))
    for batch_size in (2, 8):
        calibrate(ckpt, scenes / "val", limit=3, batch_size=batch_size)
    assert seen == [3 * 24] * 2


def test_a_broken_image_is_skipped_and_told_where_one_says_so(place, tmp_path, monkeypatch, capsys):
    ckpt, scenes = place
    shard_set = read_manifest(scenes / "val")
    share = read_share(shard_set, shard_set.shards, ShardSplit())
    records = [decode_record(raw, shard_set.manifest) for raw in share]
    broken = replace(records[1], image_bytes=records[1].image_bytes[:200])
    write_shards([records[0], broken, *records[2:]], tmp_path / "shards", shard_set.manifest)
    with pytest.raises(SystemExit):
        calibrate(ckpt, tmp_path / "shards")
    assert f"record {broken.key}" in (told := capsys.readouterr().err) and "--broken skip" in told
    assert "data.broken" not in told
    seen = []
    monkeypatch.setattr(scoring, "draw_reliability", lambda found, *_: seen.append(len(found["scenes"][0])))
    with pytest.warns(SkippedRecordWarning, match=f"skipped a broken record: .*record {broken.key}"):
        calibrate(ckpt, tmp_path / "shards", broken="skip", batch_size=2)
    assert seen == [3 * 24]
    assert "scenes-semantic: 1 broken records were skipped" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "value"), [("limit", -5), ("limit", 0), ("batch_size", 0)])
def test_numbers_that_cannot_be_are_refused(place, capsys, name, value):
    ckpt, scenes = place
    with pytest.raises(SystemExit):
        calibrate(ckpt, scenes / "val", **{name: value})
    assert f"{name}: expected a whole number of at least 1, got {value}" in capsys.readouterr().err
    assert not calibration_file(ckpt).exists()


def test_other_frozen_weights_are_taken_where_one_says_so(place, tmp_path, capsys):
    """As the error advises, by both commands."""
    ckpt, scenes = place
    checkpoint = torch.load(ckpt, weights_only=True)
    checkpoint["fresh_weights_seed"] += 1
    torch.save(checkpoint, ckpt)
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / "a.png")
    predict = ["--image", str(tmp_path / "a.png"), "--query", "sky", "--out", str(tmp_path / "out")]
    for words in (["calibrate", str(scenes / "val"), "--limit=2"], ["predict", *predict]):
        with pytest.raises(SystemExit):
            main([*words, "--ckpt", str(ckpt)])
        assert "frozen_check: false" in capsys.readouterr().err
        main([*words, "--ckpt", str(ckpt), "--frozen_check", "false"])


def test_predict_takes_the_threshold_of_the_calibration_unless_one_is_given(place, tmp_path):
    ckpt, scenes = place
    calibrate(ckpt, scenes / "val")
    content = json.loads(calibration_file(ckpt).read_text())
    calibration_file(ckpt).write_text(json.dumps(content | {"thresholds": {"all": 1.0, "scenes": 0.0}}))
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(tmp_path / "a.png")
    for options, expected in (([], False), (["--calibrated_for", "scenes"], True), (["--threshold", "0"], True)):
        out = str(tmp_path / "out")
        main(
            [
                "predict",
                "--ckpt",
                str(ckpt),
                "--image",
                str(tmp_path / "a.png"),
                "--query",
                "sky",
                "--out",
                out,
                *options,
            ]
        )
        (entry,) = json.loads((tmp_path / "out" / "a.json").read_text())["answers"][0]["entries"]
        assert entry["present"] is expected


def test_a_checkpoint_without_calibration_or_with_another_ones(place):
    ckpt, scenes = place
    with pytest.raises(CheckpointError, match=r"has no calibration .*lasagna calibrate"):
        lasagna.load(ckpt, calibrated=True)
    calibrate(ckpt, scenes / "val")
    content = json.loads(calibration_file(ckpt).read_text())
    calibration_file(ckpt).write_text(json.dumps(content | {"checkpoint": "0" * 64}))
    with pytest.warns(UserWarning, match="made for another checkpoint and is not used"):
        assert lasagna.load(ckpt).presence_temperature == 1.0
    calibration_file(ckpt).write_text("{}")
    with pytest.raises(CheckpointError, match="not a calibration"):
        lasagna.load(ckpt)


def test_a_folder_is_told_by_what_its_weights_hold(tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "heads.safetensors").write_bytes(bytes(100_000))
    before = checksum(folder)
    (folder / "calibration.json").write_text("{}")
    assert checksum(folder) == before
    (folder / "heads.safetensors").write_bytes(bytes(99_999) + b"1")
    assert checksum(folder) != before


def test_there_must_be_something_to_calibrate_on(place, tmp_path, capsys):
    ckpt, _ = place
    with pytest.raises(SystemExit):
        calibrate(ckpt, tmp_path / "nowhere")
    assert "nowhere" in capsys.readouterr().err
    assert not calibration_file(ckpt).exists()
