//! `save`: sends a payload of at most one part by one PUT, and a larger one by a multipart upload.

use http::{HeaderMap, Method};
use storage_core::{
    Checksum, Checksums, ETag, Error, ErrorKind, Key, ObjectMeta, Payload, Result, SaveMode,
    SaveOptions, keys,
};

use crate::client::FailedRequest;
use crate::condition::{Condition, version_mismatch};
use crate::headers;
use crate::multipart::{PartSizes, Upload};
use crate::object_options;
use crate::parts::{Part, PartReader};
use crate::request::{Chunks, Request};
use crate::shared::Shared;
use crate::tagging;

/// How many random alternatives are tried for a name that is taken.
const MAX_NAME_ATTEMPTS: usize = 20;

/// A payload whose first part has been read.
struct StartedPayload {
    first: Part,
    rest: PartReader,
    size: Option<u64>,
    /// The checksums to store with the object.
    checksums: KnownChecksums,
}

/// The requested checksums, as far as they are known.
enum KnownChecksums {
    /// All of them.
    All(Checksums),
    /// The expected ones. The stream computes the others.
    Expected(Checksums),
}

pub(crate) async fn save(
    s3: &Shared,
    key: &Key,
    payload: Payload,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    let condition = condition_of(s3, &options.mode)?;
    // Refuses invalid metadata before the payload is read.
    let headers = object_options::headers(s3, &options.metadata)?;
    let mut started = start_reading(s3, payload).await?;
    if started.rest.is_at_end_after(&mut started.first).await? {
        let checksums = started.all_checksums();
        return match options.mode {
            SaveMode::UniqueName => {
                put_with_unique_name(s3, key, headers, started.first.chunks, checksums, options)
                    .await
            }
            _ => put(s3, key, headers, started.first.chunks, checksums, options, &condition).await,
        };
    }
    match options.mode {
        SaveMode::UniqueName => {
            let free = free_name(s3, key).await?;
            let uploaded = upload(s3, &free, headers, started, options, &condition).await;
            uploaded.map_err(|error| as_conflict(error).with_key(free.as_str()))
        }
        _ => upload(s3, key, headers, started, options, &condition).await,
    }
}

fn condition_of(s3: &Shared, mode: &SaveMode) -> Result<Condition> {
    let condition = Condition::of_mode(mode)?;
    if condition == Condition::None || s3.features.conditional_put {
        return Ok(condition);
    }
    Err(s3.features.conditions_unsupported())
}

/// Reads the first part.
async fn start_reading(s3: &Shared, payload: Payload) -> Result<StartedPayload> {
    let size = payload.size();
    let expected: Checksums = payload.expected_checksums().iter().cloned().collect();
    let is_all_known =
        payload.computed_checksums().iter().all(|algorithm| expected.get(*algorithm).is_some());
    // A payload that can be read twice is hashed by a first reading.
    let replayed = if is_all_known || size.is_some_and(|size| size <= s3.part_size) {
        None
    } else {
        payload.replay()
    };
    let (mut rest, checked) = PartReader::of_payload(payload, &s3.save_budget).await?;
    let mut checksums = match checked {
        Some(checksums) => KnownChecksums::All(checksums),
        None if is_all_known => KnownChecksums::All(expected),
        None => KnownChecksums::Expected(expected),
    };
    if let (KnownChecksums::Expected(_), Some(replayed)) = (&checksums, replayed) {
        checksums = KnownChecksums::All(checksums_of(replayed).await?);
    }
    let sizes = PartSizes::new(s3.part_size, size, s3.features.parts_of_any_size);
    let first = rest.next(sizes.size_of(1)).await?;
    Ok(StartedPayload { first, rest, size, checksums })
}

async fn checksums_of(payload: Payload) -> Result<Checksums> {
    use futures_util::TryStreamExt;
    let mut stream = payload.into_stream();
    while stream.try_next().await?.is_some() {}
    Ok(stream.checksums().cloned().unwrap_or_default())
}

impl StartedPayload {
    /// Returns the checksums of a payload that was read to its end.
    fn all_checksums(&self) -> Checksums {
        match &self.checksums {
            KnownChecksums::All(checksums) => checksums.clone(),
            KnownChecksums::Expected(expected) => self.rest.checksums().unwrap_or(expected).clone(),
        }
    }
}

fn meta(
    key: &Key,
    size: u64,
    etag: Option<ETag>,
    options: &SaveOptions,
    checksums: Checksums,
) -> ObjectMeta {
    let mut meta = ObjectMeta::new(key.clone(), size);
    meta.etag = etag;
    meta.metadata = options.metadata.clone();
    meta.checksums = checksums;
    meta
}

