"""Optimisers and schedules of any class: what they are given, and what is said of those that do not fit."""

import math
import sys

import pytest
import torch
from torch import nn

from lasagna.errors import CheckpointError, ConfigError
from lasagna.tasks import Optimiser, OtherOptimiser


class OwnDescent(torch.optim.Optimizer):
    """Plain gradient descent."""

    def __init__(self, params, lr=1.0, scale=1.0):
        super().__init__(params, {"lr": lr, "scale": scale})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                weight -= group["lr"] * group["scale"] * weight.grad


def built(dtype=torch.float32, **settings):
    model = nn.Linear(2, 2).to(dtype)
    optimiser = Optimiser(warmup_steps=2, **settings)
    optimiser.check_classes()
    optimizer = optimiser.build({"weight": 1.0, "bias": 0.5}, model.named_parameters())
    return model, optimizer, optimiser.scheduler(optimizer, lambda: 10.0)


def rates(optimizer, scheduler, steps):
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        ("SGD", {"momentum": 0.9}),
        ("torch.optim.Adafactor", {}),
        ("NAdam", {"momentum_decay": 0.01}),
        (f"{__name__}.OwnDescent", {"scale": 2.0}),
    ],
)
def test_any_optimiser_takes_steps_with_the_factors_of_each_set(algorithm, options, dtype):
    model, optimizer, _ = built(dtype, algorithm=algorithm, algorithm_options=options, lr=0.1)
    before = model.weight.clone()
    model(torch.ones(1, 2, dtype=dtype)).sum().backward()
    optimizer.step()
    assert not torch.equal(model.weight, before)
    assert model.weight.dtype == dtype
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.1, 0.05]
    for group in optimizer.param_groups:
        assert {name: group[name] for name in options} == options
    if "weight_decay" in optimizer.param_groups[0]:
        assert [group["weight_decay"] for group in optimizer.param_groups] == [0.01, 0.0]


@pytest.mark.parametrize("settings", [{"algorithm": "bitsandbytes.optim.AdamW8bit"}, {"schedule": "bitsandbytes.Slow"}])
def test_a_package_that_is_not_installed_is_named_before_training(settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    ((argument, path),) = settings.items()
    with pytest.raises(ConfigError) as raised:
        Optimiser(**settings).check_classes()
    message = str(raised.value)
    assert message.startswith(
        f"optimiser.{argument}: {path!r} needs the package bitsandbytes, which is not installed; "
    )
    assert "`pip install bitsandbytes`" in message


@pytest.mark.slow
def test_adam_in_eight_bits_takes_steps():
    pytest.importorskip("bitsandbytes")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layer = torch.nn.Linear(128, 128).to(device)
    named = dict(layer.named_parameters())
    optimizer = Optimiser(algorithm="bitsandbytes.optim.AdamW8bit").build(dict.fromkeys(named, 1.0), named.items())
    target, losses = torch.randn(64, 128, device=device), []
    for _ in range(20):
        loss = (layer(target) - target).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_the_weight_decay_of_the_options_goes_before():
    _, optimizer, _ = built(algorithm_options={"weight_decay": 0.3})
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.3, 0.0]


def test_own_descent_is_that_of_torch():
    found = []
    for algorithm, options in ((f"{__name__}.OwnDescent", {"scale": 1.0}), ("SGD", {})):
        torch.manual_seed(0)
        model, optimizer, _ = built(algorithm=algorithm, algorithm_options=options, weight_decay=0.0)
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        found.append(model.weight.detach())
    assert torch.equal(*found)


def test_a_schedule_of_torch_begins_after_warm_up():
    _, optimizer, scheduler = built(
        lr=1.0, algorithm="SGD", schedule="StepLR", schedule_options={"step_size": 2, "gamma": 0.1}
    )
    assert rates(optimizer, scheduler, 6) == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0, 0.1, 0.1])


