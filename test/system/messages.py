"""Messages as trees, of our own schemas: what test code says in dicts goes out in any version, and answers come back so.

A tree has Kafka's names: dicts for structs, lists, ints, str, None for null, bytes for bytes, records and ids. What a tree does
not name has its default; what the version does not have is left out. Text that is not UTF-8 is str with surrogates ("\\udcff").
What may not be is said by Raw and Claim. The reader is strict: an answer is as its version says, to the last byte, or Malformed.
"""

import struct
import sys

from harness import TOP, connect, read_frame

sys.path.insert(0, str(TOP / "src" / "protocol"))
import generate  # noqa: E402

SCHEMAS = {s.name: s for s in generate.load()}
APIS = {s.key: s for s in SCHEMAS.values() if s.kind == "api"}
NUMBERS = {"bool": "b", "int8": "b", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "float64": "d"}
CONTROLLED_SHUTDOWN, API_VERSIONS = 7, 18


class Raw:
    """Bytes in the place of a field, whatever it is."""

    def __init__(self, data):
        self.data = data

    def __repr__(self):
        return f"Raw({self.data!r})"


class Claim:
    """A text, bytes or an array with another length in front of it than it has."""

    def __init__(self, length, value):
        self.length, self.value = length, value

    def __repr__(self):
        return f"Claim({self.length}, {self.value!r})"


class Many:
    """An array of the same item, so often."""

    def __init__(self, count, item):
        self.count, self.item = count, item

    def __repr__(self):
        return f"Many({self.count}, {self.item!r})"


def unclaimed(value):
    return (value.length, value.value) if isinstance(value, Claim) else (None, value)


class Malformed(Exception):
    pass


def within(span, version):
    return span[0] <= version <= span[1]


def is_nullable_struct(field):
    return not field.array and field.type not in generate.PRIMITIVES and field.nullable[0] <= field.nullable[1]


def default_of(field):
    if field.array:
        return None if field.default == "null" else []
    if field.type in NUMBERS:
        return {None: 0, "false": 0, "true": 1}[field.default] if field.default in (None, "false", "true") else int(field.default, 0)
    if field.type == "uuid":
        return bytes(16)
    if field.type in ("string", "bytes"):
        return None if field.default == "null" else "" if field.type == "string" else b""
    if field.type == "records":
        return None
    return None if is_nullable_struct(field) else {}


def uvarint(n):
    out = bytearray()
    n &= 0xFFFFFFFF
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def pack_number(kind, value):
    """Numbers that are too large lose their upper bits."""
    code = ">" + NUMBERS[kind]
    if kind == "float64":
        return struct.pack(code, value)
    size = struct.calcsize(code)
    return (int(value) & (1 << 8 * size) - 1).to_bytes(size, "big")


class Codec:
    """Of one message (see generate.py) in one version."""

    def __init__(self, message, version):
        self.message, self.version = message, version
        self.flexible = version >= message.schema.flexible
        self.structs = message.structs

    def fields(self, fields):
        """Those that the version has, and of these the tagged ones."""
        here = [f for f in fields if within(f.span, self.version)]
        tagged = [f for f in here if f.tag >= 0 and within(f.tagged, self.version)]
        return [f for f in here if f not in tagged], sorted(tagged, key=lambda f: f.tag)

    # ---- Writing ----

    def write(self, tree):
        return self.write_struct(self.message.fields, tree)

    def write_struct(self, fields, tree):
        unknown = tree.keys() - {f.name for f in fields} - {"tags"}
        assert not unknown, f"{self.message.name} has no {unknown}"
        plain, tagged = self.fields(fields)
        out = [self.write_field(f, tree.get(f.name, default_of(f))) for f in plain]
        if self.flexible:
            said = [(f.tag, self.write_field(f, tree[f.name])) for f in tagged if f.name in tree and tree[f.name] != default_of(f)]
            said += tree.get("tags", ())  # (number, bytes): of no field
            out += [uvarint(len(said))] + [uvarint(tag) + uvarint(len(data)) + data for tag, data in said]
        return b"".join(out)

    def length(self, n, flexible, code):
        return uvarint(n + 1) if flexible else pack_number(code, n)

    def write_field(self, field, value):
        flexible = self.flexible and not field.inflexible
        if isinstance(value, Raw):
            return value.data
        if not field.array:
            return self.write_value(field, value, flexible)
        if isinstance(value, Many):
            return self.length(value.count, flexible, "int32") + self.write_value(field, value.item, flexible) * value.count
        claimed, value = unclaimed(value)
        items = b"".join(self.write_value(field, v, flexible) for v in value or ())
        return self.length(len(value or ()) - (value is None) if claimed is None else claimed, flexible, "int32") + items

    def write_value(self, field, value, flexible):
        if isinstance(value, Raw):
            return value.data
        claimed, value = unclaimed(value)
        if field.type in NUMBERS:
            return pack_number(field.type, value)
        if field.type == "uuid":
            return value
        if field.type in generate.PRIMITIVES:
            data = value.encode(errors="surrogateescape") if isinstance(value, str) else value
            n = -1 if data is None else len(data)
            code = "int16" if field.type == "string" else "int32"
            return self.length(n if claimed is None else claimed, flexible, code) + (data or b"")
        mark = b""
        if is_nullable_struct(field) and within(field.nullable, self.version):
            if value is None:
                return b"\xff"
            mark = b"\1"
        return mark + self.write_struct(self.structs[field.type], {} if value is None else value)

    # ---- Reading ----

    def begin(self, data):
        self.data, self.at, self.end, self.path = data, 0, len(data), []

    def read(self, data):
        self.begin(data)
        tree = self.read_struct(self.message.fields)
        if self.at != self.end:
            self.fail(f"{self.end - self.at} bytes too many")
        return tree

    def fail(self, why):
        raise Malformed(f"{self.message.name} {self.version} at byte {self.at}, {'.'.join(self.path)}: {why}")

    def take(self, n):
        if n > self.end - self.at:
            self.fail(f"{n} bytes where {self.end - self.at} are left")
        self.at += n
        return self.data[self.at - n:self.at]

    def read_number(self, kind):
        code = ">" + NUMBERS[kind]
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def read_uvarint(self):
        n = shift = 0
        while True:
            byte = self.take(1)[0]
            n |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return n
            if shift > 28:
                self.fail("a length without end")

    def read_struct(self, fields):
        plain, tagged = self.fields(fields)
        tree = {}
        for f in plain:
            self.path.append(f.name)
            tree[f.name] = self.read_field(f)
            self.path.pop()
        if self.flexible:
            self.read_tags(tagged, tree)
        return tree

    def read_tags(self, tagged, tree):
        by_tag, last = {f.tag: f for f in tagged}, -1
        for _ in range(self.read_uvarint()):
            tag, size = self.read_uvarint(), self.read_uvarint()
            if tag not in by_tag or tag <= last:
                self.fail(f"the tag {tag}, which is not of this version or not in order")
            last, end, outer = tag, self.at + size, self.end
            if end > outer:
                self.fail(f"a tag of {size} bytes")
            self.end = end
            self.path.append(by_tag[tag].name)
            tree[by_tag[tag].name] = self.read_field(by_tag[tag])
            if self.at != end:
                self.fail("a tag that is longer than its value")
            self.path.pop()
            self.end = outer

    def read_length(self, field, flexible, code):
        n = self.read_uvarint() - 1 if flexible else self.read_number(code)
        if n < -1 or n == -1 and not within(field.nullable, self.version):
            self.fail(f"the length {n}")
        return n

    def read_field(self, field):
        flexible = self.flexible and not field.inflexible
        if not field.array:
            return self.read_value(field, flexible)
        n = self.read_length(field, flexible, "int32")
        if n > self.end - self.at:
            self.fail(f"an array of {n}")
        return None if n < 0 else [self.read_value(field, flexible, item=True) for _ in range(n)]

    def read_value(self, field, flexible, item=False):
        if field.type in NUMBERS:
            return self.read_number(field.type)
        if field.type == "uuid":
            return self.take(16)
        if field.type in generate.PRIMITIVES:
            n = self.read_length(field, flexible, "int16" if field.type == "string" else "int32")
            if n < 0:
                return None
            data = self.take(n)
            return data.decode(errors="surrogateescape") if field.type == "string" else data
        if not item and is_nullable_struct(field) and within(field.nullable, self.version) and self.read_number("int8") < 0:
            return None
        return self.read_struct(self.structs[field.type])


