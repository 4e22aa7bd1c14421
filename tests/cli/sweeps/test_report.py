import csv
import json
from pathlib import Path

import pytest
from PIL import Image

from lasagna.cli.sweeps.intervals import Interval, mean_interval
from lasagna.cli.sweeps.plots import bounds, draw_scores, group_by_length, group_by_quantity, is_rate
from lasagna.cli.sweeps.report import ReportError, collect_runs, report, tabulate
from lasagna.tasks.metrics.names import Length, ScoreName


def write_run(folder, scores, status="finished", stage="test", seed=None):
    folder.mkdir(parents=True)
    seeds = {} if seed is None else {"seeds": {"everything": seed}}
    (folder / "scores.json").write_text(json.dumps(seeds | {"stages": {stage: {"scores": scores}}}))
    if status:
        (folder / "sweep_run.json").write_text(json.dumps({"status": status}))


@pytest.fixture
def runs(tmp_path):
    for seed in range(3):
        for variant, base in (("full", 0.8), ("fixed,lr=1", 0.6)):
            scores = {
                f"test/names-{length:02}/recall/mine/free": base - seed / 100 - length / 200 for length in (1, 4, 16)
            }
            write_run(tmp_path / variant / f"seed_{seed}", scores | {"test/iou": base + seed / 10, "test/nan": None})
    return tmp_path


def test_report_writes_table_and_pictures(runs, capsys):
    report(runs)
    text = (runs / "report.md").read_text()
    assert "| test/iou | 0.7000 ± 0.2484 (3) | 0.9000 ± 0.2484 (3) |" in text
    assert text.index("names-04") < text.index("names-16")
    assert "test/nan" not in text
    assert "Not in the table" not in text
    rows = list(csv.DictReader((runs / "report.csv").open()))
    row = next(row for row in rows if row["score"] == "test/iou" and row["variant"] == "full")
    assert (row["runs"], float(row["mean"])) == ("3", pytest.approx(0.9))
    assert Image.open(runs / "scores.png").width > 300
    assert Image.open(runs / "by_length.png").width > 300
    assert "test/iou" in capsys.readouterr().out


def test_metrics_can_be_chosen(runs, tmp_path):
    report(runs, out=tmp_path / "elsewhere", metrics=["iou"])
    assert "recall" not in (tmp_path / "elsewhere" / "report.md").read_text()
    assert not (tmp_path / "elsewhere" / "by_length.png").exists()


def test_the_scores_of_a_real_run_become_curves_over_the_length_of_the_list(tmp_path):
    written = json.loads((Path(__file__).parent / "scores_by_length.json").read_text())["stages"]["test"]["scores"]
    for seed in range(2):
        write_run(tmp_path / "full" / f"seed_{seed}", {name: value - seed / 100 for name, value in written.items()})
    report(tmp_path)
    assert Image.open(tmp_path / "by_length.png").width > 900
    families = group_by_length(tabulate(collect_runs(tmp_path, "test")[0]))
    recall = families[ScoreName("test", "", "presence_recall/lasagna-v1", free=True)]["full"]
    assert [length.label for length in sorted(recall)] == ["4", "8", "16", "24"]
    assert recall[Length(24, "24")].mean == pytest.approx(0.9989112615585327 - 0.005)
    assert ScoreName("test", "", "presence_recall/lasagna-v1") in families
    assert not any(name.is_fault for name in families)


def test_groups_of_lengths_are_curves_too():
    interval = object()
    found = group_by_length(
        {f"test/scenes/presence_recall/lasagna-v1/{group}": {"v": interval} for group in ("names-9-up", "names-1-4")}
    )
    assert list(found) == [ScoreName("test", "scenes", "presence_recall/lasagna-v1")]
    assert [length.label for length in sorted(next(iter(found.values()))["v"])] == ["1-4", "9-up"]
    assert group_by_length({"test/names-4x/recall/mine": {"v": interval}, "test/iou": {"v": interval}}) == {}


def test_one_length_is_no_curve(tmp_path):
    write_run(tmp_path / "v" / "seed_0", {"test/names-04/recall/mine": 0.5})
    report(tmp_path)
    assert not (tmp_path / "by_length.png").exists()


