"""Mapillary Vistas: street scenes from all over the world, with the classes of version 1.2 or 2.0.

Source: Neuhold et al. (ICCV 2017); the ``config`` files of the release.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from lasagna.core.record import Manifest, Region
from lasagna.datamodules.converters.common.base import Converter, LazySplits, Split
from lasagna.datamodules.converters.common.entries import read_json
from lasagna.datamodules.converters.common.files import LayoutError, read_file
from lasagna.datamodules.converters.common.label_maps import files_by_key, labelled_split, pair_up, with_objects
from lasagna.datamodules.converters.common.names import Names, named_manifest
from lasagna.datamodules.converters.common.object_maps import Runs, object_regions, read_numbers
from lasagna.errors import ConfigError

PARTS = {"train": ("training", "train"), "val": ("validation", "val")}
EXPECTED = """
  {training,validation}/images/<image>.jpg
  {training,validation}/v1.2/labels/<image>.png and v2.0/labels/<image>.png, or labels/<image>.png (only v1.2)
  config_v1.2.json and config_v2.0.json, or config.json (only v1.2)"""


class Mapillary(Converter):
    """Mapillary Vistas; label files stay as they are: palette images whose values are indices of the config's list.

    Classes that the config does not evaluate are ignored, among them always the last one, "Unlabeled". Names are the
    readable ones in lower case without punctuation ("Lane Marking - Arrow (Left)" is "lane marking arrow left").
    Objects are told apart where the files of instances are there, of the classes that have instances in the config.

    Args:
        source: The folder with the config files.
        version: Version of the classes: 1.2 has 65, 2.0 has 116.
    """

    def __init__(self, source: Path, version: Literal["1.2", "2.0"] = "2.0") -> None:
        if version not in ("1.2", "2.0"):
            raise ConfigError(f"version: {version!r} is not one of '1.2', '2.0'")
        self.source = source
        self.version = version

    def splits(self) -> Mapping[str, Split]:
        """Return the splits whose images exist.

        Raises:
            LayoutError: If the folder does not have the expected layout; later, if a split has images but no label
                files.
        """
        (manifest, things), parts = self._classes(), {}
        for name, folders in PARTS.items():
            for root in (self.source / folder for folder in folders):
                if (root / "images").is_dir():
                    parts[name] = partial(self._split, manifest, things, root)
        if not parts:
            raise LayoutError(f"source: {self.source} holds no images of Mapillary Vistas; expected{EXPECTED}")
        return LazySplits(parts)

    def _split(self, manifest: Manifest, things: frozenset[int], root: Path) -> Split:
        packaged = root / f"v{self.version}"
        flat = self.version == "1.2" and not (packaged / "labels").is_dir()
        folder = root if flat else packaged
        pairs = pair_up(files_by_key(root / "images", (".jpg",)), files_by_key(folder / "labels", (".png",)), str(root))
        objects = files_by_key(folder / "instances", (".png",)) if (folder / "instances").is_dir() else {}
        read = ReadThings({value: name for value, name in manifest.labels.items() if value in things})
        return labelled_split(manifest, with_objects(pairs, objects), read_file, read_objects=read)

    def _classes(self) -> tuple[Manifest, frozenset[int]]:
        """Return the manifest, and the label values of the classes whose objects are told apart."""
        files = [self.source / f"config_v{self.version}.json"]
        files += [self.source / "config.json"] if self.version == "1.2" else []
        found = next((path for path in files if path.is_file()), None)
        if found is None:
            older = [name for name in ("config.json", "config_v1.2.json") if (self.source / name).is_file()]
            hint = f"\nThere is {older[0]}; to use its classes, give `--version 1.2`" if older else ""
            raise LayoutError(f"source: there is no {' or '.join(map(str, files))}; expected{EXPECTED}{hint}")
        config = read_json(found)
        manifest = mapillary_manifest(config, self.version, found)
        things = (value for value, label in enumerate(config["labels"]) if label.get("instances"))
        return manifest, frozenset(things)


@dataclass(frozen=True)
class ReadThings:
    """Reads files of instances, whose values are the label value times 256, and a number.

    Args:
        names: Name of each class whose objects are told apart, by label value.
    """

    names: Mapping[int, str]

    def __call__(self, label: Path, path: Path) -> tuple[Region, ...]:
        """Return the objects in a file.

        Args:
            label: The label file, whose values those of instances contain.
            path: The file of instances.

        Raises:
            RecordError: If the file cannot be decoded, or has more than one channel.
        """
        runs = Runs.of(read_numbers(path))
        things = {number: self.names[number // 256] for number in runs.areas() if number // 256 in self.names}
        return object_regions(runs, things, {})


def mapillary_manifest(config: Any, version: str, path: Path) -> Manifest:  # noqa: ANN401
    """Return the manifest of the classes in a config file.

    Args:
        config: Its content.
        version: Version of the classes.
        path: Where it is, for messages.

    Raises:
        LayoutError: If it is not such a config.
    """
    try:
        labels = [(spoken(label["readable"]), label["readable"], bool(label["evaluate"])) for label in config["labels"]]
    except (KeyError, TypeError) as error:
        raise LayoutError(f"{path}: not a config of Mapillary Vistas (missing: {error})") from error
    names: Names = {
        value: (name, readable) if name != readable.lower() else (name,)
        for value, (name, readable, evaluated) in enumerate(labels)
        if evaluated
    }
    return named_manifest(
        f"mapillary-vistas-{version}",
        names,
        origin=f"Mapillary Vistas, classes of version {version}",
        licence="CC BY-NC-SA; terms of mapillary.com",
        void=tuple(value for value in range(len(labels)) if value not in names),
    )


def spoken(readable: str) -> str:
    """Return a readable name in lower case, without brackets and dashes."""
    return " ".join(re.sub(r"[()]|\s-\s", " ", readable).lower().split())
