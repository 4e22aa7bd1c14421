"""Tests that every converter must pass: a subclass writes a tiny release in the real layout and states its content."""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from abc import abstractmethod
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from lasagna import tasks
from lasagna.core.prompt_format import normalise
from lasagna.core.prompt_formats import PROMPT_FORMATS
from lasagna.datamodules.converters import Converter, convert
from lasagna.datamodules.converters.common.files import LayoutError
from lasagna.datamodules.shards.codec import decode_record
from lasagna.datamodules.shards.manifest import read_manifest
from lasagna.errors import ConfigError, LasagnaError, RecordError, ShardError
from lasagna.tasks import Semantic
from lasagna.tasks.evaluation.folder_tasks import folder_tasks

DROPPED = object()


@dataclass
class Expected:
    """What one record must contain.

    Args:
        image: The image file that it comes from.
        masks: Category name to its pixels, bool [H, W], for all present categories.
        absent: Names that count as absent; None for all names of the manifest without a mask.
        unclear: Names that are annotated without a usable or complete mask, and never asked for.
        ignored: Pixels that are ignored, or None if there are none.
        phrases: Text of each phrase to the pixels of everything it refers to.
        questions: Text of each question to its answer in words.
        turns: Number of turns of its conversation.
        objects: Category name to the pixels of its objects, and of its crowds, of all categories that are told apart.
    """

    image: Path
    masks: dict[str, np.ndarray] = field(default_factory=dict)
    absent: set[str] | None = None
    unclear: set[str] = field(default_factory=set)
    ignored: np.ndarray | None = None
    phrases: dict[str, np.ndarray] = field(default_factory=dict)
    questions: dict[str, str] = field(default_factory=dict)
    turns: int = 0
    objects: dict[str, tuple[list[np.ndarray], list[np.ndarray]]] = field(default_factory=dict)


def read_records(folder):
    """Return the records of a folder of shards by key, read with tarfile and the codec only."""
    shard_set, records = read_manifest(folder), {}
    for shard in shard_set.shards:
        samples = {}
        with tarfile.open(folder / shard.file) as tar:
            for member in tar.getmembers():
                key, _, extension = member.name.partition(".")
                samples.setdefault(key, {"__key__": key})[extension] = tar.extractfile(member).read()
        for sample in samples.values():
            record = decode_record(sample, shard_set.manifest)
            records[record.key] = record
    return records


def union(masks, size):
    return np.any([mask.decode() for mask in masks], axis=0) if masks else np.zeros(size, bool)


def asked(shard_set, records):
    """Return how many dialogues each task of an evaluation makes, which can be scored, from records without a model."""
    counts = {}
    for config in folder_tasks(shard_set).tasks:
        task = getattr(tasks, config["class_path"].rpartition(".")[2])(**config["init_args"])
        task.metrics(shard_set.manifest.categories)
        assert all(task.asks_all(record) for record in records)
        rng = np.random.default_rng(0)
        counts[type(task).__name__] = sum(len(task.dialogues(record, rng)) for record in records)
    return counts


DAMAGES = {
    "missing": None,
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "other bytes": lambda content: bytes(range(256)),
    "other text": lambda content: b"hello world\n1,2,3\n",
}
"""Damages of a file, with a function that damages its content; None if the file is missing."""


def altered(content):
    """Yield JSON without each of its parts in turn, and with other values in the place of each part."""
    for path in parts_of(content):
        for value in (DROPPED, None, 7, "x", [], {}, [None]):
            changed = deepcopy(content)
            within = changed
            for step in path[:-1]:
                within = within[step]
            if value is DROPPED:
                del within[path[-1]]
            else:
                within[path[-1]] = value
            yield changed


def parts_of(content, path=()):
    """Yield the paths of the parts of JSON; the first item of a list stands for all of them."""
    pairs = (
        content.items() if isinstance(content, dict) else enumerate(content[:1]) if isinstance(content, list) else ()
    )
    for step, part in pairs:
        yield (*path, step)
        yield from parts_of(part, (*path, step))


