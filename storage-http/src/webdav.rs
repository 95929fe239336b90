//! The requests of WebDAV (RFC 4918), which distinguish directories from objects, and list and
//! create directories.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use storage_core::{Error, ErrorKind, Key, Result};
use url::Url;

use crate::client::Client;
use crate::multistatus::{self, Member, Multistatus};

const DEPTH: HeaderName = HeaderName::from_static("depth");
/// Upper bound for the listing of a directory, in bytes: about 100,000 files.
const MAX_DOCUMENT: usize = 64 * 1024 * 1024;
/// Documents of at least this many bytes are parsed on a blocking thread.
const OFFLOAD_THRESHOLD: usize = 256 * 1024;
/// The requested properties of each file.
const PROPERTIES: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
    <D:propfind xmlns:D=\"DAV:\"><D:prop><D:resourcetype/><D:getcontentlength/>\
    <D:getlastmodified/><D:getetag/></D:prop></D:propfind>";

/// What exists at a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resource {
    Object,
    Directory,
    Missing,
}

/// WebDAV requests to a server, with the cached information whether it supports them.
#[derive(Debug, Default)]
pub(crate) struct Webdav {
    is_supported: OnceLock<bool>,
}

impl Webdav {
    /// Returns what exists under a key, or `None` if that is unknown because the server does not
    /// support WebDAV or refuses the request.
    pub(crate) async fn find(&self, client: &Client, key: &Key) -> Result<Option<Resource>> {
        let reply = match self.is_supported(client).await {
            Ok(true) => propfind(client, client.url(key), "0").await,
            Ok(false) => return Ok(None),
            Err(error) => Err(error),
        };
        match reply {
            Ok(Reply::Document(document)) => {
                let is_directory = document.contains_directory();
                Ok(Some(if is_directory { Resource::Directory } else { Resource::Object }))
            }
            Ok(Reply::Directory) => Ok(Some(Resource::Directory)),
            Ok(Reply::Missing) => Ok(Some(Resource::Missing)),
            Ok(Reply::Unsupported) => Ok(None),
            // A user without permission to list may still have permission to delete.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::PermissionDenied | ErrorKind::Unauthenticated
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the members of a directory, whose name is empty or ends in a slash. Returns `None`
    /// if it does not exist.
    ///
    /// # Errors
    /// `Unsupported` if the server does not support WebDAV. `TooLarge` if the document has more
    /// than 64 MiB. Otherwise the error of the response.
    pub(crate) async fn list(
        &self,
        client: &Client,
        directory: &str,
    ) -> Result<Option<Vec<Member>>> {
        if !self.is_supported(client).await? {
            return Err(unsupported());
        }
        let url = directory_url(client, directory);
        match propfind(client, url.clone(), "1").await? {
            Reply::Document(document) => Ok(Some(document.members_of(&url))),
            Reply::Missing => Ok(None),
            Reply::Unsupported | Reply::Directory => Err(unsupported()),
        }
    }

    /// Returns whether the server supports WebDAV. Sends a PROPFIND for the base URL until the
    /// result is certain.
    async fn is_supported(&self, client: &Client) -> Result<bool> {
        if let Some(known) = self.is_supported.get() {
            return Ok(*known);
        }
        let is_supported = match propfind(client, client.base().clone(), "0").await? {
            Reply::Document(_) => true,
            Reply::Unsupported | Reply::Directory => false,
            // The directory may be created later, so the next call sends the request again.
            Reply::Missing => return Ok(false),
        };
        Ok(*self.is_supported.get_or_init(|| is_supported))
    }
}

fn unsupported() -> Error {
    Error::unsupported(
        "the server cannot list files, because it does not support WebDAV (PROPFIND) at base_url \
         (nginx: the module dav-ext, and dav_ext_methods PROPFIND)",
    )
}

/// The response to a PROPFIND.
enum Reply {
    Document(Multistatus),
    /// A redirection to the same URL with a slash.
    Directory,
    Missing,
    /// The server does not know the method, or treats it as another one.
    Unsupported,
}

async fn propfind(client: &Client, url: Url, depth: &'static str) -> Result<Reply> {
    let method = Method::from_bytes(b"PROPFIND")
        .map_err(|cause| Error::unexpected("PROPFIND is not a valid method", cause))?;
    let mut request = client.request(method, url.clone());
    let headers = request.headers_mut();
    headers.insert(DEPTH, HeaderValue::from_static(depth));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    *request.body_mut() = Some(PROPERTIES.into());
    let mut response = client.send(request).await?;
    match response.status {
        StatusCode::MULTI_STATUS => {
            let document = response.body.read(MAX_DOCUMENT).await;
            let document = document.map_err(|error| match error.kind() {
                ErrorKind::TooLarge => {
                    Error::new(ErrorKind::TooLarge, "the listing of a directory has more than 64 MiB (about 100,000 files): use more directories")
                }
                _ => error,
            })?;
            Ok(Reply::Document(parse(document).await?))
        }
        // Some servers respond with 400 or 409 for a URL below a file.
        StatusCode::NOT_FOUND
        | StatusCode::GONE
        | StatusCode::BAD_REQUEST
        | StatusCode::CONFLICT => Ok(Reply::Missing),
        status if status.is_success() || matches!(status.as_u16(), 405 | 415 | 501) => {
            Ok(Reply::Unsupported)
        }
        status if status.is_redirection() => match client.error_of(response, &url).await {
            error if error.kind() == ErrorKind::NotFound => Ok(Reply::Directory),
            error => Err(error),
        },
        _ => Err(client.error_of(response, &url).await),
    }
}

async fn parse(document: Bytes) -> Result<Multistatus> {
    if document.len() < OFFLOAD_THRESHOLD {
        return multistatus::parse(&document);
    }
    let parsing = tokio::task::spawn_blocking(move || multistatus::parse(&document)).await;
    parsing.map_err(|join| Error::unexpected("parsing the listing did not finish", join))?
}

fn directory_url(client: &Client, directory: &str) -> Url {
    let Ok(key) = Key::new(directory.trim_end_matches('/')) else { return client.base().clone() };
    let mut url = client.url(&key);
    let path = format!("{}/", url.path());
    url.set_path(&path);
    url
}

/// Creates a directory whose parent exists. Succeeds if the directory already exists.
pub(crate) async fn create_directory(client: &Client, directory: &str) -> Result<()> {
    let method = Method::from_bytes(b"MKCOL")
        .map_err(|cause| Error::unexpected("MKCOL is not a valid method", cause))?;
    let url = directory_url(client, directory);
    let response = client.send(client.request(method, url.clone())).await?;
    // The status of an existing resource is 405 (RFC 4918, section 9.3.1).
    if response.status.is_success() || response.status == StatusCode::METHOD_NOT_ALLOWED {
        return Ok(());
    }
    // Some servers respond with 403 if another request created the directory first.
    match find_by_head(client, directory).await {
        Ok(Resource::Directory) => Ok(()),
        _ => Err(client.error_of(response, &url).await),
    }
}

/// Returns what exists under a name, without WebDAV: file servers redirect from the name of a
/// directory to the same URL with a slash.
pub(crate) async fn find_by_head(client: &Client, name: &str) -> Result<Resource> {
    let key = Key::new(name)?;
    let url = client.url(&key);
    let response = client.send(client.request(Method::HEAD, url.clone())).await?;
    match response.status {
        status if status.is_success() => Ok(Resource::Object),
        status if status.is_redirection() => match client.error_of(response, &url).await {
            error if error.kind() == ErrorKind::NotFound => Ok(Resource::Directory),
            error => Err(error),
        },
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Resource::Missing),
        _ => Err(client.error_of(response, &url).await),
    }
}
