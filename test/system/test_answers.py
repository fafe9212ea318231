"""Odd requests, one after the other, to Apache's broker and to barnabas side by side: every field of every answer is compared.

A chapter is a row of requests about one thing, with topics and groups of its own. Where the answers differ for a reason, the
reason stands in REASONS; a difference that has gone has to leave that table.
"""

import gzip
import re
import struct
import threading
import time

import pytest
from batches import CONTROL, TRANSACTIONAL, make_batch, make_message, make_record
from harness import Apache, Barnabas, wait_until
from messages import API_VERSIONS, CLOSED, SCHEMAS, Asker, errors_in

PATIENCE, SHORT = 60, 3  # seconds that an answer may take; that one is waited for which Apache's broker never gives
FOR_NOW = {14, 15, 16, 51}  # a coordinator is being loaded; a transaction is being ended
IDENTITY = ("Name", "Topic", "TopicName", "TopicId", "Key", "GroupId", "TransactionalId", "MemberId", "ResourceName", "ResourceType", "PartitionIndex", "Partition",
            "Index", "PartitionId", "ApiKey", "ProducerId", "User", "ErrorCode")


class Teller(Asker):
    """Keeps what was asked and answered, in a form in which two brokers can be compared."""

    def __init__(self, broker):
        super().__init__(broker, PATIENCE)
        self.told, self.ids = [], {}

    def ask(self, what, api, version, tree=None, patience=PATIENCE, **kw):
        self.patience = patience
        answer = self.get(api, version, tree, **kw)
        self.patience = PATIENCE
        self.told.append((what, f"{api} {version}", self.plain(answer)))
        return answer

    def ask_in_silence(self, what, api, version, tree):
        """What should not be answered: what comes then, before the answer to something else."""
        self.send(SCHEMAS[api].key, version, tree)
        try:
            self.send(API_VERSIONS, 0, {})
            frame = self.receive()
        except ConnectionError:
            frame = CLOSED
        silent = isinstance(frame, bytes) and struct.unpack(">i", frame[:4])[0] == self.correlation
        self.told.append((what, f"{api} {version}", "silence" if silent else frame if frame == CLOSED else "an answer"))
        self.close()

    def tell_records(self, what, version, tree):
        """Of a fetch of converted messages only what is whole: Apache's answers are filled up to a size that was guessed, or cut there."""
        answer = self.get("Fetch", version, tree)
        messages = plain_batches(answer["Responses"][0]["Partitions"][0].pop("Records"))[:6]
        self.told.append((what, f"Fetch {version}", [self.plain(answer), messages]))

    def until_served(self, api, version, tree):
        """As soon as no coordinator is being loaded any more, and no leader elected."""
        return wait_until(lambda: next((a for a in [self.get(api, version, tree)] if not FOR_NOW & set(errors_in(a))), None), api)

    # ---- What was answered, without what may differ ----

    def plain(self, x, name=""):
        if isinstance(x, dict):
            return {k: self.plain(v, k) for k, v in x.items()}
        if isinstance(x, list):
            return sorted((self.plain(v, name) for v in x), key=identity)
        if isinstance(x, bytes) and len(x) == 16 and any(x):
            return self.ids.setdefault(x, f"id {len(self.ids) + 1}")
        if name == "Records" and x:
            return plain_batches(x)
        if isinstance(x, str):
            x = x.encode(errors="surrogateescape").decode(errors="replace")  # as Java's strings have it
            x = x.replace(self.broker.cluster, "CLUSTER").replace(str(self.broker.data), "DATA").replace(str(self.broker.port), "PORT")
            return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID", x)
        if name == "Port" and x == self.broker.port:
            return "PORT"
        if name in ("Timestamp", "LogAppendTimeMs", "LastTimestamp", "TransactionStartTimeMs") and abs(x / 1000 - time.time()) < 600:
            return "NOW"
        if name in ("TotalBytes", "UsableBytes"):
            return "SPACE"
        if name == "SessionId" and x != 0:
            return "SESSION"
        return x

    # ---- Preparing ----

    def make_topics(self, *names, partitions=3, configs=()):
        answer = self.get("CreateTopics", 5, {"timeoutMs": 30000, "Topics": [
            {"Name": n, "NumPartitions": partitions, "ReplicationFactor": 1, "Configs": [{"Name": k, "Value": v} for k, v in configs]} for n in names]})
        assert errors_in(answer) <= {0}, answer
        wait_until(lambda: errors_in(self.get("Metadata", 1, {"Topics": [{"Name": n} for n in names]})) == {0}, "leaders")

    def topic_id(self, name):
        return self.get("Metadata", 12, {"Topics": [{"Name": name}]})["Topics"][0]["TopicId"]

    def fill(self, topic, *batches, partition=0):
        for b in batches:
            answer = self.get("Produce", 9, produce(topic, b, partition=partition))
            assert errors_in(answer) == {0}, answer


def plain_batches(data):
    """Batches and messages, without what is of this moment."""
    out = []
    while len(data) >= 17:
        size, magic = 12 + struct.unpack_from(">i", data, 8)[0], data[16]
        if magic < 2 or size > len(data):
            out.append(data[:size])
        else:
            names = ("base", "length", "leader epoch", "magic", "crc", "attributes", "last delta", "first time", "last time", "producer", "epoch", "sequence", "count")
            batch = dict(zip(names, struct.unpack_from(">qiibIhiqqqhii", data)), body=data[61:size])
            if abs(batch["last time"] / 1000 - time.time()) < 600:
                batch.update({"first time": "now", "last time": "now", "crc": "of now"})
            if batch["attributes"] & 7 == 1:
                batch.update({"length": "compressed", "crc": "compressed", "body": gzip.decompress(batch["body"])})
            out.append(batch)
        data = data[size:]
    return out + [data] if data else out


def identity(x):
    """Neither broker promises an order of topics, partitions and so on."""
    return repr([x.get(k) for k in IDENTITY if k in x]) if isinstance(x, dict) else repr(x)


# ---- Records ----


def produce(topic, records=None, partition=0, acks=-1, transactional_id=None, timeout=30000):
    return {"TransactionalId": transactional_id, "Acks": acks, "TimeoutMs": timeout,
            "TopicData": [{"Name": topic, "PartitionData": [{"Index": partition, "Records": records}]}]}


def tell_of_produce(s):
    t = "produce"
    s.make_topics(t)
    s.make_topics("produce.compact", configs=[("cleanup.policy", "compact")])
    s.make_topics("produce.now", configs=[("message.timestamp.type", "LogAppendTime")])
    s.make_topics("produce.twice")
    s.make_topics("produce.small", configs=[("max.message.bytes", "200")])
    one = make_batch()

    def tell(what, records=one, version=9, topic=t, **kw):
        s.ask(what, "Produce", version, produce(topic, records, **kw))
    for version in range(3, 12):
        tell(f"a batch in version {version}", version=version)
    tell("acks 1", acks=1)
    tell("acks 2", acks=2)
    tell("acks -2", acks=-2)
    tell("a timeout below zero", timeout=-5)
    tell("a wrong crc", make_batch(crc=1))
    tell("a count that is too large", make_batch(count=2))
    tell("a count that is too small", make_batch([make_record(), make_record(1)], count=1, last_delta=1))
    tell("a count of 0", make_batch(count=0))
    tell("a count of -1", make_batch(count=-1))
    tell("a count of 2^31-1", make_batch(count=2**31 - 1, last_delta=2**31 - 2))
    tell("a last delta that is too large", make_batch(last_delta=5))
    tell("a last delta of -1", make_batch(last_delta=-1))
    tell("deltas that do not follow each other", make_batch([make_record(0), make_record(5)]))
    tell("deltas that begin at 1", make_batch([make_record(1), make_record(2)]))
    tell("a base offset", make_batch(base=7))
    tell("a base offset below zero", make_batch(base=-7))
    tell("a leader epoch", make_batch(leader_epoch=77))
    tell("a control batch", make_batch(attributes=CONTROL))
    tell("a transactional batch without a producer", make_batch(attributes=TRANSACTIONAL))
    tell("a transactional batch without a producer, with an id", make_batch(attributes=TRANSACTIONAL), transactional_id="produce")
    tell("codec 5", make_batch(attributes=5))
    tell("codec 7", make_batch(attributes=7))
    for codec, name in enumerate(("gzip", "snappy", "lz4", "zstd"), 1):
        tell(f"{name} that is none", make_batch(attributes=codec, body=b"\xff\xff\xff\xff\xff"))
        tell(f"{name} of nothing", make_batch(attributes=codec, body=b""))
    tell("gzip", make_batch(attributes=1, body=gzip.compress(make_record(), mtime=0)))
    tell("gzip with more behind the records", make_batch(attributes=1, body=gzip.compress(make_record() + b"zzz", mtime=0)))
    tell("gzip that is cut", make_batch(attributes=1, body=gzip.compress(make_record(value=b"v" * 500), mtime=0)[:-9]))
    tell("gzip of many zeros", make_batch(attributes=1, body=gzip.compress(bytes(20000000), mtime=0)))
    tell("zstd before its version", make_batch(attributes=4, body=b"abc"), version=3)
    tell("a record cut short", make_batch(body=make_record(value=b"v" * 20)[:-3]))
    tell("more behind the record", make_batch(body=make_record() + b"zzz"))
    tell("a record longer than the batch", make_batch(body=b"\xfe\x01" + make_record()))
    tell("a record of length -1", make_batch(body=b"\x01"))
    tell("a header without a key", make_batch([make_record(headers=[(None, b"v")])]))
    tell("a header without a value", make_batch([make_record(headers=[(b"h", None)])]))
    tell("headers of one name", make_batch([make_record(headers=[(b"h", b"1"), (b"h", b"2")])]))
    tell("a null value", make_batch([make_record(value=None)]))
    tell("magic 3", make_batch(magic=3))
    tell("magic -1", make_batch(magic=-1))
    tell("magic 1 with the body of 2", make_batch(magic=1))
    tell("magic 0 with the body of 2", make_batch(magic=0))
    tell("a message of magic 1", make_message())
    tell("no timestamp", make_batch(first_time=-1))
    tell("a timestamp of -5", make_batch(first_time=-5))
    tell("a timestamp far ahead", make_batch(first_time=2**62))
    tell("the first timestamp after the last", make_batch(first_time=2000, max_time=1000))
    tell("the last timestamp is of no record", make_batch(first_time=1000, max_time=5000))
    tell("marked as of the log's time", make_batch(attributes=8))
    tell("marked with a delete horizon", make_batch(attributes=0x40))
    tell("unknown attributes", make_batch(attributes=0x100))
    s.ask("null", "Produce", 9, produce(t, None), patience=SHORT)
    for what, records in ("null", None), ("empty", b""), ("two batches", one + one), ("magic 1", make_message()), ("a size that cannot be", make_batch(length=10)):
        tell(f"{what} to an unknown topic", records, topic="produce.none")
    tell("zstd in version 6 to an unknown topic", make_batch(attributes=4), version=6, topic="produce.none")
    for acks in 2, -2:
        tell(f"acks {acks} to an unknown topic", topic="produce.none", acks=acks)
        tell(f"two batches with acks {acks}", one + one, acks=acks)
    tell("empty", b"")
    tell("two batches", one + one)
    tell("a batch and more", one + b"abc")
    tell("a batch cut short", one[:-1])
    tell("a header cut short", one[:40])
    tell("ten bytes", one[:10])
    tell("a length too small", make_batch(length=10))
    tell("a length of 0", make_batch(length=0))
    tell("a length of -1", make_batch(length=-1))
    tell("a length too large", make_batch(length=1000))
    tell("partition -1", partition=-1)
    tell("an unknown partition", partition=99)
    tell("an unknown topic", topic="produce.none")
    tell("no name", topic="")
    tell("an invalid name", topic="a/b")
    tell("to the groups", topic="__consumer_offsets")
    tell("to the transactions", topic="__transaction_state")
    tell("no key where logs are compacted", topic="produce.compact")
    tell("some keys where logs are compacted", make_batch([make_record(key=b"k"), make_record(1), make_record(2)]), topic="produce.compact")
    tell("in the log's time", topic="produce.now")
    tell("in the log's time, marked so", make_batch(attributes=8), topic="produce.now")
    tell("too large for the topic", make_batch([make_record(value=b"v" * 300)]), topic="produce.small")
    tell("too large together", one * 4, topic="produce.small")
    s.ask("no topics", "Produce", 9, {"Acks": 1, "TimeoutMs": 0})
    s.ask("no partitions", "Produce", 9, {"Acks": 1, "TimeoutMs": 0, "TopicData": [{"Name": t}]})
    twice = produce("produce.twice", one)
    twice["TopicData"][0]["PartitionData"] *= 2
    s.ask("a partition twice", "Produce", 9, twice)
    twice = produce("produce.twice", one)
    twice["TopicData"] *= 2
    s.ask("a topic twice", "Produce", 9, twice)
    half = produce(t, one)
    half["TopicData"].append(produce("produce.none", one)["TopicData"][0])
    s.ask("a topic that is there and one that is not", "Produce", 9, half)
    s.ask_in_silence("acks 0", "Produce", 9, produce(t, one, acks=0))
    s.ask_in_silence("acks 0 in vain", "Produce", 9, produce(t, make_batch(crc=1), acks=0))
    s.ask_in_silence("acks 0 to an unknown topic", "Produce", 9, produce("produce.none", one, acks=0))
    tell_what_is_in(s, t)
    tell_what_is_in(s, "produce.compact")
    tell_what_is_in(s, "produce.twice")


