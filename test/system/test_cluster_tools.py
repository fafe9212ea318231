"""kafka-cluster, kafka-features, kafka-e2e-latency: beside Apache's own, on both kinds of broker; and how tools ask."""

import json
import re

import pytest
from harness import Apache, Barnabas, run_tool, without_noise
from pretender import Pretender
from test_cluster import make_cluster  # noqa: F401 (a fixture)
from test_tools import script

CLASSES = {"kafka-cluster": "org.apache.kafka.tools.ClusterTool", "kafka-features": "org.apache.kafka.tools.FeatureCommand",
           "kafka-e2e-latency": "org.apache.kafka.tools.EndToEndLatency"}
B, C = "--bootstrap-server", "--bootstrap-controller"

# No broker is asked.
WRONG = {
    "kafka-cluster": [
        [], ["cluster-id"], ["unregister"], ["u"], ["clustr-id"], ["frob"], [""], ["--frob", "cluster-id"], ["--", "cluster-id"], ["-b", "x", "cluster-id"],
        ["cluster-id", "-b"], ["cluster-id", "-b", "-x"], ["cluster-id", "-b", "--", "x"], ["cluster-id", "-b", "x", "-C"], ["cluster-id", "--", "-b"],
        ["cluster-id", "-b", "x:1", "-C", "y:1"], ["cluster-id", "-b", "x:1", "foo", "bar"], ["cluster-id", "-"], ["cluster-id", "-3"], ["cluster-id", "-x"],
        ["cluster-id", "-xh"], ["cluster-id", "--bootstrap", "x"], ["cluster-id", "--b", "x"], ["cluster-id", "--bootstrap-serv"],
        ["cluster-id", "--boostrap-server", "x"], ["cluster-id", "--boostrap-server=x"], ["cluster-id", "--confg", "x"], ["cluster-id", "--help=x"],
        ["cluster-id", "-b", "a", "-i", "3"], ["unregister", "-b", "x"], ["unregister", "-i", "3"], ["unregister", "-i", "-3"], ["unregister", "-i", "abc"],
        ["unregister", "-i", ""], ["unregister", "-i", "99999999999"], ["unregister", "-i", "a long word, and some more of them: 1,2; 3-4, b-c. d.e"],
    ],
    "kafka-features": [
        [], ["describe"], ["d"], ["descrbe"], [B, "x:1"], [B, "x:1", "frob"], [B, "x", C, "y", "describe"], ["describe", B, "x"], ["--command", "x", "dis"],
        [B, "x", "describe", "upgrade"], [B, "x", "describe", "--frob"], [B, "x", "upgrade", "--dryrun"], [B, "x", "upgrade", "--dry-run=1"],
        [B, "x", "upgrade", "--dry-run", "x"], [B, "x", "upgrade", "--unsafe"],
    ],
}
HELPS = [("kafka-cluster", ["--help"]), ("kafka-cluster", ["cluster-id", "-h"]), ("kafka-cluster", ["unregister", "-hb"]), ("kafka-features", ["--he"]),
         *(("kafka-features", [command, "-h"]) for command in ("describe", "upgrade", "downgrade", "dis"))]


@pytest.mark.parametrize("tool", WRONG)
def test_usage_is_told_as_apache_tells_it(tool):
    for args in WRONG[tool]:
        theirs = run_tool(CLASSES[tool], *args)
        assert (script(tool, *args, code=1), script.errors) == (theirs.stdout, theirs.stderr), args
        assert theirs.returncode == 1


def test_help_is_apaches():
    for tool, args in HELPS:
        assert script(tool, *args) == run_tool(CLASSES[tool], *args).stdout, (tool, args)


@pytest.fixture(params=[Barnabas, Apache], ids=["barnabas", "apache"])
def any_broker(request, borrow):
    return borrow(kind=request.param)


