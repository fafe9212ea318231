"""The page at / and /status.json: right figures, hostile names, nothing from elsewhere, and as a browser shows it."""

import base64
import hashlib
import fcntl
import html.parser
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from browser import AXE, CHROMIUM, Browser
from harness import BUILD, TOP, Apache, Barnabas, Chroot, connect, frame, free_port, produce, read_frame, wait_until
from test_exporter import scrape, status
from test_lag import Cluster, commit
from test_tools import script

HOSTILE = ['<script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)", "&lt;b&gt;", "é ☃"]


def status_of(broker, query=""):
    return json.loads(scrape(broker.http, "status.json" + query))


def page_of(broker, query=""):
    return scrape(broker.http, query)


class Outline(html.parser.HTMLParser):
    """What is in a page: its tags with attributes, its texts, and whether each tag is closed in its turn."""

    VOID = {"meta", "link", "br", "img", "input", "path", "polyline"}

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        assert len(dict(attributes)) == len(attributes), (tag, attributes)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        self.texts.append(data)

    def having(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def commit_raw(broker, group):
    """An offset for a group whose id is any bytes: OffsetCommit 2, of a group that only keeps offsets."""
    def text(b):
        return struct.pack(">h", len(b)) + b
    topics = struct.pack(">i", 1) + text(b"t") + struct.pack(">iiq", 1, 0, 3) + text(b"")
    with connect(broker) as sock:
        sock.sendall(frame(8, 2, text(group) + struct.pack(">i", -1) + text(b"") + struct.pack(">q", -1) + topics))
        assert read_frame(sock)[-2:] == b"\0\0"


def led_by(view, broker):
    return next(b["leads"] for b in view["cluster"]["brokers"] if b["id"] == broker)


def test_the_figures_are_right(make_broker, ensemble):
    cluster = Cluster(make_broker, ensemble, (Barnabas, Barnabas))
    first = cluster.first
    found = status_of(first)
    seen = found["cluster"]
    assert found["clusterId"] == cluster.admin.list_topics().cluster_id
    assert found["troubles"] == []
    metadata = cluster.admin.list_topics(timeout=30)
    assert seen["controller"] == metadata.controller_id
    assert {b["id"]: (b["host"], b["port"]) for b in seen["brokers"]} == {b.id: (b.host, b.port) for b in metadata.brokers.values()}
    assert {t["name"]: t["partitions"] for t in seen["topics"]} == {t.topic: len(t.partitions) for t in metadata.topics.values()}
    topics = {t["name"]: t for t in seen["topics"]}
    assert (topics["t"]["records"], topics["u"]["records"]) == (100, 5)
    assert (topics["t"]["replicas"], topics["u"]["replicas"], topics["u"]["minIsr"]) == (1, 2, 1)
    for broker in 0, 1:
        assert led_by(found, broker) == sum(p.leader == broker for t in metadata.topics.values() for p in t.partitions.values())
    groups = {g["id"]: g for g in seen["groups"]}
    for group in cluster.committed:
        assert groups[group]["lag"] == sum(v for v in cluster.lag(group).values() if v >= 0)
    assert [g["lag"] for g in seen["groups"]] == sorted((g["lag"] for g in seen["groups"]), reverse=True)
    own = found["broker"]
    assert (own["id"], own["stateText"], own["zookeeper"]) == (0, "running", "CONNECTED")
    assert [d["path"] for d in own["directories"]] == [str(first.data)] and own["directories"][0]["freeBytes"] > 0
    assert own["settings"]["offsets.topic.num.partitions"] == "10"
    outline = Outline(page_of(first))
    text = "".join(outline.texts)
    assert f"All {seen['partitions']} partitions have all their replicas in sync, on 2 of 2 brokers." in text
    assert {attributes.get("class") for attributes in outline.having("section")} >= {"verdict is-good"}


def ask_as(broker, software, times, metadata_version=1):
    """ApiVersions 3, by which a client names itself, then requests for no topic's metadata. What a name may be is bounded."""
    def text(b):
        return bytes([len(b) + 1]) + b
    with connect(broker) as sock:
        sock.sendall(frame(18, 3, b"\0" + text(software) + text(b"1.0") + b"\0"))
        assert read_frame(sock)
        for _ in range(times):
            sock.sendall(frame(3, metadata_version, struct.pack(">i", 0) + (b"\0" if metadata_version >= 4 else b"")))
            assert read_frame(sock)


def test_old_clients_and_loops_are_told_of(make_broker):
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "num.network.threads": 2, "num.replica.fetchers": 2})
    broker.http = port
    ask_as(broker, b"new", 4, metadata_version=5)
    assert status_of(broker)["broker"]["deprecated"] == [] and "too old for Kafka 4.0" not in page_of(broker)
    for software, times in ((b"old", 2), (b"older", 3)):
        ask_as(broker, software, times)
    own = status_of(broker)["broker"]
    assert own["deprecatedCount"] == 2
    assert [(d["software"], d["version"], d["request"], d["requestVersion"], d["count"]) for d in own["deprecated"]] == [
        ("older", "1.0", "Metadata", "1", 3), ("old", "1.0", "Metadata", "1", 2)]
    assert '<tr><th scope="row">older</th><td>1.0</td><td>Metadata 1</td><td class="n">3</td>' in page_of(broker)

    def idle():
        return {loop["name"]: loop["idle"] for loop in status_of(broker)["broker"]["loops"]}
    all_loops = {"control", "coordinator", "network-0", "network-1", "replication-0", "replication-1"}
    wait_until(lambda: (found := idle()).keys() >= all_loops and None not in found.values(), "a step of the history that had all")
    assert all(0 <= share <= 1 for share in idle().values())
    assert re.search(r"Loops idle: [^<]*\bnetwork-1 \d+ %", page_of(broker))


