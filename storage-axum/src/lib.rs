//! Uploads, downloads and errors of anystorage in handlers of axum 0.8.
//!
//! ```
//! use axum::extract::{Path, State};
//! use axum::http::{HeaderMap, StatusCode};
//! use axum::response::Response;
//! use axum::routing::{get, post};
//! use axum::{Router, extract::DefaultBodyLimit};
//! use storage_axum::{Respond, Result, UploadForm};
//! use storage_core::{Storage, keys};
//!
//! async fn upload(State(storage): State<Storage>, mut form: UploadForm) -> Result<StatusCode> {
//!     while let Some(file) = form.next_file().await? {
//!         let key = keys::unique("photos", file.file_name())?;
//!         storage.save(key, file.max_size(10 << 20)).await?;
//!     }
//!     Ok(StatusCode::CREATED)
//! }
//!
//! async fn download(
//!     State(storage): State<Storage>,
//!     Path(name): Path<String>,
//!     headers: HeaderMap,
//! ) -> Result<Response> {
//!     // Check first that the user may read it.
//!     storage.respond(format!("photos/{name}"), &headers).await
//! }
//!
//! fn router(storage: Storage) -> Router {
//!     Router::new()
//!         .route("/photos", post(upload).layer(DefaultBodyLimit::max(50 << 20)))
//!         .route("/photos/{name}", get(download))
//!         .with_state(storage)
//! }
//! # let _ = router(storage_core::Memory::storage());
//! ```
//!
//! - [`UploadForm`] is an extractor. Its files stream to a storage.
//! - [`Respond`] sends objects, with ranges and conditions: [`Storage::respond`](Respond::respond),
//!   and [`Object::respond`](RespondWith::respond) for objects that are open already.
//! - [`StorageError`] and [`OpenObject`] are responses: axum's trait cannot be implemented for the
//!   types of another crate.
//! - [`Serve`] is a service that axum mounts as it is:
//!
//! ```
//! use axum::Router;
//! use storage_axum::Serve;
//! use storage_core::{Result, Storage};
//!
//! /// Serves the links that `storage.url(key).expires_in(..)` makes.
//! fn router(storage: &Storage) -> Result<Router> {
//!     let serve = Serve::for_storage(storage)?;
//!     Ok(Router::new().nest_service(serve.mount_path(), serve.clone()))
//! }
//! ```
//!
//! # Why axum's own `Multipart` is not used
//!
//! A save owns its payload, because drivers may read it in another task. axum's `Field<'_>` borrows
//! from its `Multipart`, so it cannot be a payload. `Multipart` also keeps headers of any size in
//! memory. If a handler has such a field, write it piece by piece with
//! [`Storage::writer`](storage_core::Storage::writer), and call `finish` only if the field ended
//! without an error.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod error;
mod form;
mod respond;

pub use error::{Result, StorageError};
pub use form::UploadForm;
pub use respond::{OpenObject, Respond, RespondWith};
pub use storage_serve::Serve;
pub use storage_serve::form::UploadField;

// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
