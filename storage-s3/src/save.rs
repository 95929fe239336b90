//! `save`: one PUT for what fits into a part, a multipart upload for what does not.

use http::{HeaderMap, Method};
use storage_core::{
    Checksums, ETag, Error, ErrorKind, Key, ObjectMeta, Payload, Result, SaveMode, SaveOptions,
    keys,
};

use crate::client::Failed;
use crate::condition::{Condition, not_this};
use crate::headers;
use crate::multipart::{PartSizes, Upload};
use crate::parts::{Part, Parts};
use crate::request::{Chunks, Request};
use crate::shared::Shared;
use crate::stored;

/// From this size on the checks of a payload in memory are left to a thread that may block.
const MUCH: usize = 256 * 1024;
/// How many other names are tried for one that is taken. Each is random: the first is hardly ever
/// taken.
const OTHER_NAMES: usize = 20;

/// A payload that has begun to be read.
struct Begun {
    first: Part,
    rest: Parts,
    size: Option<u64>,
    /// Those that are kept with the object: known now, or with the last byte.
    checksums: Known,
}

/// Checksums that were asked for.
enum Known {
    /// All of them.
    All(Checksums),
    /// Those that are expected; others come with the last byte.
    Expected(Checksums),
}

pub(crate) async fn save(
    s3: &Shared,
    key: &Key,
    payload: Payload,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    let condition = condition(s3, &options.mode)?;
    // What can be refused is refused before anybody sends a byte.
    let headers = object_headers(s3, options)?;
    let mut begun = begin(s3, payload).await?;
    if begun.rest.is_at_end_after(&mut begun.first).await? {
        let checksums = begun.all_checksums();
        return match options.mode {
            SaveMode::UniqueName => {
                put_under_a_free_name(s3, key, headers, begun.first.chunks, checksums, options)
                    .await
            }
            _ => put(s3, key, headers, begun.first.chunks, checksums, options, &condition).await,
        };
    }
    match options.mode {
        SaveMode::UniqueName => {
            let free = free_name(s3, key).await?;
            upload(s3, &free, headers, begun, options, &condition).await.map_err(taken_meanwhile)
        }
        _ => upload(s3, key, headers, begun, options, &condition).await,
    }
}

fn condition(s3: &Shared, mode: &SaveMode) -> Result<Condition> {
    let condition = match mode {
        SaveMode::Overwrite => return Ok(Condition::Always),
        SaveMode::IfMatch(etag) if etag.is_weak() => return Err(not_this(etag)),
        SaveMode::IfMatch(etag) => Condition::Is(etag.clone()),
        SaveMode::CreateNew | SaveMode::UniqueName => Condition::Missing,
        other => {
            return Err(Error::unsupported(format!(
                "the S3 driver does not know the save mode {other:?}"
            )));
        }
    };
    if s3.abilities.conditional_put {
        return Ok(condition);
    }
    Err(s3.abilities.no_conditions())
}

/// Reads as much as fits into one part.
async fn begin(s3: &Shared, payload: Payload) -> Result<Begun> {
    let size = payload.size();
    let expected: Checksums = payload.expected_checksums().iter().cloned().collect();
    let is_all_known =
        payload.computed_checksums().iter().all(|algorithm| expected.get(*algorithm).is_some());
    // A second reading tells the checksums beforehand, where there can be one.
    let again = if is_all_known || size.is_some_and(|size| size <= s3.part_size) {
        None
    } else {
        payload.replay()
    };
    let (mut rest, mut checksums) = match payload.into_memory() {
        Ok(memory) => {
            let needs_hashing = !expected.is_empty() || !is_all_known;
            let (bytes, checksums) = if memory.len() >= MUCH && needs_hashing {
                let checking = tokio::task::spawn_blocking(|| memory.checked());
                checking
                    .await
                    .map_err(|join| Error::unexpected("hashing did not finish", join))??
            } else {
                memory.checked()?
            };
            (Parts::of_bytes(bytes, &s3.save_budget), Known::All(checksums))
        }
        Err(payload) => {
            let known = if is_all_known { Known::All(expected) } else { Known::Expected(expected) };
            (Parts::of_stream(payload.into_stream(), &s3.save_budget), known)
        }
    };
    if let (Known::Expected(_), Some(again)) = (&checksums, again) {
        checksums = Known::All(checksums_of(again).await?);
    }
    let sizes = PartSizes::new(s3.part_size, size, s3.abilities.parts_of_any_size);
    let first = rest.next(sizes.of(1)).await?;
    Ok(Begun { first, rest, size, checksums })
}

async fn checksums_of(payload: Payload) -> Result<Checksums> {
    use futures_util::TryStreamExt;
    let mut stream = payload.into_stream();
    while stream.try_next().await?.is_some() {}
    Ok(stream.checksums().cloned().unwrap_or_default())
}

impl Begun {
    /// The checksums of a payload that has been read to its end.
    fn all_checksums(&self) -> Checksums {
        match &self.checksums {
            Known::All(checksums) => checksums.clone(),
            Known::Expected(expected) => self.rest.checksums().unwrap_or(expected).clone(),
        }
    }
}

