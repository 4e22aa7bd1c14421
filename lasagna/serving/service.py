"""What the routes do: they read images, let queries wait for the assistant, and keep encoded images."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from lasagna.core.answer_parser import normalise
from lasagna.core.image_places import LAST, place_of
from lasagna.core.images import Window
from lasagna.core.query_kind import KINDS
from lasagna.errors import QueryError, RecordError
from lasagna.modules.contract import check_queries
from lasagna.modules.decoding.visual_prompts import check_visual
from lasagna.serving.addresses import AddressReader, is_address
from lasagna.serving.answer_masks import with_coding
from lasagna.serving.engine import Engine, busy
from lasagna.serving.jobs import AskedQuery, Conversation, Job, JobResult, PreparedImage, StoredImage, read_turns
from lasagna.serving.kept_images import KeptImages
from lasagna.serving.limits import Limits, RequestError
from lasagna.serving.metrics import Metrics
from lasagna.serving.requests import read_chat, read_queries
from lasagna.serving.schemas import ChatBody, ImageBody, PredictBody, UploadBody
from lasagna.serving.uploads import read_base64, read_images

_DECODED_TOGETHER = 2
"""Images that are decoded at a time; each may take memory for all its pixels."""


class Service:
    """One assistant for many clients.

    Args:
        engine: The engine of the assistant.
        limits: What clients may ask.
        metrics: Where requests are counted.
        name: The assistant's name.
        window: Values of images of more than 8 bits that become black and white; None for those of all 16 bits.
        worker: What tells this process from others that serve on the same port; None if there are none.
        addresses: What reads images that are named by their addresses; None to read none.
        thresholds: Thresholds of single names, where a request gives none.

    Attributes:
        cuts: These thresholds by names in the spelling of ``normalise``.
    """

    def __init__(
        self,
        engine: Engine,
        limits: Limits,
        metrics: Metrics,
        name: str,
        window: Window | None = None,
        worker: str | None = None,
        addresses: AddressReader | None = None,
        thresholds: Mapping[str, float] | None = None,
    ) -> None:
        self.engine = engine
        self.limits = limits
        self.metrics = metrics
        self.name = name
        self.window = window
        self.kept = KeptImages(limits, worker)
        self.addresses = addresses
        self.thresholds = dict(thresholds or {})
        self.cuts = {normalise(name): cut for name, cut in self.thresholds.items()}
        self._places = BoundedSemaphore(limits.requests)
        self._threads = CapacityLimiter(_DECODED_TOGETHER)
        metrics.watch(lambda: engine.waiting, lambda: len(self.kept))

    @contextmanager
    def place(self) -> Iterator[None]:
        """Take one of the places for requests, before the body is read.

        Raises:
            RequestError: If all are taken.
        """
        release = self.take_place()
        try:
            yield
        finally:
            release()

    def take_place(self) -> Callable[[], None]:
        """Take one of the places for requests; return what gives it back.

        Raises:
            RequestError: If all are taken.
        """
        if not self._places.acquire(blocking=False):
            raise busy()
        return self._places.release

    async def predict(self, body: PredictBody, files: Sequence[bytes]) -> dict[str, Any]:
        """Answer queries about an image.

        Raises:
            RequestError: If the request is beyond a limit, or its image cannot be read.
            QueryError: If a query cannot be asked.
        """
        queries = read_queries(body, self.limits, self.engine.assistant)
        check_queries(self.engine.assistant, [asked.query for asked in queries], body.decoding)
        job = Job(await self._image(body, files), [one.with_defaults(self.cuts) for one in queries])
        asked = [one.query for one in queries]
        check_visual(self.engine.assistant.mask_head, asked, [job.image.geometry.original])
        self._check_pixels(job)
        result = await self._result(job)
        answers = await run_sync(with_coding, list(result.answers), body.masks, limiter=self._threads)
        height, width = result.image.geometry.original
        return {"width": width, "height": height, "answers": answers}

    async def answers(self, content: bytes, queries: Sequence[AskedQuery]) -> tuple[dict[str, Any], ...]:
        """Answer queries about the file of an image; return the answers as plain data.

        Raises:
            RequestError: If the request is beyond a limit, or the image cannot be read.
            QueryError: If a query cannot be asked.
        """
        check_queries(self.engine.assistant, [asked.query for asked in queries], "ordered")
        image = await self._decoded(UploadBody(image=None, images=None, masks_on=None), [content])
        job = Job(image, [one.with_defaults(self.cuts) for one in queries])
        self._check_pixels(job)
        return (await self._result(job)).answers

    async def keep(self, body: UploadBody, files: Sequence[bytes]) -> dict[str, Any]:
        """Encode an image, or several that are shown together, and keep it; return its id and size.

        Raises:
            RequestError: If the request is beyond a limit, or the image cannot be read.
        """
        image = (await self._result(Job(await self._decoded(body, files)))).image
        height, width = image.geometry.original
        return {"image_id": self.kept.add(image), "width": width, "height": height}

    async def chat(self, body: ChatBody, files: Sequence[bytes], release: Callable[[], None]) -> AsyncIterator[str]:
        """Begin to answer a question.

        Args:
            body: The question.
            files: The images of a form.
            release: Gives the place of the request back; called when the assistant has done with it.

        Returns:
            The answer's pieces; the first has been written already.

        Raises:
            RequestError: If the request is beyond a limit, or its image cannot be read.
            QueryError: If the question cannot be asked.
        """
        try:
            query, turns = read_chat(body, self.limits)
            check_queries(self.engine.assistant, [query], "free")
            if turns and self.engine.assistant.format.next_turn is None:
                raise RequestError(422, "history: this assistant answers each question by itself; leave it out")
            read_turns(self.engine.assistant.format, turns)
            job = Conversation(await self._image(body, files), question=body.question, turns=turns)
        except BaseException:
            release()
            raise
        pieces = self._pieces(job, release)
        first = await anext(pieces, None)

        async def all_pieces() -> AsyncIterator[str]:
            try:
                if first is not None:
                    yield first
                    async for piece in pieces:
                        yield piece
            finally:
                job.stopped = True

        return all_pieces()

    async def _pieces(self, job: Conversation, release: Callable[[], None]) -> AsyncIterator[str]:
        loop, written = asyncio.get_running_loop(), asyncio.Queue[str | None]()
        job.emit = lambda piece: _call(loop, written.put_nowait, piece)
        job.future.add_done_callback(lambda _: release())
        job.future.add_done_callback(lambda _: _call(loop, written.put_nowait, None))
        try:
            self.engine.submit(job)
        except RequestError:
            job.future.cancel()
            raise
        end = loop.time() + self.limits.seconds
        try:
            # not one timeout around all, which would belong to the task that asks for the first piece
            while (piece := await asyncio.wait_for(written.get(), end - loop.time())) is not None:
                yield piece
        except TimeoutError as error:
            raise self._late() from error
        finally:
            job.stopped = True
            job.future.cancel()
        job.future.result()

    def models(self) -> list[dict[str, Any]]:
        """Return what clients may know about the assistant."""
        assistant = self.engine.assistant
        prompts, learned = assistant.format.prompts, assistant.learned_kinds
        parts = ("vision_encoder", "language_model", "mask_head")
        return [
            {
                "name": self.name,
                "parts": {part: type(getattr(assistant, part)).__name__ for part in parts},
                "kinds": [str(kind) for kind in KINDS | learned if kind in prompts],
                "learned": [str(kind) for kind in learned if kind in prompts],
                "several_images": assistant.format.image_separator is not None,
                "threshold": assistant.presence_threshold,
                "thresholds": self.thresholds,
                "points": assistant.mask_head.takes_visual_prompts,
                "remembers": assistant.format.next_turn is not None,
            }
        ]

    async def _result(self, job: Job) -> JobResult:
        self.engine.submit(job)
        try:
            async with asyncio.timeout(self.limits.seconds):
                return await asyncio.wrap_future(job.future)
        except TimeoutError as error:
            raise self._late() from error

    def _check_pixels(self, job: Job) -> None:
        if job.mask_pixels > self.limits.mask_pixels:
            raise RequestError(
                413,
                f"image: its pixels times the names asked for are {job.mask_pixels}; send a smaller image or fewer "
                f"names, for a product of at most {self.limits.mask_pixels}",
            )

    def _late(self) -> RequestError:
        text = f"answer: it was not ready within {self.limits.seconds:g} s; ask for less at a time, or later"
        return RequestError(408, text)

    async def _image(self, body: ImageBody, files: Sequence[bytes]) -> PreparedImage | StoredImage:
        if body.image_id is None:
            return await self._decoded(body, files)
        if body.image is not None or body.images is not None or files:
            raise RequestError(422, "image: give either `image`, `images` or `image_id`")
        if body.masks_on is not None:
            raise RequestError(422, "masks_on: it was settled when the images were kept; leave it out")
        return self.kept.get(body.image_id)

    async def _decoded(self, body: UploadBody, files: Sequence[bytes]) -> PreparedImage:
        texts = [] if body.image is None else [body.image]
        if bool(texts) + bool(body.images) + bool(files) != 1:
            raise RequestError(422, "image: give one image, as `image` in base64 or as a file of a form, or `images`")
        texts += body.images or []
        count = len(texts) or len(files)
        if count > self.limits.shown:
            raise RequestError(422, f"images: {count} are too many; show at most {self.limits.shown} together")
        masks_on = LAST if body.masks_on is None else body.masks_on
        try:
            place_of(masks_on, count, "image")
        except RecordError as error:
            raise QueryError(str(error)) from error

        fetched = await self._fetched(texts)

        def prepared() -> PreparedImage:
            contents = (fetched[text] if text in fetched else read_base64(text) for text in texts)
            every = read_images(files or contents, self.limits, self.window)
            return self.engine.prepare(every, masks_on)

        try:
            return await run_sync(prepared, limiter=self._threads)
        except RecordError as error:
            raise QueryError("image: it has no pixels") from error

    async def _fetched(self, texts: Sequence[str]) -> dict[str, bytes]:
        """Return the files at the addresses among some texts; none if addresses are not read."""
        found: dict[str, bytes] = {}
        if self.addresses is not None:
            for text in filter(is_address, dict.fromkeys(texts)):
                left = self.limits.body - sum(map(len, found.values()))
                found[text] = await self.addresses.read(text, left)
        return found


def _call(loop: asyncio.AbstractEventLoop, put: Callable[[str | None], None], piece: str | None) -> None:
    """Hand a piece to the loop of a server, which may have ended."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(put, piece)


async def events(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield an answer as server-sent events: its pieces, and the whole text as "done", or "error"."""
    text = ""
    try:
        async for piece in pieces:
            text += piece
            yield f"data: {json.dumps({'text': piece})}\n\n"
    except Exception as error:
        known = isinstance(error, RequestError | QueryError)
        reason = str(error) if known else "server: the answer could not be finished"
        yield f"event: error\ndata: {json.dumps({'error': reason})}\n\n"
        return
    yield f"event: done\ndata: {json.dumps({'text': text})}\n\n"
