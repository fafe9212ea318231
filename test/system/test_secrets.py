"""
Secrets of all kinds, each a text that is nowhere else: whatever is done with them and to them, none is in a log, an answer, or what a program prints.
Neither as it is nor as base64 or hexadecimal digits, and of a private key no line.
"""

import base64
import os
import re
import signal
import socket
import struct
import subprocess
import urllib.error
import urllib.request

import pytest
from certificates import openssl
from harness import BUILD, PATIENCE, free_port, kcat, wait_until
from messages import CLOSED, SCHEMAS, write_request
from signers import token
from test_oauth import BY_PROVIDER, provider  # noqa: F401 (a fixture)
from test_sasl import Talk, by_scram, plain, upsertion
from test_security import tool
from test_zookeeper_security import CLIENT, authority, locked, through_tls, zookeeper  # noqa: F401 (fixtures)
from test_zookeeper_security import PASSWORD as OF_ZOOKEEPER

ALL = "log4j.rootLogger=TRACE, A\nlog4j.logger.kafka.request.logger=TRACE\nlog4j.appender.A=org.apache.log4j.ConsoleAppender\nlog4j.appender.A.layout=org.apache.log4j.PatternLayout\n"
MODULES = "org.apache.kafka.common.security"
SCRAM, PLAIN = f"{MODULES}.scram.ScramLoginModule required", f"{MODULES}.plain.PlainLoginModule required"
PROTECTED = "listener.name.inline.ssl"  # the listener whose stores are changed while the broker runs
MODULUS_LINES = 7  # of a key's PEM, which are in its certificate, too


# ---- What is looked for, and where ----


def base64_of(data):
    """As it is found in any longer text that was encoded: whatever was before it, without what depends on what is around."""
    for before in range(3):
        text = base64.b64encode(bytes(before) + data).decode()
        yield text[(0, 2, 3)[before]:(before + len(data)) * 8 // 6]


def forms(data):
    plain = [data.decode()] if data.isascii() else []
    coded = list(base64_of(data))
    return {*plain, *coded, *(c.replace("+", "-").replace("/", "_") for c in coded), data.hex(), data.hex().upper()}


class Secrets:
    def __init__(self):
        self.forms, self.told = {}, {}

    def new(self, name):
        """A secret of that kind, of letters and digits, so that nothing quotes any of it."""
        return self.know(name, f"x{os.urandom(12).hex()}x")

    def know(self, name, secret):
        self.forms[name] = forms(secret if isinstance(secret, bytes) else secret.encode())
        return secret

    def know_key(self, name, pem):
        lines = re.search("-----BEGIN [A-Z ]*PRIVATE KEY-----\n(.*?)\n-----END", pem, re.S).group(1).splitlines()
        for i, line in enumerate(lines[MODULUS_LINES:-1]):
            self.forms[f"{name}, line {i}"] = {line}

    def hear(self, where, what):
        """Text that was to be had there."""
        self.told[where] = self.told.get(where, "") + (what.decode("latin-1") if isinstance(what, bytes) else what)

    def hear_run(self, command, **kw):
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, errors="replace", timeout=PATIENCE, **kw)
        self.hear(" ".join(map(str, command[:2])), done.stdout + done.stderr)
        return done

    def found(self):
        return [(name, where, text[max(0, text.find(form) - 150):][:300]) for name, known in self.forms.items() for form in known
                for where, text in self.told.items() if form in text]

    def check(self):
        found = self.found()
        assert not found, "\n".join(f"{name} in {where}: {text!r}" for name, where, text in found[:20])


@pytest.fixture
def secrets():
    return Secrets()


def test_the_search_finds_what_is_there(secrets):
    """In each form, within anything."""
    it = secrets.new("it")
    for i, said in enumerate((it, "ab" + it.encode().hex().upper(), *(base64.b64encode(b"x" * n + it.encode() + b"y").decode() for n in range(3)))):
        secrets.told = {str(i): f"before {said} after"}
        assert {f[:2] for f in secrets.found()} == {("it", str(i))}
    secrets.told = {"": it[1:] + base64.b64encode(b"something else").decode()}
    secrets.check()


class Overheard(Talk):
    """Each frame that a broker answers with is kept."""

    def __init__(self, listener, secrets):
        super().__init__(listener)
        self.secrets = secrets

    def receive(self):
        frame = super().receive()
        if isinstance(frame, bytes):
            self.secrets.hear("answers", frame)
        return frame


# ---- A broker with all of them ----


class Door:
    def __init__(self):
        self.port = free_port()
        self.bootstrap = f"localhost:{self.port}"


