"""Checks the workspace and its dependencies, as `cargo metadata` lists them.

Usage: cargo metadata --format-version 1 --all-features --locked | python3 .ci/check_workspace.py

Checks which crate depends on which, licences, sources, banned crates and Rust versions.
"""

import json
import pathlib
import re
import sys
import tomllib

# The crates of this workspace that each crate may depend on. Dependencies run in one direction, so
# a crate may only name crates above it. A new crate needs an entry.
ALLOWED_DEPENDENCIES = {
    "storage-core": set(),
    "storage-testkit": {"storage-core"},
    "storage-client": {"storage-core"},
    "storage-fs": {"storage-core"},
    "storage-s3": {"storage-core", "storage-client"},
    "storage-http": {"storage-core", "storage-client"},
    "storage-serve": {"storage-core"},
    "storage-http-cache": {"storage-core", "storage-client"},
    "storage-actix": {"storage-core", "storage-serve"},
    "storage-axum": {"storage-core", "storage-serve"},
    "storage-mirror": {"storage-core", "storage-serve"},
    "storage-transfer": {"storage-core"},
    "storage-publish": {"storage-core", "storage-serve"},
    "anystorage": {
        "storage-core",
        "storage-fs",
        "storage-s3",
        "storage-http",
        "storage-http-cache",
        "storage-mirror",
        "storage-publish",
        "storage-serve",
        "storage-transfer",
    },
    "anystorage-cli": {"anystorage", "storage-client"},
    # Examples are written as users write: applications use the facade, drivers use the contract.
    "quickstart": {"anystorage"},
    "migrate": {"anystorage"},
    "cache-tier": {"anystorage"},
    "uploads": {"anystorage", "storage-axum"},
    "avatars": {"anystorage"},
    "avatars-actix": {"anystorage", "avatars", "storage-actix"},
    # The code of docs/frameworks.md needs storage-actix.
    "avatars-axum": {"anystorage", "avatars", "storage-actix", "storage-axum"},
    "daily-tasks": {"anystorage", "storage-axum"},
    "gallery": {"anystorage", "storage-axum"},
    "static-site": {"anystorage"},
    "custom-driver": {"storage-core"},
    "public-api": set(),
    # The command with a driver for tests.
    "generator": {"anystorage", "anystorage-cli"},
}

# Crates that storage-core never depends on, because every driver and application would build them.
NOT_IN_CORE = re.compile(
    r"^(reqwest|hyper.*|axum.*|tower.*|toml.*|clap.*|serde_json|serde_yaml|object_store|opendal"
    r"|aws-.*|rustls.*|ring|openssl.*|native-tls|anyhow|regex|jiff|time|rand|.*-sys)$"
)
# Bindings to operating systems, which other targets than Linux need.
SYSTEM = re.compile(r"^(linux-raw-sys|windows-sys|js-sys|web-sys|core-foundation-sys)$")

# docs.rs then shows which feature an item needs.
FEATURE_BADGES = "#![cfg_attr(docsrs, feature(doc_cfg))]"

problems = []


def problem(text):
    problems.append(text)


def main():
    metadata = json.load(sys.stdin)
    with open("deny.toml", "rb") as file:
        deny = tomllib.load(file)
    with open("Cargo.toml", "rb") as file:
        workspace = tomllib.load(file)["workspace"]["package"]
    packages = {package["id"]: package for package in metadata["packages"]}
    member_ids = set(metadata["workspace_members"])
    members = [packages[id] for id in metadata["workspace_members"]]
    external = [package for id, package in packages.items() if id not in member_ids]
    nodes = metadata["resolve"]["nodes"]

    check_members(members, workspace)
    check_directions(members)
    core = check_core(nodes, packages)
    check_external(external, deny)
    # Users do not build what only tests and examples depend on, so that may need a newer Rust.
    published = [member["id"] for member in members if member["publish"] is None]
    shipped = reachable(nodes, published, {None, "build"})
    shipped_packages = [package for package in external if package["id"] in shipped]
    check_rust_versions(shipped_packages, workspace["rust-version"])

    for text in problems:
        print(f"  {text}", file=sys.stderr)
    if problems:
        sys.exit(1)
    print(
        f"{len(members)} crates in the workspace; {len(external)} external ones on all platforms,"
        f" with allowed licences and sources; the {len(shipped_packages)} that users build support"
        f" Rust {workspace['rust-version']}; storage-core depends on {core}"
    )


