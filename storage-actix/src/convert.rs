//! Converts between the types of actix-web, which uses the crate `http` 0.2, and those of `http` 1.

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Response};
use storage_core::Error;
use storage_serve::ResponseBody;

/// Returns the method and the headers of a request.
pub(crate) fn head(request: &HttpRequest) -> (Method, HeaderMap) {
    let headers = request.headers().iter().filter_map(|(name, value)| {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes()).ok()?;
        Some((name, http::HeaderValue::from_bytes(value.as_bytes()).ok()?))
    });
    let method = Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name, value);
    }
    (method, map)
}

/// Converts a response.
pub(crate) fn response(response: Response<ResponseBody>) -> HttpResponse {
    let (head, body) = response.into_parts();
    let status = StatusCode::from_u16(head.status.as_u16());
    let mut builder = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in &head.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        let value = HeaderValue::from_bytes(value.as_bytes());
        // actix-web sets the length from the body: see below.
        if let (Ok(name), Ok(value)) = (name, value)
            && name.as_str() != CONTENT_LENGTH.as_str()
        {
            builder.append_header((name, value));
        }
    }
    let stated =
        head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    match (body.len().or(stated), body.is_empty()) {
        // A response to HEAD has the length of the object and no body.
        (Some(len), true) => {
            builder.body(SizedStream::new(len, stream::empty::<Result<_, Error>>()))
        }
        (Some(len), false) => builder.body(SizedStream::new(len, body)),
        (None, true) => builder.finish(),
        (None, false) => builder.streaming(body),
    }
}
