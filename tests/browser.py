"""A headless Chromium for tests, driven through its debugging pipe: no driver, no other program."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 20.0
PHONE, DESKTOP = (390, 844), (1280, 900)


class Browser:
    """One page. Every call waits for what it asks."""

    def __init__(self, to: int, from_: int) -> None:
        self._out, self._in = os.fdopen(to, "wb", 0), os.fdopen(from_, "rb", 0)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.told: list[dict[str, Any]] = []
        """Everything that the browser told by itself, oldest first."""

    def open(self) -> None:
        """Open the page that all else is about."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """What the browser answers to `method`."""
        self._number += 1
        asked: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            asked["sessionId"] = self._session
        self._out.write(json.dumps(asked).encode() + b"\0")
        while True:
            told = self._next()
            if told.get("id") == self._number:
                assert "error" not in told, told
                result: dict[str, Any] = told["result"]
                return result
            self.told.append(told)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            more = self._in.read(65_536)
            assert more, "the browser has ended"
            self._buffer += more
        line, _, self._buffer = self._buffer.partition(b"\0")
        found: dict[str, Any] = json.loads(line)
        return found

    def run(self, code: str) -> Any:
        """The value of a JavaScript expression, awaited."""
        asked = {"expression": code, "awaitPromise": True, "returnByValue": True, "userGesture": True}
        told = self.call("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def until(self, code: str) -> None:
        """Wait until a JavaScript expression is true."""
        end = time.monotonic() + PATIENCE_S
        while not self.run(f"(async () => !!(await ({code})))()"):
            said = self.run("document.body.innerText") if time.monotonic() > end else ""
            assert not said, f"{code} did not become true; the page says: {said}"
            time.sleep(0.05)

    def go(self, url: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Make the page as large, and light or dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def write(self, selector: str, text: str) -> None:
        """Type into a field."""
        self.run(f"document.querySelector({json.dumps(selector)}).focus()")
        self.call("Input.insertText", text=text)

    def press(self, key: str, code: int) -> None:
        """Press and release a key."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def shot(self, path: Path) -> None:
        """A picture of the page."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def problems(self) -> list[str]:
        """What the page did wrong: errors in its code, and what its policy forbade."""
        self.run("0")  # what was told until now has come by then
        found = []
        for one in self.told:
            if one.get("method") == "Runtime.exceptionThrown":
                found.append(str(one["params"]["exceptionDetails"]))
            elif one.get("method") == "Log.entryAdded" and one["params"]["entry"]["source"] == "security":
                found.append(one["params"]["entry"]["text"])
        return found


def asked(online: str, path: str, body: object = None) -> Any:
    """What the daemon at `online` answers to a request of its API, beside the page."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{online}/api/{path}", data, {"Content-Type": "application/json"})  # noqa: S310 - our own address
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own address
        return json.loads(answer.read())["data"]


@contextmanager
def browser(folder: Path, *more: str) -> Iterator[Browser]:
    """A browser with nothing remembered. Skips where there is none."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no Chromium: run `apt-get install chromium`")
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={folder}"]
    flags += ["--remote-debugging-pipe", "--no-first-run", "--disable-component-update", *more]

    def place() -> None:
        """The browser reads from 3 and writes to 4."""
        os.dup2(their_in, 200)
        os.dup2(their_out, 201)
        os.dup2(200, 3)
        os.dup2(201, 4)

    with subprocess.Popen(
        [program, *flags],
        preexec_fn=place,  # noqa: PLW1509 - it moves two descriptors and does nothing else
        close_fds=False,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as child:
        os.close(their_in)
        os.close(their_out)
        page = Browser(our_out, our_in)
        try:
            page.open()
            yield page
        finally:
            child.kill()
            page._out.close()
            page._in.close()
