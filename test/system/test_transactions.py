"""Transactions: what is committed is seen as a whole, what is not is never seen, whatever breaks."""

import json
import socket
import struct
import subprocess

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from controller_frames import Controller, take_office
from frames import Out
from harness import BUILD, FRANZ, JARS, JARS_4, PATIENCE, TOP, Apache, Barnabas, Process, apache_of, java, jvm, kcat, other, run, wait_until
from messages import Asker
from transaction_frames import TRANSACTIONAL, Connection, make_batch


def transactional(broker, name="x", **settings):
    p = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name,
                                  **{k.replace("_", "."): v for k, v in settings.items()}})
    p.init_transactions(PATIENCE)
    return p


def create(broker, *topics, partitions=1, replicas=1):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    for done in admin.create_topics([NewTopic(t, partitions, replicas) for t in topics]).values():
        done.result(PATIENCE)


def read(broker, topic, level="read_committed"):
    """All that a reader gets to see, until the end."""
    out = kcat(broker, "-C", "-t", topic, "-e", "-o", "beginning", "-X", f"isolation.level={level}", "-q")
    return out.split()


def takes(producer, topic, value, partition):
    """Not if a broker that has just started did not know the topic yet when it was asked."""
    try:
        producer.produce(topic, value, partition=partition)
    except confluent_kafka.KafkaException as e:
        if e.args[0].code() != confluent_kafka.KafkaError._UNKNOWN_TOPIC:
            raise
        return False
    return True


def write(producer, topic, *values, partition=0):
    """Until it is in the log: what is aborted before is not even sent."""
    for v in values:
        wait_until(lambda v=v: takes(producer, topic, v, partition), f"{topic} to be known")
    assert producer.flush(PATIENCE) == 0


def end(producer, commit):
    producer.commit_transaction(PATIENCE) if commit else producer.abort_transaction(PATIENCE)


def test_committed_and_aborted(broker):
    create(broker, "t", "u", partitions=3)
    p = transactional(broker)
    for i in range(4):
        p.begin_transaction()
        write(p, "t", f"t{i}a", f"t{i}b", partition=i % 3)
        write(p, "u", f"u{i}", partition=0)
        end(p, commit=i % 2 == 0)
    assert sorted(read(broker, "t")) == ["t0a", "t0b", "t2a", "t2b"]
    assert read(broker, "u") == ["u0", "u2"]
    assert sorted(read(broker, "u", "read_uncommitted")) == ["u0", "u1", "u2", "u3"]


def test_a_second_producer_of_the_id_fences_the_first(broker):
    create(broker, "t")
    first = transactional(broker)
    first.begin_transaction()
    write(first, "t", "lost")
    second = transactional(broker)
    with pytest.raises(confluent_kafka.KafkaException) as fenced:
        first.commit_transaction(PATIENCE)
    assert fenced.value.args[0].code() in (confluent_kafka.KafkaError._FENCED, confluent_kafka.KafkaError.PRODUCER_FENCED)
    second.begin_transaction()
    write(second, "t", "kept")
    second.commit_transaction(PATIENCE)
    assert read(broker, "t") == ["kept"]


def test_a_transaction_that_takes_too_long_is_aborted(make_broker):
    broker = make_broker(transaction_abort_timed_out_transaction_cleanup_interval_ms=200)
    create(broker, "t")
    p = transactional(broker, transaction_timeout_ms=1500)
    p.begin_transaction()
    write(p, "t", "late")
    other = transactional(broker, "y")
    other.begin_transaction()
    write(other, "t", "after")
    other.commit_transaction(PATIENCE)
    wait_until(lambda: read(broker, "t") == ["after"], "the end of the open transaction")
    with pytest.raises(confluent_kafka.KafkaException):
        p.commit_transaction(PATIENCE)


def test_a_timeout_above_the_limit_is_refused(make_broker):
    broker = make_broker(transaction_max_timeout_ms=5000)
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        transactional(broker, transaction_timeout_ms=6000)
    assert refused.value.args[0].code() == confluent_kafka.KafkaError.INVALID_TRANSACTION_TIMEOUT


def consumer(broker, group="g", **settings):
    return confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                                     "enable.auto.commit": False, **{k.replace("_", "."): v for k, v in settings.items()}})


def committed(c, topic, timeout=10):
    return c.committed([TopicPartition(topic, 0)], timeout)[0].offset