def test_intervals_of_rates_end_where_rates_do():
    wide = mean_interval([0.9, 1.0])
    assert wide.half_width > 0.6
    assert bounds(wide, rate=True) == (pytest.approx(0.95 - wide.half_width), 1.0)
    assert bounds(wide, rate=False)[1] > 1.5
    assert bounds(Interval(0.5, float("nan"), 1), rate=True) == (0.5, 0.5)
    assert is_rate(ScoreName.parse("test/iou"), [{"v": wide}])
    assert not is_rate(ScoreName.parse("train/loss"), [{"v": wide}])
    assert not is_rate(ScoreName.parse("test/error"), [{"v": Interval(3.0, 0.0, 2)}])


def test_a_panel_is_a_quantity_with_its_sources_as_rows():
    names = ["test/a/miou/mine", "test/b/miou/mine", "test/b/miou/mine/free", "test/c/vqa/mine/yes-no", "test/iou"]
    assert {title: list(rows.values()) for title, rows in group_by_quantity({name: {} for name in names}).items()} == {
        "test/miou/mine": ["a", "b", "b free"],
        "test/vqa/mine": ["c yes-no"],
        "test/iou": [""],
    }


@pytest.mark.parametrize(
    ("name", "seen", "drawn"),
    [
        ("test/a/miou/mine", [0.5, 0.6], True),
        ("test/a/miou/mine", [0.5], True),
        ("test/a/miou/mine", [0.5, 0.5], False),
        ("test/a/faults/mine/free/order", [1.0, 2.0], False),
        ("test/a/recall/mine/names-1-4", [0.5, 0.6], False),
    ],
)
def test_constant_scores_have_no_panel(tmp_path, name, seen, drawn):
    values = {name: {"v": dict(enumerate(seen))}}
    assert draw_scores({name: {"v": mean_interval(seen)}}, tmp_path / "scores.png", values) is drawn
    assert (tmp_path / "scores.png").exists() is drawn


def test_what_cannot_be_used_is_named(runs):
    (runs / "broken" / "seed_0").mkdir(parents=True)
    (runs / "broken" / "seed_0" / "scores.json").write_text("{")
    write_run(runs / "half" / "seed_0", {"test/iou": 1.0}, status="running")
    write_run(runs / "untested" / "seed_0", {}, stage="fit")
    (runs / "empty" / "seed_0").mkdir(parents=True)
    (runs / "empty" / "seed_0" / "sweep_run.json").write_text('{"status": "finished"}')
    report(runs)
    text = (runs / "report.md").read_text()
    for name, reason in {
        "broken/seed_0/scores.json": "",
        "half/seed_0/scores.json": "not finished but running",
        "untested/seed_0/scores.json": "no scores of 'test'",
        "empty/seed_0/scores.json": "there is none",
    }.items():
        assert f"- {name}: " in text
        assert reason in text
    assert "| half" not in text


def test_single_runs_without_a_sweep(tmp_path):
    write_run(tmp_path / "mine", {"test/iou": 0.5}, status=None)
    report(tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "| score | mine |" in text
    assert "0.5000 (1)" in text


@pytest.mark.parametrize("seeds", [(None, None, 1), (0, 0, 1)])
def test_runs_without_seed_folders_are_compared(tmp_path, seeds):
    for name, score, seed in zip(("mine", "other", "third"), (0.5, 0.75, 1.0), seeds, strict=True):
        write_run(tmp_path / name, {"test/iou": score}, status=None, seed=seed)
    report(tmp_path, baseline="mine")
    text = (tmp_path / "report.md").read_text()
    assert "### other" in text
    assert "+0.250 in one seed" in text
    assert "no seed of theirs has a score in common with mine: third." in text


def test_a_run_folder_itself(tmp_path):
    write_run(tmp_path / "only", {"test/iou": 0.5}, status=None)
    assert collect_runs(tmp_path / "only", "test")[0][0].variant == "only"
    write_run(tmp_path / "v" / "seed_2", {"test/iou": 0.5}, status=None)
    assert collect_runs(tmp_path / "v" / "seed_2", "test")[0][0].variant == "v"


def test_nothing_to_report(tmp_path):
    with pytest.raises(ReportError, match="no scores of 'test'"):
        report(tmp_path)
