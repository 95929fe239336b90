//! Other people's clients and servers, to see that they and this driver mean the same.
//!
//! awscli, boto3 and moto are looked for where `STORAGE_S3_TEST_TOOLS` says (see
//! `servers/README.md`), curl in the system. Tests that need what is not there are skipped, and say
//! so. On the server that the environment names they work in buckets of their own, so its user has
//! to be one who may make some.

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

/// The directory of the programs, if the environment names one; else a line says what is not tried.
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

/// Runs a program, and responses what it printed.
///
/// # Panics
/// If it fails.
pub(crate) fn run(command: &mut Command) -> Vec<u8> {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {status}\n{}", String::from_utf8_lossy(&stderr));
    stdout
}

/// Makes tests of functions, each of which gets a bucket of its own: on the server that the
/// environment names, on moto, or on both.
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

/// Bytes of which no two pieces are alike.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    (0_u64..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).take(len).collect()
}

/// The moment that metadata of the tests expire at, as HTTP and as RFC 3339 say it.
pub(crate) fn expiry() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000)
}
pub(crate) const EXPIRY_IN_HTTP: &str = "Tue, 02 Oct 2096 07:06:40 GMT";
pub(crate) const EXPIRY: &str = "2096-10-02T07:06:40Z";

/// What a listing yields: names of entries, and of odd ones with what is said of them.
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

    pub(crate) fn is_odd(&self) -> bool {
        matches!(self, Self::Odd(..))
    }
}
