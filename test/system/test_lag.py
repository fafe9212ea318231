"""What a broker tells of the whole cluster: under the names of kafka_exporter and kminion, and of the lag of the groups that it coordinates."""

import json
import signal
import time
import urllib.error

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AclBinding, AclOperation, AclPermissionType, AdminClient, NewTopic, ResourcePatternType, ResourceType
from harness import Apache, Barnabas, free_port, wait_until
from test_acls import AUTHORIZER
from test_exporter import samples, scrape, status

HOSTILE = 'a "group" <script> \\ é'
OLD_MS = 100_000

EXPORTER = """
kafka_broker_info address,id
kafka_brokers
kafka_consumergroup_current_offset consumergroup,partition,topic
kafka_consumergroup_current_offset_sum consumergroup,topic
kafka_consumergroup_lag consumergroup,partition,topic
kafka_consumergroup_lag_sum consumergroup,topic
kafka_consumergroup_members consumergroup
kafka_topic_partition_current_offset partition,topic
kafka_topic_partition_in_sync_replica partition,topic
kafka_topic_partition_leader partition,topic
kafka_topic_partition_leader_is_preferred partition,topic
kafka_topic_partition_oldest_offset partition,topic
kafka_topic_partition_replicas partition,topic
kafka_topic_partition_under_replicated_partition partition,topic
kafka_topic_partitions topic
"""

KMINION = """
kminion_exporter_up version
kminion_kafka_broker_info address,broker_id,is_controller,port,rack_id
kminion_kafka_broker_log_dir_size_total_bytes address,broker_id,port,rack_id
kminion_kafka_cluster_info broker_count,cluster_id,cluster_version,controller_id
kminion_kafka_consumer_group_info coordinator_id,group_id,protocol,protocol_type,state
kminion_kafka_consumer_group_members group_id
kminion_kafka_consumer_group_topic_assigned_partitions group_id,topic_name
kminion_kafka_consumer_group_topic_lag group_id,topic_name
kminion_kafka_consumer_group_topic_members group_id,topic_name
kminion_kafka_consumer_group_topic_offset_sum group_id,topic_name
kminion_kafka_consumer_group_topic_partition_lag group_id,partition_id,topic_name
kminion_kafka_topic_high_water_mark_sum topic_name
kminion_kafka_topic_info cleanup_policy,partition_count,replication_factor,topic_name
kminion_kafka_topic_log_dir_size_total_bytes topic_name
kminion_kafka_topic_low_water_mark_sum topic_name
kminion_kafka_topic_partition_high_water_mark partition_id,topic_name
kminion_kafka_topic_partition_low_water_mark partition_id,topic_name
"""


def names(text, start):
    return {(name, ",".join(k for k, _ in labels)) for name, labels in samples(text) if name.startswith(start)}


def table(text):
    return {(name, labels[0] if labels else "") for name, *labels in (line.split(" ") for line in text.strip().splitlines())}


def one(found, family, **labels):
    return found[family, tuple(sorted((k, str(v)) for k, v in labels.items()))]


def of_group(found, family, group, key="consumergroup"):
    return {(dict(labels)["topic"], int(dict(labels)["partition"])): value
            for (name, labels), value in found.items() if name == family and dict(labels)[key] == group}


def commit(broker, group, offsets):
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "enable.auto.commit": False})
    consumer.commit(offsets=[TopicPartition(topic, p, offset) for (topic, p), offset in offsets.items()], asynchronous=False)
    consumer.close()


class Cluster:
    """Topics whose partitions are led by all brokers, and groups at known offsets."""

    def __init__(self, make_broker, ensemble, kinds, **properties):
        connect = ensemble.chroot().connect
        self.brokers = []
        for i, kind in enumerate(kinds):
            more = {"barnabas.http.listeners": f"METRICS://127.0.0.1:{free_port()}"} if kind is Barnabas else {}
            broker = make_broker(kind=kind, data=f"{kind.__name__}{i}", **{
                "broker.id": i, "zookeeper.connect": connect, "offsets.topic.num.partitions": 10, "offsets.topic.replication.factor": 1,
                "group.initial.rebalance.delay.ms": 0, **more, **properties})
            broker.http = int(next(iter(more.values())).rsplit(":", 1)[1]) if more else None
            self.brokers.append(broker)
        self.first = self.brokers[0]
        self.admin = AdminClient({"bootstrap.servers": self.first.bootstrap})
        n = len(kinds)
        for future in self.admin.create_topics([NewTopic("t", 4, replica_assignment=[[p % n] for p in range(4)]),
                                                NewTopic("u", 1, replica_assignment=[sorted({0, n - 1})], config={"cleanup.policy": "compact"})]).values():
            future.result()
        self.written_ms = int(time.time() * 1000) - OLD_MS
        producer = Producer({"bootstrap.servers": self.first.bootstrap})
        for p in range(4):
            for i in range(10 * (p + 1)):
                producer.produce("t", b"x", partition=p, timestamp=self.written_ms + 1000 * p)
        for i in range(5):
            producer.produce("u", b"y", key=b"k")
        assert producer.flush(30) == 0
        self.committed = {f"g{i}": {("t", 0): i, ("t", 2): 30, ("u", 0): 5} for i in range(6)}
        self.committed[HOSTILE] = {("t", 3): 7}
        for group, offsets in self.committed.items():
            commit(self.first, group, offsets)

    ENDS = {("t", 0): 10, ("t", 1): 20, ("t", 2): 30, ("t", 3): 40, ("u", 0): 5}

    def lag(self, group):
        """As kafka_exporter has it: partitions of a topic that nothing was committed of have -1."""
        offsets = self.committed[group]
        topics = {topic for topic, _ in offsets}
        return {place: end - offsets[place] if place in offsets else -1 for place, end in self.ENDS.items() if place[0] in topics}


