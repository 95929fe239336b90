//! [`Http`]: the driver. One line for each verb.

use std::fmt;
use std::sync::Arc;

use futures_util::{StreamExt, stream};

use crate::shared::{Inner, Shared};
use crate::{delete, link, list, open, save, stat};
use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Error, Key, Link,
    LinkVerifier, ListOptions, Multipart, Object, ObjectMeta, OpenOptions, Payload, Prefix,
    RenameOptions, Result, SaveOptions, UrlOptions, async_trait, delete_one_by_one,
};

/// Stores objects as the files of an HTTP or WebDAV server.
///
/// Create it with [`Http::builder`], or by configuration after [`register`](crate::register).
/// Clones share their connections. All methods need a Tokio runtime.
///
/// # Requests of each verb
///
/// | verb | requests |
/// |---|---|
/// | `stat` | a HEAD; a GET if the server does not support HEAD or its response has no length |
/// | `exists` | a HEAD; a GET of one byte if the server does not support HEAD |
/// | `open` | a GET; one more for each connection that breaks off; a HEAD if a failed condition is in doubt |
/// | `save` | a PUT; if a directory is missing, HEADs up to one that exists, MKCOLs, the PUT again |
/// | `delete` | a PROPFIND, if the server supports WebDAV, and a DELETE |
/// | `list` | a PROPFIND for each directory; a HEAD for each file whose size it does not contain |
/// | `copy`, `rename` | none: `Unsupported` |
/// | `url` | none |
///
/// The first `delete` or `list` also sends a PROPFIND for the base URL, to find out whether the
/// server supports WebDAV. An idempotent request whose connection closes without a response is sent
/// once more (RFC 9110, section 9.2.2). A PUT is not, except after a missing directory.
///
/// # Behaviour
///
/// - **ETags of time and size.** File servers derive ETags from the time in seconds and the size.
///   Such an ETag identifies a version only after that second, so a body resumes only if the server
///   sent it at least two seconds after `Last-Modified`.
/// - **Redirections** are errors. A redirection to the same URL with a slash is `NotFound`, because
///   the URL names a directory. One without a target is `Unexpected`. Any other is `InvalidConfig`,
///   and the message names the host of the target.
/// - **Bodies without a length** (chunked) are collected in a temporary file, whose bytes count
///   towards [`max_spool_size`](crate::HttpBuilder::max_spool_size). `open` fails with `TooLarge`
///   if one object has more bytes, and with `RateLimited` while other objects use them. With
///   [`allow_unknown_size`](storage_core::OpenOptions::allow_unknown_size) nothing is collected:
///   the whole object streams without a size. `stat` reads at most 64 KiB of a body to measure it,
///   and fails with `Unsupported` if there is more.
/// - **Bodies that end with their connection** may be incomplete. The metadata of such an object
///   contains `Cache-Control: no-store`, which replaces the value that the server sent.
/// - **Dropped futures.** A save whose future is dropped ends the request before its body is
///   complete, or after it: the server decides whether the object is replaced. See
///   [Limits](crate#limits).
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
            "the storage is read-only: set writable = true if the server accepts PUT and DELETE",
        ))
    }
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http")
            .field("client", &self.0.client)
            .field("writable", &self.0.writable)
            .field("lists", &self.0.lists)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Driver for Http {
    fn info(&self) -> DriverInfo {
        let mut capabilities = Capabilities::read_only();
        capabilities.public_url = true;
        capabilities.write = self.0.writable;
        capabilities.list = self.0.lists;
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

    /// Sends no request, because file servers have no folder markers, and a DELETE would remove the
    /// directory with all its files.
    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        self.check_writable()
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        if !self.0.lists {
            let error = Error::unsupported(
                "the storage does not list: set webdav = true if the server supports WebDAV \
                 (PROPFIND)",
            );
            return stream::iter([Err(error)]).boxed();
        }
        list::list(&self.0, prefix, options)
    }

    async fn copy(&self, _from: &Key, _to: &Key, _options: &CopyOptions) -> Result<()> {
        self.check_writable()?;
        Err(Error::unsupported(
            "the http driver does not copy: open the object, and save it under the other key",
        ))
    }

    async fn rename(&self, _from: &Key, _to: &Key, _options: &RenameOptions) -> Result<()> {
        self.check_writable()?;
        Err(Error::unsupported(
            "the http driver does not rename, because a WebDAV server may delete the destination \
             before it moves the source (RFC 4918, section 9.9.3): open the object, save it under \
             the other key, and delete it",
        ))
    }

    async fn url(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        link::url(&self.0, key, options)
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        Err(Error::unsupported(
            "the http driver signs no links: add layers::PublicUrl with a signing key",
        ))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        Err(Error::unsupported(
            "HTTP and WebDAV have no uploads in parts: save the object as a whole, or upload to another \
             storage",
        ))
    }
}
