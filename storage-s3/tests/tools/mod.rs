//! Other clients and servers of S3, which show that this driver and they agree.
//!
//! `STORAGE_S3_TEST_TOOLS` names the directory of awscli, boto3 and moto (see `servers/README.md`).
//! curl is expected in the system. Tests whose programs are missing are skipped with a message. On
//! the server that the environment names, the tests create buckets of their own, so that its user
//! needs the permission to do so.

#![allow(dead_code, unused_imports, unused_macros, reason = "each test binary uses a part of it")]

pub(crate) mod aws;
pub(crate) mod boto;
pub(crate) mod curl;
pub(crate) mod moto;
pub(crate) mod server;

pub(crate) use server::{Bucket, Server};

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use storage_core::{ErrorKind, List};

const TOOLS: &str = "STORAGE_S3_TEST_TOOLS";

/// Returns the directory of the programs if the environment names one. Otherwise prints that tests
/// are skipped.
pub(crate) fn directory() -> Option<&'static PathBuf> {
    static DIRECTORY: OnceLock<Option<PathBuf>> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory =
            std::env::var_os(TOOLS).filter(|value| !value.is_empty()).map(PathBuf::from);
        if directory.is_none() {
            let what = concat!(
                "storage-s3/tests/",
                env!("CARGO_CRATE_NAME"),
                ".rs, beside awscli, boto3 and moto"
            );
            crate::common::skip(what, &format!("{TOOLS} is not set"));
        }
        directory
    });
    directory.as_ref()
}

/// Runs a program and returns its output.
///
/// # Panics
/// If the program fails.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    stdout
}

/// Creates tests of functions, each with a bucket of its own: on the server that the environment
/// names, on moto, or on both.
macro_rules! on_servers {
    ($(both: $($both:ident),+;)? $(external: $($external:ident),+;)? $(moto: $($moto:ident),+;)?) => {
        crate::tools::tests! { external $(: $($both),+)? $(: $($external),+)? }
        crate::tools::tests! { moto $(: $($both),+)? $(: $($moto),+)? }
    };
}

macro_rules! tests {
    ($server:ident $(: $($test:ident),+)*) => {
        mod $server {
            $($(#[tokio::test]
            async fn $test() {
                if let Some(bucket) = crate::tools::Server::$server().map(crate::tools::Server::bucket) {
                    crate::$test(&bucket).await;
                }
            })+)*
        }
    };
}

pub(crate) use {on_servers, tests};

/// Returns bytes without repetitions.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0_u64..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(len).collect()
}

/// The expiry of the tests' metadata, as HTTP and RFC 3339 write it.
pub(crate) fn expiry() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
}
pub(crate) const EXPIRY_IN_HTTP: &str = "Tue, 02 Oct 2096 07:06:40 GMT";
pub(crate) const EXPIRY: &str = "2096-10-02T07:06:40Z";

/// Returns the names of a listing, and the invalid names with their errors.
pub(crate) async fn listed(list: List) -> Vec<Listed> {
    let mut entries = list.entries();
    let mut all = Vec::new();
    while let Some(entry) = entries.next().await {
        all.push(match entry {
            Ok(entry) => Listed::Name(entry.name().to_owned()),
            Err(error) if error.kind() == ErrorKind::InvalidKey => {
                Listed::Odd(error.key().unwrap().to_owned(), error.message().to_owned())
            }
            Err(error) => panic!("{error:?}"),
        });
    }
    all
}

/// An item of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Listed {
    Name(String),
    Odd(String, String),
}

impl Listed {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Name(name) | Self::Odd(name, _) => name,
        }
    }

    pub(crate) fn is_invalid(&self) -> bool {
        matches!(self, Self::Odd(..))
    }
}
