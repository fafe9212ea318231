"""
Clients that we did not write, on encrypted listeners, by each way to log in: with the permissions of a producer and a consumer, and no
more. Each sends some records and gets them back as a member of a group.
"""

import asyncio

import aiokafka
import confluent_kafka
import kafka
import pytest
from aiokafka.helpers import create_ssl_context
from harness import FRANZ, JARS, JARS_4, PATIENCE, free_port, java, run
from test_security import authority, client_keys, server_keys, stores, tool  # noqa: F401

PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required"
USER, PASSWORD = "alice", 's=same "open"'
QUOTED = PASSWORD.replace('"', '\\"')
LINES = [f"line {i}" for i in range(100)]


@pytest.fixture
def secure(make_broker, authority, server_keys):  # noqa: F811
    """A broker with a listener for certificates and one for passwords, on which the user may use topics and groups that begin with t-."""
    ports = {"SSL": free_port(), "SASL_SSL": free_port()}

    def settings(b):
        both = ",".join([f"PLAINTEXT://127.0.0.1:{b.port}", *(f"{name}://localhost:{port}" for name, port in ports.items())])
        return {"listeners": both, **stores(server_keys, authority), "listener.name.ssl.ssl.client.auth": "required",
                "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer", "super.users": "User:ANONYMOUS",
                "ssl.principal.mapping.rules": "RULE:^.*CN=([a-z]*).*$/$1/,DEFAULT", "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
                "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{PLAIN} user_{USER}="{QUOTED}";'.replace("\\", "\\\\"),
                **{f"listener.name.sasl_ssl.scram-sha-{n}.sasl.jaas.config": f"{SCRAM};" for n in (256, 512)}}

    broker = make_broker(each=settings)
    for mechanism in "SCRAM-SHA-256", "SCRAM-SHA-512":
        change(broker, "kafka-configs", "--alter", "--entity-type", "users", "--entity-name", USER, "--add-config", f"{mechanism}=[password={PASSWORD}]")
    change(broker, "kafka-acls", "--add", "--allow-principal", f"User:{USER}", "--producer", "--consumer", "--topic", "t-", "--group", "t-",
           "--resource-pattern-type", "prefixed")
    broker.ports = ports
    return broker


def change(broker, name, *args):
    done = tool(name, "--bootstrap-server", broker.bootstrap, *args)
    assert done.returncode == 0, done


class Way:
    """One way in: where to go, by which mechanism or certificate."""

    def __init__(self, broker, mechanism, authority, client_keys):  # noqa: F811
        self.mechanism, self.authority, self.keys = mechanism, authority, client_keys
        self.protocol = "SASL_SSL" if mechanism else "SSL"
        self.bootstrap = f"localhost:{broker.ports[self.protocol]}"
        self.topic = f"t-{mechanism or 'certificate'}"


