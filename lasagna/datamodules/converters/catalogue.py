"""The data sets that ``lasagna convert`` knows by name; a converter is imported when it is used."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from lasagna.datamodules.converters.common.base import Converter
from lasagna.errors import ConfigError

CONVERTERS = {
    "ade20k": ("ade20k:ADE20K", "indoor and outdoor scenes, 150 classes"),
    "ade20k_full": ("ade20k_full:ADE20KFull", "the same scenes with every object, about 3,000 names"),
    "coco_stuff": ("coco_stuff:CocoStuff", "photographs, 80 things and 91 kinds of stuff"),
    "cityscapes": ("cityscapes:Cityscapes", "streets of German cities, 19 classes"),
    "bdd100k": ("bdd100k:BDD100K", "streets of the United States, 19 classes"),
    "mapillary": ("mapillary:Mapillary", "streets of the world, 65 or 116 classes"),
    "voc": ("voc:VOC", "photographs, 20 kinds of things"),
    "pascal_context": ("pascal_context:PascalContext", "photographs, 59 or 459 classes"),
    "openimages": ("openimages:OpenImages", "photographs, 350 kinds of things, few known on each"),
    "isaid": ("isaid:ISAID", "large aerial pictures, every object of 15 classes"),
    "loveda": ("loveda:LoveDA", "aerial pictures, 6 kinds of land cover"),
    "camvid": ("camvid:CamVid", "driving scenes, 11 or 32 classes"),
    "coco_panoptic": ("coco_panoptic:CocoPanoptic", "photographs, 80 things and 53 kinds of stuff"),
    "coco_instances": (
        "coco_instances:CocoInstances",
        "photographs, 80 kinds of things; also exports in this format",
    ),
    "lvis": ("lvis:LVIS", "photographs of COCO, 1203 categories, few known on each"),
    "paco": ("paco:PACO", "photographs of COCO, 75 kinds of objects and 456 of their parts"),
    "pascal_part": ("pascal_part:PascalPart", "photographs of PASCAL VOC, 93 kinds of parts"),
    "refcoco": ("refer:RefCOCO", "phrases about photographs of COCO"),
    "refcoco_plus": ("refer:RefCOCOPlus", "phrases about photographs of COCO, without positions"),
    "refcocog": ("refer:RefCOCOg", "longer phrases about photographs of COCO"),
    "refclef": ("refer:RefCLEF", "phrases about photographs of SAIAPR TC-12"),
    "grefcoco": ("grefcoco:GRefCOCO", "phrases that refer to one object, several or nothing"),
    "fp_refcoco": ("refer_absent:FPRefCOCO", "phrases with true and false premises (also + and g)"),
    "r_refcoco": ("refer_absent:RRefCOCO", "true and wrong phrases about each object (also + and g)"),
    "ref_zom": ("refer_absent:RefZOM", "phrases that fit no, one or many objects"),
    "saco_gold": ("saco_gold:SACoGold", "noun phrases that may fit nothing, with the objects of three annotators"),
    "refcoco_m": ("phrase_tables:RefCOCOM", "RefCOCO's phrases of val with exact masks"),
    "groundingme": ("phrase_tables:GroundingME", "descriptions of things that are not in the picture"),
    "hallusegbench": ("hallusegbench:HalluSegBench", "pairs of photographs in which one thing was exchanged"),
    "reasonseg": ("reasonseg:ReasonSeg", "photographs with questions that a mask answers"),
    "grandf": ("grandf:GranDf", "photographs with captions, whose phrases have masks"),
    "muse": ("multi_target:MUSE", "questions that several objects answer, on photographs of COCO"),
    "mmr": ("multi_target:MMR", "questions that several objects and parts answer, on photographs of COCO"),
    "llm_seg40k": ("llm_seg:LLMSeg40K", "questions that a mask answers, on photographs of COCO and EgoObjects"),
    "davis": ("davis:DAVIS", "frames of films, with their main objects and phrases about them"),
    "mevis": ("mevis:MeViS", "frames of films, with phrases about what moves"),
    "sa1b": ("sa1b:SA1B", "photographs with masks that have no name, and files in this form"),
    "llava_instruct": ("llava_instruct:LlavaInstruct", "conversations about photographs of COCO"),
    "folder": ("folder:Folder", "your own images with a file of JSON lines"),
    "label_images": ("label_images:LabelImages", "your own images, with label images and a file of classes"),
    "parquet": ("parquet:Parquet", "tables of images, Parquet or `datasets` of Hugging Face"),
    "yolo": ("yolo:Yolo", "your own images, with polygons in YOLO's form"),
    "tiles": ("tiles:ShardTiles", "shards of large pictures, cut into tiles that overlap"),
    "labelme": ("labelme:LabelMe", "your own images, annotated with LabelMe"),
}
"""Name to "module:class" in this package and a description."""


def find_converter(name: str) -> type[Converter]:
    """Return the converter of a data set, or a user's own by the path of its class.

    Args:
        name: A key of ``CONVERTERS``, or e.g. "my_file.MyDataSet".

    Raises:
        ConfigError: If there is no converter of this name, or the class is not a converter.
    """
    if name in CONVERTERS:
        module, kind = CONVERTERS[name][0].split(":")
        module = f"{__package__}.{module}"
    elif "." in name:
        module, _, kind = name.rpartition(".")
    else:
        near = get_close_matches(name, CONVERTERS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CONVERTERS)}."
        raise ConfigError(f"name: there is no data set {name!r}; {hint} For a converter of your own, give file.Class")
    try:
        found = getattr(import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"name: {name!r} cannot be imported ({error})") from error
    if not (isinstance(found, type) and issubclass(found, Converter)):
        raise ConfigError(f"name: {name!r} is not a subclass of lasagna.datamodules.Converter")
    return found
