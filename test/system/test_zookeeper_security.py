"""ZooKeeper behind a lock: TLS and logins between it and the brokers, and znodes that only brokers may change."""

import json
import os
import subprocess

import pytest
from kazoo.exceptions import NoAuthError

from certificates import Authority, openssl
from harness import BUILD, TOP, Apache, Barnabas, ZooKeeper, accepts, free_port, jvm, kcat, wait_until, while_it_is_open, while_it_runs

SERVER = """
Server {
    org.apache.zookeeper.server.auth.DigestLoginModule required user_kafka="let \\"me\\" in" user_other="other";
};
"""
CLIENT = """
Client {
    org.apache.zookeeper.server.auth.DigestLoginModule required username="kafka" password="%s";
};
"""
PASSWORD = 'let \\"me\\" in'


class LockedZooKeeper(ZooKeeper):
    """It speaks TLS at a port of its own, and asks who comes there for a certificate; it knows users at both."""

    def __init__(self, folder, authority, **certificate):
        super().__init__(folder)
        self.authority, self.secure_port = authority, free_port()
        self.store = authority.issue("zookeeper", **certificate)

    def start(self):
        config, jaas = self.folder / "zoo.cfg", self.folder / "server.jaas"
        jaas.write_text(SERVER)
        config.write_text(f"""
dataDir={self.folder / 'zk-data'}
clientPort={self.port}
clientPortAddress=127.0.0.1
secureClientPort={self.secure_port}
secureClientPortAddress=127.0.0.1
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location={self.store}
ssl.trustStore.location={self.authority.certificate}
authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
authProvider.x509=org.apache.zookeeper.server.auth.X509AuthenticationProvider
tickTime=500
maxClientCnxns=0
admin.enableServer=false
""")
        self.spawn([*jvm(f"-Djava.security.auth.login.config={jaas}", archived=False),
                    "org.apache.zookeeper.server.quorum.QuorumPeerMain", config])
        wait_until(lambda: accepts(self.port) and accepts(self.secure_port), f"ZooKeeper\n{self.text()}")

    def tls(self, store=None, trust=None):
        keys = {"client.enable": "true", "truststore.location": trust or self.authority.certificate}
        if store:
            keys["keystore.location"] = store
        return {"zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
                **{f"zookeeper.ssl.{k}": str(v) for k, v in keys.items()}}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def locked(tmp_path_factory, authority):
    yield from while_it_runs(LockedZooKeeper(tmp_path_factory.mktemp("locked"), authority))


@pytest.fixture
def zookeeper(locked):
    yield from while_it_is_open(locked.chroot())


def login(folder, password=PASSWORD):
    path = folder / "client.jaas"
    path.write_text(CLIENT % password)
    return {"KAFKA_OPTS": f"-Djava.security.auth.login.config={path}"}


def through_tls(zookeeper, locked):
    return zookeeper.connect.replace(f"127.0.0.1:{locked.port}", f"127.0.0.1:{locked.secure_port}")


def acls(zookeeper, path):
    return {(acl.id.scheme, acl.id.id, acl.perms) for acl in zookeeper.client.get_acls(path)[0]}


def starting(zookeeper, folder, env=None, kind=Barnabas, **properties):
    broker = kind(zookeeper, folder / "data", folder / "broker.log", {})
    broker.properties.update({"delegation.token.secret.key": "shared", **properties})
    broker.env = env or {}
    return broker


def check_acls(zookeeper, owner):
    ours, everyone = (*owner, 31), ("world", "anyone", 1)
    for path in "/", "/brokers", "/brokers/ids/0", "/controller", "/cluster/id", "/config/topics", "/delegation_token/token_changes":
        assert acls(zookeeper, path) == {ours, everyone}, path
    for path in "/config/users", "/config/brokers", "/delegation_token/tokens":
        with pytest.raises(NoAuthError):  # nobody else may read what is in them, nor their ACLs
            zookeeper.client.get_acls(path)
    assert acls(zookeeper, "/consumers") == {("world", "anyone", 31)}


