//! Uploads, downloads and errors of anystorage in handlers of actix-web 4.
//!
//! ```
//! use actix_web::{App, HttpRequest, HttpResponse, web};
//! use storage_actix::{FormLimit, Respond, Result, UploadForm};
//! use storage_core::{Storage, keys};
//!
//! async fn upload(storage: web::Data<Storage>, mut form: UploadForm) -> Result<HttpResponse> {
//!     while let Some(file) = form.next_file().await? {
//!         let key = keys::unique("photos", file.file_name())?;
//!         storage.save(key, file.max_size(10 << 20)).await?;
//!     }
//!     Ok(HttpResponse::Created().finish())
//! }
//!
//! async fn download(
//!     storage: web::Data<Storage>,
//!     name: web::Path<String>,
//!     request: HttpRequest,
//! ) -> Result<HttpResponse> {
//!     // Check first that the user may read it.
//!     storage.respond(format!("photos/{name}"), &request).await
//! }
//!
//! # let storage = storage_core::Memory::storage();
//! let app = App::new()
//!     .app_data(web::Data::new(storage))
//!     .app_data(FormLimit::new(50 << 20))
//!     .route("/photos", web::post().to(upload))
//!     .route("/photos/{name}", web::get().to(download));
//! # let _ = app;
//! ```
//!
//! - [`UploadForm`] is an extractor. Its files stream to a storage.
//! - [`Respond`] sends objects, with ranges and conditions: [`Storage::respond`](Respond::respond),
//!   and [`Object::respond`](RespondWith::respond) for objects that are open already.
//! - [`StorageError`] and [`OpenObject`] are responses: the traits of actix-web cannot be
//!   implemented for the types of another crate.
//! - [`scope()`] mounts a [`Serve`]. With the feature `uploads`, `uploads_scope` mounts a service
//!   for resumable uploads.
//!
//! # How a request reaches a storage
//!
//! The payload of a request in actix-web is not `Send`, so it stays in its thread. Drivers may read
//! a payload in another thread. A task in the thread of the request therefore passes on the chunks,
//! one at a time. If the task ends before the request has ended, the save fails.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod convert;
mod error;
mod form;
mod forwarded_body;
mod respond;
mod scope;
#[cfg(feature = "uploads")]
mod uploads;

pub use error::{Result, StorageError};
pub use form::{FormLimit, UploadForm};
pub use respond::{OpenObject, Respond, RespondWith};
pub use scope::scope;
pub use storage_serve::Serve;
pub use storage_serve::form::UploadField;
#[cfg(feature = "uploads")]
pub use uploads::uploads_scope;

// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
