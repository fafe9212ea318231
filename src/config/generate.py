#!/usr/bin/env python3
"""Makes C of broker.tbl and topic.tbl, or the manual page server.properties(5).

    generate.py OUTDIR     writes the headers that src/config includes as "config/gen/..."
    generate.py --list     names them
    generate.py --man      prints the manual page
    generate.py --markdown prints doc/configuration.md

broker.tbl explains the notation. The output depends on the two tables and on nothing else.
"""

import os
import re
import sys
from dataclasses import dataclass, field

HERE = os.path.dirname(os.path.abspath(__file__))
OUTPUTS = ["sets.h", "broker_fields.h", "topic_fields.h", "topic_defaults.h", "keys.h"]
MARK = "/* Made by src/config/generate.py of broker.tbl and topic.tbl. */\n"

TYPES = {  # of the table: the C type of a field
    "boolean": "bool ",
    "int": "int32_t ",
    "short": "int16_t ",
    "long": "int64_t ",
    "double": "double ",
    "string": "const char *",
    "password": "const char *",
    "class": "const char *",
    "list": "struct config_list ",
}
FORMS = {  # ALLOWED by name: the C type of a field if it differs, and what is allowed
    "version": ("enum ibp ", "a version of Apache Kafka, such as 3.9 or 2.8-IV1"),
    "endpoints": ("struct listener_list ", "NAME://host:port,..."),
    "paths": ("struct config_list ", None),
    "host-limits": ("struct host_limits ", "host:number,..."),
    "throttled": (None, "partition:broker,... or *"),
    "non-empty": (None, "not empty"),
}
IMPORTANCE = ["low", "medium", "high"]
DYNAMIC = ["read-only", "per-broker", "cluster-wide", "only-at-run-time"]


@dataclass
class Set:
    name: str
    any_case: bool
    values: list  # of (text, number)


@dataclass
class Key:
    name: str
    type: str
    default: str
    section: str
    allowed: str = ""
    importance: str = ""
    dynamic: str = "read-only"
    live: str = "not-live"
    state: str = ""
    internal: bool = False
    synonyms: list = field(default_factory=list)
    broker: str = ""
    doc: str = ""

    def field_name(self):
        return re.sub("[^a-zA-Z0-9]", "_", self.name)

    def has_field(self):
        return not self.state.startswith("no-effect") and self.allowed != "throttled"

    def c_type(self):
        if self.allowed.startswith("{"):
            return "unsigned " if self.type == "list" else f"enum {self.allowed[1:-1]} "
        return FORMS.get(self.allowed, (None,))[0] or TYPES[self.type]


