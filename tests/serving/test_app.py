"""The routes: answers as in Python, in each coding, about kept images, in whole or streamed, and within limits."""

import base64
import json
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import lasagna
from lasagna.core.batch import Query
from lasagna.core.masks import RLEMask
from lasagna.core.query_kind import QueryKind
from lasagna.core.visual_prompt import VisualPrompt
from tests.helpers.parts import sam_assistant
from tests.helpers.served import GOOD, SCENE, need_server, picture, served

need_server()


@pytest.fixture(scope="module")
def assistant():
    return lasagna.load()


@pytest.fixture(scope="module")
def client(assistant):
    with served(assistant, images=2, pixels=10_000, mask_pixels=300_000) as client:
        yield client


@pytest.fixture(scope="module")
def scene():
    return np.asarray(Image.open(SCENE).convert("RGB"))


def test_answers_are_those_of_python(client, scene):
    queries = [
        {"names": ["sky", "dog", "house"]},
        {"kind": "referring", "names": ["the kite"]},
        {"kind": "question", "names": ["what colour is the kite"]},
        {"kind": "grounded_caption", "names": ["the kite"]},
    ]
    response = client.post("/v1/predict", json={**GOOD, "queries": queries})
    assert response.status_code == 200
    content = response.json()
    assert (content["height"], content["width"]) == scene.shape[:2]
    asked = [Query(0, query.get("kind", "categories"), tuple(query["names"])) for query in queries]
    for answer, expected in zip(content["answers"], lasagna.load().answers(scene, asked), strict=True):
        assert (answer["text"], answer.get("words", "")) == (expected.text, expected.words)
        for entry, same in zip(answer["entries"], expected.entries, strict=True):
            assert (entry["name"], entry["present"]) == (same.name, same.present)
            assert entry["score"] == pytest.approx(same.score, abs=1e-4)
            if same.mask is not None:
                assert np.array_equal(RLEMask.from_json(entry["mask"], scene.shape[:2]).decode(), same.mask)


def test_several_images_are_shown_together_as_in_python(client, assistant, scene):
    other = picture(20, 30, seed=3)
    pixels = np.asarray(Image.open(BytesIO(other)))
    images = [base64.b64encode(data).decode() for data in (SCENE.read_bytes(), other)]
    queries, asked = [{"names": ["sky", "dog"]}], [Query(0, "categories", ("sky", "dog"))]
    found = {}
    for masks_on in (0, -1):
        body = {"images": images, "masks_on": masks_on, "queries": queries}
        found[masks_on] = client.post("/v1/predict", json=body).json()
        [expected] = assistant.answers([scene, pixels], asked, masks_on=masks_on)
        [answer] = found[masks_on]["answers"]
        assert answer["text"] == expected.text
        for entry, same in zip(answer["entries"], expected.entries, strict=True):
            assert entry["score"] == pytest.approx(same.score, abs=1e-4)
    assert [found[place]["height"] for place in (0, -1)] == [scene.shape[0], 20]
    files = [("image", SCENE.read_bytes()), ("image", other)]
    assert client.post("/v1/predict", data={"queries": json.dumps(queries)}, files=files).json() == found[-1]
    kept = client.post("/v1/images", json={"images": images, "masks_on": 0}).json()["image_id"]
    again = client.post("/v1/predict", json={"image_id": kept, "queries": queries}).json()["answers"][0]
    assert again["text"] == found[0]["answers"][0]["text"]
    chat = {"images": images, "question": "what colour is the kite"}
    text = client.post("/v1/chat", json=chat).json()["text"]
    assert text == assistant.answer([scene, pixels], [chat["question"]], "question").text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": [GOOD["image"]] * 9}, "images: 9 are too many; show at most 8 together"),
        ({"images": [GOOD["image"]] * 2, "masks_on": 2}, "`masks_on` is 2, expected -2 to 1 for 2 images"),
        ({"images": []}, "images"),
        ({"image": GOOD["image"], "images": [GOOD["image"]]}, "image: give one image"),
        ({"image_id": "x", "masks_on": 0}, "masks_on: it was settled when the images were kept"),
        ({"image_id": "x", "images": [GOOD["image"]]}, "give either `image`, `images` or `image_id`"),
    ],
)
def test_images_that_cannot_be_shown_together(client, change, words):
    response = client.post("/v1/predict", json={"queries": GOOD["queries"], **change})
    assert response.status_code == 422 and words in response.json()["error"]


