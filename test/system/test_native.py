"""The broker's own names: by Prometheus' rules, with true histograms, and fit for whoever reads OpenMetrics."""

import re
import socket
import ssl
import subprocess

import pytest
from certificates import Authority
from harness import TOP, free_port, wait_until
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from test_exporter import RECORDS, SIZE, load, scrape, told  # noqa: F401 (a fixture)

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"


def table(text, parse=parse_text):
    """{(name, labels): value}, of a text that is read by Prometheus' own library."""
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in parse(text) for s in f.samples}


def of(values, name, **labels):
    return values[(name, tuple(sorted(labels.items())))]


def buckets(values, name, **labels):
    """[(bound, values up to it)], ascending."""
    found = [(float(dict(l)["le"]), v) for (n, l), v in values.items() if n == f"{name}_bucket" and labels.items() <= dict(l).items()]
    return sorted(found)


def test_each_name_is_in_the_documentation():
    made = {name for source in (TOP / "src" / "exporter").glob("*.c") for name in re.findall(r'"(barnabas_\w+)[" {]', source.read_text())}
    told_of = set(re.findall(r"^\| `(barnabas_\w+)`", (TOP / "doc" / "metrics.md").read_text(), re.MULTILINE))
    assert made - told_of == set(), "the table in doc/metrics.md has no row for these"
    assert told_of - made == set(), "src/exporter makes none of these"


def test_names_are_by_prometheus_rules(told):  # noqa: F811
    load(told)
    text = scrape(told.http, "metrics/native?partitions=1")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    names = {name for name, _ in table(text)}
    assert {n for n in names if not n.startswith(("barnabas_", "process_"))} == set()
    assert "barnabas_partition_size_bytes" in names
    assert not [n for n, _ in table(scrape(told.http, "metrics/native")) if n.startswith("barnabas_partition_")]
    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE barnabas_")}
    assert families <= set(re.findall(r"^\| `(\w+)`", (TOP / "doc" / "metrics.md").read_text(), re.MULTILINE))
    whole = {n for n, _ in table(scrape(told.http))}
    assert whole >= {n for n in names if not n.startswith("barnabas_partition_")} - {"process_threads"}


def test_openmetrics(told):  # noqa: F811
    load(told)
    text = scrape(told.http, "metrics/native", Accept=OPENMETRICS)
    assert text.endswith("# EOF\n") and "# TYPE barnabas_requests counter\n" in text
    assert {n for n, _ in table(text, parse_openmetrics)} == {n for n, _ in table(scrape(told.http, "metrics/native"))}
    for path in ("metrics", "metrics/raw"):  # whose names are not fit for it
        assert "# EOF" not in scrape(told.http, path, Accept=OPENMETRICS)


def test_histograms_are_true(told):  # noqa: F811
    load(told)
    values = table(scrape(told.http, "metrics/native"))
    family = "barnabas_request_duration_seconds"
    phases = ("queue", "local", "remote", "response_queue", "send")
    for request in ("Produce", "FetchConsumer", "Metadata"):
        count = of(values, f"{family}_count", request=request, phase="total")
        assert count > 0 and {of(values, f"{family}_count", request=request, phase=p) for p in phases} == {count}
        total = of(values, f"{family}_sum", request=request, phase="total")
        assert abs(sum(of(values, f"{family}_sum", request=request, phase=p) for p in phases) - total) < 1e-6
        found = buckets(values, family, request=request, phase="total")
        assert found == sorted(found, key=lambda b: b[1]) and found[-1] == (float("inf"), count)
        bounds = [b for b, _ in found]
        at_least = sum((n - before) * low for (_, n), (_, before), low in zip(found[1:], found, bounds))
        assert at_least / 1.07 <= total  # a value is known to one part in sixteen
        assert count == sum(v for (n, l), v in values.items() if n == "barnabas_requests_total" and dict(l)["request"] == request)
    assert not [l for n, l in values if n == f"{family}_count" and dict(l)["request"] == "Fetch"]  # it would be counted twice
    assert buckets(values, family, request="StopReplica", phase="total") and not buckets(values, family, request="Vote")


