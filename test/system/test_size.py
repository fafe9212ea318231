"""Many partitions at once, with a controller that dies in the middle: in the end every broker has each of them once, and all are in sync.

`SIZE` says how many; the suite takes a size that shows what goes wrong between orders, `test/run.sh soak` ten thousand.
"""

import os
import struct

from harness import BUILD, Barnabas, connect, read_frame, run, wait_until
from messages import SCHEMAS, read_response, write_request
from test_cluster import make_cluster  # noqa: F401 (a fixture)
from test_controller import controller

SIZE = int(os.environ.get("SIZE", "600"))
PATIENCE = 60 + SIZE // 10
TOPIC = "wide"


def ask(broker, api, version, tree):
    key = SCHEMAS[api].key
    data = write_request(key, version, tree)
    with connect(broker) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(struct.pack(">i", len(data)) + data)
        return read_response(key, version, read_frame(sock))[1]


def is_whole(broker):
    topic = ask(broker, "Metadata", 9, {"Topics": [{"Name": TOPIC}]})["Topics"][0]
    return len(topic["Partitions"]) == SIZE and all(p["LeaderId"] >= 0 and len(p["IsrNodes"]) == 3 for p in topic["Partitions"])


def has_begun(chroot):
    node = chroot.client.exists(f"/brokers/topics/{TOPIC}/partitions")
    return node is not None and node.numChildren > SIZE // 20


def test_partitions_that_are_made_while_the_controller_dies(make_cluster, zookeeper):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, controller_socket_timeout_ms=2000)
    tool = [BUILD / "barnabas-tool", "kafka-topics", "--zookeeper", zookeeper.connect]
    run([*tool, "--create", "--topic", TOPIC, "--partitions", SIZE, "--replication-factor", 3])
    wait_until(lambda: has_begun(zookeeper), "the first partitions", PATIENCE)
    dead = controller(brokers, zookeeper)
    dead.kill()
    dead.start()
    for broker in brokers:
        wait_until(lambda broker=broker: is_whole(broker), "all partitions in sync", PATIENCE)
    for broker in brokers:
        logs = [p for d in ask(broker, "DescribeLogDirs", 2, {"Topics": None})["Results"] for t in d["Topics"] if t["Name"] == TOPIC for p in t["Partitions"]]
        assert sorted(p["PartitionIndex"] for p in logs) == list(range(SIZE))
        assert not any(p["IsFutureKey"] for p in logs)
        assert sum(d.name.startswith(f"{TOPIC}-") for d in broker.data.iterdir()) == SIZE
