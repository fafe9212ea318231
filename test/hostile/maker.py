"""Requests of every API in every version: first such as a client could send, then spoiled.

A Maker fills a message's fields by what they are called, from what is Known of the broker. A Spoiler takes some fields of such a
tree, or bytes of its frame, and puts there what should not be.
"""

import gzip
import re

from batches import CONTROL, TRANSACTIONAL, make_batch, make_message, make_record
from messages import NUMBERS, Claim, Many, Raw, is_nullable_struct, within

LEADER_AND_ISR, STOP_REPLICA, UPDATE_METADATA, CONTROLLED_SHUTDOWN = 4, 5, 6, 7
OF_CONTROLLERS = {LEADER_AND_ISR, STOP_REPLICA, UPDATE_METADATA, CONTROLLED_SHUTDOWN}
ALTER_CONFIGS, INCREMENTAL_ALTER_CONFIGS = 33, 44
MOST_BYTES = 300000  # of one request


class Known:
    """What there is to speak of; answers add to it."""

    def __init__(self, data):
        self.topics = ["one", "two", "now", "big", "passing"]
        self.strange_topics = ["none", "__consumer_offsets", "__transaction_state", "", "a/b", "..", "x" * 249, "x" * 250]
        self.topic_ids = [bytes(16), b"\1" * 16]
        self.groups, self.transactional_ids = ["readers", "static", "more"], ["writer", "other", "third"]
        self.members = [("readers", "", -1), ("more", "x", 1)]  # (group, member, generation)
        self.writers = [(None, 0, 0), ("other", -1, -1)]  # (transactional id, producer, epoch)
        self.sessions = [(0, -1), (0, 0)]
        self.controller_epoch, self.broker_epoch = 0, -1
        self.directory = str(data)

    def learn(self, name, asked, answer):
        if name == "JoinGroup" and answer["MemberId"]:
            self.keep(self.members, (asked["GroupId"], answer["MemberId"], answer["GenerationId"]))
        elif name == "InitProducerId" and answer["ErrorCode"] == 0:
            self.keep(self.writers, (asked["TransactionalId"], answer["ProducerId"], answer["ProducerEpoch"]))
        elif name == "Fetch" and answer.get("SessionId"):
            self.keep(self.sessions, (answer["SessionId"], 1))
        elif name == "Metadata":
            for t in answer["Topics"]:
                if t.get("TopicId", bytes(16)) not in self.topic_ids:
                    self.keep(self.topic_ids, t["TopicId"])

    @staticmethod
    def keep(known, value, most=20):
        known.append(value)
        if len(known) > most:
            del known[most // 4]


KEYS = ["cleanup.policy", "retention.ms", "retention.bytes", "segment.bytes", "segment.ms", "max.message.bytes", "min.insync.replicas", "compression.type",
        "message.timestamp.type", "follower.replication.throttled.replicas", "leader.replication.throttled.replicas", "delete.retention.ms", "preallocate",
        "min.cleanable.dirty.ratio", "message.format.version", "unclean.leader.election.enable", "index.interval.bytes", "flush.messages", "nope", "",
        "log.retention.ms", "num.io.threads", "log.cleaner.threads", "leader.replication.throttled.rate", "advertised.listeners", "max.connections"]
VALUES = ["", "compact", "delete", "compact,delete", "-1", "0", "1", "100", "1048576", "9223372036854775807", "99999999999999999999", "zstd", "gzip", "true", "0.5", "1e300",
          "nan", "LogAppendTime", "a\nb=c", "0:0,1:0", "*", None, "x" * 40000, "PLAINTEXT://127.0.0.1:1", "3.0"]
# What a text is, by the name of its field, or of its struct and itself.
TEXTS = [
    (r"TransactionalIds?$", lambda m: m.writer[0] if m.rng.random() < 0.6 else m.rng.choice(m.known.transactional_ids)),
    (r"(^|\.)(Key|CoordinatorKeys)$", lambda m: m.rng.choice(m.known.groups + m.known.transactional_ids)),
    (r"(GroupId|GroupIds|GroupsNames|Groups)$", lambda m: m.rng.choice([*m.known.groups, m.member[0]])),
    (r"InstanceId$", lambda m: m.rng.choice(["one", "two", None])),
    (r"MemberId$", lambda m: m.rng.choice([m.member[1], m.member[1], "", "x"])),
    (r"ProtocolType$", lambda m: "consumer"),
    (r"(ProtocolName|Protocol\.Name)$", lambda m: m.rng.choice(["range", "sticky"])),
    (r"Config\w*\.Name$|ConfigurationKeys$", lambda m: m.rng.choice(KEYS)),
    (r"Config\w*\.Value$", lambda m: m.rng.choice(VALUES)),
    (r"ResourceName$", lambda m: m.rng.choice([*m.known.topics, "0", ""])),
    (r"(Topic|TopicNames?|SubscribedTopicNames|Topic\w*\.Name)$", lambda m: m.topic()),
    (r"States?Filters?$", lambda m: m.rng.choice(["Stable", "Empty", "Ongoing", "Dead"])),
    (r"Path$", lambda m: m.known.directory),
    (r"(Host|HostName|V0Host)$", lambda m: "127.0.0.1"),
    (r"Listener$", lambda m: "PLAINTEXT"),
]
SMALL = [0, 1, 2, 5, -1]
# Numbers likewise.
RANGES = [
    (r"(PartitionIndex|PartitionIndexes|Partitions|Partition|Index|PartitionId)$", [0, 0, 0, 0, 1, 2]),
    (r"(BrokerIds|Replicas|Isr|NewIsr|BrokerId|Leader|LeaderId|ControllerId|Id)$", [0, 0, 0, 0, 1]),
    (r"ReplicaId$", [-1, -1, -1, 0, -2, 1]),
    (r"ControllerEpoch$", lambda m: m.known.controller_epoch),
    (r"BrokerEpoch$", lambda m: m.rng.choice([m.known.broker_epoch, -1])),
    (r"GenerationId\w*$", lambda m: m.rng.choice([m.member[2], 1, -1])),
    (r"MaxWaitMs$", [0, 1, 50, 300]),
    (r"SessionTimeoutMs$", [6000, 10000]),
    (r"[tT]imeoutMs$", [0, 1, 100, 500]),
    (r"NumPartitions$", [-1, 1, 2, 3]),
    (r"Count$", [1, 2, 3, 4]),
    (r"ReplicationFactor$", [1, 1, 1, -1]),
    (r"Acks$", [-1, 1, 0]),
    (r"IsolationLevel$", [0, 1]),
    (r"Timestamp$", [-1, -2, -3, -4, 0, 1000]),
    (r"(MaxBytes|PartitionMaxBytes)$", [1 << 20, 1 << 20, 1000, 0]),
    (r"MinBytes$", [0, 1, 1, 1 << 20]),
    (r"RetentionTimeMs$", [-1, 1000]),
    (r"ResourceType$", [2, 2, 4, 8]),
    (r"ConfigOperation$", [0, 0, 1, 2, 3]),
    (r"[lL]eaderEpoch$|LastFetchedEpoch$", [-1, -1, 0]),
]


def find(table, path):
    return next((value for pattern, value in table if re.search(pattern, path)), None)


class Maker:
    def __init__(self, rng, known):
        self.rng, self.known = rng, known

    def make(self, codec):
        """One who asks is one member, and one writer, mostly of those that are there."""
        self.member, self.writer = self.newest(self.known.members), self.newest(self.known.writers)
        return self.fill(codec, codec.message.fields, codec.message.name)

    def newest(self, known):
        return self.rng.choice(known[-6:] if self.rng.random() < 0.8 else known)

    def topic(self):
        luck = self.rng.random()
        if luck < 0.1:
            return f"new-{self.rng.randrange(20)}"
        return self.rng.choice(self.known.topics if luck < 0.9 else self.known.strange_topics)

    def fill(self, codec, fields, owner):
        plain, tagged = codec.fields(fields)
        tree = {f.name: self.field(codec, f, owner) for f in plain}
        tree.update({f.name: self.field(codec, f, owner) for f in tagged if self.rng.random() < 0.3})
        self.match(tree)
        return tree

    def match(self, tree):
        """Fields that belong together."""
        for prefix in "", "V3AndBelow":
            if f"{prefix}ProducerEpoch" in tree and self.rng.random() < 0.9:
                own = dict(zip(("TransactionalId", "ProducerId", "ProducerEpoch"), self.writer))
                tree.update({prefix + k: v for k, v in own.items() if prefix + k in tree and v is not None})
        if "GroupId" in tree and "MemberId" in tree and self.rng.random() < 0.8:
            own = dict(zip(("GroupId", "MemberId", "GenerationId"), self.member), GenerationIdOrMemberEpoch=self.member[2])
            tree.update({k: v for k, v in own.items() if k in tree})
        if "SessionEpoch" in tree and self.rng.random() < 0.7:
            tree["SessionId"], tree["SessionEpoch"] = self.rng.choice(self.known.sessions)
        if "TopicId" in tree and "Name" in tree and self.rng.random() < 0.8:
            tree.update({"Name": None} if self.rng.random() < 0.5 else {"TopicId": bytes(16)})

    def field(self, codec, f, owner):
        if not f.array:
            return self.value(codec, f, owner)
        if within(f.nullable, codec.version) and self.rng.random() < 0.15:
            return None
        return [self.value(codec, f, owner) for _ in range(self.rng.choice([0, 1, 1, 1, 1, 2, 3]))]

    def value(self, codec, f, owner):
        path = f"{owner}.{f.name}"
        if f.type in codec.structs:
            if is_nullable_struct(f) and within(f.nullable, codec.version) and self.rng.random() < 0.4:
                return None
            return self.fill(codec, codec.structs[f.type], f.type)
        if f.type == "string":
            return self.text(codec, f, path)
        if f.type == "bool":
            return self.rng.random() < 0.5
        if f.type in NUMBERS:
            return self.number(path)
        if f.type == "uuid":
            return self.newest(self.known.topic_ids)
        return self.records() if f.type == "records" else self.blob()

    def text(self, codec, f, path):
        make = find(TEXTS, path)
        value = make(self) if make else self.rng.choice(["", "x"])
        if value is None and not within(f.nullable, codec.version):
            return ""
        return value

    def number(self, path):
        values = find(RANGES, path)
        return values(self) if callable(values) else self.rng.choice(values or SMALL)

    def blob(self):
        return self.rng.choice([b"", b"x", b"\0\1\0\0\0\1\0\3one\xff\xff\xff\xff", b"\0\1\0\0\0\1\0\3one\0\0\0\1\0\0\0\0\xff\xff\xff\xff", self.rng.randbytes(20)])

    # ---- Records ----

    def records(self):
        if self.rng.random() < 0.1:
            return b"".join(make_message(magic=self.rng.choice([0, 1]), key=self.rng.choice([None, b"k"]), offset=i) for i in range(self.rng.choice([1, 1, 3])))
        items = [make_record(i, self.rng.choice([b"v", None, bytes(self.rng.randrange(300))]), self.rng.choice([None, b"", b"k%d" % self.rng.randrange(9)]))
                 for i in range(self.rng.choice([1, 1, 1, 3, 20]))]
        how = {}
        if self.rng.random() < 0.5:
            name, producer, epoch = self.writer
            how = {"producer": producer, "epoch": epoch, "sequence": self.rng.choice([0, 0, 1, 2, 3]), "attributes": TRANSACTIONAL if name else 0}
        elif self.rng.random() < 0.2:
            how = {"attributes": 1, "body": gzip.compress(b"".join(items))}
        if self.rng.random() < 0.25:
            how.update(self.odd_batch())
        data = make_batch(items, **how)
        return data + make_batch() if self.rng.random() < 0.03 else data

    def odd_batch(self):
        name, values = self.rng.choice([
            ("attributes", [8, CONTROL, CONTROL | TRANSACTIONAL, 2, 3, 4, 5, 7, 0x40, 0x7FFF, -1]), ("last_delta", [-1, 0, 2**31 - 1, -2**31, 100]),
            ("count", [-1, 0, 2**31 - 1, -2**31, 100, 10**6]), ("length", [-1, 0, 13, 48, 49, 50, 1000, 2**31 - 1, -2**31]), ("magic", [0, 1, 3, -1, 127]),
            ("first_time", [-1, -2, 0, 2**62, 2**63 - 1, -2**63]), ("max_time", [-1, -2, 0, 2**63 - 1, -2**63]), ("crc", [0]), ("base", [1, -1, 2**63 - 1, -2**63]),
            ("producer", [-2, 2**63 - 1]), ("epoch", [-2, 32767]), ("sequence", [-1, -2, 2**31 - 1]),
            ("body", [b"", b"\1", b"\xff" * 10, gzip.compress(bytes(10**7))])])
        return {name: self.rng.choice(values)}


# ---- What should not be ----

ODD_TEXTS = ["a\0b", "\0", "readers\0", "writer\0x", "\udcff\udcfe", "\udced\udca0\udc80", "\u20ac" * 100, "x" * 32767, "x" * 250, "", "%s%n", "../../etc", "a\nb"]
ODD_NUMBERS = [0, -1, -2, 1, 127, 128, -128, 32767, -32768, 65536, 2**31 - 1, -2**31, 2**62, 2**63 - 1, -2**63, -2**63 + 1]
COUNTS_OF_PARTITIONS = re.compile("NumPartitions|Count$")  # those in between would be made
MANY = [10] * 8 + [300, 5000]


class Spoiler:
    def __init__(self, rng):
        self.rng = rng

    def spoil(self, codec, tree):
        """Changes one to three fields of the tree."""
        places = list(self.places(codec, codec.message.fields, tree))
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            if places:
                self.rng.choice(places)()

    def places(self, codec, fields, tree):
        """A function for each place that can be spoiled, which does so."""
        plain, tagged = codec.fields(fields)
        for f in plain + [t for t in tagged if t.name in tree]:
            yield lambda f=f: tree.update({f.name: self.wrong(codec, f, tree.get(f.name))})
            value = tree.get(f.name)
            if f.type in codec.structs:
                for item in (value if f.array else [value]) or ():
                    if isinstance(item, dict):
                        yield from self.places(codec, codec.structs[f.type], item)
            elif f.array and isinstance(value, list) and value:
                yield lambda f=f, value=value: value.__setitem__(self.rng.randrange(len(value)), self.wrong_item(codec, f, value[0]))
        if codec.flexible:
            yield lambda: tree.update(tags=self.rng.choice([[(99, b"x")], [(99, b"x"), (2**32 - 1, bytes(3))], [(5, b"x"), (5, b"x")]]))

    def wrong(self, codec, f, value):
        return self.wrong_array(codec, f, value) if f.array else self.wrong_item(codec, f, value)

    def is_malformed(self):
        """Whether this one may be such as nobody can read: the connection ends with it, and with all that waits on it."""
        return self.rng.random() < 0.06

    def wrong_array(self, codec, f, value):
        if self.is_malformed():
            items = value if isinstance(value, list) else []
            return self.rng.choice([None, Raw(b""), *[Claim(n, items) for n in (len(items) + 1, len(items) - 1, 2**31 - 1, -2, 10**6)]])
        if not isinstance(value, list) or not value:
            return None if within(f.nullable, codec.version) else []
        way = self.rng.randrange(4)
        if way == 0:
            return []
        return value + value if way == 1 else self.many(codec, f, value)

    def many(self, codec, f, value):
        """The same again and again, as often as fits into a request."""
        size = len(codec.write_field(f, value[:1]))
        return Many(min(self.rng.choice(MANY), MOST_BYTES // size), value[0])

    def wrong_item(self, codec, f, value):
        if f.type in NUMBERS:
            odd = [0, -1, -2, 2**31 - 1, -2**31] if COUNTS_OF_PARTITIONS.search(f.name) else ODD_NUMBERS
            return self.rng.choice(odd if f.type != "float64" else [0.0, -1.0, 1e300, float("nan"), float("inf")])
        if f.type in ("bytes", "records"):
            return self.wrong_bytes(value if isinstance(value, bytes) else b"x")
        if self.is_malformed():
            text = value if isinstance(value, str) else ""
            claims = [Claim(len(text) + 1, text), Claim(-2, text), Claim(32767, text), None] if f.type == "string" else []
            return self.rng.choice([Raw(b""), Raw(b"\1"), *claims])
        if f.type == "string":
            return self.wrong_text(codec, f, value if isinstance(value, str) else "")
        if f.type == "uuid":
            return self.rng.choice([bytes(16), bytes(15) + b"\1", self.rng.randbytes(16)])
        return value

    def wrong_text(self, codec, f, value):
        if within(f.nullable, codec.version) and self.rng.random() < 0.2:
            return None
        if self.rng.random() < 0.3:
            return value + self.rng.choice(["\0", "\0x"])
        if self.rng.random() < 0.2 and codec.flexible and not f.inflexible:
            return "x" * self.rng.choice([32768, 40000])
        return self.rng.choice(ODD_TEXTS)

    def wrong_bytes(self, value):
        if self.is_malformed():
            return self.rng.choice([None, Claim(2**31 - 1, b"x"), Claim(-2, b"")])
        return self.rng.choice([b"", b"\0", *[self.spoil_bytes(value) for _ in range(4)]])

    def spoil_bytes(self, data):
        data = bytearray(data)
        at = self.rng.randrange(len(data)) if data else 0
        way = self.rng.randrange(5)
        if way < 2 and data:
            data[at] ^= 1 << self.rng.randrange(8)
        elif way == 2:
            del data[at:]
        elif way == 3:
            data[at:at] = self.rng.randbytes(self.rng.randrange(1, 8))
        elif data:
            data[at] = self.rng.choice([0, 0x7F, 0x80, 0xFF])
        return bytes(data)


def is_too_much(key, tree):
    """What breaks the broker as it was told to: settings that are kept, of which it may not start again."""
    if key in (ALTER_CONFIGS, INCREMENTAL_ALTER_CONFIGS):
        resources = tree.get("Resources")
        return not tree.get("ValidateOnly") and isinstance(resources, list) and any(not isinstance(r, dict) or r.get("ResourceType") != 2 for r in resources)
    return False

