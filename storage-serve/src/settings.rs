//! What a server is set up with.

use std::time::Duration;

use storage_core::Storage;
use storage_core::signed_url::{Grant, SigningKey};

use crate::get::Reader;

/// Where a client is sent instead of being sent an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redirect {
    /// 302 to the storage's public URL of it.
    Public,
    /// 302 to a link that the storage signs, which works for so long.
    Signed(Duration),
}

impl Redirect {
    /// Whether an answer over there can be what a link to here says of it.
    pub(super) fn can_say(self, grant: &Grant) -> bool {
        let says_nothing = grant.content_type.is_none() && grant.content_disposition.is_none();
        says_nothing || self != Self::Public
    }
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) storage: Storage,
    pub(super) reader: Reader,
    pub(super) redirect: Option<Redirect>,
    pub(super) signing_key: Option<SigningKey>,
    pub(super) public_reads: bool,
    pub(super) max_upload_size: Option<u64>,
    pub(super) upload_idle_timeout: Duration,
}
