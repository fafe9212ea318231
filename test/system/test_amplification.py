"""How much longer an answer can be than its request, for what a request may name again and again: by API, at most so many times.
And how much memory requests take that name long things often."""

import select
import struct

import pytest
from harness import PATIENCE, connect, kcat, most_memory, produce, read_frame
from messages import SCHEMAS, Asker, read_response, write_request
from test_tools import script

REPEATS = 3000
TOPICS = ["t", "u"]

# API: (version, one item, the tree around so many, how many bytes of answer there may be for each byte asked)
TABLE = {
    "Metadata": (12, {"Name": "t"}, lambda items: {"Topics": items}, 0.2),  # once, however often it is named
    "DescribeGroups": (5, "g", lambda items: {"Groups": items}, 20),
    "DescribeConfigs": (4, {"ResourceType": 2, "ResourceName": "t", "ConfigurationKeys": ["retention.ms"]}, lambda items: {"Resources": items}, 6),
    "FindCoordinator": (4, "g", lambda items: {"KeyType": 0, "CoordinatorKeys": items}, 20),
    "OffsetFetch": (8, {"GroupId": "g", "Topics": None}, lambda items: {"Groups": items}, 20),
    "ListOffsets": (7, {"Name": "t", "Partitions": [{"PartitionIndex": 0, "Timestamp": -1}]}, lambda items: {"ReplicaId": -1, "Topics": items}, 3),
    "OffsetForLeaderEpoch": (4, {"Topic": "t", "Partitions": [{"Partition": 0, "CurrentLeaderEpoch": -1, "LeaderEpoch": 0}]}, lambda items: {"ReplicaId": -2, "Topics": items}, 3),
    "DescribeProducers": (0, {"Name": "t", "PartitionIndexes": [0]}, lambda items: {"Topics": items}, 10),
    "DescribeLogDirs": (4, {"Topic": "t", "Partitions": [0]}, lambda items: {"Topics": items}, 0.2),
    "DescribeTransactions": (0, "x", lambda items: {"TransactionalIds": items}, 25),
    "ListPartitionReassignments": (0, {"Name": "t", "PartitionIndexes": [0]}, lambda items: {"TimeoutMs": 1000, "Topics": items}, 0.2),
    "Fetch": (12, {"Topic": "t", "Partitions": [{"Partition": 0, "PartitionMaxBytes": 1 << 20}]}, lambda items: {"ReplicaId": -1, "MaxBytes": 1 << 20, "SessionEpoch": -1, "Topics": items}, 60),
    "DeleteRecords": (2, {"Name": "t", "Partitions": [{"PartitionIndex": 0, "Offset": 0}]}, lambda items: {"TimeoutMs": 1000, "Topics": items}, 3),
    "ElectLeaders": (2, {"Topic": "t", "Partitions": [0]}, lambda items: {"TimeoutMs": 1000, "TopicPartitions": items}, 20),
    "DeleteGroups": (2, "h", lambda items: {"GroupsNames": items}, 0.2),
    "CreateTopics": (7, {"Name": "t", "NumPartitions": 1, "ReplicationFactor": 1}, lambda items: {"timeoutMs": 1000, "validateOnly": True, "Topics": items}, 6),
    "AlterPartitionReassignments": (0, {"Name": "t", "Partitions": [{"PartitionIndex": 9, "Replicas": [0]}]}, lambda items: {"TimeoutMs": 1000, "Topics": items}, 6),
    "IncrementalAlterConfigs": (1, {"ResourceType": 2, "ResourceName": "t", "Configs": []}, lambda items: {"ValidateOnly": True, "Resources": items}, 10),
    "OffsetDelete": (0, {"Name": "t", "Partitions": [{"PartitionIndex": 0}]}, lambda items: {"GroupId": "g", "Topics": items}, 3),
    "WriteTxnMarkers": (1, {"ProducerId": -1, "Topics": [{"Name": "t", "PartitionIndexes": [0]}]}, lambda items: {"Markers": items}, 3),
}


def size_of_answer(broker, name):
    version, item, around, _ = TABLE[name]
    key = SCHEMAS[name].key
    data = write_request(key, version, around([item] * REPEATS))
    with connect(broker) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(struct.pack(">i", len(data)) + data)
        answer = read_frame(sock)
    assert answer is not None, f"{name} closes the connection: {broker.text()[-500:]}"
    read_response(key, version, answer)
    return len(data), len(answer)


