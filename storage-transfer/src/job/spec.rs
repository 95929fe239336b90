//! [`JobSpec`]: what a job transfers, as its document stores it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use storage_core::{Checksum, ChecksumAlgorithm, Error, ErrorKind, Result};

use crate::compare::Comparison;
use crate::copy::LostMetadata;
use crate::filter::Filter;
use crate::headers::HeaderRule;
use crate::sync::{DeleteExtras, Existing, MaxDelete, SyncOptions};

/// How long a shard whose document does not change belongs to its worker.
const LEASE: Duration = Duration::from_secs(60);
const MIN_LEASE: Duration = Duration::from_millis(30);

/// What a job transfers: the names of both sides, and the options.
///
/// The names are those under which each worker finds its storages, such as `media:2026/`. The
/// document contains no addresses and no credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobSpec {
    /// The name of the source.
    pub source: String,
    /// The name of the destination.
    pub target: String,
    #[serde(default)]
    comparison: Comparison,
    #[serde(default)]
    existing: Existing,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    filter: Vec<String>,
    #[serde(default)]
    delete: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_delete: Option<MaxDelete>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    headers: Vec<(String, String, String)>,
    #[serde(default)]
    drop_lost_metadata: bool,
    #[serde(default)]
    allow_empty_source: bool,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lease: Option<u64>,
    /// Set for a dry run, which `Job::plan` refuses. Not stored.
    #[serde(skip)]
    pub(crate) dry_run: bool,
}

impl JobSpec {
    /// Creates a specification. [`Job::plan`](super::Job::plan) fails if
    /// [`SyncOptions::dry_run`] is set.
    #[must_use]
    pub fn new(source: &str, target: &str, options: &SyncOptions) -> Self {
        Self {
            source: source.to_owned(),
            target: target.to_owned(),
            comparison: options.comparison,
            existing: options.existing,
            filter: options.filter.rules().to_vec(),
            delete: options.delete.is_some(),
            max_delete: options.delete.and_then(|delete| delete.max),
            backup: options.backup.clone(),
            headers: options.headers.iter().map(HeaderRule::parts).collect(),
            drop_lost_metadata: options.lost_metadata == LostMetadata::DropAndReport,
            allow_empty_source: options.allow_empty_source,
            lease: None,
            dry_run: options.dry_run,
        }
    }

    /// Sets how long a shard whose document does not change belongs to its worker, at least 30 ms.
    /// Defaults to 60 s. All workers find it in the job. Each stores its state three times in that
    /// time.
    ///
    /// It is no part of what is transferred: a plan with another lease finds the same job, which
    /// keeps the longer one.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        let lease = lease.max(MIN_LEASE).as_millis();
        self.lease = Some(u64::try_from(lease).unwrap_or(u64::MAX));
        self
    }

    pub(crate) fn lease_or_default(&self) -> Duration {
        self.lease.map_or(LEASE, Duration::from_millis).max(MIN_LEASE)
    }

    /// Sets the lease of another specification if it is longer. Returns whether that is so.
    pub(crate) fn extend_lease(&mut self, other: &Self) -> bool {
        let is_longer = other.lease.is_some() && other.lease_or_default() > self.lease_or_default();
        if is_longer {
            self.lease = other.lease;
        }
        is_longer
    }

    /// Returns the options.
    ///
    /// # Errors
    /// `InvalidInput` if a rule of the filter or of the headers is invalid.
    pub fn options(&self) -> Result<SyncOptions> {
        let mut options = SyncOptions::new();
        options.comparison = self.comparison;
        options.existing = self.existing;
        options.filter = Filter::builder().rules(&self.filter, "the job").build()?;
        options.delete = self.delete.then_some(DeleteExtras { max: self.max_delete });
        options.backup.clone_from(&self.backup);
        let rules = self.headers.iter();
        options.headers = rules
            .map(|(pattern, name, value)| HeaderRule::new(pattern, name, value))
            .collect::<Result<_>>()?;
        if self.drop_lost_metadata {
            options.lost_metadata = LostMetadata::DropAndReport;
        }
        options.allow_empty_source = self.allow_empty_source;
        Ok(options)
    }

    /// Returns the SHA-256 of the specification without the lease, in hexadecimal digits.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        // Serialising this struct cannot fail.
        let json = serde_json::to_vec(&self.without_lease()).unwrap_or_default();
        Checksum::of(ChecksumAlgorithm::Sha256, &json).to_hex()
    }

    fn without_lease(&self) -> Self {
        Self { lease: None, ..self.clone() }
    }

    /// Fails with `Conflict` if the other specification is another one: the watermarks of a job are
    /// valid for one source, destination, filter and comparison only.
    pub(crate) fn check_same(&self, other: &Self) -> Result<()> {
        let (mine, theirs) = (self.without_lease(), other.without_lease());
        if mine == theirs {
            return Ok(());
        }
        let (mine, theirs) = (serde_json::to_value(mine), serde_json::to_value(theirs));
        let mut differing: Vec<String> = Vec::new();
        if let (Ok(mine), Ok(theirs)) = (mine, theirs) {
            let fields = mine.as_object().into_iter().chain(theirs.as_object());
            let names = fields.flat_map(|fields| fields.keys().cloned());
            differing.extend(names.filter(|name| mine.get(name) != theirs.get(name)));
            differing.sort();
            differing.dedup();
        }
        Err(Error::new(
            ErrorKind::Conflict,
            format!(
                "there is a job with other options here ({}): use another place, or the same \
                 options",
                differing.join(", ")
            ),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> JobSpec {
        let mut options = SyncOptions::new();
        options.delete = Some(DeleteExtras::new().max(MaxDelete::Percent(5)));
        options.headers = vec![HeaderRule::new("*.css", "Cache-Control", "no-cache").unwrap()];
        options.backup = Some("old".to_owned());
        options.comparison = Comparison::Checksum;
        options.filter = Filter::builder().exclude("\u{feff}a").include("#b ").build().unwrap();
        JobSpec::new("media:", "backup:", &options)
    }

    #[test]
    fn a_specification_is_read_as_it_was_written() {
        let spec = spec();
        let read: JobSpec = serde_json::from_str(&serde_json::to_string(&spec).unwrap()).unwrap();
        assert_eq!(read, spec);
        let again = JobSpec::new("media:", "backup:", &read.options().unwrap());
        assert_eq!(again.fingerprint(), spec.fingerprint());
    }

    #[test]
    fn a_job_with_other_options_is_refused_by_their_names() {
        let other = JobSpec::new("media:", "backup:", &SyncOptions::new());
        let error = spec().check_same(&other).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        for name in ["backup", "comparison", "delete", "headers", "max_delete"] {
            assert!(error.message().contains(name), "{error}");
        }
        spec().check_same(&spec()).unwrap();
    }

    #[test]
    fn a_job_keeps_the_longer_lease_which_is_no_part_of_what_is_transferred() {
        let mut job = spec();
        assert!(!job.extend_lease(&spec().lease(Duration::from_secs(20))));
        assert_eq!(job.lease_or_default(), LEASE);
        assert!(job.extend_lease(&spec().lease(Duration::from_secs(90))));
        assert_eq!(job.lease_or_default(), Duration::from_secs(90));
        assert!(!job.extend_lease(&spec()));
        job.check_same(&spec()).unwrap();
        assert_eq!(job.fingerprint(), spec().fingerprint());
        let read: JobSpec = serde_json::from_str(&serde_json::to_string(&job).unwrap()).unwrap();
        assert_eq!(read, job);
    }
}
