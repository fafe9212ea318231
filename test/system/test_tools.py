"""The command-line tools: against barnabas and Apache's broker, and beside Apache's own tools."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from confluent_kafka import Consumer
from kazoo.security import make_acl

from harness import BUILD, TOP, Apache, Barnabas, free_port, java, run_tool, wait_until
from pretender import Pretender

TOPIC_COMMAND = "org.apache.kafka.tools.TopicCommand"
NAMES = re.findall(r"^== (\S+)", (TOP / "man" / "tools.txt").read_text(), re.M)  # of all tools


def script(name, *args, stdin=None, code=0):
    """Runs one of our scripts; returns its standard output, and checks its exit code."""
    done = subprocess.run([TOP / "bin" / f"{name}.sh", *map(str, args)], input=stdin, capture_output=True, text=True, errors="replace", timeout=60,
                          env={"BARNABAS_BUILD": str(BUILD), "PATH": "/usr/bin:/bin", "TZ": "UTC"})
    assert done.returncode == code, f"{name} {args} gave {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert "Sanitizer" not in done.stderr and "runtime error" not in done.stderr, done.stderr
    script.errors = done.stderr
    return done.stdout


def topics(broker, *args, **kw):
    return script("kafka-topics", "--bootstrap-server", broker.bootstrap, *args, **kw)


def topics_zk(broker, *args, **kw):
    return script("kafka-topics", "--zookeeper", broker.zookeeper.connect, *args, **kw)


def put(broker, topic, lines, *args):
    script("kafka-console-producer", "--bootstrap-server", broker.bootstrap, "--topic", topic, *args, stdin="".join(f"{x}\n" for x in lines))


def get(broker, topic, count, *args):
    return script("kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--topic", topic, "--from-beginning",
                  "--max-messages", count, "--timeout-ms", 20000, *args).splitlines()


@pytest.fixture(params=[Barnabas, Apache], ids=["barnabas", "apache"])
def any_broker(request, make_broker):
    return make_broker(kind=request.param)


# ---- kafka-topics ----


def test_topics_by_requests(any_broker):
    b = any_broker
    assert topics(b, "--create", "--topic", "t", "--partitions", 3, "--config", "retention.ms=3600000") == "Created topic t.\n"
    out = topics(b, "--create", "--topic", "t", code=1)
    assert out == "Error while executing topic command : Topic 't' already exists.\n"
    assert topics(b, "--create", "--topic", "t", "--if-not-exists") == ""
    out = topics(b, "--create", "--topic", "u", "--replication-factor", 9, code=1)
    assert "larger than available brokers" in out
    topics(b, "--create", "--topic", "u", "--replica-assignment", "0,0")
    assert topics(b, "--list") == "t\nu\n"
    assert topics(b, "--alter", "--topic", "t", "--partitions", 5) == ""
    wait_until(lambda: "PartitionCount: 5" in topics(b, "--describe", "--topic", "t"), "five partitions")
    assert topics(b, "--describe", "--topic", "t|u") == java(TOPIC_COMMAND, "--bootstrap-server", b.bootstrap, "--describe", "--topic", "t|u")
    assert topics(b, "--describe", "--under-replicated-partitions") == ""
    assert topics(b, "--describe", "--unavailable-partitions") == ""
    assert topics(b, "--describe", "--at-min-isr-partitions").count("Topic: t\t") == 5
    assert topics(b, "--describe", "--topics-with-overrides").splitlines()[0].startswith("Topic: t\t")
    assert "WARNING: Due to limitations in metric names" in topics(b, "--create", "--topic", "a.b")
    topics(b, "--delete", "--topic", "t|a\\.b")
    wait_until(lambda: topics(b, "--list") == "u\n", "deletion")
    assert "does not exist as expected" in topics(b, "--delete", "--topic", "none", code=1)
    assert topics(b, "--delete", "--topic", "none", "--if-exists") == ""


def test_topics_by_topic_id(any_broker):
    topics(any_broker, "--create", "--topic", "x")
    described = topics(any_broker, "--describe", "--topic", "x")
    topic_id = described.split("TopicId: ")[1].split("\t")[0]
    assert topics(any_broker, "--describe", "--topic-id", topic_id) == described
    assert topics(any_broker, "--describe", "--topic-id", topic_id + "==") == described
    assert "does not exist" in topics(any_broker, "--describe", "--topic-id", "AAAAAAAAAAAAAAAAAAAAAQ", code=1)
    for wrong in "", "x", "AAAAAAAAAAAAAAAAAAAAA!", "AAAAAAAAAAAAAAAAAAAAAQ=!", "A" * 25:
        args = ["--describe", "--topic-id", wrong, "--topic", "x"]
        assert topics(any_broker, *args, code=1).startswith("Error while executing topic command : ")
        assert run_tool(TOPIC_COMMAND, "--bootstrap-server", any_broker.bootstrap, *args).returncode == 1


def test_only_describe_goes_by_a_topic_id(any_broker):
    b = any_broker
    for name in ("x", "y"):
        topics(b, "--create", "--topic", name)
    by_id = ["--topic-id", topics(b, "--describe", "--topic", "x").split("TopicId: ")[1].split("\t")[0]]
    for args in (["--list"], ["--list", "--topic", "y"], ["--alter", "--topic", "y", "--partitions", 3], ["--delete", "--topic", "none", "--if-exists"]):
        theirs = run_tool(TOPIC_COMMAND, "--bootstrap-server", b.bootstrap, *args[:-1], 2 if "--alter" in args else args[-1], *by_id)
        assert (topics(b, *args, *by_id), theirs.returncode) == (theirs.stdout, 0), args
    topics(b, "--delete", "--topic", "y", *by_id)
    wait_until(lambda: topics(b, "--list") == "x\n", "deletion")


def test_topics_through_zookeeper(any_broker):
    b = any_broker
    out = topics_zk(b, "--create", "--topic", "z", "--partitions", 2, "--replication-factor", 1, "--config", "cleanup.policy=compact")
    assert out == "Created topic z.\n"
    wait_until(lambda: "Partition: 1\tLeader: 0" in topics(b, "--describe"), "the controller takes it")
    assert "cleanup.policy=compact" in topics(b, "--describe", "--topic", "z")
    assert "Topic 'z' already exists." in topics_zk(b, "--create", "--topic", "z", "--partitions", 1, "--replication-factor", 1, code=1)
    assert "invalid" in topics_zk(b, "--create", "--topic", "bad name", "--partitions", 1, "--replication-factor", 1, code=1)
    assert "bad.key" in topics_zk(b, "--create", "--topic", "y", "--partitions", 1, "--replication-factor", 1, "--config", "bad.key=1", code=1)
    wait_until(lambda: "Leader: 0" in topics_zk(b, "--describe", "--topic", "z"), "the state in ZooKeeper")
    assert topics_zk(b, "--describe", "--topic", "z") == topics(b, "--describe", "--topic", "z").replace("\tElr: N/A\tLastKnownElr: N/A", "")
    out = topics_zk(b, "--alter", "--topic", "z", "--partitions", 4)
    assert out.endswith("Adding partitions succeeded!\n")
    wait_until(lambda: "PartitionCount: 4" in topics(b, "--describe", "--topic", "z"), "more partitions")
    out = topics_zk(b, "--alter", "--topic", "z", "--config", "retention.ms=1000", "--delete-config", "cleanup.policy")
    assert "Updated config for topic z." in out
    wait_until(lambda: "Configs: retention.ms=1000" in topics(b, "--describe", "--topic", "z"), "new configuration")
    assert "Topic z is marked for deletion." in topics_zk(b, "--delete", "--topic", "z")
    wait_until(lambda: topics_zk(b, "--list") == "\n", "deletion")


@pytest.mark.parametrize("path, tool, args", [
    ("/brokers/topics", "kafka-topics", ["--list"]),
    ("/admin/delete_topics", "kafka-topics", ["--list"]),
    ("/brokers/ids/0", "kafka-topics", ["--describe", "--topic", "t"]),
    ("/config/topics/t", "kafka-topics", ["--describe", "--topic", "t"]),
    ("/brokers/topics/t/partitions/0/state", "kafka-topics", ["--describe", "--topic", "t"]),
    ("/brokers/ids", "kafka-topics", ["--create", "--topic", "new", "--replica-assignment", "0"]),
    ("/brokers/topics/t", "kafka-reassign-partitions", ["--generate", "--topics-to-move-json-file", "FILE", "--broker-list", "0"]),
    ("/admin/reassign_partitions", "kafka-reassign-partitions", ["--verify", "--reassignment-json-file", "FILE"]),
    ("/config/users", "kafka-configs", ["--describe", "--entity-type", "users"]),
    ("/config/users/u", "kafka-configs", ["--describe", "--user", "u"]),
    ("/brokers/ids", "kafka-configs", ["--alter", "--broker", "5", "--add-config", "background.threads=5"])])
def test_what_may_not_be_read_is_not_taken_for_missing(zookeeper, tmp_path, path, tool, args):
    file = tmp_path / "file.json"
    file.write_text('{"version":1,"topics":[{"topic":"t"}],"partitions":[{"topic":"t","partition":0,"replicas":[0]}]}')
    nodes = {"/brokers/topics/t": b'{"version":2,"partitions":{"0":[0]}}', "/config/topics/t": b'{"version":1,"config":{"retention.ms":"5"}}',
             "/brokers/topics/t/partitions/0/state": b'{"controller_epoch":1,"leader":0,"version":1,"leader_epoch":0,"isr":[0]}',
             "/admin/reassign_partitions": b'{"version":1,"partitions":[]}', "/config/users/u": b"{}", "/admin/delete_topics": b"", "/config/changes": b"",
             "/brokers/ids/0": b'{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://h:1"],"jmx_port":-1,"port":1,"host":"h","version":5,"timestamp":"1"}'}
    for node, data in nodes.items():
        zookeeper.client.create(node, data, makepath=True)
    zookeeper.client.set_acls(path, [make_acl("world", "anyone", write=True, create=True, delete=True, admin=True)])
    out = script(tool, "--zookeeper", zookeeper.connect, *(str(file) if x == "FILE" else x for x in args), code=1)
    assert f"Cannot read {path} in ZooKeeper: its ACL forbids it" in out + script.errors


def test_wrong_usage(broker):
    topics(broker, "--list", "--describe", code=1)
    assert "exactly one action" in script.errors
    topics(broker, "--create", code=1)
    assert 'Missing required argument "[topic]"' in script.errors
    topics(broker, "--list", "--partitions", 3, code=1)
    assert "can't be used with option" in script.errors
    topics(broker, "--frobnicate", code=1)
    assert "frobnicate is not a recognized option" in script.errors
    script("kafka-topics", "--list", code=1)
    assert "--bootstrap-server must be specified" in script.errors
    topics(broker, "--create", "--topic", "x", "--partitions", "0", code=1)
    script("kafka-console-consumer", "--bootstrap-server", broker.bootstrap, code=1)
    assert "Exactly one of --include/--topic is required" in script.errors
    script("kafka-console-producer", "--bootstrap-server", broker.bootstrap, code=1)
    assert 'Missing required argument "[topic]"' in script.errors


TWICE = {"kafka-topics": ["topic"], "kafka-delete-records": ["offset-json-file"], "kafka-get-offsets": ["topic", "time"],
         "kafka-leader-election": ["topic", "election-type"], "kafka-consumer-groups": ["to-offset", "state"],
         "kafka-console-producer": ["topic"], "kafka-console-consumer": ["topic", "offset"], "kafka-dump-log": ["files"],
         "kafka-log-dirs": ["topic-list"], "kafka-reassign-partitions": ["broker-list"], "kafka-acls": ["bootstrap-server"],
         "kafka-streams-application-reset": ["application-id"], "kafka-delegation-tokens": ["hmac"], "kafka-configs": ["add-config"]}


def test_of_two_values_none_is_dropped(broker):
    for name, options in TWICE.items():
        for option in options:
            script(name, f"--{option}", "1", f"--{option}", "2", code=1)
            assert script.errors == f"Found multiple arguments for option {option}, but you asked for only one\n", name
    for name in "a", "b":
        topics(broker, "--create", "--topic", name, "--config", "retention.ms=1000", "--config", "retention.bytes=7")
    twice = ["--bootstrap-server", broker.bootstrap, "--delete", "--topic", "a", "--topic", "b"]
    script("kafka-topics", *twice, code=1)
    theirs = run_tool(TOPIC_COMMAND, *twice)
    assert script.errors.strip() in theirs.stdout and theirs.returncode == 1
    assert topics(broker, "--list") == "a\nb\n"


def test_of_two_values_the_last_counts_where_argparse4j_reads_them(broker):
    topics(broker, "--create", "--topic", "t")
    args = ["--topic", "s", "--topic", "t", "--num-records", 1, "--record-size", 9, "--record-size", 5, "--throughput", -1,
            "--producer-props", f"bootstrap.servers={broker.bootstrap}"]
    script("kafka-producer-perf-test", *args)
    java("org.apache.kafka.tools.ProducerPerformance", *args)
    assert [len(line) for line in get(broker, "t", 2)] == [5, 5]


def test_nobody_there(tmp_path):
    file = tmp_path / "client.properties"
    file.write_text("request.timeout.ms=500\ndefault.api.timeout.ms=500\n")
    soon = ["--command-config", file]
    assert "Error while executing topic command" in script("kafka-topics", "--bootstrap-server", "127.0.0.1:1", "--list", *soon, code=1)
    assert script.errors.startswith("WARN Connection to node -1 (127.0.0.1:1) could not be established")
    script("kafka-get-offsets", "--bootstrap-server", "127.0.0.1:1", *soon, code=1)
    assert "Error occurred" in script.errors
    script("kafka-broker-api-versions", "--bootstrap-server", "127.0.0.1:1", code=1)
    script("kafka-topics", "--bootstrap-server", "nonsense", "--list", code=1)


PROGRAM, SCRIPT = BUILD / "barnabas-tool", TOP / "bin" / "barnabas-tool.sh"


def test_shells_run_the_scripts_wherever_they_are(tmp_path):
    """As make install has them, as packages have them, in the tree, and by a link from elsewhere."""
    installed, package, tree, elsewhere = (tmp_path / name for name in ("installed", "package", "tree", "elsewhere"))
    for program in installed / "bin", package / "lib" / "barnabas", tree / "build":
        program.mkdir(parents=True)
        (program / "barnabas-tool").symlink_to(PROGRAM)
    for folder, script_of in (installed / "bin", "barnabas-tool.sh"), (package / "bin", "../lib/barnabas/barnabas-tool.sh"), \
                             (package / "share" / "barnabas" / "bin", "../../../lib/barnabas/barnabas-tool.sh"), (tree / "bin", "barnabas-tool.sh"):
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPT, folder / script_of)
        (folder / "kafka-topics.sh").symlink_to(script_of)
    elsewhere.mkdir()
    (elsewhere / "kafka-topics.sh").symlink_to(package / "share" / "barnabas" / "bin" / "kafka-topics.sh")
    help_text = script("kafka-topics", "--help")
    for folder in installed / "bin", package / "bin", package / "share" / "barnabas" / "bin", tree / "bin", elsewhere:
        path = folder / "kafka-topics.sh"
        for command, where in ([path], "/"), (["sh", path], "/"), (["bash", path], "/"), (["sh", path.name], folder), (["bash", path.name], folder), \
                              (["bash", path.name], tmp_path):
            env = {"PATH": f"{folder}:/usr/bin:/bin"}
            assert subprocess.run([*command, "--help"], cwd=where, env=env, capture_output=True, text=True).stdout == help_text, (command, where)
    strange = tmp_path / "strange" / "here"  # where somebody else has put programs, which are not run
    for program in strange, strange.parent, strange.parent / "build", strange.parent / "lib" / "barnabas":
        program.mkdir(parents=True, exist_ok=True)
        (program / "barnabas-tool").symlink_to("/bin/false")
    for folder in installed / "bin", package / "bin", package / "share" / "barnabas" / "bin", tree / "bin", elsewhere:
        done = subprocess.run(["bash", "kafka-topics.sh", "--help"], cwd=strange, env={"PATH": f"{folder}:/usr/bin:/bin"}, capture_output=True, text=True)
        assert done.stdout == help_text, folder
    (strange / "kafka-topics.sh").symlink_to("/bin/false")
    done = subprocess.run(["bash", "kafka-run-class.sh", "kafka.admin.TopicCommand", "--help"], cwd=strange, capture_output=True, text=True,
                          env={"PATH": f"{TOP / 'bin'}:/usr/bin:/bin", "BARNABAS_BUILD": str(BUILD)})
    assert done.stdout == help_text
    (tmp_path / "alone").mkdir()
    shutil.copy(SCRIPT, tmp_path / "alone" / "kafka-topics.sh")
    done = subprocess.run(["sh", "kafka-topics.sh"], cwd=tmp_path / "alone", env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True)
    assert done.returncode == 1 and "kafka-topics.sh: barnabas-tool is not built" in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_help_and_man_page_agree(name):
    help_text = script(name, "--help")
    assert len(help_text.splitlines()) > 3
    commands = re.search(r"\{(.*)\} \.\.\.$", help_text, re.M)
    texts = [help_text, *(script(name, command, "--help") for command in (commands[1].split(",") if commands else []))]
    found = [re.findall(r"^(?:  )?(--[a-z][^ ,]*)", text, re.M) for text in texts]
    assert all(len(options) == len(set(options)) for options in found)
    options = {option for options in found for option in options}
    page = subprocess.run(["man", "--warnings", "-l", BUILD / "man" / f"{name}.1"], capture_output=True, text=True, check=True)
    assert page.stderr == ""
    assert all(option in page.stdout for option in options)


SERVER_SCRIPTS = ["kafka-run-class", "kafka-server-start", "kafka-server-stop", "zookeeper-server-start", "zookeeper-server-stop"]


@pytest.mark.parametrize("name", SERVER_SCRIPTS)
def test_server_scripts_explain_themselves(name):
    assert script(name, "--help").startswith("USAGE: ")
    page = subprocess.run(["man", "--warnings", "-l", TOP / "man" / f"{name}.1"], capture_output=True, text=True, check=True)
    assert page.stderr == ""
    if not name.endswith("stop"):
        script(name, code=1)
        assert "USAGE" in script.errors


def test_zookeeper_is_started_with_what_the_environment_says(tmp_path):
    (tmp_path / "zoo.cfg").touch()
    (tmp_path / "java").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (tmp_path / "java").chmod(0o755)

    def options(*words, **env):
        done = subprocess.run([TOP / "bin" / "zookeeper-server-start.sh", *words, tmp_path / "zoo.cfg"], cwd=tmp_path, capture_output=True, text=True,
                              check=True, env={"PATH": f"{tmp_path}:/usr/bin:/bin", **env})
        return done.stdout.split("\n")[:-1]

    jar, end = "/usr/share/java/zookeeper.jar", ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(tmp_path / "zoo.cfg")]
    assert options() == ["-Xmx512m", "-cp", jar, *end]
    assert options(ZK_HEAP="1g") == ["-Xmx1g", "-cp", jar, *end]
    assert options(KAFKA_HEAP_OPTS="-Xms1g -Xmx2g", KAFKA_JMX_OPTS="-Dj", KAFKA_LOG4J_OPTS="-Dl", KAFKA_OPTS="-Da=*\n -Db=$HOME", LOG_DIR="a b") == [
        "-Xms1g", "-Xmx2g", "-Dj", "-Dkafka.logs.dir=a b", "-Dl", "-cp", jar, "-Da=*", "-Db=$HOME", *end]
    options("-daemon", LOG_DIR=str(tmp_path / "logs"))
    wait_until(lambda: (tmp_path / "logs" / "zookeeper.log").is_file() and end[0] in (tmp_path / "logs" / "zookeeper.log").read_text(), "its log")


@pytest.mark.parametrize("program", ["barnabas", "barnabas-tool"])
def test_no_function_of_ours_takes_the_place_of_a_librarys(program):
    """Libraries look for each other's functions in the program first: Cyrus' sasl_client_new must not be found there."""
    table = subprocess.run(["nm", "-D", "--defined-only", BUILD / program], capture_output=True, text=True, check=True).stdout
    assert [line for line in table.splitlines() if line.split()[1] == "T"] == []


# What each shell offers for the words, of which the last is being written; in zsh without the editor's own functions.
COMPLETE = {
    "bash": """source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _barnabas_tool "$1"; printf '%s\\n' "${COMPREPLY[@]}" """,
    "zsh": """compdef() { print -l names $@ >&2; }; compadd() { print -rl -- ${@[2,-1]} }; _files() { print -l *; }; _message() { }
