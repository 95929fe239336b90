//! [`Delivery`]: the answer to a GET or HEAD of an object.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{
    AGE, CACHE_CONTROL, DATE, HeaderMap, HeaderName, HeaderValue, LOCATION, VARY, VIA,
};
use http::{Method, Response, StatusCode};
use storage_core::{Error, ErrorKind, Key, Link, Result};
use storage_serve::{Body, Overrides, Source, failure_response, plain, respond};

use super::flight::log_failure;
use super::mirror::{Found, Handling};
use super::record::Verdict;
use super::site::{Site, not_found};
use super::version::{Held, Passing, Version};

/// The greatest `Age` (RFC 9111, section 1.2.2).
const MAX_AGE: u64 = 1 << 31;
/// The last second of the year 9999, since 1970.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);
/// How long the link works that a miss is redirected to, where origin signs, and the client's own
/// link does not end before.
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
    /// When the signed link ends because of which it is answered. `None` if everybody may read.
    pub(super) link_ends: Option<SystemTime>,
    /// Whether whoever asks has the token: then headers tell the metadata as it is stored, and
    /// nothing else.
    pub(super) is_program: bool,
}

impl Delivery<'_> {
    pub(super) async fn answer(self) -> (Response<Body>, Verdict) {
        let method = self.method;
        let (mut response, verdict) = match self.try_answer().await {
            Ok(answer) => answer,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.site.mirror.counters.missing.add(1);
                (missing(true), Verdict::Missing)
            }
            Err(error) => {
                let response = failed(&error, false);
                log_failure(self.key, &error, Some(response.status().as_u16()));
                (response, Verdict::Failed)
            }
        };
        response.headers_mut().append(VIA, VIA_US);
        (respond::finish(method, response), verdict)
    }

    async fn try_answer(&self) -> Result<(Response<Body>, Verdict)> {
        let mirror = &self.site.mirror;
        if !mirror.has(self.key) && !mirror.missing.contains(self.key) {
            // Whether it is there origin can tell without sending it.
            if *self.method == Method::HEAD {
                return Ok((self.pass("head").await?, Verdict::Passed));
            }
            if let Some(redirection) = self.redirected().await? {
                return Ok((redirection, Verdict::Miss));
            }
        }
        match mirror.find(self.key).await {
            Found::Version(version, handling) => {
                Ok((self.deliver(version, handling).await?, handling.into()))
            }
            Found::Pass(why) => Ok((self.pass(why).await?, Verdict::Passed)),
            Found::Missing { asked } => {
                mirror.counters.missing.add(1);
                Ok((missing(asked), Verdict::Missing))
            }
            // The fetch that failed has been logged, once for all who waited for it.
            Found::Failed { error, had_stale } => {
                mirror.counters.failed.add(1);
                Ok((failed(&error, had_stale), Verdict::Failed))
            }
        }
    }

    async fn deliver(&self, version: Version, handling: Handling) -> Result<Response<Body>> {
        let (age, date) = (version.age().as_secs(), version.date());
        let held = Held { mirror: self.site.mirror.clone(), version };
        let mut response = self.read(&held, status(handling)).await?;
        set_age(&mut response, age);
        if let Some(date) = date {
            set_date(&mut response, date);
        }
        self.site.mirror.count(handling, response.body().len().unwrap_or(0));
        Ok(response)
    }

    /// The answer, and for whom it is.
    async fn read<S: Source>(&self, source: &S, status: HeaderValue) -> Result<Response<Body>> {
        let reader = if self.is_program { &self.site.exact_reader } else { &self.site.reader };
        let overrides = self.overrides.clone();
        let mut response =
            reader.answer(source, self.method, self.headers, self.key, overrides).await?;
        let headers = response.headers_mut();
        headers.insert(CACHE_STATUS, status);
        if self.is_program {
            // No cache on the way may hand it to a browser.
            headers.append(VARY, HeaderValue::from_static("authorization"));
        } else if self.link_ends.is_some() {
            respond::make_private(headers);
        }
        Ok(response)
    }

    /// Straight from origin.
    async fn pass(&self, why: &'static str) -> Result<Response<Body>> {
        self.site.mirror.counters.passed.add(1);
        let detail = format!("anystorage; fwd=miss; detail=\"{why}\"");
        let status = HeaderValue::from_str(&detail)
            .unwrap_or(HeaderValue::from_static("anystorage; fwd=miss"));
        let origin = Passing::new(self.site.origin());
        let mut response = self.read(&origin, status).await?;
        // An origin that is a cache itself states how old its copy is; the next cache has to know
        // (RFC 9111, section 5.1).
        if let Some(of_origin) = origin.response() {
            set_date(&mut response, of_origin.date);
            // Without an age worth a header there is none: that of a response that came straight
            // from its source.
            if of_origin.age.as_secs() > 0 {
                set_age(&mut response, of_origin.age.as_secs());
            }
        }
        Ok(response)
    }

    /// A redirection to origin's own URL, while the object is fetched. `None` if there is to be
    /// none, or if origin has no link that says as much as the one that the client came with.
    async fn redirected(&self) -> Result<Option<Response<Body>>> {
        if !self.site.redirect_on_miss {
            return Ok(None);
        }
        let Some(link) = self.link_at_origin().await? else { return Ok(None) };
        let mirror = &self.site.mirror;
        mirror.is_ready(self.key).await;
        mirror.counters.misses.add(1);
        let location = HeaderValue::from_str(link.as_str())
            .map_err(|cause| Error::unexpected("origin's link is no header", cause))?;
        let mut response = plain(StatusCode::FOUND, "");
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
            .headers_mut()
            .insert(CACHE_STATUS, HeaderValue::from_static("anystorage; fwd=uri-miss"));
        Ok(Some(response))
    }

    /// Origin's own URL of the object: a signed one with the type and the disposition of the
    /// client's link, that ends with it; or, for an object that everybody may read here, the public
    /// one if origin does not sign.
    async fn link_at_origin(&self) -> Result<Option<Link>> {
        let Some(lifetime) = redirect_lifetime(self.link_ends, SystemTime::now()) else {
            return Ok(None);
        };
        let mut signed = self.site.origin().url(self.key).expires_in(lifetime);
        if let Some(disposition) = &self.overrides.content_disposition {
            signed = signed.response_content_disposition(disposition);
        }
        if let Some(content_type) = &self.overrides.content_type {
            signed = signed.response_content_type(content_type);
        }
        let link = match signed.await {
            // A public link would work for everybody and for ever.
            Err(error) if error.kind() == ErrorKind::Unsupported && self.link_ends.is_none() => {
                self.site.origin().url(self.key).await
            }
            link => link,
        };
        match link {
            // A relative link of origin's would lead back to this mirror.
            Ok(link) => Ok((!link.is_relative()).then_some(link)),
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// How long a link to origin may work in place of one that ends at this time; `None` if it is over.
/// Signed links count whole seconds.
fn redirect_lifetime(link_ends: Option<SystemTime>, now: SystemTime) -> Option<Duration> {
    let left = match link_ends {
        Some(end) => Duration::from_secs(end.duration_since(now).unwrap_or_default().as_secs()),
        None => REDIRECT_LIFETIME,
    };
    (!left.is_zero()).then(|| left.min(REDIRECT_LIFETIME))
}

fn set_age(response: &mut Response<Body>, age: u64) {
    response.headers_mut().insert(AGE, HeaderValue::from(age.min(MAX_AGE)));
}

/// Sends the `Date` of the response that the object came with: the next cache, and the client's
/// own, counts `Expires` from it (RFC 9111, section 4.2.1).
fn set_date(response: &mut Response<Body>, date: SystemTime) {
    let date = httpdate::fmt_http_date(date.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST_SECOND));
    if let Ok(date) = HeaderValue::from_str(&date) {
        response.headers_mut().insert(DATE, date);
    }
}

/// There is no such object. Whether origin was asked for this request.
fn missing(asked: bool) -> Response<Body> {
    let mut response = not_found();
    let status = if asked {
        "anystorage; fwd=uri-miss; fwd-status=404"
    } else {
        "anystorage; hit; detail=missing"
    };
    response.headers_mut().insert(CACHE_STATUS, HeaderValue::from_static(status));
    response
}

/// What a client gets when origin fails: that it was origin (502, 504), not this server. With a
/// stale answer that must not be given it is 504 (RFC 9111, section 5.2.2.2). Logs nothing: the
/// code that met the failure does.
fn failed(error: &Error, had_stale: bool) -> Response<Body> {
    let mut response = failure_response(error);
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

/// RFC 9211.
fn status(handling: Handling) -> HeaderValue {
    let fixed = match handling {
        Handling::Hit { ttl } => {
            let text = format!("anystorage; hit; ttl={}", ttl.as_secs());
            return HeaderValue::from_str(&text)
                .unwrap_or(HeaderValue::from_static("anystorage; hit"));
        }
        Handling::StaleWhileRevalidate => "anystorage; hit; fwd=stale; detail=revalidating",
        Handling::StaleIfError => "anystorage; hit; fwd=stale; detail=\"origin failed\"",
        Handling::Revalidated => "anystorage; hit; fwd=stale; fwd-status=304",
        Handling::Replaced { collapsed: false } => "anystorage; fwd=stale; fwd-status=200; stored",
        Handling::Replaced { collapsed: true } => {
            "anystorage; fwd=stale; fwd-status=200; stored; collapsed"
        }
        Handling::Miss { collapsed: false } => "anystorage; fwd=uri-miss; fwd-status=200; stored",
        Handling::Miss { collapsed: true } => {
            "anystorage; fwd=uri-miss; fwd-status=200; stored; collapsed"
        }
    };
    HeaderValue::from_static(fixed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_origin_ends_with_the_link_that_it_stands_in_for() {
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
