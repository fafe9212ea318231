"""kafka-consumer-groups.sh: prints what Apache's tool prints, against both kinds of broker, and changes what it changes."""

import re

import confluent_kafka
import pytest
from confluent_kafka import TopicPartition
from harness import PATIENCE, Apache, Barnabas, java, produce, run_tool, wait_until
from test_tools import script, topics

TOOL = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
LONG = "a-topic-with-a-name-of-more-than-24-letters"


def ours(broker, *args, code=0):
    return script("kafka-consumer-groups", "--bootstrap-server", broker.bootstrap, *args, code=code)


def cells(text):
    """What is printed, whatever the order of the rows: Apache's comes from hash tables, and rows of some tables have no end."""
    return sorted(filter(None, re.split(r" {2,}|\n+ *", text.strip())))


def assert_same(broker, *args):
    out = ours(broker, *args)
    assert cells(out + script.errors) == cells(java(TOOL, "--bootstrap-server", broker.bootstrap, *args)), args
    return out


def refused(broker, *args):
    """Both end with 1 and say the same before the usage."""
    ours(broker, *args, code=1)
    first = script.errors.splitlines()[0]
    done = java(TOOL, "--bootstrap-server", broker.bootstrap, *args, check=False)
    assert done.startswith((first + "\n", "Exception in thread \"main\" joptsimple.UnavailableOptionException: " + first)), (args, done)
    return first


def consumer(broker, group, **settings):
    return confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
                                     "enable.auto.commit": False, **{k.replace("_", "."): v for k, v in settings.items()}})


def commit(broker, group, offsets):
    c = consumer(broker, group)
    c.commit(offsets=[TopicPartition(t, p, o) for (t, p), o in offsets.items()], asynchronous=False)
    c.close()


def committed(broker, group, wanted):
    c = consumer(broker, group)
    found = {(p.topic, p.partition): p.offset for p in c.committed([TopicPartition(t, p) for t, p in wanted], PATIENCE)}
    c.close()
    return found


@pytest.fixture(params=[Barnabas, Apache], ids=["barnabas", "apache"])
def groups(request, borrow):
    """A broker with the group g, which has no members, and the topics t, u and one with a long name."""
    b = borrow(request.param)
    for name, partitions in ("t", 3), ("u", 2), (LONG, 1):
        topics(b, "--create", "--topic", name, "--partitions", partitions)
    for p in 0, 1, 2:
        produce(b, "t", [str(i) for i in range(10)], "-p", str(p))
    produce(b, "u", [str(i) for i in range(5)], "-p", "0")
    commit(b, "g", {("t", 0): 3, ("t", 1): 10, ("u", 0): 2})
    return b


@pytest.fixture
def live(groups):
    """Members of the group live, one of them static."""
    members = [consumer(groups, "live"), consumer(groups, "live", group_instance_id="first", client_id="named")]

    def are_ready():
        for m in members:
            m.poll(0.05)
        return all(m.assignment() for m in members)

    for m in members:
        m.subscribe(["t", "u"])
    wait_until(are_ready, "the group")
    members[0].commit(offsets=[TopicPartition("t", 0, 4)], asynchronous=False)
    yield members
    for m in members:
        m.close()


# ---- Showing ----


def test_what_there_is(groups, live):
    b = groups
    assert assert_same(b, "--list") == "g\nlive\n"
    assert_same(b, "--list", "--state")
    assert_same(b, "--list", "--type")
    assert_same(b, "--list", "--type", "--state", "empty, Stable")
    assert cells(ours(b, "--list", "--type", "classic", "--state", "stable")) == sorted(["GROUP", "TYPE", "STATE", "live", "Classic", "Stable"])
    out = assert_same(b, "--describe", "--group", "g")
    assert re.search(r"\ng +t +0 +3 +10 +7 +- +- +-", out)
    assert script.errors == "\nConsumer group 'g' has no active members.\n"
    out = assert_same(b, "--describe", "--group", "live", "--offsets", "--group", "g")
    assert re.search(r"\nlive +t +0 +4 +10 +6 +[^ ]+ +/127.0.0.1 +(rdkafka|named)", out)
    assert_same(b, "--describe", "--group", "live", "--members")
    assert "GROUP-INSTANCE-ID" in assert_same(b, "--describe", "--all-groups", "--members", "--verbose")
    assert_same(b, "--describe", "--group", "g", "--group", "live", "--state")
    assert_same(b, "--describe", "--group", "nobody")
    assert_same(b, "--describe", "--group", "nobody", "--members")
    assert_same(b, "--describe", "--group", "nobody", "--state")


