//! [`Shared`]: the state that all verbs share.

use std::sync::Arc;

use storage_client::Spool;
use storage_core::LinkBase;

use crate::client::Client;
use crate::webdav::Webdav;

/// The state of a driver. Bodies and listings keep it alive.
pub(crate) type Shared = Arc<Inner>;

/// See [`Shared`].
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) writable: bool,
    /// Whether `list` is permitted to send requests.
    pub(crate) lists: bool,
    /// Whether a body that breaks off resumes over another connection.
    pub(crate) resume: bool,
    /// The base of public links.
    pub(crate) public_url: LinkBase,
    pub(crate) webdav: Webdav,
    pub(crate) spool: Arc<Spool>,
}
