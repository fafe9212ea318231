"""The requests of groups, by hand: every field of every version that a test wants to say, and all that is answered."""

import struct

from harness import connect, frame, read_frame

FLEXIBLE_SINCE = {"offset_commit": 8, "offset_fetch": 6, "join": 6, "heartbeat": 4, "leave": 4, "sync": 4, "describe": 5, "list": 3,
                  "delete": 2, "offset_delete": 99, "new_heartbeat": 0, "new_describe": 0}
KEYS = {"offset_commit": 8, "offset_fetch": 9, "join": 11, "heartbeat": 12, "leave": 13, "sync": 14, "describe": 15, "list": 16,
        "delete": 42, "offset_delete": 47, "new_heartbeat": 68, "new_describe": 69}


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


class Connection:
    """One client's; what is asked is answered in order."""

    def __init__(self, broker):
        self.broker, self.sock, self.open = broker, connect(broker), []

    def send(self, api, version, body):
        flexible = version >= FLEXIBLE_SINCE[api]
        self.sock.sendall(frame(KEYS[api], version, (b"\0" if flexible else b"") + body.data))
        self.open.append((api, version, flexible))

    def receive(self):
        api, version, flexible = self.open.pop(0)
        answer = read_frame(self.sock)
        assert answer is not None, f"the connection was closed instead of an answer to {api} {version}"
        i = In(answer[4:], flexible)
        i.tags()
        found = READERS[api](i, version)
        assert i.at == len(i.data), (api, version, i.data[i.at:])
        return found

    def close(self):
        self.sock.close()

    # ---- Membership ----

    def send_join(self, group, member="", instance=None, version=9, session=300000, rebalance=300000, kind="consumer", protocols=(("range", b""),)):
        o = Out(version >= 6).text(group).raw("i", session)
        if version >= 1:
            o.raw("i", rebalance)
        o.text(member)
        if version >= 5:
            o.text(instance)
        o.text(kind).array(protocols, lambda p: o.text(p[0]).blob(p[1]).tags())
        if version >= 8:
            o.text("because")
        self.send("join", version, o.tags())

    def join(self, *args, **kw):
        self.send_join(*args, **kw)
        return self.receive()

    def send_sync(self, group, member, generation, instance=None, assignments=(), version=5, kind="consumer", protocol="range"):
        o = Out(version >= 4).text(group).raw("i", generation).text(member)
        if version >= 3:
            o.text(instance)
        if version >= 5:
            o.text(kind).text(protocol)
        o.array(assignments, lambda a: o.text(a[0]).blob(a[1]).tags())
        self.send("sync", version, o.tags())

    def sync(self, *args, **kw):
        self.send_sync(*args, **kw)
        return self.receive()

    def heartbeat(self, group, member, generation, instance=None, version=4):
        o = Out(version >= 4).text(group).raw("i", generation).text(member)
        if version >= 3:
            o.text(instance)
        self.send("heartbeat", version, o.tags())
        return self.receive()

    def leave(self, group, *members, version=5):
        """`members`: (id, instance)."""
        o = Out(version >= 4).text(group)
        if version < 3:
            o.text(members[0][0])
        else:
            o.array(members, lambda m: (o.text(m[0]).text(m[1]), o.text("because") if version >= 5 else None, o.tags()))
        self.send("leave", version, o.tags())
        return self.receive()

    # ---- Offsets ----

    def send_commit(self, group, offsets, member="", generation=-1, instance=None, version=9, retention=-1, time=-1, metadata=""):
        """`offsets`: {topic: {partition: offset}}"""
        o = Out(version >= 8).text(group)

        def partition(item):
            o.raw("iq", item[0], item[1])
            if version >= 6:
                o.raw("i", -1)
            if version == 1:
                o.raw("q", time)
            o.text(metadata).tags()
        if version >= 1:
            o.raw("i", generation).text(member)
        if version >= 7:
            o.text(instance)
        if 2 <= version <= 4:
            o.raw("q", retention)
        o.array(list(offsets.items()), lambda t: o.text(t[0]).array(list(t[1].items()), partition).tags())
        self.send("offset_commit", version, o.tags())

    def commit(self, *args, **kw):
        self.send_commit(*args, **kw)
        return self.receive()

    def fetch(self, group, topics, version=7, stable=False):
        """`topics`: {topic: [partition]}, or None for all."""
        o = Out(version >= 6)

        def ask():
            o.array(None if topics is None else list(topics.items()), lambda t: o.text(t[0]).array(t[1], lambda p: o.raw("i", p)).tags())
        if version < 8:
            o.text(group)
            ask()
        else:
            o.array([group] if isinstance(group, str) else group, lambda g: (o.text(g), o.text(None).raw("i", -1) if version >= 9 else None, ask(), o.tags()))
        if version >= 7:
            o.raw("b", stable)
        self.send("offset_fetch", version, o.tags())
        return self.receive()

    # ---- Administration ----

    def describe(self, *groups, version=5):
        o = Out(version >= 5)
        o.array(groups, o.text)
        if version >= 3:
            o.raw("b", 1)
        self.send("describe", version, o.tags())
        return self.receive()

    def list(self, states=(), types=(), version=5):
        o = Out(version >= 3)
        if version >= 4:
            o.array(states, o.text)
        if version >= 5:
            o.array(types, o.text)
        self.send("list", version, o.tags())
        return self.receive()

    def delete(self, *groups, version=1):
        o = Out(version >= 2)
        o.array(groups, o.text)
        self.send("delete", version, o.tags())
        return self.receive()

    def offset_delete(self, group, topics):
        o = Out(False).text(group)
        o.array(list(topics.items()), lambda t: o.text(t[0]).array(t[1], lambda p: o.raw("i", p)))
        self.send("offset_delete", 0, o)
        return self.receive()

    def new_heartbeat(self, group):
        o = Out(True).text(group).text("").raw("i", 0).text(None).text(None).raw("i", -1)
        self.send("new_heartbeat", 0, o.array(None, None).text(None).array(None, None).tags())
        return self.receive()

    def new_describe(self, *groups):
        o = Out(True)
        o.array(groups, o.text).raw("b", 0)
        self.send("new_describe", 0, o.tags())
        return self.receive()