def test_counts_and_states(told):  # noqa: F811
    load(told)
    values = table(scrape(told.http, "metrics/native?partitions=1"))
    assert of(values, "barnabas_topic_records_total", topic="t") == RECORDS
    size = sum(of(values, "barnabas_partition_size_bytes", topic="t", partition=str(p)) for p in (0, 1))
    assert of(values, "barnabas_topic_bytes_total", topic="t", direction="in") == size < RECORDS * SIZE
    assert of(values, "barnabas_topic_bytes_total", topic="t", direction="out") == size
    assert of(values, "barnabas_request_results_total", request="Produce", error="NONE") >= 3
    for name, value in {"barnabas_controller_active": 1, "barnabas_zookeeper_connected": 1, "barnabas_under_replicated_partitions": 0,
                        "barnabas_broker_state": 3, "barnabas_partitions": 8, "barnabas_build_info": 1}.items():
        assert [v for (n, _), v in values.items() if n == name] == [value], name
    assert 0 < of(values, "barnabas_zookeeper_session_age_seconds") < 600
    loops = {dict(l)["loop"] for n, l in values if n == "barnabas_loop_turns_total"}
    assert loops and all(of(values, "barnabas_loop_idle_seconds_total", loop=i) > 0 for i in loops)
    opened, closed, now = (sum(v for (n, _), v in values.items() if n == f"barnabas_connections{end}") for end in ("_opened_total", "_closed_total", ""))
    assert opened - closed == now > 0


def test_certificates_end(make_broker, tmp_path):
    authority, port = Authority(tmp_path / "ca"), free_port()

    def settings(broker):
        return {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SSL://127.0.0.1:0"}
    make_broker(each=settings, **{"barnabas.http.listeners": f"NATIVE://127.0.0.1:{port}", "ssl.keystore.type": "PEM", "ssl.keystore.location": authority.issue("server")})
    said = subprocess.run(["openssl", "x509", "-enddate", "-noout", "-in", authority.folder / "server.crt"], capture_output=True, text=True, check=True).stdout
    end = ssl.cert_time_to_seconds(said.strip().removeprefix("notAfter="))
    found = {l: v for (n, l), v in table(scrape(port)).items() if n == "barnabas_tls_certificate_expiry_timestamp_seconds"}
    assert found == {(("listener", "SSL"),): end}


def test_who_encrypts(make_broker, tmp_path):
    """Connections, by listener and by who encrypts what is sent on them; a handshake that comes to nothing is none."""
    authority, port = Authority(tmp_path / "ca"), free_port()
    secure = {"SSL": free_port(), "QUIET": free_port()}

    def settings(broker):
        return {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port}," + ",".join(f"{name}://127.0.0.1:{p}" for name, p in secure.items()),
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SSL:SSL,QUIET:SSL"}
    make_broker(each=settings, **{"barnabas.http.listeners": f"NATIVE://127.0.0.1:{port}", "ssl.keystore.type": "PEM", "ssl.keystore.location": authority.issue("server"), "ssl.ktls": "off"})
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.check_hostname = False
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", secure["SSL"])) as raw, context.wrap_socket(raw):
            pass
    with socket.create_connection(("127.0.0.1", secure["SSL"])) as raw, pytest.raises(ssl.SSLError):
        ssl.create_default_context().wrap_socket(raw, server_hostname="localhost")

    def counts():
        return {(dict(l)["listener"], dict(l)["encrypted_by"]): v for (n, l), v in table(scrape(port)).items() if n == "barnabas_tls_connections_total"}
    wait_until(lambda: counts() == {("SSL", "broker"): 3, ("SSL", "kernel"): 0, ("QUIET", "broker"): 0, ("QUIET", "kernel"): 0}, "the counts")
