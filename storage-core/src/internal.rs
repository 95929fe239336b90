//! What the crates of this workspace share beyond the contract. Not part of the public API: it may
//! change in any release.

pub use crate::hex::encode as hex;
pub use crate::link::object_url;
pub use crate::rfc3339::parse as parse_rfc3339;
pub use crate::text::{escape_html, escape_invisible, escape_invisible_in_json};
pub use crate::timestamp::floor_to_second;
pub use crate::ttl_cache::TtlCache;
