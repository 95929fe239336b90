//! What all protocols share: which request belongs to which, CORS, and malformed requests.

use http::header::TRANSFER_ENCODING;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use super::settings::Settings;
use super::{cross_site, draft, form, s3, tus};
use crate::body::ResponseBody;
use crate::cors::{Access, CorsExchange};
use crate::errors::text_response;
use crate::request_body::RequestBody;
use crate::{malformed, responses};

/// What a page of another origin may use: the methods and the headers of all protocols.
const ACCESS: Access = Access {
    methods: "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS",
    request: REQUEST_HEADERS,
    exposed: EXPOSED_HEADERS,
};
const REQUEST_HEADERS: &[&str] = &[
    "content-digest",
    "content-disposition",
    "content-md5",
    "repr-digest",
    "tus-resumable",
    "upload-checksum",
    "upload-complete",
    "upload-concat",
    "upload-defer-length",
    "upload-draft-interop-version",
    "upload-incomplete",
    "upload-length",
    "upload-metadata",
    "upload-offset",
    "uppy-versions",
    "x-http-method-override",
];
const EXPOSED_HEADERS: &[&str] = &[
    "accept-patch",
    "tus-checksum-algorithm",
    "tus-extension",
    "tus-max-size",
    "tus-resumable",
    "tus-version",
    "upload-complete",
    "upload-concat",
    "upload-defer-length",
    "upload-draft-interop-version",
    "upload-expires",
    "upload-incomplete",
    "upload-length",
    "upload-limit",
    "upload-metadata",
    "upload-offset",
    "want-content-digest",
    "want-repr-digest",
];

/// Handles a request.
pub(super) async fn handle<B: RequestBody>(
    settings: &Settings,
    request: Request<B>,
) -> Response<ResponseBody> {
    let (head, body) = request.into_parts();
    let method = head.method.clone();
    let is_chunked = head.headers.contains_key(TRANSFER_ENCODING);
    let accepts_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
    let cors = CorsExchange::new(settings.cors.as_ref(), &head, &ACCESS);
    let rejection = malformed::reject_ambiguous(&head, accepts_body);
    let response = match rejection.or_else(|| cors.preflight(&head)) {
        Some(response) => response,
        None => dispatch(settings, head, body).await,
    };
    let mut response = cors.apply(responses::finish(&method, response));
    malformed::close_if_chunked(is_chunked, &mut response);
    response
}

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// The routes of Uppy's S3 plugin.
    S3,
    /// An HTML form.
    Form,
    Tus,
    /// The IETF draft, or the whole file in one request without its headers.
    Draft,
}

async fn dispatch<B: RequestBody>(
    settings: &Settings,
    head: Parts,
    body: B,
) -> Response<ResponseBody> {
    if head.method == Method::OPTIONS {
        return options(settings);
    }
    let path = head.uri.path();
    let path = path.strip_prefix(settings.mount_path.as_str()).unwrap_or(path);
    let path = path.trim_start_matches('/').to_owned();
    let is_forged = || cross_site::is_forged(&head, settings.cors.as_ref(), settings.s3.origin());
    match protocol(&head, &path) {
        // The only other protocol in which a page can begin an upload without a preflight.
        Protocol::S3 if s3::is_begun_by_get(&head, &path) && is_forged() => forged(),
        Protocol::S3 => s3::handle(settings, &path, head, body).await,
        Protocol::Form if is_forged() => forged(),
        Protocol::Form => form::receive(settings, head, body).await,
        Protocol::Tus => tus::handle(settings, &path, head, body).await,
        Protocol::Draft if is_forged() => forged(),
        Protocol::Draft => draft::handle(settings, &path, head, body).await,
    }
}

fn protocol(head: &Parts, path: &str) -> Protocol {
    if path.starts_with(s3::PREFIX) {
        return Protocol::S3;
    }
    let has = |name: &&str| head.headers.contains_key(*name);
    // The headers that every request of tus has to have, and those that only tus has. A request
    // with the second but without the first gets the error of tus.
    let of_tus = ["tus-resumable", "x-http-method-override"];
    let only_of_tus = ["upload-metadata", "upload-defer-length", "upload-concat"];
    let is_form = path.is_empty() && head.method == Method::POST && form::is_form(&head.headers);
    if of_tus.iter().any(has) {
        Protocol::Tus
    } else if is_form && draft::is_whole(&head.headers) {
        // URLSession sends the headers of the draft with every body.
        Protocol::Form
    } else if draft::is_of_draft(&head.headers) {
        Protocol::Draft
    } else if only_of_tus.iter().any(has)
        || is_creation_without_version(head)
        || tus::has_type(&head.headers)
    {
        Protocol::Tus
    } else if is_form {
        Protocol::Form
    } else {
        Protocol::Draft
    }
}

/// Returns whether a request begins an upload with a length, which the draft does with
/// `Upload-Complete` only.
fn is_creation_without_version(head: &Parts) -> bool {
    head.method == Method::POST && head.headers.contains_key("upload-length")
}

fn forged() -> Response<ResponseBody> {
    text_response(
        StatusCode::FORBIDDEN,
        "A page of another origin may upload only if the server allows its origin.\n",
    )
}

/// Returns the response to OPTIONS, which describes all protocols.
fn options(settings: &Settings) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::none());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    tus::describe(settings, headers);
    draft::describe(settings, headers);
    response
}
