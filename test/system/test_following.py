"""What a follower asks its leader, and by which names: topics without ids, and leaders that are of two minds."""

import json
import socket
import struct
import threading
import time

import pytest
from batches import make_batch, make_record
from harness import PATIENCE, Apache, Barnabas, free_port, kcat, read_frame, wait_until
from messages import APIS, Asker, read_request, response_codec
from test_cluster import Acknowledged, create, in_sync, make_cluster, read_all, topics  # noqa: F401 (a fixture)
from test_controller import make_topic, register
from test_exporter import samples, scrape

FETCH, LIST_OFFSETS = 1, 2
OUT_OF_RANGE, SESSION_NOT_FOUND, SESSION_EPOCH = 1, 70, 71
KINDS = pytest.mark.parametrize("kind", [Barnabas, Apache])
PROTOCOL = "inter.broker.protocol.version"


def test_who_was_away_is_in_sync_again_where_topics_have_no_ids_between_brokers(make_cluster):  # noqa: F811
    """Orders have had them since 2.8-IV1."""
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, **{PROTOCOL: "2.8-IV0"})
    create(brokers, "t", 3)
    sent = Acknowledged(brokers, "t")
    for broker in brokers:
        broker.stop()
        sent.send(100, 3)
        sent.flush()
        broker.start()
        wait_until(lambda: in_sync(brokers, "t", 3), "all in sync again")
    assert not list(brokers[0].data.glob("t-*/partition.metadata"))
    found = read_all(brokers, "t", 3)
    assert {k: found.get(k) for k in sent.records} == sent.records


@pytest.mark.long
def test_topics_get_their_ids_while_they_are_led_and_followed(make_cluster):  # noqa: F811
    """Apache's first controller knows of no ids. The next one gives them, in the leader epochs that there are."""
    brokers = make_cluster(Apache, Apache, Barnabas, each=lambda b: {PROTOCOL: "2.7"} if isinstance(b, Apache) else {})
    chroot = brokers[0].zookeeper
    create(brokers, "t", 6)
    assert json.loads(chroot.get("/controller"))["brokerid"] == 1 and "topic_id" not in json.loads(chroot.get("/brokers/topics/t"))
    sent = Acknowledged(brokers, "t")
    ours = brokers[2]

    def while_it_is_away(broker):
        broker.stop()
        sent.send(120, 6)
        sent.flush()
        broker.start()
        wait_until(lambda: in_sync(brokers, "t", 3), f"all in sync again\n{ours.text()[-3000:]}", 60)

    while_it_is_away(ours)
    for broker in (brokers[1], brokers[0]):
        del broker.properties[PROTOCOL]
        while_it_is_away(broker)
    wait_until(lambda: "topic_id" in json.loads(chroot.get("/brokers/topics/t")), "the id")
    wait_until(lambda: len(list(ours.data.glob("t-*/partition.metadata"))) == 6, "it to be known")
    while_it_is_away(brokers[1])
    while_it_is_away(ours)
    found = read_all(brokers, "t", 6)
    assert {k: found.get(k) for k in sent.records} == sent.records


class Leader:
    """A broker that says what the test wants it to say; whatever is not asked for by `answers` is well."""

    def __init__(self, chroot, number, answers):
        self.answers, self.asked, self.changed = answers, [], threading.Condition()
        self.server = socket.create_server(("127.0.0.1", 0))
        register(chroot, number, self.server.getsockname()[1])
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock = self.server.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with sock:
            while (data := read_frame(sock)) is not None:
                head, request = read_request(data)
                key, version = head["RequestApiKey"], head["RequestApiVersion"]
                body = self.answers.get(key, lambda request: {})(request)
                with self.changed:
                    self.asked.append((key, request))
                    self.changed.notify_all()
                answer = struct.pack(">i", head["CorrelationId"]) + (b"\0" if version >= APIS[key].flexible else b"") + response_codec(key, version).write(body)
                sock.sendall(struct.pack(">i", len(answer)) + answer)

    def wait(self, condition, what):
        with self.changed:
            assert self.changed.wait_for(lambda: condition(self.asked), PATIENCE), what


