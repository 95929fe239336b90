//! The `anystorage` command.
fn main() {}
