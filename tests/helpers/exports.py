"""Exports of labelling tools, made here with the quirks that these tools have."""

import json
import tarfile
from importlib.util import find_spec
from io import BytesIO

import numpy as np
from PIL import Image

SIZE = (20, 30)

COCO_EXPORTS = {
    "Label Studio": ("result.json", "images/1a2b-one cup.jpg", "images\\1a2b-one%20cup.jpg"),
    "CVAT": ("annotations/instances_default.json", "images/default/day/one.jpg", "day/one.jpg"),
    "CVAT without subsets": ("annotations/instances_default.json", "images/one.jpg", "one.jpg"),
    "Roboflow": ("_annotations.coco.json", "one_jpg.rf.1abc.jpg", "one_jpg.rf.1abc.jpg"),
    "FiftyOne": ("labels.json", "data/one.jpg", "one.jpg"),
    "Supervisely": ("annotations/instances.json", "images/one.jpg", "one.jpg"),
    "labelme2coco": ("dataset.json", "pictures/one.jpg", "C:\\Users\\me\\pictures\\one.jpg"),
}
"""Tool to the files of its export in COCO's form: annotations, image, and what the annotations call the image."""


def photograph(path, size=SIZE, **options):
    """Write an image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(list(path.name.encode())).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def yolo_line(number, *points, size=SIZE):
    """Return a line of a label file, of points in pixels."""
    fractions = (f"{x / size[1]:.6f} {y / size[0]:.6f}" for x, y in points)
    return f"{number} {' '.join(fractions)}\n"


def box_points(left, top, right, bottom):
    """Return the corners of a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def write_yolo(folder):
    """Write an export as Roboflow makes them: paths that begin with "..", the split "val" in "valid", empty files."""
    (folder / "data.yaml").parent.mkdir(parents=True, exist_ok=True)
    (folder / "data.yaml").write_text(
        "train: ../train/images\nval: ../valid/images\nnc: 3\nnames: ['traffic_light', 'cup', 'fork']\n"
        "roboflow:\n  license: CC BY 4.0\n"
    )
    lights = [yolo_line(0, *box_points(2, 3, 9, 8)), yolo_line(0, *box_points(12, 3, 15, 8))]
    texts = {
        "train/one.rf.1": "".join(lights) + yolo_line(1, (20, 4), (29, 4), (20, 14)) + lights[0],
        "train/two.rf.2": "",
        "valid/three.rf.3": yolo_line(2, *box_points(5, 5, 40, 15)),
    }
    for place, text in texts.items():
        part, name = place.split("/")
        photograph(folder / part / "images" / f"{name}.jpg")
        path = folder / part / "labels" / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def write_yolo_of(tool, folder):
    """Write an export as a tool does: CVAT lists its images with paths of its own, Label Studio has ``classes.txt``."""
    line = yolo_line(1, *box_points(5, 4, 20, 12))
    if tool == "CVAT":
        photograph(folder / "images" / "train" / "day" / "one.jpg")
        label = folder / "labels" / "train" / "day" / "one.txt"
        (folder / "data.yaml").write_text("names:\n  0: traffic_light\n  1: cup\npath: .\ntrain: train.txt\n")
        (folder / "train.txt").write_text("data/images/train/day/one.jpg\n")
    else:
        photograph(folder / "images" / "1a2b-one.jpg")
        label = folder / "labels" / "1a2b-one.txt"
        (folder / "classes.txt").write_text("traffic_light\ncup\n")
        (folder / "notes.json").write_text(json.dumps({"categories": [{"id": 0, "name": "traffic_light"}]}))
    label.parent.mkdir(parents=True)
    label.write_text(line)


def write_cvat_masks(folder):
    """Write CVAT's "Segmentation mask 1.1": colours of its own, three channels, one list called "default"."""
    (folder / "ImageSets" / "Segmentation").mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets" / "Segmentation" / "default.txt").write_text("one\ntwo\n")
    rows = ["# label:color_rgb:parts:actions", "background:0,0,0::", "cup:128,0,0::", "fork_and_knife:0,128,0::"]
    (folder / "labelmap.txt").write_text("\n".join(rows) + "\n")
    boxes = {"one": [((128, 0, 0), 2, 3, 9, 9), ((128, 0, 0), 12, 3, 16, 9), ((0, 128, 0), 20, 10, 28, 18)], "two": []}
    for name, parts in boxes.items():
        photograph(folder / "JPEGImages" / f"{name}.jpg")
        classes, objects = np.zeros((2, *SIZE, 3), np.uint8)
        for number, (colour, left, top, right, bottom) in enumerate(parts, 1):
            classes[top:bottom, left:right] = colour
            objects[top:bottom, left:right] = (number * 64, 0, 0)
        for part, pixels in (("SegmentationClass", classes), ("SegmentationObject", objects)):
            (folder / part).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(folder / part / f"{name}.png")


