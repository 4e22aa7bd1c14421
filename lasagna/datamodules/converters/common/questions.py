"""Questions about an image that masks answer, as data sets of reasoning segmentation have them in JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lasagna.core.masks import Mask, RLEMask
from lasagna.core.record import Manifest, Question, Record
from lasagna.datamodules.converters.common.coco import lost_parts, read_mask
from lasagna.datamodules.converters.common.files import read_annotated_image_file
from lasagna.datamodules.converters.common.object_maps import mask_pixels
from lasagna.datamodules.shards.tally import ReadResult, Skipped
from lasagna.errors import RecordError


@dataclass(frozen=True)
class AskedQuestion:
    """A question.

    Args:
        text: The question.
        targets: What answers it, each as COCO encodes masks, or the path of a file that is not black there.
        answer: The answer in words, or empty.
    """

    text: str
    targets: tuple[Any, ...]
    answer: str = ""


@dataclass(frozen=True)
class QuestionItem:
    """An image with its questions.

    Args:
        key: Name of the record.
        image: The image file.
        questions: The questions.
        stated: Height and width of the image as the annotation file states them, if it does.
    """

    key: str
    image: Path
    questions: tuple[AskedQuestion, ...]
    stated: tuple[int, int] | None = None


def by_image(items: Iterable[QuestionItem]) -> list[QuestionItem]:
    """Join the items about the same image, in the order in which the images first occur."""
    found: dict[Path, QuestionItem] = {}
    for item in items:
        known = found.get(item.image)
        questions = (*(known.questions if known else ()), *item.questions)
        found[item.image] = QuestionItem(item.key, item.image, questions, item.stated)
    return list(found.values())


@dataclass(frozen=True)
class ReadQuestions:
    """Reads an image with its questions.

    Args:
        manifest: What holds for all records.
        file: Name of the annotation file, for messages.
    """

    manifest: Manifest
    file: str

    def __call__(self, item: QuestionItem) -> ReadResult:
        """Read the image and the masks; a question of which a target has no mask is left out.

        Raises:
            RecordError: If the image is broken or has another size than stated, or a mask is invalid or of another
                size.
        """
        data, size = read_annotated_image_file(item.image, item.stated)
        questions, left = [], list[Skipped]()
        for rank, asked in enumerate(item.questions):
            where = f"{self.file}: question {rank} of {item.key}"
            masks = [self._mask(coding, size, where, left) for coding in asked.targets]
            drawn = tuple(mask for mask in masks if mask is not None)
            if asked.text.strip() and drawn and len(drawn) == len(masks):
                questions.append(Question(asked.text.strip(), asked.answer.strip(), drawn))
            else:
                left.append(Skipped("question without words, or without a mask of each target", where))
        record = Record(item.key, data, size, self.manifest, questions=tuple(questions)) if questions else None
        return ReadResult(record, tuple(left))

    def _mask(self, coding: Any, size: tuple[int, int], where: str, left: list[Skipped]) -> Mask | None:  # noqa: ANN401
        """Return a mask, or None if it is left out."""
        if isinstance(coding, Path):
            return self._drawn(coding, size, left)
        mask = read_mask(coding, size, where)
        if isinstance(mask, Skipped):
            left.append(mask)
            return None
        left += lost_parts(coding, size, where)
        return mask

    def _drawn(self, path: Path, size: tuple[int, int], left: list[Skipped]) -> Mask | None:
        pixels = mask_pixels(path, str(path))
        if pixels.shape != size:
            raise RecordError(f"{path}: it has size {pixels.shape}, the image {size}; both must agree")
        if not pixels.any():
            left.append(Skipped("mask without a pixel", str(path)))
            return None
        return RLEMask.from_array(pixels)
