"""log4j.properties: the six files that Kafka's administrators know, what shippers make of them, and what signals do."""

import contextlib
import ctypes
import fcntl
import json
import os
import re
import signal
import subprocess

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness import BUILD, PATIENCE, TOP, consume, free_port, produce, wait_until
from test_tools import script, topics

FILES = {"server.log", "controller.log", "state-change.log", "log-cleaner.log", "kafka-request.log", "kafka-authorizer.log"}

# Elastic's patterns for Kafka's lines: what an event is, and the component in front of its text.
EVENT = re.compile(r"\[(?P<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3})\] (?P<level>TRACE|DEBUG|INFO|WARN|ERROR|FATAL) +(?P<message>.*) "
                   r"\((?P<class>(?:[a-zA-Z$_][a-zA-Z$_0-9]*\.)*[a-zA-Z$_][a-zA-Z$_0-9]*)\)")
COMPONENT = re.compile(r"\[(?P<component>[^\]]*)\][,:.]? +(?P<message>.*)")

# In the manner of the file that Apache distributes, with a name of its own for each.
APACHES = "log4j.rootLogger=INFO, stdout, kafkaAppender\n" + "".join(
    f"log4j.appender.{name}=org.apache.log4j.DailyRollingFileAppender\nlog4j.appender.{name}.DatePattern='.'yyyy-MM-dd-HH\n"
    f"log4j.appender.{name}.File=${{kafka.logs.dir}}/{file}.log\nlog4j.appender.{name}.layout=org.apache.log4j.PatternLayout\n"
    f"log4j.appender.{name}.layout.ConversionPattern=[%d] %p %m (%c)%n\n"
    for name, file in {"kafkaAppender": "server", "stateChangeAppender": "state-change", "requestAppender": "kafka-request",
                       "cleanerAppender": "log-cleaner", "controllerAppender": "controller", "authorizerAppender": "kafka-authorizer"}.items()) + """
log4j.appender.stdout=org.apache.log4j.ConsoleAppender
log4j.appender.stdout.layout=org.apache.log4j.PatternLayout
log4j.appender.stdout.layout.ConversionPattern=[%d] %p %m (%c)%n
log4j.logger.org.apache.zookeeper=INFO
log4j.logger.kafka=INFO
log4j.logger.org.apache.kafka=INFO
log4j.logger.kafka.request.logger=WARN, requestAppender
log4j.additivity.kafka.request.logger=false
log4j.logger.kafka.network.RequestChannel$=WARN, requestAppender
log4j.additivity.kafka.network.RequestChannel$=false
log4j.logger.kafka.controller=TRACE, controllerAppender
log4j.additivity.kafka.controller=false
log4j.logger.kafka.log.LogCleaner=INFO, cleanerAppender
log4j.additivity.kafka.log.LogCleaner=false
log4j.logger.state.change.logger=INFO, stateChangeAppender
log4j.additivity.state.change.logger=false
log4j.logger.kafka.authorizer.logger=INFO, authorizerAppender
log4j.additivity.kafka.authorizer.logger=false
"""


@pytest.fixture
def logs(tmp_path):
    return tmp_path / "logs"


@pytest.fixture
def start(make_broker, tmp_path, logs):
    def start(text, **properties):
        setup = tmp_path / "log4j.properties"
        setup.write_text(text)

        def each(broker):
            broker.env.update(KAFKA_LOG4J_OPTS=f"-Dlog4j.configuration=file:{setup}", LOG_DIR=str(logs))
            return {}

        return make_broker(each=each, **properties)

    return start


@contextlib.contextmanager
def stopped_thread(thread):
    """That thread alone stands still, as if it were stuck."""
    attach, detach, any_thread = 16, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.ptrace(attach, thread, None, None) == 0, os.strerror(ctypes.get_errno())
    os.waitpid(thread, any_thread)
    try:
        yield
    finally:
        libc.ptrace(detach, thread, None, None)


def busy(broker):
    """Topics, elections, groups, compaction, and somebody who may not."""
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    compacted = {"cleanup.policy": "compact", "segment.bytes": "1048576", "min.cleanable.dirty.ratio": "0.01"}
    for done in admin.create_topics([NewTopic("t", 2), NewTopic("compacted", 1, config=compacted)]).values():
        done.result(PATIENCE)
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for i in range(3000):
        producer.produce("compacted", key=str(i % 7), value=b"x" * 1000)
    producer.flush(PATIENCE)
    produce(broker, "t", ["one", "two"])
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["t"])
    wait_until(lambda: consumer.poll(0.1), "a record")
    consumer.close()
    admin.delete_topics(["t"])["t"].result(PATIENCE)


