#!/usr/bin/env python3
"""Makes the dashboards beside it, by the broker's own names: generate.py [--check] says with --check whether they are as made here."""

import json
import sys
from pathlib import Path

HERE = Path(__file__).parent
RATE = "$__rate_interval"
JOB, BROKER = '{job=~"$job"}', '{job=~"$job",instance=~"$instance"}'


def within(labels, more):
    """More matchers beside those that are there."""
    return f"{labels[:-1]},{more}}}"


def rate(family, labels, by, more=""):
    return f"sum by ({by}) (rate({family}{within(labels, more) if more else labels}[{RATE}]))"


def quantile(q, family, labels, by, more=""):
    by = f"le, {by}" if by else "le"
    return f"histogram_quantile({q}, {rate(family + '_bucket', labels, by, more)})"


def stat(title, expr, unit="short", bad=None):
    """One number; red from `bad` on, or below it if `bad` is negative: below its absolute value."""
    steps = [{"color": "green", "value": None}]
    if bad is not None:
        steps = ([{"color": "red", "value": None}, {"color": "green", "value": -bad}] if bad < 0 else [*steps, {"color": "red", "value": bad}])
    return {"type": "stat", "title": title, "targets": [(expr, "")], "unit": unit, "steps": steps, "size": (4, 4)}


def graph(title, *targets, unit="short", stacked=False):
    return {"type": "timeseries", "title": title, "targets": targets, "unit": unit, "stacked": stacked, "size": (12, 8)}


def listing(title, expr, unit="short"):
    return {"type": "table", "title": title, "targets": [(expr, "")], "unit": unit, "size": (24, 9)}


