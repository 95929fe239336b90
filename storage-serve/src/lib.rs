//! The server side of HTTP for anystorage: [`Serve`] serves the objects of any storage.
//!
//! ```
//! use http::{Request, StatusCode};
//! use http_body_util::{BodyExt, Empty};
//! use storage_serve::Serve;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = storage_core::Memory::storage();
//! storage.save("notes/a.txt", "hello").await?;
//!
//! let request = Request::get("/notes/a.txt")
//!     .header("range", "bytes=1-2")
//!     .body(Empty::<bytes::Bytes>::new())?;
//! let response = Serve::new(storage).handle(request).await;
//! assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
//! assert_eq!(response.headers()["content-range"], "bytes 1-2/5");
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "el");
//! # Ok(()) }
//! ```
//!
//! `Serve` is a `tower` service, so it mounts in axum, hyper and every other `tower` server. Use
//! [`Serve::handle`] without `tower`. The handlers of an application send single objects with
//! [`respond`], and receive forms with [`form::UploadForm`].
//!
//! # Guarantees
//!
//! - **Conditions and ranges** follow RFC 9110 sections 13 and 14. A response contains one version
//!   of the object, even if the object is replaced while it is sent.
//! - **Bounded memory.** Bodies stream. Dropping the future or the body stops reading.
//! - **Complete or visibly incomplete.** If a body fails, the server closes the connection, so that
//!   the client detects that the body is incomplete.
//! - **Safe for uploaded files.** Each response with content has `X-Content-Type-Options: nosniff`.
//!   Content that can execute scripts is downloaded rather than displayed ([`ActiveContent`]).
//! - **Signed links** ([`storage_core::signed_url`]) allow exactly their method and key. A link for
//!   an upload binds the length and the type if it contains them.
//! - **No internals in errors.** A response contains only the kind of a failure. The log
//!   (`tracing`) contains the message.
//!
//! # Options
//!
//! | method | default | meaning |
//! |-|-|-|
//! | [`for_storage`](Serve::for_storage) | | require the signed links of a storage |
//! | [`strip_mount_path`](Serve::strip_mount_path) | off | remove the path of the service |
//! | [`signing_key`](Serve::signing_key) | none | require links that are signed with this key |
//! | [`public_reads`](Serve::public_reads) | off | require links only for uploads |
//! | [`active_content`](Serve::active_content) | `Attachment` | treatment of content with scripts |
//! | [`cache_control`](Serve::cache_control) | none | `Cache-Control` of objects without one |
//! | [`user_metadata`](Serve::user_metadata) | `false` | send user metadata as headers |
//! | [`encoding_policy`](Serve::encoding_policy) | `Decode` | objects whose encoding a client does not accept |
//! | [`redirect`](Serve::redirect) | none | redirect to the storage instead of sending objects |
//! | [`cors`](Serve::cors) | none | let pages of other origins read and upload |
//! | [`max_upload_size`](Serve::max_upload_size) | none | upper bound for uploads, in bytes |
//! | [`upload_idle_timeout`](Serve::upload_idle_timeout) | `30s` | time without data in an upload |
//!
//! # Limits
//!
//! Objects below a directory `.uploads`, at any level, have no path, because they are the state of
//! unfinished uploads: 404 for GET and HEAD.
//!
//! `Serve` does not list keys or delete objects. TLS and limits on connections are up to the server
//! that runs it.
//!
//! # The source in reading order
//!
//! | file | content |
//! |-|-|
//! | `serve.rs`, `settings.rs` | [`Serve`] and its options |
//! | `handle.rs` | how it handles a request |
//! | `malformed.rs`, `key.rs`, `authorization.rs` | rejected requests; keys; signed links |
//! | `responder.rs`, `negotiation.rs`, `source.rs` | GET and HEAD of an object of any source |
//! | `respond.rs` | responses of an application's own handlers |
//! | `preconditions.rs`, `ranges.rs` | conditions and ranges, RFC 9110 sections 13 and 14 |
//! | `encoding.rs`, `decode.rs` | encodings that a client does not accept |
//! | `header_policy.rs`, `active_content.rs`, `user_metadata.rs` | the headers of an object |
//! | `responses.rs`, `errors.rs`, `body.rs`, `exclusive.rs` | responses, their statuses and their bodies |
//! | `put.rs`, `request_body.rs` | uploads by signed link |
//! | `cors.rs` | pages of other origins |
//! | `form/`, `file_name.rs` | uploads by HTML forms (feature `form`); file names in headers |
//! | `uploads/` | resumable uploads (feature `uploads`) |
//! | `website/` | [`Website`](website::Website): pages of a website, with precompressed forms |

#![cfg_attr(docsrs, feature(doc_cfg))]

mod active_content;
mod authorization;
mod body;
mod body_headers;
mod cors;
mod decode;
mod encoding;
mod errors;
mod exclusive;
#[cfg(any(feature = "form", feature = "uploads"))]
mod file_name;
#[cfg(feature = "form")]
pub mod form;
mod handle;
mod header_policy;
mod key;
mod malformed;
mod negotiation;
mod preconditions;
mod put;
mod ranges;
mod request_body;
mod respond;
mod responder;
mod responses;
mod serve;
mod settings;
mod source;
#[cfg(feature = "uploads")]
pub mod uploads;
mod user_metadata;
pub mod website;

pub use active_content::{ActiveContent, is_active_content};
pub use body::ResponseBody;
pub use cors::Cors;
pub use encoding::EncodingPolicy;
pub use errors::{error_response, error_response_of_call};
pub use request_body::RequestBody;
pub use respond::{respond, respond_with};
pub use serve::Serve;
pub use settings::Redirect;

/// The parts of [`Serve`] that the mirror's server also uses. Not part of the public API: any
/// release may change them.
#[doc(hidden)]
pub mod internal {
    pub use crate::body::{Chunks, OpenRange};
    pub use crate::cors::{Access, CorsExchange};
    pub use crate::errors::{error_response_unlogged, method_not_allowed, text_response};
    pub use crate::handle::READING;
    pub use crate::header_policy::{HeaderOverrides, HeaderPolicy};
    pub use crate::key::{is_upload_state, key_from_path};
    pub use crate::malformed::reject_malformed;
    pub use crate::preconditions::{
        Preconditions, evaluate_preconditions, is_conditional, range_applies,
    };
    pub use crate::ranges::{ResolvedRanges, parse_range, resolve_ranges};
    pub use crate::responder::Responder;
    pub use crate::responses::{Decision, decide};
    pub use crate::source::Source;
    pub use crate::website::expected::ExpectedSource;
    pub use crate::website::requests::{
        accepted_form, directory_redirect, missing_headers, path_of, set_missing, vary_by_encoding,
    };

    /// Responses by status.
    pub mod responses {
        pub use crate::responses::{
            finish, make_private, not_modified, not_satisfiable, part, parts, precondition_failed,
            whole, without_body,
        };
    }
}

// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
