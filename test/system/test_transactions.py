"""Transactions: what is committed is seen as a whole, what is not is never seen, whatever breaks."""

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness import PATIENCE, Apache, Barnabas, java, kcat, other, wait_until


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


def write(producer, topic, *values, partition=0):
    """Until it is in the log: what is aborted before is not even sent."""
    for v in values:
        producer.produce(topic, v, partition=partition)
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
    a.restart()
    b.restart()
    wait_until(lambda: read(a, "t", "read_uncommitted") == ["0", "1"], "the records")
    q = transactional(a) # has to wait for the end of the other's
    q.begin_transaction()
    write(q, "t", "2")
    q.commit_transaction(PATIENCE)
    assert sorted(read(a, "t")) == (["0", "1", "2"] if commit else ["2"])


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