_describe() { print -rl -- ${${(P)@[-1]}%%:*} }
source $0; words=("$@"); CURRENT=$#; _barnabas_tool""",
    "fish": "source $argv[1]; complete -C (string join ' ' -- $argv[2..-1]) | string replace -r '\\t.*' ''",
}


@pytest.fixture(params=list(COMPLETE))
def complete(request, tmp_path):
    def ask(*words):
        done = subprocess.run([shell, *flags, COMPLETE[shell], TOP / "contrib" / f"completion.{shell}", *words], cwd=tmp_path,
                              capture_output=True, text=True, timeout=60, env={"BARNABAS_BUILD": str(BUILD), "PATH": f"{TOP}/bin:{tmp_path}:/usr/bin:/bin",
                                                                              "HOME": str(tmp_path), "ASAN_OPTIONS": "detect_leaks=0"})
        ask.errors = done.stderr
        return {offer for offer in done.stdout.split("\n") if offer.startswith(words[-1])} - {""}

    shell = request.param
    flags = {"bash": ["--norc", "-c"], "zsh": ["-f", "-c"], "fish": ["--no-config", "-c"]}[shell]
    (tmp_path / "barnabas-tool").symlink_to(BUILD / "barnabas-tool")
    return ask


def test_shells_complete_options_and_topics(complete, broker):
    topics(broker, "--create", "--topic", "completed")
    words = ["kafka-topics.sh", "--bootstrap-server", broker.bootstrap]
    assert complete(*words, "--part") == {"--partitions", "--partition-size-limit-per-response"}
    assert complete(*words, "--topic", "comp") == {"completed"}
    assert complete("kafka-topics.sh", "--partitions", "-") == set()  # a number follows


