#!/usr/bin/env python3
"""Kills the workers of transfer jobs at random moments, and checks what is there at the end.

Usage: python3 .ci/transfer_jobs.py COMMAND [--keys N] [--large MIB] [--small N] [--kills K]
       [--seed S] [--proofs workers,resume,s3,parallel,slurm,node,twice]

COMMAND is the path of `anystorage-generated`, whose driver `generated` has any number of objects.
Each proof prints one line of figures:

- workers: `transfer plan`, then 8 workers of KEYS objects of 4 KiB. Random workers are killed with
  SIGKILL and replaced, until the job is done.
- resume: one `sync --job` of a file of LARGE MiB and SMALL objects, killed K times.
- s3: the same to a bucket of the S3 server that the variables of `storage-s3/servers/radosgw up`
  name, with at most 200 small objects.
- parallel: 8 workers of KEYS objects, which GNU parallel starts. Random ones are killed, and
  `--resume-failed` starts them again.
- slurm: 8 workers as an array of tasks on Slurm with two nodes on this machine. Random ones are
  killed, and a second array does the rest.
- node: an array with a node that is killed with its tasks, and starts again.
- twice: an array with a node whose daemon is killed. Slurm starts its tasks on the other node,
  while they still run.

All check that the command ends with 0, that the destination has the same bytes, and that no upload
and no temporary file is left. The proofs "resume" and "s3" also limit the bytes that were written
again: all bytes that the processes passed to `write`, as Linux counts them for files and for
connections, without those of a run that was not killed. The seed decides which worker is killed
when, as far as the machine repeats itself.

No proof fails because this program is slow for some seconds: jobs are slowed down, and a process
that ends before it is killed does not count as killed.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

WORKERS = 8
SHARDS = 24
LEASE = "2s"
MIB = 1 << 20
JOB = "state:job"
WORK = ["transfer", "work", "-q", "--job", JOB]
# What one process has under way: parts of a large object, and small objects.
PARTS = 4
PART_MIB = 8
CONCURRENCY = 8
SMALL_SIZE = 4096
# The small objects of the proof "s3": each costs a server some milliseconds.
MAX_SMALL_ON_S3 = 200
# The share of all bytes after which the last process is killed.
KILLED_SHARE = 0.9
# The seconds that a job takes at least, so that the moments of the kills lie apart.
JOB_SECONDS = 4
SYNC_SECONDS = 4
# How often the syncs begin again if most of them ended before they were killed.
ATTEMPTS = 3
# How many objects show how far a job is.
SAMPLE = 500
# The seconds until Slurm takes a silent node for dead, in the proof whose nodes do not die.
PATIENCE = 60
# For both proofs with the sizes by hand. A run that does not end is a failure, too.
MAX_SECONDS = 3600
# A file system in memory, because a disk would only make it slow.
MEMORY = "/dev/shm"
ENGINES = pathlib.Path(__file__).resolve().parent.parent / "storage-transfer/engines"


def main():
    arguments = parsed()
    print(f"seed {arguments.seed}", flush=True)
    for name in arguments.proofs.split(","):
        with tempfile.TemporaryDirectory(prefix="anystorage-jobs-", dir=memory(arguments)) as path:
            PROOFS[name](Bench(arguments, pathlib.Path(path)))


def parsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", type=pathlib.Path)
    parser.add_argument("--keys", type=int, default=20_000)
    parser.add_argument("--large", type=int, default=512, help="MiB")
    parser.add_argument("--small", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--proofs", default="workers,resume")
    arguments = parser.parse_args()
    arguments.command = arguments.command.resolve()
    return arguments


def memory(arguments):
    """Returns the directory for the files: in memory if one proof fits into half of the rest."""
    # A small file needs a page, and about as much again in the worst case.
    needed = max(arguments.large * MIB, arguments.keys * 2 * SMALL_SIZE)
    if not os.access(MEMORY, os.W_OK):
        return None
    free = os.statvfs(MEMORY)
    return MEMORY if needed < free.f_bavail * free.f_frsize // 2 else None


@dataclasses.dataclass
class Ended:
    """A process that has ended."""

    exit: int
    # The bytes that it passed to `write`.
    written: int
    output: str
    errors: str


class Process:
    """A running command, whose output goes to files."""

    def __init__(self, command, arguments, environment):
        self.output = tempfile.TemporaryFile()
        self.errors = tempfile.TemporaryFile()
        self.shown = " ".join(arguments)
        self.process = subprocess.Popen(
            [command, *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=self.errors,
        )

    def has_ended(self):
        """Returns whether the process has ended. It stays a zombie until `end`."""
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.process.pid, flags) is not None

    def written(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/io").read_text()
        return int(text.split("wchar: ")[1].split()[0])

    def kill(self):
        """Kills the process, unless it has ended, and returns what it has done."""
        # It is a zombie until `end`, so no other process has its number.
        os.kill(self.process.pid, signal.SIGKILL)
        return self.end(60)

    def end(self, seconds):
        """Waits for the end, and returns what the process has done."""
        deadline = time.monotonic() + seconds
        while not self.has_ended():
            if time.monotonic() > deadline:
                self.process.kill()
                self.process.wait()
                fail(f"{self.shown}: did not end within {seconds} s")
            time.sleep(0.005)
        written = self.written()
        exit = self.process.wait()
        texts = []
        for file in [self.output, self.errors]:
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
            file.close()
        return Ended(exit, written, *texts)


class Bench:
    """The directories and the storages of one proof."""

    def __init__(self, arguments, directory):
        self.arguments = arguments
        self.random = random.Random(arguments.seed)
        self.directory = directory
        self.deadline = time.monotonic() + MAX_SECONDS
        ours = {key: os.environ[key] for key in os.environ if not key.startswith("STORAGE_")}
        self.environment = ours
        for name in ["state", "target", "baseline"]:
            (directory / name).mkdir()
            self.storage(name, f"file://{directory / name}?durable=false")

    def storage(self, name, url):
        self.environment[f"STORAGE_{name.upper()}_URL"] = url

    def start(self, *arguments):
        return Process(self.arguments.command, arguments, self.environment)

    def run(self, *arguments):
        """Runs a command that must succeed."""
        process = self.start(*arguments)
        return succeeded(process, process.end(self.left()))

    def left(self):
        return max(self.deadline - time.monotonic(), 1)

    def wait_for_share(self, share, process):
        """Waits until about this share of the objects is in the destination.

        Returns false if the process has ended before.
        """
        sample = len(self.sample)
        while True:
            # An object stays, so only the others have to be looked for.
            self.missing = [path for path in self.missing if not os.path.exists(path)]
            if sample - len(self.missing) >= share * sample:
                return True
            if process.has_ended():
                return False
            if time.monotonic() > self.deadline:
                fail(f"the job did not continue within {MAX_SECONDS} s")
            time.sleep(0.01)

    def plan(self):
        """Plans a job of small objects."""
        keys = self.arguments.keys
        self.missing = self.sample = [
            self.directory / "target" / generated_key(number)
            for number in range(0, keys, max(keys // SAMPLE, 1))
        ]
        self.storage("source", f"generated:?count={keys}&size={SMALL_SIZE}&seed=1")
        plan = ["transfer", "plan", "--job", JOB, "--lease", LEASE, "--shards", str(SHARDS)]
        self.run(*plan, "source:", "target:")

    def check_job(self):
        """Fails unless the job is done, and the destination has what it should have."""
        keys = self.arguments.keys
        status = json.loads(self.run("transfer", "status", "--job", JOB, "--json").output)
        if status["state"] != "done" or status["counts"]["source_objects"] != keys:
            fail(f"the job is not done: {status['state']}, {status['counts']}")
        self.check_target(keys)

        self.check_state()

    def check_state(self):
        """Fails if the documents of the job contain an address of a storage."""
        storages = {name: url for name, url in self.environment.items()
                    if name.startswith("STORAGE_")}
        # An attempt of syncs has a job of its own.
        found = (self.directory / "state").glob("job*/**/*")
        documents = [path for path in found if path.is_file()]
        if not documents:
            fail("the job has no documents")
        for path in documents:
            text = path.read_text()
            for name, url in storages.items():
                if url in text or str(self.directory) in text:
                    fail(f"{path} contains {name}, or a directory of a storage")

    def check_target(self, objects):
        """Fails unless the directory of the destination has what it should have, and no file
        more."""
        self.check_objects(objects)
        number, own = files(self.directory / "target")
        if own or number != objects:
            fail(f"{number} files for {objects} objects; files of the driver: {own[:3]}")

    def check_objects(self, objects):
        """Fails unless the destination has the bytes of the source, and nothing else."""
        ended = self.run("check", "source:", "target:", "--download", "--json")
        counts = json.loads(ended.output)
        wrong = sum(counts[name] for name in ["different", "missing", "extra", "unknown"])
        if wrong or counts["same"] != objects:
            fail(f"{wrong} wrong objects: {counts}")
        uploads = self.run("uploads", "list", "target:").output
        if uploads:
            fail(f"unfinished uploads are left:\n{uploads}")


def generated_key(number):
    """Returns the key that the driver `generated` gives to an object."""
    directory = number // 1000
    return f"{directory // 1000:03}/{directory % 1000:03}/{number:09}.bin"


def files(root):
    """Returns the number of files below a root, and those of the driver itself.

    The driver's lock files may stay: they have no bytes of objects.
    """
    number, own = 0, []
    for directory, _, names in os.walk(root):
        below = pathlib.Path(directory).relative_to(root).parts
        if below[:1] != (".anystorage",):
            number += len(names)
        elif below[1:2] != ("locks",):
            own += [os.path.join(directory, name) for name in names]
    return number, own


def workers(bench):
    keys, kills, killed, exits = bench.arguments.keys, 2 * bench.arguments.kills, 0, 0
    bench.plan()
    start = time.monotonic()

    def worker(index):
        options = ["--index", str(index), "--of", str(WORKERS), *slowly(bench, JOB_SECONDS)]
        return bench.start(*WORK, "--json", *options)

    running = {index: worker(index) for index in range(WORKERS)}
    # By the share of the job that is done, so that they fall into all of it, at any speed.
    moments = sorted(bench.random.uniform(0, 0.9) for _ in range(kills))
    done, total = 0, keys * SMALL_SIZE
    written = dict.fromkeys(running, 0)
    while running:
        time.sleep(0.002)
        for index in [index for index in running if running[index].has_ended()]:
            succeeded(running[index], running[index].end(1))
            del running[index]
            exits += 1
        for index, process in running.items():
            now = process.written()
            done += now - written[index]
            written[index] = now
        if running and killed < kills and done > moments[killed] * total:
            index = bench.random.choice(sorted(running))
            process = running.pop(index)
            if was_killed(process, process.kill()):
                written[index] = 0
                killed += 1
                running[index] = worker(index)
            else:
                exits += 1
        if time.monotonic() > bench.deadline:
            for process in running.values():
                process.kill()
            fail(f"the job was not done within {MAX_SECONDS} s")
    seconds = time.monotonic() - start
    if killed < kills // 2:
        fail(f"the job was done after {killed} of {kills} kills")
    bench.check_job()
    print(f"workers: {keys} keys, {WORKERS} workers, {killed} kills, {seconds:.1f}s; {exits} ended"
          " with 0; 0 wrong objects", flush=True)


def resume(bench):
    small = bench.arguments.small
    baseline = first_sync(bench, small)
    shutil.rmtree(bench.directory / "baseline")
    figures = killed_syncs(bench, small, baseline)
    bench.check_target(small + 1)
    print(f"resume: {figures}; 0 wrong objects", flush=True)


def s3(bench):
    small = min(bench.arguments.small, MAX_SMALL_ON_S3)
    for name in ["target", "baseline"]:
        bench.storage(name, s3_url(f"{bench.directory.name}/{name}"))
    baseline = first_sync(bench, small)
    figures = killed_syncs(bench, small, baseline)
    bench.check_objects(small + 1)
    bench.check_state()
    # After a failure they stay, as evidence.
    for name in ["target", "baseline"]:
        bench.run("rm", "-r", "--everything", f"{name}:")
    print(f"s3: {figures}; 0 wrong objects", flush=True)


def s3_url(prefix):
    """Returns the URL of a prefix on the S3 server that the environment names."""
    server = {name: os.environ.get(f"STORAGE_S3_TEST_{name}")
              for name in ["ENDPOINT", "BUCKET", "QUIRKS"]}
    if not all(server.values()):
        fail("s3: no server is named; see storage-s3/servers/README.md")
    options = (f"endpoint={server['ENDPOINT']}&allow_http=true&quirks={server['QUIRKS']}"
               f"&region={os.environ['AWS_REGION']}")
    return f"s3://{server['BUCKET']}/{prefix}?{options}"


def sync(job, target, *options):
    return ["sync", "--job", f"state:{job}", "--lease", LEASE, "--json", "--concurrency",
            str(CONCURRENCY), *options, "source:", f"{target}:"]


def first_sync(bench, small):
    """Copies a large file and small objects without a kill. Returns the bytes that it wrote."""
    large = bench.arguments.large * MIB
    bench.storage("source", f"generated:?count={small + 1}&size={SMALL_SIZE}&large_count=1"
                  f"&large_size={large}&seed=2")
    written = bench.run(*sync("baseline", "baseline")).written
    if written < large:
        fail(f"the sync wrote {written} bytes, fewer than the large file has: they are not counted")
    return written


def killed_syncs(bench, small, baseline):
    """Copies the same, with kills. Returns the figures.

    Fails if more was written again than the parts and objects that were under way at the kills.
    """
    if in_flight(bench.arguments.kills) >= KILLED_SHARE * baseline:
        fail("so many kills prove nothing: no more could be written again from the beginning")
    start = time.monotonic()
    written, killed = enough_kills(bench, baseline)
    seconds, again, allowed = time.monotonic() - start, written - baseline, in_flight(killed)
    if again > allowed:
        fail(f"{again / MIB:.0f} MiB were written again, more than {allowed / MIB:.0f} MiB")
    return (f"{bench.arguments.large} MiB and {small} keys, {killed} kills, {seconds:.1f}s;"
            f" {again / MIB:.1f} MiB written again, of at most {allowed / MIB:.1f} MiB in flight")


def in_flight(kills):
    """Returns how many bytes may be under way at so many kills."""
    return kills * (PARTS * PART_MIB * MIB + CONCURRENCY * SMALL_SIZE)


def enough_kills(bench, baseline):
    """Syncs until at least half of the kills have met a process. Returns the figures of that."""
    kills = bench.arguments.kills
    for attempt in range(ATTEMPTS):
        written, killed = written_with_kills(bench, f"job-{attempt}", baseline)
        if killed >= max(kills // 2, 1):
            return written, killed
        bench.run("rm", "-r", "--everything", "target:")
    fail(f"the syncs of {ATTEMPTS} attempts ended before they were killed, at last after {killed}"
         f" of {kills} kills")


def written_with_kills(bench, job, baseline):
    """Kills a sync after one number of bytes after another, and completes it.

    Returns the bytes that the processes wrote, and how many of them were killed.
    """
    # After how many bytes each process is killed: any number.
    shares = [bench.random.random() for _ in range(bench.arguments.kills)]
    limited = ["--bandwidth", str(baseline // SYNC_SECONDS)]
    written = 0
    for number, share in enumerate(shares):
        process = bench.start(*sync(job, "target", *limited))
        after = share / sum(shares) * KILLED_SHARE * baseline
        while process.written() < after and not process.has_ended():
            if time.monotonic() > bench.deadline:
                process.kill()
                fail(f"the sync did not continue within {MAX_SECONDS} s")
            time.sleep(0.001)
        ended = process.kill()
        written += ended.written
        if not was_killed(process, ended):
            return written, number
    return written + bench.run(*sync(job, "target")).written, len(shares)


def parallel(bench):
    bench.plan()
    start = time.monotonic()
    log = bench.directory / "parallel.log"
    options = ["-j", str(WORKERS), "--joblog", str(log)]
    work = [str(bench.arguments.command), *WORK, *slowly(bench, JOB_SECONDS), "--of", str(WORKERS),
            "--index"]
    indexes = [str(index) for index in range(WORKERS)]
    process = Process("parallel", [*options, *work, ":::", *indexes], bench.environment)
    kill_workers(bench, process)
    ended = process.end(bench.left())
    jobs = [line.split("\t")[6:8] for line in log.read_text().splitlines()[1:]]
    killed = jobs.count(["0", str(signal.SIGKILL.value)])
    # GNU parallel ends with the number of jobs that failed.
    if not 0 < killed == ended.exit or killed + jobs.count(["0", "0"]) != WORKERS:
        fail(f"parallel: exit code {ended.exit} after {killed} kills:\n{log.read_text()}"
             f"{ended.errors}")
    again = [*options, "--resume-failed", *work, ":::", *indexes]
    process = Process("parallel", again, bench.environment)
    succeeded(process, process.end(bench.left()))
    bench.check_job()
    report("parallel", bench, start, f"{WORKERS} workers, {killed} of them killed")


def kill_workers(bench, process):
    """Kills random workers until two are left, spread over the job.

    The engine knows how many died: one may end a moment before it is killed.
    """
    chosen = set()
    for moment in sorted(bench.random.uniform(0, 0.9) for _ in range(WORKERS - 2)):
        if not bench.wait_for_share(moment, process):
            break
        # One that was killed a moment ago may still be there.
        running = [worker for worker in workers_of(bench) if worker not in chosen]
        if len(running) > 2:
            worker = bench.random.choice(running)
            kill_worker(bench, worker)
            chosen.add(worker)


def kill_worker(bench, number):
    """Kills a worker, but no other process that has its number by now."""
    with contextlib.suppress(ProcessLookupError):
        process = os.pidfd_open(number)
        try:
            # If this is a worker, so is the process that was opened before, or that has ended.
            if is_worker(bench, pathlib.Path(f"/proc/{number}")):
                signal.pidfd_send_signal(process, signal.SIGKILL)
        finally:
            os.close(process)


def workers_of(bench):
    """Returns the processes of the command that work for this proof, by its own directory."""
    paths = pathlib.Path("/proc").glob("[0-9]*")
    return sorted(int(path.name) for path in paths if is_worker(bench, path))


def is_worker(bench, path):
    """Returns whether a process works for this proof. One that has ended has no environment."""
    try:
        return str(bench.directory).encode() in (path / "environ").read_bytes() and (
            path / "exe").samefile(bench.arguments.command)
    except OSError:
        return False


class Slurm:
    """Slurm with two nodes, while a proof runs."""

    def __init__(self, bench, *options):
        self.bench = bench
        self.options = options
        self.directory = str(bench.directory / "slurm")

    def __enter__(self):
        try:
            self.control("up", options=self.options)
        except BaseException:
            # What has started by then would stay.
            self.control("down")
            raise
        return self

    def __exit__(self, *_):
        self.control("down")

    def start(self, *arguments):
        arguments = [str(ENGINES / "slurm"), *arguments]
        return Process(sys.executable, arguments, self.bench.environment)

    def control(self, verb, *node, options=()):
        process = self.start(verb, *options, self.directory, *node)
        return succeeded(process, process.end(90))

    def array(self, *options):
        """Starts the workers as an array."""
        shell = f'exec "$@" --index "$SLURM_ARRAY_TASK_ID" --of {WORKERS}'
        worker = ["sh", "-c", shell, "work", str(self.bench.arguments.command), *WORK, *options]
        timeout = str(int(self.bench.left()))
        return self.start("run", "--timeout", timeout, self.directory, str(WORKERS), *worker)


def slurm(bench):
    bench.plan()
    start = time.monotonic()
    with Slurm(bench, "--node-timeout", str(PATIENCE)) as cluster:
        process = cluster.array(*slowly(bench, JOB_SECONDS))
        kill_workers(bench, process)
        ended = process.end(bench.left())
        killed = ended.output.count(f": FAILED, exit code 0:{signal.SIGKILL.value},")
        if not 0 < killed == WORKERS - ended.output.count(": COMPLETED,"):
            fail(f"{killed} tasks were killed:\n{ended.output}{ended.errors}")
        process = cluster.array()
        succeeded(process, process.end(bench.left()))
    bench.check_job()
    report("slurm", bench, start, f"an array of {WORKERS} on two nodes, {killed} of them killed")


def node(bench):
    bench.plan()
    start = time.monotonic()
    with Slurm(bench) as cluster:
        process = cluster.array(*slowly(bench, seconds=25))
        kill_node(bench, process, cluster)
        cluster.control("start", "n2")
        restarts = restarted(process, process.end(bench.left()))
    bench.check_job()
    report("node", bench, start, f"an array of {WORKERS} on two nodes, one of them killed,"
           f" {restarts} tasks restarted")


def twice(bench):
    bench.plan()
    start = time.monotonic()
    with Slurm(bench) as cluster:
        process = cluster.array(*slowly(bench, seconds=90))
        kill_node(bench, process, cluster, ["--keep-tasks"])
        most = 0
        while most <= WORKERS and not process.has_ended():
            most = max(most, len(workers_of(bench)))
            time.sleep(0.1)
        if most <= WORKERS:
            fail(f"no task ran twice: {process.end(1)}")
        restarts = restarted(process, process.end(bench.left()))
        # Slurm does not know the others any more. They end because the job is done.
        while workers_of(bench):
            if time.monotonic() > bench.deadline:
                fail("a worker that Slurm gave up did not end")
            time.sleep(0.1)
    bench.check_job()
    report("twice", bench, start, f"an array of {WORKERS} on two nodes, {restarts} tasks restarted"
           f" while they ran, up to {most} workers at once")


def slowly(bench, seconds):
    """Options of a worker for so few requests that the job takes at least this time."""
    return ["--requests", str(max(bench.arguments.keys // WORKERS // seconds, 1))]


def kill_node(bench, process, cluster, options=()):
    """Kills a node when a tenth of the objects are in the destination."""
    if not bench.wait_for_share(0.1, process):
        fail(f"the tasks ended before the node was killed: {process.end(1)}")
    cluster.control("kill", "n2", options=options)


def restarted(process, ended):
    """Returns how many times Slurm has started a task of the array again."""
    output = succeeded(process, ended).output
    lines = [line for line in output.splitlines() if "restarts" in line]
    restarts = sum(int(line.rsplit("restarts ", 1)[1]) for line in lines)
    if restarts == 0:
        fail(f"no task was restarted:\n{output}")
    return restarts


def report(name, bench, start, figures):
    seconds = time.monotonic() - start
    print(f"{name}: {bench.arguments.keys} keys, {figures}, {seconds:.1f}s; 0 wrong objects",
          flush=True)


def was_killed(process, ended):
    """Returns whether a process was killed. One that ended before must have succeeded."""
    if ended.exit == -signal.SIGKILL:
        return True
    succeeded(process, ended)
    return False


def succeeded(process, ended):
    if ended.exit != 0:
        fail(f"{process.shown}: exit code {ended.exit}: {ended.errors}")
    return ended


def fail(line):
    sys.exit(f"transfer_jobs: {line}")


PROOFS = {proof.__name__: proof for proof in [workers, resume, s3, parallel, slurm, node, twice]}
main()
