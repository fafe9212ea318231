"""kafka-jmx, which reads our broker by HTTP, says what Apache's says of Apache's broker by JMX."""

import re
import subprocess

import pytest
from certificates import Authority
from harness import BUILD, TOP, Apache, free_port, run_tool
from test_tools import script

JMX_TOOL = "org.apache.kafka.tools.JmxTool"
REPLICAS = "kafka.server:type=ReplicaManager"
PARTITIONS, LEADERS = f"{REPLICAS},name=PartitionCount", f"{REPLICAS},name=LeaderCount"


class Told:
    """A broker's beans, by the tool that reads them."""

    def __init__(self, broker, url):
        self.broker, self.url = broker, url

    def ours(self, *args, code=0):
        out = script("kafka-jmx", "--jmx-url", self.url, *args, code=code)
        return out, script.errors

    def theirs(self, *args, code=0):
        done = run_tool(JMX_TOOL, "--jmx-url", self.url, *args)
        assert done.returncode == code, done
        return done.stdout, done.stderr


def rmi(port):
    return f"service:jmx:rmi:///jndi/rmi://127.0.0.1:{port}/jmxrmi"


@pytest.fixture
def ours(make_broker):
    port = free_port()
    return Told(make_broker(**{"barnabas.http.listeners": f"RAW://127.0.0.1:{port}"}), rmi(port))


@pytest.fixture
def theirs(make_broker):
    def by_jmx(broker):
        properties = ["", f".port={port}", f".rmi.port={port}", ".authenticate=false", ".ssl=false"]
        broker.env["JDK_JAVA_OPTIONS"] = " ".join(f"-Dcom.sun.management.jmxremote{x}" for x in properties) + " -Djava.rmi.server.hostname=127.0.0.1"
        return {}

    port = free_port()
    return Told(make_broker(kind=Apache, data="theirs", each=by_jmx, broker_id=1), rmi(port))


def without_time(text):
    return re.sub(r"(?m)^(time[=,\t]\"?)?\d{13}", r"\1TIME", text)


def test_beans_as_apaches_tool_prints_apaches(ours, theirs):
    one = ["--object-name", PARTITIONS, "--one-time"]
    every = ["--object-name", f"{REPLICAS},name=*", "--reporting-interval", -1]
    for args in (one, [*one, "true"], [*one, "--report-format", "properties"], [*one, "--object-name", LEADERS, "--report-format", "CSV"], every,
                 [*every, "--report-format", "tsv"], [*every, "--attributes", "Value,Count"], [*one, "--attributes", "Value,"], [*one, "--attributes", "Nope"],
                 [*one, "--attributes", "Value,Nope"], [*one, "--report-format", "frob"],
                 ["--object-name", "kafka.server:name=PartitionCount,type=ReplicaManager", "--object-name", "kafka.server:type=KafkaServer,name=BrokerState",
                  "--wait", "--one-time"],
                 ["--object-name", "kafka.server:type=socket-server-metrics,*", "--attributes", "failed-authentication-total,reauthentication-latency-avg", "--one-time"],  # NaN
                 ["--object-name", "kafka.server:type=BrokerTopicMetrics,name=BytesRejectedPerSec", "--one-time", "--report-format", "properties"]):
        said = [without_time(x.replace(t.url, "URL")) for t, call in ((ours, ours.ours), (theirs, theirs.theirs)) for x in call(*args)]
        assert said[:2] == said[2:], args
    for form in "yyyy-MM-dd'T'EEE", "yy D, 'o''clock' '' MMMM":
        day = ours.ours(*one, "--date-format", form, "--report-format", "properties")[0].splitlines()[0]
        assert day in theirs.theirs(*one, "--date-format", form, "--report-format", "properties")[0]


def test_what_is_not_there_as_apaches(ours, theirs):
    once = ["--one-time", "--object-name"]
    for args in ([*once, "kafka.server:type=Nope"], [*once, "kafka.server:type=Nope,*"], [*once, "kafka.server:type=Nope", "--attributes", "Value"],
                 [*once, f"{REPLICAS},name=*", "--attributes", "Nope"], [*once, PARTITIONS, "--date-format", "Q"],
                 [*once, "kafka.server:type=Nope", "--object-name", PARTITIONS, "--wait"]):
        said = [(out, list(dict.fromkeys(x for x in errors.replace(t.url, "URL").splitlines() if x and not x.startswith(("\tat", "java.")))))
                for t, call in ((ours, ours.ours), (theirs, theirs.theirs)) for out, errors in [call(*args, code=1)]]
        assert said[0] == said[1], args
    for url in ("frob", "service:jmx:rmi:///jndi/ldap://x"):
        script("kafka-jmx", "--jmx-url", url, "--one-time", code=1)
    script("kafka-jmx", "--jmx-url", "frob", "--one-time", code=1)
    assert script.errors == "Service URL must start with service:jmx:\n"


def test_it_goes_on_until_it_is_ended(ours):
    url = ours.url.replace("service:jmx:rmi:///jndi/rmi", "http").replace("/jmxrmi", "")
    tool = subprocess.Popen([BUILD / "barnabas-tool", "kafka-jmx", "--jmx-url", url, "--object-name", PARTITIONS, "--reporting-interval", "10"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    lines = [tool.stdout.readline() for _ in range(4)]
    tool.kill()
    tool.communicate()
    assert lines[0] == f'"time","{PARTITIONS}:Value"\n'
    assert all(re.fullmatch(r"\d{13},0\n", line) for line in lines[1:])
    assert script("kafka-jmx", "--jmx-url", url, "--one-time", "--report-format", "properties").count("\nkafka.") > 3000  # all beans


def test_by_tls_and_with_a_password(make_broker, tmp_path):
    authority, port = Authority(tmp_path / "ca"), free_port()
    make_broker(**{"barnabas.http.listeners": f"RAW://127.0.0.1:{port}", "barnabas.http.ssl.enable": "true", "barnabas.http.users": "scraper:s=:cret",
                   "ssl.keystore.type": "PEM", "ssl.keystore.location": authority.issue("server")})
    env = {"BARNABAS_BUILD": str(BUILD), "PATH": "/usr/bin:/bin",
           "KAFKA_OPTS": f"-Djavax.net.ssl.trustStore={authority.certificate} -Djavax.net.ssl.trustStoreType=PEM"}
    args = [TOP / "bin" / "kafka-jmx.sh", "--jmx-url", rmi(port), "--object-name", PARTITIONS, "--one-time", "--jmx-ssl-enable", "true", "--jmx-auth-prop"]
    done = subprocess.run([*args, "scraper=s=:cret"], env=env, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, f'"time","{PARTITIONS}:Value"'), done.stderr
    done = subprocess.run([*args, "scraper=wrong"], env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "401" in done.stderr and done.stderr.endswith(f"Could not connect to JMX url {rmi(port)} after 10000 ms.\n")
