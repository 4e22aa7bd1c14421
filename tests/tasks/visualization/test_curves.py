import pytest
from matplotlib.figure import Figure
from PIL import Image

from lasagna.tasks.visualization.curves import _draw_panel, draw_curves, group_by_quantity, read_metrics

CSV = """epoch,step,train/loss,val/loss,val/iou/dataloader_idx_0,test/iou,lr-AdamW,val/s/recall/mine/names-1-4
0,1,2.0,,,,0.1,
0,2,1.5,1.7,0.3,,0.1,0.5
1,3,nan,,,,0.05,
1,4,1.0,1.2,0.4,0.5,,0.6
"""


@pytest.fixture
def metrics(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text(CSV)
    return file


def test_read_leaves_empty_cells_out(metrics):
    series = read_metrics(metrics)
    assert series["train/loss"] == [(1, 2.0), (2, 1.5), (4, 1.0)]
    assert series["val/loss"] == [(2, 1.7), (4, 1.2)]


def test_stages_share_a_panel_and_losses_come_first(metrics):
    panels = group_by_quantity(read_metrics(metrics))
    assert list(panels) == ["loss", "iou", "lr-AdamW"]
    assert list(panels["loss"]) == ["train", "val"]


def test_ticks_are_whole_steps_and_a_line_alone_is_named_in_the_title():
    axes = Figure().add_subplot()
    _draw_panel(axes, "lr", {"train": [(1, 0.1), (2, 0.2)]})
    assert axes.get_title() == "train/lr"
    assert axes.get_legend() is None
    assert all(tick == round(tick) for tick in axes.get_xticks())
    both = Figure().add_subplot()
    _draw_panel(both, "loss", {"train": [(1, 0.1), (2, 0.2)], "val": [(1, 0.1)]})
    assert both.get_title() == "loss"
    assert both.get_legend() is not None


def test_picture(metrics, tmp_path):
    assert draw_curves(metrics, tmp_path / "curves.png")
    assert Image.open(tmp_path / "curves.png").width > 400


def test_long_curves_are_smoothed(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("step,train/loss\n" + "\n".join(f"{step},{1 / (step + 1)}" for step in range(500)))
    assert draw_curves(file, tmp_path / "curves.png")


def test_nothing_to_draw(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("epoch,step,test/iou\n0,1,0.5\n")
    assert not draw_curves(file, tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "metrics.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="no column `step`"):
        read_metrics(file)
