#!/usr/bin/env python3
"""Kills workers of jobs again and again, and compares the result with the source.

Usage: python3 .ci/transfer_jobs.py COMMAND [--keys N] [--mib M] [--kills K] [--seed S]
           [--engines parallel,slurm,node]

COMMAND is the path of the command `anystorage`. Runs, on local directories:

- eight workers of one job of N small files, of which random ones are killed (SIGKILL) at random
  moments and replaced, K times in all;
- one `sync --job` of a file of M MiB and N small files, killed K times at random moments;
- with --engines, the first job on GNU parallel, as an array on Slurm with two nodes, and on Slurm
  with a node that is killed with its tasks ("node").

Each proof fails if the destination lacks a byte, has another one, or keeps a temporary file, if a
worker ends with an unexpected code, or if more was written again than the parts that were under
way. Prints one line of figures for each proof.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time

WORKERS = 8
# A lease that expires soon, so that a killed worker is replaced soon.
LEASE = "2s"
# A run that is not killed ends within this time in seconds, and one more for each thousand keys.
TIMEOUT = 150
# What one run may have under way: four parts of 8 MiB, their buffers, and small files.
UNDER_WAY = 6 * 8 * 1024 * 1024
MEMORY = "/dev/shm"
ENGINES = pathlib.Path(__file__).resolve().parent.parent / "storage-transfer/engines"

CONFIG = """\
[storages.source]
driver = "fs"
root = "source"
durable = false

[storages.target]
driver = "fs"
root = "{target}"
durable = false

