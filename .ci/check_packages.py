"""Checks the packages for crates.io that `cargo publish --dry-run` has written.

Usage: cargo metadata --format-version 1 --no-deps | python3 .ci/check_packages.py [--unpack DIR]

Each package contains its README, both licences, its sources, and nothing else. With --unpack, DIR
becomes a workspace of the unpacked packages, in which each depends on the others there.
"""

import argparse
import json
import pathlib
import re
import sys
import tarfile

# What cargo writes, what each crate includes, and its sources.
EXPECTED = {"Cargo.toml", "Cargo.toml.orig", "README.md", "LICENSE-APACHE", "LICENSE-MIT"}
OPTIONAL = {"Cargo.lock", ".cargo_vcs_info.json"}
SOURCE = re.compile(r"src/[\w/]+\.(rs|css|html)")
# crates.io accepts 10 MB. A larger package contains what it should not.
MAX_BYTES = 1_000_000

problems = []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--unpack", type=pathlib.Path, metavar="DIR")
    arguments = parser.parse_args()
    metadata = json.load(sys.stdin)
    directory = pathlib.Path(metadata["target_directory"], "package")
    published = [package for package in metadata["packages"] if package["publish"] is None]
    sizes = [check_package(directory, package) for package in published]
    for text in problems:
        print(f"  {text}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{len(sizes)} packages, of {min(sizes) // 1000} to {max(sizes) // 1000} kB")
    if arguments.unpack:
        unpack(directory, published, arguments.unpack)


def check_package(directory, package):
    """Checks one package and returns its size."""
    name = f"{package['name']}-{package['version']}"
    file = find(directory, package)
    if not file:
        problems.append(f"{name}: not packaged")
        return 0
    with tarfile.open(file) as archive:
        members = archive.getmembers()
        texts = {
            member.name.removeprefix(f"{name}/"): archive.extractfile(member).read()
            for member in members
            if member.isfile()
        }
    if any(not member.isfile() for member in members):
        problems.append(f"{name}: a member that is no regular file")
    for missing in sorted(EXPECTED - texts.keys()):
        problems.append(f"{name}: {missing} is missing")
    for path in sorted(texts.keys() - EXPECTED - OPTIONAL):
        if not SOURCE.fullmatch(path):
            problems.append(f"{name}: {path} does not belong there")
    for licence in ["LICENSE-APACHE", "LICENSE-MIT"]:
        if texts.get(licence) != pathlib.Path(licence).read_bytes():
            problems.append(f"{name}: {licence} is not that of the workspace")
    size = file.stat().st_size
    if size > MAX_BYTES:
        problems.append(f"{name}: {size} bytes")
    return size


def find(directory, package):
    # `cargo package` writes to the directory itself, `cargo publish` to one below it.
    return next(directory.rglob(f"{package['name']}-{package['version']}.crate"), None)


def unpack(directory, packages, target):
    target.mkdir(parents=True)
    lines = ["[workspace]", 'members = ["*-*"]', 'resolver = "3"', "", "[patch.crates-io]"]
    for package in packages:
        with tarfile.open(find(directory, package)) as archive:
            archive.extractall(target, filter="data")
        name, version = package["name"], package["version"]
        lines.append(f'{name} = {{ path = "{name}-{version}" }}')
    (target / "Cargo.toml").write_text("\n".join(lines) + "\n")


main()
