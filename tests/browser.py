"""Chromium for tests of pages, driven through its DevTools protocol over pipes: no driver and no port is needed."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")


class Browser:
    """One page in a headless Chromium.

    Args:
        profile: a folder for the browser's files.
        width, height: of the window, in pixels.
        dark: prefer dark colours.
    """

    def __init__(self, profile, width=1280, height=900, dark=False):
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        flags = "--headless --no-sandbox --disable-gpu --hide-scrollbars --remote-debugging-pipe about:blank"
        line = f'exec "$0" {flags} --user-data-dir="$1" --window-size={width},{height} 3<&{commands} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", line, CHROMIUM, str(profile)],
            pass_fds=(commands, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(commands)
        os.close(answers)
        self._received, self._number, self._session = b"", 0, None
        self.requests, self.errors = [], []
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(target["targetId"] for target in targets if target["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.send("Network.enable")
        self.send("Runtime.enable")
        self.send("Page.enable")
        self.send("Emulation.setFocusEmulationEnabled", enabled=True)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        os.close(self._commands)  # the browser ends when its pipe closes
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(30)
        os.close(self._answers)

    def send(self, method, **parameters):
        """The answer of the browser to a command."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        message |= {"sessionId": self._session} if self._session else {}
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != number:
            if answer.get("method") == "Network.requestWillBeSent":
                self.requests.append(answer["params"]["request"]["url"])
            elif answer.get("method") == "Runtime.exceptionThrown":
                self.errors.append(answer["params"]["exceptionDetails"]["text"])
            elif answer.get("method") == "Runtime.consoleAPICalled" and answer["params"]["type"] == "error":
                self.errors.append(" ".join(str(part.get("value", "")) for part in answer["params"]["args"]))
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def open(self, place):
        """Load a file, given as a path, or an address."""
        self.send("Page.navigate", url=place.resolve().as_uri() if isinstance(place, Path) else place)
        self.run("new Promise(done => document.readyState == 'complete' ? done() : addEventListener('load', done))")

    def run(self, expression):
        """Value of a JavaScript expression; of a promise, what it resolves to."""
        answer = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, condition, seconds=30):
        """Value of a JavaScript expression, as soon as it is true."""
        deadline = time.monotonic() + seconds
        while not (found := self.run(condition)):
            assert time.monotonic() < deadline, f"not true after {seconds} s: {condition}"
            time.sleep(0.05)
        return found

    def screenshot(self, path):
        """Write a PNG of the whole page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        answer = self.send("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def drag(self, selector, start, end, num_steps=10):
        """Press the mouse in an element and move it; places are shares of its width and height."""
        box = self._box(selector)
        places = [
            [
                box[axis] + box[axis + 2] * (start[axis] + (end[axis] - start[axis]) * step / num_steps)
                for axis in (0, 1)
            ]
            for step in range(num_steps + 1)
        ]
        kinds = ["mousePressed", *["mouseMoved"] * num_steps, "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*places, places[-1]], strict=True):
            buttons = int(kind != "mouseReleased")
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=buttons, clickCount=1)

    def upload(self, selector, path):
        """Choose a file in a file input."""
        document = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def press(self, key):
        """Press and release a key, "Enter" or "Escape" or "ArrowDown"."""
        code = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)
            text = {}
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def click(self, selector):
        """Click into the middle of an element."""
        left, top, width, height = self._box(selector)
        x, y = left + width / 2, top + height / 2
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def _box(self, selector):
        """Left, top, width and height of an element, which is scrolled into view."""
        return self.run(
            f"(e => {{ e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            "const r = e.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]; })"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    def _read(self):
        while b"\0" not in self._received:
            block = os.read(self._answers, 1 << 20)
            assert block, "the browser ended"
            self._received += block
        message, _, self._received = self._received.partition(b"\0")
        return json.loads(message)
