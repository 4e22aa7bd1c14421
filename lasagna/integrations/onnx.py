"""ONNX: image encoder and mask decoder as two graphs, and an assistant whose parts run in ONNX Runtime.

Needs the extra ``onnx``.

Notation: b: images; n: mask prompts; h, w: size of a resized image.
"""

from __future__ import annotations

import copy
import logging
import warnings
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lasagna.core.geometry import Geometry
from lasagna.core.processors import ByteImageProcessor
from lasagna.core.storage import write_json
from lasagna.errors import CheckpointError, ConfigError
from lasagna.modules.base import FeatureSpec, MaskHead, VisionEncoder
from lasagna.modules.exported import export_programs
from lasagna.modules.mask_prediction import MaskPrediction

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch.export import ExportedProgram

    from lasagna.modules.assistant import Assistant

ENCODER, DECODER, FACTS = "image_encoder", "mask_decoder", "onnx.json"
"""Names of the graphs, and of the file that describes them."""

ASKED, DRAWN = ("states", "image_index"), ("logits", "scores")
"""Inputs of the mask decoder besides the maps, and its outputs."""

LARGEST = 1 << 30
"""Bytes of weights from which they stand beside the graph; a file of ONNX holds at most 2 GiB."""


def check_installed() -> None:
    """Check that the extra is installed.

    Raises:
        ConfigError: If it is not.
    """
    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ConfigError(f'layout: onnx needs {", ".join(missing)}; install the extra: pip install -e ".[onnx]"')


def write_onnx(assistant: Assistant, folder: Path, int8: bool = False) -> list[Path]:
    """Write image encoder and mask decoder as ONNX.

    Args:
        assistant: The assistant, configured, in float32.
        folder: Where to write.
        int8: Whether to write both once more with weights of eight bits (dynamic quantisation of ONNX Runtime).

    Returns:
        The files.

    Raises:
        ConfigError: If the extra is missing, or a part cannot be exported.
    """
    check_installed()
    programs = export_programs(assistant)
    maps = [f"map_{place}" for place in range(programs.maps)]
    folder.mkdir(parents=True, exist_ok=True)
    files = _write(programs.encoder, folder / f"{ENCODER}.onnx", ["pixels"], maps)
    files += _write(
        programs.decoder, folder / f"{DECODER}.onnx", [*maps, "states", "image_index"], ["logits", "scores"]
    )
    if int8:
        files += [part for name in (ENCODER, DECODER) for part in _quantised(folder / f"{name}.onnx")]
    write_json(folder / FACTS, _facts(assistant, maps, programs.single), indent=2)
    return [*files, folder / FACTS]


def _write(program: ExportedProgram, file: Path, inputs: list[str], outputs: list[str]) -> list[Path]:
    outside = sum(value.nbytes for value in program.state_dict.values()) > LARGEST
    with _quiet():
        graph = torch.onnx.export(
            program, input_names=inputs, output_names=outputs, external_data=outside, dynamo=True, verbose=False
        )
        assert graph is not None
        graph.save(file, external_data=outside)
    return [file, Path(f"{file}.data")] if outside else [file]


def _quantised(file: Path) -> list[Path]:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    target, outside = file.with_name(f"{file.stem}_int8.onnx"), Path(f"{file}.data").is_file()
    with _quiet():
        # on CPUs, ConvInteger of ONNX Runtime takes unsigned weights only
        quantize_dynamic(file, target, weight_type=QuantType.QUInt8, use_external_data_format=outside)
    return [target, Path(f"{target}.data")] if outside else [target]


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the tools tell of themselves: names that go out of use, and steps that change nothing here."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.root.setLevel(level)


def _facts(assistant: Assistant, maps: list[str], single: bool) -> dict[str, Any]:
    """Return what a program that reads the graphs needs to know besides."""
    processor = assistant.vision_encoder.image_processor
    return {
        "encoder": f"{ENCODER}.onnx",
        "decoder": f"{DECODER}.onnx",
        "image_size": list(processor.geometry((64, 64)).padded),
        "resize": type(processor).__name__,
        "maps": maps,
        "decoder_images": 1 if single else "any",
        "hidden_size": assistant.language_model.hidden_size,
        "mask_threshold": assistant.mask_threshold,
    }


