//! The settings of a [`Serve`](crate::Serve).

use std::time::Duration;

use storage_core::signed_url::Grant;
use storage_core::{Error, Key, LinkBase, LinkVerifier, Result, Storage};

use crate::cors::Cors;
use crate::key::key_from_path;
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
    pub(super) links: Option<LinkVerifier>,
    pub(super) strips_base_path: bool,
    pub(super) public_reads: bool,
    pub(super) max_upload_size: Option<u64>,
    pub(super) upload_idle_timeout: Duration,
    pub(super) cors: Option<Cors>,
}

impl Settings {
    /// Returns the path of the URL below which links are, without a slash at its end.
    pub(super) fn base_path(&self) -> &str {
        self.links.as_ref().and_then(LinkVerifier::base).map_or("", LinkBase::path)
    }

    /// Returns whether an upload can be accepted.
    pub(super) fn accepts_uploads(&self) -> bool {
        self.links.as_ref().is_some_and(LinkVerifier::accepts_uploads)
    }

    /// Returns the key in the path of a request. It begins with the prefixes of the storage if
    /// `Serve` was made for its links.
    pub(super) fn linked_key(&self, path: &str) -> Result<Key> {
        let below = if self.strips_base_path {
            let rest = path.strip_prefix(self.base_path()).filter(|rest| rest.starts_with('/'));
            rest.ok_or_else(Error::not_found)?
        } else {
            path
        };
        key_from_path(below)
    }

    /// Returns the key that the storage has for a key in a path.
    pub(super) fn object_key(&self, linked: Key) -> Result<Key> {
        match &self.links {
            Some(links) => links.key(&linked),
            None => Ok(linked),
        }
    }
}
