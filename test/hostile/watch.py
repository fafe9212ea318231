"""What must hold all the while."""

import time
from pathlib import Path

from clients import Fault
from messages import Asker, Malformed

BAD = ("FATAL", "Sanitizer", "runtime error")
PATIENCE = 40  # seconds in which a fresh client is answered, on a machine that has other things to do
INTERVAL = 1.0
MOST_MEMORY = 2 << 30
MOST_FILES = 3000


class Watch:
    def __init__(self, broker):
        self.broker, self.read, self.next, self.highest = broker, 0, 0.0, 0
        self.soon = 0.0
        self.rest = ""

    def look(self):
        """At the process and its log, and each second closer."""
        if time.monotonic() < self.soon:
            return
        self.soon = time.monotonic() + 0.05
        self.check_log()
        if not self.broker.is_running():
            time.sleep(0.5)  # what it still has to say
            self.check_log()
            raise Fault(f"the broker has ended with {self.broker.process.returncode}:\n{self.broker.text()[-3000:]}")
        if time.monotonic() > self.next:
            self.check_memory()
            self.ask()
            self.next = time.monotonic() + INTERVAL

    def check_log(self):
        with open(self.broker.log, errors="replace") as f:
            f.seek(self.read)
            text = f.read()
            self.read = f.tell()
        text, whole = self.rest + text, text
        self.rest = whole[-100:]
        if any(bad in text for bad in BAD):
            end = time.monotonic() + 5
            while self.broker.is_running() and time.monotonic() < end:  # a report is written in parts
                time.sleep(0.2)
            log = self.broker.text()
            at = min(log.find(bad, max(self.read - len(text) - 200, 0)) for bad in BAD if bad in log[max(self.read - len(text) - 200, 0):])
            raise Fault("in the broker's log:\n" + log[max(at - 200, 0):at + 4000])

    def check_memory(self):
        status = Path(f"/proc/{self.broker.process.pid}/status").read_text()
        used = int(status.split("VmRSS:")[1].split()[0]) * 1024
        self.highest = max(self.highest, used)
        files = len(list(Path(f"/proc/{self.broker.process.pid}/fd").iterdir()))
        if used > MOST_MEMORY:
            raise Fault(f"the broker has {used >> 20} MB of memory")
        if files > MOST_FILES:
            raise Fault(f"the broker has {files} files open")

    def ask(self):
        """As a client that has just come."""
        begun = time.monotonic()
        try:
            with Asker(self.broker, PATIENCE) as client:
                for api, version, tree in ("ApiVersions", 3, {"ClientSoftwareName": "x", "ClientSoftwareVersion": "1"}), ("Metadata", 9, {"Topics": None}):
                    answer = client.get(api, version, tree)
                    if not isinstance(answer, dict):
                        raise Fault(f"a fresh client asks {api}: {answer} in {time.monotonic() - begun:.1f} s")
        except (OSError, Malformed) as e:
            if not self.broker.is_running():
                return  # which is seen next
            raise Fault(f"a fresh client: {e!r} after {time.monotonic() - begun:.1f} s") from None
