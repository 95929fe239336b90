//! `serve`.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command};

use rustix::process::Signal;

use crate::support::{Sandbox, signal};

/// A running server, which is killed on drop.
pub(crate) struct Server {
    child: Child,
    lines: Lines<BufReader<ChildStderr>>,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(sandbox: &Sandbox, arguments: &[&str]) -> Self {
        let arguments = [&["serve", "--listen", "127.0.0.1:0"], arguments].concat();
        Self::spawn(&mut sandbox.command(&arguments))
    }

    /// Starts a command that serves a storage on a port of 127.0.0.1.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let line = lines.next().unwrap().unwrap();
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
        let warning = lines.next().unwrap().unwrap();
        assert!(warning.contains("serve only content that you trust"), "{warning}");
        Self { child, lines, address }
    }

    /// Returns the whole response to a request with these headers and this body.
    pub(crate) fn request(&self, line: &str, headers: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = if headers.contains("Host:") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.address)
        };
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        let head =
            format!("{line} HTTP/1.1\r\n{host}{headers}{length}Connection: close\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        String::from_utf8(response).unwrap()
    }

    /// Stops the server and returns what it printed to standard error.
    pub(crate) fn log(mut self) -> String {
        self.child.kill().unwrap();
        self.lines.by_ref().map(|line| line.unwrap() + "\n").collect()
    }

    pub(crate) fn get(&self, path: &str) -> String {
        self.request(&format!("GET {path}"), "", "")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn status(response: &str) -> u16 {
    response.split(' ').nth(1).unwrap().parse().unwrap()
}

#[test]
fn objects_are_served_with_ranges_and_conditions() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/b.txt", "hello");
    let server = Server::start(&sandbox, &["media:"]);
    let response = server.get("/a/b.txt");
    assert!(status(&response) == 200 && response.ends_with("\r\n\r\nhello"), "{response}");
    let etag = response.lines().find(|line| line.starts_with("etag: ")).unwrap().to_owned();
    let response = server.request("GET /a/b.txt", "Range: bytes=1-2\r\n", "");
    assert!(status(&response) == 206 && response.ends_with("\r\n\r\nel"), "{response}");
    let header = etag.replacen("etag", "If-None-Match", 1) + "\r\n";
    assert_eq!(status(&server.request("GET /a/b.txt", &header, "")), 304);
    let response = server.request("HEAD /a/b.txt", "", "");
    assert!(status(&response) == 200 && response.ends_with("\r\n\r\n"), "{response}");
    assert_eq!(status(&server.get("/nothing")), 404);
    assert_eq!(status(&server.get("/a/%2e%2e/b.txt")), 404);
}

#[test]
fn a_directory_has_a_page_or_its_index() {
    let sandbox = Sandbox::new();
    sandbox.put("media:plain/<b>&.txt", "x");
    sandbox.put("media:plain/deep/a", "x");
    sandbox.put("media:site/index.html", "<h1>welcome</h1>");
    let server = Server::start(&sandbox, &["media:"]);
    let page = server.get("/");
    assert!(page.contains("<a href=\"/plain/\">plain/</a>"), "{page}");
    assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
    let page = server.get("/plain/");
    assert!(page.contains("<a href=\"/plain/%3Cb%3E%26.txt\">&lt;b&gt;&amp;.txt</a>"), "{page}");
    assert!(page.contains("<a href=\"/\">../</a>") && page.contains("/plain/deep/"), "{page}");
    let index = server.get("/site/");
    assert!(index.contains("content-type: text/html") && index.ends_with("<h1>welcome</h1>"));
    assert!(!index.contains("attachment") && !index.contains("sandbox"), "{index}");
    // Without the slash, relative links of the page would lead elsewhere.
    let response = server.get("/site");
    assert!(status(&response) == 302 && response.contains("location: /site/\r\n"), "{response}");
    assert_eq!(status(&server.get("/none/")), 404);
    assert_eq!(status(&server.get("//evil.example/")), 404);
    // A browser reads `/\` as `//`, which would be another host.
    sandbox.put(r"media:\evil.example/a", "x");
    let response = server.get(r"/%5Cevil.example");
    assert!(response.contains("location: /%5Cevil.example/\r\n"), "{response}");
}

