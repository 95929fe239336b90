//! The mirror server as a process: signals, reloading, kills.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, Command};

use rustix::process::Signal;
use storage_testkit::http::{Peer, Request, Response, closed_port};

use crate::support::{Run, Sandbox, signal, wait_until};

pub(crate) const TOKEN: &str = "canary-token-of-the-tests";

pub(crate) fn configured(origin: &str, more: &str) -> String {
    format!(
        "listen = \"127.0.0.1:0\"\ncache_dir = \"cache\"\nmax_size = \"100MiB\"\nadmin_token = \"{TOKEN}\"\nworkers = 1\n{more}\n\
         origin = \"media\"\n\n[storages.media]\n{origin}\n"
    )
}

pub(crate) const FILES: &str = "driver = \"fs\"\nroot = \"media\"";

/// A running mirror, which is killed on drop.
pub(crate) struct Mirror {
    child: Child,
    log: BufReader<ChildStderr>,
    pub(crate) address: String,
}

impl Mirror {
    pub(crate) fn start(sandbox: &Sandbox) -> Self {
        Self::spawn(&mut sandbox.command(&["mirror", "--config", "mirror.toml"]))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut mirror = Self { child, log, address: String::new() };
        let line = mirror.until("the mirror is listening");
        assert!(!line.contains("admin=None"), "{line}");
        let address = line.split("listen=").nth(1).unwrap().split_whitespace().next().unwrap();
        mirror.address = address.to_owned();
        mirror
    }

    /// Reads the log up to a line with this text.
    fn until(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.log.read_line(&mut line).unwrap() > 0, "the log ended before: {text}");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Returns the whole response to a request, with its headers.
    pub(crate) fn request(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "{request} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut response = Vec::new();
        stream.read_to_end(&mut response).unwrap();
        String::from_utf8(response).unwrap()
    }

    /// Waits until the cache contains an object.
    pub(crate) fn until_cached(&self) {
        wait_until(|| self.request("GET /metrics").contains("anystorage_mirror_objects 1\n"));
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_until(stream: &mut TcpStream, end: &[u8]) {
    let mut received = Vec::new();
    while !received.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        received.push(byte[0]);
    }
}

fn files_below(directory: &Path) -> usize {
    let entries =
        std::fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

#[test]
fn the_mirror_serves_the_objects_of_origin_until_a_signal() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a/b.txt", "hello");
    sandbox.write("mirror.toml", configured(FILES, ""));
    let mut mirror = Mirror::start(&sandbox);
    let response = mirror.request("GET /a/b.txt");
    assert!(
        response.starts_with("HTTP/1.1 200 OK") && response.ends_with("\r\n\r\nhello"),
        "{response}"
    );
    assert!(mirror.request("GET /nope").starts_with("HTTP/1.1 404"));
    signal(&mirror.child, Signal::TERM);
    assert_eq!(mirror.child.wait().unwrap().code(), Some(0));
    mirror.until("the mirror has stopped");
}

#[cfg(target_os = "linux")]
#[test]
fn systemd_receives_the_start_and_the_stop_of_the_mirror() {
    use std::os::unix::net::UnixDatagram;
    let sandbox = Sandbox::new();
    sandbox.write("mirror.toml", configured(FILES, ""));
    let socket = sandbox.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let received = || {
        let mut state = [0; 200];
        let length = manager.recv(&mut state).unwrap();
        String::from_utf8(state[..length].to_vec()).unwrap()
    };
    let mut command = sandbox.command(&["mirror", "--config", "mirror.toml"]);
    let mirror = Mirror::spawn(command.env("NOTIFY_SOCKET", socket));
    assert_eq!(received(), format!("READY=1\nSTATUS=listening at {}", mirror.address));
    signal(&mirror.child, Signal::TERM);
    assert_eq!(received(), "STOPPING=1\nSTATUS=finishing responses");
}

#[test]
fn a_killed_mirror_keeps_its_cache() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a.txt", "hello");
    sandbox.write("mirror.toml", configured(FILES, ""));
    let mirror = Mirror::start(&sandbox);
    mirror.request("GET /a.txt");
    mirror.until_cached();
    signal(&mirror.child, Signal::KILL);
    drop(mirror);
    // The cached object is served without origin.
    std::fs::rename(sandbox.path("media"), sandbox.path("gone")).unwrap();
    let response = Mirror::start(&sandbox).request("GET /a.txt");
    assert!(
        response.ends_with("\r\n\r\nhello") && response.contains("anystorage; hit"),
        "{response}"
    );
}

#[test]
fn a_mirror_that_is_killed_during_a_fetch_keeps_no_partial_object() {
    let sandbox = Sandbox::new();
    let half =
        |_: &Request| Response::ok(vec![b'x'; 1_000_000]).header("ETag", "\"v1\"").stall_after(10);
    let peer = Peer::start(half);
    let origin = format!("driver = \"http\"\nbase_url = \"{}\"", peer.url());
    sandbox.write("mirror.toml", configured(&origin, ""));
    let mirror = Mirror::start(&sandbox);
    let mut reader = TcpStream::connect(&mirror.address).unwrap();
    reader.write_all(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    // When the reader gets the first bytes, the cache contains a partial file.
    read_until(&mut reader, b"xxxxxxxxxx");
    let files = files_below(&sandbox.path("cache"));
    signal(&mirror.child, Signal::KILL);
    drop(mirror);
    let mirror = Mirror::start(&sandbox);
    assert!(files_below(&sandbox.path("cache")) < files, "the partial file still exists");
    assert!(mirror.request("GET /metrics").contains("anystorage_mirror_objects 0\n"));
}

#[test]
fn sighup_reloads_the_configuration() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a.txt", "hello");
    sandbox.write("mirror.toml", configured(FILES, ""));
    let mut mirror = Mirror::start(&sandbox);
    assert!(mirror.request("GET /a.txt").starts_with("HTTP/1.1 200"));
    sandbox.write("mirror.toml", configured(FILES, "allow = [\"public/\"]"));
    signal(&mirror.child, Signal::HUP);
    mirror.until("the configuration was reloaded");
    assert!(mirror.request("GET /a.txt").starts_with("HTTP/1.1 404"));
    sandbox.write("mirror.toml", configured(FILES, "alow = [\"a\"]"));
    signal(&mirror.child, Signal::HUP);
    let line = mirror.until("the old one stays");
    assert!(line.contains("unknown option alow"), "{line}");
    assert!(mirror.request("GET /a.txt").starts_with("HTTP/1.1 404"));
}

