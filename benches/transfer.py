"""Measures copies and syncs with the command `anystorage`, side by side with s5cmd and rclone.

Usage: python3 benches/transfer.py ANYSTORAGE S5CMD RCLONE [--parts PARTS] [--rounds N] [OPTIONS]

The arguments are the paths of the programs. PARTS are names of the parts below, with commas. The
programs run one after the other in each round, in an order that rotates, and each row is compared
with the first one of its table in the same round. Starts RadosGW and stops it at the end, unless
the variables of `storage-s3/servers/radosgw up` name a server; `--log` is then the log in which
requests are counted, and `--collect` the command that frees the memory of deleted objects. The
part `memory` needs `--generated`, the command with the driver of tools/generator.

  small-up     many objects of 4 KiB, a local directory to S3
  small-down   the same, S3 to a local directory
  server-side  the same, from one bucket to another
  large-up     a few large files, a local directory to S3, with checksums
  nothing      a sync of two buckets that are the same
  nothing-fs   a sync of a local directory with a bucket that is the same
  memory       a sync of generated keys that are the same, at two sizes
"""

import argparse
import contextlib
import os
import pathlib
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

import measure

PARTS = ["small-up", "small-down", "server-side", "large-up", "nothing", "nothing-fs", "memory"]
KEYS_PER_DIRECTORY = 1000
SMALL = 4096


def main():
    arguments = parse()
    with directory(arguments) as scratch:
        with server(pathlib.Path(scratch), arguments) as environment:
            bench = Bench(arguments, pathlib.Path(scratch), environment)
            for part in arguments.parts.split(","):
                getattr(bench, part.replace("-", "_"))()


def parse():
    parser = argparse.ArgumentParser()
    for program in ["anystorage", "s5cmd", "rclone"]:
        parser.add_argument(program, type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--parts", default=",".join(PARTS[:-1]))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", choices=["s5cmd", "rclone"], help="a peer that does not run")
    parser.add_argument("--small", type=int, default=20_000, help="the number of small objects")
    parser.add_argument("--large", type=int, default=4, help="the number of large files")
    parser.add_argument("--mib", type=int, default=1024, help="the size of a large file")
    parser.add_argument("--keys", type=int, default=200_000, help="the keys of a sync of nothing")
    parser.add_argument("--many", type=int, default=10_000_000, help="the keys of memory, at most")
    parser.add_argument("--timeout", type=int, default=900, help="of each program, in seconds")
    parser.add_argument("--dir", help="where the files are; defaults to that of tempfile")
    parser.add_argument("--keep", type=pathlib.Path, help="a directory whose files are used again")
    parser.add_argument("--log", type=pathlib.Path, help="the log of a named server")
    parser.add_argument("--collect", help="frees the memory of a named server")
    parser.add_argument("--generated", type=pathlib.Path, help="the command with generated keys")
    arguments = parser.parse_args()
    unknown = set(arguments.parts.split(",")) - set(PARTS)
    if unknown:
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    return arguments


def directory(arguments):
    """Returns a directory for all files, which is removed at the end unless `--keep` names it."""
    if arguments.keep:
        return contextlib.nullcontext(arguments.keep.resolve())
    return tempfile.TemporaryDirectory(prefix="anystorage-transfer-", dir=arguments.dir)


@contextlib.contextmanager
def server(scratch, arguments):
    """Returns the environment of a server: that of the variables, or one that is started."""
    needs_server = arguments.parts != "memory"
    if "STORAGE_S3_TEST_ENDPOINT" in os.environ or not needs_server:
        yield dict(os.environ)
        return
    directory = scratch / "radosgw"
    with measure.radosgw(directory) as variables:
        arguments.log = measure.log_of(directory)
        configuration = shlex.quote(str(directory / "ceph.conf"))
        arguments.collect = f"radosgw-admin -c {configuration} gc process --include-all"
        yield os.environ | variables