def rendered(panel, number, x, y):
    width, height = panel["size"]
    defaults = {"unit": panel["unit"], "min": 0}
    if "steps" in panel:
        defaults["thresholds"] = {"mode": "absolute", "steps": panel["steps"]}
    if panel.get("stacked"):
        defaults["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 20}
    now = panel["type"] != "timeseries"
    return {"id": number, "type": panel["type"], "title": panel["title"], "gridPos": {"x": x, "y": y, "w": width, "h": height},
            "datasource": {"type": "prometheus", "uid": "${datasource}"}, "fieldConfig": {"defaults": defaults, "overrides": []},
            "targets": [{"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend, "instant": now, "range": not now,
                         **({"format": "table"} if panel["type"] == "table" else {})} for i, (expr, legend) in enumerate(panel["targets"])]}


def arranged(panels):
    """From left to right, and a new line where there is no room."""
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        if x + panel["size"][0] > 24:
            x, y, height = 0, y + height, 0
        yield rendered(panel, number, x, y)
        x, height = x + panel["size"][0], max(height, panel["size"][1])


def variable(name, query):
    return {"name": name, "type": "query", "datasource": {"type": "prometheus", "uid": "${datasource}"}, "query": {"query": query, "refId": name},
            "definition": query, "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "sort": 1}


def dashboard(name, title, variables, panels):
    return {"uid": f"barnabas-{name}", "title": f"barnabas: {title}", "tags": ["barnabas", "kafka"], "schemaVersion": 38, "editable": True,
            "refresh": "30s", "time": {"from": "now-1h", "to": "now"},
            "links": [{"type": "dashboards", "tags": ["barnabas"], "title": "barnabas", "includeVars": True, "keepTime": True, "asDropdown": True}],
            "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}, *variables]}, "panels": list(arranged(panels))}


CLUSTER = variable("job", "label_values(barnabas_build_info, job)")
INSTANCE = variable("instance", 'label_values(barnabas_build_info{job=~"$job"}, instance)')
LATENCY = "barnabas_request_duration_seconds"

OVERVIEW = [
    stat("Brokers", f"count(barnabas_broker_state{JOB} == 3)", bad=-1),
    stat("Controllers", f"sum(barnabas_controller_active{JOB})", bad=-1),
    stat("Partitions without a leader", f"sum(barnabas_controller_offline_partitions{JOB})", bad=1),
    stat("Too few in sync for acks=all", f"sum(barnabas_under_min_isr_partitions{JOB})", bad=1),
    stat("Under-replicated partitions", f"sum(barnabas_under_replicated_partitions{JOB})", bad=1),
    stat("Log directories offline", f"sum(barnabas_log_directory_offline{JOB})", bad=1),
    graph("Bytes in and out", (f"sum by (direction) (rate(barnabas_bytes_total{JOB}[{RATE}]))", "{{direction}}"), unit="Bps"),
    graph("Records in, by broker", (rate("barnabas_records_total", JOB, "instance"), "{{instance}}"), unit="cps", stacked=True),
    graph("Produce and fetch, 99 of 100 are faster",
          (quantile(0.99, LATENCY, JOB, "request", 'request=~"Produce|FetchConsumer|FetchFollower",phase="total"'), "{{request}}"), unit="s"),
    graph("Requests", ("topk(10, " + rate("barnabas_requests_total", JOB, "request", 'request!="Fetch"') + ")", "{{request}}"), unit="reqps", stacked=True),
    graph("What answers say but NONE", (rate("barnabas_request_results_total", JOB, "request, error", 'error!="NONE"'), "{{request}} {{error}}"), unit="cps"),
    graph("Replicas in sync", (rate("barnabas_isr_changes_total", JOB, "instance, change"), "{{instance}} {{change}}"), unit="cps"),
    graph("Time that loops sleep", (f"min by (instance) (barnabas_loop_idle_ratio{JOB})", "{{instance}}"), unit="percentunit"),
    graph("Time that workers wait for work", (f"avg by (instance) (rate(barnabas_worker_idle_seconds_total{JOB}[{RATE}]))", "{{instance}}"), unit="percentunit"),
    graph("Partitions led", (f"barnabas_leader_partitions{JOB}", "{{instance}}"), stacked=True),
    graph("Connections", (f"sum by (instance) (barnabas_connections{JOB})", "{{instance}}"), stacked=True),
    graph("Controller: events that wait", (f"max by (instance) (barnabas_controller_queued_events{JOB})", "{{instance}}")),
    graph("ZooKeeper, 99 of 100 answers are faster", (quantile(0.99, "barnabas_zookeeper_request_duration_seconds", JOB, "instance"), "{{instance}}"), unit="s"),
    graph("Memory", (f"process_resident_memory_bytes{JOB}", "{{instance}}"), unit="bytes"),
    graph("Processor", (f"rate(process_cpu_seconds_total{JOB}[{RATE}])", "{{instance}}"), unit="percentunit"),
    listing("Versions", f"count by (instance, version) (barnabas_build_info{JOB})"),
]

IN, OUT = 'direction="in"', 'direction="out"'
TOPIC = '{job=~"$job",topic=~"$topic"}'
TOPICS = [
    stat("Topics", f"max(barnabas_controller_topics{JOB})"),
    stat("Partitions", f"max(barnabas_controller_partitions{JOB})"),
    stat("To be deleted", f"max(barnabas_controller_topics_to_delete{JOB})"),
    stat("Led by others than the first replica", f"max(barnabas_controller_imbalanced_partitions{JOB})"),
    stat("Being reassigned", f"sum(barnabas_reassigning_partitions{JOB})"),
    stat("Not compacted", f"sum(barnabas_cleaner_uncleanable_partitions{JOB})", bad=1),
    graph("Bytes in", (f"topk(20, {rate('barnabas_topic_bytes_total', TOPIC, 'topic', IN)})", "{{topic}}"), unit="Bps", stacked=True),
    graph("Bytes out", (f"topk(20, {rate('barnabas_topic_bytes_total', TOPIC, 'topic', OUT)})", "{{topic}}"), unit="Bps", stacked=True),
    graph("Records in", (f"topk(20, {rate('barnabas_topic_records_total', TOPIC, 'topic')})", "{{topic}}"), unit="cps", stacked=True),
    graph("Partitions asked for", (f"topk(20, {rate('barnabas_topic_requests_total', TOPIC, 'topic, operation')})", "{{topic}} {{operation}}"), unit="cps"),
    graph("In vain", (rate("barnabas_topic_failed_requests_total", TOPIC, "topic, operation"), "{{topic}} {{operation}}"), unit="cps"),
    graph("Converted between formats", (rate("barnabas_topic_conversions_total", TOPIC, "topic, operation"), "{{topic}} {{operation}}"), unit="cps"),
    graph("Refused batches", (rate("barnabas_refused_records_total", JOB, "cause"), "{{cause}}"), unit="cps"),
    graph("Transactions that do not end", (f"sum by (instance) (barnabas_late_transaction_partitions{JOB})", "{{instance}}")),
    graph("Compaction: the log that needs it most", (f"max by (instance) (barnabas_cleaner_dirty_ratio{JOB})", "{{instance}}"), unit="percentunit"),
    graph("Producers whose sequences are known", (f"sum by (instance) (barnabas_producer_ids{JOB})", "{{instance}}")),
]

REBALANCING = 'state=~".*_rebalance"'
GROUP = '{job=~"$job",group=~"$group"}'
GROUPS = [
    stat("Groups", f"sum(barnabas_groups{JOB})"),
    stat("Rebalancing", f"sum(barnabas_groups{within(JOB, REBALANCING)})"),
    stat("The furthest behind", f"max(barnabas_group_lag_seconds{JOB})", unit="s"),
    stat("Committed offsets", f"sum(barnabas_group_offsets{JOB})"),
    stat("Questions about lag without an answer", f"max(barnabas_group_lag_unanswered{JOB})", bad=1),
    graph("Behind, in time", (f"max by (group, topic) (barnabas_group_lag_seconds{GROUP})", "{{group}} {{topic}}"), unit="s"),
    graph("Behind, in records", (f"sum by (group, topic) (barnabas_group_lag_records{GROUP})", "{{group}} {{topic}}")),
    graph("Members", (f"sum by (group) (barnabas_group_members{GROUP})", "{{group}}")),
    graph("Groups by state", (f"sum by (state) (barnabas_groups{JOB})", "{{state}}"), stacked=True),
    graph("Rebalances", (rate("barnabas_group_rebalances_total", JOB, "instance"), "{{instance}}"), unit="cps"),
    graph("Commits of offsets", (rate("barnabas_group_offset_commits_total", JOB, "instance"), "{{instance}}"), unit="cps"),
    graph("Requests of groups, 99 of 100 are faster",
          (quantile(0.99, LATENCY, JOB, "request", 'request=~"JoinGroup|SyncGroup|Heartbeat|OffsetCommit|OffsetFetch",phase="total"'), "{{request}}"), unit="s"),
    listing("Partitions furthest behind", f"topk(20, barnabas_group_lag_records{GROUP})"),
]

def phases(request):
    """The mean of each phase: what it took of all requests by how many there were."""
    this = f'request="{request}",phase'
    each = rate(f"{LATENCY}_sum", BROKER, "phase", this + '=~"queue|local|remote|response_queue|send"')
    all_of_them = this + '="total"'
    expr = f"{each} / on () group_left () sum(rate({LATENCY}_count{within(BROKER, all_of_them)}[{RATE}]))"
    return graph(f"{request}: where the mean's time goes", (expr, "{{phase}}"), unit="s", stacked=True)


ONE = [
    stat("State", f"max(barnabas_broker_state{BROKER})"),
    stat("Up for", f"time() - min(process_start_time_seconds{BROKER})", unit="s"),
    stat("Session with ZooKeeper for", f"min(barnabas_zookeeper_session_age_seconds{BROKER})", unit="s"),
    stat("Partitions led", f"sum(barnabas_leader_partitions{BROKER})"),
    stat("Partitions", f"sum(barnabas_partitions{BROKER})"),
    stat("Offline replicas", f"sum(barnabas_offline_replicas{BROKER})", bad=1),
    graph("Produce", *((quantile(q, LATENCY, BROKER, "", 'request="Produce",phase="total"'), f"{q}") for q in (0.5, 0.95, 0.99)), unit="s"),
    phases("Produce"),
    graph("Fetches of consumers", *((quantile(q, LATENCY, BROKER, "", 'request="FetchConsumer",phase="total"'), f"{q}") for q in (0.5, 0.95, 0.99)), unit="s"),
    phases("FetchConsumer"),
    phases("FetchFollower"),
    graph("Open requests", (f"sum(barnabas_open_requests{BROKER})", "open"), (f"sum by (operation) (barnabas_purgatory_requests{BROKER})", "{{operation}}")),
    graph("Requests by version", (f"topk(20, {rate('barnabas_requests_total', BROKER, 'request, version')})", "{{request}} {{version}}"), unit="reqps"),
    graph("Size of requests", (f"topk(10, {rate('barnabas_request_bytes_total', BROKER, 'request')})", "{{request}}"), unit="Bps"),
    graph("Loops", (f"1 - barnabas_loop_idle_ratio{BROKER}", "{{loop}}"), unit="percentunit"),
    graph("Turns of loops", (f"rate(barnabas_loop_busy_seconds_total{BROKER}[{RATE}]) / rate(barnabas_loop_turns_total{BROKER}[{RATE}])", "{{loop}}"), unit="s"),
    graph("Network", (rate("barnabas_network_bytes_total", BROKER, "listener, direction"), "{{listener}} {{direction}}"), unit="Bps"),
    graph("Connections by client", (f"sum by (software, version) (barnabas_client_connections{BROKER})", "{{software}} {{version}}"), stacked=True),
    graph("Connections that come and go", (rate("barnabas_connections_opened_total", BROKER, "listener"), "{{listener}} come"),
          (rate("barnabas_connections_closed_total", BROKER, "listener"), "{{listener}} go"), unit="cps"),
    graph("Logins", (rate("barnabas_authentications_total", BROKER, "listener, result"), "{{listener}} {{result}}"), unit="cps"),
    graph("Throttled", (f"max by (quota, user, client_id) (barnabas_client_throttle_seconds{BROKER}) > 0", "{{quota}} {{user}} {{client_id}}"), unit="s"),
    graph("Flushes", *((quantile(q, "barnabas_log_flush_duration_seconds", BROKER, ""), f"{q}") for q in (0.5, 0.99)), unit="s"),
    graph("Disk", (rate("barnabas_disk_bytes_total", BROKER, "direction"), "{{direction}}"), unit="Bps"),
    graph("Replication", (rate("barnabas_bytes_total", BROKER, "direction", 'direction=~"replication_.*|reassignment_.*"'), "{{direction}}"), unit="Bps"),
    graph("Fetched from leaders", (f"sum by (broker_host, broker_port) (rate(barnabas_fetcher_bytes_total{BROKER}[{RATE}]))", "{{broker_host}}:{{broker_port}}"), unit="Bps"),
    graph("Records behind leaders", (f"max(barnabas_replication_max_lag_records{BROKER})", "the most")),
    graph("ZooKeeper", *((quantile(q, "barnabas_zookeeper_request_duration_seconds", BROKER, ""), f"{q}") for q in (0.5, 0.99)), unit="s"),
    graph("ZooKeeper: lost", (f"sum(increase(barnabas_zookeeper_disconnects_total{BROKER}[{RATE}]))", "connections"),
          (f"sum(increase(barnabas_zookeeper_expirations_total{BROKER}[{RATE}]))", "sessions")),
    graph("Fetch sessions", (f"sum(barnabas_fetch_sessions{BROKER})", "sessions"),
          (rate("barnabas_fetch_session_evictions_total", BROKER, "instance"), "evicted a second")),
    graph("Descriptors", (f"sum(process_open_fds{BROKER})", "open"), (f"sum(process_max_fds{BROKER})", "at most")),
    graph("Certificates end in", (f"min by (listener) (barnabas_tls_certificate_expiry_timestamp_seconds{BROKER}) - time()", "{{listener}}"), unit="s"),
    graph("Memory and threads", (f"sum(process_resident_memory_bytes{BROKER})", "resident"), (f"sum(process_virtual_memory_bytes{BROKER})", "virtual"), unit="bytes"),
]

DASHBOARDS = {
    "overview": dashboard("overview", "overview", [CLUSTER], OVERVIEW),
    "topics": dashboard("topics", "topics", [CLUSTER, variable("topic", 'label_values(barnabas_topic_bytes_total{job=~"$job"}, topic)')], TOPICS),
    "groups": dashboard("groups", "groups", [CLUSTER, variable("group", 'label_values(barnabas_group_members{job=~"$job"}, group)')], GROUPS),
    "broker": dashboard("broker", "one broker", [CLUSTER, INSTANCE], ONE),
}


def main():
    old = [name for name, content in DASHBOARDS.items()
           if not (path := HERE / f"{name}.json").exists() or path.read_text() != json.dumps(content, indent=1) + "\n"]
    if "--check" in sys.argv[1:]:
        sys.exit(f"not as generate.py makes them: {', '.join(old)}" if old else 0)
    for name in old:
        (HERE / f"{name}.json").write_text(json.dumps(DASHBOARDS[name], indent=1) + "\n")


if __name__ == "__main__":
    main()
