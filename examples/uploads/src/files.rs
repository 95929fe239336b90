//! Lists the files with their links.

use std::time::Duration;

use anystorage::serve::is_active_content;
use anystorage::{ErrorKind, Key, ObjectMeta, Result, Storage};
use futures_util::{StreamExt, TryStreamExt};

/// The path at which the application serves files, if the storage has no links.
pub(crate) const FILES_PATH: &str = "/files";
/// How many files to show. An application with more files keeps a list in its database.
const MAX_LISTED: usize = 500;
/// How long a signed link is valid.
const LIFETIME: Duration = Duration::from_secs(3600);

pub(crate) struct File {
    pub(crate) meta: ObjectMeta,
    pub(crate) link: String,
}

/// Returns the first files in the order of their keys, which begin with the month.
pub(crate) async fn list(storage: &Storage) -> Result<Vec<File>> {
    let entries = storage.list("").entries().take(MAX_LISTED);
    let objects = entries.try_filter_map(|entry| async { Ok(entry.into_object()) });
    // A listing contains no content types, so each file needs a `stat`.
    let files = objects.map_ok(|object| file(storage, object.key)).try_buffered(8);
    files.try_filter_map(|file| async { Ok(file) }).try_collect().await
}

/// Returns a file, or `None` if it was deleted after it was listed.
async fn file(storage: &Storage, key: Key) -> Result<Option<File>> {
    match storage.stat(&key).await {
        Ok(meta) => Ok(Some(File { link: link(storage, &meta).await?, meta })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the storage has links. If it has none, the application serves the files.
pub(crate) fn has_links(storage: &Storage) -> bool {
    let capabilities = storage.info().capabilities;
    capabilities.signed_get || capabilities.public_url
}

/// Returns a signed link, or if the storage has none a public link or a path of this application.
async fn link(storage: &Storage, meta: &ObjectMeta) -> Result<String> {
    if !has_links(storage) {
        // Keys from `keys::unique` need no encoding.
        return Ok(format!("{FILES_PATH}/{}", meta.key));
    }
    let mut link = storage.url(&meta.key);
    if storage.info().capabilities.signed_get {
        link = link.expires_in(LIFETIME);
        // Active content is downloaded instead of displayed, as `Serve` does.
        if meta.content_type().is_none_or(is_active_content) {
            link = link.response_content_disposition("attachment");
        }
    }
    Ok(link.await?.to_string())
}
