"""What is told over HTTP, beside what jmx_exporter tells from inside Apache's broker by the same rules after the same load."""

import base64
import json
import re
import signal
import socket
import ssl
import struct
import subprocess
import time
import urllib.error
import urllib.request

import confluent_kafka
import pytest
from certificates import Authority
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from harness import AGENT, TOP, Apache, Barnabas, connect, frame, free_port, processor_seconds, read_frame, run_tool, wait_until
from test_quotas import flood, limit

DIALECTS = TOP / "conf" / "dialects"
RECORDS, SIZE = 10000, 100

# Rules of an operator's own: values, captures of values, factors, helps, what is left out.
OWN = r"""
lowercaseOutputLabelNames: true
blacklistObjectNames: ['kafka.network:*', 'kafka.log:type=Log,name=Size,*', 'java.lang:*']
excludeObjectNameAttributes:
  'kafka.log:type=Log,name=LogEndOffset,topic=t,partition=1': [Value]
rules:
- pattern: 'kafka.server<type=BrokerTopicMetrics, name=(\w+)PerSec, topic=t><>(one_minute_rate)'
  name: snake_$1_$2
  attrNameSnakeCase: true
- pattern: 'kafka.server<type=BrokerTopicMetrics, name=BytesOutPerSec, topic=t><>fifteen_minute_rate'
  attrNameSnakeCase: true
- pattern: 'kafka.server<type=KafkaServer, name=ClusterId><>Value: (.{3}).*'
  name: cluster_begins
  value: 1
  labels: {Half: 'x$1'}
- pattern: 'kafka.server<type=BrokerTopicMetrics, name=(Messages|Bytes)InPerSec, topic=(t|u)><>Count: (\d+)(\d)'
  name: 'in_$1_total'
  type: COUNTER
  help: 'of $2'
  valueFactor: 0.001
  labels: {last: '$4', TOPIC: '$2'}
- pattern: 'kafka.log<type=Log, name=LogEndOffset, topic=(.+), partition=(\d+)><>Value'
  name: 'end_$1'
  labels: {p: '$2'}
- pattern: 'kafka.controller<.*><>Value'
"""


def scrape(port, path="metrics", **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def status(port, path, method="GET"):
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/{path}", method=method), timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as e:
        return e.code


def samples(text, strict=True):
    """{(name, labels): value}; none of them twice, and, but for what client libraries do, no family in two places."""
    found, families, current, ends = {}, [], None, ()
    for line in text.splitlines():
        if line.startswith("# TYPE"):
            current, kind = line.split()[2:4]
            families.append(current)
            ends = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        elif not line.startswith("#"):
            name, labels, value = re.fullmatch(r'([\w:]+)(?:\{(.*)\})? (\S+)', line).groups()
            key = name, tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")))
            assert key not in found, line
            assert name in [current + end for end in ends] or not strict, line
            found[key] = float(value)
    assert len(families) == len(set(families))
    return found


def shapes(text, strict=True):
    types = dict(line.split()[2:4] for line in text.splitlines() if line.startswith("# TYPE"))
    return {(name, types.get(name, types.get(f"{name}_total")), tuple(k for k, _ in labels)) for name, labels in samples(text, strict)}


def load(broker):
    """The same to each kind: an old request, a topic of two partitions, records of known size, a group."""
    with connect(broker) as sock:
        sock.sendall(frame(3, 1, struct.pack(">i", 0)))
        assert read_frame(sock)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for future in admin.create_topics([NewTopic("t", 2, 1), NewTopic("u", 1, 1)]).values():
        future.result()
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "compression.type": "lz4", "linger.ms": 50})
    for i in range(RECORDS):
        producer.produce("t", b"x" * SIZE, partition=i % 2)
    producer.produce("u", b"y")
    assert producer.flush(60) == 0
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["t"])
    seen = 0
    while seen < RECORDS:
        seen += len([m for m in consumer.consume(1000, 10) if m.error() is None])
    consumer.commit(asynchronous=False)
    consumer.close()


def with_agent(make_broker, kind, rules, **more):
    """The installation's environment, the same for both kinds."""
    port = free_port()
    agent = f"-javaagent:{AGENT}={port}:{rules}"

    def settings(b):
        b.env.update({"KAFKA_OPTS": agent, **({"JAVA_TOOL_OPTIONS": agent} if kind is Apache else {})})
        return {}
    broker = make_broker(kind=kind, each=settings, data=f"{kind.__name__}-{port}", **more)
    broker.http = port
    return broker


# Of a Java machine, and of what there is nothing of the kind here.
LEFT_OUT = re.compile("jvm_|java_|jmx_|process_|kafka_(server|log)_remote", re.IGNORECASE)


