//! [`Client`]: the requests to one mirror.
//!
//! Unlike the driver `http`, this client repeats no request, resumes no body and uses no temporary
//! files, because the driver reads from origin if a request fails. Requests to a private mirror are
//! signed.

use std::fmt;
use std::ops::Range;
use std::time::{Duration, Instant};

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, IF_NONE_MATCH, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;
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

use crate::verify::{Verify, parse_verdict};

/// Upper bound for the document of `/verify/`, in bytes.
const MAX_VERDICT: usize = 64 * 1024;
/// How long the signed URLs of the driver's own requests are valid, and how long they stay the same
/// (5 minutes each), so that a cache in front of the mirror can store the responses.
const SIGNED_FOR: Duration = Duration::from_secs(300);
/// The time limit of a purge of the whole mirror, which removes every file (10 minutes).
const PURGE_ALL_TIMEOUT: Duration = Duration::from_secs(600);
/// Requests the object as it is stored, in any encoding.
const AS_STORED: HeaderValue = HeaderValue::from_static("identity, *");
/// The header in which caches describe how they handled a request (RFC 9211).
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// The name of the mirror of this project in `Cache-Status`.
const MIRROR_NAME: &str = "anystorage";

/// Sends requests to one mirror.
pub(crate) struct Client {
    http: reqwest::Client,
    base: Url,
    /// The base of the objects' URLs.
    objects: Url,
    verify: Verify,
    /// The base of `/verify/` URLs.
    verdicts: Url,
    admin: Url,
    /// The client for the admin routes, whose server may be another one.
    admin_http: reqwest::Client,
    /// Whether the mirror itself has the admin routes, so that the token may be sent to it.
    is_its_own_admin: bool,
    /// The value of `Authorization`: `Bearer ...`.
    token: Option<HeaderValue>,
    signing_key: Option<SigningKey>,
    header_timeout: Duration,
    idle_timeout: Duration,
}

/// The options that concern the requests.
pub(crate) struct ClientSettings {
    pub(crate) base: Url,
    pub(crate) verify: Verify,
    pub(crate) admin: Option<Url>,
    pub(crate) token: Option<HeaderValue>,
    pub(crate) signing_key: Option<SigningKey>,
    pub(crate) header_timeout: Duration,
    pub(crate) idle_timeout: Duration,
}

/// The response to a request for an object. A failure of the mirror is an error instead.
#[derive(Debug)]
pub(crate) enum Reply {
    /// The mirror sends the object.
    Found(Box<FoundObject>),
    /// The caller's copy is current.
    NotModified,
    /// The mirror does not have the object in this form. Origin decides.
    NotFound,
    /// The mirror does not permit this driver to read the object.
    Refused(StatusCode),
}

