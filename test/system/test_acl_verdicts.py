"""
Our permissions beside the class that Apache's brokers ask: random lists that change, and random questions, of which both must say the same.

BARNABAS_ACL_QUESTIONS=1000000 asks more; BARNABAS_ACL_SEED asks the same ones again.
"""

import os
import random
import subprocess

from harness import BUILD, JARS, TOP, javac, jvm, log4j, run

QUESTIONS = int(os.environ.get("BARNABAS_ACL_QUESTIONS", 40000))
SEED = int(os.environ.get("BARNABAS_ACL_SEED", 0)) or random.randrange(1, 1 << 32)
TYPES, OPERATIONS, ALL, DENY, ALLOW, LITERAL, PREFIXED = range(2, 8), range(3, 15), 2, 2, 3, 3, 4
NAMES = ["a", "ab", "abc", "abcd", "b", "ba", "B", "a b", "a-b", "kafka-cluster", "\u00e4", "\u00e4b", "\u20ac", "\U0001f600", "\U0001f600b", "a\u0301", "User:x"]
ASKERS = ["User:x", "User:y", "User:z", "User:X", "User:x y", "User:a:b", "User:CN=x,O=y", "User:\u00e4", "User:*", "User:", "Group:x", "User:ANONYMOUS"]
HOSTS = ["10.0.0.1", "10.0.0.2", "0:0:0:0:0:0:0:1", "fe80:0:0:0:0:0:0:1"]


class World:
    """Lists, and questions about them; of a few types, names and askers only, or nothing would meet."""

    def __init__(self, rng):
        self.rng = rng
        self.types, self.operations = rng.sample(TYPES, rng.randint(1, 2)), rng.sample(OPERATIONS, rng.randint(1, 6))
        self.names, self.askers = rng.sample(NAMES, rng.randint(2, 8)), rng.sample(ASKERS, rng.randint(1, 4))
        self.entries = []

    def begin(self):
        return "begin", ";".join(self.rng.sample(self.askers, self.rng.choice([0, 0, 0, 1]))), self.rng.randint(0, 1)

    def change(self):
        """One more entry, or one less."""
        pick = self.rng.choice
        if self.entries and self.rng.random() < 0.3:
            return "remove", *self.entries.pop(self.rng.randrange(len(self.entries)))
        entry = (pick(self.types), pick([LITERAL, PREFIXED]), pick([*self.names, "*"]), pick([*self.askers, "User:*", "Group:*"]),
                 pick([*HOSTS, "*", "*", "*", "localhost"]), pick([*self.operations, ALL]), pick([DENY, ALLOW, ALLOW]))
        if entry not in self.entries:
            self.entries.append(entry)
        return "add", *entry

    def question(self):
        pick = self.rng.choice
        who = pick(self.askers), pick(HOSTS), pick(self.operations), pick(self.types)
        return ("somewhere", *who) if self.rng.random() < 0.25 else ("ask", *who, pick([*self.names, *NAMES, "", "*", pick(NAMES) + pick(NAMES)]))


def lines(rng):
    asked = 0
    while asked < QUESTIONS:
        world = World(rng)
        yield world.begin()
        for _ in range(rng.randint(1, 8)):
            for _ in range(rng.randint(0, 8)):
                yield world.change()
            for _ in range(rng.randint(1, 20)):
                yield world.question()
                asked += 1


def verdicts(command, text):
    done = subprocess.run([str(c) for c in command], input=text.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    return done.stdout.decode().split()


def is_question(fields):
    return fields[0] in ("ask", "somewhere")


def test_apaches_authorizer_says_the_same(tmp_path):
    program = BUILD / "test" / "acls" / "verdicts"
    run(["make", "-s", "-C", BUILD, "test/acls/verdicts"])
    classes = javac(TOP / "test" / "system" / "AclVerdicts.java", JARS, tmp_path / "classes")
    told = list(lines(random.Random(SEED)))
    text = "".join("\t".join(map(str, fields)) + "\n" for fields in told)
    ours, theirs = verdicts([program], text), verdicts([*jvm(*log4j("WARN"), classes=classes), "AclVerdicts"], text)
    questions = [i for i, fields in enumerate(told) if is_question(fields)]
    assert len(ours) == len(theirs) == len(questions) and 0.1 < theirs.count("yes") / len(theirs) < 0.9
    for i, a, b in zip(questions, theirs, ours):
        if a != b:
            begin = max(k for k in range(i) if told[k][0] == "begin")
            before = "\n".join(str(fields) for fields in told[begin:i] if not is_question(fields))
            raise AssertionError(f"seed {SEED}: Apache says {a}, ours {b}, to {told[i]} after\n{before}")
