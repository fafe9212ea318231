"""Each API that names partitions, in each version, for what this broker does not have: never heard of, just deleted, being deleted."""

import json
import struct

import pytest
from harness import BUILD, connect, kcat, produce, read_frame, run, wait_until
from messages import APIS, SCHEMAS, read_response, write_request


def trees(topic):
    """What to ask about partitions 0 and 7 of that topic, by API."""
    both = [0, 7]
    rows = {
        "Produce": {"Acks": -1, "TimeoutMs": 100, "TopicData": [{"Name": topic, "PartitionData": [{"Index": p, "Records": b""} for p in both]}]},
        "Fetch": {"ReplicaId": -1, "MaxWaitMs": 10, "MinBytes": 1, "MaxBytes": 1000, "Topics": [{"Topic": topic, "Partitions": [{"Partition": p, "PartitionMaxBytes": 1000} for p in both]}]},
        "ListOffsets": {"ReplicaId": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": p, "Timestamp": t, "MaxNumOffsets": 1} for p, t in ((0, -1), (7, 5))]}]},
        "Metadata": {"Topics": [{"Name": topic}]},
        "OffsetCommit": {"GroupId": "g", "GenerationIdOrMemberEpoch": -1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": p} for p in both]}]},
        "OffsetDelete": {"GroupId": "g", "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": p} for p in both]}]},
        "OffsetForLeaderEpoch": {"Topics": [{"Topic": topic, "Partitions": [{"Partition": p, "CurrentLeaderEpoch": -1, "LeaderEpoch": 0} for p in both]}]},
        "DeleteRecords": {"TimeoutMs": 100, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": p, "Offset": 1} for p in both]}]},
        "AddPartitionsToTxn": {},
        "WriteTxnMarkers": {"Markers": [{"ProducerId": 1, "ProducerEpoch": 0, "TransactionResult": True, "CoordinatorEpoch": 0, "Topics": [{"Name": topic, "PartitionIndexes": both}]}]},
        "TxnOffsetCommit": {"TransactionalId": "x", "GroupId": "g", "ProducerId": 1, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": p} for p in both]}]},
        "DescribeConfigs": {"Resources": [{"ResourceType": 2, "ResourceName": topic}]},
        "IncrementalAlterConfigs": {"Resources": [{"ResourceType": 2, "ResourceName": topic, "Configs": [{"Name": "retention.ms", "ConfigOperation": 0, "Value": "1"}]}]},
        "AlterConfigs": {"Resources": [{"ResourceType": 2, "ResourceName": topic, "Configs": [{"Name": "retention.ms", "Value": "1"}]}]},
        "CreatePartitions": {"TimeoutMs": 100, "Topics": [{"Name": topic, "Count": 9}]},
        "ElectLeaders": {"TimeoutMs": 100, "TopicPartitions": [{"Topic": topic, "Partitions": both}]},
        "AlterPartitionReassignments": {"TimeoutMs": 100, "Topics": [{"Name": topic, "Partitions": [{"PartitionIndex": p, "Replicas": [0]} for p in both]}]},
        "ListPartitionReassignments": {"TimeoutMs": 100, "Topics": [{"Name": topic, "PartitionIndexes": both}]},
        "DescribeProducers": {"Topics": [{"Name": topic, "PartitionIndexes": both}]},
        "DescribeLogDirs": {"Topics": [{"Topic": topic, "Partitions": both}]},
        "AlterReplicaLogDirs": {"Dirs": [{"Path": "/nowhere", "Topics": [{"Name": topic, "Partitions": both}]}]},
        "DeleteTopics": {"TimeoutMs": 100, "TopicNames": [topic], "Topics": [{"Name": topic}]},
    }
    return rows


def write(key, version, tree, topic):
    if APIS[key].name == "AddPartitionsToTxn":
        topics = [{"Name": topic, "Partitions": [0, 7]}]
        if version >= 4:
            tree = {"Transactions": [{"TransactionalId": "x", "ProducerId": 1, "VerifyOnly": v, "Topics": topics} for v in (True, False)]}
        else:
            tree = {"V3AndBelowTransactionalId": "x", "V3AndBelowProducerId": 1, "V3AndBelowTopics": topics}
    return write_request(key, version, tree)


def ask_all(broker, topic, mine=()):
    for name, tree in trees(topic).items():
        if name == "DeleteTopics" and name not in mine:
            continue
        schema = SCHEMAS[name]
        for version in range(schema.span[0], schema.span[1] + 1):
            data = write(schema.key, version, tree, topic)
            with connect(broker) as sock:
                sock.sendall(struct.pack(">i", len(data)) + data)
                answer = read_frame(sock)
            if answer is not None:
                read_response(schema.key, version, answer)
            assert broker.is_running(), f"{name} {version} of {topic} has ended the broker:\n{broker.text()[-3000:]}"


@pytest.mark.parametrize("topic", ["never-heard-of", "a\0b", "a/b", "", "x" * 300], ids=["unknown", "zero-byte", "slash", "empty", "long"])
def test_what_nobody_has(broker, topic):
    ask_all(broker, topic, mine=["DeleteTopics"])
    produce(broker, "t", ["still here"])


def test_what_was_just_deleted_and_what_is_being_deleted(broker, zookeeper):
    tool = [BUILD / "barnabas-tool", "kafka-topics", "--bootstrap-server", broker.bootstrap]
    run([*tool, "--create", "--topic", "gone", "--partitions", "8"])
    run([*tool, "--create", "--topic", "going", "--partitions", "8"])
    # A replica on a broker that is not there keeps the other one from going.
    assignment = {"version": 3, "topic_id": json.loads(zookeeper.get("/brokers/topics/going"))["topic_id"], "adding_replicas": {}, "removing_replicas": {},
                  "partitions": {str(p): [0, 9] for p in range(8)}}
    produce(broker, "going", ["x"])
    zookeeper.client.set("/brokers/topics/going", json.dumps(assignment).encode())
    zookeeper.client.delete("/controller")
    wait_until(lambda: "2 replicas" in kcat(broker, "-L", "-t", "going") or "replicas: 0,9" in kcat(broker, "-L", "-t", "going"), "the controller sees the replica that is not there")
    for topic in ("gone", "going"):
        zookeeper.client.create(f"/admin/delete_topics/{topic}")
    ask_all(broker, "going")
    wait_until(lambda: not zookeeper.client.exists("/brokers/topics/gone"), "the deletion")
    ask_all(broker, "gone")
    ask_all(broker, "going")
    produce(broker, "t", ["still here"])