/// An object that a mirror sends.
#[derive(Debug)]
pub(crate) struct FoundObject {
    pub(crate) meta: ObjectMeta,
    /// The positions of the body's bytes.
    pub(crate) range: Range<u64>,
    /// Whether the ETag is the one of origin.
    pub(crate) has_origins_etag: bool,
    pub(crate) body: ResponseBody,
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
            Verify::CacheTier => join(&base, "download"),
            Verify::Head | Verify::None => base.clone(),
        };
        // Uses the default limit of headers, because reserving room for more would slow down the
        // reads of small objects. A response with more is a failure of the mirror.
        let config = ClientConfig::new(header_timeout);
        let http = config.build_for(&base)?;
        Ok(Self {
            admin_http: match &admin {
                Some(admin) => config.build_for(admin)?,
                None => http.clone(),
            },
            http,
            verdicts: join(&base, "verify"),
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

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    /// Returns the host of the mirror, for messages.
    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Returns the public URL of an object at the mirror.
    pub(crate) fn public_url(&self, key: &Key) -> Url {
        object_url(&self.objects, key)
    }

    /// Returns a signed link to an object at the mirror.
    ///
    /// # Errors
    /// `Unsupported` without a signing key. Otherwise as [`SigningKey::sign`].
    pub(crate) fn signed_link(&self, key: &Key, options: &UrlOptions) -> Result<Link> {
        match &self.signing_key {
            Some(signing_key) => signing_key.sign(&self.objects.clone().try_into()?, key, options),
            None => Err(Error::unsupported(
                "signed links to the mirror need the option signing_key: set it to the signing_key of the mirror",
            )),
        }
    }

    /// Requests an object.
    ///
    /// # Errors
    /// `InvalidInput` if HTTP cannot express the options. Any other error is a failure of the
    /// mirror: no connection, no response in time, an invalid response, or a server error.
    pub(crate) async fn get(&self, key: &Key, options: &OpenOptions) -> Result<Reply> {
        let mut request = reqwest::Request::new(Method::GET, self.own_link(&self.objects, key)?);
        *request.headers_mut() = conditions(options)?;
        if let Some(token) = self.token.as_ref().filter(|_| self.is_its_own_admin) {
            // With the token, the mirror of this project sends the metadata as it is stored. A
            // mirror whose admin routes are elsewhere may be operated by another party.
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let url = request.url().clone();
        let mut response = self.send(request).await?;
        if let Some(target) = self.redirect_target(key, &url, &response) {
            let mut request = reqwest::Request::new(Method::GET, target);
            *request.headers_mut() = conditions(options)?;
            response = self.send(request).await?;
        }
        let status = response.status;
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {
                self.found(key, options.range, response)
            }
            StatusCode::NOT_MODIFIED if is_conditional(options) => Ok(Reply::NotModified),
            // The condition or the range may fail because the mirror has an old version.
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::PRECONDITION_FAILED
            | StatusCode::RANGE_NOT_SATISFIABLE => Ok(Reply::NotFound),
            // Any other redirection leads to the source of the mirror, which is origin.
            _ if status.is_redirection() && status != StatusCode::NOT_MODIFIED => {
                Ok(Reply::NotFound)
            }
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(self.status_error(status))
            }
            _ if status.is_client_error() => Ok(Reply::Refused(status)),
            _ => Err(self.status_error(status)),
        }
    }

    /// Returns the target of a redirection within the mirror. The original server of the cache tier
    /// redirects to its static files. If two keys differ only in case, it stores one of them under
    /// another name, and a redirection to such a name is not followed.
    fn redirect_target(&self, key: &Key, url: &Url, response: &Response) -> Option<Url> {
        let status = response.status;
        if !status.is_redirection() || status == StatusCode::NOT_MODIFIED {
            return None;
        }
        let location = response.headers.get(LOCATION)?.to_str().ok()?;
        let target = url.join(location).ok()?;
        let name = percent_decode_str(target.path()).decode_utf8().ok()?;
        let is_of_key =
            name.strip_suffix(key.as_str()).is_some_and(|directory| directory.ends_with('/'));
        (target.origin() == self.base.origin() && is_of_key).then_some(target)
    }

    fn found(&self, key: &Key, wanted: Option<ByteRange>, response: Response) -> Result<Reply> {
        let has_origins_etag = preserves_etags(&response.headers);
        let Some((range, size)) = received_range(response.status, &response.headers) else {
            // The mirror of this project forwards a response of origin without a length, and does
            // not store it.
            if response.status == StatusCode::OK && has_origins_etag {
                return Ok(Reply::NotFound);
            }
            // Without a length, the end of a body cannot be distinguished from a broken connection.
            let message = "the mirror does not state which bytes its response contains";
            return Err(Error::new(ErrorKind::Unexpected, message).with_retryable(true));
        };
        let expected = match wanted.map(|wanted| wanted.resolve(size)).transpose() {
            Ok(wanted) => wanted.unwrap_or(0..size),
            // The object at the mirror does not have these bytes, so it may be an old version.
            Err(_) => return Ok(Reply::NotFound),
        };
        if range != expected {
            // A server that ignores ranges sends the whole object.
            return if range == (0..size) {
                Ok(Reply::NotFound)
            } else {
                let message = "the mirror sent other bytes than the request asked for";
                Err(Error::new(ErrorKind::Unexpected, message))
            };
        }
        // The age includes the time that the object was in the mirror, for a cache in front of this
        // storage.
        let meta = response.object_meta(key, size);
        let body = response.body;
        Ok(Reply::Found(Box::new(FoundObject { meta, range, has_origins_etag, body })))
    }

    /// Returns whether the mirror has an object, so that a link may lead to it.
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
                if is_failure(status) {
                    Err(self.status_error(status))
                } else {
                    Ok(status == StatusCode::OK)
                }
            }
            Verify::CacheTier => {
                let request =
                    reqwest::Request::new(Method::GET, self.own_link(&self.verdicts, key)?);
                let verdict = tokio::time::timeout(self.header_timeout, self.verdict(request));
                verdict.await.unwrap_or_else(|_| Err(self.no_response(self.header_timeout)))
            }
        }
    }

    async fn verdict(&self, request: reqwest::Request) -> Result<bool> {
        let mut response = self.send(request).await?;
        match response.status {
            status if is_failure(status) => Err(self.status_error(status)),
            StatusCode::OK => parse_verdict(&response.body.read(MAX_VERDICT).await?),
            _ => Ok(false),
        }
    }

    /// Requests the mirror to remove an object, or all objects if there is no key. The mirror
    /// responds when they are removed from its disk, so all objects have [`PURGE_ALL_TIMEOUT`].
    ///
    /// # Errors
    /// `Unauthenticated` if the mirror refuses the token, `Unsupported` if the admin routes are
    /// elsewhere, and otherwise as [`get`](Self::get). Only `Ok` confirms the purge.
    pub(crate) async fn purge(&self, key: Option<&Key>) -> Result<()> {
        match key {
            Some(key) => {
                self.post(object_url(&join(&self.admin, "purge"), key), self.header_timeout).await
            }
            None => {
                let mut url = join(&self.admin, "purge");
                url.set_query(Some("prefix="));
                self.post(url, self.header_timeout.max(PURGE_ALL_TIMEOUT)).await
            }
        }
    }

    /// Requests the mirror to fetch an object from origin.
    ///
    /// # Errors
    /// As [`purge`](Self::purge).
    pub(crate) async fn prefetch(&self, key: &Key) -> Result<()> {
        let url = object_url(&join(&self.admin, "prefetch"), key);
        self.post(url, self.header_timeout).await
    }

    async fn post(&self, url: Url, timeout: Duration) -> Result<()> {
        let mut request = reqwest::Request::new(Method::POST, url);
        if let Some(token) = &self.token {
            request.headers_mut().insert(AUTHORIZATION, token.clone());
        }
        let status = self.send_by(&self.admin_http, request, timeout).await?.status;
        let refused = |kind, option| {
            let message = format!(
                "{} responds with {}: check the option {option}",
                self.place(),
                status.as_u16()
            );
            Err(Error::new(kind, message))
        };
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                refused(ErrorKind::Unauthenticated, "token")
            }
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                refused(ErrorKind::Unsupported, "admin")
            }
            _ => Err(self.status_error(status)),
        }
    }

    /// Returns the URL for a request of the driver itself, signed if there is a signing key. The
    /// signature is valid for GET and HEAD.
    fn own_link(&self, base: &Url, key: &Key) -> Result<Url> {
        let Some(signing_key) = &self.signing_key else { return Ok(object_url(base, key)) };
        let mut options = UrlOptions::default();
        (options.expires_in, options.stable_for) = (Some(SIGNED_FOR), Some(SIGNED_FOR));
        signing_key.sign(&base.clone().try_into()?, key, &options)?.url()
    }

    async fn send(&self, request: reqwest::Request) -> Result<Response> {
        self.send_by(&self.http, request, self.header_timeout).await
    }

    async fn send_by(
        &self,
        http: &reqwest::Client,
        mut request: reqwest::Request,
        timeout: Duration,
    ) -> Result<Response> {
        request.headers_mut().insert(ACCEPT_ENCODING, AS_STORED);
        let sent_at = Instant::now();
        let sent = tokio::time::timeout(timeout, http.execute(request));
        let Ok(response) = sent.await else { return Err(self.no_response(timeout)) };
        let response = response.map_err(|cause| {
            send_error(cause, &self.place(), "option mirror", "option header_timeout")
        })?;
        let mut response = Response::new(response, sent_at, self.idle_timeout);
        response.body = response.body.with_limit_name("option idle_timeout");
        Ok(response)
    }

    fn no_response(&self, timeout: Duration) -> Error {
        timeout_error(&self.place(), timeout, "option header_timeout")
    }

    fn status_error(&self, status: StatusCode) -> Error {
        let message = format!("{} responds with {}", self.place(), status.as_u16());
        Error::new(ErrorKind::Unexpected, message).with_retryable(true)
    }

    fn place(&self) -> String {
        format!("the mirror at {}", self.host())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

/// Returns whether a response is from the server of `storage-mirror`, which sends the ETags of
/// origin.
fn preserves_etags(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_STATUS).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|member| {
        let name = member.split(';').next().unwrap_or_default().trim();
        name.trim_matches('"').eq_ignore_ascii_case(MIRROR_NAME)
    })
}

