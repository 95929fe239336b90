//! `serve --uploads`: a tus server. `anystorage-cli/clients` tests it with real clients.

use crate::serving::{Server, status};
use crate::support::Sandbox;

const OFFSET_TYPE: &str = "Content-Type: application/offset+octet-stream\r\n";
/// `a/../<b>.txt`
const METADATA: &str = "Upload-Metadata: filename YS8uLi88Yj4udHh0,filetype dGV4dC9wbGFpbg==\r\n";

fn header<'a>(response: &'a str, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    response.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
}

/// Begins an upload and returns its path.
fn begin(server: &Server, length: usize, headers: &str) -> String {
    let headers = format!("Tus-Resumable: 1.0.0\r\nUpload-Length: {length}\r\n{headers}");
    let response = server.request("POST /uploads", &headers, "");
    assert_eq!(status(&response), 201, "{response}");
    header(&response, "location").to_owned()
}

fn append(server: &Server, path: &str, offset: usize, bytes: &str) -> String {
    let headers = format!("Tus-Resumable: 1.0.0\r\n{OFFSET_TYPE}Upload-Offset: {offset}\r\n");
    server.request(&format!("PATCH {path}"), &headers, bytes)
}

fn offset(server: &Server, path: &str) -> String {
    let response = server.request(&format!("HEAD {path}"), "Tus-Resumable: 1.0.0\r\n", "");
    assert_eq!(status(&response), 200, "{response}");
    header(&response, "upload-offset").to_owned()
}

#[test]
fn an_upload_gets_a_safe_and_unique_key_and_can_be_read() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--uploads", "media:in"]);
    for _ in 0..2 {
        let path = begin(&server, 5, METADATA);
        assert_eq!(status(&append(&server, &path, 0, "hello")), 204);
    }
    let listed = sandbox.run(&["ls", "media:in/"]).done();
    let keys: Vec<_> = listed.lines().filter(|line| !line.contains(".uploads")).collect();
    assert!(keys.len() == 2 && keys[0] != keys[1], "{listed}");
    for key in keys {
        let name = key.strip_prefix("in/").unwrap();
        assert!(!name.contains(['/', '<']) && name.ends_with(".txt"), "{name}");
        let response = server.get(&format!("/{name}"));
        assert!(status(&response) == 200 && response.ends_with("hello"), "{response}");
        assert!(header(&response, "content-type").starts_with("text/plain"), "{response}");
    }
}

#[test]
fn an_upload_continues_after_a_restart_and_at_another_server() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--uploads", "media:"]);
    let other = Server::start(&sandbox, &["--uploads", "media:"]);
    let path = begin(&server, 9, METADATA);
    assert_eq!(status(&append(&server, &path, 0, "one")), 204);
    assert_eq!(offset(&other, &path), "3");
    assert_eq!(status(&append(&other, &path, 3, "two")), 204);
    drop((server, other));
    let server = Server::start(&sandbox, &["--uploads", "media:"]);
    assert_eq!(offset(&server, &path), "6");
    assert_eq!(status(&append(&server, &path, 3, "two")), 409);
    assert_eq!(status(&append(&server, &path, 6, "end")), 204);
    let listed = sandbox.run(&["ls", "media:"]).done();
    let key = listed.lines().find(|line| line.ends_with(".txt")).unwrap();
    assert_eq!(sandbox.cat(&format!("media:{key}")), "onetwoend");
}

#[test]
fn the_state_of_uploads_is_neither_served_nor_listed() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a.txt", "x");
    let server = Server::start(&sandbox, &["--uploads", "--writable", "media:"]);
    let path = begin(&server, 9, "");
    assert_eq!(status(&append(&server, &path, 0, "secret")), 204);
    let stored = sandbox.run(&["ls", "-r", "media:.uploads/"]).done();
    assert!(stored.contains("signing-key") && stored.contains("rest-"), "{stored}");
    for key in stored.lines() {
        assert_eq!(status(&server.get(&format!("/{key}"))), 404, "{key}");
        let encoded = key.replacen(".uploads", "%2Euploads", 1);
        assert_eq!(status(&server.get(&format!("/{encoded}"))), 404, "{encoded}");
        assert_eq!(status(&server.request(&format!("PUT /{key}"), "", "forged")), 400, "{key}");
        assert_eq!(status(&server.request(&format!("DELETE /{key}"), "", "")), 400, "{key}");
    }
    for directory in ["/.uploads/", "/.uploads"] {
        assert_eq!(status(&server.get(directory)), 404, "{directory}");
    }
    let page = server.get("/");
    assert!(page.contains("a.txt") && !page.contains(".uploads"), "{page}");
    assert_eq!(offset(&server, &path), "6");
}

