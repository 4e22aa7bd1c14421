"""The ``evaluate`` command, from a checkpoint to the page."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from base64 import b64decode
from dataclasses import replace
from html import escape, unescape
from io import BytesIO
from pathlib import Path

import pytest
import torch
from PIL import Image

from lasagna.__main__ import main
from lasagna.cli.train import main as train
from lasagna.datamodules import write_shards
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.datamodules.shards.reader import ShardSplit, read_share
from lasagna.modules.checkpoints.calibration import Calibration, checksum, write_calibration
from lasagna.tasks.evaluation.answering import answer_all, answer_some
from lasagna.tasks.evaluation.predictions import opened, predictions_file
from tests.helpers.tiny_run import write_config, write_scenes


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A trained checkpoint, its scenes and the scores that training's own test gave."""
    folder = tmp_path_factory.mktemp("evaluate")
    scenes = write_scenes(folder / "scenes")
    config = write_config(folder, scenes)
    train(["run", "--config", str(config), "--trainer.default_root_dir", str(folder / "run")])
    return folder


@pytest.fixture(scope="module")
def whole(place):
    """An evaluation of everything in one process."""
    run(place, place / "whole", "--data", place / "scenes")
    return place / "whole"


def run(place, out, *options):
    ckpt = place / "run" / "checkpoints" / "last.ckpt"
    main(["evaluate", "--ckpt", str(ckpt), "--out", str(out), "--device", "cpu", *map(str, options)])


def scores(folder):
    return json.loads((folder / "scores.json").read_text())["stages"]["test"]["scores"]


def lines(folder):
    files = sorted(folder.glob("predictions-*.jsonl"))
    found = [json.loads(text) for file in files for text in file.read_text().splitlines()]
    return sorted(found, key=lambda line: (line["run"], line["key"]))


def refused(capsys, *options):
    with pytest.raises(SystemExit) as stopped:
        main(["evaluate", *map(str, options)])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_scores_are_those_of_trainings_own_test(place):
    run(place, place / "same", "--controls", "[]")
    expected, found = scores(place / "run"), scores(place / "same")
    assert len(expected) >= 5
    assert {name: found[name] for name in expected} == expected
    assert {"test/scenes-semantic/miou/reference", "test/scenes-semantic/miou/mmseg"} <= found.keys()


def test_lists_longer_than_the_model_takes_are_scored_by_test_and_evaluation(place, tmp_path):
    config = write_config(tmp_path, place / "scenes")
    sampling = "[{class_path: lasagna.datamodules.ClassSampling, init_args: {limit: 6}}]"
    limits = ["--model.assistant.language_model.max_length", "60", "--data.strategies", sampling]
    train(["run", "--config", str(config), "--trainer.default_root_dir", str(tmp_path / "run"), *limits])
    run(tmp_path, tmp_path / "same", "--controls", "[]")
    expected, found = scores(tmp_path / "run"), scores(tmp_path / "same")
    assert {name: found[name] for name in expected} == expected
    asked = [dialogue for line in lines(tmp_path / "same") for dialogue in line["dialogues"]]
    assert {len(dialogue["query"]) for dialogue in asked} == {24}


def test_all_tasks_and_controls_of_a_folder_in_one_pass(whole):
    passes = {name.split("/")[1] for name in scores(whole)}
    lists = {f"scenes-semantic{kind}" for kind in ("", "-same-set", "-co-occurring")}
    plain = lists | {"scenes-referring", "scenes-reasoning", "scenes-vqa"}
    pairs = {"scenes-semantic-counterfactual", "scenes-referring-counterfactual"}
    assert passes == plain | {f"{name}-blind" for name in plain} | pairs
    report = (whole / "report.md").read_text()
    assert "| scenes-semantic-counterfactual | hallusegbench-drawn |" in report
    for rank, name in enumerate(sorted(pairs, reverse=True)):
        assert f"](0{rank}-{name}-pairs.png)" in report
        assert Image.open(whole / f"0{rank}-{name}-pairs.png").width > 400


