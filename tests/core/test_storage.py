"""Files are written whole or not at all, and what goes wrong on a disk is one line."""

from __future__ import annotations

import errno
import json
import math
import os

import pytest
from safetensors import SafetensorError

from lasagna.cli.entry import is_input_error, message_of
from lasagna.core.storage import check_output, whole_file, write_json, writing
from lasagna.errors import OutputError


def full(place=None):
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), place)


def behind(error):
    """What torch makes of an error of the file that it writes to."""
    made = RuntimeError("unexpected pos 64 vs 0")
    made.__context__ = error
    return made


@pytest.mark.parametrize(
    "error",
    [full(), behind(full()), SafetensorError("I/O error: No space left on device (os error 28)")],
    ids=["system", "torch", "safetensors"],
)
def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, error):
    file = tmp_path / "scores.json"
    write_json(file, {"a": 1})
    with pytest.raises(OutputError) as caught, whole_file(file) as draft:
        draft.write_text("{")
        raise error
    assert str(caught.value) == (
        f"output: {file}: no space left on device; make room and run the same command again; what was written before "
        "is unchanged"
    )
    assert json.loads(file.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [file]


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(ZeroDivisionError), whole_file(tmp_path / "a"):
        raise ZeroDivisionError
    with pytest.raises(TimeoutError), writing(tmp_path):
        raise TimeoutError
    assert not list(tmp_path.iterdir())


def test_numbers_that_are_not_finite_are_null(tmp_path):
    write_json(tmp_path / "new" / "a.json", {"a": [math.nan, 1.5, (math.inf,)], "b": {"c": -math.inf}})
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == {"a": [None, 1.5, [None]], "b": {"c": None}}


def test_an_output_that_is_no_folder_or_denied_is_refused_early(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    for place in (file, file / "below"):
        with pytest.raises(OutputError, match=r"out: .*file is not a folder; choose another folder"):
            check_output(place)
    check_output(tmp_path / "new" / "one")
    assert not (tmp_path / "new").exists()
    monkeypatch.setattr(os, "access", lambda place, mode: False)
    with pytest.raises(OutputError, match=f"trainer.default_root_dir: {tmp_path} cannot be written to: permission"):
        check_output(tmp_path / "new", "trainer.default_root_dir")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.ENOENT])
def test_commands_show_errors_of_files_in_one_line(number):
    error = OSError(number, os.strerror(number), "runs/a.ckpt")
    assert is_input_error(error)
    assert message_of(error).startswith(f"runs/a.ckpt: {os.strerror(number).lower()}; ")
    assert "\n" not in message_of(error)
    assert not is_input_error(OSError(errno.EPIPE, "broken pipe"))
