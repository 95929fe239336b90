//! `open`: the mirror first, origin on any trouble.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use storage_core::{BodyEvent, ETag, Error, ErrorKind, Key, Object, OpenOptions, Result};

use crate::body::{Body, read_small};
use crate::breaker::Attempt;
use crate::cache::Shared;
use crate::client::Answer;
use crate::known::{Comparison, Ticket, in_whole_seconds};
use crate::mirror::{Asked, Mirror};
use crate::status::Outcome;

/// Why origin is asked.
#[derive(Debug)]
enum Why {
    /// The mirror leaves it to origin.
    Miss,
    /// The object is not one for the mirror.
    Skipped,
    /// No mirror can be asked.
    OutOfUse,
    /// The last mirror that was asked is in trouble.
    Trouble(Error),
    /// This mirror has another version than origin had a moment ago. The ETag is unset if it is
    /// none of origin's.
    Contradiction(Arc<Mirror>, u64, Option<ETag>),
}

pub(crate) async fn open(cache: &Arc<Shared>, key: &Key, options: &OpenOptions) -> Result<Object> {
    // What is remembered of an object, and how a body goes on at origin, rests on its size.
    let mut options = options.clone();
    options.allow_unknown_size = false;
    let options = &options;
    let why = if cache.known.skips_mirror(key) {
        Why::Skipped
    } else {
        match from_mirrors(cache, key, options).await {
            Ok(found) => return found,
            Err(why) => why,
        }
    };
    from_origin(cache, key, options, why).await
}

/// What the first mirror says that says something of use; else why origin is to be asked.
async fn from_mirrors(
    cache: &Arc<Shared>,
    key: &Key,
    options: &OpenOptions,
) -> Result<Result<Object>, Why> {
    let mut why = None;
    let asked = cache.known.ticket();
    for mirror in cache.mirrors_for(key) {
        match mirror.ask(key, options).await {
            None if mirror.is_out_of_use() => why = why.or(Some(Why::OutOfUse)),
            None => why = why.or(Some(Why::Skipped)),
            Some(Asked::Trouble(error)) => why = Some(Why::Trouble(error)),
            Some(Asked::NotHere) => return Err(Why::Miss),
            Some(Asked::NotModified) if cache.known.doubts_that_nothing_changed(key, options) => {
                return Err(Why::Skipped);
            }
            Some(Asked::NotModified) => {
                return Ok(Err(Error::new(ErrorKind::NotModified, "the object has not changed")));
            }
            Some(Asked::Here(answer, attempt)) => {
                return here(cache, mirror, options, asked, *answer, attempt).await;
            }
        }
    }
    Err(why.unwrap_or(Why::Skipped))
}

async fn here(
    cache: &Arc<Shared>,
    mirror: &Arc<Mirror>,
    options: &OpenOptions,
    asked: Ticket,
    answer: Answer,
    attempt: Attempt,
) -> Result<Result<Object>, Why> {
    let Answer { meta, range, is_ours, body } = answer;
    let (key, size, told) = (meta.key.clone(), meta.size, meta.etag.clone());
    let etag = told.clone().filter(|etag| !etag.is_weak());
    let meta = match cache.known.compare(meta, is_ours, asked) {
        Comparison::Agrees(meta) => *meta,
        Comparison::Contradicts => {
            mirror.counts.request(Outcome::Stale);
            return Err(Why::Contradiction(Arc::clone(mirror), size, told.filter(|_| is_ours)));
        }
        Comparison::Overtaken => {
            mirror.counts.request(Outcome::Stale);
            return Err(Why::Skipped);
        }
    };
    // Not every server heeds every condition, and not every ETag is origin's.
    match options.check(&meta) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotModified => {
            mirror.counts.request(Outcome::Hit);
            return Ok(Err(error));
        }
        Err(_) => {
            mirror.counts.request(Outcome::Miss);
            return Err(Why::Miss);
        }
    }
    cache.known.has_size(&key, meta.size);
    let (body, attempt) = match read_small(mirror, &meta, &range, body, attempt).await {
        Ok(Ok(bytes)) => {
            mirror.counts.request(Outcome::Hit);
            return Ok(Ok(Object::from_bytes(meta, range, bytes)));
        }
        Ok(Err(large)) => large,
        Err(error) => {
            mirror.counts.request(Outcome::Failure);
            return Err(Why::Trouble(error));
        }
    };
    mirror.counts.request(Outcome::Hit);
    let has_origins_etag = is_ours && etag.is_some();
    let body =
        Body::new(cache, mirror, &meta, range.clone(), body, attempt, etag, !has_origins_etag);
    Ok(Ok(Object::from_stream(meta, range, body.into_stream())))
}

async fn from_origin(
    cache: &Arc<Shared>,
    key: &Key,
    options: &OpenOptions,
    why: Why,
) -> Result<Object> {
    cache.counts.reads.fetch_add(1, Ordering::Relaxed);
    if matches!(why, Why::OutOfUse | Why::Trouble(_)) {
        cache.counts.fallbacks.fetch_add(1, Ordering::Relaxed);
    }
    tracing::debug!(key = key.as_str(), why = why.as_str(), "origin is asked");
    let asked = cache.known.ticket();
    let object = match cache.origin.open(key, options).await {
        Ok(object) => object,
        Err(error) => {
            if error.kind() == ErrorKind::NotFound {
                cache.known.is_absent(key, asked);
            }
            return Err(why.with(error));
        }
    };
    let object = object.map_meta(in_whole_seconds);
    cache.known.is_there(object.meta(), asked);
    if let Why::Contradiction(mirror, size, etag) = why {
        let same_etag = match (&etag, &object.meta().etag) {
            (Some(told), Some(known)) => told.weak_eq(known),
            _ => true,
        };
        // Else origin has changed as well, and it is what was known of it that was old.
        if !same_etag || size != object.meta().size {
            mirror.is_stale(key);
        }
    }
    Ok(counted(cache, object))
}

/// Counts the bytes: of a body that streams as they pass, of one that is in memory or in a file at
/// once.
fn counted(cache: &Arc<Shared>, object: Object) -> Object {
    let cache = Arc::clone(cache);
    object.inspect(move |event| match event {
        BodyEvent::Ready(length) => cache.counts.bytes(length),
        BodyEvent::Chunk(chunk) => cache.counts.bytes(chunk.len() as u64),
        _ => {}
    })
}

impl Why {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Miss => "the mirror does not have it",
            Self::Skipped => "the mirror is not asked for this key",
            Self::OutOfUse => "no mirror is in use",
            Self::Trouble(_) => "the mirror is in trouble",
            Self::Contradiction(..) => "the mirror has another version than origin had",
        }
    }

    /// Origin's trouble, with the mirror's if there was some. What origin says of the object stays
    /// as it is.
    fn with(self, error: Error) -> Error {
        let is_trouble = matches!(
            error.kind(),
            ErrorKind::Unexpected
                | ErrorKind::Timeout
                | ErrorKind::RateLimited
                | ErrorKind::PermissionDenied
                | ErrorKind::Unauthenticated
        );
        match self {
            Self::Trouble(mirror) if is_trouble => error.with_context(&format!(
                "neither mirror nor origin can be read ({})",
                mirror.message()
            )),
            Self::OutOfUse if is_trouble => error.with_context(
                "neither mirror nor origin can be read (the mirror is left alone for a while)",
            ),
            _ => error,
        }
    }
}
