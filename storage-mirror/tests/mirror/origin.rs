//! A scripted HTTP server as the origin of a mirror.

use std::time::Duration;

use storage_core::Storage;
use storage_http::Http;
use storage_testkit::http::{Gate, Peer, Response};

/// Returns a storage that reads from a peer.
pub(crate) fn storage(peer: &Peer) -> Storage {
    at(peer.url())
}

/// Returns a storage that reads from a URL, with time limits that no test reaches.
pub(crate) fn at(url: url::Url) -> Storage {
    let minute = Duration::from_secs(60);
    let builder = Http::builder(url).header_timeout(minute).idle_timeout(minute);
    Storage::new(builder.build().unwrap())
}

/// Returns a response with an ETag that closes the connection.
pub(crate) fn object() -> Response {
    Response::new("200 OK").header("ETag", "\"v1\"").close()
}

/// Returns the head of a response with a chunked body that closes the connection.
pub(crate) fn chunked() -> Response {
    object().header("Transfer-Encoding", "chunked")
}

/// Returns a peer that serves `0123456789`. It sends the second half once the gate is open.
pub(crate) fn in_two_halves() -> (Peer, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let peer = Peer::start(move |_| object().body("01234").wait(&held).body("56789"));
    (peer, gate)
}
