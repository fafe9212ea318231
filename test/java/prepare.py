#!/usr/bin/env python3
"""What the system tests need of Java beside the jars: the toolbox, and archives of the classes that Apache's broker and tools load.

With such an archive they are up in half the time. Which classes these are is seen while a broker and a few of the tools run.
"""

import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system"))
from harness import JARS, JARS_4, TOOLBOX, Apache, ZooKeeper, java, javac, run, toolbox_of  # noqa: E402


def use_broker_and_tools(zookeeper, folder):
    broker = Apache(zookeeper.chroot(), folder / "data", folder / "broker.log", {})
    broker.start()
    at, tools = ["--bootstrap-server", broker.bootstrap], "org.apache.kafka.tools"
    try:
        java(f"{tools}.TopicCommand", *at, "--create", "--topic", "t")
        java("kafka.tools.ConsoleProducer", *at, "--topic", "t", stdin="a\nb\n")
        java(f"{tools}.consumer.ConsoleConsumer", *at, "--topic", "t", "--group", "g", "--from-beginning", "--max-messages", 2)
        java(f"{tools}.TopicCommand", *at, "--describe")
        java("kafka.admin.ConfigCommand", *at, "--describe", "--broker", 0, "--all")
        java(f"{tools}.consumer.group.ConsumerGroupCommand", *at, "--describe", "--all-groups")
        java(f"{tools}.consumer.group.ConsumerGroupCommand", *at, "--reset-offsets", "--group", "g", "--all-topics", "--to-latest", "--execute")
        java(f"{tools}.GetOffsetShell", *at)
        java(f"{tools}.VerifiableProducer", *at, "--topic", "t", "--max-messages", 1)
        java(f"{tools}.VerifiableConsumer", *at, "--topic", "t", "--group-id", "v", "--max-messages", 1)
        java("kafka.tools.DumpLogSegments", "--print-data-log", "--files", broker.data / "t-0" / f"{0:020}.log")
        toolbox_of(JARS).end()
    finally:
        broker.stop()


def loaded_classes(folder):
    """Each once, in the order in which they are loaded: a line may name classes by the lines before it."""
    zookeeper = ZooKeeper(folder)
    zookeeper.start()
    os.environ["JAVA_TOOL_OPTIONS"] = f"-XX:DumpLoadedClassList={folder}/%p.classes"
    try:
        use_broker_and_tools(zookeeper, folder)
    finally:
        del os.environ["JAVA_TOOL_OPTIONS"]
        zookeeper.stop()
    lists = sorted(folder.glob("*.classes"), key=lambda path: path.stat().st_size, reverse=True)
    return dict.fromkeys(line for path in lists for line in path.read_text().splitlines() if not line.startswith("#"))


def main():
    javac(Path(__file__).with_name("Toolbox.java"), JARS, TOOLBOX.parent)
    for jars in JARS, JARS_4:  # what there was must not be used while the new one is made
        (jars.parent / "classes.jsa").unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder) / "names"
        names.write_text("".join(f"{line}\n" for line in loaded_classes(Path(folder))))
        for jars in JARS, JARS_4:
            new = jars.parent / "classes.new"
            new.unlink(missing_ok=True)
            run(["java", "-Xshare:dump", f"-XX:SharedClassListFile={names}", f"-XX:SharedArchiveFile={new}", "-cp", f"{jars}/*"])
            new.rename(jars.parent / "classes.jsa")


if __name__ == "__main__":
    main()
