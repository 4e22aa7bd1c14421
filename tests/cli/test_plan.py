"""What `lasagna plan` prints about memory."""

from dataclasses import replace

import pytest

from lasagna.cli.plan import devices_of, lines_of
from lasagna.tasks.planning.batches import PlannedBatches
from lasagna.tasks.planning.cost import Devices, Phases, StepCost
from lasagna.tasks.planning.division import Division, Group
from lasagna.tasks.planning.plan import Plan

GIB = 2**30
DIVISION = Division(Group(((8, GIB // 8, True),)), (Group(((8, GIB // 2, True),)),) * 2, 0)
COST = StepCost(9 * GIB, 9 * GIB, 18 * GIB, 2 * GIB, phases=Phases(11 * GIB, 2 * GIB, 0), division=DIVISION)
"""9 GiB of weights, 4 in each of two blocks; each of four processes has 2.25 and gathers 1 and four times 4."""


class Images(PlannedBatches):
    def mean(self, what):
        return 2.0


def planned(cost=COST):
    way = ("32-true", None)
    return Plan({"part": (1, 1)}, Images([], ""), {way: cost}, way, (), 0, (0, None), 1, None)


@pytest.mark.parametrize(
    ("trainer", "devices"),
    [
        ({"devices": 4, "num_nodes": 2, "strategy": "fsdp2"}, Devices(8, divided=True)),
        ({"devices": [0, 1], "strategy": "ddp"}, Devices(2)),
        ({"devices": "0,1", "num_nodes": 2}, Devices(4)),
        ({"devices": "0,"}, Devices(1)),
        ({"devices": "-1", "num_nodes": 3}, Devices(3)),
        ({"devices": "auto", "strategy": "auto"}, Devices()),
    ],
)
def test_devices_are_those_of_all_machines(trainer, devices):
    assert devices_of(trainer) == devices


def test_divided_weights_have_a_column_and_a_line():
    lines = lines_of(planned(), 32.0, None, 0.4, Devices(4, divided=True))
    (head,) = (line for line in lines if "fsdp2 of 4" in line and "ddp" in line)
    assert head.split()[-4:] == ["ddp", "fsdp2", "of", "4"]
    (own,) = (line for line in lines if line.startswith("* 32-true"))
    peak = 2.25 + 2.25 + 4.5 + 17 + 2 + 1  # activations, and gradients that are complete
    assert own.split()[-3:] == ["38.00", "47.00", f"{peak:.2f}"]
    assert any("weights 2.25, gradients 2.25, optimiser 4.50, " in line for line in lines)
    # a share of everything, and all weights
    assert any("18.00 in validation" in line for line in lines)
    assert not any("does not fit" in line for line in lines)


def test_divided_weights_of_unknown_devices_are_judged_by_a_column():
    lines = lines_of(planned(), 32.0, None, 0.4, Devices(1, divided=True))
    (head,) = (line for line in lines if "GiB on each" in line)
    assert [f"fsdp2 of {count}" in head for count in (1, 2, 8)] == [True] * 3
    assert any(line.startswith("  fsdp2 of 1: weights 9.00,") for line in lines)


def test_what_does_not_fit_is_divided_among_more_devices():
    text = "\n".join(lines_of(planned(), 17.0, None, 0.4, Devices(4, divided=True)))
    assert "does not fit into 17" in text
    assert "validation does not fit into 17: --trainer.limit_val_batches 0" in text
    assert "to fit into 32 GiB: --trainer.strategy fsdp2 --trainer.devices 4" in "\n".join(
        lines_of(planned(), 32.0, None, 0.4, Devices())
    )


def test_what_cannot_be_divided_is_said():
    lines = lines_of(planned(replace(COST, division=None)), 64.0, None, 0.4, Devices())
    assert any(line.split()[-2:] == ["refused", "refused"] for line in lines)
    assert any("fsdp2 refuses this config" in line for line in lines)
