"""The controller of a cluster: elections, reassignment, deletion, and what a broker that slept may still do."""

import base64
import json
import re
import signal
import socket
import struct
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from kazoo.exceptions import NoNodeError

from certificates import Authority
from harness import PATIENCE, Apache, Barnabas, connect, consume, frame, free_port, kcat, produce, read_frame, wait_until
from messages import APIS, Asker, read_request, read_response, response_codec, write_request
from test_security import stores
from test_cluster import Acknowledged, create, describe, in_sync, make_cluster, read_all, topics  # noqa: F401 (a fixture)


def controller(brokers, chroot):
    def elected():
        try:
            return [json.loads(chroot.get("/controller"))["brokerid"]]
        except NoNodeError:  # the last one's session has just ended
            return None

    brokerid = wait_until(elected, "a controller")[0]
    return next(b for b in brokers if int(b.properties["broker.id"]) == brokerid)


def by_id(brokers, number):
    return next(b for b in brokers if int(b.properties["broker.id"]) == number)


def state(chroot, topic, partition=0):
    return json.loads(chroot.get(f"/brokers/topics/{topic}/partitions/{partition}/state"))


def reassign(chroot, moves):
    """moves: {(topic, partition): replicas}, by the znode."""
    partitions = [{"topic": t, "partition": p, "replicas": r} for (t, p), r in moves.items()]
    chroot.client.create("/admin/reassign_partitions", json.dumps({"version": 1, "partitions": partitions}).encode())


def broker_epoch(chroot, number):
    return chroot.client.get(f"/brokers/ids/{number}")[1].czxid


def ask_for_isr(brokers, chroot, topic, isr, partition=0):
    """AlterPartition 3, as the partition's leader sends it; `isr`: {broker: epoch}. Returns the error."""
    now, node = chroot.client.get(f"/brokers/topics/{topic}/partitions/{partition}/state")
    leader, leader_epoch = (json.loads(now)[k] for k in ("leader", "leader_epoch"))
    topic_id = json.loads(chroot.get(f"/brokers/topics/{topic}"))["topic_id"]
    topic_id = uuid.UUID(bytes=base64.urlsafe_b64decode(topic_id + "==")).bytes
    members = bytes([len(isr) + 1]) + b"".join(struct.pack(">iqB", *member, 0) for member in isr.items())
    body = struct.pack(">BiqB", 0, leader, broker_epoch(chroot, leader), 2) + topic_id + struct.pack(">Bii", 2, partition, leader_epoch)
    body += members + struct.pack(">biBBB", 0, node.version, 0, 0, 0)
    with connect(controller(brokers, chroot)) as s:
        s.sendall(frame(56, 3, body))
        answer = read_frame(s)
    of_all, of_partition = struct.unpack_from(">h", answer, 9)[0], struct.unpack_from(">h", answer, 33)[0]
    assert of_all == 0
    return of_partition


def ask_for_isr_by_name(brokers, chroot, topic, isr, version):
    """AlterPartition 0 or 1, as leaders before 3.3 send it, of partition 0. Returns its error, and the ISR of the answer."""
    now, node = chroot.client.get(f"/brokers/topics/{topic}/partitions/0/state")
    leader, leader_epoch = (json.loads(now)[k] for k in ("leader", "leader_epoch"))
    body = struct.pack(">BiqBB", 0, leader, broker_epoch(chroot, leader), 2, len(topic) + 1) + topic.encode()
    body += struct.pack(">BiiB", 2, 0, leader_epoch, len(isr) + 1) + struct.pack(f">{len(isr)}i", *isr)
    body += (b"\0" if version == 1 else b"") + struct.pack(">iBBB", node.version, 0, 0, 0)
    with connect(controller(brokers, chroot)) as s:
        s.sendall(frame(56, version, body))
        answer = read_frame(s)
    at = 9 + 2 + 1 + 1 + len(topic) + 1 + 4
    error, _, _, count = struct.unpack_from(">hiiB", answer, at)
    assert struct.unpack_from(">h", answer, 9)[0] == 0
    return error, list(struct.unpack_from(f">{count - 1}i", answer, at + 11))


