import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Timer

import pytest
from jsonargparse import auto_cli

from lasagna.cli.sweeps.devices import command_number, device_shares, visible_devices
from lasagna.cli.sweeps.plan import SweepError, SweepPlan, variant_name
from lasagna.cli.sweeps.run import run_sweep, sweep
from lasagna.core.locks import BusyError, locked

SCRIPT = """
import json, pathlib, sys
options = dict(part.removeprefix("--").split("=", 1) for part in sys.argv[2:] if "=" in part)
options["config"] = [sys.argv[k + 1] for k, part in enumerate(sys.argv) if part == "--config"]
folder = pathlib.Path(options["trainer.default_root_dir"])
with open("calls.txt", "a") as stream:
    stream.write(json.dumps([sys.argv[1], options]) + "\\n")
print("hello from", sys.argv[1])
if options.get("lr") == "13" and not pathlib.Path("mended").exists():
    sys.exit("an unlucky number")
if sys.argv[1] == "fit":
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    (folder / "checkpoints" / "last.ckpt").write_text("weights")
else:
    scores = {"test/iou": float(options["lr"])}
    (folder / "scores.json").write_text(json.dumps({"stages": {"test": {"scores": scores}}}))
"""


@pytest.fixture
def plan(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("fake.py").write_text(SCRIPT)
    Path("base.yaml").write_text("a: 1\n")
    Path("extra.yaml").write_text("b: 1\n")
    variants = {"full": [], "fixed": ["extra.yaml"]}
    return SweepPlan(
        base=["base.yaml"],
        variants=variants,
        grid={"lr": [1]},
        seeds=[0, 1],
        script="fake.py",
        subcommands=["fit", "test"],
    )


def calls():
    return [json.loads(line) for line in Path("calls.txt").read_text().splitlines()]


def statuses(results):
    return [(result.run.name, result.status) for result in results]


def test_every_combination_runs_with_its_configs_values_seed_and_folder(plan):
    results = run_sweep(replace(plan, subcommands=["fit"]), Path("out"))
    assert statuses(results) == [
        ("full,lr=1/seed_0", "finished"),
        ("fixed,lr=1/seed_0", "finished"),
        ("full,lr=1/seed_1", "finished"),
        ("fixed,lr=1/seed_1", "finished"),
    ]
    (subcommand, options) = calls()[3]
    assert subcommand == "fit"
    assert options["config"] == ["base.yaml", "extra.yaml"]
    assert options["seed_everything"] == "1"
    assert options["trainer.default_root_dir"] == "out/fixed,lr=1/seed_1"
    assert "ckpt_path" not in options


def test_a_test_follows_its_fit_and_uses_its_checkpoint(plan):
    run_sweep(replace(plan, variants={"full": []}, seeds=[0]), Path("out"))
    assert [name for name, _ in calls()] == ["fit", "test"]
    assert calls()[1][1]["ckpt_path"] == "out/full,lr=1/seed_0/checkpoints/last.ckpt"


def test_finished_runs_are_skipped_and_new_seeds_added(plan):
    run_sweep(replace(plan, seeds=[0]), Path("out"))
    before = len(calls())
    results = run_sweep(plan, Path("out"))
    assert [status for _, status in statuses(results)] == ["skipped", "skipped", "finished", "finished"]
    assert len(calls()) == before + 4


def test_a_failing_run_does_not_stop_the_rest_and_is_done_again(plan):
    plan = replace(plan, grid={"lr": [13, 1]}, variants={"full": []}, seeds=[0])
    results = run_sweep(plan, Path("out"))
    assert [status for _, status in statuses(results)] == ["failed", "finished"]
    log = (results[0].run.folder / "log.txt").read_text()
    assert "an unlucky number" in log
    assert "hello from fit" in log
    Path("mended").touch()
    assert [status for _, status in statuses(run_sweep(plan, Path("out")))] == ["finished", "skipped"]


def test_a_run_cut_short_continues_from_its_checkpoint(plan, capsys):
    plan = replace(plan, grid={"lr": [13]}, variants={"full": []}, seeds=[0])
    folder = run_sweep(plan, Path("out"))[0].run.folder
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last.ckpt").write_text("half")
    Path("mended").touch()
    run_sweep(plan, Path("out"))
    assert calls()[1][0] == "fit"
    assert calls()[1][1]["ckpt_path"].endswith("last.ckpt")
    printed = capsys.readouterr().out
    assert "full,lr=13/seed_0: starts\n" in printed
    assert "resumes from" in printed


def test_a_test_without_a_checkpoint_is_a_failure(plan):
    plan = replace(plan, variants={"full": []}, seeds=[0], checkpoint="elsewhere.ckpt")
    assert [status for _, status in statuses(run_sweep(plan, Path("out")))] == ["failed"]
    assert [name for name, _ in calls()] == ["fit"]


def test_other_settings_under_the_same_name_are_refused(plan):
    run_sweep(replace(plan, seeds=[0]), Path("out"))
    Path("extra.yaml").write_text("b: 2\n")
    with pytest.raises(SweepError, match=r"other settings.*fixed,lr=1/seed_0.*delete"):
        run_sweep(plan, Path("out"))


@pytest.mark.parametrize("changed", ["configs/default.yaml", "fake.py", "part.yaml", "deeper.yaml", "own.py"])
def test_other_defaults_parts_and_code_are_other_settings_and_comments_are_not(plan, changed):
    plan = replace(plan, seeds=[0], variants={"full": []})
    Path("configs").mkdir()
    Path("configs/default.yaml").write_text("a: 0\n")
    Path("base.yaml").write_text("a: 1\nparts: [part.yaml, {class_path: own.Thing}, 'x\\0.yaml']\n")
    Path("part.yaml").write_text("inner: deeper.yaml\n")
    Path("deeper.yaml").write_text("c: 1\n")
    Path("own.py").write_text("class Thing: ...\n")
    run_sweep(plan, Path("out"))
    file = Path(changed)
    if file.suffix == ".yaml":
        file.write_text(file.read_text() + "# a remark\n")
        assert [status for _, status in statuses(run_sweep(plan, Path("out")))] == ["skipped"]
    file.write_text(file.read_text() + ("more: 1\n" if file.suffix == ".yaml" else "more = 1\n"))
    with pytest.raises(SweepError, match="other settings"):
        run_sweep(plan, Path("out"))


WAITS = """
import pathlib, sys, time
folder = pathlib.Path(next(part for part in sys.argv if "root_dir" in part).split("=", 1)[1])
(folder / "begun").touch()
try:
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
except KeyboardInterrupt:
    (folder / "saved").touch()
    sys.exit(1)
"""
SWEEP = ["-m", "lasagna", "sweep", "--base=[base.yaml]", "--script=fake.py", "--out=out"]
RUN = Path("out/base/seed_0")


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def started(plan):
    Path("fake.py").write_text(WAITS)
    process = subprocess.Popen([sys.executable, *SWEEP], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for((RUN / "begun").exists)
    yield process
    Path("go").touch()
    process.kill()
    process.communicate()


def test_a_run_that_outlives_its_sweep_is_waited_for(started, capsys):
    started.kill()
    started.wait()
    Timer(2.0, Path("go").touch).start()
    sweep(["base.yaml"], Path("out"), script="fake.py")
    assert "waiting for runs of other processes: base/seed_0" in capsys.readouterr().out
    assert json.loads((RUN / "sweep_run.json").read_text())["status"] == "finished"


SHARED = """
import json, pathlib, sys, time
folder = pathlib.Path(next(part for part in sys.argv if "root_dir" in part).split("=", 1)[1])
time.sleep(0.3)
with open("calls.txt", "a") as stream:
    stream.write(folder.name + "\\n")
(folder / "checkpoints").mkdir()
(folder / "scores.json").write_text(json.dumps({"stages": {"test": {"scores": {"test/iou": 0.5}}}}))
"""


def test_two_sweeps_share_the_runs_and_both_end_well(plan):
    Path("fake.py").write_text(SHARED)
    given = {"seeds": [0, 1, 2, 3], "script": "fake.py", "variants": {"base": []}, "baseline": "base"}
    with ThreadPoolExecutor(2) as pool:
        for ended in [pool.submit(sweep, ["base.yaml"], Path("out"), **given) for _ in range(2)]:
            ended.result()
    assert sorted(Path("calls.txt").read_text().split()) == [f"seed_{seed}" for seed in range(4)]
    assert "(4)" in Path("out/report.md").read_text()


def test_a_baseline_that_no_run_has_is_refused_before_any_run(plan):
    given = {"variants": {"base": [], "other": []}, "grid": {"lr": [1, 2]}, "script": "fake.py"}
    with pytest.raises(SweepError, match=r"baseline: expected one of .*'base,lr=1'.*, got 'base'"):
        sweep(["base.yaml"], Path("out"), **given, baseline="base")
    assert not Path("calls.txt").exists()


def test_what_failed_meanwhile_in_another_process_is_not_tried_again(plan):
    plan = replace(plan, grid={"lr": [13]}, variants={"full": []}, seeds=[0])
    [failed] = run_sweep(plan, Path("out"))
    later = time.time() + 60
    os.utime(failed.run.folder / "sweep_run.json", (later, later))
    assert [status for _, status in statuses(run_sweep(plan, Path("out")))] == ["failed"]
    assert len(calls()) == 1


def test_commands_that_share_a_sweep_begin_with_gpus_of_their_own(tmp_path):
    with command_number(tmp_path) as first, command_number(tmp_path) as second:
        assert (first, second) == (0, 1)
    with command_number(tmp_path) as again:
        assert again == 0
    assert [device_shares("012", 1, command) for command in range(4)] == [[None], ["1,2,0"], ["2,0,1"], ["0,1,2"]]
    assert [device_shares("0123", 2, command) for command in range(2)] == [["0,2", "1,3"], ["2,0", "3,1"]]
    assert device_shares("0", 1, 1) == [None]


def test_jobs_run_at_the_same_time_each_with_gpus_of_its_own(plan, monkeypatch):
    Path("fake.py").write_text(
        "import os, pathlib, sys, time\n"
        "folder = pathlib.Path(next(part for part in sys.argv if 'root_dir' in part).split('=', 1)[1])\n"
        "(folder / 'gpu').write_text(os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "while len(list(pathlib.Path('out').rglob('gpu'))) < 2: time.sleep(0.02)\n"
    )
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    results = run_sweep(replace(plan, seeds=[0], subcommands=["fit"]), Path("out"), jobs=2)
    assert [status for _, status in statuses(results)] == ["finished"] * 2
    assert {(result.run.folder / "gpu").read_text() for result in results} == {"3", "5"}


@pytest.mark.parametrize(
    ("devices", "jobs", "shares"),
    [
        ("0,1", 1, [None]),
        ("7", 2, [None, None]),
        ("", 2, [None, None]),
        ("0,GPU-1,2", 2, ["0,2", "GPU-1"]),
        ("0,1", 3, ["0", "1", "0"]),
    ],
)
def test_gpus_are_divided_among_jobs(devices, jobs, shares):
    assert device_shares(visible_devices({"CUDA_VISIBLE_DEVICES": devices}), jobs) == shares


def is_locked(folder):
    try:
        with locked(folder):
            return False
    except BusyError:
        return True


@pytest.mark.parametrize(
    ("number", "status", "saved"),
    [(signal.SIGINT, 130, True), (signal.SIGTERM, 143, False)],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_ends_the_run_and_says_how_to_go_on(started, number, status, saved):
    started.send_signal(number)
    printed, _ = started.communicate(timeout=120)
    assert started.returncode == status
    assert "start again to resume" in printed
    assert "Traceback" not in printed
    assert (RUN / "saved").exists() is saved
    assert not is_locked(RUN)
    assert json.loads((RUN / "sweep_run.json").read_text())["status"] == "stopped"


PARTS = "[[{class_path: NegativeInjection, init_args: {share: 0.5}}]]"
FILE = f"base: [base.yaml]\nscript: fake.py\ngrid: {{lr: [1e-4], flag: [true], what: [null, word], parts: {PARTS}}}\n"


def test_the_command_takes_a_file_and_flags(plan):
    Path("sweep.yaml").write_text(FILE)
    auto_cli(sweep, args=["--config", "sweep.yaml", "--out=out", "--seeds=[3, 4]"], as_positional=False)
    assert [name for name, _ in calls()] == ["run"] * 4
    seen = [[options[key] for key in ("lr", "flag", "what", "seed_everything")] for _, options in calls()]
    assert seen[0] == ["0.0001", "true", "null", "3"]
    assert seen[3] == ["0.0001", "true", "word", "4"]
    assert json.loads(calls()[0][1]["parts"]) == [{"class_path": "NegativeInjection", "init_args": {"share": 0.5}}]


def test_a_sweep_without_a_script_runs_the_packages_own_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = SweepPlan(base=["configs/trainer/short.yaml"])
    plan.check()
    (run,) = plan.runs(Path("out"))
    assert [Path(file).name for file in run.settings(plan)["files"]] == ["default.yaml", "short.yaml"]
    called = subprocess.run([sys.executable, *plan.command, "--help"], capture_output=True, text=True, check=True)
    assert called.stdout.startswith("usage: lasagna train")


def test_failed_runs_are_an_error_of_the_command(plan):
    with pytest.raises(SweepError, match=r"1 runs failed.*log\.txt"):
        sweep(["base.yaml"], Path("out"), grid={"lr": [13]}, script="fake.py")


def test_everything_that_is_missing_is_named_before_anything_runs(plan):
    with pytest.raises(SweepError) as caught:
        run_sweep(replace(plan, base=["a.yaml"], grid={"lr": [], True: [1]}, seeds=[1, 1]), Path("out"))
    assert all(part in str(caught.value) for part in ("a.yaml: no such file", "grid.lr", "1 is listed twice", "quotes"))
    assert not Path("out").exists()


def test_variant_names_are_folders_and_stay_apart():
    names = [variant_name("v", {"a.path": value}) for value in ["x/y", "x_y", "../z", "w" * 99, "w" * 98, [1, 2]]]
    assert len(set(names)) == 6
    assert not any("/" in name for name in names)
    assert max(map(len, names)) < 60


def test_a_wrong_key_is_reported_before_the_first_run(plan):
    Path("own.py").write_text("from lasagna.cli.train import main\nmain()\n")
    Path("base.yaml").write_text("trainer: {max_steps: 1}\n")
    Path("extra.yaml").write_text("trainer: {max_stepps: 1}\n")
    wrong = replace(plan, script="own.py", grid={"model.optimiser.lr": [1e-3]}, subcommands=["run"])
    with pytest.raises(SweepError, match=r"'fixed,lr=0.001' is wrong: .*max_stepps"):
        run_sweep(wrong, Path("out"))
    assert not Path("out").exists()
