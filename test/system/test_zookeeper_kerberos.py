"""Brokers and tools that ZooKeeper knows by their tickets."""

import os
import socket
import subprocess
import time
import uuid

import pytest

from harness import BUILD, TOP, Apache, Barnabas, Chroot, ZooKeeper, accepts, jvm, kcat, run, wait_until, while_it_is_open, while_it_runs
from kdc import REALM, Kdc
from test_zookeeper_security import acls, login, refused, starting

MODULE = "com.sun.security.auth.module.Krb5LoginModule required"
SASL = "authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider\n"
PRINCIPAL = f"kafka/localhost@{REALM}"
TICKET_LIFE = 3  # seconds


@pytest.fixture(scope="module")
def kdc(tmp_path_factory):
    found = Kdc(tmp_path_factory.mktemp("kdc"))
    found.start()
    found.tables = {p: found.add(p) for p in ("zookeeper/localhost", "kafka/localhost", "other/zk", "short")}
    found.do("kadmin.local", "-q", f"modprinc -maxlife {TICKET_LIFE}s short")
    yield found
    found.stop()


class KerberizedZooKeeper(ZooKeeper):
    """A strict one answers nobody who has not logged in."""

    def __init__(self, folder, kdc, strict=False, principal="zookeeper/localhost"):
        super().__init__(folder)
        self.kdc, self.strict, self.principal = kdc, strict, principal

    def start(self):
        config, jaas = self.folder / "zoo.cfg", self.folder / "server.jaas"
        jaas.write_text(f'Server {{ {MODULE} isInitiator=false useKeyTab=true storeKey=true keyTab="{self.kdc.tables[self.principal]}" principal="{self.principal}@{REALM}"; }};\n')
        config.write_text(f"dataDir={self.folder / 'zk-data'}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\ntickTime=500\nmaxClientCnxns=0\n"
                          f"admin.enableServer=false\n{SASL}" + ("sessionRequireClientSASLAuth=true\n" if self.strict else ""))
        options = f"-Djava.security.auth.login.config={jaas}", *self.kdc.broker_env["KAFKA_OPTS"].split()
        self.spawn([*jvm(*options, archived=False), "org.apache.zookeeper.server.quorum.QuorumPeerMain", config])
        wait_until(lambda: accepts(self.port), f"ZooKeeper\n{self.text()}")


@pytest.fixture(scope="module")
def kerberized(tmp_path_factory, kdc):
    yield from while_it_runs(KerberizedZooKeeper(tmp_path_factory.mktemp("kerberized"), kdc))


@pytest.fixture
def zookeeper(kerberized):
    yield from while_it_is_open(kerberized.chroot())


def by_options(kdc, folder, options, *properties):
    """The environment of who logs in by a module with these options."""
    jaas = folder / f"{uuid.uuid4().hex[:8]}.jaas"
    jaas.write_text(f"Client {{ {MODULE} {options}; }};\n")
    return {"KAFKA_OPTS": " ".join([f"-Djava.security.auth.login.config={jaas}", kdc.broker_env["KAFKA_OPTS"], *properties])}


def by_table(kdc, folder, principal="kafka/localhost", table=None, *properties):
    return by_options(kdc, folder, f'useKeyTab=true storeKey=true keyTab="{table or kdc.tables[principal]}" principal="{principal}@{REALM}"', *properties)


def script(name, *args, env):
    return subprocess.run([TOP / "bin" / f"{name}.sh", *map(str, args)], env={**os.environ, "BARNABAS_BUILD": str(BUILD), **env}, capture_output=True, text=True)


def test_znodes_belong_to_the_principal(zookeeper, kdc, tmp_path):
    broker = starting(zookeeper, tmp_path, by_table(kdc, tmp_path), **{"zookeeper.set.acl": "true", "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer",
                                                                        "allow.everyone.if.no.acl.found": "true"})
    broker.start()
    for path in "/", "/brokers/ids/0", "/controller", "/kafka-acl":
        assert acls(zookeeper, path) == {("sasl", PRINCIPAL, 31), ("world", "anyone", 1)}, path
    assert broker.stop() == 0
    broker.check_log()