ALTER_PARTITION = 56
INELIGIBLE_REPLICA, OPERATION_NOT_ATTEMPTED, INVALID_UPDATE_VERSION = 107, 55, 95


@pytest.fixture
def three(make_cluster):  # noqa: F811
    return make_cluster(Barnabas, Barnabas, Barnabas)


def test_a_partition_moves_by_znode(make_cluster):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, **{"default.replication.factor": 2, "min.insync.replicas": 1})
    chroot = brokers[0].zookeeper
    topics(brokers, "--create", "--topic", "t", "--replica-assignment", "1:2,2:1")
    wait_until(lambda: in_sync(brokers, "t", 2), "all in sync")
    sent = Acknowledged(brokers, "t")
    sent.send(500)
    sent.flush()
    reassign(chroot, {("t", 0): [3, 2], ("t", 1): [3]})
    wait_until(lambda: not chroot.client.exists("/admin/reassign_partitions"), "the end of the reassignment")
    wait_until(lambda: describe(brokers, "t") == {0: (3, [3, 2], [2, 3]), 1: (3, [3], [3])}, "the new replicas")
    node = json.loads(chroot.get("/brokers/topics/t"))
    assert node["partitions"] == {"0": [3, 2], "1": [3]} and node["adding_replicas"] == {} and node["removing_replicas"] == {}
    wait_until(lambda: not (by_id(brokers, 1).data / "t-0").exists(), "the old replica's folder to go")
    sent.send(500)
    sent.flush()
    found = read_all(brokers, "t", 2)
    assert {k: found.get(k) for k in sent.records} == sent.records


def test_leadership_goes_back_by_znode_and_by_itself(make_cluster):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, Barnabas, **{"leader.imbalance.check.interval.seconds": 1, "controlled.shutdown.enable": True})
    chroot = brokers[0].zookeeper
    create(brokers, "t", 3)
    first = {p: replicas[0] for p, (_, replicas, _) in describe(brokers, "t").items()}
    brokers[1].stop()
    assert 2 not in {leader for leader, _, _ in describe([brokers[0]], "t").values()}
    brokers[1].restart()
    wait_until(lambda: {p: leader for p, (leader, _, _) in describe(brokers, "t").items()} == first, "the balance")
    chroot.client.create("/admin/preferred_replica_election", json.dumps({"version": 1, "partitions": [{"topic": "t", "partition": 0}]}).encode())
    wait_until(lambda: not chroot.client.exists("/admin/preferred_replica_election"), "the request to be taken out")


def test_who_was_restarted_since_is_not_taken_for_in_sync(three):
    """What its leader had heard of was said before it stopped, and it may be back without its disk."""
    chroot = three[0].zookeeper
    topics(three, "--create", "--topic", "t", "--replica-assignment", "1:2:3")
    wait_until(lambda: in_sync(three, "t", 3), "all in sync")
    epochs = {n: broker_epoch(chroot, n) for n in (1, 2)}
    assert ask_for_isr(three, chroot, "t", {1: epochs[1], 2: epochs[2] - 1}) == INELIGIBLE_REPLICA
    assert state(chroot, "t")["isr"] == [1, 2, 3]
    assert ask_for_isr(three, chroot, "t", {1: -1, 2: epochs[2]}) == 0
    assert state(chroot, "t")["isr"] == [1, 2]


def touch(chroot, topic, partition):
    """Somebody writes a state as it is; returns the version that it had."""
    path = f"/brokers/topics/{topic}/partitions/{partition}/state"
    data, node = chroot.client.get(path)
    chroot.client.set(path, data)
    return node.version


