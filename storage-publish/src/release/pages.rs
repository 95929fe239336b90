//! Writes the pages and other fixed names of a release under their plain names.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{Result, Storage};

use super::copy::{copy, missing};
use super::manifest::{Manifest, ManifestEntry};

/// Copies the stored pages of a release to their plain names, in this order, several at a time.
///
/// # Errors
/// The first error. Some of the pages may be written.
pub(crate) async fn show(
    destination: &Storage,
    entries: &[&ManifestEntry],
    concurrency: usize,
) -> Result<()> {
    stream::iter(0..entries.len())
        .map(move |index| show_one(destination, entries[index]))
        .buffer_unordered(concurrency)
        .try_collect()
        .await
}

async fn show_one(destination: &Storage, entry: &ManifestEntry) -> Result<()> {
    let stored = entry.object_key();
    let copied = copy(destination, stored, None, &entry.name, None).await;
    copied.map_err(|error| missing(error, stored))
}

/// Returns whether a release has fixed names that the next one lacks.
pub(crate) fn leaves_pages(ended: Option<&Manifest>, next: &Manifest) -> bool {
    let kept: HashSet<&str> = next.fixed().map(|entry| entry.name.as_str()).collect();
    ended.is_some_and(|ended| ended.fixed().any(|entry| !kept.contains(entry.name.as_str())))
}
