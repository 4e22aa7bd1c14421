"""The model for lmms-eval, found by its entry point and run on a task of one's own.

lmms-eval needs an environment of its own; of its packages, those that a run of this task imports are installed.
"""

import json
import os
import subprocess
import sys
import sysconfig
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import lasagna
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import KINDS
from lasagna.datamodules.scenes.settings import SceneSettings
from lasagna.datamodules.scenes.writer import write_scenes
from lasagna.errors import ConfigError
from lasagna.tasks.metrics import ConceptF1
from tests.helpers.made_answers import answer
from tests.helpers.wheels import built, copied

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "lmms_eval_task"
NEEDED = ("evaluate", "pytablewriter", "pytz", "sacrebleu", "tenacity")

SCRIPT = """
import json, sys
from lmms_eval.tasks.saco.utils import compute_saco_final_metrics
print(json.dumps(compute_saco_final_metrics(sys.argv[1])))
"""


@pytest.fixture
def module(monkeypatch):
    """The adapter over the two classes that it needs of lmms-eval, and over an assistant that sees a dog everywhere."""
    for name in ("lmms_eval", "lmms_eval.api", "lmms_eval.api.model", "lmms_eval.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    registry = ModuleType("lmms_eval.models.registry_v2")
    registry.ModelManifest = lambda name, **paths: (name, paths)
    monkeypatch.setitem(sys.modules, "lmms_eval.models.registry_v2", registry)
    sys.modules["lmms_eval.api.model"].lmms = type("lmms", (), {"task_dict": {}})
    monkeypatch.delitem(sys.modules, "lasagna.integrations.lmms_eval", raising=False)
    module = import_module("lasagna.integrations.lmms_eval")
    asked = []

    def answers(image, queries):
        asked.extend((query.kind, *query.names) for query in queries)
        mask = np.zeros(image.shape[:2], bool)
        mask[1:3, 2:6] = True
        return [answer({query.names[0]: mask if "dog" in query.names[0] else None}) for query in queries]

    def load(path):
        learned = {name: KINDS[name] for name in ("categories", "instances")}
        return SimpleNamespace(answers=answers, learned_kinds=learned, to=lambda device: load(path), asked=asked)

    monkeypatch.setattr(module, "load", load)
    yield module
    sys.modules.pop("lasagna.integrations.lmms_eval", None)


def test_answers_are_the_json_of_masks(module):
    assert module.manifest() == (
        "lasagna",
        {"simple_class_path": "lasagna.integrations.lmms_eval.AssistantModel"},
    )
    model = module.AssistantModel(batch_size="1")
    model.task_dict = {"birds": {"test": [Image.new("L", (8, 4))]}}
    phrases = ("dog", "cat", "dog, left")
    requests = [SimpleNamespace(args=(one, {}, lambda doc: [doc], 0, "birds", "test")) for one in phrases]
    dog, cat, comma = map(json.loads, model.generate_until(requests))
    assert model.assistant.asked == [("instances", "dog"), ("instances", "cat"), ("referring", "dog, left")]
    assert cat == {"masks": [], "boxes": [], "scores": []} and comma == dog
    [code] = dog["masks"]
    assert RLEMask.from_json(code, (4, 8)).decode().sum() == 8 and len(dog["scores"]) == 1
    assert dog["boxes"] == [{"x_min": 0.25, "y_min": 0.25, "x_max": 0.75, "y_max": 0.75}]
    for refused in (model.loglikelihood, model.generate_until_multi_round):
        with pytest.raises(NotImplementedError, match="choose tasks of the type generate_until"):
            refused([])


def test_options_that_mean_nothing_are_refused(module):
    with pytest.raises(ConfigError, match=r"kind: expected one of instances, .*, got 'masks'; or leave it out"):
        module.AssistantModel(kind="masks")
    with pytest.raises(ConfigError, match=r"threshold: expected a number in \[0, 1\], got 3"):
        module.AssistantModel(threshold=3)


def environment(folder):
    """Make an environment with lmms-eval and this package, which borrows all else; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    site = next((folder / "env").rglob("site-packages"))
    (site / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    wheel = built("build_wheel", copied(folder / "source"), folder)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", "--force-reinstall", "lmms-eval==0.7.3", "loguru", wheel], check=True)
    subprocess.run([*pip, *NEEDED], check=True)
    return python


def expected_scores(questions):
    """The scores of the small assistant's answers, by this package's own metric."""
    assistant, metric = lasagna.load(), ConceptF1()
    for asked in questions:
        image, name = np.asarray(Image.open(asked["image"]).convert("RGB")), asked["expression"]
        masks = tuple(RLEMask.from_json(code, image.shape[:2]) for code in asked["masks"])
        union = RLEMask.from_array(np.any([mask.decode() for mask in masks], axis=0)) if masks else None
        answer = assistant.answer(image, [name], "referring")
        metric.update(Dialogue("referring", (name,), (Entry(name, bool(masks), union, masks),)), answer)
    return {key.partition("/")[0]: value.item() for key, value in metric.compute().items()}


@pytest.mark.slow
def test_lmms_eval_scores_the_answers_of_the_assistant_as_lasagna_does(tmp_path):
    python = environment(tmp_path)
    write_scenes(tmp_path / "scenes", SceneSettings(1, "test", 4), 0)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    settings = {**clean, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    script = [sys.executable, EXAMPLE / "write_pictures.py", "scenes", "pictures", "4"]
    subprocess.run(script, cwd=tmp_path, env=settings | {"PYTHONPATH": str(ROOT)}, check=True)
    words = ["--model", "lasagna", "--model_args", "kind=referring", "--device", "cpu", "--tasks", "saco_gold_pictures"]
    words += ["--include_path", EXAMPLE, "--output_path", tmp_path / "results"]
    told = subprocess.run(
        [python, "-m", "lmms_eval", *words], cwd=tmp_path, env=settings, capture_output=True, text=True, timeout=900
    )
    assert told.returncode == 0, told.stdout[-2000:] + told.stderr[-4000:]
    [results] = (tmp_path / "results").rglob("*_results.json")
    computed = subprocess.run(
        [python, "-c", SCRIPT, results], env=settings, check=True, capture_output=True, text=True, timeout=300
    )
    found = json.loads(computed.stdout.splitlines()[-1])["saco_gold_pictures"]
    questions = [json.loads(line) for line in (tmp_path / "pictures" / "pictures.jsonl").read_text().splitlines()]
    expected = expected_scores(questions)
    assert found["IL_MCC"] == pytest.approx(expected["il_mcc"]) and expected["il_mcc"] > 0.8
    assert found["pmF1"] == pytest.approx(expected["pmf1"], rel=1e-3) and expected["pmf1"] > 0.3