def take(c, count):
    got = []
    wait_until(lambda: got.extend(m.value().decode() for m in c.consume(count - len(got), 1)) or len(got) == count, "records")
    return got


@pytest.mark.parametrize("commit", [True, False])
def test_offsets_in_a_transaction(broker, commit):
    create(broker, "in", "out")
    kcat(broker, "-P", "-t", "in", stdin="a\nb\nc\n")
    c = consumer(broker, isolation_level="read_committed")
    c.subscribe(["in"])
    p = transactional(broker)
    p.begin_transaction()
    write(p, "out", *(v.upper() for v in take(c, 3)))
    p.send_offsets_to_transaction([TopicPartition("in", 0, 3)], c.consumer_group_metadata(), PATIENCE)
    with pytest.raises(confluent_kafka.KafkaException): # until it is known which offset it is
        committed(c, "in", 1)
    end(p, commit)
    wait_until(lambda: committed(c, "in") == (3 if commit else confluent_kafka.OFFSET_INVALID), "the offset")
    assert read(broker, "out") == (["A", "B", "C"] if commit else [])
    c.close()


def test_a_member_of_an_old_generation_commits_nothing(broker):
    create(broker, "in", "out")
    kcat(broker, "-P", "-t", "in", stdin="a\n")
    c = consumer(broker)
    c.subscribe(["in"])
    take(c, 1)
    old = c.consumer_group_metadata()
    c.close()
    p = transactional(broker)
    p.begin_transaction()
    with pytest.raises(confluent_kafka.KafkaException) as refused:
        p.send_offsets_to_transaction([TopicPartition("in", 0, 1)], old, PATIENCE)
    assert refused.value.args[0].code() in (confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID, confluent_kafka.KafkaError.ILLEGAL_GENERATION)
    p.abort_transaction(PATIENCE)


def test_offsets_of_an_open_transaction_survive_a_kill(broker):
    create(broker, "in", "out")
    kcat(broker, "-P", "-t", "in", stdin="a\nb\n")
    c = consumer(broker)
    c.assign([TopicPartition("in", 0)])
    p = transactional(broker)
    p.begin_transaction()
    write(p, "out", *take(c, 2))
    p.send_offsets_to_transaction([TopicPartition("in", 0, 2)], c.consumer_group_metadata(), PATIENCE)
    broker.kill()
    broker.restart()
    p.commit_transaction(PATIENCE)
    wait_until(lambda: committed(c, "in") == 2, "the offset")
    assert read(broker, "out") == ["a", "b"]
    c.close()


# ---- Two brokers: the coordinator and the log of the group on one, the records on the other ----


@pytest.fixture
def make_pair(make_broker):
    def make(coordinator, leader):
        settings = {"offsets.topic.num.partitions": 1, "transaction.state.log.num.partitions": 1,
                    "group.coordinator.rebalance.protocols": "classic",
                    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 500}
        a = make_broker(kind=coordinator, data="a", broker_id=1, **settings)
        transactional(a, "warm-up") # makes the topic while there is only one broker to have it
        b = make_broker(kind=leader, data="b", broker_id=2, **settings)
        wait_until(lambda: len(AdminClient({"bootstrap.servers": a.bootstrap}).list_topics(timeout=10).brokers) == 2, "both brokers")
        java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", a.bootstrap, "--create", "--topic", "t",
             "--replica-assignment", "2,2")
        wait_until(lambda: kcat(b, "-L", "-t", "t").count("leader 2") == 2, "the leader to know it")  # the controller's broker may before
        return a, b
    return make


PAIRS = [(Barnabas, Barnabas), (Apache, Barnabas), (Barnabas, Apache)]
NAMES = ["both", "with Apache's coordinator", "with Apache's leader"]


