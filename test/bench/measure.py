"""What the benchmarks share: brokers as they are run in earnest, the load, figures by kind of broker, rounds in turns, the table."""

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "test" / "system"))
import harness  # noqa: E402

LOAD = harness.BUILD / "test" / "bench" / "load"
GIGA = 10**9
JVM = ("-server -Xmx1G -Xms1G -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 "
       "-XX:+ExplicitGCInvokesConcurrent -XX:MaxInlineLevel=15 -Djava.awt.headless=true").split()


class Apache(harness.Apache):
    """With the flags of Kafka's own kafka-server-start.sh."""

    def launch(self):
        self.spawn(["java", *JVM, "-cp", f"{harness.JARS}/*", "kafka.Kafka", self.write_config()])


class Kraft(Apache):
    """The newest of Apache's brokers, its own controller: what those move to who leave ZooKeeper."""

    version = "4.4.0"

    def __init__(self, zookeeper, data, log, properties):
        super().__init__(zookeeper, data, log, properties)
        controller = harness.free_port()
        for key in "broker.id", "zookeeper.connect", "zookeeper.session.timeout.ms":
            self.properties.pop(key)
        self.properties |= {"node.id": "0", "process.roles": "broker,controller", "controller.listener.names": "CONTROLLER",
                            "listeners": f"{self.properties['listeners']},CONTROLLER://127.0.0.1:{controller}",
                            "advertised.listeners": self.properties["listeners"],
                            "controller.quorum.voters": f"0@127.0.0.1:{controller}"}

    def launch(self):
        jars, config = harness.apache_of(self.version).jars, self.write_config()
        if not (self.data / "meta.properties").exists():
            harness.run(["java", "-cp", f"{jars}/*", "kafka.tools.StorageTool", "format", "-t", "YmFybmFiYXMtYmVuY2gtMQ", "-c", config])
        self.spawn(["java", *JVM, "-cp", f"{jars}/*", "kafka.Kafka", config])


class Floor(harness.Process):
    """What the kernel asks for, of whoever moves the same bytes: no broker, but it answers the load's requests."""

    def __init__(self, zookeeper, data, log, properties):
        super().__init__(log)
        self.zookeeper, self.data, self.port, self.properties = zookeeper, data, harness.free_port(), properties

    def start(self):
        """With a store of keys, as a broker is given it, all of it is encrypted."""
        self.data.mkdir()
        keys = self.properties.get("ssl.keystore.location")
        self.spawn([LOAD.with_name("floor"), self.port, self.data, *([keys] if keys else [])])
        harness.wait_until(lambda: harness.accepts(self.port), "the floor")


KINDS = {"apache": Apache, "apache4": Kraft, "barnabas": harness.Barnabas, "floor": Floor}
NAMES = {"apache": "Apache 3.9.1", "apache4": f"Apache {Kraft.version}", "barnabas": "barnabas", "floor": "floor"}


def make_broker(kind, zookeeper, folder, properties):
    """One that is a cluster by itself, with defaults where the tests have what makes them quick."""
    broker = KINDS[kind](zookeeper, folder / "data", folder / "log", properties)
    for key in ("group.initial.rebalance.delay.ms", "offsets.topic.num.partitions"):
        if key not in properties:
            broker.properties.pop(key, None)
    return broker


def serves_metadata(port):
    """Whether a Metadata request is answered with a controller: what a client needs to begin."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as s:
            s.sendall(harness.frame(3, 1, b"\0\0\0\0"))
            answer = harness.read_frame(s)
    except OSError:
        return False
    return answer is not None and len(answer) > 20 and answer[-8:-4] == b"\0\0\0\0"


def timed_start(broker):
    """How long it took from its process' begin on."""
    broker.launch()
    while not serves_metadata(broker.port):
        if not broker.is_running() or time.monotonic() - broker.began > 60:
            raise RuntimeError(broker.text()[-2000:])
        time.sleep(0.0005)
    return time.monotonic() - broker.began


@contextmanager
def fresh_broker(bench, kind, each=lambda broker: {}, **properties):
    """It runs, and is gone with all that is its at the end of the `with`. `each` has properties that depend on its port."""
    folder = Path(tempfile.mkdtemp(dir=bench.folder, prefix=kind))
    broker = make_broker(kind, bench.zookeeper.chroot(), folder, {k.replace("_", "."): v for k, v in properties.items()})
    broker.properties.update(each(broker))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()
        broker.zookeeper.close()
        shutil.rmtree(folder)


