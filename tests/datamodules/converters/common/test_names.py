import json
from pathlib import Path

import pytest

from lasagna.datamodules.converters.common.names import spoken, spoken_lvis_names, spoken_names, spoken_part_names
from lasagna.errors import LasagnaError

SHARED = Path(__file__).parents[5] / "shared" / "data"
shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the authentic samples are not beside the repository")


def test_classes_that_would_share_a_name_are_refused():
    with pytest.raises(LasagnaError, match=r"several classes would be called \['wall'\]"):
        spoken_names({1: "wall-other", 2: "wall-stuff"})


@pytest.mark.parametrize(
    ("name", "said"),
    [("floor-other-merged", "floor"), ("wall-brick", "brick wall"), ("window-blind", "window blind"), ("tv", "tv")],
)
def test_names_are_as_people_say_them(name, said):
    assert spoken(name) == said


def names_of(name, field="names"):
    content = json.loads((SHARED / "categories" / f"{name}.json").read_text())
    return dict(zip(content["ids"], content[field], strict=True))


@pytest.mark.shared
@shared
def test_the_names_of_whole_releases_are_unique():
    lvis = spoken_lvis_names(names_of("lvis_v1_1203"))
    assert len(set(lvis.values())) == 1203
    assert {"mouse", "fish", "fish (food)", "computer monitor", "pan (for cooking)"} <= set(lvis.values())
    paco = spoken_part_names(names_of("paco_objects_75") | names_of("paco_object_parts_456"))
    assert len(set(paco.values())) == 531
    assert len(set(spoken_part_names(names_of("pascal_part_vlpart_93")).values())) == 93