def java_store(folder, keys, password, key_password):
    """In Java's old format, where a key may have a password of its own."""
    p12, store = folder / "first.p12", folder / "keys.jks"
    openssl("pkcs12", "-export", "-in", keys, "-out", p12, "-passout", f"pass:{password}", "-name", "k")
    subprocess.run(["keytool", "-importkeystore", "-srckeystore", p12, "-srcstorepass", password, "-srcstoretype", "PKCS12", "-destkeystore", store, "-deststoretype", "JKS",
                    "-deststorepass", password, "-destkeypass", key_password, "-srcalias", "k"], check=True, capture_output=True)
    return store


def trust_store(folder, authority, password):  # noqa: F811
    store = folder / "trust.jks"
    subprocess.run(["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", authority.certificate, "-keystore", store, "-storepass", password],
                   check=True, capture_output=True)
    return store


def encrypted(keys, password):
    """A key that its password opens, and its certificate."""
    key = openssl("pkcs8", "-topk8", "-in", keys, "-passout", f"pass:{password}").decode()
    return key, openssl("x509", "-in", keys).decode()


def inline(pem):
    return pem.replace("\n", "\\n")


class House:
    """The settings of brokers that have every kind of secret, and what is needed to come in."""

    def __init__(self, secrets, folder, authority, locked, zookeeper):  # noqa: F811
        self.secrets, self.folder, self.authority, self.locked, self.zookeeper = secrets, folder, authority, locked, zookeeper
        new = secrets.new
        self.users = {user: new(f"the password of {user}") for user in ("admin", "alice", "bob")}
        self.sam, self.between, self.wrong = new("the password of sam"), new("the password between brokers"), new("a wrong password")
        self.master, self.encoder, self.old_encoder = new("the key of delegation tokens"), new("the encoder's secret"), new("the encoder's old secret")
        self.scraper, self.unknown = new("the password of the scraper"), new("the value of an unknown key")
        self.store, self.key, self.trust = (new(f"the password of the {what}") for what in ("key store", "key in it", "trust store"))
        self.inline_key, self.zookeeper_key = new("the password of the key inline"), new("the password of the key for ZooKeeper")
        secrets.know("the password for ZooKeeper", OF_ZOOKEEPER.replace("\\", ""))
        keys = authority.issue("of-all")
        secrets.know_key("the private key", keys.read_text())
        self.store_file, self.trust_file = java_store(folder, keys, self.store, self.key), trust_store(folder, authority, self.trust)
        self.pem_key, self.pem_chain = encrypted(keys, self.inline_key)
        secrets.know_key("the encrypted key", self.pem_key)
        key, chain = encrypted(authority.issue("for-zookeeper"), self.zookeeper_key)
        (folder / "zookeeper.pem").write_text(key + chain)
        (folder / "log4j.properties").write_text(ALL)
        (folder / "client.jaas").write_text(CLIENT % OF_ZOOKEEPER)

    def settings(self, broker):
        """Of a broker that gets the doors `between`, `users`, `java` and `inline` beside the usual one."""
        broker.doors = {name: Door() for name in ("between", "users", "java", "inline")}
        broker.http = free_port()
        broker.env.update(self.env())
        protocols = {"between": "SASL_PLAINTEXT", "users": "SASL_PLAINTEXT", "java": "SSL", "inline": "SSL"}
        users = " ".join(f'user_{name}="{password}"' for name, password in self.users.items())
        return {"listeners": ",".join([f"PLAINTEXT://127.0.0.1:{broker.port}", *(f"{n.upper()}://localhost:{d.port}" for n, d in broker.doors.items())]),
                "listener.security.protocol.map": ",".join(["PLAINTEXT:PLAINTEXT", *(f"{n.upper()}:{p}" for n, p in protocols.items())]),
                "inter.broker.listener.name": "BETWEEN", "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-512",
                "listener.name.between.sasl.enabled.mechanisms": "SCRAM-SHA-512",
                "listener.name.between.scram-sha-512.sasl.jaas.config": f'{SCRAM} username="brokers" password="{self.between}";',
                "listener.name.users.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
                "listener.name.users.plain.sasl.jaas.config": f"{PLAIN} {users};",
                **{f"listener.name.users.scram-sha-{n}.sasl.jaas.config": f"{SCRAM};" for n in (256, 512)},
                "listener.name.users.oauthbearer.sasl.jaas.config": f"{MODULES}.oauthbearer.OAuthBearerLoginModule required;",
                "listener.name.java.ssl.keystore.location": self.store_file, "listener.name.java.ssl.keystore.password": self.store, "listener.name.java.ssl.key.password": self.key,
                "listener.name.java.ssl.truststore.location": self.trust_file, "listener.name.java.ssl.truststore.password": self.trust,
                f"{PROTECTED}.keystore.type": "PEM", f"{PROTECTED}.keystore.key": inline(self.pem_key), f"{PROTECTED}.keystore.certificate.chain": inline(self.pem_chain),
                f"{PROTECTED}.key.password": self.inline_key,
                "delegation.token.secret.key": self.master, "password.encoder.secret": self.encoder, "password.encoder.old.secret": self.old_encoder,
                "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "User:ANONYMOUS;User:brokers;User:admin",
                "barnabas.http.listeners": f"METRICS://127.0.0.1:{broker.http}", "barnabas.http.users": f"scraper:{self.scraper}",
                "connection.failed.authentication.delay.ms": 0, "no.such.key": self.unknown, "offsets.topic.replication.factor": 1,
                **self.locked.tls(), "zookeeper.connect": through_tls(self.zookeeper, self.locked)}

    def env(self):
        """What is for ZooKeeper comes as properties of Java's."""
        properties = {"java.security.auth.login.config": self.folder / "client.jaas", "zookeeper.ssl.keyStore.location": self.folder / "zookeeper.pem",
                      "zookeeper.ssl.keyStore.password": self.zookeeper_key}
        return {"KAFKA_OPTS": " ".join(f"-D{k}={v}" for k, v in properties.items()), "KAFKA_LOG4J_OPTS": f"-Dlog4j.configuration=file:{self.folder / 'log4j.properties'}"}

    def make_credentials(self):
        self.zookeeper.client.ensure_path("/")
        self.secrets.hear_run([BUILD / "barnabas-tool", "kafka-configs", "--zookeeper", self.zookeeper.connect, "--alter", "--entity-type", "users", "--entity-name", "brokers",
                               "--add-config", f"SCRAM-SHA-512=[password={self.between}]"])


