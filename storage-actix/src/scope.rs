//! [`scope`]: mounts a [`Serve`].

use actix_web::dev::{Payload, Url};
use actix_web::{HttpRequest, HttpResponse, Scope, web};
use http::{Method, Request, Uri};
use storage_serve::Serve;

use crate::convert;
use crate::forwarded_body::ForwardedBody;

/// Returns a scope in which a [`Serve`] handles all requests: `GET <path>/<key>`. The path is
/// percent-encoded, as in a URL.
///
/// Use [`Serve::mount_path`] for the links of a storage. Uploads by signed links stream to the
/// storage, with the limits of the link and of [`Serve::max_upload_size`].
///
/// ```
/// use actix_web::App;
/// use storage_actix::{Serve, scope};
/// use storage_core::{Result, Storage};
///
/// /// Serves the links that `storage.url(key).expires_in(..)` makes.
/// fn media(storage: &Storage) -> Result<actix_web::Scope> {
///     let serve = Serve::for_storage(storage)?;
///     Ok(scope(serve.mount_path(), serve.clone()))
/// }
///
/// let public = Serve::new(storage_core::Memory::storage());
/// let app = App::new().service(scope("/public", public));
/// # let _ = (app, media);
/// ```
pub fn scope(path: &str, serve: Serve) -> Scope {
    let path = match path.trim_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    };
    let handler = {
        let path = path.clone();
        move |request: HttpRequest, body: RequestPayload| {
            let (serve, path) = (serve.clone(), path.clone());
            async move { handle(&serve, &path, &request, body.0).await }
        }
    };
    web::scope(&decoded(&path)).default_service(web::to(handler))
}

/// Decodes a path as actix-web decodes the path of a request before it selects a scope.
pub(crate) fn decoded(path: &str) -> String {
    path.parse().map_or_else(|_| path.to_owned(), |uri| Url::new(uri).path().to_owned())
}

async fn handle(
    serve: &Serve,
    mount_path: &str,
    request: &HttpRequest,
    payload: Payload,
) -> HttpResponse {
    let (method, headers) = convert::head(request);
    // `Serve` decodes the path, so it receives the path as the client sent it.
    let sent = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Some(uri) = sent.strip_prefix(mount_path).and_then(|path| path.parse::<Uri>().ok()) else {
        return HttpResponse::NotFound().finish();
    };
    // Only uploads have a body. `Serve` limits it.
    let payload = if method == Method::PUT { payload } else { Payload::None };
    let mut converted = Request::new(ForwardedBody::new(payload, u64::MAX));
    *converted.method_mut() = method;
    *converted.uri_mut() = uri;
    *converted.headers_mut() = headers;
    convert::response(serve.handle(converted).await)
}

/// The payload of a request.
pub(crate) struct RequestPayload(pub(crate) Payload);

impl actix_web::FromRequest for RequestPayload {
    type Error = std::convert::Infallible;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(_request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        std::future::ready(Ok(Self(payload.take())))
    }
}
