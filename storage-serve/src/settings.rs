//! The settings of a [`Serve`](crate::Serve).

use std::time::Duration;

use storage_core::Storage;
use storage_core::signed_url::{Grant, SigningKey};

use crate::responder::Responder;

/// Where [`Serve`](crate::Serve) redirects clients instead of sending objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Redirect {
    /// Redirects to the public URL of the object (302).
    Public,
    /// Redirects to a link that the storage signs (302). It expires after this time, or when the
    /// link of the request expires, if that is earlier.
    Signed(Duration),
}

impl Redirect {
    /// Returns whether the redirect can pass on the type and the disposition that a link sets.
    pub(super) fn can_express(self, grant: &Grant) -> bool {
        let sets_nothing = grant.content_type.is_none() && grant.content_disposition.is_none();
        sets_nothing || self != Self::Public
    }
}

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) storage: Storage,
    pub(super) responder: Responder,
    pub(super) redirect: Option<Redirect>,
    pub(super) signing_key: Option<SigningKey>,
    pub(super) public_reads: bool,
    pub(super) max_upload_size: Option<u64>,
    pub(super) upload_idle_timeout: Duration,
}
