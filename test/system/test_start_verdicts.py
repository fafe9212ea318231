"""
What keeps a broker from starting: files of settings with which Apache's broker and ours are started. Ours refuses what Apache's refuses, and says which key it is.
Where it refuses more, the row says why. It takes minutes: with BARNABAS_START_VERDICTS=1.
"""

import os
import subprocess

import pytest
from harness import Apache, Barnabas, accepts, free_port, kcat, wait_until
from test_security import authority, server_keys, stores  # noqa: F401 (fixtures)

pytestmark = pytest.mark.skipif("BARNABAS_START_VERDICTS" not in os.environ, reason="it takes minutes")

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
BROKERS = f'{PLAIN} username="admin" password="secret" user_admin="secret";'
JAAS = "listener.name.sasl_plaintext.plain.sasl.jaas.config"
AUTHORIZER = {"authorizer.class.name": "kafka.security.authorizer.AclAuthorizer"}
SASL_BETWEEN = {"security.inter.broker.protocol": "SASL_PLAINTEXT", "sasl.mechanism.inter.broker.protocol": "PLAIN"}
SOCKET = {"zookeeper.clientCnxnSocket": "org.apache.zookeeper.ClientCnxnSocketNetty"}

PROTECTS_NOBODY = "who comes there could not be served, as nothing of it would be protected"
NOBODY_LOOKS = "Apache's looks at that for no connection, so the listener would be less protected than somebody meant"


def listening(*protocols, **more):
    return {"listeners": ",".join(f"{p}://127.0.0.1:{free_port()}" for p in ("PLAINTEXT", *protocols)), **more}


class Files:
    """Stores that rows name: those of PEM, and one of Java's format with the password sesame."""

    def __init__(self, folder, authority, keys):  # noqa: F811
        self.folder, self.stranger, self.pem = folder, authority.issue("stranger"), stores(keys, authority)
        p12 = folder / "keys.p12"
        subprocess.run(["openssl", "pkcs12", "-export", "-in", keys, "-out", p12, "-passout", "pass:sesame", "-name", "k"], check=True)
        self.java = {"ssl.keystore.location": p12, "ssl.keystore.password": "sesame", "ssl.keystore.type": "PKCS12"}
        other = folder / "other"
        other.mkdir()
        self.distrusting = {**self.pem, "ssl.truststore.location": type(authority)(other, "other").certificate}


def tls(f, **more):
    return listening("SSL", **f.pem, **more)


def sasl(_=None, jaas=BROKERS, mechanisms="PLAIN", **more):
    return listening("SASL_PLAINTEXT", **{"sasl.enabled.mechanisms": mechanisms, JAAS: jaas, **more})


def without(settings, *keys):
    return {k: v for k, v in settings.items() if k not in keys}


GOOD = {
    "plain": lambda f: listening(),
    "tls": lambda f: tls(f, **{"ssl.client.auth": "required", "ssl.principal.mapping.rules": "RULE:^CN=(.*?),.*$/$1/L,DEFAULT"}),
    "tls_java_store": lambda f: listening("SSL", **f.java),
    "tls_between": lambda f: tls(f, **{"security.inter.broker.protocol": "SSL"}),
    "tls_cipher_suites": lambda f: tls(f, **{"ssl.cipher.suites": "TLS_AES_256_GCM_SHA384,TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ssl.enabled.protocols": "TLSv1.2,TLSv1.3"}),
    "sasl_between": lambda f: sasl(**SASL_BETWEEN),
    "scram": lambda f: listening("SASL_PLAINTEXT", **{"sasl.enabled.mechanisms": "SCRAM-SHA-512", "listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config":
                                                      "org.apache.kafka.common.security.scram.ScramLoginModule required;"}),
    "authorizer": lambda f: listening(**AUTHORIZER, **{"super.users": "User:ANONYMOUS;User:CN=a,O=b"}),
    "names": lambda f: {"listeners": f"IN://127.0.0.1:{free_port()},OUT://127.0.0.1:{free_port()}", "listener.security.protocol.map": "IN:PLAINTEXT,OUT:PLAINTEXT",
                        "inter.broker.listener.name": "IN"},
    "odd_case_of_names": lambda f: {"listeners": f"in://127.0.0.1:{free_port()}", "listener.security.protocol.map": "In:plaintext", "inter.broker.listener.name": "iN"},
}

