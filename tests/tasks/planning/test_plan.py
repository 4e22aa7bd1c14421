"""What makes a training fit, cheapest first; all in GiB."""

import pytest

from lasagna.tasks.planning.batches import PlannedBatches
from lasagna.tasks.planning.plan import Plan
from lasagna.tasks.planning.step import StepCost


class Images(PlannedBatches):
    def mean(self, what):
        return 8.0


def gib(weights, activations, flops=None):
    return StepCost(weights << 30, 1 << 30, 2 << 30, activations << 30, flops)


PLAN = Plan(
    parts={},
    batches=Images([], ""),
    costs={
        ("32-true", False): gib(8, 40, 10**12),
        ("32-true", True): gib(8, 24),
        ("bf16-true", False): gib(4, 20),
        ("bf16-true", True): gib(4, 12),
    },
    own=("32-true", False),
    recomputing=("language_model",),
    checkpoint=0,
    features=(0, None),
    accumulate=2,
    steps=3600,
)
RECOMPUTED, HALF = "--model.assistant.language_model.recompute true", "--trainer.precision bf16-true"
SMALLER = "--data.batch_size {} --trainer.accumulate_grad_batches {}"


@pytest.mark.parametrize(
    ("memory", "flags"),
    [
        (40, RECOMPUTED),
        (30, HALF),
        (21, f"{HALF} {RECOMPUTED}"),
        (16, f"{HALF} {RECOMPUTED} {SMALLER.format(5, 4)}"),
        (10, f"{HALF} {RECOMPUTED} {SMALLER.format(1, 16)}"),
    ],
)
def test_the_cheapest_way_that_fits_is_named(memory, flags):
    assert not PLAN.fits(PLAN.costs[PLAN.own], memory)
    assert PLAN.way_out(memory) == flags


def test_adapters_are_the_way_out_where_no_batch_fits_and_hours_count_all_batches():
    assert "adapter.rank 8" in PLAN.way_out(7)
    assert PLAN.hours(peak=100.0, share=0.5) == pytest.approx(2 * 3600 / 50 / 3600)
