"""The data model, and the help of commands, start without the libraries that compute and plot."""

import subprocess
import sys

LIGHT = ("answer_json", "answer_parser", "dialogue", "images", "locks", "masks", "overlaps", "pages", "prompt_format")
LIGHT += ("prompt_formats", "record", "seeding")
HEAVY = ("torch", "torchvision", "transformers", "lightning", "matplotlib")
PLOTTING = ("report --help",)
"""What loads matplotlib and nothing heavier."""


def test_records_dialogues_and_prompt_formats_import_no_heavy_library():
    imports = "; ".join(f"import lasagna.core.{name}" for name in LIGHT)
    code = f"import sys; {imports}; print(*sorted({set(HEAVY)} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == []


def test_help_and_wrong_commands_import_no_heavy_library():
    lines = ["--help", "nonsense", "train --help", "configs --help", "predict --help", "evaluate --help"]
    lines += ["evaluate --nonsense", "export --help", "convert camvid --help", "verify --help", "sweep --help"]
    lines += ["inspect --help", "calibrate --help", "import --help", "pretrain --help", "label --help", "serve --help"]
    lines += ["push --help", "index --help", *PLOTTING]
    code = f"""
import sys
from lasagna.__main__ import main
for line in {lines}:
    try:
        main(line.split())
    except SystemExit:
        print("FOUND", line, *sorted({set(HEAVY)} & set(sys.modules)), sep=",")
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert [line for line in printed.splitlines() if line.startswith("FOUND")] == [
        f"FOUND,{line}" + (",matplotlib" if line in PLOTTING else "") for line in lines
    ]
