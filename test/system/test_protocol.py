"""The codec against Apache's own message classes: every API, every version, both directions."""

import re
import subprocess

import pytest
from harness import BUILD, JARS, TOP


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    subprocess.run(["javac", "-nowarn", "-cp", f"{JARS}/*", "-d", folder, TOP / "test" / "protocol" / "Frames.java"], check=True)

    def make(seed, variants):
        path = folder / f"frames-{seed}"
        subprocess.run(["java", "-Xmx512m", "-cp", f"{folder}:{JARS}/*", "Frames", str(seed), str(variants), path], check=True)
        return path
    return make


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_messages_come_back_as_java_wrote_them(frames, seed):
    done = subprocess.run([BUILD / "test" / "protocol" / "roundtrip", frames(seed, 20)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    messages, schemas, wrong = map(int, re.search(r"(\d+) messages, (\d+) schemas, (\d+) wrong", done.stdout).groups())
    assert schemas > 450 and messages == 20 * schemas and wrong == 0


def test_captured_traffic_comes_back_as_it_was():
    capture = TOP / "test" / "protocol" / "captures" / "clients.bin"
    done = subprocess.run([BUILD / "test" / "protocol" / "roundtrip", capture], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) schemas", done.stdout).group(1)) > 100