def tell_what_is_in(s, topic):
    for p in range(3):
        s.ask(f"the end of {topic} {p}", "ListOffsets", 7, offsets_at(-1, topic, partition=p))
        s.ask(f"the records of {topic} {p}", "Fetch", 12, fetch(topic, partition=p))


def tell_of_old_produce(s):
    t = "old"
    s.make_topics(t)
    s.make_topics("old.compact", configs=[("cleanup.policy", "compact")])
    s.make_topics("old.two", "old.far")
    s.make_topics("old.now", configs=[("message.timestamp.type", "LogAppendTime")])

    def tell(what, version, records, topic=t, **kw):
        s.ask(what, "Produce", version, produce(topic, records, **kw))
    for version in 0, 1, 2, 3:
        tell(f"magic 0 in version {version}", version, make_message(magic=0))
        tell(f"magic 1 in version {version}", version, make_message())
        tell(f"magic 2 in version {version}", version, make_batch(), topic="old.two")
        tell(f"magic 3 in version {version}", version, make_batch(magic=3))
        tell(f"an empty set in version {version}", version, b"")
    set_of_two = make_message(offset=0) + make_message(offset=1)
    tell("two messages", 2, set_of_two)
    tell("two messages of two kinds", 2, make_message(magic=0) + make_message())
    tell("a message and a batch", 2, make_message() + make_batch())
    tell("a wrong crc", 2, make_message(crc=1))
    tell("cut short", 2, make_message()[:-1])
    tell("one and a cut one", 2, set_of_two[:-5])
    tell("a timestamp of -1", 2, make_message(time=-1))
    tell("a timestamp of -5", 2, make_message(time=-5))
    tell("a timestamp far ahead", 2, make_message(time=2**62), topic="old.far")
    for codec in range(1, 8):
        tell(f"codec {codec} that is none", 2, make_message(attributes=codec, value=b"abc"))
    tell("gzip", 2, make_message(attributes=1, value=gzip.compress(set_of_two, mtime=0)))
    tell("gzip of magic 0 in magic 1", 2, make_message(attributes=1, value=gzip.compress(make_message(magic=0), mtime=0)))
    tell("gzip in gzip", 2, make_message(attributes=1, value=gzip.compress(make_message(attributes=1, value=gzip.compress(set_of_two, mtime=0)), mtime=0)))
    tell("gzip of nothing", 2, make_message(attributes=1, value=gzip.compress(b"", mtime=0)))
    tell("gzip without a value", 2, make_message(attributes=1, value=None))
    tell("no key where logs are compacted", 2, make_message(), topic="old.compact")
    tell("a key where logs are compacted", 2, make_message(key=b"k"), topic="old.compact")
    tell("in the log's time", 2, make_message(), topic="old.now")
    tell("in the log's time, without one", 0, make_message(magic=0), topic="old.now")
    s.tell_records("read in version 3", 3, fetch(t))
    s.ask("read in version 4", "Fetch", 4, fetch(t))
    tell_what_is_in(s, t)


# ---- Reading ----


def fetch(topic, offset=0, partition=0, size=1 << 20, max_size=1 << 20, wait=10, least=1, session=0, epoch=-1, replica=-1, isolation=0,
          leader_epoch=-1, last_epoch=-1, **more):
    """`topic`: a name, or an id."""
    where = {"TopicId": topic} if isinstance(topic, bytes) else {"Topic": topic}
    return {"ReplicaId": replica, "MaxWaitMs": wait, "MinBytes": least, "MaxBytes": max_size, "IsolationLevel": isolation, "SessionId": session,
            "SessionEpoch": epoch, "Topics": [{**where, "Partitions": [
                {"Partition": partition, "CurrentLeaderEpoch": leader_epoch, "FetchOffset": offset, "LastFetchedEpoch": last_epoch,
                 "PartitionMaxBytes": size}]}], **more}


def tell_of_fetch(s):
    t = "fetch"
    s.make_topics(t)
    s.fill(t, make_batch([make_record(i, value=b"v" * 50) for i in range(5)]), make_batch(first_time=2000), make_batch(first_time=3000))
    topic_id = s.topic_id(t)

    def tell(what, version=12, topic=t, **kw):
        s.ask(what, "Fetch", version, fetch(topic, **kw))
    for version in range(13):
        s.tell_records(f"version {version}", version, fetch(t)) if version < 4 else tell(f"version {version}", version)
    for version in range(13, 18):
        tell(f"version {version}", version, topic_id)
    tell("the middle of a batch", offset=3)
    tell("the end", offset=7)
    tell("above the end", offset=8)
    tell("far above the end", offset=2**62)
    for offset in -1, -2, -2**63:
        tell(f"offset {offset}", offset=offset)
    tell("partition -1", partition=-1)
    tell("an unknown partition", partition=99)
    tell("an unknown topic", topic="fetch.none")
    tell("no name", topic="")
    tell("an unknown id", 13, b"\1" * 16)
    tell("no id", 13, bytes(16))
    tell("no bytes in all", max_size=0)
    tell("fewer than none in all", max_size=-1)
    tell("no bytes of the partition", size=0)
    tell("fewer than none of the partition", size=-1)
    tell("fewest bytes of all", max_size=-2**31, size=-2**31)
    tell("one byte of the partition", size=1)
    tell("one byte in version 2", 2, size=1)
    tell("one byte in all", max_size=1)
    tell("not a batch's bytes", size=130)
    tell("a later leader epoch", leader_epoch=99)
    tell("a leader epoch of -5", leader_epoch=-5)
    tell("a last epoch of the future", last_epoch=99)
    tell("the last epoch", last_epoch=0, offset=7)
    tell("the last epoch, above the end", last_epoch=0, offset=9)
    tell("a last epoch of -5", last_epoch=-5)
    for isolation in 1, 2, 5, 7, -1:
        tell(f"isolation {isolation}", isolation=isolation)
    for replica in 5, -2, -3, 0:
        tell(f"replica {replica}", replica=replica)
        tell(f"replica {replica} in version 4", 4, replica=replica)
    tell("replica 5 in version 15", 15, topic_id, ReplicaState={"ReplicaId": 5, "ReplicaEpoch": 1})
    tell("replica -2 in version 15", 15, topic_id, ReplicaState={"ReplicaId": -2, "ReplicaEpoch": -1})
    tell("the debugging replica above the watermark", replica=-2, offset=9)
    tell("a wait below zero", wait=-1)
    tell("a wait at the end below zero", wait=-1, offset=7)
    tell("a least size below zero", least=-1)
    tell("a least size below zero at the end", least=-1, offset=7, wait=60000)
    tell("no least size at the end", least=0, offset=7, wait=60000)
    tell("another cluster", ClusterId="other")
    tell("a rack", 11, RackId="nowhere")
    s.ask("nothing", "Fetch", 12, {"MaxWaitMs": 10, "SessionEpoch": -1})
    s.ask("nothing in version 4", "Fetch", 4, {"MaxWaitMs": 10})
    twice = fetch(t)
    twice["Topics"][0]["Partitions"] *= 2
    s.ask("a partition twice", "Fetch", 11, twice)
    s.ask("a partition twice in version 4", "Fetch", 4, twice)
    twice = fetch(t)
    twice["Topics"] *= 2
    s.ask("a topic twice", "Fetch", 11, twice)
    twice = fetch(t)
    twice["Topics"][0]["Partitions"].append({"Partition": 99, "PartitionMaxBytes": 100})
    twice["Topics"].append({"Topic": "fetch.none", "Partitions": [{"Partition": 0, "PartitionMaxBytes": 100}]})
    s.ask("what is there and what is not", "Fetch", 11, twice)


