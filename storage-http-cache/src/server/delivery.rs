//! [`Delivery`]: the answer to a GET or HEAD of an object.

use std::time::{Duration, SystemTime};

use http::header::{AGE, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, LOCATION, VARY, VIA};
use http::{Method, Response, StatusCode};
use storage_core::{Error, ErrorKind, Key, Result};
use storage_http::serve::{Body, Overrides, Source, failure, plain, respond};

use super::mirror::{Found, Handling};
use super::record::Verdict;
use super::site::{Site, not_found};
use super::version::{Held, Version};

/// How long the link works that a miss is redirected to, where origin signs.
const REDIRECT_LIFETIME: Duration = Duration::from_secs(15 * 60);

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const VIA_US: HeaderValue = HeaderValue::from_static("1.1 anystorage");

/// A request for an object, which may be answered.
pub(super) struct Delivery<'a> {
    pub(super) site: &'a Site,
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) key: &'a Key,
    pub(super) overrides: Overrides,
    /// Whether it is answered because of a signed link.
    pub(super) by_link: bool,
    /// Whether whoever asks has the token: then headers tell the metadata as it is stored, and nothing else.
    pub(super) is_program: bool,
}

impl Delivery<'_> {
    pub(super) async fn answer(self) -> (Response<Body>, Verdict) {
        let method = self.method;
        let (mut response, verdict) = match self.try_answer().await {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::NotFound => (failed(method, &error, false), Verdict::Missing),
            Err(error) => (failed(method, &error, false), Verdict::Failed),
        };
        response.headers_mut().append(VIA, VIA_US);
        (respond::finish(method, response), verdict)
    }

    async fn try_answer(&self) -> Result<(Response<Body>, Verdict)> {
        let mirror = &self.site.mirror;
        // Whether it is there origin can tell without sending it.
        if *self.method == Method::HEAD && !mirror.has(self.key) {
            return Ok((self.pass("head").await?, Verdict::Passed));
        }
        if self.site.redirect_on_miss && !mirror.has(self.key) && !mirror.missing.contains(self.key) {
            mirror.is_ready(self.key);
            return Ok((self.redirected().await?, Verdict::Miss));
        }
        match mirror.find(self.key).await {
            Found::Version(version, handling) => Ok((self.deliver(version, handling).await?, handling.into())),
            Found::Pass(why) => Ok((self.pass(why).await?, Verdict::Passed)),
            Found::Missing { asked } => {
                mirror.counters.missing.add(1);
                let mut response = not_found();
                let status =
                    if asked { "anystorage; fwd=uri-miss; fwd-status=404" } else { "anystorage; hit; detail=missing" };
                response.headers_mut().insert(CACHE_STATUS, HeaderValue::from_static(status));
                Ok((response, Verdict::Missing))
            }
            Found::Failed { error, had_stale } => {
                mirror.counters.failed.add(1);
                Ok((failed(self.method, &error, had_stale), Verdict::Failed))
            }
        }
    }

    async fn deliver(&self, version: Version, handling: Handling) -> Result<Response<Body>> {
        let age = match &version {
            Version::Kept(_, meta) => SystemTime::now().duration_since(meta.validated_at).unwrap_or_default(),
            Version::Arriving(_) => Duration::ZERO,
        };
        let held = Held { mirror: self.site.mirror.clone(), version };
        let mut response = self.read(&held, status(handling)).await?;
        response.headers_mut().insert(AGE, HeaderValue::from(age.as_secs()));
        self.site.mirror.count(handling, response.body().len().unwrap_or(0));
        Ok(response)
    }

    /// The answer, and for whom it is.
    async fn read<S: Source>(&self, source: &S, status: HeaderValue) -> Result<Response<Body>> {
        let reader = if self.is_program { &self.site.exact_reader } else { &self.site.reader };
        let overrides = self.overrides.clone();
        let mut response = reader.answer(source, self.method, self.headers, self.key, overrides).await?;
        let headers = response.headers_mut();
        headers.insert(CACHE_STATUS, status);
        if self.is_program {
            // No cache on the way may hand it to a browser.
            headers.append(VARY, HeaderValue::from_static("authorization"));
        } else if self.by_link {
            respond::make_private(headers);
        }
        Ok(response)
    }

    /// Straight from origin.
    async fn pass(&self, why: &'static str) -> Result<Response<Body>> {
        self.site.mirror.counters.passed.add(1);
        let detail = format!("anystorage; fwd=miss; detail=\"{why}\"");
        let status = HeaderValue::from_str(&detail).unwrap_or(HeaderValue::from_static("anystorage; fwd=miss"));
        self.read(self.site.origin(), status).await
    }

    /// To origin's own URL of it: a signed one, or the public one if it does not sign.
    async fn redirected(&self) -> Result<Response<Body>> {
        self.site.mirror.counters.misses.add(1);
        let signed = self.site.origin().url(self.key).expires_in(REDIRECT_LIFETIME).await;
        let link = match signed {
            Err(error) if error.kind() == ErrorKind::Unsupported => self.site.origin().url(self.key).await?,
            link => link?,
        };
        let location = HeaderValue::from_str(link.as_str())
            .map_err(|cause| Error::unexpected("origin's link is no header", cause))?;
        let mut response = plain(StatusCode::FOUND, "");
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response.headers_mut().insert(CACHE_STATUS, HeaderValue::from_static("anystorage; fwd=uri-miss"));
        Ok(response)
    }
}

/// What a client is told when origin fails: that it was origin (502, 504), not this server. With a stale answer that must
/// not be given it is 504 (RFC 9111, section 5.2.2.2).
fn failed(method: &Method, error: &Error, had_stale: bool) -> Response<Body> {
    let mut response = failure(method, error);
    if had_stale {
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
    } else if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    response
        .headers_mut()
        .insert(CACHE_STATUS, HeaderValue::from_static("anystorage; fwd=miss; detail=\"origin failed\""));
    response
}

/// RFC 9211.
fn status(handling: Handling) -> HeaderValue {
    let fixed = match handling {
        Handling::Hit { ttl } => {
            let text = format!("anystorage; hit; ttl={}", ttl.as_secs());
            return HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("anystorage; hit"));
        }
        Handling::StaleWhileRevalidate => "anystorage; hit; fwd=stale; detail=revalidating",
        Handling::StaleIfError => "anystorage; hit; fwd=stale; detail=\"origin failed\"",
        Handling::Revalidated => "anystorage; hit; fwd=stale; fwd-status=304",
        Handling::Replaced { collapsed: false } => "anystorage; fwd=stale; fwd-status=200; stored",
        Handling::Replaced { collapsed: true } => "anystorage; fwd=stale; fwd-status=200; stored; collapsed",
        Handling::Miss { collapsed: false } => "anystorage; fwd=uri-miss; fwd-status=200; stored",
        Handling::Miss { collapsed: true } => "anystorage; fwd=uri-miss; fwd-status=200; stored; collapsed",
    };
    HeaderValue::from_static(fixed)
}
