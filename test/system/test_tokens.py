"""Delegation tokens: made, renewed, revoked and described as by Apache's broker, and good at brokers of both kinds; over when they are over."""

import base64
import hmac
import json
import re
import signal
import ssl
import time
from types import SimpleNamespace

import pytest
from harness import JARS, JARS_4, PATIENCE, Apache, Barnabas, connect, free_port, java, run_tool, wait_until, without_noise
from kazoo.security import make_digest_acl
from messages import CLOSED
from test_answers import differences, tell_both
from test_sasl import Talk, by_scram
from test_security import authority, client_keys, server_keys, stores, tool  # noqa: F401

SECRET = "the secret of all brokers"
USERS = "admin", "alice", "bob", "carol", "dave"
TOOLS = "me-0", "me-1"
TOKENS, CHANGES = "/delegation_token/tokens", "/delegation_token/token_changes"
HOUR = 3600 * 1000
DISABLED, NOT_FOUND, MISMATCH, NOT_ALLOWED, DENIED, OVER, NO_USER = 61, 62, 63, 64, 65, 66, 67
AUTHORIZER = {"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "User:admin;User:ANONYMOUS"}


def settings(broker):
    """A listener where users come with passwords or tokens, beside one for the brokers."""
    users = " ".join(f'user_{u}="{u}-secret"' for u in (*USERS, *TOOLS))
    broker.sasl = SimpleNamespace(port=free_port())
    broker.sasl.bootstrap = f"127.0.0.1:{broker.sasl.port}"
    there = "listener.name.sasl"
    return {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SASL://{broker.sasl.bootstrap}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL:SASL_PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            f"{there}.plain.sasl.jaas.config": f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};",
            **{f"{there}.scram-sha-{n}.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;" for n in (256, 512)}}


def with_tokens(broker, key="secret", **more):
    return {**settings(broker), **AUTHORIZER, f"delegation.token.{key}.key": SECRET, "delegation.token.max.lifetime.ms": 48 * HOUR, "delegation.token.expiry.time.ms": 24 * HOUR, **more}


@pytest.fixture(scope="module")
def mixed(ensemble, tmp_path_factory, authority, server_keys):
    """Apache's broker, whose secret has the old name, and barnabas in one cluster, with an encrypted listener more."""
    chroot, folder, brokers = ensemble.chroot(), tmp_path_factory.mktemp("mixed"), []
    for i, (kind, key) in enumerate([(Apache, "master"), (Barnabas, "secret")]):
        broker = kind(chroot, folder / kind.__name__, folder / f"{kind.__name__}.log", {"broker.id": i})
        broker.properties.update(with_tokens(broker, key, **stores(server_keys, authority), **{"listener.name.tls.ssl.client.auth": "requested"}))
        broker.tls = SimpleNamespace(port=free_port())
        broker.properties["listeners"] += f",TLS://127.0.0.1:{broker.tls.port}"
        broker.properties["listener.security.protocol.map"] += ",TLS:SSL"
        broker.launch()
        brokers.append(broker)
    for broker in brokers:
        wait_until(broker.is_ready, "the broker")
    yield brokers
    brokers[1].stop()
    brokers[0].kill()
    assert all(secret not in brokers[1].text() for secret in (SECRET, "-secret"))
    brokers[1].check_log()


# ---- Somebody who asks ----


class Person(Talk):
    """Somebody with a connection of their own to a broker, who comes by password, by token or without saying who it is."""

    def __init__(self, broker, user=None, token=None, mechanism="SCRAM-SHA-512"):
        super().__init__(broker.sasl if user or token else broker)
        self.lifetime = 0
        if user:
            assert self.login(user, f"{user}-secret")["ErrorCode"] == 0
        elif token:
            by_scram(token["TokenId"], base64.b64encode(token["Hmac"]).decode(), mechanism, extensions=",tokenauth=true")(self)
            answer = self.heard[-1][0]
            self.lifetime = answer.get("SessionLifetimeMs", 0) if isinstance(answer, dict) else 0

    @property
    def is_in(self):
        return isinstance(self.heard[-1][0], dict) and self.heard[-1][0].get("ErrorCode") == 0

    def create(self, version=3, owner=None, **tree):
        if owner:
            tree.update(OwnerPrincipalType="User", OwnerPrincipalName=owner)
        return self.get("CreateDelegationToken", version, {"MaxLifetimeMs": -1, **tree})

    def renew(self, token, period=-1, version=2):
        return self.get("RenewDelegationToken", version, {"Hmac": token["Hmac"], "RenewPeriodMs": period})

    def expire(self, token, period=-1, version=2):
        return self.get("ExpireDelegationToken", version, {"Hmac": token["Hmac"], "ExpiryTimePeriodMs": period})

    def describe(self, *owners, version=3, everyone=False):
        who = None if everyone else [{"PrincipalType": "User", "PrincipalName": o} for o in owners]
        return self.get("DescribeDelegationToken", version, {"Owners": who})

    def is_served(self):
        return self.sock is not None and self.get("DescribeCluster", 0) != CLOSED

    def may_do_everything(self):
        return self.get("DescribeAcls", 3, {"ResourceTypeFilter": 1, "PatternTypeFilter": 1, "Operation": 1, "PermissionType": 1})["ErrorCode"] == 0


def renewers(*names, kind="User"):
    return [{"PrincipalType": kind, "PrincipalName": n} for n in names]


def token_of(broker, user="alice", **tree):
    with Person(broker, user) as person:
        token = person.create(**tree)
    assert token["ErrorCode"] == 0, token
    return token


def may_come(broker, token, mechanism="SCRAM-SHA-512"):
    with Person(broker, token=token, mechanism=mechanism) as person:
        return person.is_in


# ---- The same answers ----


def plain(answer):
    """Without what is by chance: ids, secrets, times by the clock. A token's times are told beginning with its issue."""
    if isinstance(answer, list):
        return [plain(a) for a in answer]
    if not isinstance(answer, dict):
        return answer
    out = {k: plain(v) for k, v in answer.items()}
    if out.get("TokenId"):
        expected = hmac.new(SECRET.encode(), out["TokenId"].encode(), "sha512").digest()
        out["TokenId"], out["Hmac"] = len(out["TokenId"]), out["Hmac"] == expected
    issued = next((out[k] for k in ("IssueTimestampMs", "IssueTimestamp") if k in out), None)
    for k in out:
        if "Timestamp" in k and out[k] > 0:
            out[k] = out[k] - issued if issued else round((out[k] - time.time() * 1000) / HOUR, 2)
    return out


def tell_of_tokens(s):
    """Each version of each request, by everybody whom it is about, and by others."""
    people = {u: Person(s.broker, u) for u in USERS}
    admin, alice, bob, carol = (people[u] for u in ("admin", "alice", "bob", "carol"))
    nobody = Person(s.broker)

    def tell(what, answer):
        s.told.append((what, "", plain(answer)))
        return answer

    for version in range(4):
        token = tell("own", alice.create(version, Renewers=renewers("bob", "x:y, z/ü")))
        tell("unencrypted", nobody.create(version))
        tell("a renewer that is a group", alice.create(version, Renewers=renewers("bob", kind="Group")))
        tell("an hour", alice.create(version, MaxLifetimeMs=HOUR))
        tell("no time", alice.create(version, MaxLifetimeMs=0))
        tell("for ever", alice.create(version, MaxLifetimeMs=(1 << 63) - 1))
        tell("described to nobody", nobody.describe(everyone=True, version=version))
        tell("of nobody", alice.describe(version=version))
        tell("of one without", alice.describe("nobody", version=version))
    tell("for another", bob.create(owner="alice"))
    tell("for another, of a group", bob.create(owner="alice", Renewers=renewers("x", kind="Group")))
    tell("for a group", bob.create(OwnerPrincipalType="Group", OwnerPrincipalName="g"))
    tell("for oneself by name", alice.create(owner="alice"))
    tell("no name", alice.create(OwnerPrincipalType="User", OwnerPrincipalName=""))
    tell("no type", alice.create(OwnerPrincipalType=None, OwnerPrincipalName="alice"))
    others = tell("for another by who may", admin.create(owner="carol", Renewers=renewers("bob")))

    for version in range(3):
        for name, person in (*people.items(), ("nobody", nobody)):
            tell(f"{name} renews", person.renew(others, version=version))
            tell(f"{name} renews for an hour", person.renew(others, HOUR, version))
            tell(f"{name} gives two hours", person.expire(others, 2 * HOUR, version))
        tell("beyond the last day", bob.renew(others, 1000 * HOUR, version))
        tell("of no token", bob.renew({"Hmac": bytes(64)}, version=version))
        tell("of nothing", bob.renew({"Hmac": b""}, version=version))
        tell("the end of no token", bob.expire({"Hmac": b"x" * 65}, version=version))
    tell("not by the requester", admin.expire(others))
    tell("the end", bob.expire(others))
    tell("once more", bob.expire(others))
    tell("too late", carol.renew(others))

    short = tell("short", alice.create(MaxLifetimeMs=1, Renewers=renewers("dave")))
    wait_until(lambda: time.time() * 1000 > short["MaxTimestampMs"] + 1, "its end")
    tell("renewed when over", alice.renew(short))
    tell("renewed by a stranger when over", bob.renew(short))
    tell("given another end when over", alice.expire(short, HOUR))
    tell("taken away when over", alice.expire(short))

    by_token = Person(s.broker, token=token)
    tell("by token", by_token.create())
    tell("another's renewal by token", by_token.renew(token))
    tell("an end by token", by_token.expire(token))
    tell("described by token", by_token.describe(everyone=True))


def test_the_same_answers(mixed):
    theirs, ours = tell_both([SimpleNamespace(broker=b) for b in mixed], tell_of_tokens)
    assert [t[:2] for t in theirs] == [t[:2] for t in ours]
    lines = [f"{what}{where}: Apache {x!r}, ours {y!r}" for (what, _, a), (_, _, b) in zip(theirs, ours) for where, x, y in differences(a, b)]
    assert not lines, "\n" + "\n".join(lines)
    errors = {a["ErrorCode"] for _, _, a in ours}
    assert {0, NOT_FOUND, MISMATCH, NOT_ALLOWED, DENIED, OVER, NO_USER} <= errors


@pytest.mark.parametrize("shown", [True, False])
def test_encrypted_it_takes_a_certificate(mixed, authority, client_keys, shown):
    answers = []
    for broker in mixed:
        context = ssl.create_default_context(cafile=authority.certificate)
        if shown:
            context.load_cert_chain(client_keys)
        with Person(broker) as person:
            person.sock = context.wrap_socket(connect(broker.tls), server_hostname="localhost")
            answers.append([plain(a) for a in (person.create(), person.renew({"Hmac": b"x"}), person.expire({"Hmac": b"x"}), person.describe())])
    assert answers[0] == answers[1]
    assert [a["ErrorCode"] for a in answers[1]] == ([0, NOT_FOUND, NOT_FOUND, 0] if shown else [NOT_ALLOWED] * 4)


def described(broker, user, *owners, **kw):
    with Person(broker, user) as person:
        answer = person.describe(*owners, **kw)
    assert answer["ErrorCode"] == 0
    return {t["TokenId"]: t for t in answer["Tokens"]}


def test_the_same_tokens_are_shown_to_everybody(mixed):
    made = [token_of(b, "alice", Renewers=renewers("bob")) for b in mixed] + [token_of(b, "admin", owner="carol", Renewers=renewers("alice")) for b in mixed]
    for broker in mixed:
        wait_until(lambda: {t["TokenId"] for t in made} <= described(broker, "admin", everyone=True).keys(), "tokens of both")
    for user in USERS:
        for version in range(4):
            for owners in ["alice"], ["bob", "carol"], ["dave"]:
                theirs, ours = (described(b, user, *owners, version=version) for b in mixed)
                assert theirs == ours
            theirs, ours = (described(b, user, everyone=True, version=version) for b in mixed)
            assert theirs == ours
    assert not described(mixed[1], "dave", everyone=True).keys() & {t["TokenId"] for t in made}
    shapes = [{k: type(v) for k, v in json.loads(mixed[0].zookeeper.get(f"{TOKENS}/{t['TokenId']}")).items()} for t in made]
    assert shapes[0] == shapes[1] and shapes[2] == shapes[3]


def test_very_many_owners_hold_up_nobody(mixed):
    """Who asks names them as often as a request has room; what is looked at is who has tokens."""
    made = token_of(mixed[1], "alice")
    with Person(mixed[1], "admin") as person:
        told = person.describe(*(f"nobody-{i}" for i in range(200000)), "alice\0", "ali", "alice")
    assert made["TokenId"] in {t["TokenId"] for t in told["Tokens"]}
    assert "A turn of the loop network" not in mixed[1].text()


@pytest.mark.parametrize("who", ["owner", "described"])
def test_rights_for_tokens_of_others(mixed, who):
    """CREATE_TOKENS and DESCRIBE_TOKENS of a user, DESCRIBE of a token."""
    right = {"owner": (7, "User:carol", 13), "described": (7, "User:carol", 14)}[who]
    entry = {"ResourceType": right[0], "ResourceName": right[1], "ResourcePatternType": 3, "Principal": "User:dave", "Host": "*", "Operation": right[2], "PermissionType": 3}
    token = token_of(mixed[0], "carol")
    with Person(mixed[1], "admin") as admin:
        assert admin.get("CreateAcls", 3, {"Creations": [entry]})["Results"][0]["ErrorCode"] == 0
    for broker in mixed:
        if who == "owner":
            with Person(broker, "dave") as dave:
                made = wait_until(lambda: next((t for t in [dave.create(owner="carol")] if t["ErrorCode"] == 0), None), "the right")
                assert (made["PrincipalName"], made["TokenRequesterPrincipalName"]) == ("carol", "dave")
                assert made["TokenId"] in {t["TokenId"] for t in dave.describe("dave")["Tokens"]}
        else:
            wait_until(lambda: token["TokenId"] in described(broker, "dave", everyone=True), "the right")


# ---- Logging in ----


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_good_at_brokers_of_both_kinds(mixed, mechanism):
    """Whoever comes with it is its owner, for as long as it is good."""
    for maker, other in mixed, mixed[::-1]:
        tokens = {user: token_of(maker, user, MaxLifetimeMs=HOUR) for user in ("admin", "alice")}
        for broker in maker, other:
            for user, token in tokens.items():
                wait_until(lambda: may_come(broker, token, mechanism), "a log-in")
                with Person(broker, token=token, mechanism=mechanism) as person:
                    assert HOUR - PATIENCE * 1000 < person.lifetime <= HOUR
                    assert person.may_do_everything() == (user == "admin")
        assert not may_come(other, {"TokenId": tokens["alice"]["TokenId"], "Hmac": tokens["admin"]["Hmac"]}, mechanism)


def test_the_id_alone_is_nobody(mixed):
    token = token_of(mixed[1])
    with Person(mixed[1]) as person:
        person.broker = mixed[1].sasl
        by_scram(token["TokenId"], base64.b64encode(token["Hmac"]).decode(), "SCRAM-SHA-512")(person)
        assert not person.is_in


def test_revoked_by_either_broker_it_is_over_at_ours(mixed):
    """For who comes, and for who is there already."""
    theirs, ours = mixed
    for broker in theirs, ours:
        token = token_of(broker, "alice", Renewers=renewers("bob"))
        wait_until(lambda: may_come(ours, token), "a log-in")
        there = Person(ours, token=token)
        assert there.is_served()
        with Person(broker, "bob") as bob:
            assert bob.expire(token)["ErrorCode"] == 0
        if broker is ours:
            assert not there.is_served() and not may_come(ours, token)
        wait_until(lambda: not there.is_served(), "the session's end")
        for b in mixed:
            wait_until(lambda: not may_come(b, token), "no log-in any more")
        assert token["TokenId"] not in ours.zookeeper.children(TOKENS)


def test_over_at_ours_when_its_time_is_over(mixed):
    """Although nobody has taken it away yet: that is done once in an hour."""
    ours = mixed[1]
    token = token_of(ours, "alice")
    there = Person(ours, token=token)
    with Person(ours, "alice") as alice:
        ending = alice.expire(token, 1000)
    assert ending["ErrorCode"] == 0 and there.is_served()
    wait_until(lambda: not there.is_served(), "the session's end")
    assert time.time() * 1000 > ending["ExpiryTimestampMs"]
    assert not may_come(ours, token) and token["TokenId"] in ours.zookeeper.children(TOKENS)


def test_renewed_it_lasts_longer(mixed):
    """By the other broker, for who comes again."""
    theirs, ours = mixed
    token = token_of(ours, "alice", Renewers=renewers("bob"))
    with Person(ours, "alice") as alice:
        alice.expire(token, HOUR)
    with Person(theirs, "bob") as bob:
        wait_until(lambda: bob.renew(token, 10 * HOUR)["ErrorCode"] == 0, "it is known")

    def lifetime():
        with Person(ours, token=token) as person:
            return person.lifetime
    wait_until(lambda: 9 * HOUR < lifetime() <= 10 * HOUR, "the renewal")


def test_the_controller_takes_away_what_is_over_whoever_it_is(mixed):
    """Each of them in its turn, while the other one stands still."""
    zookeeper = mixed[1].zookeeper
    for broker, other in mixed, mixed[::-1]:
        short = token_of(broker, MaxLifetimeMs=1)
        wait_until(lambda: time.time() * 1000 > short["MaxTimestampMs"] + 1 and short["TokenId"] in described(other, "admin", everyone=True), "its end, which both have heard of")
        other.process.send_signal(signal.SIGSTOP)
        try:
            zookeeper.client.delete("/controller")
            wait_until(lambda: zookeeper.client.exists("/controller"), "a controller")
            assert json.loads(zookeeper.get("/controller"))["brokerid"] == mixed.index(broker)
            wait_until(lambda: short["TokenId"] not in zookeeper.children(TOKENS), "its first look")
        finally:
            other.process.send_signal(signal.SIGCONT)
        wait_until(lambda: short["TokenId"] not in described(other, "admin", everyone=True), "it is forgotten")


def test_javas_tools_come_with_a_token(mixed, tmp_path):
    """And ours, to Apache's broker, too."""
    token = token_of(mixed[1], "admin")
    mine = tmp_path / "token.properties"
    mine.write_text("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
                    f"username=\"{token['TokenId']}\" password=\"{base64.b64encode(token['Hmac']).decode()}\" tokenauth=\"true\";\n")
    there = "--command-config", mine, "--create", "--partitions", "1", "--replication-factor", "1"
    wait_until(lambda: may_come(mixed[0], token), "it is known")
    assert "Created topic java" in java("org.apache.kafka.tools.TopicCommand", "--bootstrap-server", mixed[1].sasl.bootstrap, *there, "--topic", "java")
    for broker in mixed:
        made = tool("kafka-topics", "--bootstrap-server", broker.sasl.bootstrap, *there, "--topic", f"ours-{broker.port}")
        assert made.returncode == 0, made


@pytest.mark.parametrize("jars, producer", [(JARS, "kafka.tools.ConsoleProducer"), (JARS_4, "org.apache.kafka.tools.ConsoleProducer")], ids=["3.9", "4"])
def test_javas_clients_come_as_the_tokens_owner(mixed, tmp_path, jars, producer):
    """With the owner's rights, for as long as the token is good."""
    ours, topic = mixed[1], f"by-token-{jars.parent.parent.name}"
    token = token_of(ours, "carol")
    mine = tmp_path / "token.properties"
    mine.write_text("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
                    f"username=\"{token['TokenId']}\" password=\"{base64.b64encode(token['Hmac']).decode()}\" tokenauth=\"true\";\n")
    there = "--bootstrap-server", ours.sasl.bootstrap, "--topic", topic
    made = tool("kafka-topics", "--bootstrap-server", ours.bootstrap, "--create", "--topic", topic, "--partitions", "1", "--replication-factor", "1")
    assert made.returncode == 0, made

    def read():
        return run_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", *there, "--consumer.config", mine, "--group", topic, "--from-beginning", "--max-messages", "2", "--timeout-ms", 30000, jars=jars)
    assert not read().stdout
    assert "Principal = User:carol is Denied Operation = Describe" in ours.text()
    for role in ["--producer"], ["--consumer", "--group", topic]:
        added = tool("kafka-acls", "--bootstrap-server", ours.bootstrap, "--add", "--allow-principal", "User:carol", "--topic", topic, *role)
        assert added.returncode == 0, added
    java(producer, *there, "--producer.config", mine, stdin="one\ntwo\n", jars=jars)
    assert read().stdout.splitlines() == ["one", "two"]
    with Person(ours, "carol") as carol:
        assert carol.expire(token)["ErrorCode"] == 0
    before = ours.text().count("Failed authentication")
    assert not read().stdout and ours.text().count("Failed authentication") > before


# ---- The tool ----

COMMANDS = [  # HMAC is that of the token that the first one makes
    ["--create", "--max-life-time-period", "7200000", "--renewer-principal", "User:bob", "--renewer-principal", " User:müller "],
    ["--create", "--max-life-time-period", "-1"],
    ["--create", "--max-life-time-period", "-1", "--owner-principal", "User:alice"],
    ["--create", "--max-life-time-period", "-1", "--owner-principal", "User:bob"],
    ["--create", "--max-life-time-period", "-1", "--renewer-principal", "Group:g"],
    ["--create", "--max-life-time-period", "-1", "--renewer-principal", "bob"],
    ["--create"],
    ["--create", "--describe"],
    ["--create", "--max-life-time-period", "-1", "--hmac", "x"],
    ["--create", "--max-life-time-period", "-1", "--expiry-time-period", "1"],
    [],
    ["--describe"],
    ["--describe", "--owner-principal", "User:me-0"],
    ["--describe", "--owner-principal", "User:me-0", "--owner-principal", "User:bob"],
    ["--describe", "--hmac", "x"],
    ["--renew", "--hmac", "HMAC", "--renew-time-period", "-1"],
    ["--renew", "--hmac", "HMAC", "--renew-time-period", "3600000"],
    ["--renew", "--hmac", "eHg=", "--renew-time-period", "-1"],
    ["--renew", "--hmac", "HMAC"],
    ["--renew", "--renew-time-period", "-1"],
    ["--renew", "--hmac", "HMAC", "--renew-time-period", "-1", "--owner-principal", "User:x"],
    ["--expire", "--hmac", "HMAC"],
    ["--expire", "--hmac", "HMAC", "--expiry-time-period", "3600000"],
    ["--expire", "--hmac", "HMAC", "--expiry-time-period", "-1", "--max-life-time-period", "1"],
    ["--expire", "--hmac", "HMAC", "--expiry-time-period", "-1"],
    ["--expire", "--hmac", "HMAC", "--expiry-time-period", "-1"],
]


def with_tool(run, brokers, broker, user, folder):
    """What it says to each of the commands: the exit code, the output, the first line of what is wrong."""
    said, secret, properties = [], None, folder / f"{user}.properties"
    properties.write_text("security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
                          f"sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username={user} password={user}-secret;\n")
    for command in COMMANDS:
        words = [{"HMAC": secret, "User:me-0": f"User:{user}"}.get(word, word) for word in command]
        done = run("--bootstrap-server", broker.sasl.bootstrap, "--command-config", properties, *words)
        wait_until(lambda: len({repr(sorted(described(b, user).items())) for b in brokers}) == 1, "both to know it")  # whichever is asked next
        secret = secret or re.search(r"^\S{22} (\S{88})", done.stdout, re.M)[1]
        out = re.sub(r"\S{86}==", "HMAC", re.sub(r"(^|: )[\w-]{22}(?=\s)", r"\1ID", done.stdout.replace(user, "me-0"), flags=re.M))
        out = re.sub(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d\b", lambda date: str(round((time.mktime(time.strptime(date[0], "%Y-%m-%dT%H:%M")) - time.time()) / 600)), out)
        err = re.sub("Exception: .*", "Exception", without_noise(done.stderr).strip()).splitlines()[:1]
        said.append((command, done.returncode, sorted(out.split("\n")), err))
    return said


def test_the_tool_does_what_apaches_tool_does(mixed, tmp_path):
    """Each of them with the other one's broker, and a user of its own, so that it finds its own tokens."""
    theirs = with_tool(lambda *args: run_tool("org.apache.kafka.tools.DelegationTokenCommand", *args), mixed, mixed[1], TOOLS[0], tmp_path)
    ours = with_tool(lambda *args: tool("kafka-delegation-tokens", *args), mixed, mixed[0], TOOLS[1], tmp_path)
    for a, b in zip(theirs, ours):
        assert a == b


# ---- A broker alone ----


@pytest.fixture
def alone(make_broker):
    return lambda **more: make_broker(each=lambda b: with_tokens(b, **more))


def test_without_a_secret_there_are_none(make_broker, zookeeper):
    broker = make_broker(each=lambda b: {**settings(b), **AUTHORIZER, "delegation.token.secret.key": ""})
    with Person(broker, "alice") as alice:
        assert alice.create()["ErrorCode"] == DISABLED
        assert alice.create(owner="bob")["ErrorCode"] == DENIED  # which is judged before that
        assert alice.renew({"Hmac": b"x"})["ErrorCode"] == DISABLED
        assert alice.expire({"Hmac": b"x"})["ErrorCode"] == DISABLED
        assert alice.describe()["ErrorCode"] == DISABLED
    assert not may_come(broker, {"TokenId": "x", "Hmac": b"x"})
    assert not zookeeper.client.exists("/delegation_token")


def test_the_secret_is_shown_to_nobody(alone):
    broker = alone()
    with Person(broker, "admin") as admin:
        keys = ["delegation.token.secret.key", "delegation.token.master.key", "delegation.token.max.lifetime.ms"]
        answer = admin.get("DescribeConfigs", 4, {"Resources": [{"ResourceType": 4, "ResourceName": "0", "ConfigurationKeys": keys}]})
    shown = {c["Name"]: (c["Value"], c["IsSensitive"]) for c in answer["Results"][0]["Configs"]}
    assert shown == {keys[0]: (None, True), keys[1]: (None, True), keys[2]: (str(48 * HOUR), False)}
    assert SECRET not in broker.text()


def test_what_is_over_goes(alone, zookeeper):
    broker = alone(**{"delegation.token.expiry.check.interval.ms": 100})
    with Person(broker, "alice") as alice:
        kept, short = [alice.create(MaxLifetimeMs=lifetime) for lifetime in (HOUR, 1)]
    wait_until(lambda: zookeeper.children(TOKENS) == [kept["TokenId"]], "only one is left")
    assert described(broker, "alice", everyone=True).keys() == {kept["TokenId"]}


def test_a_new_controller_begins_with_what_is_over(alone, zookeeper):
    """Not after an hour, and with more than it takes away at once."""
    broker = alone()
    with Person(broker, "alice") as alice:
        kept, *short = [alice.create(MaxLifetimeMs=lifetime) for lifetime in (HOUR, *(1,) * 250)]
    broker.stop()
    assert len(zookeeper.children(TOKENS)) == len(short) + 1
    broker.restart()
    wait_until(lambda: zookeeper.children(TOKENS) == [kept["TokenId"]], "only one is left")
    assert may_come(broker, kept)


def node(name, **more):
    return json.dumps({"version": 3, "owner": "User%3Aalice", "tokenRequester": "User%3Aalice", "renewers": [], "issueTimestamp": 1, "maxTimestamp": 1 << 62,
                       "expiryTimestamp": 1 << 62, "tokenId": name, **more}).encode()


def test_nodes_that_are_not_understood_are_no_tokens(alone, zookeeper):
    broker = alone()

    def token(name):
        return {"TokenId": name, "Hmac": hmac.new(SECRET.encode(), name.encode(), "sha512").digest()}

    def write(name, data):
        zookeeper.client.create(f"{TOKENS}/{name}", data)
        zookeeper.client.create(f"{CHANGES}/token_change_", name.encode(), sequence=True)

    zookeeper.client.create(f"{CHANGES}/token_change_", b"../broken", sequence=True)
    odd = {"empty": b"", "text": b"{", "newer": node("newer", version=4), "other": node("good"), "owner": node("owner", owner="alice"), "late": node("late", expiryTimestamp="1")}
    for name, data in odd.items():
        write(name, data)
    write("group", node("group", owner="Group%3Aalice"))
    write("old", node("old", version=1))
    write("good", node("good"))
    for again in False, True:
        if again:
            broker.stop()
            broker.restart()
        wait_until(lambda: may_come(broker, token("good")), "the one that is written last")
        assert may_come(broker, token("old"))
        assert [name for name in (*odd, "group") if may_come(broker, token(name))] == []
    zookeeper.client.set(f"{TOKENS}/good", b"broken")
    zookeeper.client.create(f"{CHANGES}/token_change_", b"good", sequence=True)
    wait_until(lambda: not may_come(broker, token("good")), "it is none any more")


def test_who_may_not_be_told_by_a_name_with_a_zero(alone, zookeeper):
    """A right for User:bob is none for another whose name only begins so."""
    broker = alone()
    data = {"version": 1, "acls": [{"principal": "User:alice", "permissionType": "Allow", "host": "*", "operation": "CreateTokens"}]}
    zookeeper.client.create("/kafka-acl/User/User:bob", json.dumps(data).encode())
    zookeeper.client.create("/kafka-acl-changes/acl_changes_", b"USER:User:bob", sequence=True)
    with Person(broker, "alice") as alice:
        wait_until(lambda: alice.create(owner="bob")["ErrorCode"] == 0, "the right")
        assert alice.create(owner="bob\0x")["ErrorCode"] == DENIED


def test_tokens_that_may_not_be_read_are_not_gone(alone, zookeeper):
    """For now: those who came by them stay, and may come again."""
    broker = alone()
    token = token_of(broker)
    client, path = zookeeper.client, f"{TOKENS}/{token['TokenId']}"
    with Person(broker, token=token) as person:
        assert person.is_served()
        broker.process.send_signal(signal.SIGSTOP)
        try:
            wait_until(lambda: not client.exists("/brokers/ids/0"), "the session to expire")
            client.set_acls(path, [make_digest_acl("nobody", "else", all=True)])
        finally:
            broker.process.send_signal(signal.SIGCONT)
        wait_until(lambda: f"The delegation token at {path} cannot be read now" in broker.text(), "the line in the log")
        assert person.is_served() and may_come(broker, token)


def test_tokens_are_read_again_after_a_lost_session(alone, zookeeper):
    """What changed meanwhile, without a notification that is still there; sessions by tokens last as these do."""
    broker = alone()
    gone, kept = token_of(broker), token_of(broker)
    people = [Person(broker, token=t) for t in (gone, kept)]
    assert all(p.is_served() for p in people)
    broker.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: not zookeeper.client.exists("/brokers/ids/0"), "the session to expire")
        zookeeper.client.delete(f"{TOKENS}/{gone['TokenId']}")
    finally:
        broker.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not people[0].is_served(), "the session's end")
    assert not may_come(broker, gone) and may_come(broker, kept) and people[1].is_served()