def test_no_shell_runs_what_a_broker_calls_its_topics(complete, tmp_path):
    (tmp_path / "kafka-topics").write_text("#!/bin/sh\nprintf '%s\\n' 'plain' 'p$(touch done)' 'p`touch done`' '*'\n")
    (tmp_path / "kafka-topics").chmod(0o755)
    offers = complete("kafka-topics.sh", "--bootstrap-server", "x:1", "--topic", "p")
    assert "plain" in offers and len(offers) == 3
    assert not (tmp_path / "done").exists()


def test_shells_complete_commands_files_and_words(complete, tmp_path):
    (tmp_path / "client.properties").touch()
    assert complete("kafka-cluster.sh", "c") == {"cluster-id"}
    assert complete("kafka-cluster.sh", "unregister", "--i") == {"--id"}
    assert complete("kafka-features.sh", "--command-config", "cl") == {"client.properties"}
    assert complete("kafka-features.sh", "--bootstrap-server", "x:1", "upgrade", "--d") == {"--dry-run"}
    assert complete("kafka-leader-election.sh", "--election-type", "p") == {"preferred"}
    assert complete("kafka-no-such.sh", "--") == set()


# As the scripts of Kafka 3.9, 2.8 and 1.0 have them.
CLASSES = {
    "kafka.admin.AclCommand": "kafka-acls",
    "kafka.admin.BrokerApiVersionsCommand": "kafka-broker-api-versions",
    "kafka.admin.ConfigCommand": "kafka-configs",
    "kafka.admin.ConsumerGroupCommand": "kafka-consumer-groups",
    "kafka.admin.DelegationTokenCommand": "kafka-delegation-tokens",
    "kafka.admin.DeleteRecordsCommand": "kafka-delete-records",
    "kafka.admin.FeatureCommand": "kafka-features",
    "kafka.admin.LeaderElectionCommand": "kafka-leader-election",
    "kafka.admin.LogDirsCommand": "kafka-log-dirs",
    "kafka.admin.ReassignPartitionsCommand": "kafka-reassign-partitions",
    "kafka.admin.TopicCommand": "kafka-topics",
    "kafka.admin.ZkSecurityMigrator": "zookeeper-security-migration",
    "kafka.tools.ClusterTool": "kafka-cluster",
    "kafka.tools.ConsoleConsumer": "kafka-console-consumer",
    "kafka.tools.ConsoleProducer": "kafka-console-producer",
    "kafka.tools.ConsumerPerformance": "kafka-consumer-perf-test",
    "kafka.tools.DumpLogSegments": "kafka-dump-log",
    "kafka.tools.EndToEndLatency": "kafka-e2e-latency",
    "kafka.tools.GetOffsetShell": "kafka-get-offsets",
    "kafka.tools.JmxTool": "kafka-jmx",
    "kafka.tools.ReplicaVerificationTool": "kafka-replica-verification",
    "kafka.tools.StreamsResetter": "kafka-streams-application-reset",
    "org.apache.kafka.tools.ConsumerPerformance": "kafka-consumer-perf-test",
    "org.apache.kafka.tools.ClusterTool": "kafka-cluster",
    "org.apache.kafka.tools.DeleteRecordsCommand": "kafka-delete-records",
    "org.apache.kafka.tools.EndToEndLatency": "kafka-e2e-latency",
    "org.apache.kafka.tools.FeatureCommand": "kafka-features",
    "org.apache.kafka.tools.GetOffsetShell": "kafka-get-offsets",
    "org.apache.kafka.tools.JmxTool": "kafka-jmx",
    "org.apache.kafka.tools.LeaderElectionCommand": "kafka-leader-election",
    "org.apache.kafka.tools.LogDirsCommand": "kafka-log-dirs",
    "org.apache.kafka.tools.ProducerPerformance": "kafka-producer-perf-test",
    "org.apache.kafka.tools.ReplicaVerificationTool": "kafka-replica-verification",
    "org.apache.kafka.tools.StreamsResetter": "kafka-streams-application-reset",
    "org.apache.kafka.tools.TopicCommand": "kafka-topics",
    "org.apache.kafka.tools.TransactionsCommand": "kafka-transactions",
    "org.apache.kafka.tools.VerifiableConsumer": "kafka-verifiable-consumer",
    "org.apache.kafka.tools.VerifiableProducer": "kafka-verifiable-producer",
    "org.apache.kafka.tools.consumer.ConsoleConsumer": "kafka-console-consumer",
    "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand": "kafka-consumer-groups",
    "org.apache.kafka.tools.reassign.ReassignPartitionsCommand": "kafka-reassign-partitions",
    "org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka": "zookeeper-shell",
    "org.apache.zookeeper.server.quorum.QuorumPeerMain": "zookeeper-server-start",
    "kafka.Kafka": "kafka-server-start",
}


