"""What barnabas has no script for, as it runs in Java: Apache's own works with it. Distributed workers are in test_applications.py."""

from harness import Apache, Barnabas, consume, free_port, kcat, produce, wait_until
from test_applications import launch, run_java  # noqa: F401 (fixtures)


def write(path, **properties):
    path.write_text("".join(f"{k.replace('_', '.')}={v}\n" for k, v in properties.items()))
    return path


def end_of(broker, topic, count):
    return len(consume(broker, topic)) >= count if f'topic "{topic}"' in kcat(broker, "-L") else False


def test_connect_standalone(broker, run_java, tmp_path):  # noqa: F811
    source = tmp_path / "source.txt"
    source.write_text("".join(f"line {i}\n" for i in range(20)))
    worker = write(tmp_path / "worker.properties", bootstrap_servers=broker.bootstrap, offset_storage_file_filename=tmp_path / "offsets",
                   listeners=f"http://127.0.0.1:{free_port()}", plugin_discovery="service_load",
                   key_converter="org.apache.kafka.connect.storage.StringConverter", value_converter="org.apache.kafka.connect.storage.StringConverter")
    connector = write(tmp_path / "connector.properties", name="source", connector_class="FileStreamSource", tasks_max=1, file=source, topic="lines")
    process = run_java("org.apache.kafka.connect.cli.ConnectStandalone", worker, connector, name="connect")
    wait_until(lambda: end_of(broker, "lines", 20), f"the lines of the file\n{process.text()[-3000:]}")
    assert consume(broker, "lines") == source.read_text().splitlines()


def test_mirror_maker_1(make_broker, borrow, run_java, tmp_path):  # noqa: F811
    ours, theirs = make_broker(kind=Barnabas), borrow(kind=Apache)
    lines = [str(i) for i in range(20)]
    produce(ours, "mirrored", lines)
    consumer = write(tmp_path / "consumer.properties", bootstrap_servers=ours.bootstrap, group_id="mirror", auto_offset_reset="earliest")
    producer = write(tmp_path / "producer.properties", bootstrap_servers=theirs.bootstrap)
    process = run_java("kafka.tools.MirrorMaker", "--consumer.config", consumer, "--producer.config", producer, "--include", "mirrored", name="mirror")
    wait_until(lambda: end_of(theirs, "mirrored", 20), f"the records in the mirror\n{process.text()[-3000:]}")
    assert consume(theirs, "mirrored") == lines
