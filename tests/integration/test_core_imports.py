"""The data model starts without the libraries that compute and plot, for commands that only read and write records."""

import subprocess
import sys

LIGHT = ("answer_json", "answer_parser", "dialogue", "images", "locks", "masks", "overlaps", "pages", "prompt_format")
LIGHT += ("prompt_formats", "record", "seeding")
HEAVY = ("torch", "torchvision", "transformers", "lightning", "matplotlib")


def test_records_dialogues_and_prompt_formats_import_no_heavy_library():
    imports = "; ".join(f"import lasagna.core.{name}" for name in LIGHT)
    code = f"import sys; {imports}; print(*sorted({set(HEAVY)} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert found == []
