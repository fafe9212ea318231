"""Administration tools go on while coordinators load and move, leaders change and brokers come back, and end at once where nothing
would be better later."""

import os
import socket
import subprocess
import threading
import time

import pytest
from harness import BUILD, TOP, Barnabas, free_port, most_memory, produce
from pretender import Pretender
from test_cluster import make_cluster  # noqa: F401 (a fixture)
from test_consumer_groups import commit
from test_tools import script

LOADING, NOT_AVAILABLE, NOT_LEADER, INVALID_TOPIC, FORBIDDEN = 14, 15, 6, 17, 29
FOREVER = ["--timeout", 10**9]


def each(*answers):
    """What a broker says one time after the other; the last for good."""
    left = list(answers)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def groups(broker, *args):
    return script("kafka-consumer-groups", "--bootstrap-server", broker.bootstrap, *args)


def gone():
    """Broker 8, which cannot be reached."""
    return {"NodeId": 8, "Host": "127.0.0.1", "Port": free_port()}


def coordinated(first=(), **answers):
    """A broker that coordinates everything, after others have."""
    own = {"ErrorCode": 0, "NodeId": 7, "Host": "127.0.0.1"}
    one = Pretender(**answers)
    one.answers["FindCoordinator"] = 1, each(*first, {**own, "Port": one.port})
    return one


def test_of_the_servers_that_are_named_one_is_enough():
    listed = {"Groups": [{"GroupId": "g", "ProtocolType": "consumer"}]}
    with Pretender(ListGroups=(2, each(listed))) as one:
        assert script("kafka-consumer-groups", "--bootstrap-server", f"127.0.0.1:{free_port()},{one.bootstrap}", "--list") == "g\n"
        assert script.errors == ""


def test_a_cluster_that_is_being_started_is_waited_for(make_broker):
    broker = make_broker(start=False)
    command = [TOP / "bin" / "kafka-topics.sh", "--bootstrap-server", broker.bootstrap, "--list"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "BARNABAS_BUILD": str(BUILD)}) as tool:
        time.sleep(1)
        broker.start()
        out, errors = tool.communicate(timeout=60)
    assert (tool.returncode, out) == (0, "\n") and errors.startswith("WARN Connection to node -1"), errors


def test_a_silent_broker_is_waited_for_as_long_as_was_said():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        out = script("kafka-consumer-groups", "--bootstrap-server", f"127.0.0.1:{silent.getsockname()[1]}", "--list", "--timeout", 6500)
    assert "Executing consumer group command failed" in out and time.monotonic() - began > 6.4  # not the 5 of who says nothing


