"""Who may do what: access control lists (KIP-11), beside Apache's AclAuthorizer."""

import json
import re
import signal
import socket
import struct
import subprocess
import threading

import pytest
from batches import TRANSACTIONAL, make_batch
from harness import BUILD, PATIENCE, TOP, Apache, Barnabas, frame, free_port, read_frame, run_tool, wait_until, without_noise
from kazoo.exceptions import BadVersionError
from messages import APIS, SCHEMAS
from test_answers import Teller, differences, fetch, join, produce

AUTHORIZER = {"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer"}
TYPES = ["Cluster", "DelegationToken", "Group", "Topic", "TransactionalId", "User"]


def acls(*entries):
    """A node's data: entries are (principal, "Allow" or "Deny", operation[, host])."""
    named = [dict(zip(("principal", "permissionType", "operation", "host"), (*e, "*")[:4])) for e in entries]
    return json.dumps({"version": 1, "acls": named}).encode()


def test_nodes_are_there_from_the_start(make_broker, zookeeper):
    make_broker(**AUTHORIZER, **{"super.users": "User:ANONYMOUS"})
    for root in "/kafka-acl", "/kafka-acl-extended/prefixed":
        assert zookeeper.children(root) == TYPES
        assert all(zookeeper.get(f"{root}/{t}") is None for t in TYPES)
    assert zookeeper.children("/kafka-acl-changes") == zookeeper.children("/kafka-acl-extended-changes") == []


@pytest.mark.parametrize("key, value, said", [
    ("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "AclAuthorizer only"),
    ("super.users", "admin", '"admin" is not of the form'),
])
def test_does_not_start_with_what_it_does_not_understand(zookeeper, tmp_path, key, value, said):
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", {**AUTHORIZER, key: value})
    broker.launch()
    assert broker.process.wait(60) == 1
    assert f"{key}={value}: " in broker.text() and said in broker.text(), broker.text()


@pytest.mark.parametrize("data", [b'{"version":2,"acls":[]}', b"{", acls(("User:a", "Allow", "Fly")), acls(("a", "Allow", "Read"))])
def test_does_not_start_with_lists_that_it_cannot_read(zookeeper, tmp_path, data):
    zookeeper.client.create("/kafka-acl/Topic/t", data, makepath=True)
    broker = Barnabas(zookeeper, tmp_path / "data", tmp_path / "broker.log", AUTHORIZER)
    broker.launch()
    assert broker.process.wait(60) == 1
    assert "The ACLs at /kafka-acl/Topic/t cannot be read" in broker.text(), broker.text()


# ---- Lists that change while the broker runs ----

STRANGER = "127.0.0.2"


def visible(broker, address=STRANGER):
    """The topics that somebody sees from there."""
    with Visitor(broker, address) as visitor:
        return {t["Name"] for t in visitor.get("Metadata", 9, {"Topics": None})["Topics"]}


@pytest.fixture
def guarded(make_broker, zookeeper):
    """A broker whose tests may do everything, with two topics that a stranger may not see."""
    write_rights(zookeeper, {})
    # The authorizer has a session of its own, which ends before the broker's.
    broker = make_broker(**AUTHORIZER, **{"zookeeper.session.timeout.ms": 3000, "authorizer.zookeeper.session.timeout.ms": 1500,
                                          "auto.create.topics.enable": "false"})
    with Visitor(broker, ADMIN) as admin:
        admin.make_topics("secret", "public")
    assert visible(broker) == set()
    return broker


def notify(zookeeper, kind, name):
    zookeeper.client.create("/kafka-acl-changes/acl_changes_", f"{kind}:{name}".encode(), sequence=True)


def allow(zookeeper, name, *entries):
    zookeeper.client.create(f"/kafka-acl/Topic/{name}", acls(*entries))
    notify(zookeeper, "TOPIC", name)


def test_a_list_that_is_changed_in_zookeeper_is_followed(guarded, zookeeper):
    allow(zookeeper, "secret", ("User:ANONYMOUS", "Allow", "Read", STRANGER))
    wait_until(lambda: visible(guarded) == {"secret"}, "the permission")
    zookeeper.client.create("/kafka-acl-extended/prefixed/Topic/pub", acls(("User:*", "Allow", "Describe", STRANGER)))
    zookeeper.client.create("/kafka-acl-extended-changes/acl_changes_", b'{"version":1,"resourceType":"TOPIC","name":"pub","patternType":"PREFIXED"}', sequence=True)
    wait_until(lambda: visible(guarded) == {"secret", "public"}, "the permission for a prefix")
    zookeeper.client.delete("/kafka-acl/Topic/secret")
    notify(zookeeper, "TOPIC", "secret")
    wait_until(lambda: visible(guarded) == {"public"}, "the end of the permission")


def test_a_notification_that_is_not_understood_is_passed_over(guarded, zookeeper):
    for odd in b"", b"TOPIC", b"PLACE:x", b"TOPIC:a/b", b"TOPIC:\xff", b"\0":
        zookeeper.client.create("/kafka-acl-changes/acl_changes_", odd, sequence=True)
    zookeeper.client.create("/kafka-acl-extended-changes/acl_changes_", b"{", sequence=True)
    allow(zookeeper, "secret", ("User:ANONYMOUS", "Allow", "Read", STRANGER))
    wait_until(lambda: visible(guarded) == {"secret"}, "the permission")
    assert guarded.text().count("is not understood: it is passed over") == 7


def test_a_list_that_cannot_be_read_takes_no_protection_away(guarded, zookeeper):
    allow(zookeeper, "secret", ("User:ANONYMOUS", "Allow", "Read", STRANGER))
    allow(zookeeper, "public", ("User:ANONYMOUS", "Allow", "Read", STRANGER))
    wait_until(lambda: visible(guarded) == {"secret", "public"}, "the permissions")
    zookeeper.client.set("/kafka-acl/Topic/secret", b"{")
    notify(zookeeper, "TOPIC", "secret")
    zookeeper.client.create("/kafka-acl-extended/prefixed/Topic/pub", b'{"version":7}')
    zookeeper.client.create("/kafka-acl-extended-changes/acl_changes_", b'{"version":1,"resourceType":"TOPIC","name":"pub","patternType":"PREFIXED"}', sequence=True)
    wait_until(lambda: visible(guarded) == {"secret"}, "the list that was never understood to deny everybody")
    assert "The ACLs at /kafka-acl/Topic/secret cannot be read" in guarded.text()
    with Visitor(guarded, ADMIN) as admin:
        assert admin.get("Metadata", 1, {"Topics": [{"Name": "public"}]})["Topics"][0]["ErrorCode"] == 29


def test_lists_are_read_again_after_a_lost_session(guarded, zookeeper):
    """What changed meanwhile, without a notification that is still there."""
    guarded.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not zookeeper.client.exists("/brokers/ids/0"), "the session to expire")
        zookeeper.client.create("/kafka-acl/Topic/secret", acls(("User:ANONYMOUS", "Allow", "Read", STRANGER)))
    finally:
        guarded.process.send_signal(signal.SIGCONT)
    wait_until(lambda: visible(guarded) == {"secret"}, "the permission")