def tell_of_fetch_sessions(s):
    t = "sessions"
    s.make_topics(t)
    s.fill(t, make_batch())
    tell = lambda what, version=12, **kw: s.ask(what, "Fetch", version, fetch(t, **kw))
    nothing = lambda what, session, epoch, **kw: s.ask(what, "Fetch", 12, {**fetch(t, session=session, epoch=epoch), "Topics": [], **kw})
    tell("an unknown session", session=1, epoch=1)
    tell("no session, epoch 5", session=0, epoch=5)
    tell("no session, epoch -2", session=0, epoch=-2)
    tell("an unknown session that begins", session=1, epoch=0)
    tell("an unknown session that ends", session=1, epoch=-1)
    session = s.get("Fetch", 12, fetch(t, epoch=0))["SessionId"]

    again = lambda what, epoch, *topics, version=12, **kw: s.ask(what, "Fetch", version, {
        **fetch(t, session=session, epoch=epoch), "Topics": list(topics), **kw})
    here = fetch(t)["Topics"][0]
    again("a wrong epoch", 5, here)
    again("the next", 1)
    again("the next with another offset", 2, fetch(t, offset=1)["Topics"][0])
    again("an unknown partition too", 3, fetch(t, partition=9)["Topics"][0])
    again("it stays", 4)
    again("forgets what it does not have", 5, ForgottenTopicsData=[{"Topic": "x", "Partitions": [0, -1]}])
    again("an epoch of the past", 2)
    again("in a version with ids", 6, fetch(s.topic_id(t))["Topics"][0], version=13)
    again("forgets", 6, ForgottenTopicsData=[{"Topic": t, "Partitions": [9]}])
    again("forgets all", 7, ForgottenTopicsData=[{"Topic": t, "Partitions": [0]}])
    again("is empty", 8)
    session = s.get("Fetch", 12, fetch(t, epoch=0))["SessionId"]
    again("ends", -1)
    again("is no more", 1)
    nothing("begins with nothing", 0, 0)
    nothing("is nothing", 0, -1)


def offsets_at(time, topic="offsets", partition=0, replica=-1, isolation=0, leader_epoch=-1, most=1):
    return {"ReplicaId": replica, "IsolationLevel": isolation, "Topics": [{"Name": topic, "Partitions": [
        {"PartitionIndex": partition, "CurrentLeaderEpoch": leader_epoch, "Timestamp": time, "MaxNumOffsets": most}]}]}


def tell_of_list_offsets(s):
    t = "offsets"
    s.make_topics(t)
    s.fill(t, make_batch([make_record(i, time=i * 10) for i in range(3)], max_time=1020), make_batch(first_time=5000), make_batch(first_time=2000))
    s.fill(t, make_batch([make_record(0, time=100), make_record(1), make_record(2, time=50)], first_time=7000, max_time=7100), partition=1)
    s.fill(t, make_batch(first_time=-1), partition=2)

    def tell(what, time=-1, version=8, **kw):
        s.ask(what, "ListOffsets", version, offsets_at(time, **kw))
    for version in range(10):
        tell(f"the end in version {version}", version=version)
        tell(f"the beginning in version {version}", -2, version)
        tell(f"the largest time in version {version}", -3, version)
    for time_ in -4, -5, -6, -7, -100, -2**63, -2**63 + 1, 0, 1000, 1005, 1020, 1021, 5000, 5001, 2**62, 2**63 - 1:
        tell(f"at {time_}", time_)
        tell(f"at {time_} in version 1", time_, 1)
        tell(f"at {time_} in version 0", time_, 0)
    tell("at -5 in version 9", -5, 9)
    tell("at -6 in version 9", -6, 9)
    for time_ in -3, -1, 0, 7000, 7001, 7051, 7100, 7101:
        tell(f"out of order at {time_}", time_, partition=1)
    for time_ in -3, -1, 0:
        tell(f"without times at {time_}", time_, partition=2)
    for most in 0, 2, -5, 2**31 - 1:
        tell(f"{most} offsets", -1, 0, most=most)
    tell("an unknown topic", topic="offsets.none")
    tell("an unknown topic in version 0", topic="offsets.none", version=0)
    for time_, version in (-5, 8), (-6, 8), (-2**63, 8), (-3, 1), (-3, 0), (-6, 0):
        tell(f"an unknown topic at {time_} in version {version}", time_, version, topic="offsets.none")
    for isolation in 3, -1:
        tell(f"an unknown topic with isolation {isolation}", topic="offsets.none", isolation=isolation)
        tell(f"an unknown topic with isolation {isolation} for a replica", topic="offsets.none", isolation=isolation, replica=5)
        tell(f"isolation {isolation} for a replica", isolation=isolation, replica=5)
    tell("a later leader epoch at -6", -6, leader_epoch=5)
    tell("a later leader epoch at -6 in version 0", -6, 0, leader_epoch=5)
    tell("an unknown partition", partition=9)
    tell("partition -1", partition=-1)
    tell("a later leader epoch", leader_epoch=5)
    tell("a leader epoch of -5", leader_epoch=-5)
    for replica in 5, 0, -2, -3:
        tell(f"replica {replica}", replica=replica)
    for isolation in 1, 3, -1:
        tell(f"isolation {isolation}", isolation=isolation)
        tell(f"isolation {isolation} at a time", 2000, isolation=isolation)
        tell(f"isolation {isolation}, the largest time", -3, isolation=isolation)
    s.ask("nothing", "ListOffsets", 8, {"ReplicaId": -1})
    for version in 0, 1, 5, 8:
        twice = offsets_at(-1)
        twice["Topics"][0]["Partitions"] *= 2
        s.ask(f"a partition twice in version {version}", "ListOffsets", version, twice)
        twice = offsets_at(-1)
        twice["Topics"] *= 2
        s.ask(f"a topic twice in version {version}", "ListOffsets", version, twice)
    both = offsets_at(-1)
    both["Topics"][0]["Partitions"] += [*both["Topics"][0]["Partitions"], {"PartitionIndex": 1, "Timestamp": -1}]
    s.ask("a partition twice, and another", "ListOffsets", 8, both)
    s.get("DeleteRecords", 2, {"TimeoutMs": 30000, "Topics": [{"Name": t, "Partitions": [{"PartitionIndex": 0, "Offset": 5}]}]})
    for time_ in -1, -2, -3, 0, 1000:
        tell(f"at {time_} when all is deleted", time_)


def tell_of_leader_epochs(s):
    t = "epochs"
    s.make_topics(t)
    s.fill(t, make_batch())
    for version in range(5):
        s.ask(f"in version {version}", "OffsetForLeaderEpoch", version, {"ReplicaId": -2, "Topics": [{"Topic": t, "Partitions": [
            {"Partition": p, "CurrentLeaderEpoch": current, "LeaderEpoch": epoch} for p, current, epoch in
            ((0, -1, 0), (1, -1, -1), (1, -1, 99), (1, 9, 0), (1, 0, 0), (1, -5, 0), (2, -1, 0), (0, -1, -5), (0, -1, 2**31 - 1), (8, -1, 0), (-1, -1, 0))]},
            {"Topic": "epochs.none", "Partitions": [{"Partition": 0, "LeaderEpoch": 0}]}]})
    s.ask("as a replica", "OffsetForLeaderEpoch", 4, {"ReplicaId": 5, "Topics": [{"Topic": t, "Partitions": [{"Partition": 0, "LeaderEpoch": 0}]}]})
    s.ask("twice", "OffsetForLeaderEpoch", 4, {"ReplicaId": -2, "Topics": [{"Topic": t, "Partitions": [{"Partition": 0, "LeaderEpoch": 0}] * 2}] * 2})
    s.ask("nothing", "OffsetForLeaderEpoch", 4, {})


def tell_of_delete_records(s):
    t = "delete.records"
    s.make_topics(t)
    s.make_topics("delete.records.compact", configs=[("cleanup.policy", "compact")])
    s.fill(t, make_batch([make_record(i) for i in range(5)]))

    def tell(what, *offsets, topic=t, version=2, timeout=10000):
        s.ask(what, "DeleteRecords", version, {"TimeoutMs": timeout, "Topics": [{"Name": topic, "Partitions": [
            {"PartitionIndex": p, "Offset": o} for p, o in offsets]}]})
    for offset in -5, -2, 6, 2**62, 2, 2, 1, -1:
        tell(f"to {offset}", (0, offset))
    tell("in version 0", (1, 0), version=0)
    tell("an unknown partition", (0, 0), (9, 0), (-1, 0))
    tell("of groups", (0, 0), (99, 0), topic="__consumer_offsets")
    tell("a partition twice", (0, 5), (0, 3))
    tell("without patience", (0, 0), timeout=0)
    tell("a timeout below zero", (0, 0), timeout=-1)
    tell("where logs are compacted", (0, 0), topic="delete.records.compact")
    tell("of groups", (0, 0), topic="__consumer_offsets")
    s.ask("nothing", "DeleteRecords", 2, {"TimeoutMs": 1000})
    tell("no partitions")
    s.ask("below the first", "Fetch", 12, fetch(t, offset=1))


# ---- Topics ----


def tell_of_metadata(s):
    s.make_topics("metadata", "metadata.two")
    topic_id = s.topic_id("metadata")

    def tell(what, topics, version=12, **kw):
        s.ask(what, "Metadata", version, {"Topics": topics, "AllowAutoTopicCreation": 0, **kw})
    for version in range(13):
        tell(f"in version {version}", [{"Name": "metadata"}], version)
        tell(f"an unknown topic in version {version}", [{"Name": "metadata.none"}], version)
    tell("with operations", [{"Name": "metadata"}], 8, IncludeClusterAuthorizedOperations=1, IncludeTopicAuthorizedOperations=1)
    tell("with operations in version 12", [{"Name": "metadata"}, {"Name": "metadata.none"}], IncludeTopicAuthorizedOperations=1)
    tell("nothing", [])
    tell("nothing in version 9", [], 9)
    tell("an id", [{"Name": None, "TopicId": topic_id}])
    tell("an id in version 10", [{"Name": None, "TopicId": topic_id}], 10)
    tell("an id in version 11", [{"Name": None, "TopicId": topic_id}], 11)
    tell("an unknown id", [{"Name": None, "TopicId": b"\1" * 16}])
    tell("neither name nor id", [{"Name": None, "TopicId": bytes(16)}])
    tell("its name and its id", [{"Name": "metadata", "TopicId": topic_id}])
    tell("its name and another's id", [{"Name": "metadata", "TopicId": b"\1" * 16}])
    tell("a name and an id in version 10", [{"Name": "metadata", "TopicId": b"\1" * 16}], 10)
    tell("one by name, one by id", [{"Name": "metadata.two"}, {"Name": None, "TopicId": topic_id}])
    tell("one by name, one by an unknown id", [{"Name": "metadata.two"}, {"Name": None, "TopicId": b"\1" * 16}])
    tell("the same by name and by id", [{"Name": "metadata"}, {"Name": None, "TopicId": topic_id}])
    tell("an id twice", [{"Name": None, "TopicId": topic_id}] * 2)
    tell("a name twice", [{"Name": "metadata"}] * 2)
    tell("an unknown name twice", [{"Name": "metadata.none"}] * 2)
    for what, name in ("no", ""), ("a dot for a", "."), ("two dots for a", ".."), ("an invalid", "a/b"), ("a foreign", "\u00e9"), ("a broken", "\udcff"), \
            ("a NUL in the", "a\0b"), ("the longest", "x" * 249), ("too long a", "x" * 250):
        for create in 0, 1 if what != "the longest" else 0:
            tell(f"{what} name, to be made: {create}", [{"Name": name}], 9, AllowAutoTopicCreation=create)
    for version in range(2):
        s.ask(f"the cluster in version {version}", "DescribeCluster", version, {})
        s.ask(f"the cluster with operations in version {version}", "DescribeCluster", version, {"IncludeClusterAuthorizedOperations": 1})
    for kind in 0, 2, 3, -1:
        s.ask(f"endpoints of kind {kind}", "DescribeCluster", 1, {"EndpointType": kind})


