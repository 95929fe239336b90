//! The HTTP client that the drivers `s3`, `http` and `http-cache` share.
//!
//! This crate is internal. It is published only because the published drivers depend on it, and any
//! release may change it. Applications use `anystorage` instead. Authors of drivers for other HTTP
//! backends may copy code from it.
//!
//! | module | content |
//! |---|---|
//! | `connection` | [`ClientConfig`]: builds an HTTP client that follows no redirection and decodes no body |
//! | `response` | [`Response`] and [`ResponseBody`]: chunks that must arrive within a time limit |
//! | `resume` | [`ResumableBody`]: a body that continues over another connection |
//! | `spool` | [`Spool`]: collects bodies without a length in temporary files of bounded size |
//! | `backoff` | [`Backoff`]: the delays between attempts |
//! | `conditions` | [`open_headers`]: the range and the conditions of `open` as headers |
//! | `headers` | single headers: lengths, ranges, ETags, dates, `Retry-After` |
//! | `metadata` | metadata and user metadata from the headers of a response |
//! | `freshness` | [`response_meta`]: `Age`, `Date` and `Vary` |
//! | `errors` | errors of connections, without URLs |
//! | `tls` | the cryptography of `https`, by features |
//!
//! # Guarantees
//!
//! - No error contains a URL, because a URL may contain a signature.
//! - Memory is bounded: no function reads a body into memory without a limit.
//! - A body never contains bytes of two versions: it continues only if a strong ETag proves that
//!   the version is the same, and that the server sends the positions that were requested.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backoff;
mod conditions;
mod connection;
mod errors;
mod freshness;
mod headers;
mod metadata;
mod response;
mod resume;
mod spool;
mod tls;

pub use backoff::Backoff;
pub use conditions::open_headers;
pub use connection::{ClientConfig, MAX_HEADERS, Route, bypasses_proxies, is_loopback};
pub use errors::{changed_while_read, root_cause, send_error, timeout_error};
pub use freshness::response_meta;
pub use headers::{
    content_length, content_range, content_range_size, etag, header_text, header_value, http_date,
    parse_etag, parse_size, received_range, retry_after,
};
pub use metadata::{
    add_user_metadata, insert_user_metadata, object_meta, percent_decoded, standard_metadata,
};
pub use response::{Response, ResponseBody};
pub use resume::{Reopen, ResumableBody, Segment, resumed_positions};
pub use spool::{BodyEnd, Reservation, Spool, Spooled, body_end};
pub use tls::check_tls_support;
