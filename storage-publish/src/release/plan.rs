//! [`plan`]: what a publish would do, without a change.

use storage_core::internal::floor_to_second;
use storage_core::{Result, Storage};

use super::before::Before;
use super::cleanup::{Candidates, Due};
use super::draft::{Action, Draft};
use super::manifest::Manifest;
use super::options::PublishOptions;
use super::pages::leaves_pages;
use super::publish::compare;
use crate::site::{Naming, Site};

/// What a publish would do. The keys are those below the destination.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct PublishPlan {
    /// Whether there would be a new release.
    pub is_new: bool,
    /// The objects that would be uploaded, with their sizes in bytes. Objects that exist already
    /// with the same bytes are among them if the last release does not name them.
    pub uploads: Vec<(String, u64)>,
    /// The siblings that would be compressed, and uploaded if they are small enough.
    pub encodings: Vec<String>,
    /// The objects whose headers would be replaced without an upload.
    pub headers: Vec<String>,
    /// The fixed names that would be written.
    pub pages: Vec<String>,
    /// The objects that would be deleted, because only releases past their grace name them.
    pub deletions: Vec<String>,
    /// The number of files that need no request before the pages.
    pub unchanged: u64,
}

/// Returns what [`publish`](super::publish) would do. Reads the pointer and manifests, lists the
/// destination once, and writes nothing. Ignores the claims of other publishers.
///
/// # Errors
/// As [`publish`](super::publish).
pub async fn plan(
    site: &Site,
    destination: &Storage,
    options: &PublishOptions,
) -> Result<PublishPlan> {
    let before = Before::read(site, destination, options, true).await?;
    let drafts = compare(site, destination, &before, options).await?;
    let mut plan = PublishPlan { is_new: before.is_changed(&drafts), ..PublishPlan::default() };
    for draft in &drafts {
        plan.add(&before, draft);
    }
    plan.deletions = deletions(destination, options, &before, &drafts, plan.is_new).await?;
    Ok(plan)
}

impl PublishPlan {
    fn add(&mut self, before: &Before, draft: &Draft<'_>) {
        if draft.is_unchanged(&before.found) {
            self.unchanged += 1;
        }
        let key = || draft.entry.name.clone();
        match draft.action {
            Action::Keep => {}
            Action::ReplaceHeaders => self.headers.push(key()),
            // It is there, and is compared.
            Action::Place if is_there(before, draft, draft.entry.object_key()) => {}
            Action::Place => self.uploads.push((key(), draft.asset.size)),
        }
        for encoding in &draft.siblings {
            let sibling = format!("{}{}", key(), encoding.suffix());
            match draft.sibling_action(*encoding, &before.found) {
                Some(Action::Place) if is_there(before, draft, &sibling) => {}
                Some(Action::Place) => self.encodings.push(sibling),
                Some(Action::ReplaceHeaders) => self.headers.push(sibling),
                Some(Action::Keep) | None => {}
            }
        }
        if before.is_to_show(draft) {
            self.pages.push(key());
        }
    }
}

/// Returns whether the destination has this object, whose name has a hash.
fn is_there(before: &Before, draft: &Draft<'_>, key: &str) -> bool {
    draft.asset.naming != Naming::Fixed && before.found.contains(key)
}

async fn deletions(
    destination: &Storage,
    options: &PublishOptions,
    before: &Before,
    drafts: &[Draft<'_>],
    is_new: bool,
) -> Result<Vec<String>> {
    let entries = drafts.iter().map(|draft| (draft.asset.path.clone(), draft.kept_entry()));
    let now = floor_to_second(options.now());
    let next = Manifest::new(&before.release, now, entries.collect());
    let mut pointer = before.read.pointer.clone();
    if is_new {
        pointer.switch(&before.release, now, leaves_pages(before.last.as_ref(), &next));
    }
    let due = Due::of(&pointer, options);
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let candidates = Candidates::of(destination, &pointer, Some(&next), &due).await?;
    Ok(candidates.owned.into_iter().chain(candidates.pages.into_keys()).collect())
}
