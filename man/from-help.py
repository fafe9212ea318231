"""Makes a tool's man page of its --help and of man/tools.txt: from-help.py TOOLS.TXT NAME VERSION BARNABAS-TOOL >PAGE"""

import re
import subprocess
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


def commands(help_text):
    """The commands of a tool that has some: usage: NAME [-h] {one,two} ..."""
    found = re.match(r"usage: [^{]*\{([^}]*)\} \.\.\.\n", help_text)
    return found[1].split(",") if found else []


def set_options(help_text):
    """The same pairs, of help with options that are indented and text that is justified: words may go on in the next line."""
    found = []
    for line in help_text.partition("optional arguments:\n")[2].splitlines():
        if line.startswith("  -"):
            option, _, rest = line.strip().partition("  ")
            found.append([option, [" ".join(rest.split())]])
        else:
            before, text = found[-1][1][0], " ".join(line.split())
            together = before[-1:] in ("-", ".") and text[:1].islower()
            found[-1][1][0] = (before + text if together else f"{before} {text}").strip()
    return found


def print_options(pairs):
    for option, lines in pairs:
        print(f".TP\n.B {escape(option)}")
        print("\n.br\n".join(escape(x) for x in lines))


def print_section(title, pairs):
    if pairs:
        print(f".SH {title}")
    print_options(pairs)


def main():
    path, name, version, program = sys.argv[1:5]
    about, examples = section(path, name)

    def help_of(*words):
        return subprocess.run([program, name, *words, "--help"], stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout

    help_text = help_of()
    purpose = re.sub(r"\s+", " ", about).split(". ")[0].split(": ")[0].rstrip(".")
    print(f'.TH {name.upper()} 1 "" "barnabas {version}" "barnabas"')
    print(f".SH NAME\n{escape(name)}, {escape(name)}.sh \\- {escape(purpose[:1].lower() + purpose[1:])}")
    words = commands(help_text)
    print(f".SH SYNOPSIS\n.B {escape(name)}.sh\n[\\fIOPTION\\fR]..." + (" \\fICOMMAND\\fR [\\fIOPTION\\fR]..." if words else ""))
    print(f".SH DESCRIPTION\n{escape(about)}")
    if not name.startswith("barnabas-"):
        print(".PP\nNames, options, output and exit codes are those of Kafka 3.9's script.")
    print_section("OPTIONS", set_options(help_text) if words else options(help_text))
    for word in words:
        print_section(f"OPTIONS OF {word.upper()}", set_options(help_of(word)))
    print(".SH EXIT STATUS\n0 on success, 1 on wrong usage or failure.")
    print(".SH EXAMPLES\n.nf")
    print("\n".join(escape(x) for x in examples))
    print(".fi\n.SH SEE ALSO\n.BR barnabas (8),\n.BR server.properties (5)")


main()
