"""A run that takes seconds: few scenes, few steps, parts without pretrained weights."""

from pathlib import Path

from lasagna.datamodules.scenes.writer import SceneWriter

CONFIG = """
threads: 1
model:
  init_args:
    assistant:
      init_args:
        vision_encoder: {{class_path: TinyVisionEncoder, init_args: {{weights: random, image_size: [32, 32]}}}}
        language_model:
          class_path: TinyLanguageModel
          init_args: {{weights: random, projector: random, image_grid: [2, 2]}}
        mask_head: {{class_path: TinyMaskHead, init_args: {{weights: random}}}}
    optimiser: {{warmup_steps: 2}}
data:
  init_args:
    writers: []
    train:
      - {{shards: {scenes}/train, task: {{class_path: Semantic}}}}
      - {{shards: {scenes}/train, task: {{class_path: Referring}}}}
    val:
      - {{shards: {scenes}/val, task: {{class_path: Semantic}}}}
    test:
      - {{shards: {scenes}/test, task: {{class_path: Semantic}}}}
    predict:
      - {{shards: {scenes}/test, task: {{class_path: Semantic}}}}
    batch_size: 4
    evaluation_batch_size: 4
    samples_per_epoch: 24
    num_workers: 0
trainer:
  accelerator: cpu
  max_steps: 3
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: RunLogger
    init_args: {{folder: "${{trainer.default_root_dir}}"}}
  callbacks:
    - {{class_path: RunCheckpoint, init_args: {{every_n_steps: 2}}}}
    - {{class_path: RunSummary}}
    - {{class_path: PredictionSheet, init_args: {{count: 2}}}}
    - {{class_path: AnswerWriter}}
"""


def write_scenes(folder: Path) -> Path:
    """Write a few scenes and return their folder."""
    SceneWriter(str(folder), train=16, val=4, test=4, size=32, processes=1).prepare()
    return folder


def write_config(folder: Path, scenes: Path) -> Path:
    """Write the config of a tiny run and return its path."""
    file = folder / "tiny.yaml"
    file.write_text(CONFIG.format(scenes=scenes), encoding="utf-8")
    return file