/// What is said of an object before its bytes, but for their checksums.
fn object_headers(s3: &Shared, options: &SaveOptions) -> Result<HeaderMap> {
    let mut headers =
        headers::of_metadata(&options.metadata, &Checksums::new(), s3.abilities.underscores)?;
    headers.extend(s3.object_headers.clone());
    Ok(headers)
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

/// One PUT.
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
    let known = s3.checking.algorithm().and_then(|algorithm| checksums.get(algorithm));
    let proof = s3.checking.proof(&body, known).await?;
    headers::keep_checksums(&mut headers, &checksums)?;
    let mut request = Request::new(Method::PUT, key.as_str()).headers(headers).body(body);
    if let Some(proof) = &proof {
        request = request.verified_by(proof)?;
    }
    request = condition.put_on(request, s3.abilities.quoted_etags)?;
    match s3.client.send(&request).await {
        Ok(answer) => {
            let etag = headers::new_etag(&answer.headers)?;
            stored::check_encryption_of_stored(&request.headers, &answer.headers)?;
            stored::check_storage_class(s3, key).await?;
            Ok(meta(key, size, Some(etag), options, checksums))
        }
        Err(failed) => Err(lost_race(s3, key, condition, &failed)
            .await
            .unwrap_or_else(|| condition.explain(failed))),
    }
}

/// Ceph forgets to say why it did not replace an object that another save had just replaced. That
/// the object is another version by now shows it.
async fn lost_race(
    s3: &Shared,
    key: &Key,
    condition: &Condition,
    failed: &Failed,
) -> Option<Error> {
    let Condition::Is(etag) = condition else { return None };
    if s3.abilities.tells_lost_races || failed.code() != "UnknownError" {
        return None;
    }
    let there = crate::stat::stat(s3, key).await;
    let is_another = there.is_ok_and(|meta| meta.etag.as_ref() != Some(etag));
    is_another.then(|| not_this(etag))
}

/// A PUT under the key, or under another one while it is taken.
async fn put_under_a_free_name(
    s3: &Shared,
    key: &Key,
    headers: HeaderMap,
    body: Chunks,
    checksums: Checksums,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    let mut name = key.clone();
    for _ in 0..OTHER_NAMES {
        let (headers, body, checksums) = (headers.clone(), body.clone(), checksums.clone());
        match put(s3, &name, headers, body, checksums, options, &Condition::Missing).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                name = keys::alternative(key)?
            }
            done => return done,
        }
    }
    Err(no_free_name())
}

/// A name that nobody has at this moment.
async fn free_name(s3: &Shared, key: &Key) -> Result<Key> {
    let mut name = key.clone();
    for _ in 0..OTHER_NAMES {
        if !crate::stat::exists(s3, &name).await? {
            return Ok(name);
        }
        name = keys::alternative(key)?;
    }
    Err(no_free_name())
}

fn no_free_name() -> Error {
    Error::new(ErrorKind::Conflict, "no free name was found beside the key")
}

/// The parts of an upload belong to one key, so another one cannot be tried with them.
fn taken_meanwhile(error: Error) -> Error {
    if error.kind() == ErrorKind::AlreadyExists {
        return Error::new(
            ErrorKind::Conflict,
            "somebody took the name during the upload: save it again",
        )
        .with_retryable(true);
    }
    error
}

/// A multipart upload.
async fn upload(
    s3: &Shared,
    key: &Key,
    mut headers: HeaderMap,
    begun: Begun,
    options: &SaveOptions,
    condition: &Condition,
) -> Result<ObjectMeta> {
    if *condition != Condition::Always && !s3.abilities.conditional_complete {
        return Err(Error::unsupported(format!(
            "this service heeds the condition of a save of at most part_size ({} bytes): raise that option",
            s3.part_size
        )));
    }
    let Known::All(checksums) = &begun.checksums else {
        return Err(Error::unsupported(format!(
            "S3 takes an object's metadata before its bytes, so a checksum that is computed on the way of a stream of more \
             than part_size ({} bytes) cannot be kept with it: say it beforehand (expect_checksum), save a file or bytes in \
             memory, or raise that option",
            s3.part_size
        )));
    };
    let checksums = checksums.clone();
    headers::keep_checksums(&mut headers, &checksums)?;
    let Begun { first, mut rest, size, .. } = begun;
    let sizes = PartSizes::new(s3.part_size, size, s3.abilities.parts_of_any_size);
    let mut upload = Upload::create(&s3.client, key, headers, s3.checking).await?;
    let sent = upload.send_all(first, &mut rest, sizes, s3.concurrency).await;
    let completed = match sent {
        Ok(()) => upload.complete(condition, s3.abilities.quoted_etags).await,
        Err(error) => Err(error),
    };
    match completed {
        Ok(completed) => {
            stored::check_storage_class(s3, key).await?;
            Ok(meta(key, completed.size, completed.etag, options, checksums))
        }
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}
