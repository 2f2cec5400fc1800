"""A headless Chromium that is driven through the DevTools protocol, over a pipe: no driver needed.

The address bar, the keyboard and downloads are the browser's own, and a page's content security
policy holds, which an injected script would run into.
"""

import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-pipe", "--window-size=1200,900"),
)
_CODES = {"Backspace": 8, "Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}
_PATIENCE = 120.0


class Browser:
    """One running browser."""

    def __init__(self, folder: Path) -> None:
        self.downloads = folder / "downloads"
        self.downloads.mkdir(parents=True)
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # The protocol is spoken on file descriptors 3 and 4 of the browser.
        command = f'exec "$0" "$@" 3<&{to_read} 4>&{to_write}'
        self._process = subprocess.Popen(
            ["bash", "-c", command, CHROMIUM, *_FLAGS, f"--user-data-dir={folder / 'profile'}"],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._ids = itertools.count(1)
        self._buffer = b""
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(self.downloads))

    def close(self) -> None:
        try:
            self.call("Browser.close")
        finally:
            self._process.wait(timeout=60)
            os.close(self._write)
            os.close(self._read)

    def open(self, page: Path, *, script: str = "") -> "Tab":
        """A page in a tab of its own; a script that runs before those of the page."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session)
        tab.call("Page.enable")
        tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        tab.go(page.as_uri())
        return tab

    def call(self, method: str, session: str | None = None, **params: object) -> dict:
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _message(self) -> dict:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], _PATIENCE)
            assert ready, "the browser does not answer"
            part = os.read(self._read, 1 << 16)
            assert part, "the browser has ended"
            self._buffer += part
        first, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(first)


class Tab:
    """One page in it."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser, self._session = browser, session

    def call(self, method: str, **params: object) -> dict:
        return self._browser.call(method, self._session, **params)

    def go(self, address: str) -> None:
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def reload(self) -> None:
        self.value("window.stale = true")
        self.call("Page.reload")
        self.until("document.readyState === 'complete' && !window.stale")

    def value(self, expression: str) -> object:
        """What a JavaScript expression is in the page."""
        done = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def until(self, expression: str) -> None:
        ends = time.monotonic() + _PATIENCE
        while not self.value(expression):
            assert time.monotonic() < ends, f"never true: {expression}"
            time.sleep(0.01)

    def close(self) -> None:
        """As a person closes a tab: the page is told."""
        self.call("Page.close")

    def press(self, key: str, *, repeat: bool = False, shift: bool = False) -> None:
        """A key of the keyboard."""
        code = _CODES.get(key, ord(key.upper()) if len(key) == 1 else 0)
        text = "\r" if key == "Enter" else key if len(key) == 1 else ""
        about = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, autoRepeat=repeat, **about)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def focused(self) -> str:
        return str(self.value("document.activeElement.id || document.activeElement.tagName"))

    def downloaded(self, name_part: str) -> Path:
        """The file that a download leaves, once it is whole."""
        ends = time.monotonic() + _PATIENCE
        while time.monotonic() < ends:
            for path in self._browser.downloads.iterdir():
                # An empty file holds the place until the whole one is moved there.
                if name_part in path.name and path.suffix == ".json" and path.stat().st_size:
                    return path
            time.sleep(0.02)
        raise AssertionError(f"no download with {name_part!r} in its name")