def fetched(request):
    """Partition 0 is out of range whatever is asked for, and there is nothing new in the other. No session."""
    def of(p):
        return {"PartitionIndex": p, "ErrorCode": OUT_OF_RANGE if p == 0 else 0, "HighWatermark": 0, "LastStableOffset": 0, "LogStartOffset": 0,
                "PreferredReadReplica": -1, "Records": b""}

    return {"Responses": [{"TopicId": t["TopicId"], "Partitions": [of(p["Partition"]) for p in t["Partitions"]]} for t in request["Topics"]]}


def offsets(request):
    return {"Topics": [{"Name": t["Name"], "Partitions": [{"PartitionIndex": p["PartitionIndex"], "Timestamp": -1, "Offset": 0, "LeaderEpoch": 0} for p in t["Partitions"]]}
                       for t in request["Topics"]]}


def fetches_of(asked, partition):
    return sum(any(p["Partition"] == partition for t in request["Topics"] for p in t["Partitions"]) for key, request in asked if key == FETCH)


def test_an_offset_that_the_leader_has_and_does_not_give_is_not_asked_for_all_the_time(make_broker):
    """As Apache's leaders do for topics of an old format, whose epochs they do not know."""
    broker = make_broker(replica_fetch_backoff_ms=3600000)
    leader = Leader(broker.zookeeper, 200, {FETCH: fetched, LIST_OFFSETS: offsets})
    wait_until(lambda: kcat(broker, "-L").count("  broker ") == 2, "it knows the leader")
    make_topic(broker.zookeeper, "t", {"0": [200, 0], "1": [200, 0]})
    leader.wait(lambda asked: fetches_of(asked, 1) >= 100, "the other partition is fetched")
    assert fetches_of(leader.asked, 0) == 1
    assert broker.text().count("t-0: the leader, broker 200, says that offset 0 is out of range") == 1
    assert "t-1: the leader" not in broker.text()
    leader.server.close()


def follow(broker, answer):
    """A leader that answers fetches like that, of t-0, which the broker follows."""
    leader = Leader(broker.zookeeper, 200, {FETCH: answer, LIST_OFFSETS: offsets})
    wait_until(lambda: kcat(broker, "-L").count("  broker ") == 2, "it knows the leader")
    make_topic(broker.zookeeper, "t", {"0": [200, 0]})
    return leader


def in_session(number, end=0):
    """Ten records at a time up to that offset; of what has been told nothing is told again."""
    def of(p):
        batch = make_batch([make_record(i) for i in range(10)], base=p["FetchOffset"], leader_epoch=0) if p["FetchOffset"] < end else b""
        return {"PartitionIndex": p["Partition"], "HighWatermark": end, "LastStableOffset": end, "LogStartOffset": 0, "PreferredReadReplica": -1, "Records": batch}

    def answer(request):
        if not request["Topics"]:
            time.sleep(0.01)
        return {"SessionId": number, "Responses": [{"TopicId": t["TopicId"], "Partitions": [of(p) for p in t["Partitions"]]} for t in request["Topics"]]}

    return answer


@KINDS
def test_a_session_that_is_begun_anew_ends_the_one_before(make_broker, kind):
    """Else it takes another's place in the leader's cache until it has been silent for long."""
    lost = iter([SESSION_EPOCH, SESSION_NOT_FOUND])
    numbers = iter([77, 78, 79])
    now = None

    def answer(request):
        nonlocal now
        if request["SessionEpoch"] == 0:
            now = in_session(next(numbers))
        error = next(lost, 0) if request["SessionEpoch"] == 5 else 0
        return {"ErrorCode": error} if error else now(request)

    broker = make_broker(kind=kind, replica_fetch_backoff_ms=50)
    leader = follow(broker, answer)
    leader.wait(lambda asked: any(r["SessionId"] == 79 and r["SessionEpoch"] > 0 for key, r in asked if key == FETCH), "the third session")
    assert [r["SessionId"] for key, r in leader.asked if key == FETCH and r["SessionEpoch"] == 0] == [0, 77, 0]
    leader.server.close()


