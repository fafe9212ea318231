"""Moving replicas, electing leaders, comparing replicas: our tools and Apache's, on clusters of either broker."""

import json
import re
import subprocess
import time

import pytest

from harness import BUILD, Apache, Barnabas, java, jvm, kcat, produce, wait_until
from test_cluster import make_cluster  # noqa: F401 (a fixture)
from test_tools import script

REASSIGN = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
ELECT = "org.apache.kafka.tools.LeaderElectionCommand"
VERIFY_REPLICAS = "org.apache.kafka.tools.ReplicaVerificationTool"
TOPICS = "org.apache.kafka.tools.TopicCommand"


SETTINGS = {"auto.leader.rebalance.enable": "false", "min.insync.replicas": 1}


@pytest.fixture
def three(make_cluster):
    return make_cluster(Barnabas, Barnabas, Barnabas, **SETTINGS)


@pytest.fixture
def two(make_cluster):
    return make_cluster(Barnabas, Barnabas, **SETTINGS)


def servers(brokers):
    return ",".join(b.bootstrap for b in brokers if b.is_running())


def topics(brokers, *args, **kw):
    return script("kafka-topics", "--bootstrap-server", servers(brokers), *args, **kw)


def reassign(brokers, *args, **kw):
    return script("kafka-reassign-partitions", "--bootstrap-server", servers(brokers), *args, **kw)


def elect(brokers, *args, **kw):
    return script("kafka-leader-election", "--bootstrap-server", servers(brokers), *args, **kw)


def theirs(tool, brokers, *args, check=True):
    """Apache's tool, without stack traces and empty lines."""
    out = java(tool, "--bootstrap-server", servers(brokers), *args, check=check)
    trace = re.compile(r"\s+at |Caused by|\S*Exception|\tSuppressed|\s+\.\.\. ")
    return [line for line in out.splitlines() if line and not trace.match(line)]


def lines(text):
    return [line for line in text.splitlines() if line]


def moves(path, **targets):
    """A file that says where partitions are to be: t_0=[1, 2]."""
    parts = [{"topic": name[:-2], "partition": int(name[-1]), "replicas": replicas} for name, replicas in targets.items()]
    path.write_text(json.dumps({"version": 1, "partitions": parts}))
    return path


def create(brokers, topic, assignment):
    topics(brokers, "--create", "--topic", topic, "--replica-assignment", assignment)
    wanted = [sorted(x.split(":")) for x in assignment.split(",")]
    wait_until(lambda: [isr for _, _, isr in describe(brokers, topic)] == wanted, "all in sync")


def describe(brokers, topic):
    """(leader, replicas, sorted ISR) of each partition, as any client sees it."""
    out = kcat(next(b for b in brokers if b.is_running()), "-L", "-t", topic, check=False)
    found = re.findall(r"partition (\d+), leader (\S+), replicas: (\S+), isrs: ([\d,]*)", out)
    return [(leader, replicas, sorted(isr.strip(",").split(","))) for _, leader, replicas, isr in sorted(found)]


def assignments(text):
    """What a line of JSON says: {(topic, partition): replicas}"""
    return {(p["topic"], p["partition"]): p["replicas"] for p in json.loads(text)["partitions"]}


# ---- kafka-reassign-partitions ----


