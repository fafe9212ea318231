"""Requests by hand: what their fields are written with, and answers read with, in the forms of all versions."""

import struct

from harness import connect, frame, read_frame


class Out:
    def __init__(self, flexible):
        self.flexible, self.data = flexible, b""

    def raw(self, fmt, *values):
        self.data += struct.pack(">" + fmt, *values)
        return self

    def length(self, n, fmt):
        """-1: null."""
        if not self.flexible:
            return self.raw(fmt, n)
        n += 1
        while n >= 0x80:
            self.raw("B", n & 0x7f | 0x80)
            n >>= 7
        return self.raw("B", n)

    def text(self, s):
        data = None if s is None else s.encode()
        self.length(-1 if data is None else len(data), "h")
        self.data += data or b""
        return self

    def blob(self, b):
        self.length(len(b), "i")
        self.data += b
        return self

    def array(self, items, each):
        self.length(-1 if items is None else len(items), "i")
        for item in items or ():
            each(item)
        return self

    def tags(self):
        return self.raw("B", 0) if self.flexible else self


class In:
    def __init__(self, data, flexible):
        self.data, self.flexible, self.at = data, flexible, 0

    def raw(self, fmt):
        value = struct.unpack_from(">" + fmt, self.data, self.at)[0]
        self.at += struct.calcsize(">" + fmt)
        return value

    def length(self, fmt):
        if not self.flexible:
            return self.raw(fmt)
        n = shift = 0
        while True:
            byte = self.raw("B")
            n |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return n - 1

    def take(self, n):
        if n < 0:
            return None
        self.at += n
        return self.data[self.at - n:self.at]

    def text(self):
        data = self.take(self.length("h"))
        return None if data is None else data.decode()

    def blob(self):
        return self.take(self.length("i"))

    def array(self, each):
        return [each() for _ in range(max(self.length("i"), 0))]

    def struct(self, **fields):
        """In order; those that are None are not of this version."""
        found = {name: read() for name, read in fields.items() if read is not None}
        self.tags()
        return found

    def tags(self):
        assert not self.flexible or self.raw("B") == 0


class Frames:
    """One client's connection; what is asked is answered in order."""

    APIS = {}  # name: (key, first flexible version, reader)

    def __init__(self, broker):
        self.broker, self.sock, self.open = broker, connect(broker), []

    def send(self, api, version, body):
        key, flexible_since, _ = self.APIS[api]
        flexible = version >= flexible_since
        self.sock.sendall(frame(key, version, (b"\0" if flexible else b"") + body.data))
        self.open.append((api, version, flexible))

    def receive(self):
        api, version, flexible = self.open.pop(0)
        answer = read_frame(self.sock)
        assert answer is not None, f"the connection was closed instead of an answer to {api} {version}"
        i = In(answer[4:], flexible)
        i.tags()
        found = self.APIS[api][2](i, version)
        assert i.at == len(i.data), (api, version, i.data[i.at:])
        return found

    def ask(self, api, version, body):
        self.send(api, version, body.tags())
        return self.receive()

    def close(self):
        self.sock.close()


def i16(i):
    return lambda: i.raw("h")


def i32(i):
    return lambda: i.raw("i")


def i64(i):
    return lambda: i.raw("q")


def read_errors(i):
    """Of partitions, by topic."""
    def partition():
        return i.struct(index=i32(i), error=i16(i))
    return lambda: i.array(lambda: i.struct(topic=i.text, partitions=lambda: i.array(partition)))
