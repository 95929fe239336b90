"""Checks what `cargo metadata` tells of the workspace and its dependencies.

Usage: cargo metadata --format-version 1 --all-features --locked | python3 .ci/check_workspace.py
"""

import json
import re
import sys
import tomllib

# Imports run one way. What each crate of ours may depend on; a new crate has to find its place here.
MAY_USE = {
    "storage-core": set(),
    "storage-testkit": {"storage-core"},
    "storage-client": {"storage-core"},
    "storage-fs": {"storage-core"},
    "storage-s3": {"storage-core", "storage-client"},
    "storage-http": {"storage-core", "storage-client"},
    "storage-serve": {"storage-core"},
    "storage-transfer": {"storage-core"},
    "storage-http-cache": {"storage-core", "storage-client"},
    "storage-mirror": {"storage-core", "storage-serve"},
    "anystorage": {
        "storage-core",
        "storage-fs",
        "storage-s3",
        "storage-http",
        "storage-http-cache",
        "storage-mirror",
        "storage-serve",
        "storage-transfer",
    },
    "anystorage-cli": {"anystorage"},
    # Examples show what users write: applications know the facade, drivers know the contract.
    "quickstart": {"anystorage"},
    "migrate": {"anystorage"},
    "cache-tier": {"anystorage"},
    "uploads": {"anystorage"},
    "custom-driver": {"storage-core"},
}

# Never below storage-core: every driver and every application pays for what core depends on.
NOT_IN_CORE = re.compile(
    r"^(reqwest|hyper.*|axum.*|tower.*|toml.*|clap.*|serde_json|serde_yaml|object_store|opendal|aws-.*|rustls.*"
    r"|ring|openssl.*|native-tls|anyhow|regex|chrono|rand|.*-sys)$"
)
# Bindings to operating systems, which other targets than Linux need.
SYSTEM = re.compile(r"^(linux-raw-sys|windows-sys|js-sys|web-sys|core-foundation-sys)$")

problems = []


def problem(text):
    problems.append(text)


def main():
    metadata = json.load(sys.stdin)
    with open("deny.toml", "rb") as file:
        deny = tomllib.load(file)
    with open("Cargo.toml", "rb") as file:
        ours = tomllib.load(file)["workspace"]["package"]
    packages = {package["id"]: package for package in metadata["packages"]}
    members = [packages[id] for id in metadata["workspace_members"]]
    others = [package for id, package in packages.items() if id not in set(metadata["workspace_members"])]

    check_members(members, ours)
    check_directions(members)
    core = check_core(metadata["resolve"]["nodes"], packages)
    check_others(others, deny)
    # What only our tests and examples use may be newer: nobody else builds it.
    published = [member["id"] for member in members if member["publish"] is None]
    shipped = below(metadata["resolve"]["nodes"], published, {None, "build"})
    check_rust_versions([package for package in others if package["id"] in shipped], ours["rust-version"])

    for text in problems:
        print(f"  {text}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(
        f"{len(members)} crates of ours; {len(others)} of others on all platforms, all of allowed licences and sources,"
        f" all but those for tests and examples alone for Rust {ours['rust-version']}; {core} below storage-core"
    )


def check_members(members, ours):
    for member in members:
        for field, key in [("rust_version", "rust-version"), ("edition", "edition"), ("license", "license")]:
            if member[field] != ours[key]:
                problem(f"{member['name']}: {key} is {member[field]}, not the workspace's {ours[key]}")
        if not member["description"] and member["publish"] is None:
            problem(f"{member['name']}: it is published and has no description")


def check_directions(members):
    names = {member["name"] for member in members}
    for member in members:
        name = member["name"]
        if name not in MAY_USE:
            problem(f"{name}: say in .ci/check_workspace.py what it may depend on")
            continue
        for dependency in member["dependencies"]:
            used, kind = dependency["name"], dependency["kind"] or "normal"
            if used not in names or used in MAY_USE[name]:
                continue
            if kind == "dev":
                # Tests may use more, but drivers do not know each other even there, except that
                # whatever serves, mirrors or caches a storage is tested on real ones.
                tested_on_storages = {"storage-http", "storage-http-cache", "storage-mirror", "storage-serve"}
                if name in tested_on_storages and used.startswith("storage-"):
                    continue
                if used == "storage-testkit" or not (name.startswith("storage-") and used.startswith("storage-")):
                    continue
            problem(f"{name} must not depend on {used} ({kind})")


def below(nodes, roots, kinds):
    """What is reached from the roots, themselves included, through dependencies of these kinds."""
    dependencies = {node["id"]: node["deps"] for node in nodes}
    todo = list(roots)
    seen = set(todo)
    while todo:
        for dependency in dependencies[todo.pop()]:
            wanted = any(kind["kind"] in kinds for kind in dependency["dep_kinds"])
            if wanted and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                todo.append(dependency["pkg"])
    return seen


def check_core(nodes, packages):
    core = [node["id"] for node in nodes if packages[node["id"]]["name"] == "storage-core"]
    seen = below(nodes, core, {None})
    for name in sorted({packages[id]["name"] for id in seen}):
        if NOT_IN_CORE.match(name) and not SYSTEM.match(name):
            problem(f"storage-core depends on {name}, perhaps through another crate: see cargo tree -i {name}")
    return len(seen) - 1


def check_others(others, deny):
    allowed = set(deny["licenses"]["allow"])
    banned = {ban["crate"] for ban in deny["bans"]["deny"]}
    for package in others:
        name = f"{package['name']} {package['version']}"
        if package["name"] in banned:
            problem(f"{name}: banned in deny.toml")
        if package["source"] != "registry+https://github.com/rust-lang/crates.io-index":
            problem(f"{name}: it comes from {package['source']}, not from crates.io")
        if not package["license"]:
            problem(f"{name}: it names no licence")
        elif not is_allowed(package["license"], allowed):
            problem(f"{name}: licence {package['license']} is not in deny.toml")


def is_allowed(expression, allowed):
    """Evaluates an SPDX expression: is there a choice of which every part is allowed?"""
    # Old crates write MIT/Apache-2.0 and mean OR.
    tokens = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        value = both()
        while tokens and tokens[0] == "OR":
            tokens.pop(0)
            value = both() or value
        return value

    def both():
        value = one()
        while tokens and tokens[0] == "AND":
            tokens.pop(0)
            value = one() and value
        return value

    def one():
        token = tokens.pop(0)
        if token == "(":
            value = either()
            tokens.pop(0)
            return value
        if tokens and tokens[0] == "WITH":
            tokens.pop(0)
            token = f"{token} WITH {tokens.pop(0)}"
        return token in allowed

    return either()


def check_rust_versions(others, wanted):
    def number(version):
        return tuple(int(part) for part in version.split(".")[:2])

    for package in others:
        needed = package["rust_version"]
        if needed and number(needed) > number(wanted):
            problem(f"{package['name']} {package['version']} needs Rust {needed}; ours is {wanted}")


assert is_allowed("(MIT OR GPL-3.0) AND ISC", {"MIT", "ISC"}) and not is_allowed("MIT AND GPL-3.0", {"MIT"})
assert is_allowed("Apache-2.0 WITH LLVM-exception", {"Apache-2.0 WITH LLVM-exception"})
main()
