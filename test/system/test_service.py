"""A broker as a service: what it tells the service manager that has started it, which the test plays."""

import json
import os
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import pytest

from harness import BUILD, PATIENCE, Barnabas, consume, free_port, preloaded, produce, wait_until
from test_logging import stopped_thread


class Manager:
    """Hears what a broker has to say, as systemd does."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.path, self.heard = str(path), []  # of each notice, its lines by key

    def hear(self):
        while True:
            try:
                notice = self.socket.recv(4096, socket.MSG_DONTWAIT).decode()
            except BlockingIOError:
                return self.heard
            self.heard.append(dict(line.split("=", 1) for line in notice.splitlines()))

    def wait_for(self, key, value=None, since=0):
        def place():
            return next((i for i, x in enumerate(self.hear()) if i >= since and key in x and (value is None or value in x[key])), None)

        wait_until(lambda: place() is not None, f"{key}={value} among {self.heard}")
        return place()


@pytest.fixture
def manager(tmp_path):
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.socket.close()


@pytest.fixture
def start(make_broker, manager):
    def start(watchdog_us=None, **properties):
        def each(broker):
            broker.env["NOTIFY_SOCKET"] = manager.path
            if watchdog_us:
                broker.env["WATCHDOG_USEC"] = str(watchdog_us)
            return {}

        return make_broker(each=each, **properties)

    return start


def test_ready_reloading_stopping(start, manager):
    broker = start()
    ready = manager.wait_for("READY")
    before = manager.heard[:ready]
    assert "Connecting to ZooKeeper" in before[0]["STATUS"] and all("EXTEND_TIMEOUT_USEC" in x for x in before)
    figures = manager.wait_for("STATUS", "Serving: leads ", ready)
    broker.process.send_signal(signal.SIGHUP)
    reloading = manager.wait_for("RELOADING", since=figures)
    assert int(manager.heard[reloading]["MONOTONIC_USEC"]) > 0
    manager.wait_for("READY", since=reloading)
    assert not any("WATCHDOG" in x for x in manager.heard)  # nobody asked for it
    assert broker.stop() == 0
    stopping = [x["STATUS"] for x in manager.hear() if "STOPPING" in x]
    assert len(stopping) == 3 and "handing over" in stopping[0] and "closing the logs" in stopping[2]
    assert "NOTIFY_SOCKET" not in broker.text()


def recovers_slowly(broker, tmp_path, start):
    """Is started again after a crash, and hangs at what has names that start so, until the file that is returned is taken away."""
    broker.kill()
    hangs = tmp_path / "hangs"
    hangs.write_text(f"HANG 0 {broker.data}/{start}")
    broker.env.update(LD_PRELOAD=str(preloaded("disk_faults.c", tmp_path)), DISK_FAULTS=str(hangs))
    broker.launch()
    return hangs


def test_time_for_recovery(start, manager, tmp_path):
    broker = start(num_recovery_threads_per_data_dir=2)
    produce(broker, "t", ["one", "two"])
    produce(broker, "slow", ["three"])
    since = len(manager.hear())
    hangs = recovers_slowly(broker, tmp_path, "slow-")
    recovering = manager.wait_for("STATUS", "Recovering: 1 of 2 logs", since)
    assert int(manager.heard[recovering]["EXTEND_TIMEOUT_USEC"]) >= 30_000_000
    assert not any("READY" in x for x in manager.heard[since:])
    hangs.unlink()
    manager.wait_for("READY", since=recovering)
    wait_until(broker.is_ready, "the broker")
    assert consume(broker, "t") == ["one", "two"] and consume(broker, "slow") == ["three"]


def test_time_for_closing_logs(start, manager, tmp_path):
    hangs = tmp_path / "hangs"
    broker = start()
    broker.stop()
    broker.env.update(LD_PRELOAD=str(preloaded("disk_faults.c", tmp_path)), DISK_FAULTS=str(hangs))
    broker.start()
    produce(broker, "t", ["one"])
    produce(broker, "slow", ["two"])
    since = len(manager.hear())
    hangs.write_text(f"HANG 0 {broker.data}/slow-")
    broker.process.send_signal(signal.SIGTERM)
    closing = manager.wait_for("STATUS", "Stopping: closed 1 of 2 logs", since)
    assert int(manager.heard[closing]["EXTEND_TIMEOUT_USEC"]) >= 30_000_000
    hangs.unlink()
    assert broker.stop() == 0


def ask(port, path):
    """Status and text; None while nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.read().decode()
    except OSError:
        return None