def tool(name, broker, *args, check=True):
    """One of our tools. It may take long, as some operations do for Apache's brokers."""
    return harness.run([TOP / "bin" / name, "--bootstrap-server", broker.bootstrap, *args], check=check, timeout=300,
                       env={"BARNABAS_BUILD": str(harness.BUILD)})


def create_topic(broker, name, partitions=1, **configs):
    if isinstance(broker, Floor):
        return  # which has whatever it is asked for
    config = [x for k, v in configs.items() for x in ("--config", f"{k.replace('_', '.')}={v}")]
    tool("kafka-topics.sh", broker, "--create", "--topic", name, "--partitions", partitions, "--replication-factor", 1, *config)
    wait_for_leaders(broker, name)


def wait_for_leaders(broker, topic):
    def are_there():
        out = tool("kafka-topics.sh", broker, "--describe", "--topic", topic, check=False)
        return "PartitionCount" in out and "Leader: none" not in out

    harness.wait_until(are_there, f"leaders of {topic}")


# ---- Processes and memory ----


def cpu_seconds(pid):
    """User and system time, of threads that have ended, too: another process' clock, as clock_getcpuclockid() names it."""
    return time.clock_gettime(~pid << 3 | 2)


def resident_mb(pid):
    return harness.memory(pid) / 2**20


def fill_memory(folder):
    """
    Fills free memory with page cache that can be given up at once. A virtual machine pays for the first touch of each
    page of its memory, many times what a broker costs; on a machine that has been up for a while, as brokers are,
    there are no such pages.
    """
    path = Path(folder) / "ballast"
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with open(path, "wb") as f:
        f.truncate(size)
    with open(path, "rb", buffering=0) as f:
        block = bytearray(4 << 20)
        while f.readinto(block) and free_mb() > 500:
            pass


def free_mb():
    return int(next(x for x in open("/proc/meminfo") if x.startswith("MemFree")).split()[1]) / 1024


# ---- Load ----


