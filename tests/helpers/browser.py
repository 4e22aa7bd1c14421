"""A headless Chromium, driven with its DevTools protocol over a pipe, so that no further package is needed."""

import json
import os
import shutil
import subprocess
from base64 import b64decode
from contextlib import contextmanager
from select import select
from time import monotonic, sleep

import pytest

WAIT = 30.0
"""Seconds until something on a page must have come."""


def need_chromium():
    """Skip tests where there is no Chromium."""
    if shutil.which("chromium") is None or shutil.which("bash") is None:
        pytest.skip("the page is looked at in Debian's Chromium, which is not installed here")


@contextmanager
def opened(address, profile, size=(1200, 800)):
    """Yield a tab that shows an address.

    Args:
        address: The address.
        profile: An empty folder for what the browser writes.
        size: Width and height of the tab.
    """
    to_it, commands = os.pipe()
    answers, from_it = os.pipe()
    options = f"--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir={profile}"
    line = f"exec chromium {options} --window-size={size[0]},{size[1]} --remote-debugging-pipe about:blank"
    process = subprocess.Popen(
        ["bash", "-c", f"{line} 3<&{to_it} 4>&{from_it}"],
        pass_fds=(to_it, from_it),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_it)
    os.close(from_it)
    try:
        yield Tab(commands, answers, address, size)
    finally:
        os.close(commands)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(answers)


class Tab:
    """One tab of a browser; ``addresses`` are all that it asked for."""

    def __init__(self, commands, answers, address, size):
        self.commands, self.answers, self.unread, self.count, self.session = commands, answers, b"", 0, None
        self.addresses, self.log = [], []
        [target, *_] = [one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page"]
        attached = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Network", "Runtime", "DOM", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False
        )
        self.call("Page.navigate", url=address)

    def call(self, method, **params):
        """Send a command, and return its result."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session is not None:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while (found := self._next()).get("id") != self.count:
            self._note(found)
        assert "error" not in found, found
        return found["result"]

    def _next(self):
        while b"\0" not in self.unread:
            assert select([self.answers], [], [], WAIT)[0], "the browser does not answer"
            read = os.read(self.answers, 1 << 16)
            assert read, "the browser has ended"
            self.unread += read
        message, _, self.unread = self.unread.partition(b"\0")
        return json.loads(message)

    def _note(self, event):
        if event.get("method") == "Network.requestWillBeSent":
            self.addresses.append(event["params"]["request"]["url"])
        if event.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled"):
            self.log.append(event["params"])

    def run(self, script):
        """Run JavaScript, and return its value."""
        found = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script):
        """Wait until JavaScript has a value that is true, and return it."""
        end = monotonic() + WAIT
        while not (value := self.run(script)):
            assert monotonic() < end, f"{script}: {self.run('document.body.innerText')}"
            sleep(0.1)
        return value

    def choose(self, selector, file):
        """Choose a file in a field for files."""
        found = self.call("Runtime.evaluate", expression=f"document.querySelector({selector!r})")
        self.call("DOM.setFileInputFiles", files=[str(file)], objectId=found["result"]["objectId"])

    def type(self, selector, text, enter=False):
        """Type a text into a field."""
        self.run(f"document.querySelector({selector!r}).focus()")
        self.call("Input.insertText", text=text)
        if enter:
            key = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13}
            self.call("Input.dispatchKeyEvent", type="keyDown", text="\r", **key)
            self.call("Input.dispatchKeyEvent", type="keyUp", **key)

    def screenshot(self):
        """Return what the tab shows, as a PNG file."""
        return b64decode(self.call("Page.captureScreenshot", format="png")["data"])
