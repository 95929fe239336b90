//! [`Admin`]: the routes that need the admin token: purge, prefetch, metrics, status, analytics.

use std::fmt::Write;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
use sha2::{Digest, Sha256};
use storage_core::Result;
use storage_core::config::Secret;
use storage_serve::internal::{key_from_path, method_not_allowed, text_response};
use storage_serve::{ResponseBody, error_response};

use super::analytics;
use super::config::MirrorConfig;
use super::metrics::{Metric, metrics};
use super::prefetch;
use super::record::Outcome;
use super::records::Records;
use super::responses::json;
use super::status::StatusRoute;
use crate::engine::Engine;

/// The admin routes.
#[derive(Debug)]
pub(crate) struct Admin {
    token: Secret,
    engine: Engine,
    records: Arc<Records>,
    status: StatusRoute,
}

impl Admin {
    /// Returns `None` if the configuration has no token: then there are no admin routes.
    ///
    /// # Errors
    /// Fails with `InvalidConfig` if `price_per_gb` or `currency` is invalid.
    pub(super) fn new(
        config: &MirrorConfig,
        engine: &Engine,
        records: &Arc<Records>,
    ) -> Result<Option<Self>> {
        let Some(token) = config.admin_token.clone() else { return Ok(None) };
        let (engine, records) = (engine.clone(), Arc::clone(records));
        let price = config.price()?;
        let status = StatusRoute::new(engine.clone(), Arc::clone(&records), config.max_size, price);
        Ok(Some(Self { token, engine, records, status }))
    }

    /// Returns the response to a request that lacks the token or has another method than the
    /// route's. Returns `None` if the request is allowed.
    fn rejection(
        &self,
        method: &Method,
        required: &Method,
        headers: &HeaderMap,
    ) -> Option<Response<ResponseBody>> {
        // A browser repeats a password in every later request, also in a form that another site
        // posts. So POST routes accept no password.
        let is_authorized = self.has_bearer_token(headers)
            || (required != Method::POST && self.has_password(headers));
        if !is_authorized {
            let mut response = text_response(
                StatusCode::UNAUTHORIZED,
                "This route needs the mirror's admin_token.\n",
            );
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"anystorage\""));
            return Some(response);
        }
        let allowed = if required == Method::POST { "POST" } else { "GET" };
        (method != required).then(|| method_not_allowed(allowed))
    }

    /// Whether the request contains the token as the password of any user (RFC 7617), the way a
    /// browser sends it.
    fn has_password(&self, headers: &HeaderMap) -> bool {
        let decoded = credentials(headers, "basic")
            .and_then(|value| STANDARD.decode(value).ok())
            .unwrap_or_default();
        let colon = decoded.iter().position(|&byte| byte == b':');
        colon.is_some_and(|colon| self.is_token(&decoded[colon + 1..]))
    }

    /// Whether the request contains `Authorization: Bearer <token>` (RFC 6750). A password does not
    /// count, because a browser repeats it in requests that its user did not start.
    pub(super) fn has_bearer_token(&self, headers: &HeaderMap) -> bool {
        credentials(headers, "bearer").is_some_and(|token| self.is_token(token.as_bytes()))
    }

    /// Compares digests, so that the duration does not depend on the token.
    fn is_token(&self, candidate: &[u8]) -> bool {
        Sha256::digest(candidate) == Sha256::digest(self.token.expose())
    }

    pub(super) async fn purge(
        &self,
        method: &Method,
        headers: &HeaderMap,
        path: &str,
        query: &str,
    ) -> Response<ResponseBody> {
        if let Some(rejection) = self.rejection(method, &Method::POST, headers) {
            return rejection;
        }
        let purged = if path.is_empty() {
            let prefix =
                url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "prefix");
            let Some((_, prefix)) = prefix else {
                return text_response(
                    StatusCode::BAD_REQUEST,
                    "Name a key (/purge/<key>) or a prefix (/purge?prefix=).\n",
                );
            };
            self.engine.purge_prefix(&prefix).await
        } else {
            match key_from_path(path) {
                Ok(key) => self.engine.purge(&key).await.map(usize::from),
                Err(error) => Err(error),
            }
        };
        match purged {
            Ok(count) => json(StatusCode::OK, &serde_json::json!({ "purged": count })),
            Err(error) => error_response(method, &error),
        }
    }

    /// Fetches an object ahead of requests, or without a key lists the keys of origin.
    pub(super) async fn prefetch(
        &self,
        method: &Method,
        headers: &HeaderMap,
        path: &str,
        query: &str,
    ) -> Response<ResponseBody> {
        let required = if path.is_empty() { Method::GET } else { Method::POST };
        if let Some(rejection) = self.rejection(method, &required, headers) {
            return rejection;
        }
        if path.is_empty() {
            return prefetch::keys(self.engine.origin(), query).await;
        }
        match key_from_path(path) {
            Ok(key) => prefetch::prefetch(&self.engine, &key, query).await,
            Err(error) => error_response(method, &error),
        }
    }

    pub(super) fn metrics(&self, method: &Method, headers: &HeaderMap) -> Response<ResponseBody> {
        if let Some(rejection) = self.rejection(method, &Method::GET, headers) {
            return rejection;
        }
        let mut response = text_response(StatusCode::OK, "")
            .map(|_| ResponseBody::bytes(self.exposition().into()));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    /// Returns all metrics in the text format of Prometheus.
    fn exposition(&self) -> String {
        let mut text = String::new();
        for Metric { name, kind, help, value } in metrics(&self.engine, &self.records.requests) {
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "# HELP anystorage_mirror_{name} {help}\n# TYPE anystorage_mirror_{name} {kind}"
            );
            let _ = writeln!(text, "anystorage_mirror_{name} {value}");
        }
        self.expose_records(&mut text);
        text
    }

    fn expose_records(&self, text: &mut String) {
        let mut counter = |name: &str, help: &str, value: &dyn Fn(Outcome) -> u64| {
            let _ = writeln!(
                text,
                "# HELP anystorage_mirror_{name} {help}\n# TYPE anystorage_mirror_{name} counter"
            );
            for outcome in Outcome::ALL {
                let (label, value) = (outcome.name(), value(outcome));
                let _ =
                    writeln!(text, "anystorage_mirror_{name}{{cache_status=\"{label}\"}} {value}");
            }
        };
        let help = "Requests for objects by how they were served.";
        counter("responses_total", help, &|outcome| self.records.totals(outcome).0);
        let help = "Bytes of their bodies that were handed to connections.";
        counter("sent_bytes_total", help, &|outcome| self.records.totals(outcome).1);
        let name = "anystorage_mirror_access_log_lost_total";
        let _ = writeln!(
            text,
            "# HELP {name} Requests that are missing in the access log.\n# TYPE {name} counter"
        );
        let _ = writeln!(text, "{name} {}", self.records.lost());
    }

    pub(super) async fn status(
        &self,
        method: &Method,
        headers: &HeaderMap,
        query: &str,
    ) -> Response<ResponseBody> {
        if let Some(rejection) = self.rejection(method, &Method::GET, headers) {
            return rejection;
        }
        self.status.respond(headers, query).await
    }

    pub(super) async fn analytics(
        &self,
        method: &Method,
        headers: &HeaderMap,
        query: &str,
    ) -> Response<ResponseBody> {
        match self.rejection(method, &Method::GET, headers) {
            Some(rejection) => rejection,
            None => analytics::respond(self.records.analytics.clone(), query).await,
        }
    }
}

/// Returns the credentials that follow the name of a scheme (RFC 9110, section 11.4).
fn credentials<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a str> {
    let (name, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    name.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
}
