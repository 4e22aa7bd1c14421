"""What holds for every metric: names, empty data, adding up over processes, logging."""

import csv
import operator
import pickle
import re
from typing import ClassVar

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins.precision import DoublePrecision, HalfPrecision, MixedPrecision, Precision
from torchmetrics import MeanMetric, Metric, MetricCollection

from lasagna.tasks.metrics import (
    PROTOCOLS,
    QUANTITIES,
    AnswerAccuracy,
    AnswerOrder,
    DialogueMetric,
    MeanIoU,
    MMSegMeanIoU,
    Presence,
    PresenceByLength,
    Quantity,
    ReasoningIoU,
    ReferenceMeanIoU,
    ReferringIoU,
    collect,
    quantity_of,
    score_key,
)
from tests.helpers.made_answers import answer, dialogue, pixels, random_case

NAMES = ("sky", "sea", "dog")
METRICS = {
    "mean_iou": lambda decoding: MeanIoU(NAMES, decoding),
    "reference": lambda decoding: ReferenceMeanIoU(NAMES, decoding),
    "mmseg": lambda decoding: MMSegMeanIoU(NAMES, decoding),
    "presence": Presence,
    "presence_by_length": lambda decoding: PresenceByLength([2, 3], decoding),
    "order": AnswerOrder,
    "referring": ReferringIoU,
    "reasoning": ReasoningIoU,
    "accuracy": AnswerAccuracy,
}


@pytest.fixture(params=METRICS)
def make(request):
    return METRICS[request.param]


def test_empty_data_gives_nan_and_no_faults(make):
    metric = make("ordered")
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        scores = metric.compute()
    assert scores
    for key, value in scores.items():
        assert value == 0 if key.startswith("faults/") else value.isnan()


def test_parts_add_up_to_the_whole(make):
    rng = np.random.default_rng(3)
    cases = [random_case(rng, NAMES) for _ in range(7)]
    whole, parts = make("ordered"), [make("ordered") for _ in range(3)]
    for rank, case in enumerate(cases):
        whole.update(*case)
        parts[rank % 2].update(*case)  # the third process has nothing
    for other in parts[1:]:
        parts[0].merge_state(other)
    for name in whole._defaults:
        torch.testing.assert_close(getattr(parts[0], name), getattr(whole, name))
    torch.testing.assert_close(parts[0].compute(), whole.compute(), equal_nan=True)


def test_states_are_sums_of_fixed_size(make):
    metric = make("ordered")
    before = {name: tuple(state.shape) for name, state in metric._defaults.items()}
    metric.update(*random_case(np.random.default_rng(0), NAMES))
    assert {name: tuple(getattr(metric, name).shape) for name in before} == before
    assert set(metric._reductions.values()) == {torch.sum} or all(
        reduction(torch.ones(2, 3)).tolist() == [2, 2, 2] for reduction in metric._reductions.values()
    )


def test_reset_and_pickle(make):
    metric = make("free")
    metric.update(*random_case(np.random.default_rng(1), NAMES))
    copy = pickle.loads(pickle.dumps(metric))
    torch.testing.assert_close(copy.compute(), metric.compute(), equal_nan=True)
    metric.reset()
    assert all((getattr(metric, name) == 0).all() for name in metric._defaults)


def test_keys_name_quantity_protocol_and_decoding(make):
    ordered, free = make("ordered"), make("free")
    case = random_case(np.random.default_rng(1), NAMES)
    ordered.update(*case)
    free.update(*case)
    for key in (*ordered.compute(), *free.compute()):
        quantity, protocol, *_ = key.split("/")
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", quantity)
        assert protocol in PROTOCOLS
        assert quantity_of(f"val/scenes/{key}") is QUANTITIES[quantity]
    assert all("/free" not in key for key in ordered.compute())
    assert all(key.split("/")[2] == "free" for key in free.compute())


def test_scores_lie_in_their_range(make):
    metric = make("ordered")
    for seed in range(4):
        metric.update(*random_case(np.random.default_rng(seed), NAMES))
    for key, value in metric.compute().items():
        assert value.isnan() or 0 <= value <= quantity_of(key).upper


def test_an_unknown_decoding_is_an_error(make):
    with pytest.raises(ValueError, match="decoding: 'wild' is not one of 'ordered', 'free'"):
        make("wild")


def test_metrics_with_equal_states_do_not_become_one():
    metrics = collect([ReasoningIoU(), ReferringIoU()])
    metrics.update(dialogue(["ball"], {"ball": pixels("#.")}), answer({"ball": pixels("#.")}))
    metrics.update(dialogue(["ball"], {"ball": pixels("#.")}, ignore=pixels("#.")), answer({"ball": None}))
    assert metrics.compute()["giou/lisa"] == 1
    assert metrics.compute()["giou/grefcoco"] == 0.5


@pytest.mark.parametrize(
    "pieces", [("speed", "lasagna-v1"), ("miou", ""), ("miou", "a/b"), ("miou", "lasagna-v1", "v1.2")]
)
def test_bad_keys_are_errors(pieces):
    with pytest.raises(ValueError, match=r"'speed' is not one of|must not be empty or contain '/' or '\.'"):
        score_key(*pieces)