def test_the_bytes_are_apaches(groups):
    """Widths, ends of lines and where there are none, in tables of one row."""
    b = groups
    commit(b, "one", {("u", 0): 1})

    def exact(*args):
        theirs = run_tool(TOOL, "--bootstrap-server", b.bootstrap, *args).stdout
        assert ours(b, *args) == theirs, args

    exact("--describe", "--group", "one")
    exact("--describe", "--group", "one", "--state")
    exact("--list", "--state", "--type")
    exact("--reset-offsets", "--group", "one", "--topic", "u:0", "--to-latest", "--dry-run")
    exact("--reset-offsets", "--group", "one", "--topic", LONG, "--to-latest", "--dry-run", "--export")
    exact("--reset-offsets", "--group", "a\"b", "--group", "a b", "--topic", "u:0", "--to-latest", "--dry-run", "--export")
    exact("--delete-offsets", "--group", "nobody", "--topic", "u:0")
    exact("--delete", "--group", "nobody")


def test_wrong_usage(groups):
    b = groups
    assert refused(b, "--describe").startswith("Option [describe] takes one of these options: ")
    refused(b, "--describe", "--group", "g", "--members", "--state")
    refused(b, "--describe", "--group", "g", "--state", "x")
    refused(b, "--describe", "--group", "g", "--topic", "t")
    refused(b, "--delete")
    refused(b, "--delete", "--group", "g", "--topic", "t")
    refused(b, "--delete-offsets", "--group", "g")
    refused(b, "--reset-offsets", "--dry-run", "--execute", "--group", "g", "--to-earliest")
    refused(b, "--reset-offsets", "--dry-run", "--to-earliest")
    refused(b, "--reset-offsets", "--dry-run", "--group", "g", "--to-earliest", "--to-latest")
    refused(b, "--reset-offsets", "--dry-run", "--group", "g", "--to-earliest")
    refused(b, "--reset-offsets", "--dry-run", "--group", "g", "--topic", "t")
    refused(b, "--reset-offsets", "--dry-run", "--group", "g", "--to-latest", "--topic", "t:x")
    refused(b, "--reset-offsets", "--dry-run", "--group", "g", "--shift-by", 1, "--topic", "t:2")
    refused(b, "--list", "--group", "g")
    refused(b, "--list", "--members")
    refused(b, "--list", "--state", "stable,odd")
    refused(b, "--list", "--type", "odd")
    refused(b, "--timeout", 1)
    script("kafka-consumer-groups", "--list", code=1)
    assert script.errors.startswith('Missing required argument "[bootstrap-server]"\n')


def test_no_broker():
    out = script("kafka-consumer-groups", "--bootstrap-server", "127.0.0.1:1", "--describe", "--group", "g")
    assert out.startswith("\nError: Executing consumer group command failed due to ")


# ---- Resetting ----


RULES = {"--to-earliest": {("t", 0): 0, ("t", 1): 0, ("u", 0): 0},
         "--to-latest": {("t", 0): 10, ("t", 1): 10, ("u", 0): 5},
         "--to-current": {("t", 0): 3, ("t", 1): 10, ("u", 0): 2},
         "--to-offset 4": {("t", 0): 4, ("t", 1): 4, ("u", 0): 4},
         "--to-offset 7": {("t", 0): 7, ("t", 1): 7, ("u", 0): 5},
         "--shift-by -3": {("t", 0): 0, ("t", 1): 7, ("u", 0): 0},
         "--shift-by 2": {("t", 0): 5, ("t", 1): 10, ("u", 0): 4},
         "--to-datetime 2020-01-01T00:00:00.000": {("t", 0): 0, ("t", 1): 0, ("u", 0): 0},
         "--to-datetime 2090-01-01T00:00:00.000+01:00": {("t", 0): 10, ("t", 1): 10, ("u", 0): 5},
         "--by-duration P1D": {("t", 0): 0, ("t", 1): 0, ("u", 0): 0},
         "--by-duration PT0S": {("t", 0): 10, ("t", 1): 10, ("u", 0): 5}}


def without_warnings(text):
    return "".join(line + "\n" for line in text.splitlines() if not line.startswith("WARN New offset"))


@pytest.mark.parametrize("rule", RULES)
def test_rules(groups, rule):
    b, args = groups, ["--reset-offsets", "--group", "g", "--all-topics", *rule.split()]
    out = ours(b, *args, "--dry-run")
    theirs = java(TOOL, "--bootstrap-server", b.bootstrap, *args, "--dry-run")
    assert cells(out + without_warnings(script.errors)) == cells(theirs)
    assert committed(b, "g", RULES[rule]) == RULES["--to-current"]
    assert ours(b, *args, "--execute") == out
    assert committed(b, "g", RULES[rule]) == RULES[rule]


def test_what_is_out_of_range_is_warned_of(groups):
    ours(groups, "--reset-offsets", "--group", "g", "--topic", "u:0", "--to-offset", 9)
    assert "--execute option is missing" in script.errors
    assert "New offset (9) is higher than latest offset for topic partition u-0. Value will be set to 5\n" in script.errors