@pytest.mark.parametrize("kinds", PAIRS, ids=NAMES)
def test_across_brokers(make_pair, kinds):
    a, b = make_pair(*kinds)
    p = transactional(a)
    for i in range(6):
        p.begin_transaction()
        write(p, "t", f"{i}", partition=i % 2)
        end(p, commit=i % 3 != 0)
    assert sorted(read(a, "t")) == ["1", "2", "4", "5"]


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
@pytest.mark.parametrize("kinds", PAIRS, ids=NAMES)
def test_what_was_decided_is_completed_after_a_kill(make_pair, kinds, commit):
    """The markers cannot be written, as their leader is down: the next life of the coordinator does it."""
    a, b = make_pair(*kinds)
    p = transactional(a, socket_timeout_ms=5000)
    p.begin_transaction()
    write(p, "t", "0", partition=0)
    write(p, "t", "1", partition=1)
    b.kill()
    end(p, commit)
    a.kill()
    wait_until(lambda: a.zookeeper.children("/brokers/ids") == [], "the end of their sessions") # Apache's does not wait
    for broker in [b, a] if kinds[0] is Apache else [a, b]: # Apache's forgets markers of partitions that it is not told of at once
        broker.restart()
    wait_until(lambda: read(a, "t", "read_uncommitted") == ["0", "1"], "the records")
    q = transactional(a) # has to wait for the end of the other's
    q.begin_transaction()
    write(q, "t", "2")
    q.commit_transaction(PATIENCE)
    assert sorted(read(a, "t")) == (["0", "1", "2"] if commit else ["2"])


def prepared_commit(transactional_id, producer_id, epoch, topic):
    """Key and value of the record that decides it, with a partition 0 that wants its marker."""
    def text(t):
        return struct.pack(">h", len(t)) + t.encode()
    return (struct.pack(">h", 0) + text(transactional_id),
            struct.pack(">hqhib", 0, producer_id, epoch, 60000, 2) + struct.pack(">i", 1) + text(topic) + struct.pack(">iiqq", 1, 0, 1, 1))


def restart_without_office(broker):
    """After a crash. Returns the controller in its place, which tells it what the test wants it to."""
    zookeeper = broker.zookeeper
    broker.kill()
    wait_until(lambda: not zookeeper.children("/brokers/ids") and not zookeeper.client.exists("/controller"), "the end of its session")
    office = take_office(zookeeper)
    broker.launch()
    wait_until(lambda: zookeeper.children("/brokers/ids"), "its registration")
    return Controller(broker, office)


def test_what_the_controller_has_not_told_of_is_not_taken_for_deleted(make_broker):
    """An Apache controller that is new in its office tells of the partitions that have somebody alive first, and later of the others."""
    broker = make_broker(transaction_state_log_num_partitions=1)
    create(broker, "t")
    p = transactional(broker)
    p.begin_transaction()
    write(p, "t", "0")
    known = table(ours("--bootstrap-server", broker.bootstrap, "describe", "--transactional-id", "x"))[0]
    coordinator = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "client.id": "__admin_client"})
    key, value = prepared_commit("x", int(known["ProducerId"]), int(known["ProducerEpoch"]), "t")
    coordinator.produce("__transaction_state", value, key, partition=0)
    assert coordinator.flush(PATIENCE) == 0
    c, state = restart_without_office(broker), ("__transaction_state", 0)
    c.tell_of()
    c.let_lead(state)
    c.tell_of(state)
    wait_until(lambda: "t-0" in broker.text().split("Finished loading")[-1], "somebody who asks where the partition is")
    c.close()
    broker.zookeeper.client.delete("/controller")
    wait_until(broker.is_ready, "the whole")
    wait_until(lambda: read(broker, "t") == ["0"], "the end of the transaction")


def test_a_broker_stops_while_its_producers_wait_for_the_controller(make_broker):
    broker = make_broker(controlled_shutdown_enable="false")
    c = restart_without_office(broker)  # the controller is nowhere: nobody answers where to go on with producer ids
    waiting = [Connection(broker) for _ in range(3)]
    for w in waiting:
        w.send("init", 5, Out(True).text(None).raw("iqh", 60000, -1, -1).tags())
    c.tell_of()
    c.close()
    assert broker.stop() == 0
    assert "given up" not in broker.text()
    broker.zookeeper.client.delete("/controller")
    for w in waiting:
        w.close()