def test_partitions_there_and_back(three, tmp_path):
    create(three, "t", "1:2,2:1")
    produce(three[0], "t", [str(i) for i in range(100)])
    there = moves(tmp_path / "there.json", t_0=[3, 1], t_1=[2, 3, 1])
    to_move = tmp_path / "topics.json"
    to_move.write_text('{"version":1,"topics":[{"topic":"t"}]}')

    args = ["--generate", "--topics-to-move-json-file", to_move, "--broker-list", "2,3"]
    ours = reassign(three, *args).splitlines()
    assert ours[:2] == theirs(REASSIGN, three, *args)[:2]
    assert ours[2:4] == ["", "Proposed partition reassignment configuration"]
    proposed = assignments(ours[4])
    assert sorted(map(sorted, proposed.values())) == [[2, 3], [2, 3]] and proposed["t", 0] != proposed["t", 1]

    out = reassign(three, "--execute", "--reassignment-json-file", there).splitlines()
    assert out[0] == "Current partition replica assignment" and out[2] == ours[1]
    assert out[4:] == ["Save this to use as the --reassignment-json-file option during rollback",
                       "Successfully started partition reassignments for t-0,t-1"]
    wait_until(lambda: reassign(three, "--list") == "No partition reassignments found.\n", "the end of it")
    assert [(r, isr) for _, r, isr in describe(three, "t")] == [("3,1", ["1", "3"]), ("2,3,1", ["1", "2", "3"])]
    verify = ["--verify", "--reassignment-json-file"]
    done = reassign(three, *verify, there)
    assert lines(done) == theirs(REASSIGN, three, *verify, there)
    assert done == "Status of partition reassignment:\nReassignment of partition t-0 is completed.\n" \
                   "Reassignment of partition t-1 is completed.\n\n" \
                   "Clearing broker-level throttles on brokers 1,2,3\nClearing topic-level throttles on topic t\n"

    back = tmp_path / "back.json"
    back.write_text(out[2])
    assert theirs(REASSIGN, three, "--execute", "--reassignment-json-file", back)[-1] == out[-1]
    wait_until(lambda: reassign(three, *verify, back).count(" is completed.") == 2, "the way back")
    assert lines(reassign(three, *verify, there)) == theirs(REASSIGN, three, *verify, there)
    assert kcat(three[0], "-C", "-t", "t", "-o", "beginning", "-e", "-q").count("\n") == 100


def test_a_reassignment_that_goes_on(three, tmp_path):
    """To a broker that is dead, which the controller finds out only later."""
    create(three, "t", "1:2,2:1")
    create(three, "u", "1:2")
    some = moves(tmp_path / "some.json", t_0=[1, 3], t_1=[2, 1, 3])
    more = moves(tmp_path / "more.json", u_0=[3, 1])
    three[2].kill()
    reassign(three, "--execute", "--reassignment-json-file", some)
    assert "Cannot execute because there is an existing partition assignment." in \
        reassign(three, "--execute", "--reassignment-json-file", more, code=1)
    reassign(three, "--execute", "--additional", "--reassignment-json-file", more)
    wait_until(lambda: reassign(three, "--list").count("replicas:") == 3, "three of them")
    listed = reassign(three, "--list")
    assert "t-0: replicas: 1,3,2. adding: 3. removing: 2.\nt-1: replicas: 2,1,3. adding: 3.\n" in listed
    assert listed.splitlines() == theirs(REASSIGN, three, "--list")
    verify = ["--verify", "--reassignment-json-file", some]
    assert lines(reassign(three, *verify)) == theirs(REASSIGN, three, *verify)
    assert "Reassignment of partition t-0 is still in progress." in reassign(three, *verify)

    described = topics(three, "--describe")
    assert sorted(described.splitlines()) == sorted(theirs(TOPICS, three, "--describe"))
    assert "Replicas: 1,3,2\tIsr: 1,2\tAdding Replicas: 3\tRemoving Replicas: 2\t" in described
    assert topics(three, "--describe", "--under-replicated-partitions") == ""
    assert topics(three, "--describe", "--under-min-isr-partitions") == ""
    assert topics(three, "--describe", "--unavailable-partitions") == ""

    cancel = ["--cancel", "--preserve-throttles", "--reassignment-json-file"]  # lest the output says that they are cleared
    assert theirs(REASSIGN, three, *cancel, more) == ["Successfully cancelled partition reassignment for: u-0",
                                                      "None of the specified partition moves are active."]
    assert reassign(three, *cancel, some) == "Successfully cancelled partition reassignments for: t-0,t-1\n" \
                                             "None of the specified partition moves are active."
    assert lines(reassign(three, *cancel, some)) == theirs(REASSIGN, three, *cancel, some)
    assert reassign(three, "--list") == "No partition reassignments found.\n"
    assert [r for _, r, _ in describe(three, "t")] == ["1,2", "2,1"]