def new_topic(name="create.q", partitions=1, factor=1, assignments=(), configs=()):
    return {"Name": name, "NumPartitions": partitions, "ReplicationFactor": factor, "Assignments": [
        {"PartitionIndex": p, "BrokerIds": brokers} for p, brokers in assignments], "Configs": [{"Name": k, "Value": v} for k, v in configs]}


def tell_of_create_topics(s):
    s.make_topics("create", "create.with.dots")

    def tell(what, *topics, version=7, only_try=1, timeout=30000):
        s.ask(what, "CreateTopics", version, {"Topics": list(topics), "timeoutMs": timeout, "validateOnly": only_try})
    for version in range(8):
        tell(f"in version {version}", new_topic(f"create.version.{version}", 2), version=version, only_try=0)
        tell(f"in vain in version {version}", new_topic("create"), version=version)
        tell(f"tried in version {version}", new_topic(), version=max(version, 1))
        tell(f"with defaults in version {version}", new_topic(partitions=-1, factor=-1), version=max(version, 1))
    tell("not assigned in version 3", new_topic(partitions=-1, factor=-1), version=3)
    for partitions in 0, -2:
        tell(f"{partitions} partitions", new_topic(partitions=partitions))
    for factor in 0, 2, -2, 32767:
        tell(f"{factor} replicas", new_topic(factor=factor))
    for what, name in ("no", ""), ("a quorum's", "__cluster_metadata"), ("a dot for a", "."), ("two dots for a", ".."), ("an invalid", "a/b"), ("a foreign", "\u00e9"), ("a broken", "\udcff"), \
            ("a NUL in the", "a\0b"), ("the longest", "x" * 249), ("too long a", "x" * 250), ("a colliding", "create_with.dots"), ("an internal", "__consumer_offsets"):
        tell(f"{what} name", new_topic(name))
    for what, assignments in ("a gap", [(1, [0])]), ("a partition twice", [(0, [0]), (0, [0])]), ("a broker twice", [(0, [0, 0])]), \
            ("an unknown broker", [(0, [9])]), ("a broker below zero", [(0, [-1])]), ("no brokers", [(0, [])]), ("a partition below zero", [(-1, [0])]), \
            ("one of each length", [(0, [0]), (1, [0, 9])]), ("a good one", [(0, [0]), (1, [0])]), ("a good one in another order", [(1, [0]), (0, [0])]):
        tell(f"assigned: {what}", new_topic(partitions=-1, factor=-1, assignments=assignments))
    tell("assigned and a number", new_topic(partitions=1, factor=-1, assignments=[(0, [0])]))
    tell("assigned and a factor", new_topic(partitions=-1, factor=1, assignments=[(0, [0])]))
    for what, configs in ("an unknown one", [("nope", "1")]), ("not a number", [("retention.ms", "x")]), ("null", [("retention.ms", None)]), \
            ("too small", [("segment.bytes", "1")]), ("too large", [("retention.ms", "99999999999999999999")]), ("without a name", [("", "1")]), \
            ("twice", [("retention.ms", "1"), ("retention.ms", "2")]), ("empty", [("cleanup.policy", "")]), ("a list", [("cleanup.policy", "compact,delete")]), \
            ("a wrong list", [("cleanup.policy", "compact,nope")]), ("a broker's", [("log.retention.ms", "1")]), ("space around", [("retention.ms", " 1 ")]), \
            ("a codec", [("compression.type", "ZSTD")]), ("a level", [("compression.gzip.level", "0")]), ("a truth", [("preallocate", "yes")]), \
            ("throttled", [("leader.replication.throttled.replicas", "0:0,x")]), ("a version", [("message.format.version", "9.9")]), \
            ("a ratio", [("min.cleanable.dirty.ratio", "1.5")]), ("lags that contradict", [("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]), \
            ("remote", [("remote.storage.enable", "true")]), ("a copy of none", [("remote.log.copy.disable", "true")]), \
            ("good ones", [("retention.ms", "1000"), ("max.message.bytes", "5000")]):
        tell(f"configs: {what}", new_topic(configs=configs))
    for what, topic in ("and null", new_topic("create", configs=[("retention.ms", None)])), ("and both", new_topic("create", assignments=[(0, [0])])), \
            ("and a gap", new_topic("create", partitions=-1, factor=-1, assignments=[(1, [0])])):
        tell(f"there already {what}", topic)
    for what, topic in ("no partitions", new_topic("a/b", partitions=0)), ("too many replicas", new_topic("a/b", factor=9)), \
            ("a gap and a number", new_topic(factor=-1, assignments=[(1, [0])])), ("a bad config and too many replicas", new_topic(factor=9, configs=[("nope", "1")])), \
            ("a bad config and a broker twice", new_topic(partitions=-1, factor=-1, assignments=[(0, [0, 0])], configs=[("nope", "1")])), \
            ("a colliding name and no partitions", new_topic("create_with.dots", partitions=0)), ("two without a value", new_topic(configs=[("retention.ms", None), ("a", None)])):
        tell(f"at once: {what}", topic)
    tell("the same twice", new_topic(), new_topic())
    tell("the same twice and another", new_topic(), new_topic(), new_topic("create.r"))
    tell("good and bad", new_topic(), new_topic("a/b"), new_topic("create"))
    tell("nothing")
    tell("without patience", new_topic("create.hasty"), only_try=0, timeout=0)
    tell("a timeout below zero", new_topic("create.hastier"), only_try=0, timeout=-1)
    wait_until(lambda: errors_in(s.get("Metadata", 1, {"Topics": [{"Name": n} for n in ("create.hasty", "create.hastier")]})) == {0}, "leaders")


def tell_of_create_partitions(s):
    s.make_topics("partitions")

    def tell(what, count, assignments=None, name="partitions", times=1, only_try=1, version=3, timeout=30000):
        s.ask(what, "CreatePartitions", version, {"Topics": [{"Name": name, "Count": count, "Assignments": assignments}] * times, "TimeoutMs": timeout,
                                                  "ValidateOnly": only_try})
    for version in range(4):
        tell(f"in version {version}", 4, version=version)
    for count in 1, 3, 0, -1:
        tell(f"to {count}", count)
    tell("twice", 5, times=2)
    tell("an unknown topic", 5, name="partitions.none")
    tell("no name", 5, name="")
    tell("an invalid name", 5, name="a/b")
    tell("of groups", 6, name="__consumer_offsets")
    for what, brokers in ("too few", [[0]]), ("too many", [[0], [0], [0]]), ("none", []), ("no brokers", [[], []]), ("unknown", [[0], [9]]), ("twice", [[0, 0], [0]]), \
            ("below zero", [[-1], [0]]), ("well", [[0], [0]]), ("of two lengths", [[0], [0, 9]]):
        tell(f"assigned {what}", 5, [{"BrokerIds": b} for b in brokers])
    s.ask("nothing", "CreatePartitions", 3, {"TimeoutMs": 1000})
    tell("without patience", 4, only_try=0, timeout=0)
    wait_until(lambda: len(s.get("Metadata", 1, {"Topics": [{"Name": "partitions"}]})["Topics"][0]["Partitions"]) == 4, "a fourth partition")


def tell_of_delete_topics(s):
    s.make_topics("delete", "delete.two", "delete.three", "delete.hasty", "delete.hastier")
    topic_id = s.topic_id("delete")

    def tell(what, *topics, timeout=30000):
        s.ask(what, "DeleteTopics", 6, {"Topics": list(topics), "TimeoutMs": timeout})
    for version in range(6):
        s.ask(f"in vain in version {version}", "DeleteTopics", version, {"TopicNames": ["delete.none"], "TimeoutMs": 1000})
    s.ask("in vain twice", "DeleteTopics", 5, {"TopicNames": ["delete.none"] * 2, "TimeoutMs": 1000})
    s.ask("an invalid name", "DeleteTopics", 5, {"TopicNames": ["a/b", "", "a\0b", "\udcff"], "TimeoutMs": 1000})
    tell("nothing")
    tell("neither name nor id", {})
    tell("an unknown id", {"TopicId": b"\1" * 16})
    tell("an unknown name", {"Name": "delete.none"})
    tell("its name and its id", {"Name": "delete", "TopicId": topic_id})
    tell("its name and another's id", {"Name": "delete", "TopicId": b"\1" * 16})
    tell("by name and by id", {"Name": "delete"}, {"TopicId": topic_id})
    tell("by id twice", {"TopicId": topic_id}, {"TopicId": topic_id})
    tell("by name twice", {"Name": "delete"}, {"Name": "delete"})
    tell("by an unknown id twice", {"TopicId": b"\1" * 16}, {"TopicId": b"\1" * 16})
    tell("by id and another", {"TopicId": topic_id}, {"Name": "delete.two"}, {"Name": "delete.none"})
    s.ask("by name", "DeleteTopics", 5, {"TopicNames": ["delete.three"], "TimeoutMs": 30000})
    for topic, timeout in ("delete.hasty", 0), ("delete.hastier", -1):
        tell(f"with a timeout of {timeout}", {"Name": topic}, timeout=timeout)
        wait_until(lambda topic=topic: errors_in(s.get("Metadata", 1, {"Topics": [{"Name": topic}]})) == {3}, "its end")
    s.ask("no more", "Produce", 9, produce("delete", make_batch()))
    s.ask("no more", "Fetch", 12, fetch("delete"))
    s.ask("no more", "Fetch", 13, fetch(topic_id))


# ---- Configurations ----


def tell_of_configs(s):
    s.make_topics("configs", configs=[("retention.ms", "1234"), ("cleanup.policy", "compact")])

    def described(what, kind=2, name="configs", keys=None, version=4, times=1, **kw):
        s.ask(what, "DescribeConfigs", version, {"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": keys}] * times, **kw})
    for version in range(5):
        described(f"some in version {version}", keys=["retention.ms", "cleanup.policy"], version=version, IncludeSynonyms=1)
    described("no keys", keys=[])
    described("unknown keys", keys=["retention.ms", "nope", ""])
    described("a key twice", keys=["retention.ms"] * 2)
    described("twice", keys=["retention.ms"], times=2)
    for kind, name in (2, "configs.none"), (2, "a/b"), (2, ""), (2, "."), (2, "x" * 250), (2, "a\0b"), (4, "9"), (4, "x"), (4, ""), (4, "-1"), (4, "00"), (4, " 0"), \
            (8, "9"), (8, ""), (8, "x"), (9, "x"), (0, "x"), (1, "x"), (3, "x"), (16, "x"), (32, "x"), (-1, "x"):
        described(f"{kind} {name}", kind, name, keys=["num.io.threads", "retention.ms"])
    s.ask("nothing", "DescribeConfigs", 4, {})

    def altered(what, *configs, kind=2, name="configs", times=1, only_try=1, version=1):
        s.ask(what, "IncrementalAlterConfigs", version, {"ValidateOnly": only_try, "Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": [
            {"Name": k, "ConfigOperation": op, "Value": v} for k, op, v in configs]}] * times})
    altered("set", ("retention.ms", 0, "5"))
    altered("set in version 0", ("retention.ms", 0, "5"), version=0)
    altered("delete", ("retention.ms", 1, None))
    altered("delete with a value", ("retention.ms", 1, "5"))
    altered("delete what is not set", ("retention.bytes", 1, None))
    altered("append", ("cleanup.policy", 2, "delete"))
    altered("append what is there", ("cleanup.policy", 2, "compact"))
    altered("append to what is no list", ("retention.ms", 2, "5"))
    altered("subtract", ("cleanup.policy", 3, "compact"))
    altered("subtract what is not there", ("cleanup.policy", 3, "delete"))
    altered("subtract from what is no list", ("retention.ms", 3, "5"))
    for op in 4, 9, -1:
        altered(f"operation {op}", ("retention.ms", op, "5"))
    altered("null", ("retention.ms", 0, None))
    altered("empty", ("retention.ms", 0, ""))
    altered("append null", ("cleanup.policy", 2, None))
    altered("a key twice", ("retention.ms", 0, "5"), ("retention.ms", 1, None))
    altered("an unknown key", ("nope", 0, "5"))
    altered("an unknown key is deleted", ("nope", 1, None))
    altered("no key", ("", 0, "5"))
    altered("a wrong value", ("retention.ms", 0, "x"))
    altered("a wrong value and a right one", ("retention.ms", 0, "x"), ("retention.bytes", 0, "5"))
    altered("lags that contradict", ("min.compaction.lag.ms", 0, "10"), ("max.compaction.lag.ms", 0, "5"))
    altered("remote", ("remote.storage.enable", 0, "true"))
    altered("a copy of none", ("remote.log.copy.disable", 0, "true"))
    altered("nothing of it")
    altered("twice", ("retention.ms", 0, "5"), times=2)
    for kind, name in (2, "configs.none"), (2, "a/b"), (2, ""), (2, "a\0b"), (4, "x"), (4, "9"), (4, "-1"), (9, "x"), (0, "x"), (32, "x"):
        altered(f"of {kind} {name}", ("retention.ms", 0, "5"), kind=kind, name=name)
    for name in "0", "":
        for key, value in ("log.dirs", "5"), ("num.io.threads", "5"), ("num.io.threads", "x"), ("num.io.threads", "0"), ("num.io.threads", "1000"), ("nope", "1"), \
                ("log.retention.ms", "1000"), ("max.connections", "1000"), ("broker.id", "7"), ("advertised.listeners", "PLAINTEXT://x:1"):
            altered(f"{key} = {value} of broker {name!r}", (key, 0, value), kind=4, name=name)
    for logger, value, op in ("kafka", "INFO", 0), ("kafka", "nope", 0), ("kafka", None, 1), ("nope", "INFO", 0), ("root", None, 1), ("kafka", "INFO", 2):
        altered(f"the logger {logger} {value} {op}", (logger, op, value), kind=8, name="0")
    altered("the loggers of another", ("kafka", 0, "INFO"), kind=8, name="9")
    s.ask("nothing", "IncrementalAlterConfigs", 1, {})

    def replaced(what, *configs, kind=2, name="configs", times=1, only_try=1, version=2, **kw):
        s.ask(what, "AlterConfigs", version, {"ValidateOnly": only_try, "Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": [
            {"Name": k, "Value": v} for k, v in configs]}] * times}, **kw)
    for version in range(3):
        replaced(f"replaced in version {version}", ("retention.ms", "5"), version=version)
    replaced("replaced twice", ("retention.ms", "5"), times=2, patience=SHORT)
    replaced("replaced by nothing")
    replaced("replaced by null", ("retention.ms", None))
    replaced("replaced, a key twice", ("retention.ms", "5"), ("retention.ms", "6"))
    replaced("replaced by an unknown one", ("nope", "5"))
    replaced("replaced by lags that contradict", ("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5"))
    for kind, name in (2, "configs.none"), (2, "a/b"), (4, "x"), (4, "9"), (8, "0"), (9, "x"):
        replaced(f"replaced of {kind} {name}", ("retention.ms", "5"), kind=kind, name=name)
    described("nothing of it was done", keys=["retention.ms", "cleanup.policy"])