def test_a_certificate_makes_znodes_ones_own(zookeeper, locked, authority, tmp_path):
    store = authority.issue("kafka", "/CN=kafka/O=brokers")
    broker = starting(zookeeper, tmp_path, **locked.tls(store), **{"zookeeper.set.acl": "true", "zookeeper.connect": through_tls(zookeeper, locked),
                      "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "allow.everyone.if.no.acl.found": "true"})
    broker.start()
    check_acls(zookeeper, ("x509", "O=brokers,CN=kafka"))
    assert broker.stop() == 0
    broker.check_log()


@pytest.mark.parametrize("kind", [Barnabas, Apache])
def test_an_encrypted_key_is_opened_by_the_password_of_its_store(zookeeper, locked, authority, tmp_path, kind):
    """As ZooKeeper's clients have it, for PEM; that of a store without a key is for nothing."""
    plain, store = authority.issue("secret"), tmp_path / "store.pem"
    key = openssl("pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES", "-in", plain, "-passout", "pass:sesame")  # which Java 17 takes for PEM
    store.write_bytes(key + openssl("x509", "-in", plain))
    passwords = {f"zookeeper.ssl.{which}.password": "sesame" for which in ("keystore", "truststore")}
    broker = starting(zookeeper, tmp_path, kind=kind, **locked.tls(store), **passwords,
                      **{"zookeeper.set.acl": "true", "zookeeper.connect": through_tls(zookeeper, locked)})
    broker.start()
    assert ("x509", "CN=secret", 31) in acls(zookeeper, "/brokers")
    broker.stop()
    broker.check_log()


def test_a_password_makes_znodes_ones_own(zookeeper, tmp_path):
    broker = starting(zookeeper, tmp_path, login(tmp_path), **{"zookeeper.set.acl": "true"})
    broker.start()
    check_acls(zookeeper, ("sasl", "kafka"))
    broker.stop()
    broker.check_log()
    assert 'let "me"' not in broker.text() and PASSWORD not in broker.text()


def test_logs_in_again_when_zookeeper_is_back(authority, tmp_path):
    (tmp_path / "zk").mkdir()
    zk = LockedZooKeeper(tmp_path / "zk", authority)
    zk.start()
    chroot = zk.chroot()
    store = authority.issue("again")
    broker = starting(chroot, tmp_path, login(tmp_path), **zk.tls(store), **{"zookeeper.set.acl": "true", "zookeeper.connect": through_tls(chroot, zk)})
    broker.start()
    zk.kill()
    wait_until(lambda: "The connection to ZooKeeper is lost" in broker.text(), "the loss")
    zk.start()
    wait_until(lambda: broker.text().count("Connected to ZooKeeper") == 2, "the return")
    kcat(broker, "-P", "-t", "after", stdin="x\n")  # makes a topic, as somebody who may
    assert ("sasl", "kafka", 31) in acls(chroot, "/brokers/topics/after")
    broker.stop()
    chroot.close()
    zk.stop()
    broker.check_log()


def test_shares_znodes_with_apaches_broker(zookeeper, tmp_path):
    env, brokers = login(tmp_path), []
    for number, kind in enumerate((Apache, Barnabas)):
        folder = tmp_path / str(number)
        folder.mkdir()
        broker = starting(zookeeper, folder, env, kind, **{"zookeeper.set.acl": "true", "broker.id": str(number)})
        if kind is Apache:
            command = jvm(*env["KAFKA_OPTS"].split(), heap=512)
            broker.launch = lambda b=broker, c=command: b.spawn([*c, "kafka.Kafka", b.write_config()], {})
        broker.start()
        brokers.append(broker)
    apache, ours = brokers
    apache.stop()
    wait_until(lambda: json.loads(zookeeper.get("/controller"))["brokerid"] == 1, "our controller")
    kcat(ours, "-P", "-t", "t", stdin="x\n")
    for path in "/brokers/topics/t", "/controller_epoch", "/brokers/ids/1":
        assert acls(zookeeper, path) == {("sasl", "kafka", 31), ("world", "anyone", 1)}, path
    ours.stop()
    ours.check_log()


def test_javas_properties_say_the_same(zookeeper, locked, authority, tmp_path):
    properties = {"zookeeper.client.secure": "true", "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty",
                  "zookeeper.ssl.keyStore.location": authority.issue("java"), "zookeeper.ssl.trustStore.location": authority.certificate}
    env = {"KAFKA_OPTS": " ".join(f"-D{k}={v}" for k, v in properties.items())}
    broker = starting(zookeeper, tmp_path, env, **{"zookeeper.connect": through_tls(zookeeper, locked), "zookeeper.set.acl": "true"})
    broker.start()
    assert ("x509", "CN=java", 31) in acls(zookeeper, "/brokers")
    broker.stop()
    broker.check_log()


def test_tools_go_by_tls_too(zookeeper, locked, authority, tmp_path):
    file = tmp_path / "tls.properties"
    file.write_text("".join(f"{k}={v}\n" for k, v in locked.tls(authority.issue("tool")).items()))
    zookeeper.client.ensure_path("/config/users")
    said = subprocess.run([TOP / "bin" / "kafka-configs.sh", "--zookeeper", through_tls(zookeeper, locked), "--zk-tls-config-file", file, "--alter", "--entity-type", "users",
                           "--entity-name", "u", "--add-config", "SCRAM-SHA-256=[password=p]"], env={**os.environ, "BARNABAS_BUILD": str(BUILD)}, capture_output=True, text=True)
    assert said.returncode == 0 and "Completed updating config" in said.stdout, said
    with pytest.raises(NoAuthError):
        zookeeper.get("/config/users/u")


def test_the_shell_goes_by_tls_too(zookeeper, locked, authority, tmp_path):
    file = tmp_path / "tls.properties"
    file.write_text("".join(f"{k}={v}\n" for k, v in locked.tls(authority.issue("shell")).items()))
    zookeeper.client.create("/there", b"seen", makepath=True)

    def shell(*words, stdin=None):
        return subprocess.run([TOP / "bin" / "zookeeper-shell.sh", through_tls(zookeeper, locked), *words], env={**os.environ, "BARNABAS_BUILD": str(BUILD)},
                              input=stdin, capture_output=True, text=True, timeout=60)
    for out in shell("-zk-tls-config-file", file, "get", "/there"), shell("get", "/there", "-zk-tls-config-file", file), shell("-zk-tls-config-file", file, stdin="get /there\n"):
        assert out.returncode == 0 and out.stdout.splitlines()[-1] == "seen", out
    missing = shell("get", "/there", "-zk-tls-config-file")
    assert missing.returncode == 1 and missing.stderr == "Error: no filename provided with option -zk-tls-config-file\n"


def test_znodes_are_given_to_brokers_and_back(zookeeper, tmp_path):
    def migrate(acl, *more, env=login(tmp_path)):
        return subprocess.run([TOP / "bin" / "zookeeper-security-migration.sh", f"--zookeeper.acl={acl}", "--zookeeper.connect", zookeeper.connect, *more],
                              env={**os.environ, "BARNABAS_BUILD": str(BUILD), **env}, capture_output=True, text=True)

    zookeeper.client.create("/brokers/topics/t/partitions/0", makepath=True)
    zookeeper.client.create("/consumers/group", makepath=True)
    zookeeper.client.create("/config/users/u", makepath=True)
    assert migrate("secure", env={}).returncode == 1
    missing = migrate("secure", "--enable.path.check")
    assert missing.returncode == 1 and "is missing" in missing.stderr
    assert migrate("secure").returncode == 0
    for path in "/", "/brokers", "/brokers/topics/t/partitions/0", "/kafka-acl-changes":
        assert acls(zookeeper, path) == {("sasl", "kafka", 31), ("world", "anyone", 1)}, path
    with pytest.raises(NoAuthError):
        zookeeper.get("/config/users/u")
    assert acls(zookeeper, "/consumers/group") == {("world", "anyone", 31)}
    assert migrate("unsecure", "--enable.path.check").returncode == 0
    for path in "/", "/brokers/topics/t/partitions/0", "/config/users/u":
        assert acls(zookeeper, path) == {("world", "anyone", 31)}, path


def refused(broker):
    broker.launch()
    assert broker.process.wait(60) == 1
    fatal = [line for line in broker.text().splitlines() if "FATAL" in line]
    assert fatal and "Sanitizer" not in broker.text(), broker.text()
    return "\n".join(fatal)


def test_a_wrong_password_ends_the_start(zookeeper, tmp_path):
    why = refused(starting(zookeeper, tmp_path, login(tmp_path, "guess")))
    assert "does not let user kafka in: user or password are wrong" in why and "guess" not in why


def test_a_stranger_in_zookeepers_place_is_told_nothing(zookeeper, locked, authority, tmp_path):
    other = Authority(tmp_path / "other", "other")
    broker = starting(zookeeper, tmp_path, **locked.tls(authority.issue("k"), other.certificate),
                      **{"zookeeper.connect": through_tls(zookeeper, locked), "zookeeper.connection.timeout.ms": "3000"})
    assert "do not agree on TLS: certificate refused" in refused(broker)


def test_a_certificate_for_another_host_is_none(tmp_path):
    """Unless it is not to be asked for whom it is, by a key or a property."""
    authority = Authority(tmp_path / "ca")
    zk = LockedZooKeeper(tmp_path / "ca", authority, hosts=("DNS:elsewhere.test",))
    zk.start()
    chroot = zk.chroot()
    keys = {**zk.tls(authority.issue("k")), "zookeeper.connect": through_tls(chroot, zk)}

    def start(name, env=None, **more):
        (tmp_path / name).mkdir()
        return starting(chroot, tmp_path / name, env, **{**keys, **more})
    said = refused(start("strict", **{"zookeeper.connection.timeout.ms": "3000"}))
    assert "do not agree on TLS: certificate refused" in said, said
    off = "zookeeper.ssl.endpoint.identification.algorithm", "-Dzookeeper.ssl.hostnameVerification=false"
    for broker in start("key", **{off[0]: ""}), start("property", {"KAFKA_OPTS": off[1]}):
        broker.start()
        assert broker.stop() == 0
    chroot.close()
    zk.stop()


@pytest.mark.parametrize("keys, why", [
    ({"zookeeper.set.acl": "true"}, "zookeeper.set.acl is true, but ZooKeeper is not told who this broker is"),
    ({"zookeeper.ssl.client.enable": "true"}, "needs zookeeper.clientCnxnSocket"),
    ({"zookeeper.ssl.client.enable": "true", "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty", "zookeeper.ssl.ocsp.enable": "true"},
     "cannot ask whether a certificate was revoked"),
    ({"zookeeper.ssl.client.enable": "true", "zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty", "zookeeper.ssl.protocol": "TLSv9"},
     "there is no protocol TLSv9"),
])
def test_refuses_what_it_cannot_do(zookeeper, tmp_path, keys, why):
    assert why in refused(starting(zookeeper, tmp_path, **keys))