def test_how_far_a_reassignment_is(three, tmp_path):
    create(three, "t", "1:2,2:1")
    produce(three[0], "t", ["x" * 100_000] * 60, "-p", 0)
    plan = moves(tmp_path / "plan.json", t_0=[1, 3], t_1=[2, 1])
    reassign(three, "--execute", "--reassignment-json-file", plan, "--throttle", 500_000)

    def told():
        assert "Reassignment of partition t-0 is still in progress." in reassign(three, "--verify", "--reassignment-json-file", plan)
        return re.fullmatch(r"t-0 on broker 3: ([\d.]+) MB of 6.0 MB copied, ([\d.]+) KB/s, about (\d+) s left\n", script.errors)

    have, rate, left = map(float, wait_until(told, "the first bytes").groups())
    assert 0 < have < 6 and rate > 0 and abs((6 - have) * 1000 / rate - left) < 2 + left / 10
    wait_until(lambda: re.search(r"1 of \d+ partitions are behind broker 1, by [1-9]\d* offsets in all", three[2].text()), "it to be told by the new replica, too")
    reassign(three, "--cancel", "--reassignment-json-file", plan)


def test_throttles_go_though_a_broker_is_away(three, tmp_path):
    create(three, "t", "1:2:3")
    zk = three[0].zookeeper
    plan = moves(tmp_path / "plan.json", t_0=[3, 2, 1])
    reassign(three, "--execute", "--reassignment-json-file", plan, "--throttle", 5_000_000)
    verify = ["--verify", "--reassignment-json-file", plan]
    wait_until(lambda: "is completed." in reassign(three, *verify, "--preserve-throttles"), "the move")

    def throttled():
        return [path for path in ("brokers/1", "brokers/2", "brokers/3", "topics/t")
                if b"throttled" in zk.get("/config/" + path)]
    for kind, name, key in ("brokers", 2, "rate=5000000"), ("brokers", 3, "rate=5000000"), ("topics", "t", "replicas=*"):
        script("kafka-configs", "--bootstrap-server", servers(three), "--alter", "--entity-type", kind, "--entity-name", name,
               "--add-config", f"leader.replication.throttled.{key}")
    three[1].kill()
    wait_until(lambda: "2" not in zk.children("/brokers/ids"), "its session's end")
    assert set(throttled()) >= {"brokers/2", "brokers/3", "topics/t"}
    wait_until(lambda: "broker 2 at" not in kcat(three[0], "-L", check=False), "it to be known")
    out = reassign(three, *verify, code=1)
    assert "Clearing topic-level throttles on topic t\n" in out
    assert throttled() == ["brokers/2"]


def test_what_cannot_be_reassigned(two, tmp_path):
    create(two, "t", "1:2")
    file = tmp_path / "x.json"
    execute = ["--execute", "--reassignment-json-file", file]

    def refused(content, args=execute):
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return reassign(two, *args, code=1)

    def part(topic, partition, replicas, **more):
        return {"topic": topic, "partition": partition, "replicas": replicas, **more}

    for content in ({"partitions": [part("t", 7, [1])]}, {"partitions": [part("t", 0, [1], log_dirs=["/a", "any"])]}):
        assert refused(content).splitlines() == theirs(REASSIGN, two, *execute, check=False)
    assert refused({"partitions": []}) == "Error: Partition reassignment list cannot be empty\n"
    assert refused({"partitions": [part("t", 0, [])]}) == "Error: Partition replica list cannot be empty\n"
    assert refused({"partitions": [part("t", 0, [1]), part("t", 0, [2]), part("t", 0, [2])]}) == \
        "Error: Partition reassignment contains duplicate topic partitions: t-0\n"
    assert refused({"partitions": [part("t", 0, [1, 2, 1, 1])]}) == \
        "Error: Partition replica lists may not contain duplicate entries: t-0 contains multiple entries for 1\n"
    assert refused({"partitions": [part("t", 0, [1, 9])]}) == "Error: Unknown broker id 9\n"
    assert refused({"version": 2}) == "Error: Not supported version field value 2\n"
    assert refused({"partitions": [{"topic": "t"}]}) == "Error: No such field exists: `partition`\n"
    assert refused({"partitions": [part("t", "0", [1])]}) == 'Error: Expected `Integer` value, received "0"\n'
    assert refused({"partitions": ["t"]}) == 'Error: Expected `JSON object` value, received "t"\n'
    assert "is not valid JSON" in refused("{")
    assert "Topic none not found." in refused({"partitions": [part("none", 0, [1])]})
    generate = ["--generate", "--topics-to-move-json-file", file, "--broker-list"]
    topic = {"topic": "t"}
    assert refused({"topics": [topic]}, [*generate, "1,1"]) == "Error: Broker list contains duplicate entries: [1]\n"
    assert refused({"topics": [topic]}, [*generate, "1"]) == "Error: Replication factor: 2 larger than available brokers: 1.\n"
    assert refused({"topics": [topic] * 2}, [*generate, "1"]) == \
        "Error: List of topics to reassign contains duplicate entries: [t]\n"


