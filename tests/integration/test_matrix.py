"""Every vision encoder with every language model and every mask head, tiny and random: fit, test and predict."""

from __future__ import annotations

import json
from itertools import product

import pytest

from lasagna.cli.train import main
from tests.helpers.image_text_models import CONFIGS, needs
from tests.helpers.tiny_run import write_config, write_scenes

TEXT = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "vocab_size": 3000,
    "max_position_embeddings": 1024,
}
TOWER = {
    "model_type": "clip_vision_model",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
SMOLLM2 = {**TEXT, "num_key_value_heads": 1, "tie_word_embeddings": True}
"""As in SmolLM2, heads share keys and values, and words are read and written by the same weights."""

SAM = {"embed_dim": 16, "depth": 2, "heads": 2, "global_blocks": [1], "mlp_dim": 32, "window": 2, "image_size": 32}
SAM2 = {"embed_dim": 16, "blocks": [1, 1, 1, 1], "windows": [2, 2, 2, 1], "global_blocks": [], "out_channels": 32}
SAM3 = {"width": 16, "depth": 2, "heads": 2, "mlp_dim": 16, "window": 2, "global_blocks": [1], "out_channels": 32}
DINOV3 = {
    "model_type": "dinov3_vit",
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 8,
}
CONVNEXT = {"model_type": "dinov3_convnext", "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
ENCODERS = {
    "tiny": ("TinyVisionEncoder", {"weights": "random", "image_size": [32, 32]}),
    "timm": ("lasagna.modules.TimmEncoder", {"model": "test_resnet", "image_size": [32, 32]}),
    "efficientnet_lite0": (
        "lasagna.modules.EfficientNetLite0",
        {"weights": "random", "image_size": [32, 64], "resize": "pad"},
    ),
    "sam": ("lasagna.modules.SamVisionEncoder", {"size": SAM | {"patch": 8, "out_channels": 32}, "frozen": False}),
    "sam2": ("lasagna.modules.Sam2VisionEncoder", {"size": SAM2, "image_size": [32, 32], "frozen": False}),
    "sam3": ("lasagna.modules.Sam3VisionEncoder", {"size": SAM3, "image_size": 56, "frozen": False}),
    "dinov3": ("lasagna.modules.TransformersEncoder", {"model": DINOV3, "image_size": [32, 32]}),
    "dinov3_convnext": ("lasagna.modules.TransformersEncoder", {"model": CONVNEXT, "image_size": [32, 64]}),
    "dinov3_timm": (
        "lasagna.modules.TimmEncoder",
        {"model": "vit_tiny_patch16_dinov3_qkvb", "image_size": [32, 32]},
    ),
    "shared": ("lasagna.modules.SharedTower", {}),
}
MODELS = {
    "tiny": ("TinyLanguageModel", {"weights": "random", "projector": "random", "image_grid": [2, 2]}),
    "causal": (
        "lasagna.modules.CausalLanguageModel",
        {"model": SMOLLM2, "tokenizer": "words", "image_grid": [2, 2]},
    ),
    "image_text": (
        "lasagna.modules.ImageTextModel",
        {
            "model": {"model_type": "llava", "vision_config": TOWER, "text_config": TEXT},
            "tokenizer": "words",
            "max_length": 1024,
        },
    ),
    "llava_v1": ("lasagna.modules.LlavaV1", {"folder": "LLAVA", "max_length": 1024}),
}
HEADS = {
    "tiny": ("TinyMaskHead", {"weights": "random"}),
    "dot": ("lasagna.modules.DotMaskHead", {"width": 16}),
    "sam": (
        "lasagna.modules.SamMaskHead",
        {"size": {"prompt_dim": 32, "heads": 4, "mlp_dim": 32, "iou_dim": 16, "mask_channels": 8}},
    ),
    "sam2": ("lasagna.modules.Sam2MaskHead", {"size": {"prompt_dim": 32, "heads": 4, "mlp_dim": 32}}),
    "sam3": (
        "lasagna.modules.Sam3MaskHead",
        {"size": {"prompt_dim": 32, "encoder_layers": 1, "decoder_layers": 2, "heads": 2, "mlp_dim": 32, "masks": 4}},
    ),
    "mask2former": (
        "lasagna.modules.Mask2FormerHead",
        {
            "size": {
                "width": 32,
                "pixel_layers": 1,
                "layers": 3,
                "heads": 2,
                "pixel_mlp_dim": 32,
                "mlp_dim": 32,
                "masks": 4,
            }
        },
    ),
}
ALWAYS = {
    ("dinov3", "causal", "dot"),
    ("timm", "image_text", "tiny"),
    ("efficientnet_lite0", "tiny", "mask2former"),
    ("sam2", "llava_v1", "sam2"),
    ("sam3", "tiny", "sam3"),
    ("shared", "image_text", "sam"),
}
"""Combinations that hold each part once at least; the others run with -m slow."""
RECENT = {"dinov3", "dinov3_convnext", "dinov3_timm", "sam3", "mask2former"}
"""Parts that, outside the default run, are joined with the tiny language model only, to bound the time."""
FITTING = [
    (encoder, model, head)
    for encoder, model, head in product(ENCODERS, MODELS, HEADS)
    # SAM's mask head takes a map as wide as its prompts, as the tower of the image-text model is here and that of
    # LLaVA v1 is not, SAM 2's the finer maps of its own encoder as well, and a tower is shared by a model that has one
    if (not head.startswith("sam") or encoder == head or (encoder, model, head) == ("shared", "image_text", "sam"))
    and (encoder != "shared" or model in ("image_text", "llava_v1"))
    and (model == "tiny" or not RECENT & {encoder, head} or (encoder, model, head) in ALWAYS)
]
ELSEWHERE = {"tiny", "sam", "dinov3_convnext", "dinov3_timm"}
"""Encoders that only slow combinations hold; the tiny one is in all other tests."""

COMBINATIONS = [pytest.param(*parts, marks=() if parts in ALWAYS else pytest.mark.slow) for parts in FITTING]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("matrix")
    return write_config(folder, write_scenes(folder / "scenes"))


def part(kind, arguments):
    return json.dumps({"class_path": kind, "init_args": arguments})


@pytest.fixture(scope="module")
def llava(tmp_path_factory):
    """The folder of a LLaVA v1 with a few thousand random weights."""
    pytest.importorskip("sentencepiece")
    from tests.helpers.tiny_llava import write_llava

    return write_llava(tmp_path_factory.mktemp("llava"))


def test_the_default_run_holds_every_part():
    assert set(FITTING) >= ALWAYS
    for rank, parts in enumerate((set(ENCODERS) - ELSEWHERE, MODELS, HEADS)):
        assert {combination[rank] for combination in ALWAYS} == set(parts)


@pytest.mark.parametrize(("encoder", "model", "head"), COMBINATIONS)
def test_fits_tests_and_predicts(encoder, model, head, config, tmp_path, request):
    language_model = part(*MODELS[model])
    if model == "llava_v1":
        language_model = language_model.replace("LLAVA", str(request.getfixturevalue("llava")))
    fit_test_and_predict(encoder, language_model, head, config, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [pytest.param(kind, marks=needs(kind)) for kind in CONFIGS])
def test_every_image_text_family_fits_tests_and_predicts(kind, config, tmp_path):
    arguments = {"model": CONFIGS[kind], "tokenizer": "words", "image_size": 56, "max_length": 1024}
    fit_test_and_predict("shared", part("lasagna.modules.ImageTextModel", arguments), "dot", config, tmp_path)


def fit_test_and_predict(encoder, language_model, head, config, tmp_path):
    """Run the package's commands with three parts, the second as a config."""
    options = [
        f"--config={config}",
        f"--trainer.default_root_dir={tmp_path}",
        "--trainer.max_steps=1",
        "--trainer.limit_test_batches=1",
        f"--model.assistant.vision_encoder={part(*ENCODERS[encoder])}",
        f"--model.assistant.language_model={language_model}",
        f"--model.assistant.mask_head={part(*HEADS[head])}",
    ]
    main(["run", *options])
    scores = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["stages"]["test"]["scores"]
    assert any("miou" in name for name in scores)
    cli = main(
        ["predict", f"--ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}", "--trainer.limit_predict_batches=1"]
    )
    assert cli.trainer.state.finished
    assert list(tmp_path.rglob("*.json"))


def test_a_tower_that_is_not_there_cannot_be_shared(config, tmp_path, capsys):
    options = [
        f"--config={config}",
        f"--trainer.default_root_dir={tmp_path}",
        f"--model.assistant.vision_encoder={part(*ENCODERS['shared'])}",
    ]
    with pytest.raises(SystemExit):
        main(["fit", *options])
    assert "TinyLanguageModel has none; take an ImageTextModel or LlavaV1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("sam", "needs a main map of as many channels, but the vision encoder gives"),
        ("sam2", "the second twice and the third four times as large as the main one, but the vision encoder gives"),
    ],
)
def test_a_head_that_does_not_fit_its_encoder_says_so(head, message, config, tmp_path, capsys):
    options = [
        f"--config={config}",
        f"--trainer.default_root_dir={tmp_path}",
        f"--model.assistant.mask_head={part(*HEADS[head])}",
    ]
    with pytest.raises(SystemExit):
        main(["fit", *options])
    assert message in capsys.readouterr().err
