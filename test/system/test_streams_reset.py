"""kafka-streams-application-reset.sh: says and does what Apache's tool does."""

import confluent_kafka
import pytest
from harness import Apache, Barnabas, java, produce, wait_until
from test_consumer_groups import commit, committed
from test_tools import script, topics

TOOL = "org.apache.kafka.tools.StreamsResetter"
INTERNAL = ["app-x-changelog", "app-y-repartition", "app-a-KTABLE-FK-JOIN-SUBSCRIPTION-REGISTRATION-0000000001-topic"]


def ours(broker, *args, code=0):
    return script("kafka-streams-application-reset", "--bootstrap-server", broker.bootstrap, "--application-id", "app", *args, code=code)


def words(text):
    """Lines without their order, and lists without theirs."""
    lines = [line for line in text.splitlines() if line and not line.startswith(("\tat ", "Caused by: ", "java.", "org.", "\t..."))]
    return sorted(" ".join(sorted(line.replace("[", " ").replace("]", " ").replace(",", " ").split())) for line in lines)


def assert_same(broker, *args, code=0):
    out = ours(broker, *args, code=code) + script.errors
    theirs = java(TOOL, "--bootstrap-server", broker.bootstrap, "--application-id", "app", *args, check=code == 0)
    assert words(out) == words(theirs), args
    return out


@pytest.fixture(params=[Barnabas, Apache], ids=["barnabas", "apache"])
def b(request, borrow):
    """Two input topics, an intermediate one, internal ones and others that look like them."""
    broker = borrow(request.param)
    for name, partitions in ("in", 2), ("more", 1), ("through", 1), ("app-in", 1), ("other-changelog", 1), *((t, 1) for t in INTERNAL):
        topics(broker, "--create", "--topic", name, "--partitions", partitions)
    for p in 0, 1:
        produce(broker, "in", [str(i) for i in range(10)], "-p", str(p))
    produce(broker, "through", ["x", "y"])
    commit(broker, "app", {("in", 0): 4, ("in", 1): 6, ("through", 0): 1})
    return broker


def test_what_would_be_done(b):
    dry = ["--dry-run"]
    out = assert_same(b, *dry)
    assert f"Deleting inferred internal topics [{', '.join(sorted(INTERNAL))}]\n" in out
    assert_same(b, *dry, "--input-topics", "in,more", "--intermediate-topics", "through")
    assert_same(b, *dry, "--input-topics", "in", "--input-topics", "more,app-x-changelog")
    assert "Topic: none\n" in assert_same(b, *dry, "--input-topics", "in,none", "--intermediate-topics", "gone", code=1)
    assert_same(b, *dry, "--input-topics", "none", code=1)
    assert_same(b, *dry, "--internal-topics", "app-x-changelog")
    assert_same(b, *dry, "--internal-topics", "app-x-changelog,app-in", code=1)
    assert committed(b, "app", [("in", 0)]) == {("in", 0): 4}


RULES = {"": (0, 0), "--to-earliest": (0, 0), "--to-latest": (10, 10), "--to-offset 3": (3, 3), "--to-offset 0": (0, 0), "--to-offset 11": (10, 10),
         "--shift-by 3": (7, 9), "--shift-by -5": (0, 1), "--to-datetime 2020-01-01T00:00:00.000": (0, 0), "--by-duration P1D": (0, 0),
         "--by-duration PT0S": (10, 10)}


@pytest.mark.parametrize("rule", RULES)
def test_rules(b, rule):
    args = ["--input-topics", "in", "--intermediate-topics", "through", "--internal-topics", "app-x-changelog", *rule.split()]
    assert_same(b, *args, "--dry-run")
    ours(b, *args)
    assert committed(b, "app", [("in", 0), ("in", 1), ("through", 0)]) == {("in", 0): RULES[rule][0], ("in", 1): RULES[rule][1], ("through", 0): 2}
    wait_until(lambda: "app-x-changelog" not in topics(b, "--list").split(), "deletion")
    assert {INTERNAL[1], INTERNAL[2], "other-changelog", "app-in"} <= set(topics(b, "--list").split())


