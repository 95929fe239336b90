//! `parts`: lists the stored parts of an upload, in pages of 1,000.

use std::collections::VecDeque;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::{StreamExt, stream};
use storage_client::parse_etag;
use storage_core::internal::stream_or_error;
use storage_core::{
    Checksum, ChecksumAlgorithm, Error, ErrorKind, Key, Part, PartStream, Result, UploadId,
};

use crate::client::FailedRequest;
use crate::multipart::remote::{RemoteUpload, has_no_parts};
use crate::multipart::{MAX_PARTS, id};
use crate::shared::Shared;
use crate::xml;

/// The most parts of a page (API reference, `ListParts`).
const PAGE_SIZE: usize = 1_000;

pub(super) fn list(s3: &Shared, key: &Key, id: &UploadId) -> PartStream {
    let remote = id::required(&s3.client, key, id);
    stream_or_error(remote.map(|remote| {
        let parts = stream::unfold(Some(Listing::new(remote)), |listing| async move {
            let mut listing = listing?;
            match listing.next().await {
                Ok(part) => Some((Ok(part?), Some(listing))),
                Err(failed) if has_no_parts(&failed) => {
                    Some((Err(id::no_such_upload().with_source(failed.error)), None))
                }
                Err(failed) => Some((Err(failed.error), None)),
            }
        });
        parts.boxed()
    }))
}

/// Returns all stored parts.
pub(super) async fn all(remote: RemoteUpload) -> Result<Vec<Part>, FailedRequest> {
    let (mut listing, mut parts) = (Listing::new(remote), Vec::new());
    while let Some(part) = listing.next().await? {
        parts.push(part);
    }
    Ok(parts)
}

/// A listing in progress.
struct Listing {
    remote: RemoteUpload,
    page: VecDeque<xml::ListedPart>,
    /// The number of the last part, or 0. It rises with every part, so that a listing ends.
    last: u32,
    has_more: bool,
}

impl Listing {
    fn new(remote: RemoteUpload) -> Self {
        Self { remote, page: VecDeque::new(), last: 0, has_more: true }
    }

    async fn next(&mut self) -> Result<Option<Part>, FailedRequest> {
        if self.page.is_empty() && self.has_more {
            // The marker of the service is not used: a listing that does not advance is detected by
            // the numbers.
            let page = self.remote.page_of_parts(self.last).await?;
            // Not every service states that more follow. The page after the last one is empty then.
            self.has_more = page.is_truncated || page.parts.len() >= PAGE_SIZE;
            self.page = page.parts.into();
            if self.page.is_empty() && self.has_more {
                return Err(wrong("an empty page that more pages follow").into());
            }
        }
        let Some(listed) = self.page.pop_front() else { return Ok(None) };
        let number = listed.part_number;
        if number <= self.last || u64::from(number) > MAX_PARTS {
            return Err(wrong(&format!("part {number} after part {}", self.last)).into());
        }
        self.last = number;
        Ok(Some(part(&listed)?))
    }
}

fn part(listed: &xml::ListedPart) -> Result<Part> {
    let number = listed.part_number;
    let etag = parse_etag(&listed.etag)
        .ok_or_else(|| wrong(&format!("part {number} without a valid ETag")))?;
    // A part has the one of the upload's algorithm.
    let crc64nvme = decoded(ChecksumAlgorithm::Crc64Nvme, listed.crc64nvme.as_deref());
    let checksum = crc64nvme.or(decoded(ChecksumAlgorithm::Crc32c, listed.crc32c.as_deref()));
    Ok(Part::new(number, listed.size, etag).with_checksum(checksum))
}

fn decoded(algorithm: ChecksumAlgorithm, base64: Option<&str>) -> Option<Checksum> {
    Checksum::new(algorithm, BASE64.decode(base64?).ok()?).ok()
}

fn wrong(found: &str) -> Error {
    let message = format!("the service's listing of the parts of an upload has {found}");
    Error::new(ErrorKind::Unexpected, message)
}
