//! [`Serve`]: a storage as an HTTP service, and the parts it is made of, for servers of another kind.
//!
//! | | |
//! |---|---|
//! | [`malformed`] | requests that must be refused, RFC 9112 |
//! | [`key_of`] | the key that a path names |
//! | [`evaluate`], [`range_applies`] | preconditions and If-Range, RFC 9110, section 13 |
//! | [`asked`], [`select`] | the Range header, RFC 9110, section 14 |
//! | [`decide`] and [`respond`] | what a GET or HEAD comes to, and its answer |
//! | [`Policy`] | the headers of an object, and what keeps browsers from harm |
//! | [`Reader`] | all of that, for objects of any [`Source`] |
//! | [`Body`] | the body of an answer |

mod access;
mod body;
mod conditions;
mod content;
mod decode;
mod encoding;
mod errors;
mod get;
mod key;
mod malformed;
mod put;
mod ranges;
pub mod respond;
mod serve;
mod settings;
mod source;
mod user_metadata;

pub use body::{Body, Chunks, OpenRange};
pub use conditions::{Verdict, evaluate, is_conditional, range_applies};
pub use content::{Active, Overrides, Policy, is_active};
pub use encoding::Encoded;
pub use errors::{failure, failure_response, method_not_allowed, plain};
pub use get::Reader;
pub use key::key_of;
pub use malformed::malformed;
pub use ranges::{Selection, asked, select};
pub use respond::{Decision, decide};
pub use serve::{RequestBody, Serve};
pub use settings::Redirect;
pub use source::Source;
