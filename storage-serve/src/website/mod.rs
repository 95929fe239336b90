//! [`Website`]: serves a website whose paths are looked up in a release.

pub(crate) mod expected;
mod paths;
pub(crate) mod requests;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use http::header::{ALLOW, HeaderMap, HeaderValue};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use storage_core::{ErrorKind, Key, Result, Storage};
use tower_service::Service;

use crate::active_content::ActiveContent;
use crate::body::ResponseBody;
use crate::errors::{failure_response, method_not_allowed, text_response};
use crate::header_policy::HeaderOverrides;
use crate::responder::Responder;
use crate::{malformed, responses};
use expected::ExpectedSource;
use requests::{
    accepted_form, directory_redirect, missing_headers, path_of, set_missing, vary_by_encoding,
};

pub use expected::Expected;
pub use paths::{EncodedPage, FindFuture, Found, Page, Paths};

const METHODS: &str = "GET, HEAD, OPTIONS";

/// Serves a website: pages for directories, precompressed forms, and a page for what is missing.
///
/// A `tower` service for GET and HEAD. [`Paths`] decides which object a path has. Conditions,
/// ranges and headers are those of [`Serve`](crate::Serve), with one difference: scripts and
/// documents are sent as they are ([`ActiveContent::Inline`]), because they come from the owner of
/// the website. Never serve files of users with it.
///
/// Each precompressed form has its own ETag and its own ranges (RFC 9110 section 8.8.3). Responses
/// for an object that has such forms contain `Vary: accept-encoding`, also 304.
///
/// Cheap to clone. Dropping the future of a request stops it.
///
/// ```
/// use http::{Request, StatusCode};
/// use http_body_util::{BodyExt, Empty};
/// use storage_core::Key;
/// use storage_serve::website::{FindFuture, Found, Page, Paths, Website};
///
/// /// A website of one page.
/// struct OnePage;
///
/// impl Paths for OnePage {
///     fn find<'a>(&'a self, path: &'a str) -> FindFuture<'a> {
///         Box::pin(async move {
///             let page = || Key::new("index.html").map(Page::new);
///             Ok(if path.is_empty() { Found::Page(page()?) } else { Found::Missing(None) })
///         })
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = storage_core::Memory::storage();
/// storage.save("index.html", "<p>hello").content_type("text/html").await?;
///
/// let website = Website::new(storage, OnePage);
/// let response = website.handle(Request::get("/").body(Empty::<bytes::Bytes>::new())?).await;
/// assert_eq!(response.headers()["content-type"], "text/html");
/// assert_eq!(response.into_body().collect().await?.to_bytes(), "<p>hello");
/// let response = website.handle(Request::get("/a").body(Empty::<bytes::Bytes>::new())?).await;
/// assert_eq!(response.status(), StatusCode::NOT_FOUND);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Website {
    storage: Storage,
    paths: Arc<dyn Paths>,
    responder: Responder,
}

impl Website {
    /// Returns a service for the objects of a storage at the paths of a website.
    #[must_use]
    pub fn new(storage: Storage, paths: impl Paths) -> Self {
        let mut responder = Responder::default();
        responder.headers.active_content = ActiveContent::Inline;
        Self { storage, paths: Arc::new(paths), responder }
    }

    /// Handles a request, as the `tower` service does. Every failure is a response.
    ///
    /// | status | reason |
    /// |---|---|
    /// | 200, 206, 304, 412, 416 | GET and HEAD, with the ranges and conditions of RFC 9110 |
    /// | 204 | OPTIONS |
    /// | 308 | the path is that of a directory, without its `/` |
    /// | 400 | the request is malformed (RFC 9112 sections 3.2 and 6.3) |
    /// | 404 | the website has no such path |
    /// | 405 | the method is not supported |
    /// | 406 | the object is stored in an encoding that the client does not accept |
    /// | 500, 501, 503, 504 | the storage failed, cannot do this, is busy, or timed out |
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody> {
        let (head, _) = request.into_parts();
        let response = self
            .try_handle(&head)
            .await
            .unwrap_or_else(|error| failure_response(&head.method, &error));
        responses::finish(&head.method, response)
    }

    async fn try_handle(&self, head: &Parts) -> Result<Response<ResponseBody>> {
        if let Some(refusal) = malformed::reject_ambiguous(head, false) {
            return Ok(refusal);
        }
        match head.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return Ok(options()),
            _ => return Ok(method_not_allowed(METHODS)),
        }
        match self.paths.find(&path_of(head)).await? {
            Found::Page(page) => self.send(&page, &head.method, &head.headers).await,
            Found::Directory => directory_redirect(head),
            Found::Missing(page) => self.send_missing(page, head).await,
        }
    }

    /// Sends the best form of an object that the client accepts. If that form is not in the
    /// storage, or another object is in its place, sends the object itself.
    async fn send(
        &self,
        page: &Page,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<ResponseBody>> {
        let mut sent = None;
        if let Some(form) = accepted_form(page, headers) {
            let response = self.respond(&form.key, form.expected.clone(), method, headers).await;
            sent = match response {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                response => Some(response?),
            };
        }
        let mut response = match sent {
            Some(response) => response,
            None => self.respond(&page.key, None, method, headers).await?,
        };
        if !page.encoded.is_empty() {
            vary_by_encoding(response.headers_mut());
        }
        Ok(response)
    }

    async fn respond(
        &self,
        key: &Key,
        expected: Option<Expected>,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<ResponseBody>> {
        let source = ExpectedSource::new(self.storage.clone(), expected);
        self.responder.respond(&source, method, headers, key, HeaderOverrides::default()).await
    }

    async fn send_missing(
        &self,
        page: Option<Page>,
        head: &Parts,
    ) -> Result<Response<ResponseBody>> {
        let Some(page) = page else {
            return Ok(text_response(StatusCode::NOT_FOUND, "This page does not exist.\n"));
        };
        let mut response = self.send(&page, &head.method, &missing_headers(&head.headers)).await?;
        set_missing(&mut response);
        Ok(response)
    }
}

fn options() -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::none());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

impl<B: Send + 'static> Service<Request<B>> for Website {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<ResponseBody>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let website = self.clone();
        async move { Ok(website.handle(request).await) }.boxed()
    }
}

impl fmt::Debug for Website {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Website").field("storage", &self.storage).finish_non_exhaustive()
    }
}
