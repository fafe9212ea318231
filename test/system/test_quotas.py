"""What clients may use (KIP-13, 124, 219, 546, 599, 612): limits, how long who uses more has to pause, and who may change them."""

import json

import pytest
from harness import Apache, Barnabas
from messages import Asker
from test_kafka_configs import in_any_order, ours, said, theirs

NONE, DEFAULT = 0, None


def entity(**parts):
    names = {"user": "user", "client": "client-id", "ip": "ip"}
    return [{"EntityType": names[k], "EntityName": v} for k, v in parts.items()]


def change(parts, **keys):
    """None removes a key."""
    ops = [{"Key": k, "Value": v or 0, "Remove": v is None} for k, v in keys.items()]
    return {"Entity": parts if isinstance(parts, list) else entity(**parts), "Ops": ops}


def alter(broker, *changes, version=1, **fields):
    """(error, message) of each."""
    with Asker(broker) as asker:
        entries = asker.get("AlterClientQuotas", version, {"Entries": list(changes), **fields})["Entries"]
    return [(e["ErrorCode"], e["ErrorMessage"]) for e in entries]


def limit(broker, parts, **keys):
    assert alter(broker, change(parts, **keys)) == [(NONE, None)]


def describe(broker, *components, strict=False, version=1):
    """{entity: {key: value}}, or (error, message). Components are (type, match type, match)."""
    asked = [{"EntityType": t, "MatchType": kind, "Match": match} for t, kind, match in components]
    with Asker(broker) as asker:
        answer = asker.get("DescribeClientQuotas", version, {"Components": asked, "Strict": strict})
    if answer["ErrorCode"]:
        assert answer["Entries"] is None
        return answer["ErrorCode"], answer["ErrorMessage"]
    return {tuple(sorted((part["EntityType"], part["EntityName"]) for part in e["Entity"])): {v["Key"]: v["Value"] for v in e["Values"]} for e in answer["Entries"]}


def nodes(broker):
    """What is below /config of users, clients and addresses."""
    found, zk = {}, broker.zookeeper

    def look(path):
        data = zk.get(path)
        found[path] = json.loads(data) if data else None
        for child in zk.children(path):
            look(f"{path}/{child}")

    for root in "/config/users", "/config/clients", "/config/ips":
        look(root)
    return found


# ---- Limits as they are set and shown ----

GOOD = [
    change({"user": "alice"}, producer_byte_rate=10000, consumer_byte_rate=5000),
    change({"user": "al ice*é"}, request_percentage=50),
    change({"user": "al ice*é", "client": "cl/1"}, request_percentage=12345678.5),
    change({"client": "cl/1"}, controller_mutation_rate=0.001),
    change({"user": DEFAULT, "client": DEFAULT}, producer_byte_rate=0),
    change({"user": DEFAULT}, consumer_byte_rate=1e12),
    change({"client": DEFAULT}, producer_byte_rate=1000.0000001),
    change({"ip": "127.0.0.5"}, connection_creation_rate=2),
    change({"ip": DEFAULT}, connection_creation_rate=1000000),
    change({"user": "<default>"}, producer_byte_rate=5),
    change({"user": "gone"}, producer_byte_rate=None),
]
WRONG = [
    change([]),
    change({"user": "alice"}, no_such_key=1),
    change({"user": "alice"}, connection_creation_rate=1),
    change({"ip": "127.0.0.1"}, producer_byte_rate=1),
    change({"user": "alice"}, producer_byte_rate=-1),
    change({"user": "alice"}, producer_byte_rate=1.5),
    change({"user": "alice"}, producer_byte_rate=1e30),
    change({"ip": "127.0.0.1"}, connection_creation_rate=3e9),
    change({"user": ""}, producer_byte_rate=1),
    change({"client": ""}, producer_byte_rate=1),
    change({"ip": "127.0.0.1", "user": "alice"}, connection_creation_rate=1),
    change([{"EntityType": "group", "EntityName": "g"}], producer_byte_rate=1),
    change({"ip": "1.2.3.4.5"}, connection_creation_rate=1),
]
QUESTIONS = [
    ([], {}), ([], {"strict": True}),
    ([("user", 0, "alice")], {}), ([("user", 0, "alice")], {"strict": True}),
    ([("user", 0, "al ice*é")], {}), ([("user", 0, "al ice*é")], {"strict": True}),
    ([("user", 1, None)], {}), ([("user", 1, None)], {"strict": True}),
    ([("user", 2, None)], {}), ([("user", 2, None)], {"strict": True}),
    ([("client-id", 2, None)], {}), ([("client-id", 2, None)], {"strict": True}),
    ([("client-id", 0, "cl/1")], {}), ([("client-id", 1, None)], {"strict": True}),
    ([("user", 2, None), ("client-id", 2, None)], {"strict": True}),
    ([("user", 0, "al ice*é"), ("client-id", 0, "cl/1")], {}),
    ([("user", 1, None), ("client-id", 1, None)], {}),
    ([("ip", 2, None)], {}), ([("ip", 1, None)], {}), ([("ip", 0, "127.0.0.5")], {"strict": True}), ([("ip", 0, "127.0.0.6")], {}),
    ([("user", 0, "<default>")], {}),
    ([("user", 2, None), ("ip", 2, None)], {}), ([("user", 2, None), ("user", 1, None)], {}), ([("", 2, None)], {}), ([("group", 2, None)], {}),
]
AWAY = [{**c, "Ops": [{**op, "Value": 0, "Remove": True} for op in c["Ops"]]} for c in GOOD]


