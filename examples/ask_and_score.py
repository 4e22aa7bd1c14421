"""Load an assistant, ask it, plot and export its answer, and score it: a notebook as a script.

Run ``python examples/ask_and_score.py``, or open the file in an editor that runs cells (VS Code, PyCharm, Spyder, or
Jupyter through jupytext). Pictures and files go to ``predictions/``.
"""

# %% Load: without a path, the small assistant of the package, which knows drawn scenes
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import lasagna
from lasagna.core.seeding import generator
from lasagna.datamodules.scenes.settings import SceneSettings
from lasagna.datamodules.scenes.writer import scene_record
from lasagna.tasks import Semantic

OUT = Path("predictions")
OUT.mkdir(exist_ok=True)
assistant = lasagna.load()

# %% Ask: an entry for each name, present or absent
image = np.asarray(Image.open("docs/images/scene.png").convert("RGB"))
names = ["sky", "grass", "sun", "house", "oak", "umbrella"]
answer = assistant.answer(image, names)
print(answer)

# %% Plot: the masks over the image
figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
answer.plot(image, axes)
figure.savefig(OUT / "scene-answered.png")

# %% Export: masks as COCO results, and one label for each pixel
category_ids = {name: number for number, name in enumerate(names, start=1)}
results = answer.to_coco(image_id=1, categories=category_ids)
(OUT / "scene-coco.json").write_text(json.dumps(results), encoding="utf-8")
labels = answer.label_map(names, size=image.shape[:2])
print(f"{(labels >= 0).mean():.0%} of the pixels belong to one of the names")

# %% Score: ask about scenes whose truth is known
task = Semantic()
settings = SceneSettings(seed=7, split="notebook", count=4)
metrics = task.metrics(settings.manifest().categories)
for index in range(settings.count):
    record = scene_record(settings, index)
    for dialogue in task.dialogues(record, generator(0, 0, record.key)):
        scored = assistant.answer(record.image(), list(dialogue.query))
        for metric in metrics.values():
            metric.update(dialogue, scored)
for name, value in metrics.compute().items():
    print(f"{name}: {value:.3f}")
