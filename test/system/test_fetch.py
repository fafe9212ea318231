"""Fetch by hand: limits, waiting, sessions."""

import select
import struct

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic
from harness import PATIENCE, Apache, Barnabas, connect, consume, frame, kcat, produce, read_frame, wait_until
from messages import Asker, read_response
from test_acls import AUTHORIZER, allow

FETCH = 1
UNKNOWN_TOPIC, TOPIC_DENIED, UNSUPPORTED_VERSION = 3, 29, 35


class Fetcher:
    """Fetch version 7 of one topic."""

    def __init__(self, broker, topic="t"):
        self.sock, self.topic = connect(broker), topic.encode()

    def ask(self, partitions, session=0, epoch=-1, max_wait=0, min_bytes=0, max_bytes=50 << 20, forgotten=()):
        """partitions: {index: (offset, max bytes)}. Answers (error, session, {index: (error, watermark, records)})."""
        body = struct.pack(">iiiibii", -1, max_wait, min_bytes, max_bytes, 0, session, epoch)
        body += struct.pack(">i", 1 if partitions else 0)
        if partitions:
            body += struct.pack(">h", len(self.topic)) + self.topic + struct.pack(">i", len(partitions))
            for index, (offset, most) in partitions.items():
                body += struct.pack(">iqqi", index, offset, -1, most)
        body += struct.pack(">i", 1 if forgotten else 0)
        if forgotten:
            body += struct.pack(">h", len(self.topic)) + self.topic + struct.pack(f">i{len(forgotten)}i", len(forgotten), *forgotten)
        self.sock.sendall(frame(FETCH, 7, body))
        return self.parse(read_frame(self.sock)[4:])

    @staticmethod
    def parse(data):
        def take(fmt):
            nonlocal data
            size = struct.calcsize(">" + fmt)
            values, data = struct.unpack(">" + fmt, data[:size]), data[size:]
            return values if len(values) > 1 else values[0]

        _, error, session, topics = take("ihii")
        found = {}
        for _ in range(topics):
            data = data[2 + struct.unpack(">h", data[:2])[0]:]
            for _ in range(take("i")):
                index, code, watermark, _, _, aborted, length = take("ihqqqii")
                assert aborted == (0 if code == 3 else -1)  # nothing is said of any, but of what nobody has
                found[index], data = (code, watermark, data[:max(length, 0)]), data[max(length, 0):]
        assert data == b""
        return error, session, found


def batch_sizes(records):
    sizes = []
    while len(records) >= 12:
        size = struct.unpack(">i", records[8:12])[0] + 12
        if size > len(records):
            break
        sizes.append(size)
        records = records[size:]
    return sizes, len(records)


@pytest.fixture
def filled(broker):
    """Two partitions with five batches of about 10 KB each."""
    kcat(broker, "-L", "-t", "t")
    for _ in range(5):
        produce(broker, "t", ["x" * 1000] * 10, "-p", "0", "-X", "linger.ms=60000", "-X", "batch.num.messages=10")
    return broker


def test_a_limit_cuts_but_the_first_batch_is_whole(filled):
    fetcher = Fetcher(filled)
    _, _, found = fetcher.ask({0: (0, 1 << 20)})
    sizes, rest = batch_sizes(found[0][2])
    assert len(sizes) == 5 and rest == 0 and found[0][:2] == (0, 50)
    _, _, found = fetcher.ask({0: (0, 15000)})
    assert len(batch_sizes(found[0][2])[0]) == 1 and len(found[0][2]) <= 15000
    _, _, found = fetcher.ask({0: (0, 1)})
    assert batch_sizes(found[0][2]) == ([sizes[0]], 0)
    _, _, found = fetcher.ask({0: (0, 1 << 20)}, max_bytes=1)
    assert batch_sizes(found[0][2]) == ([sizes[0]], 0)
    _, _, found = fetcher.ask({0: (25, 1)})
    assert struct.unpack(">q", found[0][2][:8])[0] == 20  # the batch that holds it


def test_offsets_out_of_range_are_refused(filled):
    fetcher = Fetcher(filled)
    for offset in (51, 10**9, -1):
        assert fetcher.ask({0: (offset, 1000)})[2][0][0] == 1
    assert fetcher.ask({0: (50, 1000)})[2][0] == (0, 50, b"")
    assert fetcher.ask({99: (0, 1000)})[2][99][0] == 3


def test_it_waits_for_enough_and_no_longer(filled):
    fetcher, other = Fetcher(filled), Fetcher(filled)
    assert fetcher.ask({0: (50, 1 << 20)}, max_wait=200, min_bytes=1)[2][0] == (0, 50, b"")
    fetcher.sock.settimeout(30)
    body_after = fetcher.ask({0: (40, 1 << 20)}, max_wait=60000, min_bytes=5000)  # is there already: no wait of a minute
    assert len(body_after[2][0][2]) > 5000
    assert other.ask({0: (0, 1 << 20)})[2][0][0] == 0


def test_an_old_consumer_waits_behind_a_marker(broker):
    """Of a marker nothing is left in an old format."""
    produce(broker, "t", ["nothing"])
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "x"})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce("t", "one")
    producer.commit_transaction()
    with connect(broker) as sock:
        sock.sendall(frame(FETCH, 3, struct.pack(">iiiiih1siiqi", -1, 60000, 1, 1 << 20, 1, 1, b"t", 1, 0, 2, 1 << 20)))
        for _ in range(20):
            consume(broker, "t")
            assert not select.select([sock], [], [], 0)[0]
        produce(broker, "t", ["two"])
        assert b"two" in read_frame(sock)