@pytest.mark.parametrize("version", ["2.8", "3.0"])
def test_producer_ids_while_a_controller_is_older_than_them(make_broker, version):
    """AllocateProducerIds came with 3.0: before, and whatever this broker was told of the others, it takes its blocks by itself."""
    old = make_broker(kind=apache_of("2.8.2"), data="data-1", **{"broker.id": 1})
    wait_until(lambda: old.zookeeper.client.exists("/controller"), "a controller")
    ours = make_broker(kind=Barnabas, data="data-2", **{"broker.id": 2, "inter.broker.protocol.version": version})
    ids = []
    for broker in (ours, old, ours):
        with Asker(broker) as s:
            got = []
            wait_until(lambda: got.append(s.get("InitProducerId", 4, {"TransactionalId": None, "TransactionTimeoutMs": 60000})) or got[-1]["ErrorCode"] == 0, "an id")
            ids.append(got[-1]["ProducerId"])
    assert len(set(ids)) == 3 and ids[2] == ids[0] + 1
    assert json.loads(old.zookeeper.client.get("/controller")[0])["brokerid"] == 1


def test_a_deleted_topic_needs_no_marker(make_broker):
    broker = make_broker()
    create(broker, "t", "u")
    p = transactional(broker)
    p.begin_transaction()
    write(p, "t", "kept")
    write(p, "u", "gone")
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.delete_topics(["u"])["u"].result(PATIENCE)
    p.commit_transaction(PATIENCE)
    wait_until(lambda: "CompleteCommit" in ours("--bootstrap-server", broker.bootstrap, "list"), "the end")
    assert read(broker, "t") == ["kept"]


@pytest.mark.parametrize("kinds", [(Apache, Barnabas), (Barnabas, Apache)], ids=["Apache first", "barnabas first"])
def test_another_kind_of_broker_takes_the_coordinator_over(make_broker, kinds):
    settings = {"transaction_state_log_num_partitions": 3, "group_coordinator_rebalance_protocols": "classic"}
    broker = make_broker(kind=kinds[0], **settings)
    create(broker, "t", partitions=2)
    ended, still_open = transactional(broker, "ended"), transactional(broker, "open")
    for p, value in (ended, "0"), (still_open, "1"):
        p.begin_transaction()
        write(p, "t", value)
    ended.commit_transaction(PATIENCE)
    broker.stop()
    broker = other(broker, kinds[1])
    broker.start()
    write(still_open, "t", "2", partition=1)
    still_open.commit_transaction(PATIENCE)
    ended.begin_transaction()
    write(ended, "t", "3")
    ended.abort_transaction(PATIENCE)
    assert sorted(read(broker, "t")) == ["0", "1", "2"]
    broker.stop()
    broker.check_log()


# ---- Verification (KIP-890) ----


def transactional_batch(producer_id, epoch, sequence):
    return make_batch(producer_id, epoch, sequence, attributes=TRANSACTIONAL)


def produce_raw(broker, transactional_id, batch):
    """The error code of a Produce request."""
    c = Connection(broker)
    error = c.produce("t", batch, transactional_id)["error"]
    c.close()
    return error


NONE, INVALID_TXN_STATE, INVALID_PRODUCER_ID_MAPPING = 0, 48, 49


def test_only_what_the_coordinator_knows_of_is_appended(make_broker):
    broker = make_broker(broker_id=1)
    create(broker, "t")
    transactional(broker) # has producer id 0, epoch 0, and no transaction
    late = transactional_batch(0, 0, 0)
    assert produce_raw(broker, "x", late) == INVALID_TXN_STATE
    assert produce_raw(broker, "nobody", late) == INVALID_PRODUCER_ID_MAPPING
    change = ["--bootstrap-server", broker.bootstrap, "--entity-type", "brokers", "--entity-default", "--alter", "--add-config"]
    java("kafka.admin.ConfigCommand", *change, "transaction.partition.verification.enable=false")
    wait_until(lambda: produce_raw(broker, "x", late) == NONE, "the new setting")


def test_batches_stay_in_order_while_the_first_is_verified(make_pair):
    """The coordinator is another broker: what comes when the first is appended need not be verified, and others before it still are."""
    a, b = make_pair(Barnabas, Barnabas)
    p = transactional(a)
    known = table(ours("--bootstrap-server", a.bootstrap, "describe", "--transactional-id", "x"))[0]
    producer_id, epoch = int(known["ProducerId"]), int(known["ProducerEpoch"])
    coordinator, leader = Connection(a), Connection(b)
    coordinator.add_partitions("x", producer_id, epoch, {"t": [0]})
    batches = [transactional_batch(producer_id, epoch, i) for i in range(400)]
    leader.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for batch in batches: # each in a packet of its own
        leader.send_produce("t", batch, "x")
    assert [leader.receive()["topics"][0]["partitions"][0]["error"] for _ in batches] == [NONE] * len(batches)
    for c in coordinator, leader:
        c.close()
    del p


