//! `GET /status`: the state of a mirror, as JSON or as an HTML page.
//!
//! | module | job |
//! |---|---|
//! | `query`, `accept` | what the request selects |
//! | `document` | the state as JSON |
//! | `view`, `periods` | the figures of the page; days in groups |
//! | `page`, `sections`, `chart` | the page, its parts and its charts |
//! | `html`, `format` | text and numbers for people |
//!
//! The page works without scripts, and loads nothing: `page.css` is part of it.

mod accept;
mod chart;
mod document;
mod format;
mod html;
mod page;
mod periods;
mod query;
mod sections;
mod view;

use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderValue, REFERRER_POLICY, VARY,
};
use http::{Method, Response, StatusCode};
use sha2::{Digest, Sha256};
use storage_core::Error;
use storage_serve::internal::text_response;
use storage_serve::{ResponseBody, error_response};
use tokio::task::spawn_blocking;

use super::price::Price;
use super::records::Records;
use super::responses;
use crate::engine::Engine;
use query::PageQuery;
use view::{Mirror, View};

/// Permits the page its own styles, its icon and its own form, and nothing else. The hash prevents
/// styles of another source even if a text were not escaped.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = STANDARD.encode(Sha256::digest(page::STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'"
    );
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// Responds to requests for the state. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct StatusRoute(Mirror);

impl StatusRoute {
    pub(super) fn new(
        engine: Engine,
        records: Arc<Records>,
        max_size: u64,
        price: Option<Price>,
    ) -> Self {
        Self(Mirror { engine, records, max_size, price })
    }

    /// Responds with a page if `Accept` prefers HTML to JSON, and with JSON otherwise or if the
    /// query contains `format=json`.
    pub(super) async fn respond(&self, headers: &HeaderMap, query: &str) -> Response<ResponseBody> {
        let query = PageQuery::parse(query);
        let is_page = !query.is_json && accept::prefers_html(headers);
        let mirror = self.0.clone();
        // Reads the disk, or visits all keys, so it runs on a thread that may block.
        let created = spawn_blocking(move || {
            if is_page {
                page_response(page::page(&View::new(&mirror, &query)))
            } else {
                responses::json(StatusCode::OK, &document::document(&mirror))
            }
        });
        let mut response = match created.await {
            Ok(response) => response,
            Err(join) => {
                return error_response(&Method::GET, &Error::unexpected("the status failed", join));
            }
        };
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept"));
        response
    }
}

fn page_response(page: String) -> Response<ResponseBody> {
    let mut response = text_response(StatusCode::OK, "").map(|_| ResponseBody::bytes(page.into()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