class Bench:
    """The programs, the server and the files of all parts."""

    def __init__(self, arguments, scratch, environment):
        self.arguments = arguments
        self.scratch = scratch
        self.environment = environment | self.variables(environment)
        self.meter = measure.Meter(scratch, self.environment, arguments.log, arguments.timeout)
        self.configuration = scratch / "storages.toml"
        self.buckets = {side: f"transfer-{side}" for side in "ab"}
        self.runs = 0
        if "STORAGE_S3_TEST_ENDPOINT" in environment:
            self.configure(environment)
            for bucket in self.buckets.values():
                self.quietly(self.s5cmd("mb", f"s3://{bucket}"))

    @staticmethod
    def variables(environment):
        ceph = environment.get("STORAGE_S3_TEST_QUIRKS") == "ceph"
        return {
            "AWS_EC2_METADATA_DISABLED": "true",
            "RCLONE_S3_PROVIDER": "Ceph" if ceph else "Other",
            "RCLONE_S3_ENV_AUTH": "true",
            "RCLONE_S3_ENDPOINT": environment.get("STORAGE_S3_TEST_ENDPOINT", ""),
            "RCLONE_S3_REGION": environment.get("AWS_REGION", ""),
            "RCLONE_S3_NO_CHECK_BUCKET": "true",
        }

    def configure(self, environment):
        """Writes the configuration of anystorage: two buckets and a local directory."""
        text = "".join(
            f'[storages.{side}]\ndriver = "s3"\nbucket = "{bucket}"\n'
            f'endpoint = "{environment["STORAGE_S3_TEST_ENDPOINT"]}"\n'
            f'allow_http = true\nregion = "{environment["AWS_REGION"]}"\n'
            f'quirks = "{environment["STORAGE_S3_TEST_QUIRKS"]}"\n'
            for side, bucket in self.buckets.items()
        )
        # The other programs do not sync files to the disk.
        text += f'[storages.fs]\ndriver = "fs"\nroot = "{self.scratch}"\ndurable = false\n'
        self.configuration.write_text(text)

    def anystorage(self, *arguments):
        return [self.arguments.anystorage, "--config", self.configuration, "-q", *arguments]

    def s5cmd(self, *arguments):
        endpoint = self.environment["STORAGE_S3_TEST_ENDPOINT"]
        return [self.arguments.s5cmd, "--log", "error", "--endpoint-url", endpoint, *arguments]

    def rclone(self, *arguments):
        # An empty name means no configuration file.
        return [self.arguments.rclone, "--config", "", "--log-level", "ERROR", *arguments]

    def url(self, path, scheme="s3://"):
        """Returns the address of `a:NAME/` for s5cmd and rclone."""
        side, _, name = path.partition(":")
        return f"{scheme}{self.buckets[side]}/{name}"

    def quietly(self, command):
        """Runs a command whose requests are not counted."""
        return self.meter.run(command, count=False)

    def rounds(self, programs, after=None):
        """Runs each program once in each round. `programs` maps a name to a function that returns
        the command for a path that no other run has."""
        programs = {name: command for name, command in programs.items() if self.runs_peer(name)}
        runs = {name: [] for name in programs}
        for _, name in measure.in_turn(list(programs), self.arguments.rounds):
            self.runs += 1
            path = f"run-{os.getpid()}-{self.runs}"
            run = self.meter.run(programs[name](path))
            measure.progress(name, run)
            runs[name].append(run)
            if after:
                after(path)
        return runs

    def runs_peer(self, name):
        return name.split()[0] != self.arguments.without

    def remove(self, side):
        """Returns the function that removes what a run has left in a bucket."""

        def after(path):
            self.quietly(self.s5cmd("rm", self.url(f"{side}:{path}/*")))
            if self.arguments.collect:
                collect = shlex.split(self.arguments.collect)
                subprocess.run(collect, env=self.environment, capture_output=True, check=True)

        return after

    def files(self, name, count, size):
        """Returns a directory with files, which are created if they do not exist."""
        directory = self.scratch / name
        if not directory.exists():
            for first in range(0, count, KEYS_PER_DIRECTORY):
                below = directory / f"{first // KEYS_PER_DIRECTORY:06}"
                below.mkdir(parents=True)
                for number in range(first, min(first + KEYS_PER_DIRECTORY, count)):
                    # All contents differ, and so do the ETags.
                    content = f"{number}\n".encode().ljust(size, b".")
                    (below / f"object-{number:09}.txt").write_bytes(content)
        return directory

    def small(self):
        return self.files("small", self.arguments.small, SMALL)

    def small_in_bucket(self):
        self.small()
        self.quietly(self.anystorage("sync", "fs:small", "a:small"))

    def small_up(self):
        self.small()
        cp = ("cp", "-r", "--concurrency", "64", "fs:small")
        programs = {
            "anystorage sync": lambda to: self.anystorage("sync", "fs:small", f"a:{to}"),
            "anystorage cp -r": lambda to: self.anystorage(*cp, f"a:{to}"),
            "s5cmd cp": lambda to: self.s5cmd("cp", "small/", self.url(f"a:{to}/")),
            "rclone copy": lambda to: self.rclone(
                *("copy", "--transfers", "64", "--checkers", "64", "small"),
                self.url(f"a:{to}", ":s3:"),
            ),
        }
        runs = self.rounds(programs, self.remove("a"))
        self.table(f"{self.arguments.small} objects of 4 KiB, files to S3", runs)

    def small_down(self):
        self.small_in_bucket()
        cp = ("cp", "-r", "--concurrency", "64", "a:small")
        programs = {
            "anystorage sync": lambda to: self.anystorage("sync", "a:small", f"fs:{to}"),
            "anystorage sync, durable": lambda to: self.anystorage("sync", "a:small", f"./{to}"),
            "anystorage cp -r": lambda to: self.anystorage(*cp, f"fs:{to}"),
            "s5cmd cp": lambda to: self.s5cmd("cp", self.url("a:small/*"), f"{to}/"),
            "rclone copy": lambda to: self.rclone(
                *("copy", "--transfers", "64", "--checkers", "64"),
                *(self.url("a:small", ":s3:"), to),
            ),
        }
        runs = self.rounds(programs, lambda path: shutil.rmtree(self.scratch / path))
        self.table(f"{self.arguments.small} objects of 4 KiB, S3 to files", runs)

    def server_side(self):
        self.small_in_bucket()
        cp = ("cp", "-r", "--concurrency", "64", "a:small")
        programs = {
            "anystorage sync": lambda to: self.anystorage("sync", "a:small", f"b:{to}"),
            "anystorage cp -r": lambda to: self.anystorage(*cp, f"b:{to}"),
            "s5cmd cp": lambda to: self.s5cmd("cp", self.url("a:small/*"), self.url(f"b:{to}/")),
            "rclone copy": lambda to: self.rclone(
                *("copy", "--transfers", "64", "--checkers", "64"),
                *(self.url("a:small", ":s3:"), self.url(f"b:{to}", ":s3:")),
            ),
        }
        runs = self.rounds(programs, self.remove("b"))
        self.table(f"{self.arguments.small} objects of 4 KiB, one bucket to another", runs)

    def large_up(self):
        directory = self.scratch / "large"
        directory.mkdir(exist_ok=True)
        for number in range(self.arguments.large):
            with (directory / f"object-{number}.bin").open("wb") as file:
                for _ in range(self.arguments.mib):
                    file.write(os.urandom(1 << 20))
        programs = {
            "anystorage sync": lambda to: self.anystorage("sync", "fs:large", f"a:{to}"),
            "s5cmd cp": lambda to: self.s5cmd("cp", "large/", self.url(f"a:{to}/")),
            "rclone copy": lambda to: self.rclone(
                *("copy", "--s3-upload-concurrency", "4", "--s3-chunk-size", "16M", "large"),
                self.url(f"a:{to}", ":s3:"),
            ),
        }
        runs = self.rounds(programs, self.remove("a"))
        shutil.rmtree(directory)
        mib = self.arguments.large * self.arguments.mib
        what = f"{self.arguments.large} files of {self.arguments.mib} MiB to S3"
        self.table(what, runs, mib, "MiB")

    def many_in_buckets(self):
        """Fills both buckets with the same objects."""
        self.files("many", self.arguments.keys, 0)
        self.quietly(self.anystorage("sync", "fs:many", "a:many"))
        self.quietly(self.anystorage("sync", "a:many", "b:many"))

    def nothing(self):
        """All programs read both listings. s5cmd compares sizes and times, the others ETags."""
        self.many_in_buckets()
        urls = [self.url("a:many", ":s3:"), self.url("b:many", ":s3:")]
        rclone = ("sync", "--fast-list", "--checkers", "64", *urls)
        s5cmd = ("sync", self.url("a:many/*"), self.url("b:many/"))
        programs = {
            "anystorage sync": lambda _: self.anystorage("sync", "a:many", "b:many"),
            "s5cmd sync": lambda _: self.s5cmd(*s5cmd),
            "rclone sync --checksum": lambda _: self.rclone(*rclone, "--checksum"),
            "rclone sync --size-only": lambda _: self.rclone(*rclone, "--size-only"),
        }
        runs = self.rounds(programs)
        what = f"a sync with nothing to do, {self.arguments.keys} objects in two buckets"
        self.table(what, runs, self.arguments.keys)

    def nothing_fs(self):
        """All programs compare sizes and times of modification."""
        self.many_in_buckets()
        rclone = ("sync", "--fast-list", "--checkers", "64", "--update", "--use-server-modtime")
        programs = {
            "anystorage sync": lambda _: self.anystorage("sync", "fs:many", "a:many"),
            "s5cmd sync": lambda _: self.s5cmd("sync", "many/", self.url("a:many/")),
            "rclone sync --update": lambda _: self.rclone(
                *rclone, "many", self.url("a:many", ":s3:")
            ),
        }
        runs = self.rounds(programs)
        what = f"a sync with nothing to do, {self.arguments.keys} files and objects"
        self.table(what, runs, self.arguments.keys)

    def memory(self):
        """Compares generated keys. The command may be a debug build, so no rate is printed."""
        if not self.arguments.generated:
            sys.exit("the part memory needs --generated")
        command = [self.arguments.generated.resolve(), "-q", "sync", "-n", "--compare", "size"]
        rows = []
        for keys in (self.arguments.keys, self.arguments.many):
            # The command refuses two storages of one location, so the destination has one key more.
            for side, extra in (("ONE", 0), ("TWO", 1)):
                self.environment[f"STORAGE_{side}_URL"] = f"generated:?count={keys + extra}"
            run = self.quietly([*command, "one:", "two:"])
            rows.append(f"| {keys} keys | {run.memory:.0f} MiB |")
        print("\n## Transfer: a sync of generated keys\n\n| | peak memory |\n|-|-|")
        print("\n".join(rows), flush=True)

    def table(self, what, runs, amount=None, unit="objects"):
        """Prints what the programs did, beside the first one."""
        amount = amount or self.arguments.small
        first = next(iter(runs.values()))
        print(f"\n## Transfer: {what}, {self.arguments.rounds} rounds\n")
        print(
            f"| | median {unit}/s | anystorage sync / peer (median of the rounds, min to max)"
            " | processor time, peer / anystorage sync | peak memory | requests |"
        )
        print("|-|-|-|-|-|-|")
        for name, of_peer in runs.items():
            print(
                f"| {name} | {statistics.median(amount / run.wall for run in of_peer):.0f} |"
                f" {measure.spread(first, of_peer)} | {measure.used(first, of_peer)}"
            )
        sys.stdout.flush()


main()