def test_of_many_isrs_only_those_fail_that_are_in_conflict(three):
    chroot = three[0].zookeeper
    count, touched = 50, {3, 17, 18}
    topics(three, "--create", "--topic", "t", "--replica-assignment", ",".join(["1:2:3"] * count))
    wait_until(lambda: in_sync(three, "t", 3), "all in sync")
    topic_id = uuid.UUID(bytes=base64.urlsafe_b64decode(json.loads(chroot.get("/brokers/topics/t"))["topic_id"] + "=="))
    members = [{"BrokerId": 1, "BrokerEpoch": -1}, {"BrokerId": 2, "BrokerEpoch": broker_epoch(chroot, 2)}]
    versions = {p: chroot.client.get(f"/brokers/topics/t/partitions/{p}/state")[1].version for p in range(count)}
    for p in touched:
        touch(chroot, "t", p)
    asked = [{"PartitionIndex": p, "LeaderEpoch": 0, "NewIsrWithEpochs": members, "PartitionEpoch": versions[p]} for p in reversed(range(count))]
    request = {"BrokerId": 1, "BrokerEpoch": broker_epoch(chroot, 1), "Topics": [{"TopicId": topic_id.bytes, "Partitions": asked}]}
    with connect(controller(three, chroot)) as s:
        data = write_request(ALTER_PARTITION, 3, request)
        s.sendall(struct.pack(">i", len(data)) + data)
        _, answer = read_response(ALTER_PARTITION, 3, read_frame(s))
    errors = {p["PartitionIndex"]: p["ErrorCode"] for t in answer["Topics"] for p in t["Partitions"]}
    assert errors == {p: INVALID_UPDATE_VERSION if p in touched else 0 for p in range(count)}
    assert {p: state(chroot, "t", p)["isr"] for p in range(count)} == {p: [1, 2, 3] if p in touched else [1, 2] for p in range(count)}
    epochs = {p["PartitionIndex"]: p["PartitionEpoch"] for t in answer["Topics"] for p in t["Partitions"] if p["ErrorCode"] == 0}
    assert epochs == {p: versions[p] + 1 for p in range(count) if p not in touched}


def test_states_that_somebody_else_has_written_are_read_before_an_election(three):
    chroot = three[0].zookeeper
    count, touched = 40, {0, 5, 21}
    topics(three, "--create", "--topic", "t", "--replica-assignment", ",".join(["2:1:3"] * count))
    wait_until(lambda: in_sync(three, "t", 3), "all in sync")
    for p in touched:
        touch(chroot, "t", p)
    assert controller(three, chroot) is not by_id(three, 2)
    by_id(three, 2).kill()
    alive = [b for b in three if b is not by_id(three, 2)]
    wait_until(lambda: describe(alive, "t") == {p: (1, [2, 1, 3], [1, 3]) for p in range(count)}, "new leaders, and ISRs without it")
    assert {state(chroot, "t", p)["leader_epoch"] for p in range(count)} == {1}
    sent = Acknowledged(alive, "t")
    sent.send(100)
    sent.flush()


def test_old_leaders_are_answered_so_that_they_ask_again(three):
    """Those before 3.1 wait for another leader epoch after any error, which may never come."""
    chroot = three[0].zookeeper
    topics(three, "--create", "--topic", "t", "--replica-assignment", "1:2:3")
    wait_until(lambda: in_sync(three, "t", 3), "all in sync")
    assert controller(three, chroot) is by_id(three, 1)
    by_id(three, 3).stop()
    wait_until(lambda: state(chroot, "t")["isr"] == [1, 2], "the ISR without it")
    assert ask_for_isr_by_name(three, chroot, "t", [1, 2, 3], version=0) == (0, [1, 2])
    assert ask_for_isr_by_name(three, chroot, "t", [1, 2, 3], version=1)[0] == OPERATION_NOT_ATTEMPTED
    assert state(chroot, "t")["isr"] == [1, 2]


def test_a_new_controller_goes_on(three):
    chroot = three[0].zookeeper
    create(three, "t", 6)
    sent = Acknowledged(three, "t")
    for _ in range(2):
        sent.send(200)
        old = controller(three, chroot)
        epoch = int(chroot.get("/controller_epoch"))
        old.kill()
        wait_until(lambda: int(chroot.get("/controller_epoch")) > epoch, "another controller")
        number = int(old.properties["broker.id"])
        alive = [b for b in three if b is not old]
        wait_until(lambda: all(number not in isr and leader is not None for leader, _, isr in describe(alive, "t").values()), "new leaders")
        sent.send(200)
        sent.flush()
        old.restart()
        wait_until(lambda: in_sync(three, "t", 3), "all in sync again")
    found = read_all(three, "t", 6)
    assert {k: found.get(k) for k in sent.records} == sent.records