def test_shares_znodes_with_apaches_broker(zookeeper, kdc, tmp_path):
    env, brokers = by_table(kdc, tmp_path), []
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
    kcat(ours, "-P", "-t", "t", stdin="x\n")
    for path in "/brokers/topics/t", "/controller", "/brokers/ids/1":
        assert acls(zookeeper, path) == {("sasl", PRINCIPAL, 31), ("world", "anyone", 1)}, path
    ours.stop()
    ours.check_log()


@pytest.fixture
def strict(kdc, tmp_path):
    (tmp_path / "zk").mkdir()
    yield from while_it_runs(KerberizedZooKeeper(tmp_path / "zk", kdc, strict=True))


def logged_in_for_a_moment(strict, kdc, folder):
    """A broker, ZooKeeper gone from under it, with tickets that are over."""
    broker = starting(Chroot(f"127.0.0.1:{strict.port}"), folder, by_table(kdc, folder, "short"))
    broker.start()
    kcat(broker, "-P", "-t", "before", stdin="x\n")
    over = time.time() + TICKET_LIFE
    strict.kill()
    wait_until(lambda: "The connection to ZooKeeper is lost" in broker.text(), "the loss")
    wait_until(lambda: time.time() > over, "the tickets' end")
    return broker


def test_logs_in_again_with_new_tickets(strict, kdc, tmp_path):
    """Each connection begins with a login, or nothing would be answered on it."""
    broker = logged_in_for_a_moment(strict, kdc, tmp_path)
    strict.start()
    wait_until(lambda: broker.text().count("Connected to ZooKeeper") == 2, f"the return\n{broker.text()[-3000:]}")
    kcat(broker, "-P", "-t", "after", stdin="x\n")
    assert script("zookeeper-shell", f"127.0.0.1:{strict.port}", "ls", "/brokers/topics", env=by_table(kdc, tmp_path)).stdout.splitlines()[-1] == "[after, before]"
    assert broker.stop() == 0
    broker.check_log()


def test_tickets_of_a_cache_are_renewed(strict, kdc, tmp_path):
    """As long as that may be, while they are needed for nothing."""
    kdc.login("kafka/localhost", kdc.tables["kafka/localhost"], "-l", f"{2 * TICKET_LIFE}s", "-r", "1h")
    over = time.time() + 2 * TICKET_LIFE
    env = {**by_options(kdc, tmp_path, "useTicketCache=true"), "KRB5CCNAME": kdc.env["KRB5CCNAME"]}
    broker = starting(Chroot(f"127.0.0.1:{strict.port}"), tmp_path, env, **{"sasl.kerberos.ticket.renew.window.factor": "0.1", "sasl.kerberos.min.time.before.relogin": "1000"})
    broker.start()
    wait_until(lambda: "The tickets of the usual cache are renewed" in broker.text(), "the renewal")
    strict.kill()
    wait_until(lambda: time.time() > over, "the end of those that were there at the start")
    strict.start()
    wait_until(lambda: broker.text().count("Connected to ZooKeeper") == 2, f"the return\n{broker.text()[-3000:]}")
    run(["kdestroy"], env=kdc.env)
    wait_until(lambda: "cannot be renewed" in broker.text(), "it to be told")
    assert broker.stop() == 0
    broker.check_log()


def test_a_kdc_that_hangs_holds_up_nothing_else(strict, kdc, tmp_path):
    broker = logged_in_for_a_moment(strict, kdc, tmp_path)
    kdc.stop()
    with socket.create_server(("127.0.0.1", kdc.port)):
        strict.start()
        wait_until(lambda: "a KDC or a name service does not answer" in broker.text(), "it to be told")
        kcat(broker, "-P", "-t", "before", stdin="y\n")
    kdc.serve()
    wait_until(lambda: broker.text().count("Connected to ZooKeeper") == 2, f"the return\n{broker.text()[-3000:]}")
    assert broker.stop() == 0
    broker.check_log()