@pytest.fixture
def house(secrets, tmp_path, authority, locked, zookeeper):  # noqa: F811
    folder = tmp_path / "house"
    folder.mkdir()
    return House(secrets, folder, authority, locked, zookeeper)


# ---- Who comes in, and who does not ----


def cut(api, version, tree):
    """The same request, whose end is missing; and with an end that nobody expects."""
    whole = write_request(SCHEMAS[api].key, version, tree)
    return [whole[:-1], whole[:-7], whole + b"\0more"]


def frames_of(api, tree, versions):
    """Whole ones, of versions that there are or are not, and damaged ones."""
    whole = write_request(SCHEMAS[api].key, versions[0], tree)
    return [f for v in versions for f in cut(api, v, tree)] + [whole[:2] + struct.pack(">h", 99) + whole[4:]]


def send_frames(house, door, frames):
    for f in frames:
        with Overheard(door, house.secrets) as t:
            t.write(struct.pack(">i", len(f)) + f)
            t.sock.settimeout(1)
            t.receive()


def by_passwords(house, door):
    """By PLAIN, as it should be and in all ways that it should not."""
    mine = plain("alice", house.users["alice"])
    tokens = [mine, plain("alice", house.wrong), plain("alice", house.users["alice"], "bob"), plain("", house.users["alice"]), mine[1:], mine + b"\0more",
              plain("nobody", house.users["bob"]), b"\0" + house.users["alice"].encode(), house.users["bob"].encode()]
    for token_ in tokens:
        for version in 0, 1, 2:
            with Overheard(door, house.secrets) as t:
                t.shake("PLAIN")
                t.say(token_, version)
        with Overheard(door, house.secrets) as t:  # as the oldest clients do
            t.shake("PLAIN", 0)
            t.say_raw(token_)
        with Overheard(door, house.secrets) as t:  # to a mechanism that it is not for
            t.shake("SCRAM-SHA-256")
            t.say(token_)
    raw = [struct.pack(">i", len(mine)) + mine, mine, b"GET /" + mine + b" HTTP/1.1\r\n\r\n"]
    for data in raw:
        with Overheard(door, house.secrets) as t:
            t.write(data)
            t.sock.settimeout(1)
            t.receive()
    send_frames(house, door, frames_of("SaslAuthenticate", {"AuthBytes": mine}, (0, 1, 2)) + [write_request(36, 1, {"AuthBytes": mine})])


