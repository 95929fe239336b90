//! A listing that begins again after the last entry when it breaks off.

use std::sync::Arc;

use futures_util::{StreamExt, stream};

use super::backoff::Attempts;
use crate::driver::Driver;
use crate::entry::{Entry, EntryStream};
use crate::error::{Error, ErrorKind, Result};
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

/// What the caller has been told.
#[derive(Default)]
struct Told {
    /// The name of the last entry; empty before the first.
    last: String,
    /// How many odd names since then, but for those that sort before it.
    odd: usize,
    /// How many of those are still to come once more, until a new entry shows that nothing else will.
    again: Option<usize>,
}

impl Relisting {
    pub(super) fn new(inner: &Arc<dyn Driver>, prefix: &Prefix, options: &ListOptions, attempts: Attempts) -> Self {
        let (inner, prefix, options) = (Arc::clone(inner), prefix.clone(), options.clone());
        Self { inner, prefix, options, attempts, told: Told::default() }
    }

    /// The entries.
    pub(super) fn entries(self) -> EntryStream {
        let first = self.inner.list(&self.prefix, &self.options);
        stream::unfold(Some((self, first)), |listing| async {
            let (mut relisting, mut entries) = listing?;
            let entry = relisting.next(&mut entries).await?;
            let goes_on = !matches!(&entry, Err(error) if !is_odd_name(error));
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
                Err(error) if is_odd_name(&error) => {
                    if self.told.is_new_odd_name(error.key()) {
                        self.attempts.progress();
                        return Some(Err(error));
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
        self.told.again = Some(self.told.odd);
        self.inner.list(&self.prefix, &self.options)
    }
}

/// The one error after which a listing goes on.
fn is_odd_name(error: &Error) -> bool {
    error.kind() == ErrorKind::InvalidKey
}

impl Told {
    /// Some backends answer a `start_after` that names a rolled-up prefix with that prefix once more.
    fn is_new_entry(&self, name: &str) -> bool {
        self.again.is_none() || name > self.last.as_str()
    }

    fn entry(&mut self, name: &str) {
        self.last.clear();
        self.last.push_str(name);
        (self.odd, self.again) = (0, None);
    }

    /// An odd name is no place to begin again at: what can be told of it need not sort as it does. So those since the
    /// last entry are counted and left out the second time; and so are all before it, if the driver tells them again.
    fn is_new_odd_name(&mut self, name: Option<&str>) -> bool {
        let before = name.is_some_and(|name| name <= self.last.as_str());
        match &mut self.again {
            Some(_) if before => return false,
            Some(again) if *again > 0 => {
                *again -= 1;
                return false;
            }
            _ => {}
        }
        self.odd += usize::from(!before);
        true
    }
}
