"""Makes a tool's man page of its --help and of man/tools.txt: from-help.py TOOLS.TXT NAME VERSION <HELP >PAGE"""

import re
import sys

COLUMN = 41  # where the help's descriptions start


def escape(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def section(path, name):
    for part in open(path).read().split("== ")[1:]:
        title, body = part.split("\n", 1)
        if title == name:
            about, _, examples = body.partition("-- examples\n")
            return about.strip(), examples.split("\n")[:-1] or [examples]
    sys.exit(f"{path} has nothing about {name}")


def options(help_text):
    """(option, description) pairs: an option starts in the first column, its description goes on indented."""
    found = []
    for line in help_text.splitlines():
        if line.startswith("--") and not line.startswith("---"):
            option, _, rest = re.match(r"(--\S+(?: [<\[].*?[>\]](?: \.\.\.)?)?)(\s+|$)(.*)", line).groups()
            found.append([option, [rest] if rest else []])
        elif line.startswith(" ") and found:
            lines, text = found[-1][1], line[COLUMN:]
            if lines and not text.startswith(" "):
                lines[-1] += " " + text  # it was only too long for one line
            else:
                lines.append(text.strip())
    return found


def main():
    path, name, version = sys.argv[1:4]
    about, examples = section(path, name)
    help_text = sys.stdin.read()
    purpose = re.sub(r"\s+", " ", about).split(". ")[0].split(": ")[0].rstrip(".")
    print(f'.TH {name.upper()} 1 "" "barnabas {version}" "barnabas"')
    print(f".SH NAME\n{escape(name)}, {escape(name)}.sh \\- {escape(purpose[:1].lower() + purpose[1:])}")
    print(f".SH SYNOPSIS\n.B {escape(name)}.sh\n[\\fIOPTION\\fR]...")
    print(f".SH DESCRIPTION\n{escape(about)}\n.PP\nNames, options, output and exit codes are those of Kafka 3.9's script.")
    pairs = options(help_text)
    if pairs:
        print(".SH OPTIONS")
    for option, lines in pairs:
        print(f".TP\n.B {escape(option)}")
        print("\n.br\n".join(escape(x) for x in lines))
    print(".SH EXIT STATUS\n0 on success, 1 on wrong usage or failure.")
    print(".SH EXAMPLES\n.nf")
    print("\n".join(escape(x) for x in examples))
    print(".fi\n.SH SEE ALSO\n.BR barnabas (1),\n.BR server.properties (5)")


main()
