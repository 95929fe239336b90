//! [`Need`]: what a case asks of a driver; without it the case is skipped, by name.

use std::fmt;

use storage_core::Capabilities;

use crate::harness::{Fixture, Harness};

/// What a case cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// A way to fill the storage: itself, or the harness's other handle.
    Seed,
    /// `save` and `delete`.
    Write,
    /// `list`.
    List,
    /// `copy`.
    Copy,
    /// `create_new`, and with it `unique_name`.
    CreateNew,
    /// `if_match` of a save.
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
    /// A backend outside this process.
    BodiesOutsideMemory,
    /// [`Harness::broken_backend`].
    BrokenBackend,
    /// [`Harness::folder_markers`].
    FolderMarkers,
    /// [`Harness::unreadable_directory`].
    UnreadableDirectory,
}

impl Need {
    /// Whether it is there.
    pub(crate) async fn is_met(self, harness: &dyn Harness, fixture: &Fixture) -> bool {
        let seed = fixture.seed.info().capabilities;
        let Capabilities { write, list, copy, create_new, save_if_match, .. } =
            fixture.storage.info().capabilities;
        let Capabilities { public_url, signed_get, signed_put, signed_post, .. } =
            fixture.storage.info().capabilities;
        match self {
            Self::Seed => seed.write,
            Self::Write => write,
            Self::List => list,
            Self::Copy => copy,
            Self::CreateNew => create_new,
            Self::SaveIfMatch => save_if_match,
            // Kept by whoever writes, shown by whoever reads.
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

/// Looks at the ETag of an object, since no capability tells of it, and takes the object away
/// again.
async fn etag_is(fixture: &Fixture, test: impl Fn(&storage_core::ETag) -> bool) -> bool {
    const PROBE: &str = "probe.bin";
    let there = fixture.seed.save(PROBE, "probe").await.is_ok();
    let meta = fixture.storage.stat(PROBE).await;
    // A driver that fails here is not excused: its cases run, and show how.
    let met = meta.map_or(true, |meta| meta.etag.as_ref().is_some_and(test));
    !there || (fixture.seed.delete(PROBE).await.is_ok() && met)
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Seed => "no way to fill the storage",
            Self::Write => "the storage cannot be written to",
            Self::List => "the driver does not list",
            Self::Copy => "the driver does not copy",
            Self::CreateNew => "the driver has no create_new",
            Self::SaveIfMatch => "the driver's saves have no if_match",
            Self::Metadata => "the driver keeps no metadata",
            Self::PublicUrl => "the storage has no public links",
            Self::SignedGet => "the storage does not sign links for GET",
            Self::SignedPut => "the storage does not sign links for PUT",
            Self::SignedPost => "the storage does not sign forms for POST",
            Self::ETags => "the driver has no ETags",
            Self::StrongETags => "the driver's ETags are weak",
            Self::BodiesOutsideMemory => "the driver keeps its objects in memory",
            Self::BrokenBackend => "the harness makes no broken backend",
            Self::FolderMarkers => "the harness makes no folder markers",
            Self::UnreadableDirectory => "the harness makes no directory that cannot be read",
        })
    }
}
