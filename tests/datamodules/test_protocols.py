"""Any data module with sources trains, validates and is evaluated; one without them is refused in a line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from lightning import LightningDataModule, Trainer
from lightning.pytorch.demos.boring_classes import BoringDataModule
from torch.utils.data import DataLoader

from lasagna.cli.preflight import PreflightCheck
from lasagna.datamodules import DataWithSources, ShardDataModule, Source, collate, prepare_record, write_shards
from lasagna.datamodules.protocols import check_sources
from lasagna.datamodules.shards.reader import ShardSplit
from lasagna.errors import ConfigError
from lasagna.modules import Assistant, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.tasks import AssistantTraining, Semantic
from lasagna.tasks.evaluation.run_list import make_runs
from lasagna.tasks.training.source_scores import Evaluation
from tests.helpers.data_fakes import MANIFEST, record


@dataclass
class Listed:
    """Records made in Python."""

    task = Semantic()
    manifest = MANIFEST
    label: str
    count: int = 4

    def records(self):
        return [record(index) for index in range(self.count)]


class OwnData(LightningDataModule):
    """Loads them with plain loaders."""

    def __init__(self):
        super().__init__()
        self.sources = {"train": [Listed("own")], "val": [Listed("one"), Listed("two", 2)]}

    def connect(self, processors):
        self.processors = processors

    def train_dataloader(self):
        return self._loader(self.sources["train"][0], False)

    def val_dataloader(self):
        return [self._loader(source, True) for source in self.sources["val"]]

    def _loader(self, source, evaluates):
        return DataLoader(list(source.records()), 2, collate_fn=partial(self._batch, source, evaluates))

    def _batch(self, source, evaluates, records):
        asked = [(each, source.task.dialogues(each, np.random.default_rng(0))) for each in records]
        keep = {"source": source.label, "evaluates": evaluates}
        return collate([prepare_record(*each, self.processors, **keep) for each in asked], self.processors)


@pytest.mark.filterwarnings("ignore")
def test_a_data_module_of_ones_own_trains_and_each_of_its_sources_is_scored():
    assistant = Assistant(
        TinyVisionEncoder((32, 32), weights="random"),
        TinyLanguageModel("random", projector="random", image_grid=(2, 2)),
        TinyMaskHead(weights="random"),
        "tiny",
    )
    silent = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    trainer = Trainer(accelerator="cpu", max_steps=2, num_sanity_val_steps=0, **silent)
    trainer.fit(AssistantTraining(assistant), data := OwnData())
    assert trainer.global_step == 2
    assert {"val/one/miou/lasagna-v1", "val/two/miou/lasagna-v1"} <= trainer.callback_metrics.keys()
    scored, batch = Evaluation(data.sources["val"]), next(iter(data.val_dataloader()[0]))
    for wrong, message in ((batch, "a loader 2 and only 2 sources"), ([batch], "a loader yields list objects")):
        with pytest.raises(ConfigError, match=message):
            scored.step(assistant, wrong, 2)
    with pytest.raises(ConfigError, match=r"data.test: there are no sources"):
        PreflightCheck().setup(trainer, trainer.lightning_module, "fit")


def test_its_records_are_asked_about_as_those_of_shards(tmp_path):
    write_shards(Listed("").records(), tmp_path, MANIFEST)
    own, shards = OwnData(), ShardDataModule(val=[Source(str(tmp_path), Semantic(), name="one")], seed=3)
    plain = {"seed": 3, "decodings": None, "controls": ("co-occurring",), "limit": None}
    pairs = zip(make_runs(own, "val", **plain)[:2], make_runs(shards, "val", **plain), strict=True)
    for one, other in pairs:
        asked = [[run.ask(raw) for raw in run.raw(ShardSplit(1, 2))] for run in (one, other)]
        assert [[dialogue.query for dialogue in sample.dialogues] for sample in asked[0]] == [
            [dialogue.query for dialogue in sample.dialogues] for sample in asked[1]
        ]
        assert [sample.record.key for sample in asked[0]] == ["r-1", "r-3"]
    facts = [make_runs(data, "val", **plain)[0].describe()["shards"] for data in (OwnData(), own, shards)]
    assert facts[0] == facts[1] != facts[2]
    assert [each.key for each in shards.sources["val"][0].records()] == ["r-0", "r-1", "r-2", "r-3"]


def test_a_data_module_without_sources_is_refused():
    assert isinstance(ShardDataModule(), DataWithSources)
    with pytest.raises(ConfigError, match="BoringDataModule has no `sources` and no `connect`"):
        check_sources(BoringDataModule())
    with pytest.raises(ConfigError, match="there is no data module"):
        check_sources(None)
