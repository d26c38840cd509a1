"""The fault scenarios and what the test service counted in each: `python tests/cloud/scenarios.py`.

Runs tests/cloud/test_0*.py and prints a line for each scenario. The fixture `desk` counts the paid POSTs of every test
and fails a numbered one that ends without having asserted that very number.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
DOCUMENT = HERE.parents[1] / "docs" / "runcomfy.md"
SCENARIOS = range(1, 49)
NUMBERED = re.compile(r"test_((?:\d\d_)+)")
ROW = re.compile(r"\| (\d+) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|")
POSTS = "posts"  # name of what the fixture notes for a test


@dataclass
class Row:
    """What was measured of one scenario: tests, those that passed, and how many of them saw how many POSTs."""

    tests: int = 0
    passed: int = 0
    posts: Counter = field(default_factory=Counter)

    @property
    def seen(self) -> str:
        """Each number of POSTs, the smallest first, with the number of tests that saw it."""
        return ", ".join(f"{posts} ({tests})" for posts, tests in sorted(self.posts.items()))


def numbers_in(name: str) -> list[int]:
    """The scenarios that a test's name begins with; 0 stands for an undisturbed run."""
    found = NUMBERED.match(name)
    return [number for number in map(int, found[1].split("_")[:-1]) if number] if found else []


def all_numbered() -> set[str]:
    """The test functions of scenarios, as they stand in the files."""
    texts = [path.read_text(encoding="utf-8") for path in HERE.glob("test_0*.py")]
    return {name for text in texts for name in re.findall(r"^def (test_\w+)", text, re.MULTILINE) if numbers_in(name)}


def table_of(tests: Iterable[tuple[str, list[tuple[str, object]], bool]]) -> dict[int, Row]:
    """Scenario → row, from (name, noted properties, passed) of each test."""
    rows = {number: Row() for number in SCENARIOS}
    for name, noted, passed in tests:
        for number in numbers_in(name):
            row = rows[number]
            row.tests += 1
            row.passed += passed
            row.posts.update(int(str(value)) for word, value in noted if word == POSTS)
    return rows


def documented() -> dict[int, tuple[str, str, str]]:
    """Scenario → (what happens, tests, POSTs seen) as docs/runcomfy.md has it."""
    rows = ROW.findall(DOCUMENT.read_text(encoding="utf-8"))
    return {int(number): (what, tests, seen) for number, what, _, tests, seen in rows}


def write_down(rows: dict[int, Row]) -> None:
    """Bring the measured columns of docs/runcomfy.md up to date."""

    def renewed(found: re.Match) -> str:
        row = rows[int(found[1])]
        return f"| {found[1]} | {found[2]} | {found[3]} | {row.tests} | {row.seen} |"

    DOCUMENT.write_text(ROW.sub(renewed, DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")


class Measuring:
    """A plugin of pytest that keeps what was noted and prints the table at the end."""

    def __init__(self) -> None:
        self.noted: dict[str, list] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.noted[report.nodeid] = list(report.user_properties)
        if report.failed:
            self.failed.add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter) -> None:
        tests = [(node.rpartition("::")[2], noted, node not in self.failed) for node, noted in self.noted.items()]
        names = documented()
        terminalreporter.section("fault scenarios")
        terminalreporter.line(f"{'no.':>3}  {'what happens':<55} {'tests':>5} {'passed':>6}  paid POSTs (tests)")
        for number, row in table_of(tests).items():
            what = names[number][0]
            terminalreporter.line(f"{number:>3}  {what:<55} {row.tests:>5} {row.passed:>6}  {row.seen}")


if __name__ == "__main__":
    config = ["-c", str(HERE.parent / "pytest.ini"), f"--rootdir={HERE.parent}", "-q"]
    raise SystemExit(pytest.main([*config, *map(str, sorted(HERE.glob("test_0*.py"))), *sys.argv[1:]], [Measuring()]))
