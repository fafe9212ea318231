"""The group protocol by hand: the same story told to Apache's broker and to barnabas, which must answer the same."""

import re
import struct

from confluent_kafka.admin import AdminClient, NewTopic
from group_frames import Connection
from harness import PATIENCE, Apache, Barnabas, connect, frame, other, read_frame, wait_until

NONE = 0


def create(broker, *topics, partitions=2):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for done in admin.create_topics([NewTopic(t, partitions, 1) for t in topics]).values() if topics else ():
        done.result(PATIENCE)


def open_coordinator(broker, *groups):
    """A connection, once the groups are served."""
    c = Connection(broker)

    wait_for_topic(broker)
    wait_until(lambda: all(c.fetch(g, {})["error"] == NONE for g in groups), "the coordinator")
    return c


def wait_for_topic(broker):
    """FindCoordinator makes __consumer_offsets."""
    s = connect(broker)
    s.sendall(frame(10, 0, struct.pack(">h", 1) + b"g"))
    read_frame(s)
    s.close()


def subscription(*topics):
    out = struct.pack(">hi", 0, len(topics))
    for t in topics:
        out += struct.pack(">h", len(t)) + t.encode()
    return out + struct.pack(">i", -1)


class Story:
    """Answers with the names of members replaced by who they are, and groups by what they are."""

    def __init__(self, prefix):
        self.prefix, self.names, self.told = prefix, {}, []

    def group(self, name):
        return f"{self.prefix}-{name}"

    def name(self, member, name):
        self.names[member] = name
        return member

    def plain(self, x):
        if isinstance(x, dict):
            return {k: self.plain(v) for k, v in x.items()}
        if isinstance(x, list):
            return sorted((self.plain(v) for v in x), key=repr)
        if isinstance(x, str):
            for member, name in self.names.items():
                x = x.replace(member, name)
            x = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", x)
            return x.replace(self.prefix + "-", "")
        return x

    def tell(self, what, answer):
        self.told.append((what, self.plain(answer)))
        return answer


def tell_of_members(s, c, broker):
    g, two = s.group("members"), Connection(broker)
    told = s.tell("a new member is told its id", c.join(g))
    a = s.name(told["id"], "A")
    s.tell("and comes with it", c.join(g, a))
    s.tell("no protocol", c.join(s.group("none"), protocols=()))
    s.tell("no type", c.join(s.group("none"), kind=""))
    s.tell("session too short", c.join(g, session=1))
    s.tell("session too long", c.join(g, session=1800001))
    s.tell("no group", c.join(""))
    s.tell("a stranger", c.join(g, "x"))
    s.tell("a stranger elsewhere", c.join(s.group("none"), "x"))
    s.tell("another type", c.join(g, kind="connect"))
    s.tell("another protocol", c.join(g, protocols=[("sticky", b"")]))
    s.tell("commit before the assignment", c.commit(g, {"t": {0: 1}}, a, 1))
    s.tell("described before the assignment", c.describe(g))
    s.tell("sync of a stranger", c.sync(g, "x", 1))
    s.tell("sync of the past", c.sync(g, a, 0))
    s.tell("sync with another type", c.sync(g, a, 1, kind="connect"))
    s.tell("sync with another protocol", c.sync(g, a, 1, protocol="sticky"))
    s.tell("sync without one", c.sync(g, a, 1, kind=None, protocol=None))
    s.tell("sync", c.sync(g, a, 1, assignments=[(a, b"first")]))
    s.tell("sync again", c.sync(g, a, 1, version=3))
    s.tell("described", c.describe(g))
    s.tell("described in version 0", c.describe(g, version=0))
    s.tell("heartbeat", c.heartbeat(g, a, 1))
    s.tell("heartbeat of a stranger", c.heartbeat(g, "x", 1))
    s.tell("heartbeat of the past", c.heartbeat(g, a, 0))
    s.tell("heartbeat with an instance", c.heartbeat(g, a, 1, "i"))
    s.tell("heartbeat of no group", c.heartbeat(s.group("none"), a, 1))
    s.tell("no member may be deleted", c.delete(g))
    two.send_join(g, version=3)
    wait_until(lambda: c.heartbeat(g, a, 1)["error"] == 27, "a rebalance")
    s.tell("sync in a rebalance", c.sync(g, a, 1))
    s.tell("commit in a rebalance", c.commit(g, {"t": {0: 7}}, a, 1))
    s.tell("described in a rebalance", c.describe(g))
    one = c.join(g, a)
    joined = two.receive()
    b = s.name(joined["id"], "B")
    s.tell("the leader", one)
    s.tell("the follower", joined)
    two.send_sync(g, b, 2)
    s.tell("sync of the leader", c.sync(g, a, 2, assignments=[(a, b"1"), (b, b"2"), ("x", b"3")]))
    s.tell("sync of the follower", two.receive())
    s.tell("the follower joins again", two.join(g, b))
    s.tell("leaving, in part", c.leave(g, ("x", None), (b, None), ("", "i"), ("", None)))
    s.tell("and alone", c.leave(g, ("x", None), version=1))
    s.tell("leaving nothing", c.leave(s.group("none"), ("x", None)))
    s.tell("rebalancing", c.heartbeat(g, a, 2))
    s.tell("one is left", c.join(g, a))
    s.tell("the last", c.leave(g, (a, None), version=0))
    s.tell("nobody is left", c.describe(g))
    s.tell("a member of nothing", c.heartbeat(g, a, 3))
    two.close()