def test_a_controller_that_slept_changes_nothing(three):
    chroot = three[0].zookeeper
    create(three, "t", 6)
    old = controller(three, chroot)
    epoch = int(chroot.get("/controller_epoch"))
    old.process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: int(chroot.get("/controller_epoch")) > epoch, "another controller")
        alive = [b for b in three if b is not old]
        number = int(old.properties["broker.id"])
        wait_until(lambda: all(number not in isr for _, _, isr in describe(alive, "t").values()), "the ISRs to shrink")
        states = {p: state(chroot, "t", p) for p in range(6)}
    finally:
        old.process.send_signal(signal.SIGCONT)
    wait_until(lambda: in_sync(three, "t", 3), "all in sync again")
    assert int(chroot.get("/controller_epoch")) == epoch + 1
    for p in range(6):  # who leads was decided by the new one, and stays
        assert state(chroot, "t", p)["leader"] == states[p]["leader"]
        assert state(chroot, "t", p)["controller_epoch"] == epoch + 1


def test_a_deletion_waits_for_a_broker_that_is_down(three):
    chroot = three[0].zookeeper
    create(three, "t", 3)
    gone = next(b for b in three if b is not controller(three, chroot))
    gone.kill()
    wait_until(lambda: gone.properties["broker.id"] not in chroot.children("/brokers/ids"), "its registration to go")
    alive = [b for b in three if b is not gone]
    topics(alive, "--delete", "--topic", "t")
    wait_until(lambda: all(not list(b.data.glob("t-?")) for b in alive), "the folders of the others to go")
    assert chroot.client.exists("/admin/delete_topics/t") and chroot.client.exists("/brokers/topics/t")
    gone.restart()
    wait_until(lambda: not chroot.client.exists("/brokers/topics/t"), "the topic to go")
    wait_until(lambda: not list(gone.data.glob("t-?")), "its folders to go")


def test_topics_of_dead_replicas_wait_for_them(make_cluster):  # noqa: F811
    """None of their states can be made; those of topics that come with them are, and are told of."""
    brokers = make_cluster(Barnabas)
    chroot = brokers[0].zookeeper
    dead = {"version": 2, "partitions": {"0": [9], "1": [9]}, "adding_replicas": {}, "removing_replicas": {}}
    half = {**dead, "partitions": {"0": [9], "1": [1], "2": [9]}}
    together = chroot.client.transaction()
    for name, node in (("a-dead", dead), ("half", half), ("z-dead", dead)):
        together.create(f"/brokers/topics/{name}", json.dumps(node).encode())
    together.commit()
    wait_until(lambda: chroot.client.exists("/brokers/topics/half/partitions/1/state"), "the state of the partition that is alive")
    create(brokers, "after", 1, factor=1)
    assert state(chroot, "after")["isr"] == [1]
    assert chroot.children("/brokers/topics/half/partitions") == ["1"]
    brokers[0].kill()
    brokers[0].restart()  # and takes office with them there
    create(brokers, "again", 1, factor=1)


def make_topic(chroot, name, partitions):
    node = {"version": 2, "partitions": partitions, "adding_replicas": {}, "removing_replicas": {}}
    chroot.client.create(f"/brokers/topics/{name}", json.dumps(node).encode())


