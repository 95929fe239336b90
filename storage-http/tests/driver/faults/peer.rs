//! Shared by the tests of faults: a [`File`] that a correct server sends, and the driver with a
//! scripted peer.

use std::time::Duration;

use bytes::Bytes;
use storage_core::Storage;
use storage_http::{Http, HttpBuilder};
use storage_testkit::http::{Peer, Request, Response};
use url::Url;

/// A timeout that no test reaches, unless it advances its clock.
pub(crate) const GENEROUS: Duration = Duration::from_secs(60);

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
        Http::builder(self.base_url()).header_timeout(GENEROUS).idle_timeout(GENEROUS)
    }

    /// Returns a read-only storage that lists.
    fn storage(&self) -> Storage {
        Storage::new(self.http().webdav(true).build().unwrap())
    }

    fn writable(&self) -> Storage {
        Storage::new(self.http().writable(true).build().unwrap())
    }
}

/// Advances the test's clock. The timeouts of tasks that wait for a socket pass.
pub(crate) async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Awaits a call to which the peer does not respond: its timeout passes once the peer has got a
/// request with this method.
pub(crate) async fn timed_out<T>(
    peer: &Peer,
    method: &str,
    call: impl IntoFuture<Output = T>,
) -> T {
    let passes = async {
        peer.until_requested(method, 1).await;
        // A save waits for the sum of both timeouts.
        later(2 * GENEROUS).await;
    };
    tokio::join!(call.into_future(), passes).0
}

impl PeerDriver for Peer {
    fn base_url(&self) -> Url {
        self.url().join("files/").unwrap()
    }
}