class ConverterContract:
    """Base of a converter's test class, which implements the two abstract methods."""

    @abstractmethod
    def release(self, folder: Path) -> dict[str, dict[str, Expected]]:
        """Write a release into a folder and return the expected records by split and key."""

    @abstractmethod
    def converter(self, folder: Path) -> Converter:
        """Return the converter of the release."""

    @pytest.fixture
    def expected(self, tmp_path):
        return self.release(tmp_path / "release")

    @pytest.fixture
    def written(self, expected, tmp_path):
        convert(self.converter(tmp_path / "release"), tmp_path / "shards", processes=0)
        return {split: read_records(tmp_path / "shards" / split) for split in expected}

    def pairs(self, expected, written):
        for split, records in expected.items():
            for key, wanted in records.items():
                yield wanted, written[split][key]

    def test_splits_and_keys_are_those_of_the_release(self, expected, written, tmp_path):
        assert {path.name for path in (tmp_path / "shards").iterdir()} == set(expected)
        assert {name: set(records) for name, records in written.items()} == {
            name: set(records) for name, records in expected.items()
        }

    def test_images_are_kept_byte_for_byte(self, expected, written):
        for wanted, record in self.pairs(expected, written):
            assert record.image_bytes == wanted.image.read_bytes()
            assert record.size == record.image().shape[:2]

    def test_masks_have_the_pixels_of_the_release(self, expected, written):
        for wanted, record in self.pairs(expected, written):
            found = {name: mask.decode() for name, mask in record.category_masks().items()}
            assert set(found) == set(wanted.masks)
            for name, pixels in wanted.masks.items():
                assert pixels.any(), f"{record.key}: the test expects an empty mask of {name}"
                assert np.array_equal(found[name], pixels), f"{record.key}: {name}"

    def test_objects_are_told_apart_where_the_release_does(self, expected, written):
        for wanted, record in self.pairs(expected, written):
            found = record.objects()
            assert set(found) == set(wanted.objects)
            for name, parts in wanted.objects.items():
                for masks, pixels in zip((found[name].masks, found[name].crowds), parts, strict=True):
                    assert len(masks) == len(pixels), f"{record.key}: {name}"
                    assert all(np.array_equal(mask.decode(), one) for mask, one in zip(masks, pixels, strict=True))

    def test_ignored_pixels_are_those_of_the_release(self, expected, written):
        for wanted, record in self.pairs(expected, written):
            ignored = record.ignored()
            pixels = np.zeros(record.size, bool) if ignored is None else ignored.decode()
            assert np.array_equal(pixels, np.zeros(record.size, bool) if wanted.ignored is None else wanted.ignored)

    def test_only_names_known_to_be_absent_can_be_called_so(self, expected, written):
        for wanted, record in self.pairs(expected, written):
            dialogues = Semantic().dialogues(record, np.random.default_rng(0))
            asked = {name for dialogue in dialogues for name in dialogue.query}
            everything = set(record.manifest.categories) - set(wanted.masks)
            absent = (everything if wanted.absent is None else wanted.absent) - wanted.unclear
            assert set(record.unclear) == wanted.unclear
            assert asked - set(wanted.masks) <= absent
            if wanted.ignored is None:
                assert asked == set(wanted.masks) - wanted.unclear | absent

    def test_phrases_questions_and_conversations(self, expected, written):
        for wanted, record in self.pairs(expected, written):
            phrases = {phrase.text: union(phrase.masks, record.size) for phrase in record.phrases}
            assert set(phrases) == set(wanted.phrases)
            assert all(np.array_equal(phrases[text], pixels) for text, pixels in wanted.phrases.items())
            assert {question.text: question.answer for question in record.questions} == wanted.questions
            assert len(record.conversation) == wanted.turns

    @pytest.mark.parametrize("broken", ["stop", "skip"])
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_files_are_named_or_counted(self, expected, tmp_path, damage, broken):
        release, target = tmp_path / "release", tmp_path / "damaged"
        for path in sorted(path for path in release.rglob("*") if path.is_file()):
            content = path.read_bytes()
            path.unlink()
            if DAMAGES[damage] is not None:
                path.write_bytes(DAMAGES[damage](content))
            # any other error would be a bug of the converter
            with suppress(LasagnaError):
                convert(self.converter(release), target, processes=0, broken=broken)
            for folder in target.glob("*"):
                if (folder / "manifest.json").is_file():
                    read_manifest(folder).verify()
            shutil.rmtree(target, ignore_errors=True)
            path.write_bytes(content)

    def test_a_cut_image_stops_the_conversion_or_is_counted(self, expected, tmp_path):
        images = {wanted.image for records in expected.values() for wanted in records.values()}
        for rank, image in enumerate(sorted(images)):
            content = image.read_bytes()
            image.write_bytes(content[: len(content) // 2])
            with pytest.raises(RecordError, match=re.escape(image.name)):
                convert(self.converter(tmp_path / "release"), tmp_path / "stopped", processes=0)
            try:
                written = convert(self.converter(tmp_path / "release"), tmp_path / str(rank), "", "skip", processes=0)
                counted = sum(part.tally.left_out.get("missing or broken files", 0) for part in written.values())
            except ShardError as error:
                counted = str(error).count(" x missing or broken files")
            assert counted >= 1
            shutil.rmtree(tmp_path / "stopped")
            image.write_bytes(content)

    def test_entries_of_another_form_are_named(self, expected, tmp_path):
        release = tmp_path / "release"
        for path in sorted(release.rglob("*.json")):
            content = path.read_bytes()
            for changed in altered(json.loads(content)):
                path.write_text(json.dumps(changed))
                with suppress(LasagnaError):
                    for split in self.converter(release).splits().values():
                        list(split.records())
            path.write_bytes(content)

    def test_a_folder_of_something_else_is_refused_with_what_was_looked_for(self, tmp_path):
        (tmp_path / "release").mkdir()
        with pytest.raises(LayoutError, match=r"there is no|expected|missing"):
            convert(self.converter(tmp_path / "release"), tmp_path / "shards")
        assert not (tmp_path / "shards").exists()

    def test_names_are_unique_and_can_be_asked_for_in_every_prompt_format(self, written, tmp_path):
        for split in written:
            manifest = read_manifest(tmp_path / "shards" / split).manifest
            names = [normalise(name) for name in manifest.categories]
            assert len(set(names)) == len(names)
            assert all(name == name.strip() and "_" not in name for name in manifest.categories)
            assert set(manifest.aliases) <= set(manifest.categories)
            assert manifest.origin and manifest.licence
            if manifest.categories:
                for prompt_format in PROMPT_FORMATS.values():
                    prompt_format.check("categories", manifest.categories)

    def test_the_same_release_gives_the_same_bytes(self, expected, written, tmp_path):
        convert(self.converter(tmp_path / "release"), tmp_path / "again", processes=2)
        for path in sorted((tmp_path / "shards").glob("*/*")):
            other = tmp_path / "again" / path.relative_to(tmp_path / "shards")
            assert path.read_bytes() == other.read_bytes()

    def test_what_is_there_is_counted_and_all_of_it_asked_for_in_an_evaluation(self, expected, written, tmp_path):
        for split, records in expected.items():
            shard_set = read_manifest(tmp_path / "shards" / split)
            entries, wanted = shard_set.tally.entries, records.values()
            assert entries["categories"] == sum(len(record.masks) for record in wanted)
            crowds = [groups for record in wanted for _, groups in (record.objects or {}).values()]
            assert entries.get("crowds", 0) == sum(map(len, crowds))
            phrases, questions = (sum(len(getattr(one, name)) for one in wanted) for name in ("phrases", "questions"))
            assert entries["phrases"] == phrases
            if set(name for name, count in entries.items() if count) <= {"turns of conversations", "captions"}:
                with pytest.raises(ConfigError, match=r"nothing in .* can be scored .*(turns of conv|captions)"):
                    folder_tasks(shard_set)
                continue
            counts = asked(shard_set, written[split].values())
            assert counts.get("Referring", 0) == phrases
            assert counts.get("Reasoning", 0) + counts.get("VQA", 0) == questions
            has_lists = entries["categories"] or entries["names known to be absent"]
            assert ("Semantic" in counts) == bool(has_lists) and all(counts.values())

    def test_a_wrong_folder_says_what_was_looked_for(self, tmp_path):
        (tmp_path / "empty").mkdir()
        with pytest.raises(OSError, match=r"(?s)(expected|missing|there is no)"):
            self.converter(tmp_path / "empty").splits()


class QuickConverterContract(ConverterContract):
    """The same with damaged files among the slow tests, for converters that read files by the functions of others."""

    @pytest.mark.slow
    @pytest.mark.parametrize("broken", ["stop", "skip"])
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_damaged_files_are_named_or_counted(self, expected, tmp_path, damage, broken):
        super().test_damaged_files_are_named_or_counted(expected, tmp_path, damage, broken)
