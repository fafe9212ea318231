"""A cluster behind locks: brokers log in to each other and clients to them, by SCRAM over TLS, and each may do what it is allowed to."""

import os
import subprocess

from certificates import Authority
from harness import BUILD, free_port, wait_until

MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required"
MECHANISM = "SCRAM-SHA-512"
BROKER = "broker"  # the user that brokers are


class Locks:
    """
    What the brokers of a cluster have in common. Clients come to the listener CLIENTS, brokers to INTERNAL. The plain one is for the eyes of
    the tests, which may do everything. `env` is for tools that ask ZooKeeper.
    """

    def __init__(self, zookeeper, folder, env=None):
        self.authority, self.ports = Authority(folder / "locks"), {}
        self.keys = self.authority.issue("server")
        zookeeper.client.ensure_path("/")
        run("kafka-configs", "--zookeeper", zookeeper.connect, *new_user(BROKER), env=env)

    def settings(self, broker):
        name, plain = broker.properties["broker.id"], broker.properties["listeners"]
        self.ports[name] = free_port()
        both = f"INTERNAL://localhost:{free_port()},CLIENTS://localhost:{self.ports[name]}"
        return {"listeners": f"{plain},{both}", "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:SASL_SSL,CLIENTS:SASL_SSL",
                "inter.broker.listener.name": "INTERNAL", "sasl.enabled.mechanisms": MECHANISM, "sasl.mechanism.inter.broker.protocol": MECHANISM,
                **self.stores("keystore", self.keys), **self.stores("truststore", self.authority.certificate),
                "listener.name.internal.scram-sha-512.sasl.jaas.config": module(BROKER),
                "listener.name.clients.scram-sha-512.sasl.jaas.config": f"{MODULE};",
                "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": f"User:{BROKER};User:ANONYMOUS"}

    @staticmethod
    def stores(which, file):
        return {f"ssl.{which}.type": "PEM", f"ssl.{which}.location": file}

    @property
    def bootstrap(self):
        return ",".join(f"localhost:{port}" for port in self.ports.values())

    def librdkafka(self, user):
        return {"bootstrap.servers": self.bootstrap, "security.protocol": "SASL_SSL", "ssl.ca.location": str(self.authority.certificate),
                "sasl.mechanism": MECHANISM, "sasl.username": user, "sasl.password": password(user)}

    def java(self, user):
        return {"bootstrap.servers": self.bootstrap, "security.protocol": "SASL_SSL", **self.stores("truststore", self.authority.certificate),
                "sasl.mechanism": MECHANISM, "sasl.jaas.config": module(user)}


def password(user):
    return f"password of {user}"


def module(user):
    return f'{MODULE} username="{user}" password="{password(user)}";'


def new_user(user):
    return "--alter", "--entity-type", "users", "--entity-name", user, "--add-config", f"{MECHANISM}=[password={password(user)}]"


def run(name, *args, env=None):
    done = subprocess.run([BUILD / "barnabas-tool", name, *map(str, args)], capture_output=True, text=True, env={**os.environ, **(env or {})})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def let_in(brokers, user, *rights):
    """A user with a password and these rights: arguments of kafka-acls, as a text each. All brokers know them then."""
    run("kafka-configs", "--bootstrap-server", brokers[0].bootstrap, *new_user(user))
    for right in rights:
        run("kafka-acls", "--bootstrap-server", brokers[0].bootstrap, "--add", "--allow-principal", f"User:{user}", *right.split())

    def knows(broker):
        return run("kafka-acls", "--bootstrap-server", broker.bootstrap, "--list", "--principal", f"User:{user}")

    first = sorted(knows(brokers[0]).splitlines())
    for b in brokers[1:]:
        wait_until(lambda: sorted(knows(b).splitlines()) == first, f"what {user} may do at broker {b.properties['broker.id']}")


def denials(brokers):
    """What was asked for and not allowed, by the logs of brokers of ours."""
    return [line for b in brokers for line in b.text().splitlines() if " is Denied " in line]
