"""kafka-console-consumer.sh: its message formatters print what Apache's do, and its options count as Apache's do."""

import re
import struct

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from harness import PATIENCE, Apache, Barnabas, java, produce, run_tool, wait_until
from test_tools import script, topics

TOOL = "org.apache.kafka.tools.consumer.ConsoleConsumer"
NEW = "org.apache.kafka.tools.consumer."
OFFSETS = [NEW + "OffsetsMessageFormatter", "kafka.coordinator.group.GroupMetadataManager$OffsetsMessageFormatter",
           NEW + "GroupMetadataMessageFormatter", "kafka.coordinator.group.GroupMetadataManager$GroupMetadataMessageFormatter"]
TRANSACTIONS = [NEW + "TransactionLogMessageFormatter", "kafka.coordinator.transaction.TransactionLog$TransactionLogMessageFormatter"]


def in_order(line):
    """Sets and maps of Scala have no order."""
    line = re.sub(r"(?<=HashSet\()[^)]*", lambda found: ", ".join(sorted(found.group().split(", "))), line)
    head, mark, members = line.partition("members=HashMap(")
    return head + mark + ", ".join(sorted(re.split(r"(?<=\)\)), ", members.removesuffix("))"))))


def tidy(text):
    """Without what is logged of the end by time, and with the JSON of records on lines of their own."""
    text = text.replace('}{"key"', '}\n{"key"').replace("}Processed", "}\nProcessed")
    return [in_order(line) for line in text.splitlines() if line and not line.startswith("ERROR Error processing message, terminating")]


def ours(broker, *args, code=0):
    out = script("kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--timeout-ms", 8000, *args, code=code)
    return tidy(out + "\n" + script.errors)


def assert_same(broker, count, *args):
    """What both print of one partition, from its start; there are so many records."""
    args = ["--partition", 0, "--offset", "earliest", "--max-messages", count, *args]
    theirs = tidy(java(TOOL, "--bootstrap-server", broker.bootstrap, "--timeout-ms", 8000, *args))
    assert ours(broker, *args) == theirs
    assert theirs[-1] == f"Processed a total of {count} messages"
    return theirs


def end_of(broker, topic):
    return int(script("kafka-get-offsets", "--bootstrap-server", broker.bootstrap, "--topic-partitions", f"{topic}:0").split(":")[-1])


