"""One process at a time works in a folder."""

import sys
import threading

import pytest

from lasagna.core.locks import BusyError, locked_folder
from tests.helpers.locked import held_folder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")


def test_a_folder_is_refused_until_the_other_process_ends(tmp_path):
    with held_folder(tmp_path):
        with pytest.raises(BusyError, match=r"^someone is there$"), locked_folder(tmp_path, "someone is there"):
            pass
        assert not list(tmp_path.iterdir())
    with locked_folder(tmp_path, "someone is there"), locked_folder(tmp_path, "the same process may lock it again"):
        pass


def test_a_patient_process_waits_and_says_so(tmp_path, capsys):
    with held_folder(tmp_path) as holder:
        threading.Timer(0.3, holder.communicate, ("\n",)).start()
        with locked_folder(tmp_path, "someone is there", patience=60):
            assert holder.wait(timeout=10) == 0
    assert capsys.readouterr().err == "waiting: someone is there\n"
