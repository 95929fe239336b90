//! [`Before`]: the state that a publish finds: the pointer, the last manifest and one listing.

use storage_core::{Result, Storage};

use super::claim::check_unclaimed;
use super::draft::{Baseline, Draft, check_site, wanted_keys};
use super::layout::new_release_id;
use super::listing::Listing;
use super::manifest::Manifest;
use super::options::PublishOptions;
use super::pointer::{PointerStore, Versioned};
use crate::site::{Naming, Site};

/// The state that a publish finds.
///
/// The pointer is read first. A claim succeeds only if the pointer has not changed since then, so
/// no other publisher changes what is read here.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) store: PointerStore,
    pub(crate) read: Versioned,
    /// The manifest of the current release.
    pub(crate) last: Option<Manifest>,
    pub(crate) found: Listing,
    /// The id that a new release gets.
    pub(crate) release: String,
}

impl Before {
    /// # Errors
    /// `Conflict` if another publisher has a claim, unless `may_be_claimed`.
    pub(crate) async fn read(
        site: &Site,
        destination: &Storage,
        options: &PublishOptions,
        may_be_claimed: bool,
    ) -> Result<Self> {
        check_site(site)?;
        let store = PointerStore::new(destination)?;
        let read = store.read().await?;
        if !may_be_claimed {
            check_unclaimed(&read.pointer, options)?;
        }
        // Without its manifest, a release is published again as a whole.
        let last = match read.pointer.current_release() {
            Some(release) => Manifest::read_if_whole(destination, release).await?,
            None => None,
        };
        let found = Listing::of(destination, &wanted_keys(site, last.as_ref())).await?;
        let release = new_release_id(options.now())?;
        Ok(Self { store, read, last, found, release })
    }

    pub(crate) fn baseline(&self) -> Baseline<'_> {
        Baseline {
            last: self.last.as_ref(),
            found: &self.found,
            may_have_other_headers: self.read.pointer.may_have_other_headers(),
        }
    }

    /// Returns whether a publish or a rollback ended between two pages, so that no plain name of a
    /// page is certain.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.read.pointer.switching.is_some()
    }

    /// Returns whether the plain name of a page has to be written.
    pub(crate) fn is_to_show(&self, draft: &Draft<'_>) -> bool {
        draft.asset.naming == Naming::Fixed
            && (self.is_interrupted() || !draft.is_shown(&self.found))
    }

    /// Returns whether the site is another one than the current release, or a part of the release
    /// is missing.
    pub(crate) fn is_changed(&self, drafts: &[Draft<'_>]) -> bool {
        let is_same = |last: &Manifest| last.entries.len() == drafts.len();
        let is_changed =
            |draft: &Draft<'_>| !draft.is_unchanged(&self.found) || self.is_to_show(draft);
        self.is_interrupted()
            || !self.last.as_ref().is_some_and(is_same)
            || drafts.iter().any(is_changed)
    }
}
