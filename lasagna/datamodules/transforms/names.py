"""Names of a data set that is mixed with others: one name for one thing, and none taken for absent that nobody drew."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np

from lasagna.core.prompt_formats import name_error
from lasagna.core.record import Manifest, Record
from lasagna.datamodules.shards.manifest import manifest_errors
from lasagna.datamodules.transforms.base import RecordTransform
from lasagna.errors import ConfigError


class MergedNames(RecordTransform):
    """Gives categories the names that another data set has for them, so that sets agree where they mean the same.

    Categories that get the same name become one, as oak and pine become "tree"; it is present where one of them is,
    and absent where all of them are. Old names are kept as aliases. The source's names are those afterwards, in scores
    too. It goes last among the transforms, which take the stored names.

    Args:
        names: Category to its new name.

    Raises:
        ValueError: If there are none.
    """

    def __init__(self, names: dict[str, str]) -> None:
        if not names:
            raise ValueError("MergedNames: `names` is empty; give at least one, or leave the transform out")
        self.names = dict(names)
        self._manifest: Manifest | None = None

    def for_source(self, source: Any) -> Self:  # noqa: ANN401
        """Return the transform with the names of a source.

        Raises:
            ConfigError: If a name is no category of the source, or a new one cannot be asked for.
        """
        manifest = source.shard_set.manifest
        check_categories(self, self.names, manifest)
        bound = copy(self)
        bound._manifest = self.of_manifest(manifest)
        errors = [error for name in dict.fromkeys(self.names.values()) if (error := name_error(name))]
        if errors := [*errors, *manifest_errors(bound._manifest)]:
            raise ConfigError(f"MergedNames: new names of {manifest.name!r}: {'; '.join(errors)}")
        return bound

    def of_manifest(self, manifest: Manifest) -> Manifest:
        """Return the manifest with the new names, and the old ones among their aliases."""
        categories = tuple(dict.fromkeys(map(self.said, manifest.categories)))
        others: dict[str, dict[str, None]] = {name: {} for name in categories}
        for name in manifest.categories:
            others[self.said(name)] |= dict.fromkeys((name, *manifest.aliases.get(name, ())))
        known = {*categories}
        aliases = {name: tuple(alias for alias in found if alias not in known) for name, found in others.items()}
        return replace(
            manifest,
            categories=categories,
            labels={value: self.said(name) for value, name in manifest.labels.items()},
            aliases={name: found for name, found in aliases.items() if found},
        )

    def said(self, name: str) -> str:
        """Return the new name of a category; that of others is their own."""
        return self.names.get(name, name)

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the record with the new names."""
        listed = {*record.absent}
        # one of several categories says nothing about the others
        open_names = {self.said(name) for name in record.manifest.categories if name not in listed}
        return replace(
            record,
            manifest=self._manifest or self.of_manifest(record.manifest),
            regions=tuple(replace(region, name=self.said(region.name)) for region in record.regions),
            absent=tuple(name for name in dict.fromkeys(map(self.said, record.absent)) if name not in open_names),
            unclear=tuple(dict.fromkeys(map(self.said, record.unclear))),
        )


class UnknownNames(RecordTransform):
    """Asks for no name that is not annotated on an image, because it may be there all the same.

    A data set that draws only some things of a category, or draws it on some images only, teaches that the others are
    absent. With this transform its annotated names are asked as before, and the names below where they are annotated.

    Args:
        names: The names of which annotations are incomplete; None for all, so that an image is asked for nothing but
            what it shows, and other data sets must teach what is absent.

    Raises:
        ValueError: If an empty list is given.
    """

    def __init__(self, names: Sequence[str] | None = None) -> None:
        if names is not None and not names:
            raise ValueError(
                "UnknownNames: `names` is empty; list at least one, set null for all names, or leave the transform out"
            )
        self.names = None if names is None else tuple(names)

    def for_source(self, source: Any) -> Self:  # noqa: ANN401
        """Return the transform itself.

        Raises:
            ConfigError: If a name is no category of the source.
        """
        check_categories(self, self.names or (), source.shard_set.manifest)
        return self

    def __call__(self, record: Record, rng: np.random.Generator) -> Record:
        """Return the record, in which names that are neither annotated nor listed as absent are unclear."""
        known = {*record.category_masks(), *record.absent}
        names = record.manifest.categories if self.names is None else self.names
        unknown = (name for name in names if name not in known)
        return replace(record, unclear=tuple(dict.fromkeys((*record.unclear, *unknown))))


def check_categories(owner: RecordTransform, names: Iterable[str], manifest: Manifest) -> None:
    """Check that names are categories of a data set.

    Args:
        owner: The transform that takes them, for the message.
        names: The names.
        manifest: Facts about the data set.

    Raises:
        ConfigError: If some are not.
    """
    if unknown := [name for name in names if name not in manifest.ranks]:
        raise ConfigError(
            f"{type(owner).__name__}: `names` are no categories of {manifest.name!r}: {unknown}; correct them, or "
            f"leave them out ({manifest.name!r} has {', '.join(manifest.categories[:40])})"
        )
