//! [`Site`]: the routes of a mirror, and who may use them.
//!
//! | | |
//! |---|---|
//! | `GET`, `HEAD` `/<key>` and `/download/<key>` | the object |
//! | `GET /verify/<key>` | whether it is here; if not, it is fetched |
//! | `POST /purge/<key>`, `POST /purge?prefix=` | forgets, with the token |
//! | `POST /prefetch/<key>` | fetches, with the token |
//! | `GET /metrics`, `GET /status` | how it is doing, with the token |
//! | `GET /analytics?from=&to=&format=` | what was downloaded, with the token |
//! | `GET /healthz` | whether it is there |
//!
//! A key whose first segment is that of a route is reached below `/download/` alone.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::SystemTime;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use storage_core::signed_url::{Grant, SigningKey};
use storage_core::{Error, ErrorKind, Key, Result, Storage, UrlMethod};
use storage_serve::{
    Active, Body, Overrides, Reader, failure, key_of, malformed, method_not_allowed, plain, respond,
};

use super::admin::Admin;
use super::config::MirrorConfig;
use super::delivery::Delivery;
use super::forwarded::client_address;
use super::mirror::Mirror;
use super::record::{Entry, Recorded, Records};

/// Which listener a request came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    Public,
    Admin,
}

/// The routes of a mirror.
#[derive(Debug)]
pub(crate) struct Site {
    pub(super) mirror: Arc<Mirror>,
    pub(super) records: Arc<Records>,
    pub(super) reader: Reader,
    /// For programs that have the token: metadata as it is stored.
    pub(super) exact_reader: Reader,
    pub(super) redirect_on_miss: bool,
    allow: Option<Vec<String>>,
    trusted_proxies: Vec<IpAddr>,
    max_connections_per_client: usize,
    pub(super) min_rate: u64,
    signing_key: Option<SigningKey>,
    admin: Option<Admin>,
    /// Whether the public listener serves the administration too.
    admin_is_public: bool,
}

/// What a request is for.
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
    /// Below the first segment of a route, and none.
    Nothing,
}

impl<'a> Route<'a> {
    /// What stands for a key keeps its `/` in front, as [`key_of`] wants it.
    fn of(path: &'a str) -> Self {
        let after = path.strip_prefix('/').unwrap_or(path);
        let (first, rest) = match after.find('/') {
            Some(at) => (&after[..at], Some(&after[at..])),
            None => (after, None),
        };
        match (first, rest) {
            ("download", Some(key)) => Self::Object(key),
            ("verify", Some(key)) => Self::Verify(key),
            ("purge", key) => Self::Purge(key.unwrap_or_default()),
            ("prefetch", Some(key)) => Self::Prefetch(key),
            ("metrics", None) => Self::Metrics,
            ("status", None) => Self::Status,
            ("analytics", None) => Self::Analytics,
            ("healthz", None) => Self::Health,
            (
                "download" | "verify" | "prefetch" | "metrics" | "status" | "analytics" | "healthz",
                _,
            ) => Self::Nothing,
            _ => Self::Object(path),
        }
    }
}

impl Site {
    pub(crate) fn new(
        config: &MirrorConfig,
        mirror: Arc<Mirror>,
        records: Arc<Records>,
    ) -> Result<Self> {
        let mut exact_reader = Reader::default();
        exact_reader.policy.active = Active::Inline;
        exact_reader.policy.user_metadata = true;
        Ok(Self {
            reader: Reader::default(),
            exact_reader,
            redirect_on_miss: config.redirect_on_miss,
            allow: config.allow.clone(),
            trusted_proxies: config.trusted_proxies.iter().map(IpAddr::to_canonical).collect(),
            max_connections_per_client: config.max_connections_per_client(),
            min_rate: config.min_rate,
            signing_key: config.signing_key()?,
            admin: Admin::new(config, &mirror, &records),
            admin_is_public: config.admin_listen.is_none(),
            mirror,
            records,
        })
    }

    /// How many connections an address may have; `None` if there is no limit for it.
    pub(super) fn connection_limit(&self, peer: IpAddr) -> Option<usize> {
        (!self.trusted_proxies.contains(&peer.to_canonical()))
            .then_some(self.max_connections_per_client)
    }

    /// Answers a request, whatever it is. It is recorded when the body has ended.
    pub(crate) async fn answer(
        &self,
        peer: SocketAddr,
        door: Door,
        head: &Parts,
    ) -> Response<Recorded> {
        let mut entry =
            self.records.begin(client_address(peer, &head.headers, &self.trusted_proxies), head);
        // A mirror reads no bodies.
        let response = match malformed(head, false) {
            Some(refusal) => respond::finish(&head.method, refusal),
            None => self.route(door, head, &mut entry).await,
        };
        entry.watch(response)
    }

