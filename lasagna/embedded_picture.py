"""Pictures within an HTML page, so that one file is all there is to hand on."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from pathlib import Path

from PIL import Image

_LARGE = 150_000
_QUALITY = 88


def data_uri(file: Path) -> str:
    """Return a PNG or JPEG as the address that holds it; a large PNG as JPEG where that is smaller.

    Args:
        file: The picture.
    """
    content = file.read_bytes()
    kind = "jpeg" if content.startswith(b"\xff\xd8") else "png"
    if kind == "png" and len(content) > _LARGE and len(jpeg := _as_jpeg(content)) < len(content):
        kind, content = "jpeg", jpeg
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def _as_jpeg(content: bytes) -> bytes:
    stream = BytesIO()
    with Image.open(BytesIO(content)) as image:
        # colours at full resolution: thin coloured letters stay legible
        image.convert("RGB").save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()
