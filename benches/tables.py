"""Reads the tables of benchmarks, and the goals below them.

A table belongs to the heading before it. A goal is a line below a table:

    - Goal for ROW[, COLUMN]: at least|at most NUMBER[ UNIT]. Result: NUMBER[ UNIT], met|missed.

Without a column, it is a goal for the ratio of anystorage and a peer. COLUMN is the beginning of a
name. The result is that of the table, and is written by `update`.
"""

import pathlib
import re

DOCUMENT = pathlib.Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
HEADING = re.compile(r"(#{2,3}) (.+)")
# What a heading says about the run alone.
OF_THE_RUN = re.compile(r", (\d+ rounds?|load \d+)")
WITH_RANGE = re.compile(r"([\d.]+) \(([\d.]+) to ([\d.]+)\)")
GOAL = re.compile(
    r"- Goal for (?P<of>.+): (?P<bound>at least|at most) (?P<limit>\d+(\.\d+)?)(?P<unit>[^.]*)\."
    r"( Result: .*)?"
)
NUMBER = re.compile(r"\d+(\.\d+)?")


class Table:
    """A table in a text: its title, its lines, and the goals below it, by their lines."""

    def __init__(self, title, heading):
        self.title = OF_THE_RUN.sub("", title)
        self.heading = heading
        self.lines = []
        self.columns = []
        self.rows = {}
        self.goals = {}

    def add(self, number, line):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        self.lines.append(number)
        # A row of dashes follows the names of the columns.
        if not self.columns:
            self.columns = cells
        elif len(self.lines) > 2:
            self.rows[cells[0]] = cells[1:]

    def ranges(self):
        """Returns each result with a range, by its row and column."""
        for row, cells in self.rows.items():
            for column, cell in zip(self.columns[1:], cells):
                if match := WITH_RANGE.fullmatch(cell):
                    yield f"{row}: {column.split(' (')[0]}", tuple(map(float, match.groups()))

    def result_of(self, goal):
        """Returns the number that a goal is for, as the table has it."""
        of = goal["of"]
        rows = [row for row in self.rows if of == row or of.startswith(f"{row}, ")]
        if not rows:
            raise SystemExit(f"{self.title}: no row is {of!r}")
        row = max(rows, key=len)
        column = of[len(row) + 2 :]
        for name, cell in zip(self.columns[1:], self.rows[row]):
            if name.startswith(column) if column else " / " in name:
                return NUMBER.match(cell)[0]
        raise SystemExit(f"{self.title}: no column is that of {of!r}")

    def misses(self, goal):
        result, limit = float(self.result_of(goal)), float(goal["limit"])
        return result < limit if goal["bound"] == "at least" else result > limit


def read(text):
    """Returns the tables of a text by their titles."""
    found, table = {}, None
    for number, line in enumerate(text.splitlines()):
        if match := HEADING.fullmatch(line.strip()):
            table = Table(match[2], number)
        elif table and line.startswith("|"):
            # Another table below the same heading has no title.
            if table.lines and table.lines[-1] != number - 1:
                table = None
                continue
            table.add(number, line)
            found.setdefault(table.title, table)
        elif table and line.startswith("- Goal"):
            match = GOAL.fullmatch(line)
            if not match or not table.lines:
                raise SystemExit(f"line {number + 1} is no goal of a table: {line}")
            table.goals[number] = match
    return found


def with_result(goal, table):
    """Returns the line of a goal with the result of a table."""
    line = goal[0].partition(" Result: ")[0]
    verdict = "missed" if table.misses(goal) else "met"
    return f"{line} Result: {table.result_of(goal)}{goal['unit']}, {verdict}."