def lines_of(logs):
    """By file: each line, taken apart. A line that is none of Kafka's fails."""
    found = {}
    for file in logs.iterdir():
        found[file.name] = []
        for line in file.read_text().splitlines():
            event = EVENT.fullmatch(line)
            assert event, f"{file.name}: {line}"
            found[file.name].append(event)
    return found


@pytest.mark.parametrize("text", [(TOP / "conf" / "log4j.properties").read_text(), APACHES], ids=["ours", "apaches"])
def test_the_six_files_that_shippers_understand(start, logs, text):
    broker = start(text, log_cleaner_backoff_ms=100, authorizer_class_name="kafka.security.authorizer.AclAuthorizer",
                   allow_everyone_if_no_acl_found="true")
    script("kafka-configs", "--bootstrap-server", broker.bootstrap, "--broker-logger", "0", "--alter", "--add-config", "kafka.authorizer.logger=DEBUG")
    busy(broker)
    wait_until(lambda: "Compacted compacted-0" in (logs / "log-cleaner.log").read_text(), "the compaction")
    assert {f.name for f in logs.iterdir()} == FILES
    broker.stop()
    found = lines_of(logs)
    classes = {name: {e["class"] for e in events} for name, events in found.items()}
    assert "kafka.controller.KafkaController" in classes["controller.log"]
    assert classes["state-change.log"] == {"state.change.logger"} and classes["log-cleaner.log"] == {"kafka.log.LogCleaner"}
    assert {"kafka.server.KafkaServer", "kafka.coordinator.group.GroupCoordinator", "kafka.log.LogManager"} <= classes["server.log"]
    assert not any(c.startswith(("kafka.controller.", "state.", "kafka.log.LogCleaner")) for c in classes["server.log"])
    assert any("is Allowed Operation = Write" in e["message"] for e in found["kafka-authorizer.log"])
    for name in "controller.log", "state-change.log":
        assert all(COMPONENT.fullmatch(e["message"]) for e in found[name]), name
    said = [e["message"] for e in found["state-change.log"]]
    assert any(x.startswith("[Controller id=0 epoch=1] Changed partition t-0 state from NonExistentPartition to NewPartition") for x in said)
    assert any(x.startswith("[Controller id=0 epoch=1] Changed partition t-0 from NewPartition to OnlinePartition") for x in said)
    assert any(x.startswith("[Broker id=0] Leader t-0 starts at leader epoch 0 from offset 0") for x in said)
    text = broker.text()
    assert "[KafkaServer id=0] started (kafka.server.KafkaServer)" in text and "state.change.logger" not in text


def test_levels_by_apaches_names(start, logs):
    broker = start(APACHES)
    at = ["--bootstrap-server", broker.bootstrap, "--broker-logger", "0"]
    shown = dict(re.findall(r"^  (\S+)=(\w+) ", script("kafka-configs", *at, "--describe"), re.M))
    assert shown["kafka.request.logger"] == "WARN" and shown["kafka.controller"] == shown["kafka.controller.KafkaController"] == "TRACE"
    assert shown["kafka.network.RequestChannel$"] == "WARN" and shown["kafka.server.KafkaApis"] == "INFO"
    assert "DEBUG" not in (logs / "server.log").read_text()
    script("kafka-configs", *at, "--alter", "--add-config", "kafka.log=DEBUG")
    topics(broker, "--create", "--topic", "t")
    broker.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reading again" in (logs / "server.log").read_text(), "the hangup")
    shown = script("kafka-configs", *at, "--describe")
    assert "  kafka.log=DEBUG " in shown and "  kafka.log.LogManager=DEBUG " in shown, "what was set at run time stays"


