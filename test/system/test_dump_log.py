"""kafka-dump-log beside Apache's: the same lines for the same files, all of them written by Apache's broker."""

import random
import shutil
import subprocess

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from harness import BUILD, PATIENCE, TOP, Apache, Barnabas, ZooKeeper, java, kcat, produce, run, run_tool, wait_until
from test_tools import script, topics

SUFFIXES = ("log", "index", "timeindex", "txnindex", "snapshot")


def complaints(text):
    """In any order of the files; what a schema misses is said in Java's words."""
    return sorted(line.split("schema validation:")[0] for line in text.splitlines() if not line.startswith(("SLF4J", "log4j:")))


def theirs(*args):
    done = run_tool("kafka.tools.DumpLogSegments", *args)
    return done.returncode, done.stdout.splitlines(), complaints(done.stderr) if done.returncode == 0 else None


def ours(*args, code=0):
    out = script("kafka-dump-log", *args, code=code).splitlines()
    return code, out, complaints(script.errors) if code == 0 else None


def compare(files, *args):
    """What Apache's tool says of the files, which ours says too. A stack trace of Java stands for any words of ours."""
    their = theirs("--files", ",".join(map(str, files)), *args)
    our = ours("--files", ",".join(map(str, files)), *args, code=their[0])
    for their_line, our_line in zip(their[1], our[1]):
        assert our_line == their_line, (files, args)
    assert our == their, (files, args)
    return their


def files_of(folder, *suffixes):
    return sorted(f for suffix in suffixes or SUFFIXES for f in folder.glob(f"*.{suffix}"))


def create(broker, topic, partitions=1, **config):
    settings = [x for k, v in config.items() for x in ("--config", f"{k.replace('_', '.')}={v}")]
    topics(broker, "--create", "--topic", topic, "--partitions", partitions, *settings)


def transact(broker, topic, transaction, *outcomes):
    producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": transaction})
    producer.init_transactions(30)
    for i, outcome in enumerate(outcomes):
        producer.begin_transaction()
        producer.produce(topic, f"value {i} {outcome}", f"key {i}", headers={"h1": b"x", "h2": None})
        producer.flush(30)
        if outcome == "commit":
            producer.commit_transaction(30)
        elif outcome == "abort":
            producer.abort_transaction(30)


def is_compacted(folder):
    """The broker renames files meanwhile: one that is gone when it is to be read is looked for again."""
    files = ",".join(map(str, files_of(folder, "log")))
    done = subprocess.run([TOP / "bin" / "kafka-dump-log.sh", "--files", files], capture_output=True, text=True, errors="replace", timeout=60,
                          env={"BARNABAS_BUILD": str(BUILD), "PATH": "/usr/bin:/bin"})
    assert done.returncode == 0 or "No such file" in done.stdout + done.stderr, done
    return done.returncode == 0 and "deleteHorizonMs: OptionalLong[" in done.stdout


@pytest.fixture(scope="module")
def written(ensemble, tmp_path_factory):
    """A data directory with everything that Apache's broker writes."""
    folder = tmp_path_factory.mktemp("written")
    zookeeper = ensemble.chroot()
    properties = {"log.cleaner.backoff.ms": 100, "log.cleaner.min.cleanable.ratio": 0.01, "log.cleaner.delete.retention.ms": 3600000}
    broker = Apache(zookeeper, folder / "data", folder / "broker.log", properties)
    broker.start()
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        create(broker, codec, segment_bytes=20000, index_interval_bytes=1000)
        script("kafka-console-producer", "--bootstrap-server", broker.bootstrap, "--topic", codec, "--compression-codec", codec, "--batch-size", 1000,
               "--property", "parse.key=true", "--property", "key.separator=:",
               stdin="".join(f"k{i}:{'vé' * 50}{random.Random(i).random()}\n" for i in range(500)))
    create(broker, "appended", message_timestamp_type="LogAppendTime")
    produce(broker, "appended", ["a", "b", "c"])
    create(broker, "txn")
    transact(broker, "txn", "one", "commit", "abort", "abort")
    transact(broker, "txn", "two", "abort", "open")
    create(broker, "compacted", cleanup_policy="compact", segment_bytes=1000)
    for i in range(4):
        produce(broker, "compacted", [f"k{k}:{i}" for k in range(0, 20, i + 1)] + ["gone:"], "-K:", "-Z")
    produce(broker, "compacted", [f"filler:{'x' * 700}"], "-K:")
    wait_until(lambda: is_compacted(broker.data / "compacted-0"), "compaction")
    run(["kcat", "-b", broker.bootstrap, "-G", "group", "-c", "10", "-X", "auto.offset.reset=earliest", "none", "lz4"])
    transact(broker, "none", "three", "commit")
    broker.stop()
    zookeeper.close()
    return broker.data


