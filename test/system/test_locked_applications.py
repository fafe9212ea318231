"""
Applications that promise exactly once, on a cluster behind locks, of which a broker is killed: what Kafka's documentation says that such
an application must be allowed to do is enough for it.
"""

import pytest
from harness import JARS, JARS_4, Barnabas, javac, wait_until
from locks import Locks, denials, let_in
from test_applications import HERE, Feed, Results, Worker, all_of, check_counts, kill_each, launch, line, run_java  # noqa: F401 (fixtures)
from test_cluster import create, make_cluster  # noqa: F401 (a fixture)

pytestmark = pytest.mark.long
FEW = 1000  # lines at once


@pytest.fixture
def locks(zookeeper, tmp_path):
    return Locks(zookeeper, tmp_path)


@pytest.fixture
def cluster(make_cluster, locks):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, each=locks.settings, **{
        "transaction.state.log.replication.factor": 3, "transaction.state.log.min.isr": 2, "transaction.state.log.num.partitions": 5,
        "auto.create.topics.enable": "false"})
    let_in(brokers, "feed", "--operation Write --topic lines")
    let_in(brokers, "results", "--operation Read --topic counts --topic lines --topic word-count-store-changelog",
           "--operation Describe --group results")
    return brokers


def begin(cluster, locks, topic):
    """A reader of the topic from its beginning, and somebody who fills "lines"."""
    reader = locks.librdkafka("results")
    return reader, Results(None, topic, 2, client=reader), Feed(None, "lines", locks.librdkafka("feed"))


@pytest.mark.parametrize("jars", [JARS, JARS_4], ids=["3.9", "4"])
def test_streams_count_exactly_once(cluster, locks, run_java, tmp_path, jars):  # noqa: F811
    """It may do everything with what begins with its name, read what comes in and write what goes out."""
    for topic in "lines", "counts":
        create(cluster, topic, partitions=2)
    let_in(cluster, "counter", "--operation Read --topic lines", "--operation Write --topic counts",
           "--operation All --topic word-count --group word-count --resource-pattern-type prefixed",
           "--operation Write --operation Describe --transactional-id word-count --resource-pattern-type prefixed")
    classes, client, lines = javac(HERE / "WordCount.java", jars, tmp_path / "classes"), tmp_path / "client.properties", []
    client.write_text("".join(f"{k}={v}\n" for k, v in locks.java("counter").items()))
    reader, results, feed = begin(cluster, locks, "counts")
    app = run_java("WordCount", client, tmp_path / "state", jars=jars, classes=classes, name="streams")

    def step(number):
        new = [line(number * FEW + i) for i in range(FEW)]
        feed.send(*new)
        lines.extend(new)
        results.await_count(5 * (len(lines) - FEW // 2), "\n" + app.text()[-3000:])

    kill_each(cluster, "lines", step, cluster[:1])
    feed.finish()
    results.await_count(5 * len(lines), "\n" + app.text()[-3000:])
    app.stop()
    check_counts(all_of(cluster, "counts", 2, 5 * len(lines), reader), lines, int)
    check_counts(all_of(cluster, "word-count-store-changelog", 2, 5 * len(lines), reader), lines, lambda value: int.from_bytes(value, "big"))
    assert not denials(cluster)


def test_connect_carries_a_file_over_exactly_once(cluster, locks, run_java, tmp_path):  # noqa: F811
    """It has topics of its own, which it sees to be compacted, and a group; an id for itself, and one for each task that writes."""
    create(cluster, "lines", partitions=2)
    let_in(cluster, "connect", "--operation Create --operation Read --operation Write --operation DescribeConfigs --topic connect- --resource-pattern-type prefixed",
           "--operation Read --group workers --group connect-sink", "--operation Read --operation Write --topic lines",
           "--operation Write --operation Describe --transactional-id connect-cluster-workers",
           "--operation Write --operation Describe --transactional-id workers-source --resource-pattern-type prefixed")
    source, sink, lines = tmp_path / "source.txt", tmp_path / "sink.txt", []
    worker = Worker(cluster, run_java, tmp_path, locks.java("connect"))
    reader, results, _ = begin(cluster, locks, "lines")
    worker.put("source", connector_class="FileStreamSource", tasks_max=1, file=source, topic="lines", batch_size=50)
    worker.put("sink", connector_class="FileStreamSink", tasks_max=1, file=sink, topics="lines")

    def append(*new):
        lines.extend(new)
        with open(source, "a") as f:
            f.write("".join(text + "\n" for text in new))

    def step(number):
        append(*(f"{number} {i:0100}" for i in range(FEW)))
        results.await_count(len(lines) - FEW // 2, "\n" + worker.process.text()[-3000:])

    kill_each(cluster, "lines", step, cluster[:1])
    results.await_count(len(lines) - 100, "\n" + worker.process.text()[-3000:])  # the source keeps what is less than its buffer until there is more
    append("the end")
    results.await_count(len(lines), "\n" + worker.process.text()[-3000:])
    wait_until(lambda: len(set(sink.read_text().splitlines())) == len(lines), "all lines in the sink's file")
    worker.process.stop()
    assert sorted(value.decode() for _, _, value in all_of(cluster, "lines", 2, len(lines), reader)) == sorted(lines)
    assert not denials(cluster)