def check_members(members, workspace):
    for member in members:
        name = member["name"]
        for key in ["rust-version", "edition", "license"]:
            value = member[key.replace("-", "_")]
            if value != workspace[key]:
                problem(f"{name}: {key} is {value}, not the workspace's {workspace[key]}")
        if member["publish"] is None:
            check_published(member)


def check_published(member):
    """Checks what crates.io and docs.rs show."""
    name = member["name"]
    for key in ["description", "documentation", "homepage", "repository", "readme", "categories"]:
        if not member[key]:
            problem(f"{name}: it is published and has no {key}")
    if not 1 <= len(member["keywords"]) <= 5:
        problem(f"{name}: it is published and has {len(member['keywords'])} keywords, not 1 to 5")
    directory = pathlib.Path(member["manifest_path"]).parent
    for file in ["README.md", "LICENSE-APACHE", "LICENSE-MIT"]:
        if not (directory / file).exists():
            problem(f"{name}: it is published and has no {file}")
    if any("lib" in target["kind"] for target in member["targets"]):
        docs_rs = (member["metadata"] or {}).get("docs", {}).get("rs", {})
        if not docs_rs.get("all-features"):
            problem(f"{name}: docs.rs does not document all features")
        if FEATURE_BADGES not in (directory / "src/lib.rs").read_text():
            problem(f"{name}: src/lib.rs does not contain {FEATURE_BADGES}")


def check_directions(members):
    names = {member["name"] for member in members}
    for member in members:
        name = member["name"]
        if name not in ALLOWED_DEPENDENCIES:
            problem(f"{name}: add what it may depend on to .ci/check_workspace.py")
            continue
        for dependency in member["dependencies"]:
            used, kind = dependency["name"], dependency["kind"] or "normal"
            if used not in names or used in ALLOWED_DEPENDENCIES[name]:
                continue
            if kind == "dev" and may_use_in_tests(name, used):
                continue
            problem(f"{name} must not depend on {used} ({kind})")


def may_use_in_tests(name, used):
    """Tests may use more crates, but a driver does not use another driver even there.

    The exceptions are crates that serve, mirror, cache or copy a storage: they are tested on real
    ones.
    """
    both_in_storage = name.startswith("storage-") and used.startswith("storage-")
    # A crate names itself to turn on a feature for its tests.
    if used in {name, "storage-testkit"} or not both_in_storage:
        return True
    return name in {
        "storage-actix",
        "storage-axum",
        "storage-http",
        "storage-http-cache",
        "storage-mirror",
        "storage-publish",
        "storage-serve",
        "storage-transfer",
    }


def reachable(nodes, roots, kinds):
    """Returns what the roots depend on through dependencies of these kinds, and the roots."""
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
    seen = reachable(nodes, core, {None})
    for name in sorted({packages[id]["name"] for id in seen}):
        if NOT_IN_CORE.match(name) and not SYSTEM.match(name):
            problem(f"storage-core depends on {name} (see cargo tree -p storage-core -i {name})")
    return len(seen) - 1


def check_external(external, deny):
    allowed = set(deny["licenses"]["allow"])
    banned = {ban["crate"] for ban in deny["bans"]["deny"]}
    for package in external:
        name = f"{package['name']} {package['version']}"
        if package["name"] in banned:
            problem(f"{name}: banned in deny.toml")
        if package["source"] != "registry+https://github.com/rust-lang/crates.io-index":
            problem(f"{name}: comes from {package['source']}, not from crates.io")
        if not package["license"]:
            problem(f"{name}: states no licence")
        elif not is_allowed(package["license"], allowed):
            problem(f"{name}: licence {package['license']} is not in deny.toml")


def is_allowed(expression, allowed):
    """Returns whether an SPDX expression can be met with allowed licences only."""
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


def check_rust_versions(packages, supported):
    def number(version):
        return tuple(int(part) for part in version.split(".")[:2])

    for package in packages:
        name, needed = f"{package['name']} {package['version']}", package["rust_version"]
        if needed and number(needed) > number(supported):
            problem(f"{name} needs Rust {needed}; the workspace supports {supported}")


assert is_allowed("(MIT OR GPL-3.0) AND ISC", {"MIT", "ISC"})
assert not is_allowed("MIT AND GPL-3.0", {"MIT"})
assert is_allowed("Apache-2.0 WITH LLVM-exception", {"Apache-2.0 WITH LLVM-exception"})
main()
