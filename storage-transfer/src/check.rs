//! [`check`]: compares two directories, and changes nothing.

use std::fmt;
use std::future::IntoFuture;
use std::sync::Arc;

use futures_core::future::BoxFuture;
use futures_core::stream::BoxStream;
use serde::Serialize;
use storage_core::{Error, ErrorKind, Key, Result};
use tokio::task::JoinSet;

use crate::compare::{self, Reading};
use crate::directory::Directory;
use crate::filter::Filter;
use crate::merge::{Pair, Step};
use crate::retry::Retry;
use crate::steps::Steps;
use crate::stop::Stop;
use crate::sync::Ended;
use crate::sync::shared::may_admit_at;
use crate::sync::unknown::UnknownSides;

/// Compares two directories: see [`Check`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// use storage_transfer::{CheckBy, Directory, check};
///
/// # let (media, backup) = (storage_core::Memory::storage(), storage_core::Memory::storage());
/// media.save("a.txt", "hello").await?;
/// backup.save("a.txt", "hallo").await?;
/// let (from, to) = (Directory::new(&media, "")?, Directory::new(&backup, "")?);
/// let summary = check(&from, &to).by(CheckBy::Download).await?;
/// assert_eq!(summary.counts.different, 1);
/// # Ok(()) }
/// ```
pub fn check(source: &Directory, target: &Directory) -> Check {
    Check {
        shared: Shared {
            source: source.clone(),
            target: target.clone(),
            by: CheckBy::default(),
            on_verdict: None,
        },
        filter: Filter::default(),
        keys: None,
        concurrency: 32,
        stop: Stop::new(),
    }
}

/// What a check reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum CheckBy {
    /// Metadata alone: sizes, the ETags of S3, and checksums that both sides have stored. Without
    /// these, objects of one size are unknown.
    #[default]
    Metadata,
    /// Checksums: an object whose checksum is not stored is read.
    Checksum,
    /// The bytes of both sides.
    Download,
}

/// What a check found out about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verdict {
    /// Both sides have the same bytes.
    Same,
    /// The bytes differ.
    Different,
    /// The destination lacks the object.
    Missing,
    /// The source lacks the object.
    Extra,
    /// It is unknown whether the bytes are the same. Never counted as the same.
    Unknown,
}

impl Verdict {
    /// Returns the character that stands for the verdict in reports: `= * + - ?`. They are those
    /// of a sync that would make the sides equal.
    #[must_use]
    pub fn symbol(self) -> char {
        match self {
            Self::Same => '=',
            Self::Different => '*',
            Self::Missing => '+',
            Self::Extra => '-',
            Self::Unknown => '?',
        }
    }
}

/// How many keys had which verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct VerdictCounts {
    /// Keys whose objects are the same.
    pub same: u64,
    /// Keys whose objects differ.
    pub different: u64,
    /// Keys that the destination lacks.
    pub missing: u64,
    /// Keys that the source lacks.
    pub extra: u64,
    /// Keys, and names of directories, about which something is unknown.
    pub unknown: u64,
}

/// The result of a check.
#[derive(Debug)]
#[non_exhaustive]
pub struct CheckSummary {
    /// How many keys had which verdict.
    pub counts: VerdictCounts,
    /// How the check ended.
    pub ended: Ended,
}

impl CheckSummary {
    /// Returns whether both sides certainly have the same objects.
    #[must_use]
    pub fn is_same(&self) -> bool {
        let VerdictCounts { same: _, different, missing, extra, unknown } = self.counts;
        matches!(self.ended, Ended::Complete) && different + missing + extra + unknown == 0
    }
}

/// The verdict about one key.
#[derive(Debug)]
#[non_exhaustive]
pub struct VerdictEvent<'a> {
    /// The key, relative to both directories. Ends in `/` for a directory that cannot be read.
    pub key: &'a str,
    /// The verdict.
    pub verdict: Verdict,
    /// The error that left the result unknown.
    pub error: Option<&'a Error>,
}

