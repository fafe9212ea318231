"""LeaderAndIsr and StopReplica of several controllers, at the same time and again and again: one after the other is obeyed."""

import itertools
import json
import random
import re
import struct
import threading

import pytest
from confluent_kafka import KafkaError, Producer

from controller_frames import read_leader_and_isr, read_metadata, take_office
from frames import Frames, Out, i16, i32
from harness import accepts, connect, read_frame, wait_until
from messages import read_response, write_request

TOPIC, PARTITIONS, CONTROLLERS, ORDERS = "raw", 40, 6, 12
STALE_CONTROLLER_EPOCH = 11


def read_stop_replica(i, v):
    return i.struct(error=i16(i), partitions=lambda: i.array(lambda: i.struct(topic=i.text, index=i32(i), error=i16(i))))


class Orders(Frames):
    APIS = {"leader_and_isr": (4, 4, read_leader_and_isr), "stop_replica": (5, 2, read_stop_replica), "update_metadata": (6, 6, read_metadata)}

    def __init__(self, broker, number):
        super().__init__(broker)
        self.number = number
        self.broker_epoch = broker.zookeeper.client.get("/brokers/ids/0")[1].czxid

    def head(self, epoch):
        return Out(False).raw("iiq", self.number, epoch, self.broker_epoch)

    def state(self, o, partition, epoch, leader_epoch):
        o.raw("iiii", partition, epoch, 0, leader_epoch)
        return o.array([0], lambda b: o.raw("i", b)).raw("i", 0).array([0], lambda b: o.raw("i", b))

    def lead(self, epoch, leader_epoch, is_new=True, topic=TOPIC, partitions=range(PARTITIONS)):
        o = self.head(epoch)
        o.array([topic], lambda t: o.text(t).array(partitions, lambda p: self.state(o, p, epoch, leader_epoch).raw("iib", 0, 0, is_new)))
        return self.ask("leader_and_isr", 3, o.raw("i", 0))

    def tell_of(self, epoch, topic, partitions, brokers=(0,)):
        o = self.head(epoch)
        o.array([topic], lambda t: o.text(t).array(partitions, lambda p: self.state(o, p, epoch, 0).raw("i", 0)))
        o.array(brokers, lambda b: o.raw("ii", b, 1).raw("i", self.broker.port).text("127.0.0.1").text("PLAINTEXT").raw("h", 0).text(None))
        return self.ask("update_metadata", 5, o)

    def stop(self, epoch, delete):
        o = self.head(epoch).raw("b", delete)
        o.array([TOPIC], lambda t: o.text(t).array(range(PARTITIONS), lambda p: o.raw("i", p)))
        return self.ask("stop_replica", 1, o)


