//! The names that most applications import: `use anystorage::prelude::*;`.
//!
//! Contains [`Storages`], which opens the storages of an application, and the types that appear in
//! calls of [`Storage`] and in their results. No name in it hides one of the standard library's
//! prelude: `Result` and `Error` are not included, so write `anystorage::Result`. The items for
//! drivers and layers are not included either.
//!
//! ```
//! use anystorage::prelude::*;
//!
//! async fn greeting(storages: &Storages) -> anystorage::Result<String> {
//!     let storage: Storage = storages.default_storage()?;
//!     match storage.open("greeting.txt").await {
//!         Ok(object) => object.text().await,
//!         Err(error) if error.is_not_found() => Ok("hello".to_owned()),
//!         Err(error) => Err(error),
//!     }
//! }
//! ```

#[doc(inline)]
pub use storage_core::prelude::*;

pub use crate::Storages;
