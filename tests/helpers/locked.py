"""A process that holds the lock of a folder."""

import subprocess
import sys
from contextlib import contextmanager

_CODE = """
import sys
from pathlib import Path
from lasagna.core.locks import locked_folder
with locked_folder(Path(sys.argv[1]), "busy"):
    print("locked", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def held_folder(folder):
    """Hold a folder's lock in another process, until that reads a line or is killed."""
    command = [sys.executable, "-c", _CODE, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()
