//! Shared by the tests of faults: a [`File`] that a correct server sends, and the driver with a
//! scripted peer.

use std::time::Duration;

use bytes::Bytes;
use storage_core::Storage;
use storage_http::{Http, HttpBuilder};
use storage_testkit::http::{Peer, Request, Response};
use url::Url;

/// A timeout that a test exceeds.
const SHORT_TIMEOUT: Duration = Duration::from_millis(800);

/// When the files of the peer were saved, long before `DATE`.
const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const DATE: &str = "Fri, 20 Nov 2026 12:00:00 GMT";

/// A file of a correct server.
#[derive(Debug, Clone)]
pub(crate) struct File {
    pub(crate) bytes: Bytes,
    pub(crate) etag: &'static str,
}

impl File {
    pub(crate) fn new(bytes: impl Into<Bytes>, etag: &'static str) -> Self {
        Self { bytes: bytes.into(), etag }
    }

    pub(crate) fn headers(&self) -> String {
        let etag =
            if self.etag.is_empty() { String::new() } else { format!("ETag: {}\r\n", self.etag) };
        format!("{etag}Last-Modified: {MODIFIED}\r\nDate: {DATE}\r\nContent-Type: text/plain\r\n")
    }

    /// Returns the response to a GET or HEAD, with a range and `If-Match`.
    pub(crate) fn respond(&self, request: &Request) -> Response {
        if request.header("if-match").is_some_and(|wanted| wanted != self.etag) {
            return Response::new("412 Precondition Failed");
        }
        self.whole().in_range(request)
    }

    /// Returns the whole file for any request.
    pub(crate) fn whole(&self) -> Response {
        Response::ok(self.bytes.clone()).headers(&self.headers())
    }
}

/// The driver with a scripted peer.
pub(crate) trait PeerDriver {
    fn base_url(&self) -> Url;

    fn http(&self) -> HttpBuilder {
        Http::builder(self.base_url())
    }

    /// Returns a builder with short timeouts.
    fn with_short_timeouts(&self) -> HttpBuilder {
        self.http().header_timeout(SHORT_TIMEOUT).idle_timeout(SHORT_TIMEOUT)
    }

    /// Returns a read-only storage that lists.
    fn storage(&self) -> Storage {
        Storage::new(self.http().webdav(true).build().unwrap())
    }

    fn storage_with_short_timeouts(&self) -> Storage {
        Storage::new(self.with_short_timeouts().writable(true).build().unwrap())
    }

    fn writable(&self) -> Storage {
        Storage::new(self.http().writable(true).build().unwrap())
    }
}

impl PeerDriver for Peer {
    fn base_url(&self) -> Url {
        self.url().join("files/").unwrap()
    }
}