def as_apaches(tool, *args, code=0):
    theirs = run_tool(CLASSES[tool], *args)
    assert theirs.returncode == code, theirs
    assert script(tool, *args, code=code) == theirs.stdout, args
    assert script.errors.splitlines()[:1] == without_noise(theirs.stderr).splitlines()[:1], args  # behind it there is Java's stack
    return theirs.stdout


def test_cluster_as_apaches(any_broker, tmp_path):
    b = any_broker.bootstrap
    assert as_apaches("kafka-cluster", "cluster-id", B, b).startswith("Cluster ID: ")
    as_apaches("kafka-cluster", "cl", f"-b{b}")
    as_apaches("kafka-cluster", "unregister", "-b", b, "--id", 0)
    as_apaches("kafka-cluster", "cluster-id", "-C", b, code=1)
    (tmp_path / "client.properties").write_text("request.timeout.ms=20000\n")
    as_apaches("kafka-cluster", "cluster-id", "-b", b, "-c", tmp_path / "client.properties")
    script("kafka-cluster", "cluster-id", "-b", "nonsense", code=1)
    assert "Invalid url in bootstrap.servers: nonsense" in script.errors


def test_features_as_apaches(any_broker):
    def features(*args, code=1):
        return as_apaches("kafka-features", B, any_broker.bootstrap, *args, code=code)

    assert features("describe", code=0) == ""
    as_apaches("kafka-features", C, any_broker.bootstrap, "describe", code=1)
    for command, args in (("upgrade", ["x=1", "a=2"]), ("upgrade", [" x = +1 ", "--dry-run"]), ("downgrade", ["x=0"]), ("downgrade", ["x=1", "--unsafe"]),
                          ("disable", ["x", "--dry-run"])):
        features(command, *(word for arg in args for word in ([arg] if arg[0] == "-" else ["--feature", arg])))
    features("upgrade", "--metadata", "3.5.1")
    features("downgrade", "--metadata", "3.3-IV0", "--feature", "x=3")


def test_features_that_are_not_asked_for_as_apaches():
    def features(*args):
        return as_apaches("kafka-features", B, "127.0.0.1:1", *args, code=1)

    for feature in ("x=0", "x=-1", "=1", "x", "x=40000"):
        features("upgrade", "--feature", feature)
    for command in ("upgrade", "downgrade", "disable"):
        features(command)
    features("disable", "--feature", "x", "--feature", "x")
    features("downgrade", "--metadata", "3.5-IV2", "--feature", "metadata.version=3")
    for version in ("3.0-IV0", "2.8", "0.10.0-IV0", "0.9.0.1", "3.5-IV9", ""):
        features("upgrade", "--metadata", version)


# ---- kafka-e2e-latency ----


def figures(out):
    return re.sub(r"\d+(\.\d+)?(E-?\d+)?", "N", out)


def test_latency_as_apaches(any_broker, tmp_path):
    b, topic = any_broker.bootstrap, f"latency-{any_broker.port}"
    first = script("kafka-e2e-latency", b, topic, 1001, "all", 20)
    assert figures(first) == figures(f'Topic "{topic}" does not exist. Will create topic with 1 partition(s) and replication factor = 1\n0\t1.0\n1000\t1.0\n'
                                     "Avg latency: 1.0 ms\nPercentiles: 50th = 1, 99th = 1, 99.9th = 1\n")
    (tmp_path / "client.properties").write_text("client.id=mine\n")
    for args in ([topic, 2, "1", 0], [topic, 2, "all", 1000, tmp_path / "client.properties"], [topic, 1, "all", 1, " "]):
        assert figures(script("kafka-e2e-latency", b, *args)) == figures(run_tool(CLASSES["kafka-e2e-latency"], b, *args).stdout), args
    assert script("kafka-get-offsets", "--bootstrap-server", b, "--topic", topic) == f"{topic}:0:{1001 + 2 * (2 + 2 + 1)}\n"
    groups = script("kafka-consumer-groups", "--bootstrap-server", b, "--list").split()
    described = script("kafka-consumer-groups", "--bootstrap-server", b, "--describe", "--group", max(g for g in groups if g.startswith("test-group-")))
    assert described.splitlines()[-1].split()[1:4] == [topic, "0", str(1001 + 2 * (2 + 2 + 1))]
    as_apaches("kafka-e2e-latency", b, topic, 0, "all", 1, code=1)
    theirs = run_tool(CLASSES["kafka-e2e-latency"], b, "bad name", 1, "all", 1)
    assert script("kafka-e2e-latency", b, "bad name", 1, "all", 1, code=1) == theirs.stdout
    assert script.errors.strip() in theirs.stderr


