"""Producers and transactions by hand: the same story told to Apache's broker and to barnabas, which must answer the same."""

import pytest
from group_frames import Connection as GroupConnection
from harness import Apache, Barnabas, other, wait_until
from test_group_protocol import Story, assert_same_story, create, wait_for_topic
from transaction_frames import CONTROL, TRANSACTIONAL, Connection, make_batch

NONE, LOADING, NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS = 0, 14, 15, 16, 51
FOR_NOW = LOADING, NOT_AVAILABLE, NOT_COORDINATOR, CONCURRENT_TRANSACTIONS


class Tale(Story):
    """Producer ids are told by whose they are; times, and the words in which a batch is refused, not at all."""

    def plain(self, x):
        if isinstance(x, dict):
            found = x.get("error", NONE) == NONE
            return {k: self.names.get(v, v) if k == "producer" and found else self.plain(v) for k, v in x.items() if k not in ("time", "words")}
        if isinstance(x, str):
            return x.replace(self.prefix + "-", "")
        return super().plain(x)

    def producer(self, name, what, answer):
        """Its id and epoch, from now on known by that name."""
        self.name(answer["producer"], name)
        self.tell(what, answer)
        return answer["producer"], answer["epoch"]


def until_done(ask):
    """The answer, when nothing is under way any more."""
    return wait_until(lambda: next((a for a in [ask()] if a["error"] not in FOR_NOW), None), "an answer")


def await_state(s, c, x, state):
    wait_until(lambda: c.describe(x)["transactions"][0]["state"] == state, state)
    s.tell(state, c.describe(x))


def tell_of_sequences(s, c, broker):
    t = s.group("t")
    for version in range(6):
        p, _ = s.producer("I", f"an id {version}", c.init(None, version=version))
    s.tell("an id without its epoch", c.init(None, producer=p))
    s.tell("an epoch without its id", c.init(None, epoch=0))
    s.producer("Q", "an id again", c.init(None, producer=p, epoch=0))
    first = make_batch(p, 0, 0, count=3)
    s.tell("the first", c.produce(t, first))
    s.tell("the first again", c.produce(t, first))
    for version in range(3, 12):
        s.tell(f"the first in version {version}", c.produce(t, first, version=version))
    s.tell("a part of it", c.produce(t, make_batch(p, 0, 0, count=2)))
    s.tell("what overlaps", c.produce(t, make_batch(p, 0, 2, count=3)))
    s.tell("a gap", c.produce(t, make_batch(p, 0, 4)))
    for i in range(5):
        s.tell(f"one more {i}", c.produce(t, make_batch(p, 0, 3 + i)))
    s.tell("the oldest of five", c.produce(t, make_batch(p, 0, 3)))
    s.tell("one older", c.produce(t, first))
    s.tell("a later epoch with a later sequence", c.produce(t, make_batch(p, 1, 8)))
    s.tell("a later epoch", c.produce(t, make_batch(p, 1, 0)))
    s.tell("an earlier epoch", c.produce(t, make_batch(p, 0, 8)))
    s.tell("an unknown producer in the middle", c.produce(t, make_batch(p + 100, 3, 77, count=2)))
    s.tell("and what follows", c.produce(t, make_batch(p + 100, 3, 79)))
    s.tell("near the end", c.produce(t, make_batch(p + 200, 0, 2**31 - 2)))
    s.tell("over the end", c.produce(t, make_batch(p + 200, 0, 2**31 - 1, count=2)))
    s.tell("from the beginning", c.produce(t, make_batch(p + 200, 0, 1)))
    s.tell("without a sequence", c.produce(t, make_batch(p, 1, -1)))
    s.tell("without an epoch", c.produce(t, make_batch(p, -1, 1)))
    s.tell("without an id", c.produce(t, make_batch(-1, -1, -1)))
    s.tell("a marker", c.produce(t, make_batch(p, 1, 1, attributes=CONTROL)))
    s.tell("a transactional marker", c.produce(t, make_batch(p, 1, 1, attributes=CONTROL | TRANSACTIONAL), "x"))
    s.tell("transactional without an id", c.produce(t, make_batch(-1, -1, -1, attributes=TRANSACTIONAL), "x"))
    s.tell("transactional without a transactional id", c.produce(t, make_batch(p, 1, 1, attributes=TRANSACTIONAL)))
    s.tell("with a transactional id that has nothing to do with it", c.produce(t, make_batch(p, 1, 1), "x"))
    s.names.update({p + 100: "I + 100", p + 200: "I + 200"})
    s.tell("described", c.describe_producers({t: [0, 1, 7], "none": [0]}))


