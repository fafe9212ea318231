"""Record batches, with whatever in them is to be wrong."""

import struct
import zlib

TRANSACTIONAL, CONTROL = 0x10, 0x20


def make_table():
    table = []
    for i in range(256):
        for _ in range(8):
            i = i >> 1 ^ (0x82F63B78 if i & 1 else 0)
        table.append(i)
    return table


TABLE = make_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def varint(n):
    n = (n << 1 ^ n >> 63) & (1 << 64) - 1
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def sized(data):
    return varint(-1) if data is None else varint(len(data)) + data


def make_record(delta=0, value=b"v", key=None, time=0, headers=()):
    """With `delta` and `time` relative to the batch's."""
    body = b"\0" + varint(time) + varint(delta) + sized(key) + sized(value) + varint(len(headers))
    body += b"".join(sized(k) + sized(v) for k, v in headers)
    return varint(len(body)) + body


def make_batch(records=None, attributes=0, base=0, last_delta=None, count=None, producer=-1, epoch=-1, sequence=-1, first_time=1000,
               max_time=None, magic=2, leader_epoch=-1, length=None, crc=None, body=None):
    """Version 2. `records` are made by make_record(), and are the body as they are if it is not given."""
    records = [make_record()] if records is None else records
    count = len(records) if count is None else count
    checked = struct.pack(">hiqqqhii", attributes, len(records) - 1 if last_delta is None else last_delta, first_time,
                          first_time if max_time is None else max_time, producer, epoch, sequence, count)
    checked += b"".join(records) if body is None else body
    length = 9 + len(checked) if length is None else length
    return struct.pack(">qiibI", base, length, leader_epoch, magic, crc32c(checked) if crc is None else crc) + checked


def make_message(value=b"v", key=None, magic=1, time=1000, attributes=0, offset=0, crc=None):
    """A message of magic 0 or 1, alone in its set."""
    checked = struct.pack(">bb", magic, attributes) + (struct.pack(">q", time) if magic == 1 else b"")
    for part in key, value:
        checked += struct.pack(">i", -1) if part is None else struct.pack(">i", len(part)) + part
    return struct.pack(">qiI", offset, 4 + len(checked), zlib.crc32(checked) if crc is None else crc) + checked