#[test]
fn the_environment_may_contain_the_key_that_signs_the_urls() {
    let sandbox = Sandbox::new();
    let start = |secret: &str| {
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--uploads", "media:"];
        Server::spawn(sandbox.command(&arguments).env("ANYSTORAGE_UPLOADS_KEY", secret))
    };
    let server = start("a secret of many bytes");
    let path = begin(&server, 9, "");
    assert_eq!(offset(&start("a secret of many bytes"), &path), "0");
    let response = start("another secret of bytes").request(
        &format!("HEAD {path}"),
        "Tus-Resumable: 1.0.0\r\n",
        "",
    );
    assert_eq!(status(&response), 404, "{response}");
    assert!(!sandbox.run(&["ls", "-r", "media:"]).done().contains("signing-key"));
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--uploads", "media:"];
    let mut command = sandbox.command(&arguments);
    let error = crate::support::run(command.env("ANYSTORAGE_UPLOADS_KEY", "short")).failed(2);
    assert!(error.contains("ANYSTORAGE_UPLOADS_KEY") && !error.contains("short"), "{error}");
}

#[test]
fn the_state_may_be_in_another_storage() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--uploads", "--uploads-state", "backup:tus", "media:"]);
    let path = begin(&server, 5, METADATA);
    assert_eq!(status(&append(&server, &path, 0, "hel")), 204);
    assert!(sandbox.run(&["ls", "-r", "backup:tus/.uploads/"]).done().contains("state.json"));
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "");
    assert_eq!(status(&append(&server, &path, 3, "lo")), 204);
    assert!(sandbox.run(&["ls", "-r", "media:"]).done().ends_with(".txt\n"));
}

#[test]
fn a_storage_that_cannot_receive_uploads_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.put("media:a", "x");
    let serve =
        |location: &str| sandbox.run(&["serve", "--listen", "127.0.0.1:0", "--uploads", location]);
    let error = serve("frozen:").failed(1);
    assert!(error.contains("read-only"), "{error}");
    let error = serve("http://127.0.0.1:1/").failed(1);
    assert!(error.contains("read-only") || error.contains("multipart"), "{error}");
    assert_eq!(sandbox.run(&["ls", "-r", "media:"]).done(), "a\n");
    sandbox.run(&["serve", "--uploads-state", "backup:", "media:"]).failed(2);
}

#[test]
fn another_site_cannot_upload_through_a_browser() {
    let sandbox = Sandbox::new();
    let server = Server::start(&sandbox, &["--uploads", "media:"]);
    let headers = "Tus-Resumable: 1.0.0\r\nUpload-Length: 5\r\n";
    for other in ["Origin: http://evil.example\r\n", "Origin: null\r\n"] {
        let response = server.request("POST /uploads", &format!("{headers}{other}"), "");
        assert_eq!(status(&response), 403, "{response}");
    }
    let response = server.request("POST /uploads", &format!("{headers}Host: evil.example\r\n"), "");
    assert_eq!(status(&response), 421, "{response}");
    let own = format!("{headers}Origin: http://{}\r\n", server.address);
    assert_eq!(status(&server.request("POST /uploads", &own, "")), 201);
}

#[test]
fn pages_of_a_listed_origin_can_upload() {
    let sandbox = Sandbox::new();
    let origin = "http://localhost:5173";
    let server = Server::start(&sandbox, &["--uploads", "--cors-origin", origin, "media:"]);
    let headers = format!("Tus-Resumable: 1.0.0\r\nUpload-Length: 5\r\nOrigin: {origin}\r\n");
    let response = server.request("POST /uploads", &headers, "");
    assert_eq!(status(&response), 201, "{response}");
    assert_eq!(header(&response, "access-control-allow-origin"), origin);
    assert!(header(&response, "access-control-expose-headers").to_lowercase().contains("location"));
    let preflight = format!("Origin: {origin}\r\nAccess-Control-Request-Method: PATCH\r\n");
    let response = server.request("OPTIONS /uploads/a", &preflight, "");
    assert_eq!(header(&response, "access-control-allow-origin"), origin, "{response}");
    for other in ["http://localhost:5174", "null"] {
        let headers = headers.replace(origin, other);
        assert_eq!(status(&server.request("POST /uploads", &headers, "")), 403, "{other}");
    }
    let wrong = ["serve", "--uploads", "--cors-origin", "localhost", "media:"];
    let error = sandbox.run(&wrong).failed(2);
    assert!(error.contains("--cors-origin"), "{error}");
}

#[test]
fn a_server_without_the_option_receives_no_uploads() {
    let sandbox = Sandbox::new();
    sandbox.put("media:uploads/a", "x");
    let server = Server::start(&sandbox, &["media:"]);
    assert_eq!(status(&server.request("POST /uploads", "Tus-Resumable: 1.0.0\r\n", "")), 405);
    assert!(server.get("/uploads/a").ends_with('x'));
}

#[test]
fn the_log_contains_no_url_of_an_upload() {
    let sandbox = Sandbox::new();
    let arguments = ["-v", "serve", "--listen", "127.0.0.1:0", "--uploads", "media:"];
    let server = Server::spawn(&mut sandbox.command(&arguments));
    let path = begin(&server, 9, "");
    assert_eq!(offset(&server, &path), "0");
    let (id, signature) = path.rsplit('/').next().unwrap().split_once('-').unwrap();
    let log = server.log();
    assert!(log.contains(&format!("HEAD /uploads/{}... 200", &id[..24])), "{log}");
    assert!(!log.contains(signature), "{log}");
}