#[test]
fn a_configuration_error_contains_the_file_name_once() {
    let sandbox = Sandbox::new();
    sandbox.write("mirror.toml", "max_size = 1");
    for file in ["mirror.toml", "nonesuch.toml"] {
        let error = sandbox.run(&["mirror", file]).failed(2);
        assert_eq!(error.matches(file).count(), 1, "{error}");
    }
}

#[test]
fn check_validates_the_configuration_without_serving() {
    let sandbox = Sandbox::new();
    sandbox.write("mirror.toml", configured(FILES, ""));
    assert_eq!(sandbox.run(&["mirror", "--config", "mirror.toml", "--check"]).done(), "");
    assert!(!sandbox.exists("cache"));
    for (more, named) in [
        ("max_sizes = 1", "max_sizes"),
        ("ttl = \"soon\"", "ttl"),
        ("signing_key = \"short\"", "signing_key"),
    ] {
        sandbox.write("mirror.toml", configured(FILES, more));
        let line = sandbox.run(&["mirror", "--config", "mirror.toml", "--check"]).failed(2);
        assert!(line.contains("mirror.toml") && line.contains(named), "{line}");
        assert!(!line.contains(TOKEN) && !line.contains("short"), "{line}");
    }
    // A parent of the directory is a file.
    let nowhere =
        configured(FILES, "").replace("cache_dir = \"cache\"", "cache_dir = \"mirror.toml/cache\"");
    sandbox.write("mirror.toml", nowhere);
    let line = sandbox.run(&["mirror", "--config", "mirror.toml", "--check"]).failed(2);
    assert!(line.contains("cache_dir"), "{line}");
    sandbox.write(
        "mirror.toml",
        "listen = \"127.0.0.1:0\"\ncache_dir = \"cache\"\nmax_size = \"1GiB\"\n",
    );
    let line = sandbox.run(&["mirror", "--config", "mirror.toml", "--check"]).failed(2);
    assert!(line.contains("origin is missing"), "{line}");
}

#[test]
fn check_fails_if_origin_does_not_respond() {
    let sandbox = Sandbox::new();
    let origin = format!("driver = \"http\"\nbase_url = \"{}\"\nretries = 0", closed_port());
    sandbox.write("mirror.toml", configured(&origin, ""));
    let line = sandbox.run(&["mirror", "--config", "mirror.toml", "--check"]).failed(1);
    assert!(line.contains("origin: no connection"), "{line}");
}

#[test]
fn a_failure_of_origin_is_logged_once_with_the_status_of_the_response() {
    let sandbox = Sandbox::new();
    let origin = format!("driver = \"http\"\nbase_url = \"{}\"\nretries = 0", closed_port());
    sandbox.write("mirror.toml", configured(&origin, ""));
    for request in ["GET /a", "HEAD /a"] {
        let mut mirror = Mirror::start(&sandbox);
        let status = mirror.request(request);
        assert!(status.starts_with("HTTP/1.1 50"), "{status}");
        signal(&mirror.child, Signal::TERM);
        let mut log = String::new();
        mirror.log.read_to_string(&mut log).unwrap();
        let lines: Vec<_> =
            log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
        assert_eq!(lines.len(), 1, "{request}: {lines:#?}");
        // As a word: the time and the port contain these digits now and then.
        let mut words = lines[0].split(|c: char| !c.is_alphanumeric());
        let is_500 = words.any(|word| word == "500");
        assert!(lines[0].contains("origin failed") && !is_500, "{lines:?}");
    }
}

#[test]
fn export_writes_a_table_of_the_downloads() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a.txt", "hello");
    sandbox.write("mirror.toml", configured(FILES, ""));
    let mut mirror = Mirror::start(&sandbox);
    mirror.request("GET /a.txt");
    mirror.until_cached();
    signal(&mirror.child, Signal::TERM);
    mirror.child.wait().unwrap();
    let table = sandbox.run(&["mirror", "--config", "mirror.toml", "--export", "csv"]).done();
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[0].starts_with("day,key,downloads,"), "{table}");
    assert!(lines[1].contains("\"a.txt\",1,"), "{table}");
    let none = sandbox
        .run(&["mirror", "--config", "mirror.toml", "--export", "jsonl", "--to", "2020-01-01"])
        .done();
    assert_eq!(none, "");
    let (reader, closed) = std::io::pipe().unwrap();
    drop(reader);
    let mut export = sandbox.command(&["mirror", "--config", "mirror.toml", "--export", "csv"]);
    let output = export.stdout(closed).output().unwrap();
    assert_eq!(Run::from(output).silent(), 0, "the reader of the table has ended");
}
