"""Applications that promise exactly once, on a cluster whose brokers are killed under them: each result is there once."""

import json
import sys
import time
import urllib.error
import urllib.request
from collections import Counter

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness import FRANZ, JARS, JARS_4, PATIENCE, TOP, Apache, Barnabas, Process, free_port, javac, jvm, log4j, wait_until
from test_cluster import bootstrap, create, in_sync, make_cluster  # noqa: F401 (a fixture)

pytestmark = pytest.mark.long
HERE = TOP / "test" / "system"


@pytest.fixture
def cluster(make_cluster):  # noqa: F811
    return make_cluster(Barnabas, Barnabas, Barnabas, **{"transaction.state.log.replication.factor": 3, "transaction.state.log.min.isr": 2,
                                                         "transaction.state.log.num.partitions": 5})


@pytest.fixture
def launch(tmp_path):
    """Starts programs that are killed when the test is over."""
    started = []

    def start(name, *command):
        process = Process(tmp_path / f"{name}-{len(started)}.log")
        process.spawn(command)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def run_java(launch):
    def start(program, *args, jars=JARS, classes=None, name):
        return launch(name, *jvm(*log4j("WARN"), jars=jars, heap=384, classes=classes), program, *args)
    return start


SILENCE = 15 # seconds after which a reader may be stuck


class Results:
    """What a reader of a topic gets to see in its life: (partition, key, value), in order. `client` says where and as whom it comes."""

    def __init__(self, brokers, topic, partitions, level="read_committed", client=None):
        self.topic, self.level, self.client = topic, level, client or {"bootstrap.servers": bootstrap(brokers)}
        self.seen, self.next = [], [0] * partitions
        self.offsets = [[] for _ in range(partitions)]
        self.at_end = set()
        self.open()

    def open(self):
        self.consumer = confluent_kafka.Consumer({**self.client, "group.id": "results", "isolation.level": self.level,
                                                  "enable.auto.commit": False, "auto.offset.reset": "error",
                                                  "enable.partition.eof": True, "reconnect.backoff.max.ms": 500})
        self.consumer.assign([TopicPartition(self.topic, p, offset) for p, offset in enumerate(self.next)])
        self.heard = time.monotonic()

    def reopen(self, why):
        """librdkafka asks again and again for the end of an old leader's epoch when leaders move twice; then it compares the
        answer with where it has come to since, and takes the log for truncated, or waits for ever."""
        print(f"the reader of {self.topic} is opened anew at {self.next}: {why}", flush=True)
        self.consumer.close()
        self.open()

    def poll(self):
        for m in self.consumer.consume(1000, 0.5):
            p, self.heard = m.partition(), time.monotonic()
            if m.error():
                if m.error().code() == confluent_kafka.KafkaError._AUTO_OFFSET_RESET:
                    return self.reopen(m.error())
                if m.error().code() == confluent_kafka.KafkaError._PARTITION_EOF:
                    self.at_end.add(p)
                continue
            assert m.offset() >= self.next[p], f"offset {m.offset()} of {self.topic}-{p} comes after {self.next[p] - 1}"
            self.next[p] = m.offset() + 1
            self.at_end.discard(p)
            self.seen.append((p, m.key(), m.value()))
            self.offsets[p].append(m.offset())
        if time.monotonic() - self.heard > SILENCE:
            self.reopen(f"silent for {SILENCE} s")

    def await_count(self, count, what="", meanwhile=lambda: None):
        """Gives up only when nothing comes any more."""
        while len(self.seen) < count:
            before = len(self.seen)
            try:
                wait_until(lambda: meanwhile() or self.poll() or len(self.seen) > before, f"more than {before} of {count} in {self.topic}{what}")
            except AssertionError as e:
                raise AssertionError(f"{e}\nread up to {self.next}, and a new reader up to {self.seen_by_another()}") from e

    def seen_by_another(self):
        """Tells whether what is not seen is not there."""
        other = Results(None, self.topic, len(self.next), self.level, self.client)
        other.read_to_end()
        return other.next

    def read_to_end(self):
        wait_until(lambda: self.poll() or len(self.at_end) == len(self.next), f"the end of {self.topic}")
        self.consumer.close()
        return self.seen


