//! [`Serve::handle`]: handles a request.

use std::convert::Infallible;
use std::task::{Context, Poll};

use futures_core::future::BoxFuture;
use futures_util::FutureExt;
use http::header::{ALLOW, CACHE_CONTROL, HeaderValue, LOCATION, TRANSFER_ENCODING};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use storage_core::{Key, Result, UrlMethod};
use tower_service::Service;

use crate::authorization::Authorized;
use crate::body::ResponseBody;
use crate::cors::{Access, CorsExchange};
use crate::errors::{failure_response, method_not_allowed, text_response};
use crate::header_policy::HeaderOverrides;
use crate::request_body::RequestBody;
use crate::serve::Serve;
use crate::settings::Redirect;
use crate::{malformed, put, responses};

/// What a page of another origin may use of a service that only reads.
pub const READING: Access = Access {
    methods: "GET, HEAD, OPTIONS",
    request: READING_REQUEST_HEADERS,
    exposed: READING_EXPOSED_HEADERS,
};
const READING_AND_WRITING: Access = Access { methods: "GET, HEAD, PUT, OPTIONS", ..READING };
const READING_REQUEST_HEADERS: &[&str] =
    &["cache-control", "if-modified-since", "if-range", "if-unmodified-since", "range"];
const READING_EXPOSED_HEADERS: &[&str] = &[
    "accept-ranges",
    "age",
    "cache-status",
    "content-encoding",
    "content-length",
    "content-range",
    "via",
];

impl Serve {
    /// Handles a request, as the `tower` service does. Use it with servers that do not use `tower`.
    ///
    /// Every failure is a response. Dropping the future of an upload changes nothing, unless the
    /// upload is already complete.
    ///
    /// | status | reason |
    /// |---|---|
    /// | 200, 206, 304 | GET and HEAD |
    /// | 201 | an upload is stored; the response contains its `ETag` if the storage returns one |
    /// | 204 | OPTIONS |
    /// | 302 | [`redirect`](Self::redirect) |
    /// | 400 | the request is malformed (RFC 9112 sections 3.2 and 6.3); an upload broke off, has an unsupported condition or `Content-Range`, or has a path that is not a valid key |
    /// | 403, 415 | the link is missing or invalid, or does not allow this upload |
    /// | 404 | the object does not exist, or the path of a GET or HEAD is not a valid key |
    /// | 405 | the method is not supported |
    /// | 406 | the client does not accept the encoding, by the [`encoding_policy`](Self::encoding_policy) |
    /// | 408 | an upload stalled |
    /// | 409, 422 | the key conflicts with another, or the upload does not match its length or checksum |
    /// | 412 | a precondition failed |
    /// | 413, 507 | the upload is too large, or the storage is full |
    /// | 416 | the object has none of the requested bytes |
    /// | 500, 501, 503, 504 | the storage failed, does not support this, is busy, or timed out |
    pub async fn handle<B: RequestBody>(&self, request: Request<B>) -> Response<ResponseBody> {
        let (head, body) = request.into_parts();
        let method = head.method.clone();
        let is_chunked = head.headers.contains_key(TRANSFER_ENCODING);
        let access = if self.settings.accepts_uploads() { &READING_AND_WRITING } else { &READING };
        let cors = CorsExchange::new(self.settings.cors.as_ref(), &head, access);
        let response = self
            .try_handle(head, body, &cors)
            .await
            .unwrap_or_else(|error| failure_response(&method, &error));
        let mut response = cors.apply(responses::finish(&method, response));
        malformed::close_if_chunked(is_chunked, &mut response);
        response
    }

    async fn try_handle<B: RequestBody>(
        &self,
        head: Parts,
        body: B,
        cors: &CorsExchange<'_>,
    ) -> Result<Response<ResponseBody>> {
        let settings = &*self.settings;
        if let Some(refusal) = malformed::reject_ambiguous(&head, head.method == Method::PUT) {
            return Ok(refusal);
        }
        if let Some(preflight) = cors.preflight(&head) {
            return Ok(preflight);
        }
        let method = match head.method {
            Method::GET => UrlMethod::Get,
            Method::HEAD => UrlMethod::Head,
            Method::PUT if settings.accepts_uploads() => UrlMethod::Put,
            Method::OPTIONS => return Ok(self.options()),
            _ => return Ok(method_not_allowed(self.allowed_methods())),
        };
        let linked = settings.linked_key(head.uri.path())?;
        let Some(authorized) =
            settings.authorize(method, &linked, head.uri.query().unwrap_or_default())
        else {
            return Ok(text_response(
                StatusCode::FORBIDDEN,
                "This request needs a signed link that has not expired.\n",
            ));
        };
        let key = settings.object_key(linked)?;
        if method == UrlMethod::Put {
            return put::put(settings, &key, &authorized.grant, &head.headers, body).await;
        }
        if let Some(redirect) =
            settings.redirect.filter(|redirect| redirect.can_express(&authorized.grant))
        {
            return self.redirect_to_storage(redirect, method, &key, &authorized).await;
        }
        let overrides = HeaderOverrides::from(authorized.grant);
        let mut response = settings
            .responder
            .respond(&settings.storage, &head.method, &head.headers, &key, overrides)
            .await?;
        if authorized.is_by_link {
            responses::make_private(response.headers_mut());
        }
        Ok(response)
    }

    fn allowed_methods(&self) -> &'static str {
        if self.settings.accepts_uploads() {
            "GET, HEAD, PUT, OPTIONS"
        } else {
            "GET, HEAD, OPTIONS"
        }
    }

    fn options(&self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::none());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(self.allowed_methods()));
        response
    }

    async fn redirect_to_storage(
        &self,
        redirect: Redirect,
        method: UrlMethod,
        key: &Key,
        authorized: &Authorized,
    ) -> Result<Response<ResponseBody>> {
        let mut link = self.settings.storage.url(key);
        if let Redirect::Signed(lifetime) = redirect {
            link = link.expires_in(authorized.limit_lifetime(lifetime)).method(method);
            if let Some(disposition) = &authorized.grant.content_disposition {
                link = link.response_content_disposition(disposition);
            }
            if let Some(content_type) = &authorized.grant.content_type {
                link = link.response_content_type(content_type);
            }
        }
        let link = link.await?;
        let location = HeaderValue::from_str(link.as_str()).map_err(|cause| {
            storage_core::Error::unexpected("the link is not a valid header value", cause)
        })?;
        let mut response = text_response(StatusCode::FOUND, "");
        response.headers_mut().insert(LOCATION, location);
        if redirect == Redirect::Public && !authorized.is_by_link {
            response.headers_mut().remove(CACHE_CONTROL);
        }
        Ok(response)
    }
}

impl<B: RequestBody> Service<Request<B>> for Serve {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<ResponseBody>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let serve = self.clone();
        async move { Ok(serve.handle(request).await) }.boxed()
    }
}
