"""Measures programs beside each other: their time, memory and requests to RadosGW."""

import collections
import contextlib
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

RADOSGW = pathlib.Path(__file__).resolve().parent.parent / "storage-s3/servers/radosgw"
REQUEST = re.compile(rb'beast: .*?"([A-Z]+) (\S+)')
Run = collections.namedtuple("Run", "wall processor memory requests")


@contextlib.contextmanager
def radosgw(directory):
    """Runs RadosGW in a directory, until the end or SIGTERM. Returns the variables that name it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    started = subprocess.run([RADOSGW, "up", directory], capture_output=True, text=True)
    if started.returncode != 0:
        sys.exit(f"the server did not start:\n{started.stderr}")
    try:
        yield dict(re.findall(r"^export (\w+)=(.*)$", started.stdout, re.MULTILINE))
    finally:
        subprocess.run([RADOSGW, "down", directory], check=True)


def log_of(directory):
    """Returns the file to which the server in a directory writes its requests."""
    return directory / "client.rgw.log"


class Meter:
    """Runs programs in a directory, and measures them.

    `environment` may be changed between two runs. Without a log, requests are not counted. A
    program that takes more than `timeout` seconds is killed. `name_of` names a request by its
    method and path.
    """

    def __init__(self, directory, environment, log, timeout=None, name_of=lambda method, _: method):
        self.directory = directory
        self.environment = environment
        self.log = log
        self.timeout = timeout
        self.name_of = name_of

    def run(self, command, count=True):
        """Runs a program that must succeed."""
        begin = self.log.stat().st_size if count and self.log else None
        start = time.monotonic()
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                list(map(str, command)),
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            usage = self.wait(process)
            wall = time.monotonic() - start
            if process.returncode != 0:
                errors.seek(0)
                shown = " ".join(map(str, command))
                text = errors.read()[-2000:].decode(errors="replace")
                sys.exit(f"{shown}: exit code {process.returncode} after {wall:.0f} s\n{text}")
        processor = usage.ru_utime + usage.ru_stime
        return Run(wall, processor, usage.ru_maxrss / 1024, self.requests(begin))

    def wait(self, process):
        """Waits until a program ends. Returns what it used."""
        timer = None
        if self.timeout:
            timer = threading.Timer(self.timeout, os.kill, [process.pid, signal.SIGKILL])
            timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        if timer:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage

    def requests(self, begin):
        """Counts the requests in the log of the server from a position on."""
        if begin is None:
            return collections.Counter()
        time.sleep(1)  # The server writes its log from a thread of its own.
        with self.log.open("rb") as log:
            log.seek(begin)
            found = filter(None, map(REQUEST.search, log))
            return collections.Counter(
                self.name_of(*(part.decode() for part in request.groups())) for request in found
            )


def in_turn(names, rounds):
    """Returns the number of a round and a name, with all names in each round, in an order that
    rotates."""
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            yield number, name


def progress(name, run):
    print(f"  {name}: {run.wall:.1f} s", file=sys.stderr, flush=True)


def spread(first, runs):
    """Returns the times of a program by those of the first one in the same round: the median, and
    the lowest and the highest."""
    ratios = [run.wall / mine.wall for mine, run in zip(first, runs)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def used(first, runs):
    """Returns the last cells of a row: processor time by that of the first program, memory, and
    the requests of the first round."""
    processor = [run.processor / mine.processor for mine, run in zip(first, runs)]
    requests = sorted(runs[0].requests.items())
    return (
        f"{statistics.median(processor):.2f} | {max(run.memory for run in runs):.0f} MiB |"
        f" {', '.join(f'{count} {name}' for name, count in requests) or '-'} |"
    )