@pytest.mark.parametrize("dialect", ["strimzi", "kafka", "bitnami", "raw"])
def test_names_are_those_of_apaches_broker(make_broker, ensemble, tmp_path, dialect):
    rules = DIALECTS / f"{dialect}.yml"
    if dialect == "raw":
        rules = tmp_path / "raw.yml"
        rules.write_text("{}\n")
    found = {}
    for kind in Apache, Barnabas:
        broker = with_agent(make_broker, kind, rules, **{"zookeeper.connect": ensemble.chroot().connect})
        load(broker)
        found[kind] = scrape(broker.http)
        broker.stop()
    theirs, ours = ({s for s in shapes(found[kind], kind is Barnabas) if not LEFT_OUT.match(s[0])} for kind in (Apache, Barnabas))
    assert len(theirs) > 100
    missing = sorted(theirs - ours)
    assert not missing, f"{len(missing)} of {len(theirs)}:\n" + "\n".join(map(str, missing))


# Whom a broker asks: of each kind, and whose broker it is, what was asked. Which broker has the transaction is left to chance.
ASKED = re.compile(r"kafka_server_((?:replica_fetcher|controller_channel|txn_marker_channel|AddPartitionsManager_channel|alter_partition|forwarding)_metrics)_(.+)")
MOVING = {"connection_count", "connection_creation_total", "request_total", "request_rate", "request_size_avg", "request_size_max", "response_total", "outgoing_byte_total",
          "incoming_byte_total", "network_io_total", "select_total", "io_waittime_total"}


def asked(brokers):
    """{(kind of peer, labels, figure): value}, by broker; of transactions, the sum over brokers."""
    found = {}
    for broker in brokers:
        for (name, labels), value in samples(scrape(broker.http), strict=False).items():
            if match := ASKED.fullmatch(name):
                by = "any" if match[1].startswith(("txn", "Add")) else broker.properties["broker.id"]
                key = by, match[1], labels, match[2]
                found[key] = value + found.get(key, 0) if value == value else found.get(key, 0)  # not NaN
    return found


def transact(broker):
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "x"})
    producer.init_transactions()
    producer.begin_transaction()
    for partition in range(4):
        producer.produce("t", b"x" * SIZE, partition=partition)
    producer.commit_transaction()


def two_with_agents(make_broker, ensemble, kind, rules):
    """A cluster of two, and one who administers it."""
    where = ensemble.chroot().connect
    brokers = [with_agent(make_broker, kind, rules, broker_id=i, **{"zookeeper.connect": where}) for i in (0, 1)]
    return brokers, AdminClient({"bootstrap.servers": brokers[0].bootstrap})


def test_connections_between_brokers_are_counted(make_broker, ensemble, tmp_path):
    """The same peers have the same figures, in motion where Apache's are; and who is no longer followed has none."""
    rules, moving = tmp_path / "raw.yml", {}
    rules.write_text("{}\n")
    for kind in Apache, Barnabas:
        brokers, admin = two_with_agents(make_broker, ensemble, kind, rules)
        admin.create_topics([NewTopic("t", 4, 2)])["t"].result()
        wait_until(lambda: len(admin.list_topics().brokers) == 2 and all(len(p.isrs) == 2 for p in admin.list_topics("t").topics["t"].partitions.values()), "replicas")
        transact(brokers[0])

        def in_use(figures):  # whether the controller is asked is left to chance, too
            return {key: value for key, value in figures.items() if key[-1] in MOVING and key[1] not in ("alter_partition_metrics", "forwarding_metrics")}
        wait_until(lambda: all(value > 0 for key, value in in_use(asked(brokers)).items() if key[-1] == "request_size_max"), "first averages")
        figures = asked(brokers)
        moving[kind] = {key for key, value in in_use(figures).items() if value > 0}
        moving[kind, "names"] = set(figures)
        assert figures["0", "replica_fetcher_metrics", (("broker_id", "1"), ("fetcher_id", "0")), "connection_count"] == 1
        admin.delete_topics(["t"])["t"].result()
        wait_until(lambda: not any(key[1] == "replica_fetcher_metrics" for key in asked(brokers)), "that nobody is followed")
        for broker in brokers:
            broker.kill() if kind is Apache else broker.stop()
    assert moving[Barnabas] == moving[Apache]
    assert moving[Barnabas, "names"] == moving[Apache, "names"]
    assert len(moving[Apache]) >= 4 * len(MOVING)


THROTTLES = re.compile(r"kafka_server_(LeaderReplication_byte_rate|FollowerReplication_byte_rate|Request_exempt_request_time)")


