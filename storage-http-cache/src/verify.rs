//! [`Verify`]: how to find out whether a mirror has an object.

use serde::Deserialize;
use storage_core::{Error, Result};

/// How to find out whether a mirror has an object before a link to it is made. Also determines the
/// URLs of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verify {
    /// `GET /verify/<key>` returns JSON; objects are at `/download/<key>`. This is the protocol of
    /// the cache tier, for the server of `storage-mirror` and the original one.
    #[default]
    CacheTier,
    /// `HEAD /<key>`; objects are at `/<key>`. For any web server: a file server, or a cache such
    /// as nginx with `proxy_cache`. ETags of such a mirror are not compared with those of origin;
    /// sizes are.
    Head,
    /// No verification: a healthy mirror has every object, or fetches it. Objects are at `/<key>`.
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
