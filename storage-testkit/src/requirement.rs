//! [`Requirement`]: what a case needs of a driver and its harness.

use std::fmt;

use storage_core::{Capabilities, MultipartLimits};

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
    /// Multipart uploads.
    Multipart,
    /// `create_new` for multipart uploads.
    MultipartCreateNew,
    /// `if_match` for multipart uploads.
    MultipartIfMatch,
    /// Checksums of the whole object for multipart uploads.
    MultipartChecksum,
    /// Listings of unfinished multipart uploads.
    MultipartList,
    /// [`Harness::broken_backend`].
    BrokenBackend,
    /// [`Harness::multipart_limits`].
    MultipartLimits,
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
            Self::Multipart => fixture.storage.multipart_limits().is_ok(),
            Self::MultipartCreateNew => multipart_has(fixture, |limits| limits.create_new),
            Self::MultipartIfMatch => multipart_has(fixture, |limits| limits.if_match),
            Self::MultipartChecksum => multipart_has(fixture, |limits| limits.checksum),
            Self::MultipartList => multipart_has(fixture, |limits| limits.list),
            Self::BrokenBackend => harness.broken_backend().await.is_some(),
            Self::MultipartLimits => harness.multipart_limits().is_some(),
            Self::FolderMarkers => harness.folder_markers().await.is_some(),
            Self::UnreadableDirectory => harness.unreadable_directory().await.is_some(),
        }
    }
}

fn multipart_has(fixture: &Fixture, test: impl Fn(&MultipartLimits) -> bool) -> bool {
    fixture.storage.multipart_limits().is_ok_and(|limits| test(&limits))
}

/// Saves an object, tests its ETag and deletes it, because no capability describes ETags.
async fn etag_is(fixture: &Fixture, test: impl Fn(&storage_core::ETag) -> bool) -> bool {
    const PROBE: &str = "probe.bin";
    let there = fixture.seed.save(PROBE, "probe").await.is_ok();
    let meta = fixture.storage.stat(PROBE).await;
    // If the driver fails here, its cases run and report how.
    let met = meta.map_or(true, |meta| meta.etag.as_ref().is_some_and(test));
    !there || fixture.seed.delete(PROBE).await.is_err() || met
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
            Self::Multipart => "the driver has no multipart uploads",
            Self::MultipartCreateNew => "the driver has no create_new for multipart uploads",
            Self::MultipartIfMatch => "the driver has no if_match for multipart uploads",
            Self::MultipartChecksum => "the driver verifies no checksum of a multipart upload",
            Self::MultipartList => "the driver does not list multipart uploads",
            Self::BrokenBackend => "the harness makes no broken backend",
            Self::MultipartLimits => "the harness states no limits of multipart uploads",
            Self::FolderMarkers => "the harness makes no folder markers",
            Self::UnreadableDirectory => "the harness makes no directory that cannot be read",
        })
    }
}