def test_what_is_deleted_by_name_is_looked_for_in_zookeeper(guarded, zookeeper):
    """Also where the broker has not heard of it, and the filter leaves open which of the two patterns is meant."""
    paths = "/kafka-acl/Topic/quiet", "/kafka-acl-extended/prefixed/Topic/quiet"
    for path in paths:
        zookeeper.client.create(path, acls(("User:a", "Allow", "Read")))
    with Visitor(guarded, ADMIN) as admin:
        (result,) = admin.get("DeleteAcls", 3, {"Filters": [matching("quiet", 2)]})["FilterResults"]
    assert len(result["MatchingAcls"]) == 2 and not any(zookeeper.client.exists(p) for p in paths)


def test_a_topic_is_made_for_who_may_make_it(make_broker, zookeeper):
    """auto.create.topics.enable: who may see a topic that there is not need not be one who may create it."""
    write_rights(zookeeper, {"127.0.0.2": {(TOPIC, "seen"): [("Allow", "Describe")], (TOPIC, "mine"): [("Allow", "Create"), ("Allow", "Describe")]},
                             "127.0.0.3": {(TOPIC, "any"): [("Allow", "Read")], (CLUSTER, "kafka-cluster"): [("Allow", "Create")]}})
    broker = make_broker(**AUTHORIZER)

    def errors(address, name):
        with Visitor(broker, address) as visitor:
            return visitor.get("Metadata", 9, {"Topics": [{"Name": name}], "AllowAutoTopicCreation": 1})["Topics"][0]["ErrorCode"]
    assert errors("127.0.0.2", "seen") == 29
    assert errors("127.0.0.2", "any") == 29
    wait_until(lambda: errors("127.0.0.2", "mine") == 0, "the topic that may be made")
    wait_until(lambda: errors("127.0.0.3", "any") == 0, "the topic that may be made by who makes any")
    assert sorted(zookeeper.children("/brokers/topics")) == ["any", "mine"]


def test_a_denial_is_a_line_for_the_audit(guarded):
    with Visitor(guarded, STRANGER) as visitor:
        visitor.get("Metadata", 9, {"Topics": [{"Name": "secret"}]})
        visitor.get("Fetch", 11, {**fetch("secret", wait=0), "Topics": [{"Topic": "secret", "Partitions": [{"Partition": p, "FetchOffset": 0, "PartitionMaxBytes": 1} for p in range(3)]}]})
        visitor.get("Metadata", 9, {"Topics": None})
    lines = [line for line in guarded.text().splitlines() if "(kafka.authorizer.logger)" in line]
    start = "INFO Principal = User:ANONYMOUS is Denied Operation = "
    assert [line[line.index("INFO"):] for line in lines] == [
        f"{start}Describe from host = {STRANGER} on resource = Topic:LITERAL:secret for request = Metadata with resourceRefCount = 1 (kafka.authorizer.logger)",
        f"{start}Read from host = {STRANGER} on resource = Topic:LITERAL:secret for request = Fetch with resourceRefCount = 3 (kafka.authorizer.logger)"]


def test_the_level_of_the_audit_is_a_loggers_own(guarded):
    with Visitor(guarded, ADMIN) as admin:
        for level, said in ("DEBUG", True), ("WARN", False):
            answer = admin.get("IncrementalAlterConfigs", 1, {"Resources": [{"ResourceType": 8, "ResourceName": "0", "Configs": [{"Name": "kafka.authorizer.logger", "Value": level}]}]})
            assert answer["Responses"][0]["ErrorCode"] == 0
            admin.get("Metadata", 9, {"Topics": [{"Name": level}]})
            assert (f"is Allowed Operation = Describe from host = {ADMIN} on resource = Topic:LITERAL:{level} for" in guarded.text()) == said


# ---- What each API answers to whom: a principal is an address here, unless it logs in ----

ADMIN = "127.0.0.1"  # of the tests, the brokers and their tools
TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID = "Topic", "Group", "Cluster", "TransactionalId"
EVERYTHING = {(TOPIC, "*"): ["All"], (GROUP, "*"): ["All"], (CLUSTER, "kafka-cluster"): ["All"], (TRANSACTIONAL_ID, "*"): ["All"]}


def may(topics=(), group=(), cluster=(), txn=(), deny=()):
    """What somebody may do with the topic "secret", the group "g1", the cluster and the id "tx1"."""
    rights = {(TOPIC, "secret"): topics, (GROUP, "g1"): group, (CLUSTER, "kafka-cluster"): cluster, (TRANSACTIONAL_ID, "tx1"): txn}
    return {k: [("Allow", o) for o in v] + ([("Deny", o) for o in deny] if k[0] == TOPIC else []) for k, v in rights.items()}


VISITORS = {
    "127.0.0.2": may(),
    "127.0.0.3": may(["Read"], ["Read"]),
    "127.0.0.4": may(["Write"], [], [], ["Write"]),
    "127.0.0.5": may(["Describe"], ["Describe"], ["Describe"], ["Describe"]),
    "127.0.0.6": may(["Alter", "AlterConfigs", "Delete"], ["Delete"], ["Alter", "AlterConfigs"]),
    "127.0.0.7": may([], [], ["ClusterAction", "IdempotentWrite", "Create"]),
    "127.0.0.8": may(["All"], ["All"], ["All"], ["All"], deny=["Describe"]),
    "127.0.0.9": may(["All"], ["All"], ["DescribeConfigs"], ["All"], deny=["All"]),
}


