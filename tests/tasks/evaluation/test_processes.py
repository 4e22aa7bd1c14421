"""Processes that share an evaluation: none writes what another one writes."""

import pytest

from lasagna.core.locks import BusyError
from lasagna.tasks.evaluation.predictions import check_free, opened, predictions_file


def test_a_part_that_another_process_writes_is_refused_and_not_mended(tmp_path):
    file = predictions_file(tmp_path, 1)
    with opened(file) as stream:
        stream.write('{"run": "half')
        stream.flush()
        with pytest.raises(BusyError, match=r"predictions-001\.jsonl; wait until it has finished"):
            check_free(tmp_path)
        with pytest.raises(BusyError), opened(file):
            pass
        check_free(tmp_path, first=2)
    assert file.read_text() == '{"run": "half'
    check_free(tmp_path)
