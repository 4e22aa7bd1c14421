"""The doors that users take (train.py, ``lasagna predict``, ``lasagna.load``) and what they say to mistakes."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lasagna
from lasagna.__main__ import main as command
from lasagna.cli.train import main, with_job
from lasagna.cli.training_cli import TrainingCLI, command_line
from lasagna.core.masks import RLEMask
from lasagna.errors import CheckpointError
from lasagna.tasks.callbacks.checkpoint import WholeFiles
from tests.helpers.tiny_run import write_config, write_scenes

SCORE = "val/scenes-semantic/miou/lasagna-v1"
EARLY_STOPPING = "lightning.pytorch.callbacks.EarlyStopping"

OWN_HEAD = """
from lasagna.modules import TinyMaskHead

class MyHead(TinyMaskHead):
    def __init__(self, width: int = 3) -> None:
        super().__init__(weights="random")
        self.width = width
"""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def config(tmp_path_factory, scenes):
    return write_config(tmp_path_factory.mktemp("config"), scenes)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, config):
    """Run the main job once, with a running mean of the weights, validations, and callbacks that need their scores."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    words = [f"--config={config}", f"--trainer.default_root_dir={folder}", "--model.ema_decay=0.5"]
    words += [f"--trainer.callbacks+={name}" for name in ("RunValidation", "BestCheckpoint", EARLY_STOPPING)]
    words += [f"--trainer.callbacks.EarlyStopping.monitor={SCORE}", "--trainer.logger+=CSVLogger"]
    words += [f"--trainer.callbacks+={name}" for name in ("LearningRateMonitor", "ModelCheckpoint")]
    words += [f"--trainer.callbacks.ModelCheckpoint.{option}" for option in (f"monitor={SCORE}", "filename=highest")]
    main([*words, "--seed_everything=3"])
    return folder


@pytest.fixture(scope="module")
def ckpt(finished):
    return finished / "checkpoints" / "last.ckpt"


@pytest.fixture
def resumed(config, tmp_path):
    """What the finished run was made with, in another folder."""
    return [
        f"--config={config}",
        f"--trainer.default_root_dir={tmp_path}",
        "--seed_everything=3",
        "--model.ema_decay=0.5",
    ]


@pytest.fixture
def picture(tmp_path):
    file = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(file)
    return file


def fails(capsys, call, argv):
    with pytest.raises(SystemExit) as stopped:
        call([str(word) for word in argv])
    assert stopped.value.code == 2
    return capsys.readouterr().err


def test_no_arguments_mean_the_main_job():
    assert with_job([]) == ["run"]
    assert with_job(["--trainer.max_steps", "3"]) == ["run", "--trainer.max_steps", "3"]
    assert with_job(["fit"]) == ["fit"]
    assert with_job(["--help"]) == ["--help"]


def test_main_job_leaves_everything_in_the_run_folder(finished):
    for name in ("config_fit.yaml", "metrics.csv", "scores.json", "curves.png", "predictions.png"):
        assert (finished / name).is_file(), name
    assert not (finished / "config.yaml").exists()
    logged = finished / "lightning_logs" / "version_0"
    assert "ema_decay: 0.5" in (logged / "hparams.yaml").read_text()
    assert "test/" in (table := (logged / "metrics.csv").read_text())
    assert "lr-" in table.partition("\n")[0]  # of LearningRateMonitor
    assert [file.name for file in finished.rglob("highest.ckpt")] == ["highest.ckpt"]
    stages = json.loads((finished / "scores.json").read_text())["stages"]
    assert any("miou" in name for name in stages["test"]["scores"])
    assert SCORE in stages["fit"]["scores"]


