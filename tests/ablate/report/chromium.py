"""Opens pages in a headless Chromium, spoken to over its DevTools pipe; standard library alone."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find():
    """The path of a Chromium: $CHROMIUM or one in PATH; None when there is none."""
    return next(filter(None, (shutil.which(name)
                              for name in (os.environ.get("CHROMIUM", ""), *NAMES) if name)), None)


class Browser:
    """with Browser(path) as browser: browser.open(...)"""

    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_browser, self.out = os.pipe()
        self.back, from_browser = os.pipe()
        # Chromium reads commands from descriptor 3 and answers on 4.
        command = ('exec "$0" --headless --remote-debugging-pipe --no-sandbox --disable-gpu '
                   '--disable-dev-shm-usage --hide-scrollbars --no-first-run --user-data-dir="$1" '
                   f'about:blank 3<&{to_browser} 4>&{from_browser}')
        self.process = subprocess.Popen(
            ["bash", "-c", command, program, self.profile.name],
            pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.rest, self.sent, self.session = b"", 0, None

    def __enter__(self):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target,
                                 flatten=True)["sessionId"]
        self.call("Page.enable")
        return self

    def __exit__(self, *_):
        os.close(self.out)
        os.close(self.back)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.profile.cleanup()

    def _receive(self):
        while b"\0" not in self.rest:
            data = os.read(self.back, 1 << 20)
            if not data:
                raise RuntimeError("Chromium closed its pipe: it could not start, or died")
            self.rest += data
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.sent += 1
        message = {"id": self.sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.sent:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def open(self, page, width, height, mobile=False):
        """Loads a file at a width in CSS pixels and waits until it and its images are there."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if mobile else 1, mobile=mobile)
        self.call("Page.navigate", url=Path(page).resolve().as_uri())
        self.evaluate("new Promise(done => document.readyState === 'complete' ? done() "
                      ": addEventListener('load', () => done()))")
        self.evaluate("Promise.allSettled([...document.images].map(image => image.decode()))"
                      ".then(() => document.fonts.ready).then(() => 0)")

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, awaitPromise=True,
                           returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def screenshot(self, path):
        """The whole page as a PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        Path(path).write_bytes(base64.b64decode(data))
