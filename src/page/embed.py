#!/usr/bin/env python3
"""The page's style and script as texts in C, with their hashes for the Content-Security-Policy: embed.py page.css page.js > page_texts.inc."""

import base64
import hashlib
import os
import sys


def quoted(line):
    return '"' + line.replace("\\", "\\\\").replace('"', '\\"') + '\\n"'


print("/* Generated. */")
for path in sys.argv[1:]:
    name = {".css": "style", ".js": "script"}[os.path.splitext(path)[1]]
    with open(path, encoding="utf-8") as f:
        lines = [line.strip() for line in f if line.strip()]
    digest = hashlib.sha256("".join(line + "\n" for line in lines).encode()).digest()
    print(f"static const char page_{name}[] =")
    print("\n".join("    " + quoted(line) for line in lines) + ";")
    print(f'#define PAGE_{name.upper()}_HASH "sha256-{base64.b64encode(digest).decode()}"')
