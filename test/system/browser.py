"""A headless Chromium, by its debugging protocol over pipes: what it shows, what it asks for, and what axe finds wrong with it."""

import base64
import itertools
import json
import os
import shutil
import subprocess
import threading
from pathlib import Path

from harness import PATIENCE, TOP, wait_until

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
AXE = Path(os.environ.get("AXE", TOP / "test" / "axe" / "node_modules" / "axe-core" / "axe.min.js"))


class Browser:
    def __init__(self, folder):
        ours_in, theirs_out = os.pipe()
        theirs_in, ours_out = os.pipe()
        self.numbers, self.answers, self.requests, self.complaints = itertools.count(1), {}, [], []

        def place():  # where Chromium looks for its pipes
            high = os.dup2(theirs_in, 100), os.dup2(theirs_out, 101)
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)
        self.process = subprocess.Popen(
            [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--remote-debugging-pipe",
             "--disable-background-networking", "--disable-component-update", f"--user-data-dir={folder}", "about:blank"],
            preexec_fn=place, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(theirs_in)
        os.close(theirs_out)
        self.out, self.into = os.fdopen(ours_out, "wb", 0), os.fdopen(ours_in, "rb")
        threading.Thread(target=self.read, daemon=True).start()
        target = self.ask("Target.createTarget", url="about:blank", session=None)["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True, session=None)["sessionId"]
        for domain in "Page", "Network", "Runtime", "Log":
            self.ask(f"{domain}.enable")

    def read(self):
        rest = b""
        while data := os.read(self.into.fileno(), 1 << 20):
            *whole, rest = (rest + data).split(b"\0")
            for message in map(json.loads, whole):
                self.take(message)

    def take(self, message):
        method, params = message.get("method"), message.get("params", {})
        if "id" in message:
            self.answers[message["id"]] = message
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Page.javascriptDialogOpening":
            self.complaints.append("a dialog: " + params["message"])

    def ask(self, method, session="", **params):
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        answer = wait_until(lambda: self.answers.pop(number, None), f"{method} by Chromium")
        assert "error" not in answer, answer
        return answer["result"]

    def evaluate(self, expression):
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def look(self, url, width, height, scheme, script=True):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.ask("Emulation.setScriptExecutionDisabled", value=not script)
        self.requests.clear()
        self.complaints.clear()
        self.ask("Page.navigate", url=url)
        wait_until(lambda: self.evaluate("document.readyState") == "complete" and self.evaluate("location.href") != "about:blank", url)

    def picture(self, path):
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def axe(self):
        """What axe takes for a violation, one a line."""
        self.evaluate(AXE.read_text() + ";0")
        found = self.evaluate("axe.run().then(r => r.violations.map(v => v.id + ': ' + v.help + ': ' + v.nodes.map(n => n.html).slice(0, 3).join(' | ')))")
        return found

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.out.close()
