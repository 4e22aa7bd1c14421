"""What the page's controls do: keep a picture, ask about it, decide anew, and talk; all within the server's limits."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from lasagna.core.query_kind import KINDS, QUESTION, QueryKind
from lasagna.serving.limits import RequestError
from lasagna.serving.schemas import ChatBody, PredictBody, TurnBody, UploadBody
from lasagna.serving.service import Service
from lasagna.serving.shown_answer import ShownAnswer, data_address

DROP_FIRST = "picture: the server keeps none for this page; drop one here"
"""Said where a picture was never sent, or has gone because others needed its place."""


@dataclass
class _Sheet:
    answer: ShownAnswer | None = None
    turns: list[TurnBody] = field(default_factory=list)


@dataclass(frozen=True)
class Shown:
    """What the page shows of an answer.

    Args:
        overlay: HTML of the masks that lie over the picture.
        legend: HTML of the names, their colours and scores.
        files: HTML of the links to the files.
    """

    overlay: str
    legend: str
    files: str


class Desk:
    """The pictures of a page's visitors, and the answers about them; as many as the server keeps images.

    Args:
        service: What answers.
    """

    def __init__(self, service: Service) -> None:
        self.service = service
        [facts] = service.models()
        self.threshold = float(facts["threshold"])
        known = KINDS | service.engine.assistant.learned_kinds
        # answers to kinds that were never trained may mean nothing
        kinds = [known[name] for name in facts["learned"] or facts["kinds"] if name in known]
        self.kinds: dict[str, QueryKind] = {str(kind): kind for kind in kinds if not kind.is_free}
        self.talks = QUESTION in facts["kinds"]
        self._remembers = bool(facts["remembers"])
        # one at a time, since all masks of an answer are decoded together
        self._drawing = CapacityLimiter(1)
        self._sheets: OrderedDict[str, _Sheet] = OrderedDict()

    async def keep(self, picture: str) -> tuple[str, str]:
        """Encode a picture and keep it; return its id, and HTML that says its size.

        Args:
            picture: The file as an address that holds it (``data:...;base64,...``), as browsers read it.

        Raises:
            RequestError: If it is beyond a limit, or cannot be read.
        """
        head, _, code = picture.partition(",")
        if not (head.startswith("data:") and head.endswith(";base64") and code):
            raise RequestError(422, "picture: not a file that a browser has read; drop one")
        with self.service.place():
            kept = await self.service.keep(UploadBody.model_validate({"image": code}), [])
        key = str(kept["image_id"])
        self._sheets[key] = _Sheet()
        while len(self._sheets) > self.service.limits.images:
            self._sheets.popitem(last=False)
        return key, f'<p class="size">{kept["width"]} × {kept["height"]} pixels</p>'  # noqa: RUF001

    async def ask(self, key: str, kind: str, text: str, threshold: float) -> Shown:
        """Ask for names, and show the answer at a threshold.

        Args:
            key: Id of the picture.
            kind: Kind of the query.
            text: Names, divided by line breaks or commas, or the one phrase.
            threshold: Score from which a name is called present.

        Raises:
            RequestError: If there is no such picture, or the request is beyond a limit.
            QueryError: If the query cannot be asked.
        """
        sheet = self._sheet(key)
        if kind not in self.kinds:
            raise RequestError(422, f"kind: expected one of {', '.join(self.kinds)}")
        parts = text.replace(",", "\n").splitlines() if self.kinds[kind].many else [" ".join(text.split())]
        names = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
        if not names:
            raise RequestError(422, "names: none given; type at least one")
        # the second says which mask a name would have if it were called present
        queries = [{"kind": kind, "names": names}, {"kind": kind, "names": names, "threshold": 0.0}]
        body = PredictBody.model_validate({"image_id": key, "queries": queries})
        with self.service.place():
            found = await self.service.predict(body, [])
        own, every = found["answers"]
        size = found["height"], found["width"]
        sheet.answer = ShownAnswer(self.kinds[kind], own["entries"], every["entries"], size)
        return await self.draw(key, threshold)

    async def draw(self, key: str, threshold: float) -> Shown:
        """Show the last answer about a picture at another threshold, without asking again.

        Args:
            key: Id of the picture.
            threshold: Score from which a name is called present.

        Raises:
            RequestError: If there is no such picture.
        """
        shown = self._sheet(key).answer
        if shown is None:
            return Shown("", "", "")

        def drawn() -> Shown:
            answer = shown.decide(threshold)
            overlay = data_address(shown.overlay(answer), "image/png")
            return Shown(f'<img alt="masks" src="{overlay}">', shown.legend(answer), shown.downloads(answer, threshold))

        return await run_sync(drawn, limiter=self._drawing)

    async def talk(self, key: str, question: str) -> AsyncIterator[str]:
        """Answer a question about a picture; yields the answer as far as it is written.

        Args:
            key: Id of the picture.
            question: The question.

        Raises:
            RequestError: If there is no such picture, or the request is beyond a limit.
            QueryError: If the question cannot be asked.
        """
        sheet = self._sheet(key)
        if not question.strip():
            raise RequestError(422, "question: none given; type one")
        history = sheet.turns[-self.service.limits.turns :] if self._remembers else []
        body = ChatBody.model_validate({"image_id": key, "question": question.strip(), "history": history})
        written = ""
        async for piece in await self.service.chat(body, [], self.service.take_place()):
            written += piece
            yield written
        sheet.turns.append(TurnBody(question=body.question, answer=written or " "))
        del sheet.turns[: -self.service.limits.turns]

    def turns(self, key: str) -> list[TurnBody]:
        """Return the questions and answers about a picture so far.

        Args:
            key: Id of the picture.

        Raises:
            RequestError: If there is no such picture.
        """
        return self._sheet(key).turns

    def _sheet(self, key: str) -> _Sheet:
        if key not in self._sheets:
            raise RequestError(404, DROP_FIRST)
        self._sheets.move_to_end(key)
        return self._sheets[key]
