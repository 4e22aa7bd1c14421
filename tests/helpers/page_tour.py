"""The page in a browser; ``python -m tests.helpers.page_tour docs/images/page.png`` draws the picture of the docs."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.helpers.browser import opened
from tests.helpers.served import SCENE, on_port


@contextmanager
def page_served(uploads):
    """Yield the address of a server with the page.

    Args:
        uploads: Folder that Gradio would write files to.
    """
    import lasagna

    before = os.environ.get("GRADIO_TEMP_DIR")
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    try:
        with on_port(lasagna.load()) as port:
            yield f"http://127.0.0.1:{port}/"
    finally:
        os.environ.pop("GRADIO_TEMP_DIR")
        if before is not None:
            os.environ["GRADIO_TEMP_DIR"] = before


def ask_for_names(tab):
    """Choose a picture, and ask for names; one of them is absent."""
    tab.wait("!!document.querySelector('#picture input')")
    tab.choose("#picture input", SCENE)
    tab.wait("!!document.querySelector('#picture img')")
    tab.wait("/96 . 96 pixels/.test(document.querySelector('#legend').innerText)")
    tab.type("#names textarea", "sky, dog, house, kite, bird")
    tab.run("document.querySelector('#ask').click()")
    tab.wait("document.querySelectorAll('#legend li').length == 5")


def talk(tab):
    """Ask a question about the picture, and wait for its answer."""
    tab.type("#question textarea", "what colour is the kite", enter=True)
    tab.wait("/blue/.test(document.querySelector('#talk').innerText)")


def draw(target):
    """Write a picture of the page with an answer and a talk."""
    with TemporaryDirectory() as uploads, TemporaryDirectory() as profile, page_served(uploads) as address:
        draw_page(address, profile, Path(target))


def draw_page(address, profile, target):
    """Write a picture of a page that is served."""
    with opened(address, profile, size=(1200, 920)) as tab:
        ask_for_names(tab)
        talk(tab)
        tab.run("document.activeElement.blur(); window.scrollTo(0, 0)")
        target.write_bytes(tab.screenshot())


if __name__ == "__main__":
    draw(sys.argv[1])
