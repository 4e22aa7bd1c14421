"""Every config in the folder is parsed, instantiated, and says what it is for."""

import re
from itertools import zip_longest
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from lasagna.__main__ import main
from lasagna.cli.sweeps.findings import Claim
from lasagna.cli.training_cli import TrainingCLI, command_line
from lasagna.core.config import build
from lasagna.core.prompt_formats import TINY
from lasagna.modules import FeatureSpec, LanguageModel
from lasagna.tasks import AssistantTraining
from tests.helpers.image_text_models import CONFIGS, needs

ROOT = Path(__file__).parents[2]
FILES = sorted(path.relative_to(ROOT) for path in (ROOT / "configs").rglob("*.yaml"))
PARTS = {
    "vision_encoder": "--model.assistant.vision_encoder",
    "language_model": "--model.assistant.language_model",
    "mask_head": "--model.assistant.mask_head",
    "data": "--data",
}
"""Folder to the option whose value its files are; files of other folders are given as --config."""
SIBLINGS = {
    *("sam_vit_l", "sam_vit_h", "sam2_hiera_small", "sam2_hiera_base_plus", "sam2_hiera_large", "dinov3_convnext"),
    *("absent_eval", "own_answer_order", "no_negatives", "no_class_sampling"),
    *("mixed_unknown", "mixed_all_unknown", "mixed_merged", "mixed_only_garden", "mixed_only_book"),
    *("presence_paste_one", "deepspeed"),
}
"""Files that differ from another one only in sizes, names or strategies, and run with -m slow."""
COMBINED = (
    ("all", "copy_paste", "hard_negatives"),
    (
        "presence",
        "presence_start",
        "presence_long",
        "presence_hard_negatives",
        "presence_copy_paste",
        "presence_weights",
        "presence_one_pass",
    ),
    ("mixed", "mixed_named", "mixed_agreed"),
    ("claims_long", "claims_again"),
    ("claims_photos", "claims_photos_again"),
)
"""Files that are parsed as one config, in this order; what one replaces of another is alike, as lists of strategies."""


def instantiated():
    """The files of each test: parts together, since they are parsed on their own, and all others one by one."""
    parts = ("vision_encoder", "language_model", "mask_head")
    fast = [file for file in FILES if file.stem not in SIBLINGS and file.parent.name != "sweeps"]
    columns = [[file for file in fast if file.parent.name == name] for name in parts]
    together = [[file for file in row if file is not None] for row in zip_longest(*columns)]
    others = [file for file in fast if file.parent.name not in parts]
    combined = [[file for stem in stems for file in others if file.stem == stem] for stems in COMBINED]
    alone = [[file] for file in others if not any(file in group for group in combined)]
    groups = [pytest.param(group, id="+".join(map(str, group))) for group in (*together, *combined, *alone)]
    slow = [file for file in FILES if file.stem in SIBLINGS]
    return groups + [pytest.param([file], id=str(file), marks=pytest.mark.slow) for file in slow]


@pytest.fixture(autouse=True)
def root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_config_opens_with_what_it_does_what_it_needs_the_command_and_an_override(file):
    head = re.match(r"(# .*\n|#\n)+", file.read_text(encoding="utf-8"))
    assert head is not None
    for part in ("# Needs: ", "# Command: ", "# Override: "):
        assert part in head[0], part


@pytest.mark.parametrize("files", instantiated())
def test_config_instantiates(files):
    options = [word for file in files for word in option(file)]
    cli = TrainingCLI(**command_line([*options, "--trainer.accelerator=cpu"], run=False), run=False)
    assert isinstance(cli.model, AssistantTraining)
    assert cli.datamodule.sources["train"]
    assert cli.datamodule.sources["test"]


@pytest.mark.parametrize(
    "kind", [pytest.param(file.stem, marks=needs(file.stem)) for file in FILES if file.stem in CONFIGS]
)
def test_config_of_a_family_builds_its_model(kind):
    config = OmegaConf.to_container(OmegaConf.load(ROOT / "configs" / "language_model" / f"{kind}.yaml"))
    model = build(config, LanguageModel)
    model.build(FeatureSpec((1,), (1,), (1, 1)), TINY.special_tokens)
    assert model.network.config.model_type == kind


@pytest.mark.parametrize("file", [file for file in FILES if file.parent.name == "sweeps"], ids=str)
def test_sweep_can_start(file, monkeypatch):
    plans, content = [], OmegaConf.to_container(OmegaConf.load(file))

    def record(plan, out, jobs):
        plans.append(plan)
        raise SystemExit(0)

    monkeypatch.setattr("lasagna.cli.sweeps.run.run_sweep", record)
    with pytest.raises(SystemExit):
        main(["sweep", "--config", str(file)])
    [plan] = plans
    baseline, claims = content.get("baseline"), content.get("claims", [])
    assert plan.runs(Path("runs"))
    assert {baseline, *(Claim(**claim).variant for claim in claims)} - {None} <= set(plan.variants)


def option(file):
    flag = PARTS.get(file.parent.name, "--config")
    return [] if file == Path("configs/default.yaml") else [f"{flag}={file}"]
