//! [`Client`]: the requests to one mirror.
//!
//! Not by the driver of `storage-http`, which is for a server that is all there is: it tries again,
//! resumes, keeps what has no length in a file, and takes a redirection for a mistake. Of a mirror,
//! whatever is not plainly right is left to origin at once; and each link to a private mirror is
//! signed.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use storage_client::{
    ClientConfig, Response, ResponseBody, header_value, open_headers, received_range, send_error,
    timeout_error,
};
use storage_core::internal::object_url;
use storage_core::signed_url::SigningKey;
use storage_core::{
    ByteRange, ETag, Error, ErrorKind, Key, Link, ObjectMeta, OpenOptions, Result, UrlOptions,
};
use url::Url;

use crate::config::Verify;
use crate::headers;

/// The most that is read of an answer to `/verify/`.
const MAX_VERDICT: usize = 64 * 1024;
/// For how long the links that the driver itself follows are signed, and for how long they stay the
/// same, so that a cache in front of the mirror knows them again.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// Of the encodings that an object may be stored in, any will do; of an encoding that is made for
/// us, none is needed.
const AS_STORED: HeaderValue = HeaderValue::from_static("identity, *");

/// Speaks to one mirror.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    /// Below which the objects are.
    objects: Url,
    verify: Verify,
    /// Below which the answers of the original protocol are.
    verdicts: Url,
    admin: Url,
    /// Whether the token is for the mirror itself.
    is_its_own_admin: bool,
    /// `Bearer ...`.
    token: Option<HeaderValue>,
    signing_key: Option<SigningKey>,
    header_timeout: Duration,
    idle_timeout: Duration,
}

/// How a mirror is spoken to.
pub(crate) struct ClientSettings {
    pub(crate) base: Url,
    pub(crate) verify: Verify,
    pub(crate) admin: Option<Url>,
    pub(crate) token: Option<HeaderValue>,
    pub(crate) signing_key: Option<SigningKey>,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
}

/// What a mirror says to a request for an object. Trouble is an error instead.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Here it is.
    Here(Box<Answer>),
    /// The caller's copy is current.
    NotModified,
    /// It does not have it, or not so: origin decides.
    NotHere,
    /// It does not give it to us.
    Refused(StatusCode),
}

/// The beginning of an object's body, and what goes with it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) meta: ObjectMeta,
    /// The positions of the body's bytes.
    pub(crate) range: Range<u64>,
    /// Whether the mirror is our own server, which hands on origin's ETags.
    pub(crate) is_ours: bool,
    pub(crate) body: ResponseBody,
}

/// The answer to `/verify/`, in the words of the original protocol.
#[derive(Debug, Deserialize)]
struct Verdict {
    available: bool,
    #[serde(default)]
    error: bool,
}

impl Client {
    pub(crate) fn new(settings: ClientSettings) -> Result<Self> {
        let ClientSettings {
            base,
            verify,
            admin,
            token,
            signing_key,
            header_timeout,
            idle_timeout,
        } = settings;
        let objects = match verify {
            Verify::CacheTier => below(&base, "download"),
            Verify::Head | Verify::None => base.clone(),
        };
        Ok(Self {
            // As many headers as the client takes unless it is told otherwise: room for more is
            // cleared for each answer, which costs a small object more than anything else here. Who
            // sends more is a mirror in trouble.
            http: ClientConfig::new(header_timeout)
                .build_for(base.host_str().unwrap_or_default())?,
            verdicts: below(&base, "verify"),
            is_its_own_admin: admin.is_none(),
            admin: admin.unwrap_or_else(|| base.clone()),
            objects,
            base,
            verify,
            token,
            signing_key,
            header_timeout,
            idle_timeout,
        })
    }

    /// The mirror's address.
    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Where everybody finds an object.
    pub(crate) fn public_url(&self, key: &Key) -> Url {
        object_url(&self.objects, key)
    }

    /// Where whoever has the link finds an object.
    ///
    /// # Errors
    /// `Unsupported` if there is no key to sign with; as [`SigningKey::sign`].
    pub(crate) fn signed_link(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        match &self.signing_key {
            Some(signing_key) => signing_key.sign(&self.objects.clone().into(), key, options),
            None => Err(Error::unsupported("links to the mirror are signed if signing_key is set")),
        }
    }

