#!/usr/bin/env python3
"""Lists, moves and deletes very many objects of a local directory with the command `anystorage`.

Usage: python3 .ci/many_keys.py COMMAND [KEYS]

COMMAND is the path of the command, and KEYS defaults to 1,000,000. The keys are in directories of
1,000 objects. Each step fails if it prints a wrong number of keys, or if its memory is above a
bound that does not depend on the number of keys. Prints the time and the peak memory of each step.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

KEYS_PER_DIRECTORY = 1000
# A file system in memory, because the command syncs each change, which a disk would measure.
MEMORY = "/dev/shm"
# The command itself needs about half of it.
MAX_MEMORY_MIB = 64


def main():
    command, keys = pathlib.Path(sys.argv[1]).resolve(), int((sys.argv + ["1000000"])[2])
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="anystorage-many-keys-", dir=memory) as scratch:
        root = pathlib.Path(scratch) / "root"
        start = time.monotonic()
        create(root / "a", keys)
        print(f"{keys} files created in {time.monotonic() - start:.1f}s", flush=True)

        def run(*arguments):
            return step([command, *arguments], root)

        expect(run("ls", "-r", "./a"), keys)
        run("mv", "-r", "./a", "./b")
        expect(run("ls", "-r", "./b"), keys)
        run("rm", "-r", "./b")
        left = [path for path in root.rglob("*") if ".anystorage" not in path.parts]
        if any(path.is_file() for path in left):
            sys.exit(f"{len(left)} paths are left, such as {left[0]}")


def create(directory, keys):
    """Creates files with one byte, as another program would."""
    for first in range(0, keys, KEYS_PER_DIRECTORY):
        below = directory / f"{first // KEYS_PER_DIRECTORY:06}"
        below.mkdir(parents=True)
        for key in range(first, min(first + KEYS_PER_DIRECTORY, keys)):
            file = os.open(below / f"object-{key:09}.txt", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            os.write(file, b"x")
            os.close(file)


def step(command, directory):
    """Runs a command and returns the number of lines that it printed with an object."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=directory, stdout=output, stdin=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        printed = sum(b"object-" in line for line in output)
    memory = usage.ru_maxrss / 1024
    shown = " ".join(map(str, command[1:]))
    print(f"{shown}: {time.monotonic() - start:.1f}s, {memory:.0f} MiB", flush=True)
    if process.returncode != 0:
        sys.exit(f"{shown}: exit code {process.returncode}")
    if memory > MAX_MEMORY_MIB:
        sys.exit(f"{shown}: {memory:.0f} MiB of memory, more than {MAX_MEMORY_MIB} MiB")
    return printed


def expect(printed, keys):
    if printed != keys:
        sys.exit(f"{printed} keys were printed instead of {keys}")


main()
