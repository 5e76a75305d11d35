"""Headless Chromium, driven over a pipe by its DevTools protocol (https://chromedevtools.github.io/devtools-protocol/)."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_SWITCHES = (
    "--headless=new",
    "--no-sandbox",  # CI runs as root, where there is none
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--remote-debugging-pipe",
    "--proxy-bypass-list=<-loopback>",
)


class Page:
    """Browser tab.

    Attributes:
        asked: URLs by request, except those of the page itself.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self.asked: dict[str, str] = {}
        self._browser = browser
        self._session = session

    @property
    def requests(self) -> list[str]:
        """Requests since the page was opened that its policy did not block."""
        return list(self.asked.values())

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        return self._browser.call(method, params, self._session)

    def evaluate(self, script: str) -> Any:
        """Run a script like the developer tools, regardless of the page's policy."""
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def look(self, *, width: int, scheme: str = "light", height: int = 900) -> None:
        """Emulate a screen of this width with this color scheme."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def open(self, url: str) -> None:
        """Open a URL and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self._browser.wait("Page.loadEventFired", self._session)

    def picture(self) -> bytes:
        """Return a screenshot as PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])


class Browser:
    """Browser with its own profile, which sends all requests to a proxy."""

    def __init__(self, folder: Path, proxy: str) -> None:
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()

        def place() -> None:  # the protocol is spoken on descriptors 3 and 4
            first, second = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(first, 3)
            os.dup2(second, 4)

        self._process = subprocess.Popen(
            [shutil.which("chromium") or "chromium", *_SWITCHES, f"--user-data-dir={folder}", f"--proxy-server={proxy}"],
            preexec_fn=place,  # noqa: PLW1509  # nothing else runs in this process yet
            pass_fds=(3, 4),
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip
        os.close(theirs_in)
        os.close(theirs_out)
        self._out, self._in = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self._rest = b""
        self._number = 0
        self._seen: list[dict[str, Any]] = []
        self._pages: dict[str, Page] = {}

    def page(self) -> Page:
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        page = self._pages[session["sessionId"]] = Page(self, session["sessionId"])
        for domain in ("Page", "Network", "Runtime"):
            page.call(f"{domain}.enable")
        return page

    def call(self, method: str, params: dict[str, Any], session: str = "") -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        self._out.write(json.dumps(message | ({"sessionId": session} if session else {})).encode())
        self._out.write(b"\0")
        self._out.flush()
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def wait(self, event: str, session: str) -> None:
        while not any((e["method"], e.get("sessionId")) == (event, session) for e in self._seen):
            self._note(self._next())
        self._seen = [
            e for e in self._seen if (e["method"], e.get("sessionId")) != (event, session)
        ]

    def _note(self, event: dict[str, Any]) -> None:
        page = self._pages.get(event.get("sessionId", ""))
        if event["method"] == "Network.requestWillBeSent" and page is not None:
            url = event["params"]["request"]["url"]
            if not url.startswith("data:") and event["params"].get("type") != "Document":
                page.asked[event["params"]["requestId"]] = url
        if event.get("params", {}).get("blockedReason") == "csp" and page is not None:
            page.asked.pop(event["params"]["requestId"], None)
        if event["method"] == "Page.loadEventFired":
            self._seen.append(event)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            piece = os.read(self._in.fileno(), 1 << 16)
            assert piece, f"the browser ended with {self._process.wait()}"
            self._rest += piece
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def close(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._in.close()
        self._out.close()


class _Noting(socketserver.StreamRequestHandler):
    """Proxy that records requests and answers none."""

    def handle(self) -> None:
        self.server.wanted.append(self.rfile.readline(4096))  # type: ignore[attr-defined]


@contextlib.contextmanager
def chromium(folder: Path) -> Iterator[tuple[Browser, list[bytes]]]:
    """Start a browser; yield it and the first lines of its external requests."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Noting) as proxy:
        proxy.daemon_threads = True
        wanted: list[bytes] = []
        proxy.wanted = wanted  # type: ignore[attr-defined]
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,))
        thread.start()
        try:
            browser = Browser(folder, f"127.0.0.1:{proxy.server_address[1]}")
            try:
                yield browser, wanted
            finally:
                browser.close()
        finally:
            proxy.shutdown()
            thread.join()
