# The commands of CI, by name. `just` lists them.

_list:
    @just --list

# The same application code against each storage.
quickstart:
    cargo run -p quickstart

# Every test, those in documentation included.
test:
    cargo test --workspace

# The S3 driver on RadosGW (Debian's packages ceph-mon, ceph-osd and radosgw), which is started and stopped.
s3:
    #!/usr/bin/env bash
    set -euo pipefail
    directory=$(mktemp -d)
    trap 'storage-s3/servers/radosgw down "$directory/radosgw"' EXIT
    storage-s3/servers/radosgw up "$directory/radosgw" >"$directory/environment"
    source "$directory/environment"
    cargo test -p storage-s3

# What takes too long for CI.
prove: garage stress

# The whole suite ten times while other work keeps every core busy.
stress rounds="10":
    bash .ci/stress {{rounds}}

# The S3 driver on Garage, if it is installed (see storage-s3/servers/README.md): building it takes too long for CI.
garage:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v "${GARAGE:-garage}" >/dev/null; then
        echo "SKIPPED: Garage, which is not installed: cargo install garage --version 2.5.0 --locked" \
            "--no-default-features --features bundled-libs,sqlite,lmdb"
        exit 0
    fi
    directory=$(mktemp -d)
    trap 'storage-s3/servers/garage down "$directory/garage"' EXIT
    storage-s3/servers/garage up "$directory/garage" >"$directory/environment"
    source "$directory/environment"
    cargo test -p storage-s3

# Format in place.
fmt:
    cargo fmt --all

# Warnings are errors.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

# Documentation of the workspace.
doc *args:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked {{args}}

# Directions, licences, sources, Rust versions.
deps:
    cargo metadata --format-version 1 --all-features --locked | python3 .ci/check_workspace.py

# Everything, as CI runs it.
ci:
    bash .ci/run