class Visitor(Teller):
    def __init__(self, broker, address):
        super().__init__(broker)
        self.address = address

    def plain(self, x, name=""):
        x = super().plain(x, name)
        if isinstance(x, str):  # Apache's shows the whole request there, as it is in memory
            return re.sub(r"Request Request\(.*\) is not authorized", "Cluster authorization failed", x)
        return sorted(x, key=repr) if isinstance(x, list) and name in ("Acls", "MatchingAcls", "Resources") else x

    def send(self, *args, **kw):
        if self.sock is None:
            self.sock = socket.create_connection(("127.0.0.1", self.broker.port), PATIENCE, source_address=(self.address, 0))
        super().send(*args, **kw)


USERS = {f"guest-{address[-1]}": address for address in VISITORS}  # who log in, with the rights of an address
SUPER = "super"  # who logs in, and may everything
EVERYBODY = [*VISITORS, *USERS, SUPER]


def with_logins(broker, users):
    """Its settings with a listener more, for them."""
    broker.login_port = free_port()
    return {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SASL_PLAINTEXT://127.0.0.1:{broker.login_port}", "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config":
            "org.apache.kafka.common.security.plain.PlainLoginModule required" + "".join(f' user_{user}="password"' for user in users) + ";"}


def log_in(broker, user):
    """Their connection."""
    token = f"\0{user}\0password".encode()
    sock = socket.create_connection(("127.0.0.1", broker.login_port), PATIENCE)
    sock.sendall(frame(17, 1, struct.pack(">h", 5) + b"PLAIN") + frame(36, 0, struct.pack(">i", len(token)) + token))
    for _ in "handshake", "token":
        assert read_frame(sock)[4:6] == b"\0\0"
    return sock


class Guest(Visitor):
    """Who logs in, from the address of those who may everything."""

    def __init__(self, broker, user):
        super().__init__(broker, ADMIN)
        self.user = user

    def plain(self, x, name=""):
        if x == self.broker.login_port and name == "Port":
            return "PORT"
        x = super().plain(x, name)
        return x.replace(str(self.broker.login_port), "PORT") if isinstance(x, str) else x

    def send(self, *args, **kw):
        if self.sock is None:
            self.sock = log_in(self.broker, self.user)
        super().send(*args, **kw)


def of_their_own(who):
    """The name of somebody's topic and group, which they take away if they may: nobody else asks for them."""
    return f"own-{who}"


def list_of_their_own(who):
    """The name of a topic that there is not, but rights for it, which are taken away in the same way."""
    return f"list-{who}"


def with_own(rights, who):
    """What somebody may do with "secret" and "g1", they may do with their own."""
    return {**rights, **{(kind, of_their_own(who)): rights.get((kind, name), []) for kind, name in ((TOPIC, "secret"), (GROUP, "g1"))}}


def write_rights(zookeeper, visitors, users={}):
    """Before the broker starts, as it reads them then."""
    zookeeper.client.ensure_path("/")
    lists = {k: [("User:ANONYMOUS", "Allow", o, ADMIN) for o in v] for k, v in EVERYTHING.items()}
    for address, rights in visitors.items():
        for key, given in with_own(rights, address).items():
            lists.setdefault(key, []).extend(("User:ANONYMOUS", permission, o, address) for permission, o in given)
    for user, address in users.items():
        for key, given in with_own(visitors[address], user).items():
            lists.setdefault(key, []).extend((f"User:{user}", permission, o) for permission, o in given)
    for (kind, name), entries in lists.items():
        if entries:
            zookeeper.client.create(f"/kafka-acl/{kind}/{name}", acls(*entries), makepath=True)


ANY, MATCH, LITERAL, PREFIXED = 1, 2, 3, 4
DENY, ALLOW = 2, 3
READ, WRITE, DESCRIBE = 3, 4, 8
DENIED = 29  # TOPIC_AUTHORIZATION_FAILED


def entry(name="t", kind=2, pattern=LITERAL, principal="User:x", host="*", operation=READ, permission=ALLOW):
    return {"ResourceType": kind, "ResourceName": name, "ResourcePatternType": pattern, "Principal": principal, "Host": host, "Operation": operation, "PermissionType": permission}


def matching(name=None, kind=ANY, pattern=ANY, principal=None, host=None, operation=ANY, permission=ANY):
    return {"ResourceTypeFilter": kind, "ResourceNameFilter": name, "PatternTypeFilter": pattern, "PrincipalFilter": principal, "HostFilter": host, "Operation": operation,
            "PermissionType": permission}


WHO = {"ProducerId": 5, "ProducerEpoch": 0}
IN_TRANSACTION = make_batch(attributes=TRANSACTIONAL, producer=5, epoch=0, sequence=0)
BOTH = "secret", "nosuch"