def test_throttled_replication_is_told_of(make_broker, ensemble, tmp_path):
    """From when it first matters, as by Apache's brokers: what leaders send, what followers get, and the time that brokers take of each other."""
    rules, said = tmp_path / "raw.yml", {}
    rules.write_text("{}\n")
    for kind in Apache, Barnabas:
        brokers, admin = two_with_agents(make_broker, ensemble, kind, rules)

        def told():
            return [{m[1]: value for (name, _), value in samples(scrape(b.http), strict=False).items() if (m := THROTTLES.fullmatch(name))} for b in brokers]

        def configure(what, name, **settings):
            entries = [ConfigEntry(k.replace("_", "."), v, incremental_operation=AlterConfigOpType.SET) for k, v in settings.items()]
            resource = ConfigResource(what, name, incremental_configs=entries)
            admin.incremental_alter_configs([resource])[resource].result()
        said[kind] = [told()]
        admin.create_topics([NewTopic("t", 2, 2)])["t"].result()
        wait_until(lambda: all("LeaderReplication_byte_rate" in x for x in told()), "leaders with followers")
        said[kind].append([set(x) for x in told()])
        configure(ResourceType.TOPIC, "t", leader_replication_throttled_replicas="*", follower_replication_throttled_replicas="*")
        for i in "0", "1":
            configure(ResourceType.BROKER, i, leader_replication_throttled_rate="100000000", follower_replication_throttled_rate="100000000")
        limit(brokers[0], {"client": "somebody"}, request_percentage=1000)
        producer = confluent_kafka.Producer({"bootstrap.servers": brokers[0].bootstrap, "linger.ms": 0})

        def all_move():
            for partition in 0, 1:
                producer.produce("t", b"x" * 100000, partition=partition)
            producer.flush(60)
            return all(x.get("LeaderReplication_byte_rate", 0) > 1000 and x.get("FollowerReplication_byte_rate", 0) > 1000 for x in told()) and \
                all(x["Request_exempt_request_time"] > 0 for x in told())
        wait_until(all_move, "all rates")
        for broker in brokers:
            broker.kill() if kind is Apache else broker.stop()
    assert said[Barnabas] == said[Apache] == [[{"Request_exempt_request_time": 0}] * 2, [{"Request_exempt_request_time", "LeaderReplication_byte_rate"}] * 2]


REPLICAS = {"kafka_cluster_Partition_Value": {"UnderReplicated", "ReplicasCount", "InSyncReplicasCount", "UnderMinIsr", "AtMinIsr"},
            "kafka_server_ReplicaManager_Value": {"UnderReplicatedPartitions", "ReassigningPartitions"},
            "kafka_controller_KafkaController_Value": {"OfflinePartitionsCount", "PreferredReplicaImbalanceCount"}}


def test_replicas_that_are_added_are_not_missed(make_broker, ensemble, tmp_path):
    """Nobody is alarmed by a reassignment: what is lacking is counted by what there was, as by Apache's brokers."""
    rules, said = tmp_path / "raw.yml", {}
    rules.write_text("{}\n")
    for kind in Apache, Barnabas:
        brokers, admin = two_with_agents(make_broker, ensemble, kind, rules)

        def told():
            found = [(name, dict(labels), value) for (name, labels), value in samples(scrape(brokers[0].http), strict=False).items()]
            return {labels["name"]: value for name, labels, value in found if labels.get("name") in REPLICAS.get(name, ()) and labels.get("topic") in (None, "t")}
        admin.create_topics([NewTopic("t", 1, replica_assignment=[[0]])])["t"].result()
        producer = confluent_kafka.Producer({"bootstrap.servers": brokers[0].bootstrap, "linger.ms": 0})
        for _ in range(20):
            producer.produce("t", b"x" * 100000)
            producer.flush(60)
        plan = tmp_path / "plan.json"
        plan.write_text(json.dumps({"version": 1, "partitions": [{"topic": "t", "partition": 0, "replicas": [1, 0]}]}))
        done = run_tool("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", "--bootstrap-server", brokers[0].bootstrap, "--execute",
                        "--reassignment-json-file", plan, "--throttle", 1000)
        assert done.returncode == 0, done
        wait_until(lambda: told()["ReassigningPartitions"] == 1, "the reassignment")
        said[kind] = told()
        for broker in brokers:
            broker.kill()
    assert said[Barnabas] == said[Apache]
    assert said[Apache]["ReplicasCount"] == 1 and said[Apache]["UnderReplicated"] == said[Apache]["PreferredReplicaImbalanceCount"] == 0