# Settings, what our message names, and why ours refuses them if Apache's does not.
BAD = {
    # Stores
    "no_store": (lambda f: listening("SSL"), "ssl.keystore.location", PROTECTS_NOBODY),
    "store_password": (lambda f: listening("SSL", **{**f.java, "ssl.keystore.password": "wrong"}), "keys.p12"),
    "store_not_there": (lambda f: listening("SSL", **{**f.java, "ssl.keystore.location": "/no/such"}), "/no/such"),
    "store_type": (lambda f: listening("SSL", **{**f.java, "ssl.keystore.type": "FOO"}), "ssl.keystore.type"),
    "store_type_is_not_that_of_the_file": (lambda f: tls(f) | {"ssl.keystore.type": "pem"}, "ssl.keystore.type"),
    "store_no_password": (lambda f: listening("SSL", **without(f.java, "ssl.keystore.password")), "keystore.password"),
    "store_is_pem": (lambda f: tls(f, **{}) | {"ssl.keystore.type": "PKCS12", "ssl.keystore.password": "x"}, "keystore"),
    "pem_with_a_password": (lambda f: tls(f) | {"ssl.keystore.password": "x"}, "ssl.keystore.password"),
    "pem_inline_and_in_a_file": (lambda f: tls(f) | {"ssl.keystore.key": "x"}, "ssl.keystore.location"),
    "pem_inline_without_a_chain": (lambda f: listening("SSL", **{"ssl.keystore.type": "PEM", "ssl.keystore.key": "x"}), "ssl.keystore.certificate.chain"),
    "trust_not_there": (lambda f: tls(f) | {"ssl.truststore.location": "/no/such"}, "/no/such"),
    "trust_password": (lambda f: tls(f) | {"ssl.truststore.password": "x"}, "ssl.truststore.password"),
    "trust_type": (lambda f: tls(f) | {"ssl.truststore.type": "FOO"}, "ssl.truststore.type"),
    "between_not_trusted": (lambda f: listening("SSL", **f.distrusting, **{"security.inter.broker.protocol": "SSL"}), "SSL"),
    # TLS
    "protocol": (lambda f: tls(f, **{"ssl.protocol": "TLSv9"}), "ssl.protocol"),
    "enabled_protocols": (lambda f: tls(f, **{"ssl.enabled.protocols": "TLSv9"}), "ssl.enabled.protocols", PROTECTS_NOBODY),
    "cipher_suites": (lambda f: tls(f, **{"ssl.cipher.suites": "NO_SUCH"}), "ssl.cipher.suites", PROTECTS_NOBODY),
    "client_auth_case": (lambda f: tls(f, **{"ssl.client.auth": "Required"}), "ssl.client.auth"),
    "client_auth": (lambda f: tls(f, **{"ssl.client.auth": "always"}), "ssl.client.auth"),
    "client_auth_of_a_listener": (lambda f: tls(f, **{"listener.name.ssl.ssl.client.auth": "Required"}), "listener.name.ssl.ssl.client.auth"),
    "client_auth_of_no_listener": (lambda f: tls(f, **{"listener.name.tls.ssl.client.auth": "required"}), "listener.name.tls.ssl.client.auth", NOBODY_LOOKS),
    "client_auth_of_a_listener_in_upper_case": (lambda f: tls(f, **{"listener.name.SSL.ssl.client.auth": "required"}), "listener.name.SSL.ssl.client.auth", NOBODY_LOOKS),
    "key_of_a_listener": (lambda f: tls(f, **{"listener.name.ssl.ssl.client.aut": "required"}), "listener.name.ssl.ssl.client.aut", NOBODY_LOOKS),
    "mapping_rules": (lambda f: tls(f, **{"ssl.principal.mapping.rules": "RULE:x"}), "ssl.principal.mapping.rules"),
    "mapping_rules_without_tls": (lambda f: listening(**{"ssl.principal.mapping.rules": "RULE:^CN=(.*$/$1"}), "ssl.principal.mapping.rules",
                                  "of a slip one hears at once, not when there is a listener that needs them"),
    "engine": (lambda f: tls(f, **{"ssl.engine.factory.class": "com.example.Engine"}), "ssl.engine.factory.class"),
    "provider": (lambda f: tls(f, **{"ssl.provider": "Foo"}), "ssl.provider"),
    "random": (lambda f: tls(f, **{"ssl.secure.random.implementation": "Foo"}), "ssl.secure.random.implementation"),
    "key_manager": (lambda f: tls(f, **{"ssl.keymanager.algorithm": "Foo"}), "ssl.keymanager.algorithm"),
    "trust_manager": (lambda f: tls(f, **{"ssl.trustmanager.algorithm": "Foo"}), "ssl.trustmanager.algorithm"),
    # SASL
    "no_jaas": (lambda f: listening("SASL_PLAINTEXT", **{"sasl.enabled.mechanisms": "PLAIN"}), "KafkaServer"),
    "jaas_without_prefix": (lambda f: listening("SASL_PLAINTEXT", **{"sasl.enabled.mechanisms": "PLAIN", "sasl.jaas.config": BROKERS}), "KafkaServer"),
    "jaas_without_flag": (lambda f: sasl(jaas=BROKERS.replace("required ", "")), JAAS),
    "jaas_without_end": (lambda f: sasl(jaas=BROKERS[:-1]), JAAS),
    "jaas_twice": (lambda f: sasl(jaas=BROKERS + BROKERS), JAAS),
    "jaas_class": (lambda f: sasl(jaas="com.example.Module required;"), JAAS),
    "jaas_denied_class": (lambda f: sasl(jaas="com.sun.security.auth.module.JndiLoginModule required;"), JAAS),
    "jaas_of_another_mechanism": (lambda f: sasl(jaas="org.apache.kafka.common.security.scram.ScramLoginModule required;"), JAAS, PROTECTS_NOBODY),
    "mechanism": (lambda f: sasl(mechanisms="PLAIN,FOO", **{"listener.name.sasl_plaintext.foo.sasl.jaas.config": BROKERS}), "foo", PROTECTS_NOBODY),
    "no_mechanism": (lambda f: sasl(mechanisms=""), "sasl.enabled.mechanisms", PROTECTS_NOBODY),
    "mechanism_between": (lambda f: sasl(**{**SASL_BETWEEN, "sasl.mechanism.inter.broker.protocol": "SCRAM-SHA-256"}), "sasl.mechanism.inter.broker.protocol"),
    "callback": (lambda f: sasl(**{"listener.name.sasl_plaintext.plain.sasl.server.callback.handler.class": "com.example.Mine"}), "sasl.server.callback.handler.class"),
    "login_class": (lambda f: sasl(**{"listener.name.sasl_plaintext.plain.sasl.login.class": "com.example.Mine"}), "sasl.login.class"),
    "delay": (lambda f: sasl(**{"connection.failed.authentication.delay.ms": 600000, "connections.max.idle.ms": 600000}), "connection.failed.authentication.delay.ms"),
    # Listeners
    "protocol_of_a_listener": (lambda f: listening("FOO"), "FOO"),
    "protocol_of_the_map": (lambda f: listening("FOO", **{"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,FOO:BAR"}), "listener.security.protocol.map"),
    "listener_twice": (lambda f: listening("PLAINTEXT"), "listeners"),
    "port_twice": (lambda f: {"listeners": f"PLAINTEXT://127.0.0.1:{(p := free_port())},SSL://127.0.0.1:{p}", **f.pem}, "listeners"),
    "advertised_nowhere": (lambda f: listening(**{"advertised.listeners": "OTHER://localhost:1"}), "advertised.listeners"),
    "between_protocol": (lambda f: listening(**{"security.inter.broker.protocol": "FOO"}), "security.inter.broker.protocol"),
    "between_protocol_without_listener": (lambda f: listening(**{"security.inter.broker.protocol": "SSL"}), "SSL"),
    "between_name": (lambda f: listening(**{"inter.broker.listener.name": "NOWHERE"}), "inter.broker.listener.name"),
    "between_name_and_protocol": (lambda f: listening(**{"inter.broker.listener.name": "PLAINTEXT", "security.inter.broker.protocol": "PLAINTEXT"}), "inter.broker.listener.name"),
    "control_plane": (lambda f: listening(**{"control.plane.listener.name": "PLAINTEXT"}), "control.plane.listener.name"),
    # Who may do what
    "authorizer_class": (lambda f: listening(**{"authorizer.class.name": "com.example.Mine"}), "authorizer.class.name"),
    "super_users": (lambda f: listening(**AUTHORIZER, **{"super.users": "admin"}), "super.users"),
    "builder": (lambda f: listening(**{"principal.builder.class": "com.example.Mine"}), "principal.builder.class"),
    "quota_callback": (lambda f: listening(**{"client.quota.callback.class": "com.example.Mine"}), "client.quota.callback.class"),
    "overrides_per_ip": (lambda f: listening(**{"max.connections.per.ip.overrides": "127.0.0.1"}), "max.connections.per.ip.overrides"),
    # ZooKeeper
    "zookeeper_acls": (lambda f: listening(**{"zookeeper.set.acl": "true"}), "zookeeper.set.acl"),
    "zookeeper_tls_without_socket": (lambda f: listening(**{"zookeeper.ssl.client.enable": "true"}), "zookeeper.clientCnxnSocket",
                                     "Apache's goes to ZooKeeper all the same, without TLS"),
    "zookeeper_store_not_there": (lambda f: listening(**SOCKET, **{"zookeeper.ssl.client.enable": "true", "zookeeper.ssl.keystore.location": "/no/such"}), "/no/such"),
    "zookeeper_host_check": (lambda f: listening(**SOCKET, **{"zookeeper.ssl.client.enable": "true", "zookeeper.ssl.endpoint.identification.algorithm": "FOO"}),
                             "zookeeper.ssl.endpoint.identification.algorithm"),
    # Secrets
    "encoder_length": (lambda f: listening(**{"password.encoder.secret": "x", "password.encoder.key.length": 1}), "password.encoder.key.length"),
    "provider_of_values": (lambda f: listening(**{"config.providers": "x", "config.providers.x.class": "com.example.Mine"}), "config.providers.x.class"),
}