#[test]
fn a_long_directory_has_pages() {
    let sandbox = Sandbox::new();
    for n in 0..1001 {
        sandbox.write(&format!("media/d/{n:04}"), "");
    }
    let server = Server::start(&sandbox, &["media:"]);
    let page = server.get("/d/");
    assert!(page.contains(">0999</a>") && !page.contains(">1000</a>"), "{page}");
    let next = page.split("<a href=\"").last().unwrap().split('"').next().unwrap().to_owned();
    let page = server.get(&next);
    assert!(page.contains(">1000</a>") && !page.contains(">0999</a>"), "{next}: {page}");
    assert!(!page.contains("Next page"));
}

#[test]
fn a_directory_can_be_served_alone() {
    let sandbox = Sandbox::new();
    sandbox.put("media:d/in/a", "inside");
    sandbox.put("media:out", "outside");
    for location in ["media:d", "media:d/", "./media/d"] {
        let server = Server::start(&sandbox, &[location]);
        assert!(server.get("/in/a").ends_with("inside"), "{location}");
        assert_eq!(status(&server.get("/out")), 404, "{location}");
    }
}

#[test]
fn the_server_is_read_only_unless_an_option_says_otherwise() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "old");
    let server = Server::start(&sandbox, &["media:"]);
    for method in ["PUT", "DELETE", "POST"] {
        let response = server.request(&format!("{method} /a"), "", "new");
        assert!(
            status(&response) == 405 && response.contains("allow: GET, HEAD, OPTIONS"),
            "{response}"
        );
    }
    drop(server);
    let server = Server::start(&sandbox, &["--writable", "media:"]);
    let response = server.request("PUT /b/c", "Content-Type: text/x-odd\r\n", "new");
    assert_eq!(status(&response), 201, "{response}");
    assert_eq!(status(&server.request("PUT /b/c", "If-None-Match: *\r\n", "newer")), 412);
    assert_eq!(sandbox.cat("media:b/c"), "new");
    assert!(sandbox.run(&["stat", "media:b/c"]).done().contains("content_type: text/x-odd"));
    assert_eq!(status(&server.request("DELETE /a", "", "")), 204);
    assert_eq!(status(&server.get("/a")), 404);
    let error =
        sandbox.run(&["serve", "--listen", "127.0.0.1:0", "--writable", "frozen:"]).failed(1);
    assert!(error.contains("read-only"), "{error}");
}

#[test]
fn another_site_can_neither_read_nor_write_through_a_browser() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "secret");
    let server = Server::start(&sandbox, &["--writable", "media:"]);
    for host in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1", ""] {
        let response = server.request("GET /a", &format!("Host: {host}\r\n"), "");
        assert_eq!(status(&response), 421, "{host:?}: {response}");
    }
    for host in ["localhost", "localhost:8080", "127.0.0.1", "[::1]:80", "app.localhost"] {
        assert_eq!(
            status(&server.request("GET /a", &format!("Host: {host}\r\n"), "")),
            200,
            "{host}"
        );
    }
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        let header = format!("Origin: {origin}\r\n");
        assert_eq!(status(&server.request("PUT /a", &header, "evil")), 403, "{origin}");
        assert_eq!(status(&server.request("DELETE /a", &header, "")), 403, "{origin}");
    }
    let own = format!("Origin: http://{}\r\n", server.address);
    assert_eq!(status(&server.request("PUT /b", &own, "mine")), 201);
    assert_eq!(sandbox.cat("media:a"), "secret");
}

#[test]
fn a_signal_stops_the_server_successfully() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "x");
    for sent in [Signal::INT, Signal::TERM] {
        let mut server = Server::start(&sandbox, &["media:"]);
        // An idle connection does not keep the server.
        let _idle = TcpStream::connect(&server.address).unwrap();
        signal(&server.child, sent);
        assert_eq!(server.child.wait().unwrap().code(), Some(0), "{sent:?}");
    }
}

#[test]
fn serve_refuses_what_it_cannot_serve() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "x");
    let listen = ["serve", "--listen", "127.0.0.1:0"];
    for (location, code) in [("media:none/", 1), ("./media/a", 1), ("nonesuch:", 2), ("-", 2)] {
        sandbox.run(&[&listen[..], &[location]].concat()).failed(code);
    }
    for wrong in ["8080", "example.com:80", "127.0.0.1"] {
        let error = sandbox.run(&["serve", "--listen", wrong, "media:"]).failed(2);
        assert!(error.contains("127.0.0.1:8080"), "{error}");
    }
    let server = Server::start(&sandbox, &["media:"]);
    let error = sandbox.run(&["serve", "--listen", &server.address, "media:"]).failed(1);
    assert!(error.contains(&server.address), "{error}");
}