def test_checkpoint_holds_what_was_trained_as_plain_data(ckpt):
    checkpoint = torch.load(ckpt, weights_only=True)
    names = checkpoint["state_dict"].keys()
    assert any(name.startswith("assistant.mask_head.") for name in names)
    assert not any(name.startswith("assistant.vision_encoder.") for name in names)
    raw = checkpoint["raw_weights"]
    assert raw.keys() <= names
    assert any(not torch.equal(value, checkpoint["state_dict"][name]) for name, value in raw.items())
    assert checkpoint["config"]["seed_everything"] == 3
    assert checkpoint["config"]["model"]["init_args"]["seed"] == 3
    assert checkpoint["config"]["data"]["init_args"]["seed"] == 3


@pytest.mark.parametrize("job", ["validate", "test"])
def test_evaluation_takes_its_config_from_the_checkpoint(job, ckpt, finished):
    before = (finished / "config_fit.yaml").read_text()
    cli = main([job, f"--ckpt_path={ckpt}"])
    assert any("miou" in name for name in cli.trainer.callback_metrics)
    assert cli.datamodule.seed == 3
    assert (finished / f"config_{job}.yaml").is_file()
    assert (finished / "config_fit.yaml").read_text() == before
    weights = torch.load(ckpt, weights_only=True)["state_dict"]
    loaded = cli.model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in weights.items())


def test_the_best_checkpoint_is_scored(finished, resumed):
    cli = main(["validate", *resumed, f"--trainer.default_root_dir={finished}", "--ckpt_path=best"])
    best = torch.load(finished / "checkpoints" / "best.ckpt", weights_only=True)
    loaded = cli.model.state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in best["state_dict"].items())
    assert best["callbacks"]["BestCheckpoint{'monitor': 'val/*'}"]["name"] == SCORE


def test_training_does_not_wait_for_a_score_that_never_comes(resumed, capsys):
    stopping = [f"--trainer.callbacks+={EARLY_STOPPING}", "--trainer.callbacks.EarlyStopping.monitor=val/miou"]
    error = fails(capsys, main, ["fit", *resumed, *stopping, "--trainer.max_steps=1"])
    assert f"EarlyStopping.monitor: there is no score 'val/miou'; did you mean {SCORE!r}? there are {SCORE}, " in error


def test_training_continues_longer_and_files_are_whole(resumed, ckpt):
    cli = main(["fit", *resumed, f"--ckpt_path={ckpt}", "--trainer.max_steps=4"])
    assert cli.trainer.global_step == 4
    assert isinstance(cli.trainer.strategy.checkpoint_io, WholeFiles)
    groups = cli.trainer.optimizers[0].param_groups
    assert {group["initial_lr"] for group in groups} == {cli.model.optimiser.lr}
    assert {group["weight_decay"] for group in groups} == {cli.model.optimiser.weight_decay, 0.0}
    assert {group["betas"] for group in groups} == {cli.model.optimiser.betas}


@pytest.mark.parametrize(
    ("options", "reasons"),
    [
        (
            ["--model.optimiser.lr=0.5", "--model.optimiser.weight_decay=0.3"],
            ["optimiser.lr 0.001, here 0.5", "optimiser.weight_decay 0.01, here 0.3"],
        ),
        (['--model.trainable={"*": 1.0, "mask_head": 0.5}'], ["trainable", "mask_head", "factor 1.0, here 0.5"]),
        (["--model.trainable={mask_head: 1.0}"], ["trainable", "lora", "factor 1.0, here 0.0"]),
    ],
)
def test_training_does_not_go_on_with_another_optimiser(options, reasons, resumed, ckpt, capsys):
    error = fails(capsys, main, ["fit", *resumed, f"--ckpt_path={ckpt}", "--trainer.max_steps=4", *options])
    assert all(reason in error for reason in [*reasons, "warm_start"]), error


def test_what_is_typed_beats_the_checkpoint(ckpt, finished, tmp_path):
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*")}
    typed = ["--data.evaluation_batch_size=1", f"--trainer.default_root_dir={tmp_path}", "--seed_everything=7"]
    cli = main(["test", f"--ckpt_path={ckpt}", *typed])
    assert cli.datamodule.evaluation_batch_size == 1
    assert cli.datamodule.seed == 7
    assert cli.model.seed == 3, "the seed of the frozen weights"
    assert [logger.save_dir for logger in cli.trainer.loggers] == [str(tmp_path)] * 2
    assert json.loads((tmp_path / "scores.json").read_text())["seeds"]["everything"] == 7
    assert {file: file.stat().st_mtime_ns for file in finished.rglob("*")} == before