@pytest.mark.parametrize(
    ("settings", "reasons"),
    [
        ({"algorithm": "AdmW"}, ["optimiser.algorithm", "torch.optim", "'AdmW'", "did you mean 'AdamW'?"]),
        ({"algorithm": "torch.nn.Linear"}, ["a subclass of Optimizer", "'torch.nn.Linear'"]),
        ({"algorithm": "nowhere.Optimiser"}, ["'nowhere.Optimiser' needs the package nowhere, which is not inst"]),
        ({"algorithm": "torch.optim.nowhere.Optimiser"}, ["a subclass of Optimizer", "'torch.optim.nowhere.Opt"]),
        ({"algorithm": "LBFGS"}, ["several times a step"]),
        ({"algorithm_options": {"momentum": 1}}, ["AdamW takes lr, betas", "there is no 'momentum'"]),
        ({"algorithm": "SGD", "algorithm_options": {"momentum": -1}}, ["'SGD' refuses its options", "momentum"]),
        ({"algorithm_options": {"lr": 5.0}}, ["optimiser.algorithm_options: the learning rate is `optimiser.lr`"]),
        ({"algorithm": "Muon"}, ["only supports 2D parameters", "optimiser.others: {algorithm: AdamW}"]),
        ({"others": OtherOptimiser("AdmW")}, ["optimiser.others.algorithm: ", "did you mean 'AdamW'?"]),
        (
            {"others": OtherOptimiser(algorithm_options={"x": 1})},
            ["optimiser.others.algorithm_options: AdamW takes lr"],
        ),
        (
            {"others": OtherOptimiser(parameters=("b*", "x"))},
            ["'x' fits no trained parameter; there are those of bias"],
        ),
        (
            {"others": OtherOptimiser(parameters=("weight",))},
            ["it would train 2 of 2 parameters, those of bias, weight"],
        ),
        (
            {"others": OtherOptimiser(algorithm_options={"lr": 5.0})},
            ["optimiser.others.algorithm_options: the learning rate is `optimiser.others.lr`"],
        ),
        ({"others": OtherOptimiser("SGD", {"momentum": -1})}, ["optimiser.others.algorithm: 'SGD' refuses its opt"]),
        ({"schedule": "cosin"}, ["optimiser.schedule: expected 'cosine', 'linear'", "did you mean 'cosine'?"]),
        ({"schedule": "ReduceLROnPlateau"}, ["waits for a score"]),
        (
            {"schedule": "OneCycleLR", "schedule_options": {"max_lr": 0.1, "total_steps": 10}},
            ["optimiser.schedule: 'OneCycleLR' sets the rates itself", "`trainable`"],
        ),
        (
            {"algorithm": "SGD", "schedule": "CyclicLR", "schedule_options": {"base_lr": 0.1, "max_lr": 0.2}},
            ["optimiser.schedule: 'CyclicLR' sets the rates itself"],
        ),
        ({"schedule": "StepLR"}, ["'step_size' must be given"]),
        ({"schedule_options": {"step_size": 1}}, ["'cosine' takes none"]),
    ],
)
def test_what_does_not_fit_is_said(settings, reasons):
    with pytest.raises(ConfigError) as error:
        built(**settings)
    assert all(reason in str(error.value) for reason in reasons), error.value


def trained_by(optimizers, scheduler, model, steps):
    """Take steps with losses of their own; return the weights."""
    for step in range(steps):
        model(torch.full((1, 2), 1.0 + step, dtype=model.weight.dtype)).pow(2).sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        scheduler.step()
    return [weight.detach().clone() for weight in model.parameters()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_matrices_and_all_else_have_optimisers_of_their_own(dtype):
    settings = {"lr": 0.1, "algorithm": "Muon", "others": OtherOptimiser("SGD", {"momentum": 0.9}, lr=0.2)}
    torch.manual_seed(0)
    model, optimizer, scheduler = built(dtype, **settings)
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.1, 0.1]  # 0.2 by the factor 0.5
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    through = trained_by([optimizer], scheduler, model, 4)
    if dtype == torch.float32:  # the same as by hand
        by_hand = nn.Linear(2, 2)
        by_hand.load_state_dict(begun)
        muon = torch.optim.Muon([by_hand.weight], lr=0.1, weight_decay=0.01)
        sgd = torch.optim.SGD([by_hand.bias], lr=0.1, momentum=0.9)
        for step, factor in enumerate([1 / 3, 2 / 3, 1.0, 0.5 * (1 + math.cos(math.pi / 8))]):
            by_hand(torch.full((1, 2), 1.0 + step)).pow(2).sum().backward()
            for one in (muon, sgd):
                one.param_groups[0]["lr"] = 0.1 * factor
                one.step()
                one.zero_grad()
        assert torch.allclose(by_hand.weight, through[0])
        assert torch.allclose(by_hand.bias, through[1])
    torch.manual_seed(0)
    half, first, schedule = built(dtype, **settings)
    trained_by([first], schedule, half, 2)
    resumed, second, later = built(dtype, **settings)
    resumed.load_state_dict(half.state_dict())
    second.load_state_dict(first.state_dict())
    later.load_state_dict(schedule.state_dict())
    for step in (2, 3):
        resumed(torch.full((1, 2), 1.0 + step, dtype=dtype)).pow(2).sum().backward()
        second.step()
        second.zero_grad()
        later.step()
    assert all(map(torch.equal, resumed.parameters(), through))


def test_a_class_of_another_module_is_imported_only_to_train():
    assert Optimiser(algorithm="nowhere.Optimiser").algorithm == "nowhere.Optimiser"


def test_another_algorithm_does_not_go_on_from_a_checkpoint_of_an_earlier_version():
    stored = {name: value for name, value in Optimiser().settings().items() if "algorithm" not in name}
    Optimiser().check_resumed(stored)
    with pytest.raises(CheckpointError, match=r"optimiser\.algorithm 'AdamW', here 'SGD'"):
        Optimiser(algorithm="SGD").check_resumed(stored)
