"""Skipped records are counted, and the first ones are named."""

from __future__ import annotations

import warnings

from lasagna.datamodules import ShardDataModule, Source, write_shards
from lasagna.datamodules.streaming.skipped import SkippedRecordWarning
from tests.helpers.data_fakes import MANIFEST, Listing, keys, processors, record


def test_warnings_about_single_records_end_and_the_count_goes_on(tmp_path):
    broken = [record(index) for index in range(15)]
    broken = [type(item)(item.key, item.image_bytes[:90], (9, 12), MANIFEST) for item in broken]
    write_shards([*broken, record(99)], tmp_path, MANIFEST)
    data = ShardDataModule(val=[Source(str(tmp_path), Listing())], broken="skip", batch_size=2)
    data.connect(processors())
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert keys(data.val_dataloader()[0]) == [["r-99"]]
    texts = [str(warning.message) for warning in told if warning.category is SkippedRecordWarning]
    assert len(texts) == 10
    assert texts[-1].endswith("further ones are only counted")
    assert data.tallies["val"].broken == {"made up-listing": 15}
