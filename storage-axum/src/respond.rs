//! [`Respond`] and [`RespondWith`]: objects as responses.

use std::future::Future;

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::{HeaderMap, Method};
use storage_core::{IntoKey, Object, Storage};
use storage_serve::{respond, respond_with};

use crate::error::Result;

/// Responds with objects of a storage.
pub trait Respond {
    /// Responds to a GET with an object, for a handler that has checked that the client may read
    /// it. Evaluates conditions and ranges (RFC 9110 sections 13 and 14), reads only the requested
    /// range, and sets safe headers and `Cache-Control: private`: see [`respond()`].
    ///
    /// For HEAD, axum calls the handler of GET and removes the body, which is not read then. A HEAD
    /// with `Range` therefore has the status and the headers of the range, where RFC 9110 section
    /// 14.2 ignores `Range`. [`respond()`] with the method of the request ignores it.
    ///
    /// Dropping the future or the response stops reading.
    ///
    /// ```
    /// use axum::extract::{Path, State};
    /// use axum::http::HeaderMap;
    /// use axum::response::Response;
    /// use storage_axum::{Respond, Result};
    /// use storage_core::Storage;
    ///
    /// async fn invoice(
    ///     State(storage): State<Storage>,
    ///     Path(number): Path<u64>,
    ///     headers: HeaderMap,
    /// ) -> Result<Response> {
    ///     storage.respond(format!("invoices/{number}.pdf"), &headers).await
    /// }
    /// # let _: axum::Router<Storage> = axum::Router::new().route("/{n}", axum::routing::get(invoice));
    /// ```
    ///
    /// # Errors
    /// Those of the storage, for example `NotFound`, and `InvalidKey`.
    fn respond(
        &self,
        key: impl IntoKey + Send,
        headers: &HeaderMap,
    ) -> impl Future<Output = Result<Response>> + Send;
}

impl Respond for Storage {
    async fn respond(&self, key: impl IntoKey + Send, headers: &HeaderMap) -> Result<Response> {
        Ok(respond(self, key, &Method::GET, headers).await?.map(Body::new))
    }
}

/// Responds with an object that is open.
pub trait RespondWith {
    /// Responds to a GET with an object that the handler has opened, for example to decide by its
    /// metadata whether the client may read it.
    ///
    /// Evaluates conditions, and ranges of bodies on disk and in memory. A body that streams, as
    /// from S3, is sent whole: see [`respond_with()`]. Use [`Respond`] to read only the range.
    ///
    /// ```
    /// use axum::extract::{Path, State};
    /// use axum::http::{HeaderMap, StatusCode};
    /// use axum::response::{IntoResponse, Response};
    /// use storage_axum::{RespondWith, Result};
    /// use storage_core::Storage;
    ///
    /// async fn shared(
    ///     State(storage): State<Storage>,
    ///     Path(name): Path<String>,
    ///     headers: HeaderMap,
    /// ) -> Result<Response> {
    ///     let object = storage.open(format!("shared/{name}")).await?;
    ///     if !object.meta().metadata.user_metadata.contains_key("released") {
    ///         return Ok(StatusCode::FORBIDDEN.into_response());
    ///     }
    ///     Ok(object.respond(&headers))
    /// }
    /// # let _: axum::Router<Storage> = axum::Router::new().route("/{n}", axum::routing::get(shared));
    /// ```
    fn respond(self, headers: &HeaderMap) -> Response;
}

impl RespondWith for Object {
    fn respond(self, headers: &HeaderMap) -> Response {
        respond_with(self, &Method::GET, headers).map(Body::new)
    }
}

/// An open object as a response. Ignores the conditions and ranges of the request.
///
/// The headers are those of [`RespondWith::respond`].
///
/// ```
/// use axum::extract::State;
/// use storage_axum::{OpenObject, Result};
/// use storage_core::Storage;
///
/// async fn terms(State(storage): State<Storage>) -> Result<OpenObject> {
///     Ok(storage.open("legal/terms.pdf").await?.into())
/// }
/// # let _: axum::Router<Storage> = axum::Router::new().route("/", axum::routing::get(terms));
/// ```
#[derive(Debug)]
pub struct OpenObject(Object);

impl From<Object> for OpenObject {
    fn from(object: Object) -> Self {
        Self(object)
    }
}

impl IntoResponse for OpenObject {
    fn into_response(self) -> Response {
        self.0.respond(&HeaderMap::new())
    }
}