def test_who_recovers_lives_and_is_not_ready(make_broker, tmp_path):
    """As Strimzi's agent has it, with what is left to do."""
    port = free_port()
    broker = make_broker(**{"num.recovery.threads.per.data.dir": 2, "barnabas.http.listeners": f"RAW://127.0.0.1:{port}", "log.segment.bytes": 1000})
    produce(broker, "t", ["one", "two"])
    for _ in range(5):
        produce(broker, "slow", ["x" * 600])
    segments = sorted(path.name for path in broker.data.glob("slow-0/*.log"))
    assert len(segments) > 3
    hangs = recovers_slowly(broker, tmp_path, f"slow-0/{segments[2]}")
    left = {"brokerState": 2, "recoveryState": {"remainingLogsToRecover": 1, "remainingSegmentsToRecover": len(segments) - 2}}
    wait_until(lambda: (said := ask(port, "v1/broker-state")) and json.loads(said[1]) == left, "it recovers")
    assert ask(port, "v1/ready") == (503, "Readiness failed: brokerState is 2\n")
    assert ask(port, "readyz") == (503, "The state of the broker is 2, not 3.\n")
    assert ask(port, "livez") == (200, "ok\n")
    assert ask(port, "v1/safe-to-stop")[0] == 409
    hangs.unlink()
    wait_until(lambda: ask(port, "v1/ready") == (204, ""), "it is ready")
    wait_until(lambda: ask(port, "readyz") == (200, "ok\n"), "it is registered")
    assert json.loads(ask(port, "v1/broker-state")[1]) == {"brokerState": 3}
    assert "remainingSegmentsToRecover" not in ask(port, "metrics")[1]


def test_why_it_did_not_start(start, manager):
    broker = start()
    broker.stop()
    broker.properties["broker.id"] = "5"
    broker.launch()
    assert broker.process.wait(PATIENCE) == 1
    broker.log.write_text("")  # what it said is expected
    last = manager.hear()[-1]
    assert "STOPPING" in last and "broker.id" in last["STATUS"] and "READY" not in last


def test_a_loop_that_is_stuck_is_not_alive(start, manager):
    broker = start(watchdog_us=600_000)
    manager.wait_for("WATCHDOG", "1", manager.wait_for("READY"))
    tasks = f"/proc/{broker.process.pid}/task"
    names = {open(f"{tasks}/{thread}/comm").read().strip(): int(thread) for thread in os.listdir(tasks)}
    for name in "network-0", "coordinator", next(x for x in names if x.startswith("replication")):
        with stopped_thread(names[name]):
            silent = manager.wait_for("STATUS", f"Loops do not answer: {name}", len(manager.hear()))
            again = manager.wait_for("STATUS", f"Loops do not answer: {name}", silent + 1)
            assert not any("WATCHDOG" in x for x in manager.heard[silent:again])
        manager.wait_for("WATCHDOG", "1", again)
    assert "Loops do not answer the watchdog: coordinator (" in broker.text()
    assert broker.stop() == 0


# ---- In a container ----


class InContainer(Barnabas):
    """Set up by nothing but its environment, with the names of the image apache/kafka."""

    def launch(self):
        self.http = free_port()
        names = {"broker.id": self.properties["broker.id"], "zookeeper.connect": self.zookeeper.connect, "log.dirs": self.data,
                 "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}", "offsets.topic.replication.factor": 1,
                 "barnabas.http.listeners": f"METRICS://127.0.0.1:{self.http}", "log4j.loggers": "kafka.request.logger=DEBUG"}
        self.spawn([BUILD / "barnabas", "--environment"], {"KAFKA_" + name.upper().replace(".", "_"): str(x) for name, x in names.items()})


def health(url):
    return subprocess.run([BUILD / "barnabas", "--health", url], capture_output=True, text=True)


def test_the_environment_has_all_settings(make_broker):
    broker = make_broker(InContainer)
    produce(broker, "t", ["one"])
    assert consume(broker, "t") == ["one"]
    assert "Completed request:" in broker.text() and f"0.0.0.0:{broker.port}" in broker.text()
    well = f"http://127.0.0.1:{broker.http}/readyz"
    assert health(well).returncode == 0
    assert health(f"http://127.0.0.1:{broker.http}/nothing").returncode == 1
    broker.stop()
    asked = health(well)
    assert asked.returncode == 1 and well in asked.stderr
