"""A part that is swapped in is what its constructor and the user say, and nothing that the old one was told."""

from __future__ import annotations

import inspect
from importlib.metadata import version
from pathlib import Path

import pytest
from jsonargparse import Namespace, _typehints
from omegaconf import OmegaConf

from lasagna.cli.config_checks import parts_start_anew
from lasagna.cli.training_cli import TrainingCLI, command_line
from lasagna.modules import TinyLanguageModel
from lasagna.modules.language_models.causal import CausalLanguageModel
from lasagna.modules.llava.language_model import LlavaV1
from lasagna.modules.sam.mask_head import SamMaskHead
from lasagna.modules.sam.vision_encoder import SamVisionEncoder

ROOT = Path(__file__).parents[2]
PART = "--model.assistant"


def config_of(*argv):
    """Parse a command line and return the model's arguments of its resolved config."""
    cli = TrainingCLI(**command_line([*map(str, argv), "--trainer.accelerator=cpu"], run=False), run=False)
    return cli.config.model.init_args


def part_of(name, *argv):
    part = config_of(*argv).assistant.init_args[name]
    return part.class_path.rpartition(".")[2], part.init_args.as_dict()


def defaults(kind):
    return {name: value.default for name, value in inspect.signature(kind).parameters.items()}


def written(folder, name, content):
    OmegaConf.save(content, folder / name)
    return f"--config={folder / name}"


def assistant(**parts):
    return {"model": {"init_args": {"assistant": {"init_args": parts}}}}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("vision_encoder", SamVisionEncoder), ("mask_head", SamMaskHead)],
)
@pytest.mark.parametrize("form", ["flag", "value", "file", "part's file"])
def test_a_swapped_part_has_its_own_defaults(name, kind, form, tmp_path):
    path = f"{kind.__module__}.{kind.__name__}"
    OmegaConf.save({"class_path": path}, tmp_path / "part.yaml")
    options = {
        "flag": f"{PART}.{name}={path}",
        "value": f'{PART}.{name}={{"class_path": "{path}"}}',
        "file": written(tmp_path, "mine.yaml", assistant(**{name: {"class_path": path}})),
        "part's file": f"{PART}.{name}={tmp_path / 'part.yaml'}",
    }
    assert part_of(name, options[form]) == (kind.__name__, defaults(kind))


def test_a_swapped_language_model_has_no_adapter_of_the_old_one():
    path = f"{CausalLanguageModel.__module__}.{CausalLanguageModel.__name__}"
    given = {"model": "gpt2", "tokenizer": "words"}
    flags = [f"{PART}.language_model.{name}={value}" for name, value in given.items()]
    _, found = part_of("language_model", f"{PART}.language_model={path}", *flags)
    assert found == {**defaults(CausalLanguageModel), **given}


def test_the_preset_of_the_original_has_nothing_of_the_tiny_parts():
    argv = [f"--config={ROOT / 'configs' / 'experiments' / 'lasagna_original.yaml'}"]
    parts = config_of(*argv).assistant.init_args
    language_model = parts.language_model.init_args.as_dict()
    adapter = {"rank": 8, "alpha": 16.0, "dropout": 0.05, "targets": ["q_proj", "v_proj"], "embeddings": True}
    assert language_model.pop("adapter") == adapter
    assert language_model == {
        name: value for name, value in {**defaults(LlavaV1), "folder": "llava-v1-7b"}.items() if name != "adapter"
    }
    assert parts.mask_head.init_args.as_dict() == defaults(SamMaskHead)


def test_what_is_said_of_the_new_part_is_kept(tmp_path):
    path = f"{SamMaskHead.__module__}.{SamMaskHead.__name__}"
    first = written(tmp_path, "first.yaml", assistant(mask_head={"class_path": path, "init_args": {"chunk": 4}}))
    second = written(tmp_path, "second.yaml", assistant(mask_head={"init_args": {"recompute": True}}))
    third = written(
        tmp_path, "third.yaml", assistant(mask_head={"class_path": path, "init_args": {"weights_file": "x"}})
    )
    _, found = part_of("mask_head", first, second, third)
    assert found == {**defaults(SamMaskHead), "chunk": 4, "recompute": True, "weights_file": "x"}
    _, found = part_of("mask_head", f"{PART}.mask_head={path}", f"{PART}.mask_head.chunk=8")
    assert found == {**defaults(SamMaskHead), "chunk": 8}


