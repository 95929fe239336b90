//! The IETF draft of resumable uploads, interop version 8 (draft-ietf-httpbis-resumable-upload-11),
//! and plain uploads, which are the same without its headers.
//!
//! Clients of the versions 3 to 7 are understood too. No interim response (104) is sent, because
//! hyper cannot send one. A client learns the URL of its upload by beginning an empty one.
//!
//! | file | content |
//! |-|-|
//! | `handle.rs` | which request does what |
//! | `create.rs`, `append.rs` | POST or PUT, and PATCH |
//! | `fields.rs`, `structured.rs`, `digest.rs` | reading headers (RFC 9651, RFC 9530) |
//! | `respond.rs`, `problem.rs` | responses; errors as problem documents (RFC 9457) |

mod append;
mod create;
mod digest;
mod fields;
mod handle;
mod problem;
mod respond;
mod structured;

pub(super) use fields::{is_of_draft, is_whole};
pub(super) use handle::handle;
pub(super) use respond::describe;