    /// Asks for an object.
    ///
    /// # Errors
    /// Trouble with the mirror: no connection, no answer in time, a bad one, an error of the
    /// server.
    pub(crate) async fn get(&self, key: &Key, options: &OpenOptions) -> Result<Reply> {
        let mut request = reqwest::Request::new(Method::GET, self.own_link(&self.objects, key)?);
        *request.headers_mut() = conditions(options)?;
        if let Some(token) = self.token.as_ref().filter(|_| self.is_its_own_admin) {
            // Our own server then tells the metadata as it is stored. A mirror that does not purge
            // itself may be anybody's.
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let url = request.url().clone();
        let mut response = self.send(request).await?;
        if let Some(place) = self.place_of(key, &url, &response) {
            let mut request = reqwest::Request::new(Method::GET, place);
            *request.headers_mut() = conditions(options)?;
            response = self.send(request).await?;
        }
        let status = response.status;
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                self.answer(key, options.range, response)
            }
            StatusCode::NOT_MODIFIED if is_conditional(options) => Ok(Reply::NotModified),
            // A redirection to elsewhere leads to the source, which we know better. A failed
            // condition or range may be one of an old version.
            StatusCode::NOT_FOUND | StatusCode::GONE | StatusCode::PRECONDITION_FAILED => {
                Ok(Reply::NotHere)
            }
            StatusCode::RANGE_NOT_SATISFIABLE => Ok(Reply::NotHere),
            _ if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                Ok(Reply::NotHere)
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Err(self.bad(status)),
            _ if status.is_client_error() => Ok(Reply::Refused(status)),
            _ => Err(self.bad(status)),
        }
    }

    /// Where on the mirror itself a redirection leads: the original server sends readers of what it
    /// has to its static files. They have other names there if two keys differ in case alone; such
    /// a place is not the key's.
    fn place_of(&self, key: &Key, url: &Url, response: &Response) -> Option<Url> {
        let status = response.status;
        if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
            return None;
        }
        let location = response.headers.get(LOCATION)?.to_str().ok()?;
        let place = url.join(location).ok()?;
        let name = percent_decode_str(place.path()).decode_utf8().ok()?;
        let is_its_own =
            name.strip_suffix(key.as_str()).is_some_and(|directory| directory.ends_with('/'));
        (place.origin() == self.base.origin() && is_its_own).then_some(place)
    }

    fn answer(&self, key: &Key, wanted: Option<ByteRange>, response: Response) -> Result<Reply> {
        let headers = &response.headers;
        let told = received_range(response.status, headers);
        let unclear = || {
            // Without a length, the end of a body cannot be told from a connection that breaks off.
            let message = "the mirror does not say which bytes it sends, or how many";
            Error::new(ErrorKind::Unexpected, message).with_retryable(true)
        };
        // Our own server passes on what origin sends without a length, and does not keep it.
        if told.is_none() && response.status == StatusCode::OK && headers::is_ours(headers) {
            return Ok(Reply::NotHere);
        }
        let (range, size) = told.ok_or_else(unclear)?;
        let expected = match wanted.map(|wanted| wanted.resolve(size)).transpose() {
            Ok(wanted) => wanted.unwrap_or(0..size),
            // Of a whole object without these bytes; perhaps an old one.
            Err(_) => return Ok(Reply::NotHere),
        };
        if range != expected {
            // A server may send all where it is asked for a part; not every one knows ranges.
            let is_all = range == (0..size);
            let message = "the mirror sends other bytes than it was asked for";
            return if is_all {
                Ok(Reply::NotHere)
            } else {
                Err(Error::new(ErrorKind::Unexpected, message))
            };
        }
        // A cache in front of this storage counts the time that the object spent in the mirror.
        let meta = response.object_meta(key, size);
        Ok(Reply::Here(Box::new(Answer {
            meta,
            range,
            is_ours: headers::is_ours(headers),
            body: response.body,
        })))
    }

    /// Whether the mirror has an object, so that it can be linked to.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub(crate) async fn verify(&self, key: &Key) -> Result<bool> {
        match self.verify {
            Verify::None => Ok(true),
            Verify::Head => {
                let request =
                    reqwest::Request::new(Method::HEAD, self.own_link(&self.objects, key)?);
                let status = self.send(request).await?.status;
                if is_trouble(status) {
                    Err(self.bad(status))
                } else {
                    Ok(status == StatusCode::OK)
                }
            }
            Verify::CacheTier => {
                let request =
                    reqwest::Request::new(Method::GET, self.own_link(&self.verdicts, key)?);
                let asked = tokio::time::timeout(self.header_timeout, self.verdict(request));
                asked.await.unwrap_or_else(|_| Err(self.no_answer()))
            }
        }
    }

    async fn verdict(&self, request: reqwest::Request) -> Result<bool> {
        let mut response = self.send(request).await?;
        let status = response.status;
        if is_trouble(status) {
            return Err(self.bad(status));
        }
        if status != StatusCode::OK {
            return Ok(false);
        }
        let body = response.body.read(MAX_VERDICT).await?;
        let verdict: Verdict = serde_json::from_slice(&body).map_err(|cause| {
            let message = "the mirror's answer to /verify/ is not of the cache tier: is verify = \"head\" meant?";
            Error::unexpected(message, cause.to_string())
        })?;
        Ok(verdict.available && !verdict.error)
    }

    /// Has the mirror forget an object; all that it has, without a key.
    ///
    /// # Errors
    /// Anything but the mirror's word that it has done so.
    pub(crate) async fn purge(&self, key: Option<&Key>) -> Result<()> {
        let url = match key {
            Some(key) => object_url(&below(&self.admin, "purge"), key),
            None => {
                let mut url = below(&self.admin, "purge");
                url.set_query(Some("prefix="));
                url
            }
        };
        self.order(url).await
    }

    /// Has the mirror fetch an object.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub(crate) async fn prefetch(&self, key: &Key) -> Result<()> {
        self.order(object_url(&below(&self.admin, "prefetch"), key)).await
    }

    async fn order(&self, url: Url) -> Result<()> {
        let mut request = reqwest::Request::new(Method::POST, url);
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let status = self.send(request).await?.status;
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::new(
                ErrorKind::Unauthenticated,
                format!(
                    "the mirror at {} answers {}: check the option token",
                    self.place(),
                    status.as_u16()
                ),
            )),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the mirror at {} answers {}: check the option admin",
                    self.place(),
                    status.as_u16()
                ),
            )),
            _ => Err(self.bad(status)),
        }
    }

    /// The link that the driver itself follows.
    fn own_link(&self, base: &Url, key: &Key) -> Result<Url> {
        let Some(signing_key) = &self.signing_key else { return Ok(object_url(base, key)) };
        // Good for HEAD too.
        let mut options = UrlOptions::default();
        (options.expires_in, options.stable_for) = (Some(SIGNED_FOR), Some(SIGNED_FOR));
        signing_key.sign(&base.clone().into(), key, &options)?.url()
    }

    async fn send(&self, mut request: reqwest::Request) -> Result<Response> {
        request.headers_mut().insert(ACCEPT_ENCODING, AS_STORED);
        let sent_at = Instant::now();
        match tokio::time::timeout(self.header_timeout, self.http.execute(request)).await {
            Ok(Ok(response)) => {
                let mut response = Response::new(response, sent_at, self.idle_timeout);
                response.body = response.body.with_limit_name("option idle_timeout");
                Ok(response)
            }
            Ok(Err(cause)) => Err(self.broken(cause)),
            Err(_) => Err(self.no_answer()),
        }
    }

    fn broken(&self, cause: reqwest::Error) -> Error {
        send_error(cause, &self.place_name(), "option mirror", "option header_timeout")
    }

    fn no_answer(&self) -> Error {
        timeout_error(&self.place_name(), self.header_timeout, "option header_timeout")
    }

    fn place_name(&self) -> String {
        format!("the mirror at {}", self.place())
    }

    fn bad(&self, status: StatusCode) -> Error {
        let message = format!("the mirror at {} answers {}", self.place(), status.as_u16());
        Error::new(ErrorKind::Unexpected, message).with_retryable(true)
    }

    /// The host, for messages.
    pub(crate) fn place(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Whether an answer says that something is wrong with the mirror.
fn is_trouble(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Whether "not modified" is an answer.
fn is_conditional(options: &OpenOptions) -> bool {
    options.if_none_match.is_some() || options.if_modified_since.is_some()
}

/// Range and conditions, as headers.
fn conditions(options: &OpenOptions) -> Result<HeaderMap> {
    let mut headers = open_headers(options)?;
    if let Some(etag) = &options.if_none_match {
        // The comparison is the weak one (RFC 9110, section 13.1.2), but some servers compare the
        // text.
        headers.insert(IF_NONE_MATCH, header_value(&ETag::strong(etag.opaque())?.to_string())?);
    }
    Ok(headers)
}

/// A directory below a base URL.
fn below(base: &Url, directory: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{directory}", base.path().trim_end_matches('/')));
    url
}
