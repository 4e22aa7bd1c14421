"""What requests and responses hold; the OpenAPI schema is made from these classes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(min_length=1)]
Thresholds = dict[Text, Annotated[float, Field(ge=0, le=1)]] | None
MaskCoding = Literal["rle", "polygons", "png", "none"]

IMAGE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCBd81ytgAAAABJRU5ErkJggg=="
"""A PNG file of one pixel, for examples."""


class Body(BaseModel):
    """Base of the requests: other fields are refused, and no type is converted into another."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class UploadBody(Body):
    """An image to keep, or several that are shown together."""

    image: Text | None = Field(
        None, description="An image file in base64, or its address if `GET /v1/models` says `urls`; no path."
    )
    images: list[Text] | None = Field(None, min_length=1, description="Several that are shown together, in order.")
    masks_on: int | None = Field(None, description="Position of the one that masks belong to, by default the last.")


class ImageBody(UploadBody):
    """Base of the requests about images, given as files or by their id."""

    image_id: Text | None = Field(None, description="Id of an image that `POST /v1/images` has encoded.")


class PointBody(Body):
    """A pixel of the image."""

    x: float = Field(description="Column, from 0 at the left.")
    y: float = Field(description="Row, from 0 at the top.")
    label: Literal["positive", "negative"] = Field("positive", description="Whether the thing is here, or is not.")


class MaskBody(Body):
    """A mask as COCO's compressed RLE, as answers have it."""

    size: list[int] = Field(min_length=2, max_length=2, description="Height and width.")
    counts: Text


class QueryBody(Body):
    """One query."""

    kind: Text = Field(
        "categories", max_length=64, description="Kind of the query, one of those that `GET /v1/models` lists."
    )
    names: list[Text] = Field(min_length=1, description="The names of a list, or the one phrase or question.")
    threshold: float | None = Field(None, ge=0, le=1, description="As `threshold` of the request, for this query.")
    thresholds: Thresholds = Field(None, description="As `thresholds` of the request, for names of this query.")
    points: list[PointBody] = Field([], max_length=64, description="Where the one thing is, if the model takes points.")
    boxes: list[Annotated[list[float], Field(min_length=4, max_length=4)]] = Field(
        [], max_length=8, description="Boxes around it, each left, top, width, height in pixels."
    )
    mask: MaskBody | None = Field(None, description="An earlier mask of it, to be mended.")


class PredictBody(ImageBody):
    """Queries about an image."""

    queries: list[QueryBody] = Field(min_length=1, description="What is asked; the image is encoded once for all.")
    threshold: float | None = Field(None, ge=0, le=1, description="Score from which a name is called present.")
    thresholds: Thresholds = Field(None, description="Name to a threshold of its own, before those for all names.")
    masks: MaskCoding = Field("rle", description="COCO RLE, polygons of COCO, a PNG file in base64, or no masks.")
    decoding: Literal["ordered", "free", "one_pass"] = Field(
        "ordered", description="Decide in the order asked, write freely, or decide by the model's presence head."
    )


class TurnBody(Body):
    """An earlier turn of a conversation."""

    question: Text
    answer: Text


class ChatBody(ImageBody):
    """A question to answer in words."""

    question: Text
    history: list[TurnBody] = Field([], description="Earlier turns, for models that were trained on several.")
    stream: bool = Field(False, description="Whether the answer comes piece by piece, as server-sent events.")


class ImageAnswer(BaseModel):
    """An image that is kept encoded, or several that are shown together."""

    image_id: str
    width: int
    height: int


class EntryAnswer(BaseModel):
    """What is said about a name."""

    name: str
    present: bool
    score: float | None = Field(description="Probability of presence.")
    confidence: float | None = Field(description="Mean probability of the pixels of the mask.")
    empty: bool = Field(description="Whether it is called present, but the mask has no pixel.")
    mask: Any = Field(description="RLE object, list of polygons or PNG in base64; null for absent names.")
    box: list[float] | None = Field(description="Left, top, width, height in pixels.")
    objects: list[dict[str, Any]] | None = Field(
        None, description='"mask", "box" and "score" of each object, where the query asks for objects.'
    )
    span: list[int] | None = Field(None, description="Begin and end of the name in the words of a caption.")


class QueryAnswer(BaseModel):
    """The answer to a query."""

    kind: str
    query: list[str]
    text: str
    faults: list[str]
    entries: list[EntryAnswer]
    words: str | None = Field(None, description="The text without marks and tokens, where masks stand among words.")


class PredictAnswer(BaseModel):
    """The answers about an image."""

    width: int
    height: int
    answers: list[QueryAnswer]


class ChatAnswer(BaseModel):
    """The answer to a question."""

    text: str


class ModelAnswer(BaseModel):
    """An assistant that answers."""

    name: str
    parts: dict[str, str] = Field(description="Class of each part.")
    kinds: list[str] = Field(description="Kinds of queries that can be asked.")
    learned: list[str] = Field(description="Those that its training had; answers to others may mean nothing.")
    several_images: bool = Field(description="Whether several images can be shown together.")
    threshold: float
    thresholds: dict[str, float] = Field(description="Those of single names, where a request gives none.")
    points: bool = Field(description="Whether queries can have points, boxes and masks.")
    remembers: bool = Field(description="Whether questions can follow a history.")


class ModelsAnswer(BaseModel):
    """The assistants that answer, and what they take."""

    models: list[ModelAnswer]
    limits: dict[str, float]
    urls: bool = Field(description="Whether public addresses of images are read.")
    version: str


class ErrorAnswer(BaseModel):
    """Why a request is refused."""

    error: str


class OtherBody(BaseModel):
    """Base of the requests that another program makes, which may have more fields than are read."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)


class SetupBody(OtherBody):
    """Label Studio connects a project."""

    label_config: str = Field(alias="schema")


class TasksBody(OtherBody):
    """Label Studio asks for predictions."""

    tasks: list[dict[str, Any]] = Field(min_length=1)
    label_config: str