def test_scopes(groups, live):
    b = groups
    assert_same(b, "--reset-offsets", "--group", "new", "--topic", "t:0,2", "--topic", "u", "--to-latest", "--dry-run")
    assert_same(b, "--reset-offsets", "--all-groups", "--topic", "t", "--to-latest", "--dry-run")
    assert "the current state is Stable." in assert_same(b, "--reset-offsets", "--group", "live", "--topic", "t", "--to-latest", "--execute")
    assert_same(b, "--reset-offsets", "--group", "g", "--group", "h", "--topic", "t", "--to-latest", "--dry-run", "--export")
    assert ours(b, "--reset-offsets", "--group", "h", "--topic", "u", "--to-latest", "--export", "--execute") == "u,0,5\nu,1,0\n\n"
    assert committed(b, "h", [("u", 0), ("u", 1)]) == {("u", 0): 5, ("u", 1): 0}


def first_line(text):
    return next(line for line in text.splitlines() if line)


def test_what_cannot_be_reset(groups, tmp_path):
    b = groups
    for args in (["--topic", "none", "--to-latest"], ["--topic", "none:0", "--to-latest"], ["--topic", "t", "--to-datetime", "2020-01-01"],
                 ["--topic", "t", "--to-datetime", "2020-01-01T00:00:00"], ["--topic", "t", "--by-duration", "P1"],
                 ["--from-file", tmp_path / "none"]):
        args = ["--reset-offsets", "--group", "g", "--dry-run", *args]
        theirs = java(TOOL, "--bootstrap-server", b.bootstrap, *args)
        assert first_line(ours(b, *args)) == first_line(theirs)
    assert "There is no offset of t-77" in ours(b, "--reset-offsets", "--group", "g", "--topic", "t:77", "--to-latest", "--timeout", 300)


def test_plans_in_files(groups, tmp_path):
    b, plan, plans, bad, gap = groups, tmp_path / "plan", tmp_path / "plans", tmp_path / "bad", tmp_path / "gap"
    plan.write_text('t,0,4\n"t", 1 ,99\r\n')
    plans.write_text("g,t,0,4\nh,t,1,5\n")
    bad.write_text("t,0,4\nt,one,4\n")
    gap.write_text("t,0,4\n\nt,1,4\n")
    one, two = ["--reset-offsets", "--group", "g"], ["--reset-offsets", "--group", "g", "--group", "h"]
    assert cells(ours(b, *one, "--from-file", plan)) == cells(java(TOOL, "--bootstrap-server", b.bootstrap, *one, "--from-file", plan, "--dry-run"))
    twice = tmp_path / "twice"
    twice.write_text("t,0,1\nt,1,3\nt,0,4\n")  # the last counts
    assert cells(ours(b, *one, "--from-file", twice)) == cells(java(TOOL, "--bootstrap-server", b.bootstrap, *one, "--from-file", twice, "--dry-run"))
    assert "Error: No reset plan for group x found" in ours(b, "--reset-offsets", "--group", "x", "--from-file", plans)
    assert "Line 2 of the file" in ours(b, *one, "--from-file", bad)
    assert "Line 2 of the file" in ours(b, *one, "--from-file", gap)
    assert "Error: " in java(TOOL, "--bootstrap-server", b.bootstrap, *one, "--from-file", gap, "--dry-run")
    ours(b, *two, "--from-file", plans, "--execute")
    assert committed(b, "g", [("t", 0)]) == {("t", 0): 4} and committed(b, "h", [("t", 1)]) == {("t", 1): 5}
    exported = tmp_path / "exported"
    exported.write_text(ours(b, *two, "--all-topics", "--to-current", "--export"))
    ours(b, *two, "--all-topics", "--to-earliest", "--execute")
    ours(b, *two, "--from-file", exported, "--execute")
    assert committed(b, "g", [("t", 0)]) == {("t", 0): 4} and committed(b, "h", [("t", 1)]) == {("t", 1): 5}


# ---- Deleting ----


def test_deleted_offsets(groups, live):
    b = groups
    out = ours(b, "--delete-offsets", "--group", "g", "--topic", "t:0,1", "--topic", "none")
    assert out.startswith("Request succeed for deleting offsets with topic t:0,1, none group g\n\nTOPIC ")
    assert "UnknownTopicOrPartitionException: This server does not host this topic-partition." in out and out.count("Successful") == 2
    assert committed(b, "g", [("t", 0), ("u", 0)]) == {("t", 0): confluent_kafka.OFFSET_INVALID, ("u", 0): 2}
    assert "GroupSubscribedToTopicException" in assert_same(b, "--delete-offsets", "--group", "live", "--topic", "t:0,1")
    assert "'nobody' does not exist." in assert_same(b, "--delete-offsets", "--group", "nobody", "--topic", "t:0")


def test_deleted_groups(groups, live):
    b = groups
    assert_same(b, "--delete", "--group", "nobody", "--group", "live")
    commit(b, "h", {("t", 0): 1})
    assert ours(b, "--delete", "--group", "g", "--group", "h") == "Deletion of requested consumer groups ('g, h') was successful.\n"
    assert ours(b, "--list") == "live\n"
    commit(b, "g", {("t", 0): 1})
    out = ours(b, "--delete", "--all-groups")
    assert "* Group 'live' could not be deleted due to: " in out and out.endswith("\nThese consumer groups were deleted successfully: 'g', '\n")
