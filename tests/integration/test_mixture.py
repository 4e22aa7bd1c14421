"""The real path: COCO and CamVid, converted from their releases, and scenes, trained on in one mixture."""

import csv
import json
from pathlib import Path

import pytest

from lasagna.cli.train import main
from lasagna.datamodules.converters import CamVid, convert
from lasagna.datamodules.converters.coco_panoptic import CocoPanoptic
from lasagna.datamodules.scenes.writer import SceneWriter

STEPS = 200
CONFIG = """
model:
  init_args:
    optimiser: {{lr: 1.0e-3}}
data:
  init_args:
    writers: []
    train:
      - {{shards: {place}/camvid/train, name: camvid, weight: 1.0, task: {{class_path: Semantic}}}}
      - {{shards: {place}/coco/train, name: coco, weight: 1.0, task: {{class_path: Semantic}}}}
      - {{shards: {place}/scenes/train, name: scenes, weight: 1.0, task: {{class_path: Semantic}}}}
      - {{shards: {place}/scenes/train, name: phrases, weight: 1.0, task: {{class_path: Referring}}}}
    val: []
    test:
      - {{shards: {place}/coco/val, name: coco, task: {{class_path: Semantic}}}}
    evaluation_strategies:
      - {{class_path: ClassSampling, init_args: {{limit: 16}}}}
      - {{class_path: NegativeInjection}}
    strategies:
      - {{class_path: ClassSampling, init_args: {{limit: 12, least: 4}}}}
      - {{class_path: NegativeInjection}}
      - {{class_path: OrderRandomization}}
    batch_size: 8
    evaluation_batch_size: 4
    num_workers: 2
trainer:
  accelerator: cpu
  max_steps: {steps}
  log_every_n_steps: 1
  enable_progress_bar: false
"""


@pytest.mark.slow
@pytest.mark.shared
def test_photographs_and_scenes_in_one_mixture(shared: Path, tmp_path: Path):
    convert(CamVid(shared / "data" / "camvid"), tmp_path / "camvid")
    convert(CocoPanoptic(shared / "data" / "coco"), tmp_path / "coco")
    SceneWriter(str(tmp_path / "scenes"), train=200, val=0, test=0, processes=2).prepare()
    config = tmp_path / "mixture.yaml"
    config.write_text(CONFIG.format(place=tmp_path, steps=STEPS), encoding="utf-8")
    main([f"--config={config}", f"--trainer.default_root_dir={tmp_path / 'run'}"])
    stages = json.loads((tmp_path / "run" / "scores.json").read_text())["stages"]
    used = {name: counts["used"] for name, counts in stages["fit"]["records"]["train"].items()}
    assert set(used) == {"camvid", "coco", "scenes", "phrases"}
    # the last batches may be counted after the end; four sources of equal weight come to about a quarter each
    assert min(used.values()) > 0.7 * max(used.values()), used
    assert sum(used.values()) > 0.5 * STEPS * 8, used
    assert all(counts["broken"] == 0 for counts in stages["fit"]["records"]["train"].values())
    rows = csv.DictReader((tmp_path / "run" / "metrics.csv").open())
    losses = [float(row["train/loss"]) for row in rows if row.get("train/loss")]
    assert len(losses) >= STEPS
    assert sum(losses[-40:]) < 0.7 * sum(losses[:40])
    assert 0 <= stages["test"]["scores"]["test/coco/miou/lasagna-v1"] <= 1
