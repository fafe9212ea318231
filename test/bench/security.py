"""Encrypted connections, Apache Kafka 3.9.1 and barnabas in turns: what bytes, handshakes and idle connections cost."""

import os
import subprocess

import measure
from certificates import Authority
from measure import GIGA, cpu_seconds, harness, load, resident_mb, start_load


class Run(measure.Run):
    """Each part has a broker of its own, with a listener for TLS beside the plain one."""

    def measure(self, part):
        authority = Authority(self.bench.folder)
        keys = authority.issue("broker")
        self.port = harness.free_port()
        os.environ["BENCH_TLS"] = str(authority.certificate)
        try:
            with measure.fresh_broker(self.bench, self.kind, self.listeners, ssl_keystore_type="PEM", ssl_keystore_location=keys) as broker:
                part(broker)
        finally:
            del os.environ["BENCH_TLS"]

    def listeners(self, broker):
        both = f"PLAINTEXT://127.0.0.1:{broker.port},SSL://127.0.0.1:{self.port}"
        return {"listeners": both, "advertised.listeners": both}

    def measured(self, broker, what, *args):
        cpu = cpu_seconds(broker.process.pid)
        result = load(what, "localhost", self.port, *args)
        return (cpu_seconds(broker.process.pid) - cpu) / (result["bytes"] / GIGA), result["bytes"] / GIGA / result["seconds"]

    # ---- What is measured ----

    def throughput(self, broker):
        size = int(self.options.gigabytes * GIGA)
        measure.create_topic(broker, "warm", 4)
        self.measured(broker, "produce", "warm", 4, size // 2, 1000, 16384, "none", 1)
        self.measured(broker, "consume", "warm", 4, size // 2, 1 << 20)
        for batch in (16384, 1000000):
            topic, name = f"t{batch}", f"{batch // 1000} KB batches"
            measure.create_topic(broker, topic, 4)
            cpu, rate = self.measured(broker, "produce", topic, 4, size, 1000, batch, "none", 1)
            self.note(f"TLS, produce: CPU per GB, {name}", cpu, "s")
            self.note(f"TLS, produce: rate, {name}", rate, "GB/s")
            cpu, rate = self.measured(broker, "consume", topic, 4, size, 1 << 20)
            self.note(f"TLS, consume: CPU per GB, {name}", cpu, "s")
            self.note(f"TLS, consume: rate, {name}", rate, "GB/s")

    def crowd(self, broker):
        """What a request costs beyond the first of each connection, which has its handshake."""
        crowd, requests = self.options.crowd, int(self.options.requests)

        def ask(count):
            cpu = cpu_seconds(broker.process.pid)
            result = load("crowd", "localhost", self.port, "crowd", 4, count, 100, 1000, "none", 1, crowd, 1)
            return cpu_seconds(broker.process.pid) - cpu, result["seconds"]

        measure.create_topic(broker, "crowd", 4)
        ask(crowd + requests)
        (first_cpu, first_seconds), (cpu, seconds) = ask(crowd), ask(crowd + requests)
        what = f"TLS, {crowd:,} producers of 1 KB batches"
        self.note(f"{what}: CPU of a request", (cpu - first_cpu) / requests * 1e6, "us")
        self.note(f"{what}: requests", requests / (seconds - first_seconds), "/s")

    def connections(self, broker):
        count = self.options.connections
        self.hold(broker, count // 10)  # for what the first ones need
        before = resident_mb(broker.process.pid)
        self.note(f"TLS: memory of an idle connection, of {count:,}", (self.hold(broker, count) - before) * 1024 / count, "KB")

    def hold(self, broker, count):
        """So many connections at once; the broker's memory then."""
        idle = subprocess.Popen([str(measure.LOAD), "idle", "localhost", str(self.port), str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        idle.stdout.readline()
        used = resident_mb(broker.process.pid)
        idle.communicate()
        return used

    def handshakes(self, broker):
        rate, seconds = self.options.handshakes, self.options.seconds
        load("comers", "localhost", self.port, 100, 10)
        alone = self.producer(broker, "alone")
        cpu = cpu_seconds(broker.process.pid)
        come = load("comers", "localhost", self.port, rate, seconds)
        self.note(f"TLS: CPU of a handshake, {rate} a second", (cpu_seconds(broker.process.pid) - cpu) / come["connections"] * 1e6, "us")
        self.note(f"TLS: handshakes a second, of {rate}", come["connections"] / come["seconds"], "")
        comers = start_load("comers", "localhost", self.port, rate, seconds + 5)
        beside = self.producer(broker, "beside")
        comers.kill()
        self.note("producer's p99, alone", alone / 1000, "ms")
        self.note(f"producer's p99, beside {rate} handshakes a second", beside / 1000, "ms")

    def producer(self, broker, topic):
        """On the plain listener; the p99 of what is acknowledged."""
        measure.create_topic(broker, topic)
        tls = os.environ.pop("BENCH_TLS")
        try:
            return load("latency", "127.0.0.1", broker.port, topic, 500, self.options.seconds, 1000, 1)["acked_us"]["p99"]
        finally:
            os.environ["BENCH_TLS"] = tls


PARTS = ["throughput", "crowd", "connections", "handshakes"]


if __name__ == "__main__":
    parser = measure.arguments(__doc__, PARTS)
    parser.add_argument("--gigabytes", type=float, default=1, help="data of each throughput measurement")
    parser.add_argument("--crowd", type=int, default=2000, help="producers of small batches at once")
    parser.add_argument("--requests", type=float, default=200000, help="of all of them")
    parser.add_argument("--connections", type=int, default=1000, help="idle ones")
    parser.add_argument("--handshakes", type=int, default=500, help="a second")
    measure.main(parser, Run)
