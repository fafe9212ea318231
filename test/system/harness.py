"""Real servers and real clients for the tests: ZooKeeper, barnabas, Apache's broker and its tools."""

import atexit
import functools
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time
import uuid
import weakref
from pathlib import Path

from kazoo.client import KazooClient

from toolbox import Toolbox

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("BARNABAS_BUILD", TOP / "build-asan"))
JARS = (TOP / "test" / "java" / "target" / "lib").resolve()
JARS_4 = (TOP / "test" / "java4" / "target" / "lib").resolve()
AGENT = TOP / "test" / "java-agent" / "target" / "lib" / "jmx_prometheus_javaagent-0.20.0.jar"
FRANZ = TOP / "test" / "go" / "target" / "franz"
TOOLBOX = JARS.parent / "classes" / "Toolbox.class"  # made by test/java/prepare.py
HERE = Path.cwd()
# Tools that count on the end of their machine; and the order of what they print is that of methods, which an archive changes.
ALONE = {f"org.apache.kafka.tools.{what}" for what in ("VerifiableProducer", "VerifiableConsumer", "JmxTool")}
WITH_US = "setpriv", "--pdeathsig", "KILL", "--"  # what is begun so ends when the tests do, however these end
PATIENCE = 60  # seconds that anything may take before a test gives up on it


def wait_until(condition, what, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        result = condition()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"waited {patience} s in vain: {what}")


PORTS = range(10000, int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])) or range(10000, 60000)
taken = []  # sockets whose names keep other test processes off the ports that this one gave out


def free_port():
    """A port that nobody gets but who asked: below those that the kernel hands to clients, and given out once on this machine."""
    while True:
        port, mark = random.choice(PORTS), socket.socket(socket.AF_UNIX)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do, which only a listener hinders
            try:
                mark.bind(f"\0barnabas-test-port-{port}")
                s.bind(("", port))
            except OSError:
                mark.close()
                continue
        taken.append(mark)
        return port


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def jvm(*options, jars=JARS, heap=256, classes=None, archived=True):
    """Begins a command that runs a class of these jars, or of a folder beside them."""
    archive = jars.parent / "classes.jsa"
    shared = [f"-XX:SharedArchiveFile={archive}", "-Xlog:disable"] if archived and archive.exists() else []
    path = f"{jars}/*:{classes}" if classes else f"{jars}/*"
    return ["java", f"-Xmx{heap}m", "-XX:TieredStopAtLevel=1", *shared, *options, "-cp", path]


def javac(source, jars, folder):
    """For what is started more than once."""
    run(["javac", "-nowarn", "-cp", f"{jars}/*", "-d", folder, source])
    return folder


def log4j(level):
    return f"-Dlog4j.configuration=file:{TOP}/test/system/log4j.properties", f"-Dlevel={level}"


def memory(pid, which="VmRSS"):
    """Resident bytes."""
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith(which))
    return int(line.split()[1]) * 1024


def most_memory(pid):
    """At most so far; what wait4() tells of a child has this process' own in it, from before the child was another program."""
    return memory(pid, "VmHWM")


