//! What WebDAV (RFC 4918) adds to HTTP: telling directories from objects, listing and making them.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde::Deserialize;
use serde::de::IgnoredAny;
use storage_client::parse_size;
use storage_core::{BoxError, Error, ErrorKind, Key, Result};
use url::Url;

use crate::client::Client;

const DEPTH: HeaderName = HeaderName::from_static("depth");
/// The most that is read of a listing: that of some 100,000 files.
const MAX_DOCUMENT: usize = 64 * 1024 * 1024;
/// From this size on a document is read by a thread that may block.
const MUCH: usize = 256 * 1024;
/// What is asked of each file.
const WANTED: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:propfind xmlns:D=\"DAV:\"><D:prop><D:resourcetype/>\
    <D:getcontentlength/><D:getlastmodified/><D:getetag/></D:prop></D:propfind>";

/// What is at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum There {
    Object,
    Directory,
    Nothing,
}

/// Something in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its name within the directory; lossy if that is not UTF-8.
    pub(crate) name: String,
    /// Why no segment of a key can have this name, so far as the rules of keys do not tell.
    pub(crate) odd: Option<&'static str>,
    pub(crate) is_directory: bool,
    pub(crate) size: Option<u64>,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
}

/// What has been learned of the server.
#[derive(Debug, Default)]
pub(crate) struct Webdav {
    is_spoken: OnceLock<bool>,
}