def test_use_of_quotas_is_told_of(make_broker, ensemble, tmp_path):
    """Of who has a limit, and of who has none while others have; who pauses is seen to."""
    rules, said = tmp_path / "raw.yml", {}
    rules.write_text("{}\n")
    for kind in Apache, Barnabas:
        broker = with_agent(make_broker, kind, rules, **{"zookeeper.connect": ensemble.chroot().connect})
        admin = AdminClient({"bootstrap.servers": broker.bootstrap})
        admin.create_topics([NewTopic("t", 1, 1)])["t"].result()
        limit(broker, {"client": "c"}, producer_byte_rate=1000)
        producers = [confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "client.id": name}) for name in ("c", "other")]
        for producer in producers:
            producer.produce("t", b"x" * 100000)  # c has to pause for a minute and a half
            assert producer.flush(60) == 0
        told = {(name, labels): value for (name, labels), value in samples(scrape(broker.http), strict=False).items() if name.startswith("kafka_server_Produce_")}
        said[kind] = {key: "none" if value != value else value > 0 for key, value in told.items()}
        broker.kill() if kind is Apache else broker.stop()
    ids = [(("client_id", name),) for name in ("c", "other")]
    assert said[Barnabas] == said[Apache] == {
        ("kafka_server_Produce_queue_size", ()): True, ("kafka_server_Produce_byte_rate", ids[0]): True, ("kafka_server_Produce_byte_rate", ids[1]): True,
        ("kafka_server_Produce_throttle_time", ids[0]): True, ("kafka_server_Produce_throttle_time", ids[1]): "none"}


ARRIVALS = re.compile(r"kafka_server_socket_server_metrics_((?:broker_|ip_)?connection_accept_\w+)")


def test_who_comes_too_often_is_told_of(make_broker, ensemble, tmp_path):
    """Who has a limit, and for how long those had to wait who came to a listener."""
    rules, said = tmp_path / "raw.yml", {}
    rules.write_text("{}\n")
    for kind in Apache, Barnabas:
        broker = with_agent(make_broker, kind, rules, **{"zookeeper.connect": ensemble.chroot().connect})
        limit(broker, {"ip": "127.0.0.5"}, connection_creation_rate=2)
        wait_until(lambda: flood(broker, "127.0.0.5", 60) < 60, "the limit to count")

        def told():
            return {(m[1], labels): value for (name, labels), value in samples(scrape(broker.http), strict=False).items() if (m := ARRIVALS.fullmatch(name))}
        of_listener = (("listener", "PLAINTEXT"),)
        wait_until(lambda: told()["ip_connection_accept_throttle_time", of_listener] > 0, "the mean")
        said[kind] = {key: "none" if value != value else value > 0 for key, value in told().items()}
        assert told()["connection_accept_rate", (("ip", "127.0.0.5"),)] < 3
        broker.kill() if kind is Apache else broker.stop()
    assert said[Barnabas] == said[Apache] == {
        ("broker_connection_accept_rate", ()): True, ("connection_accept_rate", of_listener): True, ("connection_accept_rate", (("ip", "127.0.0.5"),)): True,
        ("connection_accept_throttle_time", of_listener): "none", ("ip_connection_accept_throttle_time", of_listener): True}


def test_a_listener_that_lets_in_slowly_says_so(make_broker):
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"RAW://127.0.0.1:{port}", "max.connection.creation.rate": 5})
    key = "kafka_server_socket_server_metrics_connection_accept_throttle_time", (("listener", "PLAINTEXT"),)
    assert flood(broker, "127.0.0.6", 60) == 60  # more than ten seconds bring
    wait_until(lambda: samples(scrape(port))[key] > 0, "the mean")
    assert samples(scrape(port))[key] <= 1000


def test_rules_of_an_operators_own(make_broker, ensemble, tmp_path):
    rules = tmp_path / "own.yml"
    rules.write_text(OWN)
    found = {}
    for kind in Apache, Barnabas:
        broker = with_agent(make_broker, kind, rules, **{"zookeeper.connect": ensemble.chroot().connect})
        load(broker)
        found[kind] = {k: v for k, v in samples(scrape(broker.http), kind is Barnabas).items() if k[0].startswith(("in_", "end_", "cluster_begins", "snake_", "kafka_server_BrokerTopicMetrics_fifteen"))}
        broker.stop()

    def without_what_differs(values):  # the cluster's id, and how batches were made up
        return {(name, tuple((k, v) for k, v in labels if k not in ("half",) and not (name == "in_Bytes_total" and k == "last"))): None if "Bytes" in name or name.endswith("_rate") else v
                for (name, labels), v in values.items() if "consumer_offsets" not in name}
    assert without_what_differs(found[Barnabas]) == without_what_differs(found[Apache])
    assert found[Barnabas][("in_Messages_total", (("last", "0"), ("topic", "t")))] == RECORDS / 1000