SERVER = "--bootstrap-server x:1"
WRONG_USAGE = {
    "kafka-reassign-partitions": [
        ("--list --verify", "Command must include exactly one action: "),
        ("--list", "Please specify --bootstrap-server"),
        (f"{SERVER} --execute", 'Missing required argument "[reassignment-json-file]"'),
        (f"{SERVER} --list --throttle 3", 'Option "[throttle]" can\'t be used with action "[list]"'),
        ("--zookeeper x:1 --execute --reassignment-json-file x --additional", "must be specified when using additional"),
    ],
    "kafka-leader-election": [
        (SERVER, "Missing required option(s): election-type"),
        (f"{SERVER} --election-type odd --all-topic-partitions", "Cannot parse argument 'odd' of option election-type"),
        (f"{SERVER} --election-type preferred", "One and only one of the following options is required"),
        (f"{SERVER} --election-type preferred --topic t", "Missing required option(s): partition"),
    ],
    "kafka-replica-verification": [
        ("--time -1", 'Missing required argument "[broker-list]"'),
    ],
}


@pytest.mark.parametrize("name", WRONG_USAGE)
def test_wrong_usage(name):
    for args, message in WRONG_USAGE[name]:
        script(name, *args.split(), code=1)
        assert message in script.errors, args


def test_reassignment_through_zookeeper(three, tmp_path):
    b = three[0]
    create(three, "t", "1:2,2:1")

    def by_znodes(*args, **kw):
        warning, _, out = script("kafka-reassign-partitions", "--zookeeper", b.zookeeper.connect, *args, **kw).partition("\n")
        assert warning == "Warning: --zookeeper is deprecated, and will be removed in a future version of Kafka."
        return out

    there = moves(tmp_path / "there.json", t_0=[3, 1], t_1=[2, 3])
    to_move = tmp_path / "topics.json"
    to_move.write_text('{"topics":[{"topic":"t"}]}')
    generate = ["--generate", "--topics-to-move-json-file", to_move, "--broker-list", "1,2,3"]
    assert by_znodes(*generate).splitlines()[:2] == reassign(three, *generate).splitlines()[:2]
    out = by_znodes("--execute", "--reassignment-json-file", there, "--throttle", 10000000)
    assert out.splitlines()[-2:] == ["The inter-broker throttle limit was set to 10000000 B/s",
                                     "Successfully started partition reassignments for t-0,t-1"]
    config = json.loads(b.zookeeper.get("/config/topics/t"))["config"]
    assert config == {"leader.replication.throttled.replicas": "0:1,0:2,1:1,1:2",
                      "follower.replication.throttled.replicas": "0:3,1:3"}
    assert json.loads(b.zookeeper.get("/config/brokers/3"))["config"]["leader.replication.throttled.rate"] == "10000000"
    verify = ["--verify", "--reassignment-json-file", there]
    wait_until(lambda: by_znodes(*verify, "--preserve-throttles").count("is completed.") == 2, "the move")
    out = by_znodes(*verify)
    assert out.endswith("Clearing broker-level throttles on brokers 1,2,3\nClearing topic-level throttles on topic t\n")
    assert json.loads(b.zookeeper.get("/config/topics/t"))["config"] == {}
    assert json.loads(b.zookeeper.get("/config/brokers/3"))["config"] == {}
    there.write_text('{"partitions":[{"topic":"t","partition":0,"replicas":[1],"log_dirs":["/x"]}]}')
    assert "bootstrap-server needs to be provided" in by_znodes("--execute", "--reassignment-json-file", there, code=1)


