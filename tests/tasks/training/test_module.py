"""Trainable sets, schedule, fingerprints, configs and the run's logger, one by one."""

import copy
import csv
import math
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from lasagna.core.config import build, config_of
from lasagna.core.prompt_formats import TINY
from lasagna.core.query_kind import QUESTION
from lasagna.core.seeding import seeded
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules import Assistant, LoRA, TinyLanguageModel, TinyMaskHead, TinyVisionEncoder
from lasagna.modules.checkpoints.weights import check_frozen, fingerprint
from lasagna.tasks import AssistantTraining, Optimiser, RunLogger
from lasagna.tasks.callbacks.checkpoint import WholeFiles
from lasagna.tasks.training.optimiser import schedule
from lasagna.tasks.training.trainable import check_factors, freeze_others, set_modes, trainable_sets, trained_state

ORIGINAL = Path(__file__).parents[3] / "configs" / "experiments" / "lasagna_original.yaml"


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))


def assistant():
    return Assistant(
        TinyVisionEncoder((32, 32), weights="random"),
        TinyLanguageModel("random", projector="random", adapter=LoRA(rank=2), image_grid=(2, 2)),
        mask_head=TinyMaskHead(weights="random"),
        prompt_format=TINY,
    )


def test_patterns_choose_and_the_last_one_counts():
    sets = trainable_sets(Toy().named_parameters(), {"*": 1.0, "encoder": 0.0, "*.0.bias": 0.5})
    assert sets == {"encoder.0.bias": 0.5, "head.0.bias": 0.5, "head.0.weight": 1.0} | {
        "head.1.weight": 1.0,
        "head.1.bias": 1.0,
    }


def test_what_a_part_froze_stays_frozen():
    toy = Toy()
    toy.encoder.requires_grad_(False)
    assert not any(name.startswith("encoder") for name in trainable_sets(toy.named_parameters(), {"*": 1.0}))
    with pytest.raises(ConfigError, match="'encoder' fits only parameters that their part keeps frozen"):
        trainable_sets(toy.named_parameters(), {"encoder": 1.0})


@pytest.mark.parametrize(
    ("patterns", "reason"),
    [({"hed": 1.0}, "'hed' fits no parameter"), ({"head": -1.0}, "-1"), ({"head": 0.0}, "nothing would be trained")],
)
def test_patterns_that_make_no_sense(patterns, reason):
    with pytest.raises(ConfigError, match=reason):
        trainable_sets(Toy().named_parameters(), patterns)


def test_presence_that_nothing_could_ever_change_is_refused(monkeypatch):
    build = TinyLanguageModel.build

    def equal(self, features, special_tokens):
        build(self, features, special_tokens)
        present, absent = (self.text_processor.answer_ids(token)[0] for token in special_tokens[:2])
        rows = self.llama.get_output_embeddings().weight.data
        rows[present] = rows[absent]

    monkeypatch.setattr(TinyLanguageModel, "build", equal)
    with pytest.raises(ConfigError, match=r"'<SEG>' and '<NEG>' .* 0\.5 for ever; train the layer"):
        AssistantTraining(assistant(), trainable={"mask_head": 1.0, "language_model.*lora_*": 1.0}).configure_model()
    AssistantTraining(assistant()).configure_model()


def test_statistics_of_frozen_norms_do_not_move():
    toy = Toy()
    freeze_others(toy, trainable_sets(toy.named_parameters(), {"head": 1.0}))
    set_modes(toy, training=True)
    assert [module.training for module in toy.encoder] == [False, False, False]
    assert [module.training for module in toy.head] == [True, True, True]
    before = copy.deepcopy(toy.state_dict())
    toy.head(toy.encoder(torch.randn(2, 3, 4, 4)))
    moved = {name for name, value in toy.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"head.1.running_mean", "head.1.running_var", "head.1.num_batches_tracked"}
    parameters = {f"head.{place}.{part}" for place in (0, 1) for part in ("weight", "bias")}
    assert trained_state(toy) == moved | parameters