def test_strimzis_reporter(make_broker):
    """Asked for as in Apache's broker, and told which names, also while it runs."""
    port = free_port()
    broker = make_broker(**{
        "metric.reporters": "org.apache.kafka.common.metrics.JmxReporter,io.strimzi.kafka.metrics.prometheus.ServerKafkaMetricsReporter",
        "kafka.metrics.reporters": "io.strimzi.kafka.metrics.prometheus.ServerYammerMetricsReporter", "prometheus.metrics.reporter.listener": f"http://127.0.0.1:{port}",
        "prometheus.metrics.reporter.allowlist": "kafka_server_kafkaserver_(clusterid|brokerstate),kafka_server_app_info_.*,kafka_server_zookeeper.*,.*_bytesinpersec"})

    def tells():
        return {s for s in shapes(scrape(port), strict=False) if s[0].startswith("kafka_")}
    latency = "kafka_server_zookeeperclientmetrics_zookeeperrequestlatencyms"
    assert tells() == {
        ("kafka_server_kafkaserver_clusterid_info", "gauge", ("ClusterId",)), ("kafka_server_kafkaserver_brokerstate", "gauge", ()),
        ("kafka_server_app_info_version_info", "gauge", ("version",)), ("kafka_server_app_info_commit_id_info", "gauge", ("commit_id",)),
        ("kafka_server_app_info_start_time_ms", "gauge", ()), ("kafka_server_brokertopicmetrics_bytesinpersec_total", "counter", ()),
        (latency, "summary", ("quantile",)), (latency + "_count", None, ()), (latency + "_sum", None, ())}
    values = samples(scrape(port), strict=False)
    assert {labels[0][1] for name, labels in values if name == latency} == {"0.5", "0.75", "0.95", "0.98", "0.99", "0.999"}
    assert values[(latency + "_count", ())] > 0 and values[(latency + "_sum", ())] >= 0
    assert broker.text().count("metric.reporters=org.apache.kafka.common.metrics.JmxReporter has no effect") == 1

    admin = AdminClient({"bootstrap.servers": broker.bootstrap})

    def allow(names):
        entry = ConfigEntry("prometheus.metrics.reporter.allowlist", names, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.BROKER, "0", incremental_configs=[entry])
        admin.incremental_alter_configs([resource])[resource].result()
    allow("kafka_server_kafkaserver_brokerstate")
    wait_until(lambda: tells() == {("kafka_server_kafkaserver_brokerstate", "gauge", ())}, "the names that are asked for now")
    allow("((")
    wait_until(lambda: "prometheus.metrics.reporter.allowlist: ((: missing closing parenthesis; what is told stays as it was" in broker.text(), "the warning")
    assert tells() == {("kafka_server_kafkaserver_brokerstate", "gauge", ())}


@pytest.fixture
def told(make_broker):
    """A broker that tells."""
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}"})
    broker.http = port
    return broker


def test_counts_are_true(told):
    load(told)
    values = samples(scrape(told.http))

    def of(name, **labels):
        return values[(name, tuple(sorted(labels.items())))]
    topic = "kafka_server_brokertopicmetrics_"
    assert of(topic + "messagesin_total", topic="t") == RECORDS
    assert of(topic + "messagesin_total", topic="u") == 1
    assert of(topic + "messagesin_total") >= RECORDS + 1  # and those of the group
    sizes = [of("kafka_log_log_size", topic="t", partition=str(p)) for p in (0, 1)]
    assert of(topic + "bytesin_total", topic="t") == sum(sizes) == of(topic + "bytesout_total", topic="t")
    assert [of("kafka_log_log_logendoffset", topic="t", partition=str(p)) for p in (0, 1)] == [RECORDS / 2] * 2
    assert of("kafka_server_replicamanager_leadercount") == of("kafka_server_replicamanager_partitioncount") == 3 + 5  # and those of the group's offsets
    assert of("kafka_controller_kafkacontroller_activecontrollercount") == 1
    assert of("process_open_fds") > 10 and of("process_resident_memory_bytes") > 1e6
    assert of("kafka_network_requestmetrics_deprecatedrequests_total", request_Metadata_version_1_clientSoftwareName="unknown", clientSoftwareVersion="unknown") == 1
    phases = ["requestqueue", "local", "remote", "responsequeue", "responsesend", "total"]
    produced = {p: of(f"kafka_network_requestmetrics_{p}timems_count", request="Produce") for p in phases}
    assert len(set(produced.values())) == 1 and produced["total"] > 0


def test_who_calls_itself_unknown_is_bounded_as_all_are(told):
    """Else whoever connects could fill the memory with names, and the metrics of everything else with numbers that are given out."""
    def text(b):
        return bytes([len(b) + 1]) + b

    def come(software, version):
        sock = connect(told)
        sock.sendall(frame(18, 3, b"\0" + text(software) + text(version) + b"\0") + frame(3, 1, struct.pack(">i", 0)))
        assert read_frame(sock) and read_frame(sock)
        return sock

    def counted(name, label):
        return [value for key, value in samples(scrape(told.http)).items() if key[0] == name and label in str(key)]
    for i in range(510):  # one after the other, so that connections are never many
        come(b"unknown", b"1.%d" % i).close()
    deprecated = counted("kafka_network_requestmetrics_deprecatedrequests_total", "clientSoftwareVersion")
    assert len(deprecated) == 501 and sum(deprecated) == 510
    socks = [come(b"unknown", b"2.%d" % i) for i in range(510)]
    connected = counted("kafka_server_socket_server_metrics_connections", "clientSoftwareName")
    for sock in socks:
        sock.close()
    assert len(connected) < 510