@pytest.mark.parametrize("job", ["fit", "test"])
@pytest.mark.parametrize("content", [b"", b"PK half a checkpoint"], ids=["empty", "half"])
def test_last_checkpoint_that_is_broken(job, content, config, capsys, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").write_bytes(content)
    words = [job, f"--config={config}", f"--trainer.default_root_dir={tmp_path}", "--ckpt_path=last"]
    assert "cannot be read" in fails(capsys, main, words)


@pytest.mark.parametrize("job", ["validate", "test", "predict"])
def test_last_checkpoint_that_is_not_there(job, config, capsys, tmp_path):
    words = [job, f"--config={config}", f"--trainer.default_root_dir={tmp_path}", "--ckpt_path=last"]
    assert "holds no such checkpoint yet" in fails(capsys, main, words)


def test_training_begins_where_there_is_no_last_checkpoint(config, capsys, tmp_path):
    words = [f"--config={config}", f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=1"]
    assert main(["fit", *words, "--ckpt_path=last"]).trainer.global_step == 1
    assert "training begins" in capsys.readouterr().err


@pytest.mark.parametrize("job", ["fit", "test"])
def test_checkpoint_with_only_weights(job, ckpt, resumed, capsys, tmp_path):
    torch.save({"state_dict": torch.load(ckpt, weights_only=True)["state_dict"]}, tmp_path / "weights.ckpt")
    error = fails(capsys, main, [job, *resumed, f"--ckpt_path={tmp_path / 'weights.ckpt'}"])
    assert "lacks pytorch-lightning_version" in error
    assert "with BestCheckpoint among trainer.callbacks" in fails(capsys, main, [job, *resumed, "--ckpt_path=best"])


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("--model.warm_start=nowhere.ckpt", "there is no file 'nowhere.ckpt'"),
        ("--model.warm_start_parts=[mask_head]", "without a checkpoint to take them from"),
        ("--model.trainable={mask_hed: 1.0}", "'mask_hed' fits no parameter"),
    ],
)
@pytest.mark.parametrize("job", ["fit", "run"])
def test_model_is_checked_before_data_are_written(job, option, reason, config, capsys, tmp_path):
    writer = f'--data.writers=[{{"class_path": "SceneWriter", "init_args": {{"folder": "{tmp_path}/scenes"}}}}]'
    words = [job, f"--config={config}", f"--trainer.default_root_dir={tmp_path}/run", writer, option]
    assert reason in fails(capsys, main, words)
    assert not (tmp_path / "scenes").exists()


@pytest.mark.slow
def test_evaluation_does_without_the_weights_that_training_began_with(ckpt, resumed, tmp_path):
    start = tmp_path / "start.ckpt"
    shutil.copy(ckpt, start)
    parts = "--model.warm_start_parts=[mask_head, language_model]"
    cli = main(["fit", *resumed, f"--model.warm_start={start}", parts, "--trainer.max_steps=1"])
    start.unlink()
    file = Path(cli.trainer.default_root_dir) / "checkpoints" / "last.ckpt"
    assert main(["test", f"--ckpt_path={file}"]).model.warm_start is None


def test_console_is_calm(config, capfd, tmp_path):
    words = [f"--config={config}", f"--trainer.default_root_dir={tmp_path}", "--trainer.enable_progress_bar=true"]
    main(["run", *words, "--trainer.enable_model_summary=true", "--data.samples_per_epoch=8"])
    printed = "".join(capfd.readouterr())
    assert re.search(r"training +\S+ 3/3 ", printed)
    assert re.search(r"mask_head +\W TinyMaskHead", printed)
    for noise in (
        "Epoch",
        "FLOPs",
        "TPU",
        "litlogger",
        "eval mode",
        "num_workers",
        "deprecated",
        "max_steps=3",
        "override",
    ):
        assert noise not in printed, printed


