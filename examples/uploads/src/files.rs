//! The files that there are, and the links to them.

use std::time::Duration;

use anystorage::serve::is_active;
use anystorage::{ErrorKind, Key, ObjectMeta, Result, Storage};
use futures_util::{StreamExt, TryStreamExt};

/// Where the application serves files itself.
pub(crate) const SERVED: &str = "/files";
/// How many are shown. Where there may be more, an application keeps a list of its own, in its
/// database.
const SHOWN: usize = 500;
/// How long a signed link works.
const LIFETIME: Duration = Duration::from_secs(3600);

pub(crate) struct File {
    pub(crate) meta: ObjectMeta,
    pub(crate) link: String,
}

/// The first files in the order of their keys, which is that of the months.
pub(crate) async fn list(storage: &Storage) -> Result<Vec<File>> {
    let entries = storage.list("").entries().take(SHOWN);
    let objects = entries.try_filter_map(|entry| async { Ok(entry.into_object()) });
    // A listing tells no types.
    let files = objects.map_ok(|object| file(storage, object.key)).try_buffered(8);
    files.try_filter_map(|file| async { Ok(file) }).try_collect().await
}

/// `None` if it has been deleted since it was listed.
async fn file(storage: &Storage, key: Key) -> Result<Option<File>> {
    match storage.stat(&key).await {
        Ok(meta) => Ok(Some(File { link: link(storage, &meta).await?, meta })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether browsers get the files from the storage. Else they get them from here.
pub(crate) fn have_links(storage: &Storage) -> bool {
    let can = storage.info().capabilities;
    can.signed_get || can.public_url
}

/// A signed link if the storage makes them, else its public one, else a path of this server.
async fn link(storage: &Storage, meta: &ObjectMeta) -> Result<String> {
    if !have_links(storage) {
        // Keys that `keys::unique` made need no encoding.
        return Ok(format!("{SERVED}/{}", meta.key));
    }
    let mut link = storage.url(&meta.key);
    if storage.info().capabilities.signed_get {
        link = link.expires_in(LIFETIME);
        // What could act on the pages of the server that it comes from is downloaded, as `Serve`
        // has it.
        if meta.content_type().is_none_or(is_active) {
            link = link.response_content_disposition("attachment");
        }
    }
    Ok(link.await?.to_string())
}
