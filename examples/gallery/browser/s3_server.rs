//! The S3 server of the tests of storage-s3, as a program for the browser tests: prints its
//! endpoint and a bucket, and runs until its standard input ends.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::io::{Read, Write};

// The server imports the other modules from its parent.
#[allow(dead_code, reason = "this program uses a part of it")]
#[path = "../../../storage-s3/tests/common/requests.rs"]
mod requests;
#[allow(dead_code, reason = "this program uses a part of it")]
#[path = "../../../storage-s3/tests/common/server.rs"]
mod server;
#[path = "../../../storage-s3/tests/common/uploads.rs"]
mod uploads;

fn main() -> std::io::Result<()> {
    let bucket = server::Server::get().bucket();
    let endpoint = server::Server::get().endpoint();
    writeln!(std::io::stdout(), "{endpoint} {}", bucket.name())?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
