"""The model for FiftyOne, through its zoo, its models and its labels.

FiftyOne needs an environment of its own (81 packages) and no database for what is tried here.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

SCRIPT = """
import json
import fiftyone as fo
import fiftyone.core.utils as fou
import fiftyone.zoo as foz
import numpy as np
from PIL import Image

import lasagna
import lasagna.errors

names = ["sky", "dog", "house"]
model = foz.load_zoo_model("lasagna", names=names, device="cpu")
image = np.asarray(Image.open("docs/images/scene.png").convert("RGB"))
with model:
    labels = model.predict(image)
sample = fo.Sample(filepath="docs/images/scene.png")
sample.add_labels(labels, label_field="lasagna")
answer = lasagna.load().answer(image, names)
found = {entry.name: entry for entry in answer.entries}
whole = []
for detection in sample.lasagna_detections.detections:
    drawn = detection.to_segmentation(frame_size=image.shape[1::-1], target=1).mask != 0
    whole.append(bool((drawn == found[detection.label].mask).all()))
other = foz.load_zoo_model("lasagna", names=names, device="cpu", confidence_thresh=1.0, thresholds={"dog": 0.0})
cut = [[one.label for one in other.predict(image)["detections"].detections]]
# as apply_model(confidence_thresh=0.5) does
with fou.SetAttributes(other.config, confidence_thresh=0.5):
    cut.append([one.label for one in other.predict(image)["detections"].detections])
refused = []
for options in ({"names": names, "thresholds": {"cat": 0.5}}, {"names": "sky"}):
    try:
        foz.load_zoo_model("lasagna", **options)
    except lasagna.errors.QueryError as error:
        refused.append(str(error))
clear, white = np.zeros((20, 20, 4), np.uint8), np.full((20, 20, 3), 255, np.uint8)
absent = [[one.confidence for one in model.predict(arg)["absent"].classifications] for arg in (clear, white)]
print(json.dumps({
    "white": absent[0] == absent[1],
    "detections": [detection.label for detection in sample.lasagna_detections.detections],
    "whole": whole,
    "absent": [one.label for one in sample.lasagna_absent.classifications],
    "same": bool((sample.lasagna_segmentation.mask == answer.label_map(names) + 1).all()),
    "targets": model.mask_targets,
    "media": model.media_type,
    "cut": cut,
    "refused": refused,
}))
"""


@pytest.mark.slow
def test_the_zoo_loads_an_assistant_whose_labels_are_those_of_python(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "fiftyone"], check=True)
    site = next((tmp_path / "env").rglob("site-packages"))
    (site / "borrowed.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n{ROOT}\n")
    shutil.copytree(ROOT / "examples" / "fiftyone_zoo", tmp_path / "zoo" / "fiftyone_zoo")
    settings = {**os.environ, "FIFTYONE_MODEL_ZOO_DIR": str(tmp_path / "zoo"), "HOME": str(tmp_path)}
    told = subprocess.run(
        [python, "-c", SCRIPT], cwd=ROOT, env=settings, check=True, capture_output=True, text=True, timeout=900
    )
    assert json.loads(told.stdout.splitlines()[-1]) == {
        "detections": ["sky", "house"],
        "whole": [True, True],
        "absent": ["dog"],
        "white": True,
        "same": True,
        "targets": {"1": "sky", "2": "dog", "3": "house"},
        "media": "image",
        "cut": [["dog"], ["sky", "dog", "house"]],
        "refused": [
            "thresholds: 'cat' is none of the names that are decided on ('sky', 'dog', 'house'); correct it or leave "
            "it out",
            "names: expected a list of names such as ['sky'], got the text 'sky'",
        ],
    }