def test_scoring_again_needs_no_model(whole, monkeypatch, tmp_path):
    monkeypatch.setattr("lasagna.modules.checkpoints.load.load", None)
    monkeypatch.setattr("lasagna.tasks.evaluation.answering.load", None)
    main(["evaluate", "--predictions", str(whole), "--out", str(tmp_path / "again")])
    assert scores(tmp_path / "again") == scores(whole)
    assert (tmp_path / "again" / "report.md").read_text() == (whole / "report.md").read_text()


def test_given_answers_have_scores_of_their_own(place, whole, tmp_path):
    run(place, tmp_path, "--data", place / "scenes", "--teacher_forced", "true", "--controls", "[]")
    given = {name for name in scores(tmp_path) if "teacher-forced" in name}
    assert given == {
        f"test/scenes-{task}/{quantity}/teacher-forced"
        for task in ("referring", "reasoning")
        for quantity in ("ciou", "giou")
    }
    others = {name: value for name, value in scores(tmp_path).items() if name not in given}
    assert others == {name: scores(whole)[name] for name in others} and len(others) > 10
    phrases = [line for line in lines(tmp_path) if line["run"] == "scenes-referring"]
    for one in [dialogue for line in phrases for dialogue in line["dialogues"]]:
        assert one["answers"]["teacher_forced"]["entries"][0]["present"]
    main(["evaluate", "--predictions", str(tmp_path), "--out", str(tmp_path / "again")])
    assert scores(tmp_path / "again") == scores(tmp_path)


def test_processes_share_the_work_and_count_nothing_twice(place, whole, tmp_path, monkeypatch):
    warned = []

    def in_turn(job, processes):
        return sum(one_part(replace(job, processes=processes), part) for part in range(processes))

    def one_part(job, part):
        assistant = job.assistant()
        assistant.calibrated_decoding = "one_pass"
        with warnings.catch_warnings(record=True) as told:
            count = answer_all(job, assistant, part=part)
        warned.append(any("fits the scores of decoding 'one_pass'" in str(one.message) for one in told))
        return count

    # the parts one after the other: `answer_together` itself has a slow test
    monkeypatch.setattr("lasagna.tasks.evaluation.processes.answer_together", in_turn)
    run(place, tmp_path, "--data", place / "scenes", "--processes", 3, "--batch_size", 1, "--controls", "[]")
    assert [len(file.read_text().splitlines()) for file in sorted(tmp_path.glob("predictions-*"))] == [8, 4, 4]
    assert warned == [True, False, False]
    answered = lines(tmp_path)
    assert len({(line["run"], line["key"]) for line in answered}) == len(answered) == 16
    assert {name: scores(whole)[name] for name in scores(tmp_path)} == scores(tmp_path)


@pytest.mark.slow
def test_two_processes_at_the_same_time(place, tmp_path):
    run(place, tmp_path, "--processes", 2, "--limit", 2, "--controls", "[]")
    assert [len(file.read_text().splitlines()) for file in sorted(tmp_path.glob("predictions-*"))] == [1, 1]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="needs /proc to see processes")
