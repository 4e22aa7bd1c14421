"""Image encoder and mask decoder in ONNX Runtime, in an environment of its own."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json, sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lasagna.cli.export import export
from lasagna.integrations.onnx import with_runtime, write_onnx
from lasagna.modules.exported import load_resized
from lasagna.modules.tiny.weights import ASSISTANT
from tests.helpers.parts import sam_assistant

sam = sam_assistant()
folder, names = sys.argv[1], ["sky", "house", "tree", "dog"]
image = np.asarray(Image.open("docs/images/scene.png").convert("RGB"))
told = {}
for size in (None, (128, 160)):
    live = load_resized(ASSISTANT, size)
    export(str(ASSISTANT), f"{folder}/{size}", layout="onnx", int8=True, image_size=size)
    for int8 in (False, True):
        other = with_runtime(live, f"{folder}/{size}", int8)
        ious, apart, same = [], 0.0, True
        for picture in (image, image[20:90, :70], np.tile(image, (2, 3, 1))):
            answers = [one.answer(picture, names, probabilities=True).entries for one in (live, other)]
            for entry, found in zip(*answers):
                same &= entry.present == found.present
                if entry.present and found.present:
                    either = (entry.mask | found.mask).sum()
                    ious.append(float((entry.mask & found.mask).sum() / either) if either else 1.0)
                    difference = entry.probability.astype("f4") - found.probability.astype("f4")
                    apart = max(apart, float(np.abs(difference).max()))
        told[f"{size} {int8}"] = [float(np.mean(ious)), apart, bool(same), len(ious)]
    encoded = other.encode(torch.zeros(3, 3, *live.vision_encoder.image_size, dtype=torch.uint8))
    told["batch"] = len(encoded.features[0])
write_onnx(sam, Path(folder) / "sam")
other = with_runtime(sam, f"{folder}/sam")
with torch.no_grad():
    encoded = [one.encode(torch.stack([one.processors.image.pixels(image)] * 2)) for one in (sam, other)]
    states, index = torch.randn(40, sam.language_model.hidden_size), torch.arange(40) % 2
    drawn = [one._predict_masks(part, states, index).logits for one, part in zip((sam, other), encoded)]
told["sam"] = float((drawn[0] - drawn[1]).abs().max())
print(json.dumps(told))
"""


@pytest.mark.slow
def test_graphs_draw_the_masks_of_the_live_assistant(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "onnx", "onnxscript", "onnxruntime"], check=True)
    site = next((tmp_path / "env").rglob("site-packages"))
    (site / "borrowed.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n{ROOT}\n")
    run = subprocess.run(
        [python, "-c", SCRIPT, tmp_path], cwd=ROOT, check=True, capture_output=True, text=True, timeout=900
    )
    told = json.loads(run.stdout.splitlines()[-1])
    assert told.pop("batch") == 3
    assert told.pop("sam") < 1e-4
    assert len(told) == 4
    for name, (iou, apart, same, masks) in told.items():
        exact = name.endswith("False")
        assert masks >= 3, name
        assert same, name
        assert iou >= (0.999 if exact else 0.95), (name, iou)
        assert apart <= (0.001 if exact else 0.5), (name, apart)