def tell_of_producers(s, c, broker):
    x = s.group("x")
    s.tell("without a name", c.init(""))
    for timeout in 0, -1, 900001:
        s.tell(f"timeout {timeout}", c.init(x, timeout))
    s.tell("nobody is described", c.describe(x, ""))
    p, epoch = s.producer("P", "the first", until_done(lambda: c.init(x, version=2)))
    s.tell("the next", c.init(x))
    s.tell("it goes on", c.init(x, producer=p, epoch=1))
    s.tell("and asks again", c.init(x, producer=p, epoch=1))
    for version in 3, 4, 5:
        s.tell(f"an old one, in version {version}", c.init(x, producer=p, epoch=0, version=version))
        s.tell(f"one that never was, in version {version}", c.init(x, producer=p, epoch=77, version=version))
        s.tell(f"another, in version {version}", c.init(x, producer=p + 1, epoch=2, version=version))
    s.tell("an id without its epoch", c.init(x, producer=p))
    s.producer("N", "a new one may say what it had", c.init(s.group("new"), producer=p + 5000, epoch=7))
    s.tell("another timeout", c.init(x, 30000))
    s.tell("described", c.describe(x))
    s.tell("nothing to commit", c.end(x, p, 3, True))
    s.tell("nothing to abort", c.end(x, p, 3, False))


def tell_of_partitions(s, c, broker):
    x, t = s.group("y"), s.group("t")
    p, epoch = s.producer("Y", "a producer", until_done(lambda: c.init(x)))
    for version in range(4):
        s.tell(f"another's id {version}", c.add_partitions(x, p + 1, epoch, {t: [0]}, version=version))
        s.tell(f"an epoch too low {version}", c.add_partitions(x, p, epoch - 1, {t: [0]}, version=version))
        s.tell(f"an epoch too high {version}", c.add_partitions(x, p, epoch + 1, {t: [0]}, version=version))
        s.tell(f"unknown partitions {version}", c.add_partitions(x, p, epoch, {t: [0, 9], "none": [0]}, version=version))
        s.tell(f"nobody {version}", c.add_partitions(s.group("nobody"), p, epoch, {t: [0]}, version=version))
        s.tell(f"no name {version}", c.add_partitions("", p, epoch, {t: [0]}, version=version))
    s.tell("still nothing", c.describe(x))
    s.tell("no partitions", c.add_partitions(x, p, epoch, {}))
    s.tell("has begun nevertheless", c.describe(x))
    s.tell("one", c.add_partitions(x, p, epoch, {t: [1]}, version=0))
    s.tell("another and the same", c.add_partitions(x, p, epoch, {t: [0, 1]}, version=2))
    s.tell("again", c.add_partitions(x, p, epoch, {t: [0]}))
    s.tell("both", c.describe(x))
    for version in 4, 5:
        s.tell(f"asked for {version}", c.add_to_several((x, p, epoch, True, {t: [0, 1], s.group("u"): [0]}), (s.group("nobody"), p, 0, True, {t: [0]}),
                                                        ("", p, 0, True, {t: [0]}), version=version))
        s.tell(f"of another {version}", c.add_to_several((x, p + 1, epoch, True, {t: [0]}), version=version))
        s.tell(f"of another epoch {version}", c.add_to_several((x, p, epoch + 1, True, {t: [0]}), version=version))
        s.tell(f"of unknown partitions {version}", c.add_to_several((x, p, epoch, True, {t: [0, 9]}), version=version))
    s.tell("added by another broker", c.add_to_several((x, p, epoch, False, {s.group("u"): [0]}), (s.group("nobody"), p, 0, False, {t: [0]})))
    s.tell("all three", c.describe(x))
    for version in range(5):
        s.tell(f"end by another {version}", c.end(x, p + 1, epoch, True, version=version))
        s.tell(f"end by an old one {version}", c.end(x, p, epoch - 1, True, version=version))
        s.tell(f"end of nobody's {version}", c.end(s.group("nobody"), p, epoch, True, version=version))
    s.tell("end without a name", c.end("", p, epoch, True))
    s.tell("the end", c.end(x, p, epoch, True))
    await_state(s, c, x, "CompleteCommit")
    s.tell("the end again", c.end(x, p, epoch, True))
    s.tell("another end", c.end(x, p, epoch, False))
    s.tell("asked for afterwards", c.add_to_several((x, p, epoch, True, {t: [0]})))
    s.tell("the next", c.add_partitions(x, p, epoch, {t: [0]}))
    s.tell("its abort", c.end(x, p, epoch, False))
    await_state(s, c, x, "CompleteAbort")
    s.tell("its abort again", c.end(x, p, epoch, False))
    s.tell("its commit", c.end(x, p, epoch, True))
    s.tell("the one after it", c.add_partitions(x, p, epoch, {t: [0]}))
    s.tell("its producer's next life", c.init(x))
    s.tell("and its end by the old one", c.end(x, p, epoch, True))
    s.tell("who goes on", until_done(lambda: c.init(x)))


