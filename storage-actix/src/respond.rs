//! [`Respond`] and [`RespondWith`]: objects as responses.

use std::future::Future;

use actix_web::body::BoxBody;
use actix_web::{HttpRequest, HttpResponse, Responder};
use storage_core::{IntoKey, Object, Storage};
use storage_serve::{respond, respond_with};

use crate::convert;
use crate::error::Result;

/// Responds with objects of a storage.
pub trait Respond {
    /// Responds to a GET or HEAD with an object, for a handler that has checked that the client may
    /// read it. Evaluates conditions and ranges (RFC 9110 sections 13 and 14), reads only the
    /// requested range, and sets safe headers and `Cache-Control: private`: see [`respond()`].
    ///
    /// Dropping the future or the response stops reading.
    ///
    /// ```
    /// use actix_web::{HttpRequest, HttpResponse, web};
    /// use storage_actix::{Respond, Result};
    /// use storage_core::Storage;
    ///
    /// async fn invoice(
    ///     storage: web::Data<Storage>,
    ///     number: web::Path<u64>,
    ///     request: HttpRequest,
    /// ) -> Result<HttpResponse> {
    ///     storage.respond(format!("invoices/{number}.pdf"), &request).await
    /// }
    /// # let _ = web::get().to(invoice);
    /// ```
    ///
    /// # Errors
    /// Those of the storage, for example `NotFound`, and `InvalidKey`.
    fn respond(
        &self,
        key: impl IntoKey,
        request: &HttpRequest,
    ) -> impl Future<Output = Result<HttpResponse>>;
}

impl Respond for Storage {
    async fn respond(&self, key: impl IntoKey, request: &HttpRequest) -> Result<HttpResponse> {
        let (method, headers) = convert::head(request);
        Ok(convert::response(respond(self, key, &method, &headers).await?))
    }
}

/// Responds with an object that is open.
pub trait RespondWith {
    /// Responds to a GET or HEAD with an object that the handler has opened, for example to decide
    /// by its metadata whether the client may read it.
    ///
    /// Evaluates conditions, and ranges of bodies on disk and in memory. A body that streams, as
    /// from S3, is sent whole: see [`respond_with()`]. Use [`Respond`] to read only the range.
    ///
    /// ```
    /// use actix_web::{HttpRequest, HttpResponse, web};
    /// use storage_actix::{RespondWith, Result};
    /// use storage_core::Storage;
    ///
    /// async fn shared(
    ///     storage: web::Data<Storage>,
    ///     name: web::Path<String>,
    ///     request: HttpRequest,
    /// ) -> Result<HttpResponse> {
    ///     let object = storage.open(format!("shared/{name}")).await?;
    ///     if !object.meta().metadata.user_metadata.contains_key("released") {
    ///         return Ok(HttpResponse::Forbidden().finish());
    ///     }
    ///     Ok(object.respond(&request))
    /// }
    /// # let _ = web::get().to(shared);
    /// ```
    fn respond(self, request: &HttpRequest) -> HttpResponse;
}

impl RespondWith for Object {
    fn respond(self, request: &HttpRequest) -> HttpResponse {
        let (method, headers) = convert::head(request);
        convert::response(respond_with(self, &method, &headers))
    }
}

/// An open object as the result of a handler. The response is that of [`RespondWith::respond`].
///
/// ```
/// use actix_web::web;
/// use storage_actix::{OpenObject, Result};
/// use storage_core::Storage;
///
/// async fn terms(storage: web::Data<Storage>) -> Result<OpenObject> {
///     Ok(storage.open("legal/terms.pdf").await?.into())
/// }
/// # let _ = web::get().to(terms);
/// ```
#[derive(Debug)]
pub struct OpenObject(Object);

impl From<Object> for OpenObject {
    fn from(object: Object) -> Self {
        Self(object)
    }
}

impl Responder for OpenObject {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        self.0.respond(request)
    }
}
