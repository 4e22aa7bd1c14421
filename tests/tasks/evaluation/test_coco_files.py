"""The files of COCO's formats give the scores of the report again, by pycocotools and by panopticapi's rule."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lasagna.core.answer import Answer, AnsweredEntry
from lasagna.core.masks import RLEMask
from lasagna.core.record import Manifest, Record, Region
from lasagna.datamodules import Source, write_shards
from lasagna.errors import ConfigError
from lasagna.tasks import GroundedCaption, Instances, Panoptic, Presence, Semantic, collect
from lasagna.tasks.evaluation.coco_files import category_ids, id_colours, image_ids, write_coco_files
from lasagna.tasks.evaluation.predictions import begin, opened, predictions_file, read_lines, to_json
from lasagna.tasks.evaluation.runs import EvaluationRun
from lasagna.tasks.evaluation.scoring import score_run
from tests.helpers.made_records import png

NAMES, SIZE = ("sky", "sea", "dog", "cat"), (24, 32)
MADE = Manifest("made", NAMES, labels={7: "sky", 9: "sea", 21: "dog", 30: "cat"}, void=(255,))


def made_record(rng, key):
    """Sky over sea with three animals each, a crowd of dogs and a strip of void."""
    labels = np.full(SIZE, 7, np.uint8)
    labels[12:] = 9
    objects = {"dog": [], "cat": []}
    for rank, (top, left) in enumerate([(1, 1), (2, 12), (10, 22), (15, 2), (16, 12), (14, 22)]):
        name = rng.choice(["dog", "cat"])
        height, width = rng.integers(3, 8, 2)
        labels[top : top + height, left : left + width] = {"dog": 21, "cat": 30}[name]
        pixels = np.zeros(SIZE, bool)
        pixels[top : top + height, left : left + width] = True
        objects[name].append((rank, RLEMask.from_array(pixels)))
    crowd = {"dog": [mask for rank, mask in objects["dog"] if rank == 5]}
    labels[:, 30:] = 255
    regions = [
        Region.of_objects(name, [mask for _, mask in found if mask not in crowd.get(name, [])], crowd.get(name, []))
        for name, found in objects.items()
        if found
    ]
    return Record(key, png(np.zeros((*SIZE, 3))), SIZE, MADE, tuple(regions), label_bytes=png(labels))


def moved(mask, rng):
    return np.roll(mask.decode(), rng.integers(0, 2, 2), (0, 1))


def answer(dialogue, rng):
    """Each true mask a little off; some are lost, and some names get a mask that is nobody's."""
    claims, stray = [], np.zeros(SIZE, bool)
    stray[rng.integers(0, 18) :, :4] = True
    for name in dialogue.query:
        entry = next((entry for entry in dialogue.entries if entry.name == name), None)
        true = [] if entry is None else [*entry.masks, *entry.crowds]
        masks = [moved(mask, rng) for mask in true if rng.random() < 0.8]
        masks += [stray] if rng.random() < 0.3 else []
        scores = tuple(float(score) for score in rng.random(len(masks)))
        claims.append(AnsweredEntry(name, bool(masks), 0.7, None, 0.5, masks=tuple(masks), scores=scores))
    return Answer("", tuple(claims))


def evaluation(folder, task, keys):
    """Store made answers about made records; return their run."""
    rng = np.random.default_rng(3)
    write_shards([made_record(rng, key) for key in keys], folder / "shards", MADE)
    run = EvaluationRun(Source(str(folder / "shards"), task), task, (), 0, ("ordered",))
    begin(folder, {})
    with opened(predictions_file(folder, 0)) as stream:
        for sample in map(run.ask, run.raw()):
            rows = [
                {"kind": asked.kind, "query": asked.query, "answers": {"ordered": to_json(answer(asked, rng))}}
                for asked in sample.dialogues
            ]
            line = {"run": run.name, "key": sample.record.key, "size": SIZE, "dialogues": rows}
            stream.write(json.dumps(line) + "\n")
    return run


def test_objects_have_the_same_scores_by_pycocotools(tmp_path):
    run = evaluation(tmp_path, Instances(), [f"{number:012d}" for number in (139, 285, 632)])
    expected = score_run(run, read_lines(tmp_path), tmp_path).scores
    assert 0.1 < expected["ap/coco"] < 0.9
    [place] = write_coco_files([run], tmp_path, tmp_path / "coco")
    truth = COCO(str(place / "annotations.json"))
    assert sorted(truth.imgs) == [139, 285, 632] and truth.cats[21]["name"] == "dog"
    scorer = COCOeval(truth, truth.loadRes(str(place / "results.json")), "segm")
    scorer.evaluate()
    scorer.accumulate()
    scorer.summarize()
    assert scorer.stats[[0, 1, 8]] == pytest.approx([expected[f"{name}/coco"] for name in ("ap", "ap50", "ar")])


