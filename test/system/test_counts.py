"""What is counted, request by request: as often as Apache's broker counts it."""

import gzip
import random
import signal
import socket
import ssl
import struct
import time

import confluent_kafka
import pytest
from batches import make_batch, make_message, make_record
from certificates import Authority
from confluent_kafka.admin import AdminClient, NewTopic
from harness import Apache, Barnabas, connect, frame, free_port, produce, read_frame, receive, wait_until
from messages import SCHEMAS, Asker, errors_in, read_response
from test_answers import fetch
from test_answers import produce as tree_of_produce
from test_exporter import jolokia, samples, scrape, told, with_agent  # noqa: F401 (a fixture)
from test_fetch import Fetcher
from test_slow_peers import BIG, fetch_all, fill, lazy

TOPICS = "kafka_server_brokertopicmetrics_"
REQUESTS = "kafka_network_requestmetrics_"


class Counts:
    """How much more is counted than when it was asked last."""

    def __init__(self, broker):
        self.port, self.seen = broker.http, {}
        self.values = samples(scrape(self.port))

    def more(self, name, **labels):
        """Of one that is there already, or is to be."""
        key = name, tuple(sorted(labels.items()))
        now = samples(scrape(self.port)).get(key, 0)
        found, self.seen[key] = now - self.seen.get(key, self.values.get(key, 0)), now
        return found


def create(broker, topic, partitions):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result()


def test_a_fetch_counts_once_for_each_partition(told):  # noqa: F811
    """However often the broker looks, and also those of a session that lie idle."""
    create(told, "t", 2)
    counts, fetcher, both = Counts(told), Fetcher(told), {0: (0, 1 << 20), 1: (0, 1 << 20)}

    def fetches():
        of_broker, of_topic = counts.more(TOPICS + "totalfetchrequests_total"), counts.more(TOPICS + "totalfetchrequests_total", topic="t")
        assert of_broker == of_topic
        return of_topic
    fetcher.ask(both, max_wait=50, min_bytes=1)
    assert fetches() == 2
    fetcher.ask({0: (7, 1 << 20)})  # out of range
    assert fetches() == 1
    _, session, _ = fetcher.ask(both, epoch=0)
    assert fetches() == 2
    for epoch in range(1, 4):
        fetcher.ask({}, session, epoch)
    assert fetches() == 6
    fetcher.ask({}, session, 4, forgotten=[1])
    assert fetches() == 1


def test_fetches_of_many_partitions_are_counted_together(told):  # noqa: F811
    """Not at each fetch: but none is lost."""
    create(told, "t", 20)
    counts, fetcher = Counts(told), Fetcher(told)
    _, session, _ = fetcher.ask({i: (0, 1 << 20) for i in range(20)}, epoch=0)
    for epoch in range(1, 10):
        fetcher.ask({}, session, epoch)
    fetcher.ask({}, session, -1)
    assert counts.more(TOPICS + "totalfetchrequests_total", topic="t") == 200


def test_a_broker_stops_with_fetches_that_it_has_not_counted_yet(told):  # noqa: F811
    create(told, "t", 20)
    fetcher = Fetcher(told)
    _, session, _ = fetcher.ask({i: (0, 1 << 20) for i in range(20)}, epoch=0)
    for epoch in range(1, 4):
        fetcher.ask({}, session, epoch)
    told.stop()
    told.check_log()


def test_a_fetch_that_is_refused_for_its_session_is_a_consumers(told):  # noqa: F811
    name, fetcher = REQUESTS + "totaltimems_count", Fetcher(told)
    assert fetcher.ask({}, 12345, 1)[0] == 70  # FETCH_SESSION_ID_NOT_FOUND

    def count(request):
        return samples(scrape(told.http)).get((name, (("request", request),)))
    wait_until(lambda: count("FetchConsumer") == 1, "the fetch that was answered")
    assert count("Fetch") == 1


