//! [`Site`]: the responses to requests for objects, directories, uploads and deletions. Resumable
//! uploads are received by [`Uploads`].

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anystorage::internal::escape_invisible;
use anystorage::publish::ServedRelease;
use anystorage::serve::internal::{key_from_path, method_not_allowed, responses, text_response};
use anystorage::serve::uploads::Uploads;
use anystorage::serve::website::Website;
use anystorage::serve::{ActiveContent, ResponseBody, Serve, error_response};
use anystorage::signed_url::SigningKey;
use anystorage::{ErrorKind, Key, LinkBase, Result, Storage, UrlMethod, UrlOptions, keys};
use bytes::Bytes;
use http::header::{ALLOW, HOST, HeaderMap, HeaderValue, LOCATION, ORIGIN};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::Empty;
use hyper::body::Incoming;

use super::page::{directory_page, path_of};

const READ_METHODS: &str = "GET, HEAD, OPTIONS";
const WRITE_METHODS: &str = "GET, HEAD, PUT, DELETE, OPTIONS";

/// The lifetime of the link that the server signs for each upload.
const UPLOAD_LINK_LIFETIME: Duration = Duration::from_secs(60);

/// How much of each segment of an upload's URL the log contains. An id is longer.
const LOGGED_CHARS: usize = 24;

/// Responds to requests. Objects are sent by [`Serve`].
pub(crate) struct Site {
    storage: Storage,
    reads: Serve,
    /// Accepts uploads with a link of this key, which only this process knows.
    writes: Option<(Serve, SigningKey)>,
    uploads: Option<Uploads>,
    /// The pages of a published website, in place of objects and directories.
    website: Option<Website>,
    /// The origins whose pages may upload, as a browser writes them, or `*`.
    upload_origins: Vec<String>,
    /// What precedes a key in the title of a page: `media:`.
    title: String,
    /// Whether only this machine can connect.
    is_loopback: bool,
}

impl Site {
    pub(crate) fn new(
        storage: Storage,
        title: String,
        address: SocketAddr,
        writable: bool,
    ) -> Result<Self> {
        let reads = Serve::new(storage.clone())
            .active_content(ActiveContent::Inline)
            // A developer changes an object and reloads the page.
            .cache_control(HeaderValue::from_static("no-cache"));
        let writes = if writable {
            let key = SigningKey::new(keys::random_bytes::<32>()?)?;
            Some((Serve::new(storage.clone()).signing_key(key.clone()), key))
        } else {
            None
        };
        let is_loopback = address.ip().is_loopback();
        Ok(Self {
            storage,
            reads,
            writes,
            uploads: None,
            website: None,
            upload_origins: Vec::new(),
            title,
            is_loopback,
        })
    }

    /// Serves the pages of a release in place of objects and directories.
    pub(crate) fn with_website(mut self, release: ServedRelease) -> Self {
        self.website = Some(Website::new(self.storage.clone(), release));
        self
    }

    /// Receives resumable uploads below the path of a service, also from pages of these origins.
    pub(crate) fn with_uploads(mut self, uploads: Uploads, origins: Vec<String>) -> Self {
        self.uploads = Some(uploads);
        self.upload_origins = origins;
        self
    }