def tell_of_records(s, c, broker):
    x, t = s.group("z"), s.group("v")
    p, epoch = s.producer("Z", "a producer", until_done(lambda: c.init(x)))

    def write(sequence, version=8, epoch=epoch, attributes=TRANSACTIONAL, x=x):
        return c.produce(t, make_batch(p, epoch, sequence, attributes=attributes), x, version=version)

    for version in range(3, 12):
        s.tell(f"before it is part of it {version}", write(0, version))
        s.tell(f"of an old epoch {version}", write(0, version, epoch - 1))
        s.tell(f"of nobody {version}", write(0, version, x=s.group("nobody")))
    c.add_partitions(x, p, epoch, {t: [0]})
    s.tell("the first", write(0))
    s.tell("the first again", write(0))
    s.tell("the second", write(1))
    s.tell("outside of it", write(2, attributes=0))
    s.tell("described", c.describe_producers({t: [0]}))
    s.tell("its commit", c.end(x, p, epoch, True))
    await_state(s, c, x, "CompleteCommit")
    s.tell("after the end", write(2))
    s.tell("outside of it, now", write(2, attributes=0))
    c.add_partitions(x, p, epoch, {t: [0]})
    s.tell("in the next", write(3))
    until_done(lambda: c.init(x))
    s.tell("of the old one", write(4))
    s.tell("of the new one, that has not begun", write(0, epoch=epoch + 2))


def tell_of_markers(s, c, broker):
    t = s.group("w")
    s.names.update({7000: "M", 7001: "N"})
    s.tell("of nobody", c.write_markers((7000, 0, True, {t: [0, 9], "none": [0]}, 3)))
    s.tell("of an old coordinator", c.write_markers((7000, 0, False, {t: [0]}, 2)))
    s.tell("of the same", c.write_markers((7000, 0, False, {t: [0]}, 3), version=0))
    s.tell("of a later epoch", c.write_markers((7000, 5, False, {t: [0]}, 4)))
    s.tell("of an old epoch", c.write_markers((7000, 4, False, {t: [0]}, 4)))
    s.tell("several", c.write_markers((7000, 5, True, {t: [0, 1]}, 5), (7001, 0, False, {t: [1]}, 0)))
    s.tell("none", c.write_markers())
    s.tell("described", c.describe_producers({t: [0, 1]}))
    s.tell("a batch after a marker", c.produce(t, make_batch(7000, 5, 3)))
    s.tell("the first after a marker", c.produce(t, make_batch(7000, 5, 0)))


