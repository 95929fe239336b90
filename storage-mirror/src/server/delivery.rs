//! [`Delivery`]: responses to GET and HEAD of an object.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    AGE, CACHE_CONTROL, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, VARY, VIA,
};
use http::{Method, Response, StatusCode};
use storage_core::{Error, ErrorKind, Key, Link, Result};
use storage_serve::internal::{
    ExpectedSource, HeaderOverrides, Responder, Source, error_response_unlogged, responses,
    text_response,
};
use storage_serve::website::Expected;
use storage_serve::{ActiveContent, ResponseBody};

use super::config::MirrorConfig;
use super::record::Outcome;
use super::records::Records;
use super::responses::not_found;
use super::sources::{CachedSource, OriginSource};
use crate::engine::{CacheStatus, Engine, Lookup, Version, log_failure};

/// The maximum `Age`, in seconds (RFC 9111, section 1.2.2).
const MAX_AGE: u64 = 1 << 31;
/// The last second of the year 9999, counted from 1970. HTTP dates have four digits for the year.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);
/// Upper bound for the lifetime of a signed link to origin that a miss is redirected to.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(15 * 60);

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const VIA_MIRROR: HeaderValue = HeaderValue::from_static("1.1 anystorage");

/// Responds to requests for objects.
#[derive(Debug)]
pub(super) struct Delivery {
    engine: Engine,
    records: Arc<Records>,
    reader: Responder,
    /// For clients with the admin token: responds with the metadata as it is stored.
    exact_reader: Responder,
    redirect_on_miss: bool,
}

/// An admitted request for an object.
pub(super) struct ObjectRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) key: &'a Key,
    /// For a form of a page: how its object is recognised. Any other object counts as missing.
    pub(super) expected: Option<Expected>,
    pub(super) overrides: HeaderOverrides,
    /// When the signed link expires that admitted the request. `None` if all clients may read.
    pub(super) link_ends: Option<SystemTime>,
    /// Whether the request contains the admin token. Then the headers contain the metadata as it is
    /// stored.
    pub(super) has_token: bool,
}

impl Delivery {
    pub(super) fn new(config: &MirrorConfig, engine: &Engine, records: &Arc<Records>) -> Self {
        let mut exact_reader = Responder::default();
        exact_reader.headers.active_content = ActiveContent::Inline;
        exact_reader.headers.user_metadata = true;
        let mut reader = Responder::default();
        if config.website {
            // The owner of the website has written its scripts and documents.
            reader.headers.active_content = ActiveContent::Inline;
        }
        Self {
            engine: engine.clone(),
            records: Arc::clone(records),
            reader,
            exact_reader,
            redirect_on_miss: config.redirect_on_miss,
        }
    }

