"""The verdict: what was promised against what is there in the end."""

from collections import defaultdict


def check(history, final):
    """All that is wrong, as lines of text."""
    wrong = check_seen(history, final)
    wrong += [f"acknowledged and lost: {value} at {place}, where there is {final.get(place)}"
              for place, value in sorted(history.acknowledged.items()) if final.get(place) != value]
    return wrong + check_order(final, {value for value, _ in history.failed}, history.acknowledged)


def check_seen(history, final):
    return history.wrong + [f"read and gone: {value} at {place}, where there is {final.get(place)}"
                            for place, value in sorted(history.seen.items()) if final.get(place) != value]


def check_order(final, failed, acknowledged):
    """The records of each writer's life come in order, and none is left out but those that its writer was told had failed.

    None comes again whose place was acknowledged. One that was not may: told OUT_OF_ORDER_SEQUENCE_NUMBER for a batch behind one that
    a new leader has refused, librdkafka takes a new producer epoch, and with that writes anew whatever it has no answer for.
    """
    wrong, expected, places = [], defaultdict(int), {}
    for (partition, offset), value in sorted(final.items()):
        writer, life, meant, number = value.split(".")
        key, number = (writer, life, partition), int(number)
        if int(meant) != partition:
            wrong.append(f"{value} is in partition {partition}")
        missing = [n for n in range(expected[key], number) if f"{writer}.{life}.{meant}.{n}" not in failed]
        if missing:
            wrong.append(f"{value} at offset {offset} of partition {partition}, number {missing[0]} was due")
        if places.get(value) in acknowledged:
            wrong.append(f"{value} at offset {offset} of partition {partition} was acknowledged at offset {places[value][1]}")
        expected[key] = number + 1
        places[value] = (partition, offset)
    return wrong


def check_group(group, final):
    """Everything that is there was given to a member, as all is committed."""
    return [f"{group.name} were never given offset {offset} of partition {partition}"
            for partition, offset in sorted(final) if not group.is_given(partition, offset)]


def compare_replicas(folders):
    """The bytes of one partition's logs, which must be the same."""
    logs = [b"".join(p.read_bytes() for p in sorted(f.glob("*.log"))) for f in folders]
    return [f"{folder} differs from {folders[0]}" for folder, log in zip(folders, logs) if log != logs[0]]