class Silent:
    """Accepts, and says nothing; counts who comes."""

    def __init__(self):
        self.server, self.came = socket.create_server(("127.0.0.1", 0)), []
        self.bootstrap = f"127.0.0.1:{self.server.getsockname()[1]}"

    def __enter__(self):
        threading.Thread(target=self.run, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.close()

    def run(self):
        try:
            while True:
                self.came.append(self.server.accept()[0])
        except OSError:
            pass


def test_a_silent_server_leaves_time_for_the_others(broker, tmp_path):
    config = tmp_path / "client.properties"
    config.write_text("request.timeout.ms=500\nsocket.connection.setup.timeout.ms=2000\n")
    for topic in "abcd":
        script("kafka-topics", "--bootstrap-server", broker.bootstrap, "--create", "--topic", topic)
    commit(broker, "g", {("a", 0): 0})
    with Silent() as silent:
        both = ["--bootstrap-server", f"{silent.bootstrap},{broker.bootstrap}"]
        assert script("kafka-consumer-groups", *both, "--list", "--timeout", 4000) == "g\n"
        assert len(silent.came) == 1
        out = script("kafka-configs", *both, "--describe", "--entity-type", "topics", "--command-config", config)
        assert out.count("Dynamic configs for topic") == 5  # that of offsets is one
        assert len(silent.came) == 2


# ---- Coordinators ----


def test_groups_of_a_coordinator_that_loads_are_waited_for():
    listed = {"Groups": [{"GroupId": "g", "ProtocolType": "consumer"}]}
    with Pretender(ListGroups=(2, each({"ErrorCode": LOADING}, {"ErrorCode": NOT_AVAILABLE}, None, listed))) as one:
        assert groups(one, "--list") == "g\n"
    with Pretender(ListGroups=(2, each({"ErrorCode": LOADING}))) as one:
        assert "CoordinatorLoadInProgressException" in groups(one, "--list", "--timeout", 500)
    with Pretender(ListGroups=(2, each({"ErrorCode": FORBIDDEN}))) as one:
        assert "TopicAuthorizationException" in groups(one, "--list", *FOREVER)
    assert one.asked.count("ListGroups") == 1


def test_transactions_of_a_coordinator_that_loads_are_waited_for():
    listed = {"TransactionStates": [{"TransactionalId": "x", "ProducerId": 5, "TransactionState": "Ongoing"}]}
    with Pretender(ListTransactions=(0, each({"ErrorCode": LOADING}, listed))) as one:
        assert script("kafka-transactions", "--bootstrap-server", one.bootstrap, "list").splitlines()[1].split() == ["x", "7", "5", "Ongoing"]


def test_a_coordinator_that_cannot_be_reached_is_looked_up_again():
    eight = gone()
    away = [{"ErrorCode": 0, **eight}] * 2
    with coordinated(away, DeleteGroups=(1, each({"Results": [{"GroupId": "g"}]}))) as one:
        one.others = [eight]
        assert "was successful" in groups(one, "--delete", "--group", "g")
    with coordinated(away, DeleteGroups=(1, each({"Results": [{"GroupId": "g"}]}))) as one:  # of which the others do not know any more
        assert "was successful" in groups(one, "--delete", "--group", "g")
    with coordinated(away * 1000, DeleteGroups=(1, None)) as one:
        one.others = [eight]
        assert "Connection to node 8" in groups(one, "--delete", "--group", "g", "--timeout", 500)


def test_what_changes_something_is_not_asked_for_again_once_it_has_arrived():
    described = {"Groups": [{"GroupId": "g", "GroupState": "Empty", "ProtocolType": "consumer"}]}
    with coordinated(DescribeGroups=(2, each(None, described))) as one:
        assert "Empty" in groups(one, "--describe", "--group", "g", "--state")
    with coordinated(DeleteGroups=(1, each(None))) as one:
        assert "could not be deleted" in groups(one, "--delete", "--group", "g", *FOREVER)
    assert one.asked.count("DeleteGroups") == 1


def test_a_broker_that_has_just_gone_is_not_missed(make_cluster):  # noqa: F811
    """The broker that coordinates a group and leads a partition of its topic is killed; the other is asked at once."""
    brokers = make_cluster(Barnabas, Barnabas, **{"min.insync.replicas": 1})
    one, two = brokers
    script("kafka-topics", "--bootstrap-server", one.bootstrap, "--create", "--topic", "t", "--replica-assignment", "1:2,2:1")
    produce(one, "t", ["x"], "-p", "0")
    produce(one, "t", ["y"], "-p", "1")
    commit(one, "g", {("t", 0): 1, ("t", 1): 0})
    at = groups(one, "--describe", "--group", "g", "--state").splitlines()[-1]
    killed, left = (one, two) if f"({one.properties['broker.id']})" in at else (two, one)
    killed.kill()
    assert groups(left, "--describe", "--group", "g", "--timeout", 30000).count("\ng ") == 2
    assert script("kafka-get-offsets", "--bootstrap-server", left.bootstrap, "--topic", "t") == "t:0:1\nt:1:1\n"
    assert groups(left, "--list", "--timeout", 30000) == "g\n"


def coordinators(one, at):
    """Of each group the broker, or an error."""
    def find(request):
        found = [(key, at(key)) for key in request["CoordinatorKeys"][::-1]]
        return {"Coordinators": [{"Key": key, **(where if isinstance(where, dict) else {"NodeId": -1, "ErrorCode": where})} for key, where in found]}
    one.answers["FindCoordinator"] = 4, find


def test_groups_are_asked_of_together():
    """What one of them waits for, the others have already; and each coordinator is asked of all that are its own at once."""
    names, asked = [f"g{i}" for i in range(6)], []
    troubles = {"found": {"g1": NOT_AVAILABLE}, "described": {"g2": LOADING, "g3": 16}}

    def describe(request):
        asked.append(request["Groups"])
        return {"Groups": [{"GroupId": g, "GroupState": "Empty", "ProtocolType": "consumer", "ErrorCode": troubles["described"].pop(g, 0)} for g in request["Groups"][::-1]]}

    def delete(request):
        asked.append(request["GroupsNames"])
        return {"Results": [{"GroupId": g, "ErrorCode": 68 if g == "g4" else 0} for g in request["GroupsNames"][::-1]]}

    args = [word for g in names for word in ("--group", g)]
    with Pretender(DescribeGroups=(2, describe), DeleteGroups=(1, delete)) as one:
        coordinators(one, lambda key: troubles["found"].pop(key, None) or one.brokers()[0])
        out = groups(one, "--describe", *args, "--state", *FOREVER)
        assert [line.split()[0] for line in out.splitlines() if "Empty" in line] == names
        assert asked == [["g0", "g2", "g3", "g4", "g5"], ["g1", "g2", "g3"]]
        asked.clear()
        out = groups(one, "--delete", *args)
        assert asked == [names]
        assert out.count("could not be deleted") == 1 and "* Group 'g4' could not be deleted due to: java.util.concurrent.ExecutionException: " in out
        assert "deleted successfully: 'g0'g1'g2'g3'g5'" in out
    with Pretender(DescribeGroups=(2, describe)) as one:
        coordinators(one, lambda key: one.brokers()[0])
        one.answers["DescribeGroups"] = 2, lambda request: {"Groups": describe(request)["Groups"][1:]}
        assert "The coordinator says nothing of group g5" in groups(one, "--describe", *args, "--state")
        coordinators(one, lambda key: FORBIDDEN)
        assert "TopicAuthorizationException" in groups(one, "--describe", *args, "--state", *FOREVER)


def test_a_silent_coordinator_takes_no_time_from_the_others():
    names, asked = [f"g{i}" for i in range(6)], []

    def delete(request):
        asked.append(request["GroupsNames"])
        return {"Results": [{"GroupId": g} for g in request["GroupsNames"]]}

    with Silent() as silent, Pretender(DeleteGroups=(1, delete)) as one:
        six = {"NodeId": 6, "Host": "127.0.0.1", "Port": int(silent.bootstrap.split(":")[1])}
        one.others = [six]
        coordinators(one, lambda key: six if key < "g4" else one.brokers()[0])
        out = groups(one, "--delete", *(word for g in names for word in ("--group", g)), "--timeout", 2000)
    assert asked == [["g4", "g5"]] and out.count("could not be deleted due to") == 4
    assert "deleted successfully: 'g4'g5'" in out


# ---- Leaders ----


def topic(leader, error=0):
    return {"Name": "t", "ErrorCode": error, "Partitions": [] if error else [{"PartitionIndex": 0, "LeaderId": leader, "ReplicaNodes": [7, 8], "IsrNodes": [7]}]}


def offsets(error=0, offset=-1):
    return {"Topics": [{"Name": "t", "Partitions": [{"PartitionIndex": 0, "ErrorCode": error, "Offset": offset}]}]}


def test_offsets_of_a_leader_that_has_just_moved():
    def get(one, *args):
        return script("kafka-get-offsets", "--bootstrap-server", one.bootstrap, "--topic", "t", *args)

    with Pretender(ListOffsets=(1, each(offsets(NOT_LEADER), None, offsets(0, 5)))) as one:
        leaders = each([topic(7)], [topic(-1)], [topic(8)], [topic(7)])
        one.answers["Metadata"] = 1, lambda request: {"Brokers": [*one.brokers(), gone()], "ControllerId": 7, "Topics": leaders(request)}
        assert get(one) == "t:0:5\n"
    with Pretender(ListOffsets=(1, each(offsets(FORBIDDEN)))) as one:
        one.topics = [topic(7)]
        assert get(one) == ""
        assert script.errors == "Skip getting offsets for topic-partition t-0 due to error: Topic authorization failed.\n"
        assert get(one, "--time", -5) == ""
        assert "The broker does not support ListOffsets" in script.errors


def test_a_broker_that_starts_again_is_asked_for_offsets_then(tmp_path):
    """As it has gone, even Metadata finds nobody for a while; one that stays away is told of as it was last."""
    def told(one, *topics):
        answers = each(*({"Brokers": one.brokers(), "ControllerId": 7, "Topics": x} if x else None for x in topics))
        one.answers["Metadata"] = 1, answers
        return script("kafka-get-offsets", "--bootstrap-server", one.bootstrap, "--topic", "t", "--command-config", config)

    config = tmp_path / "config"
    config.write_text("default.api.timeout.ms=60000\n")
    with Pretender(ListOffsets=(1, each(None, offsets(0, 5)))) as one:
        assert told(one, [topic(7)], [topic(7)], None, None, [topic(7)]) == "t:0:5\n"
    config.write_text("default.api.timeout.ms=1500\nrequest.timeout.ms=1500\n")
    with Pretender(ListOffsets=(1, each(None))) as one:
        assert told(one, [topic(7)], [topic(7)], None) == ""
        assert "Skip getting offsets for topic-partition t-0 due to error: Connection to node 7" in script.errors
    with Pretender(ListOffsets=(1, each(offsets(NOT_LEADER)))) as one:
        assert told(one, [topic(7)]) == ""
        assert "Skip getting offsets for topic-partition t-0 due to error" in script.errors
        assert one.asked.count("Metadata") < 10  # the tries come at longer and longer intervals


@pytest.mark.parametrize("error, said", [
    (FORBIDDEN, "TopicAuthorizationException: Failed to fetch metadata for partition t-0 due to topic authorization failure"),
    (INVALID_TOPIC, "InvalidTopicException: Failed to fetch metadata for partition t-0 due to invalid topic `t`"),
    (3, "UnknownTopicOrPartitionException: Failed to fetch metadata for partition t-0 because metadata for topic `t` could not be found"),
    (35, "UnsupportedVersionException: Failed to fetch metadata for partition t-0 due to unexpected error for topic `t`")])
def test_a_topic_that_is_refused_is_not_waited_for(error, said):
    committed = {"Topics": [{"Name": "t", "Partitions": [{"PartitionIndex": 0, "CommittedOffset": 3}]}]}
    described = {"Groups": [{"GroupId": "g", "GroupState": "Empty", "ProtocolType": "consumer"}]}
    with coordinated(DescribeGroups=(2, each(described)), OffsetFetch=(5, each(committed)), ListOffsets=(1, None)) as one:
        one.topics = [topic(7, error)]
        assert said in groups(one, "--describe", "--group", "g", *FOREVER)
        assert said in groups(one, "--reset-offsets", "--group", "g", "--topic", "t:0", "--to-latest", "--dry-run", *FOREVER)


def producers(error=0):
    return {"Topics": [{"Name": "t", "Partitions": [{"PartitionIndex": 0, "ErrorCode": error, "ActiveProducers": [] if error else [
        {"ProducerId": 5, "ProducerEpoch": 1, "LastSequence": 3, "LastTimestamp": 1, "CoordinatorEpoch": 2, "CurrentTxnStartOffset": 4}]}]}]}


def marked(error):
    return {"Markers": [{"ProducerId": 5, "Topics": [{"Name": "t", "Partitions": [{"PartitionIndex": 0, "ErrorCode": error}]}]}]}


def led_by(one, *leaders):
    """One after the other; 8 cannot be reached."""
    topics, away = each(*([topic(leader)] for leader in leaders)), [gone()] * (8 in leaders)
    one.answers["Metadata"] = 1, lambda request: {"Brokers": [*one.brokers(), *away], "ControllerId": 7, "Topics": topics(request)}


def transactions(one, *args, **kw):
    return script("kafka-transactions", "--bootstrap-server", one.bootstrap, *args, **kw)


def test_producers_of_a_leader_that_has_just_moved():
    described = each(producers(NOT_LEADER), producers(3), None, producers())
    with Pretender(DescribeProducers=(0, described), ListTransactions=(0, each({"TransactionStates": []}))) as one:
        led_by(one, -1, 8, 7)
        assert transactions(one, "describe-producers", "--topic", "t", "--partition", 0).splitlines()[1].split() == ["5", "1", "2", "3", "1", "4"]
        led_by(one, -1, 7)
        found = transactions(one, "find-hanging", "--topic", "t").splitlines()
        assert len(found) == 2 and found[1].split()[:6] == ["t", "0", "5", "1", "2", "4"] and script.errors == ""
    with Pretender(DescribeProducers=(0, each(producers(NOT_LEADER)))) as one:
        led_by(one, 7)
        transactions(one, "describe-producers", "--topic", "t", "--partition", 0, "--broker-id", 7, code=1)
        assert "NotLeaderOrFollowerException" in script.errors and one.asked.count("DescribeProducers") == 1


def test_a_transaction_is_aborted_by_a_leader_that_has_just_moved():
    args = ["abort", "--topic", "t", "--partition", 0, "--producer-id", 5, "--producer-epoch", 1, "--coordinator-epoch", 2]
    with Pretender(WriteTxnMarkers=(0, each(*(marked(e) for e in (NOT_LEADER, 3, 9, 8, 0))))) as one:
        led_by(one, -1, 8, 7)
        assert transactions(one, *args) == "" and script.errors == ""
        assert one.asked.count("WriteTxnMarkers") == 5
    with Pretender(WriteTxnMarkers=(0, each(marked(FORBIDDEN)))) as one:
        led_by(one, 7)
        transactions(one, *args, code=1)
        assert "Failed to abort transaction" in script.errors and one.asked.count("WriteTxnMarkers") == 1


# ---- Topics ----


def test_partitions_are_added_by_who_may_not_describe_configs():
    with Pretender(CreatePartitions=(0, each({"Results": [{"Name": "t"}]})), DescribeConfigs=(1, None)) as one:
        one.topics = [topic(7)]
        args = ["--bootstrap-server", one.bootstrap, "--alter", "--topic", "t", "--partitions", 2]
        script("kafka-topics", *args)
        script("kafka-topics", *args, "--replica-assignment", "7,7")
        assert one.asked.count("CreatePartitions") == 2 and "DescribeConfigs" not in one.asked


def test_reassignments_are_not_taken_for_none_while_the_controller_is_gone(tmp_path):
    """Only of a cluster that cannot tell, or may not, is said that there are none."""
    moving = {"Topics": [{"Name": "t", "Partitions": [{"PartitionIndex": 0, "Replicas": [7, 8], "AddingReplicas": [8]}]}]}
    described = {"Results": [{"ResourceType": 2, "ResourceName": "t", "Configs": []}]}
    config = tmp_path / "client.properties"
    config.write_text("default.api.timeout.ms=1000\nrequest.timeout.ms=1000\n")

    def describe(one, **kw):
        return script("kafka-topics", "--bootstrap-server", one.bootstrap, "--describe", "--topic", "t", "--command-config", config, **kw)

    with Pretender(ListPartitionReassignments=(0, each(moving)), DescribeConfigs=(1, each(described))) as one:
        one.topics = [topic(7)]
        controllers = each(-1, -1, -1, 7)  # for all names, for the topic, and then to find it
        one.answers["Metadata"] = 1, lambda request: {**one.metadata(request), "ControllerId": controllers(request)}
        assert "Adding Replicas: 8" in describe(one)
        one.answers["Metadata"] = 1, lambda request: {**one.metadata(request), "ControllerId": -1}
        assert "The cluster has no controller now" in describe(one, code=1)
        one.answers["Metadata"] = 1, one.metadata
        for error in 31, 35:
            one.answers["ListPartitionReassignments"] = 0, each({"ErrorCode": error})
            assert "Partition: 0" in describe(one)
        one.answers["ListPartitionReassignments"] = 0, each({"ErrorCode": 29})
        assert "Partition: 0" not in describe(one, code=1)
        del one.answers["ListPartitionReassignments"]
        assert "Partition: 0" in describe(one)


def test_requests_carry_what_the_command_config_says(tmp_path):
    """Its time, and its client id."""
    config, wait = tmp_path / "client.properties", {}
    config.write_text("request.timeout.ms=40000\ndefault.api.timeout.ms=50000\nclient.id= mine \n")

    def note(name, answer):
        def make(request):
            wait[name] = request["timeoutMs" if name == "CreateTopics" else "TimeoutMs"]
            return answer
        return 0 if name != "ElectLeaders" else 1, make

    answers = {"CreateTopics": {"Topics": [{"Name": "t"}]}, "CreatePartitions": {"Results": [{"Name": "t"}]}, "DeleteTopics": {"Responses": [{"Name": "t"}]},
               "ListPartitionReassignments": {"Topics": []}, "ElectLeaders": {"ReplicaElectionResults": []}}
    described = {"Results": [{"ResourceType": 2, "ResourceName": "t", "Configs": []}]}
    with Pretender(DescribeConfigs=(1, each(described)), **{name: note(name, answer) for name, answer in answers.items()}) as one:
        one.topics = [topic(7)]
        for file, ms, election, client in (["--command-config", config], 40000, 40000, "mine"), ([], 30000, 15000, "adminclient-1"):
            t = ["kafka-topics", "--bootstrap-server", one.bootstrap, *file, "--topic", "t"]
            for action in ["--create", "--partitions", 1, "--replication-factor", 1], ["--alter", "--partitions", 2], ["--describe"], ["--delete"]:
                script(*t, *action)
            script("kafka-leader-election", "--bootstrap-server", one.bootstrap, *(["--admin.config", config] if file else []), "--election-type", "unclean",
                   "--all-topic-partitions")
            assert wait == {**dict.fromkeys(answers, ms), "ElectLeaders": election}
            assert one.clients == {client}
            one.clients.clear()


def test_topics_are_told_apart_in_whatever_order_answers_have_them():
    names = [f"t{i}" for i in range(40)]
    moving = [{"Name": n, "Partitions": [{"PartitionIndex": 0, "Replicas": [7, 8], "AddingReplicas": [int(n[1:])]}]} for n in sorted(names, reverse=True)]
    configs = [{"ResourceType": 2, "ResourceName": n, "Configs": [{"Name": "retention.ms", "Value": n[1:], "ConfigSource": 1, "Synonyms": []}]} for n in names[::-1]]
    with Pretender(ListPartitionReassignments=(0, each({"Topics": [{"Name": "other", "Partitions": [{"PartitionIndex": 0}]}, *moving]})),
                   DescribeConfigs=(1, each({"Results": configs}))) as one:
        one.topics = [{**topic(7), "Name": n} for n in names[::-1]]
        out = script("kafka-topics", "--bootstrap-server", one.bootstrap, "--describe").splitlines()
    for n, head, part in zip(sorted(names), out[::2], out[1::2], strict=True):
        assert head.startswith(f"Topic: {n}\t") and head.endswith(f"retention.ms={n[1:]}")
        assert part.startswith(f"\tTopic: {n}\t") and f"\tAdding Replicas: {n[1:]}\t" in part


def test_configs_of_many_topics_do_not_add_up():
    """150 answers of 2 MB each."""
    described = {"Results": [{"ResourceType": 2, "ResourceName": "t", "Configs": [{"Name": "x", "Value": "v" * 20000, "ConfigSource": 1, "Synonyms": []}] * 100}]}
    with Pretender(DescribeConfigs=(1, each(described))) as one:
        one.topics = [{**topic(7), "Name": f"t{i}"} for i in range(150)]
        tool = subprocess.Popen([BUILD / "barnabas-tool", "kafka-configs", "--bootstrap-server", one.bootstrap, "--describe", "--entity-type", "topics"],
                                stdout=subprocess.PIPE, env={**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=1"})
        heads = (line for line in tool.stdout if line.startswith(b"Dynamic configs for topic "))
        assert len([*zip(range(150), heads)]) == 150
        most = most_memory(tool.pid)  # as it has the last topic's configs still to tell
        assert tool.communicate()[0].count(b"\n") == 100
        assert tool.returncode == 0 and one.asked.count("DescribeConfigs") == 150
    assert most < 150 << 20