def questions(secret, who, own):
    """Everything that needs a permission; `secret` and `own` are ids of topics. What changes nothing but for who may, and not for who comes next."""
    yield "Metadata", {"Topics": None, "IncludeTopicAuthorizedOperations": 1, "IncludeClusterAuthorizedOperations": 1}
    yield "Metadata", {"Topics": [{"Name": t} for t in BOTH], "AllowAutoTopicCreation": 0, "IncludeTopicAuthorizedOperations": 1}
    yield "Metadata", {"Topics": [{"Name": None, "TopicId": t} for t in (secret, b"n" * 16)], "IncludeTopicAuthorizedOperations": 1}
    yield "DescribeCluster", {"IncludeClusterAuthorizedOperations": 1}
    for t in BOTH:
        yield "Produce", produce(t, make_batch())
        yield "Fetch", fetch(t, wait=0)
        yield "Fetch", fetch(t, wait=0, replica=7)
        yield "ListOffsets", {"ReplicaId": -1, "Topics": [{"Name": t, "Partitions": [{"PartitionIndex": 0, "Timestamp": -2, "MaxNumOffsets": 1}]}]}
        yield "OffsetForLeaderEpoch", {"ReplicaId": -2, "Topics": [{"Topic": t, "Partitions": [{"Partition": 0, "LeaderEpoch": 0}]}]}
        yield "DescribeProducers", {"Topics": [{"Name": t, "PartitionIndexes": [0]}]}
        yield "DeleteRecords", {"TimeoutMs": 5000, "Topics": [{"Name": t, "Partitions": [{"PartitionIndex": 0, "Offset": 0}]}]}
        yield "CreatePartitions", {"TimeoutMs": 5000, "Topics": [{"Name": t, "Count": 5}], "ValidateOnly": 1}
        yield "DescribeConfigs", {"Resources": [{"ResourceType": 4, "ResourceName": "0", "ConfigurationKeys": ["num.io.threads"]},
                                                {"ResourceType": 2, "ResourceName": t, "ConfigurationKeys": ["retention.ms"]}]}
        for operation in "AlterConfigs", "IncrementalAlterConfigs":
            for value in "2", "bad":
                yield operation, {"ValidateOnly": 1, "Resources": [{"ResourceType": 2, "ResourceName": t, "Configs": [{"Name": "retention.ms", "Value": value}]},
                                                                   {"ResourceType": 4, "ResourceName": "0", "Configs": [{"Name": "log.cleaner.threads", "Value": value}]}]}
    yield "DescribeProducers", {"Topics": [{"Name": "a/b", "PartitionIndexes": [0]}]}
    yield "DescribeConfigs", {"Resources": [{"ResourceType": 16, "ResourceName": "m"}]}
    for operation in "AlterConfigs", "IncrementalAlterConfigs":
        yield operation, {"ValidateOnly": 1, "Resources": [{"ResourceType": 2, "ResourceName": "", "Configs": [{"Name": "retention.ms", "Value": "1"}]}]}
    for secret_id in secret, b"n" * 16:
        yield "Fetch", fetch(secret_id, wait=0)
    yield "Produce", produce("secret", IN_TRANSACTION, transactional_id="tx1")
    yield "Produce", produce("secret", IN_TRANSACTION, transactional_id=None)
    for kind, key in (0, "g1"), (1, "tx1"), (2, "s1"):
        yield "FindCoordinator", {"KeyType": kind, "Key": key, "CoordinatorKeys": [key]}
    yield "JoinGroup", join("g1", member="nobody")
    yield "SyncGroup", {"GroupId": "g1", "MemberId": "m", "GenerationId": 1, "ProtocolType": "consumer", "ProtocolName": "range"}
    yield "SyncGroup", {"GroupId": "g1", "MemberId": "m", "GenerationId": 1}
    yield "Heartbeat", {"GroupId": "g1", "MemberId": "m", "GenerationId": 1}
    yield "LeaveGroup", {"GroupId": "g1", "MemberId": "m", "Members": [{"MemberId": "m"}]}
    for name in "g1", "g2":
        yield "OffsetCommit", {"GroupId": name, "Topics": [{"Name": t, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1}]} for t in BOTH]}
        topics = [{"Name": t, "PartitionIndexes": [0]} for t in BOTH]
        for asked in topics, None:
            yield "OffsetFetch", {"GroupId": name, "Topics": asked, "Groups": [{"GroupId": name, "Topics": asked}]}
    yield "OffsetDelete", {"GroupId": "g1", "Topics": [{"Name": t, "Partitions": [{"PartitionIndex": 3}]} for t in BOTH]}
    yield "DescribeGroups", {"Groups": ["g1", "g2"], "IncludeAuthorizedOperations": 1}
    yield "ListGroups", {}
    yield "DeleteGroups", {"GroupsNames": ["g9", "g9"]}
    yield "InitProducerId", {"TransactionalId": "tx1", "TransactionTimeoutMs": -1, "ProducerId": -1, "ProducerEpoch": -1}
    yield "InitProducerId", {"TransactionalId": None, "TransactionTimeoutMs": 1000, "ProducerId": 5, "ProducerEpoch": -1}
    yield "AddPartitionsToTxn", {"V3AndBelowTransactionalId": "tx1", "V3AndBelowProducerId": 5, "V3AndBelowTopics": [{"Name": t, "Partitions": [0]} for t in BOTH], "Transactions": [
        {"TransactionalId": "tx1", **WHO, "VerifyOnly": 1, "Topics": [{"Name": t, "Partitions": [0]} for t in BOTH]}]}
    yield "AddOffsetsToTxn", {"TransactionalId": "tx1", "GroupId": "g1", **WHO}
    yield "EndTxn", {"TransactionalId": "tx1", **WHO}
    yield "TxnOffsetCommit", {"TransactionalId": "tx1", "GroupId": "g1", **WHO, "Topics": [{"Name": t, "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1}]} for t in BOTH]}
    yield "WriteTxnMarkers", {"Markers": [{"ProducerId": 4000, "TransactionResult": 1, "Topics": [{"Name": "nosuch", "PartitionIndexes": [0]}]}]}
    yield "DescribeTransactions", {"TransactionalIds": ["tx1", "tx2"]}
    yield "ListTransactions", {}
    yield "CreateTopics", {"timeoutMs": 5000, "validateOnly": 1, "Topics": [{"Name": "new", "NumPartitions": 1, "ReplicationFactor": 1}]}
    yield "CreateTopics", {"timeoutMs": 5000, "validateOnly": 1, "Topics": [{"Name": "new", "NumPartitions": 1, "ReplicationFactor": 1}, {"Name": "new", "NumPartitions": 1, "ReplicationFactor": 1}]}
    yield "DeleteTopics", {"TimeoutMs": 5000, "TopicNames": ["nosuch"], "Topics": [{"Name": "nosuch"}, {"Name": None, "TopicId": b"n" * 16}]}
    yield "DeleteTopics", {"TimeoutMs": 5000, "Topics": [{"Name": None, "TopicId": own}]}
    yield "DeleteTopics", {"TimeoutMs": 5000, "TopicNames": [of_their_own(who)], "Topics": [{"Name": of_their_own(who)}]}
    yield "DeleteGroups", {"GroupsNames": [of_their_own(who)]}
    for operation in "AlterConfigs", "IncrementalAlterConfigs":  # a password, which nobody can keep here: who may not is not told so
        yield operation, {"Resources": [{"ResourceType": 4, "ResourceName": "0", "Configs": [{"Name": "listener.name.none.ssl.key.password", "Value": "x"}]}], "ValidateOnly": 0}
    yield "DescribeLogDirs", {"Topics": None}
    yield "AlterReplicaLogDirs", {"Dirs": [{"Path": "/nowhere", "Topics": [{"Name": "secret", "Partitions": [0]}]}]}
    yield "ElectLeaders", {"TopicPartitions": [{"Topic": "secret", "Partitions": [0]}], "TimeoutMs": 5000}
    yield "AlterPartitionReassignments", {"TimeoutMs": 5000, "Topics": [{"Name": "nosuch", "Partitions": [{"PartitionIndex": 0, "Replicas": [0]}]}]}
    yield "ListPartitionReassignments", {"TimeoutMs": 5000, "Topics": None}
    yield "UpdateFeatures", {"timeoutMs": 1000, "FeatureUpdates": [{"Feature": "x", "MaxVersionLevel": 1, "UpgradeType": 1}]}
    yield "ControlledShutdown", {"BrokerId": 77, "BrokerEpoch": -1}
    yield "AllocateProducerIds", {"BrokerId": 9, "BrokerEpoch": 5}
    yield "AlterPartition", {"BrokerId": 9, "BrokerEpoch": 5}
    yield "LeaderAndIsr", {"ControllerId": 0, "ControllerEpoch": 0, "BrokerEpoch": -1}
    yield "UpdateMetadata", {"ControllerId": 0, "ControllerEpoch": 0, "BrokerEpoch": -1}
    yield "StopReplica", {"ControllerId": 0, "ControllerEpoch": 0, "BrokerEpoch": -1}
    yield "ConsumerGroupHeartbeat", {"GroupId": "g1"}
    yield "ConsumerGroupDescribe", {"GroupIds": ["g1"]}
    yield "CreateAcls", {"Creations": [entry("")]}
    yield "DescribeAcls", matching("nosuch")
    yield "DeleteAcls", {"Filters": [matching("nosuch")]}
    yield "CreateAcls", {"Creations": [entry(list_of_their_own(who))]}
    yield "DeleteAcls", {"Filters": [matching(list_of_their_own(who))]}
    yield "DescribeUserScramCredentials", {"Users": [{"Name": "nosuch"}]}
    yield "AlterUserScramCredentials", {"Deletions": [{"Name": "nosuch", "Mechanism": 1}]}
    yield "DescribeClientQuotas", {"Components": [{"EntityType": "user", "MatchType": 0, "Match": "nosuch"}], "Strict": False}
    yield "AlterClientQuotas", {"Entries": [{"Entity": [{"EntityType": "user", "EntityName": "nosuch"}],
                                             "Ops": [{"Key": "producer_byte_rate", "Value": 1.0, "Remove": True}]}], "ValidateOnly": True}
    yield "CreateDelegationToken", {"OwnerPrincipalType": "User", "OwnerPrincipalName": "nosuch", "MaxLifetimeMs": -1}  # on such a listener nobody has tokens
    yield "RenewDelegationToken", {"Hmac": b"x"}
    yield "ExpireDelegationToken", {"Hmac": b"x"}
    yield "DescribeDelegationToken", {"Owners": None}


@pytest.fixture(scope="module")
def pair(ensemble, tmp_path_factory):
    """Apache's broker and barnabas, which have nothing of each other but the same permissions."""
    made = []
    for kind in Apache, Barnabas:
        folder, chroot = tmp_path_factory.mktemp(kind.__name__), ensemble.chroot()
        write_rights(chroot, VISITORS, USERS)
        for who in EVERYBODY:
            chroot.client.create(f"/kafka-acl/Topic/{list_of_their_own(who)}", acls(("User:y", "Allow", "Read")))
        broker = kind(chroot, folder / "data", folder / "broker.log", {
            **AUTHORIZER, "super.users": f"User:{SUPER}", "auto.create.topics.enable": "false", "offsets.topic.num.partitions": 1, "transaction.state.log.num.partitions": 1, "log.cleaner.enable": "false"})
        broker.properties.update({**with_logins(broker, [*USERS, SUPER]), "log.retention.ms": -1})
        broker.start()
        made.append(broker)
        admin = Visitor(broker, ADMIN)
        admin.make_topics("secret", *map(of_their_own, EVERYBODY), partitions=1)
        for group in 0, 1:
            wait_until(lambda: admin.get("FindCoordinator", 2, {"Key": "x", "KeyType": group})["ErrorCode"] == 0, "a coordinator")
        admin.until_served("OffsetFetch", 7, {"GroupId": "x", "Topics": None})
        admin.until_served("InitProducerId", 4, {"TransactionalId": "other", "TransactionTimeoutMs": 1000})
        for group in "g1", "g2", *map(of_their_own, EVERYBODY):
            admin.until_served("OffsetCommit", 7, {"GroupId": group, "Topics": [{"Name": "secret", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 1}]}]})
        broker.ids = {t["Name"]: t["TopicId"] for t in admin.get("Metadata", 12, {"Topics": None})["Topics"]}
        broker.cluster = admin.get("DescribeCluster", 0)["ClusterId"]
        admin.close()
    yield made
    for broker in made:
        broker.stop()
        broker.check_log()


FROM = {"Fetch": 4, "DescribeConfigs": 1}  # below, other things differ: records that are converted, and what is called a default
UNTIL = {}  # where the schema goes on, the last version that Apache's broker has; -1: it does not have the API


def versions_of(api):
    low, high = SCHEMAS[api].span
    return range(FROM.get(api, low), UNTIL.get(api, high) + 1)


def visitor_of(broker, who):
    visitor = Visitor(broker, who) if who in VISITORS else Guest(broker, who)
    visitor.ids.update({id: f"the id of {name}" for name, id in broker.ids.items()})
    return visitor


def questions_of(broker, who):
    return questions(broker.ids["secret"], who, broker.ids[of_their_own(who)])


def answers_to(broker, who):
    told = visitor_of(broker, who)
    for api, tree in questions_of(broker, who):
        for version in versions_of(api):
            told.ask(f"{tree}", api, version, tree)
    told.close()
    return told.told


def test_every_api_is_among_the_questions(pair):
    with Visitor(pair[1], STRANGER) as visitor:
        advertised = {APIS[api["ApiKey"]].name for api in visitor.get("ApiVersions", 3, {"ClientSoftwareName": "x", "ClientSoftwareVersion": "1"})["ApiKeys"]}
    asked = {api for api, _ in questions(b"n" * 16, "", b"n" * 16)} | {"ApiVersions", "SaslHandshake", "SaslAuthenticate"}
    assert advertised - asked == set(), "questions() asks none of these"
    assert asked - advertised == set(), "the broker serves none of these"


@pytest.mark.parametrize("who", EVERYBODY)
def test_each_api_answers_what_apache_answers(pair, who):
    answers, threads = {}, []
    for broker in pair:
        threads.append(threading.Thread(target=lambda b=broker: answers.update({b: answers_to(b, who)})))
        threads[-1].start()
    for t in threads:
        t.join()
    theirs, ours = (answers[b] for b in pair)
    lines = [f"{api} {what}{where}: Apache {x!r}, ours {y!r}" for (what, api, a), (_, _, b) in zip(theirs, ours) for where, x, y in differences(a, b)]
    assert len(theirs) == len(ours) and not lines, "\n" + "\n".join(lines)


def audit_level(broker, level):
    with Visitor(broker, ADMIN) as admin:
        answer = admin.get("IncrementalAlterConfigs", 1, {"Resources": [{"ResourceType": 8, "ResourceName": "0", "Configs": [{"Name": "kafka.authorizer.logger", "Value": level}]}]})
        assert answer["Responses"][0]["ErrorCode"] == 0


def is_audited_alike(api, tree):
    """Ours asks whether somebody may alter a broker's settings even if they are wrong, and for each time that a topic is named."""
    return "'bad'" not in f"{tree}" and (api != "CreateTopics" or len(tree["Topics"]) == 1)


def audit_of(broker, address):
    """Each question in its newest version, and what the log has of it for the audit, in no order."""
    told, found = visitor_of(broker, address), []
    for api, tree in (q for q in questions_of(broker, address) if versions_of(q[0]) and is_audited_alike(*q)):
        before = len(broker.text())
        told.ask("", api, versions_of(api)[-1], tree)
        said = [line for line in broker.text()[before:].splitlines() if f"from host = {address} " in line and "Principal = " in line]
        found.append((api, str(tree), sorted(line[line.index("Principal = "):].split(" (")[0] for line in said)))
    told.close()
    return found


@pytest.mark.parametrize("address", ["127.0.0.2", "127.0.0.7", "127.0.0.8"])
def test_the_audit_says_what_apaches_says(pair, address):
    for broker in pair:
        audit_level(broker, "DEBUG")
    theirs, ours = (audit_of(broker, address) for broker in pair)
    for broker in pair:
        audit_level(broker, "INFO")
    lines = [f"{api} {tree}:\n  Apache {a}\n  ours {b}" for (api, tree, a), (_, _, b) in zip(theirs, ours) if a != b]
    assert not lines, "\n" + "\n".join(lines)


# ---- CreateAcls, DescribeAcls, DeleteAcls ----

def tell_of_acls(s):
    """A chapter as those of test_answers."""
    def create(what, *entries, version=3):
        s.ask(what, "CreateAcls", version, {"Creations": list(entries)})

    def describe(what, version=3, **filters):
        s.ask(what, "DescribeAcls", version, matching(**filters))

    def delete(what, *filters, version=3):
        s.ask(what, "DeleteAcls", version, {"Filters": list(filters)})
    for version in range(4):
        create(f"in version {version}", entry(f"v{version}"), version=version)
        create(f"again in version {version}", entry(f"v{version}"), version=version)
        describe(f"in version {version}", name=f"v{version}", kind=2, pattern=LITERAL, version=version)
        describe(f"any in version {version}", name=f"v{version}", kind=2, version=version)
        delete(f"in version {version}", matching(f"v{version}", 2, LITERAL), version=version)
        delete(f"again in version {version}", matching(f"v{version}", 2, LITERAL), version=version)
    create("nothing")
    delete("nothing")
    create("several", *(entry("a", operation=o, permission=p) for o in range(2, 13) for p in (DENY, ALLOW)), entry("a", pattern=PREFIXED), entry("*"), entry("ab", pattern=PREFIXED, principal="User:y"))
    create("of all types", *(entry("kafka-cluster", kind) for kind in range(2, 8)))
    create("one twice, and one that cannot be", entry("b"), entry(""), entry("b"))
    create("of other clusters", entry("mine", 4))
    create("odd names", entry("a/b"), entry("."), entry(".."), entry("x" * 300), entry("with:colon"), entry("\u00e4\u20ac"), entry("a b"))
    create("odd principals", entry("p", principal="x"), entry("p", principal=""), entry("p", principal=":"), entry("p", principal="User:"), entry("p", principal=":x"), entry("p", principal="Group:x"),
           entry("p", principal="User:a:b"), entry("p", principal="User:\u20ac"))
    create("odd hosts", entry("h", host=""), entry("h", host="no address"))
    create("unsuitable operations", entry("o", 3, operation=WRITE), entry("o", 7))
    for field in "ResourceType", "ResourcePatternType", "Operation", "PermissionType":
        for value in 1, 2, 99, -1:
            if (field, value) in (("ResourceType", 2), ("Operation", 2), ("PermissionType", 2)):
                continue
            create(f"{field} {value}", entry("ok"), {**entry("odd"), field: value})
    describe("all")
    describe("by name", name="a")
    describe("by match", name="abc", pattern=MATCH)
    describe("by match and type", name="a", kind=2, pattern=MATCH)
    describe("a prefix", name="ab", pattern=PREFIXED)
    describe("by principal", principal="User:y")
    describe("by host", host="no address")
    describe("by operation", operation=WRITE)
    describe("denied", permission=DENY)
    describe("none", name="nosuch")
    describe("an empty name", name="")
    for field in "ResourceTypeFilter", "PatternTypeFilter", "Operation", "PermissionType":
        for value in 99, -1:
            s.ask(f"{field} {value}", "DescribeAcls", 3, {**matching(), field: value})
            s.ask(f"without {field} {value}", "DeleteAcls", 3, {"Filters": [{**matching("ok"), field: value}]})
    delete("one twice", matching("a", 2, LITERAL, operation=READ), matching("a", 2, LITERAL, permission=ALLOW))
    delete("by match", matching("abc", 2, MATCH, principal="User:y"))
    delete("of a principal", matching(principal="User:x"))
    delete("what is not there", matching("nosuch", 2, LITERAL))
    describe("what is left")


def test_acls_are_changed_as_by_apache(pair):
    told = {}

    def tell(broker):
        visitor = Visitor(broker, ADMIN)
        tell_of_acls(visitor)
        visitor.close()
        told[broker] = visitor.told
    threads = [threading.Thread(target=tell, args=(b,)) for b in pair]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    theirs, ours = (told[b] for b in pair)
    lines = [f"{what} ({api}){where}: Apache {x!r}, ours {y!r}" for (what, api, a), (_, _, b) in zip(theirs, ours) for where, x, y in differences(a, b)]
    assert len(theirs) == len(ours) and not lines, "\n" + "\n".join(lines)
    assert nodes_of(pair[0].zookeeper) == nodes_of(pair[1].zookeeper)


def nodes_of(zookeeper):
    """What ZooKeeper has of ACLs, in a form without order."""
    found = {}
    for root in "/kafka-acl", "/kafka-acl-extended/prefixed":
        for kind in zookeeper.children(root):
            for name in zookeeper.children(f"{root}/{kind}"):
                data = json.loads(zookeeper.get(f"{root}/{kind}/{name}"))
                found[root, kind, name] = data["version"], sorted(sorted(e.items()) for e in data["acls"])
    notices = [zookeeper.get(f"{folder}/{n}") for folder in ("/kafka-acl-changes", "/kafka-acl-extended-changes") for n in zookeeper.children(folder)]
    return found, sorted(notices)


@pytest.fixture
def mixed(make_broker, zookeeper):
    """Apache's broker and barnabas in one cluster."""
    write_rights(zookeeper, {})
    return make_broker(Apache, "theirs", **AUTHORIZER, **{"broker.id": 1}), make_broker(**AUTHORIZER, **{"broker.id": 2})


def listed(broker, name):
    with Visitor(broker, ADMIN) as visitor:
        found = visitor.get("DescribeAcls", 3, matching(name, 2, ANY))["Resources"]
    return {(r["PatternType"], e["Principal"]) for r in found for e in r["Acls"]}


def test_brokers_of_both_kinds_follow_each_other(mixed):
    for writer, reader in mixed, mixed[::-1]:
        with Visitor(writer, ADMIN) as visitor:
            for pattern in LITERAL, PREFIXED:
                assert visitor.get("CreateAcls", 3, {"Creations": [entry("shared", pattern=pattern, principal="User:a")]})["Results"][0]["ErrorCode"] == 0
            assert listed(writer, "shared") == {(LITERAL, "User:a"), (PREFIXED, "User:a")}
            wait_until(lambda: listed(reader, "shared") == listed(writer, "shared"), "what the other one has made")
            assert visitor.get("DeleteAcls", 3, {"Filters": [matching("shared", 2)]})["FilterResults"][0]["ErrorCode"] == 0
            assert listed(writer, "shared") == set()
            wait_until(lambda: listed(reader, "shared") == set(), "what the other one has taken away")


def by_request(broker):
    """Adds an entry, or takes it away again, by a broker."""
    def alter(made, added):
        with Visitor(broker, ADMIN) as admin:
            if added:
                assert admin.get("CreateAcls", 3, {"Creations": [made]})["Results"][0]["ErrorCode"] == 0
            else:
                (result,) = admin.get("DeleteAcls", 3, {"Filters": [matching(made["ResourceName"], 2, made["ResourcePatternType"], made["Principal"], made["Host"])]})["FilterResults"]
                assert result["ErrorCode"] == 0 and len(result["MatchingAcls"]) == 1
    return alter


def by_hand(zookeeper):
    """The same in ZooKeeper, as those do that go by no broker; nobody else has entries in these lists."""
    def alter(made, added):
        name, prefixed, allowed = made["ResourceName"], made["ResourcePatternType"] == PREFIXED, made["PermissionType"] == ALLOW
        path = f"/kafka-acl-extended/prefixed/Topic/{name}" if prefixed else f"/kafka-acl/Topic/{name}"
        if added:
            zookeeper.client.create(path, acls((made["Principal"], "Allow" if allowed else "Deny", "Read", made["Host"])))
        else:
            zookeeper.client.delete(path)
        if prefixed:
            notice = json.dumps({"version": 1, "resourceType": "TOPIC", "name": name, "patternType": "PREFIXED"})
            zookeeper.client.create("/kafka-acl-extended-changes/acl_changes_", notice.encode(), sequence=True)
        else:
            notify(zookeeper, "TOPIC", name)
    return alter


@pytest.mark.parametrize("writer", ["Apache", "barnabas", "ZooKeeper"])
def test_what_is_written_anywhere_is_in_force_everywhere(make_broker, zookeeper, writer):
    """On three brokers, by whether a stranger may read: permissions and a denial, by name and by prefix, that come and go."""
    write_rights(zookeeper, {})
    brokers = [make_broker(kind, f"data-{i}", **AUTHORIZER, **{"broker.id": i}) for i, kind in enumerate((Apache, Barnabas, Barnabas))]
    alter = {"Apache": by_request(brokers[0]), "barnabas": by_request(brokers[1]), "ZooKeeper": by_hand(zookeeper)}[writer]
    with Visitor(brokers[0], ADMIN) as admin:
        admin.make_topics("secret")
    strangers = [Visitor(b, STRANGER) for b in brokers]

    def errors():
        """What reading costs the stranger on each; only one of them leads the partition, but what somebody may do comes first."""
        return [s.get("Fetch", 11, fetch("secret", wait=0))["Responses"][0]["Partitions"][0]["ErrorCode"] for s in strangers]

    def change(made, added, allowed):
        alter(made, added)
        wait_until(lambda: [e != DENIED for e in errors()] == [allowed] * 3, f"{made}, {added}", 10)

    literal, prefix = entry("secret", host=STRANGER, principal="User:ANONYMOUS"), entry("sec", host=STRANGER, principal="User:*", pattern=PREFIXED)
    denial = {**literal, "PermissionType": DENY}
    wait_until(lambda: errors() == [DENIED] * 3, "the topic on all of them")
    for made in literal, prefix:
        change(made, True, True)
        change(made, False, False)
    change(prefix, True, True)
    change(denial, True, False)
    change(denial, False, True)
    for s in strangers:
        s.close()


def test_no_acl_is_lost_when_several_are_added_at_once(mixed):
    """To one list, by both brokers: who is told that it is there finds it, and barnabas does not give up because the other one was faster."""
    made, refused, threads = [], [], []

    def add(broker, names):
        with Visitor(broker, ADMIN) as visitor:
            for name in names:
                answer = visitor.get("CreateAcls", 3, {"Creations": [entry("busy", principal=name)]})
                (made if answer["Results"][0]["ErrorCode"] == 0 else refused).append((LITERAL, name))
    for i in range(4):
        threads.append(threading.Thread(target=add, args=(mixed[i % 2], [f"User:{i}.{k}" for k in range(10)])))
        threads[-1].start()
    for t in threads:
        t.join()
    assert [name for _, name in refused if name.startswith(("User:1.", "User:3."))] == []
    for broker in mixed:
        wait_until(lambda b=broker: set(made) <= listed(b, "busy"), "all that was made")


def test_who_was_slower_tries_again(guarded, zookeeper):
    """The list is written by somebody else all the time, between what a broker has read of it and what it writes."""
    over = threading.Event()
    zookeeper.client.create("/kafka-acl/Topic/busy", acls(("User:first", "Allow", "Read")))

    def write():
        while not over.is_set():
            try:
                data, stat = zookeeper.client.get("/kafka-acl/Topic/busy")
                zookeeper.client.set("/kafka-acl/Topic/busy", data, stat.version)
            except BadVersionError:
                pass
            for _ in range(10):
                zookeeper.client.get("/kafka-acl/Topic/busy")
    writer = threading.Thread(target=write)
    writer.start()
    try:
        with Visitor(guarded, ADMIN) as visitor:
            for i in range(40):
                assert visitor.get("CreateAcls", 3, {"Creations": [entry("busy", principal=f"User:{i}")]})["Results"] == [{"ErrorCode": 0, "ErrorMessage": ""}]
    finally:
        over.set()
        writer.join()
    assert listed(guarded, "busy") == {(LITERAL, f"User:{name}") for name in ("first", *range(40))}


# ---- kafka-acls ----

COMMANDS = [
    ["--list"],
    ["--add", "--allow-principal", "User:alice", "--topic", "one"],
    ["--add", "--allow-principal", "User:alice", "--allow-principal", " User:bob ", "--allow-host", "1.1.1.1", "--allow-host", "2.2.2.2", "--operation", "Read", "--operation", "write",
     "--topic", "two", "--topic", "three"],
    ["--add", "--deny-principal", "User:eve", "--operation", "DescribeConfigs", "--operation", "alterconfigs", "--topic", "*"],
    ["--add", "--deny-principal", "User:eve", "--deny-host", "1.1.1.1", "--allow-principal", "User:*", "--group", "g", "--operation", "Delete"],
    ["--add", "--allow-principal", "User:p", "--producer", "--topic", "of.producers", "--transactional-id", "tx"],
    ["--add", "--allow-principal", "User:p", "--producer", "--topic", "of.producers", "--idempotent"],
    ["--add", "--allow-principal", "User:c", "--consumer", "--topic", "of.consumers", "--group", "cg", "--resource-pattern-type", "prefixed"],
    ["--add", "--allow-principal", "User:c", "--consumer", "--producer", "--topic", "of.both", "--group", "cg"],
    ["--add", "--allow-principal", "User:a", "--cluster", "--operation", "ClusterAction"],
    ["--add", "--allow-principal", "User:a", "--user-principal", "User:b", "--operation", "CreateTokens"],
    ["--add", "--allow-principal", "User:a", "--delegation-token", "*", "--operation", "Describe"],
    ["--add", "--allow-principal", "User:a", "--topic", "odd", "--operation", "ALTER_CONFIGS"],
    ["--add", "--allow-principal", "nobody", "--topic", "odd"],
    ["--add", "--topic", "odd"],
    ["--add", "--allow-principal", "User:a"],
    ["--add", "--allow-principal", "User:a", "--topic", "odd", "--resource-pattern-type", "match"],
    ["--add", "--allow-principal", "User:a", "--topic", "odd", "--resource-pattern-type", "bogus"],
    ["--add", "--allow-principal", "User:a", "--topic", "odd", "--operation", "IdempotentWrite"],
    ["--add", "--allow-principal", "User:a", "--topic", "odd", "--operation", "Bogus"],
    ["--add", "--allow-principal", "User:a", "--topic", "a/b"],
    ["--add", "--list", "--topic", "odd"],
    ["--topic", "odd"],
    ["--list", "--producer", "--topic", "odd"],
    ["--add", "--producer", "--allow-principal", "User:a"],
    ["--add", "--producer", "--allow-principal", "User:a", "--topic", "odd", "--operation", "Read"],
    ["--add", "--consumer", "--allow-principal", "User:a", "--topic", "odd"],
    ["--add", "--idempotent", "--allow-principal", "User:a", "--topic", "odd"],
    ["--add", "--principal", "User:a", "--allow-principal", "User:a", "--topic", "odd"],
    ["--list", "--topic", "one"],
    ["--list", "--topic", "of.consumers.1", "--resource-pattern-type", "match"],
    ["--list", "--topic", "of.consumers", "--resource-pattern-type", "any"],
    ["--list", "--group", "cg", "--topic", "two"],
    ["--list", "--principal", "User:c"],
    ["--list", "--principal", "User:alice", "--principal", "User:nobody"],
    ["--list", "--cluster"],
    ["--list", "--topic", "nosuch"],
    ["--remove", "--topic", "one"],
    ["--remove", "--allow-principal", "User:alice", "--allow-host", "1.1.1.1", "--operation", "Read", "--topic", "two"],
    ["--remove", "--force", "--allow-principal", "User:p", "--producer", "--topic", "of.producers", "--transactional-id", "tx"],
    ["--remove", "--force", "--topic", "two", "--resource-pattern-type", "match", "--allow-principal", "User:bob", "--allow-host", "2.2.2.2", "--operation", "Write"],
    ["--remove", "--force", "--topic", "nosuch"],
    ["--list"],
]


def shape(done):
    """Sets have no order in Java: the lines, without what is first or last in them. The words of a usage are our own."""
    code, out, err = done
    lines = sorted(line.strip() for line in out.splitlines() if line.strip() and not line.startswith(("\tat ", "\t... ")) and "Exception: " not in line)
    return code, [line for line in lines if "IdempotentWrite, " not in line], [line for line in err.splitlines()[:1] if not line.startswith("ResourceType")]


def theirs(*args, stdin):
    done = run_tool("kafka.admin.AclCommand", *args, stdin=stdin)
    return done.returncode, done.stdout, without_noise(done.stderr)


def ours(*args, stdin):
    done = subprocess.run([TOP / "bin" / "kafka-acls.sh", *args], input=stdin, capture_output=True, text=True, timeout=PATIENCE,
                          env={"BARNABAS_BUILD": str(BUILD), "PATH": "/usr/bin:/bin"})
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("way", ["broker", "zookeeper"])
def test_the_tool_does_what_apaches_tool_does(pair, way):
    def tell(tool, broker):
        where = ["--bootstrap-server", broker.bootstrap] if way == "broker" else ["--authorizer-properties", f"zookeeper.connect={broker.zookeeper.connect}"]
        return [(args, answer, shape(tool(*where, *args, stdin=answer))) for args in COMMANDS for answer in (("n\n", "y\n") if "--remove" in args else ("",))]
    for (args, answer, a), (_, _, b) in zip(tell(theirs, pair[0]), tell(ours, pair[1])):
        assert a == b, (args, answer)
    assert nodes_of(pair[0].zookeeper)[0] == nodes_of(pair[1].zookeeper)[0]
