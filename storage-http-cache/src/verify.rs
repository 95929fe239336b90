//! [`Verify`]: how the driver checks whether a mirror has an object.

use serde::Deserialize;
use storage_core::{Error, Result};

/// How the driver checks that a mirror has an object before it returns a link to it. Also
/// determines the URLs of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verify {
    /// By `GET /verify/<key>`, which returns JSON. Objects are at `/download/<key>`. This is the
    /// protocol of the server of `storage-mirror` and of the Python program `cache-tier`.
    #[default]
    CacheTier,
    /// By `HEAD /<key>`. Objects are at `/<key>`. For any web server: a file server, or a cache
    /// such as nginx with `proxy_cache`. The sizes of such a mirror are compared with those of
    /// origin, but not its ETags.
    Head,
    /// Not at all, for a mirror that has every object or fetches it. Objects are at `/<key>`.
    None,
}

/// The document of `/verify/`, as the original protocol defines it.
#[derive(Debug, Deserialize)]
struct Verdict {
    available: bool,
    #[serde(default)]
    error: bool,
}

/// Reads the document of `/verify/` and returns whether the mirror has the object.
pub(crate) fn parse_verdict(document: &[u8]) -> Result<bool> {
    let verdict: Verdict = serde_json::from_slice(document).map_err(|cause| {
        let message = "the response to /verify/ does not follow the protocol of the cache tier: \
                       set verify = \"head\" for other servers";
        Error::unexpected(message, cause.to_string())
    })?;
    Ok(verdict.available && !verdict.error)
}