def test_latency_wrong_usage_as_apaches():
    for args in ([], ["a"], ["x:1", "t", "3", "0", "20"], ["x:1", "t", "x", "all", "20"], ["x:1", "t", "3", "all", ""], ["x:1", "t", "3", "all", "1", "/none"]):
        theirs = run_tool(CLASSES["kafka-e2e-latency"], *args)
        assert script("kafka-e2e-latency", *args, code=1) == theirs.stdout == ""
        assert without_noise(theirs.stderr).splitlines()[0] in script.errors


# ---- A controller that goes ----

NOT_CONTROLLER = 41


def controller_of(*deeds):
    """One that does with each who wants topics what it is told; None: it does not answer."""
    one = Pretender(CreateTopics=(4, lambda request: created(one.deeds.pop(0), request)))
    one.deeds = list(deeds)
    return one


def created(error, request):
    return None if error is None else {"Topics": [{"Name": t["Name"], "ErrorCode": error, "ErrorMessage": None} for t in request["Topics"]]}


def create_by(bootstrap, topic, code=0, *args):
    return script("kafka-topics", B, bootstrap, "--create", "--topic", topic, "--partitions", 1, "--replication-factor", 1, *args, code=code)


def test_who_is_not_the_controller_is_asked_again():
    one = controller_of(NOT_CONTROLLER, NOT_CONTROLLER, 0)
    with one:
        assert create_by(one.bootstrap, "t") == "Created topic t.\n"
    assert one.deeds == []


def test_what_may_have_been_done_is_not_done_again():
    one = controller_of(None, 36)
    with one:
        assert "has not answered CreateTopics; it may have been done" in create_by(one.bootstrap, "t", 1)
    assert one.deeds == [36]


def test_patience_ends(tmp_path):
    config = tmp_path / "client.properties"
    config.write_text("request.timeout.ms=500\ndefault.api.timeout.ms=1000\n")
    one = controller_of(*[NOT_CONTROLLER] * 1000)
    with one:
        assert "This is not the correct controller for this cluster." in create_by(one.bootstrap, "t", 1, "--command-config", config)
    assert len(one.deeds) < 1000
    for text, said in (("request.timeout.ms=1s", "Invalid value 1s for configuration request.timeout.ms: Not a number of type INT"),
                       ("request.timeout.ms=4294967297", "Invalid value 4294967297 for configuration request.timeout.ms: Not a number of type INT"),
                       ("default.api.timeout.ms=-1", "Invalid value -1 for configuration default.api.timeout.ms: Value must be at least 0"),
                       ("request.timeout.ms=5\ndefault.api.timeout.ms=4", "The specified value of default.api.timeout.ms must be no smaller than")):
        config.write_text(text)
        out = create_by("127.0.0.1:1", "t", 1, "--command-config", config)
        assert said in out + script.errors


def test_a_controller_that_has_just_gone(make_cluster):
    brokers = make_cluster(Barnabas, Barnabas, **{"min.insync.replicas": 1})
    controller = json.loads(brokers[0].zookeeper.get("/controller"))["brokerid"]
    other = brokers[2 - controller]
    brokers[controller - 1].kill()
    assert create_by(other.bootstrap, "t") == "Created topic t.\n"