def test_kinds_that_an_assistant_learned_are_asked_by_name(scene):
    own = lasagna.load()
    counting = QueryKind("counting", many=True, objects=True)
    own.format = replace(own.format, prompts={**own.format.prompts, "counting": "<image> count {query} answer "})
    own.learned_kinds |= {"counting": counting}
    query = {"kind": "counting", "names": ["sky", "dog"]}
    with served(own) as client:
        [about] = client.get("/v1/models").json()["models"]
        assert about["kinds"][-1] == about["learned"][-1] == "counting" and about["several_images"]
        assert "grounded_caption" in about["kinds"] and "grounded_caption" not in about["learned"]
        [answer] = client.post("/v1/predict", json={**GOOD, "queries": [query]}).json()["answers"]
        assert answer["text"] == own.answer(scene, ["sky", "dog"], counting).text
        assert ["objects" in entry for entry in answer["entries"]] == [entry["present"] for entry in answer["entries"]]
        wrong = client.post("/v1/predict", json={**GOOD, "queries": [{**query, "kind": "pointing"}]})
        assert (
            wrong.status_code == 422
            and f"'pointing' is none of those known here; choose one of {', '.join(about['kinds'])}, or"
            in wrong.json()["error"]
        )


def test_a_form_asks_the_same_and_each_coding_holds_the_same_mask(client, scene):
    masks = {}
    for coding in ("rle", "polygons", "png"):
        fields = {"queries": json.dumps(GOOD["queries"]), "masks": coding}
        response = client.post("/v1/predict", files={"image": SCENE.read_bytes()}, data=fields)
        assert response.status_code == 200, response.text
        masks[coding] = response.json()["answers"][0]["entries"][0]["mask"]
    size = scene.shape[:2]
    pixels = RLEMask.from_json(masks["rle"], size).decode()
    assert pixels.any()
    assert np.array_equal(RLEMask.from_json(masks["polygons"], size).decode(), pixels)
    assert np.array_equal(np.asarray(Image.open(BytesIO(base64.b64decode(masks["png"])))) > 0, pixels)
    response = client.post("/v1/predict", json={**GOOD, "masks": "none"})
    assert [entry["mask"] for entry in response.json()["answers"][0]["entries"]] == [None] * 3


def test_a_threshold_is_that_of_its_query_and_of_nobody_else(client, assistant):
    queries = [{"names": ["sky"], "threshold": 1.0}, {"names": ["sky"]}, {"names": ["dog"], "threshold": 0.0}]
    response = client.post("/v1/predict", json={**GOOD, "queries": queries})
    assert [answer["entries"][0]["present"] for answer in response.json()["answers"]] == [False, True, True]
    assert assistant.presence_threshold == 0.5


def test_a_threshold_of_a_name_goes_before_those_of_all(client):
    queries = [{"names": ["sky", "dog", "house"], "threshold": 1.0, "thresholds": {"house": 0.0}}, {"names": ["sky"]}]
    body = {"queries": queries, "threshold": 0.0, "thresholds": {"house": 1.0, "dog": 0.0}}
    form = {key: json.dumps(value) for key, value in body.items()}
    for sent in ({"json": {**GOOD, **body}}, {"files": {"image": SCENE.read_bytes()}, "data": form}):
        answers = client.post("/v1/predict", **sent).json()["answers"]
        assert [[entry["present"] for entry in answer["entries"]] for answer in answers] == [
            [False, True, True],
            [True],
        ]