def test_what_published_dashboards_select(told):
    """Which values of labels they name, and what they ask that no bean says. Names and labels as such are compared with Apache's elsewhere."""
    load(told)
    for dialect in "strimzi", "confluent", "reporter":
        values = samples(scrape(told.http, f"metrics/{dialect}"), strict=False)

        def some(name, **labels):
            return [v for (n, l), v in values.items() if n == name and labels.items() <= dict(l).items()]
        for name in "process_cpu_seconds_total", "process_open_fds", "jvm_gc_collection_seconds_count", "jvm_gc_collection_seconds_sum", "jvm_threads_current":
            assert some(name), (dialect, name)
        assert some("jvm_memory_used_bytes", area="heap"), dialect
        for request in "Produce", "Fetch", "FetchConsumer", "FetchFollower", "Metadata", "OffsetCommit":
            assert some("kafka_network_requestmetrics_totaltimems", request=request, quantile="0.5" if dialect == "reporter" else "0.50"), (dialect, request)
    values = samples(scrape(told.http, "metrics/confluent"), strict=False)
    for phase in "local", "remote", "requestqueue", "responsequeue", "responsesend", "total":
        for quantile in "0.50", "0.75", "0.95", "0.98", "0.99", "0.999":
            assert some(f"kafka_network_requestmetrics_{phase}timems", request="FetchFollower", quantile=quantile)
    for request in "Produce", "FetchConsumer", "Metadata", "OffsetCommit":
        assert some("kafka_network_requestmetrics_requestspersec", request=request), request
    assert some("kafka_network_requestmetrics_errorspersec", request="Metadata", error="NONE") and some("kafka_server_replicafetchermanager_maxlag", clientid="Replica")
    assert some("kafka_server_brokertopicmetrics_bytesinpersec", topic="t")


def test_some_families_alone(told):
    text = scrape(told.http, "metrics?name[]=kafka_server_kafkaserver_brokerstate&name%5B%5D=process_open_fds")
    assert {name for name, _ in samples(text)} == {"kafka_server_kafkaserver_brokerstate", "process_open_fds"}
    assert gzip_text(told.http) == gzip_text(told.http, plain=True)


def gzip_text(port, plain=False):
    """Of a family that stands still."""
    what = "metrics/raw?name[]=kafka_server_KafkaServer_Value"
    out = subprocess.run(["curl", "-sS", "-g", *([] if plain else ["--compressed"]), f"http://127.0.0.1:{port}/{what}"], capture_output=True, text=True, check=True).stdout
    return [line for line in out.splitlines() if "BrokerState" in line]


def test_health(told, zookeeper):
    assert status(told.http, "livez") == status(told.http, "readyz") == 200
    assert status(told.http, "v1/ready") == 204
    assert json.loads(scrape(told.http, "v1/broker-state")) == {"brokerState": 3}
    assert json.loads(scrape(told.http, "v1/kraft-migration")) == {"state": 0}
    assert status(told.http, "nothing") == 404
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{told.http}/metrics", method="POST"), timeout=60)
    assert refused.value.code == 405 and refused.value.headers["Allow"] == "GET, HEAD"
    assert status(told.http, "metrics", "DELETE") == 501
    assert status(told.http, "metrics", "HEAD") == 200


def jolokia(port, path="", body=None):
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/jolokia/{path}", data), timeout=60) as answer:
        return json.loads(answer.read())


def test_jolokia(told):
    load(told)
    read = jolokia(told.http, "read/kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec,topic=t")
    assert read["status"] == 200 and read["value"]["Count"] == RECORDS and read["value"]["EventType"] == "messages"
    one = jolokia(told.http, "read/kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec,topic=t/Count")
    assert one["value"] == RECORDS
    all_of_them = jolokia(told.http, "read/kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec,topic=*/Count")
    assert all_of_them["value"]["kafka.server:name=MessagesInPerSec,topic=t,type=BrokerTopicMetrics"] == {"Count": RECORDS}
    posted = jolokia(told.http, "?canonicalNaming=false", [
        {"type": "read", "mbean": "kafka.server:name=MessagesInPerSec,topic=*,type=BrokerTopicMetrics", "attribute": ["Count"]},
        {"type": "read", "mbean": "kafka.server:type=Nope,name=X"}, {"type": "exec", "mbean": "x:type=y", "operation": "gc"}, {"type": "version"}, 5])
    assert posted[0]["value"]["kafka.server:type=BrokerTopicMetrics,name=MessagesInPerSec,topic=u"] == {"Count": 1}
    assert [p["status"] for p in posted] == [200, 404, 403, 200, 400]
    assert posted[1]["error_type"] == "javax.management.InstanceNotFoundException"
    found = jolokia(told.http, "search/kafka.controller:type=KafkaController,*")["value"]
    assert "kafka.controller:name=ActiveControllerCount,type=KafkaController" in found and len(found) > 10
    listed = jolokia(told.http, "list/kafka.log")["value"]
    assert listed["name=LogEndOffset,partition=1,topic=t,type=Log"]["attr"]["Value"]["rw"] is False
    assert jolokia(told.http, "read/no%20bean")["status"] == 400
    assert jolokia(told.http, body={"type": "read", "mbean": "*:*", "attribute": ["Count"] * 1001})["status"] == 400
    asked = [{"type": "read", "mbean": "*:*"}] * 1000  # together; one alone is told all that there is
    first, *_, last = jolokia(told.http, body=asked)
    assert first["status"] == 200 and last["status"] == 500 and "More beans than are told at once" in last["error"]


