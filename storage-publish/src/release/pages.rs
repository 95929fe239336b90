//! Writes the pages and other fixed names of a release under their plain names.

use std::collections::{BTreeMap, HashSet};

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{Result, Storage};

use super::claim::Claim;
use super::copy::{copy, missing};
use super::manifest::{Manifest, ManifestEntry};

/// A fixed name that is written, and the [level](crate::Asset) of its file. 0 if it is unknown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'m> {
    pub(crate) level: u32,
    pub(crate) entry: &'m ManifestEntry,
}

/// When a fixed name is written. Each kind follows after all of the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// Pages refer to it.
    Asset,
    Page,
    /// It refers to pages: service workers, which store them, feeds and site maps.
    Index,
}

/// Copies the stored copies of fixed names to their plain names: first those that pages refer to,
/// then pages, then those that refer to pages. Copies several at a time.
///
/// # Errors
/// The first error; `Conflict` if the claim has expired. Some of the names may be written.
pub(crate) async fn show(
    destination: &Storage,
    claim: &Claim<'_>,
    shown: &[Shown<'_>],
    concurrency: usize,
) -> Result<()> {
    let mut steps: BTreeMap<(Kind, u32), Vec<&ManifestEntry>> = BTreeMap::new();
    for Shown { level, entry } in shown {
        let kind = Kind::of(&entry.name);
        // Pages refer to each other, so that no order is right for all of them.
        let level = if kind == Kind::Page { 0 } else { *level };
        steps.entry((kind, level)).or_default().push(entry);
    }
    for entries in steps.into_values() {
        let entries = &entries;
        stream::iter(0..entries.len())
            .map(move |index| show_one(destination, claim, entries[index]))
            .buffer_unordered(concurrency)
            .try_collect::<()>()
            .await?;
    }
    Ok(())
}

async fn show_one(destination: &Storage, claim: &Claim<'_>, entry: &ManifestEntry) -> Result<()> {
    claim.check()?;
    let stored = entry.object_key();
    let copied = copy(destination, stored, None, &entry.name, None).await;
    copied.map_err(|error| missing(error, stored))
}

impl Kind {
    fn of(name: &str) -> Self {
        let name = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        let is_worker = ["sw.js", "ngsw-worker.js", "ngsw.json", "onesignalsdkworker.js"]
            .contains(&name.as_str())
            || name.ends_with("-sw.js")
            || name.contains("service-worker")
            || name.contains("serviceworker");
        match name.rsplit('.').next() {
            Some("html" | "htm" | "xhtml") => Self::Page,
            Some("rss" | "atom") => Self::Index,
            Some("xml") if is_feed(&name) => Self::Index,
            _ if is_worker => Self::Index,
            _ => Self::Asset,
        }
    }
}

/// Whether an XML file is a feed or a site map. Another one may be data of a page.
fn is_feed(name: &str) -> bool {
    ["feed", "rss", "atom", "index", "sitemap"].iter().any(|begin| name.starts_with(begin))
}

/// Returns whether a release has fixed names that the next one lacks.
pub(crate) fn leaves_pages(ended: Option<&Manifest>, next: &Manifest) -> bool {
    let kept: HashSet<&str> = next.fixed().map(|entry| entry.name.as_str()).collect();
    ended.is_some_and(|ended| ended.fixed().any(|entry| !kept.contains(entry.name.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pages_refer_to_comes_before_them_and_what_refers_to_pages_after_them() {
        for (name, kind) in [
            ("img/logo.png", Kind::Asset),
            ("manifest.json", Kind::Asset),
            ("a/INDEX.HTML", Kind::Page),
            ("404.htm", Kind::Page),
            ("sw.js", Kind::Index),
            ("firebase-messaging-sw.js", Kind::Index),
            ("sitemap.xml", Kind::Index),
            ("sitemap-news.xml", Kind::Index),
            ("data.xml", Kind::Asset),
        ] {
            assert_eq!(Kind::of(name), kind, "{name}");
        }
        assert!(Kind::Asset < Kind::Page && Kind::Page < Kind::Index);
    }
}
