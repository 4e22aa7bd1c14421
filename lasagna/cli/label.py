"""``lasagna label``: label a folder of images by typing names, in the files of other tools, to be looked through."""

# without `from __future__ import annotations`, whose texts the parser resolves by running the imports for type checkers
import json
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lasagna.core.images import Window, check_channels, check_window
from lasagna.core.storage import check_output, write_json, write_text
from lasagna.core.thresholds import nearness, read_thresholds, with_thresholds
from lasagna.core.tiles import chosen_tiles
from lasagna.errors import OutputError, QueryError, RecordError

if TYPE_CHECKING:
    from lasagna.core.batch import Query
    from lasagna.modules.assistant import Assistant

RECIPE = "label.json"
PAGE = "review.html"
SHOWN = 500
"""Most images of the page; the files of labels hold all."""


def label(
    folder: Path,
    names: str,
    ckpt: Path | None = None,
    out: Path = Path("labels"),
    format: str = "coco",
    objects: bool = False,
    threshold: float | None = None,
    thresholds: dict[str, float] | Path | None = None,
    calibrated_for: str | None = None,
    window: tuple[float | str, float | str] | None = None,
    channels: list[int] | None = None,
    tiles: int | None = None,
    overlap: int | None = None,
    device: str = "auto",
    frozen_check: bool = True,
) -> None:
    """Label each image of a folder with the names of a list, and order the results by doubt.

    Started again, it goes on with the images that are not labelled yet. The page ``review.html`` shows the images of
    which the assistant is least certain first.

    Args:
        folder: The folder of images.
        names: Names separated by commas, or a text file with one name on each line; there, empty lines and those that
            begin with "#" are left out.
        ckpt: A checkpoint of training, or a folder that `lasagna export` wrote. Without it, the small assistant of the
            package answers, which knows drawn scenes only.
        out: Folder for the labels: a JSON file and a picture for each image, the files in other forms, and the page.
        format: Forms of the files, separated by commas: "coco", "labelme", "yolo" or "png".
        objects: Whether each object of a name is told apart, by models that learned that.
        threshold: Score in [0, 1] from which a name is called present; by default the one that `lasagna calibrate`
            found for the checkpoint, or 0.5.
        thresholds: Names with a threshold of their own, e.g. "{dog: 0.7}", or a JSON file with them.
        calibrated_for: Data set whose calibrated threshold is used; by default that of all data sets together.
        window: Values of images of more than 8 bits that become black and white, e.g. "[0, 4095]", or percentages of
            the image's pixels, e.g. "[2%, 98%]"; by default those of all 16 bits.
        channels: Channels of images that become red, green and blue, or the one that becomes grey, counted from 0, e.g.
            "[3, 2, 1]"; needed for images of more than three channels.
        tiles: Height and width of the tiles in which large images are answered, in pixels, e.g. 512; by default each
            image is answered as a whole.
        overlap: Pixels that neighbouring tiles have in common; by default an eighth of a tile.
        device: Device to compute on: "cpu", "cuda", ...; "auto" for an accelerator if there is one.
        frozen_check: Whether to require the frozen weights that the checkpoint was trained with.

    Raises:
        QueryError: If the list has no names or one twice, a form is not known, or a threshold is for another name.
        RecordError: If the folder has no images, or none can be read.
        CheckpointError: If the checkpoint cannot be used.
        LasagnaError: If the threshold, the window, the channels, the tiles or the device cannot be used.
        OutputError: If the labels cannot be written, or the folder holds labels of other names or another assistant.
        BusyError: If another process is labelling into the folder.
    """
    from lasagna.cli.answered_images import answer_images, output_stems
    from lasagna.cli.predict import check_apart, find_images, load_assistant
    from lasagna.core.batch import Query
    from lasagna.core.locks import locked
    from lasagna.core.query_kind import CATEGORY_LIST
    from lasagna.integrations.label_files import LabelFiles, read_formats
    from lasagna.modules.learned_kinds import list_kind

    images, asked = find_images(folder), read_names(names)
    own = read_thresholds(thresholds) or None
    with_thresholds([Query(0, CATEGORY_LIST, asked)], own)
    files = LabelFiles(out, read_formats(format), asked)
    check_output(out)
    check_apart(folder, out)
    seen = None if window is None else check_window(window)
    chosen, divided = None if channels is None else check_channels(channels), chosen_tiles(tiles, overlap)
    assistant = load_assistant(ckpt, threshold, calibrated_for, device, frozen_check)
    [query] = with_thresholds([Query(0, list_kind(assistant, objects), asked)], own)
    recipe = _recipe(assistant, ckpt, query, seen) | {
        "thresholds": own,
        "channels": channels,
        "tiles": None if divided is None else [divided.size, divided.overlap],
    }
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        _check_recipe(out, recipe)
        stems = output_stems(images)
        answered = {image: out / f"{stems[image]}.json" for image in images}
        left = [
            image for image in images if not all(map(Path.is_file, [answered[image], *files.files_of(stems[image])]))
        ]
        if len(left) < len(images):
            print(f"{len(images) - len(left)} of {len(images)} images are labelled already")
        shown = [[image] for image in left]
        failed = answer_images(
            assistant, shown, [query], out, "ordered", seen, files=files, stems=stems, channels=chosen, tiles=divided
        )
        done = [file for file in answered.values() if file.is_file()]
        if not done:
            raise RecordError(f"folder: none of {len(images)} images could be read, the first because: {failed[0]}")
        files.finish(done)
        write_review(out, done, assistant.presence_threshold, own)
    print(f"{len(done)} of {len(images)} images labelled in {out}; look through {out / PAGE}")
    for error in failed:
        print(f"skipped: {error}", file=sys.stderr)