@pytest.mark.parametrize("how", ["table", "cache"])
def test_tools_log_in_too(strict, kdc, tmp_path, how):
    there, env = f"127.0.0.1:{strict.port}", by_table(kdc, tmp_path)
    if how == "cache":
        kdc.login("kafka/localhost", kdc.tables["kafka/localhost"])
        env = {**by_options(kdc, tmp_path, "useTicketCache=true"), "KRB5CCNAME": kdc.env["KRB5CCNAME"]}
    assert script("zookeeper-shell", there, "create", "/config", env=env).stdout.splitlines()[-1] == "Created /config"
    made = script("kafka-configs", "--zookeeper", there, "--alter", "--entity-type", "users", "--entity-name", "u", "--add-config", "SCRAM-SHA-256=[password=p]", env=env)
    assert made.returncode == 0 and "Completed updating config" in made.stdout, made
    secured = script("zookeeper-security-migration", "--zookeeper.acl=secure", "--zookeeper.connect", there, env=env)
    assert secured.returncode == 0, secured
    other = script("zookeeper-shell", there, "get", "/config/users/u", env=by_table(kdc, tmp_path, "short"))
    assert other.returncode == 1 and "Insufficient permission" in other.stderr, other


def test_the_servers_principal_as_properties_have_it(kdc, tmp_path):
    """Its host is that of its address, if it is not named otherwise."""
    zk = KerberizedZooKeeper(tmp_path, kdc, strict=True, principal="other/zk")
    zk.start()

    def ls(*properties):
        return script("zookeeper-shell", f"127.0.0.1:{zk.port}", "ls", "/", env=by_table(kdc, tmp_path, "kafka/localhost", None, *properties))
    for properties in (["-Dzookeeper.server.principal=other/zk"], [f"-Dzookeeper.server.principal=other/zk@{REALM}", "-Dzookeeper.server.realm=NO.WHERE"]):
        assert ls(*properties).returncode == 0, properties
    for properties, asked in ((["-Dzookeeper.sasl.client.username=others"], f"others/localhost@{REALM}"),
                              (["-Dzookeeper.sasl.client.username=others", "-Dzookeeper.sasl.client.canonicalize.hostname=false"], f"others/127.0.0.1@{REALM}"),
                              (["-Dzookeeper.server.principal=other/zk", "-Dzookeeper.server.realm=NO.WHERE"], "NO.WHERE")):
        out = ls(*properties)
        assert out.returncode == 1 and asked in out.stderr, (properties, out)
    assert "is not SERVICE/HOST" in ls("-Dzookeeper.server.principal=zookeeper").stderr
    zk.stop()


def test_does_not_start_without_keys(zookeeper, kdc, tmp_path):
    kdc.tables["old"] = kdc.add("old")
    stale = tmp_path / "stale.keytab"
    stale.write_bytes(kdc.tables["old"].read_bytes())
    kdc.tables["old"].unlink()
    kdc.add("old")  # with another key
    for env, why in ((by_table(kdc, tmp_path, "kafka/localhost", "/no/such"), "the section Client of the JAAS file: the key table /no/such"),
                     (by_table(kdc, tmp_path, "stranger", kdc.tables["short"]), f"the key table {kdc.tables['short']}"),
                     (by_options(kdc, tmp_path, ""), "neither useKeyTab=true and keyTab nor useTicketCache"),
                     (by_table(kdc, tmp_path, "old", stale), f"does not let principal old@{REALM} in: no tickets by {stale}"),
                     (login(tmp_path), "does not let user kafka in")):
        assert why in refused(starting(zookeeper, tmp_path, env)), why