def test_a_class_is_the_tool_that_stands_for_it(tmp_path):
    for name, tool in CLASSES.items():
        assert script("kafka-run-class", "-loggc", name, "--help") == script(tool, "--help")
    assert set(NAMES) - {"barnabas-top"} <= set(CLASSES.values())
    script("kafka-run-class", "org.apache.kafka.connect.cli.ConnectStandalone", "worker.properties", code=1)
    assert "no tool of barnabas stands for the class org.apache.kafka.connect.cli.ConnectStandalone" in script.errors
    script("kafka-run-class", "kafka.tools.DumpLogSegments", "--files", tmp_path / "no.log", code=1)
    (tmp_path / "topics.out").write_text("before\n")
    subprocess.run([TOP / "bin" / "kafka-run-class.sh", "-daemon", "-name", "topics", "kafka.admin.TopicCommand", "--help"],
                   check=True, env={"BARNABAS_BUILD": str(BUILD), "PATH": "/usr/bin:/bin", "LOG_DIR": str(tmp_path)})
    wait_until(lambda: (tmp_path / "topics.out").read_text() == "before\n" + script("kafka-topics", "--help"),
               "what it prints, in a file, behind what was there")


# ---- Producer and consumer ----


def test_lines_there_and_back(any_broker):
    topics(any_broker, "--create", "--topic", "t", "--partitions", 2)
    lines = [f"line {i}" for i in range(1000)]
    put(any_broker, "t", lines)
    assert sorted(get(any_broker, "t", 1000)) == sorted(lines)
    assert script.errors == "Processed a total of 1000 messages\n"


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_producer_compresses(broker, codec):
    topics(broker, "--create", "--topic", "t")
    put(broker, "t", ["word " * 50] * 20, "--compression-codec", codec)
    assert len(get(broker, "t", 20)) == 20
    assert f"compresscodec: {codec} " in dump(broker, "t-0")


def test_keys_headers_and_nulls_as_apache_reads_them(broker):
    topics(broker, "--create", "--topic", "t")
    put(broker, "t", ["h1:v1,h2:NUL|k#v", "NUL|NUL#NUL", "a:b|key#x#y"], "--property", "parse.key=true", "--property", "parse.headers=true",
        "--property", "key.separator=#", "--property", "headers.delimiter=|", "--property", "null.marker=NUL", "--sync")
    prints = [x for what in ("timestamp", "partition", "offset", "headers", "key", "value") for x in ("--property", f"print.{what}=true")]
    ours = get(broker, "t", 3, *prints, "--property", "null.literal=<null>")
    theirs = java("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", broker.bootstrap, "--topic", "t", "--from-beginning",
                  "--max-messages", 3, *prints, "--property", "null.literal=<null>").splitlines()
    assert ours == theirs[:3]
    assert ours[0].endswith("Partition:0\tOffset:0\th1:v1,h2:<null>\tk\tv")
    assert ours[1].endswith("NO_HEADERS\t<null>\t<null>")


def test_blanks_in_separators_count(broker, tmp_path):
    """Of a client's settings Java drops what is around them, of those of readers and formatters it does not."""
    file = tmp_path / "reader.properties"
    file.write_text("parse.key=\\ TRUE\\ \nkey.separator=\\ \n")
    parse = ["--property", "parse.key= true ", "--property", "key.separator= ", "--property", "null.marker=  "]
    headers = ["--property", "parse.headers=true", "--property", "headers.separator= ", "--property", "headers.key.separator=\t", "--property", "headers.delimiter=|"]
    for topic, produce in ("ours", lambda *args, stdin: script("kafka-console-producer", *args, stdin=stdin)), \
            ("theirs", lambda *args, stdin: java("kafka.tools.ConsoleProducer", *args, stdin=stdin)):
        topics(broker, "--create", "--topic", topic)
        b = ["--bootstrap-server", broker.bootstrap, "--topic", topic, "--sync"]
        produce(*b, "--reader-config", str(file), stdin="k v w\n v\n")
        produce(*b, *parse, stdin="k v\nk   \n")
        produce(*b, *headers, stdin="a\tb c\td|v\n")
        produce(*b, "--property", "parse.key=true", "--property", "key.separator=", stdin="kv\n")
    prints = ["--property", "print.key=true", "--property", "print.headers= true", "--property", "key.separator= ", "--property", "line.separator=;\n\n",
              "--property", "headers.separator=\t", "--property", "null.literal= "]
    ours, theirs = get(broker, "ours", 6, *prints), get(broker, "theirs", 6, *prints)
    assert ours == theirs
    assert [x for x in ours if x] == ["NO_HEADERS k v w;", "NO_HEADERS  v;", "NO_HEADERS k v;", "NO_HEADERS k  ;", "a:b\tc:d   v;", "NO_HEADERS  kv;"]
    assert ours[1::2] == [""] * 6
    read = java("org.apache.kafka.tools.consumer.ConsoleConsumer", "--from-beginning", "--max-messages", 6, *prints, "--bootstrap-server", broker.bootstrap,
                "--topic", "theirs")
    assert [x for x in ours if x] == [x for x in read.splitlines() if x][:6]


def test_separators_of_headers_that_are_empty_or_come_last(broker):
    """As Java's split() takes them apart: an empty one stands behind each character."""
    topics(broker, "--create", "--topic", "ours")
    topics(broker, "--create", "--topic", "theirs")
    lines = ["a:b,,|1", ",|2", "|3", "a:b,,c:d|4", ":é|5", "a:|6"]
    for more in [], ["--property", "headers.separator="], ["--property", "headers.key.separator="], ["--property", "null.marker=a", "--property", "ignore.error=false"]:
        for line in lines:
            args = ["--property", "parse.headers=true", "--property", "headers.delimiter=|", *more]
            for ignore in [], ["--property", "ignore.error=true"]:
                b = ["--bootstrap-server", broker.bootstrap, *ignore, *args, "--topic"]
                theirs = run_tool("kafka.tools.ConsoleProducer", *b, "theirs", stdin=line + "\n")
                script("kafka-console-producer", *b, "ours", stdin=line + "\n", code=theirs.returncode)
    prints = ["--property", "print.headers=true"]
    count = int(script("kafka-get-offsets", "--bootstrap-server", broker.bootstrap, "--topic", "theirs").split(":")[2])
    assert script("kafka-get-offsets", "--bootstrap-server", broker.bootstrap, "--topic", "ours") == f"ours:0:{count}\n"
    assert get(broker, "ours", count, *prints) == get(broker, "theirs", count, *prints)


def test_producer_reports_lines_without_separator(broker):
    topics(broker, "--create", "--topic", "t")
    args = ["--bootstrap-server", broker.bootstrap, "--topic", "t", "--property", "parse.key=true"]
    script("kafka-console-producer", *args, stdin="a\tb\nno key here\n", code=1)
    assert "No key separator found on line number 2: 'no key here'" in script.errors
    script("kafka-console-producer", *args, "--property", "ignore.error=true", stdin="no key here\n")
    assert get(broker, "t", 2, "--property", "print.key=true") == ["a\tb", "null\tno key here"]


def test_a_line_that_is_too_large_does_not_keep_the_others_back(broker):
    topics(broker, "--create", "--topic", "t")
    args = ["--bootstrap-server", broker.bootstrap, "--topic", "t"]
    lines = "one\n" + "x" * 1048577 + "\n" + "three\n" + "y" * 1000100 + "\n"
    script("kafka-console-producer", *args, stdin=lines)
    said = "ERROR Error when sending message to topic t with key: null, value: 1048577 bytes with error:"
    assert script.errors.count(said) == 1
    java("kafka.tools.ConsoleProducer", *args, stdin=lines)
    assert [len(x) for x in get(broker, "t", 6)] == [3, 5, 1000100] * 2
    script("kafka-console-producer", *args, "--sync", stdin=lines, code=1)
    assert "The message is larger than max.request.size" in script.errors
    assert get(broker, "t", 7)[6] == "one"
    perf = ["kafka-producer-perf-test", "--topic", "t", "--num-records", 2, "--throughput", -1, "--producer-props", f"bootstrap.servers={broker.bootstrap}"]
    assert script(*perf, "--record-size", 1048577).startswith("0 records sent")
    assert script.errors.count("too large") == 2
    assert script(*perf, "--record-size", 1048000).startswith("2 records sent")


def test_keys_go_where_java_sends_them(broker):
    topics(broker, "--create", "--topic", "ours", "--partitions", 7)
    topics(broker, "--create", "--topic", "theirs", "--partitions", 7)
    lines = [f"key{i}:value" for i in range(200)]
    keyed = ["--property", "parse.key=true", "--property", "key.separator=:"]
    put(broker, "ours", lines, *keyed)
    java("kafka.tools.ConsoleProducer", "--bootstrap-server", broker.bootstrap, "--topic", "theirs", *keyed, stdin="".join(x + "\n" for x in lines))
    where = ["--property", "print.partition=true", "--property", "print.key=true"]
    assert sorted(get(broker, "ours", 200, *where)) == sorted(get(broker, "theirs", 200, *where))


