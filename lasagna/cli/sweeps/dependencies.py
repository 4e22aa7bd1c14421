"""The files that decide what a run does: its configs, and the files that these name."""

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
    """Return the files with a digest of what is in them; comments in YAML do not count.

    Args:
        files: Files to begin with; what is not a file is passed over. What their YAML names is added: other YAML, from
            the working directory or the file's own folder, and modules of the working directory that hold a class.
    """
    found: dict[str, str] = {}
    ahead = [Path(file) for file in files]
    while ahead:
        file = ahead.pop()
        if _is_file(file) and str(file) not in found:
            content = _content(file)
            found[str(file)] = digest(file.read_bytes() if content is None else json.dumps(content).encode())
            ahead += [place for text in _texts(content) for place in _places(text, file.parent)]
    return dict(sorted(found.items()))


def digest(content: bytes) -> str:
    """Return a short digest."""
    return blake2b(content, digest_size=8).hexdigest()


def _is_file(file: Path) -> bool:
    try:
        return file.suffix in (*_YAML, ".py") and file.is_file()
    except (OSError, ValueError):
        # texts that no file system takes for a name
        return False


def _content(file: Path) -> Any:  # noqa: ANN401
    if file.suffix not in _YAML:
        return None
    try:
        return OmegaConf.to_container(OmegaConf.load(file))
    except Exception:
        # whatever is wrong with it, the run itself says so, with the place
        return None


def _texts(content: Any) -> Iterator[str]:  # noqa: ANN401
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for part in content:
            yield from _texts(part)
    elif isinstance(content, str):
        yield content


def _places(text: str, folder: Path) -> list[Path]:
    if text.endswith(_YAML):
        return [Path(text), folder / text]
    own = _OWN_CLASS.fullmatch(text)
    return [Path(f"{own[1]}.py")] if own else []
