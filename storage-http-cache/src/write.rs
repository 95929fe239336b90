//! What changes objects: origin first, then every mirror has to forget what it has of them.

use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use storage_core::{CopyOptions, Error, ErrorKind, Key, ObjectMeta, Payload, Result, SaveOptions};

use crate::cache::Shared;
use crate::known::{Ticket, Written, in_whole_seconds};
use crate::mirror::Write;

/// How many keys of a deletion of many are purged at a time.
const PURGES_AT_A_TIME: usize = 16;

/// A write of one key, as all mirrors have to hear of it. Dropped, it may have happened.
struct Writes {
    cache: Arc<Shared>,
    key: Key,
    /// `None` once it has ended.
    begun: Option<Ticket>,
    at_mirrors: Vec<Write>,
}

impl Writes {
    fn begin(cache: &Arc<Shared>, key: &Key) -> Self {
        let at_mirrors = cache.mirrors.iter().map(|mirror| mirror.write(key)).collect();
        Self {
            cache: Arc::clone(cache),
            key: key.clone(),
            begun: Some(cache.known.begin_write(key)),
            at_mirrors,
        }
    }

    /// It has ended so. Returns when each mirror has confirmed its purge, or has been given up for
    /// now.
    async fn end(mut self, written: Written) {
        let fetch = matches!(written, Written::Object(_));
        let is_unchanged = matches!(written, Written::Unchanged);
        self.told(written);
        let at_mirrors = std::mem::take(&mut self.at_mirrors).into_iter();
        if is_unchanged {
            at_mirrors.for_each(Write::changed_nothing);
        } else {
            join_all(at_mirrors.map(|write| write.happened(fetch))).await;
        }
    }

    fn told(&mut self, written: Written) {
        if let Some(begun) = self.begun.take() {
            self.cache.known.end_write(&self.key, begun, written);
        }
    }
}

impl Drop for Writes {
    fn drop(&mut self) {
        self.told(Written::Unknown);
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
        Ok(meta) if meta.key == *key => writes.end(Written::Object(Box::new(meta.clone()))).await,
        Ok(meta) => {
            // Under another name, of which a mirror may know that nothing is there.
            writes.end(Written::Unchanged).await;
            Writes::begin(cache, &meta.key).end(Written::Object(Box::new(meta.clone()))).await;
        }
        Err(error) => writes.end(after(error)).await,
    }
    saved
}

pub(crate) async fn delete(cache: &Arc<Shared>, key: &Key) -> Result<()> {
    let writes = Writes::begin(cache, key);
    let deleted = cache.origin.delete(key).await;
    writes.end(deleted.as_ref().map_or_else(after, |()| Written::Nothing)).await;
    deleted
}

pub(crate) async fn delete_many(cache: &Arc<Shared>, keys: &[Key]) -> Vec<Result<()>> {
    let writes: Vec<_> = keys.iter().map(|key| Writes::begin(cache, key)).collect();
    let answers = cache.origin.delete_many(keys).await;
    let written =
        answers.iter().map(|answer| answer.as_ref().map_or_else(after, |()| Written::Nothing));
    // What has no answer may have happened: it is dropped.
    let ended: Vec<_> =
        writes.into_iter().zip(written).map(|(writes, written)| writes.end(written)).collect();
    stream::iter(ended)
        .buffer_unordered(PURGES_AT_A_TIME)
        .for_each(|()| std::future::ready(()))
        .await;
    answers
}

pub(crate) async fn copy(
    cache: &Arc<Shared>,
    from: &Key,
    to: &Key,
    options: &CopyOptions,
) -> Result<()> {
    let writes = Writes::begin(cache, to);
    let copied = cache.origin.copy(from, to, options).await;
    // It tells nothing of the copy.
    writes.end(copied.as_ref().map_or_else(after, |()| Written::Unknown)).await;
    copied
}

/// What becomes of a key by a write that failed: nothing, if it was refused for what was looked at
/// before.
fn after(error: &Error) -> Written {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::Conflict
        | ErrorKind::PreconditionFailed
        | ErrorKind::InvalidKey
        | ErrorKind::InvalidInput
        | ErrorKind::PermissionDenied
        | ErrorKind::Unauthenticated
        | ErrorKind::Unsupported
        | ErrorKind::TooLarge => Written::Unchanged,
        _ => Written::Unknown,
    }
}
