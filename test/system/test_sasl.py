"""Logging in by SASL, message by message: Apache's broker and barnabas are told the same things, and have to answer the same."""

import hashlib
from types import SimpleNamespace

import pytest
from harness import Apache, Barnabas, free_port, wait_until
from messages import Asker
from test_answers import Teller, differences, tell_both

DELAY = 0.5  # connection.failed.authentication.delay.ms
LIFETIME = 1.0  # connections.max.reauth.ms of the second listener
PLAIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret" user_bob="bob-secret";'
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
MECHANISMS = {"PLAIN": PLAIN, "SCRAM-SHA-256": SCRAM, "SCRAM-SHA-512": SCRAM}


def settings(broker, ports):
    keys = {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},LONG://127.0.0.1:{ports[0]},SHORT://127.0.0.1:{ports[1]}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,LONG:SASL_PLAINTEXT,SHORT:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": ",".join(MECHANISMS),
            "connection.failed.authentication.delay.ms": int(DELAY * 1000),
            "listener.name.short.connections.max.reauth.ms": int(LIFETIME * 1000)}
    for listener in "long", "short":
        keys |= {f"listener.name.{listener}.{m.lower()}.sasl.jaas.config": jaas for m, jaas in MECHANISMS.items()}
    return keys


@pytest.fixture(scope="module")
def pair(ensemble, tmp_path_factory):
    """Apache's broker and ours, each with a cluster of its own, the same settings and the same users."""
    brokers, folder = [], tmp_path_factory.mktemp("pair")
    for kind in Apache, Barnabas:
        ports = free_port(), free_port()
        broker = kind(ensemble.chroot(), folder / kind.__name__, folder / f"{kind.__name__}.log", {})
        broker.properties.update(settings(broker, ports))
        broker.long, broker.short = (SimpleNamespace(port=p) for p in ports)
        brokers.append(broker)
    for broker in brokers:
        broker.launch()
    for broker in brokers:
        wait_until(broker.is_ready, "the broker")
        with Asker(broker) as admin:
            answer = admin.get("AlterUserScramCredentials", 0, {"Upsertions": [upsertion("sam", 1, b"sam-secret"), upsertion("sam", 2, b"sam-secret")]})
            assert [r["ErrorCode"] for r in answer["Results"]] == [0], answer
    yield brokers
    for broker in brokers:
        broker.kill() if isinstance(broker, Apache) else broker.stop()
        broker.check_log()


def upsertion(user, mechanism, password, iterations=4096, salt=b"salt of it"):
    name = {1: "sha256", 2: "sha512"}.get(mechanism, "sha256")
    return {"Name": user, "Mechanism": mechanism, "Iterations": iterations, "Salt": salt, "SaltedPassword": hashlib.pbkdf2_hmac(name, password, salt, iterations)}


# ---- Credentials of users (KIP-554) ----


def tell_of_credentials(s):
    """A chapter as those of test_answers."""
    def alter(what, upsertions=(), deletions=()):
        s.ask(what, "AlterUserScramCredentials", 0, {"Upsertions": list(upsertions), "Deletions": [{"Name": n, "Mechanism": m} for n, m in deletions]})

    def describe(what, *users):
        s.ask(what, "DescribeUserScramCredentials", 0, {"Users": [{"Name": u} for u in users] if users else None})

    alter("nothing")
    alter("one of two mechanisms", [upsertion("ann", 1, b"a")])
    alter("the other, with more iterations", [upsertion("ann", 2, b"b", 8192)])
    alter("odd names", [upsertion(n, 1, b"a") for n in ("a b", "ü/*", "<default>", "=,")])
    alter("too few, too many", [upsertion("few", 1, b"a", 4095), upsertion("many", 2, b"a", 16385)])
    alter("no name, no mechanism", [upsertion("", 1, b"a"), upsertion("none", 0, b"a"), upsertion("three", 3, b"a")], [("gone", 7)])
    alter("twice, in both ways", [upsertion("twice", 1, b"a"), upsertion("twice", 1, b"b"), upsertion("ann", 1, b"c")], [("ann", 1)])
    alter("one bad entry of a user", [upsertion("bad", 1, b"a"), upsertion("bad", 2, b"a", 1), upsertion("good", 1, b"a")])
    alter("what is not there", [upsertion("new", 2, b"a")], [("new", 1), ("nobody", 1)])
    describe("all")
    s.ask("all, by an empty list", "DescribeUserScramCredentials", 0, {"Users": []})
    describe("some", "ann", "a b", "nobody", "")
    describe("twice", "ann", "ann", "good")
    alter("away with it", (), [("ann", 1), ("good", 1)])
    describe("after that", "ann", "good")


def users_of(zookeeper):
    return {u: zookeeper.get(f"/config/users/{u}") for u in zookeeper.children("/config/users") if u != "sam"}


def test_credentials_are_altered_as_by_apache(pair):
    tellers = [Teller(b) for b in pair]
    for b in pair:
        b.cluster = "none"
    tell_both(tellers, tell_of_credentials)
    theirs, ours = (t.told for t in tellers)
    lines = [f"{what} ({api}){where}: Apache {x!r}, ours {y!r}" for (what, api, a), (_, _, b) in zip(theirs, ours) for where, x, y in differences(a, b)]
    assert len(theirs) == len(ours) and not lines, "\n" + "\n".join(lines)
    assert users_of(pair[1].zookeeper) == users_of(pair[0].zookeeper)


def test_quotas_of_a_user_stay(pair):
    for b in pair:
        b.zookeeper.client.create("/config/users/quota", b'{"version":1,"config":{"producer_byte_rate":"5"}}')
        with Asker(b) as t:
            for tree in {"Upsertions": [upsertion("quota", 1, b"x")]}, {"Deletions": [{"Name": "quota", "Mechanism": 1}]}:
                assert t.get("AlterUserScramCredentials", 0, tree)["Results"][0]["ErrorCode"] == 0
                assert b'"producer_byte_rate":"5"' in b.zookeeper.get("/config/users/quota")
        assert b"SCRAM" not in b.zookeeper.get("/config/users/quota")
