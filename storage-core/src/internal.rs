//! What the crates of this workspace share beyond the contract. Not part of the public API: it may
//! change in any release.

pub use crate::atomic_file::unfinished_files;
pub use crate::blocking_pool::{detach, run_blocking};
#[cfg(feature = "checksums")]
pub use crate::composed_crc::compose_crc;
pub use crate::file_stream::CachedRead;
pub use crate::hex::encode as hex;
pub use crate::link::object_url;
pub use crate::multipart::stream_or_error;
pub use crate::object::with_cached_read;
pub use crate::random::fraction as random_fraction;
pub use crate::rfc3339::parse as parse_rfc3339;
pub use crate::signed_url::{is_signature_of_text, sign_text};
pub use crate::text::{escape_html, escape_invisible, escape_invisible_in_json};
pub use crate::timestamp::{floor_to_second, unix_seconds};
pub use crate::ttl_cache::TtlCache;
