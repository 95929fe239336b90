"""Collects the licences of the crates that a binary of `anystorage` contains.

Most licences require that their text accompanies a binary.

Usage: python3 packaging/third_party.py TRIPLE
"""

import json
import pathlib
import re
import subprocess
import sys

# The features of the packaged command, because users of a package cannot select features.
FEATURES = ["aws-config", "inventory-parquet"]

LICENCE_FILE = re.compile(r"(?i)^(licen[sc]e|copying|copyright|notice|unlicense)")

HEAD = """\
The command anystorage contains the crates below. Each has its name, its version, its licence as an
SPDX expression, and the address of its source. The texts of the licences follow, each with the
crates that contain it.
"""


def third_party_licences(target):
    """Returns the list of crates and the texts of their licences."""
    crates = shipped_crates(target)
    lines, texts = [HEAD], {}
    for crate in crates:
        name = f"{crate['name']} {crate['version']}"
        licence = crate["license"] or crate["license_file"]
        if not licence:
            raise SystemExit(f"{name} states no licence")
        lines.append(f"{name}: {licence}, {crate['repository'] or 'https://crates.io'}")
        for file in licence_files(crate):
            text = file.read_text(errors="replace").replace("\r\n", "\n").strip()
            texts.setdefault(text, []).append(name)
    for text, names in texts.items():
        lines += ["", "=" * 80, ", ".join(dict.fromkeys(names)), "=" * 80, "", text]
    return "\n".join(lines) + "\n"


def shipped_crates(target):
    """Returns the external crates that the command is linked with, in a stable order."""
    command = ["cargo", "metadata", "--format-version", "1", "--locked"]
    command += ["--filter-platform", target]
    command += ["--features", ",".join(f"anystorage-cli/{feature}" for feature in FEATURES)]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    packages = {package["id"]: package for package in metadata["packages"]}
    dependencies = {node["id"]: node["deps"] for node in metadata["resolve"]["nodes"]}
    members = set(metadata["workspace_members"])
    todo = [id for id in members if packages[id]["name"] == "anystorage-cli"]
    seen = set(todo)
    while todo:
        for dependency in dependencies[todo.pop()]:
            shipped = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            if shipped and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    shipped = [packages[id] for id in seen - members]
    return sorted(shipped, key=lambda crate: (crate["name"], crate["version"]))


def licence_files(crate):
    directory = pathlib.Path(crate["manifest_path"]).parent
    files = {file for file in directory.iterdir() if LICENCE_FILE.match(file.name)}
    if crate["license_file"]:
        files.add((directory / crate["license_file"]).resolve())
    return sorted(file for file in files if file.is_file())


if __name__ == "__main__":
    print(third_party_licences(sys.argv[1]), end="")