def request_codec(key, version):
    return Codec(APIS[key].messages[0], version)


def response_codec(key, version):
    return Codec(APIS[key].messages[1], version)


def request_header_codec(key, version):
    header = 0 if key == CONTROLLED_SHUTDOWN and version == 0 else 2 if version >= APIS[key].flexible else 1
    return Codec(SCHEMAS["RequestHeader"].messages[0], header)


def write_request(key, version, tree, correlation=7, client="test"):
    """A frame, without its length."""
    head = {"RequestApiKey": key, "RequestApiVersion": version, "CorrelationId": correlation, "ClientId": client}
    return request_header_codec(key, version).write(head) + request_codec(key, version).write(tree)


def read_request(frame):
    """The header and the request; for what a test has made itself."""
    key, version = struct.unpack(">hh", frame[:4])
    codec = request_header_codec(key, version)
    codec.begin(frame)
    head = codec.read_struct(codec.message.fields)
    return head, request_codec(key, version).read(frame[codec.at:])


def read_response(key, version, frame):
    """The correlation id and the answer."""
    head = 5 if version >= APIS[key].flexible and key != API_VERSIONS else 4
    if len(frame) < head or frame[4:head].strip(b"\0"):
        raise Malformed(f"an answer of {len(frame)} bytes with the head {frame[:head]!r}")
    return struct.unpack(">i", frame[:4])[0], response_codec(key, version).read(frame[head:])


# ---- Asking ----

NO_ANSWER, CLOSED = "no answer", "the connection was closed"


class Asker:
    """One connection at a time, on which one thing is asked after the other."""

    def __init__(self, broker, patience=60):
        self.broker, self.patience, self.sock, self.correlation = broker, patience, None, 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def send(self, key, version, tree, client="test"):
        if self.sock is None:
            self.sock = connect(self.broker)
        self.sock.settimeout(self.patience)
        self.correlation += 1
        data = write_request(key, version, tree, self.correlation, client)
        self.sock.sendall(struct.pack(">i", len(data)) + data)

    def receive(self):
        """A frame, or what comes in its place."""
        try:
            frame = read_frame(self.sock)
        except TimeoutError:
            frame = NO_ANSWER
        except ConnectionError:
            frame = None
        if not isinstance(frame, bytes):
            self.close()
        return CLOSED if frame is None else frame

    def get(self, api, version, tree=None, **kw):
        """The answer's tree, or what came in its place."""
        key = SCHEMAS[api].key
        self.send(key, version, tree or {}, **kw)
        frame = self.receive()
        if not isinstance(frame, bytes):
            return frame
        correlation, answer = read_response(key, version, frame)
        assert correlation == self.correlation
        return answer


def errors_in(x):
    """All error codes of an answer."""
    if isinstance(x, dict):
        return {v for k, v in x.items() if k.endswith("ErrorCode")}.union(*[errors_in(v) for v in x.values()])
    return set().union(*[errors_in(v) for v in x]) if isinstance(x, list) else set()