# ---- kafka-leader-election ----


def test_a_broker_goes_and_comes_back(three, tmp_path):
    create(three, "t", "3:1:2,3:2:1,3:1:2")
    create(three, "lone", "3,2")
    topics(three, "--create", "--topic", "min", "--replica-assignment", "1:2:3", "--config", "min.insync.replicas=3")
    three[2].kill()
    wait_until(lambda: {leader for leader, _, _ in describe(three, "t")} <= {"1", "2"}, "others lead")
    wait_until(lambda: "Topic: min" in topics(three, "--describe", "--under-min-isr-partitions"), "min-0 lacks a replica")
    for what, count in (("under-replicated", 4), ("unavailable", 1), ("under-min-isr", 2), ("at-min-isr", 2)):
        args = ["--describe", f"--{what}-partitions"]
        ours = topics(three, *args).splitlines()
        assert sorted(ours) == sorted(theirs(TOPICS, three, *args)), what
        assert len(ours) == count, (what, ours)

    preferred, unclean = ["--election-type", "preferred"], ["--election-type", "UNCLEAN"]
    one = ["--topic", "t", "--partition", 0]
    for args in ([*preferred, *one], [*unclean, "--topic", "lone", "--partition", 0]):
        out = elect(three, *args, code=1)
        assert [*lines(out), script.errors.strip()] == theirs(ELECT, three, *args, check=False)
        assert "could not be elected" in script.errors
    three[2].restart()
    wait_until(lambda: all("3" in isr for _, _, isr in describe(three, "t")), "it is back in sync")
    assert elect(three, *preferred, *one) == "Successfully completed leader election (PREFERRED) for partitions t-0\n"
    assert [leader for leader, _, _ in describe(three, "t")].count("3") == 1
    assert elect(three, *preferred, *one) == "Valid replica already elected for partitions t-0\n"
    assert theirs(ELECT, three, *preferred, *one) == ["Valid replica already elected for partitions t-0"]
    file = tmp_path / "elect.json"
    file.write_text('{"partitions":[{"topic":"t","partition":1},{"topic":"t","partition":0}]}')
    assert elect(three, *preferred, "--path-to-json-file", file).splitlines() == \
        ["Successfully completed leader election (PREFERRED) for partitions t-1",
         "Valid replica already elected for partitions t-0"]
    assert theirs(ELECT, three, *preferred, "--all-topic-partitions") == \
        ["Successfully completed leader election (PREFERRED) for partitions t-2"]
    assert elect(three, *preferred, "--all-topic-partitions") == ""
    assert [leader for leader, _, _ in describe(three, "t")] == ["3", "3", "3"]
    file.write_text('{"partitions":[{"topic":"t","partition":1},{"topic":"t","partition":1}]}')
    elect(three, *preferred, "--path-to-json-file", file, code=1)
    assert script.errors == "Replica election data contains duplicate partitions: [t-1]\n"


# ---- kafka-replica-verification ----


def watch(command, done, patience):
    """Runs a tool that does not end by itself until `done` likes a line; returns the lines, without their times."""
    found = []
    tool = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        end = time.monotonic() + patience
        while time.monotonic() < end and not (found and done(found[-1])):
            line = tool.stdout.readline()
            assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: ", line), line
            found.append(line.split(": ", 1)[1].rstrip("\n"))
    finally:
        tool.kill()
        tool.wait()
    assert done(found[-1]), found
    return found


