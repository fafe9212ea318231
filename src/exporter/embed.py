#!/usr/bin/env python3
"""Texts as a table in C: embed.py DIALECT.yml... > dialect_texts.inc. Their comments and indents stay, for who asks for them."""

import os
import sys


def quoted(line):
    return '"' + line.replace("\\", "\\\\").replace('"', '\\"') + '\\n"'


print("/* Generated. */")
print("static const struct dialect_text dialect_texts[] = {")
for path in sorted(sys.argv[1:]):
    name = os.path.basename(path).removesuffix(".yml")
    with open(path, encoding="utf-8") as f:
        lines = f.read().splitlines()
    print(f'    {{"{name}",')
    print("\n".join("     " + quoted(line) for line in lines) + "},")
print("};")