def write_datasets(folder):
    """Write a data set as Hugging Face ``datasets`` does: content of images, numbers of classes with their names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = photograph(folder / "one.jpg")
    image = {"bytes": path.read_bytes(), "path": "one.jpg"}
    path.unlink()
    square, wide = (
        [float(side) for point in box_points(*box) for side in point] for box in ((2, 3, 9, 8), (12, 3, 40, 8))
    )
    objects = {"category": [1, 0], "segmentation": [[square], [wide]], "bbox": [[2.0, 3.0, 7.0, 5.0], None]}
    noted = {"category": {"feature": {"names": ["traffic_light", "cup"], "_type": "ClassLabel"}, "_type": "Sequence"}}
    features = {"image": {"_type": "Image"}, "objects": noted}
    table = pa.Table.from_pylist([{"image": image, "objects": objects}])
    noted_text = json.dumps({"info": {"features": features}})
    (folder / "data").mkdir(exist_ok=True)
    pq.write_table(
        table.replace_schema_metadata({"huggingface": noted_text}), folder / "data/train-00000-of-00001.parquet"
    )


def write_webdataset(folder):
    """Write shards as other projects do: any names, keys that begin anew in each shard, annotations in JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        with tarfile.open(folder / f"train-{shard}.tar", "w") as tar:
            for number in range(2):
                pixels = np.random.default_rng(2 * shard + number).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
                square = [float(side) for point in box_points(5, 4, 20, 12) for side in point]
                objects = [{"category": "coffee_cup", "mask": [square]}, {"category": "fork", "mask": []}]
                labels = np.zeros(SIZE, np.uint8)
                labels[4:12, 5:20] = number + 1
                files = {"PNG": png(pixels), "seg.png": png(labels), "json": json.dumps({"objects": objects}).encode()}
                for extension, content in files.items():
                    info = tarfile.TarInfo(f"images/{number:04d}.{extension}")
                    info.size = len(content)
                    tar.addfile(info, BytesIO(content))


def png(pixels):
    """Return an image as PNG."""
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_coco_export(folder):
    """Write an export in COCO's form as Roboflow and Label Studio do: a root category, paths of Windows and servers."""
    categories = [{"id": 0, "name": "things", "supercategory": "none"}]
    categories += [{"id": 1, "name": "coffee_cup", "supercategory": "things"}]
    square = [float(side) for point in box_points(5, 4, 20, 12) for side in point]
    for part, name in (("train", "images\\my cup.jpg"), ("valid", "/data/upload/1/one%20cup.jpg")):
        stem = name.replace("\\", "/").rpartition("/")[2].replace("%20", " ")
        photograph(folder / part / ("images" if "images" in name else "") / stem)
        image = {"id": 7, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
        annotation = {"id": 1, "image_id": 7, "category_id": 1, "segmentation": [square], "iscrowd": 0}
        content = {"images": [image], "categories": categories, "annotations": [annotation]}
        (folder / part / "_annotations.coco.json").write_text(json.dumps(content))


def write_coco_of(tool, folder):
    """Write an export as a tool does: pictures of phones with the size as stored, and a root category."""
    annotations, picture, name = COCO_EXPORTS[tool]
    turn = Image.Exif()
    turn[0x0112] = 6
    photograph(folder / picture, SIZE[::-1], exif=turn)
    stated = SIZE[::-1] if tool in ("Label Studio", "labelme2coco") else SIZE
    square = [float(side) for point in box_points(5, 4, 20, 12) for side in point]
    content = {
        "info": {},
        "images": [{"id": 0, "file_name": name, "width": stated[1], "height": stated[0]}],
        "categories": [{"id": 1, "name": "coffee_cup", "supercategory": None}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": 1, "segmentation": [square], "bbox": [5, 4, 15, 8]}],
    }
    if tool == "Roboflow":
        content["categories"][0]["supercategory"] = "things"
        content["categories"].insert(0, {"id": 0, "name": "things", "supercategory": "none"})
    (folder / annotations).parent.mkdir(exist_ok=True)
    (folder / annotations).write_text(json.dumps(content))


def write_labelme(folder):
    """Write files of LabelMe: a polygon, a rectangle from its lower right corner, and a line, which has no inside."""
    photograph(folder / "one.jpg")
    shapes = [("cup", box_points(5, 4, 20, 12), "polygon"), ("fork", [(29, 18), (22, 2)], "rectangle")]
    shapes += [("way", [(0, 0), (9, 9)], "linestrip")]
    entries = [
        {"label": label, "points": points, "shape_type": kind, "group_id": None} for label, points, kind in shapes
    ]
    content = {
        "shapes": entries,
        "imagePath": "one.jpg",
        "imageData": None,
        "imageHeight": SIZE[0],
        "imageWidth": SIZE[1],
    }
    (folder / "one.json").write_text(json.dumps(content))


def write_exports(folder):
    """Write all of these, each into a folder of its own; tables only where pyarrow is installed."""
    writers = {"yolo": write_yolo, "masks": write_cvat_masks, "shards": write_webdataset}
    writers |= {"coco": write_coco_export, "labelme": write_labelme}
    if find_spec("pyarrow"):
        writers["tables"] = write_datasets
    for name, write in writers.items():
        write(folder / name)