impl Webdav {
    /// What there is under a key, if the server can be asked. What a server says that may speak no
    /// WebDAV is not believed.
    pub(crate) async fn look(&self, client: &Client, key: &Key) -> Result<Option<There>> {
        let asked = match self.is_spoken(client).await {
            Ok(true) => propfind(client, client.url(key), "0").await,
            Ok(false) => return Ok(None),
            Err(error) => Err(error),
        };
        match asked {
            Ok(Asked::Told(told)) => {
                let is_directory = told.iter().any(Response::is_directory);
                Ok(Some(if is_directory { There::Directory } else { There::Object }))
            }
            Ok(Asked::Directory) => Ok(Some(There::Directory)),
            Ok(Asked::Nothing) => Ok(Some(There::Nothing)),
            Ok(Asked::NotUnderstood) => Ok(None),
            // Who may not list may delete all the same.
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

    /// What there is in a directory, which is empty or ends in a slash; `None` if there is no such
    /// directory.
    ///
    /// # Errors
    /// `Unsupported` if the server does not speak WebDAV; what its refusals mean.
    pub(crate) async fn list(
        &self,
        client: &Client,
        directory: &str,
    ) -> Result<Option<Vec<Found>>> {
        if !self.is_spoken(client).await? {
            return Err(not_spoken());
        }
        let url = directory_url(client, directory);
        match propfind(client, url.clone(), "1").await? {
            Asked::Told(told) => Ok(Some(found_in(&url, told))),
            Asked::Nothing => Ok(None),
            Asked::NotUnderstood | Asked::Directory => Err(not_spoken()),
        }
    }

    /// Whether the server speaks WebDAV at all: asked once, of the directory that is surely there.
    async fn is_spoken(&self, client: &Client) -> Result<bool> {
        if let Some(known) = self.is_spoken.get() {
            return Ok(*known);
        }
        let is_spoken = match propfind(client, client.base().clone(), "0").await? {
            Asked::Told(_) => true,
            Asked::NotUnderstood | Asked::Directory => false,
            // There may be no such directory yet, so that the next one asks again.
            Asked::Nothing => return Ok(false),
        };
        Ok(*self.is_spoken.get_or_init(|| is_spoken))
    }
}

fn not_spoken() -> Error {
    Error::unsupported(
        "this server cannot be listed: it does not speak WebDAV (PROPFIND) at base_url (nginx: the module dav-ext, and \
         dav_ext_methods PROPFIND)",
    )
}

/// What a server says to PROPFIND.
enum Asked {
    Told(Vec<Response>),
    /// It redirects to the same place with a slash.
    Directory,
    Nothing,
    /// It does not know the method, or answers as if it were another.
    NotUnderstood,
}

async fn propfind(client: &Client, url: Url, depth: &'static str) -> Result<Asked> {
    let method = Method::from_bytes(b"PROPFIND")
        .map_err(|cause| Error::unexpected("PROPFIND is no method", cause))?;
    let mut request = client.request(method, url.clone());
    let headers = request.headers_mut();
    headers.insert(DEPTH, HeaderValue::from_static(depth));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    *request.body_mut() = Some(WANTED.into());
    let mut answer = client.send(request).await?;
    match answer.status {
        StatusCode::MULTI_STATUS => {
            let document =
                answer.body.read(MAX_DOCUMENT).await.map_err(|error| match error.kind() {
                    ErrorKind::TooLarge => Error::new(
                        ErrorKind::TooLarge,
                        "a directory has more than some 100,000 files",
                    ),
                    _ => error,
                })?;
            Ok(Asked::Told(read(document).await?))
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Asked::Nothing),
        // What some say of a place below a file.
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => Ok(Asked::Nothing),
        status if status.is_success() || matches!(status.as_u16(), 405 | 415 | 501) => {
            Ok(Asked::NotUnderstood)
        }
        status if status.is_redirection() => match client.refused(answer, &url).await {
            error if error.kind() == ErrorKind::NotFound => Ok(Asked::Directory),
            error => Err(error),
        },
        _ => Err(client.refused(answer, &url).await),
    }
}

async fn read(document: Bytes) -> Result<Vec<Response>> {
    if document.len() < MUCH {
        return parsed(&document);
    }
    let reading = tokio::task::spawn_blocking(move || parsed(&document)).await;
    reading.map_err(|join| Error::unexpected("reading the listing did not finish", join))?
}

fn parsed(document: &[u8]) -> Result<Vec<Response>> {
    let bad =
        |cause: BoxError| Error::unexpected("the server's answer to PROPFIND is no listing", cause);
    // What else there is may look like an empty listing.
    if root(document).as_deref() != Some(b"multistatus") {
        return Err(bad("another document".into()));
    }
    let text = std::str::from_utf8(document).map_err(|cause| bad(cause.into()))?;
    let listing: Multistatus =
        quick_xml::de::from_str(text).map_err(|cause| bad(cause.to_string().into()))?;
    Ok(listing.response)
}

/// The name of a document's root element.
fn root(document: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::from_reader(document);
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) => {
                return Some(element.local_name().as_ref().to_vec());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// The document of a 207 ("multistatus", section 14.16). Names are compared without their
/// namespaces.
#[derive(Debug, Deserialize)]
struct Multistatus {
    #[serde(default)]
    response: Vec<Response>,
}

#[derive(Debug, Deserialize)]
struct Response {
    href: String,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    propstat: Vec<Propstat>,
}

#[derive(Debug, Deserialize)]
struct Propstat {
    #[serde(default)]
    status: String,
    #[serde(default)]
    prop: Prop,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Prop {
    resourcetype: ResourceType,
    getcontentlength: Option<String>,
    getlastmodified: Option<String>,
    getetag: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResourceType {
    collection: Option<IgnoredAny>,
}

fn is_ok(status: &str) -> bool {
    status.is_empty() || status.split_ascii_whitespace().nth(1) == Some("200")
}

impl Response {
    /// The properties that there are.
    fn props(&self) -> impl Iterator<Item = &Prop> {
        self.propstat
            .iter()
            .filter(|propstat| is_ok(&propstat.status))
            .map(|propstat| &propstat.prop)
    }

    fn is_directory(&self) -> bool {
        self.props().any(|prop| prop.resourcetype.collection.is_some())
    }
}

/// What is in a directory: neither itself nor what is deeper, and nothing that is elsewhere. Names
/// alone are taken out of the answer, so that no request ever goes where a server likes to send it.
fn found_in(directory: &Url, told: Vec<Response>) -> Vec<Found> {
    let mut base = segments(directory.path());
    // What follows the last slash: nothing, in whose place there are names.
    base.pop();
    let found = told.into_iter().filter_map(|response| {
        if !response.status.as_deref().is_none_or(is_ok) {
            return None;
        }
        let path = segments(path_of(&response.href));
        let (name, rest) = path.strip_prefix(&*base)?.split_first()?;
        let has_slash = matches!(rest, [last] if last.is_empty());
        if name.is_empty() || !(rest.is_empty() || has_slash) {
            return None;
        }
        let is_directory = response.is_directory() || has_slash;
        let text =
            |of: fn(&Prop) -> &Option<String>| response.props().find_map(|prop| of(prop).clone());
        Some(Found {
            odd: match std::str::from_utf8(name) {
                Err(_) => Some("the name is not UTF-8"),
                Ok(text) => text.contains('/').then_some("the name holds a slash"),
            },
            name: String::from_utf8_lossy(name).into_owned(),
            is_directory,
            size: text(|prop| &prop.getcontentlength).and_then(|size| parse_size(size.trim())),
            etag: text(|prop| &prop.getetag),
            last_modified: text(|prop| &prop.getlastmodified),
        })
    });
    found.collect()
}

type Segment = Vec<u8>;

/// The decoded parts between the slashes, of which the last is empty for a directory.
fn segments(path: &str) -> Vec<Segment> {
    path.split('/').map(|segment| percent_decode_str(segment).collect()).collect()
}

/// The path of an absolute URL, or of a reference that is only a path.
fn path_of(href: &str) -> &str {
    let href = href.trim();
    let path = match href.split_once("://") {
        Some((scheme, rest)) if !scheme.contains('/') => {
            rest.find('/').map_or("/", |at| &rest[at..])
        }
        _ => href,
    };
    path.split(['?', '#']).next().unwrap_or_default()
}

fn directory_url(client: &Client, directory: &str) -> Url {
    let Ok(key) = Key::new(directory.trim_end_matches('/')) else { return client.base().clone() };
    let mut url = client.url(&key);
    let path = format!("{}/", url.path());
    url.set_path(&path);
    url
}

/// Makes a directory, whose parent is there. That it is there already is no error.
pub(crate) async fn make_directory(client: &Client, directory: &str) -> Result<()> {
    let method = Method::from_bytes(b"MKCOL")
        .map_err(|cause| Error::unexpected("MKCOL is no method", cause))?;
    let url = directory_url(client, directory);
    let answer = client.send(client.request(method, url.clone())).await?;
    // 405 is what WebDAV says where there is something already (section 9.3.1).
    if answer.status.is_success() || answer.status == StatusCode::METHOD_NOT_ALLOWED {
        return Ok(());
    }
    // Some say 403 where somebody else was quicker.
    match look(client, directory).await {
        Ok(There::Directory) => Ok(()),
        _ => Err(client.refused(answer, &url).await),
    }
}

/// What there is at a place, as HTTP itself can tell: servers of files redirect from the name of a
/// directory to the same with a slash.
pub(crate) async fn look(client: &Client, name: &str) -> Result<There> {
    let key = Key::new(name)?;
    let url = client.url(&key);
    let answer = client.send(client.request(Method::HEAD, url.clone())).await?;
    match answer.status {
        status if status.is_success() => Ok(There::Object),
        status if status.is_redirection() => match client.refused(answer, &url).await {
            error if error.kind() == ErrorKind::NotFound => Ok(There::Directory),
            error => Err(error),
        },
        StatusCode::NOT_FOUND | StatusCode::GONE => Ok(There::Nothing),
        _ => Err(client.refused(answer, &url).await),
    }
}
