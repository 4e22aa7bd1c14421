"""The files that determine a run: its configs, and the files that these name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_YAML = (".yaml", ".yml")
_OWN_CLASS = re.compile(r"(\w+)\.\w+")


def file_digests(files: Iterable[str]) -> dict[str, str]:
    """Return a digest of the content of each file; comments in YAML do not count.

    Files that YAML names are added: other YAML files, relative to the working directory or the file's own folder, and
    modules of the working directory that contain a class.

    Args:
        files: Files to start with; other texts are ignored.
    """
    found: dict[str, str] = {}
    ahead = [Path(file) for file in files]
    while ahead:
        file = ahead.pop()
        if _is_file(file) and str(file) not in found:
            content = _content(file)
            found[str(file)] = digest(file.read_bytes() if content is None else json.dumps(content).encode())
            for text in _texts(content):
                if text.endswith(_YAML):
                    ahead += [Path(text), file.parent / text]
                elif own := _OWN_CLASS.fullmatch(text):
                    ahead.append(Path(f"{own[1]}.py"))
    return dict(sorted(found.items()))


def digest(content: bytes) -> str:
    """Return a short digest.

    Args:
        content: The bytes to digest.
    """
    return blake2b(content, digest_size=8).hexdigest()


def _is_file(file: Path) -> bool:
    try:
        return file.suffix in (*_YAML, ".py") and file.is_file()
    except (OSError, ValueError):
        # texts that cannot be file names
        return False


def _content(file: Path) -> Any:  # noqa: ANN401
    if file.suffix not in _YAML:
        return None
    try:
        return OmegaConf.to_container(OmegaConf.load(file))
    except Exception:
        # the run itself reports what is wrong with it, and where
        return None


def _texts(content: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _texts(part)
    elif isinstance(content, str):
        yield content
