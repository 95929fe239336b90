//! warp 0.4.

use anystorage::serve::form::UploadForm;
use anystorage::serve::{ResponseBody, Serve, error_response_of_call, respond};
use anystorage::{Result, Storage, keys};
use bytes::Buf;
use futures_util::{Stream, TryStreamExt};
use warp::filters::BoxedFilter;
use warp::http::{self, HeaderMap, Method, StatusCode};
use warp::path::FullPath;
use warp::reply::{Reply, Response};
use warp::{Filter, Rejection};

async fn upload(
    storage: Storage,
    content_type: String,
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send + 'static,
) -> Result<StatusCode> {
    let body = body.map_ok(|mut chunk| chunk.copy_to_bytes(chunk.remaining()));
    let mut form = UploadForm::new(&content_type, body)?;
    while let Some(file) = form.next_file().await? {
        let key = keys::unique("photos", file.file_name())?;
        storage.save(key, file.max_size(10 << 20)).await?;
    }
    Ok(StatusCode::CREATED)
}

async fn download(
    storage: Storage,
    name: String,
    method: Method,
    headers: HeaderMap,
) -> Result<Response> {
    // Check here that the user may read it.
    respond(&storage, format!("photos/{name}"), &method, &headers).await.map(reply)
}

/// Handles the requests for signed links.
async fn media(
    serve: Serve,
    method: Method,
    path: FullPath,
    query: String,
    headers: HeaderMap,
) -> Response {
    let mut request = http::Request::new(String::new());
    *request.method_mut() = method;
    *request.uri_mut() = format!("{}?{query}", path.as_str()).parse().unwrap_or_default();
    *request.headers_mut() = headers;
    reply(serve.handle(request).await)
}

fn reply(response: http::Response<ResponseBody>) -> Response {
    let (head, body) = response.into_parts();
    let mut reply = warp::reply::stream(body).into_response();
    *reply.status_mut() = head.status;
    *reply.headers_mut() = head.headers;
    reply
}

/// Converts the result of a handler to a response.
fn finish(result: Result<impl Reply>) -> Response {
    match result {
        Ok(response) => response.into_response(),
        Err(error) => reply(error_response_of_call(&error)),
    }
}

/// Matches all paths below one. `warp::path` matches one segment and panics for none.
fn below(path: &str) -> BoxedFilter<()> {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    segments.fold(warp::any().boxed(), |before, segment| {
        before.and(warp::path(segment.to_owned())).boxed()
    })
}

pub fn app(
    storage: Storage,
) -> Result<impl Filter<Extract = (Response,), Error = Rejection> + Clone> {
    // Signed links: storage.url(key).expires_in(..)
    let serve = Serve::for_storage(&storage)?.strip_mount_path();
    let mount_path = below(serve.mount_path());
    let with = |value| warp::any().map(move || Storage::clone(&value));
    let get = warp::get().or(warp::head()).unify().and(warp::method());
    let query = warp::query::raw().or(warp::any().map(String::new)).unify();

    let uploads = warp::path!("photos")
        .and(warp::post())
        .and(warp::body::content_length_limit(50 << 20))
        .and(with(storage.clone()))
        .and(warp::header("content-type"))
        .and(warp::body::stream())
        .then(upload)
        .map(finish);
    let downloads = with(storage)
        .and(warp::path!("photos" / String))
        .and(get)
        .and(warp::header::headers_cloned())
        .then(download)
        .map(finish);
    let links = mount_path
        .and(get)
        .and(warp::path::full())
        .and(query)
        .and(warp::header::headers_cloned())
        .then(move |method, path, query, headers| {
            media(serve.clone(), method, path, query, headers)
        });
    Ok(uploads.or(downloads).unify().or(links).unify())
}
