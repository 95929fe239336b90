//! [`Relisting`]: resumes a listing that breaks off after its last entry.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::backoff::Attempts;
use crate::driver::Driver;
use crate::entry::{Entry, EntryStream, is_behind};
use crate::error::{Error, Result};
use crate::key::Prefix;
use crate::options::ListOptions;

/// Lists the rest after an error. Each entry is yielded once.
pub(super) struct Relisting {
    inner: Arc<dyn Driver>,
    prefix: Prefix,
    options: ListOptions,
    attempts: Attempts,
    yielded: Yielded,
}

/// How many errors are remembered individually.
const MAX_REMEMBERED: usize = 1000;

/// The entries and errors that the caller has received.
#[derive(Default)]
struct Yielded {
    /// The name of the last entry; empty before the first.
    last: String,
    /// The hashes of the errors that were yielded since then, except those that sort before it.
    errors: Vec<u64>,
    /// The number of further errors, which are not remembered individually.
    more_errors: usize,
    /// `Some` while the next items may be repetitions. Contains how many of the further errors the
    /// backend has not repeated yet.
    repeated: Option<usize>,
}

impl Relisting {
    pub(super) fn new(
        inner: &Arc<dyn Driver>,
        prefix: &Prefix,
        options: &ListOptions,
        attempts: Attempts,
    ) -> Self {
        let (inner, prefix, options) = (Arc::clone(inner), prefix.clone(), options.clone());
        Self { inner, prefix, options, attempts, yielded: Yielded::default() }
    }

    /// Returns the entries of the listing.
    pub(super) fn entries(self) -> EntryStream {
        let first = self.inner.list(&self.prefix, &self.options);
        stream::unfold(Some((self, first)), |listing| async {
            let (mut relisting, mut entries) = listing?;
            let entry = relisting.next(&mut entries).await?;
            let continues = entry.as_ref().err().is_none_or(Error::listing_continues);
            Some((entry, continues.then_some((relisting, entries))))
        })
        .fuse()
        .boxed()
    }

    async fn next(&mut self, entries: &mut EntryStream) -> Option<Result<Entry>> {
        loop {
            match entries.next().await? {
                Ok(entry) if self.yielded.is_new_entry(entry.name()) => {
                    self.yielded.entry(entry.name());
                    self.attempts.progress();
                    return Some(Ok(entry));
                }
                Ok(_) => {}
                Err(error) if error.listing_continues() => {
                    if !self.yielded.is_new_error(&error) {
                        continue;
                    }
                    match self.attempts.after(error).await {
                        Ok(()) => *entries = self.restart(),
                        Err(error) => {
                            self.yielded.error(&error);
                            self.attempts.progress();
                            return Some(Err(error));
                        }
                    }
                }
                Err(error) => match self.attempts.after(error).await {
                    Ok(()) => *entries = self.restart(),
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }

    fn restart(&mut self) -> EntryStream {
        if !self.yielded.last.is_empty() {
            self.options.start_after = Some(self.yielded.last.clone());
        }
        self.yielded.repeated = Some(self.yielded.more_errors);
        self.inner.list(&self.prefix, &self.options)
    }
}

impl Yielded {
    /// Returns whether the entry is no repetition. After a `start_after` that names a rolled-up
    /// prefix, some backends list that prefix again.
    fn is_new_entry(&self, name: &str) -> bool {
        self.repeated.is_none() || name > self.last.as_str()
    }

    /// Records an entry that is yielded.
    fn entry(&mut self, name: &str) {
        self.last.clear();
        self.last.push_str(name);
        self.errors.clear();
        (self.more_errors, self.repeated) = (0, None);
    }

    /// Returns whether an error after which the listing continues is no repetition.
    ///
    /// A listing cannot resume after such an error, because the name in it may sort differently
    /// from the raw name. So the errors since the last entry are remembered and skipped when they
    /// are repeated, and so is every error that sorts before that entry.
    fn is_new_error(&mut self, error: &Error) -> bool {
        let Some(repeated) = &mut self.repeated else { return true };
        if is_behind(error, &self.last) || self.errors.contains(&hash_of(error)) {
            return false;
        }
        let is_new = *repeated == 0;
        *repeated = repeated.saturating_sub(1);
        is_new
    }

    /// Records an error that is yielded.
    fn error(&mut self, error: &Error) {
        if is_behind(error, &self.last) {
            return;
        }
        if self.errors.len() < MAX_REMEMBERED {
            self.errors.push(hash_of(error));
        } else {
            self.more_errors += 1;
        }
    }
}

fn hash_of(error: &Error) -> u64 {
    let mut hasher = DefaultHasher::new();
    (error.kind(), error.key()).hash(&mut hasher);
    hasher.finish()
}