def test_an_image_is_kept_until_it_is_dropped_or_others_come(client):
    first, *_ = ids = [client.post("/v1/images", files={"image": SCENE.read_bytes()}).json()["image_id"] for _ in "abc"]
    by_id = [client.post("/v1/predict", json={"image_id": one, "queries": GOOD["queries"]}) for one in ids]
    assert [response.status_code for response in by_id] == [404, 200, 200]
    assert by_id[1].json()["answers"][0]["text"] == client.post("/v1/predict", json=GOOD).json()["answers"][0]["text"]
    assert client.delete(f"/v1/images/{ids[1]}").status_code == 204
    assert client.delete(f"/v1/images/{ids[1]}").status_code == 404
    both = client.post("/v1/predict", json={**GOOD, "image_id": ids[2]})
    neither = client.post("/v1/predict", json={"queries": GOOD["queries"]})
    assert (both.status_code, neither.status_code, first in both.text) == (422, 422, False)


def test_a_question_is_answered_in_whole_and_piece_by_piece(client):
    question = {"image": GOOD["image"], "question": "what colour is the kite"}
    whole = client.post("/v1/chat", json=question).json()["text"]
    response = client.post("/v1/chat", json={**question, "stream": True})
    assert response.headers["content-type"].startswith("text/event-stream")
    *pieces, last = response.text.strip().split("\n\n")
    assert whole and "".join(json.loads(piece.removeprefix("data: "))["text"] for piece in pieces) == whole
    assert last == f"event: done\ndata: {json.dumps({'text': whole})}"
    later = client.post("/v1/chat", json={**question, "history": [{"question": "a", "answer": "b"}]})
    assert later.status_code == 422 and "history" in later.json()["error"]


def test_what_is_pointed_at_is_drawn_as_in_python(scene):
    assistant = sam_assistant()
    visual = VisualPrompt([(20, 30), (5, 6, "negative")], [(10, 10, 50, 40)])
    asked = {"kind": "referring", "names": ["the kite"]}
    shown = {"points": [{"x": 20, "y": 30}, {"x": 5, "y": 6, "label": "negative"}], "boxes": [[10, 10, 50, 40]]}
    with served(assistant) as client:
        assert client.get("/v1/models").json()["models"][0]["points"]
        first = client.post("/v1/predict", json={**GOOD, "queries": [{**asked, **shown}]}).json()
        mask = first["answers"][0]["entries"][0]["mask"]
        again = client.post("/v1/predict", json={**GOOD, "queries": [{**asked, "mask": mask}, asked]}).json()
        wrong = RLEMask.from_array(np.ones((3, 4))).to_json()
        refused = client.post("/v1/predict", json={**GOOD, "queries": [{**asked, "mask": wrong}]})
    size = scene.shape[:2]
    expected = assistant.answer(scene, ["the kite"], "referring", visual=visual).entries[0]
    drawn = RLEMask.from_json(mask, size).decode()
    assert np.array_equal(drawn, expected.mask)
    mended = assistant.answer(scene, ["the kite"], "referring", visual=VisualPrompt(mask=drawn)).entries[0]
    found = again["answers"][0]["entries"][0]
    assert np.array_equal(RLEMask.from_json(found["mask"], size).decode(), mended.mask)
    assert refused.status_code == 422


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        ({"queries": [{"names": [f"name {rank}" for rank in range(600)]}]}, 422, "at most 512"),
        ({"queries": [{"names": ["sky"]}] * 9}, 422, "at most 8"),
        ({"queries": [{"names": ["x" * 1001]}]}, 422, "at most 1000"),
        ({"queries": [{"names": ["sky", "sky"]}]}, 422, "more than once"),
        ({"queries": [{"names": ["<SEG>"]}]}, 422, "<SEG>"),
        ({"queries": [{"kind": "nonsense", "names": ["sky"]}]}, 422, "nonsense"),
        ({"image": base64.b64encode(picture(101, 100)).decode()}, 413, "at most 10000 pixels"),
        ({"image": "file:///etc/hostname"}, 422, "addresses and paths are not read"),
        ({"image": "aGVsbG8="}, 422, "not an image"),
        ({"queries": [{"names": [f"name {rank}" for rank in range(40)]}]}, 413, "at most 300000"),
        ({"more": 1}, 422, "more: Extra inputs"),
        ({"thresholds": {"dgo": 0.5}}, 422, "thresholds: 'dgo' is none of the names"),
        ({"thresholds": {"dog": 1.5}}, 422, "thresholds.dog: Input should be less than or equal to 1"),
        (
            {"queries": [{"names": ["sky"], "thresholds": {"dog": "0.5"}}]},
            422,
            "thresholds.dog: Input should be a valid number",
        ),
        ({"thresholds": {"dog": 0.5}, "decoding": "free"}, 422, "'free' decoding compares no scores"),
        (
            {"decoding": "one_pass"},
            422,
            "'one_pass' takes the decisions of a presence head, and this assistant has none",
        ),
        ({"queries": [{"names": ["sky"], "points": [{"x": 1, "y": 1}]}]}, 422, "takes no points"),
        ({"queries": [{"names": ["sky"], "points": [{"x": 1, "y": 1, "label": "no"}]}]}, 422, "label"),
    ],
)
def test_what_is_beyond_a_limit_is_refused_in_words(client, change, status, words):
    response = client.post("/v1/predict", json={**GOOD, **change})
    assert response.status_code == status
    assert words in response.json()["error"]


