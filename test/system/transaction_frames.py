"""The requests of producers and transactions, by hand, and the batches that they write."""

import time

import batches
from frames import Frames, Out, i16, i32, i64, read_errors

TRANSACTIONAL, CONTROL = batches.TRANSACTIONAL, batches.CONTROL


def make_batch(producer, epoch, sequence, count=1, attributes=0):
    """Of so many records of this moment without key, with the value "v"."""
    return batches.make_batch([batches.make_record(i) for i in range(count)], attributes, producer=producer, epoch=epoch, sequence=sequence,
                              first_time=int(time.time() * 1000))


def write_topics(o, topics):
    """`topics`: {topic: [partition]}"""
    return o.array(list(topics.items()), lambda t: o.text(t[0]).array(t[1], lambda p: o.raw("i", p)).tags())


class Connection(Frames):
    def find_coordinator(self, transactional_id):
        """Which makes the topic of the coordinators, if it is not there yet."""
        return self.ask("find_coordinator", 1, Out(False).text(transactional_id).raw("b", 1))

    def init(self, transactional_id, timeout=60000, producer=-1, epoch=-1, version=5):
        o = Out(version >= 2).text(transactional_id).raw("i", timeout)
        if version >= 3:
            o.raw("qh", producer, epoch)
        return self.ask("init", version, o)

    def send_produce(self, topic, batch, transactional_id=None, partition=0, version=8):
        o = Out(version >= 9).text(transactional_id).raw("hi", -1, 30000)
        o.array([topic], lambda t: o.text(t).array([partition], lambda p: o.raw("i", p).blob(batch).tags()).tags())
        self.send("produce", version, o.tags())

    def produce(self, *args, **kw):
        self.send_produce(*args, **kw)
        return self.receive()["topics"][0]["partitions"][0]

    def add_partitions(self, transactional_id, producer, epoch, topics, version=3):
        o = Out(version >= 3).text(transactional_id).raw("qh", producer, epoch)
        return self.ask("add_partitions", version, write_topics(o, topics))

    def add_to_several(self, *transactions, version=5):
        """`transactions`: (id, producer, epoch, whether it is only asked for, topics)"""
        o = Out(True)
        o.array(transactions, lambda t: write_topics(o.text(t[0]).raw("qhb", *t[1:4]), t[4]).tags())
        return self.ask("add_partitions", version, o)

    def add_offsets(self, transactional_id, producer, epoch, group, version=4):
        return self.ask("add_offsets", version, Out(version >= 3).text(transactional_id).raw("qh", producer, epoch).text(group))

    def end(self, transactional_id, producer, epoch, commit, version=4):
        return self.ask("end", version, Out(version >= 3).text(transactional_id).raw("qhb", producer, epoch, commit))

    def send_markers(self, *markers, version=1):
        """`markers`: (producer, epoch, whether it is a commit, topics, epoch of the coordinator)"""
        o = Out(version >= 1)
        o.array(markers, lambda m: write_topics(o.raw("qhb", *m[:3]), m[3]).raw("i", m[4]).tags())
        self.send("write_markers", version, o.tags())

    def write_markers(self, *markers, **kw):
        self.send_markers(*markers, **kw)
        return self.receive()

    def commit_offsets(self, transactional_id, producer, epoch, group, offsets, generation=-1, member="", instance=None, metadata="", version=4):
        """`offsets`: {topic: {partition: offset}}"""
        o = Out(version >= 3).text(transactional_id).text(group).raw("qh", producer, epoch)
        if version >= 3:
            o.raw("i", generation).text(member).text(instance)

        def partition(item):
            o.raw("iq", *item)
            if version >= 2:
                o.raw("i", -1)
            o.text(metadata).tags()
        o.array(list(offsets.items()), lambda t: o.text(t[0]).array(list(t[1].items()), partition).tags())
        return self.ask("commit_offsets", version, o)

    def describe_producers(self, topics):
        return self.ask("describe_producers", 0, write_topics(Out(True), topics))

    def describe(self, *ids):
        o = Out(True)
        return self.ask("describe", 0, o.array(ids, o.text))

    def list(self, states=(), producers=(), longer_than=-1, version=1):
        o = Out(True)
        o.array(states, o.text).array(producers, lambda p: o.raw("q", p))
        return self.ask("list", version, o.raw("q", longer_than) if version >= 1 else o)


# ---- Answers ----


def read_found(i, v):
    return i.struct(throttle=i32(i), error=i16(i), message=i.text, node=i32(i), host=i.text, port=i32(i))


def read_init(i, v):
    return i.struct(throttle=i32(i), error=i16(i), producer=i64(i), epoch=i16(i))


def read_produce(i, v):
    def record_error():
        return i.struct(index=i32(i), message=i.text)

    def partition():
        return i.struct(index=i32(i), error=i16(i), offset=i64(i), time=i64(i), start=i64(i) if v >= 5 else None,
                        records=(lambda: i.array(record_error)) if v >= 8 else None, words=i.text if v >= 8 else None)
    return i.struct(topics=lambda: i.array(lambda: i.struct(topic=i.text, partitions=lambda: i.array(partition))), throttle=i32(i))


def read_add_partitions(i, v):
    if v < 4:
        return i.struct(throttle=i32(i), topics=read_errors(i))
    return i.struct(throttle=i32(i), error=i16(i), transactions=lambda: i.array(lambda: i.struct(id=i.text, topics=read_errors(i))))


def read_error(i, v):
    return i.struct(throttle=i32(i), error=i16(i))


def read_markers(i, v):
    return i.struct(markers=lambda: i.array(lambda: i.struct(producer=i64(i), topics=read_errors(i))))


def read_commit(i, v):
    return i.struct(throttle=i32(i), topics=read_errors(i))


def read_producers(i, v):
    def producer():
        return i.struct(producer=i64(i), epoch=i32(i), sequence=i32(i), time=i64(i), coordinator_epoch=i32(i), begins=i64(i))

    def partition():
        return i.struct(index=i32(i), error=i16(i), message=i.text, producers=lambda: i.array(producer))
    return i.struct(throttle=i32(i), topics=lambda: i.array(lambda: i.struct(topic=i.text, partitions=lambda: i.array(partition))))


def read_describe(i, v):
    def topic():
        return i.struct(topic=i.text, partitions=lambda: i.array(i32(i)))
    return i.struct(throttle=i32(i), transactions=lambda: i.array(lambda: i.struct(
        error=i16(i), id=i.text, state=i.text, timeout=i32(i), time=i64(i), producer=i64(i), epoch=i16(i), topics=lambda: i.array(topic))))


def read_list(i, v):
    return i.struct(throttle=i32(i), error=i16(i), unknown=lambda: i.array(i.text),
                    transactions=lambda: i.array(lambda: i.struct(id=i.text, producer=i64(i), state=i.text)))


Connection.APIS = {"produce": (0, 9, read_produce), "find_coordinator": (10, 3, read_found), "init": (22, 2, read_init),
                   "add_partitions": (24, 3, read_add_partitions), "add_offsets": (25, 3, read_error), "end": (26, 3, read_error),
                   "write_markers": (27, 1, read_markers), "commit_offsets": (28, 3, read_commit),
                   "describe_producers": (61, 0, read_producers), "describe": (65, 0, read_describe), "list": (66, 0, read_list)}
