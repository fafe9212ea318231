"""
What encrypted bytes cost where the kernel encrypts (kTLS): Apache Kafka 3.9.1, barnabas, and barnabas that encrypts by itself, in turns, each in
a machine of its own, which is emulated. There an instruction takes a nanosecond, whichever it is, and whatever else the host does: CPU seconds
of a broker are the instructions that it and the kernel did for it.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import measure
from certificates import Authority
from measure import GIGA, harness

MODULES = ("java.base", "java.desktop", "java.logging", "java.management", "java.naming", "java.security.jgss", "java.security.sasl", "java.sql", "java.xml",
           "jdk.crypto.ec", "jdk.management", "jdk.unsupported")  # of Java's, what the broker and ZooKeeper need
UNUSED = re.compile("rocksdbjni|connect|streams|jersey|jetty|netty-transport-native")
PROPERTIES = """
broker.id=0
zookeeper.connect=127.0.0.1:2181
zookeeper.connection.timeout.ms=600000
zookeeper.session.timeout.ms=60000
log.dirs=/tmp/data
listeners=PLAINTEXT://127.0.0.1:9092,SSL://127.0.0.1:9093
ssl.keystore.type=PEM
ssl.keystore.location=/etc/keys.pem
"""
ZOOKEEPER = "clientPort=2181\ndataDir=/tmp/zookeeper\ntickTime=3000\nadmin.enableServer=false\n"
START = {"apache": f"java {' '.join(measure.JVM)} -Dlog4j.configuration=file:/etc/log4j.properties -cp '/java/lib/*' kafka.Kafka /etc/plain.properties",
         "barnabas": "barnabas /etc/plain.properties", "barnabas-alone": "barnabas /etc/alone.properties"}
INIT = """
export PATH=/bin:/java/runtime/bin BENCH_TLS=/etc/ca.pem
for kind in {kinds}; do grep -qw kind=$kind /proc/cmdline && break; done
java -Xmx128m -Dlog4j.configuration=file:/etc/log4j.properties -cp '/java/lib/*' org.apache.zookeeper.server.quorum.QuorumPeerMain /etc/zoo.cfg &
case $kind in
{starts}
esac >/tmp/broker.log 2>&1 &
broker=$!
until grep -q 'started (kafka.server.KafkaServer)' /tmp/broker.log; do
    [ -d /proc/$broker ] || {{ cat /tmp/broker.log; poweroff -f; }}
    sleep 1
done

create() {{ # TOPIC
    barnabas-tool kafka-topics --bootstrap-server 127.0.0.1:9092 --create --topic $1 --partitions 4 --replication-factor 1
    until load produce localhost 9093 $1 4 4 1 0 none 1 >/dev/null 2>&1; do sleep 1; done
}}

cpu() {{ awk '{{ print $14 + $15 }}' /proc/$broker/stat; }}

measured() {{ # NAME ARGUMENTS...
    name=$1
    shift
    before=$(cpu)
    result=$(load "$@")
    echo "MEASURED $(($(cpu) - before)) $name $result"
}}

create warm
for n in 1 2; do
    measured warm produce localhost 9093 warm 4 {half} 1000 16384 none 1
    measured warm consume localhost 9093 warm 4 {half} 1048576
done
for batch in 16384 1000000; do
    create t$batch
    measured produce-$batch produce localhost 9093 t$batch 4 {size} 1000 $batch none 1
    measured consume-$batch consume localhost 9093 t$batch 4 {size} 1048576
done
grep 'Tls[TR]xSw' /proc/net/tls_stat
"""


class Image:
    """What all of the machines boot; which kind of broker they run is on the kernel's command line."""

    def __init__(self, folder, megabytes):
        self.folder = folder
        files = folder / "files"
        etc, jars = files / "etc", files / "java" / "lib"
        etc.mkdir(parents=True)
        jars.mkdir(parents=True)
        for jar in harness.JARS.glob("*.jar"):
            if not UNUSED.search(jar.name):
                shutil.copy(jar, jars)
        harness.run(["jlink", "--add-modules", ",".join(MODULES), "--strip-debug", "--no-header-files", "--no-man-pages", "--output",
                     files / "java" / "runtime"], timeout=300)
        authority = Authority(folder / "certificates")
        shutil.copy(authority.issue("broker"), etc / "keys.pem")
        shutil.copy(authority.certificate, etc / "ca.pem")
        (etc / "hosts").write_text("127.0.0.1 localhost\n")
        (etc / "zoo.cfg").write_text(ZOOKEEPER)
        (etc / "plain.properties").write_text(PROPERTIES)
        (etc / "alone.properties").write_text(PROPERTIES + "ssl.ktls=off\n")
        (etc / "log4j.properties").write_text("log4j.rootLogger=INFO,out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
                                              "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
                                              "log4j.appender.out.layout.ConversionPattern=%m (%c)%n\n")
        starts = "\n".join(f"{kind}) exec {command} ;;" for kind, command in START.items())
        (folder / "init").write_text(INIT.format(kinds=" ".join(reversed(START)), starts=starts, size=megabytes << 20, half=megabytes << 19))
        harness.run([measure.TOP / "test" / "ktls" / "image.sh", folder, folder / "init", harness.BUILD / "barnabas", harness.BUILD / "barnabas-tool",
                     measure.LOAD], timeout=600)


class Run(measure.Run):
    def run(self, parts):
        log = self.bench.folder / f"{self.kind}.log"
        with open(log, "w") as out:
            subprocess.run(["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-m", "4096", "-nographic", "-no-reboot", "-icount", "shift=0,sleep=off",
                            "-kernel", self.bench.image.folder / "vmlinuz", "-initrd", self.bench.image.folder / "initrd",
                            "-append", f"console=ttyS0 quiet panic=-1 kind={self.kind}"], stdin=subprocess.DEVNULL, stdout=out, timeout=7200)
        text = log.read_text(errors="replace").replace("\r", "")
        measured = re.findall(r"^MEASURED (\d+) (\w+)-(\d+) (\{.*\})$", text, re.M)
        if len(measured) != 4:
            raise RuntimeError(text[-3000:])
        for ticks, what, batch, result in measured:
            result = json.loads(result)
            name = f"kTLS, {what}: CPU per GB, {int(batch) // 1000} KB batches"
            self.note(name, int(ticks) / os.sysconf("SC_CLK_TCK") / (result["bytes"] / GIGA), "s")


class Bench(measure.Bench):
    kinds = ["apache", "barnabas", "barnabas-alone"]

    def run(self):
        try:
            self.image = Image(Path(self.folder), self.options.megabytes)
            self.run_rounds()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


measure.NAMES["barnabas-alone"] = "barnabas, `ssl.ktls=off`"

if __name__ == "__main__":
    parser = measure.arguments(__doc__, ["throughput"])
    parser.set_defaults(unfilled=True, rounds=1, kinds=",".join(Bench.kinds))
    parser.add_argument("--megabytes", type=int, default=256, help="data of each measurement")
    measure.main(parser, Run, Bench)
