"""Pairs of an evaluation: both names are asked of both images, in the same way, whatever process asks."""

from types import SimpleNamespace

import numpy as np
import pytest

from lasagna.core.query_kind import QueryKind
from lasagna.datamodules import ClassSampling, FixedWording, MergedNames, Source, write_shards
from lasagna.datamodules.scenes.settings import SceneSettings
from lasagna.datamodules.scenes.writer import write_scenes
from lasagna.datamodules.shards.codec import record_key
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.datamodules.shards.reader import ShardSplit
from lasagna.datamodules.transforms.geometric import RandomCrop
from lasagna.tasks import Instances, Reasoning, Referring, Semantic
from lasagna.tasks.evaluation.pair_section import pair_section
from lasagna.tasks.evaluation.run_list import make_runs
from lasagna.tasks.evaluation.run_metrics import metrics_for
from lasagna.tasks.evaluation.scoring import EvaluationResult
from tests.helpers.made_answers import answer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder / "drawn", SceneSettings(0, "test", 8, size=48), 0)
    drawn = Source(str(folder / "drawn"), Semantic())
    write_shards(drawn.records(), folder / "stored", drawn.manifest)
    return folder


def run_of(shards, task, **options):
    data = SimpleNamespace(sources={"test": [Source(str(shards), task, **options)]})
    runs = make_runs(data, "test", seed=0, decodings=None, controls=["counterfactual"], limit=None)
    return runs[-1] if len(runs) > 1 else None


class Phrases(Referring):
    """Phrases that are asked by a kind of a user's own."""

    def __init__(self, kind):
        super().__init__()
        self.kinds = (kind,)


@pytest.mark.parametrize(
    ("way", "task"), [("drawn", Semantic()), ("drawn", Phrases(QueryKind("spotted"))), ("stored", Instances())]
)
def test_both_names_are_asked_of_both_images(folder, way, task):
    run = run_of(folder / way, task)
    assert run.name.endswith("-counterfactual")
    raws = list(run.raw())
    assert len(raws) == 16 and len({record_key(raw) for raw in raws}) == 16
    asked = [run.ask(raw) for raw in raws]
    pairs = [pair for pair in zip(asked[::2], asked[1::2], strict=True) if pair != (None, None)]
    assert len(pairs) >= 4
    metric, presence = metrics_for(run).values()
    assert metric.protocol == f"hallusegbench-{ {'stored': 'pasted'}.get(way, way) }"
    for image, twin in pairs:
        assert {dialogue.kind for dialogue in image.dialogues + twin.dialogues} == set(task.kinds)
        queries = [[dialogue.query for dialogue in sample.dialogues] for sample in (image, twin)]
        assert queries[0] == queries[1] and [len(names) for names in queries[0]] == [1, 1]
        present = [[any(e.present for e in d.entries) for d in sample.dialogues] for sample in (image, twin)]
        assert present == [[True, False], [False, True]]
        assert twin.record.key == f"{image.record.key}~twin"
        assert (run.image(image.record) != run.image(twin.record)).any()
        for sample in (image, twin):
            rows = []
            for dialogue in sample.dialogues:
                truth = {e.name: e.mask.decode() for e in dialogue.entries if e.present}
                rows.append(answer({dialogue.query[0]: truth.get(dialogue.query[0])}))
            samples = [SimpleNamespace(key=sample.record.key, dialogue=dialogue) for dialogue in sample.dialogues]
            run.task.score({"pairs": metric, "presence": presence}, samples, rows)
    found = {key.split("/")[0]: value.item() for key, value in metric.compute().items()}
    assert presence.compute()["il_mcc/lasagna-v1"] == 1
    perfect = ("iou_factual", "delta_iou_textual", "delta_iou_visual", "pair_accuracy")
    assert [found[name] for name in perfect] == [1.0] * 4 and found["cms_factual"] == 0


@pytest.mark.parametrize("control", ["same-set", "counterfactual"])
def test_controls_ask_in_the_wording_of_the_source(folder, control):
    strategies = [ClassSampling(3), FixedWording(2)]
    for task in (Semantic(), Referring()) if control == "counterfactual" else (Semantic(),):
        data = SimpleNamespace(sources={"test": [Source(str(folder / "drawn"), task, strategies=strategies)]})
        run = make_runs(data, "test", seed=0, decodings=None, controls=[control], limit=None)[-1]
        found = [dialogue for raw in run.raw() if (one := run.ask(raw)) is not None for dialogue in one.dialogues]
        assert control in run.controls and {dialogue.wording for dialogue in found} == {(2, 0)}


def test_processes_share_pairs_and_ask_the_same(folder):
    run, whole = run_of(folder / "drawn", Semantic()), {}
    for raw in run.raw():
        whole[record_key(raw)] = run.ask(raw)
    for part in range(2):
        for raw in run_of(folder / "drawn", Semantic()).raw(ShardSplit(part, 2)):
            sample, known = run.ask(raw), whole.pop(record_key(raw))
            assert (sample is None) == (known is None)
            if sample is not None:
                assert sample.record.image_bytes == known.record.image_bytes
    assert not whole


def test_transforms_change_both_images_alike(folder):
    run, sizes = run_of(folder / "drawn", Semantic(), transforms=[RandomCrop((0.7, 0.7), (1.0, 1.0))]), set()
    for image, twin in zip(*[(run.ask(raw) for raw in run.raw())] * 2, strict=True):
        assert (image is None) == (twin is None)
        if image is not None:
            same = (run.image(image.record) == run.image(twin.record)).all(-1)
            sizes.add(same.shape)
            assert same.mean() > 0.5, "the same part of the scene"
    assert sizes == {(40, 40)}


def test_pairs_are_asked_by_the_names_that_transforms_give(folder):
    names = {"oak": "tree", "pine": "tree", "boat": "ship", "car": "ship", "house": "ship"}
    run = run_of(folder / "drawn", Semantic(), transforms=[MergedNames(names)])
    queries = {dialogue.query for raw in run.raw() if (sample := run.ask(raw)) for dialogue in sample.dialogues}
    asked = {name for query in queries for name in query}
    assert asked & {"tree", "ship"} and not asked & names.keys()


def test_tasks_that_name_no_things_have_no_pairs(folder):
    for task in (
        Reasoning(),
        Phrases(QueryKind("told", words=True)),
        Phrases(QueryKind("said", masks=False, words=True)),
    ):
        assert run_of(folder / "drawn", task) is None
    assert run_of(folder / "drawn", Reasoning(phrase_kind="phrase")) is not None
    assert read_manifest(folder / "stored").settings != read_manifest(folder / "drawn").settings


def test_the_report_has_a_row_for_each_run_with_pairs():
    scores = {"ccms/hallusegbench-pasted": 0.5, "cms_factual/hallusegbench-pasted": 0.125, "giou/lisa": 1.0}
    scores |= {"ccms/hallusegbench/free/some-asked": 0.25, "pair_accuracy/lasagna-v1/free": 1.0}
    results = [EvaluationResult(SimpleNamespace(name=name), found) for name, found in (("x", scores), ("y", {}))]
    lines = pair_section(results, {"x": "x-pairs.png"})
    assert [line for line in lines if line.startswith("| x")] == [
        "| x | hallusegbench-pasted | - | - | - | 0.125 | - | 0.500 | - | - |",
        "| x | hallusegbench/free/some-asked | - | - | - | - | - | 0.250 | 1.000 | - |",
    ]
    assert pair_section(results[1:], {}) == []
    assert lines[-2].endswith("(x-pairs.png)")
    assert np.any(["cms_factual ↓" in line and " ccms |" in line for line in lines]), "nobody says which is better"