def processor_seconds(pid):
    """Of all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Meanwhile:
    """Threads that work as long as a block lasts; they see by `over` that they are to end."""

    def __init__(self, *work):
        self.over = threading.Event()
        self.threads = [threading.Thread(target=w) for w in work]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for t in self.threads:
            t.join()


class Process:
    """A server that runs in the background, with its output in a file."""

    spawned = weakref.WeakSet()  # all of them

    def __init__(self, log):
        self.log, self.process = Path(log), None

    def spawn(self, command, env=None):
        Process.spawned.add(self)
        self.began = time.monotonic()
        with open(self.log, "ab") as out:
            self.process = subprocess.Popen([*WITH_US, *(str(c) for c in command)], stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **(env or {})})

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, how=signal.SIGTERM):
        if self.is_running():
            self.process.send_signal(how)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.log} does not stop:\n{self.text()[-3000:]}") from None
        return self.process.returncode if self.process else None

    def kill(self):
        self.stop(signal.SIGKILL)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class ZooKeeper(Process):
    def __init__(self, folder):
        super().__init__(folder / "zookeeper.log")
        self.folder, self.port = folder, free_port()

    def start(self, **env):
        config = self.folder / "zoo.cfg"
        config.write_text(f"dataDir={self.folder / 'data'}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
                          "tickTime=500\nmaxSessionTimeout=60000\nmaxClientCnxns=0\nadmin.enableServer=false\n")
        self.spawn([TOP / "bin" / "zookeeper-server-start.sh", config], {"KAFKA_JVM_PERFORMANCE_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC", **env})
        wait_until(lambda: accepts(self.port), f"ZooKeeper\n{self.text()}")

    def chroot(self):
        return Chroot(f"127.0.0.1:{self.port}/{uuid.uuid4().hex[:8]}")


def while_it_runs(server):
    """For a fixture: one that is started before and stopped after."""
    server.start()
    yield server
    server.stop()


def while_it_is_open(chroot):
    """The same of a part of ZooKeeper."""
    yield chroot
    chroot.close()


class Chroot:
    """A part of ZooKeeper that belongs to one cluster."""

    def __init__(self, connect):
        self.connect = connect
        self._client = None

    @property
    def client(self):
        if self._client is None:
            self._client = KazooClient(hosts=self.connect)
            self._client.start(PATIENCE)
        return self._client

    def close(self):
        if self._client is not None:
            self._client.stop()
            self._client.close()
            self._client = None

    def get(self, path):
        return self.client.get(path)[0]

    def children(self, path):
        return sorted(self.client.get_children(path))


class Broker(Process):
    session_timeout = 3000  # which is waited for before it is back after a kill

    def __init__(self, zookeeper, data, log, properties):
        super().__init__(log)
        self.zookeeper, self.data, self.port = zookeeper, Path(data), free_port()
        self.env = {}
        self.others = [self]  # all that have been this broker, each in its turn: other()
        self.properties = {
            "broker.id": "0",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "log.dirs": str(data),
            "zookeeper.connect": zookeeper.connect,
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "5",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "zookeeper.session.timeout.ms": str(self.session_timeout),
            "zookeeper.connection.timeout.ms": "60000",  # without it, as long as a session
            "controlled.shutdown.retry.backoff.ms": "500",  # the last one of several finds nobody who takes over
        }
        self.properties.update({k.replace("_", "."): str(v) for k, v in properties.items()})

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.port}"

    def write_config(self):
        path = self.log.with_suffix(".properties")
        path.write_text("".join(f"{k}={v}\n" for k, v in self.properties.items()))
        return path

    def start(self):
        self.launch()
        wait_until(self.is_ready, f"the broker {self.log}")

    def is_ready(self):
        """It serves metadata, itself among the brokers and with a controller."""
        assert self.is_running(), f"the broker has ended:\n{self.text()[-3000:]}"
        if not accepts(self.port):
            return False  # kcat would wait a second before it tries again
        out = kcat(self, "-L", "-m", 2, check=False)  # which asks no more of one that is not that far yet
        return "(controller)" in out

    def restart(self):
        self.start()


class Barnabas(Broker):
    def launch(self):
        self.spawn([BUILD / "barnabas", self.write_config()], {"ASAN_OPTIONS": "abort_on_error=0:verify_asan_link_order=0", "UBSAN_OPTIONS": "print_stacktrace=1", "TSAN_OPTIONS": "halt_on_error=0", **self.env})

    def check_log(self):
        text = self.text()
        for bad in ("FATAL", "Sanitizer", "runtime error"):
            assert bad not in text, f"{bad} in {self.log}:\n{text[-6000:]}"


class Apache(Broker):
    jars = JARS
    session_timeout = 6000

    def start(self):
        """One whose session expires while it starts ends, on a machine that is as busy as that; it is started again."""
        self.launch()
        for _ in range(3):
            wait_until(lambda: not self.is_running() or self.is_ready(), f"the broker {self.log}", 180)
            if self.is_running() or "SessionExpiredException" not in self.text():
                break
            self.launch()
        assert self.is_running(), f"the broker has ended:\n{self.text()[-3000:]}"

    def launch(self):
        command = jvm(*log4j(os.environ.get("APACHE_LOG_LEVEL", "WARN")), jars=self.jars, heap=512)
        self.spawn([*command, "kafka.Kafka", self.write_config()], self.env)

    def check_log(self):
        pass


def apache_of(version):
    """Apache's broker of that version, which Maven brings once."""
    folder = TOP / "test" / "java-old"
    jars = folder / "target" / version
    complete = jars / ".complete"
    if not complete.exists() or complete.stat().st_mtime < (folder / "pom.xml").stat().st_mtime:
        run(["mvn", "-q", "-B", "-f", folder, "dependency:copy-dependencies", f"-Dkafka.version={version}", f"-DoutputDirectory={jars}"], timeout=600)
        complete.touch()
    return type(f"Apache{version}", (Apache,), {"jars": jars})


