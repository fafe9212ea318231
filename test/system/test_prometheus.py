"""What is shipped for Prometheus and Grafana, with a real Prometheus: each alert fires and clears, and each query finds what it asks for."""

import functools
import itertools
import json
import math
import re
import subprocess
import urllib.error
import urllib.parse
import urllib.request

import pytest
from certificates import Authority
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from harness import PATIENCE, TOP, Process, free_port, wait_until
from test_exporter import status

DASHBOARDS, ALERTS = TOP / "contrib" / "grafana", TOP / "contrib" / "prometheus" / "alerts.yml"

# ---- Alerts, on made-up series ----

REQUESTS, LATENCY = "barnabas_request_results_total", "barnabas_request_duration_seconds_bucket"
SLOW = [(f'{LATENCY}{{request="Produce",phase="total",le="1.0"}}', "0+0x40"), (f'{LATENCY}{{request="Produce",phase="total",le="2.5"}}', "0+60x40"),
        (f'{LATENCY}{{request="Produce",phase="total",le="+Inf"}}', "0+60x40")]
FLUSH = "barnabas_log_flush_duration_seconds_bucket"

# What has an alert fire within half an hour, a value a minute; and what is all right.
CASES = {
    "BrokerDown": ([("up", "1 0x40")], [("up", "1x40")]),
    "OfflinePartitions": ([("barnabas_controller_offline_partitions", "0 2x40")], [("barnabas_controller_offline_partitions", "0x40")]),
    "UnderMinIsr": ([("barnabas_under_min_isr_partitions", "0 1x40")], [("barnabas_under_min_isr_partitions", "1 0x40")]),
    "UnderReplicated": ([("barnabas_under_replicated_partitions", "3x40")], [("barnabas_under_replicated_partitions", "0x20 3x5 0x10")]),
    "NoController": ([("barnabas_controller_active", "0x40")], [("barnabas_controller_active", "1x40"), ('barnabas_controller_active{other="1"}', "0x40")]),
    "UncleanElection": ([("barnabas_controller_unclean_elections_total", "0x25 1x15")], [("barnabas_controller_unclean_elections_total", "7x40")]),
    "LogDirectoryOffline": ([("barnabas_log_directory_offline", "1x40")], [("barnabas_log_directory_offline", "0x40")]),
    "ZooKeeperDisconnected": ([("barnabas_zookeeper_connected", "0x40")], [("barnabas_zookeeper_connected", "1x40")]),
    "ZooKeeperSessionLost": ([("barnabas_zookeeper_expirations_total", "0x20 1x20")], [("barnabas_zookeeper_expirations_total", "5x40")]),
    "IsrFlaps": ([('barnabas_isr_changes_total{change="shrink"}', "0+3x40")], [('barnabas_isr_changes_total{change="shrink"}', "0x5 9x35"),
                                                                             ('barnabas_isr_changes_total{change="expand"}', "0+3x40")]),
    "LoopBusy": ([("barnabas_loop_idle_ratio", "0.02x40")], [("barnabas_loop_idle_ratio", "0.7x40")]),
    "WorkersBusy": ([("barnabas_worker_idle_seconds_total", "0+2x40")], [("barnabas_worker_idle_seconds_total", "0+50x40")]),
    "FlushSlow": ([(f'{FLUSH}{{le="2.5"}}', "0x40"), (f'{FLUSH}{{le="5.0"}}', "0+9x40"), (f'{FLUSH}{{le="+Inf"}}', "0+9x40")],
                  [(f'{FLUSH}{{le="2.5"}}', "0+9x40"), (f'{FLUSH}{{le="+Inf"}}', "0+9x40")]),
    "FewDescriptors": ([("process_open_fds", "95x40"), ("process_max_fds", "100x40")], [("process_open_fds", "40x40"), ("process_max_fds", "100x40")]),
    "ControllerBehind": ([("barnabas_controller_queued_events", "500x40")], [("barnabas_controller_queued_events", "500 5x40")]),
    "Uncleanable": ([("barnabas_cleaner_uncleanable_partitions", "1x40")], [("barnabas_cleaner_uncleanable_partitions", "0x40")]),
    "ProduceSlow": (SLOW, [(series.replace("Produce", "FetchConsumer"), values) for series, values in SLOW]),
    "ProduceFails": ([(REQUESTS + '{request="Produce",error="NONE"}', "0+90x40"), (REQUESTS + '{request="Produce",error="NOT_LEADER_OR_FOLLOWER"}', "0+10x40")],
                     [(REQUESTS + '{request="Produce",error="NONE"}', "0+90x40"), (REQUESTS + '{request="Metadata",error="NOT_CONTROLLER"}', "0+90x40")]),
    "FollowerBehind": ([("barnabas_replication_max_lag_records", "1e6x40")], [("barnabas_replication_max_lag_records", "12x40")]),
    "GroupBehind": ([('barnabas_group_lag_seconds{group="g",topic="t",partition="0"}', "900x40")], [('barnabas_group_lag_seconds{group="g",topic="t",partition="0"}', "3x40")]),
    "LateTransactions": ([("barnabas_late_transaction_partitions", "1x40")], [("barnabas_late_transaction_partitions", "0x40")]),
    "AuthenticationFails": ([('barnabas_authentications_total{result="failure"}', "0+600x40")], [('barnabas_authentications_total{result="success"}', "0+600x40")]),
    "CertificateEnds": ([("barnabas_tls_certificate_expiry_timestamp_seconds", "86400x40")], [("barnabas_tls_certificate_expiry_timestamp_seconds", "9e9x40")]),
}


