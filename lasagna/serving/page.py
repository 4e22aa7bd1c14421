"""The page at ``/``, drawn by Gradio; needs the extra ``page``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from lasagna.errors import QueryError
from lasagna.serving.limits import RequestError
from lasagna.serving.page_desk import DROP_FIRST, Desk, Shown
from lasagna.serving.page_look import DROP, PICTURE, STYLE
from lasagna.serving.page_route import PageRoute
from lasagna.serving.service import Service

HINT = 'the page at / needs the extra `page`: pip install "lasagna[page]"; the API is at /v1'
ONE_PROCESS = "the page at / is shown by servers of one process; leave out --workers; the API is at /v1"


def add_page(app: FastAPI, service: Service) -> None:
    """Add the page, or a line that says how to get it where it cannot be shown; to be called last.

    Args:
        app: The app.
        service: What answers.
    """
    several = service.kept.worker is not None
    if several or find_spec("gradio") is None:

        @app.get("/", include_in_schema=False)
        async def hint() -> JSONResponse:
            return JSONResponse({"page": ONE_PROCESS if several else HINT})

        return
    # read when gradio is imported
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # it sums up the times of so many events at each event
    os.environ.setdefault("GRADIO_ANALYTICS_MAX_EVENTS", "16")
    import gradio

    blocks = make_blocks(Desk(service))
    blocks.queue(max_size=service.limits.requests, default_concurrency_limit=service.limits.requests, api_open=False)
    gradio.mount_gradio_app(
        app,
        blocks,
        path="/",
        # names of this machine's fonts: nothing is loaded from other servers
        theme=gradio.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css=STYLE,
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=1,
    )
    app.router.routes[-1] = PageRoute(getattr(app.router.routes[-1], "app"), service)  # noqa: B009


def make_blocks(desk: Desk) -> Any:  # noqa: ANN401
    """Return the page as ``gradio.Blocks``.

    Args:
        desk: What its controls do.
    """
    import gradio

    with gradio.Blocks(title="lasagna", analytics_enabled=False) as blocks:
        # in the browser, so that it can be emptied there at once
        key = gradio.Textbox("", visible="hidden")
        with gradio.Row():
            with gradio.Column(scale=3), gradio.Group(elem_id="stage"):
                picture = gradio.HTML("", html_template=PICTURE, js_on_load=DROP, elem_id="picture")
                overlay = gradio.HTML("", elem_id="overlay")
            with gradio.Column(scale=2):
                kinds = list(desk.kinds)
                kind = gradio.Dropdown(kinds, value=kinds[0] if kinds else None, label="Kind", elem_id="kind")
                names = gradio.Textbox(label="Names", placeholder="sky, dog, house", lines=2, elem_id="names")
                ask = gradio.Button("Ask", variant="primary", elem_id="ask")
                cut = gradio.Slider(
                    0, 1, round(desk.threshold, 3), step=0.001, label="Present from score", elem_id="cut"
                )
                legend, files = gradio.HTML("", elem_id="legend"), gradio.HTML("", elem_id="files")
        shown = [overlay, legend, files]
        talk = _add_talk(desk, key) if desk.talks else []
        private: dict[str, Any] = {"api_visibility": "private"}

        async def keep(data: str) -> list[Any]:
            with refusals():
                image, said = await desk.keep(data or "")
                return [image, "", said, "", *([[]] if talk else [])]

        async def answer(image: str, of_kind: str, text: str, threshold: float) -> list[str]:
            with refusals():
                return _values(await desk.ask(image, of_kind, text or "", threshold))

        async def draw(image: str, threshold: float) -> list[str]:
            with refusals():
                return _values(await desk.draw(image, threshold)) if image else ["", "", ""]

        # until a new picture is kept, nothing is asked about the one before
        picture.upload(None, None, [key, *shown], js="() => ['', '', '', '']", **private)
        picture.upload(keep, picture, [key, *shown, *talk], **private)
        ask.click(answer, [key, kind, names, cut], shown, **private)
        cut.input(draw, [key, cut], shown, show_progress="hidden", trigger_mode="always_last", **private)
    return blocks


def _add_talk(desk: Desk, key: Any) -> list[Any]:  # noqa: ANN401
    """Add the talk about the picture; return its part that a new picture empties."""
    import gradio

    talk = gradio.Chatbot(label="Talk", height=220, render_markdown=False, elem_id="talk", buttons=[])
    question = gradio.Textbox(show_label=False, placeholder="what colour is the kite", elem_id="question")

    async def reply(image: str, text: str) -> AsyncIterator[tuple[list[dict[str, str]], str]]:
        with refusals():
            before = [
                {"role": role, "content": content}
                for turn in desk.turns(image)
                for role, content in (("user", turn.question), ("assistant", turn.answer))
            ]
            async for written in desk.talk(image, text or ""):
                now = [{"role": "user", "content": text}, {"role": "assistant", "content": written}]
                yield before + now, ""

    def forget(image: str) -> None:
        with refusals():
            desk.turns(image).clear()

    talk.clear(forget, key, None, api_visibility="private")
    question.submit(reply, [key, question], [talk, question], api_visibility="private")
    return [talk]


def _values(shown: Shown) -> list[str]:
    return [shown.overlay, shown.legend, shown.files]


@contextmanager
def refusals() -> Iterator[None]:
    """Show refusals of the server on the page."""
    import gradio

    try:
        yield
    except (RequestError, QueryError) as error:
        gone = isinstance(error, RequestError) and error.status == 404
        raise gradio.Error(DROP_FIRST if gone else str(error), print_exception=False) from error
