//! What an application with avatars does in any framework. `examples/avatars-axum`,
//! `examples/avatars-actix` and `examples/frameworks/loco` are the applications.
//!
//! | file | content |
//! |-|-|
//! | `avatar.rs` | saving, replacing, removing and showing the objects of an avatar |
//! | `picture.rs` | checking and scaling pictures |
//! | `users.rs` | a stand-in for a database |

mod avatar;
mod picture;
mod users;

pub use avatar::{Avatar, AvatarError, links, list, remove, replace};
pub use picture::{MAX_DECODED, MAX_UPLOAD};
pub use users::{UnknownUser, Users};

/// Compiles and runs the code of the page on attachments.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/attachments.md")]
mod attachments_page {}
