//! [`Requirement`]: what a case needs of a driver and its harness.

use std::fmt;

use storage_core::Capabilities;

use crate::harness::{Fixture, Harness};

/// What a case needs to apply to a driver. Its `Display` form is the reason why a case is skipped
/// without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Requirement {
    /// A way to fill the storage: the storage itself, or [`Fixture::seed`].
    Seed,
    /// `save` and `delete`.
    Write,
    /// `list`.
    List,
    /// `copy`.
    Copy,
    /// `rename`.
    Rename,
    /// `create_new`, and with it `unique_name`.
    CreateNew,
    /// `if_match` for saves.
    SaveIfMatch,
    /// Headers and user metadata.
    Metadata,
    /// Public links.
    PublicUrl,
    /// Signed links for GET.
    SignedGet,
    /// Signed links for PUT.
    SignedPut,
    /// Signed forms for POST.
    SignedPost,
    /// ETags, weak or strong.
    ETags,
    /// Strong ETags.
    StrongETags,
    /// Objects outside the memory of this process.
    BodiesOutsideMemory,
    /// [`Harness::broken_backend`].
    BrokenBackend,
    /// [`Harness::folder_markers`].
    FolderMarkers,
    /// [`Harness::unreadable_directory`].
    UnreadableDirectory,
}

impl Requirement {
    /// Returns whether the requirement is met.
    pub(crate) async fn is_met(self, harness: &dyn Harness, fixture: &Fixture) -> bool {
        let seed = fixture.seed.info().capabilities;
        let Capabilities { write, list, copy, rename, create_new, save_if_match, .. } =
            fixture.storage.info().capabilities;
        let Capabilities { public_url, signed_get, signed_put, signed_post, .. } =
            fixture.storage.info().capabilities;
        match self {
            Self::Seed => seed.write,
            Self::Write => write,
            Self::List => list,
            Self::Copy => copy,
            Self::Rename => rename,
            Self::CreateNew => create_new,
            Self::SaveIfMatch => save_if_match,
            // The seed stores the metadata.
            Self::Metadata => seed.metadata,
            Self::PublicUrl => public_url,
            Self::SignedGet => signed_get,
            Self::SignedPut => signed_put,
            Self::SignedPost => signed_post,
            Self::ETags => etag_is(fixture, |_| true).await,
            Self::StrongETags => etag_is(fixture, |etag| !etag.is_weak()).await,
            Self::BodiesOutsideMemory => !harness.keeps_bodies_in_memory(),
            Self::BrokenBackend => harness.broken_backend().await.is_some(),
            Self::FolderMarkers => harness.folder_markers().await.is_some(),
            Self::UnreadableDirectory => harness.unreadable_directory().await.is_some(),
        }
    }
}

/// Saves an object, tests its ETag and deletes it, because no capability describes ETags.
async fn etag_is(fixture: &Fixture, test: impl Fn(&storage_core::ETag) -> bool) -> bool {
    const PROBE: &str = "probe.bin";
    let there = fixture.seed.save(PROBE, "probe").await.is_ok();
    let meta = fixture.storage.stat(PROBE).await;
    // If the driver fails here, its cases run and report how.
    let met = meta.map_or(true, |meta| meta.etag.as_ref().is_some_and(test));
    !there || (fixture.seed.delete(PROBE).await.is_ok() && met)
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seed => "the harness provides no way to fill the storage",
            Self::Write => "the storage does not support writes",
            Self::List => "the driver does not list",
            Self::Copy => "the driver does not copy",
            Self::Rename => "the driver does not rename",
            Self::CreateNew => "the driver has no create_new",
            Self::SaveIfMatch => "the driver has no if_match for saves",
            Self::Metadata => "the driver keeps no metadata",
            Self::PublicUrl => "the driver has no public links",
            Self::SignedGet => "the driver does not sign links for GET",
            Self::SignedPut => "the driver does not sign links for PUT",
            Self::SignedPost => "the driver does not sign forms for POST",
            Self::ETags => "the driver has no ETags",
            Self::StrongETags => "the driver's ETags are weak",
            Self::BodiesOutsideMemory => "the driver keeps its objects in memory",
            Self::BrokenBackend => "the harness makes no broken backend",
            Self::FolderMarkers => "the harness makes no folder markers",
            Self::UnreadableDirectory => "the harness makes no directory that cannot be read",
        })
    }
}
