"""The pretraining stages: what they teach is true of the scenes, and each runs and learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lasagna.core.batch import IGNORE_LABEL
from lasagna.core.seeding import generator
from lasagna.datamodules.scenes import CATEGORIES, COLOURS, draw_scene
from lasagna.modules.tiny.tokenizer import NO, YES
from lasagna.modules.tiny.weights import packaged_words
from lasagna.tasks.pretrain.language_model import ReadingStage
from lasagna.tasks.pretrain.mask_head import MaskHeadStage
from lasagna.tasks.pretrain.stage import ScenePool
from lasagna.tasks.pretrain.text_rows import FAINT, GRID, SYMBOLS, lesson, occupancy, symbol_grid
from lasagna.tasks.pretrain.vision_encoder import EncoderStage
from lasagna.tasks.pretrain.words import vocabulary


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(np.random.default_rng(seed)) for seed in range(8)]


@pytest.fixture(scope="module")
def reading(scenes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ReadingStage([lesson(scene, np.random.default_rng(seed)) for seed, scene in enumerate(scenes)], steps=4)


def test_words_in_the_package_are_those_of_the_pretraining():
    assert packaged_words() == vocabulary()
    assert len(set(vocabulary())) == len(vocabulary())


def test_symbols_say_what_shows_in_each_cell(scenes):
    for scene in scenes:
        grid = symbol_grid(scene).reshape(GRID, GRID, len(SYMBOLS))
        for row in range(GRID):
            for column in range(GRID):
                cell = scene.labels[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
                shown = {name for rank, name in enumerate(CATEGORIES) if (cell == rank).mean() >= FAINT}
                assert {name for name, value in zip(CATEGORIES, grid[row, column], strict=False) if value} == shown
        assert grid[..., -1].sum() == len(scene.things)
        colours = {name for name, value in zip(COLOURS, grid[..., -9:-1].max((0, 1)), strict=True) if value}
        assert colours <= {thing.colour for thing in scene.things}


def test_occupancy_is_full_where_a_mask_fills_most_of_a_cell():
    mask = np.zeros((96, 96), dtype=bool)
    mask[:16, 16:24], mask[16:20, :16] = True, True
    cells = occupancy(mask)
    assert cells.argmax() == 1
    assert cells[1] == 1
    assert cells[GRID] == 0.5
    assert cells.sum() == 1.5


def test_copying_hides_the_decisions_and_reading_supervises_them(reading):
    decisions = set(reading.text.answer_ids(YES + NO))
    copied = reading.make_batch(np.random.default_rng(0))
    assert copied.kind == "copy"
    assert not decisions & set(copied.labels.unique().tolist())
    assert len(copied.pointer_rows) == 0
    reading.copy_loss, kinds = 0.0, {}
    for seed in range(12):
        batch = reading.make_batch(np.random.default_rng(seed))
        kinds[batch.kind] = batch
    assert set(kinds) == {"list", "point", "question"}
    assert decisions & set(kinds["list"].labels.unique().tolist())
    reading.copy_loss = 1.0


def test_pointers_stand_before_present_decisions(reading):
    reading.copy_loss = 0.0
    yes = reading.text.answer_ids(YES)[0]
    for seed in range(6):
        batch = reading.make_batch(np.random.default_rng(seed))
        assert (batch.labels[batch.pointer_rows, batch.pointer_positions + 1] == yes).all()
        if batch.kind != "question":
            assert int((batch.labels == yes).sum()) == len(batch.pointer_rows)
    reading.copy_loss = 1.0


def test_content_is_the_sum_of_the_words_of_what_shows(reading):
    words = reading.model.llama.get_input_embeddings().weight
    symbols = torch.zeros(1, 1, len(SYMBOLS))
    symbols[0, 0, CATEGORIES.index("brick wall")], symbols[0, 0, -1] = 0.5, 2.0
    ids = reading.text.answer_ids("brick wall")
    wanted = 0.5 * words[ids].mean(0) + 2 * reading.centre
    torch.testing.assert_close(reading.content(symbols, torch.from_numpy(reading.names)[None])[0, 0], wanted)


@pytest.mark.parametrize(
    "make",
    [lambda pool: EncoderStage(pool, steps=12, batch_size=4), lambda pool: MaskHeadStage(pool, steps=12, batch_size=4)],
)
def test_stages_learn(make, scenes, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        stage = make(ScenePool(scenes))
        batch = stage.make_batch(generator(0, 0, "held out"))
        before = stage.losses(batch)["loss"].item()
        stage.run(tmp_path, precision="32-true")
        assert stage.losses(batch)["loss"].item() < before


def test_reading_stage_learns(reading, tmp_path):
    batch = reading.make_batch(np.random.default_rng(1))
    before = reading.losses(batch)["loss"].item()
    reading.run(tmp_path, precision="32-true")
    assert reading.losses(batch)["loss"].item() < before
    assert (batch.labels != IGNORE_LABEL).any()
