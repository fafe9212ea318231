"""What is shown of a run: a line for each file whose tests are over, the slowest tests, and where the logs of those are that failed."""

import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

import harness

SLOW_TURN = re.compile(r"WARN A turn of the loop .*")
SHOWN = 10
CRASH = "???"  # xdist's word for when a test ended that has ended its worker


class File:
    def __init__(self):
        self.pending, self.seconds, self.results = set(), 0.0, defaultdict(int)

    def line(self, name):
        word = "FAIL" if self.results.get("failed") else "ok"
        return f"{word:4} {name:28} {self.seconds:5.0f} s  " + ", ".join(f"{n} {what}" for what, n in self.results.items())


class Progress:
    """In the process that prints: with workers, the one that none of the tests runs in."""

    def __init__(self, config):
        self.config, self.files, self.tests, self.slow_turns = config, defaultdict(File), defaultdict(float), []
        self.outcomes, self.failures, self.skips = {}, [], defaultdict(int)

    def expect(self, ids):
        for i in ids:
            self.files[i.split("::")[0]].pending.add(i)

    def pytest_collection_finish(self, session):
        self.expect(item.nodeid for item in session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node, ids):
        self.expect(ids)

    def pytest_runtest_logreport(self, report):
        self.tests[report.nodeid] += report.duration
        if report.failed or report.skipped:
            self.outcomes[report.nodeid] = report.outcome
        if report.failed:
            self.failures.append(report)
        if report.skipped:
            self.skips[str(report.longrepr[2])] += 1
        if report.when not in ("teardown", CRASH):
            return
        self.slow_turns += [(report.nodeid, line) for what, line in report.user_properties if what == "slow turn"]
        name = report.nodeid.split("::")[0]
        file = self.files[name]
        file.pending.discard(report.nodeid)
        file.seconds += self.tests[report.nodeid]
        file.results[self.outcomes.get(report.nodeid, "passed")] += 1
        if not file.pending:
            self.config.get_terminal_writer().line(file.line(Path(name).name))

    def pytest_report_teststatus(self, report):
        if report.when == "call" or not report.passed:
            return report.outcome, "", ""  # no letter for each
        return "", "", ""

    def pytest_terminal_summary(self, terminalreporter):
        say = terminalreporter.write_line
        say(f"The slowest {SHOWN}:")
        for name, seconds in sorted(self.tests.items(), key=lambda item: -item[1])[:SHOWN]:
            say(f"{seconds:7.1f} s  {Path(name).name}")
        for reason, count in sorted(self.skips.items()):
            say(f"{count} not run: {reason}")
        if self.slow_turns:
            say("Loops that had no time for others:")
        for name, line in self.slow_turns:
            say(f"  {Path(name).name}: {line}")
        for report in self.failures:
            say(f"FAIL {Path(report.nodeid).name} ({report.when})")
            for line in [*report.longreprtext.splitlines()[-SHOWN:], *dict(report.sections).get("logs", "").splitlines()]:
                say(f"     {line[:300]}")


# ---- Where the tests run ----


def keep_logs(item, report):
    """What the test has left, and the logs of what is not its own and has said something since it began, are in one folder."""
    folder = item.funcargs.get("tmp_path") or Path(item.config._tmp_path_factory.mktemp(item.name[:30], numbered=True))
    for process in harness.Process.spawned:
        if folder not in process.log.parents and process.log.exists() and process.log.stat().st_mtime >= getattr(item, "began", 0):
            shutil.copy(process.log, folder / f"shared-{process.log.parent.name}-{process.log.name}")
    report.sections.append(("logs", f"The logs of the brokers are in {folder}"))


def note_slow_turns(item):
    for log in sorted(item.funcargs["tmp_path"].glob("*.log")):
        item.user_properties += [("slow turn", line) for line in SLOW_TURN.findall(log.read_text(errors="replace"))]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Of a test that has passed nothing is kept."""
    if call.when == "setup":
        item.began = call.start
    if call.when == "teardown" and "tmp_path" in item.funcargs:
        note_slow_turns(item)
    report = yield
    if report.failed:
        item.has_failed = True
        keep_logs(item, report)
    if call.when == "teardown" and "tmp_path" in item.funcargs and not getattr(item, "has_failed", False):
        shutil.rmtree(item.funcargs["tmp_path"], ignore_errors=True)
    return report