def test_jolokia_looks_at_so_much_and_no_more(told):
    """What is asked for may cost much and tell nothing: a body has a bound, and who has gone away has no worker at all."""
    admin = AdminClient({"bootstrap.servers": told.bootstrap})
    admin.create_topics([NewTopic("wide", 500, 1)])["wide"].result()
    dear = [{"type": "read", "mbean": "*:type=*,nope=x,*"}] * 1000
    first, *_, last = jolokia(told.http, body=dear)
    assert first["status"] == 404 and last["status"] == 500 and "More beans than are looked at" in last["error"]

    def ask_and_leave():
        body = json.dumps(dear).encode()
        s = socket.create_connection(("127.0.0.1", told.http))
        s.sendall(b"POST /jolokia HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        return s

    for _ in range(20):  # several for each worker
        ask_and_leave().close()
    begin = processor_seconds(told.process.pid)
    assert status(told.http, "metrics") == 200
    assert processor_seconds(told.process.pid) - begin < 8  # the work for those who have gone takes half a minute
    waiting = [ask_and_leave() for _ in range(10)]
    told.stop()  # while the beans of what goes are looked at
    assert len(waiting) == 10


def test_how_late_compaction_is(make_broker):
    """By max.compaction.lag.ms, when the last pass was begun."""
    port, late_ms = free_port(), 100_000
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "log.cleaner.backoff.ms": 100})

    def delay():
        return samples(scrape(port))["kafka_log_logcleaner_max_compaction_delay_secs", ()]

    assert delay() == 0
    config = {"cleanup.policy": "compact", "max.compaction.lag.ms": "1000", "min.cleanable.dirty.ratio": "1", "segment.bytes": "1000"}
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("late", 1, config=config)])["late"].result()
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})
    for _ in range(5):
        producer.produce("late", b"x" * 500, key=b"k", timestamp=int(time.time() * 1000) - late_ms)
        assert producer.flush(30) == 0
    wait_until(lambda: delay() > 0, "a pass that is late")
    assert late_ms / 1000 - 2 <= delay() <= late_ms / 1000 + 30


def test_only_users_may_ask_and_by_tls(make_broker, tmp_path):
    authority, port = Authority(tmp_path / "ca"), free_port()
    make_broker(**{"barnabas.http.listeners": f"RAW://127.0.0.1:{port}", "barnabas.http.ssl.enable": "true", "barnabas.http.users": "scraper:s=:cret,other:x",
                   "ssl.keystore.type": "PEM", "ssl.keystore.location": authority.issue("server")})
    context = ssl.create_default_context(cafile=str(authority.certificate))

    def ask(path, user=None, word=None):
        word = base64.b64encode(user.encode()).decode() if user else word
        headers = {"Authorization": "Basic " + word} if word else {}
        try:
            with urllib.request.urlopen(urllib.request.Request(f"https://127.0.0.1:{port}/{path}", headers=headers), context=context, timeout=60) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.headers["WWW-Authenticate"]
    assert ask("metrics") == ask("jolokia", "scraper:wrong") == ask("metrics", "scraper:") == (401, 'Basic realm="barnabas"')
    assert ask("metrics", word="!" * 8000) == ask("metrics", word="a") == ask("metrics")
    code, text = ask("metrics", "scraper:s=:cret")
    assert code == 200 and "kafka_server_KafkaServer_Value" in text
    assert ask("livez") == (200, "ok\n")


