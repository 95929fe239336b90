//! An application with avatars, with loco. `main.rs` describes how to run it.
//!
//! | file | content |
//! |-|-|
//! | `app.rs` | the hooks: where the storage comes from, and where its links are served |
//! | `controller.rs` | the handlers, and errors as responses |
//! | `uploads.rs` | resumable uploads |
//! | `store_driver.rs` | the same storage as `ctx.storage` |

mod app;
mod controller;
mod store_driver;
mod uploads;

pub use app::{App, with_storage};
pub use store_driver::AnyStore;
pub use uploads::with_uploads;