def test_an_unknown_quantity_is_an_error():
    with pytest.raises(KeyError, match="names none of the quantities"):
        quantity_of("val/loss")


class Scored(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.metrics: MetricCollection = collect([MeanIoU(NAMES), Presence(), Presence("free")])
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, _):
        return self.layer(batch).sum()

    def validation_step(self, batch, _):
        whole = pixels("##")
        self.metrics.update(dialogue(NAMES, {"sky": whole}), answer({"sky": whole, "sea": None, "dog": None}))

    def on_validation_epoch_end(self):
        self.log_dict({f"val/{key}": value for key, value in self.metrics.compute().items()})

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.filterwarnings("ignore")
def test_keys_survive_logging_and_checkpoint_names(tmp_path):
    key = "val/miou/lasagna-v1"
    checkpoint = ModelCheckpoint(
        tmp_path, filename="best-{" + key + ":.2f}", monitor=key, mode="max", auto_insert_metric_name=False
    )
    trainer = lightning.Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_epochs=1,
        callbacks=[checkpoint],
        logger=CSVLogger(tmp_path),
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    loader = torch.utils.data.DataLoader(torch.ones(1, 1))
    trainer.fit(Scored(), loader, loader)
    (table,) = tmp_path.rglob("metrics.csv")
    row = list(csv.DictReader(table.open()))[-1]
    assert float(row[key]) == 1
    assert float(row["val/presence_f1/lasagna-v1/free"]) == 1
    assert [path.name for path in tmp_path.glob("*.ckpt")] == ["best-1.00.ckpt"]


class OwnSums(DialogueMetric):
    """A user's metric, with a state, a buffer and a metric of torchmetrics that are not integers."""

    protocol = "mine-v1"

    def __init__(self):
        super().__init__()
        self.add_sum("total", dtype=torch.float64)
        self.register_buffer("weight", torch.tensor(1.0))
        self.mean = MeanMetric()

    def update(self, dialogue, answer):
        self.total += self.weight.item() * len(dialogue.query)
        self.mean.update(1.0)

    def compute(self):
        return {"sum": self.total / 1000, "mean": self.mean.compute()}


PRECISIONS = {
    "32-true": Precision(),
    "bf16-true": HalfPrecision("bf16-true"),
    "16-true": HalfPrecision("16-true"),
    "bf16-mixed": MixedPrecision("bf16-mixed", "cpu"),
    "16-mixed": MixedPrecision("16-mixed", "cpu"),
    "64-true": DoublePrecision(),
}
CONVERSIONS = {name: plugin.convert_module for name, plugin in PRECISIONS.items()} | {
    name: operator.methodcaller(name) for name in ("half", "bfloat16", "double", "float")
}


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric MeanMetric")
@pytest.mark.parametrize("conversion", CONVERSIONS)
def test_a_thousand_right_masks_are_right_in_any_precision(conversion):
    model = torch.nn.ModuleDict({"metrics": collect([ReferringIoU(), ReasoningIoU(), OwnSums()])})
    precisions = [state.dtype for state in states(model)]
    CONVERSIONS[conversion](model)
    whole, names = pixels("##"), [f"ball {number}" for number in range(100)]
    case = dialogue(names, dict.fromkeys(names, whole)), answer(dict.fromkeys(names, whole))
    with PRECISIONS.get(conversion, Precision()).val_step_context():
        for _ in range(5):
            model["metrics"].update(*case)
    CONVERSIONS[conversion](model)  # as in a second run of the Trainer
    for _ in range(5):
        model["metrics"].update(*case)
    assert [state.dtype for state in states(model)] == precisions
    scores = model["metrics"].compute()
    assert {key: float(score) for key, score in scores.items() if not score.isnan()} == dict.fromkeys(
        scores.keys() - {"n_acc/grefcoco"}, 1.0
    )


def states(model):
    """Return states, what a reset sets them to, and buffers."""
    own = [part for part in model.modules() if isinstance(part, Metric)]
    sums = [values for part in own for name in part._defaults for values in (getattr(part, name), part._defaults[name])]
    return [*sums, *model.buffers()]


def test_a_precision_can_still_be_asked_for():
    assert ReferringIoU().set_dtype(torch.float64).iou.dtype == torch.float64


class Sharpness(DialogueMetric):
    protocol = "mine-v1"
    quantities: ClassVar = {"blurred_edges": Quantity("share of edges that are blurred", higher_is_better=False)}

    def __init__(self, decoding="ordered"):
        super().__init__(decoding)
        self.add_sum("edges")

    def update(self, dialogue, answer):
        self.edges += 1

    def compute(self):
        return {self.key("blurred_edges"): self.edges / 4}


def test_a_metric_states_its_own_quantities():
    assert Sharpness("free").key("blurred_edges") == "blurred_edges/mine-v1/free"
    assert quantity_of("test/scenes/blurred_edges/mine-v1") == Sharpness.quantities["blurred_edges"]


def test_quantities_of_the_package_keep_their_meaning():
    with pytest.raises(ValueError, match="'miou' is a quantity of the package"):
        type("Other", (DialogueMetric,), {"quantities": {"miou": Quantity("something else")}})
    with pytest.raises(ValueError, match="'my score' must be lower-case"):
        type("Other", (DialogueMetric,), {"quantities": {"my score": Quantity("something else")}})