def test_a_topic_in_both_lists_is_one_of_input(b):
    args = ["--input-topics", "in", "--intermediate-topics", "in,through"]
    assert_same(b, *args, "--dry-run")
    ours(b, *args)
    assert committed(b, "app", [("in", 0), ("in", 1), ("through", 0)]) == {("in", 0): 0, ("in", 1): 0, ("through", 0): 2}


def test_plans_in_files(b, tmp_path):
    plan, short, strange = tmp_path / "plan", tmp_path / "short", tmp_path / "strange"
    plan.write_text("in,0,5\nin,1,99\n\n")
    short.write_text("in,0,5\n")
    strange.write_text("app,in,0,5\n")
    assert_same(b, "--dry-run", "--input-topics", "in", "--from-file", plan)
    ours(b, "--input-topics", "in", "--from-file", plan)
    assert committed(b, "app", [("in", 0), ("in", 1)]) == {("in", 0): 5, ("in", 1): 10}
    assert_same(b, "--dry-run", "--input-topics", "in", "--from-file", strange, code=1)
    assert_same(b, "--dry-run", "--input-topics", "in", "--from-file", tmp_path / "none", code=1)
    ours(b, "--dry-run", "--input-topics", "in", "--from-file", short, code=1)
    assert "The reset plan says nothing of in-1" in script.errors


def test_what_cannot_be_read(b):
    for args in ["--to-datetime", "2020-01-01"], ["--to-datetime", "2020-13-01T00:00:00.000"], ["--by-duration", "P"]:
        assert_same(b, "--dry-run", "--input-topics", "in", *args, code=1)


def test_where_a_shift_begins_without_an_offset(b, tmp_path):
    config = tmp_path / "config"
    config.write_text("auto.offset.reset=earliest\n")
    for args in [], ["--config-file", config]:
        assert_same(b, "--dry-run", "--input-topics", "more,in", "--shift-by", 1, *args)


@pytest.fixture
def member(b):
    """Of the application's group; it does not find out soon that it is removed."""
    c = confluent_kafka.Consumer({"bootstrap.servers": b.bootstrap, "group.id": "app", "group.instance.id": "one", "heartbeat.interval.ms": 40000})
    c.subscribe(["more"])
    wait_until(lambda: c.poll(0.05) or c.assignment(), "the group")
    yield
    c.close()


def test_members(b, member):
    assert "is still active and has following members: [(memberId=" in assert_same(b, "--dry-run", code=1)
    assert ours(b, "--force", "--input-topics", "in").startswith("Force deleting all active members in the group: app\n")
    assert committed(b, "app", [("in", 0)]) == {("in", 0): 0}
    script("kafka-consumer-groups", "--bootstrap-server", b.bootstrap, "--describe", "--group", "app")
    assert "has no active members" in script.errors


def test_all_internal_topics_go(b):
    ours(b)
    wait_until(lambda: not set(INTERNAL) & set(topics(b, "--list").split()), "deletion")
    assert {"other-changelog", "app-in", "in"} <= set(topics(b, "--list").split())


def test_wrong_usage(tmp_path):
    for args in [["--dry-run"], ["--application-id", "app", "--to-latest", "--to-earliest"], ["--application-id", "app", "--to-offset", 1, "--shift-by", 1]]:
        script("kafka-streams-application-reset", *args, code=1)
        assert java(TOOL, *args, check=False).startswith(script.errors.splitlines()[0] + "\n")
    soon = tmp_path / "soon"
    soon.write_text("request.timeout.ms=500\ndefault.api.timeout.ms=500\n")
    script("kafka-streams-application-reset", "--bootstrap-servers", "127.0.0.1:1", "--application-id", "app", "--config-file", soon, code=1)
    assert "\nERROR: java.util.concurrent.ExecutionException: " in script.errors
