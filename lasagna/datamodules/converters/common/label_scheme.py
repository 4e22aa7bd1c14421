"""What the values or colours of a user's label images mean: classes, pixels of no class, and ignored pixels."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lasagna.core.prompt_format import normalise
from lasagna.core.record import Manifest
from lasagna.datamodules.converters.common.files import MOST_LISTED, label_pixels
from lasagna.datamodules.converters.common.label_maps import Colour, ColourLabels
from lasagna.datamodules.converters.common.names import other_labels, spoken_labels
from lasagna.errors import ConfigError, RecordError

Code = int | Colour
"""How label images show a class: a value in one channel, or a colour (red, green, blue)."""

VOID = ("void", "ignore", "ignored", "__ignore__", "unlabeled", "unlabelled")
BACKGROUND = ("background", "_background_", "__background__")
"""Names of classes that are none, unless options say otherwise."""

Labels = NDArray[np.uint8] | NDArray[np.uint16]
"""A label map ``[H, W]``."""


@dataclass(frozen=True)
class LabelScheme:
    """What the values or colours of label images mean.

    Args:
        names: Name of the class of each value of the label maps; colours have their rank in the file of classes.
        void: Values that count in no loss and no score.
        background: Values of annotated pixels that belong to no class.
        colours: Turns colours into values, or None if label images hold values.
        place: Where the classes are named, for messages.
    """

    names: Mapping[int, str]
    void: frozenset[int]
    background: frozenset[int]
    colours: ColourLabels | None
    place: str

    def manifest(self, name: str, unannotated: Literal["absent", "unknown"]) -> Manifest:
        """Return the manifest of a user's own data with such label images.

        Args:
            name: Name of the data set.
            unannotated: What it means that an image has no pixel of a class.
        """
        names = {value: word for value, word in self.names.items() if value not in self.void | self.background}
        said = spoken_labels(names.values())
        return Manifest(
            name=name,
            categories=tuple(dict.fromkeys(said.values())),
            labels={value: said[word] for value, word in names.items()},
            void=tuple(sorted(self.void - self.background)),
            background=tuple(sorted(self.background)),
            unannotated=unannotated,
            origin="the user's own data, label images",
            licence="the user's own",
            aliases=other_labels(said),
        )

    def notes(self) -> list[str]:
        """Return remarks about the named classes that are none."""
        none = sorted((self.void | self.background) & self.names.keys())
        return [
            f"{self.names[value]!r} {'belongs to no class' if value in self.background else 'is ignored'}"
            for value in none
        ]

    def read(self, source: Path | BytesIO, where: str) -> Labels:
        """Return the label map of a label image.

        Args:
            source: The file, or its content.
            where: What it is, for messages.

        Raises:
            RecordError: If it cannot be decoded, is JPEG, or has values or colours without a name.
        """
        if self.colours is not None:
            return self.colours.values_of(source, where)
        return self.checked(label_pixels(source, where), where)

    def checked(self, pixels: NDArray[np.generic], where: str) -> Labels:
        """Return the label map of the pixels of a label image that holds values, ``[H, W]`` or ``[H, W, C]``.

        Raises:
            RecordError: If they are not values in one channel or in equal ones, or some have no name.
        """
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        if pixels.ndim != 2 or pixels.dtype.kind not in "bui" or not 0 <= pixels.max(initial=0) < 1 << 16:
            raise RecordError(
                f"{where}: expected a value in one channel, as {self.place} names them, but this has shape "
                f"{pixels.shape} and {pixels.dtype}; name colours there, or export values"
            )
        labels: Labels = pixels.astype(np.uint8) if pixels.max(initial=0) < 1 << 8 else pixels.astype(np.uint16)
        known = self.names.keys() | self.void | self.background
        counts = np.bincount(labels.ravel())
        unknown = {value: int(counts[value]) for value in np.flatnonzero(counts).tolist() if value not in known}
        if unknown:
            shown = ", ".join(f"{value} ({count} pixels)" for value, count in [*unknown.items()][:MOST_LISTED])
            listed = ",".join(map(str, unknown))
            raise RecordError(
                f"{where}: {len(unknown)} values have no name: {shown}; name them in {self.place}, ignore them by "
                f"`--void {listed}`, or take them as pixels of no class by `--background {listed}`"
            )
        return labels


def label_scheme(classes: Mapping[Code, str], place: str, void: str | None, background: str | None) -> LabelScheme:
    """Return what the values or colours of classes mean.

    Args:
        classes: Name of each value or colour.
        place: Where the classes are named, for messages.
        void: Names or values that are ignored, separated by commas; None for those of classes that are called so.
        background: Names or values of no class, separated by commas; None for those of classes that are called so.

    Raises:
        ConfigError: If one of the two names a class that is not there.
    """
    names = {code if isinstance(code, int) else rank: name for rank, (code, name) in enumerate(classes.items())}
    colours = {code: rank for rank, code in enumerate(classes) if not isinstance(code, int)}
    way_out = f"name them in {place}, as 'void' if they are to be ignored"
    return LabelScheme(
        names,
        _chosen("void", void, VOID, names, not colours),
        _chosen("background", background, BACKGROUND, names, not colours),
        ColourLabels(colours, way_out) if colours else None,
        place,
    )


def _chosen(
    option: str, given: str | None, usual: Collection[str], names: Mapping[int, str], has_values: bool
) -> frozenset[int]:
    """Return the values of the classes that an option names, or else of those with a usual name."""
    wanted = usual if given is None else [part.strip() for part in given.split(",") if part.strip()]
    found: set[int] = set()
    for word in wanted:
        if named := {value for value, name in names.items() if normalise(name) == normalise(word)}:
            found |= named
        elif word.isdecimal() and has_values:
            found.add(int(word))
        elif given is not None:
            raise ConfigError(f"{option}: there is no class {word!r}; there are {', '.join(names.values())}")
    return frozenset(found)
