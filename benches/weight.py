"""Measures what anystorage costs to build, side by side with object_store.

Usage: python3 benches/weight.py [--rounds N] [--before COMMIT] [--quickstart]   (in the repository)

Prints the number of crates of each set of features (normal dependencies on Linux, without default
features), and the processor time of a cold development build beside that of object_store, in
rounds that alternate. `--quickstart` also builds what the README's first command builds, and with
`--before COMMIT` the same at an older commit. Nothing is downloaded while a build is timed.
"""

import argparse
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile

TLS = "tls-aws-lc"
# What is measured, the features of anystorage, those of object_store, and the most crates allowed.
PAIRS = [
    ("fs", ["fs"], ["fs"]),
    ("fs and s3", ["fs", "s3", TLS], ["fs", "aws"]),
]
CRATES = [(["fs"], 75), (["fs", "s3"], 140), (["serve"], 100), (["fs", "s3", TLS], None)]
ROOT = pathlib.Path(__file__).resolve().parent.parent


def run(command, directory, target=None):
    environment = {name: value for name, value in os.environ.items() if name != "RUSTC_WRAPPER"}
    # A published crate is never built incrementally, so its path here is not either.
    environment |= {"CARGO_TERM_COLOR": "never", "CARGO_INCREMENTAL": "0"}
    if target:
        environment["CARGO_TARGET_DIR"] = str(target)
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def package(directory, name, dependency):
    """Makes a program that depends on one crate and nothing else."""
    path = directory / name
    (path / "src").mkdir(parents=True)
    (path / "src/main.rs").write_text("fn main() {}\n")
    manifest = f'[package]\nname = "{name}"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n'
    (path / "Cargo.toml").write_text(f"{manifest}[dependencies]\n{dependency}\n")
    # The versions of the workspace, so that both sides share what they share there.
    (path / "Cargo.lock").write_bytes((ROOT / "Cargo.lock").read_bytes())
    run(["cargo", "fetch"], path)
    return path


def features(names):
    return ", ".join(f'"{name}"' for name in names)


def ours(names):
    path = f'path = "{ROOT / "anystorage"}"'
    return f"anystorage = {{ {path}, default-features = false, features = [{features(names)}] }}"


def peer(names):
    options = f'version = "0.14", default-features = false, features = [{features(names)}]'
    return f"object_store = {{ {options} }}"


def cold_build(path, command=("cargo", "build", "--offline")):
    """Returns the processor time of a build in an empty directory, in seconds."""
    with tempfile.TemporaryDirectory() as target:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        run(list(command), path, target)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def crates(path):
    tree = ["cargo", "tree", "--offline", "-e", "normal", "--prefix", "none", "--format", "{p}"]
    # The program itself is not counted; anystorage and its own crates are.
    return len({line.split(" (")[0] for line in run(tree, path).splitlines() if line}) - 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before")
    parser.add_argument("--quickstart", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)
        for number, (names, most) in enumerate(CRATES):
            count = crates(package(directory, f"crates{number}", ours(names)))
            limit = f" (at most {most})" if most else ""
            print(f"crates with {', '.join(names)}: {count}{limit}")
        for number, (what, mine, theirs) in enumerate(PAIRS):
            compare(
                what,
                package(directory, f"ours{number}", ours(mine)),
                package(directory, f"peer{number}", peer(theirs)),
                arguments.rounds,
            )
        if arguments.quickstart:
            quickstart(directory, arguments)


def compare(what, mine, theirs, rounds):
    pairs = [(cold_build(mine), cold_build(theirs)) for _ in range(rounds)]
    ratios = [a / b for a, b in pairs]
    print(
        f"cold build of {what}: {statistics.median(a for a, _ in pairs):.1f} s of processor time,"
        f" object_store {statistics.median(b for _, b in pairs):.1f} s: ratio"
        f" {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, at most 1.1);"
        f" {crates(mine)} and {crates(theirs)} crates"
    )


def quickstart(directory, arguments):
    command = ("cargo", "build", "--offline", "--locked", "-p", "quickstart")
    now = [cold_build(ROOT, command) for _ in range(arguments.rounds)]
    print(f"README's first command: {statistics.median(now):.1f} s of processor time")
    if arguments.before:
        old = directory / "before"
        run(["git", "worktree", "add", "--detach", str(old), arguments.before], ROOT)
        try:
            run(["cargo", "fetch", "--locked"], old)
            before = [cold_build(old, command) for _ in range(arguments.rounds)]
        finally:
            run(["git", "worktree", "remove", "--force", str(old)], ROOT)
        ratio = statistics.median(now) / statistics.median(before)
        print(f"at {arguments.before}: {statistics.median(before):.1f} s; ratio {ratio:.2f}")


main()
