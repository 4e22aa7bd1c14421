"""What is painted on: a picture and the map of what each pixel is."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image


@dataclass
class Canvas:
    """The picture and the map of codes, at twice the final size.

    Attributes:
        picture: RGB image.
        codes: One byte per pixel: a stuff index, or what a thing is given.
    """

    picture: Image.Image
    codes: Image.Image

    @classmethod
    def blank(cls, size: int) -> Canvas:
        """Make an empty canvas.

        Args:
            size: Width and height of the final picture.
        """
        side = (2 * size, 2 * size)
        return cls(Image.new("RGB", side), Image.new("L", side))

    def copy(self) -> Canvas:
        """Return an independent copy."""
        return Canvas(self.picture.copy(), self.codes.copy())