def compare_replicas(brokers, topic, done):
    args = ["--broker-list", servers(brokers), "--topics-include", topic, "--time", "-2", "--report-interval-ms", "500"]
    ours = watch([BUILD / "barnabas-tool", "kafka-replica-verification", *args], done, 20)
    apache = watch([*jvm(), VERIFY_REPLICAS, *args], done, 20)
    return ours, apache


def test_replicas_of_barnabas_are_the_same(two):
    create(two, "t", "1:2")
    produce(two[0], "t", [str(i) for i in range(100)])
    last = "max lag is 0 for partition t-0 at offset 100 among 1 partitions"
    ours, apache = compare_replicas(two, "t", lambda line: line == last)
    assert ours[0] == apache[0] == "verification process is started"


# ---- What only Apache's broker serves ----


@pytest.mark.parametrize("kind", [Apache, Barnabas])
def test_throttles_log_dirs_and_damaged_replicas(make_cluster, tmp_path, kind):
    brokers = make_cluster(kind, kind, each=lambda broker: {"log.dirs": f"{broker.data},{broker.data}-more"}, **SETTINGS)
    zk = brokers[0].zookeeper
    create(brokers, "t", "1:2")
    create(brokers, "u", "1,2")
    produce(brokers[0], "t", [str(i) for i in range(100)])

    file = moves(tmp_path / "there.json", u_1=[2, 1])
    execute = ["--execute", "--reassignment-json-file", file]
    out = reassign(brokers, *execute, "--throttle", 5000000, "--replica-alter-log-dirs-throttle", 6000000)
    assert lines(out)[3:] == ["Warning: You must run --verify periodically, until the reassignment completes, to ensure the "
                              "throttle is removed.",
                              "The inter-broker throttle limit was set to 5000000 B/s",
                              "The replica-alter-dir throttle limit was set to 6000000 B/s",
                              "Successfully started partition reassignment for u-1"]
    assert json.loads(zk.get("/config/topics/u"))["config"] == {"leader.replication.throttled.replicas": "1:2",
                                                                "follower.replication.throttled.replicas": "1:1"}
    assert json.loads(zk.get("/config/brokers/1"))["config"] == {"leader.replication.throttled.rate": "5000000",
                                                                 "follower.replication.throttled.rate": "5000000"}
    verify = ["--verify", "--reassignment-json-file", file]
    wait_until(lambda: "is completed." in reassign(brokers, *verify, "--preserve-throttles"), "the move")
    ours = reassign(brokers, *verify)
    assert lines(ours)[2:] == ["Clearing broker-level throttles on brokers 1,2", "Clearing topic-level throttles on topic u"]
    assert json.loads(zk.get("/config/topics/u"))["config"] == json.loads(zk.get("/config/brokers/1"))["config"] == {}
    assert lines(ours) == theirs(REASSIGN, brokers, *verify)

    home, other = sorted((tmp_path / "data-1", tmp_path / "data-1-more"), key=lambda d: not (d / "t-0").exists())
    move = {"topic": "t", "partition": 0, "replicas": [1, 2], "log_dirs": [str(other), "any"]}
    file.write_text(json.dumps({"partitions": [move]}))
    assert f"not being moved from log dir {home} to {other}." in reassign(brokers, *verify)
    assert lines(reassign(brokers, *execute))[-1] == \
        f"Successfully started moving log directory to {other} for replica t-0 with broker 1 "
    wait_until(lambda: "Reassignment of replica t-0-1 completed successfully." in reassign(brokers, *verify), "the move")
    assert lines(reassign(brokers, *verify)) == theirs(REASSIGN, brokers, *verify)
    cancel = ["--cancel", *verify[1:], "--preserve-throttles"]
    assert lines(reassign(brokers, *cancel)) == theirs(REASSIGN, brokers, *cancel)

    brokers[1].stop()
    segment = next(tmp_path.glob("data-2*/t-0/*.log"))
    damaged = bytearray(segment.read_bytes())
    damaged[17] ^= 1
    segment.write_bytes(damaged)
    brokers[1].restart()
    wait_until(lambda: all(isr == ["1", "2"] for _, _, isr in describe(brokers, "t")), "both are in sync")
    ours, apache = compare_replicas(brokers, "t", lambda line: "has unmatched checksum at offset" in line)
    assert ours[0] == apache[0] == "verification process is started"
    assert ours[-1] == apache[-1]


