"""The requests of groups, by hand: every field of every version that a test wants to say, and all that is answered."""

from frames import Frames, Out, i16, i32, read_errors


class Connection(Frames):
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
        return self.ask("heartbeat", version, o)

    def leave(self, group, *members, version=5):
        """`members`: (id, instance)."""
        o = Out(version >= 4).text(group)
        if version < 3:
            o.text(members[0][0])
        else:
            o.array(members, lambda m: (o.text(m[0]).text(m[1]), o.text("because") if version >= 5 else None, o.tags()))
        return self.ask("leave", version, o)

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
        return self.ask("offset_fetch", version, o)

    # ---- Administration ----

    def describe(self, *groups, version=5):
        o = Out(version >= 5)
        o.array(groups, o.text)
        if version >= 3:
            o.raw("b", 1)
        return self.ask("describe", version, o)

    def list(self, states=(), types=(), version=5):
        o = Out(version >= 3)
        if version >= 4:
            o.array(states, o.text)
        if version >= 5:
            o.array(types, o.text)
        return self.ask("list", version, o)

    def delete(self, *groups, version=1):
        o = Out(version >= 2)
        o.array(groups, o.text)
        return self.ask("delete", version, o)

    def offset_delete(self, group, topics):
        o = Out(False).text(group)
        o.array(list(topics.items()), lambda t: o.text(t[0]).array(t[1], lambda p: o.raw("i", p)))
        return self.ask("offset_delete", 0, o)

    def new_heartbeat(self, group):
        o = Out(True).text(group).text("").raw("i", 0).text(None).text(None).raw("i", -1)
        return self.ask("new_heartbeat", 0, o.array(None, None).text(None).array(None, None))

    def new_describe(self, *groups):
        o = Out(True)
        o.array(groups, o.text).raw("b", 0)
        return self.ask("new_describe", 0, o)


# ---- Answers ----


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


Connection.APIS = {"offset_commit": (8, 8, read_commit), "offset_fetch": (9, 6, read_fetch), "join": (11, 6, read_join),
                   "heartbeat": (12, 4, read_heartbeat), "leave": (13, 4, read_leave), "sync": (14, 4, read_sync),
                   "describe": (15, 5, read_describe), "list": (16, 3, read_list), "delete": (42, 2, read_delete),
                   "offset_delete": (47, 99, read_offset_delete), "new_heartbeat": (68, 0, read_rest), "new_describe": (69, 0, read_rest)}
