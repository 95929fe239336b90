//! A scripted HTTP server as the origin of a mirror.

use storage_core::Storage;
use storage_http::Http;
use storage_testkit::http::{Gate, Peer, Response};

/// A storage on the files of a peer.
pub(crate) fn storage(peer: &Peer) -> Storage {
    Storage::new(Http::builder(peer.url()).build().unwrap())
}

/// A response with an ETag, after which the connection is closed.
pub(crate) fn object() -> Response {
    Response::new("200 OK").header("ETag", "\"v1\"").close()
}

/// The beginning of a response whose body is chunked, after which the connection is closed.
pub(crate) fn chunked() -> Response {
    object().header("Transfer-Encoding", "chunked")
}

/// `0123456789`. The second half is held back until the gate is open.
pub(crate) fn in_two_halves() -> (Peer, Gate) {
    let gate = Gate::new();
    let held = gate.clone();
    let peer = Peer::start(move |_| object().body("01234").wait(&held).body("56789"));
    (peer, gate)
}