@pytest.fixture
def full(broker):
    """With something to tell about."""
    for topic in TOPICS:
        produce(broker, topic, ["x" * 100] * 100)
    kcat(broker, "-G", "g", "-c", "1", "-o", "beginning", "t")
    return broker


def test_answers_are_no_longer_than_this(full):
    found = {name: size_of_answer(full, name) for name in TABLE}
    for name, (asked, answered) in found.items():
        print(f"{name}: {asked} bytes in, {answered} bytes out")
    too_long = {n: f"{a} in, {o} out" for n, (a, o) in found.items() if o > TABLE[n][3] * a + 20000}
    assert not too_long


def test_an_answer_without_bound_ends_its_connection_only(full):
    """As much as a request can name of what has the longest answer."""
    key = SCHEMAS["DescribeConfigs"].key
    resource = {"ResourceType": 4, "ResourceName": "0"}
    data = write_request(key, 4, {"IncludeSynonyms": True, "IncludeDocumentation": True, "Resources": [resource] * 20000})
    with connect(full) as sock:
        sock.settimeout(PATIENCE)
        sock.sendall(struct.pack(">i", len(data)) + data)
        assert read_frame(sock) is None
    assert "takes more than 268435456 bytes" in full.text()
    for _ in range(4):  # on each loop, which has ended its turn then
        produce(full, "t", ["still here"])
    assert turns_of(full) == []


def turns_of(broker):
    """Those of a network loop that took more than a second, in which it had no time for others."""
    return [line for line in broker.text().splitlines() if "A turn of the loop network" in line]


def test_keys_without_number_do_not_hold_a_loop(full):
    resource = {"ResourceType": 4, "ResourceName": "0", "ConfigurationKeys": ["log.dirs", *(f"k{i}" for i in range(20000))]}
    answer = ask(full, "DescribeConfigs", 4, {"Resources": [resource] * 40})
    assert [[c["Name"] for c in x["Configs"]] for x in answer["Results"]] == [["log.dirs"]] * 40
    assert turns_of(full) == []


# ---- Memory ----

MEGA = 1 << 20
LONG = "n" * 32000
MANY = 80000
# Sanitizers keep what was freed for a while.
MOST_MEMORY = 700 * MEGA


def ask(broker, name, version, tree):
    with Asker(broker, PATIENCE) as asker:
        answer = asker.get(name, version, tree)
    assert isinstance(answer, dict), f"{name}: {answer}: {broker.text()[-500:]}"
    return answer


def test_a_long_name_is_not_copied_for_each_of_its_partitions(full):
    partition = {"PartitionIndex": 0, "Timestamp": -1}
    answer = ask(full, "ListOffsets", 7, {"ReplicaId": -1, "Topics": [{"Name": LONG, "Partitions": [partition] * MANY}]})
    assert {p["ErrorCode"] for p in answer["Topics"][0]["Partitions"]} == {42}  # INVALID_REQUEST: it is named again
    assert most_memory(full.process.pid) < MOST_MEMORY


@pytest.mark.parametrize("name", ["OffsetFetch", "OffsetCommit"])
def test_a_long_group_is_not_copied_for_each_partition(full, name):
    """In version 0, whose offsets ZooKeeper has: of so many it is not asked at once."""
    partitions = {"OffsetFetch": {"PartitionIndexes": [0] * 30000}, "OffsetCommit": {"Partitions": [{"PartitionIndex": 0, "CommittedOffset": 5}] * 30000}}
    answer = ask(full, name, 0, {"GroupId": LONG, "Topics": [{"Name": "t", **partitions[name]}]})
    errors = [p["ErrorCode"] for p in answer["Topics"][0]["Partitions"]]
    assert len(errors) == 30000 and errors[-1] == -1  # UNKNOWN_SERVER_ERROR
    assert errors[0] == {"OffsetFetch": 3, "OffsetCommit": 0}[name]
    assert most_memory(full.process.pid) < MOST_MEMORY


