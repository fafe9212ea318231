"""The verdict: what was promised against what is there in the end."""

from collections import defaultdict


def check(history, final):
    """All that is wrong, as lines of text."""
    wrong = list(history.wrong)
    wrong += [f"acknowledged and lost: {value} at {place}, where there is {final.get(place)}"
              for place, value in sorted(history.acknowledged.items()) if final.get(place) != value]
    there = {(partition, value) for (partition, _), value in final.items()}
    wrong += [f"acknowledged and lost: {value} in partition {partition}"
              for partition, value in sorted(history.acknowledged_somewhere - there)]
    wrong += [f"read and gone: {value} at {place}, where there is {final.get(place)}"
              for place, value in sorted(history.seen.items()) if final.get(place) != value]
    return wrong + check_order(final)


def check_order(final):
    """The records of each writer's life come once, in order, without a gap before one that is there."""
    wrong, expected = [], defaultdict(int)
    for (partition, offset), value in sorted(final.items()):
        writer, life, meant, number = value.split(".")
        key = writer, life, partition
        if int(meant) != partition:
            wrong.append(f"{value} is in partition {partition}")
        if int(number) != expected[key]:
            wrong.append(f"{value} at offset {offset} of partition {partition}, number {expected[key]} was due")
        expected[key] = int(number) + 1
    return wrong


def compare_replicas(folders):
    """The bytes of one partition's logs, which must be the same."""
    logs = [b"".join(p.read_bytes() for p in sorted(f.glob("*.log"))) for f in folders]
    return [f"{folder} differs from {folders[0]}" for folder, log in zip(folders, logs) if log != logs[0]]
