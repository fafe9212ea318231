"""ZooKeeper and brokers, each on a host of its own, and what can happen to them."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

from kazoo.client import KazooClient

TOP = Path(__file__).resolve().parents[2]
SESSION_MS = 3000
SETTINGS = {
    "zookeeper.session.timeout.ms": SESSION_MS,
    "zookeeper.connection.timeout.ms": 60000,
    "default.replication.factor": 3,
    "min.insync.replicas": 2,
    "offsets.topic.replication.factor": 3,
    "offsets.topic.num.partitions": 3,
    "transaction.state.log.replication.factor": 3,
    "transaction.state.log.min.isr": 2,
    "transaction.state.log.num.partitions": 3,
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": 2000,
    "group.initial.rebalance.delay.ms": 0,
    "replica.lag.time.max.ms": 3000,
    "replica.socket.timeout.ms": 3000,
    "replica.high.watermark.checkpoint.interval.ms": 500,
    "controller.socket.timeout.ms": 3000,
    "request.timeout.ms": 5000,
    "controlled.shutdown.retry.backoff.ms": 1000,
    "leader.imbalance.check.interval.seconds": 3,
    "log.segment.bytes": 1 << 20,
    "offsets.topic.segment.bytes": 1 << 17,
    "transaction.state.log.segment.bytes": 1 << 16,
    "log.cleaner.backoff.ms": 500,
}


class Server:
    def __init__(self, host, log):
        self.host, self.log, self.process, self.paused, self.stopping = host, Path(log), None, False, False

    def spawn(self, command, env=None):
        self.stopping = False
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen(self.host.command(*command), stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **(env or {})})

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        self.resume()
        if self.is_running():
            self.process.kill()
        if self.process is not None:
            self.process.wait()

    def ask_to_stop(self):
        self.resume()
        if self.is_running():
            self.process.terminate()
        self.stopping = True

    def stop(self, patience=60):
        self.ask_to_stop()
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.log} does not stop") from None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True

    def resume(self):
        if self.paused and self.is_running():
            self.process.send_signal(signal.SIGCONT)
        self.paused = False


class ZooKeeper(Server):
    def __init__(self, host, folder):
        super().__init__(host, folder / "zookeeper.log")
        self.folder = folder
        (folder / "zoo.cfg").write_text(f"dataDir={folder / 'zookeeper'}\nclientPort=2181\ntickTime=500\nmaxClientCnxns=0\n"
                                        "admin.enableServer=false\n")

    @property
    def connect(self):
        return f"{self.host.address}:2181"

    def start(self):
        self.spawn([TOP / "bin" / "zookeeper-server-start.sh", self.folder / "zoo.cfg"])


class Broker(Server):
    def __init__(self, host, folder, number, zookeeper, program):
        super().__init__(host, folder / f"broker-{number}.log")
        self.number, self.zookeeper, self.program = number, zookeeper, program
        self.data = folder / f"data-{number}"
        self.clock = folder / f"clock-{number}"
        self.config = folder / f"broker-{number}.properties"
        properties = {"broker.id": number, "listeners": f"PLAINTEXT://{host.address}:9092", "log.dirs": self.data,
                      "zookeeper.connect": zookeeper.connect, **SETTINGS}
        self.config.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        self.set_clock(0)

    @property
    def bootstrap(self):
        return f"{self.host.address}:9092"

    def set_clock(self, seconds):
        self.clock.write_text(f"{seconds:+d}s")

    def start(self):
        env = {"ASAN_OPTIONS": "verify_asan_link_order=0", "UBSAN_OPTIONS": "print_stacktrace=1"}
        fake = faketime_library()
        if fake:
            env |= {"LD_PRELOAD": fake, "FAKETIME_TIMESTAMP_FILE": str(self.clock), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.spawn([self.program, self.config], env)

    def check_log(self):
        # Who cannot keep a session for as long as it starts ends, and is to be started again.
        text = re.sub(r"FATAL \[.*?\] The ZooKeeper session expired while the broker was starting", "", self.log.read_text(errors="replace"))
        for bad in ("FATAL", "Sanitizer", "runtime error"):
            assert bad not in text, f"{bad} in {self.log}"


def faketime_library():
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    return str(found[0]) if found else None


class Cluster:
    def __init__(self, network, folder, program, count=3):
        self.folder = folder
        self.zookeeper = ZooKeeper(network.host(), folder)
        self.brokers = [Broker(network.host(), folder, i + 1, self.zookeeper, program) for i in range(count)]
        self._client = None

    def start(self):
        self.zookeeper.start()
        for b in self.brokers:
            b.start()

    @property
    def bootstrap(self):
        return ",".join(b.bootstrap for b in self.brokers)

    @property
    def client(self):
        if self._client is None:
            self._client = KazooClient(hosts=self.zookeeper.connect, timeout=30)
            self._client.start(60)
        return self._client

    def read(self, path):
        """The node's JSON, or None while there is no such node or no ZooKeeper."""
        try:
            return json.loads(self.client.get(path)[0])
        except Exception:  # noqa: BLE001 (whatever is wrong, the answer is not there now)
            return None

    def broker(self, number):
        return next((b for b in self.brokers if b.number == number), None)

    def controller(self):
        return self.broker((self.read("/controller") or {}).get("brokerid"))

    def state(self, topic, partition):
        return self.read(f"/brokers/topics/{topic}/partitions/{partition}/state")

    def leader(self, topic, partition):
        return self.broker((self.state(topic, partition) or {}).get("leader"))

    def in_sync(self, topic, partitions):
        for p in range(partitions):
            state = self.state(topic, p)
            if not state or state["leader"] < 0 or len(state["isr"]) < len(self.brokers):
                return False
        return True

    def revive(self):
        """Whoever is down or asleep runs again."""
        if not self.zookeeper.is_running():
            self.zookeeper.start()
        for b in self.brokers:
            b.resume()
            if b.stopping:
                b.stop()
            if not b.is_running():
                b.start()

    def close_session(self, broker):
        """Ends the broker's ZooKeeper session behind its back, as a client that knows its id and password."""
        stat = self.client.exists(f"/brokers/ids/{broker.number}")
        if stat is None:
            return
        thief = KazooClient(hosts=self.zookeeper.connect, client_id=(stat.ephemeralOwner, session_password(stat.ephemeralOwner)))
        thief.start(20)
        thief.stop()
        thief.close()

    def stop(self):
        if self._client is not None:
            self._client.stop()
            self._client.close()
        for b in self.brokers:
            b.kill()
        self.zookeeper.kill()


def session_password(session):
    """ZooKeeper makes it of the session's id: 16 bytes of java.util.Random, seeded with the id and a constant."""
    mask = (1 << 48) - 1
    seed = ((session ^ 0xB3415C00) ^ 0x5DEECE66D) & mask
    out = b""
    while len(out) < 16:
        seed = (seed * 0x5DEECE66D + 0xB) & mask
        out += ((seed >> 16) & 0xFFFFFFFF).to_bytes(4, "little")
    return out


def wait_until(condition, what, patience):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError(f"waited {patience} s in vain: {what}")
