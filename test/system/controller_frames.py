"""What a controller tells a broker, by hand: by one that is told so much and no more, if the test holds the office."""

import json

from frames import Frames, Out, i16, i32


def take_office(zookeeper, number=99):
    """The node is the test's until it deletes it. Returns the controller's id and epoch."""
    change = zookeeper.client.transaction()
    if zookeeper.client.exists("/controller"):  # in one step, or who had it has it again
        change.delete("/controller")
    change.create("/controller", json.dumps({"version": 1, "brokerid": number, "timestamp": "0"}).encode(), ephemeral=True)
    failed = [e for e in change.commit() if isinstance(e, Exception)]
    assert not failed, failed
    return number, int(zookeeper.get("/controller_epoch"))


class Controller(Frames):
    """Of a broker that leads all that it is told of, alone."""

    def __init__(self, broker, office):
        super().__init__(broker)
        self.number = int(broker.properties["broker.id"])
        epoch = broker.zookeeper.client.get(f"/brokers/ids/{self.number}")[1].czxid
        self.head = lambda: Out(False).raw("iiq", *office, epoch)

    def state(self, o, topic, partition):
        """As ZooKeeper has it."""
        data, stat = self.broker.zookeeper.client.get(f"/brokers/topics/{topic}/partitions/{partition}/state")
        known = json.loads(data)
        o.raw("iiii", partition, known["controller_epoch"], known["leader"], known["leader_epoch"])
        return o.array(known["isr"], lambda b: o.raw("i", b)).raw("i", stat.version).array([self.number], lambda b: o.raw("i", b))

    def tell_of(self, *partitions):
        """Of the broker itself and of these: (topic, partition)."""
        o = self.head()
        o.array(partitions, lambda p: o.text(p[0]).array([p], lambda p: self.state(o, *p).raw("i", 0)))
        o.array([self.number], lambda b: o.raw("ii", b, 1).raw("i", self.broker.port).text("127.0.0.1").text("PLAINTEXT").raw("h", 0).text(None))
        return self.ask("update_metadata", 5, o)

    def let_lead(self, *partitions):
        o = self.head()
        o.array(partitions, lambda p: o.text(p[0]).array([p], lambda p: self.state(o, *p).raw("iib", 0, 0, 0)))
        o.array([self.number], lambda b: o.raw("i", b).text("127.0.0.1").raw("i", self.broker.port))
        return self.ask("leader_and_isr", 3, o)


def read_leader_and_isr(i, v):
    return i.struct(error=i16(i), partitions=lambda: i.array(lambda: i.struct(topic=i.text, index=i32(i), error=i16(i))))


def read_metadata(i, v):
    return i.struct(error=i16(i))


Controller.APIS = {"leader_and_isr": (4, 4, read_leader_and_isr), "update_metadata": (6, 6, read_metadata)}