    pub(super) async fn respond(
        &self,
        request: ObjectRequest<'_>,
    ) -> (Response<ResponseBody>, Outcome) {
        let (mut response, outcome) = match self.try_respond(&request).await {
            Ok(response) => response,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.records.requests.missing.add(1);
                (missing(true), Outcome::Missing)
            }
            Err(error) => {
                let response = failed(&error, false);
                log_failure(request.key, &error, Some(response.status().as_u16()));
                (response, Outcome::Failed)
            }
        };
        response.headers_mut().append(VIA, VIA_MIRROR);
        (responses::finish(request.method, response), outcome)
    }

    async fn try_respond(
        &self,
        request: &ObjectRequest<'_>,
    ) -> Result<(Response<ResponseBody>, Outcome)> {
        let (engine, key) = (&self.engine, request.key);
        if !engine.contains(key) && !engine.is_known_missing(key) {
            // Origin can respond to HEAD without sending the object.
            if *request.method == Method::HEAD {
                return Ok((self.pass(request, "head").await?, Outcome::Passed));
            }
            if let Some(redirection) = self.redirect(request).await? {
                return Ok((redirection, Outcome::Miss));
            }
        }
        match engine.find(key).await {
            Lookup::Version(version, status) => {
                Ok((self.deliver(request, version, status).await?, status.into()))
            }
            Lookup::Pass(reason) => Ok((self.pass(request, reason).await?, Outcome::Passed)),
            Lookup::Missing { was_forwarded } => {
                self.records.requests.missing.add(1);
                Ok((missing(was_forwarded), Outcome::Missing))
            }
            // The fetch logged its failure, once for all requests that waited for it.
            Lookup::Failed { error, had_stale } => {
                self.records.requests.failed.add(1);
                Ok((failed(&error, had_stale), Outcome::Failed))
            }
        }
    }

    async fn deliver(
        &self,
        request: &ObjectRequest<'_>,
        version: Version,
        status: CacheStatus,
    ) -> Result<Response<ResponseBody>> {
        let (age, date) = (version.age().as_secs(), version.date());
        let source = CachedSource { engine: self.engine.clone(), version };
        let mut response = self.read(request, &source, status_header(status)).await?;
        set_age(&mut response, age);
        if let Some(date) = date {
            set_date(&mut response, date);
        }
        self.records.requests.count(status, response.body().len().unwrap_or(0));
        Ok(response)
    }

    /// Reads an object from a source, and sets the headers that depend on who may read the
    /// response.
    async fn read<S: Source>(
        &self,
        request: &ObjectRequest<'_>,
        source: &S,
        status: HeaderValue,
    ) -> Result<Response<ResponseBody>> {
        let reader = if request.has_token { &self.exact_reader } else { &self.reader };
        let overrides = request.overrides.clone();
        let source = &ExpectedSource::new(source.clone(), request.expected.clone());
        let mut response =
            reader.respond(source, request.method, request.headers, request.key, overrides).await?;
        let headers = response.headers_mut();
        headers.insert(CACHE_STATUS, status);
        if request.has_token {
            // A shared cache must not send this response to a client without the token.
            headers.append(VARY, HeaderValue::from_static("authorization"));
        } else if request.link_ends.is_some() {
            responses::make_private(headers);
        }
        Ok(response)
    }

    /// Responds with the object of origin without caching it.
    async fn pass(
        &self,
        request: &ObjectRequest<'_>,
        reason: &'static str,
    ) -> Result<Response<ResponseBody>> {
        self.records.requests.passed.add(1);
        let detail = format!("anystorage; fwd=miss; detail=\"{reason}\"");
        let status = HeaderValue::from_str(&detail)
            .unwrap_or(HeaderValue::from_static("anystorage; fwd=miss"));
        let origin = OriginSource::new(self.engine.origin());
        let mut response = self.read(request, &origin, status).await?;
        // An origin that is a cache itself states how old its copy is, and the next cache needs
        // that (RFC 9111, section 5.1).
        if let Some(meta) = origin.response() {
            set_date(&mut response, meta.date);
            // `Age` is left out if the response did not come from a cache.
            if meta.age.as_secs() > 0 {
                set_age(&mut response, meta.age.as_secs());
            }
        }
        Ok(response)
    }

    /// Redirects to origin's own URL while the object is fetched. Returns `None` if that is not
    /// configured, or if origin has no link that grants as much as the client's.
    async fn redirect(
        &self,
        request: &ObjectRequest<'_>,
    ) -> Result<Option<Response<ResponseBody>>> {
        if !self.redirect_on_miss {
            return Ok(None);
        }
        let Some(link) = self.link_at_origin(request).await? else { return Ok(None) };
        self.engine.is_ready(request.key).await;
        self.records.requests.misses.add(1);
        let location = HeaderValue::from_str(link.as_str())
            .map_err(|cause| Error::unexpected("origin's link is not a valid header", cause))?;
        let mut response = text_response(StatusCode::FOUND, "");
        let headers = response.headers_mut();
        headers.insert(LOCATION, location);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(CACHE_STATUS, HeaderValue::from_static("anystorage; fwd=uri-miss"));
        Ok(Some(response))
    }

    /// Returns origin's own URL of the object: a signed URL with the content type and disposition
    /// of the client's link, which does not outlive that link. If origin does not sign and all
    /// clients may read the object here, returns the public URL.
    async fn link_at_origin(&self, request: &ObjectRequest<'_>) -> Result<Option<Link>> {
        let Some(lifetime) = redirect_lifetime(request.link_ends, SystemTime::now()) else {
            return Ok(None);
        };
        let origin = self.engine.origin();
        let mut signed = origin.url(request.key).expires_in(lifetime);
        if let Some(disposition) = &request.overrides.content_disposition {
            signed = signed.response_content_disposition(disposition);
        }
        if let Some(content_type) = &request.overrides.content_type {
            signed = signed.response_content_type(content_type);
        }
        let link = match signed.await {
            // A client with a signed link must not receive a public URL, which does not expire.
            Err(error) if error.kind() == ErrorKind::Unsupported && request.link_ends.is_none() => {
                origin.url(request.key).await
            }
            link => link,
        };
        match link {
            // A client would resolve a relative URL against this mirror.
            Ok(link) => Ok((!link.is_relative()).then_some(link)),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the lifetime of a link to origin that replaces a link with this end, or `None` if that
/// has expired. Rounds down, because signed links expire at whole seconds.
fn redirect_lifetime(link_ends: Option<SystemTime>, now: SystemTime) -> Option<Duration> {
    let left = match link_ends {
        Some(end) => Duration::from_secs(end.duration_since(now).unwrap_or_default().as_secs()),
        None => REDIRECT_LIFETIME,
    };
    (!left.is_zero()).then(|| left.min(REDIRECT_LIFETIME))
}

fn set_age(response: &mut Response<ResponseBody>, age: u64) {
    response.headers_mut().insert(AGE, HeaderValue::from(age.min(MAX_AGE)));
}

/// Sets the `Date` of the response that the object came with. The next cache, and the client's own,
/// count `Expires` from it (RFC 9111, section 4.2.1).
fn set_date(response: &mut Response<ResponseBody>, date: SystemTime) {
    let date = httpdate::fmt_http_date(date.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST_SECOND));
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, date);
    }
}