@pytest.mark.parametrize("kind", [Apache, Barnabas])
def test_internal_topics(make_broker, kind):
    b = make_broker(kind=kind, offsets_topic_num_partitions=1, transaction_state_log_num_partitions=1)
    topics(b, "--create", "--topic", "t", "--partitions", 2)
    topics(b, "--create", "--topic", "u")
    settings = {"bootstrap.servers": b.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"}
    members = [confluent_kafka.Consumer({**settings, "group.instance.id": name}) for name in ("a", "b")]

    def are_ready():
        for m in members:
            m.poll(0.05)
        return all(m.assignment() for m in members)

    for m in members:
        m.subscribe(["t"])
    wait_until(are_ready, "the group")
    members[0].commit(offsets=[TopicPartition("t", 0, 0, metadata="mark")], asynchronous=False)
    for m in members:
        m.close()
    p = confluent_kafka.Producer({"bootstrap.servers": b.bootstrap, "transactional.id": "x"})
    p.init_transactions(PATIENCE)
    p.begin_transaction()
    for topic, partition in ("t", 0), ("t", 1), ("u", 0):
        p.produce(topic, "v", partition=partition)
    p.commit_transaction(PATIENCE)
    script("kafka-consumer-groups", "--bootstrap-server", b.bootstrap, "--reset-offsets", "--group", "h", "--topic", "t", "--to-latest", "--execute")
    script("kafka-consumer-groups", "--bootstrap-server", b.bootstrap, "--delete", "--group", "h")
    wait_until(lambda: end_of(b, "__transaction_state") == 4, "the end of the transaction")
    count = end_of(b, "__consumer_offsets")
    seen = [assert_same(b, count, "--topic", "__consumer_offsets", "--formatter", f) for f in OFFSETS]
    assert any('"metadata":"mark' in line for line in seen[0]) and any("groupInstanceId=Some(a)" in line for line in seen[3])
    assert sum(line.endswith("::NULL") for line in seen[1]) == 2
    for f in TRANSACTIONS:
        assert_same(b, 4, "--topic", "__transaction_state", "--formatter", f)


def test_old_names_of_formatters(broker):
    topics(broker, "--create", "--topic", "t")
    produce(broker, "t", ["one", "two"])
    for name in "Default", "NoOp":
        assert_same(broker, 2, "--topic", "t", "--formatter", f"kafka.tools.{name}MessageFormatter")
    ours(broker, "--topic", "t", "--formatter", "kafka.tools.LoggingMessageFormatter", "--from-beginning", "--max-messages", 2)
    assert "key:null" in script.errors and "value:two" in script.errors and "is deprecated" in script.errors
    assert ours(broker, "--topic", "t", "--formatter", "a.b", code=1)[0] == "a.b"


def test_settings_of_the_formatter_and_the_consumer(broker, tmp_path):
    topics(broker, "--create", "--topic", "t")
    produce(broker, "t", ["k:one", "k:two"], "-K", ":")
    formatting, consuming = tmp_path / "formatting", tmp_path / "consuming"
    formatting.write_text("print.key=true\nprint.offset=true\nkey.separator=|\n")
    consuming.write_text("client.id=from-a-file\nauto.offset.reset=latest\n")
    lines = assert_same(broker, 2, "--topic", "t", "--formatter-config", formatting, "--property", "key.separator=;", "--property", "print.partition=true")
    assert lines[0] == "Partition:0;Offset:0;k;one"
    assert ours(broker, "--topic", "t", "--consumer.config", consuming, "--consumer-property", "auto.offset.reset=earliest", "--max-messages", 1)[0] == "one"


def test_isolation_levels(broker):
    topics(broker, "--create", "--topic", "t")
    p = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": "x"})
    p.init_transactions(PATIENCE)
    for value in "aborted", "committed":
        p.begin_transaction()
        p.produce("t", value)
        assert p.flush(PATIENCE) == 0
        p.abort_transaction(PATIENCE) if value == "aborted" else p.commit_transaction(PATIENCE)
    assert_same(broker, 2, "--topic", "t", "--isolation-level", "read_uncommitted")
    assert assert_same(broker, 1, "--topic", "t", "--isolation-level", "read_committed")[0] == "committed"
    assert assert_same(broker, 1, "--topic", "t", "--consumer-property", "isolation.level=read_committed")[0] == "committed"


# Not among them: numbers of which versions of Java think differently.
NUMBERS = [0.0, -0.0, 1.0, 1.5, 0.1, 1e-3, 9.5e-4, 1e7, 9999999.0, 1e-10, -3.25, 100.0, 65536.0, float("nan"), float("inf"), -float("inf")]


@pytest.mark.parametrize("name, code, values", [("Double", ">d", [*NUMBERS, 1.7976931348623157e308, 123456.789]), ("Float", ">f", [*NUMBERS, 0.3]),
                                                ("Integer", ">i", [0, -1, 2**31 - 1]), ("Long", ">q", [0, -2**63]), ("Short", ">h", [-5]),
                                                ("Boolean", ">?", [True, False])])
def test_deserializers(broker, name, code, values):
    topics(broker, "--create", "--topic", "t")
    p = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap})
    for v in values:
        p.produce("t", struct.pack(code, v))
    assert p.flush(PATIENCE) == 0
    assert_same(broker, len(values), "--topic", "t", "--property", f"value.deserializer=org.apache.kafka.common.serialization.{name}Deserializer")


def test_what_is_skipped_leaves_nothing(broker):
    topics(broker, "--create", "--topic", "t")
    p = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap})
    for key, value in ((1, 2), (b"bad", 3), (4, b"worse"), (5, 6)):
        p.produce("t", *(x if isinstance(x, bytes) else struct.pack(">q", x) for x in (value, key)))
    assert p.flush(PATIENCE) == 0
    longs = "org.apache.kafka.common.serialization.LongDeserializer"
    args = ["--bootstrap-server", broker.bootstrap, "--topic", "t", "--partition", "0", "--offset", "earliest", "--max-messages", "4", "--skip-message-on-error",
            "--property", f"key.deserializer={longs}", "--property", f"value.deserializer={longs}", "--property", "print.key=true", "--property", "print.offset=true"]
    theirs = run_tool(TOOL, *args)
    assert script("kafka-console-consumer", *args) == theirs.stdout == "Offset:0\t1\t2\nOffset:1\tOffset:2\t4\tOffset:3\t5\t6\n"


def test_records_that_cannot_be_printed(broker):
    topics(broker, "--create", "--topic", "t")
    produce(broker, "t", ["not a number"])
    args = ["--topic", "t", "--from-beginning", "--max-messages", 1, "--value-deserializer", "org.apache.kafka.common.serialization.LongDeserializer"]
    assert java(TOOL, "--bootstrap-server", broker.bootstrap, *args, check=False).endswith("Processed a total of 1 messages\n")
    assert ours(broker, *args, code=1)[-1] == "Processed a total of 1 messages"
    assert ours(broker, *args, "--skip-message-on-error")[-1] == "Processed a total of 1 messages"