def read_names(text: str) -> tuple[str, ...]:
    """Return the names of a list, or of the text file that it names.

    Raises:
        QueryError: If the file cannot be read, there is no name, one is there twice, or one cannot be asked for.
    """
    from lasagna.core.answer_parser import normalise
    from lasagna.core.prompt_formats import PAPER
    from lasagna.core.query_kind import CATEGORY_LIST

    lines, where = text.split(","), repr(text)
    if _FILE.search(text) or _is_file(text):
        try:
            lines, where = Path(text).read_text(encoding="utf-8-sig").splitlines(), text
        except OSError as error:
            way_out = "correct the path, or write a comma behind it if it is a name"
            raise QueryError(f"names: {text!r} cannot be read ({error.strerror or error}); {way_out}") from error
        except UnicodeError as error:
            raise QueryError(f"names: {text!r} cannot be read ({error}); save it as a text file in UTF-8") from error
    stripped = map(str.strip, lines)
    found = tuple(line for line in stripped if line and not line.startswith("#"))
    if not found:
        raise QueryError(f"names: {where} has no name; give names separated by commas, or one on each line of a file")
    keys = Counter(map(normalise, found))
    if twice := sorted(key for key, count in keys.items() if count > 1):
        raise QueryError(f"names: {where} has {', '.join(twice)} twice; leave one out")
    try:
        PAPER.check(CATEGORY_LIST, found)
    except QueryError as error:
        raise QueryError(f"names: {str(error).removeprefix('query: ')}") from error
    return found


_FILE = re.compile(r"^[^,]*[^\s,]\.[A-Za-z]{2,5}$|\.txt$")
"""A text that is meant as a file, whether it is there or not: without this, a slip would be asked for as a name."""


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except OSError:
        # a list can be longer than a path
        return False


def _recipe(assistant: "Assistant", ckpt: Path | None, query: "Query", window: Window | None) -> dict[str, Any]:
    """Return what labels depend on, as plain data."""
    from lasagna.modules.checkpoints.calibration import checksum
    from lasagna.modules.checkpoints.hub import local_copy

    return {
        "names": list(query.names),
        "kind": str(query.kind),
        "ckpt": None if ckpt is None else checksum(Path(local_copy(ckpt))),
        "threshold": assistant.presence_threshold,
        "window": None if window is None else list(window),
    }


def _check_recipe(out: Path, recipe: dict[str, Any]) -> None:
    """Store what the labels of a folder depend on, or check that those that are there depend on the same.

    Raises:
        OutputError: If they depend on something else.
    """
    file = out / RECIPE
    if not file.is_file():
        write_json(file, recipe, indent=2)
        return
    try:
        stored = dict(json.loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise OutputError(f"out: {file} cannot be read ({error}); choose another folder") from error
    if changed := [key for key in recipe if stored.get(key) != recipe[key]]:
        raise OutputError(f"out: {out} holds labels made with other {', '.join(changed)}; choose another folder")


def doubt_of(entry: dict[str, Any], threshold: float) -> float:
    """Return how uncertain an entry of an answer is, in [0, 1].

    That is how near its score is to the threshold, as a share of the way from the end of the scale; for present names,
    at least how far the mean probability inside the mask is from 1. An empty mask of a present name is all doubt.

    Args:
        entry: The entry, as ``lasagna.core.answer_json.entry_json`` writes it.
        threshold: Score from which a name is called present.
    """
    near = nearness(entry["score"] or 0.0, threshold)
    if not entry["present"]:
        return near
    return 1.0 if entry["empty"] else max(near, 1 - (entry["confidence"] or 0.0))


def write_review(
    out: Path, done: Sequence[Path], threshold: float, thresholds: Mapping[str, float] | None = None
) -> None:
    """Write the page that shows the most doubtful images first.

    Args:
        out: The folder of the labels; pictures are shown from it.
        done: The JSON file of each image.
        threshold: Score from which a name is called present.
        thresholds: Those of names with one of their own.

    Raises:
        OutputError: If it cannot be written.
    """
    from lasagna.core.pages import figure, table, to_page

    cuts = defaultdict(lambda: threshold, thresholds or {})
    ranked = sorted(((*_summary(file, cuts), file.stem) for file in done), key=lambda row: (-row[0], row[-1]))
    rows = [[stem, f"{doubt:.3f}", names] for doubt, names, _, stem in ranked]
    shown = [line for doubt, names, picture, stem in ranked[:SHOWN] for line in figure(picture, f"{stem}: {names}")]
    left = [f"The table lists all {len(rows)} images; {SHOWN} are drawn.", ""] if len(rows) > SHOWN else []
    head = ["The image with the most doubtful decision comes first; the names of most doubt stand beside it.", ""]
    text = [*head, *left, *table(["image", "doubt", "names"], rows), *shown]
    write_text(out / PAGE, to_page("Labels to look through", "\n".join(text)))


def _summary(file: Path, cuts: Mapping[str, float]) -> tuple[float, str, str]:
    """Return the highest doubt of an image, the three names of most doubt, and the name of its picture."""
    (answer,) = json.loads(file.read_bytes())["answers"]
    entries = sorted(
        ((doubt_of(entry, cuts[entry["name"]]), entry) for entry in answer["entries"]), key=lambda one: -one[0]
    )
    names = ", ".join(_told(entry) for _, entry in entries[:3])
    return max((doubt for doubt, _ in entries), default=1.0), names, f"{file.stem}-{answer['kind']}.png"


def _told(entry: dict[str, Any]) -> str:
    score = entry["score"] or 0.0
    if not entry["present"]:
        return f"{entry['name']} absent ({score:.2f})"
    mask = "empty mask" if entry["empty"] else f"mask {entry['confidence'] or 0.0:.2f}"
    return f"{entry['name']} present ({score:.2f}, {mask})"