def test_assignments_written_by_hand(make_cluster):  # noqa: F811
    brokers = make_cluster(Barnabas, Barnabas, **{"min.insync.replicas": 1})
    chroot = brokers[0].zookeeper
    for name in ("sp ace", "x" * 250, "späce", ".hidden!", "a:b"):
        make_topic(chroot, name, {"0": [1]})
    for name, partitions in {"words": {"zero": [1]}, "texts": {"0": ["1", "2"]}, "below": {"-1": [1]}}.items():
        make_topic(chroot, name, partitions)
    for name, partitions in {"empty": {"0": []}, "none": {}, "odd": {"0": [-1, 1]}, "twice": {"0": [1, 1]}, "far": {"2000000000": [1, 2]},
                             "gap": {"5": [2, 1], "0": [1, 2]}}.items():
        make_topic(chroot, name, partitions)
    chroot.client.create("/admin/delete_topics/no such ", b"")
    chroot.client.create("/brokers/ids/none", b"")
    wait_until(lambda: describe(brokers, "gap") == {0: (1, [1, 2], [1, 2]), 5: (2, [2, 1], [1, 2])}, "the topic with a gap")
    produce(brokers[0], "gap", ["x"], "-p", "0")
    assert consume(brokers[1], "gap", "-p", "0") == ["x"]  # librdkafka does not know what to do with the other
    wait_until(lambda: describe(brokers, "twice") == {0: (1, [1], [1])}, "each replica once")
    wait_until(lambda: describe(brokers, "odd")[0][0] == 1, "a leader beside one that cannot be")
    wait_until(lambda: describe(brokers, "far") == {2000000000: (1, [1, 2], [1, 2])}, "a partition of a high number")
    wait_until(lambda: not chroot.client.exists("/admin/delete_topics/no such "), "the request to go")
    chroot.client.set("/brokers/topics/words", json.dumps({"version": 2, "partitions": {"0": [2]}}).encode())
    wait_until(lambda: describe(brokers, "words") == {0: (2, [2], [2])}, "the topic, now that its node makes sense")
    reassign(chroot, {("gap", 5): [1, 1]})
    wait_until(lambda: describe(brokers, "gap")[5] == (1, [1], [1]), "one replica")
    wait_until(lambda: not chroot.client.exists("/admin/reassign_partitions"), "the end of the reassignment")
    assert json.loads(chroot.get("/brokers/topics/gap"))["partitions"] == {"0": [1, 2], "5": [1]}
    for b in brokers:
        b.kill()
    for b in brokers:
        b.restart()  # and one takes office with all that there
    wait_until(lambda: describe(brokers, "gap")[0] == (1, [1, 2], [1, 2]), "the topic with a gap again")
    topics(brokers, "--delete", "--topic", "gap")
    wait_until(lambda: not chroot.client.exists("/brokers/topics/gap"), "the topic to go")


LEADER_AND_ISR, STOP_REPLICA, UPDATE_METADATA = 4, 5, 6


def register(chroot, number, port):
    node = {"version": 5, "host": "127.0.0.1", "port": port, "jmx_port": -1, "timestamp": "0", "features": {}, "listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"},
            "endpoints": [f"PLAINTEXT://127.0.0.1:{port}"]}
    chroot.client.create(f"/brokers/ids/{number}", json.dumps(node).encode(), ephemeral=True)


def requests_to(server):
    """What the controller says: the key and the request. All is found to be well."""
    sock = server.accept()[0]
    sock.settimeout(PATIENCE)
    with sock:
        while True:
            head, request = read_request(read_frame(sock))
            key, version = head["RequestApiKey"], head["RequestApiVersion"]
            yield key, request
            answer = struct.pack(">i", head["CorrelationId"]) + (b"\0" if version >= APIS[key].flexible else b"") + response_codec(key, version).write({})
            sock.sendall(struct.pack(">i", len(answer)) + answer)


def orders_to(server):
    return (request for key, request in requests_to(server) if key == LEADER_AND_ISR)


def test_what_is_large_comes_in_pieces(broker, zookeeper):
    """Each is for the broker that gets it, also where all get the same. Which partitions a topic has is said at once."""
    most, count = 1000, 2500
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        for number, server in ((100, first), (101, second)):
            server.settimeout(PATIENCE)
            register(zookeeper, number, server.getsockname()[1])
        make_topic(zookeeper, "t", {str(i): [100, 101] for i in range(count)})
        wait_until(lambda: zookeeper.client.exists(f"/brokers/topics/t/partitions/{count - 1}/state"), "the topic's last state")
        zookeeper.client.create("/admin/delete_topics/t", b"")
        with ThreadPoolExecutor() as pool:
            told = list(pool.map(lambda x: pieces_until_deleted(*x, most, count), ((zookeeper, 100, first), (zookeeper, 101, second))))
    assert told[0] == told[1]