# ---- Apache's tools ----

TOOL = "org.apache.kafka.tools.TransactionsCommand"


def table(text):
    """The rows of a tool's table, by the names in its head."""
    lines = [line.split("\t") for line in text.splitlines() if "\t" in line]
    head = [name.strip() for name in lines[0]]
    return [dict(zip(head, (cell.strip() for cell in line))) for line in lines[1:]]


def test_what_runs_is_shown(broker):
    create(broker, "t", partitions=2)
    p = transactional(broker)
    p.begin_transaction()
    write(p, "t", "v", partition=1)
    base = ["--bootstrap-server", broker.bootstrap]
    assert [(r["TransactionalId"], r["Coordinator"], r["ProducerId"], r["TransactionState"]) for r in table(java(TOOL, *base, "list"))] == [
        ("x", "0", "0", "Ongoing")]
    shown = table(java(TOOL, *base, "describe", "--transactional-id", "x"))[0]
    assert (shown["ProducerEpoch"], shown["TransactionState"], shown["TransactionTimeoutMs"], shown["TopicPartitions"]) == (
        "0", "Ongoing", "60000", "t-1")
    writer = table(java(TOOL, *base, "describe-producers", "--topic", "t", "--partition", 1))[0]
    assert (writer["ProducerId"], writer["LatestCoordinatorEpoch"], writer["LastSequence"], writer["CurrentTransactionStartOffset"]) == (
        "0", "-1", "0", "0")
    p.commit_transaction(PATIENCE)
    wait_until(lambda: "CompleteCommit" in java(TOOL, *base, "list"), "the end")


def test_a_hanging_transaction_is_aborted(make_broker):
    broker = make_broker(transaction_partition_verification_enable="false", transaction_max_timeout_ms=1000)
    create(broker, "t")
    assert produce_raw(broker, "x", transactional_batch(77, 3, 0)) == NONE
    kcat(broker, "-P", "-t", "t", stdin="w\n")
    assert read(broker, "t") == []
    base = ["--bootstrap-server", broker.bootstrap]
    java(TOOL, *base, "abort", "--topic", "t", "--partition", 0, "--start-offset", 0)
    assert read(broker, "t") == ["w"]


# ---- Other clients ----


@pytest.mark.parametrize("jars", [JARS, JARS_4], ids=["3.9", "4"])
def test_java_clients(broker, jars):
    create(broker, "t", partitions=3)
    base = ["--topic", "t", "--throughput", -1, "--record-size", 100]
    java("org.apache.kafka.tools.ProducerPerformance", *base, "--num-records", 3000, "--transactional-id", "j", "--transaction-duration-ms",
         50, "--producer-props", f"bootstrap.servers={broker.bootstrap}", jars=jars)
    assert len(read(broker, "t")) == 3000


@pytest.mark.parametrize("jars", [JARS, JARS_4], ids=["3.9", "4"])
def test_exactly_once_while_the_broker_is_killed(broker, jars, tmp_path):
    """Copies records in transactions that take the group's offsets along, some of them aborted, and the broker dies on the way."""
    create(broker, "in", "out", partitions=2)
    facts = [str(i) for i in range(20000)]
    kcat(broker, "-P", "-t", "in", stdin="\n".join(facts) + "\n")
    copier = Process(tmp_path / "copier.log")
    copier.spawn([*jvm(jars=jars), "org.apache.kafka.tools.TransactionalMessageCopier",
                  "--broker-list", broker.bootstrap, "--input-topic", "in", "--output-topic", "out", "--consumer-group", "g", "--group-mode", "--input-partition", 0,
                  "--transactional-id", "copy", "--transaction-size", 300, "--enable-random-aborts", "--use-group-metadata"])
    try:
        for part in 1, 2:
            wait_until(lambda: len(read(broker, "out")) > part * 4000, f"the copy\n{copier.text()[-2000:]}")
            broker.kill()
            broker.restart()
        wait_until(lambda: len(read(broker, "out")) >= len(facts) or not copier.is_running(), "all copies", 2 * PATIENCE)
    finally:
        copier.stop()
    assert sorted(read(broker, "out"), key=int) == facts, copier.text()[-2000:]