def preloaded(source, folder):
    """A library of that source beside the tests, for LD_PRELOAD."""
    out = folder / Path(source).with_suffix(".so")
    run(["cc", "-shared", "-fPIC", "-o", out, Path(__file__).parent / source, "-ldl"])
    return out


def other(broker, kind):
    """The same broker, of the other kind: its id, data, address and settings."""
    new = kind(broker.zookeeper, broker.data, broker.log.with_name(f"{kind.__name__}-{broker.log.name}"), {})
    new.port, new.properties, new.env, new.others = broker.port, broker.properties, broker.env, broker.others
    new.others.append(new)
    return new


def run(command, stdin=None, check=True, timeout=PATIENCE, env=None):
    done = subprocess.run([str(c) for c in command], input=stdin, capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, **(env or {})})
    if check:
        assert done.returncode == 0, f"{command} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


def kcat(broker, *args, stdin=None, check=True):
    if "-C" in args:
        args = ["-X", "fetch.wait.max.ms=10", *args]  # so long does it wait to be sure of an end
    return run(["kcat", "-b", broker.bootstrap, "-m", "10", *args], stdin, check)


def run_tool(tool, *args, stdin=None, jars=JARS):
    """One of Apache's command-line tools: its exit code, and what it prints."""
    if tool in ALONE or Path.cwd() != HERE or not TOOLBOX.exists():
        command = jvm("-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", jars=jars, archived=tool not in ALONE)
        return subprocess.run([*command, tool, *map(str, args)], input=stdin, capture_output=True, text=True, timeout=PATIENCE)
    return toolbox_of(jars).run(tool, *args, stdin=stdin, timeout=PATIENCE)


@functools.cache
def toolbox_of(jars):
    toolbox = Toolbox([*jvm("-Dfile.encoding=UTF-8", "-Djava.security.manager=allow", jars=jars, heap=512, classes=TOOLBOX.parent), "Toolbox"])
    atexit.register(toolbox.stop)
    return toolbox


def without_noise(text):
    return "".join(line + "\n" for line in text.splitlines() if line and not line.startswith(("SLF4J", "log4j:")))


def java(tool, *args, stdin=None, check=True, jars=JARS):
    """What one of Apache's command-line tools says."""
    done = run_tool(tool, *args, stdin=stdin, jars=jars)
    out = without_noise(done.stdout + "\n" + done.stderr)
    if check:
        assert done.returncode == 0, f"{tool} {args} gave {done.returncode}:\n{out}"
    return out


def produce(broker, topic, lines, *args):
    kcat(broker, "-P", "-t", topic, *args, stdin="".join(line + "\n" for line in lines))


def consume(broker, topic, *args, fmt="%s\\n"):
    return kcat(broker, "-q", "-C", "-t", topic, "-o", "beginning", "-e", "-f", fmt, *args).splitlines()


# ---- Frames by hand ----


def frame(key, version, body=b"", correlation=7, client=b"test"):
    head = struct.pack(">hhih", key, version, correlation, len(client)) + client
    return struct.pack(">i", len(head) + len(body)) + head + body


def connect(broker):
    return socket.create_connection(("127.0.0.1", broker.port), PATIENCE)


def receive(sock, count):
    """So many bytes, or None when the broker has closed the connection."""
    data = b""
    while len(data) < count:
        try:
            more = sock.recv(count - len(data))
        except ConnectionResetError:
            return None
        if not more:
            return None
        data += more
    return data


def read_frame(sock):
    """The next answer, or None when the broker has closed the connection."""
    head = receive(sock, 4)
    return head and receive(sock, struct.unpack(">i", head)[0])
