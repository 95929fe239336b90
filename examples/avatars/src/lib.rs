//! The application. `main.rs` describes how to run it.
//!
//! | file | content |
//! |-|-|
//! | `app.rs` | the routes, and errors as responses |
//! | `avatar.rs` | saving, replacing and removing the objects of an avatar |
//! | `picture.rs` | checking and scaling pictures |
//! | `users.rs` | a stand-in for a database |

mod app;
mod avatar;
mod picture;
mod users;

pub use app::router;
pub use avatar::{Avatar, AvatarError, remove, replace};
pub use picture::{MAX_DECODED, MAX_UPLOAD};
pub use users::{UnknownUser, Users};

/// Compiles and runs the code of the page on attachments.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/attachments.md")]
mod attachments_page {}

/// Compiles the code of the page on web frameworks.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/frameworks.md")]
mod frameworks_page {}