# ---- kafka-transactions.sh: as Apache's tool ----


def ours(*args, code=0):
    done = subprocess.run([TOP / "bin" / "kafka-transactions.sh", *map(str, args)], capture_output=True, text=True, timeout=PATIENCE,
                          env={"BARNABAS_BUILD": str(BUILD), "PATH": "/usr/bin:/bin"})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", [Apache, Barnabas])
def test_our_tool_prints_what_apaches_does(make_broker, kind):
    broker = make_broker(kind=kind, transaction_partition_verification_enable="false")
    create(broker, "t", partitions=2)
    base = ["--bootstrap-server", broker.bootstrap]
    done = transactional(broker, "done")
    done.begin_transaction()
    write(done, "t", "v", partition=1)
    done.commit_transaction(PATIENCE)
    wait_until(lambda: "CompleteCommit" in ours(*base, "list"), "the end")
    running = transactional(broker, "running")
    running.begin_transaction()
    write(running, "t", "v", partition=1)
    for args in (["list"], ["list", "--duration-filter", 100000000], ["describe", "--transactional-id", "done"],
                 ["describe-producers", "--topic", "t", "--partition", 1], ["describe-producers", "--topic", "t", "--partition", 0],
                 ["find-hanging", "--topic", "t", "--max-transaction-timeout", 0], ["find-hanging", "--broker-id", 0]):
        theirs = java(TOOL, *base, *args)
        if args[0] == "describe": # time goes on
            theirs, got = [[{**row, "TransactionDurationMs": ""} for row in table(text)] for text in (theirs, ours(*base, *args))]
            assert got == theirs
        else:
            assert sorted(ours(*base, *args).splitlines()) == sorted(theirs.splitlines()), args
    for args in ["describe", "--transactional-id", "nobody"], ["find-hanging"], ["abort", "--topic", "t", "--partition", 0]:
        java(TOOL, *base, *args, check=False)
        ours(*base, *args, code=1)
    assert produce_raw(broker, "x", transactional_batch(77, 3, 0)) == NONE
    hanging = wait_until(lambda: table(ours(*base, "find-hanging", "--topic", "t", "--max-transaction-timeout", 0)), "the hanging one")
    assert [(r["Partition"], r["ProducerId"], r["StartOffset"]) for r in hanging] == [("0", "77", "0")]
    ours(*base, "abort", "--topic", "t", "--partition", 0, "--start-offset", 0)
    assert table(ours(*base, "find-hanging", "--topic", "t", "--max-transaction-timeout", 0)) == []


def test_franz_go(broker):
    create(broker, "in", "out", partitions=3)
    assert run([FRANZ, "transactions", broker.bootstrap, "in", "out", "g", 40]) == "copied\n"
    expected = [f"{i}true" for i in range(40)] + [f"{i}true" for i in range(40) if i % 3 != 0]
    assert sorted(read(broker, "in")) == sorted(expected)
    assert sorted(read(broker, "out")) == sorted(expected)


def test_an_id_that_nobody_uses_is_forgotten(make_broker):
    broker = make_broker(transactional_id_expiration_ms=1000, transaction_remove_expired_transaction_cleanup_interval_ms=200)
    base = ["--bootstrap-server", broker.bootstrap]
    transactional(broker)
    wait_until(lambda: table(ours(*base, "list")) == [], "its expiry")
    assert ours(*base, "describe", "--transactional-id", "x", code=1) == ""
    broker.kill()
    broker.restart()
    assert table(ours(*base, "list")) == []


def test_the_topic_is_made_as_it_was_configured(make_broker):
    broker = make_broker(transaction_state_log_num_partitions=3, transaction_state_log_segment_bytes=123456)
    transactional(broker)
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    assert len(admin.list_topics("__transaction_state", 10).topics["__transaction_state"].partitions) == 3
    resource = confluent_kafka.admin.ConfigResource(confluent_kafka.admin.RESOURCE_TOPIC, "__transaction_state")
    own = {k: v.value for k, v in admin.describe_configs([resource])[resource].result(PATIENCE).items() if not v.is_default}
    assert own == {"cleanup.policy": "compact", "compression.type": "uncompressed", "min.insync.replicas": "1",
                   "segment.bytes": "123456", "unclean.leader.election.enable": "false"}
