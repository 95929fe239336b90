//! The settings of these routes, and the options of [`Uploads`] that set them.

use std::time::Duration;

use url::Url;

use crate::uploads::Uploads;

/// The part size of Uppy's plugin for files of up to 48 GiB, in bytes.
const CLIENT_PART_SIZE: u64 = 5 << 20;
const PART_LINK_LIFETIME: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Clone)]
pub(in crate::uploads) struct Settings {
    /// The size of the parts that clients send, in bytes.
    pub(super) client_part_size: u64,
    pub(super) part_link_lifetime: Duration,
    /// Whether clients send parts to the storage, if it signs links for them.
    pub(super) is_direct: bool,
    /// The origin of this service's URLs. `None` for that of the request.
    pub(super) origin: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_part_size: CLIENT_PART_SIZE,
            part_link_lifetime: PART_LINK_LIFETIME,
            is_direct: true,
            origin: None,
        }
    }
}

/// Options of Uppy's S3 routes.
impl Settings {
    /// Returns the origin of this service's URLs, if it is configured.
    pub(in crate::uploads) fn origin(&self) -> Option<&str> {
        self.origin.as_deref()
    }
}

impl Uploads {
    /// Sets the size of the parts that Uppy's S3 plugin sends, in bytes: what its option
    /// `getChunkSize` returns. Defaults to 5 MiB, as in the plugin.
    ///
    /// The plugin does not send this size, and a storage needs it when the upload begins. A page
    /// that sends the size of the file as metadata `size` may upload more than 10,000 parts of this
    /// size, because the size of larger parts then follows from that of the file.
    #[must_use]
    pub fn client_part_size(self, bytes: u64) -> Self {
        self.set(|settings| settings.s3.client_part_size = bytes)
    }

    /// Sets whether clients of the S3 routes send parts straight to the storage, if it signs links
    /// for them as S3 does. Defaults to `true`. Set it to `false` if browsers cannot reach the
    /// storage, or if its CORS rules do not allow it: the parts then go through this service.
    #[must_use]
    pub fn direct_parts(self, is_direct: bool) -> Self {
        self.set(|settings| settings.s3.is_direct = is_direct)
    }

    /// Sets how long the link for one part works, in whole seconds. Defaults to `1h`. A client
    /// requests the link immediately before it sends the part, and requests another one if it has
    /// expired.
    #[must_use]
    pub fn part_link_lifetime(self, lifetime: Duration) -> Self {
        self.set(|settings| settings.s3.part_link_lifetime = lifetime)
    }

    /// Sets the scheme, the host and the port with which clients reach this service, such as
    /// `https://files.example.com`. Path and query are ignored.
    ///
    /// Clients of the S3 routes need absolute URLs. Without this option they contain the `Host` of
    /// the request, and the scheme of `X-Forwarded-Proto`, `Origin` or `Referer`. Set it if a proxy
    /// changes `Host`.
    #[must_use]
    pub fn public_origin(self, url: &Url) -> Self {
        self.set(|settings| settings.s3.origin = Some(url.origin().ascii_serialization()))
    }
}