def all_of(brokers, topic, partitions, count, client=None):
    """At least so many are there, though perhaps a marker is still on its way."""
    results = Results(brokers, topic, partitions, client=client)
    results.await_count(count)
    return results.read_to_end()


class Feed:
    """Writes facts, each one once."""

    def __init__(self, brokers, topic, client=None):
        self.topic, self.failed = topic, []
        self.producer = confluent_kafka.Producer({**(client or {"bootstrap.servers": bootstrap(brokers)}), "enable.idempotence": True, "linger.ms": 5,
                                                  "sticky.partitioning.linger.ms": 0, # or all may be in one partition
                                                  "reconnect.backoff.max.ms": 500})

    def send(self, *values):
        for v in values:
            self.producer.produce(self.topic, v, on_delivery=lambda error, _: error and self.failed.append(error))
        self.producer.poll(0)

    def finish(self):
        assert self.producer.flush(PATIENCE) == 0 and not self.failed, self.failed


def kill_each(brokers, topic, step, victims=None):
    """Each broker, or each of these, is killed while work is under way, which goes on before it comes back."""
    for i, victim in enumerate(victims or brokers):
        step(2 * i)
        victim.kill()
        step(2 * i + 1)
        victim.restart()
        wait_until(lambda: in_sync(brokers, topic, len(brokers)), "all in sync again")


def by_partition(seen):
    found = {}
    for partition, _, value in seen:
        found.setdefault(partition, []).append(value)
    return found


# ---- Consume, transform, produce: the group's offsets go with the transaction ----


COPIES = 30000


def java_copier(jars):
    def command(brokers, name):
        return [*jvm(*log4j("WARN"), jars=jars), "org.apache.kafka.tools.TransactionalMessageCopier", "--broker-list", bootstrap(brokers),
                "--input-topic", "in", "--output-topic", "out", "--consumer-group", "g", "--group-mode", "--input-partition", 0,
                "--transactional-id", name, "--transaction-size", 200, "--enable-random-aborts", "--use-group-metadata"]
    return command


def franz_copier(brokers, name):
    return [FRANZ, "copy", bootstrap(brokers), "in", "out", "g", name]


def confluent_copier(brokers, name):
    return [sys.executable, HERE / "copier.py", bootstrap(brokers), "in", "out", "g", name]


@pytest.mark.parametrize("command", [java_copier(JARS), java_copier(JARS_4), franz_copier, confluent_copier],
                         ids=["Java 3.9", "Java 4", "franz-go", "confluent-kafka"])