def unescaped(text):
    return json.loads(f'"{text}"')


def tell(broker, path):
    found = samples(scrape(broker.http, path))
    return {(name, tuple((k, unescaped(v)) for k, v in labels)): value for (name, labels), value in found.items()}


@pytest.mark.parametrize("kinds", [(Barnabas, Barnabas, Barnabas), (Barnabas, Apache)], ids=lambda kinds: "+".join(k.__name__ for k in kinds))
def test_lag_is_told_as_by_the_exporters(make_broker, ensemble, kinds):
    cluster = Cluster(make_broker, ensemble, kinds)
    ours = [b for b in cluster.brokers if b.http is not None]
    member = Consumer({"bootstrap.servers": cluster.first.bootstrap, "group.id": "live", "auto.offset.reset": "earliest"})
    member.subscribe(["t"])
    wait_until(lambda: (member.poll(0.1), member.assignment())[1], "an assignment")
    cluster.committed["live"] = {("t", 0): 1}
    member.commit(offsets=[TopicPartition("t", 0, 1)], asynchronous=False)

    for broker in ours:
        found = tell(broker, "metrics/exporter")
        assert names(scrape(broker.http, "metrics/exporter"), "kafka_") == table(EXPORTER)
        for group, offsets in cluster.committed.items():
            assert of_group(found, "kafka_consumergroup_lag", group) == cluster.lag(group)
            assert of_group(found, "kafka_consumergroup_current_offset", group) == {place: offsets.get(place, -1) for place in cluster.lag(group)}
            for topic in {topic for topic, _ in offsets}:
                lag = sum(v for place, v in cluster.lag(group).items() if place[0] == topic and v >= 0)
                assert one(found, "kafka_consumergroup_lag_sum", consumergroup=group, topic=topic) == lag
        assert one(found, "kafka_consumergroup_members", consumergroup="live") == 1
        assert one(found, "kafka_consumergroup_members", consumergroup="g0") == 0
        assert one(found, "kafka_brokers") == len(kinds)
        for (topic, p), end in cluster.ENDS.items():
            assert one(found, "kafka_topic_partition_current_offset", topic=topic, partition=p) == end
            assert one(found, "kafka_topic_partition_leader", topic=topic, partition=p) == (p % len(kinds) if topic == "t" else 0)
        assert one(found, "kafka_topic_partition_in_sync_replica", topic="u", partition=0) == 2
        assert one(found, "kafka_topic_partitions", topic="t") == 4

        found = tell(broker, "metrics/kminion")
        assert names(scrape(broker.http, "metrics/kminion"), "kminion_") == table(KMINION)
        for group, offsets in cluster.committed.items():
            for (topic, p), offset in offsets.items():
                lag = one(found, "kminion_kafka_consumer_group_topic_partition_lag", group_id=group, topic_name=topic, partition_id=p)
                assert lag == cluster.ENDS[topic, p] - offset
        assert one(found, "kminion_kafka_consumer_group_topic_lag", group_id="g1", topic_name="t") == 9
        assert one(found, "kminion_kafka_consumer_group_topic_assigned_partitions", group_id="live", topic_name="t") == 4
        assert one(found, "kminion_kafka_topic_high_water_mark_sum", topic_name="t") == 100
        assert one(found, "kminion_kafka_topic_info", topic_name="t", cleanup_policy="delete", partition_count=4, replication_factor=1) == 1
        assert one(found, "kminion_kafka_topic_info", topic_name="u", cleanup_policy="compact", partition_count=1, replication_factor=2) == 1
    member.close()


