//! [`respond`] and [`respond_with`]: objects as responses of an application's own handlers.

use http::header::HeaderMap;
use http::{Method, Response};
use storage_core::{IntoKey, Object, Operation, Result, Storage};

use crate::body::ResponseBody;
use crate::header_policy::HeaderOverrides;
use crate::responder::Responder;
use crate::responses;

/// Responds to a GET or HEAD with an object, for a handler that has checked that the client may
/// read it.
///
/// Evaluates the conditions and ranges of the request (RFC 9110 sections 13 and 14), as
/// [`Serve`](crate::Serve) does. A request without conditions is one `open` of the storage, which
/// reads only the requested range. A failed precondition (412) and an unsatisfiable range (416) are
/// responses and not errors.
///
/// The headers are those of `Serve` with its defaults: `nosniff`, and an attachment for content
/// that can execute scripts. `Cache-Control` contains `private`, because another client may not be
/// allowed to read the object. A handler may replace headers of the response. It looks at the
/// status first: only 200, 206 and 304 may be cached.
///
/// Dropping the future cancels the calls of the storage. Dropping the response stops reading.
///
/// ```
/// use http::{HeaderMap, Method, StatusCode};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// let storage = storage_core::Memory::storage();
/// storage.save("invoices/1.pdf", "hello").await?;
///
/// let mut request = HeaderMap::new();
/// request.insert("range", "bytes=1-2".parse().unwrap());
/// let response =
///     storage_serve::respond(&storage, "invoices/1.pdf", &Method::GET, &request).await?;
/// assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
/// assert_eq!(response.headers()["cache-control"], "private");
/// # Ok(()) }
/// ```
///
/// # Errors
/// Those of the storage, for example `NotFound`, and `InvalidKey`.
/// [`error_response`](crate::error_response) converts them to responses.
pub async fn respond(
    storage: &Storage,
    key: impl IntoKey,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response<ResponseBody>> {
    let key = key.into_key().map_err(|error| error.with_operation(Operation::Open))?;
    let overrides = HeaderOverrides::default();
    let response = Responder::default().respond(storage, method, headers, &key, overrides).await?;
    Ok(private(method, response))
}

/// Responds to a GET or HEAD with an object that the handler has opened.
///
/// As [`respond`], with one difference: a range of a body that streams (see
/// [`Object::narrow`]) is not evaluated, and the whole object is sent, because the storage would
/// have to read the bytes before the range. Bodies on disk and in memory have ranges. An object
/// that was opened with a range is sent as status 206 with that range.
///
/// ```
/// use http::{HeaderMap, Method, StatusCode};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// let storage = storage_core::Memory::storage();
/// storage.save("a.txt", "hello").user_metadata("owner", "ada").await?;
///
/// let object = storage.open("a.txt").await?;
/// assert_eq!(object.meta().metadata.user_metadata["owner"], "ada");
/// let response = storage_serve::respond_with(object, &Method::GET, &HeaderMap::new());
/// assert_eq!(response.status(), StatusCode::OK);
/// # Ok(()) }
/// ```
#[must_use]
pub fn respond_with(
    object: Object,
    method: &Method,
    headers: &HeaderMap,
) -> Response<ResponseBody> {
    private(method, Responder::default().respond_with(object, method, headers))
}

fn private(method: &Method, response: Response<ResponseBody>) -> Response<ResponseBody> {
    let mut response = responses::finish(method, response);
    responses::make_private(response.headers_mut());
    response
}
