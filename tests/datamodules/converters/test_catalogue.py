import re
from pathlib import Path

import pytest

from lasagna.__main__ import main
from lasagna.datamodules.converters.catalogue import CONVERTERS, find_converter

PAGE = Path(__file__).parents[3] / "docs" / "data_sets.md"


@pytest.mark.parametrize("name", CONVERTERS)
def test_every_converter_can_be_imported_and_says_what_it_takes(name, capsys):
    assert find_converter(name).__doc__
    with pytest.raises(SystemExit) as stopped:
        main(["convert", name, "--help"])
    assert stopped.value.code == 0
    assert "--source" in capsys.readouterr().out


def test_the_page_lists_every_data_set_and_no_other():
    cells = [line.split("|")[1] for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `")]
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == set(CONVERTERS)