def test_predict_job_writes_answers(ckpt, finished):
    main(["predict", f"--ckpt_path={ckpt}", "--return_predictions=false"])
    answers = [json.loads(line) for line in (finished / "answers.jsonl").read_text().splitlines()]
    assert len({answer["key"] for answer in answers}) == 4
    assert all([entry["name"] for entry in answer["entries"]] == answer["query"] for answer in answers)


def test_users_own_class_and_swaps_by_flag(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(OWN_HEAD)
    argv = [f"--config={config}", "--model.assistant.mask_head=mine.MyHead", "--model.assistant.mask_head.width=5"]
    cli = TrainingCLI(**command_line(argv, run=False), run=False)
    assert cli.model.assistant.mask_head.width == 5
    assert type(cli.model.assistant.vision_encoder).__name__ == "TinyVisionEncoder"


def test_seed_and_folder_reach_swapped_data_and_logger(config, tmp_path):
    data = Path(__file__).parents[2] / "configs" / "data" / "scenes_long.yaml"
    argv = [f"--config={config}", f"--data={data}", "--seed_everything=7", f"--trainer.default_root_dir={tmp_path}"]
    cli = TrainingCLI(**command_line(argv, run=False), run=False)
    assert cli.datamodule.sources["train"][0].shards == "data/scenes_long/train"
    assert cli.datamodule.seed == cli.model.seed == 7
    assert cli.trainer.logger.save_dir == str(tmp_path)


def test_load_answers_in_a_few_lines(ckpt, picture):
    assistant = lasagna.load(ckpt)
    answer = assistant.answer(np.asarray(Image.open(picture)), ["sky", "dog"])
    assert [entry.name for entry in answer.entries] == ["sky", "dog"]
    assert not assistant.training
    weights = torch.load(ckpt, weights_only=True)["state_dict"]
    loaded = assistant.state_dict()
    assert all(torch.equal(loaded[name.removeprefix("assistant.")], value) for name, value in weights.items())


def test_predict_writes_overlays_and_json(ckpt, picture, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.copy(picture, folder / "a.png")
    shutil.copy(picture, folder / "b.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    asked = ["--query=sun, dog", "--refer=the ball left of the house", "--ask=how many balls are there"]
    command(["predict", f"--ckpt={ckpt}", f"--image={folder}", *asked, "--threshold=0", f"--out={tmp_path / 'out'}"])
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    kinds = ("categories", "question", "referring")
    assert written == sorted(f"{stem}{end}" for stem in "ab" for end in (".json", *(f"-{kind}.png" for kind in kinds)))
    content = json.loads((tmp_path / "out" / "a.json").read_text())
    assert content["size"] == [40, 50]
    complex_answer, referring, question = content["answers"]
    assert [entry["name"] for entry in complex_answer["entries"]] == ["sun", "dog"]
    assert question["kind"] == "question"
    entry = complex_answer["entries"][0]
    assert entry["present"]
    assert entry["mask"]["size"] == [40, 50]
    mask = RLEMask.from_json(entry["mask"], (40, 50))
    assert entry["box"] == (list(mask.box()) if mask.decode().any() else None)
    assert len(referring["entries"]) == 1


def test_predict_explains_a_mask_in_words(config, tmp_path, picture, capsys):
    main(
        ["fit", f"--config={config}", f"--trainer.default_root_dir={tmp_path}", "--model.assistant.prompt_format=paper"]
    )
    asked = ["predict", f"--ckpt={tmp_path / 'checkpoints' / 'last.ckpt'}", f"--image={picture}", "--query=sun, dog"]
    command([*asked, "--explain=what could fly, and why?", "--reason=what could fly", f"--out={tmp_path / 'out'}"])
    (content,) = (json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json"))
    assert [answer["kind"] for answer in content["answers"]] == [
        "categories",
        "reasoning",
        "reasoning_with_explanation",
    ]
    decided = {f"Sure, it is {token}." for token in ("<SEG>", "<NEG>")}
    assert content["answers"][1]["text"] in decided
    assert content["answers"][2]["text"] not in decided, "written freely, by a model without a clue"
    assert [len(answer["entries"]) for answer in content["answers"][:2]] == [2, 1]
    assert (tmp_path / "out" / f"{picture.stem}-reasoning_with_explanation.png").is_file()


def test_predict_refuses_a_kind_that_the_prompt_format_lacks(ckpt, picture, capsys):
    error = fails(capsys, command, ["predict", f"--ckpt={ckpt}", f"--image={picture}", "--explain=what could fly"])
    assert "'reasoning_with_explanation' is not in this prompt format, which has categories, referring" in error


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ([], "nothing is asked"),
        (["--query="], "needs a visible character"),
        (["--query=dog, dog"], "more than once"),
        (["--query=dog", "--image=nowhere.png"], "there is no file or folder 'nowhere.png'"),
        (["--query=dog", "--ckpt=nowhere.ckpt"], "there is no file 'nowhere.ckpt'"),
        (["--query=dog", "--threshold=2"], "threshold"),
        (["--query=dog", "--decoding=fre"], "ordered"),
        (["--refer=" + " ".join(f"word{number}" for number in range(500))], "the language model takes 1024"),
    ],
)
def test_predict_names_what_is_wrong(options, reason, ckpt, picture, capsys, tmp_path):
    given = {"--ckpt": ckpt, "--image": picture, "--out": tmp_path / "out"}
    given |= dict(option.split("=", 1) for option in options)
    assert reason in fails(capsys, command, ["predict", *(f"{name}={value}" for name, value in given.items())])
    assert not (tmp_path / "out").exists()


def test_option_without_such_a_name(capsys):
    assert "did you mean '--image'?" in fails(capsys, command, ["predict", "--imge=x", "--query=dog"])


def test_command_without_such_a_name(capsys):
    assert "did you mean 'predict'?" in fails(capsys, command, ["predct"])


@pytest.mark.parametrize(
    ("options", "reasons"),
    [
        (["--model.assistant.vision_encoder=TinyVisionEncodr"], ["assistant.vision_encoder", "mean TinyVisionEncoder"]),
        (["--model.assistant.vision_encoder.image_sise=3"], ["no option 'image_sise'", "mean 'image_size'"]),
        (["--model.assistant.language_model.folder=x"], ["no option 'folder'", "TinyLanguageModel takes weights"]),
        (["--model.optimiser.lrr=3"], ["did you mean 'optimiser.lr'?"]),
        (["--trainer.max_stepz=3"], ["--trainer.max_stepz", "mean 'trainer.max_steps'"]),
        (["--data.batch_size=many"], ["data.batch_size: expected int, got 'many'"]),
        (["--model.optimiser.schedule=cosin"], ["optimiser.schedule", "'cosine'", "'cosin'"]),
        (["--model.assistant.vision_encoder.image_size=[33,33]"], ["image_size", "(33, 33)"]),
        (["--data.batch_size=0"], ["`batch_size` must be at least 1, got 0"]),
        (["--model.ema_decay=2"], ["ema_decay", "[0, 1)"]),
        (["--model.trainable={mask_hed: 1.0}"], ["'mask_hed' fits no parameter", "mask_head"]),
        (["--model.trainable={vision_encoder: 1.0}"], ["their part keeps frozen"]),
        (["--trainer.max_steps=-1", "--trainer.max_time=00:00:00:01", "--trainer.max_epochs=-1"], ["max_steps"]),
        (["--ckpt_path=nowhere.ckpt"], ["there is no file 'nowhere.ckpt'"]),
        (["--model.optimiser.lr=-1"], ["optimiser.lr: expected", "-1"]),
        (["--model.optimiser.betas=[2,2]"], ["optimiser.betas: expected two numbers in [0, 1)"]),
        (["--model.seed=${nowhere.there}"], ["nowhere.there"]),
        (["--trainer.devices=0"], ["is not a valid input using cpu"]),
        (["--config=nowhere.yaml"], ["nowhere.yaml"]),
        (["--threads=0"], ["threads: expected a whole number of at least 1, got 0"]),
        (["--seed_everything=-1"], ["seed_everything: expected a whole number from 0 to 4294967295, got -1"]),
        ([f"--trainer.default_root_dir={__file__}"], [f"{__file__} is not a folder; choose another folder"]),
        (["--model.assistant.prompt_format=papr"], ["'tiny', or a class, got 'papr'", "did you mean 'paper'?"]),
        (["--trainer.precision=bf16-mixt"], ["'32-true'", "got 'bf16-mixt'", "mean 'bf16-mixed'?"]),
    ],
)
def test_fit_says_in_a_line_what_is_wrong(options, reasons, config, capsys, tmp_path):
    error = fails(capsys, main, ["fit", f"--config={config}", f"--trainer.default_root_dir={tmp_path}", *options])
    assert error.strip().splitlines()[0].startswith("error: ")
    assert all(reason in error for reason in reasons), error
    assert "Traceback" not in error
    # what is typed stands in no file
    assert ".yaml, line" not in error


@pytest.mark.parametrize(
    ("lines", "reasons"),
    [
        (
            "    strategies:\n      - {class_path: ClassSampling, init_args: {limitt: 3}}\n",
            ["limitt", "'limit'", "line 4"],
        ),
        ("    train:\n      - {shards: x, task: {class_path: lasagna.tasks.Semantik}}\n", ["mean Semantic", "line 4"]),
        ("    trian: []\n", ["no option 'trian'", "mean 'train'", "line 3"]),
    ],
)
def test_mistake_in_a_file_is_found_there(lines, reasons, config, capsys, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.yaml").write_text("data:\n  init_args:\n" + lines)
    # the parser goes into the folder of a file that it reads
    monkeypatch.chdir(tmp_path)
    error = fails(capsys, main, ["fit", f"--config={config}", "--config=mine/own.yaml"])
    assert all(reason in error for reason in [*reasons, "in mine/own.yaml, line"]), error


@pytest.mark.parametrize(
    ("text", "reason", "meant"),
    [
        ("trainer:\n  max_stepz: 3", "trainer.max_stepz", "trainer.max_steps"),
        ("threads: 1\nmodle: {seed: 3}", "modle", "model"),
    ],
)
def test_key_of_a_file_that_does_not_exist(text, reason, meant, capsys, tmp_path, monkeypatch):
    (tmp_path / "own.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    error = fails(capsys, main, ["fit", "--config=own.yaml"])
    assert error == f"error: there is no option '{reason}'\n  in own.yaml, line 2\n  did you mean '{meant}'?\n"


def test_a_section_left_empty_keeps_what_was_set_before(config, tmp_path):
    (tmp_path / "empty.yaml").write_text("trainer:\ndata:\n  init_args:\n")
    words = [f"--config={config}", f"--config={tmp_path / 'empty.yaml'}", f"--trainer.default_root_dir={tmp_path}"]
    cli = TrainingCLI(**command_line(words, run=False), run=False)
    assert cli.trainer.default_root_dir == str(tmp_path)
    assert cli.trainer.max_steps == 3
    assert cli.datamodule.batch_size == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "expected settings (`key: value`), found nothing"),
        ("# nothing", "expected settings (`key: value`), found nothing"),
        ("- 1", "expected settings (`key: value`), found a list"),
        ("data:\n  a: [1\nb: 2", "not valid YAML: while parsing a flow sequence"),
        ("data:\n\ta: 1", "line 2: not valid YAML: while scanning for the next token, found character"),
    ],
)
def test_file_that_holds_no_settings(text, reason, config, capsys, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "own.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    error = fails(capsys, main, ["fit", f"--config={config}", "--config=mine/own.yaml"])
    assert error.startswith("error: mine/own.yaml")
    assert reason in error
    assert len(error.splitlines()) == 1


def test_unknown_class_is_named_once(config, capsys):
    error = fails(capsys, main, ["fit", f"--config={config}", "--trainer.callbacks+=Foo"])
    assert error.count("no class is called 'Foo'") == 1


def test_missing_shards(config, capsys, tmp_path):
    train = f'--data.train=[{{"shards": "{tmp_path}/none", "task": {{"class_path": "Semantic"}}}}]'
    error = fails(capsys, main, ["fit", f"--config={config}", f"--trainer.default_root_dir={tmp_path}", train])
    assert "none" in error
    assert "manifest" in error


def test_checkpoint_of_another_architecture(ckpt, config, capsys):
    error = fails(
        capsys, main, ["test", f"--config={config}", f"--ckpt_path={ckpt}", "--model.trainable={mask_head: 1.0}"]
    )
    assert "another architecture" in error
    assert "config_fit.yaml" in error
    checkpoint = torch.load(ckpt, weights_only=True)
    name = next(name for name in checkpoint["state_dict"] if "mask_head" in name)
    checkpoint["state_dict"][name] = torch.zeros(3, 1, 4)
    torch.save(checkpoint, changed := ckpt.with_name("changed.ckpt"))
    with pytest.raises(CheckpointError, match=r"has shape \(3, 1, 4\), here"):
        lasagna.load(changed)


def test_a_checkpoint_holds_what_was_trained_and_no_more(ckpt):
    """Weights, two moments of AdamW and a running mean of each trained number; of frozen parts names alone."""
    weights = torch.load(ckpt, weights_only=True)["state_dict"]
    assert weights
    assert not [name for name in weights if "vision_encoder" in name]
    trained = sum(value.numel() * value.element_size() for value in weights.values())
    whole = sum(value.numel() * value.element_size() for value in lasagna.load(ckpt).parameters())
    assert trained < whole
    assert 3 * trained < ckpt.stat().st_size < 4 * trained + 500_000


def test_changed_frozen_weights_are_noticed(ckpt):
    checkpoint = torch.load(ckpt, weights_only=True)
    checkpoint["fresh_weights_seed"] += 1
    torch.save(checkpoint, changed := ckpt.with_name("other_frozen.ckpt"))
    with pytest.raises(CheckpointError, match=r"the frozen weights of .*vision_encoder are not"):
        lasagna.load(changed)
    lasagna.load(changed, frozen_check=False)


def test_broken_checkpoint(ckpt, capsys):
    cut = ckpt.with_name("cut.ckpt")
    cut.write_bytes(ckpt.read_bytes()[:5000])
    assert "cannot be read" in fails(capsys, main, ["test", f"--ckpt_path={cut}"])


@pytest.mark.parametrize("whole", [False, True])
def test_a_checkpoint_nearby_is_named_once(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = Path("runs/x/checkpoints")
    folder.mkdir(parents=True)
    (folder / "last.ckpt").touch()
    wrong = (tmp_path if whole else Path()) / folder / "lsat.ckpt"
    with pytest.raises(CheckpointError) as refused:
        lasagna.load(wrong)
    assert str(refused.value).count("last.ckpt") == 1
    monkeypatch.chdir("runs/x/checkpoints")
    with pytest.raises(CheckpointError, match=r"there is no file '.*runs/x'; there are .*/checkpoints/last\.ckpt$"):
        lasagna.load(tmp_path / "runs" / "x")


def test_warm_start_takes_what_fits(ckpt, config, tmp_path):
    arguments = [f"--config={config}", f"--trainer.default_root_dir={tmp_path}", "--trainer.max_steps=1"]
    cli = main(["fit", *arguments, f"--model.warm_start={ckpt}", "--model.optimiser.lr=0", "--seed_everything=3"])
    weights = torch.load(ckpt, weights_only=True)["state_dict"]
    loaded = cli.model.state_dict()
    names = [name for name, value in weights.items() if "mask_head" in name and value.is_floating_point()]
    assert names
    assert all(torch.equal(loaded[name], weights[name]) for name in names)