def tell_of_offsets(s, c, broker):
    x, g, t, groups = s.group("o"), s.group("g"), s.group("t"), GroupConnection(broker)
    until_done(lambda: c.init(x))
    p, epoch = s.producer("O", "a producer", until_done(lambda: c.init(x)))
    for version in range(5):
        s.tell(f"group of another {version}", c.add_offsets(x, p + 1, epoch, g, version=version))
        s.tell(f"group of an old one {version}", c.add_offsets(x, p, epoch - 1, g, version=version))
        s.tell(f"group of nobody {version}", c.add_offsets(s.group("nobody"), p, epoch, g, version=version))
        s.tell(f"too early {version}", c.commit_offsets(x, p, epoch, g, {t: {0: 1}}, version=version))
    s.tell("group", c.add_offsets(x, p, epoch, g))
    for version in range(5):
        s.tell(f"offsets {version}", c.commit_offsets(x, p, epoch, g, {t: {0: 10 + version, 9: 1}, "none": {0: 1}}, version=version))
    s.tell("offsets of another", c.commit_offsets(x, p + 1, epoch, g, {t: {0: 1}}))
    s.tell("offsets of an old one", c.commit_offsets(x, p, epoch - 1, g, {t: {0: 1}}))
    s.tell("of no group", c.commit_offsets(x, p, epoch, "", {t: {0: 1}}))
    s.tell("too long", c.commit_offsets(x, p, epoch, g, {t: {0: 1}}, metadata="x" * 4097))
    s.tell("of a member of nothing", c.commit_offsets(x, p, epoch, g, {t: {0: 1}}, 1, "m"))
    s.tell("of an instance of nothing", c.commit_offsets(x, p, epoch, g, {t: {0: 1}}, 1, "m", "i"))
    s.tell("of a member without a generation", c.commit_offsets(x, p, epoch, g, {t: {0: 20}}, -1, "m"))
    s.tell("of a generation without a member", c.commit_offsets(x, p, epoch, g, {t: {0: 1}}, 1))
    s.tell("what is committed", groups.fetch(g, {t: [0]}))
    s.tell("what is stable", groups.fetch(g, {t: [0, 1]}, stable=True))
    s.tell("the group", groups.describe(g))
    s.tell("deleting it", groups.delete(g))
    s.tell("the end", c.end(x, p, epoch, True))
    wait_until(lambda: groups.fetch(g, {t: [0]}, stable=True)["topics"][0]["partitions"][0]["error"] == NONE, "the offset")
    s.tell("what is committed now", groups.fetch(g, {t: [0]}, stable=True))
    k = s.group("k")
    m = s.name(groups.join(k, instance="one")["id"], "A")
    await_state(s, c, x, "CompleteCommit")
    c.add_offsets(x, p, epoch, k)
    s.tell("of a member before its assignment", c.commit_offsets(x, p, epoch, k, {t: {0: 1}}, 1, m, "one"))
    groups.sync(k, m, 1, "one")
    s.tell("of a member", c.commit_offsets(x, p, epoch, k, {t: {0: 2}}, 1, m, "one"))
    s.tell("of a member of the past", c.commit_offsets(x, p, epoch, k, {t: {0: 2}}, 0, m, "one"))
    s.tell("of a member without its instance", c.commit_offsets(x, p, epoch, k, {t: {0: 2}}, 1, m))
    s.tell("of a fenced member", c.commit_offsets(x, p, epoch, k, {t: {0: 2}}, 1, "gone", "one"))
    s.tell("of a stranger", c.commit_offsets(x, p, epoch, k, {t: {0: 2}}, 1, "stranger"))
    s.tell("of who does not say", c.commit_offsets(x, p, epoch, k, {t: {0: 3}}))
    s.tell("of who does not know how", c.commit_offsets(x, p, epoch, k, {t: {0: 4}}, version=2))
    s.tell("the abort", c.end(x, p, epoch, False))
    await_state(s, c, x, "CompleteAbort")
    s.tell("nothing is committed", groups.fetch(k, {t: [0]}, stable=True))
    groups.close()


def tell_of_lists(s, c, broker):
    def listed(*args, **kw):
        answer = c.list(*args, **kw)
        answer["transactions"] = [t for t in answer["transactions"] if t["id"].startswith(s.prefix)]
        return answer
    ids = [p for p, name in s.names.items() if name in ("Y", "Z")]
    for version in 0, 1:
        s.tell(f"all {version}", listed(version=version))
    for states in ["Ongoing"], ["Empty", "CompleteAbort"], ["empty"], ["nonsense", "Ongoing"], ["Dead"], ["PrepareEpochFence"]:
        s.tell(f"{states}", listed(states))
    s.tell("of some", listed(producers=ids))
    s.tell("of some in a state", listed(["Empty"], ids))
    s.tell("of none", listed(producers=[123456]))
    c.add_partitions(s.group("x"), next(p for p, name in s.names.items() if name == "P"), 3, {s.group("t"): [0]})
    s.tell("for long", listed(["Ongoing"], longer_than=10**9))
    s.tell("for a moment", wait_until(lambda: listed(["Ongoing"], longer_than=1)["transactions"], "a moment"))


