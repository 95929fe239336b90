//! The routes of the application.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError, web};
use anystorage::Storage;
use avatars::{AvatarError, MAX_UPLOAD, Users};
use storage_actix::{FormLimit, Serve, StorageError, UploadForm, scope};

/// The largest request, in bytes: a picture, and the form around it.
const MAX_REQUEST: usize = MAX_UPLOAD + (16 << 10);

/// What the handlers share. Each thread of the server has a clone.
#[derive(Debug, Clone)]
pub struct App {
    storage: Storage,
    users: Users,
    /// Serves the links, unless they lead to another server, such as S3.
    serve: Option<Serve>,
}

impl App {
    /// Returns an application that uses only the prefix `avatars/` of the storage.
    ///
    /// # Errors
    /// `InvalidConfig` if the storage cannot sign links.
    pub fn new(storage: &Storage, users: Users) -> anystorage::Result<Self> {
        let storage = storage.prefixed("avatars")?;
        let serve = Serve::for_own_links(&storage)?;
        Ok(Self { storage, users, serve })
    }
}

/// Adds the routes of the application.
pub fn configure(app: &App) -> impl FnOnce(&mut web::ServiceConfig) {
    let app = app.clone();
    move |config| {
        if let Some(serve) = &app.serve {
            config.service(scope(serve.mount_path(), serve.clone()));
        }
        let avatar = web::resource("/users/{user}/avatar")
            .app_data(FormLimit::new(MAX_REQUEST as u64))
            .app_data(web::PayloadConfig::new(MAX_REQUEST))
            .route(web::put().to(upload))
            .route(web::post().to(upload_form))
            .route(web::get().to(links))
            .route(web::delete().to(remove));
        config.app_data(web::Data::new(app)).service(avatar).route("/avatars", web::get().to(list));
    }
}

async fn upload(
    app: web::Data<App>,
    user: web::Path<u64>,
    picture: web::Bytes,
) -> Result<HttpResponse, Failure> {
    avatars::replace(&app.storage, &app.users, *user, picture).await?;
    Ok(HttpResponse::Created().finish())
}

/// Receives the picture as the file of a form, as browsers send it.
async fn upload_form(
    app: web::Data<App>,
    user: web::Path<u64>,
    mut form: UploadForm,
) -> Result<HttpResponse, Failure> {
    let Some(file) = form.next_file().await.map_err(StorageError::into_inner)? else {
        return Ok(HttpResponse::BadRequest().body("the form has no file"));
    };
    // Scaling needs the whole picture in memory.
    let picture = file.bytes_up_to(MAX_UPLOAD as u64).await?;
    avatars::replace(&app.storage, &app.users, *user, picture).await?;
    Ok(HttpResponse::Created().finish())
}

/// Lists the users with an avatar, each with a link to the small variant.
async fn list(app: web::Data<App>) -> Result<HttpResponse, Failure> {
    Ok(HttpResponse::Ok().json(avatars::list(&app.storage, &app.users).await?))
}

/// Responds with links to the variants. The pictures are private, so the links are signed.
async fn links(app: web::Data<App>, user: web::Path<u64>) -> Result<HttpResponse, Failure> {
    match avatars::links(&app.storage, &app.users, *user).await? {
        Some(links) => Ok(HttpResponse::Ok().json(links)),
        None => Ok(HttpResponse::NoContent().finish()),
    }
}

async fn remove(app: web::Data<App>, user: web::Path<u64>) -> Result<HttpResponse, Failure> {
    avatars::remove(&app.storage, &app.users, *user).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// An error as a response.
#[derive(Debug)]
enum Failure {
    Storage(StorageError),
    Avatar(AvatarError),
}

impl<E: Into<AvatarError>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            AvatarError::Storage(error) => Self::Storage(error.into()),
            error => Self::Avatar(error),
        }
    }
}

impl ResponseError for Failure {
    fn error_response(&self) -> HttpResponse {
        let status = match self {
            Self::Storage(error) => return error.error_response(),
            Self::Avatar(AvatarError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Avatar(AvatarError::NotAPicture(_)) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Avatar(AvatarError::UnknownUser) => StatusCode::NOT_FOUND,
            Self::Avatar(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        HttpResponse::build(status).body(self.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::Avatar(error) => error.fmt(f),
        }
    }
}