def test_names_of_keys_without_a_value_are_not_copied_for_each_other(full):
    """Of those that may not be null, the first are named."""
    configs = [{"Name": f"{n}{LONG}", "ConfigOperation": 0, "Value": None} for n in range(300)]
    answer = ask(full, "IncrementalAlterConfigs", 1, {"Resources": [{"ResourceType": 2, "ResourceName": "t", "Configs": configs}]})
    told = answer["Responses"][0]
    assert told["ErrorCode"] == 42 and told["ErrorMessage"].startswith("Null value not supported for : 0nnn")
    assert most_memory(full.process.pid) < MOST_MEMORY


# ---- One partition, named again and again ----

TIMES = 200000


def commit(broker, metadata):
    partition = {"PartitionIndex": 0, "CommittedOffset": 5, "CommittedMetadata": metadata}
    return ask(broker, "OffsetCommit", 8, {"GroupId": "long", "GenerationIdOrMemberEpoch": -1, "MemberId": "", "Topics": [{"Name": "t", "Partitions": [partition]}]})


@pytest.mark.parametrize("version", [7, 8])
def test_an_offset_is_told_once(full, version):
    """With its metadata, which may be long."""
    commit(full, "m" * 4000)
    topics = [{"Name": "t", "PartitionIndexes": [0] * TIMES}]
    answer = ask(full, "OffsetFetch", version, {"GroupId": "long", "Topics": topics} if version < 8 else {"Groups": [{"GroupId": "long", "Topics": topics}]})
    (topic,) = answer["Topics"] if version < 8 else answer["Groups"][0]["Topics"]
    assert [(p["PartitionIndex"], p["CommittedOffset"], len(p["Metadata"])) for p in topic["Partitions"]] == [(0, 5, 4000)]
    assert most_memory(full.process.pid) < MOST_MEMORY


def test_an_offset_is_committed_once(full):
    """What is said last counts."""
    partitions = [{"PartitionIndex": 0, "CommittedOffset": i, "CommittedMetadata": "m"} for i in range(TIMES)]
    answer = ask(full, "OffsetCommit", 8, {"GroupId": "g2", "GenerationIdOrMemberEpoch": -1, "MemberId": "", "Topics": [{"Name": "t", "Partitions": partitions}]})
    assert [(p["PartitionIndex"], p["ErrorCode"]) for p in answer["Topics"][0]["Partitions"]] == [(0, 0)]
    answer = ask(full, "OffsetFetch", 7, {"GroupId": "g2", "Topics": [{"Name": "t", "PartitionIndexes": [0]}]})
    assert answer["Topics"][0]["Partitions"][0]["CommittedOffset"] == TIMES - 1


@pytest.mark.parametrize("version", [4, 12, 17])
def test_a_partition_is_waited_for_once(full, version):
    """Without a session. It is read once, too: as an answer to each would be the same again."""
    topic = {"Topic": "t"} if version < 13 else {"TopicId": ask(full, "Metadata", 12, {"Topics": [{"Name": "t"}]})["Topics"][0]["TopicId"]}
    partition = {"Partition": 0, "FetchOffset": 100, "PartitionMaxBytes": 1 << 20}
    tree = {"ReplicaId": -1, "MaxWaitMs": 200, "MinBytes": 1 << 20, "MaxBytes": 1 << 20, "SessionEpoch": -1, "Topics": [{**topic, "Partitions": [partition] * TIMES}]}
    answer = ask(full, "Fetch", version, tree)
    assert [[p["PartitionIndex"] for p in t["Partitions"]] for t in answer["Responses"]] == [[0]]
    assert most_memory(full.process.pid) < MOST_MEMORY


def test_records_are_deleted_once(full):
    partitions = [{"PartitionIndex": 0, "Offset": i % 50} for i in range(TIMES)]
    answer = ask(full, "DeleteRecords", 2, {"TimeoutMs": 1000, "Topics": [{"Name": "t", "Partitions": partitions}]})
    assert [(p["PartitionIndex"], p["LowWatermark"]) for p in answer["Topics"][0]["Partitions"]] == [(0, 49)]