/// Returns the response for a missing object. `was_forwarded` states whether this request was sent
/// to origin.
fn missing(was_forwarded: bool) -> Response<ResponseBody> {
    let mut response = not_found();
    let status = if was_forwarded {
        "anystorage; fwd=uri-miss; fwd-status=404"
    } else {
        "anystorage; hit; detail=missing"
    };
    response.headers_mut().insert(CACHE_STATUS, HeaderValue::from_static(status));
    response
}

/// Returns the response if origin fails: 502 or 504 instead of 500. The status is 504 if the cache
/// has a stale version that must not be served (RFC 9111, section 5.2.2.2). The caller logs the
/// failure.
fn failed(error: &Error, had_stale: bool) -> Response<ResponseBody> {
    let mut response = error_response_unlogged(error);
    if had_stale {
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    } else if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    response.headers_mut().insert(
        CACHE_STATUS,
        HeaderValue::from_static("anystorage; fwd=miss; detail=\"origin failed\""),
    );
    response
}

/// Returns the value of `Cache-Status` (RFC 9211).
fn status_header(status: CacheStatus) -> HeaderValue {
    let fixed = match status {
        CacheStatus::Hit { ttl } => {
            let text = format!("anystorage; hit; ttl={}", ttl.as_secs());
            return HeaderValue::from_str(&text)
                .unwrap_or(HeaderValue::from_static("anystorage; hit"));
        }
        CacheStatus::StaleWhileRevalidate => "anystorage; hit; fwd=stale; detail=revalidating",
        CacheStatus::StaleIfError => "anystorage; hit; fwd=stale; detail=\"origin failed\"",
        CacheStatus::Revalidated => "anystorage; hit; fwd=stale; fwd-status=304",
        CacheStatus::Replaced { collapsed: false } => {
            "anystorage; fwd=stale; fwd-status=200; stored"
        }
        CacheStatus::Replaced { collapsed: true } => {
            "anystorage; fwd=stale; fwd-status=200; stored; collapsed"
        }
        CacheStatus::Miss { collapsed: false } => {
            "anystorage; fwd=uri-miss; fwd-status=200; stored"
        }
        CacheStatus::Miss { collapsed: true } => {
            "anystorage; fwd=uri-miss; fwd-status=200; stored; collapsed"
        }
    };
    HeaderValue::from_static(fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_origin_expires_with_the_link_that_it_replaces() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let left = |seconds| redirect_lifetime(Some(now + Duration::from_secs(seconds)), now);
        assert_eq!(left(60), Some(Duration::from_secs(60)));
        assert_eq!(left(24 * 60 * 60), Some(REDIRECT_LIFETIME));
        assert_eq!(left(0), None);
        assert_eq!(redirect_lifetime(Some(now - Duration::from_secs(1)), now), None);
        assert_eq!(
            redirect_lifetime(Some(now + Duration::from_millis(1_900)), now),
            Some(Duration::from_secs(1))
        );
        assert_eq!(redirect_lifetime(None, now), Some(REDIRECT_LIFETIME));
    }
}
