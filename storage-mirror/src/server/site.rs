//! [`Site`]: the routes of a mirror, and the access to them.
//!
//! | | |
//! |---|---|
//! | `GET`, `HEAD` `/<key>` and `/download/<key>` | the object |
//! | `GET /verify/<key>` | whether the object is cached; fetches it if not |
//! | `POST /purge/<key>`, `POST /purge?prefix=` | removes objects from the cache, with the token |
//! | `POST /prefetch/<key>` | fetches the object, with the token |
//! | `GET /prefetch?prefix=` | the keys of origin to prefetch, with the token |
//! | `GET /metrics`, `GET /status` | metrics and state, with the token |
//! | `GET /analytics?from=&to=&format=` | downloads and bytes of each key, with the token |
//! | `GET /healthz` | whether the server responds |
//!
//! A key whose first segment is the name of a route is served below `/download/` only.
//!
//! A mirror of a website has its paths in place of all public routes but `/healthz`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use http::header::HeaderMap;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use storage_core::signed_url::{Grant, SigningKey};
use storage_core::{Error, ErrorKind, Key, Result, UrlMethod};
use storage_serve::internal::{
    CorsExchange, HeaderOverrides, READING, key_from_path, method_not_allowed, reject_malformed,
    responses, text_response,
};
use storage_serve::website::Paths;
use storage_serve::{Cors, ResponseBody, error_response};

use super::admin::Admin;
use super::config::MirrorConfig;
use super::delivery::{Delivery, ObjectRequest};
use super::forwarded::client_address;
use super::records::{PendingRecord, RecordedBody, Records};
use super::responses::{json, not_found};
use crate::engine::Engine;

/// The listener that received a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listener {
    Public,
    Admin,
}

/// Responds to the requests of a mirror.
pub(crate) struct Site {
    pub(super) engine: Engine,
    pub(super) records: Arc<Records>,
    pub(super) website: Option<Arc<dyn Paths>>,
    pub(super) delivery: Delivery,
    allow: Option<Vec<String>>,
    trusted_proxies: Vec<IpAddr>,
    max_connections_per_client: usize,
    pub(super) min_rate: u64,
    signing_key: Option<SigningKey>,
    cors: Option<Cors>,
    admin: Option<Admin>,
    /// Whether the public listener serves the admin routes too.
    admin_is_public: bool,
}