def test_the_segments_of_old_clients_have_a_bound(full):
    """Each time that a partition is named, the offsets of its segments are listed: an answer without a bound is not made."""
    partition = {"PartitionIndex": 0, "Timestamp": -1, "MaxNumOffsets": 1 << 30}
    answer = ask(full, "ListOffsets", 0, {"ReplicaId": -1, "Topics": [{"Name": "t", "Partitions": [partition] * TIMES}]})
    assert len(answer["Topics"][0]["Partitions"]) == TIMES
    assert most_memory(full.process.pid) < MOST_MEMORY


# ---- What is asked of ZooKeeper ----


def slow_turns_of_control(broker):
    return [line for line in broker.text().splitlines() if "A turn of the loop control" in line]


def test_a_long_name_is_not_looked_for_in_each_user(full):
    """In the spelling that paths have, which is three times as long: once."""
    for i in range(1000):
        full.zookeeper.client.create(f"/config/users/u{i}", b'{"version":1,"config":{"producer_byte_rate":"1"}}')
    asked = {"Components": [{"EntityType": "user", "MatchType": 0, "Match": "/" * 32000}], "Strict": False}
    assert ask(full, "DescribeClientQuotas", 1, asked)["Entries"] == []
    assert most_memory(full.process.pid) < MOST_MEMORY
    assert slow_turns_of_control(full) == []


def test_who_asks_for_very_many_users_lets_others_by(full):
    """Whatever else ZooKeeper is asked for meanwhile goes in between; and there is a bound."""
    users = [{"Name": f"u{i}"} for i in range(100001)]
    assert ask(full, "DescribeUserScramCredentials", 0, {"Users": users})["ErrorCode"] == 44  # POLICY_VIOLATION
    with Asker(full, PATIENCE) as many:
        key = SCHEMAS["DescribeUserScramCredentials"].key
        many.send(key, 0, {"Users": users[:60000]})
        created = ask(full, "CreateTopics", 7, {"timeoutMs": 10000, "Topics": [{"Name": "new", "NumPartitions": 1, "ReplicationFactor": 1}]})
        assert created["Topics"][0]["ErrorCode"] == 0
        assert not select.select([many.sock], [], [], 0)[0], "all users were read before"
        assert {r["ErrorCode"] for r in read_response(key, 0, many.receive())[1]["Results"]} == {91}  # RESOURCE_NOT_FOUND


# ---- Very many topics ----


def test_a_topic_is_deleted_once(full):
    """And counts once for what a client may change, by its name as by its id."""
    kafka_configs = ["--alter", "--entity-type", "clients", "--entity-name", "test", "--add-config", "controller_mutation_rate=1"]
    script("kafka-configs", "--bootstrap-server", full.bootstrap, *kafka_configs)
    ids = {t["Name"]: t["TopicId"] for t in ask(full, "Metadata", 12, {"Topics": [{"Name": n} for n in TOPICS]})["Topics"]}
    answer = ask(full, "DeleteTopics", 6, {"TimeoutMs": 10000, "Topics": [{"Name": "t"}] * 1000 + [{"TopicId": ids["t"]}] * 1000 + [{"Name": "none"}]})
    assert {(r["Name"], r["ErrorCode"]) for r in answer["Responses"]} == {("t", 0), ("none", 3)} and len(answer["Responses"]) == 2001
    assert answer["ThrottleTimeMs"] < 1000, "it was counted more than once"
    answer = ask(full, "DeleteTopics", 4, {"TimeoutMs": 10000, "TopicNames": ["u"] * 100000})
    assert {r["ErrorCode"] for r in answer["Responses"]} == {44}


def test_topics_of_a_request_have_a_bound(full):
    topics = [{"Name": f"n{i}", "NumPartitions": 1, "ReplicationFactor": 1} for i in range(20001)]
    answer = ask(full, "CreateTopics", 7, {"timeoutMs": 10000, "validateOnly": True, "Topics": topics})
    assert {t["ErrorCode"] for t in answer["Topics"]} == {44}
    answer = ask(full, "CreatePartitions", 3, {"TimeoutMs": 10000, "ValidateOnly": True, "Topics": [{"Name": f"n{i}", "Count": 3} for i in range(20001)]})
    assert {t["ErrorCode"] for t in answer["Results"]} == {44}
    assert most_memory(full.process.pid) < MOST_MEMORY and slow_turns_of_control(full) == []
