//! Installed file servers, started as child processes on a port of their own. They end with their
//! handle.

pub(crate) mod apache;
pub(crate) mod nginx;
pub(crate) mod python;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use storage_http::{Http, HttpBuilder};
use url::Url;

/// Prints once that tests are skipped, to standard error itself, which the test harness shows for
/// passing tests too.
pub(crate) fn skip(what: &'static str, reason: &str) {
    static PRINTED: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    if PRINTED.lock().unwrap_or_else(PoisonError::into_inner).insert(what) {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {reason}");
    }
}

/// Returns the first of these files that exists.
pub(crate) fn first_existing(paths: &[&'static str]) -> Option<&'static str> {
    paths.iter().copied().find(|path| Path::new(path).exists())
}

/// Returns a builder with time limits that no test reaches. The defaults are shorter, and a busy
/// machine may exceed them.
pub(crate) fn builder(base: Url) -> HttpBuilder {
    let minute = Duration::from_secs(60);
    Http::builder(base).header_timeout(minute).idle_timeout(minute)
}
