"""Sends a running broker what it should not get, and sees to it that it goes on for all others.

    hostile.py [--seconds N] [--seed S] [--only API,...] [--without API,...] [--folder F]
    hostile.py --replay FILE [--one-by-one]

The broker is the one in BARNABAS_BUILD. See README.md.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from batches import TRANSACTIONAL, make_batch, make_record  # noqa: E402
from clients import Client, Fault, History  # noqa: E402
from harness import Barnabas, ZooKeeper, wait_until  # noqa: E402
from maker import OF_CONTROLLERS, Known, Maker, Spoiler, is_too_much  # noqa: E402
from messages import APIS, Asker, errors_in, request_codec, write_request  # noqa: E402
from watch import PATIENCE, Watch  # noqa: E402

LIFE = 25  # seconds, after which the broker is stopped and started again on what it has
OFFICE = 0.8  # of a life, after which strangers speak as the controller, too
CLIENTS, DEAF, CROWD = 30, 5, 500
SHOWN = 12
TOPICS = [("one", 3, {}), ("two", 2, {"cleanup.policy": "compact"}), ("now", 2, {"message.timestamp.type": "LogAppendTime"}), ("big", 1, {"segment.bytes": "104857600", "retention.ms": "-1"}), ("passing", 2, {})]


class World:
    """ZooKeeper and the broker, with something in it."""

    def __init__(self, folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.zookeeper = ZooKeeper(folder)
        self.zookeeper.start()
        self.chroot = self.zookeeper.chroot()
        self.broker = Barnabas(self.chroot, folder / "data", folder / "broker.log", {"num_partitions": 2, "log_segment_bytes": 1 << 20, "log_cleaner_backoff_ms": 1000,
                                                                                    "transaction_state_log_num_partitions": 5})
        self.broker.env["ASAN_OPTIONS"] = "abort_on_error=0:verify_asan_link_order=0:quarantine_size_mb=16:max_allocation_size_mb=1024"
        self.known = Known(self.broker.data)

    def start(self):
        try:
            self.broker.start()
        except AssertionError as e:
            raise Fault(f"the broker does not start:\n{e}") from None
        self.known.controller_epoch = int(self.chroot.get("/controller_epoch"))
        self.known.broker_epoch = self.chroot.client.get("/brokers/ids/0")[1].czxid

    def stop(self):
        try:
            code = self.broker.stop()
        except AssertionError as e:
            raise Fault(str(e)) from None
        if code != 0:
            raise Fault(f"the broker ends with {code} when it is asked to:\n{self.broker.text()[-3000:]}")

    def end(self):
        self.broker.kill()
        self.chroot.close()
        self.zookeeper.stop()

    def prepare(self):
        """Topics, records, a group with offsets, a static member, an open transaction."""
        with Asker(self.broker) as a:
            ask_for_topics(a)
            for p in range(3):
                a.get("Produce", 9, produce("one", make_batch([make_record(i) for i in range(10)]), p))
            for _ in range(8):
                a.get("Produce", 9, produce("big", make_batch([make_record(value=random.Random(1).randbytes(900000))])))
            for key, kind in ("readers", 0), ("writer", 1):
                wait_until(lambda key=key, kind=kind: a.get("FindCoordinator", 2, {"Key": key, "KeyType": kind})["ErrorCode"] == 0, "a coordinator")
            offsets = {"GroupId": "readers", "Topics": [{"Name": "one", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 3, "CommittedMetadata": ""}]}]}
            wait_until(lambda: errors_in(a.get("OffsetCommit", 7, offsets)) == {0}, "a commit")
            join = {"GroupId": "static", "SessionTimeoutMs": 60000, "RebalanceTimeoutMs": 1000, "GroupInstanceId": "one", "ProtocolType": "consumer", "Protocols": [{"Name": "range"}]}
            self.known.learn("JoinGroup", join, wait_until(lambda: without_error(a.get("JoinGroup", 7, join)), "a member"))
            init = {"TransactionalId": "writer", "TransactionTimeoutMs": 60000}
            got = wait_until(lambda: without_error(a.get("InitProducerId", 4, init)), "a producer")
            self.known.learn("InitProducerId", init, got)
            who = {"ProducerId": got["ProducerId"], "ProducerEpoch": got["ProducerEpoch"]}
            a.get("AddPartitionsToTxn", 3, {"V3AndBelowTransactionalId": "writer", **{f"V3AndBelow{k}": v for k, v in who.items()}, "V3AndBelowTopics": [{"Name": "one", "Partitions": [0]}]})
            a.get("Produce", 9, {**produce("one", make_batch(producer=who["ProducerId"], epoch=who["ProducerEpoch"], sequence=0, attributes=TRANSACTIONAL)), "TransactionalId": "writer"})

    def restore(self):
        """Topics that were deleted are made again: there must be something to ask for."""
        try:
            with Asker(self.broker, PATIENCE) as a:
                answer = ask_for_topics(a)
        except OSError:
            return  # the watch will see why
        if not isinstance(answer, dict):
            raise Fault(f"a fresh client asks CreateTopics: {answer}")


def ask_for_topics(a):
    return a.get("CreateTopics", 5, {"timeoutMs": 5000, "Topics": [{"Name": n, "NumPartitions": p, "ReplicationFactor": 1, "Configs": [{"Name": k, "Value": v} for k, v in c.items()]}
                                                           for n, p, c in TOPICS]})


def produce(topic, records, partition=0):
    return {"Acks": -1, "TimeoutMs": 10000, "TopicData": [{"Name": topic, "PartitionData": [{"Index": partition, "Records": records}]}]}


def without_error(answer):
    return answer if isinstance(answer, dict) and answer["ErrorCode"] == 0 else None


class Attack:
    def __init__(self, world, seed, keys):
        self.world, self.rng, self.keys = world, random.Random(seed), keys
        self.maker, self.spoiler = Maker(self.rng, world.known), Spoiler(self.rng)
        self.history, self.watch = History(), Watch(world.broker)
        self.clients, self.made, self.asked, self.answers, self.given_up = [], 0, Counter(), Counter(), Counter()
        self.in_office = False

    # ---- Requests ----

    def learn(self, name, asked, answer):
        self.answers[name, "well" if errors_in(answer) <= {0} else "in vain"] += 1
        if asked is not None:
            self.world.known.learn(name, asked, answer)

    def choose_key(self):
        while True:
            key = self.rng.choice(list(self.keys))
            if key not in OF_CONTROLLERS or self.in_office and self.rng.random() < 0.3:
                return key

    def make_request(self):
        """What Client.send() takes."""
        key = self.choose_key()
        version = self.rng.randint(*self.keys[key])
        codec = request_codec(key, version)
        tree = self.maker.make(codec)
        how = self.rng.random()
        if 0.4 < how < 0.97:
            self.spoiler.spoil(codec, tree)
        if is_too_much(key, tree):
            tree["ValidateOnly"] = True
        client = self.rng.choice(["test", None, "", "\udcff", "a\0b", "c" * 1000]) if self.rng.random() < 0.1 else "test"
        data, length = write_request(key, version, tree, self.made & 0x7FFFFFFF, client), None
        about = f"{APIS[key].name} {version} {shorten(tree)}"
        if how > 0.95:
            tree, about = None, about + " and other bytes"
            data = self.spoiler.spoil_bytes(data)
            if self.rng.random() < 0.15:
                length = self.rng.choice([len(data) + 1, max(len(data) - 1, 0), 0, -1, 2**31 - 1, -2**31, 1 << 20])
        self.made += 1
        self.asked[APIS[key].name] += 1
        return data, about, length, tree

    # ---- Connections ----

    def connect(self, number):
        return Client(number, self.world.broker.port, self.history, deaf=number < DEAF)

    def step(self):
        """Something is asked by one that may, and whoever can sends and reads."""
        free = [c for c in self.clients if not c.is_busy()]
        if free:
            client = self.rng.choice(free)
            for _ in range(self.rng.choice([1, 1, 1, 5, 10])):
                client.send(*self.make_request())
                if client.is_busy():
                    break
        for c in Client.ready(self.clients, 0 if free else 0.01):
            if not c.pump(self.learn):
                self.give_up(c)
        for c in [c for c in self.clients if c.is_stuck()]:
            self.give_up(c)

    def give_up(self, client):
        for key, *_ in list(client.open)[:1]:
            self.given_up[APIS[key].name if key in APIS else key] += 1
        client.close()
        self.watch.look()
        self.clients[self.clients.index(client)] = self.connect(client.number)

    def crowd(self):
        """Many connections that ask for much and read nothing. Returns them."""
        body = {"ReplicaId": -1, "MaxWaitMs": 500, "MinBytes": 1, "MaxBytes": 50 << 20, "Topics": [{"Topic": "big", "Partitions": [{"Partition": 0, "PartitionMaxBytes": 50 << 20}]}]}
        crowd = [Client(1000 + i, self.world.broker.port, History(), deaf=True) for i in range(CROWD)]
        for c in crowd:
            c.send(write_request(1, 4, body), "a crowd's Fetch")
            c.pump(self.learn)
        self.history.note(what="crowd", about=f"{CROWD} connections ask for all of a topic and do not read")
        return crowd

    # ---- A broker's life ----

    def live(self, seconds):
        """Asks for so long, and stops the broker."""
        world = self.world
        world.start()
        begun = time.monotonic()
        self.clients = [self.connect(i) for i in range(CLIENTS)]
        crowd, crowd_at, restored = [], begun + seconds * self.rng.uniform(0.2, 0.6), begun
        self.in_office = False
        while (now := time.monotonic()) < begun + seconds:
            self.in_office = now > begun + seconds * OFFICE
            self.step()
            self.watch.look()
            if now > restored + 1:
                world.restore()
                restored = now
            if not crowd and crowd_at and now > crowd_at:
                crowd, crowd_at = self.crowd(), None
            elif crowd and now > begun + seconds * 0.75:
                for c in crowd:
                    c.sock.close()
                crowd = []
        for c in self.clients + crowd:
            c.sock.close()
        world.stop()
        self.watch.check_log()

    def run(self, seconds):
        end = time.monotonic() + seconds
        self.world.start()
        self.world.prepare()
        self.world.stop()
        while (left := end - time.monotonic()) > 3:
            self.live(min(left, LIFE))

    def report(self):
        print(f"{self.made} requests, {self.watch.highest >> 20} MB at most")
        for name in sorted(self.asked):
            print(f"    {name}: {self.asked[name]} asked, {self.answers[name, 'well']} answered well, {self.answers[name, 'in vain']} with errors, {self.given_up[name]} not")

    def tell(self, fault, folder):
        path = folder / "requests.json"
        self.history.save(path)
        print(f"FAULT: {fault}\n\nThe last requests, those marked * unanswered:")
        waiting = {id(e) for e in self.history.unanswered()}
        for e in list(self.history.entries)[-SHOWN * 4:]:
            if e["what"] == "send" and (id(e) in waiting or e in list(self.history.entries)[-SHOWN:]):
                print(f" {'*' if id(e) in waiting else ' '} {e['client']}: {e['about']}")
        print(f"\nAll of the last are in {path}; again: hostile.py --replay {path} [--one-by-one]")


def shorten(x, most=1500):
    text = repr(x)
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


# ---- Again ----


class Replay:
    def __init__(self, world, entries):
        self.world, self.entries, self.watch = world, entries, Watch(world.broker)
        self.history, self.clients = History(), {}

    def client(self, e):
        number = e["client"]
        if number not in self.clients:
            self.clients[number] = Client(number, self.world.broker.port, self.history, e.get("deaf", number < DEAF))
        return self.clients[number]

    def drop(self, number):
        if number in self.clients:
            self.clients.pop(number).close()

    def pump(self):
        for number, c in list(self.clients.items()):
            if not c.pump(lambda *_: None):
                self.drop(number)

    def settle(self, client, seconds):
        """Until all is sent, and answered if it is so within this time."""
        end = time.monotonic() + seconds
        while client.number in self.clients and (client.out or client.open and not client.deaf and time.monotonic() < end) and time.monotonic() < end + 5:
            self.pump()
            time.sleep(0.001)

    def run(self, one_by_one):
        self.world.start()
        self.world.prepare()
        for e in self.entries:
            if e["what"] == "open":
                self.drop(e["client"])
                self.client(e)
            elif e["what"] == "close":
                self.drop(e["client"])
            elif e["what"] == "send":
                client = self.client(e)
                client.send(bytes.fromhex(e["data"]), e["about"], e["length"] if e["length"] != len(e["data"]) // 2 else None)
                self.settle(client, 0.5 if one_by_one else 0)
            self.pump()
            self.look(e, one_by_one)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            self.pump()
            self.watch.look()
        self.world.stop()
        self.watch.check_log()

    def look(self, e, one_by_one):
        try:
            if one_by_one:
                self.watch.next = self.watch.soon = 0
            self.watch.look()
        except Fault as fault:
            raise Fault(f"{fault}\nafter {e.get('client')}: {e.get('about')}\n{e.get('data', '')[:4000]}") from None


def advertised(broker):
    """{key: (lowest, highest version)}"""
    with Asker(broker) as a:
        rows = a.get("ApiVersions", 0)["ApiKeys"]
    return {r["ApiKey"]: (r["MinVersion"], r["MaxVersion"]) for r in rows if r["ApiKey"] in APIS}


def wanted(keys, args):
    names = lambda text: set(text.split(",")) if text else set()
    only, without = names(args.only), names(args.without)
    return {k: v for k, v in keys.items() if (not only or APIS[k].name in only) and APIS[k].name not in without}


def attack(world, args, folder):
    world.start()
    keys = wanted(advertised(world.broker), args)
    world.stop()
    a = Attack(world, args.seed, keys)
    try:
        a.run(args.seconds)
    except Fault as fault:
        a.tell(fault, folder)
        return 1
    finally:
        a.report()
    return 0


def replay(world, args):
    try:
        Replay(world, History.load(Path(args.replay))).run(args.one_by_one)
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    print("No fault this time.")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=None, help="what is asked; a random one is named at the beginning")
    parser.add_argument("--only", help="APIs, by name")
    parser.add_argument("--without", help="APIs, by name")
    parser.add_argument("--folder", help="for the broker's data and what is found; a temporary one otherwise")
    parser.add_argument("--replay", metavar="FILE")
    parser.add_argument("--one-by-one", action="store_true", help="with --replay: each request is given time, and the broker is looked at after it")
    args = parser.parse_args()
    args.seed = random.randrange(1 << 31) if args.seed is None else args.seed
    folder = Path(args.folder or tempfile.mkdtemp(prefix="hostile-"))
    print(f"seed {args.seed}, folder {folder}", flush=True)
    world = World(folder / "broker")
    try:
        return replay(world, args) if args.replay else attack(world, args, folder)
    except Fault as fault:
        print(f"FAULT: {fault}")
        return 1
    finally:
        world.end()


if __name__ == "__main__":
    sys.exit(main())