class Tables:
    def __init__(self):
        self.reasons, self.sets, self.broker, self.topic = {}, {}, [], []
        self.read("broker.tbl", self.broker)
        self.read("topic.tbl", self.topic)
        self.check()

    def read(self, name, keys):
        section = None
        with open(os.path.join(HERE, name), encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                words = line.split()
                try:
                    if not words or line.startswith("#"):
                        continue
                    if line.startswith(" "):
                        keys[-1].doc = (keys[-1].doc + " " + line.strip()).strip()
                    elif words[0] == "section":
                        section = " ".join(words[1:])
                    elif words[0] == "reason":
                        self.reasons[words[1]] = " ".join(words[2:])
                    elif words[0] == "set":
                        self.add_set(words)
                    else:
                        keys.append(self.key(section, words))
                except (ValueError, IndexError, KeyError) as problem:
                    sys.exit(f"{name}:{number}: {problem}")

    def add_set(self, words):
        values = [(text, int(number)) for text, number in
                  (word.split("=") for word in words[2:] if "=" in word)]
        self.sets[words[1]] = Set(words[1], "any-case" in words, values)

    def key(self, section, words):
        name, kind, default = words[:3]
        if kind not in TYPES:
            raise ValueError(f"no type {kind}")
        key = Key(name, kind, {"null": None, '""': ""}.get(default, default), section)
        for word in words[3:]:
            self.add_word(key, word)
        if not key.importance or not key.state:
            raise ValueError("importance and state are needed")
        return key

    def add_word(self, key, word):
        if word in IMPORTANCE:
            key.importance = word
        elif word in DYNAMIC:
            key.dynamic = word
        elif word == "internal":
            key.internal = True
        elif word in ("live", "live-per-listener"):
            key.live = word
        elif word in ("works", "not-yet"):
            key.state = word
        elif word.startswith("no-effect:") and word[10:] in self.reasons:
            key.state = word
        elif word.startswith("synonyms="):
            key.synonyms = word[9:].split(",")
        elif word.startswith("broker="):
            key.broker = word[7:]
        elif ".." in word or word in FORMS or word[1:-1] in self.sets:
            key.allowed = word
        else:
            raise ValueError(f"what is {word}?")

    def check(self):
        broker = {key.name: key for key in self.broker}
        for key in self.broker + self.topic:
            for name in key.synonyms + ([key.broker] if key.broker else []):
                if name not in broker:
                    sys.exit(f"{key.name}: there is no key {name}")
            if key.broker and key.c_type() != broker[key.broker].c_type():
                sys.exit(f"{key.name}: not of the same type as {key.broker}")
            if not key.doc.endswith("."):
                sys.exit(f"{key.name}: no sentence")
            if key.live != "not-live" and key.dynamic == "read-only":
                sys.exit(f"{key.name}: {key.live}, but nobody can set it at run time: per-broker or cluster-wide is missing")
            if key.name.startswith("barnabas.") and not key.internal:
                sys.exit(f"{key.name}: not internal, as each key of this broker's own is, so that DescribeConfigs lists Apache's keys")

    def allowed_text(self, key):
        """What is allowed beyond the type, for people; None when everything is."""
        if key.allowed.startswith("{"):
            texts = [text for text, _ in self.sets[key.allowed[1:-1]].values]
            return ("any of " if key.type == "list" else "one of ") + ", ".join(texts)
        if ".." in key.allowed:
            low, high, also = range_of(key)
            text = f"{low} to {high}" if high else f"at least {low}"
            return text + (f", or {also}" if also else "")
        return FORMS[key.allowed][1] if key.allowed else None


def range_of(key):
    span, _, also = key.allowed.partition("|")
    low, _, high = span.partition("..")
    return low, high, also


def c_string(text):
    return "NULL" if text is None else '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def c_name(*words):
    words = (re.sub("([a-z])([A-Z])", r"\1_\2", word).replace("-", "_") for word in words)
    return "_".join(words).upper()


def sets_h(tables):
    out = ["/* A name of the sets below is SET_VALUE, and of a list's set its bit. */"]
    for one in tables.sets.values():
        values = ", ".join(f"{c_name(one.name, text)} = {number}" for text, number in one.values)
        out.append(f"enum {one.name} {{ {values} }};")
    return "\n".join(out) + "\n"


def fields_h(keys):
    return "".join(f"{key.c_type()}{key.field_name()};\n" for key in keys if key.has_field())


def topic_defaults_h(tables):
    lines = []
    for key in tables.topic:
        if key.has_field():
            broker = Key(key.broker, "", "", "").field_name()
            value = f"broker->{broker}" if key.broker else key.default
            lines.append(f"topic->{key.field_name()} = {value};\n")
    return "".join(lines)


def key_row(tables, key, struct):
    form, numbers = "ANY", []
    if key.allowed.startswith("{"):
        form, numbers = "SET", [f".set = &set_{key.allowed[1:-1]}"]
    elif ".." in key.allowed:
        low, high, also = range_of(key)
        form, numbers = "RANGE", [f".min = {low}", f".max = {high or 'INFINITY'}",
                                  f".also = {also or 'NAN'}"]
    elif key.allowed:
        form = c_name(key.allowed)
    state, _, reason = key.state.partition(":")
    parts = [
        f".name = {c_string(key.name)}",
        f".type = CONFIG_{c_name(key.type)}",
        f".default_text = {c_string(key.default)}",
        f".form = FORM_{form}", *numbers,
        f".allowed = {c_string(tables.allowed_text(key))}",
        f".importance = CONFIG_{c_name(key.importance)}",
        f".dynamic = CONFIG_{c_name(key.dynamic)}",
        f".state = CONFIG_{c_name(state)}",
        f".field = {f'offsetof(struct {struct}, {key.field_name()})' if key.has_field() else -1}",
    ]
    if reason:
        parts.append(f".no_effect_because = {c_string(tables.reasons[reason])}")
    if key.internal:
        parts.append(".internal = true")
    if key.live != "not-live":
        parts.append(f".live = CONFIG_{c_name(key.live)}")
    if key.synonyms:
        names = ", ".join(c_string(name) for name in key.synonyms)
        parts.append(f".synonyms = (const char *const[]){{{names}, NULL}}")
    if key.broker:
        parts.append(f".broker_key = {c_string(key.broker)}")
    parts.append(f".doc = {c_string(key.doc)}")
    return "    {" + ",\n     ".join(parts) + "},\n"


def keys_h(tables):
    out = []
    for one in tables.sets.values():
        values = ", ".join(f"{{{c_string(text)}, {number}}}" for text, number in one.values)
        any_case = "true" if one.any_case else "false"
        out.append(f"static const struct config_set set_{one.name} = {{\n"
                   f"    .any_case = {any_case}, .count = {len(one.values)},\n"
                   f"    .values = (const struct config_set_value[]){{{values}}}}};\n")
    for name, keys, struct in (("broker", tables.broker, "broker_config"),
                               ("topic", tables.topic, "topic_config")):
        keys = sorted(keys, key=lambda key: key.name)
        rows = "".join(key_row(tables, key, struct) for key in keys)
        out.append(f"static const struct config_key {name}_keys[] = {{\n{rows}}};\n")
    return "\n".join(out)


def roff(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub("`([^`]*)`", r"\\fB\1\\fP", text)
    text = re.sub(r"[\w.,:$]{50,}", lambda m: re.sub(r"([.,])", r"\1\\:", m[0]), text)  # where a line may be broken
    return "\\&" + text if text[:1] in ".'" else text


def facts_of(tables, key):
    facts = [key.type, f"`{key.default}`" if key.default else
             ("empty" if key.default == "" else "not set")]
    if tables.allowed_text(key):
        facts.insert(1, tables.allowed_text(key))
    if key.broker:
        facts[-1] = f"that of `{key.broker}`"
    facts[-1] = "default " + facts[-1]
    if key.dynamic == "only-at-run-time":
        facts.append("dynamic only")
    elif key.dynamic != "read-only":
        facts.append(f"dynamic, {key.dynamic}" + ("" if key.live == "not-live" else ", at once"))
    return facts


def man_key(tables, key):
    facts = facts_of(tables, key)
    state, _, reason = key.state.partition(":")
    note = {"works": "", "not-yet": " \\fINot used yet.\\fP",
            "no-effect": f" \\fINo effect:\\fP {roff(tables.reasons.get(reason, ''))}."}[state]
    return f".TP\n.B {roff(key.name)}\n({roff('; '.join(facts))})\n.br\n{roff(key.doc)}{note}\n"


def man_keys(tables, keys):
    out, section = [], None
    for key in keys:
        if key.section != section:
            section = key.section
            out.append(f".SS {section}\n")
        out.append(man_key(tables, key))
    return "".join(out)


MAN_HEAD = r""".\" Made by src/config/generate.py; change broker.tbl or topic.tbl instead.
.TH SERVER.PROPERTIES 5 "" barnabas "File formats"
.nh
.ad l
.SH NAME
server.properties \- configuration of a barnabas broker
.SH DESCRIPTION
The broker is given this file when it starts. It is the file of an Apache Kafka 3.9 broker that uses
ZooKeeper: every key of such a broker is known. A key that has no effect here, or none yet, is
named in a line of the log at start, and so is a key that nobody knows. A value that is not allowed
ends the start with status 1 and a line that names the file, the line, the key, the value and what
would be allowed.
.PP
A line holds a key and a value with
.BR = ,
.B :
or blanks between them. Lines that begin with
.B #
or
.B !
are comments. A backslash at the end of a line continues it on the next;
.BR \et ,
.BR \en ,
.B \er
and
.BI \eu xxxx
stand for a character, and a backslash before any other character for that character. When a key
is there twice the later one counts. What is given with
.B \-\-override
.IB key = value
on the command line comes before the file.
.PP
Keys for TLS, SASL and connections may be set for one listener alone, as
.BI listener.name. name . key
with the listener's name in lower case.
.PP
Keys marked as dynamic can be changed while the broker runs, for one broker (per\-broker) or for
all of them at once (cluster\-wide).
.SH BROKER KEYS
"""
MAN_TOPIC = r""".SH TOPIC KEYS
These are set for a topic when it is made or later, not in this file. A topic without such a key
follows the broker's key that is named as its default.
"""
MAN_TAIL = r""".SH FILES
.I conf/server.properties
in the sources is a commented file to begin with.
"""


def man_page(tables):
    broker, topic = man_keys(tables, tables.broker), man_keys(tables, tables.topic)
    return MAN_HEAD + broker + MAN_TOPIC + topic + MAN_TAIL


MARKDOWN_HEAD = """<!-- Made by src/config/generate.py --markdown; change broker.tbl or topic.tbl instead. -->
# Every key of server.properties and of topics

A value that is not allowed ends the start with a line that names file, line, key, value and what would be allowed. A key
without effect is named in the log. What is dynamic can be changed while the broker runs, for one broker (per-broker) or for
all (cluster-wide). It follows at once what is marked so, and what topics
have by default; the rest counts from the next start, and a line of the log says so. `man server.properties` has the same, and the form
of the file.
"""


def markdown_keys(tables, keys):
    out, section = [], None
    for key in keys:
        if key.section != section:
            section = key.section
            out.append(f"\n### {section}\n\n| key | | |\n|---|---|---|\n")
        state, _, reason = key.state.partition(":")
        note = {"works": "", "not-yet": " *Not used yet.*",
                "no-effect": f" *No effect:* {tables.reasons.get(reason, '')}."}[state]
        cells = [f"`{key.name}`", "; ".join(facts_of(tables, key)), key.doc + note]
        out.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return "".join(out)


def markdown(tables):
    return (MARKDOWN_HEAD + "\n## The broker\n" + markdown_keys(tables, tables.broker) +
            "\n## Topics\n\nSet for a topic; one without such a key follows the broker's key that is named as its default.\n" +
            markdown_keys(tables, tables.topic))


def main(argument):
    if argument == "--list":
        print("\n".join(OUTPUTS))
        return
    tables = Tables()
    if argument == "--man":
        sys.stdout.write(man_page(tables))
        return
    if argument == "--markdown":
        sys.stdout.write(markdown(tables))
        return
    texts = [sets_h(tables), fields_h(tables.broker), fields_h(tables.topic),
             topic_defaults_h(tables), keys_h(tables)]
    os.makedirs(argument, exist_ok=True)
    for name, text in zip(OUTPUTS, texts):
        with open(os.path.join(argument, name), "w", encoding="utf-8") as out:
            out.write(MARK + text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