def test_what_is_wrong_comes_first(make_broker, ensemble):
    cluster = Cluster(make_broker, ensemble, (Barnabas, Barnabas))
    cluster.brokers[1].stop()
    found = wait_until(lambda: (s := status_of(cluster.first))["cluster"]["offline"] > 0 and s, "partitions without a leader")
    bad = [t["text"] for t in found["troubles"] if t["bad"]]
    assert bad and re.match(r"\d+ of \d+ partitions have no leader", bad[0]), found["troubles"]
    assert any("Broker 1 is not there" in t["text"] for t in found["troubles"])
    assert found["cluster"]["topics"][0]["offline"] > 0
    assert [b["alive"] for b in found["cluster"]["brokers"]] == [True, False]
    outline = Outline(page_of(cluster.first))
    assert "verdict is-bad" in {attributes.get("class") for attributes in outline.having("section")}


def test_names_are_inert(make_broker):
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "listener.name.http.ssl.key.password": "hush hush"})
    broker.http = port
    names = [h.encode() for h in HOSTILE] + [b"caf\xe9 <b>"]
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1, 1)])["t"].result()
    commit(broker, HOSTILE[-1], {("t", 0): 3})  # which makes the internal topic
    for name in names:
        wait_until(lambda: commits(broker, name), "the coordinator")
    found = {g["id"] for g in status_of(broker)["cluster"]["groups"]}
    assert found == set(HOSTILE) | {"caf\ufffd <b>"}
    text = page_of(broker)
    outline = Outline(text)
    assert {tag for tag, _ in outline.tags} <= set(
        "html head meta title link style body header h1 h2 p main section span div table caption thead tbody tr th td dl dt dd b svg path "
        "polyline meter a details summary script".split())
    assert not [a for _, attributes in outline.tags for a in attributes if a.startswith("on") or a == "style"]
    assert found <= set(outline.texts)
    assert len(outline.having("script")) == 1
    assert "hush hush" not in text + scrape(port, "status.json")
    nothing_from_elsewhere(outline)


def commits(broker, name):
    try:
        commit_raw(broker, name)
        return True
    except AssertionError:
        return False


def nothing_from_elsewhere(outline):
    for _, attributes in outline.tags:
        for key in "src", "href", "action", "srcset", "data":
            assert re.match(r"/|data:,$|#|$", attributes.get(key, "")), attributes