def by_scram_and_tokens(house, door):
    ways = ("sam", house.sam, {}), ("sam", house.wrong, {}), (house.users["bob"], "x", {}), ("sam", house.sam, {"proof": house.sam.encode()}), ("sam", "x", {"first": house.sam})
    for user, password, more in ways:
        for mechanism in "SCRAM-SHA-256", "SCRAM-SHA-512":
            with Overheard(door, house.secrets) as t:
                by_scram(user, password, mechanism, **more)(t)
    good = house.secrets.know("a token", token({"alg": "none"}, {"sub": "carol", "exp": 9e9, "scope": "kafka", "mark": os.urandom(9).hex()}))
    late = house.secrets.know("a token that is over", token({"alg": "none"}, {"sub": "carol", "exp": 1, "mark": os.urandom(9).hex()}))
    for word in good, late, good[:-9], "!" + good, house.users["bob"]:
        for message in f"n,,\x01auth=Bearer {word}\x01\x01", f"n,a=bob,\x01auth=Bearer {word}\x01\x01", f"n,,\x01auth=Basic {word}\x01\x01", f"n,,\x01{word}\x01\x01", word:
            with Overheard(door, house.secrets) as t:
                t.shake("OAUTHBEARER")
                if (answer := t.say(message.encode())) != CLOSED and answer["AuthBytes"]:
                    t.say(b"\x01")


def with_delegation_tokens(house, door):
    """The answer that has the token is for who asks, so it is not overheard."""
    with Talk(door) as t:
        t.login("alice", house.users["alice"])
        made = t.get("CreateDelegationToken", 3, {"MaxLifetimeMs": -1})
        assert made["ErrorCode"] == 0
        t.get("RenewDelegationToken", 2, {"Hmac": made["Hmac"], "RenewPeriodMs": -1})
        t.get("DescribeDelegationToken", 3, {"Owners": None})
    house.secrets.know("a delegation token", made["Hmac"])
    word = house.secrets.know("a delegation token as a password", base64.b64encode(made["Hmac"]).decode())
    for password in word, house.wrong:
        with Overheard(door, house.secrets) as t:
            by_scram(made["TokenId"], password, "SCRAM-SHA-512", extensions=",tokenauth=true")(t)
    send_frames(house, door, frames_of("RenewDelegationToken", {"Hmac": made["Hmac"]}, (0, 2)))
    with Overheard(door, house.secrets) as t:
        t.login("bob", house.users["bob"])
        t.get("RenewDelegationToken", 2, {"Hmac": made["Hmac"], "RenewPeriodMs": -1})
        t.get("ExpireDelegationToken", 2, {"Hmac": made["Hmac"] + b"x", "ExpiryTimePeriodMs": -1})


def credentials_by_request(house, broker):
    made = [upsertion("sam", 1, house.sam.encode()), upsertion("sam", 2, house.sam.encode(), 8192)]
    for one in made:
        house.secrets.know(f"the salted password {one['Mechanism']}", one["SaltedPassword"])
    tree = {"Upsertions": made}
    with Overheard(broker, house.secrets) as t:
        assert {r["ErrorCode"] for r in t.get("AlterUserScramCredentials", 0, tree)["Results"]} == {0}
        t.get("AlterUserScramCredentials", 0, {"Upsertions": [{**made[0], "Iterations": 1}, {**made[1], "Mechanism": 9}]})
        t.get("DescribeUserScramCredentials", 0, {"Users": None})
    send_frames(house, broker, frames_of("AlterUserScramCredentials", tree, (0,)))


# ---- Settings that are changed, and shown ----


def described(secrets, broker):
    with Overheard(broker, secrets) as t:
        for version in 1, 2, 3, 4:
            for kind, name in (4, "0"), (4, ""), (8, "0"):
                more = {"IncludeDocumentation": 1} if version >= 3 else {}
                t.get("DescribeConfigs", version, {"Resources": [{"ResourceType": kind, "ResourceName": name, "ConfigurationKeys": None}], "IncludeSynonyms": 1, **more})