@pytest.fixture(scope="session")
def files(tmp_path_factory, authority, server_keys):  # noqa: F811
    return Files(tmp_path_factory.mktemp("stores"), authority, server_keys)


def verdict(broker):
    """Whether it serves, or has ended; Apache's registers before it has all its parts."""
    if not broker.is_running():
        return "ends"
    return accepts(broker.port) and "(controller)" in kcat(broker, "-L", check=False) and "serves"


def starts(broker):
    broker.port = int(broker.properties["listeners"].split(",")[0].rsplit(":", 1)[1])
    broker.launch()
    return wait_until(lambda: verdict(broker), "its verdict") == "serves"


def verdicts(ensemble, folder, settings):
    """Apache's and ours, each in a cluster of its own, and ours."""
    found = []
    for kind in Apache, Barnabas:
        chroot = ensemble.chroot()
        broker = kind(chroot, folder / kind.__name__, folder / f"{kind.__name__}.log", {"zookeeper.connection.timeout.ms": 6000})
        broker.properties.update(settings)
        try:
            found.append(starts(broker))
        finally:
            broker.kill()
            chroot.close()
    return *found, broker


@pytest.mark.parametrize("name", GOOD)
def test_what_both_start_with(ensemble, tmp_path, files, name):
    theirs, ours, broker = verdicts(ensemble, tmp_path, GOOD[name](files))
    assert theirs and ours, (theirs, broker.text())


@pytest.mark.parametrize("name", BAD)
def test_what_ours_does_not_start_with(ensemble, tmp_path, files, name):
    settings, named, *why = BAD[name]
    theirs, ours, broker = verdicts(ensemble, tmp_path, settings(files))
    fatal = [line for line in broker.text().splitlines() if " FATAL " in line]
    assert not ours and any(named in line for line in fatal), (theirs, fatal, broker.text())
    assert theirs == bool(why), "a reason is for what Apache's starts with" if why else "Apache's broker starts with it"
