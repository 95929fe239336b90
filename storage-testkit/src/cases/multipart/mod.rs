//! `multipart`: uploads that outlive a process.

mod bytes;
mod completion;
mod lifetime;
mod modes;
mod race;

pub(crate) use bytes::*;
pub(crate) use completion::*;
pub(crate) use lifetime::*;
pub(crate) use modes::*;
pub(crate) use race::*;

use ::bytes::Bytes;
use futures_util::TryStreamExt;
use storage_core::{MultipartUpload, Part, Result};

use crate::kit::Kit;
use crate::support::content::pattern;

/// The smallest part size in the cases, so that parts fill more than one buffer.
const SMALLEST: u64 = 100_000;

/// Returns a part size that the driver accepts.
fn part_size(kit: &Kit) -> Result<u64> {
    Ok(kit.storage.multipart_limits()?.min_part_size.max(SMALLEST))
}

/// Returns the bytes of an object of this many whole parts and a shorter last one.
fn content(kit: &Kit, seed: u8, whole_parts: usize) -> Result<Bytes> {
    Ok(pattern(seed, usize::try_from(part_size(kit)?).unwrap_or(0) * whole_parts + 1_000))
}

/// Returns the parts that the bytes have in an upload, by number.
fn split(kit: &Kit, bytes: &Bytes) -> Result<Vec<(u32, Bytes)>> {
    let size = usize::try_from(part_size(kit)?).unwrap_or(1);
    let starts = (0..bytes.len()).step_by(size);
    Ok(starts
        .zip(1..)
        .map(|(start, number)| (number, bytes.slice(start..bytes.len().min(start + size))))
        .collect())
}

/// Stores all parts of the bytes, in order.
async fn put_all(kit: &Kit, upload: &MultipartUpload, bytes: &Bytes) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for (number, part) in split(kit, bytes)? {
        parts.push(upload.put_part(number, part).await?);
    }
    Ok(parts)
}

/// Returns the parts that the storage lists.
async fn listed(upload: &MultipartUpload) -> Result<Vec<(u32, u64)>> {
    upload.parts().map_ok(|part| (part.number, part.size)).try_collect().await
}