def alter_at_run_time(house, broker):
    """Passwords that are good, that are not, and that stand where none is expected."""
    new = house.secrets.new
    good, bad, value = new("a password set at run time"), new("a wrong one set at run time"), new("a value of no key")
    key, chain = encrypted(house.authority.issue("later", "/CN=of-all"), good)
    house.secrets.know_key("the key set at run time", key)
    stores = {f"{PROTECTED}.keystore.key": key, f"{PROTECTED}.keystore.certificate.chain": chain, f"{PROTECTED}.key.password": good}
    jaas = "listener.name.users.plain.sasl.jaas.config"
    changes = [{**stores, f"{PROTECTED}.key.password": bad}, {f"{PROTECTED}.keystore.password": bad}, {f"{PROTECTED}.keystore.key": bad}, {"listener.name.java.ssl.keystore.password": bad},
               {"listener.name.java.ssl.truststore.password": bad}, {"ssl.key.password": bad}, {"delegation.token.secret.key": bad}, {"password.encoder.secret": bad},
               {"barnabas.http.users": f"x:{bad}"}, {jaas: f'{PLAIN} user_a="{bad}'}, {jaas: f'{PLAIN} user_a="x"{bad};'}, {jaas: bad}, {"listener.name.nowhere.ssl.key.password": bad},
               {f"{PROTECTED}.key.passwrod": value}, {"log.retention.ms": "1", f"{PROTECTED}.key.password": bad}]
    for change in [stores, *changes]:
        wanted = [{"Name": k, "Value": v} for k, v in change.items()]
        with Overheard(broker, house.secrets) as t:
            for kind, name in ((4, "0"), (4, "")) if change is not stores else ((4, "0"),):
                tree = {"Resources": [{"ResourceType": kind, "ResourceName": name, "Configs": wanted}]}
                answer = t.get("IncrementalAlterConfigs", 1, tree)
                if change is stores:
                    assert answer["Responses"][0]["ErrorCode"] == 0, answer
                t.get("IncrementalAlterConfigs", 1, {"Resources": [{**tree["Resources"][0], "Configs": [{**c, "ConfigOperation": 2} for c in wanted]}]})
                t.get("AlterConfigs", 1, {**tree, "ValidateOnly": 1})
            t.get("IncrementalAlterConfigs", 1, {"Resources": [{"ResourceType": 2, "ResourceName": "t", "Configs": wanted}]})
    tree = {"Resources": [{"ResourceType": 4, "ResourceName": "0", "Configs": [{"Name": k, "Value": v} for k, v in stores.items()]}]}
    send_frames(house, broker, frames_of("IncrementalAlterConfigs", tree, (0, 1)) + frames_of("AlterConfigs", tree, (0, 2)))


def ask_by_http(house, broker):
    def words(text):
        return "Basic " + base64.b64encode(text.encode()).decode()
    mine = words(f"scraper:{house.scraper}")
    heads = [mine, words(f"scraper:{house.wrong}"), words(house.scraper), house.scraper, f"Bearer {house.scraper}", mine + "!", None]
    for head in heads:
        for path in "", "status.json", "metrics", "jolokia/list", "jolokia/search/*:*", "jolokia/read/kafka.server:*", "v1/broker-state", "no/such":
            request = urllib.request.Request(f"http://127.0.0.1:{broker.http}/{path}", headers={"Authorization": head} if head else {})
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                    house.secrets.hear(f"/{path}", answer.read())
            except urllib.error.HTTPError as e:
                house.secrets.hear(f"/{path}", e.read() + str(e.headers).encode())
    with socket.create_connection(("127.0.0.1", broker.http), PATIENCE) as sock:
        sock.sendall(f"GET /metrics HTTP/1.1\r\nAuthorization: {heads[0]}\r\nBroken {house.scraper}\r\n\r\n".encode())
        house.secrets.hear("http", sock.recv(65536))


# ---- Tools ----


def client_files(house, folder):
    """Files of properties: a good one, and such that do not work, by a word of theirs that is secret."""
    def sasl(jaas, mechanism="PLAIN"):
        return f"security.protocol=SASL_PLAINTEXT\nsasl.mechanism={mechanism}\nsasl.jaas.config={jaas}\n"
    mine, bad = house.users["admin"], house.wrong
    user = 'username="admin"'
    texts = [sasl(f'{PLAIN} {user} password="{mine}";'), sasl(f'{PLAIN} {user} password="{bad}";'), sasl(f'{SCRAM} {user} password="{bad}";', "SCRAM-SHA-512"),
             sasl(f'{PLAIN} {user} password="{bad}"'), sasl(f'{PLAIN} {user} password="x"{bad};'), sasl(f'{PLAIN} {user} password={bad[1:]}+x{bad};'), sasl(f'{PLAIN} password="{bad}";'),
             sasl(f"{PLAIN} {bad};"), sasl(f"x {bad};"), sasl(bad), sasl(f'{PLAIN} {user} password="{bad}";').replace("PLAIN\n", "FOO\n"),
             sasl(f'{PLAIN} {user} password="{mine}";') + f"ssl.key.passwrod={bad}\n", sasl(f'{PLAIN} {user} password="\\u00zz{bad}";'),
             f"security.protocol=SSL\nssl.truststore.location={house.trust_file}\nssl.truststore.password={bad}\n",
             f"security.protocol=SSL\nssl.truststore.location={house.trust_file}\nssl.truststore.password={house.trust}\n"
             f"ssl.keystore.location={house.store_file}\nssl.keystore.password={bad}\n",
             f"security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.key={bad}\nssl.keystore.certificate.chain={bad}\n",
             f"security.protocol=SSL\nssl.keystore.type=PEM\nssl.keystore.key={house.pem_key}ssl.key.password=\n{bad}\n"]
    for i, text in enumerate(texts):
        (folder / f"client-{i}.properties").write_text(text)
        yield folder / f"client-{i}.properties", i == 0


