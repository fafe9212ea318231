"""
A whole broker in a machine whose kernel encrypts (kTLS), with ZooKeeper and the clients outside. Where it is asked for, with
BARNABAS_KTLS=1 and a build without sanitizers, as the machine is emulated.
"""

import os
import subprocess

import pytest
from certificates import Authority
from harness import BUILD, TOP, Process, free_port, kcat, wait_until
from test_exporter import scrape
from test_native import table

pytestmark = pytest.mark.skipif("BARNABAS_KTLS" not in os.environ, reason="it takes an emulated machine")
HOST, GUEST = "10.0.2.2", "10.0.2.15"  # as QEMU's own network has them


class Machine(Process):
    """Its log is the console, to which the broker writes."""

    def __init__(self, folder, zookeeper, keys, **settings):
        super().__init__(folder / "console.log")
        self.folder, self.port, self.plain, self.http = folder, free_port(), free_port(), free_port()
        self.bootstrap = f"localhost:{self.port}"
        etc = folder / "files" / "etc"
        etc.mkdir(parents=True)
        (etc / "keys.pem").write_text(keys.read_text())
        (etc / "server.properties").write_text("\n".join(f"{k}={v}" for k, v in {
            "broker.id": 0,
            "zookeeper.connect": zookeeper.connect.replace("127.0.0.1", HOST),
            "zookeeper.session.timeout.ms": 30000,
            "log.dirs": "/tmp/data",
            "offsets.topic.replication.factor": 1,
            "listeners": f"PLAINTEXT://0.0.0.0:{self.plain},SSL://0.0.0.0:{self.port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.plain},SSL://localhost:{self.port}",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": "/etc/keys.pem",
            "barnabas.http.listeners": f"NATIVE://0.0.0.0:{self.http}",
            **settings,
        }.items()))
        (folder / "work").write_text(f"ip addr add {GUEST}/24 dev eth0\nip link set eth0 up\nip route add default via {HOST}\n"
                                     "barnabas /etc/server.properties\n")

    def start(self):
        made = subprocess.run([TOP / "test" / "ktls" / "image.sh", self.folder, self.folder / "work", BUILD / "barnabas"], capture_output=True, text=True)
        assert made.returncode == 0, made.stderr
        doors = "".join(f",hostfwd=tcp:127.0.0.1:{p}-:{p}" for p in (self.port, self.plain, self.http))
        self.spawn(["qemu-system-x86_64", "-M", "q35", "-cpu", "max", "-m", "1024", "-nographic", "-no-reboot", "-kernel", self.folder / "vmlinuz",
                    "-initrd", self.folder / "initrd", "-append", "console=ttyS0 quiet panic=-1",
                    "-netdev", f"user,id=net{doors}", "-device", "virtio-net-pci,netdev=net"])
        wait_until(lambda: "started (kafka.server.KafkaServer)" in self.text() or not self.is_running(), "the broker", 300)
        assert self.is_running(), self.text()


@pytest.mark.parametrize("ktls, by", [("auto", "kernel"), ("off", "broker")])
def test_what_listeners_send_is_encrypted_by_the_kernel(zookeeper, tmp_path, ktls, by):
    authority = Authority(tmp_path / "certificates")
    machine = Machine(tmp_path, zookeeper, authority.issue("broker"), **{"ssl.ktls": ktls})
    machine.start()
    try:
        tls = "-X", "security.protocol=ssl", "-X", f"ssl.ca.location={authority.certificate}"
        records = [f"{i:06} " + "x" * 1000 for i in range(5000)]
        kcat(machine, "-P", "-t", "t", "-X", "acks=all", *tls, stdin="\n".join(records))
        assert kcat(machine, "-C", "-t", "t", "-e", "-q", *tls).splitlines() == records
        counts = {dict(labels)["encrypted_by"]: v for (name, labels), v in table(scrape(machine.http)).items()
                  if name == "barnabas_tls_connections_total" and dict(labels)["listener"] == "SSL"}
        assert counts[by] > 0 and counts["broker" if by == "kernel" else "kernel"] == 0, counts
        assert f"What listener SSL sends is encrypted by {'the kernel' if by == 'kernel' else 'this broker'}" in machine.text()
    finally:
        machine.kill()