# ---- Groups ----


def join(group="joins", member="", session=10000, rebalance=60000, instance=None, kind="consumer", protocols=(("range", b""),)):
    return {"GroupId": group, "SessionTimeoutMs": session, "RebalanceTimeoutMs": rebalance, "MemberId": member, "GroupInstanceId": instance, "ProtocolType": kind,
            "Protocols": [{"Name": n, "Metadata": m} for n, m in protocols]}


def commit(group, *partitions, topic="commits", generation=-1, member="", instance=None, **kw):
    """`partitions`: (index, offset, metadata)"""
    return {"GroupId": group, "GenerationIdOrMemberEpoch": generation, "MemberId": member, "GroupInstanceId": instance, "Topics": [
        {"Name": topic, "Partitions": [{"PartitionIndex": p, "CommittedOffset": o, "CommittedMetadata": m} for p, o, m in partitions]}], **kw}


def tell_of_joins(s):
    tell = lambda what, version=5, **kw: s.ask(what, "JoinGroup", version, join(**kw))
    for version in range(10):
        tell(f"a session too short in version {version}", version, session=1)
    tell("a session too long", session=2**31 - 1)
    tell("a session below zero", session=-1)
    tell("no name", group="")
    tell("no protocols", protocols=())
    tell("no type", kind="")
    tell("a stranger", member="x")
    for what, instance in ("no", ""), ("a bad", "a/b"), ("a dot for an", "."), ("two dots for an", ".."), ("a long", "x" * 249), ("too long an", "x" * 250), ("a foreign", "\u00e9"):
        tell(f"{what} instance", instance=instance, group=f"joins {what}")
    s.ask("a protocol twice", "JoinGroup", 3, join("joins.twice", protocols=(("range", b"a"), ("range", b"b"))), patience=SHORT)
    tell("a rebalance below zero", 3, group="joins.negative", rebalance=-1)
    tell("a protocol without a name", 3, group="joins.nameless", protocols=(("", b""),))
    for version in range(6):
        s.ask(f"sync of nobody in version {version}", "SyncGroup", version, {"GroupId": "joins.none", "GenerationId": 1, "MemberId": "x", "ProtocolType": "consumer", "ProtocolName": "range"})
    s.ask("sync without a group", "SyncGroup", 3, {"GenerationId": 1, "MemberId": "x"})
    s.ask("sync without a protocol", "SyncGroup", 5, {"GroupId": "joins.none", "GenerationId": 1, "MemberId": "x"})
    for version in range(5):
        s.ask(f"heartbeat of nobody in version {version}", "Heartbeat", version, {"GroupId": "joins.none", "GenerationId": 1, "MemberId": "x"})
    s.ask("heartbeat without a group", "Heartbeat", 4, {"GenerationId": 1, "MemberId": "x"})
    for version in range(3):
        s.ask(f"nobody leaves in version {version}", "LeaveGroup", version, {"GroupId": "joins.none", "MemberId": "x"})
    for version in range(3, 6):
        s.ask(f"nobody leaves twice in version {version}", "LeaveGroup", version, {"GroupId": "joins.none", "Members": [{"MemberId": "x"}] * 2})
    s.ask("nobody leaves nothing", "LeaveGroup", 3, {"GroupId": "joins.none"})
    s.ask("leaves without a group", "LeaveGroup", 1, {})
    s.ask("leaves without a group in version 5", "LeaveGroup", 5, {})
    one = s.get("JoinGroup", 9, join("joins.static", instance="one"))
    member = {"GroupId": "joins.static", "GenerationId": 1, "MemberId": one["MemberId"]}
    s.ask("sync", "SyncGroup", 5, {**member, "GroupInstanceId": "one", "ProtocolType": "consumer", "ProtocolName": "range", "Assignments": [
        {"MemberId": one["MemberId"], "Assignment": b"1"}] * 2})
    s.ask("heartbeat of another generation", "Heartbeat", 4, {**member, "GenerationId": -1})
    s.ask("leaves twice", "LeaveGroup", 5, {"GroupId": "joins.static", "Members": [{"MemberId": one["MemberId"], "GroupInstanceId": "one"}] * 2})
    s.ask("has left", "DescribeGroups", 5, {"Groups": ["joins.static"]})


