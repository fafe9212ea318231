"""The coordinators of groups and transactions, Apache Kafka 3.9.1 and barnabas in turns: what they cost, and how soon they are done."""

import statistics

import measure
from measure import cpu_seconds, resident_mb

GROUPS = measure.LOAD.with_name("groups")
TOPIC = "t"
PARTITIONS = 3  # of a transaction, and of a commit


class Run(measure.Run):
    """Each part has a broker of its own."""

    def measure(self, part):
        with measure.fresh_broker(self.bench, self.kind, group_initial_rebalance_delay_ms=0) as broker:
            part(broker)

    @staticmethod
    def ask(broker, what, *args):
        return measure.load(what, "127.0.0.1", broker.port, *args, program=GROUPS)

    def repeated(self, broker, what):
        """The same by several clients for some seconds; first for a while to warm up. Per second, and per CPU second of the broker."""
        measure.create_topic(broker, TOPIC, PARTITIONS)
        self.ask(broker, what, TOPIC, PARTITIONS, self.options.clients, self.options.warm_up)
        cpu = cpu_seconds(broker.process.pid)
        result = self.ask(broker, what, TOPIC, PARTITIONS, self.options.clients, self.options.seconds)
        return result[what] / result["seconds"], result[what] / (cpu_seconds(broker.process.pid) - cpu)

    # ---- What is measured ----

    def transactions(self, broker):
        rate, per_cpu = self.repeated(broker, "transactions")
        name = f"{self.options.clients} producers, {PARTITIONS} partitions"
        self.note(f"transactions: rate, {name}", rate, "/s")
        self.note(f"transactions: CPU of each, {name}", 1e6 / per_cpu, "us")

    def commits(self, broker):
        rate, per_cpu = self.repeated(broker, "commits")
        name = f"{self.options.clients} groups, {PARTITIONS} partitions"
        self.note(f"offset commits: rate, {name}", rate, "/s")
        self.note(f"offset commits: per CPU second, {name}", per_cpu, "")
        self.note(f"offset commits: CPU of each, {name}", 1e6 / per_cpu, "us")

    def rebalance(self, broker):
        members, leaving = self.options.members, 10
        for n in range(3):
            self.ask(broker, "rebalance", f"warm-up-{n}", members, leaving)
        cpu = cpu_seconds(broker.process.pid)
        results = [self.ask(broker, "rebalance", f"group-{n}", members, leaving) for n in range(5)]
        cpu = (cpu_seconds(broker.process.pid) - cpu) / len(results)
        self.note(f"rebalance: {members} members join", statistics.median(x["joined_us"] for x in results) / 1000, "ms")
        self.note(f"rebalance: one of {members} leaves", statistics.median(x["left_us"] for x in results) / 1000, "ms")
        self.note(f"rebalance: CPU of {members} that join and {leaving} that leave", cpu * 1000, "ms")

    def many_groups(self, broker):
        self.grown(broker, "fill", self.options.groups, "groups", 10)

    def many_producers(self, broker):
        self.grown(broker, "producers", self.options.producers, "producer ids", 10)

    def grown(self, broker, what, count, name, partitions):
        measure.create_topic(broker, TOPIC, partitions)
        self.ask(broker, what, TOPIC, partitions, 0)
        before = resident_mb(broker.process.pid)
        result = self.ask(broker, what, TOPIC, partitions, count)
        after = resident_mb(broker.process.pid)
        self.note(f"memory with {count:,} {name}", after, "MB")
        self.note(f"memory with {count:,} {name}, more than before", after - before, "MB")
        self.note(f"time to make {count:,} {name}", result["seconds"], "s")


PARTS = ["transactions", "commits", "rebalance", "many_groups", "many_producers"]


def arguments():
    parser = measure.arguments(__doc__, PARTS)
    parser.add_argument("--clients", type=int, default=8, help="producers with transactions, and groups that commit, at the same time")
    parser.add_argument("--warm-up", type=int, default=30, help="seconds of transactions and commits before any count: a JVM compiles for long")
    parser.add_argument("--members", type=int, default=100, help="of the group that rebalances")
    parser.add_argument("--groups", type=int, default=1000, help="how many a broker is to remember")
    parser.add_argument("--producers", type=int, default=100000, help="how many ids a broker is to remember")
    return parser


if __name__ == "__main__":
    measure.main(arguments(), Run)
