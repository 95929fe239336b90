//! What changes objects: origin first, then every mirror has to forget what it has of them.

use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use storage_core::{CopyOptions, Error, ErrorKind, Key, ObjectMeta, Payload, Result, SaveMode, SaveOptions};

use super::cache::Shared;
use super::known::in_whole_seconds;
use super::mirror::Write;

/// How many keys of a deletion of many are purged at a time.
const PURGES_AT_A_TIME: usize = 16;

/// A write of one key, as all mirrors have to hear of it. Dropped, it may have happened.
#[derive(Debug)]
struct Writes(Vec<Write>);

impl Writes {
    fn begin(cache: &Shared, key: &Key) -> Self {
        Self(cache.mirrors.iter().map(|mirror| mirror.write(key)).collect())
    }

    /// It has happened, or may have. `fetch` if there is an object now.
    async fn happened(self, fetch: bool) {
        join_all(self.0.into_iter().map(|write| write.happened(fetch))).await;
    }

    fn changed_nothing(self) {
        self.0.into_iter().for_each(Write::changed_nothing);
    }
}

pub(crate) async fn save(
    cache: &Arc<Shared>,
    key: &Key,
    payload: Payload,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    let writes = Writes::begin(cache, key);
    let saved = cache.origin.save(key, payload, options).await.map(in_whole_seconds);
    match &saved {
        Ok(meta) => {
            cache.learn(meta);
            if meta.key == *key {
                writes.happened(true).await;
            } else {
                // Under another name, which a mirror may know that nothing is there.
                writes.changed_nothing();
                Writes::begin(cache, &meta.key).happened(true).await;
            }
        }
        Err(error) if is_certain(error) && options.mode != SaveMode::UniqueName => {
            writes.changed_nothing();
        }
        Err(_) => {
            cache.known.forget(key);
            writes.happened(false).await;
        }
    }
    saved
}

pub(crate) async fn delete(cache: &Arc<Shared>, key: &Key) -> Result<()> {
    let writes = Writes::begin(cache, key);
    let deleted = cache.origin.delete(key).await;
    after_delete(cache, key, &deleted, writes).await;
    deleted
}

pub(crate) async fn delete_many(cache: &Arc<Shared>, keys: &[Key]) -> Vec<Result<()>> {
    let writes: Vec<_> = keys.iter().map(|key| Writes::begin(cache, key)).collect();
    let answers = cache.origin.delete_many(keys).await;
    let ended = keys.iter().zip(&answers).zip(writes);
    let ended = ended.map(|((key, answer), writes)| after_delete(cache, key, answer, writes));
    let ended: Vec<_> = ended.collect();
    stream::iter(ended).buffer_unordered(PURGES_AT_A_TIME).for_each(|()| std::future::ready(())).await;
    answers
}

async fn after_delete(cache: &Shared, key: &Key, answer: &Result<()>, writes: Writes) {
    match answer {
        Ok(()) => cache.known.is_absent(key),
        Err(error) if is_certain(error) => return writes.changed_nothing(),
        Err(_) => cache.known.forget(key),
    }
    writes.happened(false).await;
}

pub(crate) async fn copy(cache: &Arc<Shared>, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
    let writes = Writes::begin(cache, to);
    let copied = cache.origin.copy(from, to, options).await;
    match &copied {
        Err(error) if is_certain(error) => writes.changed_nothing(),
        _ => {
            cache.known.forget(to);
            writes.happened(copied.is_ok()).await;
        }
    }
    copied
}

/// Whether a write that failed so has certainly not happened: it was refused, by what was looked at before.
fn is_certain(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::Conflict
            | ErrorKind::PreconditionFailed
            | ErrorKind::InvalidKey
            | ErrorKind::InvalidInput
            | ErrorKind::PermissionDenied
            | ErrorKind::Unauthenticated
            | ErrorKind::Unsupported
            | ErrorKind::TooLarge
    )
}