def tell_of_commits(s):
    s.make_topics("commits")
    tell = lambda what, group="commits", *partitions, version=7, **kw: s.ask(what, "OffsetCommit", version, commit(group, *(partitions or ((0, 5, ""),)), **kw))
    for version in range(10):
        tell(f"in version {version}", version=version)
    for version in 2, 3, 4:
        for retention in 1, 0, -2, 2**63 - 1, -2**63:
            tell(f"kept for {retention} in version {version}", "commits.kept", version=version, RetentionTimeMs=retention)
    tell("an offset below zero", "commits", (0, -5, ""))
    tell("the largest offset", "commits", (0, 2**63 - 1, ""))
    tell("the longest metadata", "commits", (0, 5, "m" * 4096))
    tell("too long metadata", "commits", (0, 5, "m" * 4097))
    tell("foreign metadata", "commits", (1, 5, "\u00e9\0"))
    tell("null metadata", "commits", (0, 5, None))
    tell("a generation of no group", "commits.none", generation=5, member="x")
    tell("a generation of this", generation=5, member="x")
    tell("a member without a generation", "commits.new", member="x")
    tell("an instance without a generation", "commits.newer", instance="x")
    tell("no group", "")
    tell("a partition twice", "commits", (0, 5, ""), (0, 6, ""))
    tell("an unknown topic", topic="commits.none")
    tell("an internal topic", topic="__consumer_offsets")
    tell("no topic", topic="")
    tell("an unknown partition too", "commits", (0, 8, ""), (77, 1, ""), (-1, 1, ""))
    s.ask("nothing", "OffsetCommit", 7, {"GroupId": "commits"})
    s.ask("no partitions", "OffsetCommit", 7, {"GroupId": "commits", "Topics": [{"Name": "commits"}]})
    fetched = lambda what, version=5, **kw: s.ask(what, "OffsetFetch", version, kw)
    for version in range(8):
        fetched(f"read in version {version}", version, GroupId="commits", Topics=[{"Name": "commits", "PartitionIndexes": [0, 1, 77, -1]}, {"Name": "commits.none", "PartitionIndexes": [0]}])
    for version in 8, 9:
        fetched(f"read in version {version}", version, Groups=[{"GroupId": "commits", "Topics": [{"Name": "commits", "PartitionIndexes": [0, 1, 77, -1]}]}, {"GroupId": "commits.none", "Topics": None}])
        fetched(f"no group in version {version}", version, Groups=[{"GroupId": "", "Topics": None}])
        fetched(f"a group twice in version {version}", version, Groups=[{"GroupId": "commits", "Topics": None}] * 2)
        s.ask(f"nothing in version {version}", "OffsetFetch", version, patience=SHORT)
    fetched("of a member epoch", 9, Groups=[{"GroupId": "commits", "MemberId": "x", "MemberEpoch": 3, "Topics": None}])
    fetched("all", GroupId="commits", Topics=None)
    fetched("nothing", GroupId="commits")
    fetched("a partition twice", GroupId="commits", Topics=[{"Name": "commits", "PartitionIndexes": [0, 0]}])
    fetched("without a group", GroupId="", Topics=None)
    fetched("without a group in version 0", 0, GroupId="", Topics=[{"Name": "commits", "PartitionIndexes": [0]}])
    deleted = lambda what, group, *topics: s.ask(what, "OffsetDelete", 0, {"GroupId": group, "Topics": [{"Name": t, "Partitions": [{"PartitionIndex": p} for p in ps]} for t, ps in topics]})
    deleted("of none", "commits.none", ("commits", [0]))
    deleted("without a group", "", ("commits", [0]))
    deleted("of nothing", "commits")
    deleted("offsets", "commits", ("commits", [0, 0, 77, -1]), ("commits.none", [0]))
    described = lambda what, *groups, version=5, **kw: s.ask(what, "DescribeGroups", version, {"Groups": list(groups), **kw})
    for version in range(6):
        described(f"described in version {version}", "commits", "commits.none", "", version=version)
    described("twice", "commits.none", "commits.none", "commits", "commits")
    described("with operations", "commits", "commits.none", IncludeAuthorizedOperations=1)
    described("nothing")
    for states, types in (["Bogus"], []), (["Empty"], []), (["empty", "Bogus"], []), ([""], []), ([], ["bogus"]), ([], ["CLASSIC"]), ([], ["consumer"]), ([], [""]):
        answer = s.get("ListGroups", 5, {"StatesFilter": states, "TypesFilter": types})
        answer["Groups"] = [g for g in answer["Groups"] if g["GroupId"].startswith("commits")]
        s.told.append((f"listed {states} {types}", "ListGroups 5", s.plain(answer)))
    for version in range(3):
        s.ask(f"deleted in version {version}", "DeleteGroups", version, {"GroupsNames": ["commits.none", "commits.none", ""]})
    s.ask("deleted twice", "DeleteGroups", 2, {"GroupsNames": ["commits.new", "commits.new"]})
    s.ask("nothing is deleted", "DeleteGroups", 2, {})
    s.ask("the new protocol", "ConsumerGroupHeartbeat", 0, {"GroupId": "g", "RebalanceTimeoutMs": 1000, "SubscribedTopicNames": ["commits"], "TopicPartitions": []})
    s.ask("described in the new protocol", "ConsumerGroupDescribe", 0, {"GroupIds": ["commits", "g", "", "g"]})


def tell_of_coordinators(s):
    for version in range(4):
        s.ask(f"in version {version}", "FindCoordinator", version, {"Key": "g"})
        s.ask(f"without a name in version {version}", "FindCoordinator", version, {"Key": ""})
    for version in 1, 3:
        for kind in 1, 2, 7, -1:
            s.ask(f"of kind {kind} in version {version}", "FindCoordinator", version, {"Key": "g", "KeyType": kind})
        s.ask(f"of a transaction without a name in version {version}", "FindCoordinator", version, {"Key": "", "KeyType": 1})
    for version in 4, 5, 6:
        for kind in 0, 1, 2, 7, -1:
            s.ask(f"of several of kind {kind} in version {version}", "FindCoordinator", version, {"KeyType": kind, "CoordinatorKeys": ["g", "g", "", "h"]})
        s.ask(f"of none in version {version}", "FindCoordinator", version, {"KeyType": 0})


# ---- Transactions ----


def tell_of_producers(s):
    def tell(what, name=None, timeout=60000, producer=-1, epoch=-1, version=5):
        return s.ask(what, "InitProducerId", version, {"TransactionalId": name, "TransactionTimeoutMs": timeout, "ProducerId": producer, "ProducerEpoch": epoch})
    for version in range(6):
        tell(f"an id in version {version}", version=version)
        tell(f"a transactional one in version {version}", f"producers.{version}", version=version)
    tell("no name", "")
    for timeout in 0, -1, 900001, 2**31 - 1:
        tell(f"a timeout of {timeout}", "producers.timeout", timeout)
        tell(f"a timeout of {timeout} without a name", None, timeout)
    tell("an id without an epoch", "producers.odd", producer=5)
    tell("an epoch without an id", "producers.odd", epoch=5)
    tell("a stranger's", "producers.odd", producer=5, epoch=3)
    tell("a stranger's without a name", producer=5, epoch=3)
    tell("below zero", "producers.odd", producer=-5, epoch=-5)
    tell("the largest", "producers.odd2", producer=2**63 - 1, epoch=32767)
    t = "producers"
    s.make_topics(t)
    mine = s.get("InitProducerId", 4, {"TransactionalId": None, "TransactionTimeoutMs": 60000})["ProducerId"]
    for what, producer, epoch, sequence in ("no sequence", mine, 0, -1), ("first with 3", mine, 0, 3), ("again", mine, 0, 3), ("a gap", mine, 0, 9), ("no epoch", mine, -1, 4), \
            ("no producer", -1, 0, 0), ("a new epoch with 5", mine, 1, 5), ("a new epoch", mine, 1, 0), ("the old epoch", mine, 0, 4), ("producer -2", -2, 0, 0), \
            ("epoch -2", mine, -2, 0), ("sequence -2", mine, 1, -2), ("a stranger", 123456789, 5, 7), ("the largest", 2**63 - 1, 32767, 2**31 - 1), ("after the largest", 2**63 - 1, 32767, 0):
        s.ask(what, "Produce", 9, produce(t, make_batch(producer=producer, epoch=epoch, sequence=sequence), partition=1))
    s.ask("two batches of a producer", "Produce", 9, produce(t, make_batch(producer=mine, epoch=1, sequence=1) + make_batch(producer=mine, epoch=1, sequence=2), partition=1))
    s.ask("the state", "DescribeProducers", 0, {"Topics": [{"Name": t, "PartitionIndexes": [0, 1, 1, 9, -1]}, {"Name": "producers.none", "PartitionIndexes": [0]}, {"Name": "", "PartitionIndexes": [0]},
                                                           {"Name": "a/b", "PartitionIndexes": [0]}]})
    s.ask("no state", "DescribeProducers", 0, {})