# ---- Answers ----


def i32(i):
    return lambda: i.raw("i")


def i16(i):
    return lambda: i.raw("h")


def read_join(i, v):
    def member():
        return i.struct(id=i.text, instance=i.text if v >= 5 else None, metadata=i.blob)
    return i.struct(throttle=i32(i) if v >= 2 else None, error=i16(i), generation=i32(i), type=i.text if v >= 7 else None, protocol=i.text, leader=i.text,
                    skip=(lambda: i.raw("b")) if v >= 9 else None, id=i.text, members=lambda: i.array(member))


def read_sync(i, v):
    return i.struct(throttle=i32(i) if v >= 1 else None, error=i16(i), type=i.text if v >= 5 else None, protocol=i.text if v >= 5 else None, assignment=i.blob)


def read_heartbeat(i, v):
    return i.struct(throttle=i32(i) if v >= 1 else None, error=i16(i))


def read_leave(i, v):
    def member():
        return i.struct(id=i.text, instance=i.text, error=i16(i))
    return i.struct(throttle=i32(i) if v >= 1 else None, error=i16(i), members=(lambda: i.array(member)) if v >= 3 else None)


def read_errors(i):
    def partition():
        return i.struct(index=i32(i), error=i16(i))
    return lambda: i.array(lambda: i.struct(topic=i.text, partitions=lambda: i.array(partition)))


def read_commit(i, v):
    return i.struct(throttle=i32(i) if v >= 3 else None, topics=read_errors(i))


def read_fetch(i, v):
    def partition():
        return i.struct(index=i32(i), offset=lambda: i.raw("q"), epoch=i32(i) if v >= 5 else None, metadata=i.text, error=i16(i))

    def topics():
        return i.array(lambda: i.struct(topic=i.text, partitions=lambda: i.array(partition)))
    if v < 8:
        return i.struct(throttle=i32(i) if v >= 3 else None, topics=topics, error=i16(i) if v >= 2 else None)
    return i.struct(throttle=i32(i), groups=lambda: i.array(lambda: i.struct(group=i.text, topics=topics, error=i16(i))))


def read_describe(i, v):
    def member():
        return i.struct(id=i.text, instance=i.text if v >= 4 else None, client=i.text, host=i.text, metadata=i.blob, assignment=i.blob)
    return i.struct(throttle=i32(i) if v >= 1 else None, groups=lambda: i.array(lambda: i.struct(
        error=i16(i), id=i.text, state=i.text, type=i.text, protocol=i.text, members=lambda: i.array(member), operations=i32(i) if v >= 3 else None)))


def read_list(i, v):
    return i.struct(throttle=i32(i) if v >= 1 else None, error=i16(i), groups=lambda: i.array(lambda: i.struct(
        id=i.text, type=i.text, state=i.text if v >= 4 else None, kind=i.text if v >= 5 else None)))


def read_delete(i, v):
    return i.struct(throttle=i32(i), groups=lambda: i.array(lambda: i.struct(id=i.text, error=i16(i))))


def read_offset_delete(i, v):
    return i.struct(error=i16(i), throttle=i32(i), topics=read_errors(i))


def read_rest(i, v):
    return {"bytes": i.take(len(i.data) - i.at)}


READERS = {"join": read_join, "sync": read_sync, "heartbeat": read_heartbeat, "leave": read_leave, "offset_commit": read_commit,
           "offset_fetch": read_fetch, "describe": read_describe, "list": read_list, "delete": read_delete, "offset_delete": read_offset_delete,
           "new_heartbeat": read_rest, "new_describe": read_rest}
