"""Puts the configs into wheels; everything else about the build is in pyproject.toml."""

from pathlib import Path
from shutil import copytree

from setuptools import setup
from setuptools.command.build_py import build_py

CONFIGS = Path(__file__).parent / "configs"


class BuildWithConfigs(build_py):
    """Copies ``configs/`` to ``lasagna/configs/``; an editable installation finds them in the repository."""

    def run(self) -> None:
        """Build."""
        super().run()
        if not self.editable_mode:
            copytree(CONFIGS, Path(self.build_lib) / "lasagna" / "configs", dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithConfigs})
