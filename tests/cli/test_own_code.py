"""Errors in a user's own code are one line with class, argument, file and line."""

import importlib
import sys
from types import SimpleNamespace

import pytest
import torch

from lasagna.cli.constructor_errors import constructor_error
from lasagna.cli.entry import errors_on_one_line
from lasagna.cli.own_code import TRACEBACK, import_error, own_error
from lasagna.cli.processes import ProcessWatch
from lasagna.cli.train import main
from lasagna.errors import ConfigError
from lasagna.modules.losses import MaskTerm, SegmentationLoss
from lasagna.tasks.training.float32_copies import with_copies
from lasagna.tasks.training.optimiser import Optimiser
from tests.helpers.tiny_run import write_config, write_scenes

OWN = """
import torch

class Loss:
    def __init__(self, gamma=2.0):
        {2.0: 1}[gamma]

    def __call__(self, logits, targets):
        return helper(logits)

def helper(logits):
    return logits.missing

def function(logits, targets):
    return helper(logits)

class Steps(torch.optim.SGD):
    def step(self, closure=None):
        raise KeyError("state")
"""
NAMED = {"class_path": "own_parts.Loss", "init_args": {"gamma": 2.0}}
CONFIG = {
    "model": {
        "class_path": "lasagna.tasks.AssistantTraining",
        "init_args": {
            "loss": {"class_path": "SegmentationLoss", "init_args": {"mask_losses": {"mine": {"loss": NAMED}}}},
            "optimiser": {"algorithm": "own_parts.Steps", "algorithm_options": {"momentum": 0.9}},
        },
    },
    "data": {"init_args": {"train": [{"task": "own_parts.function"}]}},
}
TERMS = "model.loss.mask_losses"
WAY_OUT = "mend it there, or name another class (LASAGNA_TRACEBACK=1 shows the whole traceback)"


@pytest.fixture
def own(tmp_path, monkeypatch):
    (tmp_path / "own_parts.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield importlib.import_module("own_parts")
    del sys.modules["own_parts"]


def raised_by(call, *args):
    with pytest.raises(Exception) as raised:
        call(*args)
    error = raised.value
    # the package is not called by a file of tests
    return error.with_traceback(error.__traceback__.tb_next)


def test_class_argument_and_line_are_named(own):
    logits, targets = torch.zeros(1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.uint8)
    loss = SegmentationLoss(mask_losses={"mine": MaskTerm(own.Loss())})
    error = raised_by(loss._mask_terms, logits, targets)
    reason = (
        "own_parts.helper raised AttributeError: 'Tensor' object has no attribute 'missing' (own_parts.py, line 12)"
    )
    assert own_error(error, CONFIG) == f"model.loss.mask_losses.mine.loss: {reason}; {WAY_OUT}"
    assert own_error(error) == f"{reason}; {WAY_OUT}"
    error = raised_by(SegmentationLoss(mask_losses={"mine": MaskTerm(own.function)})._mask_terms, logits, targets)
    assert own_error(error, CONFIG) == f"data.train[0].task: {reason}; {WAY_OUT}"
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = Optimiser(algorithm="own_parts.Steps").build({"w": 1.0}, [("w", weight)])
    line = own_error(raised_by(optimizer.step), CONFIG)
    assert line.startswith("model.optimiser.algorithm: own_parts.Steps.step raised KeyError: 'state' (own_parts.py,")


def test_a_library_class_is_named_if_the_config_names_it_and_other_errors_keep_their_traceback(own):
    softmax = torch.nn.Softmax(dim=7)
    name = "torch.nn.modules.activation.Softmax"
    error = raised_by(softmax, torch.zeros(1))
    assert own_error(error) is None
    assert own_error(error, {"model": {"loss": name}}).startswith(f"model.loss: {name}.forward raised IndexError")
    assert own_error(raised_by(with_copies, 3), CONFIG) is None


def test_a_worker_of_a_loader_tells_the_line(own, tmp_path):
    text = (
        "Caught KeyError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        f"  File \"{tmp_path}/own_parts.py\", line 5, in dialogues\n    x\nKeyError: 'm'\n"
    )
    assert own_error(KeyError(text.replace("Original", ""))) is None
    error = RuntimeError(text)
    assert own_error(error) == f"data: dialogues raised KeyError: 'm' (own_parts.py, line 5); {WAY_OUT}"


def test_constructors_name_class_and_argument(own):
    error = raised_by(own.Loss, 3.0)
    line = str(constructor_error(ValueError("parser"), [(own.Loss, error)], CONFIG))
    assert line.startswith(
        "model.loss.mask_losses.mine.loss: own_parts.Loss cannot be made: KeyError: 3.0 (own_parts.py, "
    )
    assert line.endswith("; mend its arguments, or the class")
    refused = ConfigError("lr: expected")
    assert constructor_error(ValueError("parser"), [(Optimiser, refused)], CONFIG) is refused
    assert str(constructor_error(ValueError("a\n b"), [], CONFIG)) == "a b"


@pytest.mark.parametrize("shown", ["", "1"])
def test_commands_show_the_line_and_the_traceback_on_demand(own, shown, monkeypatch, capsys):
    monkeypatch.setenv(TRACEBACK, shown)
    with pytest.raises(SystemExit), errors_on_one_line():
        own.helper(0)
    said = capsys.readouterr().err
    assert said.splitlines()[-1].startswith("error: own_parts.helper raised AttributeError")
    assert ("Traceback" in said) == bool(shown)


def test_a_file_that_cannot_be_imported_is_named(own, tmp_path):
    (tmp_path / "own_broken.py").write_text("SHORT = {}['x']\n")
    with pytest.raises(KeyError) as raised:
        importlib.import_module("own_broken")
    error = ValueError("model.loss: 'x'")
    error.__context__ = raised.value
    line = "own_broken cannot be imported: KeyError: 'x' (own_broken.py, line 1)"
    assert import_error(raised_by(own.Loss, 3.0).with_traceback(None)) is None
    assert import_error(error) == line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        (f"{TERMS}={{mine: {{loss: own_parts.Loss}}}}", f"{TERMS}.mine.loss: own_parts.helper raised AttributeError"),
        (
            f"{TERMS}={{mine: {{loss: {{class_path: own_parts.Loss, init_args: {{gamma: 3}}}}}}}}",
            f"{TERMS}.mine.loss: own_parts.Loss cannot be made: KeyError: 3.0 (own_parts.py, line 6)",
        ),
        (
            "model.optimiser.algorithm=own_parts.Steps",
            "model.optimiser.algorithm: own_parts.Steps.step raised",
        ),
        ("model.loss=own_parts.Loss", "model.loss: own_parts.helper raised AttributeError: 'AssistantOutput'"),
    ],
)
def test_through_the_door(option, wrong, own, tmp_path, capsys):
    config = write_config(tmp_path, write_scenes(tmp_path / "scenes"))
    with pytest.raises(SystemExit):
        main(["fit", f"--config={config}", f"--{option}", f"--trainer.default_root_dir={tmp_path / 'run'}"])
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"error: {wrong}")


@pytest.mark.parametrize(("processes", "follows"), [(1, False), (2, True)])
def test_an_error_of_communication_may_come_from_a_process_that_is_lost(processes, follows, monkeypatch):
    monkeypatch.setattr(ProcessWatch, "_watch", lambda self: None)
    watch = ProcessWatch(SimpleNamespace(world_size=processes))
    assert watch.may_follow(RuntimeError("[gloo] Connection closed by peer")) is follows
    assert not watch.may_follow(KeyError("state"))