def test_a_session_tells_only_what_has_changed(filled):
    fetcher = Fetcher(filled)
    error, session, found = fetcher.ask({0: (50, 1 << 20)}, epoch=0)
    assert error == 0 and session > 0 and found[0] == (0, 50, b"")
    assert fetcher.ask({}, session, 1) == (0, session, {})
    produce(filled, "t", ["new"], "-p", "0")
    error, _, found = fetcher.ask({}, session, 2, max_wait=10000, min_bytes=1)
    assert error == 0 and found[0][1] == 51 and b"new" in found[0][2]
    assert fetcher.ask({0: (51, 1 << 20)}, session, 3) == (0, session, {})
    assert fetcher.ask({}, session, 7)[0] == 71  # INVALID_FETCH_SESSION_EPOCH
    assert fetcher.ask({}, session + 12345, 4)[0] == 70  # FETCH_SESSION_ID_NOT_FOUND
    assert fetcher.ask({}, session, -1)[1] == 0  # closed
    assert fetcher.ask({}, session, 4)[0] == 70


def test_a_session_without_partitions_ends(filled):
    fetcher = Fetcher(filled)
    _, session, _ = fetcher.ask({0: (50, 1 << 20)}, epoch=0)
    assert fetcher.ask({}, session, 1, forgotten=[0]) == (0, 0, {})
    assert fetcher.ask({}, session, 2)[0] == 70


def patient_fetch(topics, session=0, epoch=-1):
    """Of (topic, offset): it waits for a minute."""
    asked = [{"Topic": topic, "Partitions": [{"Partition": 0, "FetchOffset": offset, "PartitionMaxBytes": 1 << 20}]} for topic, offset in topics]
    return {"ReplicaId": -1, "MaxWaitMs": 60000, "MinBytes": 1, "MaxBytes": 1 << 20, "SessionId": session, "SessionEpoch": epoch, "Topics": asked}


def told(answer):
    return {t["Topic"]: (p["ErrorCode"], bool(p["Records"])) for t in answer["Responses"] for p in t["Partitions"]}


@pytest.mark.parametrize("kind", [Barnabas, Apache])
def test_what_cannot_be_read_is_told_with_what_can(make_broker, zookeeper, kind):
    """A consumer that asks for it as well would otherwise be answered, and ask again, all the time."""
    broker = make_broker(kind=kind, **AUTHORIZER, **{"allow.everyone.if.no.acl.found": "true", "auto.create.topics.enable": "false"})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1)])["t"].result(PATIENCE)
    allow(zookeeper, "secret", ("User:another", "Allow", "All"))
    refused = {"secret": (TOPIC_DENIED, False), "unknown": (UNKNOWN_TOPIC, False)}
    offset = 0

    def waits_for_records(asker, tree):
        nonlocal offset
        asker.send(FETCH, 12, tree)
        assert not select.select([asker.sock], [], [], 0.3)[0]
        offset += 1
        produce(broker, "t", ["x"])
        answer = read_response(FETCH, 12, asker.receive())[1]
        assert told(answer) == {"t": (0, True), **refused}
        return answer["SessionId"]

    with Asker(broker) as asker:
        wait_until(lambda: told(asker.get("Fetch", 12, patient_fetch([("secret", 0)]))) == {"secret": (TOPIC_DENIED, False)}, "the ACL")
        for epoch in (-1, 0):
            assert told(asker.get("Fetch", 12, patient_fetch([("secret", 0), ("unknown", 0)], epoch=epoch))) == refused
        waits_for_records(asker, patient_fetch([("secret", 0), ("t", offset), ("unknown", 0)]))
        session = waits_for_records(asker, patient_fetch([("secret", 0), ("t", offset), ("unknown", 0)], epoch=0))
        assert session > 0
        for epoch in (1, 2):
            waits_for_records(asker, patient_fetch([("t", offset)], session, epoch))


def fetch_by(broker, version):
    """(error, whether there are records) of the first partition of "t", asked for as clients of that time did."""
    head = struct.pack(">iii", -1, 0, 0) + (struct.pack(">i", 1 << 20) if version >= 3 else b"") + (b"\0" if version >= 4 else b"")
    with connect(broker) as sock:
        sock.sendall(frame(FETCH, version, head + struct.pack(">i", 1) + b"\0\1t" + struct.pack(">iiqi", 1, 0, 0, 1 << 20)))
        answer = read_frame(sock)[4 + (4 if version >= 1 else 0) + 4 + 3 + 4:]
    _, error, _ = struct.unpack(">ihq", answer[:14])
    return error, len(answer) > 14 + (12 if version >= 4 else 0) + 4


@pytest.mark.parametrize("kind", [Barnabas, Apache])
def test_old_consumers_get_nothing_where_that_is_set(make_broker, kind):
    broker = make_broker(kind=kind, log_message_downconversion_enable="false")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    topic = ConfigResource(ConfigResource.Type.TOPIC, "t")
    admin.create_topics([NewTopic("t", 1, 1)])["t"].result(PATIENCE)
    produce(broker, "t", ["a"])
    assert [fetch_by(broker, v) for v in (0, 1, 2, 3)] == [(UNSUPPORTED_VERSION, False)] * 4
    assert fetch_by(broker, 4) == (0, True)
    topic.add_incremental_config(ConfigEntry("message.downconversion.enable", "true", incremental_operation=AlterConfigOpType.SET))
    admin.incremental_alter_configs([topic])[topic].result(PATIENCE)
    wait_until(lambda: [fetch_by(broker, v) for v in (0, 1, 2, 3)] == [(0, True)] * 4, "the topic's own setting")