/// A function that receives each verdict, in no order.
pub type OnVerdict = Arc<dyn Fn(&VerdictEvent<'_>) + Send + Sync>;

/// A check that has not begun yet. Await it.
///
/// Compares the sorted listings of both sides in bounded memory, and the contents of objects of one
/// size as [`CheckBy`] says. Changes nothing. If the future is dropped, the check ends.
///
/// # Errors
/// The error of a list of keys, and errors of temporary files. All other failures are in the
/// summary.
#[must_use = "nothing is compared until it is awaited"]
pub struct Check {
    shared: Shared,
    filter: Filter,
    keys: Option<BoxStream<'static, Result<Key>>>,
    concurrency: usize,
    stop: Stop,
}

#[derive(Clone)]
struct Shared {
    source: Directory,
    target: Directory,
    by: CheckBy,
    on_verdict: Option<OnVerdict>,
}

impl Check {
    /// Sets what is read. Defaults to [`CheckBy::Metadata`].
    pub fn by(mut self, by: CheckBy) -> Self {
        self.shared.by = by;
        self
    }

    /// Sets which keys are compared. Defaults to all.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// Compares these keys alone, which are relative to both directories, in byte order
    /// without repetitions: see [`sort_keys`](crate::sort_keys).
    pub fn keys(mut self, keys: BoxStream<'static, Result<Key>>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Sets how many objects are compared at a time. Defaults to 32; at least 1.
    pub fn concurrency(mut self, objects: usize) -> Self {
        self.concurrency = objects.max(1);
        self
    }

    /// Calls a function with each verdict.
    pub fn on_verdict(mut self, on_verdict: OnVerdict) -> Self {
        self.shared.on_verdict = Some(on_verdict);
        self
    }

    /// Sets the handle that ends the check early.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    async fn run(self) -> Result<CheckSummary> {
        let Self { shared, filter, keys, concurrency, stop } = self;
        let mut steps = Steps::begin(&shared.source, &shared.target, keys);
        let are_s3 = compare::are_s3(&shared.source, &shared.target);
        let (mut counts, mut tasks) = (VerdictCounts::default(), JoinSet::new());
        let mut unknown = UnknownSides::default();
        let ended = loop {
            let has_room = tasks.len() < concurrency;
            tokio::select! {
                biased;
                () = stop.stopped() => break Ended::Interrupted,
                Some(done) = tasks.join_next(), if !tasks.is_empty() => counts.join(Some(done))?,
                step = steps.next(), if has_room => match step {
                    Some(Step::Broken(side, error)) => break Ended::Broken(side, error),
                    Some(Step::Pair(pair)) if filter.admits(pair.name()) => {
                        match shared.by_listing(&pair, are_s3, &unknown) {
                            Some(verdict) => {
                                counts.count(verdict);
                                shared.emit(pair.name(), verdict, None);
                            }
                            None => drop(tasks.spawn(shared.clone().by_contents(pair))),
                        }
                    }
                    Some(Step::Unknown(side, name, error))
                        if may_admit_at(&filter, &name, &error) =>
                    {
                        unknown.insert(side, &name, &error);
                        counts.count(Verdict::Unknown);
                        shared.emit(&name, Verdict::Unknown, Some(&error));
                    }
                    Some(Step::Missing(name)) if filter.admits(&name) => {
                        let error = Error::new(ErrorKind::NotFound, "neither side has this key");
                        counts.count(Verdict::Unknown);
                        shared.emit(&name, Verdict::Unknown, Some(&error));
                    }
                    Some(_) => {}
                    None => break Ended::Complete,
                },
            }
        };
        if !matches!(ended, Ended::Interrupted) {
            while let Some(done) = tasks.join_next().await {
                counts.join(Some(done))?;
            }
        }
        Ok(CheckSummary { counts, ended })
    }
}

impl Shared {
    /// Returns the verdict, if the listings suffice for it.
    fn by_listing(&self, pair: &Pair, are_s3: bool, unknown: &UnknownSides) -> Option<Verdict> {
        match (&pair.source, &pair.target) {
            (None, _) if unknown.source.contains(pair.name()) => Some(Verdict::Unknown),
            (_, None) if unknown.target.contains(pair.name()) => Some(Verdict::Unknown),
            (None, _) => Some(Verdict::Extra),
            (_, None) => Some(Verdict::Missing),
            (Some(source), Some(target)) if source.size != target.size => Some(Verdict::Different),
            (Some(source), Some(target)) => {
                let is_same = are_s3 && compare::have_equal_contents(source, target);
                (is_same && self.by != CheckBy::Download).then_some(Verdict::Same)
            }
        }
    }

    async fn by_contents(self, pair: Pair) -> Verdict {
        let (Some(source), Some(target)) = (&pair.source, &pair.target) else {
            return Verdict::Unknown;
        };
        let reading = match self.by {
            CheckBy::Metadata => Reading::Nothing,
            CheckBy::Checksum => Reading::Missing,
            CheckBy::Download => Reading::Both,
        };
        let sides = (&self.source, &self.target);
        let mut retry = Retry::default();
        let compared = loop {
            match compare::compare_contents(sides, source, target, (reading, None)).await {
                Err(error) => match retry.wait(error).await {
                    Ok(()) => {}
                    Err(error) => break Err(error),
                },
                compared => break compared,
            }
        };
        let verdict = match compared {
            Ok(Some(true)) => Verdict::Same,
            Ok(Some(false)) => Verdict::Different,
            Ok(None) | Err(_) => Verdict::Unknown,
        };
        self.emit(pair.name(), verdict, compared.as_ref().err());
        verdict
    }

    fn emit(&self, key: &str, verdict: Verdict, error: Option<&Error>) {
        if let Some(on_verdict) = &self.on_verdict {
            on_verdict(&VerdictEvent { key, verdict, error });
        }
    }
}

impl VerdictCounts {
    fn count(&mut self, verdict: Verdict) {
        let count = match verdict {
            Verdict::Same => &mut self.same,
            Verdict::Different => &mut self.different,
            Verdict::Missing => &mut self.missing,
            Verdict::Extra => &mut self.extra,
            Verdict::Unknown => &mut self.unknown,
        };
        *count += 1;
    }

    fn join(&mut self, done: Option<Result<Verdict, tokio::task::JoinError>>) -> Result<()> {
        match done {
            Some(Ok(verdict)) => self.count(verdict),
            Some(Err(error)) => {
                return Err(Error::unexpected("a task of the check panicked", error));
            }
            None => {}
        }
        Ok(())
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check")
            .field("source", &self.shared.source)
            .field("target", &self.shared.target)
            .field("by", &self.shared.by)
            .finish_non_exhaustive()
    }
}

impl IntoFuture for Check {
    type Output = Result<CheckSummary>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