def test_no_process_outlives_a_command_that_was_killed(place, tmp_path):
    ckpt = place / "run" / "checkpoints" / "last.ckpt"
    options = ["--ckpt", ckpt, "--out", tmp_path / "out", "--device", "cpu", "--processes", "2"]
    with subprocess.Popen([sys.executable, "-m", "lasagna", "evaluate", *map(str, options)]) as parent:
        children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
        while parent.poll() is None and not predictions_file(tmp_path / "out", 0).exists():
            time.sleep(0.02)
        started = children.read_text().split()
        parent.kill()
    assert len(started) >= 2
    end = time.monotonic() + 30
    while (left := [pid for pid in started if is_there(pid)]) and time.monotonic() < end:
        time.sleep(0.05)
    assert not left


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.slow
def test_processes_of_a_launcher_share_the_work_and_the_first_one_scores(place, whole, tmp_path, monkeypatch):
    options = ["--data", place / "scenes", "--batch_size", 1, "--controls", "[]"]
    ckpt = place / "run" / "checkpoints" / "last.ckpt"
    command = ["evaluate", "--ckpt", ckpt, "--out", tmp_path, "--device", "cpu", *options]
    second = [sys.executable, "-m", "lasagna", *map(str, command)]
    ranked = os.environ | {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    with subprocess.Popen(second, env=ranked, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "2")
        run(place, tmp_path, *options)
        printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    answered = lines(tmp_path)
    assert [len(file.read_text().splitlines()) for file in sorted(tmp_path.glob("predictions-*"))] == [8, 8]
    assert len({(line["run"], line["key"]) for line in answered}) == len(answered) == 16
    assert {name: scores(whole)[name] for name in scores(tmp_path)} == scores(tmp_path)


def test_processes_of_a_launcher_are_told_what_keeps_them_from_it(place, tmp_path, monkeypatch, capsys):
    ckpt = ["--ckpt", place / "run" / "checkpoints" / "last.ckpt", "--out", tmp_path, "--device", "cpu"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert "leave --processes out" in refused(capsys, *ckpt, "--processes", 2)
    monkeypatch.setattr("lasagna.tasks.evaluation.processes.PATIENCE", 0.0)
    assert f"process 0 of 2 has not begun in {tmp_path}" in refused(capsys, *ckpt)
    monkeypatch.setenv("RANK", "0")
    assert "2 records of other processes have no answers" in refused(capsys, *ckpt, "--controls", "[]")
    monkeypatch.setenv("RANK", "1")
    assert "with other seed" in refused(capsys, *ckpt, "--controls", "[]", "--seed", 1)


def test_an_evaluation_does_not_begin_beside_one_that_is_still_at_it(place, tmp_path, capsys):
    ckpt = ["--ckpt", place / "run" / "checkpoints" / "last.ckpt", "--out", tmp_path, "--device", "cpu"]
    with opened(predictions_file(tmp_path, 1)):
        assert "another process is still writing answers to" in refused(capsys, *ckpt)
    assert not predictions_file(tmp_path, 0).exists()


def test_an_interrupted_evaluation_continues(place, tmp_path, monkeypatch, capsys):
    answered = []

    def interrupted(assistant, run, samples):
        if len(answered) == 2:
            raise KeyboardInterrupt
        answered.append(run.name)
        return answer_some(assistant, run, samples)

    monkeypatch.setattr("lasagna.tasks.evaluation.answering.answer_some", interrupted)
    with pytest.raises(SystemExit) as stopped:
        run(place, tmp_path, "--batch_size", 1, "--controls", "[]")
    assert stopped.value.code == 130
    before = lines(tmp_path)
    assert len(before) == 2
    assert "goes on" in refused(capsys, "--predictions", tmp_path)
    with (tmp_path / "predictions-000.jsonl").open("a") as stream:
        stream.write('{"run": "scenes-sem')
    monkeypatch.setattr("lasagna.tasks.evaluation.answering.answer_some", answer_some)
    run(place, tmp_path, "--batch_size", 1, "--controls", "[]")
    assert len(lines(tmp_path)) == 4
    assert [line for line in lines(tmp_path) if line in before] == before
    expected = scores(place / "run")
    assert {name: scores(tmp_path)[name] for name in expected} == expected


def test_the_page_has_every_section_and_shows_pictures(whole):
    page, text = (whole / "report.html").read_text(), (whole / "report.md").read_text()
    for part in ("Scores", "Does it look?", "Confusion of presence", "Faults", "Protocols", "Versions", "Seed 0"):
        assert part in page and part in text
    table = page[page.index("<h2>Protocols</h2>") : page.index("<h2>Versions</h2>")]
    for protocol in ("lasagna-v1", "reference", "mmseg", "grefcoco", "lisa"):
        assert f"<td>{protocol}</td>" in table
    pictures = re.findall(r"!\[(.+)\]\((.+)\)", text)
    assert len(pictures) == 9
    assert "reliability.png" in [name for _, name in pictures]
    shown = re.findall(r'src="data:image/(?:png|jpeg);base64,([^"]+)" alt="([^"]+)"', page)
    assert len(shown) == page.count("<img") and page.count("http") == 0
    assert [unescape(caption) for _, caption in shown] == [caption for caption, _ in pictures]
    for (held, _), (_, name) in zip(shown, pictures, strict=True):
        with Image.open(BytesIO(b64decode(held))) as inside, Image.open(whole / name) as beside:
            inside.load()
            assert inside.size == beside.size
    assert len(page) < 2_000_000
    sections = [page.index(f"<h2>{name}</h2>") for name in ("Scores", "scenes-semantic", "scenes-referring")]
    assert sections == sorted(sections)
    answers = next(caption for caption, name in pictures if name == "00-scenes-semantic-answers.png")
    assert sections[1] < page.index(f'alt="{escape(answers)}"') < sections[2]


KEYS = ("imgs/p.0", "b c", "Haus über See.png", "100%25")


@pytest.fixture(scope="module")
def renamed(place):
    """The test scenes under keys as own data has them: with folders, dots, blanks, umlauts and per cent signs."""
    shard_set = read_manifest(place / "scenes" / "test")
    share = read_share(shard_set, shard_set.shards, ShardSplit())
    records = [decode_record(raw, shard_set.manifest) for raw in share]
    named = [replace(record, key=key) for record, key in zip(records, KEYS, strict=True)]
    write_shards(named, place / "renamed" / "test", shard_set.manifest)
    return place / "renamed"


@pytest.mark.slow
def test_records_are_known_by_their_keys_whatever_these_hold(place, renamed, tmp_path, monkeypatch):
    run(place, tmp_path / "part", "--data", renamed, "--controls", "[]", "--limit", 3)
    run(place, tmp_path / "all", "--data", renamed, "--controls", "[]")
    answered = lines(tmp_path / "all")
    assert {line["key"] for line in answered} == set(KEYS)
    assert all((tmp_path / "all" / name).is_file() for name in ("report.html", "00-scenes-semantic-answers.png"))
    monkeypatch.setattr("lasagna.tasks.evaluation.answering.answer_some", None)
    run(place, tmp_path / "all", "--data", renamed, "--controls", "[]")
    assert lines(tmp_path / "all") == answered
    main(["evaluate", "--predictions", str(tmp_path / "all"), "--out", str(tmp_path / "again")])
    assert scores(tmp_path / "again") == scores(tmp_path / "all")


def test_each_data_set_is_answered_with_the_threshold_that_it_was_calibrated_to(place, tmp_path, capsys):
    ckpt = tmp_path / "last.ckpt"
    shutil.copy(place / "run" / "checkpoints" / "last.ckpt", ckpt)
    options = ["--ckpt", str(ckpt), "--data", str(place / "scenes"), "--controls", "[]", "--device", "cpu"]
    for threshold, expected in ((0.0, {True}), (1.0, {False})):
        found = Calibration(2.0, {"all": 0.5, "scenes": threshold}, checksum(ckpt))
        write_calibration(found, ckpt)
        out = tmp_path / str(threshold)
        main(["evaluate", *options, "--out", str(out)])
        rows = [row for line in lines(out) if line["run"] == "scenes-semantic" for row in line["dialogues"]]
        assert {entry["present"] for row in rows for entry in row["answers"]["ordered"]["entries"]} == expected
        thresholds = json.loads((out / "evaluation.json").read_text())["thresholds"]
        assert thresholds["temperature"] == 2.0
        assert set(thresholds["presence"].values()) == {threshold}
    write_calibration(Calibration(3.0, {"all": 0.5, "scenes": 1.0}, checksum(ckpt)), ckpt)
    assert "with other thresholds" in refused(capsys, *options, "--out", str(out))


def test_answers_of_another_evaluation_are_not_touched(place, whole, capsys):
    before = lines(whole)
    ckpt = place / "run" / "checkpoints" / "last.ckpt"
    options = ["--ckpt", ckpt, "--out", whole, "--device", "cpu", "--data", place / "scenes"]
    assert "with other seed" in refused(capsys, *options, "--seed", 5)
    assert lines(whole) == before


def test_answers_about_other_images_are_refused(place, whole, capsys):
    error = refused(capsys, "--predictions", whole, "--data", place / "scenes", "--split", "val")
    assert "is about other images or questions: shards of 'scenes-semantic' differ" in error


def test_answers_that_name_what_was_not_asked_are_refused(place, tmp_path, capsys):
    run(place, tmp_path, "--controls", "[]", "--limit", 1)
    file = tmp_path / "predictions-000.jsonl"
    line = json.loads(file.read_text())
    line["dialogues"][0]["answers"]["ordered"]["entries"][0]["name"] = "zeppelin"
    whole = file.read_text()
    file.write_text(whole + json.dumps(line | {"key": "of-elsewhere"}) + "\n")
    error = refused(capsys, "--predictions", tmp_path)
    assert "1 records of 'scenes-semantic' are not in the data (of-elsewhere, ...)" in error
    file.write_text(json.dumps(line) + "\n")
    error = refused(capsys, "--predictions", tmp_path)
    assert "of 'scenes-semantic': the answers name ['zeppelin'], which were not asked for\n" in error
    line["dialogues"][0]["query"] = ["zeppelin"]
    file.write_text(json.dumps(line) + "\n")
    assert "the answers are to other questions" in refused(capsys, "--predictions", tmp_path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "give either --ckpt"),
        (["--processes", "0"], "processes: expected a whole number of at least 1"),
        (["--threshold", "2"], "threshold: expected a number in [0, 1]"),
        (["--data", "{place}/scenes", "--split", "tset"], "has no 'tset'; its splits are test, train, val"),
        (["--split", "tset"], "the data has no 'tset'; choose one of train, val, test"),
        (["--data", "{place}/none"], "there is no file or folder"),
        (["--data", "{place}/tiny.yaml", "--device", "none"], "device: 'none' cannot be used"),
        (["--data", "{place}/run/checkpoints"], "holds no manifest.json"),
        (["--data", "{place}/list.yaml"], "has no class_path and init_args"),
        (["--data", "{place}/empty"], "shards: there are none"),
    ],
)
def test_what_cannot_be_used_is_reported_before_anything_is_written(place, tmp_path, capsys, options, reason):
    (place / "list.yaml").write_text("[1, 2]")
    manifest = json.loads((place / "scenes" / "test" / "manifest.json").read_text()) | {"records": 0, "shards": []}
    (place / "empty").mkdir(exist_ok=True)
    (place / "empty" / "manifest.json").write_text(json.dumps(manifest))
    given = [option.format(place=place) for option in options]
    ckpt = ["--ckpt", place / "run" / "checkpoints" / "last.ckpt", "--out", tmp_path / "out"] if options else []
    assert reason in refused(capsys, *ckpt, *given)
    assert not (tmp_path / "out").exists()


def test_other_frozen_weights_are_taken_where_one_says_so(place, tmp_path, capsys):
    checkpoint = torch.load(place / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["fresh_weights_seed"] += 1
    torch.save(checkpoint, changed := tmp_path / "changed.ckpt")
    options = ["--ckpt", changed, "--out", tmp_path / "out", "--limit", 1, "--controls", "[]", "--device", "cpu"]
    assert "frozen_check: false" in refused(capsys, *options)
    main(["evaluate", *map(str, options), "--frozen_check", "false"])
    assert len(lines(tmp_path / "out")) == 1