def test_apaches_broker_learns_all_in_pieces(make_broker, zookeeper):
    """Who is there is said with the last of them; it understands that."""
    topics, partitions = 25, 90
    make_broker()
    for i in range(topics):
        make_topic(zookeeper, f"t{i}", {str(p): [0] for p in range(partitions)})
    wait_until(lambda: zookeeper.client.exists(f"/brokers/topics/t{topics - 1}/partitions/{partitions - 1}/state"), "the last state")
    apache = make_broker(kind=Apache, data="other", broker_id=1)
    known = kcat(apache, "-L")
    assert " 2 brokers:" in known
    assert len(re.findall(rf'topic "t\d+" with {partitions} partitions:', known)) == topics
    make_topic(zookeeper, "its", {"0": [1, 0]})
    produce(apache, "its", ["x"])
    assert consume(apache, "its") == ["x"]


def pieces_until_deleted(chroot, number, server, most, count):
    """The partitions of UpdateMetadata, that they go, and of the last StopReplica, once all are there."""
    epoch = broker_epoch(chroot, number)
    going, deleted = [], []
    for key, request in requests_to(server):
        assert request["BrokerEpoch"] == epoch
        states = [p for t in request["TopicStates"] for p in t["PartitionStates"]]
        assert len(states) in (0, count) if key == UPDATE_METADATA else len(states) <= most
        if key == UPDATE_METADATA:
            going += [p["PartitionIndex"] for p in states if p["Leader"] == -2]
        if key == STOP_REPLICA:
            deleted += [p["PartitionIndex"] for p in states if p["DeletePartition"]]
        if len(deleted) == count:
            break
    assert sorted(going) == sorted(deleted) == list(range(count))
    return sorted(going)


def test_an_order_names_all_of_its_leaders(broker, zookeeper):
    many, follower = range(100, 170), 200
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(PATIENCE)
        for number in many:
            register(zookeeper, number, free_port())
        register(zookeeper, follower, server.getsockname()[1])
        make_topic(zookeeper, "t", {str(i): [leader, follower] for i, leader in enumerate(many)})
        ordered = set()
        for request in orders_to(server):
            leaders = {p["Leader"] for t in request["TopicStates"] for p in t["PartitionStates"]}
            assert {x["BrokerId"] for x in request["LiveLeaders"]} == leaders
            ordered |= leaders
            if ordered == set(many):
                break


def test_a_topic_is_deleted_while_it_is_reassigned(three):
    """The end of the reassignment and the beginning of the deletion are told in one."""
    chroot = three[0].zookeeper
    topics(three, "--create", "--topic", "t", "--replica-assignment", "1:2")
    wait_until(lambda: in_sync(three, "t", 2), "all in sync")
    by_id(three, 3).process.send_signal(signal.SIGSTOP)  # so that the reassignment lasts
    try:
        reassign(chroot, {("t", 0): [2, 3]})
        wait_until(lambda: json.loads(chroot.get("/brokers/topics/t"))["adding_replicas"], "the reassignment")
        chroot.client.create("/admin/delete_topics/t", b"")
    finally:
        by_id(three, 3).process.send_signal(signal.SIGCONT)
    wait_until(lambda: not chroot.client.exists("/brokers/topics/t"), "the topic to go")
    wait_until(lambda: all(not describe([b], "t") for b in three), "all brokers to forget it")
    create(three, "t", 1)


def test_unclean_election_only_when_it_is_allowed(three):
    chroot = three[0].zookeeper
    create(three, "t", 1, min_insync_replicas=1)
    leader = describe(three, "t")[0][0]
    others = [b for b in three if int(b.properties["broker.id"]) != leader]
    sent = Acknowledged(three, "t")
    sent.send(50)
    sent.flush()
    for b in others:
        b.stop()
    wait_until(lambda: state(chroot, "t")["isr"] == [leader], "the ISR to be the leader alone")
    by_id(three, leader).kill()
    for b in others:
        b.restart()
    wait_until(lambda: describe(others, "t")[0][0] is None, "no leader")
    topics(others, "--alter", "--topic", "t", "--config", "unclean.leader.election.enable=true", zookeeper=True)
    wait_until(lambda: describe(others, "t")[0][0] is not None, "an unclean leader")
    by_id(three, leader).restart()
    wait_until(lambda: in_sync(three, "t", 3), "all in sync again")
    assert state(chroot, "t").get("leader_recovery_state", 0) == 0


