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
from workload import History, Member, Reader, Writer, read_all
from confluent_kafka.admin import AdminClient, NewTopic

TOPIC, PARTITIONS = "facts", 6
LONG = 1.7 * SESSION_MS / 1000  # seconds: a session's end


class Faults:
    def __init__(self, cluster, rng):
        self.cluster, self.rng = cluster, rng
        self.undo = []

    def any_broker(self):
        kind = self.rng.choice(["any", "any", "leader", "controller"])
        found = None
        if kind == "leader":
            found = self.cluster.leader(TOPIC, self.rng.randrange(PARTITIONS))
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


def create_topic(cluster):
    admin = AdminClient({"bootstrap.servers": cluster.bootstrap, "log_level": 0})
    wait_until(lambda: len(admin.list_topics(timeout=10).brokers) == len(cluster.brokers), "all brokers", 60)
    admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3)])[TOPIC].result(60)
    wait_until(lambda: cluster.in_sync(TOPIC, PARTITIONS), "the topic", 60)


def run(options, folder, rng):
    history, started = History(), time.monotonic()
    with Network() as network:
        cluster = Cluster(network, folder, options.program)
        try:
            cluster.start()
            create_topic(cluster)
            workers = [kind(history, cluster.bootstrap, TOPIC, PARTITIONS, name)
                       for kind, name in ((Writer, "w1"), (Writer, "w2"), (Reader, "r1"), (Member, "m1"), (Member, "m2"))]
            for w in workers:
                w.start()
            faults = Faults(cluster, rng)
            end = time.monotonic() + options.minutes * 60
            while time.monotonic() < end and not history.wrong:
                for what in faults.round(options.only):
                    if what:
                        print(f"{time.monotonic() - started:7.1f} s  {what}", flush=True)
                if rng.random() < 0.3:
                    wait_until(lambda: cluster.in_sync(TOPIC, PARTITIONS), "all in sync after a fault", 120)
            wait_until(lambda: cluster.in_sync(TOPIC, PARTITIONS), "all in sync in the end", 120)
            for w in workers:
                w.finish()
            wrong = checker.check(history, read_all(cluster.bootstrap, TOPIC, PARTITIONS))
            for b in cluster.brokers:
                b.stop()
            for p in range(PARTITIONS):
                wrong += checker.compare_replicas([b.data / f"{TOPIC}-{p}" for b in cluster.brokers])
            for b in cluster.brokers:
                b.check_log()
        finally:
            cluster.stop()
    for reason, count in Counter(error for _, error in history.failed).most_common():
        print(f"{count} failed: {reason}")
    print(f"{len(history.acknowledged)} records acknowledged, {len(history.failed)} failed, {len(history.seen)} read, "
          f"{sum(Member.committed.values())} committed")
    assert history.acknowledged and history.seen, "nothing has happened"
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