@pytest.fixture
def ways(secure, authority, client_keys):  # noqa: F811
    return [Way(secure, mechanism, authority, client_keys) for mechanism in ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", None)]


@pytest.mark.parametrize("jars", [JARS, JARS_4], ids=["3.9", "4"])
def test_java(ways, tmp_path, jars):
    producer = "kafka.tools.ConsoleProducer" if jars == JARS else "org.apache.kafka.tools.ConsoleProducer"
    for way in ways:
        lines = [f"security.protocol={way.protocol}", "ssl.truststore.type=PEM", f"ssl.truststore.location={way.authority.certificate}"]
        if way.mechanism:
            text = f'{PLAIN if way.mechanism == "PLAIN" else SCRAM} username="{USER}" password="{QUOTED}";'.replace("\\", "\\\\")
            lines += [f"sasl.mechanism={way.mechanism}", f"sasl.jaas.config={text}"]
        else:
            lines += ["ssl.keystore.type=PEM", f"ssl.keystore.location={way.keys}"]
        config = tmp_path / f"{way.topic}.properties"
        config.write_text("\n".join(lines) + "\n")
        java(producer, "--bootstrap-server", way.bootstrap, "--topic", way.topic, "--producer.config", config, jars=jars, stdin="".join(f"{x}\n" for x in LINES))
        out = java("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", way.bootstrap, "--topic", way.topic, "--group", way.topic,
                   "--consumer.config", config, "--from-beginning", "--max-messages", len(LINES), "--timeout-ms", 30000, jars=jars)
        assert [x for x in out.splitlines() if x.startswith("line")] == LINES, out


def test_librdkafka(ways):
    for way in ways:
        common = {"bootstrap.servers": way.bootstrap, "security.protocol": way.protocol, "ssl.ca.location": str(way.authority.certificate)}
        if way.mechanism:
            common.update({"sasl.mechanism": way.mechanism, "sasl.username": USER, "sasl.password": PASSWORD})
        else:
            common.update({"ssl.certificate.location": str(way.keys), "ssl.key.location": str(way.keys)})
        producer = confluent_kafka.Producer({**common, "enable.idempotence": True})
        for line in LINES:
            producer.produce(way.topic, line)
        assert producer.flush(PATIENCE) == 0
        consumer = confluent_kafka.Consumer({**common, "group.id": way.topic, "auto.offset.reset": "earliest"})
        consumer.subscribe([way.topic])
        got = []
        while len(got) < len(LINES):
            message = consumer.poll(PATIENCE)
            assert message is not None and message.error() is None, message and message.error()
            got.append(message.value().decode())
        consumer.close()
        assert got == LINES


def test_franz_go(ways):
    for way in ways:
        if way.mechanism:  # it is not told of certificates
            env = {"FRANZ_CA": str(way.authority.certificate), "FRANZ_LOGIN": f"{way.mechanism}:{USER}:{PASSWORD}"}
            assert run([FRANZ, way.bootstrap, way.topic, way.topic, 100], env=env) == "100 records\n"


def test_kafka_python(ways):
    for way in ways:
        common = {"bootstrap_servers": way.bootstrap, "security_protocol": way.protocol, "ssl_cafile": str(way.authority.certificate), "api_version": (2, 5)}
        if way.mechanism:
            common.update(sasl_mechanism=way.mechanism, sasl_plain_username=USER, sasl_plain_password=PASSWORD)
        else:
            common.update(ssl_certfile=str(way.keys), ssl_keyfile=str(way.keys))
        producer = kafka.KafkaProducer(**common)
        for line in LINES:
            producer.send(way.topic, line.encode())
        producer.flush(PATIENCE)
        producer.close()
        consumer = kafka.KafkaConsumer(way.topic, **common, group_id=way.topic, auto_offset_reset="earliest", consumer_timeout_ms=30000)
        got = [next(consumer).value.decode() for _ in LINES]
        consumer.close()
        assert got == LINES


async def there_and_back(way):
    context = create_ssl_context(cafile=str(way.authority.certificate), **({} if way.mechanism else {"certfile": str(way.keys), "keyfile": str(way.keys)}))
    common = {"bootstrap_servers": way.bootstrap, "security_protocol": way.protocol, "ssl_context": context}
    if way.mechanism:
        common.update(sasl_mechanism=way.mechanism, sasl_plain_username=USER, sasl_plain_password=PASSWORD)
    async with aiokafka.AIOKafkaProducer(**common, enable_idempotence=True) as producer:
        for line in LINES:
            await producer.send_and_wait(way.topic, line.encode())
    async with aiokafka.AIOKafkaConsumer(way.topic, **common, group_id=way.topic, auto_offset_reset="earliest") as consumer:
        return [(await consumer.getone()).value.decode() for _ in LINES]


def test_aiokafka(ways):
    for way in ways:
        assert asyncio.run(asyncio.wait_for(there_and_back(way), PATIENCE)) == LINES


def test_what_is_not_theirs(ways):
    """They have a name that may do nothing else."""
    way = ways[0]
    producer = confluent_kafka.Producer({"bootstrap.servers": way.bootstrap, "security.protocol": way.protocol, "ssl.ca.location": str(way.authority.certificate),
                                         "sasl.mechanism": way.mechanism, "sasl.username": USER, "sasl.password": PASSWORD})
    failed = []
    producer.produce("other", "x", on_delivery=lambda error, _: failed.append(error.code()))
    producer.flush(PATIENCE)
    assert failed == [confluent_kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED]