@pytest.mark.long
def test_limits_are_set_and_shown_as_by_apache(borrow):
    told = {}
    for kind in Apache, Barnabas:
        broker = borrow(kind)
        told[kind] = said = []
        said += [alter(broker, c, version=i % 2) for i, c in enumerate(GOOD)]
        said.append(nodes(broker))
        said += [alter(broker, c) for c in WRONG]
        said.append(alter(broker, change({"user": "zoe"}, producer_byte_rate=1), ValidateOnly=True))
        said += [describe(broker, *q, version=i % 2, **how) for i, (q, how) in enumerate(QUESTIONS)]
        said.append(alter(broker, *AWAY))
        said.append(nodes(broker))
    for i, (their, our) in enumerate(zip(told[Apache], told[Barnabas])):
        assert our == their, i
    assert len(told[Barnabas][-1]) == 3  # nothing is left


def test_other_settings_of_a_user_stay(broker, zookeeper):
    path, scram = "/config/users/bob", "salt=eA==,stored_key=eA==,server_key=eA==,iterations=4096"
    zookeeper.client.create(path, json.dumps({"version": 1, "config": {"SCRAM-SHA-256": scram}}).encode())
    limit(broker, {"user": "bob"}, producer_byte_rate=7)
    assert json.loads(zookeeper.get(path))["config"] == {"SCRAM-SHA-256": scram, "producer_byte_rate": "7"}
    limit(broker, {"user": "bob", "client": "c"}, producer_byte_rate=8)
    limit(broker, {"user": "bob", "client": "c"}, producer_byte_rate=None)
    limit(broker, {"user": "bob"}, producer_byte_rate=None, **{"SCRAM-SHA-256": None})
    assert json.loads(zookeeper.get(path))["config"] == {"SCRAM-SHA-256": scram}
    assert zookeeper.children(path) == []


# ---- Both kinds of broker and of tool ----

TOOL = [
    ["--alter", "--user", "u", "--add-config", "producer_byte_rate=1000,request_percentage=12.5"],
    ["--alter", "--user", "u", "--client", "c", "--add-config", "consumer_byte_rate=20000000"],
    ["--alter", "--ip", "127.0.0.1", "--add-config", "connection_creation_rate=5"],
    ["--alter", "--user-defaults", "--add-config", "producer_byte_rate=7"],
    ["--alter", "--client-defaults", "--add-config", "producer_byte_rate=x"],
    ["--alter", "--user", "u", "--delete-config", "request_percentage"],
    ["--alter", "--user", "u", "--delete-config", "request_percentage"],
    ["--describe", "--entity-type", "users", "--entity-type", "clients"],
    ["--describe", "--entity-type", "ips"],
    ["--describe", "--ip-defaults"],
    ["--describe", "--client-defaults"],
]


@pytest.mark.long
def test_tools_of_both_kinds_at_brokers_of_both_kinds(make_broker, ensemble):
    told = []
    for kind in Apache, Barnabas:
        for tool in theirs, ours:
            data = f"{kind.__name__}-{tool.__name__}"
            broker = make_broker(kind=kind, data=data, **{"zookeeper.connect": ensemble.chroot().connect})
            told.append([in_any_order(said(tool("--bootstrap-server", broker.bootstrap, *args))) for args in TOOL])
    for answers in told[1:]:
        assert answers == told[0]
