"""The scripts for bpftrace in contrib, on a broker that works: where it is asked for, as a kernel may let nobody trace."""

import os
import re
import signal
import subprocess

import pytest
from harness import BUILD, PATIENCE, TOP, produce
from test_tools import topics

SCRIPTS = TOP / "contrib" / "bpftrace"


pytestmark = pytest.mark.skipif("BARNABAS_TRACE" not in os.environ, reason="it needs bpftrace, root and a kernel that lets it")


def traced(name, folder, act):
    """What the script says while `act` is done."""
    text = (SCRIPTS / name).read_text().replace("/usr/sbin/barnabas", str(BUILD / "barnabas"))
    copy = folder / name
    copy.write_text(text + '\ninterval:ms:100 { printf("traced\\n"); }\n')  # the last to begin
    process = subprocess.Popen(["bpftrace", copy], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = ""
        while "traced" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        act()
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=PATIENCE)[0]
    finally:
        process.kill()


def test_each_script_tells_what_it_is_for(make_broker, tmp_path):
    broker = make_broker()
    topics(broker, "--create", "--topic", "busy", "--partitions", 1, "--config", "flush.messages=1")

    def work():
        produce(broker, "busy", ["x" * 1000] * 50, "-X", "batch.num.messages=1")

    said = traced("busy-partitions.bt", tmp_path, work)
    assert int(re.search(rf"@bytes\[{broker.data}/busy-0\]: (\d+)", said)[1]) > 50_000
    assert re.search(r"@us: \n\[", traced("fsync.bt", tmp_path, work))
    said = traced("request-latency.bt", tmp_path, work)
    for phase in "total", "queue", "local", "remote", "send":
        assert re.search(rf"@{phase}\[0\]: \n[\[(]", said), phase
    said = traced("changes.bt", tmp_path, lambda: topics(broker, "--create", "--topic", "new", "--partitions", 2))
    assert "new-0 has 1 in sync" in said and "new-1 has 1 in sync" in said and re.search(r"ZooKeeper: type 4, state 3, \S*/brokers/topics", said)
    assert {f.name for f in SCRIPTS.glob("*.bt")} == {"busy-partitions.bt", "fsync.bt", "request-latency.bt", "changes.bt"}
