"""Pages that hold their pictures."""

import re
from base64 import b64decode

import numpy as np
from PIL import Image

from lasagna.core.pages import to_page


def test_pages_hold_their_pictures_and_large_photographs_as_jpeg(tmp_path):
    Image.new("RGB", (40, 30), "red").save(tmp_path / "plot.png")
    Image.new("RGB", (40, 30), "red").save(tmp_path / "sheet.jpg")
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 4), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "photo.png")
    text = "![a plot](plot.png)\n\n![a sheet](sheet.jpg)\n"
    shown = re.findall(r'src="data:image/(\w+);base64,(.+?)"', to_page("P", text, ["photo.png"], tmp_path))
    assert [kind for kind, _ in shown] == ["png", "jpeg", "jpeg"]
    held = [b64decode(content, validate=True) for _, content in shown]
    assert held[:2] == [(tmp_path / name).read_bytes() for name in ("plot.png", "sheet.jpg")]
    assert len(held[2]) < (tmp_path / "photo.png").stat().st_size