def run_tools(house, broker, folder):
    commands = [("kafka-topics", "--command-config", "--list"), ("kafka-configs", "--command-config", "--describe", "--all", "--entity-type", "brokers", "--entity-name", "0"),
                ("kafka-acls", "--command-config", "--list"), ("kafka-broker-api-versions", "--command-config"), ("kafka-consumer-groups", "--command-config", "--list"),
                ("kafka-configs", "--command-config", "--describe", "--entity-type", "users"),
                ("kafka-console-producer", "--producer.config", "--topic", "t", "--timeout", "1"),
                ("kafka-producer-perf-test", "--producer.config", "--topic", "t", "--num-records", "1", "--record-size", "1", "--throughput", "-1", "--print-metrics"),
                ("kafka-verifiable-producer", "--producer.config", "--topic", "t", "--max-messages", "1")]
    env = {**os.environ, **house.env()}
    for i, (config, works) in enumerate(client_files(house, folder)):  # by all tools one that works and one that does not
        for name, option, *more in commands if i < 2 else (commands[0], commands[-1]):
            door = broker.doors["users" if "SASL" in config.read_text() else "java"]
            there = ["--producer-props", f"bootstrap.servers={door.bootstrap}"] if "perf" in name else ["--bootstrap-server", door.bootstrap]
            done = tool(name, *there, option, config, *more, stdin="x\n", env=env)
            assert done.returncode == 0 or not works, (config.read_text(), done)
            house.secrets.hear(name, done.stdout + done.stderr)
    words = [f"SCRAM-SHA-256=[iterations=1,password={house.sam}]", f"SCRAM-SHA-256=[passwrd={house.sam}]", f"SCRAM-SHA-256={house.sam}", f"SCRAM-SHA-9=[password={house.sam}]"]
    for word in words:
        done = tool("kafka-configs", "--bootstrap-server", broker.bootstrap, "--alter", "--entity-type", "users", "--entity-name", "sam", "--add-config", word)
        assert done.returncode == 1
        house.secrets.hear("kafka-configs", done.stdout + done.stderr)


# ---- All of it ----


def logged_requests(broker):
    return set(re.findall(r'"requestApiKeyName":"(\w+)"', broker.text()))


def ask_of_its_state(broker):
    for sign, said in (signal.SIGUSR1, "State: that is all"), (signal.SIGHUP, "reading again what may have changed"):
        before = broker.text().count(said)
        broker.process.send_signal(sign)
        wait_until(lambda: broker.text().count(said) > before, said)


def own_programs(house, broker, folder):
    """What the broker's program says of its settings."""
    file = broker.log.with_suffix(".properties")
    env = {**os.environ, **house.env()}
    house.secrets.hear_run([BUILD / "barnabas", "--check", file], env=env)
    assert house.secrets.hear_run([BUILD / "barnabas", "--diagnose", folder / "diagnosis", file], env=env).returncode == 0
    house.secrets.hear("the diagnosis", (folder / "diagnosis").read_bytes())


def stranger(make_broker, house, other):
    """A broker that the others do not let in, so that it cannot follow what it is to follow."""
    def each(broker):
        return {**house.settings(broker), "controlled.shutdown.enable": "false",
                "listener.name.between.scram-sha-512.sasl.jaas.config": f'{SCRAM} username="brokers" password="{house.wrong}";'}
    broker = make_broker(data="data-2", broker_id=2, each=each, start=False)
    broker.launch()
    wait_until(lambda: house.zookeeper.client.exists("/brokers/ids/2"), "the stranger")
    made = tool("kafka-topics", "--bootstrap-server", other.bootstrap, "--create", "--topic", "u", "--replica-assignment", "0:2")
    assert made.returncode == 0, made
    wait_until(lambda: "failed authentication due to" in broker.text(), "a login that fails")
    return broker


