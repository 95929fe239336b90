//! [`Listing`]: the position of a listing.

use anystorage::{Entry, ListOptions, Prefix, Result};

use crate::objects::Objects;

/// A listing. It finds its begin, and the end of each directory that it rolls up, without looking
/// at the objects between.
#[derive(Debug)]
pub(crate) struct Listing {
    objects: Objects,
    prefix: Prefix,
    options: ListOptions,
    next: u64,
}

impl Listing {
    pub(crate) fn new(objects: Objects, prefix: Prefix, options: ListOptions) -> Self {
        let after = options.start_after.as_deref();
        let next = objects.first_without(|name| {
            name < prefix.as_str() || after.is_some_and(|after| name <= after)
        });
        Self { objects, prefix, options, next }
    }

    /// Returns the end of the name that the delimiter makes of a key, if it contains the delimiter.
    fn rolled_up(&self, name: &str) -> Option<usize> {
        let delimiter = self.options.delimiter.as_deref()?;
        let begin = self.prefix.as_str().len();
        name.get(begin..)?.find(delimiter).map(|at| begin + at + delimiter.len())
    }
}

impl Iterator for Listing {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.next < self.objects.count {
            let name = Objects::name(self.next);
            if !name.starts_with(self.prefix.as_str()) {
                return None;
            }
            let Some(end) = self.rolled_up(&name) else {
                let entry = self.objects.entry(self.next).map(Entry::Object);
                self.next += 1;
                return Some(entry);
            };
            let above = &name[..end];
            self.next = self.objects.first_without(|name| name < above || name.starts_with(above));
            // A listing may begin inside of a directory, which then comes before its begin.
            if self.options.start_after.as_deref().is_none_or(|after| above > after) {
                return Some(Prefix::new(above).map(Entry::Prefix));
            }
        }
        None
    }
}
