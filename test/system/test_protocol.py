"""The codec against Apache's own message classes: every API, every version, both directions."""

import re
import struct
import subprocess

import pytest
from harness import BUILD, JARS, TOP, javac, jvm, run
from messages import APIS, read_request, read_response, response_codec, write_request

CAPTURE = TOP / "test" / "protocol" / "captures" / "clients.bin"
RESPONSE = 3


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    javac(TOP / "test" / "protocol" / "Frames.java", JARS, folder)

    def make(seed, variants):
        path = folder / f"frames-{seed}"
        run([*jvm(heap=512, classes=folder), "Frames", seed, variants, path])
        return path
    return make


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_messages_come_back_as_java_wrote_them(frames, seed):
    done = subprocess.run([BUILD / "test" / "protocol" / "roundtrip", frames(seed, 20)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    messages, schemas, wrong = map(int, re.search(r"(\d+) messages, (\d+) schemas, (\d+) wrong", done.stdout).groups())
    assert schemas > 450 and messages == 20 * schemas and wrong == 0


def test_captured_traffic_comes_back_as_it_was():
    done = subprocess.run([BUILD / "test" / "protocol" / "roundtrip", CAPTURE], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) schemas", done.stdout).group(1)) > 100


def test_the_tests_own_codec_on_captured_traffic():
    data, at, seen = CAPTURE.read_bytes(), 0, set()
    while at < len(data):
        key, kind, version, size = struct.unpack_from(">hbhi", data, at)
        frame = data[at + 9:at + 9 + size]
        at += 9 + size
        if kind == RESPONSE:
            _, tree = read_response(key, version, frame)
            assert frame.endswith(response_codec(key, version).write(tree))
        else:
            head, tree = read_request(frame)
            assert write_request(key, version, tree, head["CorrelationId"], head["ClientId"]) == frame
        seen.add((key, kind))
    assert len(seen) > len(APIS) / 2
