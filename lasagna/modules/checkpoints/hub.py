"""Assistants on the hub: folders of ``lasagna export`` under a name such as ``user/name``, read and written."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, cast

from lasagna.errors import CheckpointError, without_secrets

FILES = ("*.json", "*.safetensors", "*.bin", "*.yaml", "*.txt", "*.model", "README.md")
"""What is exchanged with the hub: weights, settings, vocabularies and the card; no code is fetched."""

AUTO_MODEL = "modeling_lasagna.py"
"""The file by which transformers loads an exported folder."""

PUSHED = (*FILES, AUTO_MODEL)
"""What is put on the hub."""

CARD = "README.md"

ENDPOINT = "HF_ENDPOINT"
"""Environment variable with the address of another hub, which the hub's library reads only when it is imported."""

_WORD = r"[A-Za-z0-9](?:[\w.-]*\w)?"
_NAME = re.compile(rf"(?P<name>{_WORD}/{_WORD})(?:@(?P<revision>[\w./-]+))?", re.ASCII)


def split_name(text: str) -> tuple[str, str | None] | None:
    """Split a name of the hub.

    Args:
        text: The name, perhaps with a revision: "user/name" or "user/name@revision".

    Returns:
        Name and revision; None if it has another form.
    """
    found = _NAME.fullmatch(text)
    return None if found is None else (found["name"], found["revision"])


def local_copy(path: str | Path, *, download: bool = False, revision: str | None = None) -> str | Path:
    """Return the folder on this machine that a name of the hub stands for.

    Args:
        path: A file or folder, which is returned as it is, or a name of the hub, "user/name" or "user/name@revision".
        download: Whether the network may be used; otherwise only the hub's local cache is.
        revision: Branch, tag or commit.

    Returns:
        The folder. What is no name of the hub, or is neither here nor to be downloaded, is returned as it is.

    Raises:
        CheckpointError: If the revision or the download of something that has none is asked for, or it is not found.
    """
    named = None if Path(path).exists() else split_name(str(path))
    asked = download or revision is not None
    if named is None:
        _check_path(Path(path), download, revision)
        return path
    name, at = named
    if at is not None and revision is not None and at != revision:
        raise CheckpointError(f"revision: got {revision!r} and {at!r} in {str(path)!r}; give one of them")
    try:
        return _snapshot(name, revision or at, download)
    except CheckpointError:
        if asked or at is not None:
            raise
        return path


def missing_hint(path: Path) -> str:
    """Return what to do if a path that is missing was meant as a name of the hub; empty if it cannot be one."""
    if split_name(path.as_posix()) is None or path.parent.exists() or path.suffix == ".ckpt":
        return ""
    return f"; a name of the hub is fetched by lasagna.load({path.as_posix()!r}, download=True)"


def _check_path(path: Path, download: bool, revision: str | None) -> None:
    if revision is not None:
        raise CheckpointError(
            f"revision: {str(path)!r} is no name of the hub, such as user/name, and has no revision {revision!r}; "
            "leave it out"
        )
    if download and not path.exists():
        raise CheckpointError(
            f"checkpoint: {str(path)!r} is neither here nor a name of the hub; give a file, a folder, or a name such "
            "as user/name"
        )


def _snapshot(name: str, revision: str | None, download: bool) -> Path:
    from huggingface_hub import snapshot_download

    with one_line(name, revision, download):
        found = Path(
            snapshot_download(
                name,
                revision=revision,
                allow_patterns=list(FILES),
                local_files_only=not download,
                endpoint=os.environ.get(ENDPOINT),
            )
        )
    if not any((found / file).is_file() for file in ("assistant.json", "config.json")):
        raise CheckpointError(
            f"checkpoint: {name!r} of the hub has no assistant.json; it holds no assistant of this package, choose "
            "another one"
        )
    return found


def push_files(
    files: Mapping[str, Path | bytes], name: str, *, private: bool = False, tag: str | None = None, message: str
) -> str:
    """Put the files of an assistant on the hub in one commit, and take away those of an earlier one.

    Args:
        files: Path in the repository to the file, or to its content.
        name: "user/name"; it is made if there is none. The hub's own settings say who you are.
        private: Whether a new repository is for you only.
        tag: Name of the new revision.
        message: Message of the commit.

    Returns:
        The commit, 40 digits.

    Raises:
        CheckpointError: If the hub refuses it or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi(endpoint=os.environ.get(ENDPOINT), library_name="lasagna")
    with one_line(name, None, True):
        api.create_repo(name, private=private or None, exist_ok=True)
        there = [file for file in api.list_repo_files(name) if any(fnmatch(file, form) for form in PUSHED)]
        operations: list[Any] = [CommitOperationAdd(place, content) for place, content in files.items()]
        operations += [CommitOperationDelete(file) for file in there if file not in files]
        commit = str(api.create_commit(name, operations, commit_message=message).oid)
        if tag is not None:
            api.create_tag(name, tag=tag, revision=commit)
    return commit


def folder_files(folder: Path) -> dict[str, Path | bytes]:
    """Return the files of a folder that go to the hub, by their paths in it; hidden ones stay."""
    inside = {file.relative_to(folder): file for file in sorted(folder.rglob("*")) if file.is_file()}
    return {
        place.as_posix(): file
        for place, file in inside.items()
        if any(fnmatch(place.name, form) for form in PUSHED) and not any(part.startswith(".") for part in place.parts)
    }


@contextmanager
def one_line(name: str, revision: str | None, download: bool) -> Iterator[None]:
    """Turn errors of the hub's library into an error of one line.

    Args:
        name: "user/name".
        revision: Branch, tag or commit.
        download: Whether the network is used.

    Raises:
        CheckpointError: If the hub refuses something or cannot be reached.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # the HTTP client's own errors have a base whose package depends on the version of the hub's library
    bases = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    known: tuple[type[Exception], ...] = (OSError, ValueError, *bases)
    try:
        yield
    except known as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"checkpoint: {_reason(error, name, revision, download)}") from error


def _reason(error: BaseException, name: str, revision: str | None, download: bool) -> str:
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    at = "" if revision is None else f" at revision {revision!r}"
    if not download:
        given = "" if revision is None else f", revision={revision!r}"
        return (
            f"{name!r}{at} is not complete in the hub's local cache; fetch it once with lasagna.load({name!r}{given}, "
            "download=True)"
        )
    if isinstance(error, RevisionNotFoundError):
        return f"{name!r} of the hub has no revision {revision!r}; name a branch, a tag or a commit of it"
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    if isinstance(error, RepositoryNotFoundError) or status in (401, 403):
        return (
            f"the hub has no {name!r}, or refuses it to you; check the name, and log in with `hf auth login` or the "
            "variable HF_TOKEN"
        )
    said = next(iter(without_secrets(str(error)).strip().splitlines()), type(error).__name__)
    return f"{name!r}{at} could not be exchanged with the hub ({said[:200]}); check the connection, and try again"