/// Saves by one PUT.
async fn put(
    s3: &Shared,
    key: &Key,
    mut headers: HeaderMap,
    body: Chunks,
    checksums: Checksums,
    options: &SaveOptions,
    condition: &Condition,
) -> Result<ObjectMeta> {
    let size = body.len();
    let known = s3.checksum_policy.algorithm().and_then(|algorithm| checksums.get(algorithm));
    let body_checksum = s3.checksum_policy.body_checksum(&body, known).await?;
    headers::insert_checksums(&mut headers, &checksums)?;
    let mut request = Request::new(Method::PUT, key.as_str()).headers(headers).body(body);
    if let Some(body_checksum) = &body_checksum {
        request = request.with_checksum(body_checksum)?;
    }
    request = condition.apply_to(request, s3.features.quoted_etags)?;
    match s3.client.send(&request).await {
        Ok(response) => {
            let etag = headers::saved_etag(&response.headers)?;
            object_options::check_encryption_of_saved(&request.headers, &response.headers)?;
            object_options::check_storage_class(s3, key).await?;
            tagging::confirm(s3, key).await?;
            Ok(meta(key, size, Some(etag), options, checksums))
        }
        Err(failed) => Err(lost_race(s3, key, condition, &failed)
            .await
            .unwrap_or_else(|| condition.interpret(failed))),
    }
}

/// Detects a lost race that Ceph reports as `UnknownError`, by comparing the version of the object.
async fn lost_race(
    s3: &Shared,
    key: &Key,
    condition: &Condition,
    failed: &FailedRequest,
) -> Option<Error> {
    let Condition::IfMatch(etag) = condition else { return None };
    if s3.features.reports_lost_races || failed.code() != "UnknownError" {
        return None;
    }
    let present = crate::stat::stat(s3, key).await;
    let is_another = present.is_ok_and(|meta| meta.etag.as_ref() != Some(etag));
    is_another.then(|| version_mismatch(etag))
}

/// Saves by one PUT under the key, or under alternatives while the name is taken.
async fn put_with_unique_name(
    s3: &Shared,
    key: &Key,
    headers: HeaderMap,
    body: Chunks,
    checksums: Checksums,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    let mut name = key.clone();
    for _ in 0..MAX_NAME_ATTEMPTS {
        let (headers, body, checksums) = (headers.clone(), body.clone(), checksums.clone());
        match put(s3, &name, headers, body, checksums, options, &Condition::IfAbsent).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                name = keys::alternative(key)?;
            }
            // The object may be stored although this failed, under this key.
            done => return done.map_err(|error| error.with_key(name.as_str())),
        }
    }
    Err(no_free_name())
}

/// Returns the key, or an alternative, that does not exist at this moment.
async fn free_name(s3: &Shared, key: &Key) -> Result<Key> {
    let mut name = key.clone();
    for _ in 0..MAX_NAME_ATTEMPTS {
        if !crate::stat::exists(s3, &name).await? {
            return Ok(name);
        }
        name = keys::alternative(key)?;
    }
    Err(no_free_name())
}

fn no_free_name() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "the key and 20 alternatives with a random suffix are taken: choose another key",
    )
}

/// Converts `AlreadyExists` to a retryable `Conflict`. An upload belongs to one key, so its parts
/// cannot be used for another key.
fn as_conflict(error: Error) -> Error {
    if error.kind() == ErrorKind::AlreadyExists {
        return Error::new(
            ErrorKind::Conflict,
            "another save took the name during the upload: save again",
        )
        .with_retryable(true);
    }
    error
}

/// Fails if the bytes that were sent are not those of the first reading, whose checksums are
/// stored.
fn check_second_reading(stored: &Checksums, sent: &PartReader) -> Result<()> {
    let Some(sent) = sent.checksums() else { return Ok(()) };
    let differs = |sum: &Checksum| stored.get(sum.algorithm()).is_some_and(|stored| stored != sum);
    if sent.iter().any(differs) {
        let message = "the file was changed by another program while it was saved: save it again";
        return Err(Error::new(ErrorKind::Integrity, message).with_retryable(true));
    }
    Ok(())
}

/// Saves by a multipart upload.
async fn upload(
    s3: &Shared,
    key: &Key,
    mut headers: HeaderMap,
    started: StartedPayload,
    options: &SaveOptions,
    condition: &Condition,
) -> Result<ObjectMeta> {
    if *condition != Condition::None && !s3.features.conditional_complete {
        return Err(Error::unsupported(format!(
            "this service supports conditional saves only up to part_size ({} bytes): raise that option",
            s3.part_size
        )));
    }
    let KnownChecksums::All(checksums) = &started.checksums else {
        return Err(Error::unsupported(format!(
            "S3 receives an object's metadata before its bytes, so that a checksum computed from a \
             stream of more than part_size ({} bytes) cannot be stored: declare the checksum \
             (expect_checksum), save a file or bytes in memory, or raise that option",
            s3.part_size
        )));
    };
    let checksums = checksums.clone();
    headers::insert_checksums(&mut headers, &checksums)?;
    let StartedPayload { first, mut rest, size, .. } = started;
    let sizes = PartSizes::new(s3.part_size, size, s3.features.parts_of_any_size);
    let mut upload = Upload::create(&s3.client, key, headers, s3.checksum_policy).await?;
    let sent = upload.send_all(first, &mut rest, sizes, s3.concurrency).await;
    let completed = match sent.and_then(|()| check_second_reading(&checksums, &rest)) {
        Ok(()) => upload.complete(condition, s3.features.quoted_etags).await,
        Err(error) => Err(error),
    };
    match completed {
        Ok(completed) => {
            object_options::check_storage_class(s3, key).await?;
            tagging::confirm(s3, key).await?;
            Ok(meta(key, completed.size, completed.etag, options, checksums))
        }
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}