[storages.state]
driver = "fs"
root = "state"
durable = false
"""


class Proof:
    """A scratch directory with a source, and a destination and a job of its own."""

    def __init__(self, command, scratch, name, keys):
        self.command, self.scratch, self.name = command, scratch, name
        self.timeout = TIMEOUT + keys // 1000
        self.target = scratch / f"target-{name}"
        self.config = scratch / f"{name}.toml"
        self.config.write_text(CONFIG.format(target=self.target.name))
        self.job = f"state:{name}"
        self.start = time.monotonic()

    def arguments(self, *arguments):
        return [self.command, "--config", self.config, *arguments]

    def begin(self, *arguments, output=subprocess.PIPE):
        command, pipe = self.arguments(*arguments), subprocess.PIPE
        return subprocess.Popen(command, cwd=self.scratch, stdout=output, stderr=pipe, text=True)

    def run(self, *arguments, codes=(0,)):
        process = self.begin(*arguments)
        out, err = process.communicate(timeout=self.timeout)
        if process.returncode not in codes:
            fail(f"{self.name}: {arguments} ended with {process.returncode}: {err[-2000:]}")
        return out

    def plan(self, shards):
        plan = ["transfer", "plan", "--job", self.job, "--shards", str(shards)]
        self.run(*plan, "source:", "target:")

    def work(self, index):
        return self.begin(
            "transfer", "work", "-q", "--json", "--lease", LEASE,
            "--job", self.job, "--index", str(index), "--of", str(WORKERS),
        )  # fmt: skip

    def finish(self, figures):
        """Compares both sides, and looks for leftovers."""
        self.run("check", "-q", "--download", "source:", "target:")
        unfinished = self.run("uploads", "list", "target:")
        if unfinished.strip():
            fail(f"{self.name}: unfinished uploads are left:\n{unfinished}")
        state = json.loads(self.run("transfer", "status", "--json", "--job", self.job))
        counts = state["counts"]
        if state["state"] != "done" or counts["failed"] + counts["unknown"] + counts["kept"]:
            fail(f"{self.name}: the job is not complete: {counts}")
        seconds = time.monotonic() - self.start
        objects = f"{counts['source_objects']} objects equal"
        print(f"{self.name}: {figures}, {objects}, {seconds:.0f}s", flush=True)
        shutil.rmtree(self.target)


def fail(message):
    sys.exit(f"transfer_jobs: {message}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", type=pathlib.Path)
    parser.add_argument("--keys", type=int, default=20_000)
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--engines", default="")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    command, choose = options.command.resolve(), random.Random(options.seed)
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="anystorage-jobs-", dir=memory) as scratch:
        scratch = pathlib.Path(scratch)
        create(scratch / "source", options.keys)

        def proof(name):
            return Proof(command, scratch, name, options.keys)

        killed_workers(proof("workers"), options.kills, choose)
        for engine in filter(None, options.engines.split(",")):
            ENGINES_BY_NAME[engine](proof(engine))
        large = scratch / "source/000/large"
        write_large(large, options.mib)
        killed_sync(proof("sync"), options.kills, choose)


def create(directory, keys):
    for first in range(0, keys, 1000):
        below = directory / f"{first // 1000:03}"
        below.mkdir(parents=True)
        for key in range(first, min(first + 1000, keys)):
            (below / f"object-{key:07}.txt").write_bytes(b"%d\n" % key)


def write_large(path, mib):
    block = random.Random(0).randbytes(1024 * 1024)
    with open(path, "wb") as file:
        for number in range(mib):
            file.write(number.to_bytes(8, "big") + block[8:])
    # An older file has a strong ETag, so that its copy can be continued.
    old = time.time() - 60
    os.utime(path, (old, old))


def killed_workers(proof, kills, choose):
    proof.plan(32)
    workers = {index: proof.work(index) for index in range(WORKERS)}
    killed, deadline = 0, time.monotonic() + proof.timeout
    while workers:
        if time.monotonic() > deadline:
            fail(f"{proof.name}: the job does not end")
        time.sleep(choose.uniform(0.02, 0.3))
        for index, worker in list(workers.items()):
            if worker.poll() is not None:
                if worker.returncode != 0:
                    error = worker.stderr.read()
                    fail(f"{proof.name}: a worker ended with {worker.returncode}: {error}")
                del workers[index]
        if killed < kills and workers:
            index = choose.choice(list(workers))
            workers[index].kill()
            workers[index].wait()
            workers[index] = proof.work(index)
            killed += 1
    proof.finish(f"{WORKERS} workers, {killed} killed")


def killed_sync(proof, kills, choose):
    """Kills a sync at random moments. Each run continues where the last one was."""
    files = (path for path in (proof.scratch / "source").rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files)
    arguments = ["sync", "-q", "--json", "--lease", LEASE, "--job", proof.job, "source:", "target:"]
    killed, written = 0, 0
    while True:
        process = proof.begin(*arguments)
        lifetime = choose.uniform(0.05, 1.5) if killed < kills else proof.timeout
        written += run_for(process, lifetime)
        if process.returncode == 0:
            break
        if process.returncode != -9 or killed == kills:
            fail(f"{proof.name}: ended with {process.returncode}: {process.stderr.read()}")
        killed += 1
    again = max(0, written - size)
    allowed = (killed + 1) * UNDER_WAY
    if again > allowed:
        fail(f"{proof.name}: {again} bytes were written again, more than {allowed}")
    figures = f"{size >> 20} MiB, killed {killed} times, {again >> 20} MiB written again"
    proof.finish(f"{figures} (at most {allowed >> 20})")


def run_for(process, seconds):
    """Waits for a process, and kills it after a time. Returns how many bytes it has written."""
    deadline, written = time.monotonic() + seconds, 0
    while process.poll() is None:
        written = max(written, bytes_written(process.pid))
        if time.monotonic() > deadline:
            process.kill()
            process.wait()
        time.sleep(0.005)
    return written


def bytes_written(pid):
    """Returns how many bytes a process has passed to `write`: objects and documents of the job."""
    try:
        lines = pathlib.Path(f"/proc/{pid}/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("wchar:"))


def on_parallel(proof):
    proof.plan(32)
    work = ["transfer", "work", "-q", "--lease", LEASE, "--job", proof.job]
    work += ["--of", str(WORKERS), "--index"]
    log = proof.scratch / "parallel.log"
    command = ["parallel", "-j", str(WORKERS), "--joblog", log, *proof.arguments(*work)]
    numbers = "\n".join(str(index) for index in range(WORKERS))
    options = {"cwd": proof.scratch, "timeout": proof.timeout, "capture_output": True}
    done = subprocess.run(command, input=numbers, text=True, **options)
    if done.returncode != 0:
        fail(f"{proof.name}: {done.stderr[-2000:]}")
    proof.finish(f"{WORKERS} workers")


def on_slurm(proof, kills_node=False):
    slurm, directory = [sys.executable, ENGINES / "slurm"], proof.scratch / f"slurm-{proof.name}"
    proof.plan(32)
    try:
        subprocess.run([*slurm, "up", directory], check=True, stdout=subprocess.DEVNULL, timeout=60)
        work = ["transfer", "work", "-q", "--lease", LEASE, "--job", proof.job]
        # Few requests at a time, so that the node is killed before the end.
        work += ["--requests", "1000"] if kills_node else []
        shell = 'exec "$@" --index "$SLURM_ARRAY_TASK_ID" --of 8'
        array = [*slurm, "run", "--timeout", str(proof.timeout), directory, str(WORKERS)]
        array += ["sh", "-c", shell, "work", *proof.arguments(*work)]
        running = subprocess.Popen(array, cwd=proof.scratch, stdout=subprocess.PIPE, text=True)
        if kills_node:
            kill_node(running, slurm, directory)
        out, _ = running.communicate(timeout=proof.timeout)
        if running.returncode != 0:
            fail(f"{proof.name}: {out}")
        lines = [line for line in out.splitlines() if "restarts" in line]
        restarts = sum(int(line.rsplit("restarts ", 1)[1]) for line in lines)
        if kills_node and restarts == 0:
            fail(f"{proof.name}: no task was restarted:\n{out}")
        killed = f", one killed, {restarts} tasks restarted" if kills_node else ""
        proof.finish(f"an array of {WORKERS} on two nodes{killed}")
    finally:
        subprocess.run([*slurm, "down", directory], check=True, timeout=60)


def on_slurm_with_a_dead_node(proof):
    on_slurm(proof, kills_node=True)


def kill_node(running, slurm, directory):
    time.sleep(4)
    if running.poll() is not None:
        fail("the tasks ended before the node was killed: use more keys")
    subprocess.run([*slurm, "kill", directory, "n2"], check=True, timeout=30)
    time.sleep(2)
    subprocess.run([*slurm, "start", directory, "n2"], check=True, timeout=60)


ENGINES_BY_NAME = {
    "parallel": on_parallel,
    "slurm": on_slurm,
    "node": on_slurm_with_a_dead_node,
}


if __name__ == "__main__":
    main()