def test_copies_are_there_once(cluster, launch, command):
    """Two copiers share the partitions; one of them is killed, and its next life goes on, which ends what was under way."""
    for topic in "in", "out":
        create(cluster, topic, partitions=4)
    feed, results, sent = Feed(cluster, "in"), Results(cluster, "out", 4), [str(i) for i in range(COPIES)]
    feed.send(*sent)
    feed.finish()
    copiers = {}

    def keep_copying():
        """Java's ends when its partitions are done, though those of one that died may come to it."""
        for name in "c1", "c2":
            if name not in copiers or not copiers[name].is_running():
                copiers[name] = launch(name, *command(cluster, name))

    def await_part(eighths):
        results.await_count(COPIES * eighths // 8, "\n" + copiers["c1"].text()[-3000:], keep_copying)

    def step(number):
        await_part(number + 1)
        if number == 1:
            copiers["c1"].kill()

    keep_copying()
    kill_each(cluster, "in", step)
    await_part(8)
    for copier in copiers.values():
        copier.kill()
    written = all_of(cluster, "in", 4, COPIES)
    assert sorted(value.decode() for _, _, value in written) == sorted(sent)
    assert by_partition(all_of(cluster, "out", 4, COPIES)) == by_partition(written)


# ---- Streams ----

WORDS = [f"w{i}" for i in range(40)]
BULK = 4000 # lines at once


def line(i):
    return " ".join(WORDS[(i * 7 + j * j) % len(WORDS)] for j in range(5))


def check_counts(seen, lines, number):
    """Of each word: 1, 2, 3, ... in the order of the log, up to how often it was there."""
    expected, last = Counter(word for text in lines for word in text.split()), Counter()
    for partition, key, value in seen:
        word = key.decode()
        assert number(value) == last[word] + 1, f"{word} has {number(value)} after {last[word]} in partition {partition}"
        last[word] += 1
    assert last == expected


@pytest.mark.parametrize("jars", [JARS, JARS_4], ids=["3.9", "4"])
def test_streams_count_exactly_once(cluster, run_java, tmp_path, jars):
    for topic in "lines", "counts":
        create(cluster, topic, partitions=4)
    feed, results, lines = Feed(cluster, "lines"), Results(cluster, "counts", 4), []
    classes, client = javac(HERE / "WordCount.java", jars, tmp_path / "classes"), tmp_path / "client.properties"
    client.write_text(f"bootstrap.servers={bootstrap(cluster)}\n")

    def start_app(name):
        return run_java("WordCount", client, tmp_path / f"state-{name}", jars=jars, classes=classes, name="streams")

    apps = [start_app(f"first-{i}") for i in range(2)]

    def step(number):
        """The next thing happens when a part of what was sent is counted."""
        new = [line(number * BULK + i) for i in range(BULK)]
        feed.send(*new)
        lines.extend(new)
        results.await_count(5 * (len(lines) - BULK + BULK // 4), "\n" + apps[0].text()[-3000:])
        if number % 2 == 1: # one of the two is gone, with what it has under way, and another comes
            apps[0].kill()
            apps.append(start_app(number))
            del apps[0]

    kill_each(cluster, "lines", step)
    feed.finish()
    results.await_count(5 * len(lines), "\n" + apps[0].text()[-3000:])
    for app in apps:
        app.stop()
    check_counts(all_of(cluster, "counts", 4, 5 * len(lines)), lines, int)
    check_counts(all_of(cluster, "word-count-store-changelog", 4, 5 * len(lines)), lines, lambda value: int.from_bytes(value, "big"))


# ---- Connect ----


class Worker:
    """One of Connect's, in distributed mode; its connectors are asked for by HTTP. They come to the brokers like itself."""

    def __init__(self, brokers, run_java, folder, client=None):
        client = client or {"bootstrap.servers": bootstrap(brokers)}
        self.run_java, self.url = run_java, f"http://127.0.0.1:{free_port()}"
        storage = {f"{what}.storage.{key}": value for what in ("config", "offset", "status")
                   for key, value in (("topic", f"connect-{what}"), ("replication.factor", 3))}
        properties = {**{f"{whose}{k}": v for whose in ("", "producer.", "consumer.", "admin.") for k, v in client.items()},
                      "group.id": "workers", "listeners": self.url, **storage,
                      "producer.transaction.timeout.ms": 20000, # for whose end a new life waits that follows one which was killed in it
                      "offset.storage.partitions": 5, "exactly.once.source.support": "enabled", "offset.flush.interval.ms": 500,
                      "consumer.isolation.level": "read_committed", "session.timeout.ms": 6000, "heartbeat.interval.ms": 1000,
                      "consumer.session.timeout.ms": 6000, "consumer.heartbeat.interval.ms": 1000,
                      "scheduled.rebalance.max.delay.ms": 0, "plugin.discovery": "service_load",
                      **{f"{side}.converter": "org.apache.kafka.connect.storage.StringConverter" for side in ("key", "value")}}
        self.config = folder / "worker.properties"
        self.config.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        self.start()

    def start(self):
        self.process = self.run_java("org.apache.kafka.connect.cli.ConnectDistributed", self.config, name="connect")

    def put(self, name, **config):
        """As soon as it can be done."""
        body = json.dumps({k.replace("_", "."): str(v) for k, v in config.items()}).encode()
        request = urllib.request.Request(f"{self.url}/connectors/{name}/config", body, {"Content-Type": "application/json"}, method="PUT")

        def is_done():
            assert self.process.is_running(), self.process.text()[-3000:]
            try:
                return urllib.request.urlopen(request, timeout=PATIENCE).status in (200, 201)
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                return False

        wait_until(is_done, f"the connector {name}\n{self.process.text()[-3000:]}", 2 * PATIENCE)


def test_connect_carries_a_file_over_exactly_once(cluster, run_java, tmp_path):
    """The source writes in transactions; the sink keeps its offsets in its group, and may write what it has written before."""
    source, sink, lines = tmp_path / "source.txt", tmp_path / "sink.txt", []
    create(cluster, "lines")
    worker, results = Worker(cluster, run_java, tmp_path), Results(cluster, "lines", 1)
    worker.put("source", connector_class="FileStreamSource", tasks_max=1, file=source, topic="lines", batch_size=50)
    worker.put("sink", connector_class="FileStreamSink", tasks_max=1, file=sink, topics="lines")

    def append(*new):
        lines.extend(new)
        with open(source, "a") as f:
            f.write("".join(text + "\n" for text in new))

    def await_lines(count):
        results.await_count(count, "\n" + worker.process.text()[-3000:])

    def step(number):
        append(*(f"{number} {i:0100}" for i in range(2000)))
        await_lines(len(lines) - 1500)
        if number == 3:
            worker.process.kill()
            worker.start()

    kill_each(cluster, "lines", step)
    await_lines(len(lines) - 10) # the source keeps what it has read beyond a batch until there is more to read
    append("the end")
    await_lines(len(lines))
    wait_until(lambda: len(set(sink.read_text().splitlines())) == len(lines), "all lines in the sink's file")
    worker.process.stop()
    assert [value.decode() for _, _, value in all_of(cluster, "lines", 1, len(lines))] == lines
    assert list(dict.fromkeys(sink.read_text().splitlines())) == lines


# ---- MirrorMaker ----


@pytest.fixture
def elsewhere(ensemble, tmp_path):
    """Apache's broker, a cluster of its own."""
    broker = Apache(ensemble.chroot(), tmp_path / "elsewhere", tmp_path / "elsewhere.log", {"default_replication_factor": 1})
    broker.start()
    yield broker
    broker.stop()


def has_topic(broker, topic):
    return topic in AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=PATIENCE).topics


class Followed:
    """A group that reads a topic without markers, so that an offset counts records; MirrorMaker commits for it what that is in the mirror."""

    def __init__(self, brokers, topic, mirror_brokers, mirror, seen):
        self.group, self.mirror, self.seen = f"{topic}-readers", mirror, seen
        self.committed, self.translated = [0, 0, 0], [0, 0, 0]
        # Not a member, which MirrorMaker would leave alone. librdkafka's admin client dies of NOT_COORDINATOR in an OffsetFetch.
        self.there = confluent_kafka.Consumer({"bootstrap.servers": bootstrap(mirror_brokers), "group.id": self.group,
                                               "reconnect.backoff.max.ms": 500})
        self.consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap(brokers), "group.id": self.group, "enable.auto.commit": False,
                                                  "auto.offset.reset": "earliest", "reconnect.backoff.max.ms": 500})
        self.consumer.subscribe([topic])

    def go_on(self, count):
        """Until so many records are read and committed."""
        def step():
            self.consumer.consume(5000, 0.5)
            try:
                for tp in self.consumer.commit(asynchronous=False):
                    if tp.offset >= 0: # it has read something of it since its last rebalance
                        self.committed[tp.partition] = tp.offset
            except confluent_kafka.KafkaException: # nothing new, or a coordinator that is on its way
                pass
            return sum(self.committed) >= count
        wait_until(step, f"{count} records of {self.group}")

    def translate(self):
        """How many records there are before the offsets at which a member there would begin, by partition."""
        try:
            found = self.there.committed([TopicPartition(self.mirror, p) for p in range(3)], PATIENCE)
        except confluent_kafka.KafkaException: # no coordinator for now
            return None
        if any(tp.error for tp in found):
            return None
        offsets = [max(tp.offset, 0) for tp in found]
        assert all(now >= before for now, before in zip(offsets, self.translated)), f"{self.mirror}: {self.translated} became {offsets}"
        self.translated = offsets
        return [sum(offset < offsets[p] for offset in self.seen.offsets[p]) for p in range(3)]

    def check(self):
        """Who goes over to the mirror now misses nothing."""
        skipped = wait_until(self.translate, "translated offsets")
        assert all(there <= here for there, here in zip(skipped, self.committed)), f"{self.mirror}: {skipped} for {self.committed}"

    def close(self):
        self.consumer.close()
        self.there.close()


