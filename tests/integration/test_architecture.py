"""The rules of the house: which package may import which, and where tests live."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE, TESTS = ROOT / "lasagna", ROOT / "tests"
FLOORS = {"errors": 0, "core": 1, "modules": 2, "datamodules": 2, "tasks": 3, "integrations": 4, "serving": 5, "cli": 6}
"""Each package may import those on lower floors, and itself."""

UNMIRRORED = {"helpers", "integration", "parity"}
"""Folders of tests that stand for no folder of the package."""


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """Yield the packages of lasagna that a module imports, within functions and for types as well."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("lasagna.") and "__version__" not in name)


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_downhill(floor):
    wrong = [
        f"{path.relative_to(ROOT)} imports lasagna.{other}"
        for path in modules()
        if path.relative_to(PACKAGE).with_suffix("").parts[0] == floor
        for other in set(imported(path))
        if other != floor and FLOORS.get(other, len(FLOORS)) >= FLOORS[floor]
    ]
    assert not wrong


def test_the_package_holds_rooms_rather_than_files():
    assert len(list(PACKAGE.glob("*.py"))) <= 5
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rooms <= set(FLOORS), f"give {rooms - set(FLOORS)} a floor in FLOORS"


def test_each_file_of_tests_is_named_after_the_module_that_it_tests():
    """``tests/core/test_masks.py`` and ``tests/core/test_masks_polygons.py`` both test ``lasagna/core/masks.py``."""
    astray = []
    for path in TESTS.rglob("test_*.py"):
        inner = path.relative_to(TESTS)
        if inner.parts[0] in UNMIRRORED:
            continue
        here = PACKAGE / inner.parent
        known = {one.stem.strip("_") for one in here.glob("*")}
        words = path.stem.removeprefix("test_").split("_")
        if not any("_".join(words[:stop]) in known for stop in range(1, len(words) + 1)):
            astray.append(str(inner))
    assert not astray


def test_each_folder_of_the_package_has_tests():
    """``lasagna/modules/mask_heads/`` has ``tests/modules/mask_heads/`` or ``tests/modules/test_mask_heads.py``."""
    folders = {path.parent.relative_to(PACKAGE) for path in modules() if path.name != "__init__.py"}
    missing = [
        str(folder)
        for folder in sorted(folders)
        if not any((TESTS / folder).glob("test_*.py"))
        and not (TESTS / folder.parent / f"test_{folder.name}.py").is_file()
    ]
    assert not missing
