//! `complete`: makes the object of an upload visible, or recognises that it is.

use std::collections::BTreeMap;

use storage_core::{
    CheckedParts, CompleteOptions, ETag, Error, ErrorKind, Key, ObjectMeta, Part, Result, UploadId,
    UploadPlan, check_completed, check_parts,
};

use crate::client::FailedRequest;
use crate::condition::Condition;
use crate::multipart::remote::{RemoteUpload, has_no_parts, is_gone, part_entry};
use crate::multipart::upload::of_unknown_outcome;
use crate::multipart::{id, nonce, parts};
use crate::shared::Shared;
use crate::{object_options, tagging};

pub(super) async fn complete(
    s3: &Shared,
    key: &Key,
    id: &UploadId,
    options: &CompleteOptions,
) -> Result<ObjectMeta> {
    let plan = id.required_plan()?;
    let condition = Condition::of_mode(&plan.mode)?;
    // The id may be older than the configuration, or come from a client.
    if condition != Condition::None && !s3.features.conditional_complete {
        return Err(s3.features.conditions_unsupported());
    }
    let remote = id::required(&s3.client, key, id)?;
    let mut attempt = 1;
    let object = loop {
        match complete_listed(s3, key, &remote, plan, &condition, options).await? {
            Completion::Done(object) => break *object,
            // A put of this part was in progress, as after a client that went away.
            Completion::PartReplaced(_) if attempt < ATTEMPTS => attempt += 1,
            Completion::PartReplaced(failed) => return Err(part_replaced(failed)),
        }
    };
    confirmed(s3, key, object).await
}

/// How often the parts are listed, and completed as listed, if a part is replaced between the two.
const ATTEMPTS: usize = 4;

enum Completion {
    Done(Box<ObjectMeta>),
    PartReplaced(FailedRequest),
}

/// Lists the parts, and completes the upload with the parts as listed.
async fn complete_listed(
    s3: &Shared,
    key: &Key,
    remote: &RemoteUpload,
    plan: &UploadPlan,
    condition: &Condition,
    options: &CompleteOptions,
) -> Result<Completion> {
    let stored = match parts::all(remote.clone()).await {
        Ok(stored) => stored,
        Err(failed) if has_no_parts(&failed) => {
            let object = nonce::object_of(s3, key, plan).await?;
            let object = object.ok_or_else(|| id::no_such_upload().with_source(failed.error))?;
            check_completed(&object, Some(plan), options)?;
            return Ok(Completion::Done(Box::new(object)));
        }
        Err(failed) => return Err(failed.error),
    };
    let number_of_stored = stored.len();
    let checked = check_parts(with_known_checksums(stored, options), plan, options)?;
    let discards = checked.parts.len() < number_of_stored;
    let object = match send(s3, remote, &checked, condition).await {
        Ok(etag) => object_after(s3, key, plan, etag, checked.size).await?,
        Err(failed) if discards && is_invalid_part(&failed) => return Err(cannot_discard(failed)),
        Err(failed) if is_invalid_part(&failed) => return Ok(Completion::PartReplaced(failed)),
        Err(failed) => {
            let object = recognised(s3, key, plan, condition, failed).await?;
            check_completed(&object, Some(plan), options)?;
            object
        }
    };
    Ok(Completion::Done(Box::new(object)))
}

/// Checks what the service may have ignored, also if the upload was completed before: a process
/// that completed it may have ended before this check.
async fn confirmed(s3: &Shared, key: &Key, object: ObjectMeta) -> Result<ObjectMeta> {
    object_options::check_storage_class(s3, key).await?;
    tagging::confirm(s3, key).await?;
    Ok(object)
}

/// Adds the checksums that the caller knows of parts that the service lists without one. Within one
/// part of an upload, equal ETags mean equal bytes.
fn with_known_checksums(stored: Vec<Part>, options: &CompleteOptions) -> Vec<Part> {
    let known: BTreeMap<_, _> = options.parts.iter().map(|part| (part.number, part)).collect();
    let known_checksum = |part: &Part| {
        let known = known.get(&part.number)?;
        let is_equal = known.size == part.size && known.etag.strong_eq(&part.etag);
        known.checksum.clone().filter(|_| is_equal)
    };
    let with_checksum = |part: Part| match part.checksum {
        Some(_) => part,
        None => {
            let checksum = known_checksum(&part);
            part.with_checksum(checksum)
        }
    };
    stored.into_iter().map(with_checksum).collect()
}

