//! A listing that begins again after the last entry when it breaks off.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::backoff::Attempts;
use crate::driver::Driver;
use crate::entry::{Entry, EntryStream, is_behind};
use crate::error::{Error, Result};
use crate::key::Prefix;
use crate::options::ListOptions;

/// What it takes to list the rest. Each entry is told once.
pub(super) struct Relisting {
    inner: Arc<dyn Driver>,
    prefix: Prefix,
    options: ListOptions,
    attempts: Attempts,
    told: Told,
}

/// How many errors are remembered one by one.
const REMEMBERED: usize = 1000;

/// What the caller has been told.
#[derive(Default)]
struct Told {
    /// The name of the last entry; empty before the first.
    last: String,
    /// Hashes of the errors passed on since then, except those that sort before it.
    errors: Vec<u64>,
    /// How many more there were than are remembered.
    more_errors: usize,
    /// Set while the entries that follow may have been passed on before: how many errors of those
    /// that are not remembered are still to come once more.
    again: Option<usize>,
}

impl Relisting {
    pub(super) fn new(
        inner: &Arc<dyn Driver>,
        prefix: &Prefix,
        options: &ListOptions,
        attempts: Attempts,
    ) -> Self {
        let (inner, prefix, options) = (Arc::clone(inner), prefix.clone(), options.clone());
        Self { inner, prefix, options, attempts, told: Told::default() }
    }

    /// The entries.
    pub(super) fn entries(self) -> EntryStream {
        let first = self.inner.list(&self.prefix, &self.options);
        stream::unfold(Some((self, first)), |listing| async {
            let (mut relisting, mut entries) = listing?;
            let entry = relisting.next(&mut entries).await?;
            let goes_on = entry.as_ref().err().is_none_or(Error::listing_continues);
            Some((entry, goes_on.then_some((relisting, entries))))
        })
        .fuse()
        .boxed()
    }

    async fn next(&mut self, entries: &mut EntryStream) -> Option<Result<Entry>> {
        loop {
            match entries.next().await? {
                Ok(entry) if self.told.is_new_entry(entry.name()) => {
                    self.told.entry(entry.name());
                    self.attempts.progress();
                    return Some(Ok(entry));
                }
                Ok(_) => {}
                Err(error) if error.listing_continues() => {
                    if !self.told.is_new_error(&error) {
                        continue;
                    }
                    match self.attempts.after(error).await {
                        Ok(()) => *entries = self.begin_again(),
                        Err(error) => {
                            self.told.error(&error);
                            self.attempts.progress();
                            return Some(Err(error));
                        }
                    }
                }
                Err(error) => match self.attempts.after(error).await {
                    Ok(()) => *entries = self.begin_again(),
                    Err(error) => return Some(Err(error)),
                },
            }
        }
    }

    fn begin_again(&mut self) -> EntryStream {
        if !self.told.last.is_empty() {
            self.options.start_after = Some(self.told.last.clone());
        }
        self.told.again = Some(self.told.more_errors);
        self.inner.list(&self.prefix, &self.options)
    }
}

impl Told {
    /// Some backends answer a `start_after` that names a rolled-up prefix with that prefix once
    /// more.
    fn is_new_entry(&self, name: &str) -> bool {
        self.again.is_none() || name > self.last.as_str()
    }

    fn entry(&mut self, name: &str) {
        self.last.clear();
        self.last.push_str(name);
        self.errors.clear();
        (self.more_errors, self.again) = (0, None);
    }

    /// Returns whether an error after which the listing continues is to be passed on.
    ///
    /// A listing cannot resume after such an error, because the name it shows may sort differently
    /// from the raw one. So those since the last entry are remembered and left out the second time,
    /// and so are all before it, if the driver yields them again.
    fn is_new_error(&mut self, error: &Error) -> bool {
        let Some(again) = &mut self.again else { return true };
        if is_behind(error, &self.last) || self.errors.contains(&hash_of(error)) {
            return false;
        }
        let is_new = *again == 0;
        *again = again.saturating_sub(1);
        is_new
    }

    /// Remembers an error that is passed on.
    fn error(&mut self, error: &Error) {
        if is_behind(error, &self.last) {
            return;
        }
        if self.errors.len() < REMEMBERED {
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
