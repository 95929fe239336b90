//! `list`: lists origin, with times in whole seconds, as `open` and `stat` return them.

use futures_util::StreamExt;
use storage_core::internal::floor_to_second;
use storage_core::{Entry, EntryStream, ListOptions, Prefix};

use crate::shared::Shared;

pub(crate) fn list(cache: &Shared, prefix: &Prefix, options: &ListOptions) -> EntryStream {
    let entries = cache.origin.list(prefix, options).map(|entry| {
        entry.map(|entry| match entry {
            Entry::Object(mut object) => {
                object.last_modified = object.last_modified.map(floor_to_second);
                Entry::Object(object)
            }
            other => other,
        })
    });
    entries.boxed()
}
