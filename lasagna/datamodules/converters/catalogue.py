"""The data sets that ``lasagna convert`` knows by name; each converter is imported when it is asked for."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module

from lasagna.datamodules.converters.common.base import Converter
from lasagna.errors import ConfigError

CONVERTERS = {
    "ade20k": ("ade20k:ADE20K", "all kinds of places, 150 classes"),
    "coco_stuff": ("coco_stuff:CocoStuff", "photographs, 80 things and 91 kinds of stuff"),
    "cityscapes": ("cityscapes:Cityscapes", "streets of German cities, 19 classes"),
    "mapillary": ("mapillary:Mapillary", "streets of the world, 65 or 116 classes"),
    "voc": ("voc:VOC", "photographs, 20 kinds of things"),
    "pascal_context": ("pascal_context:PascalContext", "photographs, 59 or 459 classes"),
    "openimages": ("openimages:OpenImages", "photographs, 350 kinds of things of which few are known on each"),
    "camvid": ("camvid:CamVid", "driving scenes, 11 or 32 classes"),
    "coco_panoptic": ("coco_panoptic:CocoPanoptic", "photographs, 80 things and 53 kinds of stuff"),
    "coco_instances": ("coco_instances:CocoInstances", "photographs, 80 kinds of things; also exports in COCO's form"),
    "lvis": ("lvis:LVIS", "photographs of COCO, 1203 categories of which few are known on each"),
    "paco": ("paco:PACO", "photographs of COCO, 75 kinds of objects and 456 of their parts"),
    "pascal_part": ("pascal_part:PascalPart", "photographs of PASCAL VOC, 93 kinds of parts"),
    "refcoco": ("refer:RefCOCO", "phrases about photographs of COCO"),
    "refcoco_plus": ("refer:RefCOCOPlus", "the same without words of place"),
    "refcocog": ("refer:RefCOCOg", "longer phrases"),
    "refclef": ("refer:RefCLEF", "phrases about photographs of SAIAPR TC-12"),
    "grefcoco": ("grefcoco:GRefCOCO", "phrases that fit one thing, several or nothing"),
    "reasonseg": ("reasonseg:ReasonSeg", "photographs with questions answered by a mask"),
    "llava_instruct": ("llava_instruct:LlavaInstruct", "talks about photographs of COCO"),
    "folder": ("folder:Folder", "your own images with a file of JSON lines"),
    "labelme": ("labelme:LabelMe", "your own images, drawn on with LabelMe"),
}
"""Name to the module here and the class in it, and what it is."""


def find_converter(name: str) -> type[Converter]:
    """Return a converter by its name, or one of the user's own by the path of its class.

    Args:
        name: One of ``CONVERTERS``, or e.g. "my_file.MyDataSet".

    Raises:
        ConfigError: If there is none of this name, or it is no converter.
    """
    module, kind = _place(name)
    try:
        found = getattr(import_module(module), kind)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"name: {name!r} cannot be imported ({error})") from error
    if not (isinstance(found, type) and issubclass(found, Converter)):
        raise ConfigError(f"name: {name!r} is no subclass of lasagna.datamodules.Converter")
    return found


def _place(name: str) -> tuple[str, str]:
    if name in CONVERTERS:
        module, kind = CONVERTERS[name][0].split(":")
        return f"{__package__}.{module}", kind
    if "." in name:
        module, _, kind = name.rpartition(".")
        return module, kind
    near = get_close_matches(name, CONVERTERS, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(CONVERTERS)}."
    raise ConfigError(f"name: there is no data set {name!r}; {hint} For one of your own give file.Class")
