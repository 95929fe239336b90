//! `open`: reads from a mirror, or from origin if no mirror sends the current object.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use storage_core::internal::escape_invisible;
use storage_core::{BodyEvent, ETag, Error, ErrorKind, Key, Object, OpenOptions, Result};

use crate::body::{Body, MirrorBody, read_small};
use crate::breaker::Attempt;
use crate::client::FoundObject;
use crate::mirror::{Lookup, Mirror};
use crate::origin_memo::{Comparison, Ticket, in_whole_seconds};
use crate::shared::Shared;
use crate::status::Outcome;

/// The reason why an object is read from origin.
#[derive(Debug)]
enum OriginReason {
    /// The mirror does not have the object in the requested form.
    Miss,
    /// The key or the object skips the mirrors.
    Skipped,
    /// No mirror may be used.
    OutOfUse,
    /// The request to the last mirror failed.
    MirrorFailed(Error),
    /// The mirror has another version than origin had recently.
    OtherVersion {
        mirror: Arc<Mirror>,
        size: u64,
        /// `None` if it is not an ETag of origin.
        etag: Option<ETag>,
    },
}

pub(crate) async fn open(cache: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    // The memo and the resumption of bodies need the size.
    let mut options = options.clone();
    options.allow_unknown_size = false;
    let options = &options;
    let reason = if cache.memo.skips_mirror(key) {
        OriginReason::Skipped
    } else {
        match from_mirrors(cache, key, options).await {
            Ok(result) => return result,
            Err(reason) => reason,
        }
    };
    from_origin(cache, key, options, reason).await
}

/// Returns the result of the first mirror that has one, or the reason why the object is read from
/// origin.
async fn from_mirrors(
    cache: &Shared,
    key: &Key,
    options: &OpenOptions,
) -> Result<Result<Object>, OriginReason> {
    let mut reason = None;
    let ticket = cache.memo.ticket();
    for mirror in cache.mirrors_for(key) {
        match mirror.open(key, options).await {
            None if mirror.is_out_of_use() => reason = reason.or(Some(OriginReason::OutOfUse)),
            None => reason = reason.or(Some(OriginReason::Skipped)),
            Some(Lookup::Failed(error)) => reason = Some(OriginReason::MirrorFailed(error)),
            Some(Lookup::NotFound) => return Err(OriginReason::Miss),
            Some(Lookup::NotModified) if cache.memo.doubts_not_modified(key, options) => {
                return Err(OriginReason::Skipped);
            }
            Some(Lookup::NotModified) => {
                return Ok(Err(Error::new(ErrorKind::NotModified, "the object has not changed")));
            }
            Some(Lookup::Found(object, attempt)) => {
                return from_mirror(cache, mirror, options, ticket, *object, attempt).await;
            }
        }
    }
    Err(reason.unwrap_or(OriginReason::Skipped))
}

async fn from_mirror(
    cache: &Shared,
    mirror: &Arc<Mirror>,
    options: &OpenOptions,
    ticket: Ticket,
    object: FoundObject,
    attempt: Attempt,
) -> Result<Result<Object>, OriginReason> {
    let FoundObject { meta, range, has_origins_etag, body } = object;
    let (key, size, mirror_etag) = (meta.key.clone(), meta.size, meta.etag.clone());
    let strong_etag = mirror_etag.clone().filter(|etag| !etag.is_weak());
    let meta = match cache.memo.compare(meta, has_origins_etag, ticket) {
        Comparison::Agrees(meta) => *meta,
        Comparison::Differs => {
            mirror.counts.count_request(Outcome::Stale);
            let etag = mirror_etag.filter(|_| has_origins_etag);
            let mirror = Arc::clone(mirror);
            return Err(OriginReason::OtherVersion { mirror, size, etag });
        }
        Comparison::Outdated => {
            mirror.counts.count_request(Outcome::Stale);
            return Err(OriginReason::Skipped);
        }
    };
    // Some servers ignore conditions, and the ETag may not be the one of origin.
    match options.check(&meta) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotModified => {
            mirror.counts.count_request(Outcome::Hit);
            return Ok(Err(error));
        }
        Err(_) => {
            mirror.counts.count_request(Outcome::Miss);
            return Err(OriginReason::Miss);
        }
    }
    cache.memo.record_size(&key, meta.size);
    let source = MirrorBody { body, attempt };
    let source = match read_small(mirror, &meta, &range, source).await {
        Ok(Ok(bytes)) => {
            mirror.counts.count_request(Outcome::Hit);
            return Ok(Ok(Object::from_bytes(meta, range, bytes)));
        }
        Ok(Err(large)) => large,
        Err(error) => {
            mirror.counts.count_request(Outcome::Failure);
            return Err(OriginReason::MirrorFailed(error));
        }
    };
    mirror.counts.count_request(Outcome::Hit);
    let keep_digest = !(has_origins_etag && strong_etag.is_some());
    let body = Body::new(cache, mirror, &meta, range.clone(), source, strong_etag, keep_digest);
    Ok(Ok(Object::from_stream(meta, range, body.into_stream())))
}

