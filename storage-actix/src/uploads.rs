//! [`uploads_scope`]: mounts an [`Uploads`].

use actix_web::{HttpRequest, HttpResponse, Scope, web};
use http::{Request, Uri};
use storage_serve::uploads::Uploads;

use crate::convert;
use crate::forwarded_body::ForwardedBody;
use crate::scope::{RequestPayload, decoded};

/// Returns a scope at [`Uploads::mount_path`] in which the service handles all requests. Bodies
/// stream to the storage, with the limits of the grants. The limits of actix-web do not apply.
///
/// ```
/// use actix_web::App;
/// use http::StatusCode;
/// use storage_actix::uploads_scope;
/// use storage_core::signed_url::SigningKey;
/// use storage_core::{Result, Storage, keys};
/// use storage_serve::uploads::{Grant, Refusal, UploadRequest, Uploads};
///
/// /// Receives the videos of users who are signed in.
/// fn videos(storage: Storage, key: SigningKey) -> Result<Uploads> {
///     Uploads::new(storage, key, |head, file: UploadRequest| async move {
///         if !head.headers.contains_key("cookie") {
///             return Err(Refusal::new(StatusCode::UNAUTHORIZED, "Sign in first.\n"));
///         }
///         let name = file.file_name.as_deref().unwrap_or("video");
///         Ok(Grant::new(keys::unique("videos", name)?)?.max_size(1 << 30).types(["video/*"]))
///     })
/// }
///
/// # fn main() -> Result<()> {
/// let key = SigningKey::new("a secret of many bytes")?;
/// let uploads = videos(storage_core::Memory::storage(), key)?;
/// // Clones share the storage and the budget of memory, so create the service once.
/// let app = App::new().service(uploads_scope(&uploads));
/// # let _ = app;
/// # Ok(()) }
/// ```
pub fn uploads_scope(uploads: &Uploads) -> Scope {
    let path = match uploads.mount_path() {
        "/" => String::new(),
        path => decoded(path),
    };
    let uploads = uploads.clone();
    let handler = move |request: HttpRequest, body: RequestPayload| {
        let uploads = uploads.clone();
        async move { handle(&uploads, &request, body).await }
    };
    web::scope(&path).default_service(web::to(handler))
}

async fn handle(uploads: &Uploads, request: &HttpRequest, body: RequestPayload) -> HttpResponse {
    let (method, headers) = convert::head(request);
    // The service accepts paths with its mount path.
    let Ok(uri) = request.uri().to_string().parse::<Uri>() else {
        return HttpResponse::BadRequest().finish();
    };
    let mut converted = Request::new(ForwardedBody::new(body.0, u64::MAX));
    *converted.method_mut() = method;
    *converted.uri_mut() = uri;
    *converted.headers_mut() = headers;
    convert::response(uploads.handle(converted).await)
}
