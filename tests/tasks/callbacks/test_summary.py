import json
from io import BytesIO

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from PIL import Image
from torch.utils.data import DataLoader

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.batch import Sample
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Record
from lasagna.datamodules import ShardDataModule, Source, write_shards
from lasagna.modules import Assistant, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.tasks import Semantic
from lasagna.tasks.callbacks.prediction_sheet import ExampleChoice
from lasagna.tasks.callbacks.summary import PredictionSheet, RunSummary, read_scores

IMAGE = np.full((24, 24, 3), 100, dtype=np.uint8)
MASK = np.eye(24, dtype=bool)


class Toy(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch):
        loss = self.layer(batch).square().mean()
        self.log("train/loss", loss)
        return loss

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("test/iou", torch.tensor(0.25), batch_size=1)
        self.log("test/toy/recall/mine/names-1-4", torch.tensor(0.5), batch_size=1)
        self.log("test/nothing", torch.tensor(float("nan")), batch_size=1)
        complex_one = Dialogue("categories", ("sky", "dog"), (Entry("sky", True, RLEMask.from_array(MASK)),))
        question = Dialogue("question", ("how many?",), text="two")
        key = f"{dataloader_idx}-{batch_idx}"
        samples = [
            Sample("toy", key, 0, complex_one),
            Sample("toy", key, 0, complex_one),
            Sample("toy", key, 1, question),
        ]
        answer = Answer("", (AnsweredEntry("sky", True, 0.9, MASK), AnsweredEntry("dog", False, 0.1)), ("missing",))
        return {"samples": samples, "answers": [answer, answer, Answer("two")], "images": [IMAGE, IMAGE]}

    def validation_step(self, batch, batch_idx):
        self.log("val/iou", torch.tensor(0.75))

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trainer(folder, *callbacks, **options):
    logger = CSVLogger(folder, name="", version="")
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "log_every_n_steps": 1}
    return Trainer(logger=logger, max_epochs=1, callbacks=list(callbacks), default_root_dir=folder, **quiet, **options)


def data(count=4):
    return DataLoader(torch.ones(count, 1), batch_size=1)


@pytest.mark.filterwarnings("ignore")
def test_a_run_leaves_scores_curves_and_sheet(tmp_path, capsys):
    run = trainer(tmp_path, RunSummary(), PredictionSheet(count=4), enable_checkpointing=False)
    model = Toy()
    run.fit(model, data())
    run.test(model, [data(), data()], verbose=False)
    content = json.loads((tmp_path / "scores.json").read_text())
    assert content["stages"]["fit"]["steps"] == 4
    scores = content["stages"]["test"]["scores"]
    assert {value for name, value in scores.items() if name.startswith("test/iou")} == {0.25}
    assert {value for name, value in scores.items() if name.startswith("test/nothing")} == {None}
    assert content["stages"]["test"]["seconds"] >= 0
    assert content["machine"]["cores"] >= 1
    assert torch.__version__.startswith(content["versions"]["torch"].split("+")[0])
    assert set(content["seeds"]) == {"everything", "data", "model"}
    assert Image.open(tmp_path / "curves.png").width > 300
    assert Image.open(tmp_path / "predictions.png").width > 900
    printed = capsys.readouterr().out
    assert "test/iou" in printed
    assert "names-1-4" not in printed


@pytest.mark.filterwarnings("ignore")
def test_a_later_test_keeps_what_fit_wrote(tmp_path):
    trainer(tmp_path, RunSummary(), enable_checkpointing=False).fit(Toy(), data())
    trainer(tmp_path, RunSummary(), enable_checkpointing=False).test(Toy(), data(), verbose=False)
    assert set(read_scores(tmp_path / "scores.json")["stages"]) == {"fit", "test"}