@pytest.mark.long
def test_no_secret_is_told(make_broker, house, tmp_path):
    house.make_credentials()
    brokers = [make_broker(data=f"data-{i}", broker_id=i, each=house.settings, default_replication_factor=2) for i in range(2)]
    first = brokers[0]
    wait_until(lambda: kcat(first, "-L").count("  broker ") == 2, "both brokers")
    kcat(first, "-P", "-t", "t", "-X", "acks=all", stdin="x\n")
    credentials_by_request(house, first)
    for door in first.doors["users"], first.doors["between"], first:
        by_passwords(house, door)
    send_frames(house, first.doors["inline"], [plain("alice", house.users["alice"])])
    by_scram_and_tokens(house, first.doors["users"])
    with_delegation_tokens(house, first.doors["users"])
    alter_at_run_time(house, first)
    for broker in brokers:
        described(house.secrets, broker)
        ask_by_http(house, broker)
        ask_of_its_state(broker)
        own_programs(house, broker, broker.data)
    run_tools(house, first, tmp_path)
    brokers.append(stranger(make_broker, house, first))
    for broker in brokers:
        assert broker.stop() == 0
        assert broker is not first or {"ALTER_USER_SCRAM_CREDENTIALS", "INCREMENTAL_ALTER_CONFIGS", "CREATE_DELEGATION_TOKEN"} <= logged_requests(broker)
        house.secrets.hear(broker.log.name, broker.text())
    house.secrets.check()
    kept = house.zookeeper.get("/config/brokers/0").decode()
    assert "PBKDF2" in kept and not [name for name, known in house.secrets.forms.items() if any(form in kept for form in known) and name != "a value of no key"]


@pytest.mark.parametrize("known", [True, False])
def test_no_secret_is_told_of_an_identity_provider(make_broker, provider, secrets, tmp_path, monkeypatch, known):  # noqa: F811
    """By a broker that logs in to itself with its tokens, and by one that gets none."""
    provider.secret, grant = secrets.new("the secret of the client"), provider.token
    mine = provider.secret if known else secrets.new("a wrong secret")
    monkeypatch.setattr(provider, "token", lambda user: secrets.know(f"token {len(secrets.forms)}", grant(user)))
    (tmp_path / "log4j.properties").write_text(ALL)

    def each(broker):
        broker.env["KAFKA_LOG4J_OPTS"] = f"-Dlog4j.configuration=file:{tmp_path / 'log4j.properties'}"
        return {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SASL_PLAINTEXT://localhost:{free_port()}", **BY_PROVIDER, "controlled.shutdown.enable": "false",
                **provider.keys(f'clientId="me" clientSecret="{mine}" scope="a b"'), "sasl.oauthbearer.token.endpoint.url": f"{provider.url}/token"}
    broker = make_broker(each=each, start=False)
    broker.launch()
    wait_until(lambda: logged_requests(broker) & {"UPDATE_METADATA"} if known else "401" in broker.text(), "the login, or its end")
    described(secrets, broker)
    broker.stop()
    secrets.hear("the log", broker.text())
    secrets.check()
    assert known == any(name.startswith("token") for name in secrets.forms)


# ---- Settings with which no broker starts ----

TEXT = "PLAINTEXT://127.0.0.1:0"
SASL = {"listeners": f"{TEXT},SASL_PLAINTEXT://127.0.0.1:0", "sasl.enabled.mechanisms": "PLAIN"}
JAAS = "listener.name.sasl_plaintext.plain.sasl.jaas.config"
TLS = {"listeners": f"{TEXT},SSL://127.0.0.1:0"}


def wrong_modules(bad):
    """What people write around a password, and in its place."""
    mine = f'{PLAIN} username="admin"'
    return [bad, f"{PLAIN} {bad};", f"{PLAIN[:-8]}{bad};", f'{PLAIN[:-9]} username="admin" password="{bad}";', f"{mine} password={bad};+", f'{mine} password="{bad}"',
            f'{mine} password="{bad};', f'{mine} password="a"{bad};', f'{mine} password="a"{bad}";', f'{mine} password="a" "{bad}";', f"{mine} password=a/{bad};",
            f"{mine} password=1{bad};", f'{mine} password="a";{bad}";', f'{mine} password="a"={bad};', f'{mine} "{bad}"=password;', f'{mine} password : "{bad}";',
            f"{mine} password={{{bad}}};", f'com.example.Mine required password="{bad}";', f'x.{PLAIN} y.{PLAIN} password="{bad}";',
            f'{mine} password="x";\\n{PLAIN} password="{bad}";']