def test_consumer_starts_where_it_is_told(broker):
    topics(broker, "--create", "--topic", "t")
    put(broker, "t", range(10))
    args = ["--bootstrap-server", broker.bootstrap, "--topic", "t", "--partition", 0]
    assert script("kafka-console-consumer", *args, "--offset", 7, "--max-messages", 3).split() == ["7", "8", "9"]
    assert script("kafka-console-consumer", *args, "--offset", "earliest", "--max-messages", 2).split() == ["0", "1"]
    assert script("kafka-console-consumer", *args, "--timeout-ms", 500) == ""
    script("kafka-console-consumer", *args, "--offset", "-3", code=1)
    assert "The provided offset value '-3' is incorrect" in script.errors


def test_a_topic_that_cannot_be_consumed(make_broker):
    broker = make_broker(**{"auto.create.topics.enable": "false", "authorizer.class.name": "kafka.security.authorizer.AclAuthorizer",
                            "allow.everyone.if.no.acl.found": "true"})
    topics(broker, "--create", "--topic", "closed")
    script("kafka-acls", "--bootstrap-server", broker.bootstrap, "--add", "--allow-principal", "User:bob", "--operation", "All", "--topic", "closed")
    for name, said in ("closed", "Not authorized to access topics: [closed]"), ("no name", "Invalid topics: [no name]"), ("x" * 600, "Invalid topics"):
        for more in [], ["--partition", 0]:
            assert script("kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--topic", name, *more) == ""
            assert f"ERROR Error processing message, terminating consumer process: {said}" in script.errors
            assert "Processed a total of 0 messages" in script.errors
    script("kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--topic", "later", "--timeout-ms", 1500)
    assert script.errors.count("WARN Error while fetching metadata : {later=UNKNOWN_TOPIC_OR_PARTITION}") == 1


def test_numbers_are_numbers(broker, tmp_path):
    there = ["--bootstrap-server", broker.bootstrap]

    def refused(name, *args, stdin=""):
        return script(name, *there, *args, code=1, stdin=stdin) + script.errors
    for option in "partitions", "replication-factor":
        for number in "1O0", "1x", "4294967297", " 1", "", "0x1":
            assert f"Cannot parse argument '{number}' of option {option}" in refused("kafka-topics", "--create", "--topic", "t", f"--{option}={number}")
    assert topics(broker, "--list").strip() == ""
    topics(broker, "--create", "--topic", "t", "--partitions", "+2")
    assert "Malformed time argument 9999999999999999999" in refused("kafka-get-offsets", "--time", "9999999999999999999")
    assert "Invalid url in bootstrap.servers: x:+1" in script("kafka-topics", "--bootstrap-server", "x:+1", "--list", code=1) + script.errors
    for key, number, kind in ("max.block.ms", "1s", "LONG"), ("retries", "4294967297", "INT"), ("buffer.memory", "32M", "LONG"):
        out = refused("kafka-console-producer", "--topic", "t", "--producer-property", f"{key}={number}")
        assert f"Invalid value {number} for configuration {key}: Not a number of type {kind}" in out
    assert "Not a number of type LONG" in refused("kafka-console-consumer", "--topic", "t", "--consumer-property", "metadata.max.age.ms=5m")
    zk = broker.zookeeper.connect
    assert 'For input string: "1x"' in script("zookeeper-shell", zk, "delete", "-v", "1x", "/brokers/topics/t", code=1) + script.errors
    assert "t" in topics(broker, "--list")


def test_consumer_group_goes_on_where_it_was(any_broker):
    topics(any_broker, "--create", "--topic", "t")
    put(any_broker, "t", range(5))
    assert get(any_broker, "t", 5, "--group", "g") == ["0", "1", "2", "3", "4"]
    put(any_broker, "t", range(5, 8))
    assert get(any_broker, "t", 3, "--group", "g") == ["5", "6", "7"]


def test_consumer_of_a_pattern(broker):
    for name in ("log-a", "log-b", "other"):
        topics(broker, "--create", "--topic", name)
        put(broker, name, [name])
    out = script("kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--include", "log-.", "--from-beginning", "--max-messages", 2,
                 "--timeout-ms", 20000)
    assert sorted(out.split()) == ["log-a", "log-b"]


def test_a_pattern_is_javas_and_leaves_out_internal_topics(broker):
    for name in ("log-a", "log-b", "other"):
        topics(broker, "--create", "--topic", name)
        put(broker, name, [name])
    get(broker, "other", 1, "--group", "g")  # which makes __consumer_offsets

    def matched(pattern, *args):
        args = ["--bootstrap-server", broker.bootstrap, "--include", pattern, "--from-beginning", *args]
        return sorted(script("kafka-console-consumer", *args).splitlines())

    for pattern, count, names in (".*", 3, ["log-a", "log-b", "other"]), ("log-(?!a).", 1, ["log-b"]), ("log-a,log-b", 0, []), ("log", 0, []), ("\\Qlog-a\\E|log-[d-z]", 1, ["log-a"]):
        args = ["--max-messages", count] if count else ["--timeout-ms", 1500]
        assert matched(pattern, *args) == names, pattern
        theirs = java("org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", broker.bootstrap, "--include", pattern,
                      "--from-beginning", *args)
        assert sorted(x for x in theirs.splitlines() if x in ("log-a", "log-b", "other")) == names, pattern
    assert len(matched(".*", "--max-messages", 4, "--consumer-property", "exclude.internal.topics=false")) > 3
    script("kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--include", "log-(", code=1)
    assert "log-( is an invalid regex: " in script.errors