def folder_with(data, pattern, suffix="log"):
    """The folder that has something in it."""
    return max(data.glob(pattern), key=lambda f: sum(x.stat().st_size for x in files_of(f, suffix)))


@pytest.mark.parametrize("topic", ["none", "gzip", "snappy", "lz4", "zstd", "appended", "txn", "compacted"])
def test_everything_of_a_partition(written, topic):
    found = files_of(written / f"{topic}-0")
    assert len(found) >= 3
    for args in ([], ["--deep-iteration"], ["--print-data-log"], ["--print-data-log", "--skip-record-metadata"], ["--verify-index-only"],
                 ["--index-sanity-check"], ["--max-bytes", 1500]):
        code, out, _ = compare(found, *args)
        assert code == 0 and len(out) > len(found)


def test_what_is_expected_is_there(written):
    """So that the comparison means something."""
    out = "\n".join(compare(files_of(written / "txn-0"), "--print-data-log")[1])
    assert "endTxnMarker: ABORT" in out and "endTxnMarker: COMMIT" in out and "lastStableOffset" in out
    assert "currentTxnFirstOffset: OptionalLong[" in out and "headerKeys: [h1,h2]" in out
    assert any("is followed by" in line for line in compare(files_of(written / "compacted-0", "log"), "--deep-iteration")[2])


def test_decoders_of_internal_topics(written):
    offsets = folder_with(written, "__consumer_offsets-*")
    out = "\n".join(compare(files_of(offsets, "log"), "--offsets-decoder")[1])
    assert '"subscription":{"topics":["lz4","none"]' in out and '"offset":' in out
    compare(files_of(offsets, "log"), "--offsets-decoder", "--skip-record-metadata")
    state = folder_with(written, "__transaction_state-*")
    out = "\n".join(compare(files_of(state, "log"), "--transaction-log-decoder")[1])
    assert "state=CompleteAbort" in out or "state=CompleteCommit" in out
    compare(files_of(written / "none-0", "log")[:1], "--transaction-log-decoder")
    compare(files_of(written / "none-0", "log")[:1], "--offsets-decoder")
    compare(files_of(written / "appended-0", "log")[:1], "--offsets-decoder")


def test_decoders_of_contents(written, tmp_path):
    log = files_of(written / "none-0", "log")[:1]
    for name in ("org.apache.kafka.tools.api.IntegerDecoder", "org.apache.kafka.tools.api.LongDecoder"):
        compare(log, "--value-decoder-class", name)
        assert compare(log, "--key-decoder-class", name)[0] == 1
    compare(log, "--key-decoder-class", "kafka.serializer.StringDecoder", "--value-decoder-class")
    script("kafka-dump-log", "--files", log[0], "--value-decoder-class", "com.example.Decoder", code=1)
    assert "Java classes cannot be loaded" in script.errors
    script("kafka-dump-log", "--files", log[0], "--cluster-metadata-decoder", code=1)
    assert "--cluster-metadata-decoder is not supported" in script.errors


def test_numbers(written, apache, tmp_path):
    broker = apache(data="numbers")
    create(broker, "numbers")
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for key, value in ((b"\0\0\0\5", b"\xff" * 8), (None, b"\0\0\1\0\0\0\0\7"), (b"\x80\0\0\0", None)):
        producer.produce("numbers", value, key)
    producer.flush(30)
    broker.stop()
    out = compare(files_of(broker.data / "numbers-0", "log"), "--key-decoder-class", "org.apache.kafka.tools.api.IntegerDecoder",
                  "--value-decoder-class", "org.apache.kafka.tools.api.LongDecoder")[1]
    assert "key: 5 payload: -1" in out[3]