def test_groups_have_their_own_rates_and_spare_vectors():
    toy = Toy()
    optimizer = Optimiser(lr=0.1, weight_decay=0.3).build(
        {"head.0.weight": 2.0, "head.0.bias": 2.0}, toy.named_parameters()
    )
    assert [(group["lr"], group["weight_decay"], len(group["params"])) for group in optimizer.param_groups] == [
        (0.2, 0.3, 1),
        (0.2, 0.0, 1),
    ]


@pytest.mark.parametrize(("kind", "middle"), [("cosine", 0.55), ("linear", 0.55), ("constant", 1.0)])
def test_schedule(kind, middle):
    factor = schedule(kind, 4, lambda: 24, 0.1)
    assert [factor(step) for step in range(5)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert factor(14) == pytest.approx(middle)
    assert factor(24) == factor(99) == pytest.approx(1.0 if kind == "constant" else 0.1)


def test_the_originals_schedule_is_that_of_its_optimiser():
    preset = OmegaConf.load(ORIGINAL)
    own = Optimiser(**OmegaConf.to_container(preset.model.init_args.optimiser))
    weight = torch.nn.Parameter(torch.zeros(2, 2))
    optimizer = own.build({"weight": 1.0}, [("weight", weight)])
    scheduler = own.scheduler(optimizer, lambda: preset.trainer.max_steps)
    assert optimizer.param_groups[0]["lr"] == 0.0
    rates = [own.lr * scheduler.lr_lambdas[0](step) for step in range(preset.trainer.max_steps + 1)]
    # the rise is cut off where the fall, a line to the last step, is met
    wanted = [3e-4 * min(step / 100, (18000 - step) / 17900) for step in range(18001)]
    assert rates == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"lr": -1.0}, r"optimiser\.lr: expected .* got -1\.0"),
        ({"lr": math.nan}, r"optimiser\.lr"),
        ({"betas": (2.0, 0.9)}, r"optimiser\.betas: .*\[0, 1\)"),
        ({"weight_decay": -0.1}, r"optimiser\.weight_decay"),
        ({"warmup_steps": -1}, r"optimiser\.warmup_steps"),
        ({"final": 1.5, "lr": -2.0}, r"optimiser\.lr.*optimiser\.final"),
    ],
)
def test_values_that_no_optimiser_takes(values, reason):
    with pytest.raises(ConfigError, match=reason):
        Optimiser(**values)


def test_training_that_goes_on_keeps_optimiser_and_factors():
    began = Optimiser(lr=0.1)
    began.check_resumed(Optimiser(lr=0.1).settings())
    with pytest.raises(CheckpointError, match=r"optimiser\.lr 0\.2, here 0\.1; optimiser\.final .*warm_start"):
        began.check_resumed(Optimiser(lr=0.2, final=0.5).settings())
    check_factors({"a": 1.0, "b": 0.5}, {"b": 0.5, "a": 1.0})
    with pytest.raises(CheckpointError, match=r"a with factor 1\.0, here 0\.5; c with factor 0\.0, here 2\.0"):
        check_factors({"a": 1.0}, {"a": 0.5, "c": 2.0})


def test_falling_schedule_needs_an_end():
    with pytest.raises(ConfigError, match=r"trainer\.max_steps"):
        Optimiser(schedule="linear").check(math.inf)
    Optimiser(schedule="constant").check(math.inf)


