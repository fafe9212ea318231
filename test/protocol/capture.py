"""
Records what real clients and Apache's broker say to each other: capture.py FILE

A proxy stands between them; of each API, version and direction the first few frames are kept. The file in captures/ was
made by this, and is what test_protocol.py decodes and encodes again. Entry: i16 key, i8 kind (2 request, 3 response),
i16 version, i32 length, the frame with its header.
"""

import socket
import struct
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
import harness  # noqa: E402

MOST_OF_A_KIND = 3
LONGEST = 4096


class Recorder:
    def __init__(self, path):
        self.out, self.lock, self.counts = open(path, "wb"), threading.Lock(), {}

    def keep(self, key, kind, version, frame):
        with self.lock:
            n = self.counts.get((key, kind, version), 0)
            if n < MOST_OF_A_KIND and len(frame) <= LONGEST:
                self.counts[key, kind, version] = n + 1
                self.out.write(struct.pack(">hbhi", key, kind, version, len(frame)) + frame)


def frames(sock):
    buffer = b""
    while True:
        while len(buffer) < 4 or len(buffer) < 4 + struct.unpack(">i", buffer[:4])[0]:
            try:
                more = sock.recv(65536)
            except OSError:
                return
            if not more:
                return
            buffer += more
        length = struct.unpack(">i", buffer[:4])[0]
        yield buffer[4:4 + length]
        buffer = buffer[4 + length:]


def serve(recorder, client, port):
    broker = socket.create_connection(("127.0.0.1", port))
    open_requests = {}

    def backward():
        for frame in frames(broker):
            key, version = open_requests.pop(struct.unpack(">i", frame[:4])[0])
            recorder.keep(key, 3, version, frame)
            client.sendall(struct.pack(">i", len(frame)) + frame)
        client.close()

    threading.Thread(target=backward, daemon=True).start()
    try:
        for frame in frames(client):
            key, version, correlation = struct.unpack(">hhi", frame[:8])
            open_requests[correlation] = key, version
            recorder.keep(key, 2, version, frame)
            broker.sendall(struct.pack(">i", len(frame)) + frame)
    except OSError:
        pass
    broker.close()


def proxy(recorder, port):
    listener = socket.create_server(("127.0.0.1", 0))

    def accept():
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=(recorder, client, port), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def run_clients(at):
    import kafka
    from confluent_kafka import Consumer, Producer
    from confluent_kafka.admin import AdminClient, NewTopic

    admin = AdminClient({"bootstrap.servers": at})
    admin.create_topics([NewTopic("t", 2, 1)])["t"].result()
    producer = Producer({"bootstrap.servers": at, "enable.idempotence": True})
    producer.produce("t", b"value", b"key", headers={"h": b"1"})
    producer.flush()
    consumer = Consumer({"bootstrap.servers": at, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["t"])
    while consumer.poll(1) is None:
        pass
    consumer.commit(asynchronous=False)
    consumer.close()
    for version in ((0, 8, 2), (0, 9), (0, 10, 1), (0, 11), (1, 0), (2, 5)):
        old = kafka.KafkaProducer(bootstrap_servers=at, api_version=version)
        old.send("t", b"old").get(10)
        old.close()
        old = kafka.KafkaConsumer("t", bootstrap_servers=at, api_version=version, group_id=f"old{version}" if version > (0, 9) else None,
                                  auto_offset_reset="earliest", consumer_timeout_ms=5000)
        next(iter(old))
        old.close()
    base = ["--bootstrap-server", at]
    tools = [("org.apache.kafka.tools.TopicCommand", [*base, "--describe"]),
             ("org.apache.kafka.tools.TopicCommand", [*base, "--alter", "--topic", "t", "--partitions", "3"]),
             ("org.apache.kafka.tools.GetOffsetShell", base), ("org.apache.kafka.tools.ClusterTool", ["cluster-id", *base]),
             ("org.apache.kafka.tools.consumer.ConsoleConsumer", [*base, "--topic", "t", "--from-beginning", "--max-messages", "3", "--group", "j"]),
             ("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", [*base, "--describe", "--all-groups"]),
             ("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", [*base, "--delete", "--group", "g"]),
             ("kafka.admin.ConfigCommand", [*base, "--describe", "--all", "--entity-type", "topics", "--entity-name", "t"]),
             ("kafka.admin.ConfigCommand", [*base, "--alter", "--entity-type", "topics", "--entity-name", "t", "--add-config", "retention.ms=1000"]),
             ("org.apache.kafka.tools.LogDirsCommand", [*base, "--describe"]),
             ("org.apache.kafka.tools.ProducerPerformance", ["--topic", "t", "--num-records", "100", "--record-size", "10", "--throughput", "100",
                                                              "--transactional-id", "x", "--transaction-duration-ms", "200", "--producer-props",
                                                              f"bootstrap.servers={at}"]),
             ("org.apache.kafka.tools.TransactionsCommand", [*base, "list"]),
             ("org.apache.kafka.tools.LeaderElectionCommand", [*base, "--election-type", "preferred", "--all-topic-partitions"]),
             ("org.apache.kafka.tools.reassign.ReassignPartitionsCommand", [*base, "--list"]),
             ("org.apache.kafka.tools.TopicCommand", [*base, "--delete", "--topic", "t"])]
    for tool, args in tools:
        harness.java(tool, *args, check=False)
    harness.java("kafka.tools.ConsoleProducer", *base, "--topic", "u", "--compression-codec", "lz4", stdin="a\nb\n")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        zookeeper = harness.ZooKeeper(folder)
        zookeeper.start()
        broker = harness.Apache(zookeeper.chroot(), folder / "data", folder / "log", {})
        recorder = Recorder(sys.argv[1])
        port = proxy(recorder, broker.port)
        broker.properties["advertised.listeners"] = f"PLAINTEXT://127.0.0.1:{port}"
        try:
            broker.start()
            run_clients(f"127.0.0.1:{port}")
        finally:
            broker.stop()
            zookeeper.stop()
            recorder.out.close()
    print(len(recorder.counts), "kinds of frames")


main()
