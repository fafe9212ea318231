"""Connections that ask without waiting, some of which never read."""

import json
import select
import socket
import struct
import time
from collections import deque

from messages import API_VERSIONS, APIS, Malformed, read_response

PRODUCE = 0
MOST_OPEN = 10  # requests that a connection may have unanswered
PATIENCE = 4  # seconds until a connection is given up: what is unanswered may wait for something
KEPT = 400  # requests in the history


class Fault(Exception):
    pass


class History:
    """The last that was sent, in order, to be shown and to be sent again."""

    def __init__(self):
        self.entries = deque(maxlen=KEPT)

    def note(self, **entry):
        self.entries.append(entry)
        return entry

    def save(self, path):
        path.write_text("".join(json.dumps(e) + "\n" for e in self.entries))

    def unanswered(self):
        return [e for e in self.entries if e["what"] == "send" and not e.get("answered")]

    @staticmethod
    def load(path):
        return [json.loads(line) for line in path.read_text().splitlines()]


class Client:
    def __init__(self, number, port, history, deaf=False):
        self.number, self.history, self.deaf = number, history, deaf
        self.sock = socket.socket()
        if deaf:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(20)
        self.sock.connect(("127.0.0.1", port))
        self.sock.setblocking(False)
        self.out, self.buffer, self.open = bytearray(), bytearray(), deque()
        self.lost = False  # out of step with the broker, whose answers then say nothing
        self.since = time.monotonic()
        history.note(what="open", client=number, deaf=deaf)

    def close(self):
        self.history.note(what="close", client=self.number)
        self.sock.close()

    def is_busy(self):
        return self.lost or len(self.open) >= MOST_OPEN or len(self.out) > 1 << 20

    def is_stuck(self):
        return (self.open or self.lost) and time.monotonic() - self.since > PATIENCE

    def send(self, data, about, length=None, tree=None):
        """A frame, perhaps with another length in front of it than it has."""
        entry = self.history.note(what="send", client=self.number, data=data.hex(), length=len(data) if length is None else length, about=about)
        self.out += struct.pack(">i", entry["length"]) + data
        if not self.open:
            self.since = time.monotonic()
        if length is not None or len(data) < 8:
            self.lost = True
            return
        key, version, correlation = struct.unpack(">hhi", data[:8])
        if any(correlation == other for _, _, other, _, _ in self.open):
            self.lost = True  # bytes were changed into the number of one that may go without an answer
        self.open.append((key, version, correlation, entry, tree))

    @staticmethod
    def ready(clients, seconds):
        """Those that can send or read something, or will be able to within this time."""
        reading, writing, _ = select.select([c for c in clients if not c.deaf], [c for c in clients if c.out], [], seconds)
        return set(reading) | set(writing)

    def fileno(self):
        return self.sock.fileno()

    def pump(self, learn):
        """Sends and reads what can be at once. Returns whether the connection lives on."""
        try:
            if self.out:
                del self.out[:self.sock.send(self.out[:1 << 16])]
        except BlockingIOError:
            pass
        except OSError:
            return False
        if self.deaf:
            return True
        try:
            data = self.sock.recv(1 << 18)
            if not data:
                return False
            self.buffer += data
            self.take_frames(learn)
        except BlockingIOError:
            pass
        except OSError:
            return False
        return True

    def take_frames(self, learn):
        at = 0
        while len(self.buffer) - at >= 4:
            size = struct.unpack_from(">i", self.buffer, at)[0]
            if size < 4 or size > 200 << 20:
                raise Fault(f"an answer of {size} bytes")
            if len(self.buffer) - at - 4 < size:
                break
            if not self.lost:
                self.take(bytes(self.buffer[at + 4:at + 4 + size]), learn)
            at += 4 + size
        del self.buffer[:at]

    def take(self, frame, learn):
        """The answer to the oldest request, of which only Produce may go without one."""
        answered = struct.unpack(">i", frame[:4])[0]
        self.since = time.monotonic()
        while self.open:
            key, version, correlation, entry, asked = self.open.popleft()
            entry["answered"] = True
            if correlation == answered:
                break
            if key != PRODUCE:
                raise Fault(f"an answer to {answered} where {correlation} is due:\n    {entry['about']}")
        else:
            raise Fault(f"an answer to {answered}, which was not asked")
        if key not in APIS:
            raise Fault(f"an answer to {entry['about']}")
        if key == API_VERSIONS and not 0 <= version <= APIS[key].span[1]:
            version = 0  # by which a client learns what it should ask
        try:
            _, tree = read_response(key, version, frame)
        except Malformed as e:
            raise Fault(f"{e}\n    in the answer {frame[:200].hex()}\n    to {entry['about']}") from None
        learn(APIS[key].name, asked, tree)
