"""The thread that owns an assistant: it answers together what waits, and writes conversations in turns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from queue import Empty, Full, Queue
from threading import Thread

import torch

from lasagna.core.answer import Answer
from lasagna.core.answer_json import answer_json
from lasagna.core.batch import Query
from lasagna.core.image_places import LAST
from lasagna.core.image_prompts import prompt_ids
from lasagna.core.query_kind import QUESTION
from lasagna.errors import LasagnaError
from lasagna.modules.assistant import Assistant
from lasagna.modules.decoding.cache import ChatHistory
from lasagna.modules.encoded_images import EncodedImages
from lasagna.modules.shown_images import Images, prepare_images
from lasagna.serving.jobs import AskedQuery, Conversation, Job, JobResult, PreparedImage, StoredImage, read_turns
from lasagna.serving.limits import Limits, RequestError
from lasagna.serving.metrics import Metrics

LOG = logging.getLogger("lasagna.serving")


class Engine:
    """Answers jobs with an assistant, which nothing else may use meanwhile.

    Args:
        assistant: The assistant, built and on its device.
        limits: How many jobs wait, and how many are answered together.
        metrics: Where batches are counted.
    """

    def __init__(self, assistant: Assistant, limits: Limits, metrics: Metrics) -> None:
        self.assistant = assistant
        self.limits = limits
        self.metrics = metrics
        self.processors = assistant.processors
        self._queue: Queue[Job | None] = Queue(limits.requests)
        self._held: Job | None = None
        self._conversations: dict[Conversation, tuple[Iterator[str], list[str], StoredImage]] = {}
        self._thread = Thread(target=self._run, name="lasagna-engine", daemon=True)

    @property
    def waiting(self) -> int:
        """Number of jobs that wait."""
        return self._queue.qsize()

    @property
    def alive(self) -> bool:
        """Whether jobs are answered."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what waits, and end; conversations end where they are."""
        self._queue.put(None)
        self._thread.join()

    def prepare(self, image: Images, masks_on: int = LAST) -> PreparedImage:
        """Process an image, uint8 ``[H, W, 3]``, or several that are shown together; any thread may do so.

        Args:
            image: The image, or several in order.
            masks_on: Position of the image that masks belong to.

        Raises:
            RecordError: If one has no pixels, or ``masks_on`` is no position among them.
        """
        (pixels, tower, shown), geometry = prepare_images(self.processors, image, masks_on)
        return PreparedImage(pixels, tower, geometry, shown)

    def submit(self, job: Job) -> None:
        """Let a job wait; its future gets the result.

        Raises:
            RequestError: If too many wait.
        """
        try:
            self._queue.put_nowait(job)
        except Full as error:
            raise busy() from error

    def _run(self) -> None:
        while True:
            jobs, ended = self._next_jobs()
            jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]
            if jobs:
                self.metrics.batches.observe(len(jobs))
                self._answer(jobs)
            self._write()
            if ended:
                break
        for conversation in list(self._conversations):
            self._end(conversation)

    def _next_jobs(self) -> tuple[list[Job], bool]:
        """Return what waits, as far as it may be answered together, and whether nothing follows.

        Waits for a job if there is no conversation to go on with.
        """
        jobs, self._held = [] if self._held is None else [self._held], None
        pixels = sum(job.mask_pixels for job in jobs)
        while len(jobs) < self.limits.batch:
            try:
                job = self._queue.get(block=not jobs and not self._conversations)
            except Empty:
                break
            if job is None:
                return jobs, True
            pixels += job.mask_pixels
            if jobs and pixels > self.limits.mask_pixels:
                self._held = job
                break
            jobs.append(job)
        return jobs, False

    def _answer(self, jobs: Sequence[Job]) -> None:
        """Answer jobs together; if that fails, each by itself, so that none fails for another's fault."""
        try:
            images = self._encode([job.image for job in jobs])
            answers = self._ask(images, [job.queries for job in jobs])
        except Exception as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._answer([job])
                return
            if not isinstance(error, LasagnaError):
                LOG.exception("a request could not be answered")
            jobs[0].future.set_exception(error)
            return
        for job, image, found in zip(jobs, images, answers, strict=True):
            if isinstance(job, Conversation):
                self._conversations[job] = (self._pieces(job, image), [], image)
            else:
                job.future.set_result(JobResult(image, found))

    @torch.no_grad()
    def _encode(self, images: Sequence[PreparedImage | StoredImage]) -> list[StoredImage]:
        device, done = self.assistant.device, dict[int, StoredImage]()
        prepared = {place: image for place, image in enumerate(images) if isinstance(image, PreparedImage)}
        for shapes in dict.fromkeys(image.shapes for image in prepared.values()):
            group = {place: image for place, image in prepared.items() if image.shapes == shapes}
            towers = [image.tower for image in group.values() if image.tower is not None]
            pixels = torch.cat([image.pixels for image in group.values()]).to(device)
            [shown, *_] = [image.shown for image in group.values()]
            with self.assistant.answering():
                encoded = self.assistant.encode(pixels, torch.cat(towers).to(device) if towers else None, shown)
            for row, (place, image) in enumerate(group.items()):
                # copies, since a view keeps the images of the whole batch
                maps = [level[row : row + 1].clone() for level in encoded.features]
                vectors = encoded.image_vectors[row : row + 1].clone()
                count = 1 if image.shown is None else image.shown.shape[1]
                done[place] = StoredImage(EncodedImages(maps, vectors), image.geometry, count)
        return [done[place] if isinstance(image, PreparedImage) else image for place, image in enumerate(images)]

    def _ask(
        self, images: Sequence[StoredImage], asked: Sequence[Sequence[AskedQuery]]
    ) -> list[tuple[dict[str, object], ...]]:
        """Answer the queries about each image; those that are decoded alike are decoded together."""
        places = [(image, rank) for image, queries in enumerate(asked) for rank in range(len(queries))]
        groups: dict[object, list[tuple[int, int]]] = {}
        for image, rank in places:
            one = asked[image][rank]
            decoding = "free" if one.query.kind.words else one.decoding
            groups.setdefault((images[image].shapes, decoding), []).append((image, rank))
        found: dict[tuple[int, int], dict[str, object]] = {}
        for members in groups.values():
            queries = [asked[image][rank] for image, rank in members]
            answers = self._ask_alike([images[image] for image, _ in members], queries)
            plain = [answer_json(one.query, answer) for one, answer in zip(queries, answers, strict=True)]
            found.update(zip(members, plain, strict=True))
        return [tuple(found[image, rank] for rank in range(len(queries))) for image, queries in enumerate(asked)]

    def _ask_alike(self, images: Sequence[StoredImage], asked: Sequence[AskedQuery]) -> list[Answer]:
        distinct = list(dict.fromkeys(images))
        levels = zip(*(image.encoded.features for image in distinct), strict=True)
        vectors = torch.cat([image.encoded.image_vectors for image in distinct])
        encoded = EncodedImages([torch.cat(maps) for maps in levels], vectors)
        rows = {image: row for row, image in enumerate(distinct)}
        places = [(rows[image], image.images) for image in images]
        queries = [
            replace(one.decided, image=row, images=count) for (row, count), one in zip(places, asked, strict=True)
        ]
        decoding = "free" if queries[0].kind.words else asked[0].decoding
        return self.assistant.answer_batch(encoded, [image.geometry for image in distinct], queries, decoding)

    def _pieces(self, job: Conversation, image: StoredImage) -> Iterator[str]:
        text, history = self.assistant.language_model.text_processor, ChatHistory()
        for (prompt, answer), turn in zip(read_turns(self.assistant.format, job.turns), job.turns, strict=True):
            first = partial(prompt_ids, text, self.assistant.format, QUESTION, (turn.question,), images=image.images)
            ids = text.further_ids(prompt) if history.ids else first()
            history.ids += [*ids, *text.answer_ids(answer), text.end_token_id]
        query = Query(0, QUESTION, (job.question,), images=image.images)
        yield from self.assistant.decoder.stream(image.encoded.image_vectors, query, history)

    def _write(self) -> None:
        """Write the next piece of each conversation."""
        for job, (pieces, written, _) in list(self._conversations.items()):
            try:
                with self.assistant.answering():
                    piece = None if job.stopped else next(pieces, None)
                if piece is None:
                    self._end(job)
                else:
                    written.append(piece)
                    job.emit(piece)
            except Exception as error:
                if not isinstance(error, LasagnaError):
                    LOG.exception("a conversation could not go on")
                del self._conversations[job]
                job.future.set_exception(error)

    def _end(self, job: Conversation) -> None:
        _, written, image = self._conversations.pop(job)
        job.future.set_result(JobResult(image, text="".join(written)))


def busy() -> RequestError:
    """Return the refusal of a request that would have to wait behind too many."""
    return RequestError(503, "server: too many requests wait; try again later", {"Retry-After": "1"})
