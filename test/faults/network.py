"""Hosts on one machine: network namespaces on a bridge, and ways to cut them off.

A packet is lost without a word when its receiver's hardware address is a wrong one: that cuts one direction of one pair of
hosts, and needs nothing of the kernel but neighbour tables.
"""

import os
import subprocess

NOWHERE = "02:00:00:00:00:01"


def ip(*args):
    subprocess.run(["ip", *map(str, args)], check=True, capture_output=True)


class Network:
    def __init__(self):
        self.tag = f"bf{os.getpid() % 100000}"
        self.subnet = f"10.{100 + os.getpid() % 100}.{os.getpid() // 100 % 256}"
        self.hosts = []

    def __enter__(self):
        ip("link", "add", self.tag, "type", "bridge")
        ip("addr", "add", f"{self.subnet}.254/24", "dev", self.tag)
        ip("link", "set", self.tag, "up")
        return self

    def __exit__(self, *_):
        for host in self.hosts:
            subprocess.run(["ip", "netns", "del", host.namespace], capture_output=True)
        subprocess.run(["ip", "link", "del", self.tag], capture_output=True)

    def host(self):
        h = Host(self, len(self.hosts) + 1)
        self.hosts.append(h)
        return h


class Host:
    def __init__(self, network, number):
        self.network, self.address = network, f"{network.subnet}.{number}"
        self.namespace = f"{network.tag}n{number}"
        self.mac = f"02:00:00:00:01:{number:02x}"
        outer = f"{network.tag}v{number}"
        ip("netns", "add", self.namespace)
        ip("link", "add", outer, "type", "veth", "peer", "name", "eth0", "address", self.mac, "netns", self.namespace)
        ip("link", "set", outer, "master", network.tag, "up")
        for command in (["addr", "add", f"{self.address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            ip("-n", self.namespace, *command)

    def loses(self, other):
        """What this host sends to the other is lost from now on."""
        ip("-n", self.namespace, "neigh", "replace", other.address, "lladdr", NOWHERE, "dev", "eth0", "nud", "permanent")

    def reaches(self, other):
        ip("-n", self.namespace, "neigh", "replace", other.address, "lladdr", other.mac, "dev", "eth0", "nud", "permanent")

    def command(self, *args):
        return ["ip", "netns", "exec", self.namespace, *map(str, args)]


def cut(a, b):
    a.loses(b)
    b.loses(a)


def join(a, b):
    a.reaches(b)
    b.reaches(a)