@pytest.mark.parametrize("allowed", [True, False], ids=["allowed", "forbidden"])
def test_unclean_election_by_settings_that_a_topic_was_made_with(make_cluster, allowed):
    """The controller has no replica of it, and nobody is told of settings that a topic begins with."""
    three = make_cluster(Barnabas, Barnabas, Barnabas, **{"unclean.leader.election.enable": str(not allowed).lower()})
    chroot = three[0].zookeeper
    controller = by_id(three, json.loads(chroot.get("/controller"))["brokerid"])
    first, second = (b for b in three if b is not controller)
    a, b = (int(x.properties["broker.id"]) for x in (first, second))
    topics(three, "--create", "--topic", "t", "--replica-assignment", f"{a}:{b}", "--config", f"unclean.leader.election.enable={str(allowed).lower()}")
    wait_until(lambda: in_sync(three, "t", 2), "all in sync")
    second.stop()
    wait_until(lambda: state(chroot, "t")["isr"] == [a], "the ISR to be the leader alone")
    first.kill()
    second.restart()
    wait_until(lambda: describe([controller, second], "t")[0][0] == (b if allowed else None), "what the topic's settings say")
    create([controller, second], "u", 1, factor=2)  # behind whatever the controller does with the return of the broker
    assert state(chroot, "t")["leader"] == (b if allowed else -1)


@pytest.mark.parametrize("kind", [Barnabas, Apache])
def test_who_is_not_the_controller_elects_nobody(make_cluster, kind):  # noqa: F811
    """And says so of each partition that it knows; as a whole the request is fine."""
    brokers = make_cluster(kind, kind)
    create(brokers, "t", 2, factor=2)
    other = next(b for b in brokers if b is not controller(brokers, brokers[0].zookeeper))
    for asked in ([{"Topic": "t", "Partitions": [0, 1, 9]}], None):
        with Asker(other) as asker:
            answer = asker.get("ElectLeaders", 2, {"ElectionType": 0, "TopicPartitions": asked, "TimeoutMs": 5000})
        found = {(t["Topic"], p["PartitionId"]): (p["ErrorCode"], p["ErrorMessage"]) for t in answer["ReplicaElectionResults"] for p in t["PartitionResult"]}
        assert answer["ErrorCode"] == 0 and found == {("t", p): (41, None) for p in ([0, 1, 9] if asked else [0, 1])}


PLAIN_LOGIN = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="sesame" user_broker="sesame";'


@pytest.mark.parametrize("between, control", [("PLAINTEXT", "PLAINTEXT"), ("PLAINTEXT", "SASL_SSL"), ("SASL_SSL", "PLAINTEXT")])
@pytest.mark.parametrize("kinds", [(Barnabas, Barnabas, Barnabas), (Barnabas, Apache, Barnabas)], ids=["ours", "mixed"])
def test_a_control_plane_of_its_own(make_cluster, tmp_path, kinds, between, control):  # noqa: F811
    """Protected in another way than what goes between brokers: the controller goes there as that listener says."""
    authority = Authority(tmp_path)
    keys = authority.issue("broker")

    def settings(broker):
        ports = broker.port, free_port(), free_port()
        protected = next((name for name, protocol in (("between", between), ("control", control)) if protocol == "SASL_SSL"), None)
        secrets = {f"listener.name.{protected}.{k}": v
                   for k, v in {**stores(keys, authority), "sasl.enabled.mechanisms": "PLAIN", "plain.sasl.jaas.config": PLAIN_LOGIN}.items()} if protected else {}
        return {"listeners": f"CLIENTS://127.0.0.1:{ports[0]},BETWEEN://127.0.0.1:{ports[1]},CONTROL://127.0.0.1:{ports[2]}",
                "control.plane.listener.name": "CONTROL", "inter.broker.listener.name": "BETWEEN", "sasl.mechanism.inter.broker.protocol": "PLAIN",
                "listener.security.protocol.map": f"CLIENTS:PLAINTEXT,BETWEEN:{between},CONTROL:{control}", **secrets}

    brokers = make_cluster(*kinds, each=settings)
    create(brokers, "t", 3)
    brokers[0].stop()
    wait_until(lambda: all(leader is not None for leader, _, _ in describe(brokers[1:], "t").values()), "leaders")
