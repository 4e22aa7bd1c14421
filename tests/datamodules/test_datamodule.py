"""The datamodule checks before it works, writes what is missing, and reports what it left out."""

from __future__ import annotations

import warnings
from dataclasses import replace

import pytest
import torch
from lightning import LightningModule, Trainer

from lasagna.cli.jobs import JobTrainer
from lasagna.datamodules import ClassSampling, DataWriter, NegativeInjection, ShardDataModule, Source, write_shards
from lasagna.datamodules.streaming.skipped import SkippedRecordWarning
from lasagna.errors import ConfigError, QueryError, RecordError, ShardError
from lasagna.tasks import Semantic
from tests.helpers.data_fakes import MANIFEST, NAMES, EvenOnly, Listing, Silent, processors, record, write


def connected(**kwargs):
    data = ShardDataModule(**kwargs)
    data.connect(processors())
    return data


class Reader(LightningModule):
    """Takes whatever comes, and counts it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.found = []

    def setup(self, stage):
        self.trainer.datamodule.connect(processors())

    def training_step(self, batch, batch_idx):
        return self.weight * batch.pixels.mean()

    def read(self, batch, batch_idx, dataloader_idx=0):
        self.found += [(dataloader_idx, sample.source, sample.key) for sample in batch.samples]

    validation_step = test_step = predict_step = read

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class OneName(Listing):
    """Asks for one name alone."""

    def dialogues(self, record, rng):
        return [ClassSampling(1)(dialogue, rng) for dialogue in super().dialogues(record, rng)]


def trainer(folder, **kwargs):
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    return Trainer(default_root_dir=folder, enable_checkpointing=False, max_epochs=1, **quiet, **kwargs)


def replace_image(folder, index, count=6):
    """Write shards of which one record has a broken image."""
    broken = record(index)
    broken = type(broken)(broken.key, broken.image_bytes[:100], (9, 12), MANIFEST, label_bytes=broken.label_bytes)
    records = [broken if place == index else record(place) for place in range(count)]
    return write_shards(records, folder, MANIFEST, records_per_shard=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_each_stage_reads_each_record_of_each_source_once(tmp_path, workers):
    write(tmp_path / "a", 7, name="a")
    write(tmp_path / "b", 4, name="b")
    sources = [Source(str(tmp_path / "a"), Listing()), Source(str(tmp_path / "b"), EvenOnly(), name="bee")]
    expected = [(0, "a-listing", f"r-{index}") for index in range(7)] + [(1, "bee", "r-0"), (1, "bee", "r-2")]
    data = ShardDataModule(val=sources, test=sources, predict=sources, batch_size=2, num_workers=workers)
    stages = ["validate", "test", "predict"] if workers == 0 else ["test"]
    for stage in stages:
        module = Reader()
        getattr(trainer(tmp_path), stage)(module, data)
        assert sorted(module.found) == expected


def test_evaluation_keeps_images_and_training_does_not(tmp_path):
    write(tmp_path, 4)
    source = Source(str(tmp_path), Listing())
    data = connected(train=[source], val=[source], batch_size=2)
    [batch, *_] = data.val_dataloader()[0]
    assert [image.shape for image in batch.images] == [(9, 12, 3)] * 2
    assert next(iter(data.train_dataloader())).images == []


def test_strategies_of_the_source_come_before_those_of_the_datamodule(tmp_path):
    write(tmp_path, 4)
    own = Source(str(tmp_path), Listing(), name="own", strategies=[])
    data = connected(
        train=[Source(str(tmp_path), Listing())],
        val=[Source(str(tmp_path), Listing()), own],
        strategies=[NegativeInjection()],
        evaluation_strategies=[NegativeInjection(0, ["Sky", "harp"], 2)],
        batch_size=4,
    )

    def answered(loader):
        return {
            len(sample.dialogue.query) - len(sample.dialogue.entries) for batch in loader for sample in batch.samples
        }

    assert answered(data.train_dataloader()) == {0}
    first, second = data.val_dataloader()
    # "Sky" is one of the data set's own names, so only the harp joins the query
    assert {sample.dialogue.query for batch in first for sample in batch.samples} == {(*NAMES, "harp")}
    assert {sample.dialogue.query for batch in second for sample in batch.samples} == {NAMES}


def test_all_faults_of_a_stage_are_reported_together_before_anything_runs(tmp_path):
    write(tmp_path / "a", 6, per_shard=3)
    write(tmp_path / "b", 6)
    (tmp_path / "a" / "000001.tar").write_bytes(b"")
    sources = [Source(str(tmp_path / name), Listing(), name=name) for name in ("a", "b", "c")]
    data = ShardDataModule(train=sources[:2], val=sources[1:], test=sources[1:2])
    with pytest.raises(ShardError) as fault:
        trainer(tmp_path).fit(Reader(), data)
    assert len(str(fault.value).splitlines()) == 2
    assert "000001.tar: the shard is empty" in str(fault.value)
    assert "c: the folder does not exist" in str(fault.value)
    data.setup("test")


def test_names_of_sources_are_unique(tmp_path):
    write(tmp_path, 4)
    twice = [Source(str(tmp_path), Listing()), Source(str(tmp_path), Listing())]
    with pytest.raises(ConfigError, match=r"data.val: several sources are named \['made up-listing'\]"):
        ShardDataModule(val=twice).setup("validate")


def test_an_epoch_holds_at_least_one_batch(tmp_path):
    write(tmp_path, 4)
    data = connected(train=[Source(str(tmp_path), Listing())], batch_size=5)
    with pytest.raises(ConfigError, match="an epoch of 4 samples is too short for a batch of 5"):
        data.setup("fit")
    assert len(connected(train=[Source(str(tmp_path), Listing())], batch_size=3).train_dataloader()) == 1


def test_numbers_out_of_range_are_reported_together():
    with pytest.raises(
        ValueError, match=r"`batch_size` must be at least 1, got 0; `num_workers` .* got -1; `samples_per"
    ):
        ShardDataModule(batch_size=0, evaluation_batch_size=1, num_workers=-1, samples_per_epoch=0)
    with pytest.raises(ValueError, match="`broken` must be 'error' or 'skip', got 'ignore'"):
        ShardDataModule(broken="ignore")


def test_loaders_need_the_assistant(tmp_path):
    write(tmp_path, 4)
    data = ShardDataModule(train=[Source(str(tmp_path), Listing())], batch_size=2)
    with pytest.raises(RuntimeError, match=r"connect\(assistant.processors\)"):
        data.train_dataloader()


def test_a_broken_record_ends_a_run_by_default(tmp_path):
    replace_image(tmp_path / "s", 4)
    data = ShardDataModule(test=[Source(str(tmp_path / "s"), Listing())], batch_size=2)
    with pytest.raises(RecordError, match=r"000001.tar: record r-4: the image cannot be decoded"):
        trainer(tmp_path).test(Reader(), data)


@pytest.mark.parametrize("workers", [0, 2])
def test_skipped_records_are_counted_over_workers_and_reported(tmp_path, workers):
    replace_image(tmp_path / "s", 4)
    data = ShardDataModule(
        test=[Source(str(tmp_path / "s"), Listing())], batch_size=2, num_workers=workers, broken="skip"
    )
    module = Reader()
    with pytest.warns(
        SkippedRecordWarning, match="test: made up-listing: of 6 records read, 1 broken ones were skipped"
    ):
        trainer(tmp_path).test(module, data)
    assert sorted(key for _, _, key in module.found) == ["r-0", "r-1", "r-2", "r-3", "r-5"]


def test_writers_write_before_the_shards_are_checked(tmp_path):
    class Writer(DataWriter):
        def prepare(self):
            write(tmp_path / "s", 4)

    data = ShardDataModule(test=[Source(str(tmp_path / "s"), Listing())], batch_size=4, writers=[Writer()])
    module = Reader()
    trainer(tmp_path).test(module, data)
    assert len(module.found) == 4


def test_mixed_precision_takes_the_batches(tmp_path):
    write(tmp_path / "s", 4)
    source = Source(str(tmp_path / "s"), Listing())
    data = ShardDataModule(train=[source], val=[source], batch_size=2)
    module = Reader()
    trainer(tmp_path, precision="bf16-mixed", num_sanity_val_steps=0).fit(module, data)
    assert len(module.found) == 4


def test_training_needs_a_source(tmp_path):
    with pytest.raises(ConfigError, match=r"data.train: there are no sources"):
        trainer(tmp_path).fit(Reader(), ShardDataModule(train=[], samples_per_epoch=8))


@pytest.mark.parametrize("stage", ["validate", "test", "predict"])
def test_evaluation_needs_a_source(tmp_path, stage):
    with pytest.raises(ConfigError, match=rf"data.{_split(stage)}: there are no sources"):
        getattr(trainer(tmp_path), stage)(Reader(), ShardDataModule())


def _split(stage):
    return "val" if stage == "validate" else stage


@pytest.mark.parametrize(("task", "why"), [(Silent(), "0 were broken"), (Listing(), "6 were broken")])
def test_a_source_that_gave_nothing_is_an_error(tmp_path, task, why):
    records = [record(index) for index in range(6)]
    records = [replace(item, image_bytes=item.image_bytes[:90]) for item in records] if "6" in why else records
    write_shards(records, tmp_path / "s", MANIFEST)
    data = ShardDataModule(test=[Source(str(tmp_path / "s"), task, name="lone")], batch_size=2, broken="skip")
    with pytest.raises(RecordError, match=f"source lone: none of its 6 records could be used; {why}"):
        trainer(tmp_path).test(Reader(), data)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_read_is_counted_by_split_and_source(tmp_path, workers):
    replace_image(tmp_path / "s", 4)
    counts = {}

    class Counted(Reader):
        def on_test_end(self):
            counts.update(self.trainer.datamodule.counts("test"))

        def on_fit_end(self):
            counts.update(self.trainer.datamodule.counts("fit"))

    sources = [Source(str(tmp_path / "s"), Listing()), Source(str(tmp_path / "s"), EvenOnly(), name="even")]
    data = ShardDataModule(
        train=sources[:1], val=sources, test=sources, batch_size=2, num_workers=workers, broken="skip"
    )
    every = {"made up-listing": {"read": 6, "used": 5, "broken": 1, "empty": 0}}
    every["even"] = {"read": 6, "used": 2, "broken": 1, "empty": 3}
    with pytest.warns(SkippedRecordWarning, match="test: even: of 6 records read, 1 broken .* skipped, 3 had nothing"):
        trainer(tmp_path).test(Counted(), data)
    assert counts == {"test": every}
    counts.clear()
    with pytest.warns(SkippedRecordWarning, match="val: even: of 6 records read"):
        trainer(tmp_path, num_sanity_val_steps=0, reload_dataloaders_every_n_epochs=1).fit(Counted(), data)
    assert counts["val"] == every
    [train] = counts["train"].values()
    assert train["read"] == train["used"] + train["broken"] >= 6
    assert data.counts("fit") == {}


def test_queries_that_do_not_fit_are_reported_before_training(tmp_path):
    write(tmp_path / "s", 8)

    class Short(Reader):
        def setup(self, stage):
            self.trainer.datamodule.connect(processors(max_length=80))

        def training_step(self, batch, batch_idx):
            raise AssertionError("nothing should be trained")

    source = Source(
        str(tmp_path / "s"), Listing(), strategies=[NegativeInjection(None, ["a name" * 20], 1)], name="long"
    )
    data = ShardDataModule(train=[Source(str(tmp_path / "s"), OneName())], val=[source], batch_size=2)
    with pytest.raises(QueryError, match="the language model takes at most 80"):
        trainer(tmp_path, num_sanity_val_steps=0).fit(Short(), data)


def test_rehearsal_counts_nothing_and_leaves_broken_records_to_their_turn(tmp_path):
    replace_image(tmp_path / "s", 0)
    data = connected(test=[Source(str(tmp_path / "s"), Listing())], batch_size=2, broken="skip")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data.test_dataloader()
    assert data.counts("test") == {"test": {"made up-listing": dict.fromkeys(("read", "used", "broken", "empty"), 0)}}
    with pytest.raises(RecordError, match="record r-0"):
        connected(test=[Source(str(tmp_path / "s"), Listing())], batch_size=2).test_dataloader()


def test_the_main_job_checks_its_test_before_it_trains(tmp_path):
    write(tmp_path / "s", 8)
    trained = []

    class Short(Reader):
        def setup(self, stage):
            self.trainer.datamodule.connect(processors(max_length=80))

        def training_step(self, batch, batch_idx):
            trained.append(batch_idx)
            return super().training_step(batch, batch_idx)

    def run(test):
        train = Source(str(tmp_path / "s"), OneName())
        quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
        job = JobTrainer(default_root_dir=tmp_path, enable_checkpointing=False, max_epochs=1, **quiet)
        job.run(Short(), ShardDataModule(train=[train], test=test, batch_size=2))

    one = Semantic()
    with pytest.raises(ShardError, match="nowhere: the folder does not exist"):
        run([Source(str(tmp_path / "nowhere"), one)])
    with pytest.raises(ConfigError, match="several sources are named"):
        run([Source(str(tmp_path / "s"), one), Source(str(tmp_path / "s"), one)])
    with pytest.raises(ConfigError, match="cannot score answers"):
        run([Source(str(tmp_path / "s"), Listing())])
    with pytest.raises(QueryError, match="the language model takes at most 80"):
        run([Source(str(tmp_path / "s"), one, strategies=[NegativeInjection(None, ["a name" * 20], 1)])])
    with pytest.raises(ConfigError, match=r"data.test: there are no sources"):
        run([])
    assert not trained
    run([Source(str(tmp_path / "s"), one, strategies=[ClassSampling(1), NegativeInjection()])])
    assert len(trained) == 4


def test_a_source_with_fewer_records_than_processes_is_refused_at_once(tmp_path, monkeypatch):
    write(tmp_path, 2)
    data = connected(test=[Source(str(tmp_path), Listing(), name="made up")])
    monkeypatch.setattr("lasagna.datamodules.checks.rank_and_world_size", lambda: (0, 3))
    with pytest.raises(ConfigError, match=r"data\.test: source made up has fewer records \(2\) than .* \(3\)"):
        data.setup("test")