def test_each_request_is_a_line_without_secrets(start, logs):
    """As Apache's request log has it, of clients of any kind, and of what would be no answer."""
    broker = start(APACHES.replace("log4j.logger.kafka.request.logger=WARN", "log4j.logger.kafka.request.logger=DEBUG"))
    at = ["--bootstrap-server", broker.bootstrap]
    busy(broker)
    script("kafka-configs", *at, "--alter", "--broker", "0", "--add-config", "log.retention.ms=7200000")
    script("kafka-configs", *at, "--alter", "--broker", "0", "--add-config", "ssl.key.password=hushhush", code=1)
    script("kafka-configs", *at, "--alter", "--broker-logger", "0", "--add-config", "root=INFO")
    script("kafka-configs", *at, "--alter", "--user", "u", "--add-config", "SCRAM-SHA-256=[password=hushhush]")
    assert broker.stop() == 0
    text = (logs / "kafka-request.log").read_text()
    found = [json.loads(e["message"].removeprefix("Completed request:")) for e in lines_of(logs)["kafka-request.log"]]
    kinds = {x["requestHeader"]["requestApiKeyName"] for x in found}
    assert {"API_VERSIONS", "METADATA", "PRODUCE", "FETCH", "JOIN_GROUP", "OFFSET_COMMIT", "CREATE_TOPICS", "LEADER_AND_ISR", "ALTER_CONFIGS", "INCREMENTAL_ALTER_CONFIGS",
            "ALTER_USER_SCRAM_CREDENTIALS"} <= kinds
    for x in found:
        assert list(x) == ["isForwarded", "requestHeader", "request", "response", "connection", "totalTimeMs", "requestQueueTimeMs", "localTimeMs",
                           "remoteTimeMs", "throttleTimeMs", "responseQueueTimeMs", "sendTimeMs", "securityProtocol", "principal", "listener", "clientInformation"]
        assert isinstance(x["request"], dict) and isinstance(x["response"], dict), x
        assert re.fullmatch(rf"127.0.0.1:{broker.port}-127.0.0.1:\d+-\d+", x["connection"]) or x["connection"].startswith(":-"), x
        assert x["securityProtocol"] == x["listener"] == "PLAINTEXT" and x["principal"] == "User:ANONYMOUS"
        parts = sum(x[k] for k in x if k.endswith("TimeMs") and k not in ("totalTimeMs", "throttleTimeMs"))
        assert abs(x["totalTimeMs"] - parts) < 0.01, x
    produced = next(x for x in found if x["requestHeader"]["requestApiKeyName"] == "PRODUCE")
    assert produced["request"]["topicData"][0]["partitionData"][0]["recordsSizeInBytes"] > 0
    altered = [c for x in found if x["requestHeader"]["requestApiKeyName"].endswith("ALTER_CONFIGS") for r in x["request"]["resources"] for c in r["configs"]]
    assert {c["name"]: c["value"] for c in altered} == {"ssl.key.password": "[hidden]", "log.retention.ms": "7200000", "root": "INFO"}
    assert "hushhush" not in text and "hushhush" not in broker.text()


def test_what_is_not_understood_is_told_of_and_the_broker_starts(start, logs):
    broker = start("log4j.rootLogger=INFO, A, B\nlog4j.appender.A=org.example.Mail\nlog4j.appender.B=org.apache.log4j.FileAppender\n"
                   "log4j.appender.B.File=/proc/no/such\n")
    text = broker.text()
    assert "log4j.properties:2: log4j.appender.A: there is no org.example.Mail in this broker" in text
    assert "/proc/no/such cannot be opened" in text and "[KafkaServer id=0] started" in text


def test_a_disk_that_hangs_holds_up_nobody(start, logs):
    """A pipe that nobody reads takes no more than a page."""
    logs.mkdir()
    os.mkfifo(logs / "kafka-request.log")
    reader = os.open(logs / "kafka-request.log", os.O_RDWR)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    broker = start(APACHES.replace("log4j.logger.kafka.request.logger=WARN", "log4j.logger.kafka.request.logger=DEBUG"))
    topics(broker, "--create", "--topic", "t")
    produce(broker, "t", [str(i) for i in range(100)])
    assert len(consume(broker, "t")) == 100
    assert broker.stop() == 0
    assert os.read(reader, 1) == b"["
    os.close(reader)


def test_a_hangup_opens_files_again_while_records_come(start, logs):
    text = APACHES.replace("log4j.logger.kafka=INFO", "log4j.logger.kafka=DEBUG")
    broker = start(text)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1)])["t"].result(PATIENCE)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 0})
    failed = []
    for i in range(20):
        for k in range(50):
            producer.produce("t", f"{i}-{k}", on_delivery=lambda e, m: e and failed.append(e))
        moved = logs / f"server.log.moved-{i}"
        (logs / "server.log").rename(moved)
        broker.process.send_signal(signal.SIGHUP)
        wait_until((logs / "server.log").exists, "the file to be there again")
    producer.flush(PATIENCE)
    assert not failed and len(consume(broker, "t")) == 1000
    setup = logs.parent / "log4j.properties"
    setup.write_text(APACHES.replace("${kafka.logs.dir}/server.log", "${kafka.logs.dir}/other.log").replace("log4j.logger.kafka.controller=TRACE", "log4j.logger.kafka.controller=OFF"))
    broker.process.send_signal(signal.SIGHUP)
    wait_until((logs / "other.log").exists, "the other file")
    known = (logs / "controller.log").read_text()
    admin.create_topics([NewTopic("u", 1)])["u"].result(PATIENCE)
    assert (logs / "controller.log").read_text() == known
    assert broker.stop() == 0
    found = lines_of(logs)
    hangups = [e for events in found.values() for e in events if "reading again what may have changed" in e["message"]]
    assert len(hangups) == 21
    assert any("Shut down completed" in e["message"] for e in found["other.log"])