    async fn route(&self, door: Door, head: &Parts, entry: &mut Entry) -> Response<Body> {
        let (method, uri, headers) = (&head.method, &head.uri, &head.headers);
        let route = Route::of(uri.path());
        let admin = self.admin.as_ref().filter(|_| door == Door::Admin || self.admin_is_public);
        let query = uri.query().unwrap_or_default();
        match (route, admin) {
            (Route::Health, _) => healthy(method),
            (Route::Object(path), _) if door == Door::Public => {
                self.object(method, path, query, headers, entry).await
            }
            (Route::Verify(path), _) if door == Door::Public => {
                self.verify(method, path, query).await
            }
            (Route::Purge(path), Some(admin)) => admin.purge(method, headers, path, query).await,
            (Route::Prefetch(path), Some(admin)) => admin.prefetch(method, headers, path).await,
            (Route::Metrics, Some(admin)) => admin.metrics(method, headers),
            (Route::Status, Some(admin)) => admin.status(method, headers).await,
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
        entry: &mut Entry,
    ) -> Response<Body> {
        let wanted = match *method {
            Method::GET => UrlMethod::Get,
            Method::HEAD => UrlMethod::Head,
            _ => return method_not_allowed("GET, HEAD"),
        };
        let (key, grant) = match self.admit(wanted, path, query) {
            Ok(admitted) => admitted,
            Err(error) => return refusal(method, &error),
        };
        // Each link has an end; without one it would end at once.
        let link_ends =
            self.signing_key.is_some().then(|| grant.expires_at.unwrap_or(SystemTime::UNIX_EPOCH));
        let overrides = Overrides::from(grant);
        let is_program = self.admin.as_ref().is_some_and(|admin| admin.is_program(headers));
        let delivery =
            Delivery { site: self, method, headers, key: &key, overrides, link_ends, is_program };
        let (response, verdict) = delivery.answer().await;
        entry.is_for(key, verdict);
        response
    }

    /// The original protocol's answer, to the letter.
    async fn verify(&self, method: &Method, path: &str, query: &str) -> Response<Body> {
        if *method != Method::GET && *method != Method::HEAD {
            return method_not_allowed("GET, HEAD");
        }
        match self.admit(UrlMethod::Get, path, query) {
            Ok((key, _)) => {
                let available = self.mirror.is_ready(&key).await;
                verified(StatusCode::OK, available, key.as_str(), None)
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => refusal(method, &error),
            Err(_) => {
                verified(StatusCode::BAD_REQUEST, false, path, Some("There is no such file."))
            }
        }
    }

    /// Deny by default: the key is allowed, and with a signing key the request has a link for it.
    fn admit(&self, method: UrlMethod, path: &str, query: &str) -> Result<(Key, Grant)> {
        let key = key_of(path)?;
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

    pub(super) fn origin(&self) -> &Storage {
        &self.mirror.origin
    }
}

fn refusal(method: &Method, error: &Error) -> Response<Body> {
    let response = match error.kind() {
        ErrorKind::PermissionDenied => plain(
            StatusCode::FORBIDDEN,
            "This needs a signed link, and one that has not expired.\n",
        ),
        _ => failure(method, error),
    };
    respond::finish(method, response)
}

pub(super) fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "There is no such file.\n")
}

fn healthy(method: &Method) -> Response<Body> {
    if *method != Method::GET && *method != Method::HEAD {
        return method_not_allowed("GET, HEAD");
    }
    respond::finish(method, plain(StatusCode::OK, "ok\n"))
}

fn verified(
    status: StatusCode,
    available: bool,
    file: &str,
    error: Option<&str>,
) -> Response<Body> {
    let document = serde_json::json!({
        "available": available,
        "file": file,
        "error": error.is_some(),
        "error_msg": error,
    });
    json(status, &document)
}

pub(super) fn json(status: StatusCode, document: &serde_json::Value) -> Response<Body> {
    let mut response = plain(status, "").map(|_| Body::bytes(document.to_string().into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::Route;

    #[test]
    fn a_path_is_a_key_unless_its_first_segment_is_a_route() {
        assert_eq!(Route::of("/a/b.mp3"), Route::Object("/a/b.mp3"));
        assert_eq!(Route::of("/downloads/b.mp3"), Route::Object("/downloads/b.mp3"));
        assert_eq!(Route::of("/download/a/b.mp3"), Route::Object("/a/b.mp3"));
        assert_eq!(Route::of("/download//b.mp3"), Route::Object("//b.mp3"));
        assert_eq!(Route::of("/download/purge/b.mp3"), Route::Object("/purge/b.mp3"));
        assert_eq!(Route::of("/verify/a/b.mp3"), Route::Verify("/a/b.mp3"));
        assert_eq!(Route::of("/purge"), Route::Purge(""));
        assert_eq!(Route::of("/purge/a"), Route::Purge("/a"));
        for nothing in [
            "/status/a",
            "/metrics/",
            "/analytics/a",
            "/healthz/x",
            "/download",
            "/verify",
            "/prefetch",
        ] {
            assert_eq!(Route::of(nothing), Route::Nothing, "{nothing}");
        }
    }
}
