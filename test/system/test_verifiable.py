"""kafka-verifiable-producer.sh and kafka-verifiable-consumer.sh: the same events as Apache's tools print."""

import json
import re
import signal

import pytest
from harness import BUILD, TOP, Apache, Barnabas, Process, consume, java, produce, wait_until
from test_tools import script, topics

PRODUCER, CONSUMER = "org.apache.kafka.tools.VerifiableProducer", "org.apache.kafka.tools.VerifiableConsumer"


@pytest.fixture(params=[Barnabas, Apache], ids=["barnabas", "apache"])
def b(request, borrow):
    broker = borrow(request.param)
    for name in "t", "u":
        topics(broker, "--create", "--topic", name, "--partitions", 2)
    return broker


def events(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def ours(tool, b, *args, code=0):
    return events(script(tool, "--bootstrap-server", b.bootstrap, *args, code=code))


def theirs(tool, b, *args):
    return events(java(tool, "--bootstrap-server", b.bootstrap, *args))


def timeless(all_events, *without):
    """Without what differs from run to run; fields in their order."""
    return [list({k: v for k, v in e.items() if k not in ("timestamp", "avg_throughput", *without)}.items()) for e in all_events]


def started(folder, name, *args):
    """One of the tools in the background, its lines in a file."""
    process = Process(folder / f"{name}.log")
    process.spawn([TOP / "bin" / f"{name}.sh", *args], {"BARNABAS_BUILD": str(BUILD)})
    return process


def names_in(process):
    return [e["name"] for e in events(process.text())]


# ---- The producer ----


@pytest.mark.parametrize("args", [[], ["--acks", 1, "--value-prefix", 7], ["--repeating-keys", 3], ["--acks", 0, "--repeating-keys", 1]], ids=str)
def test_what_is_produced(b, args):
    mine = ours("kafka-verifiable-producer", b, "--topic", "t", "--max-messages", 8, *args)
    other = theirs(PRODUCER, b, "--topic", "u", "--max-messages", 8, *args)
    assert [list(e) for e in mine] == [list(e) for e in other]
    assert sorted(timeless(mine, "topic", "offset", "partition")) == sorted(timeless(other, "topic", "offset", "partition"))
    assert sorted(consume(b, "t", fmt="%k %s\\n")) == sorted(consume(b, "u", fmt="%k %s\\n"))
    if "--repeating-keys" in args:
        assert {(e["key"], e["partition"]) for e in mine if "key" in e} == {(e["key"], e["partition"]) for e in other if "key" in e}
    assert mine[-1]["acked"] == mine[-1]["sent"] == 8 and mine[-1]["avg_throughput"] > 0


def test_what_cannot_be_sent(b):
    args = ["--topic", "no topic", "--max-messages", 1]
    mine, other = ours("kafka-verifiable-producer", b, *args), theirs(PRODUCER, b, *args)
    assert timeless(mine, "message") == timeless(other, "message")
    assert mine[1]["exception"] == "class org.apache.kafka.common.errors.InvalidTopicException"


def test_times_of_messages(b):
    ours("kafka-verifiable-producer", b, "--topic", "t", "--max-messages", 2, "--message-create-time", 1000, "--repeating-keys", 1)
    stamps = [int(line) for line in consume(b, "t", fmt="%T\\n")]
    assert stamps[0] == 1000 and 1000 <= stamps[1] < 60000


def test_a_signal_ends_the_producer(b, tmp_path):
    process = started(tmp_path, "kafka-verifiable-producer", "--bootstrap-server", b.bootstrap, "--topic", "t", "--throughput", "200")
    wait_until(lambda: names_in(process).count("producer_send_success") >= 20, "records")
    process.stop(signal.SIGTERM)
    done = events(process.text())
    assert [e["name"] for e in done[-2:]] == ["shutdown_complete", "tool_data"]
    assert done[-1]["sent"] == done[-1]["acked"] == names_in(process).count("producer_send_success") == len(consume(b, "t"))
    assert done[-1]["avg_throughput"] < 300


def test_settings_from_a_file(b, tmp_path):
    config = tmp_path / "config"
    config.write_text("acks=all\nenable.idempotence=true\nretries=3\n")
    assert ours("kafka-verifiable-producer", b, "--topic", "t", "--max-messages", 3, "--producer.config", config)[-1]["acked"] == 3


# ---- The consumer ----


def flat(all_events):
    """What a consumer says, however the records were divided into batches and whatever partition came first."""
    found = {"names": [], "records": [], "assigned": []}
    for e in all_events:
        if e["name"] not in found["names"]:
            found["names"].append(e["name"])
        if e["name"] == "records_consumed":
            found["records"] += [(p["topic"], p["partition"], o) for p in e["partitions"] for o in range(p["minOffset"], p["maxOffset"] + 1)]
        if e["name"].startswith("partitions_"):
            found["assigned"] += [(e["name"], p["topic"], p["partition"]) for p in e["partitions"]]
    return {**found, "records": sorted(found["records"]), "shapes": sorted({str(list(e)) for e in all_events})}


@pytest.mark.parametrize("args", [[], ["--verbose"], ["--enable-autocommit"], ["--group-instance-id", "one"],
                                  ["--assignment-strategy", "org.apache.kafka.clients.consumer.RoundRobinAssignor"]], ids=str)
def test_what_is_consumed(b, args):
    for p in 0, 1:
        produce(b, "t", [f"{p}-{i}" for i in range(10)], "-p", str(p))
    args = ["--topic", "t", "--max-messages", 20, *args]
    mine, other = ours("kafka-verifiable-consumer", b, "--group-id", "mine", *args), theirs(CONSUMER, b, "--group-id", "other", *args)
    assert flat(mine) == flat(other)
    assert sorted(str(e) for e in timeless(mine) if e[0][1] == "record_data") == sorted(str(e) for e in timeless(other) if e[0][1] == "record_data")
    described = script("kafka-consumer-groups", "--bootstrap-server", b.bootstrap, "--describe", "--group", "mine")
    assert re.search(r"\nmine +t +0 +10 +10 +0 ", described) and re.search(r"\nmine +t +1 +10 +10 +0 ", described)


def test_the_limit_cuts_a_batch(b):
    produce(b, "t", [str(i) for i in range(10)], "-p", "0")
    args = ["--topic", "t", "--group-id", "g", "--max-messages", 4]
    first, second = ours("kafka-verifiable-consumer", b, *args), ours("kafka-verifiable-consumer", b, *args)
    assert [e["offsets"] for e in first if e["name"] == "offsets_committed"][-1] == [{"topic": "t", "partition": 0, "offset": 4}]
    assert flat(second)["records"] == [("t", 0, o) for o in range(4, 8)]


def test_two_members_share(b, tmp_path):
    a = started(tmp_path / ".", "kafka-verifiable-consumer", "--bootstrap-server", b.bootstrap, "--topic", "t", "--group-id", "g")
    wait_until(lambda: "partitions_assigned" in names_in(a), "the first assignment")
    second = script("kafka-verifiable-consumer", "--bootstrap-server", b.bootstrap, "--topic", "t", "--group-id", "g", "--max-messages", 0)
    assert [e["name"] for e in events(second)] == ["startup_complete", "shutdown_complete"]
    (tmp_path / "two").mkdir()
    other = started(tmp_path / "two", "kafka-verifiable-consumer", "--bootstrap-server", b.bootstrap, "--topic", "t", "--group-id", "g")
    wait_until(lambda: any(len(e.get("partitions", [])) == 1 for e in events(other.text())), "a share")
    wait_until(lambda: names_in(a)[-2:] == ["partitions_revoked", "partitions_assigned"], "the rest")
    produce(b, "t", ["x"], "-p", "0")
    produce(b, "t", ["x"], "-p", "1")
    for process in a, other:
        wait_until(lambda p=process: "offsets_committed" in names_in(p), "a record")
        process.stop(signal.SIGINT)
        assert names_in(process)[-1] == "shutdown_complete"


def test_where_it_begins(b):
    produce(b, "t", ["x"], "-p", "0")
    none = ours("kafka-verifiable-consumer", b, "--topic", "t", "--group-id", "g", "--reset-policy", "none")
    assert none[-1]["name"] == "shutdown_complete" and "no previously committed offset" in script.errors
    ours("kafka-verifiable-consumer", b, "--topic", "t", "--group-id", "g", "--reset-policy", "odd", code=1)
    assert "Invalid value odd for configuration auto.offset.reset" in script.errors


# ---- Usage ----


def blank_free(text):
    """Apache's fills its lines."""
    return "".join(text.split())


@pytest.mark.parametrize("name, tool, wrong", [
    ("producer", PRODUCER, [["--topic", "t"], ["--bootstrap-server", "x:1"], ["--topic", "t", "--bootstrap-server", "x:1", "--acks", 5],
                            ["--topic", "t", "--bootstrap-server", "x:1", "--broker-list", "x:1"]]),
    ("consumer", CONSUMER, [["--topic", "t", "--bootstrap-server", "x:1"], ["--group-id", "g", "--bootstrap-server", "x:1"]])])
def test_wrong_usage(name, tool, wrong):
    for args in wrong:
        script(f"kafka-verifiable-{name}", *args, code=1)
        said = java(tool, *args, check=False)
        assert blank_free(f"verifiable-{name}: error: {script.errors.splitlines()[0]}") in blank_free(said.replace("'5'", "5"))
    assert "--topic" in script(f"kafka-verifiable-{name}") and "--topic" in java(tool)