def tell_of_transactions(s):
    t = "transactions"
    s.make_topics(t)
    id_ = "transactions"
    got = s.until_served("InitProducerId", 5, {"TransactionalId": id_, "TransactionTimeoutMs": 60000})
    who = {"ProducerId": got["ProducerId"], "ProducerEpoch": got["ProducerEpoch"]}

    def added(what, *topics, version=3, name=id_, producer=who["ProducerId"], epoch=who["ProducerEpoch"]):
        s.ask(what, "AddPartitionsToTxn", version, {"V3AndBelowTransactionalId": name, "V3AndBelowProducerId": producer, "V3AndBelowProducerEpoch": epoch,
                                                    "V3AndBelowTopics": [{"Name": n, "Partitions": p} for n, p in topics]})

    def verified(what, *topics, version=4, name=id_, only=1, times=1, producer=who["ProducerId"], epoch=who["ProducerEpoch"]):
        s.ask(what, "AddPartitionsToTxn", version, {"Transactions": [{"TransactionalId": name, "ProducerId": producer, "ProducerEpoch": epoch, "VerifyOnly": only,
                                                                      "Topics": [{"Name": n, "Partitions": p} for n, p in topics]}] * times})
    for version in range(4):
        added(f"of nobody in version {version}", (t, [0]), name="transactions.none", producer=1, epoch=0, version=version)
    added("without a name", (t, [0]), name="")
    added("of nothing")
    added("no partitions", (t, []))
    added("an unknown partition", (t, [0, 99]))
    added("an unknown topic", (t, [0]), ("transactions.none", [0]))
    added("an internal topic", ("__consumer_offsets", [0]))
    added("of another producer", (t, [0]), producer=99)
    added("of another epoch", (t, [0]), epoch=9)
    added("of an epoch below zero", (t, [0]), epoch=-1)
    for version in 4, 5:
        verified(f"not in it in version {version}", (t, [0]), version=version)
        verified(f"of nobody in version {version}", (t, [0]), name="transactions.none", version=version)
        verified(f"twice in version {version}", (t, [0]), name="transactions.none", times=2, version=version)
        verified(f"without a name in version {version}", (t, [0]), name="", version=version)
        verified(f"of unknown partitions in version {version}", (t, [0, 99]), ("transactions.none", [0]), version=version)
        verified(f"of another epoch in version {version}", (t, [0]), epoch=9, version=version)
    s.ask("nothing is asked", "AddPartitionsToTxn", 4, {}, patience=SHORT)
    s.ask("ends nothing", "EndTxn", 4, {"TransactionalId": id_, **who, "Committed": 1})
    s.ask("ends another epoch's", "EndTxn", 4, {"TransactionalId": id_, "ProducerId": who["ProducerId"], "ProducerEpoch": 9, "Committed": 1})
    s.ask("ends nobody's", "EndTxn", 4, {"TransactionalId": "transactions.none", "ProducerId": 1, "Committed": 1})
    s.ask("ends without a name", "EndTxn", 4, {"TransactionalId": "", "ProducerId": 1, "Committed": 1})
    batch = lambda sequence, **kw: make_batch(attributes=TRANSACTIONAL, producer=who["ProducerId"], epoch=who["ProducerEpoch"], sequence=sequence, **kw)
    s.ask("a record that is not announced", "Produce", 9, produce(t, batch(0), transactional_id=id_))
    s.ask("a record without the id", "Produce", 9, produce(t, batch(0)))
    s.ask("a record with another id", "Produce", 9, produce(t, batch(0), transactional_id="transactions.none"))
    s.ask("a record with an empty id", "Produce", 9, produce(t, batch(0), transactional_id=""))
    added("begins", (t, [0, 0]), (t, [0]))
    verified("is in it, in part", (t, [0, 1]))
    s.ask("a record", "Produce", 9, produce(t, batch(0), transactional_id=id_))
    s.ask("a record that is not of it", "Produce", 9, produce(t, make_batch(producer=who["ProducerId"], epoch=who["ProducerEpoch"], sequence=1), transactional_id=id_))
    s.ask("two batches, one of it", "Produce", 9, produce(t, batch(1) + make_batch(), transactional_id=id_))
    s.ask("read while it is open", "Fetch", 12, fetch(t, isolation=1))
    s.ask("the end while it is open", "ListOffsets", 7, offsets_at(-1, t, isolation=1))
    s.ask("offsets without having said so", "TxnOffsetCommit", 3, {"TransactionalId": id_, "GroupId": "transactions", **who, "Topics": [
        {"Name": t, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1, "CommittedMetadata": ""}]}]})
    s.ask("offsets of a group without a name", "AddOffsetsToTxn", 4, {"TransactionalId": id_, **who, "GroupId": ""})
    s.ask("offsets", "AddOffsetsToTxn", 4, {"TransactionalId": id_, **who, "GroupId": "transactions"})
    for version in range(5):
        s.ask(f"offsets in version {version}", "TxnOffsetCommit", version, {"TransactionalId": id_, "GroupId": "transactions", **who, "Topics": [
            {"Name": t, "Partitions": [{"PartitionIndex": p, "CommittedOffset": 1, "CommittedMetadata": m} for p, m in ((0, ""), (1, None), (2, "m" * 4097), (9, ""), (-1, ""))]},
            {"Name": "transactions.none", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1, "CommittedMetadata": ""}]}]})
    s.ask("offsets with a generation", "TxnOffsetCommit", 4, {"TransactionalId": id_, "GroupId": "transactions", **who, "GenerationId": 5, "MemberId": "x", "Topics": [
        {"Name": t, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1}]}]})
    s.ask("offsets of nobody", "TxnOffsetCommit", 4, {"TransactionalId": "transactions.none", "GroupId": "", "ProducerId": -1, "ProducerEpoch": -1})
    s.ask("offsets of nobody's group", "AddOffsetsToTxn", 4, {"TransactionalId": "transactions.none", "ProducerId": 1, "GroupId": "x"})
    s.ask("described", "DescribeTransactions", 0, {"TransactionalIds": [id_, id_, "transactions.none", ""]})
    s.ask("nothing is described", "DescribeTransactions", 0, {})
    s.ask("the state of its producer", "DescribeProducers", 0, {"Topics": [{"Name": t, "PartitionIndexes": [0]}]})
    for version in range(2):
        for states, producers, duration in (["Bogus", "Ongoing"], [], -1), (["Ongoing"], [], -1), (["ongoing", ""], [], -1), ([], [who["ProducerId"], -5], -1), ([], [99], -5), \
                (["Ongoing"], [], 10**9), (["Ongoing"], [], -2**63):
            s.ask(f"listed {states} {len(producers)} {duration} in version {version}", "ListTransactions", version, {"StateFilters": states, "ProducerIdFilters": producers, "DurationFilter": duration})
    s.ask("is committed", "EndTxn", 4, {"TransactionalId": id_, **who, "Committed": 1})
    s.until_served("InitProducerId", 5, {"TransactionalId": id_, "TransactionTimeoutMs": 60000})
    s.ask("is aborted by the last epoch", "EndTxn", 4, {"TransactionalId": id_, **who, "Committed": 0})
    s.ask("read when it is over", "Fetch", 12, fetch(t, isolation=1))
    s.ask("its offsets", "OffsetFetch", 7, {"GroupId": "transactions", "Topics": None})


# ---- Between brokers, and what is rarely asked ----