@pytest.mark.filterwarnings("ignore")
def test_a_fast_dev_run_writes_nothing(tmp_path):
    run = trainer(tmp_path, RunSummary(), PredictionSheet(), fast_dev_run=True)
    run.fit(Toy(), data())
    run.test(Toy(), data(), verbose=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
def test_the_sheet_takes_each_record_once_a_kind_and_shares_its_room(tmp_path):
    sheet = PredictionSheet(count=6)
    trainer(tmp_path, sheet).test(Toy(), [data(), data()], verbose=False)
    kinds = [(case.note.split(" - ")[1], bool(case.text)) for case in sheet._choice.examples]
    assert len(kinds) == len(set(kinds)) == 6
    assert [key[0] for key, _ in kinds] == ["0", "0", "0", "1", "1", "1"]
    assert "1 missing" in sheet._choice.examples[0].note


class Fed(Toy):
    """Reads from a ShardDataModule."""

    def setup(self, stage):
        parts = (part(weights="random") for part in (TinyVisionEncoder, TinyLanguageModel, TinyMaskHead))
        whole = Assistant(*parts, prompt_format="tiny")
        whole.configure_model()
        self.trainer.datamodule.connect(whole.processors)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("broken", [0, 1])
def test_left_out_records_are_part_of_the_result(tmp_path, broken, capsys):
    manifest = Manifest("made", ("sky",), {0: "sky"})
    picture, labels = (png(np.zeros(size, np.uint8)) for size in ((24, 24, 3), (24, 24)))
    cut = [index < broken for index in range(4)]
    records = [
        Record(f"r-{index}", picture[:40] if short else picture, (24, 24), manifest, label_bytes=labels)
        for index, short in enumerate(cut)
    ]
    write_shards(records, tmp_path / "s", manifest)
    capsys.readouterr()
    shards = ShardDataModule(test=[Source(str(tmp_path / "s"), Semantic(), name="mine")], broken="skip")
    trainer(tmp_path, RunSummary(), enable_checkpointing=False).test(Fed(), datamodule=shards, verbose=False)
    records = read_scores(tmp_path / "scores.json")["stages"]["test"]["records"]
    assert records == {"test": {"mine": {"read": 4, "used": 4 - broken, "broken": broken, "empty": 0}}}
    assert ("test/mine/records/broken" in capsys.readouterr().out) == bool(broken)


def png(pixels):
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.mark.filterwarnings("ignore")
def test_a_validation_by_itself_is_kept_and_one_while_training_is_not(tmp_path, capsys):
    trainer(tmp_path, RunSummary(), enable_checkpointing=False).fit(Toy(), data(), data())
    assert set(read_scores(tmp_path / "scores.json")["stages"]) == {"fit"}
    trainer(tmp_path, RunSummary(), enable_checkpointing=False).validate(Toy(), data(), verbose=False)
    stages = read_scores(tmp_path / "scores.json")["stages"]
    assert stages["validate"]["scores"] == {"val/iou": 0.75}
    assert "val/iou" in capsys.readouterr().out


def sample(key, *names, kind="referring"):
    entries = tuple(Entry(name, True, RLEMask.from_array(MASK)) for name in names)
    return Sample("toy", key, 0, Dialogue(kind, ("phrase",), entries))


def chosen(room, *offers):
    choice = ExampleChoice(room)
    for source, key, *names in offers:
        choice.offer(source, sample(key, *names), lambda key=key, names=names: (key, *names))
    return choice.examples


def test_sources_show_different_records_while_there_are_some():
    assert chosen(1, (0, "a", "x"), (1, "a", "x"), (1, "b", "x"), (1, "c", "x")) == [("a", "x"), ("b", "x")]
    assert chosen(1, (0, "a", "x"), (1, "a", "x")) == [("a", "x"), ("a", "x")]


def test_a_phrase_that_fits_nothing_is_shown():
    assert chosen(2, (0, "a", "x"), (0, "b", "x"), (0, "c"), (0, "d")) == [("a", "x"), ("c",)]
    assert chosen(2, (0, "a", "x"), (0, "b", "x"), (0, "a")) == [("a",), ("b", "x")]
    assert chosen(2, (0, "a"), (0, "b", "x"), (0, "c")) == [("a",), ("b", "x")]


def test_bad_counts():
    with pytest.raises(ValueError, match="positive"):
        PredictionSheet(count=0)


@pytest.mark.parametrize("content", ["[]", "{}", '{"stages": 3}', "{"])
def test_other_json_is_no_scores_file(tmp_path, content):
    file = tmp_path / "scores.json"
    file.write_text(content)
    with pytest.raises(ValueError):
        read_scores(file)