@pytest.mark.parametrize("more", [[], ["--from-beginning", "--group", "g"]], ids=["alone", "group"])
def test_consumer_of_a_pattern_takes_topics_that_come_later(broker, more):
    consumer = subprocess.Popen([BUILD / "barnabas-tool", "kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--include", "log-.",
                                 "--consumer-property", "metadata.max.age.ms=200", "--consumer-property", "auto.commit.interval.ms=100", *more],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for name in ("other", "log-a", "log-b"):
        topics(broker, "--create", "--topic", name)
        put(broker, name, [name])
        if name != "other":
            assert consumer.stdout.readline() == f"{name}\n"
    consumer.send_signal(signal.SIGINT)
    assert "Processed a total of 2 messages" in consumer.communicate(timeout=30)[1]


LOG_A = {"Name": "log-a", "Partitions": [{"PartitionIndex": i, "LeaderId": 7, "ReplicaNodes": [7], "IsrNodes": [7]} for i in range(2)]}
UNSURE = {"Name": "log-a", "ErrorCode": 29}
GONE = {"Name": "log-a", "ErrorCode": 3}


@pytest.mark.parametrize("answers, whole", [([[]], False), ([[UNSURE]] * 3, False), ([[], [UNSURE], [LOG_A], []], False), ([[], []], True), ([[GONE], [UNSURE], []], True)])
def test_consumer_of_a_pattern_misses_a_topic_only_if_it_stays_away(answers, whole):
    """One that the cluster does not tell of for a moment is read from where it was; one that has gone and come back, from its beginning."""
    told, places = [*answers], []

    def metadata(request):
        everything = request["Topics"] is None  # by the tool, and not by its library
        begun = len(places) >= 2
        if everything and begun:
            one.asked.append("all topics")
        return {"Brokers": one.brokers(), "ControllerId": 7, "Topics": told.pop(0) if told and everything and begun else [LOG_A]}

    def partitions_of(request, make):
        return [{**({"Name": t["Name"]} if "Name" in t else {"Topic": t["Topic"]}), "Partitions": [make(p) for p in t["Partitions"]]} for t in request["Topics"]]

    def list_offsets(request):
        places.extend(p["Timestamp"] for t in request["Topics"] for p in t["Partitions"])
        return {"Topics": partitions_of(request, lambda p: {"PartitionIndex": p["PartitionIndex"], "Timestamp": -1, "Offset": 5 if p["Timestamp"] == -1 else 0})}

    def fetch(request):
        return {"Responses": partitions_of(request, lambda p: {"PartitionIndex": p["Partition"], "HighWatermark": 5, "Records": b""})}

    with Pretender(Produce=(3, None), Fetch=(4, fetch), ListOffsets=(1, list_offsets)) as one:
        one.answers["Metadata"] = 1, metadata
        consumer = subprocess.Popen([BUILD / "barnabas-tool", "kafka-console-consumer", "--bootstrap-server", one.bootstrap, "--include", "log-.",
                                     "--consumer-property", "metadata.max.age.ms=200"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_until(lambda: one.asked.count("all topics") > len(answers) + 3, "it has been told of the topic again")
        if whole:
            wait_until(lambda: places.count(-2) == 2, "it reads both partitions from their beginnings")
        consumer.send_signal(signal.SIGINT)
        assert "Processed a total of 0 messages" in consumer.communicate(timeout=30)[1]
        assert places == [-1, -1] + [-2, -2] * whole


def test_consumer_ends_on_a_signal(broker):
    topics(broker, "--create", "--topic", "t")
    put(broker, "t", ["one"])
    consumer = subprocess.Popen([BUILD / "barnabas-tool", "kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--topic", "t",
                                 "--from-beginning"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert consumer.stdout.readline() == "one\n"
    consumer.send_signal(signal.SIGINT)
    assert "Processed a total of 1 messages" in consumer.communicate(timeout=30)[1]


@pytest.mark.parametrize("more", [[], ["--group", "g"]], ids=["alone", "group"])
def test_consumer_ends_also_when_what_it_has_read_is_deleted(broker, more):
    topics(broker, "--create", "--topic", "log-a")
    put(broker, "log-a", ["one"])
    consumer = subprocess.Popen([BUILD / "barnabas-tool", "kafka-console-consumer", "--bootstrap-server", broker.bootstrap, "--include", "log-.", *more,
                                 "--from-beginning", "--consumer-property", "metadata.max.age.ms=200"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert consumer.stdout.readline() == "one\n"
    topics(broker, "--delete", "--topic", "log-a")
    topics(broker, "--create", "--topic", "log-b")
    put(broker, "log-b", ["two"])
    assert consumer.stdout.readline() == "two\n"  # so that it has looked again
    consumer.send_signal(signal.SIGINT)
    assert "Processed a total of 2 messages" in consumer.communicate(timeout=30)[1]
    assert consumer.returncode == 0


def test_number_formats(broker):
    topics(broker, "--create", "--topic", "t")
    put(broker, "t", ["\0\0\0\x05"])
    assert get(broker, "t", 1, "--value-deserializer", "org.apache.kafka.common.serialization.IntegerDeserializer") == ["5"]


def test_properties_by_their_java_names(broker, tmp_path):
    topics(broker, "--create", "--topic", "t")
    config = tmp_path / "producer.properties"
    config.write_text("compression.type=zstd\nmax.request.size=2000000\nbuffer.memory=33554432\nacks=1\n")
    put(broker, "t", ["x" * 200], "--producer.config", config, "--producer-property", "send.buffer.bytes=131072")
    assert script.errors == ""
    assert "compresscodec: zstd" in dump(broker, "t-0")
    for wide in "send.buffer.bytes=-1", "receive.buffer.bytes=-1", "connections.max.idle.ms=-1", "max.request.size=2147483647", "batch.size=0":
        put(broker, "t", ["z"], "--producer-property", wide)
        assert script.errors == "", wide
    assert len(get(broker, "t", 6, "--consumer-property", "receive.buffer.bytes=-1", "--consumer-property", "send.buffer.bytes=-1",
                   "--consumer-property", "max.poll.interval.ms=2147483647", "--consumer-property", "fetch.max.bytes=2147483647",
                   "--consumer-property", "exclude.internal.topics=true")) == 6
    assert script.errors == "Processed a total of 6 messages\n"
    script("kafka-console-producer", "--bootstrap-server", broker.bootstrap, "--topic", "t", "--producer-property", "send.buffer.bytes=-2", code=1)
    for wide in "fetch.max.bytes=524288", "fetch.max.bytes=10", "max.poll.interval.ms=30000", "reconnect.backoff.max.ms=50", "reconnect.backoff.ms=20000":
        assert len(get(broker, "t", 6, "--consumer-property", wide)) == 6
        assert script.errors == "Processed a total of 6 messages\n", wide
    for wide in "reconnect.backoff.max.ms=50", "reconnect.backoff.ms=20000", "retry.backoff.ms=2000", "linger.ms=200000":
        put(broker, "t", ["z"], "--producer-property", wide)
        assert script.errors == "", wide
    out = script("kafka-producer-perf-test", "--topic", "t", "--num-records", 10, "--record-size", 10, "--throughput", -1, "--transaction-duration-ms", 1000,
                 "--producer-props", f"bootstrap.servers={broker.bootstrap}")
    assert out.startswith("10 records sent")
    put(broker, "t", ["y"], "--producer-property", "no.such.key=1")
    assert "The configuration 'no.such.key' was supplied but isn't a known config" in script.errors


def test_properties_of_the_command_line_may_stand_somewhere_else(broker, tmp_path):
    """Variables count for the file and the options together, whichever of both names the provider."""
    secrets, config = tmp_path / "secrets", tmp_path / "config"
    secrets.write_text("codec=zstd\nreset=earliest\nagain=${vault:reset}\n")
    providers = ["config.providers=vault", "config.providers.vault.class=org.apache.kafka.common.config.provider.FileConfigProvider"]
    config.write_text("\n".join([*providers, f"client.id=${{vault:{secrets}:again}}"]))

    def each(option, *pairs):
        return [word for pair in pairs for word in (option, pair)]
    topics(broker, "--create", "--topic", "t")
    put(broker, "t", ["x" * 200], "--producer.config", config, "--producer-property", f"compression.type=${{vault:{secrets}:codec}}")
    put(broker, "t", ["x" * 200], *each("--producer-property", f"compression.type=${{vault:{secrets}:codec}}", *providers))
    script("kafka-producer-perf-test", "--topic", "t", "--num-records", 1, "--record-size", 200, "--throughput", -1, "--producer.config", config,
           "--producer-props", f"bootstrap.servers={broker.bootstrap}", f"compression.type=${{vault:{secrets}:codec}}")
    assert dump(broker, "t-0").count("compresscodec: zstd") == 3
    args = ["--bootstrap-server", broker.bootstrap, "--topic", "t", "--max-messages", 3, "--consumer.config", config]
    out = script("kafka-console-consumer", *args, "--consumer-property", f"auto.offset.reset=${{vault:{secrets}:reset}}")
    assert len(out.splitlines()) == 3
    script("kafka-console-consumer", *args, "--consumer-property", f"group.id=${{vault:{secrets}:none}}", code=1)
    assert "group.id" in script.errors and "stands for nothing" in script.errors


def test_a_consumer_without_an_offset_ends_where_there_is_no_reset(broker):
    topics(broker, "--create", "--topic", "t")
    put(broker, "t", ["one"])
    args = ["--bootstrap-server", broker.bootstrap, "--topic", "t", "--consumer-property", "auto.offset.reset=none"]
    for group in [], ["--group", "g"]:
        assert script("kafka-console-consumer", *args, *group) == ""
        assert script.errors.startswith("ERROR Error processing message, terminating consumer process: ")
    script("kafka-console-consumer", *args, "--from-beginning", code=1)
    assert get(broker, "t", 1, "--group", "g") == ["one"]
    put(broker, "t", ["two"])
    assert script("kafka-console-consumer", *args, "--group", "g", "--max-messages", 1) == "two\n"


# ---- The others, beside Apache's ----


def test_offsets_as_apache_prints_them(any_broker):
    b = any_broker
    topics(b, "--create", "--topic", "t", "--partitions", 3)
    topics(b, "--create", "--topic", "u")
    put(b, "t", range(30))
    put(b, "u", range(7))
    for args in ([], ["--topic", "t"], ["--topic", "t", "--partitions", "0,2"], ["--time", "-2"], ["--time", "max-timestamp"],
                 ["--topic-partitions", "t:1-3,u"], ["--topic-partitions", ":-1"], ["--time", str(int(time.time() * 1000) + 10**7)]):
        args = ["--bootstrap-server", b.bootstrap, *args]
        assert script("kafka-get-offsets", *args) == java("org.apache.kafka.tools.GetOffsetShell", *args), args
    script("kafka-get-offsets", "--bootstrap-server", b.bootstrap, "--topic", "none", code=1)
    assert "Could not match any topic-partitions" in script.errors
    script("kafka-get-offsets", "--bootstrap-server", b.bootstrap, "--time", "noon", code=1)
    assert "Malformed time argument noon" in script.errors


def test_api_versions_as_apache_prints_them(any_broker):
    args = ["--bootstrap-server", any_broker.bootstrap]
    assert script("kafka-broker-api-versions", *args) == java("kafka.admin.BrokerApiVersionsCommand", *args)


def dump(broker, folder, suffix="log", *args):
    file = sorted((broker.data / folder).glob(f"*.{suffix}"))[0]
    return script("kafka-dump-log", "--files", file, *args)


def test_dump_as_apache_prints_it(broker):
    topics(broker, "--create", "--topic", "t", "--config", "index.interval.bytes=1000")
    for codec in ("none", "lz4", "gzip"):
        put(broker, "t", [f"k{i}:{'v' * 100}{i}" for i in range(300)], "--property", "parse.key=true", "--property", "key.separator=:",
            "--compression-codec", codec, "--batch-size", "1000")
    broker.stop()
    for suffix in ("log", "index", "timeindex", "snapshot"):
        for args in ([], ["--print-data-log"], ["--deep-iteration"], ["--index-sanity-check"], ["--verify-index-only"],
                     ["--print-data-log", "--skip-record-metadata"], ["--max-bytes", "5000"]):
            file = sorted((broker.data / "t-0").glob(f"*.{suffix}"))[0]
            assert dump(broker, "t-0", suffix, *args) == java("kafka.tools.DumpLogSegments", "--files", file, *args), (suffix, args)


def test_dump_reports_a_damaged_segment(broker):
    topics(broker, "--create", "--topic", "t")
    put(broker, "t", ["x" * 100])
    broker.stop()
    file = broker.data / "t-0" / "00000000000000000000.log"
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(bytes(data) + b"tail")
    out = dump(broker, "t-0")
    assert "isvalid: false" in out and "Found 4 invalid bytes at the end" in out
    script("kafka-dump-log", "--files", "/nonexistent.log", code=1)


def test_perf_tools(any_broker):
    topics(any_broker, "--create", "--topic", "t")
    out = script("kafka-producer-perf-test", "--topic", "t", "--num-records", 20000, "--record-size", 100, "--throughput", -1,
                 "--producer-props", f"bootstrap.servers={any_broker.bootstrap}", "acks=all")
    assert out.startswith("20000 records sent, ") and "ms 99.9th" in out
    args = ["--bootstrap-server", any_broker.bootstrap, "--topic", "t", "--messages", 20000]
    header, figures = script("kafka-consumer-perf-test", *args).splitlines()
    assert header.startswith("start.time, end.time, data.consumed.in.MB") and len(figures.split(", ")) == len(header.split(", "))
    assert float(figures.split(", ")[4]) == 20000


def test_zookeeper_shell(broker):
    def shell(*words, **kw):
        out = script("zookeeper-shell", broker.zookeeper.connect, *words, **kw)
        return out.split("path:null\n", 1)[1]

    assert shell("ls", "/brokers/ids") == "[0]\n"
    assert json.loads(shell("get", "/brokers/ids/0"))["port"] == broker.port
    assert shell("create", "/mine", "hello") == "Created /mine\n"
    assert shell("get", "/mine") == "hello\n"
    assert "dataVersion = 0" in shell("stat", "/mine")
    shell("set", "/mine", "other words")
    assert shell("get", "-s", "/mine").startswith("other words\ncZxid = ")
    shell("create", "/mine/child")
    shell("delete", "/mine", code=1)
    assert "Node not empty: /mine" in script.errors
    shell("deleteall", "/mine")
    shell("get", "/mine", code=1)
    assert "Node does not exist: /mine" in script.errors
    assert script("zookeeper-shell", broker.zookeeper.connect, stdin="ls /brokers/ids\nget /controller_epoch\n").endswith("[0]\n1\n")


SHELL = "org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka"
SHELL_WORDS = [
    ["create", "/open", "data"],
    ["create", "/x", "data", "world:anyone:cdrwa,digest:u:+cxJ4vWfMVuqGlzjWvRIC0IbnuQ=:r"],
    ["getAcl", "/x"],
    ["getAcl", "-s", "/x"],
    ["setAcl", "-s", "/x", "world:anyone:arw"],
    ["setAcl", "-v", "7", "/x", "world:anyone:r"],
    ["getAcl", "/x"],
    ["setAcl", "/x"],
    ["setAcl", "/x", "bad"],
    ["getAcl", "/none"],
    ["create", "/x/y"],
    ["setAcl", "-R", "/x", "world:anyone:arwd"],
    ["getAcl", "/x/y"],
    ["delete", "/x/y"],
    ["create", "/locked", "data", "world:anyone:r"],
    ["getAcl", "/locked"],
    ["set", "/locked", "more"],
    ["create", "/bad", "data", "nothing:anyone:r"],
    ["create", "/bad", "data", "rubbish"],
    ["get", "/bad"],
    ["set", "-s", "/x", "new"],
    ["create", "-s", "-e", "/n", "d"],
    ["create", "-es", "/n", "d"],
    ["create", "-s", "/open/", "d"],
    ["create", "-q", "/bad", "d"],
    ["delete", "-v", "7", "/x"],
    ["delete", "-v"],
    ["delete", "/x", "-v", "1"],
    ["ls", "/open/"],
    ["ls", "x"],
    ["ls", "/a/../b"],
]


def told(out, err):
    """All that a shell says, but for what changes each time, and what log it keeps of its own."""
    lines = [x for x in (out.split("path:null\n", 1)[-1] + err).splitlines() if x and not x.startswith(("Connecting to", "WATCHER", "WatchedEvent", "\tat", "SLF4J", "log4j", "KeeperErrorCode"))]
    return [re.sub(r"(Zxid|time) = .*", r"\1", x.replace(" : ", ": ").split("Exception: ")[-1]) for x in lines]


def test_the_zookeeper_shell_does_what_apaches_does(ensemble):
    ours, theirs_part = ensemble.chroot(), ensemble.chroot()
    ours.client.ensure_path("/")
    theirs_part.client.ensure_path("/")
    for words in SHELL_WORDS:
        theirs = run_tool(SHELL, "-server", theirs_part.connect, *words)
        out = script("zookeeper-shell", ours.connect, *words, code=theirs.returncode)
        mine, his = told(out, script.errors), told(theirs.stdout, theirs.stderr)
        same = his[:1] == mine[:1] if theirs.returncode else his == mine
        assert same, (words, mine, his)


def test_the_zookeeper_shell_does_nothing_that_it_was_not_told(zookeeper):
    def shell(*words, **kw):
        return script("zookeeper-shell", zookeeper.connect, *words, **kw)

    zookeeper.client.create("/here", makepath=True)
    for words in (["create", "-c", "/x", "d"], ["create", "-t", "5", "/x", "d"], ["create", "/x", "d", "world:anyone:r", "more"], ["create", "/x", "d", "world:anyone:rx"],
                  ["create", "x", "d"], ["ls", "-w", "/here"], ["set", "/here", "a", "b"], ["delete", "/here", "7"], ["setAcl", "/here", "world:anyone:r", "more"]):
        shell(*words, code=1)
        assert script.errors and "ERROR" not in script.errors, words
    shell(stdin='create /z {"a": 1}\n', code=1)
    shell(stdin="get" + " /here" * 20 + "\n", code=1)
    assert "more than 16 words" in script.errors
    assert zookeeper.client.get_children("/") == ["here"] and zookeeper.client.get("/here")[1].version == 0
    zookeeper.client.set("/here", b"a\0b")
    assert shell("get", "/here").endswith("\na\0b\n")


# ---- What is no use to go on with ----


LIBRDKAFKA_TOOLS = [
    ("kafka-console-producer", ["--topic", "t", "--bootstrap-server"]),
    ("kafka-console-consumer", ["--topic", "t", "--bootstrap-server"]),
    ("kafka-consumer-perf-test", ["--topic", "t", "--messages", 1, "--bootstrap-server"]),
    ("kafka-verifiable-producer", ["--topic", "t", "--bootstrap-server"]),
    ("kafka-verifiable-consumer", ["--topic", "t", "--group-id", "g", "--bootstrap-server"]),
]


@pytest.mark.parametrize("tool, args", LIBRDKAFKA_TOOLS, ids=lambda x: x if isinstance(x, str) else "")
def test_an_address_that_is_none_ends_a_client(tool, args):
    for address, why in (("localhost", "Invalid url in bootstrap.servers: localhost"), ("localhost:x", "Invalid url in bootstrap.servers: localhost:x"),
                         ("localhost:99999", "Invalid port in bootstrap.servers: localhost:99999"), (",", "No resolvable bootstrap urls given in bootstrap.servers"),
                         ("no-such-host.invalid:1", "No resolvable bootstrap urls given in bootstrap.servers")):
        script(tool, *args, address, code=1)
        assert why in script.errors, address


def test_a_producer_without_an_address_ends():
    script("kafka-producer-perf-test", "--topic", "t", "--num-records", 1, "--record-size", 1, "--throughput", -1, "--producer-props", "acks=1", code=1)
    assert 'Missing required configuration "bootstrap.servers" which has no default value.' in script.errors


def test_an_address_may_have_a_protocol(broker):
    topics(broker, "--create", "--topic", "t")
    script("kafka-console-producer", "--bootstrap-server", f"PLAINTEXT://{broker.bootstrap}", "--topic", "t", stdin="x\n")
    assert script("kafka-get-offsets", "--bootstrap-server", f"PLAINTEXT://{broker.bootstrap}", "--topic", "t") == "t:0:1\n"


def test_acks_that_are_none_end_a_producer(broker):
    topics(broker, "--create", "--topic", "t")
    args = ["--bootstrap-server", broker.bootstrap, "--topic", "t", "--request-required-acks", 7]
    script("kafka-console-producer", *args, stdin="x\n", code=1)
    assert "Invalid value 7 for configuration acks: String must be one of: all, -1, 0, 1" in script.errors
    assert run_tool("kafka.tools.ConsoleProducer", *map(str, args), stdin="x\n").returncode == 1


def test_consumer_perf_fails_with_its_consumer(broker):
    args = ["--bootstrap-server", broker.bootstrap, "--topic", "bad topic", "--messages", 1, "--timeout", 3_600_000]  # which nobody waits for
    script("kafka-consumer-perf-test", *args, code=1)
    assert "bad topic" in script.errors


def test_consumer_perf_of_a_cooperative_group(broker, tmp_path):
    """Whose partitions come and go one by one."""
    topics(broker, "--create", "--topic", "t", "--partitions", 2)
    put(broker, "t", ["x"] * 20)
    config = tmp_path / "consumer.properties"
    config.write_text("partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor\n")
    out = script("kafka-consumer-perf-test", "--bootstrap-server", broker.bootstrap, "--topic", "t", "--messages", 20, "--consumer.config", config)
    assert out.splitlines()[-1].split(", ")[4] == "20" and "WARN" not in out and script.errors == ""


def test_payloads_of_any_bytes(broker, tmp_path):
    payloads = [b"a\xffb", b"with\0nul", b"third"]
    file = tmp_path / "payloads"
    for content, number in ((b"\n".join(payloads) + b"\n\n", 3), (b"\n\n", None)):
        file.write_bytes(content)
        out = script("kafka-producer-perf-test", "--topic", "t", "--num-records", 100, "--payload-file", file, "--throughput", -1, "--producer-props",
                     f"bootstrap.servers={broker.bootstrap}", code=0 if number else 1)
        assert f"Number of messages read: {number or 0}\n" in out
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["t"])
    assert {m.value() for m in consumer.consume(100, 20)} == set(payloads)
    consumer.close()


def test_a_slow_reader_does_not_end_a_consumer(broker):
    """Who does not poll for long is thrown out of the group, and comes back."""
    topics(broker, "--create", "--topic", "t")
    put(broker, "t", ["x" * 1000] * 300)
    command = [TOP / "bin" / "kafka-console-consumer.sh", "--bootstrap-server", broker.bootstrap, "--topic", "t", "--group", "g", "--from-beginning",
               "--consumer-property", "max.poll.interval.ms=6000", "--consumer-property", "session.timeout.ms=6000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "BARNABAS_BUILD": str(BUILD)}) as consumer:
        time.sleep(14)
        put(broker, "t", ["last"])
        assert any(line == "last\n" for line in consumer.stdout)
        consumer.terminate()
        assert "WARN" in consumer.stderr.read()


def test_lines_end_as_javas_do(broker):
    """With a carriage return, too: of several, each ends one."""
    text = "a\rb\r\nc\n\rd\r\re\n\nf"
    for topic, tool in (("ours", lambda *args: subprocess.run([TOP / "bin" / "kafka-console-producer.sh", *args], input=text.encode(), check=True, env={**os.environ, "BARNABAS_BUILD": str(BUILD)})),
                        ("theirs", lambda *args: run_tool("kafka.tools.ConsoleProducer", *args, stdin=text))):
        topics(broker, "--create", "--topic", topic)
        tool("--bootstrap-server", broker.bootstrap, "--topic", topic)
    count = int(script("kafka-get-offsets", "--bootstrap-server", broker.bootstrap, "--topic", "theirs").split(":")[2])
    assert script("kafka-get-offsets", "--bootstrap-server", broker.bootstrap, "--topic", "ours") == f"ours:0:{count}\n"
    assert get(broker, "ours", count) == get(broker, "theirs", count) == ["a", "b", "c", "", "d", "", "e", "", "f"]


def test_a_partition_goes_with_no_group_of_properties(broker):
    args = ["--bootstrap-server", broker.bootstrap, "--topic", "t", "--partition", 0, "--consumer-property", "group.id=g"]
    script("kafka-console-consumer", *args, code=1)
    assert "Options group and partition cannot be specified together." in script.errors


def test_options_that_javas_tools_take(broker):
    """With one dash, and with words that belong to none; but one that is not known is refused."""
    topics(broker, "--create", "--topic", "t")
    for args in (["-list", "-bootstrap-server", broker.bootstrap], ["--list", "extra", "--bootstrap-server", broker.bootstrap, "words"],
                 ["--list", "--bootstrap-server", broker.bootstrap, "--", "--extra", "-list"], ["-list", "--bootstrap-server", broker.bootstrap, "-nonsense"],
                 ["--list", f"-bootstrap-server={broker.bootstrap}", "-"]):
        theirs = run_tool(TOPIC_COMMAND, *args)
        assert script("kafka-topics", *args, code=theirs.returncode) == theirs.stdout, args
    topics(broker, "--list", "extra")
    assert script.errors == "WARN 'extra' belongs to no option, and is ignored\n"
    assert script("kafka-get-offsets", "-bootstrap-server", broker.bootstrap, "-topic", "t", "-time", -2) == "t:0:0\n"


def test_lists_with_empty_words_are_refused(broker, tmp_path):
    """As by Java's split(), which leaves out those at the end."""
    plan = tmp_path / "topics.json"
    plan.write_text('{"topics": [{"topic": "there"}], "version": 1}')
    b = ["--bootstrap-server", broker.bootstrap]
    topics(broker, "--create", "--topic", "there", "--partitions", 2)
    topics_tool, reassign, offsets = ("kafka-topics", TOPIC_COMMAND), ("kafka-reassign-partitions", "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"), \
        ("kafka-get-offsets", "org.apache.kafka.tools.GetOffsetShell")
    for number, ((name, tool), args) in enumerate([
            (topics_tool, ["--create", "--replica-assignment", ",0"]), (topics_tool, ["--create", "--replica-assignment", "0,,0"]),
            (topics_tool, ["--create", "--replica-assignment", "0,0,,"]), (topics_tool, ["--create", "--replica-assignment", "0:,0"]),
            (topics_tool, ["--create", "--config", "retention.ms=5=6"]), (topics_tool, ["--create", "--config", "retention.ms=5="]),
            (topics_tool, ["--create", "--config", "retention.ms= "]), (topics_tool, ["--describe", "--partition-size-limit-per-response", "x"]),
            (reassign, ["--generate", "--topics-to-move-json-file", str(plan), "--broker-list", ",0"]),
            (reassign, ["--generate", "--topics-to-move-json-file", str(plan), "--broker-list", "0,"]),
            (offsets, ["--topic", "there", "--partitions", "0,,1"]), (offsets, ["--topic", "there", "--partitions", "1,"]), (offsets, ["--topic-partitions", ""])]):
        topic = lambda who: ["--topic", f"{who}{number}"] if "--create" in args else ["--topic", "there"] if "--describe" in args else []
        theirs = run_tool(tool, *b, *args, *topic("theirs"))
        out = script(name, *b, *args, *topic("ours"), code=theirs.returncode)
        assert out.splitlines()[:1] == [x.replace("theirs", "ours") for x in theirs.stdout.splitlines()[:1]], args


def test_no_topic_is_none_to_consume_from(broker):
    args = ["--bootstrap-server", broker.bootstrap, "--topic", ""]
    assert run_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", *args).returncode == 1
    script("kafka-console-consumer", *args, code=1)
    assert "cannot contain null or empty topic" in script.errors


@contextlib.contextmanager
def nobody_answers(tool, *args, stdin=None):
    """A tool that has tried in vain to connect."""
    with subprocess.Popen([BUILD / "barnabas-tool", tool, *map(str, args)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        try:
            p.stdin.write(stdin or "")
            p.stdin.close()
            p.stdin = None
            assert any(line.startswith("WARN") for line in p.stderr)
            yield p
        finally:
            p.kill()


PERF = ["--topic", "t", "--num-records", 1000, "--record-size", 10, "--throughput", -1, "--producer-props"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("tool, args, stdin", [
    ("kafka-console-producer", ["--topic", "t"], "a\nb\n"),
    ("kafka-console-producer", ["--topic", "t", "--sync"], "a\nb\n"),
    ("kafka-console-producer", ["--topic", "t", "--producer-property", "queue.buffering.max.messages=1", "--max-block-ms", 10**9], "a\nb\n"),
    ("kafka-producer-perf-test", PERF, None),
    ("kafka-producer-perf-test", [*PERF, "queue.buffering.max.messages=10"], None)], ids=["console", "sync", "full", "perf", "full perf"])
def test_a_signal_ends_producers_while_brokers_are_away(number, tool, args, stdin):
    where = f"127.0.0.1:{free_port()}"
    with nobody_answers(tool, *args, *([f"bootstrap.servers={where}"] if stdin is None else ["--bootstrap-server", where]), stdin=stdin) as p:
        p.send_signal(number)
        out, errors = p.communicate(timeout=30)
    assert p.returncode == 1 and " were not acknowledged" in errors, (out, errors)


def test_a_signal_ends_a_producer_of_transactions_while_brokers_are_silent():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with subprocess.Popen([BUILD / "barnabas-tool", "kafka-producer-perf-test", *map(str, PERF), f"bootstrap.servers=127.0.0.1:{silent.getsockname()[1]}",
                               "--transaction-duration-ms", "100"], stderr=subprocess.PIPE, text=True) as p:
            try:
                with silent.accept()[0]:
                    p.send_signal(signal.SIGINT)
                    p.communicate(timeout=30)
            finally:
                p.kill()
    assert p.returncode == 1


def test_the_second_signal_ends_a_tool_at_once():
    with nobody_answers("kafka-verifiable-producer", "--topic", "t", "--max-messages", 3, "--bootstrap-server", f"127.0.0.1:{free_port()}") as p:
        p.send_signal(signal.SIGTERM)
        p.send_signal(signal.SIGINT)
        p.communicate(timeout=30)
    assert p.returncode in (-signal.SIGINT, -signal.SIGTERM)