STORIES = [tell_of_sequences, tell_of_producers, tell_of_partitions, tell_of_records, tell_of_markers, tell_of_offsets, tell_of_lists]


def tell_all(broker, prefix):
    c, s = Connection(broker), Tale(prefix)
    create(broker, *(f"{prefix}-{t}" for t in "tuvw"))
    wait_for_topic(broker)
    until_done(lambda: c.find_coordinator("x"))
    s.producer("W", "warm-up", until_done(lambda: c.init(f"{prefix}-warm-up")))
    groups = GroupConnection(broker)
    for g in "gk":
        wait_until(lambda: groups.fetch(f"{prefix}-{g}", {})["error"] == NONE, "the coordinator of the group")
    groups.close()
    told = []
    for story in STORIES:
        s.told = []
        story(s, c, broker)
        told += [(story.__name__, *line) for line in s.told]
    c.close()
    return told


def test_the_same_answers_as_apaches(make_broker):
    assert_same_story(make_broker, tell_all, 200, transaction_state_log_num_partitions=1)


# ---- What moves between brokers ----

OUT_OF_ORDER, OLD_EPOCH = 45, 47


def knows(broker, producers):
    """What was last written by each is a repetition, and so on. `producers`: id: [epoch, sequence and offset of its last batch]"""
    c = Connection(broker)
    wait_until(lambda: c.describe_producers({"t": [0]})["topics"][0]["partitions"][0]["error"] == NONE, "the partition")
    for p, (epoch, last, offset) in producers.items():
        found = [c.produce("t", make_batch(p, *batch)) for batch in ((epoch, last), (epoch, last + 2), (epoch - 1, last + 1), (epoch, last + 1))]
        assert [f["error"] for f in found] == [NONE, OUT_OF_ORDER, OLD_EPOCH, NONE]
        assert found[0]["offset"] == offset
        producers[p] = epoch, last + 1, found[3]["offset"]
    c.close()


@pytest.mark.parametrize("how", ["stop", "kill"])
@pytest.mark.parametrize("kinds", [(Apache, Barnabas), (Barnabas, Apache)], ids=["Apache first", "barnabas first"])
def test_what_is_known_of_producers_moves(make_broker, request, kinds, how):
    """There and back, by snapshots or from the log alone; with an open transaction, which begins where it began."""
    broker = make_broker(kind=kinds[0], log_segment_bytes=2000)
    create(broker, "t")
    c = Connection(broker)
    until_done(lambda: c.find_coordinator("x"))
    x = until_done(lambda: c.init("x"))
    c.add_partitions("x", x["producer"], x["epoch"], {"t": [1]})
    begin = c.produce("t", make_batch(x["producer"], x["epoch"], 0, attributes=TRANSACTIONAL), "x", partition=1)["offset"]
    producers = {}
    for p in range(1000, 1005):
        written = [c.produce("t", make_batch(p, 3, i)) for i in range(10)]
        producers[p] = 3, 9, written[-1]["offset"]
    c.close()
    for kind in kinds[1], kinds[0]:
        getattr(broker, how)()
        wait_until(lambda: not broker.zookeeper.client.exists("/brokers/ids/0"), "the end of its session")
        broker = other(broker, kind)
        request.addfinalizer(broker.stop)
        broker.start()
        knows(broker, producers)
        c = Connection(broker)
        found = c.describe_producers({"t": [1]})["topics"][0]["partitions"][0]["producers"]
        assert [(f["producer"], f["begins"]) for f in found] == [(x["producer"], begin)]
        c.close()


@pytest.mark.parametrize("kinds", [(Apache, Barnabas), (Barnabas, Apache)], ids=["Apache's controller", "barnabas' controller"])
def test_no_producer_id_is_given_twice(make_broker, kinds):
    """The controller gives both brokers blocks of a thousand; what is left of one is lost with its broker."""
    brokers = [make_broker(kind=kind, data=f"data-{i}", broker_id=i) for i, kind in enumerate(kinds)]
    given = []

    def take(broker, count):
        c = Connection(broker)
        given.extend(until_done(lambda: c.init(None))["producer"] for _ in range(count))
        c.close()

    for _ in range(3):
        for broker in brokers:
            take(broker, 700)
    brokers[1].stop()
    brokers[1].start()
    take(brokers[1], 10)
    brokers[0].stop() # the other is controller now
    take(brokers[1], 1500)
    assert len(set(given)) == len(given)
