//! `put_part`: stores one part by one PUT.

use storage_core::{Error, ErrorKind, Key, Part, Payload, Result, UploadId};

use crate::multipart::id;
use crate::parts::{self, PartReader};
use crate::shared::Shared;

/// Stores a part. Its bytes are in memory, from the budget of all saves, until the service has
/// acknowledged them, so that the request can be repeated.
pub(super) async fn put_part(
    s3: &Shared,
    key: &Key,
    id: &UploadId,
    number: u32,
    payload: Payload,
) -> Result<Part> {
    let plan = id.required_plan()?;
    let part_size = plan.part_size;
    let policy = s3.checksum_policy.of_resumable_uploads(plan.checksum.as_ref());
    let remote = id::required(&s3.client, key, id)?;
    let payload = payload.with_max_size(part_size).with_computed_checksum(policy.part_crc());
    let (mut reader, checked) = PartReader::of_payload(payload, &s3.save_budget).await?;
    let mut part = reader.next(part_size).await?;
    // All checks of the payload pass before the request is sent, which replaces an earlier part.
    if !reader.is_at_end_after(&mut part).await? {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("the part is larger than the part size of {part_size} bytes"),
        ));
    }
    let checksums = checked.or_else(|| reader.checksums().cloned()).unwrap_or_default();
    let crc = checksums.get(policy.part_crc()).cloned();
    let parts::Part { chunks, reservation } = part;
    let size = chunks.len();
    let body_checksum = policy.body_checksum(&chunks, crc.as_ref()).await?;
    let number_of_part = usize::try_from(number).unwrap_or(usize::MAX);
    let sent = remote.put_part(number_of_part, chunks, body_checksum.as_ref()).await;
    drop(reservation);
    Ok(Part::new(number, size, sent.map_err(id::error)?).with_checksum(crc))
}