@pytest.mark.parametrize("version", ["0.9.0", "0.10.0"])
def test_old_formats(apache, version):
    broker = apache(data="old", **{"inter.broker.protocol.version": "2.8", "log.message.format.version": version})
    for codec in ("none", "gzip", "snappy", "lz4"):
        create(broker, codec, index_interval_bytes=100)
        kcat(broker, "-P", "-t", codec, "-z", codec, "-K:", "-X", "batch.size=500", stdin="".join(f"k{i}:value {i}\n" for i in range(100)))
    create(broker, "appended", message_timestamp_type="LogAppendTime")
    kcat(broker, "-P", "-t", "appended", "-z", "gzip", stdin="".join(f"{i}\n" for i in range(10)))
    broker.stop()
    for topic in ("none", "gzip", "snappy", "lz4", "appended"):
        for args in ([], ["--print-data-log"]):
            out = compare(files_of(broker.data / f"{topic}-0"), *args)[1]
        assert f"magic: {0 if version == '0.9.0' else 1} " in "".join(out)
    damage_everywhere(broker.data / "none-0", broker.data / "copy-0", 12)


def damage_everywhere(source, target, count):
    """Flips bytes, cuts, and appends, in copies of the folder; both tools must say the same of each."""
    chance = random.Random(7)
    for i in range(count):
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        file = chance.choice([f for f in files_of(target) if f.stat().st_size > 0])
        data = bytearray(file.read_bytes())
        how = i % 4
        if how < 2:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif how == 2:
            del data[chance.randrange(len(data)):]
        else:
            data += bytes(chance.choice([0, 255]) for _ in range(chance.randrange(1, 80)))
        file.write_bytes(data)
        compare([file], "--print-data-log")
        same_base = [f for f in files_of(target, "index", "timeindex") if f.name.split(".")[0] == file.name.split(".")[0]]
        if file.suffix == ".log":
            compare(same_base[:1])


@pytest.mark.parametrize("topic", ["none", "zstd", "txn", "compacted"])
def test_damaged_files(written, tmp_path, topic):
    damage_everywhere(written / f"{topic}-0", tmp_path / f"{topic}-0", 24)


def test_files_that_are_not_there(written, tmp_path):
    name = "00000000000000000000"
    shutil.copy(written / "none-0" / f"{name}.timeindex", tmp_path)
    assert compare([tmp_path / f"{name}.timeindex"])[0] == 1
    shutil.copy(written / "none-0" / f"{name}.log", tmp_path)
    assert len(ours("--files", tmp_path / f"{name}.timeindex")[1]) > 1  # Apache's tool wants the offset index, and makes an empty one
    assert not (tmp_path / f"{name}.index").exists()
    shutil.copy(written / "none-0" / f"{name}.log", tmp_path / "a.deleted")
    compare([tmp_path / "a.deleted"])
    ours("--files", tmp_path / "none.log", code=1)


def test_files_by_relative_paths_and_too_large_batches(written, monkeypatch):
    monkeypatch.chdir(written / "compacted-0")
    for found in (files_of(written / "compacted-0", "log")[:1], files_of(written / "compacted-0", "index")[:1]):
        compare([f.name for f in found], "--deep-iteration")
    monkeypatch.chdir(written / "none-0")
    assert compare([f.name for f in files_of(written / "none-0", "index")[:1]], "--max-message-size", 100)[0] == 1


def test_files_of_no_known_kind_are_passed_over(tmp_path):
    """Whether they are there or not."""
    (tmp_path / "notes.txt").write_text("no log")
    for file in tmp_path / "notes.txt", tmp_path / "none.txt":
        done = run_tool("kafka.tools.DumpLogSegments", "--files", file)
        assert script("kafka-dump-log", "--files", file) == done.stdout == f"Dumping {file}\n"
        assert script.errors == f"Ignoring unknown file {file}\n"
