//! An HTTP server that shows one file under every name.

use storage_testkit::http::{Peer, Request, Response};

/// Starts a server. `respond` returns status and headers; responses to GET and HEAD have the body
/// `hello`.
pub(crate) fn server_of_hello(respond: impl Fn(&Request) -> Response + Send + 'static) -> Peer {
    Peer::start(move |request| match &*request.method {
        "GET" | "HEAD" => respond(request).body("hello"),
        _ => respond(request),
    })
}

/// Returns the configuration of a storage that reaches the server under one of its names.
pub(crate) fn storage(server: &Peer, name: &str, host: &str) -> String {
    let port = server.address().port();
    format!(
        "[storages.{name}]\ndriver = 'http'\nbase_url = 'http://{host}:{port}/'\nwritable = true\n"
    )
}

/// Whether the server has received any other request than HEAD and OPTIONS.
pub(crate) fn was_only_looked_at(server: &Peer) -> bool {
    server.requests().iter().all(|request| matches!(&*request.method, "HEAD" | "OPTIONS"))
}