def test_what_coordinators_append_is_produced_too(told):  # noqa: F811
    """The positions of a group, and the state of a transaction with its marker."""
    create(told, "t", 1)
    producer = confluent_kafka.Producer({"bootstrap.servers": told.bootstrap, "transactional.id": "x"})
    producer.init_transactions()
    counts, total, failed = Counts(told), TOPICS + "totalproducerequests_total", TOPICS + "failedproducerequests_total"
    producer.begin_transaction()
    producer.produce("t", b"x")
    producer.commit_transaction()
    consumer = confluent_kafka.Consumer({"bootstrap.servers": told.bootstrap, "group.id": "g"})
    consumer.commit(offsets=[confluent_kafka.TopicPartition("t", 0, 1)], asynchronous=False)
    consumer.close()
    assert counts.more(total, topic="t") == 2
    assert counts.more(total, topic="__consumer_offsets") == 1
    wait_until(lambda: samples(scrape(told.http))[(total, (("topic", "__transaction_state"),))] == 4, "that it is complete")
    assert counts.more(total) == 2 + 1 + 3
    assert counts.more(failed) == 0


def test_conversions_take_time_and_memory(told):  # noqa: F811
    """Of records that a topic has in another codec, and of those that a consumer of old wants in another format."""
    admin = AdminClient({"bootstrap.servers": told.bootstrap})
    admin.create_topics([NewTopic("t", 1, 1, config={"compression.type": "gzip"})])["t"].result()
    size = 2 << 20
    producer = confluent_kafka.Producer({"bootstrap.servers": told.bootstrap, "linger.ms": 1000, "batch.size": 900_000})
    for _ in range(size // 1000):
        producer.produce("t", random.randbytes(500).hex().encode())
    assert producer.flush(60) == 0
    with connect(told) as sock:  # version 2 of Fetch
        sock.sendall(frame(1, 2, struct.pack(">iiiih1siiqi", -1, 0, 1, 1, 1, b"t", 1, 0, 0, 4 * size)))
        assert len(read_frame(sock)) > size // 2

    def sums(request):
        beans = [jolokia(told.http, f"read/kafka.network:type=RequestMetrics,name={what},request={request}")["value"] for what in ("MessageConversionsTimeMs", "TemporaryMemoryBytes")]
        return [bean["Count"] * bean["Mean"] for bean in beans]
    for request in "Produce", "Fetch":
        wait_until(lambda request=request: sums(request)[1] > 0, f"the end of the {request}")
        ms, memory = sums(request)
        assert ms > 0 and memory > size // 2


def test_a_commit_counts_once(told):  # noqa: F811
    """Of however many partitions it is."""
    create(told, "t", 3)
    consumer = confluent_kafka.Consumer({"bootstrap.servers": told.bootstrap, "group.id": "g"})
    for offset in 0, 1:
        consumer.commit(offsets=[confluent_kafka.TopicPartition("t", p, offset) for p in range(3)], asynchronous=False)
    consumer.close()
    assert jolokia(told.http, "read/kafka.server:type=group-coordinator-metrics/offset-commit-count")["value"] == 2


def test_what_is_not_on_all_in_time_counts_for_each_partition(make_broker):
    port = free_port()
    brokers = [make_broker(data=f"data-{i}", **{"broker.id": i, "barnabas.http.listeners": f"METRICS://127.0.0.1:{port}" if i == 0 else "", "min.insync.replicas": 1}) for i in range(2)]
    admin = AdminClient({"bootstrap.servers": brokers[0].bootstrap})
    admin.create_topics([NewTopic("t", 3, replica_assignment=[[0, 1]] * 3)])["t"].result()
    wait_until(lambda: all(len(p.isrs) == 2 for p in admin.list_topics("t").topics["t"].partitions.values()), "both to be in sync")
    brokers[1].process.send_signal(signal.SIGSTOP)
    try:
        producer = confluent_kafka.Producer({"bootstrap.servers": brokers[0].bootstrap, "request.timeout.ms": 1000, "retries": 0, "linger.ms": 100})
        for partition in 0, 1:
            producer.produce("t", b"x", partition=partition)
        assert producer.flush(60) == 0

        def expired(more=""):
            return jolokia(port, f"read/kafka.server:type=DelayedProduceMetrics,name=ExpiresPerSec{more}/Count")
        assert wait_until(lambda: expired()["value"], "the end of the time") == 2
        assert [expired(f",topic=t,partition={p}").get("value") for p in range(3)] == [1, 1, None]
        values = samples(scrape(port))
        assert values["barnabas_purgatory_expired_total", (("operation", "Produce"),)] == 2
    finally:
        brokers[1].process.send_signal(signal.SIGCONT)


def test_a_fetcher_counts_what_it_appends(make_broker):
    """Not what is around it in answers, nor answers without."""
    ports = free_port(), free_port()
    first, second = (make_broker(data=f"data-{i}", **{"broker.id": i, "barnabas.http.listeners": f"METRICS://127.0.0.1:{ports[i]}"}) for i in range(2))
    admin = AdminClient({"bootstrap.servers": first.bootstrap})
    admin.create_topics([NewTopic("t", 1, replica_assignment=[[0, 1]])])["t"].result()
    producer = confluent_kafka.Producer({"bootstrap.servers": f"{first.bootstrap},{second.bootstrap}", "linger.ms": 0})
    for _ in range(10):
        producer.produce("t", b"x" * 1000)
        assert producer.flush(60) == 0

    def size(port):
        return jolokia(port, "read/kafka.log:type=Log,name=Size,topic=t,partition=0/Value")["value"]
    assert wait_until(lambda: size(ports[1]) == size(ports[0]) > 10000, "the copy")

    def fetched():
        (found,) = jolokia(ports[1], "read/kafka.server:type=FetcherStats,name=BytesPerSec,*/Count")["value"].values()
        return found["Count"]
    wait_until(lambda: fetched() == size(ports[1]), "the count of all of it")


@pytest.mark.parametrize("version, cipher, protocol", [(ssl.TLSVersion.TLSv1_3, "TLS_AES_256_GCM_SHA384", "TLSv1.3"), (ssl.TLSVersion.TLSv1_2, "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLSv1.2")])
def test_connections_are_told_apart_by_their_ciphers(make_broker, tmp_path, version, cipher, protocol):
    """By the names that Java has, also in the dialect that has a rule for them; and no longer than they are open."""
    authority, port, secure = Authority(tmp_path / "ca"), free_port(), free_port()
    make_broker(each=lambda broker: {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SSL://127.0.0.1:{secure}"},
                **{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "num.network.threads": 1, "ssl.keystore.type": "PEM", "ssl.keystore.location": authority.issue("server")})
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    def found():
        return {(name, key): value for (name, key), value in samples(scrape(port)).items() if "cipher" in dict(key)}
    with socket.create_connection(("127.0.0.1", secure)) as one, context.wrap_socket(one), socket.create_connection(("127.0.0.1", secure)) as two, context.wrap_socket(two):
        assert wait_until(lambda: set((now := found()).values()) == {2} and now, "both") == {
            ("kafka_server_socket_server_metrics_connections_tls_info", (("cipher", cipher), ("listener", "SSL"), ("networkProcessor", "0"), ("protocol", protocol))): 2,
            ("barnabas_tls_cipher_connections", (("cipher", cipher), ("listener", "SSL"), ("loop", "0"), ("protocol", protocol))): 2}
    wait_until(lambda: found() == {}, "the end of both")


# ---- In which phase of a request time counts ----

PHASES = ["RequestQueueTimeMs", "LocalTimeMs", "RemoteTimeMs", "ResponseQueueTimeMs", "ResponseSendTimeMs", "TotalTimeMs"]
HOLD = 2  # seconds


def spent(port, request):
    """Milliseconds in each phase, of all such requests together, and how many were answered."""
    beans = jolokia(port, body=[{"type": "read", "mbean": f"kafka.network:type=RequestMetrics,name={phase},request={request}"} for phase in PHASES])
    found = {phase: bean["value"]["Count"] * bean["value"]["Mean"] for phase, bean in zip(PHASES, beans)}
    return found, beans[-1]["value"]["Count"]


def waiting(port, operation):
    return jolokia(port, f"read/kafka.server:type=DelayedOperationPurgatory,name=PurgatorySize,delayedOperation={operation}/Value")["value"]


def check_phase(port, request, phase, ask, is_held, release):
    """What a request is held up for counts there, and nothing of it anywhere else: all phases together are no longer than it was under way."""
    (before, count), begun = spent(port, request), time.monotonic()
    ask()
    wait_until(is_held, "what holds it up")
    held_since = time.monotonic()
    time.sleep(HOLD)
    held = 1000 * (time.monotonic() - held_since)
    release()
    wait_until(lambda: spent(port, request)[1] == count + 1, "the count of it")
    under_way = 1000 * (time.monotonic() - begun)
    now, _ = spent(port, request)
    more = {p: now[p] - before[p] for p in PHASES}
    total = more.pop("TotalTimeMs")
    rounding = len(PHASES)
    assert abs(sum(more.values()) - total) <= rounding, (more, total)
    assert 0.9 * held < more[phase] <= total + rounding and total <= under_way + 1, (more, total, held, under_way)


def test_waiting_for_a_follower_is_remote_time(make_broker):
    port, patient = free_port(), {"zookeeper.session.timeout.ms": 30000, "controlled.shutdown.enable": "false"}
    brokers = [make_broker(data=f"data-{i}", **{"broker.id": i, **patient, "barnabas.http.listeners": f"METRICS://127.0.0.1:{port}" if i == 0 else ""}) for i in range(2)]
    admin = AdminClient({"bootstrap.servers": brokers[0].bootstrap})
    admin.create_topics([NewTopic("t", 1, replica_assignment=[[0, 1]])])["t"].result()
    wait_until(lambda: len(admin.list_topics("t").topics["t"].partitions[0].isrs) == 2, "both to be in sync")
    with Asker(brokers[0]) as asker:
        brokers[1].process.send_signal(signal.SIGSTOP)
        try:
            check_phase(port, "Produce", "RemoteTimeMs",
                        lambda: asker.send(SCHEMAS["Produce"].key, 9, {"Acks": -1, "TimeoutMs": 60000, "TopicData": [{"Name": "t", "PartitionData": [{"Index": 0, "Records": make_batch()}]}]}),
                        lambda: waiting(port, "Produce") == 1, lambda: brokers[1].process.send_signal(signal.SIGCONT))
        finally:
            brokers[1].process.send_signal(signal.SIGCONT)
        assert errors_in(read_response(SCHEMAS["Produce"].key, 9, asker.receive())[1]) == {0}


def test_waiting_for_records_is_remote_time(told):  # noqa: F811
    create(told, "t", 1)
    with Asker(told) as asker:
        wanted = [{"Topic": "t", "Partitions": [{"Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1 << 20}]}]
        check_phase(told.http, "FetchConsumer", "RemoteTimeMs",
                    lambda: asker.send(SCHEMAS["Fetch"].key, 11, {"ReplicaId": -1, "MaxWaitMs": 60000, "MinBytes": 1, "MaxBytes": 1 << 20, "SessionEpoch": -1, "Topics": wanted}),
                    lambda: waiting(told.http, "Fetch") == 1, lambda: produce(told, "t", ["x"]))
        assert isinstance(asker.receive(), bytes)


def test_who_does_not_read_makes_sending_long(told):  # noqa: F811
    fill(told)
    peer, sizes = lazy(told, "big", asks=False), []

    def is_sent():
        sizes.append(struct.unpack(">i", receive(peer, 4))[0])
        return sizes[0] > BIG
    check_phase(told.http, "FetchConsumer", "ResponseSendTimeMs", lambda: peer.sendall(fetch_all("big")), is_sent, lambda: receive(peer, sizes[0]))
    peer.close()


# ---- What Apache's brokers count after the same requests ----

COUNTED = """
whitelistObjectNames: ['kafka.server:type=BrokerTopicMetrics,*', 'kafka.network:type=RequestMetrics,*']
rules:
- pattern: 'kafka.server<type=BrokerTopicMetrics, name=(.+), topic=(.+)><>Count'
  name: count
  labels: {name: '$1', of: '$2'}
- pattern: 'kafka.server<type=BrokerTopicMetrics, name=(.+)><>Count'
  name: count
  labels: {name: '$1', of: all}
- pattern: 'kafka.network<type=RequestMetrics, name=(RequestsPerSec|ErrorsPerSec), request=(Produce|FetchConsumer), (?:version|error)=(.+)><>Count'
  name: count
  labels: {name: '$1', of: '$2 $3'}
- pattern: 'kafka.network<type=RequestMetrics, name=RequestBytes, request=(Produce|FetchConsumer)><>(Count|Min|Max|Mean)'
  name: size
  labels: {name: '$2', of: '$1'}
"""


def counted(broker, what="count"):
    """{(name, of which topic or request): value}"""
    return {(dict(labels)["name"], dict(labels)["of"]): value for (name, labels), value in samples(scrape(broker.http), strict=False).items() if name == what}


def several(count, size=10, **more):
    """A batch."""
    return make_batch([make_record(i, value=b"x" * size) for i in range(count)], **more)


def put(what, records, topic="u", version=9, **more):
    return what, "Produce", version, tree_of_produce(topic, records, **more)


def get(what, topic="t", version=12, **more):
    return what, "Fetch", version, fetch(topic, wait=0, **more)


def requests(ids):
    """(what, API, version, tree), none of which waits for anything, as Apache's broker counts a fetch again when it has waited."""
    for version in range(3, 12):
        yield put(f"batches in version {version}", several(version, 100), "t", version)
    both = tree_of_produce("t", several(3, 50), acks=1, partition=1)
    both["TopicData"] += tree_of_produce("u", several(4, 20), partition=2)["TopicData"]
    both["TopicData"][0]["PartitionData"] += tree_of_produce("t", several(5, 70))["TopicData"][0]["PartitionData"]
    yield "several at once", "Produce", 9, both
    yield put("gzip", make_batch(attributes=1, count=1, body=gzip.compress(make_record(value=b"x" * 500), mtime=0)))
    for version in range(3):
        yield put(f"the format of old in version {version}", make_message(magic=0), version=version)
    yield put("a wrong crc", make_batch(crc=1))
    yield put("a wrong count", make_batch(count=2))
    yield put("two batches", several(1) + several(1))
    yield put("another format", make_batch(magic=3))
    yield put("too much", several(1, 2000))
    yield put("no key where there has to be one", several(1), "keyed")
    yield put("an unknown partition", several(1), partition=9)
    yield put("an unknown topic", several(1), "nosuch")
    for version in range(4, 17):
        yield get(f"version {version}", ids["t"] if version > 12 else "t", version)
    yield get("one batch", size=1)
    yield get("what is behind the first batch", offset=3)
    yield get("another partition", partition=1)
    yield get("what is above the end", offset=1000)
    yield get("what is below the beginning", offset=-1)
    yield get("an unknown partition", partition=9)
    yield get("of a later epoch", leader_epoch=5)
    both = fetch("t", wait=0)
    both["Topics"] += fetch("u", partition=2)["Topics"] + fetch("nosuch")["Topics"]
    yield "several at once", "Fetch", 12, both


def count_each(broker, asked):
    """[(what, how much more is counted of what)]. A request is counted when its answer is sent, the rest before."""
    found, before = [], counted(broker)
    with Asker(broker) as asker:
        for what, api, version, tree in asked:
            of = f"{'Produce' if api == 'Produce' else 'FetchConsumer'} {version}"
            count = before.get(("RequestsPerSec", of), 0)
            if tree.get("Acks") == 0:
                asker.send(SCHEMAS[api].key, version, tree)
            else:
                assert isinstance(asker.get(api, version, tree), dict), what
            now = wait_until(lambda: next((c for c in [counted(broker)] if c.get(("RequestsPerSec", of)) == count + 1), None), f"the count of {what}")
            found.append((f"{api} {version}: {what}", {k: v - before.get(k, 0) for k, v in now.items() if v != before.get(k, 0)}))
            before = now
    return found


def make_alone(broker, admin):
    """Topics of this broker, and their ids."""
    topics = [NewTopic("t", 3, replica_assignment=[[0]] * 3), NewTopic("u", 3, replica_assignment=[[0]] * 3, config={"max.message.bytes": "1000"}),
              NewTopic("keyed", 1, replica_assignment=[[0]], config={"cleanup.policy": "compact"})]
    for made in admin.create_topics(topics).values():
        made.result()
    with Asker(broker) as asker:
        def served():
            answer = asker.get("Metadata", 12, {"Topics": [{"Name": t.topic} for t in topics]})
            return errors_in(answer) == {0} and answer
        return {t["Name"]: t["TopicId"] for t in wait_until(served, "leaders")["Topics"]}


def count_copies(leader, follower):
    """Of a topic that both have: how many bytes came, and how much more each counts. How often the follower asks is left to chance."""
    names = ["BytesInPerSec", "BytesOutPerSec", "MessagesInPerSec", "ReplicationBytesInPerSec", "ReplicationBytesOutPerSec", "TotalProduceRequestsPerSec"]
    batches, before = [several(i + 1, 100) for i in range(10)], [counted(b) for b in (leader, follower)]
    with Asker(leader) as asker:
        for data in batches:
            assert errors_in(asker.get("Produce", 9, tree_of_produce("both", data, acks=-1))) == {0}
    more = [{name: now[name, "all"] - then[name, "all"] for name in names} for now, then in zip([counted(b) for b in (leader, follower)], before)]
    return sum(map(len, batches)), more


def differing(theirs, ours):
    return [f"{what}: Apache {({k: v for k, v in a.items() if b.get(k) != v})}, ours {({k: v for k, v in b.items() if a.get(k) != v})}"
            for (what, a), (_, b) in zip(theirs, ours, strict=True) if a != b]


@pytest.fixture
def counting(make_broker, ensemble, tmp_path):
    """A cluster of so many brokers of each kind, one after the other; the first one has the topics."""
    rules = tmp_path / "counted.yml"
    rules.write_text(COUNTED)

    def each(count):
        for kind in Apache, Barnabas:
            settings = {"zookeeper.connect": ensemble.chroot().connect, "auto.create.topics.enable": "false", "controlled.shutdown.enable": "false"}
            brokers = [with_agent(make_broker, kind, rules, broker_id=i, **settings) for i in range(count)]
            admin = AdminClient({"bootstrap.servers": brokers[0].bootstrap})
            wait_until(lambda: len(admin.list_topics().brokers) == count, "all brokers")
            yield kind, brokers, admin, make_alone(brokers[0], admin)
            for broker in brokers:
                broker.kill() if kind is Apache else broker.stop()
    return each


@pytest.mark.long
def test_counts_are_those_of_apaches_brokers(counting):
    """Of topics and of requests after each request, and of what a follower copies. Fetches of followers, and such as wait, are counted as often as
    somebody looks, which is left to chance; of fetches in the format of old Apache's broker counts the bytes that its log has."""
    found = {}
    for kind, (leader, follower), admin, ids in counting(2):
        each, sizes = count_each(leader, requests(ids)), counted(leader, "size")
        admin.create_topics([NewTopic("both", 1, replica_assignment=[[0, 1]])])["both"].result()
        wait_until(lambda: len(admin.list_topics("both").topics["both"].partitions[0].isrs) == 2, "both to be in sync")
        found[kind] = each, sizes, count_copies(leader, follower)
    (theirs, their_sizes, their_copies), (ours, our_sizes, our_copies) = found[Apache], found[Barnabas]
    assert differing(theirs, ours) == []
    assert our_sizes == their_sizes
    size, (of_leader, of_follower) = our_copies
    assert our_copies == their_copies
    assert of_leader["BytesInPerSec"] == of_leader["ReplicationBytesOutPerSec"] == of_follower["ReplicationBytesInPerSec"] == size
    assert of_leader["MessagesInPerSec"] == 55 and of_follower["MessagesInPerSec"] == of_leader["BytesOutPerSec"] == 0


def odd_requests():
    yield put("records to be had", several(3), "t")
    yield put("without an answer", several(3), acks=0)
    yield put("no keys where there have to be some", several(2), "keyed")
    yield get("a size below zero", size=-1)
    yield get("a size of all below zero", max_size=-1)


def test_what_is_odd_counts_as_by_apaches_broker(counting):
    """All of it together: what is not answered may be looked at in its middle."""
    def sums(found):
        return {key: sum(more.get(key, 0) for _, more in found) for key in {k for _, more in found for k in more}}
    found = {kind: sums(count_each(broker, odd_requests())) for kind, (broker,), *_ in counting(1)}
    assert found[Barnabas] == found[Apache]