def tell_of_static_members(s, c, broker):
    g, two, three = s.group("static"), Connection(broker), Connection(broker)
    first = c.join(g, instance="one", protocols=[("range", b""), ("sticky", b"")])
    a = s.name(first["id"], "A")
    s.tell("alone", first)
    two.send_join(g, instance="two", protocols=[("range", b""), ("sticky", b"")])
    wait_until(lambda: c.heartbeat(g, a, 1, "one")["error"] == 27, "a rebalance")
    one = c.join(g, a, "one", protocols=[("range", b""), ("sticky", b"")])
    other_one = two.receive()
    b = s.name(other_one["id"], "B")
    s.tell("the leader", one)
    s.tell("the follower", other_one)
    two.send_sync(g, b, 2, "two")
    s.tell("sync", c.sync(g, a, 2, "one", [(a, b"1"), (b, b"2")]))
    s.tell("sync of the follower", two.receive())
    again = three.join(g, instance="two", protocols=[("range", b"new"), ("sticky", b"")])
    b2 = s.name(again["id"], "B2")
    s.tell("the follower's new process", again)
    s.tell("heartbeat of the old", two.heartbeat(g, b, 2, "two"))
    s.tell("heartbeat of the old without its instance", two.heartbeat(g, b, 2))
    s.tell("sync of the old", two.sync(g, b, 2, "two"))
    s.tell("commit of the old", two.commit(g, {"t": {0: 1}}, b, 2, "two"))
    s.tell("join of the old", two.join(g, b, "two"))
    s.tell("the old leaves", two.leave(g, (b, "two")))
    s.tell("sync of the new", three.sync(g, b2, 2, "two"))
    s.tell("the leader's new process, that is old", three.join(g, instance="one", version=5, protocols=[("range", b""), ("sticky", b"")]))
    again = three.join(g, instance="one", protocols=[("range", b""), ("sticky", b"")])
    a2 = s.name(again["id"], "A2")
    s.tell("the leader's new process", again)
    s.tell("described", c.describe(g))
    s.tell("an unknown instance", c.heartbeat(g, a2, 2, "three"))
    s.tell("an administrator removes one", c.leave(g, ("", "two")))
    s.tell("and the other", c.leave(g, ("", "one")))
    s.tell("described at the end", c.describe(g))
    for x in two, three:
        x.close()


def tell_of_a_full_group(s, c, broker):
    g, more = s.group("full"), [Connection(broker) for _ in range(3)]
    a = s.name(c.join(g, instance="one")["id"], "A")
    s.tell("sync", c.sync(g, a, 1, "one"))
    for x in more[:2]:
        x.send_join(g, version=3)
    s.tell("rejoin", wait_until(lambda: c.heartbeat(g, a, 1, "one")["error"] == 27, "a rebalance"))
    wait_until(lambda: len(c.describe(g)["groups"][0]["members"]) == 3, "three members")
    answer = c.join(g, a, "one")
    for x in more[:2]:
        x.receive()
    s.tell("how many", len(answer["members"]))
    s.tell("one too many", more[2].join(g))
    s.tell("a static one too many", more[2].join(g, instance="new"))
    for x in more:
        x.close()