def test_assistant_is_described_and_made_again():
    config = config_of(assistant())
    assert config["init_args"]["language_model"]["init_args"]["adapter"]["rank"] == 2
    made = build(config, Assistant)
    assert config_of(made) == config
    assert made.format == TINY
    assert config_of(pickle.loads(pickle.dumps(made))) == config
    assert not any("given" in name for name in made.state_dict())


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"class_path": "nowhere.Assistant"}, "is no class that can be imported here"),
        ({"class_path": "lasagna.modules.Assistant", "init_args": {"a": 1}}, "cannot be built"),
        ({"class_path": "lasagna.modules.Assistant", "init_args": [1]}, "expected arguments by name, got a list"),
        (
            {"class_path": "lasagna.modules.Assistant", "init_args": {"vision_encoder": [1, 2]}},
            r"Parser key \"vision_encoder\": Not a valid subclass of VisionEncoder. Got value: \[1, 2\]\)",
        ),
    ],
)
def test_description_that_makes_nothing(config, reason):
    with pytest.raises(CheckpointError, match=reason) as refused:
        build(config, Assistant)
    assert "\n" not in str(refused.value)


def test_fresh_weights_are_a_function_of_the_seed_and_leave_the_global_generator_alone():
    before = torch.get_rng_state()
    built = []
    for seed in (0, 0, 1):
        training = AssistantTraining(assistant(), seed=seed)
        training.configure_model()
        built.append(training)
    prints = [fingerprint(training.assistant, training.trained) for training in built]
    assert prints[0] == prints[1]
    assert prints[0].keys() == {"vision_encoder", "language_model"}
    assert prints[0]["language_model"] != prints[2]["language_model"]
    assert torch.equal(before, torch.get_rng_state())
    assert any("lora_" in name for name in built[0].trained)
    assert not any("base_layer" in name for name in built[0].trained)


def test_fingerprint_notices_a_changed_tensor_and_bears_another_precision():
    toy = Toy()
    trained = {"head.0.weight"}
    stored = fingerprint(toy, trained)
    check_frozen(stored, fingerprint(toy.to(torch.bfloat16), trained))
    with torch.no_grad():
        toy.head[0].weight += 1
    check_frozen(stored, fingerprint(toy, trained))
    with torch.no_grad():
        toy.encoder[0].bias += 1
    with pytest.raises(CheckpointError, match="frozen weights of encoder are not"):
        check_frozen(stored, fingerprint(toy, trained))


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("weight", (7, 11)),
        ("weight", (slice(None), slice(1, None, 2))),
        ("weight", (299,)),
        ("bias", (slice(256, None),)),
        ("bias", (1,)),
        ("steps", ()),
    ],
    ids=["one_value", "odd_columns", "last_row", "tail", "one_of_a_vector", "an_integer"],
)
def test_fingerprint_notices_whatever_changed(name, place, monkeypatch):
    monkeypatch.setattr("lasagna.modules.checkpoints.weights.CHUNK", 1000)
    toy = nn.Module()
    toy.encoder = nn.Linear(300, 300)
    toy.encoder.register_buffer("steps", torch.tensor(3))
    stored = fingerprint(toy, ())
    with torch.no_grad():
        value = toy.encoder.get_buffer(name) if name == "steps" else toy.encoder.get_parameter(name)
        value[place] += 1
    with pytest.raises(CheckpointError, match="frozen weights of encoder are not"):
        check_frozen(stored, fingerprint(toy, ()))


def test_frozen_weights_are_read_once_however_often_a_checkpoint_is_saved(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "lasagna.tasks.training.module.fingerprint", lambda *given: calls.append(given) or {"part": "print"}
    )
    training = AssistantTraining(assistant())
    training.configure_model()
    training.assistant.learned_kinds = {"question": QUESTION}
    for _ in range(3):
        checkpoint = {"state_dict": training.state_dict()}
        training.on_save_checkpoint(checkpoint)
        assert checkpoint["frozen_fingerprint"] == {"part": "print"}
        assert checkpoint["learned_kinds"] == {"question": {"masks": False, "words": True}}
    assert len(calls) == 1