async fn send(
    s3: &Shared,
    remote: &RemoteUpload,
    checked: &CheckedParts,
    condition: &Condition,
) -> Result<Option<ETag>, FailedRequest> {
    let stores_crc = s3.checksum_policy.stores_crc();
    let entries = checked.parts.iter().map(|part| {
        let number = usize::try_from(part.number).unwrap_or(usize::MAX);
        let checksum = part.checksum.as_ref().filter(|_| stores_crc);
        part_entry(number, part.etag.to_string(), checksum)
    });
    let whole = checked.checksum.as_ref().filter(|_| stores_crc);
    let quoted = s3.features.quoted_etags;
    remote.complete(entries.collect(), checked.size, whole, condition, quoted).await
}

/// Returns the metadata of the object that was just completed. The upload's metadata is only with
/// the object, so this sends a HEAD. If that fails, or if another save has replaced the object by
/// now, the result has only the size and the ETag.
async fn object_after(
    s3: &Shared,
    key: &Key,
    plan: &UploadPlan,
    etag: Option<ETag>,
    size: u64,
) -> Result<ObjectMeta> {
    match nonce::object_of(s3, key, plan).await {
        Ok(Some(object)) if object.size != size => return Err(wrong_size(object.size, size)),
        Ok(Some(object)) => return Ok(object),
        Ok(None) => {}
        Err(error) => {
            tracing::debug!(%error, "the metadata of a completed upload could not be read");
        }
    }
    let mut object = ObjectMeta::new(key.clone(), size);
    object.etag = etag;
    object.checksums = plan.checksum.iter().cloned().collect();
    Ok(object)
}

/// Returns the error of a service that did not take the parts that the completion names.
fn wrong_size(found: u64, expected: u64) -> Error {
    let message = format!(
        "the service has stored an object of {found} bytes from parts that have {expected} bytes \
         together: delete it, and upload again"
    );
    Error::new(ErrorKind::Integrity, message)
}

/// Returns the object of the upload after a completion that failed, if it is there: an earlier
/// attempt, whose response was lost, or another process has completed the upload.
async fn recognised(
    s3: &Shared,
    key: &Key,
    plan: &UploadPlan,
    condition: &Condition,
    failed: FailedRequest,
) -> Result<ObjectMeta> {
    let may_be_there = is_gone(&failed)
        || failed.may_have_succeeded
        || failed.outcome_is_unknown()
        // The object that does not meet the condition may be the one of this upload.
        || failed.error.kind() == ErrorKind::PreconditionFailed;
    let found = match may_be_there {
        true => nonce::object_of(s3, key, plan).await,
        false => Ok(None),
    };
    match found {
        Ok(Some(object)) => Ok(object),
        Ok(None) if is_gone(&failed) => Err(id::error(failed)),
        // It is not known whether the object that does not meet the condition is the caller's own.
        Err(error) if is_gone(&failed) || failed.error.kind() == ErrorKind::PreconditionFailed => {
            Err(error)
        }
        _ if failed.may_have_succeeded => Err(of_unknown_outcome(failed)),
        _ => Err(condition.interpret(failed)),
    }
}

fn part_replaced(failed: FailedRequest) -> Error {
    let message = "a part was replaced during each of several completions: complete again when no \
                   part is being sent";
    Error::new(ErrorKind::Conflict, message).with_retryable(true).with_source(failed.error)
}

fn is_invalid_part(failed: &FailedRequest) -> bool {
    matches!(failed.code(), "InvalidPart" | "InvalidPartOrder")
}

/// Returns the error of a service that completes an upload only with all of its parts.
fn cannot_discard(failed: FailedRequest) -> Error {
    let message = "a part was replaced during the completion, or the service does not discard parts \
                   that the completion does not name, as RadosGW: begin another upload";
    Error::new(ErrorKind::Conflict, message).with_source(failed.error)
}
