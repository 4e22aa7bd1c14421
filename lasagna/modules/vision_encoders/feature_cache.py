"""Features of a frozen vision encoder, computed once per image and cached on disk.

Notation: b: images; H, W: the encoder's input size; c, h, w: channels, height and width of a map.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lasagna.errors import ConfigError
from lasagna.modules.base import VisionEncoder
from lasagna.modules.checkpoints.files import save_tensors
from lasagna.modules.checkpoints.weights import fingerprint


@dataclass(eq=False)
class FeatureCache:
    """Looks up features by the pixels that they were computed from; computes and stores those that are missing.

    The cache helps if the same input recurs, over several epochs or runs without random crops and colours. Features are
    stored as they were computed, so that a run with a full cache gives the numbers of a run without one. Each encoder,
    with its weights, sizes and precision, has a folder of its own. The files can be deleted at any time.

    Args:
        folder: Folder of the cache.
        limit_gb: Most gigabytes that this process adds; features beyond them are computed but not stored.
    """

    folder: str
    limit_gb: float = 20.0
    _left: float = field(init=False, repr=False)
    _digests: dict[VisionEncoder, str] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Check the limit."""
        if self.limit_gb <= 0:
            raise ConfigError(f"feature_cache.limit_gb: expected more than 0, got {self.limit_gb}")
        self._left = self.limit_gb * 2**30

    def check(self, encoder: VisionEncoder) -> None:
        """Check that an encoder's features do not change.

        Raises:
            ConfigError: If any of its weights are trained.
        """
        trained = [name for name, parameter in encoder.named_parameters() if parameter.requires_grad]
        if trained:
            raise ConfigError(
                f"feature_cache: the vision encoder is trained ({trained[0]} and {len(trained) - 1} more), so that its "
                "features change; freeze it (vision_encoder.frozen: true) or leave out the cache"
            )

    def __call__(self, encoder: VisionEncoder, pixels: Tensor) -> list[Tensor]:
        """Return the maps of images, each ``[b, c, h, w]``, on their device.

        Args:
            encoder: The encoder, built and frozen.
            pixels: Prepared images, float ``[b, 3, H, W]``.
        """
        folder = Path(self.folder) / self._digest(encoder, pixels)
        with ThreadPoolExecutor() as pool:  # hashing takes most of the time, and releases the GIL
            files = [folder / f"{key}.safetensors" for key in pool.map(_key, pixels)]
        found = [_read(file) for file in files]
        missing = [place for place, maps in enumerate(found) if maps is None]
        if missing:
            with torch.no_grad():
                computed = encoder(pixels[missing])
            for row, place in enumerate(missing):
                found[place] = [maps[row] for maps in computed]
                self._store(files[place], [maps[row] for maps in computed])
        complete = [maps for maps in found if maps is not None]
        return [torch.stack([image.to(pixels.device) for image in maps]) for maps in zip(*complete, strict=True)]

    def _digest(self, encoder: VisionEncoder, pixels: Tensor) -> str:
        # the key is the encoder itself, since its id may be reused once it is gone
        if encoder not in self._digests:
            weights = sorted(fingerprint(encoder, ()).items())
            self._digests[encoder] = _short(f"{encoder.cache_key}{weights}".encode())
        kind = pixels.device.type
        cast = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else pixels.dtype
        return f"{type(encoder).__name__}-{self._digests[encoder]}-{str(cast).rpartition('.')[2]}"

    def _store(self, file: Path, maps: Sequence[Tensor]) -> None:
        size = sum(image.numel() * image.element_size() for image in maps)
        if size > self._left:
            if self._left >= 0:
                warnings.warn(f"feature_cache: {self.folder} is full; raise limit_gb to keep more", stacklevel=2)
            self._left = -1
            return
        self._left -= size
        file.parent.mkdir(parents=True, exist_ok=True)
        # two processes may compute the same image; each writes its own file and moves it into place
        draft = file.with_name(f"{uuid4().hex}.part")
        try:
            save_tensors({str(place): image for place, image in enumerate(maps)}, draft)
            draft.replace(file)
        except OSError as error:
            warnings.warn(f"feature_cache: nothing more is kept: {error}", stacklevel=2)
            self._left = -1


def _key(image: Tensor) -> str:
    return _short(image.detach().float().cpu().contiguous().numpy().data)


def _short(content: bytes | memoryview) -> str:
    # processors have instructions for SHA-256, and images are large
    return sha256(content).hexdigest()[:32]


def _read(file: Path) -> list[Tensor] | None:
    if not file.is_file():
        return None
    try:
        maps = load_file(file)
    except (SafetensorError, OSError):
        return None  # truncated by a full disk, or deleted in the meantime; computed and written again
    return [maps[str(place)] for place in range(len(maps))]
