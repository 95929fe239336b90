//! The routes: the page, signing in, uploads, thumbnails, originals and deletion.

use std::path::PathBuf;
use std::time::Duration;

use anystorage::fs::Fs;
use anystorage::serve::uploads::Uploads;
use anystorage::{ObjectEntry, Storage};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use storage_axum::{Respond, Result, Serve};
use url::{Url, form_urlencoded};

use crate::page::{self, Page, Picture};
use crate::session::Sessions;
use crate::uploads;

/// The prefix of the originals.
pub(crate) const PICTURES: &str = "pictures";
/// How many pictures the page shows. A gallery with more keeps a list in a database.
const MAX_SHOWN: usize = 200;
/// How long the link to an original works.
const LIFETIME: Duration = Duration::from_secs(3600);

/// What the gallery needs beside a storage.
#[derive(Debug)]
pub struct Settings {
    /// The password of all users.
    pub password: String,
    /// Signs sessions and the URLs of uploads: 16 bytes or more.
    pub secret: String,
    /// The largest picture, in bytes.
    pub max_size: u64,
    /// The directory `dist` of Uppy. Without it, the page has a form in its place.
    pub widget: PathBuf,
}

#[derive(Clone)]
struct App {
    pictures: Storage,
    thumbnails: Storage,
    sessions: Sessions,
    max_size: u64,
    has_widget: bool,
}

/// Returns the router, which uses only the prefix `gallery/` of the storage, and its service for
/// uploads, whose `sweep` must be called now and then.
///
/// # Errors
/// `Unsupported` if the storage has no multipart uploads or no conditional saves. `InvalidConfig`
/// if it cannot sign links or the secret is too short.
pub fn router(storage: &Storage, settings: &Settings) -> anystorage::Result<(Router, Uploads)> {
    let storage = storage.prefixed("gallery")?;
    let app = App {
        pictures: storage.prefixed(PICTURES)?,
        thumbnails: storage.prefixed("thumbnails")?,
        sessions: Sessions::new(&settings.password, &settings.secret),
        max_size: settings.max_size,
        has_widget: settings.widget.join("uppy.min.mjs").is_file(),
    };
    let (thumbnails, sessions) = (app.thumbnails.clone(), app.sessions.clone());
    let uploads = uploads::service(storage, thumbnails, sessions, settings)?;
    let mut router = Router::new()
        .route("/", get(show))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .route("/thumbnails/{*key}", get(thumbnail))
        .route("/delete/{*key}", post(delete))
        .route("/gallery.css", get(|| asset("text/css", include_str!("../assets/gallery.css"))))
        .route(
            "/gallery.js",
            get(|| asset("text/javascript", include_str!("../assets/gallery.js"))),
        )
        .nest_service(uploads.mount_path(), uploads.clone());
    if app.has_widget {
        let widget = Storage::new(Fs::builder(&settings.widget).build()?);
        router = router.nest_service("/uppy", Serve::new(widget));
    }
    // With S3, the links to the originals lead to S3.
    if let Some(serve) = Serve::for_own_links(&app.pictures)? {
        router = router.nest_service(serve.mount_path(), serve.clone());
    }
    Ok((router.with_state(app), uploads))
}

/// Shows the newest pictures. Only users who are signed in get links to the originals.
async fn show(State(app): State<App>, headers: HeaderMap) -> Result<Response> {
    let user = app.sessions.user(&headers);
    let mut objects = app.pictures.list("").objects().await?;
    objects.sort_by_key(|object| std::cmp::Reverse(object.last_modified));
    objects.truncate(MAX_SHOWN);
    let mut pictures = Vec::new();
    for meta in objects {
        let link = match user {
            Some(_) => Some(original(&app.pictures, &meta).await?),
            None => None,
        };
        pictures.push(Picture { meta, link });
    }
    let parts_origin = parts_origin(&app.pictures).await?;
    let App { max_size, has_widget, .. } = app;
    let page = Page { user, pictures, max_size, has_widget, parts_origin };
    Ok(page::gallery(&page).into_response())
}

/// Returns the origin of S3, to which the widget sends the parts of files. `None` if the storage is
/// not S3.
async fn parts_origin(pictures: &Storage) -> Result<Option<String>> {
    let link = pictures.url("any").expires_in(LIFETIME).await?.to_string();
    Ok(Url::parse(&link).ok().map(|link| link.origin().ascii_serialization()))
}

/// Returns a signed link. It stays the same for a while, so that browsers cache the picture.
async fn original(pictures: &Storage, meta: &ObjectEntry) -> Result<String> {
    let link = pictures.url(&meta.key).expires_in(LIFETIME).stable_for(LIFETIME).await?;
    Ok(link.to_string())
}

/// A form of another site could sign a visitor in as another user, whose pictures he then uploads.
/// Browsers name the origin of the form.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

async fn sign_in(State(app): State<App>, headers: HeaderMap, body: Bytes) -> Response {
    if is_from_elsewhere(&headers) {
        return (StatusCode::FORBIDDEN, page::refused()).into_response();
    }
    let field = |wanted: &str| {
        let mut fields = form_urlencoded::parse(&body);
        fields.find(|(name, _)| name == wanted).map(|(_, value)| value).unwrap_or_default()
    };
    match app.sessions.sign_in(&field("user"), &field("password")) {
        Some(cookie) => ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response(),
        None => (StatusCode::FORBIDDEN, page::refused()).into_response(),
    }
}

async fn sign_out() -> Response {
    ([(SET_COOKIE, "session=; Path=/; Max-Age=0")], Redirect::to("/")).into_response()
}

/// The thumbnails are public, and are never replaced by other ones.
async fn thumbnail(
    State(app): State<App>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let mut response = app.thumbnails.respond(key, &headers).await?;
    // Caches must not store an error, such as that of a range which the thumbnail does not have.
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(CACHE_CONTROL, forever);
    }
    Ok(response)
}

/// Deletes a picture of the user. The picture goes first: if the second step fails, only a
/// thumbnail remains, which no page shows.
async fn delete(
    State(app): State<App>,
    Path(key): Path<String>,
    headers: HeaderMap,
) -> Result<Response> {
    let user = app.sessions.user(&headers);
    let owner = key.split_once('/').map(|(owner, _)| owner);
    if user.is_none() || user.as_deref() != owner {
        return Ok((StatusCode::FORBIDDEN, page::refused()).into_response());
    }
    app.pictures.delete(&*key).await?;
    app.thumbnails.delete(&*key).await?;
    Ok(Redirect::to("/").into_response())
}

async fn asset(content_type: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-cache")], text)
}