def wrong_settings(house, bad):
    java = {f"listener.name.ssl.ssl.{k}": v for k, v in {"keystore.location": house.store_file, "keystore.password": house.store, "key.password": house.key,
                                                         "truststore.location": house.trust_file, "truststore.password": house.trust}.items()}
    pem = {"ssl.keystore.type": "PEM", "ssl.keystore.key": inline(house.pem_key), "ssl.keystore.certificate.chain": inline(house.pem_chain), "ssl.key.password": house.inline_key}
    for key in "keystore.password", "key.password", "truststore.password":
        yield {**TLS, **java, f"listener.name.ssl.ssl.{key}": bad}
    for key in "keystore.key", "keystore.certificate.chain", "key.password", "keystore.password":
        yield {**TLS, **pem, f"ssl.{key}": bad}
    yield {**TLS, **pem, "ssl.truststore.type": "PEM", "ssl.truststore.certificates": bad}
    yield {**TLS, **pem, "ssl.keystore.key": pem["ssl.keystore.key"].replace("\\n", bad)}
    yield {"barnabas.http.listeners": "METRICS://127.0.0.1:0", "barnabas.http.users": bad}
    yield {"barnabas.http.listeners": "METRICS://127.0.0.1:0", "barnabas.http.users": f"a:b,{bad}"}
    yield {"listener.name.plaintxt.ssl.key.password": bad}
    yield {"listener.name.PLAINTEXT.ssl.key.password": bad}
    yield {"listener.name.plaintext.ssl.key.passwrod": bad}
    yield {"listener.name.plaintext.foo.sasl.jaas.config": bad}
    yield {**house.locked.tls(), "zookeeper.ssl.keystore.location": house.folder / "zookeeper.pem", "zookeeper.ssl.keystore.password": bad}
    yield {**house.locked.tls(), "zookeeper.ssl.truststore.location": house.trust_file, "zookeeper.ssl.truststore.password": bad}
    yield {"config.providers": "dir", "config.providers.dir.class": "org.apache.kafka.common.config.provider.DirectoryConfigProvider", "config.providers.dir.param.word": bad,
           "delegation.token.secret.key": f"{bad}${{dir:/nowhere:x}}"}
    for jaas in wrong_modules(bad):
        yield {**SASL, JAAS: jaas}


def pasted(house, key):
    """Texts of more than one line, of which the ends were forgotten to be told."""
    return [{**TLS, "ssl.keystore.type": "PEM", "ssl.keystore.key": key}, {**SASL, JAAS: f'{PLAIN}\nusername="admin"\npassword="{house.wrong}";\nuser_admin="{house.wrong}";'},
            {**TLS, "ssl.key.password": f"\n{house.wrong}"}]


def hear_start(house, file, env):
    """What a broker says that is to start with these settings, or only to say whether it could. None starts: at last there is no ZooKeeper."""
    for command in ["--check", file], ["--diagnose", file.with_suffix(".diagnosis"), file], [file]:
        done = house.secrets.hear_run([BUILD / "barnabas", *command], env=env)
        assert done.returncode == 1 or len(command) > 1, (file.read_text(), done)
    if file.with_suffix(".diagnosis").exists():  # not if the file itself cannot be understood
        house.secrets.hear("the diagnosis", file.with_suffix(".diagnosis").read_bytes())


def test_no_secret_is_told_by_who_does_not_start(house, tmp_path):
    key = house.authority.issue("pasted").read_text()
    house.secrets.know_key("the pasted key", key)
    env = {k: v for k, v in {**os.environ, **house.env()}.items() if k != "KAFKA_OPTS"}
    for i, changes in enumerate([*wrong_settings(house, house.wrong), *pasted(house, key)]):
        file = tmp_path / f"{i}.properties"
        settings = {"zookeeper.connect": "127.0.0.1:1", "zookeeper.connection.timeout.ms": 100, "log.dirs": tmp_path / "data", "listeners": TEXT, **changes}
        file.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        hear_start(house, file, env)
    house.secrets.check()


def test_no_secret_of_a_jaas_file_is_told(house, tmp_path):
    """One that is not understood, and one with which ZooKeeper lets nobody in."""
    file, jaas, env = tmp_path / "server.properties", house.folder / "client.jaas", {**os.environ, **house.env()}
    file.write_text("".join(f"{k}={v}\n" for k, v in {"zookeeper.connect": house.zookeeper.connect, "log.dirs": tmp_path / "data", **SASL}.items()))
    for module in wrong_modules(house.wrong):
        for text in f"KafkaServer {{\n{module}\n}};\n", f"KafkaServer {{\n{module}\n}}\n{house.wrong}\n":
            jaas.write_text(text)
            house.secrets.hear_run([BUILD / "barnabas", "--check", file], env=env)
    jaas.write_text(f"KafkaServer {{ {PLAIN}; }};\n" + CLIENT % house.wrong)
    assert house.secrets.hear_run([BUILD / "barnabas", file], env=env).returncode == 1
    assert "does not let user kafka in" in "".join(house.secrets.told.values())
    house.secrets.check()