def test_a_hangup_does_not_end_who_has_no_files(make_broker):
    broker = make_broker()
    for _ in range(3):
        seen = broker.text().count("reading again what may have changed")
        broker.process.send_signal(signal.SIGHUP)
        wait_until(lambda: broker.text().count("reading again what may have changed") > seen, "the hangup")
    assert broker.is_running()


def test_the_start_script_finds_the_file_where_apaches_does(tmp_path, logs):
    """A broker that does not find ZooKeeper has said what is to be seen."""
    properties = tmp_path / "server.properties"
    properties.write_text(f"broker.id=3\nlog.dirs={tmp_path / 'data'}\nlisteners=PLAINTEXT://127.0.0.1:{free_port()}\n"
                          f"zookeeper.connect=127.0.0.1:{free_port()}\nzookeeper.connection.timeout.ms=100\n")
    env = {"BARNABAS_BUILD": str(BUILD), "PATH": "/usr/bin:/bin", "LOG_DIR": str(logs)}
    subprocess.run([TOP / "bin" / "kafka-server-start.sh", "-daemon", properties], check=True, env=env)
    end = "[KafkaServer id=3] Shut down completed"
    for file in "server.log", "kafkaServer.out":
        wait_until(lambda: (logs / file).exists() and end in (logs / file).read_text(), file)
    done = subprocess.run([TOP / "bin" / "kafka-server-start.sh", properties], capture_output=True, text=True, env=env)
    assert done.returncode == 1 and end in done.stdout and (logs / "server.log").read_text().count(end) == 2


def test_journald_gets_priorities(tmp_path):
    with open(tmp_path / "journal", "wb") as out:
        stream = os.fstat(out.fileno())
        subprocess.run([BUILD / "barnabas", tmp_path / "no.properties"], stderr=out,
                       env={**os.environ, "JOURNAL_STREAM": f"{stream.st_dev}:{stream.st_ino}"})
        subprocess.run([BUILD / "barnabas", tmp_path / "no.properties"], stderr=out, env={**os.environ, "JOURNAL_STREAM": "1:2"})
    first, second = (tmp_path / "journal").read_text().splitlines()
    assert re.fullmatch(r"<2>.*no.properties.* \(kafka.Kafka\)", first) and EVENT.fullmatch(second)


def test_a_broker_says_what_it_is_at(make_broker):
    broker = make_broker()
    topics(broker, "--create", "--topic", "t", "--partitions", 3)
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "x"})
    producer.init_transactions(PATIENCE)
    producer.begin_transaction()
    producer.produce("t", "one")
    producer.flush(PATIENCE)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "fetch.wait.max.ms": 30000})
    consumer.assign([TopicPartition("t", 1)])
    consumer.poll(0.1)

    def told():
        broker.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: broker.text().count("State: that is all") == broker.text().count("State: somebody asks"), "the report")
        return broker.text()

    wait_until(lambda: re.search(r"State: requests that wait: .*PurgatorySize Fetch 1[,\s]", told()), "the fetch that waits")
    wait_until(lambda: "State: 1 transactional ids, 1 Ongoing; the oldest open transaction began" in broker.text(), "the transaction")
    text = broker.text()
    for loop in "control", "coordinator":
        assert re.search(rf"State: loop {loop} (sleeps|has been at work for \d+ ms), its last turn took \d+ us, \d+ messages wait", text), loop
    assert re.search(r"State: partitions: .*LeaderCount \d+", text) and "State: connections by listener and loop: " in text
    consumer.close()


def test_it_says_so_while_a_loop_is_stuck(make_broker):
    """That of the thread which takes all other signals."""
    broker = make_broker()
    os.kill(broker.process.pid, signal.SIGUSR1)
    wait_until(lambda: "State: that is all" in broker.text(), "the report")
    with stopped_thread(broker.process.pid):
        os.kill(broker.process.pid, signal.SIGUSR1)
        wait_until(lambda: broker.text().count("State: that is all") == 2, "the report of a broker that is stuck")
