"""The model for lmms-eval, found by its entry point and run on a task of one's own.

lmms-eval needs an environment of its own; of its packages, those that a run of this task imports are installed.
"""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lasagna
from lasagna.core.dialogue import Dialogue, Entry
from lasagna.core.masks import RLEMask
from lasagna.datamodules.scenes.writer import SceneSettings, write_scenes
from lasagna.tasks.metrics import ConceptF1
from tests.helpers.wheels import built, copied

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "lmms_eval_task"
NEEDED = ("evaluate", "pytablewriter", "pytz", "sacrebleu", "tenacity")

SCRIPT = """
import json, sys
from lmms_eval.tasks.saco.utils import compute_saco_final_metrics
print(json.dumps(compute_saco_final_metrics(sys.argv[1])))
"""


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
