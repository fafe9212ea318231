"""What a broker says of itself on its way out, and without ZooKeeper: to who sends clients to it, to Strimzi, to who would restart the next one."""

import json
import signal

from confluent_kafka.admin import AdminClient, NewTopic
from harness import PATIENCE, Barnabas, ZooKeeper, free_port, preloaded, wait_until
from test_service import ask


def answers(port):
    """Of whether it lives, is ready, is ready by Strimzi's reckoning, in what state it is, and may be stopped."""
    return [ask(port, path) for path in ("livez", "readyz", "v1/ready", "v1/broker-state", "v1/safe-to-stop")]


def create(broker, topic):
    admin = AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([topic])[topic.topic].result(PATIENCE)


def in_state(port, state):
    return (said := ask(port, "v1/broker-state")) is not None and json.loads(said[1]) == {"brokerState": state}


def listens(port):
    return {"barnabas.http.listeners": f"RAW://127.0.0.1:{port}"}


ALIVE, READY, READY_TO_STRIMZI, RUNS, MAY_STOP = WELL = [(200, "ok\n"), (200, "ok\n"), (204, ""), (200, '{"brokerState":3}'), (200, "ok\n")]


def leaves(state):
    why = f"The state of the broker is {state}, not 3.\n"
    return [ALIVE, (503, why), READY_TO_STRIMZI, (200, f'{{"brokerState":{state}}}'), (409, why)]


def test_who_hands_over_what_it_leads(make_broker):
    """It serves still, and nobody is to be sent to it any more."""
    port = free_port()
    controller = make_broker(data="data0", zookeeper_session_timeout_ms=60000)
    leaving = make_broker(data="data1", broker_id=1, min_insync_replicas=1, **listens(port))
    create(controller, NewTopic("t", 1, replica_assignment=[[1, 0]]))
    wait_until(lambda: answers(port) == WELL, "a follower in sync")
    controller.process.send_signal(signal.SIGSTOP)
    try:
        leaving.process.send_signal(signal.SIGTERM)
        wait_until(lambda: in_state(port, 6), "it asks the controller")
        assert answers(port) == leaves(6)
    finally:
        controller.process.send_signal(signal.SIGCONT)
    assert leaving.process.wait(PATIENCE) == 0
    assert ask(port, "readyz") is None


def test_who_closes_its_logs(make_broker, tmp_path):
    """As slowly as a disk lets it: it tells so to the end."""
    port, hangs = free_port(), tmp_path / "hangs"

    def with_faults(broker):
        broker.env.update(LD_PRELOAD=str(preloaded("disk_faults.c", tmp_path)), DISK_FAULTS=str(hangs))
        return listens(port)
    broker = make_broker(each=with_faults)
    create(broker, NewTopic("t", 1, 1))
    wait_until(lambda: (broker.data / "t-0").exists(), "the log")
    hangs.write_text(f"HANG 0 {broker.data}/")
    broker.process.send_signal(signal.SIGTERM)
    wait_until(lambda: in_state(port, 7), "it closes")
    assert answers(port) == leaves(7)
    hangs.unlink()
    assert broker.process.wait(PATIENCE) == 0


def test_who_has_lost_zookeeper(tmp_path):
    """It serves those who know it; who does not had better ask another. If it stopped, nobody would take over."""
    folder, port = tmp_path / "own", free_port()
    folder.mkdir()
    ensemble = ZooKeeper(folder)
    ensemble.start()
    broker = Barnabas(ensemble.chroot(), tmp_path / "data", tmp_path / "broker.log", listens(port))
    try:
        broker.start()
        wait_until(lambda: answers(port) == WELL, "the controller to be asked for reassignments")
        ensemble.stop()
        wait_until(lambda: ask(port, "readyz") == (503, "The session with ZooKeeper is CONNECTING.\n"), "it notices")
        assert answers(port) == [ALIVE, (503, "The session with ZooKeeper is CONNECTING.\n"), READY_TO_STRIMZI, RUNS,
                                 (409, "The session with ZooKeeper is CONNECTING.\n")]
        ensemble.start()
        wait_until(lambda: answers(port) == WELL, "it is ready again")
    finally:
        broker.zookeeper.close()
        broker.stop()
        ensemble.stop()
    broker.check_log()


def test_who_is_not_registered(make_broker):
    """It has a session, and its place is taken by the node of another: as by its own of an earlier one, which is waited for."""
    port = free_port()
    broker = make_broker(zookeeper_session_timeout_ms=6000, **listens(port))  # of which two are waited for
    client = broker.zookeeper.client
    broker.process.send_signal(signal.SIGSTOP)
    try:
        node = client.get("/brokers/ids/0")[0]
        wait_until(lambda: client.exists("/brokers/ids/0") is None, "the end of its session")
        client.create("/brokers/ids/0", node, ephemeral=True)
    finally:
        broker.process.send_signal(signal.SIGCONT)
    not_registered = "The broker is not registered with ZooKeeper.\n"
    wait_until(lambda: ask(port, "readyz") == (503, not_registered), "another session")
    assert answers(port)[2:] == [READY_TO_STRIMZI, RUNS, (409, not_registered)]
    client.delete("/brokers/ids/0")
    wait_until(lambda: answers(port) == WELL, "it is ready again")
