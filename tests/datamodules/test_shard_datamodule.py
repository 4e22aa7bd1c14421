"""The datamodule checks before it works, writes what is missing, and reports what it left out."""

from __future__ import annotations

import warnings

import pytest
import torch
from data_fakes import MANIFEST, NAMES, EvenOnly, Listing, keys, preparation, record, write
from lightning import LightningModule, Trainer

from lasagna.datamodules import DataWriter, NegativeInjection, ShardDataModule, Source, write_shards
from lasagna.datamodules.skipped import SkippedRecordWarning
from lasagna.errors import ConfigError, RecordError, ShardError


def connected(**kwargs):
    data = ShardDataModule(**kwargs)
    data.connect(preparation())
    return data


class Reader(LightningModule):
    """Takes whatever comes, and counts it."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.found = []

    def setup(self, stage):
        self.trainer.datamodule.connect(preparation())

    def training_step(self, batch, batch_idx):
        return self.weight * batch.pixels.mean()

    def read(self, batch, batch_idx, dataloader_idx=0):
        self.found += [(dataloader_idx, sample.source, sample.key) for sample in batch.samples]

    validation_step = test_step = predict_step = read

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


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


def test_all_faults_of_a_stage_are_told_together_before_anything_runs(tmp_path):
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
    with pytest.raises(ConfigError, match="an epoch of 4 samples holds no batch of 5"):
        data.setup("fit")
    assert len(connected(train=[Source(str(tmp_path), Listing())], batch_size=3).train_dataloader()) == 1


def test_numbers_out_of_range_are_told_together():
    with pytest.raises(
        ValueError, match=r"`batch_size` must be at least 1, got 0; `num_workers` .* got -1; `samples_per"
    ):
        ShardDataModule(batch_size=0, evaluation_batch_size=1, num_workers=-1, samples_per_epoch=0)
    with pytest.raises(ValueError, match="`broken` must be 'error' or 'skip', got 'ignore'"):
        ShardDataModule(broken="ignore")
    with pytest.raises(ValueError, match="`weight` must be positive, got 0"):
        Source("somewhere", Listing(), weight=0)


def test_loaders_need_the_assistant(tmp_path):
    write(tmp_path, 4)
    data = ShardDataModule(train=[Source(str(tmp_path), Listing())], batch_size=2)
    with pytest.raises(RuntimeError, match=r"connect\(assistant.preparation\)"):
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
    with pytest.warns(SkippedRecordWarning, match="test: made up-listing: 1 broken records skipped"):
        trainer(tmp_path).test(module, data)
    assert sorted(key for _, _, key in module.found) == ["r-0", "r-1", "r-2", "r-3", "r-5"]


def test_warnings_about_single_records_end_and_the_count_goes_on(tmp_path):
    broken = [record(index) for index in range(15)]
    broken = [type(item)(item.key, item.image_bytes[:90], (9, 12), MANIFEST) for item in broken]
    write_shards([*broken, record(99)], tmp_path, MANIFEST)
    data = connected(val=[Source(str(tmp_path), Listing())], broken="skip", batch_size=2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert keys(data.val_dataloader()[0]) == [["r-99"]]
    texts = [str(warning.message) for warning in told if warning.category is SkippedRecordWarning]
    assert len(texts) == 10
    assert texts[-1].endswith("further ones are only counted")
    assert data.tallies["val"].broken == {"made up-listing": 15}


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
