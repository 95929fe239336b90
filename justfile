# The commands of CI, by name. `just` lists them.

_list:
    @just --list

# The same application code against each storage.
quickstart:
    cargo run -p quickstart

# Every test, those in documentation included.
test:
    cargo test --workspace

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