def start_load(*args, program=LOAD):
    return subprocess.Popen([str(program), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end_load(process):
    try:
        out, err = process.communicate(timeout=600)
    finally:
        process.kill()  # of no effect on one that has ended
    if process.returncode != 0:
        raise RuntimeError(f"{process.args}: {err}")
    return json.loads(out)


def load(*args, program=LOAD):
    return end_load(start_load(*args, program=program))


# ---- Rounds ----


class Ratio:
    """barnabas over another, by rounds. It claims no more than the rounds agree on."""

    def __init__(self, ours, theirs):
        rounds = sorted(b / a for b, a in zip(ours, theirs) if a)
        self.median = statistics.median(rounds) if rounds else None
        self.least, self.most = (rounds[0], rounds[-1]) if rounds else (None, None)

    @staticmethod
    def text(ratio):
        return f"1/{1 / ratio:.1f}" if 0 < ratio < 0.95 else f"{ratio:.2f}"

    def __str__(self):
        if self.median is None:
            return ""
        spread = f"{self.text(self.least)} to {self.text(self.most)}"
        if self.most / self.least > max(self.median, 1 / self.median):
            return spread  # which is more than one figure would say
        return self.text(self.median) if self.most == self.least else f"{self.text(self.median)} ({spread})"


class Bench:
    """
    Rounds of all kinds in turns. Run(bench, kind) is one kind's share of one round; its run(parts) measures, notes what it found, and
    leaves nothing running behind.
    """

    kinds = ["apache", "barnabas"]

    def __init__(self, options, Run):
        self.options, self.Run, self.values, self.units = options, Run, {}, {}
        self.kinds = [k for k in self.kinds if k in options.kinds.split(",")]
        self.folder = Path(tempfile.mkdtemp(dir=options.folder, prefix="barnabas-bench-"))
        self.zookeeper = harness.ZooKeeper(self.folder)

    def note(self, metric, kind, value, unit):
        self.values.setdefault(metric, {})[kind] = [*self.values.get(metric, {}).get(kind, []), value]
        self.units[metric] = unit
        print(f"      {metric}: {value:.3g} {unit}", flush=True)

    def run(self):
        try:
            self.zookeeper.start(KAFKA_JVM_PERFORMANCE_OPTS="-server")  # which may take its time to get fast
            self.run_rounds()
        finally:
            self.zookeeper.stop(signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)

    def run_rounds(self):
        for n in range(self.options.rounds):
            for kind in self.kinds if n % 2 == 0 else self.kinds[::-1]:
                print(f"-- round {n + 1} of {self.options.rounds}: {kind}", flush=True)
                if not self.options.unfilled:
                    fill_memory(self.folder)
                self.Run(self, kind).run(self.options.parts.split(","))

    def rows(self):
        for metric, values in self.values.items():
            if values.get("barnabas"):
                medians = {kind: statistics.median(v) for kind, v in values.items()}
                yield {"metric": metric, "unit": self.units[metric], **medians, "all": values}

    def table(self):
        """A column for each kind, and one for what barnabas is beside each of the others."""
        others = [kind for kind in self.kinds if kind != "barnabas"]
        lines = ["| | " + " | ".join([*(NAMES[k] for k in self.kinds), *(f"over {NAMES[k]}" for k in others)]) + " |",
                 "|---|" + "---:|" * (len(self.kinds) + len(others))]
        for r in self.rows():
            figures = [f"{r[k]:.3g} {r['unit']}" if k in r else "" for k in self.kinds]
            ratios = [str(Ratio(r["all"]["barnabas"], r["all"].get(k, []))) for k in others]
            lines.append(f"| {r['metric']} | " + " | ".join([*figures, *ratios]) + " |")
        return "\n".join(lines)


class Run:
    """One kind's share of one round: each part is a method of that name."""

    def __init__(self, bench, kind):
        self.bench, self.kind, self.options = bench, kind, bench.options

    def note(self, metric, value, unit):
        self.bench.note(metric, self.kind, value, unit)

    def run(self, parts):
        for part in parts:
            print(f"   {self.kind}: {part}", flush=True)
            self.measure(getattr(self, part))

    def measure(self, part):
        part()


def machine():
    model = next((x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")), platform.machine())
    memory = int(next(x for x in open("/proc/meminfo") if x.startswith("MemTotal")).split()[1]) // 2**20
    return f"{os.cpu_count()} CPUs ({model}), {memory} GB of memory, Linux {platform.release()}"


def arguments(description, parts):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="length of each latency measurement")
    parser.add_argument("--parts", default=",".join(parts), help="what to measure: %(default)s")
    parser.add_argument("--kinds", default=",".join(KINDS), help="whose: %(default)s")
    parser.add_argument("--folder", default=tempfile.gettempdir(), help="where the brokers' data lies meanwhile")
    parser.add_argument("--unfilled", action="store_true", help="leave free memory as it is; quicker, to try something out")
    parser.add_argument("--json", help="write all values to this file")
    parser.add_argument("--results", help="put the table into this file, between the comments with the benchmark's name")
    return parser


def command_line():
    """As run.sh is given it, without where the outcome goes."""
    args, given = [], iter(sys.argv[1:])
    for arg in given:
        if arg in ("--results", "--json", "--folder"):
            next(given)
        else:
            args.append(arg)
    return " ".join([Path(sys.argv[0]).stem, *args])


def put(path, name, text):
    """In place of what is between `<!-- name -->` and the next `<!-- end -->`."""
    before, begin, rest = path.read_text().partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    if not begin or not end:
        raise SystemExit(f"{path} has no place for {name}")
    path.write_text(f"{before}{begin}{text}\n{end}{after}")


def main(parser, Run, Bench=Bench):
    """All rounds, and the table; a SIGTERM, too, stops all that was started."""
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    bench = Bench(options, Run)
    bench.run()
    report = f"{time.strftime('%Y-%m-%d')}, {machine()}; medians of {options.rounds} rounds\n\n{bench.table()}"
    print(f"\n{report}")
    if options.results:
        put(Path(options.results), Path(sys.argv[0]).stem, f"Made by `test/bench/run.sh {command_line()}`.\n\n{report}")
    if options.json:
        result = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "rows": list(bench.rows())}
        Path(options.json).write_text(json.dumps(result, indent=1))
