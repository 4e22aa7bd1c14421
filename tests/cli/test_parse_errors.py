"""Mistakes on the command line that would be costly if they went unnoticed."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest

from lasagna.__main__ import main as command
from lasagna.cli.parse_errors import RENAMED, explain, suggestion
from lasagna.cli.train import main
from lasagna.core.prompt_format import PromptFormat
from lasagna.tasks import VQA

CONFIGS = Path(__file__).parents[2] / "configs"
PART = "--model.assistant"
TOKENS = '"present_token": "<SEG>", "absent_token": "<NEG>", "image_token": "<image>"'
ENCODER = '{"model": "test_resnet", "image_size": [32, 32]}'


def fails(capsys, call, *argv):
    with pytest.raises(SystemExit) as stopped:
        call(list(argv))
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("job", ["test", "validate", "predict"])
def test_evaluation_without_a_checkpoint_is_refused(job, capsys, tmp_path):
    error = fails(capsys, main, job, f"--trainer.default_root_dir={tmp_path}", "--trainer.accelerator=cpu")
    assert f"{job} needs a trained assistant" in error
    assert "--ckpt_path CHECKPOINT, which `python train.py` writes" in error


@pytest.mark.parametrize(
    ("short", "whole"), [("trainer.max_step", "trainer.max_steps"), ("seed_every", "seed_everything")]
)
def test_a_key_that_is_cut_short_is_refused(short, whole, capsys):
    assert f"did you mean {whole!r}?" in fails(capsys, main, "fit", f"--{short}=3")


def test_an_option_that_is_cut_short_is_refused(capsys):
    assert "unrecognized arguments: --ima=y" in fails(capsys, command, "predict", "--ckpt=x", "--ima=y", "--query=z")


def test_a_grid_without_cells_is_refused(capsys, tmp_path):
    options = [f"--trainer.default_root_dir={tmp_path}", "--model.assistant.language_model.image_grid=[0,0]"]
    assert "image_grid: expected at least one row and one column, got (0, 0)" in fails(capsys, main, "fit", *options)


def test_confidence_of_a_report(capsys, tmp_path):
    error = fails(capsys, command, "report", f"--folder={tmp_path}", "--confidence=2")
    assert "confidence: expected a number between 0 and 1, such as 0.95, got 2.0" in error


def test_pretraining_without_scenes_is_refused(capsys, tmp_path):
    error = fails(capsys, command, "pretrain", "--scenes=0", f"--out={tmp_path / 'out'}")
    assert "scenes: expected at least 1, got 0" in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["sweep", "--base=[x.yaml]", "--out"],
        ["report", "--folder=.", "--out"],
        ["inspect", "shards", "--out"],
        ["evaluate", "--ckpt=x.ckpt", "--out"],
        ["export", "--ckpt=x.ckpt", "--output"],
        ["configs", "trainer/short.yaml", "--copy"],
    ],
    ids=lambda words: words[0],
)
def test_a_file_in_place_of_a_folder_is_refused_before_anything_is_done(words, capsys, tmp_path):
    (tmp_path / "file").touch()
    error = fails(capsys, command, *words, str(tmp_path / "file" / "below.yaml"))
    assert f"{tmp_path / 'file'} is not a folder; choose another folder" in error
    assert len(error.splitlines()) == 1


def test_help_says_what_happens_without_arguments(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "Without arguments it runs the main job" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--config=DOT", "DOT: it describes one part (lasagna.modules.DotMaskHead), but --config takes"),
        (f"{PART}.mask_head=GPU", "GPU: it holds settings from the root; give it as --config GPU"),
        (f"{PART}.mask_head=nowhere.yaml", "error: there is no file 'nowhere.yaml'"),
        (f"{PART}.language_modell.max_length=4", "did you mean 'language_model'?"),
        ("--model.optimizer.lr=1", "did you mean 'optimiser'?"),
        (f"{PART}.language_model.adapter.rnk=4", "adapter: there is no option 'rnk'\n  did you mean 'rank'?"),
        (
            f"{PART}.vision_encoder=TinyMaskHead",
            "lasagna.modules.TinyMaskHead exists, but this argument takes another",
        ),
        (f"{PART}.vision_encoder.image_size=64", "image_size: expected values in brackets ('[1, 2]'), got '64'"),
        (f"{PART}.language_model.adapter=", "model.assistant.language_model.adapter: no class is called ''"),
        (
            f'{PART}.prompt_format={{{TOKENS}, "prompts": {{"categories": "<image> list"}}}}',
            "error: prompt_format: prompts.categories: '<image> list' must contain {query}, the place of the names\n",
        ),
        (
            f'{PART}.prompt_format={{{TOKENS}, "prompts": {{}}, "lead_inn": "a"}}',
            "error: model.assistant.prompt_format: there is no option 'lead_inn'\n  did you mean 'lead_in'?",
        ),
        (f"{PART}.language_model.adapter=None", "no class is called 'None'; null leaves a part out"),
    ],
)
def test_what_is_typed_wrongly_is_said_with_the_way_out(option, said, capsys):
    files = {"DOT": str(CONFIGS / "mask_head" / "dot.yaml"), "GPU": str(CONFIGS / "trainer" / "gpu.yaml")}
    for name, file in files.items():
        option, said = option.replace(name, file), said.replace(name, file)
    assert said in fails(capsys, main, "fit", option)


def test_a_mistake_in_the_file_of_a_part_is_said(capsys, tmp_path):
    file = tmp_path / "part.yaml"
    file.write_text("class_path: TinyVisionEncoder\ninit_args: {image_sise: [32, 32]}\n")
    error = fails(capsys, main, "fit", f"{PART}.vision_encoder={file}")
    assert f"there is no option 'image_sise'\n  in {file}, line 2\n  did you mean 'image_size'?" in error


NOT_A_CLASS = """Parser key "data":
  Does not validate against any of the Union subtypes
  Errors:
    - Not a valid subclass of {kind}
      Subclass types expect one of:
      - a class path (str)
    - Expected a <class '{other}'>
  Given value type: <class 'list'>
  Given value: [1, 2]"""


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (NOT_A_CLASS.format(kind="Callback", other="NoneType"), "data: expected a Callback (class_path and init_args)"),
        (NOT_A_CLASS.format(kind="Logger", other="bool"), "data: expected a Logger (class_path and init_args)"),
        (
            "Parser key \"model\":\n  'list' object has no attribute 'keys'",
            "model: expected settings (`key: value`), got a list",
        ),
        (
            'Parser key "trainer":\nUnable to load config \'x\'\n  - Parser key "trainer": Unable to load config "x"',
            "trainer: expected settings (`key: value`) or a file, got 'x'",
        ),
    ],
)
def test_a_list_or_a_text_in_place_of_settings_is_said_in_one_line(message, said):
    assert explain(message, (), ()) == said


def test_a_format_without_a_token_is_no_unknown_word():
    message = """Parser key "prompt_format":
      Does not validate against any of the Union subtypes
      Errors:
        - Expected a typing.Literal['chat', 'tiny']
        - Problem with given class_path 'lasagna.core.prompt_format.PromptFormat':
            the following arguments are required: absent_token
      Given value: Namespace(class_path='lasagna.core.prompt_format.PromptFormat')"""
    assert explain(message, [], []) == "prompt_format: the following arguments are required: absent_token"


def test_a_package_that_is_missing_is_no_misspelt_class():
    """A name such as that of a library of losses once led to "did you mean SegmentationLoss"."""
    hint = suggestion("loss: No module named 'segmentation_losses'", [], [])
    assert hint == "is the package of segmentation_losses installed, or segmentation_losses.py in the current folder?"


def test_pretrained_weights_that_do_not_fit_name_their_own_argument(capsys, tmp_path):
    encoder = f'{{"class_path": "lasagna.modules.TimmEncoder", "init_args": {ENCODER}}}'
    options = [f"{PART}.vision_encoder={encoder}", "--data.val=[]", f"--trainer.default_root_dir={tmp_path}"]
    error = fails(capsys, main, "fit", *options, "--trainer.accelerator=cpu")
    assert "error: projector: the packaged 'projector' does not fit" in error
    assert "or projector: random" in error


def test_a_renamed_argument_points_to_its_new_name(capsys):
    train = "[{shards: x, task: {class_path: VQA, init_args: {talk: false}}}]"
    assert "did you mean 'conversation'?" in fails(capsys, main, "fit", f"--data.train={train}")


def test_new_names_of_renamed_arguments_exist():
    assert set(RENAMED.values()) <= {*signature(VQA).parameters, *signature(PromptFormat).parameters}