def test_each_group_is_told_by_its_coordinator_alone(make_broker, ensemble):
    cluster = Cluster(make_broker, ensemble, (Barnabas, Barnabas, Barnabas))
    before = time.time()
    told = [tell(b, "metrics") for b in cluster.brokers]
    after = time.time()
    assert sum(any(name == "kafka_consumergroup_lag" for name, _ in found) for found in told) > 1
    for group in cluster.committed:
        lags = [lag for lag in (of_group(found, "kafka_consumergroup_lag", group) for found in told) if lag]
        assert lags == [cluster.lag(group)]
        (records,) = [r for r in (of_group(found, "barnabas_group_lag_records", group, "group") for found in told) if r]
        assert records == {place: lag for place, lag in cluster.lag(group).items() if lag >= 0}
        (seconds,) = [s for s in (of_group(found, "barnabas_group_lag_seconds", group, "group") for found in told) if s]
        assert set(seconds) == set(cluster.committed[group])
        for (topic, p), value in seconds.items():
            if cluster.lag(group)[topic, p] == 0:
                assert value == 0
            else:
                written = cluster.written_ms / 1000 + p
                assert before - written - 0.01 <= value <= after - written + 0.01
    assert all(one(found, "barnabas_group_lag_unanswered") == 0 for found in told)


def test_each_partition_is_told_by_its_leader_alone(make_broker, ensemble):
    cluster = Cluster(make_broker, ensemble, (Barnabas, Barnabas, Barnabas))
    of_partitions = {line.split()[0] for line in EXPORTER.split("\n") if line.startswith("kafka_topic_partition_")}
    assert len(of_partitions) == 7
    told = [tell(b, "metrics") for b in cluster.brokers]
    for (topic, p), end in cluster.ENDS.items():
        leader = p % 3 if topic == "t" else 0
        for broker, found in enumerate(told):
            mine = {name: value for (name, labels), value in found.items() if labels == (("partition", str(p)), ("topic", topic)) and name in of_partitions}
            assert mine == ({} if broker != leader else {
                "kafka_topic_partition_current_offset": end, "kafka_topic_partition_oldest_offset": 0, "kafka_topic_partition_leader": leader,
                "kafka_topic_partition_leader_is_preferred": 1, "kafka_topic_partition_replicas": 1 + (topic == "u"),
                "kafka_topic_partition_in_sync_replica": 1 + (topic == "u"), "kafka_topic_partition_under_replicated_partition": 0})


def own_lag(broker, group):
    """Records and seconds, by partition."""
    found = tell(broker, "metrics")
    return tuple(of_group(found, f"barnabas_group_lag_{unit}", group, "group") for unit in ("records", "seconds"))


def test_a_marker_is_nothing_that_a_group_waits_for(make_broker, ensemble):
    """Who has read all of a transaction and says so lags by its marker, as the exporters have it, but not by a second; nor by the marker's age when more comes."""
    broker = Cluster(make_broker, ensemble, (Barnabas,)).first
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "x"})
    producer.init_transactions()

    def write(timestamp_ms):
        producer.begin_transaction()
        producer.produce("u", b"y", key=b"k", timestamp=timestamp_ms)
        producer.commit_transaction()

    write(int(time.time() * 1000) - OLD_MS)
    commit(broker, "reader", {("u", 0): 6})
    records, seconds = own_lag(broker, "reader")
    assert records == {("u", 0): 1}
    assert seconds == {("u", 0): 0}
    written = time.time() - 2 * OLD_MS / 1000
    write(int(written * 1000))
    wait_until(lambda: own_lag(broker, "reader")[0] == {("u", 0): 3}, "another look")
    assert abs(own_lag(broker, "reader")[1]["u", 0] - (time.time() - written)) < OLD_MS / 2000


def test_what_waits_is_read_once(make_broker, ensemble):
    """Who watches a group that stands causes no fetch at each look."""
    broker = Cluster(make_broker, ensemble, (Barnabas,)).first
    commit(broker, "standing", {("t", 1): 3})

    def fetches():
        return one(tell(broker, "metrics"), "kafka_server_brokertopicmetrics_totalfetchrequests_total", topic="t")

    assert own_lag(broker, "standing")[1]["t", 1] >= OLD_MS / 1000 - 10
    before = fetches()
    for offset in (1, 2):
        commit(broker, "moving", {("u", 0): offset})
        wait_until(lambda: own_lag(broker, "moving")[0] == {("u", 0): 5 - offset}, "another look")
        assert own_lag(broker, "standing")[1]["t", 1] >= OLD_MS / 1000 - 10
    assert fetches() == before