def with_runtime(assistant: Assistant, folder: str | Path, int8: bool = False, threads: int = 0) -> Assistant:
    """Return an assistant whose image encoder and mask decoder run in ONNX Runtime; the language model stays live.

    Args:
        assistant: The assistant that was exported, which stays as it is; they share the language model.
        folder: What ``write_onnx`` or ``lasagna export --layout onnx`` wrote.
        int8: Whether to use the graphs with weights of eight bits.
        threads: Threads of ONNX Runtime; 0 for its own choice.

    Raises:
        ConfigError: If the extra is missing.
        CheckpointError: If the folder has no such graphs.
    """
    check_installed()
    sessions = [_session(Path(folder), name, int8, threads) for name in (ENCODER, DECODER)]
    assistant.configure_model()
    other = copy.copy(assistant)
    other._modules = dict(assistant._modules)  # a copy shares this table
    other.vision_encoder = _RuntimeEncoder(assistant.vision_encoder, sessions[0])
    other.prompt_projection = nn.Sequential()
    other.mask_head = _RuntimeDecoder(assistant, sessions[1])
    other.feature_cache = None
    return other


def _session(folder: Path, name: str, int8: bool, threads: int) -> Any:  # noqa: ANN401
    import onnxruntime

    file = folder / f"{name}{'_int8' * int8}.onnx"
    if not file.is_file():
        raise CheckpointError(
            f"folder: there is no file {str(file)!r}; write it with `lasagna export --layout onnx`{' --int8' * int8}"
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])


class _Bytes:
    """An image processor that leaves normalisation and padding to the graph."""

    def __init__(self, processor: ByteImageProcessor) -> None:
        self.processor = processor

    def geometry(self, size: tuple[int, int]) -> Geometry:
        return self.processor.geometry(size)  # type: ignore[attr-defined,no-any-return]

    def pixels(self, image: NDArray[np.uint8]) -> Tensor:
        return self.processor.fitted(image).values.contiguous()


class _RuntimeEncoder(VisionEncoder):
    def __init__(self, live: VisionEncoder, session: Any) -> None:  # noqa: ANN401
        super().__init__()
        self._spec, self.session = live.spec, session
        self.processor = _Bytes(live.image_processor)  # type: ignore[arg-type]

    @property
    def spec(self) -> FeatureSpec:
        return self._spec

    @property
    def image_processor(self) -> _Bytes:
        return self.processor

    def build(self) -> None:
        """Do nothing."""

    def forward(self, pixels: Tensor) -> list[Tensor]:
        found = self.session.run(None, {"pixels": pixels.to(torch.uint8).cpu().numpy()})
        return [torch.from_numpy(maps).to(pixels.device) for maps in found]


class _RuntimeDecoder(MaskHead):
    def __init__(self, live: Assistant, session: Any) -> None:  # noqa: ANN401
        super().__init__()
        shapes = {one.name: one.shape for one in session.get_inputs()}
        self.wanted, self.single = (
            set(shapes),
            any(shape[:1] == [1] for name, shape in shapes.items() if "map_" in name),
        )
        self.width, self.most, self.session = live.language_model.hidden_size, live.mask_head.most_masks, session

    @property
    def most_masks(self) -> int:
        return self.most

    @property
    def prompt_dim(self) -> int:
        return self.width

    def build(self, features: FeatureSpec) -> None:
        """Do nothing."""

    def forward(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor) -> MaskPrediction:
        if not len(prompts):  # nothing is present
            return MaskPrediction.single(prompts.new_zeros(0, 1, 1))
        if self.single and len(features[0]) > 1:
            order = image_index.argsort(stable=True)
            parts = [(image, (image_index == image).nonzero()[:, 0]) for image in image_index.unique().tolist()]
            drawn = [self._run([level[image, None] for level in features], prompts[own]) for image, own in parts]
            logits, scores = (torch.cat(column)[order.argsort()] for column in zip(*drawn, strict=True))
            return MaskPrediction(logits, scores)
        return MaskPrediction(*self._run(features, prompts, image_index))

    def _run(self, features: Sequence[Tensor], prompts: Tensor, image_index: Tensor | None = None) -> list[Tensor]:
        index = torch.zeros(len(prompts), dtype=torch.long) if image_index is None else image_index
        given = {f"map_{place}": level for place, level in enumerate(features)}
        given |= {"states": prompts.float(), "image_index": index}
        named = {name: value.cpu().contiguous().numpy() for name, value in given.items() if name in self.wanted}
        return [torch.from_numpy(part).to(prompts.device) for part in self.session.run(None, named)]