def read_panoptic(folder, name):
    """Each image's numbers of segments, and its annotation."""
    content = json.loads((folder / f"{name}.json").read_text())
    for annotation in content["annotations"]:
        colours = np.asarray(Image.open(folder / name / annotation["file_name"]), np.int64)
        yield colours @ [1, 256, 65536], annotation["segments_info"]


def panoptic_quality(folder):
    """PQ as panopticapi states it, segment by segment."""
    sums, hits, wrong, missed = ({number: 0 for number in MADE.labels} for _ in range(4))
    for (true, infos), (found, claims) in zip(
        read_panoptic(folder, "annotations"), read_panoptic(folder, "results"), strict=True
    ):
        matched, crowds = set(), {info["category_id"]: info["id"] for info in infos if info["iscrowd"]}
        for info in infos:
            here = true == info["id"]
            assert here.sum() == info["area"]
            partners = []
            for claim in claims:
                there = found == claim["id"]
                union = (here | there).sum() - (there & (true == 0)).sum()
                same = claim["category_id"] == info["category_id"] and not info["iscrowd"]
                if same and (here & there).sum() > union / 2:
                    partners.append((claim["id"], (here & there).sum() / union))
            matched |= {number for number, _ in partners}
            sums[info["category_id"]] += sum(iou for _, iou in partners)
            hits[info["category_id"]] += len(partners)
            missed[info["category_id"]] += not partners and not info["iscrowd"]
        for claim in claims:
            there = found == claim["id"]
            nobodys = there & ((true == 0) | (true == crowds.get(claim["category_id"], -1)))
            wrong[claim["category_id"]] += claim["id"] not in matched and nobodys.sum() <= there.sum() / 2
    whole = {number: hits[number] + wrong[number] / 2 + missed[number] / 2 for number in sums}
    return np.mean([sums[number] / whole[number] for number in sums if whole[number]])


def test_segments_have_the_same_score_by_the_rule_of_panopticapi(tmp_path):
    run = evaluation(tmp_path, Panoptic(["sky", "sea"]), ["c", "a", "b"])
    expected = score_run(run, read_lines(tmp_path), tmp_path).scores["pq/coco-panoptic"]
    assert 0.1 < expected < 0.9
    [place] = write_coco_files([run], tmp_path, tmp_path / "coco")
    assert panoptic_quality(place) == pytest.approx(expected)
    content = json.loads((place / "results.json").read_text())
    assert [category["isthing"] for category in content["categories"]] == [0, 0, 1, 1]
    assert [image["file_name"] for image in content["images"]] == ["c", "a", "b"]


@pytest.mark.parametrize("task", [Semantic(), GroundedCaption()])
def test_data_without_objects_are_refused(tmp_path, task):
    run = replace(evaluation(tmp_path, Semantic(), ["a"]), task=task)
    with pytest.raises(ConfigError, match="coco: no source asks for objects"):
        write_coco_files([run], tmp_path, tmp_path / "coco")


class OwnScore(Presence):
    coco_format = "instances"


class OwnObjects(Instances):
    """A task whose only metric is not the package's."""

    def metrics(self, categories):
        return collect([OwnScore()])


def test_a_metric_of_ones_own_says_that_its_answers_are_written(tmp_path):
    run = evaluation(tmp_path, OwnObjects(), ["7"])
    [place] = write_coco_files([run], tmp_path, tmp_path / "coco")
    assert json.loads((place / "annotations.json").read_text())["annotations"]


def test_ids_are_those_of_the_data_set_where_it_has_them():
    assert category_ids(MADE) == {"sky": 7, "sea": 9, "dog": 21, "cat": 30}
    assert category_ids(Manifest("plain", ("dog", "cat"))) == {"dog": 1, "cat": 2}
    assert image_ids(["000000000139", "7"]) == {"000000000139": 139, "7": 7}
    assert image_ids(["7", "007", "a"]) == {"7": 1, "007": 2, "a": 3}
    assert id_colours(np.array([[0, 255, 258, 65536 * 3 + 5]])).tolist() == [
        [[0, 0, 0], [255, 0, 0], [2, 1, 0], [5, 0, 3]]
    ]
