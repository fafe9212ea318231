"""Breaks a cluster of three brokers in all ways, and checks that nothing that was promised is lost.

    faults.py --program BROKER [--minutes N] [--seed S] [--folder F] [--only FAULT,...]
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import checker
from cluster import SESSION_MS, Cluster, faketime_library, wait_until
from network import Network, cut, join
from transactions import Copier, Transactions, check_copies
from workload import Group, History, Member, Reader, Writer, are_done, read_all
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC, COPIES, PARTITIONS = "facts", "copies", 6
LED = [(TOPIC, PARTITIONS), (COPIES, PARTITIONS), ("__consumer_offsets", 3), ("__transaction_state", 3)]
LONG = 1.7 * SESSION_MS / 1000  # seconds: a session's end


class Faults:
    def __init__(self, cluster, rng):
        self.cluster, self.rng = cluster, rng
        self.undo = []

    def any_broker(self):
        kind = self.rng.choice(["any", "any", "leader", "controller"])
        found = None
        if kind == "leader":
            topic, partitions = self.rng.choice(LED)
            found = self.cluster.leader(topic, self.rng.randrange(partitions))
        elif kind == "controller":
            found = self.cluster.controller()
        return found or self.rng.choice(self.cluster.brokers)

    def others(self, broker):
        return [b for b in self.cluster.brokers if b is not broker]

    def kill(self):
        broker = self.any_broker()
        broker.kill()
        return f"kill -9 of {broker.number}"

    def kill_controller(self):
        broker = self.cluster.controller() or self.any_broker()
        broker.kill()
        return f"kill -9 of {broker.number}, the controller"

    def kill_two(self):
        two = self.rng.sample(self.cluster.brokers, 2)
        for b in two:
            b.kill()
        return f"kill -9 of {two[0].number} and {two[1].number}"

    def stop(self):
        broker = self.any_broker()
        broker.ask_to_stop()
        return f"stop of {broker.number}"

    def pause(self):
        broker = self.any_broker()
        if not broker.is_running():
            return None
        broker.pause()
        return f"pause of {broker.number}"

    def pause_briefly(self):
        broker = self.any_broker()
        if not broker.is_running():
            return None
        broker.pause()
        time.sleep(self.rng.uniform(0.1, 0.6) * SESSION_MS / 1000)
        broker.resume()
        return f"short pause of {broker.number}"

    def cut_pair(self, a, b, how):
        if how == "both":
            cut(a, b)
        else:
            a.loses(b)
        self.undo.append(lambda: join(a, b))

    def cut_from_zookeeper(self):
        broker, how = self.any_broker(), self.rng.choice(["both", "out", "in"])
        pair = [broker.host, self.cluster.zookeeper.host]
        self.cut_pair(*(pair if how != "in" else pair[::-1]), how)
        return f"{broker.number} cut off from ZooKeeper, {how}"

    def cut_from_peers(self):
        broker, how = self.any_broker(), self.rng.choice(["both", "out", "in"])
        for other in self.others(broker):
            pair = [broker.host, other.host]
            self.cut_pair(*(pair if how != "in" else pair[::-1]), how)
        return f"{broker.number} cut off from its peers, {how}"

    def cut_one_pair(self):
        broker = self.any_broker()
        other, how = self.rng.choice(self.others(broker)), self.rng.choice(["both", "out"])
        self.cut_pair(broker.host, other.host, how)
        return f"{broker.number} cut off from {other.number}, {how}"

    def cut_off(self):
        broker = self.any_broker()
        for host in [self.cluster.zookeeper.host] + [b.host for b in self.others(broker)]:
            self.cut_pair(broker.host, host, "both")
        return f"{broker.number} cut off from all"

    def restart_zookeeper(self):
        self.cluster.zookeeper.kill()
        time.sleep(self.rng.uniform(0, 1.5))
        self.cluster.zookeeper.start()
        return "restart of ZooKeeper"

    def end_session(self):
        broker = self.any_broker()
        try:
            self.cluster.close_session(broker)
        except Exception as e:  # noqa: BLE001 (ZooKeeper may be away, too)
            return f"no end of a session: {e!r}"
        return f"end of the session of {broker.number}"

    def jump_clock(self):
        broker, seconds = self.any_broker(), self.rng.choice([-3600, -30, 30, 3600])
        broker.set_clock(seconds)
        self.undo.append(lambda: broker.set_clock(0))
        return f"clock of {broker.number} jumps by {seconds} s" if faketime_library() else None

    def roll(self):
        for b in self.cluster.brokers:
            b.resume()
            if b.is_running():
                b.stop()
            b.start()
            wait_until(lambda: b.is_running() and self.cluster.client.exists(f"/brokers/ids/{b.number}"), f"broker {b.number}", 60)
            time.sleep(self.rng.uniform(0, 2))
        return "rolling restart"

    def heal(self):
        for undo in self.undo:
            undo()
        self.undo = []
        self.cluster.revive()

    ALL = ["kill", "kill", "kill_controller", "kill_two", "stop", "pause", "pause_briefly", "cut_from_zookeeper", "cut_from_peers", "cut_one_pair",
           "cut_off", "restart_zookeeper", "end_session", "jump_clock"]

    def round(self, only):
        """One to three faults at once, some time, all well again, and perhaps rest."""
        names = only or self.ALL
        if not only and self.rng.random() < 0.08:
            yield self.roll()
        for _ in range(self.rng.choice([1, 1, 1, 2, 2, 3])):
            yield getattr(self, self.rng.choice(names))()
            time.sleep(self.rng.uniform(0, 1))
        time.sleep(self.rng.uniform(0.2, 1) * LONG)
        self.heal()
        time.sleep(self.rng.choice([0, 0.5, 2]))


def create_topics(cluster):
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    wait_until(lambda: len(admin.list_topics(timeout=10).brokers) == len(cluster.brokers), "all brokers", 60)
    for done in admin.create_topics([NewTopic(t, PARTITIONS, 3) for t in (TOPIC, COPIES)]).values():
        done.result(60)
    await_in_sync(cluster, "the topics", 60)


def await_in_sync(cluster, what, patience=120):
    wait_until(lambda: all(cluster.in_sync(t, PARTITIONS) for t in (TOPIC, COPIES)), what, patience)


class Load:
    """Who writes, reads and copies, and what is to be said of it in the end."""

    def __init__(self, client):
        self.client, self.facts, self.copies = bootstrap, History(), History()
        self.transactions, self.group = Transactions(), Group("members", self.facts, PARTITIONS)
        base = self.facts, client, TOPIC, PARTITIONS
        self.writers = [Writer(*base, name, pace=0.01) for name in ("w1", "w2")]
        self.others = [Reader(*base, "r1"), Reader(self.copies, client, COPIES, PARTITIONS, "r2")]
        self.others += [Member(*base, name, group=self.group) for name in ("m1", "m2", "m3")]
        self.others += [Copier(*base, name, copies=COPIES, transactions=self.transactions) for name in ("c1", "c2")]

    def start(self):
        for w in self.writers + self.others:
            w.start()

    def is_right(self):
        return not self.facts.wrong and not self.copies.wrong

    def finish(self):
        """Everything that is wrong, when all that was written is read and copied."""
        for w in self.writers:
            w.finish()
        facts = read_all(self.client, TOPIC, PARTITIONS)
        ends = {p: max(offset for partition, offset in facts if partition == p) + 1 for p in range(PARTITIONS)}
        for name in "members", "copiers":
            wait_until(lambda: not self.is_right() or are_done(self.client, TOPIC, name, ends), f"all the work of {name}", 180)
        for w in self.others:
            w.finish()
        copies = read_all(self.client, COPIES, PARTITIONS)
        return (checker.check(self.facts, facts) + checker.check_group(self.group, facts) + checker.check_seen(self.copies, copies) +
                check_copies(copies, facts, self.transactions))

    def report(self):
        for reason, count in Counter(error for _, error in self.facts.failed).most_common():
            print(f"{count} failed: {reason}")
        for reason, count in self.transactions.troubles.most_common():
            print(f"{count} times {reason}")
        print(f"{len(self.facts.acknowledged)} records acknowledged, {len(self.facts.failed)} failed, {len(self.facts.seen)} read, "
              f"{sum(self.group.committed.values())} committed")
        print(f"{len(self.transactions.committed)} transactions committed, {len(self.transactions.aborted)} aborted")
        assert self.facts.acknowledged and self.copies.seen, "nothing has happened"


def run(options, folder, rng):
    started = time.monotonic()
    with Network() as network:
        cluster = Cluster(network, folder, options.program)
        try:
            cluster.start()
            create_topics(cluster)
            load = Load({"bootstrap.servers": cluster.bootstrap})
            load.start()
            faults = Faults(cluster, rng)
            end = time.monotonic() + options.minutes * 60
            while time.monotonic() < end and load.is_right():
                for what in faults.round(options.only):
                    if what:
                        print(f"{time.monotonic() - started:7.1f} s  {what}", flush=True)
                if rng.random() < 0.3:
                    await_in_sync(cluster, "all in sync after a fault")
            await_in_sync(cluster, "all in sync in the end")
            wrong = load.finish()
            for b in cluster.brokers:
                b.stop()
            for folders in ([b.data / f"{t}-{p}" for b in cluster.brokers] for t in (TOPIC, COPIES) for p in range(PARTITIONS)):
                wrong += checker.compare_replicas(folders)
            for b in cluster.brokers:
                b.check_log()
        finally:
            cluster.stop()
    load.report()
    return wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--folder")
    parser.add_argument("--only", type=lambda text: text.split(","))
    options = parser.parse_args()
    folder = Path(options.folder or tempfile.mkdtemp(prefix="barnabas-faults-"))
    folder.mkdir(exist_ok=True)
    print(f"seed {options.seed}, {options.minutes:g} minutes, in {folder}", flush=True)
    try:
        wrong = run(options, folder, random.Random(options.seed))
    except AssertionError as e:
        wrong = [str(e)]
    for line in wrong[:50]:
        print(f"WRONG {line}")
    if wrong:
        print(f"FAIL with --seed {options.seed}: {len(wrong)} things are wrong; the logs are in {folder}")
        sys.exit(1)
    print("nothing is lost")
    if not options.folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
