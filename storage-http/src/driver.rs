//! [`Http`]: the driver. Each verb has a file of its own.

use std::fmt;
use std::sync::Arc;

use crate::shared::{Inner, Shared};
use crate::{delete, link, list, open, save, stat};
use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Error, Key, Link,
    ListOptions, Object, ObjectMeta, OpenOptions, Payload, Prefix, Result, SaveOptions, UrlOptions,
    async_trait, delete_one_by_one,
};

/// The files of an HTTP server as a driver: whatever answers GET, and takes PUT and DELETE if it is
/// to be written to.
///
/// Made by [`Http::builder`], or by configuration once [`register`](crate::register) has told a
/// registry of it. Clones share their connections. Needs a Tokio runtime.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use storage_core::Storage;
/// use storage_http::Http;
///
/// let storage = Storage::new(Http::builder("https://downloads.example.com/audio/".parse()?).build()?);
/// let start = storage.open("2026/episode-1.mp3").range(0..1024).await?.bytes().await?;
/// # Ok(()) }
/// ```
///
/// # What each verb does
///
/// | verb | requests |
/// |---|---|
/// | `stat`, `exists` | a HEAD; a GET of one byte where the server has no HEAD |
/// | `open` | a GET; more where a connection breaks off |
/// | `save` | a PUT; MKCOL for directories that are missing |
/// | `delete` | a DELETE; a PROPFIND before it if the server speaks WebDAV |
/// | `list` | a PROPFIND for each directory |
/// | `copy` | none: `Unsupported` |
/// | `url` | none: public links alone |
///
/// # What can be relied on
///
/// - **The right bytes.** What an answer says of itself is compared with what was asked for. Where
///   a server ignores ranges, the range is cut out of the whole as it arrives, which costs the
///   transfer of what comes before.
/// - **One version.** A body that stalls or breaks off goes on at the next byte if the server told
///   a strong ETag and still has that version; else it is an error that may pass. Servers of files
///   make ETags of the time in seconds and the size: such a one proves nothing before its second is
///   over, and is not relied on before.
/// - **Conditions** hold whatever the server makes of them: they are evaluated once more on what it
///   tells.
/// - **No redirection is followed.** One that adds a slash means a directory, which is no object;
///   any other is `InvalidConfig` and tells which host it leads to.
/// - **A size.** A body that is sent without one (chunked) is first collected in a temporary file.
///   The files of all open objects have at most [`max_spool_size`](HttpBuilder::max_spool_size)
///   bytes together; `open` fails with `TooLarge` if one object has more, and with `RateLimited`
///   while others hold what it needs. With
///   [`allow_unknown_size`](storage_core::OpenOptions::allow_unknown_size) nothing is collected:
///   the object streams, whole and without a size. `stat` reads at most 64 KiB of a body to measure
///   it, and fails with `Unsupported` if there is more.
/// - **No halves in caches.** Where the end of the connection is the only end of the body, a break
///   looks the same. Such an object has `Cache-Control: no-store`, whatever the server said.
///
/// # What the server decides
///
/// Files on a server are not objects of a storage, and some promises are the server's to keep:
///
/// - That a PUT is all or nothing (nginx is; it writes a temporary file beside the others). A PUT
///   that fails on its way is never finished by this driver: the body ends before its length, or
///   without its last chunk.
/// - Conditions of saves. Servers of files ignore `If-Match` and `If-None-Match` on a PUT (nginx
///   does) and do not say so; so `create_new`, `unique_name` and `if_match` of saves are
///   `Unsupported`.
/// - Metadata. Such servers keep none and tell content types by the names of files. So a save with
///   other metadata than a content type is `Unsupported`; the content type goes along with the PUT,
///   and it is the server's to heed it.
/// - Directories. A key and a key below it cannot both be there: the second is `Conflict`.
///   Directories that become empty stay; they are no entries of a listing, but a key of such a name
///   is a `Conflict` too.
#[derive(Clone)]
pub struct Http(Shared);

impl Http {
    pub(crate) fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    fn check_writable(&self) -> Result<()> {
        if self.0.writable {
            return Ok(());
        }
        Err(Error::unsupported(
            "this server is only read from: set writable = true if it takes PUT and DELETE",
        ))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("client", &self.0.client)
            .field("writable", &self.0.writable)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Driver for Http {
    fn info(&self) -> DriverInfo {
        let mut capabilities = Capabilities::read_only();
        capabilities.public_url = true;
        capabilities.write = self.0.writable;
        capabilities.list = self.0.writable;
        DriverInfo::new("http", self.0.client.base().as_str(), capabilities)
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        self.check_writable()?;
        save::save(&self.0, key, payload, options).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        open::open(&self.0, key, options).await
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        stat::stat(&self.0.client, key).await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        stat::exists(&self.0.client, key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.check_writable()?;
        delete::delete(&self.0, key).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        delete_one_by_one(self, keys).await
    }

    /// Sends nothing: servers of files have no folder markers, and a DELETE would remove the
    /// directory with all its files.
    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        self.check_writable()
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        list::list(&self.0, prefix, options)
    }

    async fn copy(&self, _from: &Key, _to: &Key, _options: &CopyOptions) -> Result<()> {
        self.check_writable()?;
        Err(Error::unsupported(
            "the http driver does not copy: open the object and save it under the other key",
        ))
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        link::url(&self.0, key, options)
    }
}