def tell_of_offsets(s, c, broker):
    g = s.group("simple")
    s.tell("nothing", c.fetch(g, {"t": [0]}))
    s.tell("nothing at all", c.fetch(g, None))
    for version in range(10):
        s.tell(f"commit {version}", c.commit(g, {"t": {0: 100 + version, 5: 1}, "none": {0: 1}}, version=version, metadata="x"))
        s.tell(f"fetch {version}", c.fetch(g, {"t": [0, 1, 5], "none": [0]}, version=version))
    s.tell("all", c.fetch(g, None, version=2))
    s.tell("of several", c.fetch([g, s.group("none")], None, version=8))
    s.tell("stable", c.fetch([g], {"t": [0]}, version=9, stable=True))
    s.tell("too long", c.commit(g, {"t": {0: 1}}, metadata="x" * 4097))
    s.tell("too long in ZooKeeper", c.commit(g, {"t": {0: 1}}, metadata="x" * 4097, version=0))
    s.tell("just long enough", c.commit(g, {"t": {1: 5}}, metadata="\u20ac" * 4096))
    s.tell("of a generation", c.commit(s.group("none"), {"t": {0: 1}}, "x", 1))
    s.tell("of a generation of this", c.commit(g, {"t": {0: 1}}, "x", 1))
    s.tell("of a stranger", c.commit(g, {"t": {0: 1}}, "x", -1))
    s.tell("without a name", c.commit("", {"t": {0: 1}}))
    s.tell("of the one without a name", c.fetch("", {"t": [0]}))
    s.tell("of unknown partitions only", c.commit(s.group("unknown"), {"none": {0: 1}}))
    s.tell("makes no group", c.describe(s.group("unknown")))
    s.tell("described", c.describe(g, "", s.group("none")))
    s.tell("deleting unknown offsets only", c.offset_delete(s.group("none"), {"none": [0]}))
    s.tell("leaves the group", c.describe(s.group("none")))
    s.tell("deleting offsets", c.offset_delete(g, {"t": [0, 7], "none": [0]}))
    s.tell("all that are left", c.fetch(g, None))
    s.tell("deleting offsets of none", c.offset_delete(s.group("none"), {"t": [0]}))
    s.tell("deleting offsets without a name", c.offset_delete("", {"t": [0]}))
    s.tell("deleting the group", c.delete(g, s.group("none"), "", version=2))
    s.tell("it is no more", c.describe(g))
    s.tell("nor its offsets", c.fetch(g, None))


def tell_of_a_member_and_offsets(s, c, broker):
    g = s.group("reader")
    a = s.name(c.join(g, instance="one", protocols=[("range", subscription("t"))])["id"], "A")
    c.sync(g, a, 1, "one")
    s.tell("commit", c.commit(g, {"t": {0: 5}, "u": {1: 6}}, a, 1, "one"))
    s.tell("commit of nobody", c.commit(g, {"t": {0: 5}}))
    s.tell("commit of the past", c.commit(g, {"t": {0: 5}}, a, 0, "one"))
    s.tell("commit of somebody else", c.commit(g, {"t": {0: 5}}, "x", 1, "one"))
    s.tell("deleting what it reads, and what not", c.offset_delete(g, {"t": [0], "u": [0, 1]}))
    s.tell("what is left", c.fetch(g, None))
    k = s.group("workers")
    w = s.name(c.join(k, instance="one", kind="connect")["id"], "W")
    c.sync(k, w, 1, "one", kind="connect")
    s.tell("deleting what nobody knows", c.offset_delete(k, {"t": [0]}))


def tell_of_lists(s, c, broker):
    def listed(**kw):
        answer = c.list(**kw)
        answer["groups"] = [g for g in answer["groups"] if g["id"].startswith(s.prefix)]
        return answer
    for version in range(6):
        s.tell(f"list {version}", listed(version=version))
    for states in ["Stable"], ["empty", "STABLE"], ["Dead"], ["nonsense"]:
        s.tell(f"list {states}", listed(states=states))
    for types in ["classic"], ["Classic"], ["consumer"], ["nonsense"]:
        s.tell(f"list {types}", listed(types=types))


def tell_of_the_new_protocol(s, c, broker):
    s.tell("heartbeat", c.new_heartbeat("new"))
    s.tell("describe", c.new_describe("new", "newer"))


STORIES = [tell_of_members, tell_of_static_members, tell_of_a_full_group, tell_of_offsets, tell_of_a_member_and_offsets, tell_of_lists,
           tell_of_the_new_protocol]


def tell_all(broker, prefix):
    c = open_coordinator(broker, *(f"{prefix}-{x}" for x in ("members", "static", "full", "simple", "reader", "workers", "none")))
    told = []
    for story in STORIES:
        s = Story(prefix)
        story(s, c, broker)
        told += [(story.__name__, *line) for line in s.told]
    c.close()
    return told


def assert_same_story(make_broker, tell_all, at_least, topics=(), **settings):
    """As both kinds of broker tell it, one after the other, with these topics of both."""
    broker = make_broker(kind=Apache, **settings)
    create(broker, *topics)
    theirs = tell_all(broker, "a")
    broker.stop()
    ours = other(broker, Barnabas)
    ours.start()
    try:
        mine = tell_all(ours, "b")
    finally:
        ours.stop()
        ours.check_log()
    assert len(mine) == len(theirs) > at_least
    different = [(a, b) for a, b in zip(theirs, mine) if a != b]
    assert not different, "\n".join(f"Apache: {a}\nours:   {b}" for a, b in different)


def test_the_same_answers_as_apaches(make_broker):
    assert_same_story(make_broker, tell_all, 130, topics=("t", "u"), group_max_size=3)