@KINDS
def test_a_start_that_retention_has_moved_is_told(make_broker, kind):
    """Though there is nothing else to tell: consumers are sent to who has what they ask for."""
    end = 100
    broker = make_broker(kind=kind, log_segment_bytes=300, log_retention_ms=-1, log_retention_check_interval_ms=100, log_initial_task_delay_ms=100)
    leader = follow(broker, in_session(77, end))

    def starts(asked):
        return [p["LogStartOffset"] for key, r in asked if key == FETCH for t in r["Topics"] for p in t["Partitions"] if p["FetchOffset"] == end]

    leader.wait(lambda asked: starts(asked) == [0], "it has all records")
    with Asker(broker) as asker:
        asker.get("IncrementalAlterConfigs", 1, {"Resources": [{"ResourceType": 2, "ResourceName": "t", "Configs": [{"Name": "retention.ms", "ConfigOperation": 0, "Value": "1"}]}]})
    leader.wait(lambda asked: starts(asked)[-1] > 0, f"the new start:\n{broker.text()[-2000:]}")
    leader.server.close()


@KINDS
def test_what_a_follower_has_deleted_already_is_deleted_everywhere(make_cluster, kind):  # noqa: F811
    """Its start was moved by retention, and is not moved by that of the leader."""
    short = {"log.retention.bytes": 1000, "log.retention.check.interval.ms": 100, "log.initial.task.delay.ms": 100}
    brokers = make_cluster(kind, Barnabas, each=lambda b: short if b.properties["broker.id"] == "2" else {}, **{"min.insync.replicas": 1, "log.segment.bytes": 1000})
    topics(brokers, "--create", "--topic", "t", "--replica-assignment", "1:2")
    sent = Acknowledged(brokers, "t")
    for _ in range(50):
        sent.send(10)
        sent.flush()
    wait_until(lambda: not (brokers[1].data / "t-0" / "00000000000000000000.log").exists(), "the follower to delete")
    with Asker(brokers[0]) as asker:
        answer = asker.get("DeleteRecords", 2, {"TimeoutMs": 30000, "Topics": [{"Name": "t", "Partitions": [{"PartitionIndex": 0, "Offset": 5}]}]})
    assert [(p["ErrorCode"], p["LowWatermark"]) for p in answer["Topics"][0]["Partitions"]] == [(0, 5)]


def test_who_is_back_joins_the_isr_though_there_is_no_room_for_its_session(make_cluster):  # noqa: F811
    """Its session from before has the only place, and says that it is of a broker that is no more."""
    brokers = make_cluster(Barnabas, Barnabas, **{"min.insync.replicas": 1, "max.incremental.fetch.session.cache.slots": 1})
    topics(brokers, "--create", "--topic", "t", "--replica-assignment", "1:2")
    wait_until(lambda: in_sync(brokers, "t", 2), "both in sync")
    brokers[1].kill()
    wait_until(lambda: in_sync(brokers[:1], "t", 1), "it to be out")
    brokers[1].start()
    wait_until(lambda: in_sync(brokers, "t", 2), f"both in sync again\n{brokers[0].text()[-2000:]}")


def test_partitions_whose_logs_cannot_be_appended_to_are_counted(make_broker):
    """Until they can: what comes does not go on where it began. What is damaged is not counted, as with Apache's, nor what is well."""
    port, answers = free_port(), threading.Event()
    overlap, damaged, well = make_batch() * 2, make_batch(crc=0), make_batch()

    def of(p):
        records = b"" if p["FetchOffset"] > 0 else well if answers.is_set() else (overlap, damaged, well)[p["Partition"]]
        return {"PartitionIndex": p["Partition"], "ErrorCode": 0, "HighWatermark": 0, "LastStableOffset": 0, "LogStartOffset": 0, "PreferredReadReplica": -1,
                "Records": records}

    def fetched(request):
        return {"Responses": [{"TopicId": t["TopicId"], "Partitions": [of(p) for p in t["Partitions"]]} for t in request["Topics"]]}

    broker = make_broker(**{"replica.fetch.backoff.ms": 100, "barnabas.http.listeners": f"METRICS://127.0.0.1:{port}"})
    leader = Leader(broker.zookeeper, 200, {FETCH: fetched})
    wait_until(lambda: kcat(broker, "-L").count("  broker ") == 2, "it knows the leader")
    make_topic(broker.zookeeper, "t", {str(p): [200, 0] for p in range(3)})
    leader.wait(lambda asked: fetches_of(asked, 0) >= 3 and fetches_of(asked, 1) >= 3, "both are asked for again")

    def failed():
        return samples(scrape(port))["kafka_server_replicafetchermanager_failedpartitionscount", (("clientId", "Replica"),)]

    assert failed() == 1
    answers.set()
    wait_until(lambda: failed() == 0, "it goes on")
    leader.server.close()
