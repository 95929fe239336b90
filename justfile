# The commands that CI runs, and some that take too long for it. `just` lists them.

_list:
    @just --list

# Run one application on each kind of storage.
quickstart:
    cargo run -p quickstart

# Run every test, including the examples in documentation.
test:
    cargo test --workspace

# Test the S3 driver on RadosGW (Debian's packages ceph-mon, ceph-osd, radosgw).
s3:
    #!/usr/bin/env bash
    set -euo pipefail
    directory=$(mktemp -d)
    trap 'storage-s3/servers/radosgw down "$directory/radosgw"' EXIT
    storage-s3/servers/radosgw up "$directory/radosgw" >"$directory/environment"
    source "$directory/environment"
    cargo test -p storage-s3

# Run the tests that take too long for CI.
prove: garage stress many-keys transfer publish tus gallery

# List, move and delete a million objects with the command, in bounded memory.
many-keys keys="1000000":
    cargo build --release -p anystorage-cli
    python3 .ci/many_keys.py target/release/anystorage {{keys}}

# Kill the workers of transfer jobs at random moments: a million keys, a file of 5 GiB, and one of
# 1 GiB to RadosGW; then run jobs on GNU parallel and Slurm.
transfer keys="1000000" mib="5120" kills="100":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release -p generator
    python3 .ci/transfer_jobs.py target/release/anystorage-generated \
        --keys {{keys}} --large {{mib}} --small 10000 --kills {{kills}}
    directory=$(mktemp -d)
    trap 'storage-s3/servers/radosgw down "$directory/radosgw"' EXIT
    storage-s3/servers/radosgw up "$directory/radosgw" >"$directory/environment"
    (
        source "$directory/environment"
        python3 .ci/transfer_jobs.py target/release/anystorage-generated \
            --large 1024 --kills 20 --proofs s3
    )
    python3 .ci/transfer_jobs.py target/release/anystorage-generated --keys {{keys}} \
        --proofs parallel,slurm,node,twice

# Kill publishes and rollbacks at every write, crawl sites meanwhile, let publishers race, and open
# real sites in a browser.
publish rounds="50":
    #!/usr/bin/env bash
    set -euo pipefail
    cargo build --release -p anystorage-cli
    cargo build --release -p storage-publish --example serve_release
    directory=$(mktemp -d)
    trap 'storage-s3/servers/radosgw down "$directory/radosgw"' EXIT
    storage-s3/servers/radosgw up "$directory/radosgw" >"$directory/environment"
    (
        source "$directory/environment"
        python3 .ci/publish_proofs.py target/release/anystorage \
            target/release/examples/serve_release --rounds {{rounds}}
    )
    ALL_FILES=yes bash storage-publish/sites/run target/release/anystorage \
        target/release/examples/serve_release

# Test `anystorage serve --uploads` with real clients, and with 200 uploads at once.
tus:
    cargo build --release -p anystorage-cli
    bash anystorage-cli/clients/run target/release/anystorage

# Upload pictures of this many MiB to the gallery, in a browser.
gallery mib="200":
    bash examples/gallery/browser/run {{mib}}

# Run the test suite ten times while other work keeps every core busy.
stress rounds="10":
    bash .ci/stress {{rounds}}

# Test the S3 driver on Garage, if it is installed (see storage-s3/servers/README.md).
garage:
    #!/usr/bin/env bash
    set -euo pipefail
    if ! command -v "${GARAGE:-garage}" >/dev/null; then
        echo "SKIPPED: Garage, because it is not installed. To install it, run:" \
            "cargo install garage --version 2.5.0 --locked" \
            "--no-default-features --features bundled-libs,sqlite,lmdb"
        exit 0
    fi
    directory=$(mktemp -d)
    trap 'storage-s3/servers/garage down "$directory/garage"' EXIT
    storage-s3/servers/garage up "$directory/garage" >"$directory/environment"
    source "$directory/environment"
    cargo test -p storage-s3

# Format the code.
fmt:
    cargo fmt --all

# Check format and lints; warnings are errors.
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
    python3 .ci/check_modules.py

# Build the documentation of the workspace.
doc *args:
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --all-features --locked {{args}}

# Check dependencies: directions, licences, sources, Rust versions.
deps:
    cargo metadata --format-version 1 --all-features --locked | python3 .ci/check_workspace.py

# Build the packages of the command in target/packages.
packages:
    python3 packaging/build.py

# Run all checks, as CI does.
ci:
    bash .ci/run