@pytest.mark.parametrize("kind", [Apache, Barnabas])
def test_a_reassignment_with_throttles(make_cluster, tmp_path, kind):
    """They are set for the time that it takes."""
    brokers = make_cluster(kind, kind, **SETTINGS)
    zk = brokers[0].zookeeper
    create(brokers, "t", "1")
    produce(brokers[0], "t", [str(i) for i in range(100)])
    file = moves(tmp_path / "there.json", t_0=[1, 2])
    out = reassign(brokers, "--execute", "--reassignment-json-file", file, "--throttle", 5000000)
    assert lines(out)[4:] == ["The inter-broker throttle limit was set to 5000000 B/s", "Successfully started partition reassignment for t-0"]
    assert json.loads(zk.get("/config/topics/t"))["config"] == {"leader.replication.throttled.replicas": "0:1",
                                                                "follower.replication.throttled.replicas": "0:2"}
    for i in (1, 2):
        assert json.loads(zk.get(f"/config/brokers/{i}"))["config"] == {"leader.replication.throttled.rate": "5000000",
                                                                        "follower.replication.throttled.rate": "5000000"}
    verify = ["--verify", "--reassignment-json-file", file]
    wait_until(lambda: "is completed." in reassign(brokers, *verify, "--preserve-throttles"), "the move")
    ours = reassign(brokers, *verify)
    assert lines(ours)[2:] == ["Clearing broker-level throttles on brokers 1,2", "Clearing topic-level throttles on topic t"]
    assert json.loads(zk.get("/config/topics/t"))["config"] == json.loads(zk.get("/config/brokers/1"))["config"] == {}
    assert lines(ours) == theirs(REASSIGN, brokers, *verify)


def alter(brokers, kind, name, **configs):
    java("kafka.admin.ConfigCommand", "--bootstrap-server", servers(brokers), "--alter", "--entity-type", kind, "--entity-name", name,
         "--add-config", ",".join(f"{k}={v}" for k, v in configs.items()))


def log_size(broker, partition):
    return sum(p.stat().st_size for p in (broker.data / partition).glob("*.log"))


@pytest.mark.parametrize("side", ["leader", "follower"])
def test_a_throttled_replica_is_copied_at_the_throttles_pace(make_cluster, tmp_path, side):
    """At a byte a second the first fetch is the only one for months, while what is not throttled arrives."""
    brokers = make_cluster(Barnabas, Barnabas, **SETTINGS, **{"replica.fetch.max.bytes": 50000, "replica.fetch.backoff.ms": 100})
    for topic in ("slow", "fast"):
        create(brokers, topic, "1")
        produce(brokers[0], topic, ["x" * 1000] * 1000)
    throttled = "1" if side == "leader" else "2"
    alter(brokers, "topics", "slow", **{f"{side}.replication.throttled.replicas": f"0:{throttled}"})
    alter(brokers, "brokers", throttled, **{f"{side}.replication.throttled.rate": 1})
    whole = log_size(brokers[0], "slow-0")
    reassign(brokers, "--execute", "--reassignment-json-file", moves(tmp_path / "there", slow_0=[1, 2], fast_0=[1, 2]))
    wait_until(lambda: log_size(brokers[1], "slow-0") > 0, "the first of what is throttled")
    wait_until(lambda: describe(brokers, "fast")[0][2] == ["1", "2"], "what is not throttled")
    assert 0 < log_size(brokers[1], "slow-0") < whole
    assert describe(brokers, "slow")[0][2] == ["1"]
    alter(brokers, "brokers", throttled, **{f"{side}.replication.throttled.rate": 100000000})
    wait_until(lambda: describe(brokers, "slow")[0][2] == ["1", "2"], "what was throttled")
    assert log_size(brokers[1], "slow-0") == whole
