//! The protocol tus 1.0: <https://tus.io/protocols/resumable-upload>.
//!
//! | file | content |
//! |-|-|
//! | `handle.rs` | which request does what |
//! | `create.rs`, `append.rs` | POST, and PATCH with the body of either |
//! | `headers.rs`, `metadata.rs`, `checksum.rs`, `concat.rs` | reading headers |
//! | `respond.rs` | responses and their statuses |

mod append;
mod checksum;
mod concat;
mod create;
mod handle;
mod headers;
mod metadata;
mod respond;

pub(super) use append::{chunks, has_type};
pub(super) use create::is_final;
pub(super) use handle::{describe, handle};
pub(super) use metadata::read as read_metadata;
pub(super) use respond::{Rejection, empty};