def test_mirror_maker_between_ours_and_apaches(cluster, elsewhere, run_java, tmp_path):
    """
    There and back in transactions: each record is mirrored once, in its partition, in order. A group that goes over to the mirror
    goes on where it was, at the latest.
    """
    create(cluster, "there", partitions=3)
    admin = AdminClient({"bootstrap.servers": elsewhere.bootstrap})
    admin.create_topics([NewTopic("back", 3, 1)])["back"].result(PATIENCE)
    config = tmp_path / "mirror.properties"
    config.write_text(f"""clusters=ours,theirs
ours.bootstrap.servers={bootstrap(cluster)}
theirs.bootstrap.servers={elsewhere.bootstrap}
ours->theirs.enabled=true
theirs->ours.enabled=true
ours->theirs.topics=there
theirs->ours.topics=back
ours.exactly.once.source.support=enabled
theirs.exactly.once.source.support=enabled
dedicated.mode.enable.internal.rest=true
listeners=http://127.0.0.1:{free_port()}
plugin.discovery=service_load
offset.flush.interval.ms=500
sync.group.offsets.enabled=true
sync.group.offsets.interval.seconds=1
emit.checkpoints.interval.seconds=1
refresh.groups.interval.seconds=1
offset.lag.max=0
""" + "".join(f"{what}.factor=-1\n" for what in ("replication", *(f"{topic}.replication" for topic in ( # as the cluster has it
                  "config.storage", "offset.storage", "status.storage", "checkpoints.topic", "heartbeats.topic", "offset-syncs.topic")))))
    mirror = run_java("org.apache.kafka.connect.mirror.MirrorMaker", config, name="mirror")
    feeds, sent = (Feed(cluster, "there"), Feed([elsewhere], "back")), []
    wait_until(lambda: has_topic(elsewhere, "ours.there") and has_topic(cluster[0], "theirs.back"),
               f"the mirrored topics\n{mirror.text()[-3000:]}", 2 * PATIENCE)
    mirrored = Results([elsewhere], "ours.there", 3), Results(cluster, "theirs.back", 3)
    groups = (Followed(cluster, "there", [elsewhere], "ours.there", mirrored[0]),
              Followed([elsewhere], "back", cluster, "theirs.back", mirrored[1]))

    def step(number):
        new = [f"{number} {i}" for i in range(2000)]
        sent.extend(new)
        for feed, results in zip(feeds, mirrored):
            feed.send(*new)
        for results, group in zip(mirrored, groups):
            results.await_count(len(sent) - 1500, "\n" + mirror.text()[-3000:])
            group.go_on(len(sent) - 1500)
            group.check()

    kill_each(cluster, "there", step)
    for feed, results, group in zip(feeds, mirrored, groups):
        feed.finish()
        results.await_count(len(sent), "\n" + mirror.text()[-3000:])
        group.go_on(len(sent))
        wait_until(lambda: group.translate() == group.committed, f"{group.committed} records translated, not {group.translated}")
        group.close()
    mirror.stop()
    for here, topic, there in (cluster, "there", [elsewhere]), ([elsewhere], "back", cluster):
        alias = "ours" if here is cluster else "theirs"
        written = all_of(here, topic, 3, len(sent))
        assert sorted(value.decode() for _, _, value in written) == sorted(sent)
        assert by_partition(all_of(there, f"{alias}.{topic}", 3, len(sent))) == by_partition(written)