def test_orders_come_one_after_the_other(broker, zookeeper):
    wait_until(lambda: zookeeper.client.exists("/controller"), "a controller")
    office, epoch = take_office(zookeeper)
    leader_epochs, failed = itertools.count(1), []

    def order(number):
        rng = random.Random(number)
        try:
            c = Orders(broker, office)
            for _ in range(ORDERS):
                kind = rng.randrange(3)
                answer = c.stop(epoch, kind == 0) if kind < 2 else c.lead(epoch, next(leader_epochs))
                assert answer["error"] in (0, STALE_CONTROLLER_EPOCH)
            c.close()
        except Exception as e:  # noqa: BLE001: told of by the test's own thread
            failed.append(e)

    threads = [threading.Thread(target=order, args=(i,)) for i in range(CONTROLLERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    c = Orders(broker, office)
    answer = c.lead(epoch, next(leader_epochs))
    assert answer["error"] == 0 and sorted((p["index"], p["error"]) for p in answer["partitions"]) == [(p, 0) for p in range(PARTITIONS)]
    there = [d.name for d in broker.data.iterdir() if re.fullmatch(f"{TOPIC}-\\d+", d.name)]
    assert len(there) == PARTITIONS
    # A controller that was there before is not obeyed, and changes nothing.
    assert c.stop(epoch - 1, True)["error"] == STALE_CONTROLLER_EPOCH
    assert c.lead(epoch - 1, next(leader_epochs))["error"] == STALE_CONTROLLER_EPOCH
    c.close()


@pytest.mark.parametrize("topic", ["t", "__consumer_offsets", "__transaction_state"])
def test_numbers_that_no_partition_has(broker, zookeeper, topic):
    wait_until(lambda: zookeeper.client.exists("/controller"), "a controller")
    office, epoch = take_office(zookeeper)
    c = Orders(broker, office)
    numbers = [-1, 2**31 - 1]
    assert c.tell_of(epoch, topic, [0, *numbers])["error"] == 0
    answer = c.lead(epoch, 0, topic=topic, partitions=[0, *numbers])
    assert [p["error"] for p in answer["partitions"]] == [0, 3, 3]
    assert c.tell_of(epoch, topic, [0, 2**31 - 2])["error"] == 0
    assert c.lead(epoch, 0, topic=topic, partitions=[2**31 - 2])["error"] == 0
    if topic != "t":
        wait_until(lambda: f"{topic}-2147483646 is not served" in broker.text(), "what is too much for a coordinator to be refused")
    c.close()
    zookeeper.client.delete("/controller")
    wait_until(broker.is_ready, "the broker, which has seen nothing special")


METADATA, LEADER_NOT_AVAILABLE = 3, 5


def metadata(broker, *names):
    """Who is there, and of each topic the error; without names of all topics."""
    with connect(broker) as s:
        request = write_request(METADATA, 8, {"Topics": [{"Name": n} for n in names] if names else None, "AllowAutoTopicCreation": True})
        s.sendall(struct.pack(">i", len(request)) + request)
        answer = read_response(METADATA, 8, read_frame(s))[1]
    return [b["NodeId"] for b in answer["Brokers"]], {t["Name"]: t["ErrorCode"] for t in answer["Topics"]}


def test_who_has_been_told_of_a_part_does_not_take_it_for_all(make_broker, zookeeper):
    """A controller names the brokers with the last of what it has to tell one that arrives."""
    zookeeper.client.ensure_path("/")
    zookeeper.client.create("/controller_epoch", b"7")
    zookeeper.client.create("/controller", json.dumps({"version": 1, "brokerid": 99, "timestamp": "0"}).encode(), ephemeral=True)
    broker = make_broker(start=False)
    broker.launch()
    wait_until(lambda: zookeeper.client.exists("/brokers/ids/0") and accepts(broker.port), "the broker to register")
    c = Orders(broker, 99)
    assert c.tell_of(7, "t", [0, 1], brokers=[])["error"] == 0
    assert metadata(broker) == ([], {})
    assert metadata(broker, "t", "u")[1]["u"] == LEADER_NOT_AVAILABLE  # it may be among those that are still to come
    assert c.tell_of(7, "v", [0])["error"] == 0
    assert metadata(broker) == ([0], {"t": 0, "v": 0})
    assert c.tell_of(7, "w", [0], brokers=[])["error"] == 0  # to one that knows who is there, when it registers anew
    assert metadata(broker) == ([0], {"t": 0, "v": 0, "w": 0})
    assert not zookeeper.client.exists("/brokers/topics/u")
    c.close()
    zookeeper.client.delete("/controller")
    wait_until(broker.is_ready, "the broker, which has a controller")


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "known to the controller"])
def test_a_log_is_made_with_the_settings_of_its_topic(broker, zookeeper, is_new):
    """Nobody is told of settings that a topic begins with."""
    wait_until(lambda: zookeeper.client.exists("/controller"), "a controller")
    office, epoch = take_office(zookeeper)
    zookeeper.client.create("/config/topics/late", json.dumps({"version": 1, "config": {"max.message.bytes": "100"}}).encode())
    c = Orders(broker, office)
    assert c.tell_of(epoch, "late", [0])["error"] == 0
    assert c.lead(epoch, 0, is_new, "late", [0])["error"] == 0
    c.close()
    failed = []
    producer = Producer({"bootstrap.servers": broker.bootstrap, "message.timeout.ms": 30000})
    producer.produce("late", b"x" * 500, partition=0, on_delivery=lambda e, _: failed.append(e))
    producer.flush(30)
    assert [e.code() for e in failed if e] == [KafkaError.MSG_SIZE_TOO_LARGE]
    zookeeper.client.delete("/controller")
    wait_until(broker.is_ready, "the broker, which has a controller again")
