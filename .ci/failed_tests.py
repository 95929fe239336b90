"""Prints the tests that failed: first their names, then the output of each one.

Usage: python3 .ci/failed_tests.py LOG

LOG is the output of `cargo test --no-fail-fast -- --show-output`. Passing tests may print panics
too, because the test suite runs drivers that are broken on purpose, so the output of a failed test
is found by the test's name. A test program that aborts or is killed prints no summary. For such a
program the end of the output is printed, and for a failed build its errors.
"""

import re
import sys

PROGRAM = re.compile(r"^\s+(?:Running|Doc-tests) (.+)")
FAILED = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. FAILED")
OUTPUT = re.compile(r"^---- (.+) stdout ----$")
SUMMARY = re.compile(r"^test result: ")
# An error of the compiler. The output of a test rarely has a line that begins like this.
CARGO_ERROR = re.compile(r"^error(\[E\d+\])?: ")

# Upper bounds for the printed output of one test and for the end of a program's output, in lines,
# and for a line of the compiler, which prints all arguments of the linker.
MAX_LINES = 300
LAST_LINES = 60
MAX_COLUMNS = 400


class Program:
    """A test program, or the build before the first one."""

    def __init__(self, name):
        self.name = name
        self.lines = []
        self.failed = []
        self.outputs = {}
        self.has_summary = False

    def read(self):
        """Finds the failed tests in the lines of the program, and the output of each."""
        in_failures = False
        current = None
        for line in self.lines:
            if match := FAILED.match(line):
                self.note(match[1])
            elif line in ("successes:", "failures:"):
                in_failures, current = line == "failures:", None
            elif SUMMARY.match(line):
                self.has_summary, in_failures, current = True, False, None
            elif in_failures and (match := OUTPUT.match(line)):
                self.note(match[1])
                current = self.outputs.setdefault(match[1], [])
            elif current is not None:
                current.append(line)
            elif in_failures and line.startswith("    ") and " " not in line.strip():
                # The list of names at the end.
                self.note(line.strip())
        return self

    def note(self, test):
        if test not in self.failed:
            self.failed.append(test)


def programs(lines):
    found = [Program("the build")]
    for line in lines:
        if match := PROGRAM.match(line):
            found.append(Program(match[1]))
        found[-1].lines.append(line)
    return [program.read() for program in found]


def compiler_errors(lines):
    """Returns the errors of the compiler, each one up to the next empty line."""
    found, inside = [], False
    for line in lines:
        inside = bool(line) and (inside or CARGO_ERROR.match(line) is not None)
        if inside:
            found.append(line if len(line) <= MAX_COLUMNS else f"{line[:MAX_COLUMNS]}...")
    return found


def shortened(lines, limit):
    if len(lines) <= limit:
        return lines
    half = limit // 2
    return [*lines[:half], f"[{len(lines) - 2 * half} lines left out]", *lines[-half:]]


def main(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [line.rstrip("\n") for line in file]
    all_programs = programs(lines)
    build, tested = all_programs[0], all_programs[1:]
    ended_early = [program for program in tested if not program.has_summary]
    failed = [(program, test) for program in tested for test in program.failed]

    print(f"{len(failed)} tests failed:")
    for program, test in failed:
        print(f"    {test}    ({program.name})")
    for program in ended_early:
        print(f"    {program.name} ended before its summary")
    errors = compiler_errors(lines)
    print(*(f"    {line}" for line in shortened(errors, MAX_LINES)), sep="\n")

    for program, test in failed:
        print(f"\n==== {test}    ({program.name})")
        print(*shortened(program.outputs.get(test, ["(no output)"]), MAX_LINES), sep="\n")
    ends = ended_early if tested or errors else [build]
    for program in ends:
        print(f"\n==== the end of the output of {program.name}")
        print(*program.lines[-LAST_LINES:], sep="\n")


main(sys.argv[1])