/// Returns whether a status shows a failure of the mirror.
fn is_failure(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// Returns whether a request with these options permits "not modified" as a response.
fn is_conditional(options: &OpenOptions) -> bool {
    options.if_none_match.is_some() || options.if_modified_since.is_some()
}

/// Returns range and conditions as headers. `If-None-Match` always contains a strong ETag. Servers
/// must compare it weakly (RFC 9110, section 13.1.2), but some compare the text.
fn conditions(options: &OpenOptions) -> Result<HeaderMap> {
    let mut headers = open_headers(options)?;
    if let Some(etag) = &options.if_none_match {
        headers.insert(IF_NONE_MATCH, header_value(&ETag::strong(etag.opaque())?.to_string())?);
    }
    Ok(headers)
}

/// Returns the URL of a directory below a base URL.
fn join(base: &Url, directory: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/{directory}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_mirror_of_this_project_is_recognised_by_its_name_in_cache_status() {
        assert!(preserves_etags(&headers(&[("cache-status", "anystorage; hit")])));
        assert!(preserves_etags(&headers(&[(
            "cache-status",
            "edge; fwd=miss, \"anystorage\"; fwd=stale; stored"
        )])));
        for other in ["edge; detail=anystorage", "anystorage2; hit", ""] {
            assert!(!preserves_etags(&headers(&[("cache-status", other)])), "{other}");
        }
        assert!(!preserves_etags(&HeaderMap::new()));
    }
}