def test_the_page_is_small_and_says_what_browsers_may_do(make_broker):
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}"})
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        text, headers = answer.read(), answer.headers
    assert len(text) < 60_000
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["connect-src"] == "'self'"
    for tag, key in ("style", "style-src"), ("script", "script-src"):
        content = re.search(rb"<%s>(.*?)</%s>" % (tag.encode(), tag.encode()), text, re.S).group(1)
        assert policy[key] == f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"
    nothing_from_elsewhere(Outline(text.decode()))
    for path in "", "status.json":
        assert status(port, path, "HEAD") == 200
        assert status(port, path, "POST") == 405
    history = json.loads(scrape(port, "status.json"))["broker"]["history"]
    assert {"produceP50Ms", "produceP99Ms", "fetchP50Ms", "fetchP99Ms"} <= set(history)
    assert history["stepMs"] == 10000 and set(map(len, (history[k] for k in history if k != "stepMs"))) <= {0, 1, 2, 3, 4, 5, 6}
    assert broker.is_running()


def test_the_page_wants_a_user(make_broker):
    port = free_port()
    make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "barnabas.http.users": "ann:secret"})
    known = {"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
    for path in "", "status.json":
        assert status(port, path) == 401
        text = scrape(port, path, **known)
        assert "ann:secret" not in text
    assert status(port, "livez") == 200


def test_the_page_is_not_for_whoever_comes(make_broker):
    """From elsewhere, as far as the address says: by this machine's own one instead of a loopback's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))  # nothing is sent
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        own = s.getsockname()[0]

    def ask(broker, host, path):
        try:
            with urllib.request.urlopen(f"http://{host}:{broker.http}/{path}", timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as e:
            return e.code
    for more, seen in ({}, 403), ({"barnabas.http.page.open": "true"}, 200):
        port = free_port()
        broker = make_broker(data=f"data-{seen}", **{"barnabas.http.listeners": f"METRICS://:{port}", **more})
        broker.http = port
        for path in "", "status.json":
            assert ask(broker, "127.0.0.1", path) == 200 and ask(broker, own, path) == seen, (own, path)
        assert ask(broker, own, "metrics") == ask(broker, own, "livez") == 200
        broker.stop()


STEERING = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202eevil\u2066"


def top(broker, *arguments, **env):
    return subprocess.run([TOP / "bin" / "barnabas-top.sh", "--url", f"http://127.0.0.1:{broker.http}/", *arguments], capture_output=True,
                          encoding="utf-8", timeout=60, env={**os.environ, "BARNABAS_BUILD": str(BUILD), **env})


def test_the_page_in_a_terminal(make_broker):
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "barnabas.http.users": "ann:secret"})
    broker.http = port
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1, 1), NewTopic("n" * 249, 1, 1)])["t"].result()
    commit(broker, STEERING, {("t", 0): 0})
    assert top(broker).returncode == 1
    known = top(broker, "--user", "ann:secret")
    assert known.returncode == 0, known.stderr
    lines = known.stdout.splitlines()
    assert lines[0].startswith("Broker 0 of cluster ")
    assert re.fullmatch(r"All \d+ partitions have all their replicas in sync, on 1 brokers\.", lines[1])
    assert re.search(r"^t +0 +0 +0 +1 +0 B +0 B/s +0 B/s$", known.stdout, re.M)
    assert "?[2J?]0;owned??31m?evil?" in known.stdout
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", known.stdout)
    assert top(broker, BARNABAS_USER="ann:secret").stdout.splitlines()[1] == lines[1]
    # A terminal of 24 lines of 60 columns: no line is longer, and no more are there than fit.
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(BARNABAS_BUILD=str(BUILD), BARNABAS_USER="ann:secret")
        os.execv(TOP / "bin" / "barnabas-top.sh", ["barnabas-top.sh", "--url", f"http://127.0.0.1:{port}"])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    shown = b""
    while not re.search(rb"\x1b\[H.*Group.*\x1b\[J", shown, re.S):
        shown += os.read(fd, 1 << 16)
    os.kill(pid, signal.SIGTERM)
    os.waitpid(pid, 0)
    os.close(fd)
    screen = re.search(rb"\x1b\[H(.*?)\x1b\[J", shown, re.S).group(1).decode()
    rows = re.sub(r"\x1b\[[0-9;]*[mK]", "", screen).splitlines()
    assert len(rows) <= 24 and max(map(len, rows)) <= 60


SIGHTS = {"light": (1280, 1000, "light"), "dark": (1280, 1000, "dark"), "phone": (360, 740, "light"), "dark phone": (360, 740, "dark")}


@pytest.mark.skipif(CHROMIUM is None and "BARNABAS_BROWSER" not in os.environ, reason="there is no Chromium (apt install chromium)")
def test_a_browser_shows_the_page(make_broker, tmp_path):
    """Light and dark, wide and on a phone, with what is wrong and names that want to be scripts; then it goes on by itself."""
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}"})
    broker.http = port
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1, 1), NewTopic("n" * 249, 1, 1)])["t"].result()
    commit(broker, HOSTILE[-1], {("t", 0): 0})
    for name in HOSTILE:
        wait_until(lambda: commits(broker, name.encode()), "the coordinator")
    browser = Browser(tmp_path / "chromium")
    url = f"http://127.0.0.1:{port}/"
    try:
        grounds = {}
        for sight, shape in SIGHTS.items():
            browser.look(url, *shape)
            browser.picture(tmp_path / f"{sight}.png")
            grounds[sight] = browser.evaluate("getComputedStyle(document.body).backgroundColor")
            assert browser.evaluate("document.documentElement.scrollWidth") == shape[0], "the page itself scrolls sideways"
            assert browser.complaints == []
            assert set(browser.requests) <= {url, "data:,"}
            if AXE.exists() or "BARNABAS_BROWSER" in os.environ:
                assert browser.axe() == []
        assert grounds["light"] == grounds["phone"] != grounds["dark"] == grounds["dark phone"]
        browser.look(url, *SIGHTS["light"], script=False)
        assert browser.evaluate("document.getElementById('note').textContent").startswith("Load the page again")
        browser.look(url, *SIGHTS["light"])
        admin.create_topics([NewTopic("fresh", 1, 1)])["fresh"].result()
        wait_until(lambda: browser.evaluate("document.querySelector('main').textContent.includes('fresh')"), "the page to go on by itself")
        broker.stop()
        wait_until(lambda: browser.evaluate("document.documentElement.classList.contains('stale')"), "the page to say that it is old")
    finally:
        browser.stop()


def test_diagnosis(make_broker, tmp_path):
    port, file = free_port(), tmp_path / "diagnosis.txt"
    secrets = {"barnabas.http.users": "ann:tell-nobody", "listener.name.plaintext.ssl.key.password": "nor-this", "unheard.of": "nor-that"}
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "message.max.bytes": 12345, **secrets})
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "server.log").write_text("old\n" * 100_000 + "the last line\n")

    def diagnose():
        return subprocess.run([BUILD / "barnabas", "--diagnose", file, broker.log.with_suffix(".properties")], capture_output=True, text=True,
                              timeout=60, env={**os.environ, "LOG_DIR": str(tmp_path / "logs")})
    done = diagnose()
    assert done.returncode == 0, done
    text = file.read_text()
    for said in ("message.max.bytes=12345\n", "\nA broker could start with this.\n", f"\n{broker.data}: ", '"stateText":"running"',
                 "\nthe last line\n", "barnabas.http.users=[hidden]"):
        assert said in text, said
    assert not [value for value in ("tell-nobody", "nor-this", "nor-that") if value in text]
    assert len(text) < 400_000 and file.stat().st_mode & 0o777 == 0o600
    again = diagnose()
    assert again.returncode == 1 and "File exists" in again.stderr and file.read_text() == text
    file.unlink()
    broker.stop()
    assert diagnose().returncode == 0
    assert "\nIt does not answer: " in file.read_text()


def test_moves_show_how_far_they_are(make_broker, tmp_path):
    port, dirs = free_port(), [tmp_path / "a", tmp_path / "b"]
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "log.dirs": f"{dirs[0]},{dirs[1]}",
                            "replica.alter.log.dirs.io.max.bytes.per.second": 1})
    broker.http = port
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1, 1)])["t"].result()
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    for i in range(1000):
        producer.produce("t", b"x" * 10000)
    assert producer.flush(60) == 0
    (target,) = [d for d in dirs if not (d / "t-0").exists()]
    file = tmp_path / "moves.json"
    file.write_text(json.dumps({"version": 1, "partitions": [{"topic": "t", "partition": 0, "replicas": [0], "log_dirs": [str(target)]}]}))
    script("kafka-reassign-partitions", "--bootstrap-server", broker.bootstrap, "--reassignment-json-file", file, "--execute")
    (move,) = wait_until(lambda: [m for m in status_of(broker)["broker"]["work"]["moves"] if m["movedTo"]], "the move")
    assert (move["topic"], move["partition"], move["endOffset"]) == ("t", "0", 1000) and 0 < move["movedTo"] < 1000
    assert "Logs that move to another directory" in page_of(broker)
    assert re.search(r"^t-0 moves to another directory: \d+ of 1,000$", top(broker).stdout, re.M)


def test_compactions_show_how_far_they_are(make_broker):
    """One that may read next to nothing in a second."""
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "log.cleaner.io.max.bytes.per.second": 1000,
                            "log.cleaner.backoff.ms": 100, "log.cleaner.io.buffer.size": 131072})
    broker.http = port
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    config = {"cleanup.policy": "compact", "segment.bytes": "500000", "min.cleanable.dirty.ratio": "0.01"}
    admin.create_topics([NewTopic("kept", 1, 1, config=config)])["kept"].result()
    producer = Producer({"bootstrap.servers": broker.bootstrap, "batch.size": 50000})
    for i in range(200):
        producer.produce("kept", b"x" * 5000, f"k{i % 7}")
    assert producer.flush(60) == 0
    (found,) = wait_until(lambda: [c for c in status_of(broker)["broker"]["work"]["compactions"] if c["percent"]], "the compaction")
    assert (found["topic"], found["partition"]) == ("kept", "0") and 0 < found["percent"] < 100
    assert re.search(r"Being compacted: kept-0 \(\d+ %\)\.", page_of(broker))
    assert re.search(r"^kept-0 is being compacted: \d+ %$", top(broker).stdout, re.M)


def test_reassignments_show_how_fast_they_are(make_broker, ensemble):
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "zookeeper.connect": ensemble.chroot().connect})
    broker.http = port
    make_broker(data="second", **{"broker.id": 1, "zookeeper.connect": broker.properties["zookeeper.connect"], "replica.fetch.max.bytes": 100_000})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1, replica_assignment=[[0]])])["t"].result()
    producer = Producer({"bootstrap.servers": broker.bootstrap, "batch.size": 50000})
    for i in range(500):
        producer.produce("t", b"x" * 10_000)
    assert producer.flush(60) == 0
    for which, entity in ("leader", "0"), ("follower", "1"):
        script("kafka-configs", "--bootstrap-server", broker.bootstrap, "--alter", "--entity-type", "brokers", "--entity-name", entity,
               "--add-config", f"{which}.replication.throttled.rate=200000")
    script("kafka-configs", "--bootstrap-server", broker.bootstrap, "--alter", "--entity-type", "topics", "--entity-name", "t",
           "--add-config", "leader.replication.throttled.replicas=*,follower.replication.throttled.replicas=*")
    chroot = Chroot(broker.properties["zookeeper.connect"])
    chroot.client.create("/admin/reassign_partitions", b'{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[0,1]}]}')
    chroot.close()

    def told():
        return [x for x in status_of(broker)["cluster"]["reassignments"] if x["copiedBytesPerSec"]]

    (found,) = wait_until(told, "the rate")
    assert 0 < found["copiedBytes"] < found["bytes"] and found["bytes"] > 5_000_000 and 0 < found["copiedBytesPerSec"] < 5_000_000
    assert re.search(r"<td class=\"n\">[\d.]+ [kM]B/s</td><td class=\"n\">\d+ (s|min)</td>", page_of(broker))


def test_reassignments_show_how_far_they_are(make_broker, ensemble):
    """The new replica is on a broker that stands still: so it goes on."""
    port = free_port()
    broker = make_broker(**{"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "zookeeper.connect": ensemble.chroot().connect})
    broker.http = port
    second = make_broker(data="second", **{"broker.id": 1, "zookeeper.connect": broker.properties["zookeeper.connect"]})
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 1, replica_assignment=[[0]])])["t"].result()
    assert status_of(broker)["cluster"]["reassignmentCount"] == 0
    second.process.send_signal(signal.SIGSTOP)
    chroot = Chroot(broker.properties["zookeeper.connect"])
    chroot.client.create("/admin/reassign_partitions", b'{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[0,1]}]}')
    chroot.close()
    try:
        (found,) = wait_until(lambda: status_of(broker)["cluster"]["reassignments"], "the reassignment")
        assert found.items() >= {"topic": "t", "partition": 0, "inSync": 1, "replicas": 2}.items()
        assert "Reassignments in the cluster, 1 of them" in page_of(broker)
    finally:
        second.process.send_signal(signal.SIGCONT)


def test_brokers_are_of_either_kind(make_broker, ensemble):
    cluster = Cluster(make_broker, ensemble, (Barnabas, Apache))
    found = {b["id"]: (b["software"], b["protocol"]) for b in status_of(cluster.first)["cluster"]["brokers"]}
    assert found == {0: ("barnabas", "3.9-IV0"), 1: ("Apache Kafka", "3.9-IV0")}
    assert "<td>Apache Kafka</td><td>3.9-IV0</td>" in page_of(cluster.first)


def test_lag_that_grows_and_elections_are_told(make_broker, ensemble):
    cluster = Cluster(make_broker, ensemble, (Barnabas, Barnabas))

    def group():
        return next(g for g in status_of(cluster.first)["cluster"]["groups"] if g["id"] == "g1")

    wait_until(lambda: group()["lagChangePerSec"] == 0, "a second look")
    before = group()["lag"]
    produce(cluster.first, "t", ["x"] * 5000, "-p", "0")
    found = wait_until(lambda: (g := group())["lag"] == before + 5000 and g, "the lag to grow")
    assert found["lagChangePerSec"] > 0
    assert re.search(r'<td class="n">(\+[\d.]+( k)?|0)/s</td>', page_of(cluster.first))
    cluster.brokers[1].stop()

    def elections():
        return [e for e in status_of(cluster.first)["cluster"]["elections"] if e["from"] == 1]

    (found,) = wait_until(elections, "the election")
    assert (found["topic"], found["to"]) in {("t", None), ("u", 0), ("__consumer_offsets", None)} and found["ms"] > cluster.written_ms
    assert "The last leaders that changed in the cluster" in page_of(cluster.first)


def test_transactions_that_are_open_for_long(make_broker, tmp_path):
    """By a clock that jumps by two minutes."""
    port, clock = free_port(), tmp_path / "clock"
    clock.write_text("+0s")
    (fake,) = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")

    def with_clock(broker):
        broker.env.update(LD_PRELOAD=str(fake), FAKETIME_TIMESTAMP_FILE=str(clock), FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1")
        return {"barnabas.http.listeners": f"METRICS://127.0.0.1:{port}", "transaction.state.log.replication.factor": 1,
                "transaction.state.log.num.partitions": 1}

    broker = make_broker(each=with_clock)
    broker.http = port
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([NewTopic("t", 2, 1)])["t"].result()
    producers = {}
    for name in "swift", "<b>slow</b>":
        producers[name] = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": name, "transaction.timeout.ms": 900000})
        producers[name].init_transactions()
        producers[name].begin_transaction()
        for partition in 0, 1:
            producers[name].produce("t", b"x", partition=partition)
        assert producers[name].flush(60) == 0
    producers["swift"].commit_transaction()
    assert status_of(broker)["cluster"]["transactions"] == []
    clock.write_text("+120s")
    (found,) = wait_until(lambda: status_of(broker)["cluster"]["transactions"], "the transaction to be told of")
    assert (found["id"], found["state"], found["coordinator"], found["partitions"]) == ("<b>slow</b>", "Ongoing", 0, 2)
    assert 120_000 <= found["openMs"] < 600_000
    page = page_of(broker)
    assert "&lt;b&gt;slow&lt;/b&gt;</th><td>Ongoing</td>" in page and "open for more than a minute, 1 of them" in page
    producers["<b>slow</b>"].commit_transaction()
    wait_until(lambda: status_of(broker)["cluster"]["transactions"] == [], "it to be over")