def test_what_nobody_answers_is_not_told(make_broker, ensemble):
    """Partitions of a broker that is gone have no end: no lag either, which is not the same as none."""
    cluster = Cluster(make_broker, ensemble, (Barnabas, Barnabas))
    cluster.brokers[1].stop()
    first = cluster.first
    wait_until(lambda: one(tell(first, "metrics/exporter"), "kafka_brokers") == 1, "the broker is gone")
    found = tell(first, "metrics/exporter")
    assert one(found, "kafka_topic_partition_leader", topic="t", partition=1) == -1
    assert ("kafka_topic_partition_current_offset", (("partition", "1"), ("topic", "t"))) not in found
    assert one(found, "kafka_topic_partition_current_offset", topic="t", partition=0) == 10
    lags = [labels for (name, labels) in found if name == "kafka_consumergroup_lag"]
    assert lags and all(dict(labels)["partition"] != "1" or value == -1 for labels, value in
                        ((labels, found["kafka_consumergroup_lag", labels]) for labels in lags))
    assert status(first.http, "readyz") == 200


def test_an_error_in_an_answer_is_none(make_broker):
    """As of a partition whose leader changes; or of a topic that the brokers themselves must not see."""
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "allow.everyone.if.no.acl.found": "true", **AUTHORIZER})
    broker.http = port
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1, 1)])["t"].result()
    assert one(tell(broker, "metrics"), "barnabas_group_lag_unanswered") == 0
    denied = AclBinding(ResourceType.TOPIC, "t", ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", AclOperation.DESCRIBE, AclPermissionType.DENY)
    admin.create_acls([denied])[denied].result()
    wait_until(lambda: one(tell(broker, "metrics"), "barnabas_group_lag_unanswered") > 0, "another look")


def test_a_broker_that_hangs_holds_up_nobody(make_broker, ensemble):
    """What was seen before is told until it is known better, which is when the brokers' patience with it is over."""
    cluster = Cluster(make_broker, ensemble, (Barnabas, Barnabas), **{"request.timeout.ms": 5000, "zookeeper.session.timeout.ms": 3000})
    first, second = cluster.brokers
    before = tell(first, "metrics/exporter")
    assert one(before, "kafka_brokers") == 2
    second.process.send_signal(signal.SIGSTOP)
    try:
        while one(found := tell(first, "metrics/exporter"), "kafka_brokers") == 2:
            assert of_group(found, "kafka_consumergroup_lag", "g0") == cluster.lag("g0")
            assert status(first.http, "readyz") == 200
        assert any(name == "kafka_server_replicamanager_leadercount" for name, _ in tell(first, "metrics"))
    finally:
        second.process.send_signal(signal.SIGCONT)


def may_stop(broker):
    try:
        return scrape(broker.http, "v1/safe-to-stop")
    except urllib.error.HTTPError as e:
        assert e.code == 409
        return sorted(e.read().decode().splitlines())


def test_whether_a_broker_may_stop(make_broker):
    brokers = []
    for i in range(3):
        port = free_port()
        brokers.append(make_broker(data=f"data-{i}", **{"broker.id": i, "barnabas.http.listeners": f"RAW://127.0.0.1:{port}", "zookeeper.session.timeout.ms": 3000,
                                                        "min.insync.replicas": 1}))
        brokers[-1].http = port
    admin = AdminClient({"bootstrap.servers": brokers[0].bootstrap})
    for f in admin.create_topics([NewTopic("safe", 2, replica_assignment=[[0, 1, 2], [1, 2, 0]], config={"min.insync.replicas": "2"}),
                                  NewTopic("two", 1, replica_assignment=[[1, 2]])]).values():
        f.result()
    wait_until(lambda: all(may_stop(b) == "ok\n" for b in brokers), "all to be in sync")
    admin.create_topics([NewTopic("lone", 1, replica_assignment=[[0]])])["lone"].result()
    alone = ["lone-0: 0 of 1 replicas would be in sync, min.insync.replicas is 1"]
    wait_until(lambda: may_stop(brokers[0]) == alone, "the lone replica to be told of")
    assert may_stop(brokers[1]) == may_stop(brokers[2]) == "ok\n"
    brokers[2].kill()
    short = [f"safe-{p}: 1 of 3 replicas would be in sync, min.insync.replicas is 2" for p in range(2)]
    wait_until(lambda: may_stop(brokers[1]) == [*short, "two-0: 0 of 2 replicas would be in sync, min.insync.replicas is 1"], "the loss to be seen")
    assert may_stop(brokers[0]) == sorted([*alone, *short])
    brokers[2].restart()
    wait_until(lambda: may_stop(brokers[1]) == "ok\n", "all to be in sync again")
    brokers[2].process.send_signal(signal.SIGSTOP)  # so that the reassignment lasts
    try:
        brokers[0].zookeeper.client.create("/admin/reassign_partitions", json.dumps({"version": 1, "partitions": [
            {"topic": "lone", "partition": 0, "replicas": [2, 0]}]}).encode())
        wait_until(lambda: "lone-0: is being reassigned" in may_stop(brokers[0]), "the reassignment")
    finally:
        brokers[2].process.send_signal(signal.SIGCONT)
    wait_until(lambda: may_stop(brokers[0]) == "ok\n", "the reassignment's end")