def test_the_certificate_of_the_http_port_is_renewed(make_broker, tmp_path):
    """By a hangup, as those of listeners are; when it ends is told."""
    authority, port, keys = Authority(tmp_path / "ca"), free_port(), tmp_path / "keys.pem"
    keys.write_text(authority.issue("server").read_text())
    broker = make_broker(**{"barnabas.http.listeners": f"NATIVE://127.0.0.1:{port}", "barnabas.http.ssl.enable": "true",
                            "ssl.keystore.type": "PEM", "ssl.keystore.location": keys})
    context = ssl.create_default_context(cafile=str(authority.certificate))

    def shown():
        """When the certificate that is shown ends, by itself and by the metric."""
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1") as s:
            ends = ssl.cert_time_to_seconds(s.getpeercert()["notAfter"])
        with urllib.request.urlopen(f"https://127.0.0.1:{port}/metrics", context=context, timeout=60) as answer:
            told = re.search(r'^barnabas_tls_certificate_expiry_timestamp_seconds\{listener="HTTP"\} (\S+)$', answer.read().decode(), re.M)
        return ends, float(told[1])
    first, told = shown()
    assert first == told
    keys.write_text(authority.issue("renewed", days=9).read_text())
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: shown()[0] > first + 5 * 86400, "the certificate that the file has now")
    assert shown()[0] == shown()[1]
    keys.write_text("nothing")
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "ERROR The HTTP server goes on with the stores that it had" in broker.text(), "it to be told")
    assert shown()[0] > first + 5 * 86400
    assert broker.stop() == 0


@pytest.mark.parametrize("settings, env, said", [
    ({"barnabas.http.listeners": "METRICS://127.0.0.1:none"}, {}, "none is no port"),
    ({"barnabas.http.listeners": "GREEK://127.0.0.1:0"}, {}, "Invalid value GREEK://127.0.0.1:0 for configuration barnabas.http.listeners"),
    ({"barnabas.http.listeners": "METRICS://192.0.2.1:0"}, {}, "The HTTP server failed to bind to 192.0.2.1:0"),
    ({"barnabas.http.listeners": "METRICS://127.0.0.1:0", "barnabas.http.ssl.enable": "true"}, {}, "barnabas.http.ssl.enable: "),
    ({"barnabas.http.listeners": "METRICS://127.0.0.1:0", "barnabas.http.users": "nobody"}, {}, "Invalid value [hidden] for configuration barnabas.http.users"),
    ({}, {"KAFKA_OPTS": "-javaagent:/x/jmx_prometheus_javaagent-1.0.1.jar=0:/no/such/file.yml"}, "cannot read /no/such/file.yml"),
])
def test_does_not_start_with_what_cannot_be_had(zookeeper, tmp_path, settings, env, said):
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", {})
    broker.properties.update(settings)
    broker.env.update(env)
    broker.launch()
    assert broker.process.wait(60) == 1
    assert said in broker.text(), broker.text()


@pytest.mark.parametrize("server, key, value, said", [
    ("authentication: {basic: {username: u, password: p}}", "barnabas.http.users", "u:p", "httpServer.authentication has no effect here; set barnabas.http.users instead"),
    ("ssl: {certificate: {alias: a}}", "barnabas.http.ssl.enable", "true", "httpServer.ssl has no effect here; set barnabas.http.ssl.enable instead"),
], ids=["users", "encryption"])
def test_what_an_agent_protects_is_not_open(zookeeper, tmp_path, server, key, value, said):
    rules = tmp_path / "rules.yml"
    rules.write_text(f"httpServer:\n  {server}\n  threads: {{minimum: 1}}\n")
    check_protection(zookeeper, tmp_path, f"/x/jmx_prometheus_javaagent-1.0.1.jar=127.0.0.1:0:{rules}", key, value, said)


@pytest.mark.parametrize("asked, key, value, said", [
    ("user=u,password=p", "barnabas.http.users", "u:p", "user has no effect here; set barnabas.http.users instead"),
    ("authMode=jaas", "barnabas.http.users", "u:p", "authMode has no effect here; set barnabas.http.users instead"),
    ("policyLocation=file:///etc/jolokia.xml", "barnabas.http.users", "u:p", "policyLocation has no effect here; set barnabas.http.users instead"),
    ("protocol=https", "barnabas.http.ssl.enable", "true", "protocol=https has no effect here; set barnabas.http.ssl.enable instead"),
])
def test_what_jolokias_agent_protects_is_not_open(zookeeper, tmp_path, asked, key, value, said):
    check_protection(zookeeper, tmp_path, f"/x/jolokia-agent.jar=host=127.0.0.1,port=0,{asked}", key, value, said)


def check_protection(zookeeper, tmp_path, agent, key, value, said):
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", {})
    broker.env["KAFKA_OPTS"] = f"-javaagent:{agent}"
    broker.properties.update({"ssl.keystore.type": "PEM", "ssl.keystore.location": Authority(tmp_path / "ca").issue("server")})
    broker.launch()
    assert broker.process.wait(60) == 1
    assert said in broker.text(), broker.text()
    broker.properties[key] = value
    broker.start()
    broker.stop()