def test_seeded_noise():
    draws = []
    for key in ("a", "a", "b"):
        with seeded(0, key):
            draws.append(torch.randn(3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.filterwarnings("ignore:.*self.log")
def test_each_process_has_noise_of_its_own(monkeypatch):
    training = AssistantTraining(assistant(), loss=lambda noise, batch: {"loss": noise.requires_grad_()})
    monkeypatch.setattr(Assistant, "forward", lambda self, batch: torch.rand(()))
    noise = []
    for rank in (0, 1, 0):
        monkeypatch.setattr(AssistantTraining, "global_rank", rank)
        noise.append(training.training_step(SimpleNamespace(geometries=[], step=None), 0))
    assert noise[0] == noise[2] != noise[1]


SUM = torch.ones((), requires_grad=True)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (3, "must return a dict with the sum to minimise as 'loss', got int"),
        ({"ce": 1.0}, "must return a dict with the sum to minimise as 'loss', got"),
        ({"loss": 1.0}, "must return a tensor of one number as 'loss', got float"),
        ({"loss": SUM, "ce": torch.ones(2)}, r"must return a tensor of one number as 'ce', got shape \[2\]"),
        ({"loss": SUM.detach()}, "its 'loss' has no gradient"),
    ],
)
def test_a_loss_that_returns_something_else_is_named(given, wrong, monkeypatch):
    training = AssistantTraining(assistant(), loss=lambda output, batch: given)
    monkeypatch.setattr(Assistant, "forward", lambda self, batch: None)
    with pytest.raises(ConfigError, match=rf"model.loss: <lambda>:? {wrong}"):
        training.training_step(SimpleNamespace(geometries=[], step=None), 0)


def test_logger_keeps_what_was_logged_before_the_step_it_continues_from(tmp_path):
    first = RunLogger(str(tmp_path))
    for step in range(5):
        first.log_metrics({"train/loss": float(step)}, step)
        first.save()
    test = RunLogger(str(tmp_path))
    test.log_metrics({"test/miou": 0.5}, 0)
    test.finalize("success")
    resumed = RunLogger(str(tmp_path))
    for step in (3, 4):
        resumed.log_metrics({"train/loss": torch.tensor(step + 10.0)}, step)
    resumed.save()
    with (tmp_path / "metrics.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    losses = {int(row["step"]): float(row["train/loss"]) for row in rows if row["train/loss"]}
    assert losses == {0: 0.0, 1: 1.0, 2: 2.0, 3: 13.0, 4: 14.0}
    assert [row["test/miou"] for row in rows if row["test/miou"]] == ["0.5"]


def test_logger_appends_rows_and_writes_anew_for_a_new_column(tmp_path):
    file = tmp_path / "metrics.csv"
    logger = RunLogger(str(tmp_path))
    logger.log_metrics({"train/loss": 0.5}, 0)
    logger.save()
    inode = file.stat().st_ino
    logger.log_metrics({"train/loss": 0.25}, 1)
    logger.save()
    assert file.stat().st_ino == inode
    assert file.read_text().splitlines() == ["step,train/loss", "0,0.5", "1,0.25"]
    logger.log_metrics({"val/miou": 1.0}, 1)
    logger.finalize("success")
    assert file.read_text().splitlines() == ["step,train/loss,val/miou", "0,0.5,", "1,0.25,", "1,,1.0"]


def test_logger_bears_half_a_line(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,train/loss\n0,0.5\n1,0.2")
    logger = RunLogger(str(tmp_path))
    logger.log_metrics({"train/loss": 0.25}, 1)
    logger.save()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == ["step,train/loss", "0,0.5", "1,0.25"]


def test_checkpoint_that_is_cut_short_leaves_the_one_before(tmp_path, monkeypatch):
    file = tmp_path / "checkpoints" / "last.ckpt"
    WholeFiles().save_checkpoint({"step": 1}, file)

    def cut(checkpoint, stream):
        stream.write(b"half")
        raise InterruptedError

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr(torch, "save", cut)
        WholeFiles().save_checkpoint({"step": 2}, file)
    assert torch.load(file, weights_only=True) == {"step": 1}
    WholeFiles().save_checkpoint({"step": 3}, file)
    assert torch.load(file, weights_only=True) == {"step": 3}
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]