async fn from_origin(
    cache: &Shared,
    key: &Key,
    options: &OpenOptions,
    reason: OriginReason,
) -> Result<Object> {
    cache.counts.reads.fetch_add(1, Ordering::Relaxed);
    if matches!(reason, OriginReason::OutOfUse | OriginReason::MirrorFailed(_)) {
        cache.counts.fallbacks.fetch_add(1, Ordering::Relaxed);
    }
    tracing::debug!(
        key = &*escape_invisible(key.as_str()),
        reason = reason.as_str(),
        "an object is read from origin"
    );
    let ticket = cache.memo.ticket();
    let object = match cache.origin.open(key, options).await {
        Ok(object) => object,
        Err(error) => {
            if error.kind() == ErrorKind::NotFound {
                cache.memo.record_absent(key, ticket);
            }
            return Err(reason.add_to(error));
        }
    };
    let object = object.map_meta(in_whole_seconds);
    cache.memo.record_present(object.meta(), ticket);
    if let OriginReason::OtherVersion { mirror, size, etag } = reason {
        let same_etag = match (&etag, &object.meta().etag) {
            (Some(of_mirror), Some(of_origin)) => of_mirror.weak_eq(of_origin),
            _ => true,
        };
        // If both have the same version now, the memo was outdated and not the mirror.
        if !same_etag || size != object.meta().size {
            mirror.record_stale(key);
        }
    }
    Ok(count_bytes(cache, object))
}

/// Counts the bytes of an object from origin: those of a stream as they are read, others at once.
fn count_bytes(cache: &Shared, object: Object) -> Object {
    let cache = cache.clone();
    object.inspect(move |event| match event {
        BodyEvent::Ready(length) => cache.counts.add_bytes(length),
        BodyEvent::Chunk(chunk) => cache.counts.add_bytes(chunk.len() as u64),
        _ => {}
    })
}

impl OriginReason {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Miss => "the mirror does not have the object",
            Self::Skipped => "the mirror is not used for this key",
            Self::OutOfUse => "no mirror is in use",
            Self::MirrorFailed(_) => "the request to the mirror failed",
            Self::OtherVersion { .. } => "the mirror has another version than origin had",
        }
    }

    /// Adds the failure of the mirror to a failure of origin. Errors that concern the object stay
    /// unchanged.
    fn add_to(self, error: Error) -> Error {
        let is_failure = matches!(
            error.kind(),
            ErrorKind::Unexpected
                | ErrorKind::Timeout
                | ErrorKind::RateLimited
                | ErrorKind::PermissionDenied
                | ErrorKind::Unauthenticated
        );
        match self {
            Self::MirrorFailed(mirror) if is_failure => error.with_context(&format!(
                "neither the mirror nor origin can be read ({})",
                mirror.message()
            )),
            Self::OutOfUse if is_failure => error.with_context(
                "neither the mirror nor origin can be read (the mirror failed before and is not \
                 used for a while)",
            ),
            _ => error,
        }
    }
}