def tell_of_the_cluster(s):
    t = "cluster"
    s.make_topics(t)
    for version in range(5):
        s.ask(f"versions in version {version}", "ApiVersions", version, {"ClientSoftwareName": "name", "ClientSoftwareVersion": "1.0"})
    for name, number in ("", ""), ("-a", "1"), ("a b", "1"), ("a", "\u00e9"), ("a" * 300, "1"):
        s.ask(f"versions for {name[:9]} {number}", "ApiVersions", 3, {"ClientSoftwareName": name, "ClientSoftwareVersion": number})
    s.ask("no client", "Metadata", 9, {"Topics": []}, client=None)
    s.ask("an empty client", "Metadata", 9, {"Topics": []}, client="")
    s.ask("a broken client", "Metadata", 9, {"Topics": []}, client="\udcff")

    def elected(what, kind=0, topics=None, version=2):
        s.ask(what, "ElectLeaders", version, {"ElectionType": kind, "TopicPartitions": topics, "TimeoutMs": 5000})
    for version in range(3):
        elected(f"in version {version}", topics=[{"Topic": t, "Partitions": [0]}], version=version)
    elected("uncleanly", 1, [{"Topic": t, "Partitions": [0]}])
    elected("in some way", 5, [{"Topic": t, "Partitions": [0]}])
    elected("of nothing", topics=[])
    elected("of what is not there", topics=[{"Topic": t, "Partitions": [0, 0, 9, -1]}, {"Topic": "cluster.none", "Partitions": [0]}, {"Topic": "", "Partitions": [0]}])
    elected("of all")

    def reassigned(what, replicas, topic=t, partition=0, times=1):
        s.ask(what, "AlterPartitionReassignments", 0, {"TimeoutMs": 5000, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": partition, "Replicas": replicas}] * times}]})
    for what, replicas in ("to nobody", []), ("to one twice", [0, 0]), ("to a stranger", [9]), ("to below zero", [-1]), ("to where it is", [0]), ("not", None):
        reassigned(what, replicas)
    reassigned("twice", [9], times=2)
    for topic, partition in ("cluster.none", 0), (t, 9), (t, -1), ("", 0), ("a/b", 0):
        reassigned(f"{topic} {partition}", [0], topic, partition)
        reassigned(f"{topic} {partition} not", None, topic, partition)
    s.ask("nothing is reassigned", "AlterPartitionReassignments", 0, {"TimeoutMs": 5000})
    for what, topics in ("all", None), ("none", []), ("some", [{"Name": t, "PartitionIndexes": [0, 9, -1]}, {"Name": "cluster.none", "PartitionIndexes": [0]}]):
        s.ask(f"{what} that is reassigned", "ListPartitionReassignments", 0, {"TimeoutMs": 5000, "Topics": topics})
    for path in "/nowhere", "", "relative", "a\0b":
        s.ask(f"moved to {path!r}", "AlterReplicaLogDirs", 2, {"Dirs": [{"Path": path, "Topics": [{"Name": t, "Partitions": [0]}]}]})
    own = str(s.broker.data)
    s.ask("moved to where it is", "AlterReplicaLogDirs", 2, {"Dirs": [{"Path": own, "Topics": [{"Name": t, "Partitions": [0, 9, -1]}, {"Name": "cluster.none", "Partitions": [0]}]}]})
    s.ask("moved to where it is, twice", "AlterReplicaLogDirs", 1, {"Dirs": [{"Path": own, "Topics": [{"Name": t, "Partitions": [1]}] * 2}]})
    s.ask("nothing is moved", "AlterReplicaLogDirs", 2, {})
    for version in range(5):
        s.ask(f"directories in version {version}", "DescribeLogDirs", version, {"Topics": [{"Topic": t, "Partitions": [0, 0, 9, -1]}, {"Topic": "cluster.none", "Partitions": [0]}]})
        s.ask(f"directories without topics in version {version}", "DescribeLogDirs", version, {"Topics": []})
    for version in range(2):
        s.ask(f"features in version {version}", "UpdateFeatures", version, {"timeoutMs": 1000, "FeatureUpdates": [{"Feature": "x", "MaxVersionLevel": 1, "UpgradeType": 1}]})
        s.ask(f"no features in version {version}", "UpdateFeatures", version, {"timeoutMs": 1000})
        s.ask(f"features twice in version {version}", "UpdateFeatures", version, {"timeoutMs": 1000, "FeatureUpdates": [{"Feature": "x", "MaxVersionLevel": 1}] * 2})
    for kind in 0, 4, -1:
        s.ask(f"features of type {kind}", "UpdateFeatures", 1, {"timeoutMs": 1000, "FeatureUpdates": [{"Feature": "x", "MaxVersionLevel": 0, "UpgradeType": kind}], "ValidateOnly": 1})
    s.ask("a feature without a name", "UpdateFeatures", 1, {"timeoutMs": 1000, "FeatureUpdates": [{"Feature": "", "MaxVersionLevel": 1}]})
    for version in range(4):
        s.ask(f"permissions without an authorizer in version {version}", "DescribeAcls", version, {"ResourceTypeFilter": 1, "PatternTypeFilter": 3, "Operation": 1, "PermissionType": 1})
        s.ask(f"a permission without an authorizer in version {version}", "CreateAcls", version, {"Creations": [
            {"ResourceType": 2, "ResourceName": t, "ResourcePatternType": 3, "Principal": "User:x", "Host": "*", "Operation": 3, "PermissionType": 3}]})
        s.ask(f"no permission without an authorizer in version {version}", "DeleteAcls", version, {"Filters": [{"ResourceTypeFilter": 1, "PatternTypeFilter": 3, "Operation": 1, "PermissionType": 1}]})
    s.ask("a feature below zero", "UpdateFeatures", 1, {"timeoutMs": 1000, "FeatureUpdates": [{"Feature": "x", "MaxVersionLevel": -1}]})


def tell_of_brokers(s):
    t = "brokers"
    s.make_topics(t, "brokers.twice")
    for version in range(4):
        s.ask(f"a stranger stops in version {version}", "ControlledShutdown", version, {"BrokerId": 77, "BrokerEpoch": -1})
        s.ask(f"a broker below zero stops in version {version}", "ControlledShutdown", version, {"BrokerId": -1, "BrokerEpoch": -1})
    s.ask("an old broker stops", "ControlledShutdown", 3, {"BrokerId": 0, "BrokerEpoch": 1})
    s.ask("ids for an old broker", "AllocateProducerIds", 0, {"BrokerId": 0, "BrokerEpoch": 1})
    s.ask("ids for a stranger", "AllocateProducerIds", 0, {"BrokerId": 9, "BrokerEpoch": 5})
    for version in range(4):
        partition = {"TopicName": t, "TopicId": s.topic_id(t), "Partitions": [{"PartitionIndex": 0, "LeaderEpoch": 0, "NewIsr": [0], "NewIsrWithEpochs": [{"BrokerId": 0}]}]}
        s.ask(f"a stranger's ISR in version {version}", "AlterPartition", version, {"BrokerId": 9, "BrokerEpoch": 5, "Topics": [partition]})
        s.ask(f"an old broker's ISR in version {version}", "AlterPartition", version, {"BrokerId": 0, "BrokerEpoch": 1, "Topics": [partition]})
        s.ask(f"no ISR in version {version}", "AlterPartition", version, {"BrokerId": 0, "BrokerEpoch": 1})
    for version in range(8):
        s.ask(f"an old controller lets lead in version {version}", "LeaderAndIsr", version, {"ControllerId": 0, "ControllerEpoch": 0, "BrokerEpoch": -1})
        s.ask(f"for an old broker in version {version}", "LeaderAndIsr", version, {"ControllerId": 0, "ControllerEpoch": 1, "BrokerEpoch": 1}) if version >= 2 else None
    for version in range(9):
        s.ask(f"an old controller tells in version {version}", "UpdateMetadata", version, {"ControllerId": 0, "ControllerEpoch": 0, "BrokerEpoch": -1})
        s.ask(f"tells an old broker in version {version}", "UpdateMetadata", version, {"ControllerId": 0, "ControllerEpoch": 1, "BrokerEpoch": 1}) if version >= 5 else None
    for version in range(5):
        s.ask(f"an old controller stops in version {version}", "StopReplica", version, {"ControllerId": 0, "ControllerEpoch": 0, "BrokerEpoch": -1})
        s.ask(f"nothing is stopped in version {version}", "StopReplica", version, {"ControllerId": 0, "ControllerEpoch": 1, "BrokerEpoch": -1})
        s.ask(f"an unknown one is stopped in version {version}", "StopReplica", version, {
            "ControllerId": 0, "ControllerEpoch": 1, "BrokerEpoch": -1, "UngroupedPartitions": [{"TopicName": "brokers.none", "PartitionIndex": 0}],
            "Topics": [{"Name": "brokers.none", "PartitionIndexes": [0]}], "TopicStates": [{"TopicName": "brokers.none", "PartitionStates": [{"PartitionIndex": 0, "LeaderEpoch": 0}]}]})
    for version in range(2):
        s.ask(f"markers in version {version}", "WriteTxnMarkers", version, {"Markers": [
            {"ProducerId": 4000, "TransactionResult": 1, "CoordinatorEpoch": -5, "Topics": [{"Name": "brokers.none", "PartitionIndexes": [0]}, {"Name": t, "PartitionIndexes": [0, 9, -1]}]}]})
        s.ask(f"no markers in version {version}", "WriteTxnMarkers", version, {})
    s.ask("markers of nothing", "WriteTxnMarkers", 1, {"Markers": [{"ProducerId": 4001, "TransactionResult": 1}]})
    s.ask("markers for a partition twice", "WriteTxnMarkers", 1, {"Markers": [{"ProducerId": 4004, "Topics": [{"Name": "brokers.twice", "PartitionIndexes": [0, 0]}]}]}, patience=SHORT)
    s.ask("markers of a producer twice", "WriteTxnMarkers", 1, {"Markers": [{"ProducerId": 4002, "CoordinatorEpoch": 0, "Topics": [{"Name": t, "PartitionIndexes": [1]}]}] * 2})
    s.ask("markers of an older coordinator", "WriteTxnMarkers", 1, {"Markers": [{"ProducerId": 4002, "CoordinatorEpoch": -1, "Topics": [{"Name": t, "PartitionIndexes": [1]}]}]})
    s.ask("markers below zero", "WriteTxnMarkers", 1, {"Markers": [{"ProducerId": -1, "ProducerEpoch": -1, "Topics": [{"Name": t, "PartitionIndexes": [2]}]}]})
    s.ask("markers for groups", "WriteTxnMarkers", 1, {"Markers": [{"ProducerId": 4003, "Topics": [{"Name": "__consumer_offsets", "PartitionIndexes": [0]}]}]})
    tell_what_is_in(s, t)


CHAPTERS = [tell_of_produce, tell_of_old_produce, tell_of_fetch, tell_of_fetch_sessions, tell_of_list_offsets, tell_of_leader_epochs, tell_of_delete_records,
            tell_of_metadata, tell_of_create_topics, tell_of_create_partitions, tell_of_delete_topics, tell_of_configs, tell_of_joins, tell_of_commits,
            tell_of_coordinators, tell_of_producers, tell_of_transactions, tell_of_the_cluster, tell_of_brokers]

# By reason: chapters, and what is asked in them.
REASONS = {
    "What cannot be unpacked is told of as a record that is not valid, not as an error of the server.": {
        "produce": ["codec 5", "codec 7", "gzip that is none", "gzip of nothing", "snappy that is none", "snappy of nothing", "lz4 that is none", "lz4 of nothing",
                    "zstd that is none", "gzip that is cut"],
        "old_produce": [*(f"codec {i} that is none" for i in range(1, 8)), "gzip of magic 0 in magic 1", "gzip in gzip", "gzip of nothing", "gzip without a value"]},
    "A time that cannot be is told of as that, not as an error of the server.": {"old_produce": ["a timestamp of -5"]},
    "A set without a whole message is refused: its producer would take it for written.": {"old_produce": ["cut short"]},
    "Deltas are put in order, where Kafka's log then has records that lie outside of their batch.": {"produce": ["the records of produce 0"]},
    "Kafka's handler fails and never answers.": {
        "produce": ["null"], "configs": ["replaced twice"], "joins": ["a protocol twice"], "commits": ["nothing in version 8", "nothing in version 9"],
        "transactions": ["nothing is asked"], "brokers": ["markers for a partition twice"]},
    "Kafka's handler fails, and answers with an error of the server, or with nothing filled in.": {
        "metadata": ["neither name nor id"], "create_topics": ["assigned: a partition below zero"], "create_partitions": ["no name"],
        "configs": ["operation 4", "operation 9", "operation -1"], "the_cluster": ["in some way"]},
    "What is named twice is answered twice; it is done once.": {
        "produce": ["a topic twice"], "create_partitions": ["twice"], "commits": ["offsets"], "the_cluster": ["of what is not there", "twice", "features twice in version 0", "features twice in version 1"]},
    "A topic named without partitions is in the answer.": {"produce": ["no partitions"], "delete_records": ["no partitions"], "commits": ["no partitions"]},
    "A contradiction in what is ordered is refused; Kafka takes the last.": {"create_topics": ["assigned: a partition twice"]},
    "Replicas are not ordered from a broker that can never be.": {"create_topics": ["assigned: a broker below zero"]},
    "What is refused is not described.": {"create_topics": ["assigned: no brokers"]},
    "Kafka's controller knows the id of a deleted topic a while longer; here it is unknown, and the answer to an id has no name then.": {
        "delete_topics": ["by id twice", "by id and another"]},
    "The answer names the topic and its id, however it was asked for.": {"delete_topics": ["by name and by id", "with a timeout of 0", "with a timeout of -1"]},
    "Nobody is forbidden anything without an authorizer.": {"delete_topics": ["neither name nor id"]},
    "Of a log without records nothing is told that was in it.": {"list_offsets": ["at -3 when all is deleted"]},
    "Records without a time have no largest one.": {"list_offsets": ["without times at -3"]},
    "An epoch below zero was never led in.": {"leader_epochs": [f"in version {i}" for i in range(5)]},
    "A logger that others are below is there, whether or not it is configured.": {"configs": ["the logger kafka INFO 0", "the logger kafka None 1", "the logger kafka nope 0"]},
    "What is said of a name ends at a zero byte.": {"create_topics": ["a NUL in the name"], "configs": ["2 a\0b", "of 2 a\0b"]},
    "The broker that was named is told, not the own one twice.": {"configs": ["the loggers of another"]},
    "Only what is there is advertised.": {"the_cluster": [f"versions in version {i}" for i in range(5)] + ["versions for aaaaaaaaa 1"]},
}


@pytest.fixture(scope="module")
def tellers(ensemble, tmp_path_factory):
    """One for Apache's broker and one for barnabas, which have nothing of each other."""
    made = []
    for kind in Apache, Barnabas:
        folder = tmp_path_factory.mktemp(kind.__name__)
        broker = kind(ensemble.chroot(), folder / "data", folder / "broker.log", {
            "auto_create_topics_enable": "false", "offsets_topic_num_partitions": 1, "transaction_state_log_num_partitions": 1, "log_cleaner_enable": "false", "log_retention_ms": -1})
        broker.start()
        made.append(Teller(broker))
    for s in made:
        s.broker.cluster = s.get("DescribeCluster", 0)["ClusterId"]
        for kind in 0, 1:
            wait_until(lambda s=s, kind=kind: s.get("FindCoordinator", 2, {"Key": "x", "KeyType": kind})["ErrorCode"] == 0, "a coordinator")
        s.until_served("OffsetFetch", 7, {"GroupId": "x", "Topics": None})
        s.until_served("InitProducerId", 4, {"TransactionalId": "x", "TransactionTimeoutMs": 1000})
    yield made
    for s in made:
        s.close()
        s.broker.stop()
    for s in made:
        s.broker.check_log()


def differences(a, b, where=""):
    """(path, Apache's, ours) of each field that is not the same."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        for k in a:
            yield from differences(a[k], b[k], f"{where}.{k}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differences(x, y, f"{where}[{i}]")
    elif a != b and not (where.endswith("ErrorMessage") and a is None):  # where Kafka says nothing more than the error, there may be words
        yield where, a, b


def tell_both(tellers, chapter):
    failed = []

    def tell(s):
        s.told, s.ids = [], {}
        try:
            chapter(s)
        except BaseException as e:
            failed.append(e)
    threads = [threading.Thread(target=tell, args=(s,)) for s in tellers]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for e in failed:
        raise e
    return [s.told for s in tellers]


def name_of(chapter):
    return chapter.__name__.removeprefix("tell_of_")


@pytest.mark.parametrize("chapter", CHAPTERS, ids=name_of)
def test_the_same_answers(tellers, chapter):
    theirs, mine = tell_both(tellers, chapter)
    assert [t[:2] for t in theirs] == [t[:2] for t in mine]
    expected = {what for reason in REASONS.values() for what in reason.get(name_of(chapter), ())}
    lines, seen = [], set()
    for (what, api, a), (_, _, b) in zip(theirs, mine):
        found = [f"{what} ({api}){where}: Apache {x!r}, ours {y!r}" for where, x, y in differences(a, b)]
        seen |= {what} if found else set()
        lines += found if what not in expected else []
    assert not lines, "\n" + "\n".join(lines)
    assert expected <= seen, f"does not differ any more: {expected - seen}"