@pytest.mark.parametrize("spelling", ["TinyLanguageModel", "lasagna.modules.TinyLanguageModel", "long"])
def test_another_spelling_of_the_same_class_is_no_swap(spelling, tmp_path):
    long = f"{TinyLanguageModel.__module__}.{TinyLanguageModel.__name__}"
    part = {"class_path": long if spelling == "long" else spelling, "init_args": {"max_length": 64}}
    _, found = part_of("language_model", written(tmp_path, "mine.yaml", assistant(language_model=part)))
    assert found["max_length"] == 64
    assert found["adapter"]["rank"] == 16


def test_what_is_no_part_keeps_what_both_accept(tmp_path, monkeypatch):
    (tmp_path / "own.py").write_text(
        "from lasagna.datamodules import ShardDataModule\n\n\nclass OwnData(ShardDataModule):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    cli = TrainingCLI(**command_line(["--data=own.OwnData", "--trainer.accelerator=cpu"], run=False), run=False)
    assert cli.config.data.class_path == "own.OwnData"
    assert cli.config.data.init_args.batch_size == 12  # that of configs/default.yaml


def test_a_data_module_of_another_kind_starts_anew():
    path = "lightning.pytorch.demos.boring_classes.BoringDataModule"
    before = Namespace(class_path="lasagna.datamodules.ShardDataModule", init_args=Namespace(batch_size=12))
    with parts_start_anew():
        _typehints.discard_init_args_on_class_path_change(None, before, Namespace(class_path=path))
    assert before.init_args == Namespace()


def test_the_private_function_that_is_replaced_is_as_in_version_4_53():
    """Where this fails, jsonargparse has changed: see whether ``cli/config_checks.py`` still works."""
    found = inspect.signature(_typehints.discard_init_args_on_class_path_change)
    assert list(found.parameters) == ["parser_or_action", "prev_val", "value"], version("jsonargparse")
    callers = (_typehints.adapt_class_type, _typehints.ActionTypeHint.discard_init_args_on_class_path_change)
    assert all("discard_init_args_on_class_path_change" in caller.__code__.co_names for caller in callers)


OWN = """
from lasagna.modules import Assistant
from lasagna.tasks import AssistantTraining


class OwnAssistant(Assistant):
    pass


class OwnTraining(AssistantTraining):
    pass


class Narrow(AssistantTraining):
    def __init__(self, assistant: Assistant, seed: int = 0) -> None:
        super().__init__(assistant, seed=seed)
"""


@pytest.mark.parametrize(
    ("option", "left"),
    [
        ("--model=own_swaps.OwnTraining", True),
        ("--model=own_swaps.Narrow", False),
        (f"{PART}=own_swaps.OwnAssistant", True),
    ],
)
def test_a_training_or_an_assistant_of_ones_own_keeps_the_parts(option, left, tmp_path, monkeypatch):
    (tmp_path / "own_swaps.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = config_of(option, f"{PART}.language_model.adapter.rank=4")
    adapter = found.assistant.init_args.language_model.init_args.adapter
    assert (adapter.rank, adapter.alpha) == (4, 32.0)
    assert ("optimiser" in found) is left


OWN_LOSS = """
class Loss:
    def __init__(self, weight: float = 1.0, dice: float = 9.0):
        self.weight, self.dice = weight, dice
    def __call__(self, output, batch):
        return {"loss": self.weight * output.token_logits.sum()}
"""


def test_a_loss_of_ones_own_is_named_by_its_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own_loss.py").write_text(OWN_LOSS)
    words = ["--model.loss.dice=3", "--model.loss=own_loss.Loss", "--model.loss.weight=2"]
    loss = config_of(*words).loss
    assert (loss.class_path, loss.init_args.as_dict()) == ("own_loss.Loss", {"weight": 2.0, "dice": 9.0})


MASK_LOSS = """
class Square:
    def __init__(self, power: int = 2):
        self.power = power

    def __call__(self, logits, targets):
        return (logits.sigmoid() - targets).abs().pow(self.power).mean((1, 2))
"""


def test_the_weights_of_the_default_loss_are_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mask_loss.py").write_text(MASK_LOSS)
    further = {"square": {"loss": {"class_path": "mask_loss.Square", "init_args": {"power": 3}}, "weight": 2.0}}
    file = written(tmp_path, "mine.yaml", {"model": {"init_args": {"loss": {"bce": 4.0, "mask_losses": further}}}})
    loss = config_of(file, "--model.loss=SegmentationLoss", "--model.loss.dice=3").loss
    square = loss.init_args.mask_losses["square"]
    assert (square.weight, square.loss.class_path, square.loss.init_args.power) == (2.0, "mask_loss.Square", 3)
    assert loss.class_path == "lasagna.modules.SegmentationLoss"
    assert (loss.init_args.bce, loss.init_args.dice, loss.init_args.ce) == (4.0, 3.0, 1.0)