def series(name, values):
    labels = 'job="barnabas",instance="b1"'
    name = f"{name[:-1]},{labels}}}" if name.endswith("}") else f"{name}{{{labels}}}"
    return {"series": name, "values": values}


def fires(alert, times):
    return {"expr": f'count(ALERTS{{alertname="Barnabas{alert}",alertstate="firing"}}) or vector(0)', "eval_time": "30m",
            "exp_samples": [{"labels": "{}", "value": times}]}


def test_each_alert_fires_and_clears(tmp_path):
    named = set(re.findall(r"alert: Barnabas(\w+)", ALERTS.read_text()))
    assert named == set(CASES)
    tests = [{"name": f"{alert} {'fires' if bad else 'does not'}", "interval": "1m", "input_series": [series(*s) for s in given], "promql_expr_test": [fires(alert, bad)]}
             for alert, cases in CASES.items() for bad, given in zip((1, 0), cases)]
    path = tmp_path / "tests.yml"
    path.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    for what in (["check", "rules", ALERTS], ["test", "rules", path]):
        done = subprocess.run(["promtool", *map(str, what)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_dashboards_are_as_they_are_made():
    subprocess.run([DASHBOARDS / "generate.py", "--check"], check=True)


# ---- Queries, of a cluster ----

# Nothing is found, and why.
EMPTY = {
    "barnabas_topic_failed_requests_total": "nobody asked in vain",
    "barnabas_topic_conversions_total": "all formats are today's",
    "barnabas_client_throttle_seconds": "nobody has to wait",
}


class Prometheus(Process):
    def __init__(self, folder, targets):
        super().__init__(folder / "prometheus.log")
        self.folder, self.port, self.targets, self.rules = folder, free_port(), targets, ALERTS

    def start(self):
        config = {"global": {"scrape_interval": "1s", "evaluation_interval": "1s"}, "rule_files": [str(self.rules)],
                  "scrape_configs": [{"job_name": "barnabas", "static_configs": [{"targets": self.targets}]}]}
        path = self.folder / "prometheus.yml"
        path.write_text(json.dumps(config))
        self.spawn(["prometheus", f"--config.file={path}", f"--storage.tsdb.path={self.folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{self.port}"], {})
        wait_until(self.is_ready, "Prometheus")

    def is_ready(self):
        try:
            return status(self.port, "-/ready") == 200
        except urllib.error.URLError:
            return False

    def ask(self, path, **arguments):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as e:
            raise AssertionError(f"{arguments}: {e.read().decode()}") from e

    def finds(self, query):
        """Something that is a number."""
        return any(not math.isnan(float(r["value"][1])) for r in self.ask("query", query=query)["result"])


def queries_of(dashboard):
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield re.fullmatch(r"label_values\((.*), \w+\)", variable["query"]["query"]).group(1)
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@functools.cache
def queries():
    found = {q for path in DASHBOARDS.glob("*.json") for q in queries_of(json.loads(path.read_text()))}
    return sorted(q.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*").replace("$topic", ".*").replace("$group", ".*") for q in found)


def serve(brokers):
    """Records for a topic with copies, each flushed, of which a group has read some; and more topics, which ZooKeeper hears of."""
    servers = {"bootstrap.servers": brokers[0].bootstrap}
    admin = AdminClient(servers)
    admin.create_topics([NewTopic("t", 4, 2, config={"flush.messages": "1"})])["t"].result()
    numbers = itertools.count()
    producer = Producer({**servers, "client.id": "p", "linger.ms": 5})
    member = Consumer({**servers, "group.id": "g", "auto.offset.reset": "earliest", "fetch.wait.max.ms": 100})
    member.subscribe(["t"])

    def once():
        admin.create_topics([NewTopic(f"more-{next(numbers)}", 1, 1)])
        for p in range(4):
            producer.produce("t", b"x" * 1000, partition=p)
        assert producer.flush(30) == 0
        if member.poll(0.2) is not None:
            member.commit(offsets=[TopicPartition("t", p, 1) for p in range(4)], asynchronous=False)
    return once, member


@pytest.mark.long
def test_each_query_finds_what_it_asks_for(make_broker, ensemble, tmp_path):
    authority, brokers, ports = Authority(tmp_path / "ca"), [], [free_port(), free_port()]
    store = authority.issue("server")

    def settings(broker):
        return {"listeners": f"PLAINTEXT://127.0.0.1:{broker.port},SSL://127.0.0.1:0"}
    for i, port in enumerate(ports):
        brokers.append(make_broker(each=settings, data=f"data{i}", broker_id=i, min_insync_replicas=1, **{
            "barnabas.http.listeners": f"NATIVE://127.0.0.1:{port}", "ssl.keystore.type": "PEM", "ssl.keystore.location": store}))
    prometheus = Prometheus(tmp_path, [f"127.0.0.1:{port}" for port in ports])
    prometheus.start()
    try:
        once, member = serve(brokers)
        missing = [q for q in queries() if not any(family in q for family in EMPTY)]

        def all_found():
            once()
            missing[:] = [q for q in missing if not prometheus.finds(q)]
            return not missing
        try:
            wait_until(all_found, "all queries find something", 60)
        except AssertionError as e:
            raise AssertionError("\n".join(["nothing is found by", *missing])) from e
        rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
        assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
        asked = set(re.findall(r"\b(?:barnabas|process)_\w+\b", " ".join([*queries(), *(rule["query"] for rule in rules)])))
        assert asked - set(prometheus.ask("label/__name__/values")) <= set(EMPTY)
        member.close()
    finally:
        prometheus.stop()