/// The route of a request.
#[derive(Debug, PartialEq, Eq)]
enum Route<'a> {
    Object(&'a str),
    Verify(&'a str),
    Purge(&'a str),
    Prefetch(&'a str),
    Metrics,
    Status,
    Analytics,
    Health,
    /// The first segment is the name of a route, but the path is not a valid one.
    Unknown,
}

impl<'a> Route<'a> {
    /// Parses a path. A key keeps its leading `/`, as [`key_from_path`] expects it.
    fn parse(path: &'a str) -> Self {
        let after = path.strip_prefix('/').unwrap_or(path);
        let (first, rest) = match after.find('/') {
            Some(at) => (&after[..at], Some(&after[at..])),
            None => (after, None),
        };
        match (first, rest) {
            ("download", Some(key)) => Self::Object(key),
            ("verify", Some(key)) => Self::Verify(key),
            ("purge", key) => Self::Purge(key.unwrap_or_default()),
            ("prefetch", key) => Self::Prefetch(key.unwrap_or_default()),
            ("metrics", None) => Self::Metrics,
            ("status", None) => Self::Status,
            ("analytics", None) => Self::Analytics,
            ("healthz", None) => Self::Health,
            ("download" | "verify" | "metrics" | "status" | "analytics" | "healthz", _) => {
                Self::Unknown
            }
            _ => Self::Object(path),
        }
    }
}

impl Site {
    pub(crate) fn new(
        config: &MirrorConfig,
        engine: Engine,
        records: Arc<Records>,
        website: Option<Arc<dyn Paths>>,
    ) -> Result<Self> {
        Ok(Self {
            website,
            delivery: Delivery::new(config, &engine, &records),
            allow: config.allow.clone(),
            trusted_proxies: config.trusted_proxies.iter().map(IpAddr::to_canonical).collect(),
            max_connections_per_client: config.max_connections_per_client(),
            min_rate: config.min_rate,
            signing_key: config.signing_key()?,
            cors: config.cors()?,
            admin: Admin::new(config, &engine, &records)?,
            admin_is_public: config.admin_listen.is_none(),
            engine,
            records,
        })
    }

    /// Returns the maximum number of connections of an address, or `None` for a trusted proxy,
    /// which has no limit.
    pub(super) fn connection_limit(&self, peer: IpAddr) -> Option<usize> {
        (!self.trusted_proxies.contains(&peer.to_canonical()))
            .then_some(self.max_connections_per_client)
    }

    /// Responds to a request. The request is recorded when the body of the response has ended.
    pub(crate) async fn respond(
        &self,
        peer: SocketAddr,
        listener: Listener,
        head: &Parts,
    ) -> Response<RecordedBody> {
        let mut record =
            self.records.begin(client_address(peer, &head.headers, &self.trusted_proxies), head);
        let cors = CorsExchange::new(self.cors(listener, head), head, &READING);
        // A mirror reads no bodies.
        let response = match reject_malformed(head, false) {
            Some(refusal) => responses::finish(&head.method, refusal),
            None => match cors.preflight(head) {
                Some(preflight) => preflight,
                None => self.route(listener, head, &mut record).await,
            },
        };
        record.watch(cors.apply(response))
    }

    /// Returns which pages of other origins may send this request. Pages of other origins have no
    /// access to the admin routes.
    fn cors(&self, listener: Listener, head: &Parts) -> Option<&Cors> {
        let is_public = listener == Listener::Public
            && (self.website.is_some()
                || matches!(Route::parse(head.uri.path()), Route::Object(_) | Route::Verify(_)));
        self.cors.as_ref().filter(|_| is_public)
    }

    async fn route(
        &self,
        listener: Listener,
        head: &Parts,
        record: &mut PendingRecord,
    ) -> Response<ResponseBody> {
        let (method, uri, headers) = (&head.method, &head.uri, &head.headers);
        let route = Route::parse(uri.path());
        let admin =
            self.admin.as_ref().filter(|_| listener == Listener::Admin || self.admin_is_public);
        let query = uri.query().unwrap_or_default();
        if let Some(website) = &self.website
            && listener == Listener::Public
            && route != Route::Health
        {
            return self.page(&**website, head, record).await;
        }
        match (route, admin) {
            (Route::Health, _) => health(method),
            (Route::Object(path), _) if listener == Listener::Public => {
                self.object(method, path, query, headers, record).await
            }
            (Route::Verify(path), _) if listener == Listener::Public => {
                self.verify(method, path, query).await
            }
            (Route::Purge(path), Some(admin)) => admin.purge(method, headers, path, query).await,
            (Route::Prefetch(path), Some(admin)) => {
                admin.prefetch(method, headers, path, query).await
            }
            (Route::Metrics, Some(admin)) => admin.metrics(method, headers),
            (Route::Status, Some(admin)) => admin.status(method, headers, query).await,
            (Route::Analytics, Some(admin)) => admin.analytics(method, headers, query).await,
            _ => not_found(),
        }
    }

    async fn object(
        &self,
        method: &Method,
        path: &str,
        query: &str,
        headers: &HeaderMap,
        record: &mut PendingRecord,
    ) -> Response<ResponseBody> {
        let wanted = match *method {
            Method::GET => UrlMethod::Get,
            Method::HEAD => UrlMethod::Head,
            _ => return method_not_allowed("GET, HEAD"),
        };
        let (key, grant) = match self.admit(wanted, path, query) {
            Ok(admitted) => admitted,
            Err(error) => return refusal(method, &error),
        };
        // Every verified link expires. If one did not, it would count as expired.
        let link_ends =
            self.signing_key.is_some().then(|| grant.expires_at.unwrap_or(SystemTime::UNIX_EPOCH));
        let overrides = HeaderOverrides::from(grant);
        let has_token = self.admin.as_ref().is_some_and(|admin| admin.has_bearer_token(headers));
        let expected = None;
        let request =
            ObjectRequest { method, headers, key: &key, expected, overrides, link_ends, has_token };
        let (response, outcome) = self.delivery.respond(request).await;
        record.set_object(key, outcome);
        response
    }

    /// Responds exactly as the original protocol requires.
    async fn verify(&self, method: &Method, path: &str, query: &str) -> Response<ResponseBody> {
        if *method != Method::GET && *method != Method::HEAD {
            return method_not_allowed("GET, HEAD");
        }
        match self.admit(UrlMethod::Get, path, query) {
            Ok((key, _)) => {
                let available = self.engine.is_ready(&key).await;
                verify_response(StatusCode::OK, available, key.as_str(), None)
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => refusal(method, &error),
            Err(_) => verify_response(
                StatusCode::BAD_REQUEST,
                false,
                path,
                Some("There is no such file."),
            ),
        }
    }

    /// Returns the key and the grant of the link if the request may read the object.
    ///
    /// # Errors
    /// Fails with `NotFound` if `allow` does not include the key, and with `PermissionDenied` if a
    /// signing key is set and the request has no valid link for the key.
    fn admit(&self, method: UrlMethod, path: &str, query: &str) -> Result<(Key, Grant)> {
        let key = key_from_path(path)?;
        let is_allowed =
            |prefixes: &Vec<String>| prefixes.iter().any(|prefix| key.as_str().starts_with(prefix));
        if !self.allow.as_ref().is_none_or(is_allowed) {
            return Err(Error::not_found());
        }
        let grant = match &self.signing_key {
            Some(signing_key) => signing_key.verify(method, &key, query, SystemTime::now())?,
            None => Grant::default(),
        };
        Ok((key, grant))
    }
}

fn refusal(method: &Method, error: &Error) -> Response<ResponseBody> {
    let response = match error.kind() {
        ErrorKind::PermissionDenied => text_response(
            StatusCode::FORBIDDEN,
            "This request needs a signed link that has not expired.\n",
        ),
        _ => error_response(method, error),
    };
    responses::finish(method, response)
}

fn health(method: &Method) -> Response<ResponseBody> {
    if *method != Method::GET && *method != Method::HEAD {
        return method_not_allowed("GET, HEAD");
    }
    responses::finish(method, text_response(StatusCode::OK, "ok\n"))
}

fn verify_response(
    status: StatusCode,
    available: bool,
    file: &str,
    error: Option<&str>,
) -> Response<ResponseBody> {
    let document = serde_json::json!({
        "available": available,
        "file": file,
        "error": error.is_some(),
        "error_msg": error,
    });
    json(status, &document)
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn a_path_is_a_key_unless_its_first_segment_is_a_route() {
        assert_eq!(Route::parse("/a/b.mp3"), Route::Object("/a/b.mp3"));
        assert_eq!(Route::parse("/downloads/b.mp3"), Route::Object("/downloads/b.mp3"));
        assert_eq!(Route::parse("/download/a/b.mp3"), Route::Object("/a/b.mp3"));
        assert_eq!(Route::parse("/download//b.mp3"), Route::Object("//b.mp3"));
        assert_eq!(Route::parse("/download/purge/b.mp3"), Route::Object("/purge/b.mp3"));
        assert_eq!(Route::parse("/verify/a/b.mp3"), Route::Verify("/a/b.mp3"));
        assert_eq!(Route::parse("/purge"), Route::Purge(""));
        assert_eq!(Route::parse("/purge/a"), Route::Purge("/a"));
        assert_eq!(Route::parse("/prefetch"), Route::Prefetch(""));
        for unknown in
            ["/status/a", "/metrics/", "/analytics/a", "/healthz/x", "/download", "/verify"]
        {
            assert_eq!(Route::parse(unknown), Route::Unknown, "{unknown}");
        }
    }
}