    pub(crate) async fn respond(&self, request: Request<Incoming>) -> Response<ResponseBody> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let (head, body) = request.into_parts();
        let response = match self.route(head, body).await {
            Ok(response) => response,
            Err(error) => responses::finish(&method, error_response(&method, &error)),
        };
        let path = match self.uploads(uri.path()) {
            Some(_) => without_signatures(uri.path()),
            None => uri.path().to_owned(),
        };
        let path = escape_invisible(&path);
        tracing::info!("{method} {path} {}", response.status().as_u16());
        response
    }

    /// Returns the service of uploads if it has this path.
    fn uploads(&self, path: &str) -> Option<&Uploads> {
        let uploads = self.uploads.as_ref()?;
        let rest = path.strip_prefix(uploads.mount_path())?;
        (rest.is_empty() || rest.starts_with('/')).then_some(uploads)
    }

    async fn route(&self, head: Parts, body: Incoming) -> Result<Response<ResponseBody>> {
        let refusal = self.refusal(&head);
        if refusal.is_none()
            && let Some(uploads) = self.uploads(head.uri.path())
        {
            return Ok(uploads.handle(Request::from_parts(head, body)).await);
        }
        let method = head.method.clone();
        let response = match refusal {
            Some(refusal) => refusal,
            None => self.serve(head, body).await?,
        };
        Ok(responses::finish(&method, response))
    }

    /// Returns the response to a request of another site.
    fn refusal(&self, head: &Parts) -> Option<Response<ResponseBody>> {
        if self.is_loopback && !names_this_machine(head) {
            // Another site may have changed its host name to this address, so that its scripts can
            // read the objects (DNS rebinding).
            return Some(text_response(
                StatusCode::MISDIRECTED_REQUEST,
                "This server listens on a loopback address, so use localhost or 127.0.0.1.\n",
            ));
        }
        let is_read = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let may_upload =
            self.uploads(head.uri.path()).is_some() && self.is_upload_origin(&head.headers);
        (!is_read && !may_upload && is_cross_site(&head.headers))
            .then(|| text_response(StatusCode::FORBIDDEN, "Another site sent this request.\n"))
    }

    fn is_upload_origin(&self, headers: &HeaderMap) -> bool {
        headers.get(ORIGIN).is_some_and(|origin| {
            self.upload_origins.iter().any(|allowed| allowed == "*" || *origin == allowed[..])
        })
    }

    async fn serve(&self, head: Parts, body: Incoming) -> Result<Response<ResponseBody>> {
        if let Some(website) = &self.website {
            return Ok(website.handle(Request::from_parts(head, body)).await);
        }
        match (&head.method, &self.writes) {
            (&Method::GET | &Method::HEAD, _) => self.read(head).await,
            (&Method::PUT, Some((serve, key))) => self.upload(serve, key, head, body).await,
            (&Method::DELETE, Some(_)) => self.delete(head.uri.path()).await,
            (&Method::OPTIONS, _) => Ok(self.options()),
            _ => Ok(method_not_allowed(self.methods())),
        }
    }

    fn methods(&self) -> &'static str {
        if self.writes.is_some() { WRITE_METHODS } else { READ_METHODS }
    }

    fn options(&self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(self.methods()));
        response
    }

    async fn read(&self, head: Parts) -> Result<Response<ResponseBody>> {
        let path = head.uri.path().to_owned();
        if let Some(directory) = path.strip_suffix('/') {
            return self.directory(head, directory).await;
        }
        let key = key_from_path(&path)?;
        let response = self.reads.handle(Request::from_parts(head, empty())).await;
        if response.status() != StatusCode::NOT_FOUND || !self.is_directory(&key).await? {
            return Ok(response);
        }
        // Relative links in an `index.html` need the slash.
        let mut response = text_response(StatusCode::FOUND, "");
        response.headers_mut().insert(LOCATION, header_value(&(path_of(&key)? + "/"))?);
        Ok(response)
    }

    /// Responds with the object `index.html` of a directory, or with a page of its entries. The
    /// path has no slash at the end.
    async fn directory(&self, mut head: Parts, path: &str) -> Result<Response<ResponseBody>> {
        let prefix = match path {
            "" => String::new(),
            _ => format!("{}/", key_from_path(path)?),
        };
        let query = head.uri.query().unwrap_or_default();
        let after = url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == "after")
            .map(|(_, after)| after.into_owned());
        // Only an invalid prefix cannot be the beginning of a key.
        let index = Key::new(format!("{prefix}index.html"))?;
        if after.is_none() && self.storage.exists(&index).await? {
            head.uri = uri(&path_of(&index)?)?;
            return Ok(self.reads.handle(Request::from_parts(head, empty())).await);
        }
        let page = directory_page(&self.storage, &self.title, &prefix, after.as_deref()).await?;
        Ok(page.unwrap_or_else(|| text_response(StatusCode::NOT_FOUND, "There is no such file.\n")))
    }

    async fn is_directory(&self, key: &Key) -> Result<bool> {
        let mut entries =
            self.storage.list(format!("{key}/")).with_folder_markers().delimiter("/").entries();
        match entries.next().await {
            None => Ok(false),
            Some(Ok(_)) => Ok(true),
            Some(Err(error)) if error.listing_continues() => Ok(true),
            // A server without listings has no directories.
            Some(Err(error)) if error.kind() == ErrorKind::Unsupported => Ok(false),
            Some(Err(error)) => Err(error),
        }
    }

    /// Saves the body of a request, as [`Serve`] does with a signed link.
    async fn upload(
        &self,
        serve: &Serve,
        signing_key: &SigningKey,
        mut head: Parts,
        body: Incoming,
    ) -> Result<Response<ResponseBody>> {
        let key = key_from_path(head.uri.path())?;
        let options = UrlOptions::new().method(UrlMethod::Put).expires_in(UPLOAD_LINK_LIFETIME);
        let link = signing_key.sign(&"/".parse::<LinkBase>()?, &key, &options)?;
        head.uri = uri(link.as_str())?;
        Ok(serve.handle(Request::from_parts(head, body)).await)
    }

    async fn delete(&self, path: &str) -> Result<Response<ResponseBody>> {
        self.storage.delete(key_from_path(path)?).await?;
        let mut response = Response::new(ResponseBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        Ok(response)
    }
}

fn empty() -> Empty<Bytes> {
    Empty::new()
}

fn uri(path: &str) -> Result<Uri> {
    path.parse().map_err(|cause| anystorage::Error::unexpected("the path is not valid", cause))
}

fn header_value(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text)
        .map_err(|cause| anystorage::Error::unexpected("the path is not valid", cause))
}

/// Whether the host of a request is this machine. Accepts a request without one (HTTP/1.0), which
/// no browser sends.
fn names_this_machine(head: &Parts) -> bool {
    let Some(host) = head.headers.get(HOST) else { return true };
    let Some(authority) = host.to_str().ok().and_then(|host| host.parse().ok()) else {
        return false;
    };
    let authority: http::uri::Authority = authority;
    let host = authority.host().trim_end_matches('.');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Whether a browser sent the request for a page of another site (RFC 6454).
fn is_cross_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = origin.to_str().unwrap_or_default();
    origin.split_once("://").is_none_or(|(_, origin)| !origin.eq_ignore_ascii_case(host))
}

/// Returns a path of the service of uploads for the log: without the signatures in it, which allow
/// to continue uploads.
fn without_signatures(path: &str) -> String {
    let shown = path.split('/').map(|segment| {
        let end = segment.char_indices().nth(LOGGED_CHARS);
        end.map_or_else(|| segment.to_owned(), |(end, _)| format!("{}...", &segment[..end]))
    });
    shown.collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_contains_no_signature_of_an_upload() {
        let path = "/uploads/006b0b4475a3ffddd2e0ed8166d1cbe4aa-0123456789abcdef";
        assert_eq!(without_signatures(path), "/uploads/006b0b4475a3ffddd2e0ed81...");
        assert_eq!(without_signatures("/uploads"), "/uploads");
    }
}