def test_bodies_that_are_too_large_or_of_another_type(client):
    assert client.post("/v1/predict", content=b" " * 20_000_001).status_code == 415
    json_type = {"content-type": "application/json"}
    large = client.post("/v1/predict", content=b" " * 20_000_001, headers=json_type)
    unsized = client.post("/v1/predict", content=(b" " * 10_000_000 for _ in range(3)), headers=json_type)
    assert (large.status_code, unsized.status_code) == (413, 413)


def test_a_full_server_says_when_to_come_back_and_a_slow_one_gives_up(assistant):
    with served(assistant, running=False, requests=2, seconds=0.2) as client:
        image = {"image": GOOD["image"]}
        for route, body in (("/v1/predict", GOOD), ("/v1/images", image)):
            assert client.post(route, json=body).status_code == 408
        full = client.post("/v1/chat", json={**image, "question": "what"})
        assert (full.status_code, full.headers["retry-after"]) == (503, "1")
        assert client.get("/v1/health").status_code == 503
        assert "lasagna_waiting_requests 2.0" in client.get("/v1/metrics").text


def test_facts_and_counts(client):
    models = client.get("/v1/models").json()
    assert models["models"][0]["name"] == "scenes" and "categories" in models["models"][0]["kinds"]
    assert models["limits"]["pixels"] == 10_000
    assert client.get("/v1/health").json() == {"status": "ok"}
    client.get("/a/path/of/nobody")
    counted = client.get("/v1/metrics").text
    assert 'lasagna_requests_total{route="other",status="404"}' in counted
    assert 'lasagna_requests_total{route="/v1/models",status="200"}' in counted


def test_the_schema_is_closed_and_its_examples_are_answered(client):
    schema = client.get("/v1/openapi.json").json()
    known = schema["components"]["schemas"]
    text = json.dumps(schema)
    assert all(part.split('"')[0] in known for part in text.split("#/components/schemas/")[1:])
    for route in ("/v1/predict", "/v1/images", "/v1/chat"):
        content = schema["paths"][route]["post"]["requestBody"]["content"]
        assert content["multipart/form-data"]["schema"]
        for example in content["application/json"]["examples"].values():
            response = client.post(route, json=example["value"])
            assert response.status_code in (200, 201), response.text
