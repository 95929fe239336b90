//! `Website`: pages by path, precompressed forms, directories, and a page for what is missing.

use http::Method;
use storage_core::{ETag, Key, Memory, Storage};
use storage_serve::website::{Expected, FindFuture, Found, Page, Paths, Website};

use crate::common::{TestResponse, read, request};

/// A website with a page that has two encoded forms, a directory, and a page for what is missing.
struct TestPaths {
    has_missing_page: bool,
}

impl TestPaths {
    fn found(&self, path: &str) -> Found {
        let key = |text: &str| Key::new(text).unwrap();
        match path {
            "" => Found::Page(Page::new(key("index.html"))),
            "app.css" => Found::Page(
                Page::new(key("app.css"))
                    .encoded("br", key("app.css.br"))
                    .encoded("gzip", key("app.css.gz")),
            ),
            "docs" | "a b" => Found::Directory,
            "docs/" => Found::Page(Page::new(key("docs/index.html"))),
            _ => Found::Missing(self.has_missing_page.then(|| Page::new(key("404.html")))),
        }
    }
}

impl Paths for TestPaths {
    fn find<'a>(&'a self, path: &'a str) -> FindFuture<'a> {
        Box::pin(async move { Ok(self.found(path)) })
    }
}

async fn storage() -> Storage {
    let storage = Memory::storage();
    for (key, text) in [("index.html", "home"), ("docs/index.html", "docs"), ("404.html", "none")] {
        storage.save(key, text).await.unwrap();
    }
    storage.save("app.css", "plain").content_type("text/css").await.unwrap();
    for (key, encoding) in [("app.css.br", "br"), ("app.css.gz", "gzip")] {
        let save = storage.save(key, format!("in {encoding}"));
        save.content_type("text/css").content_encoding(encoding).await.unwrap();
    }
    storage
}

async fn website() -> Website {
    Website::new(storage().await, TestPaths { has_missing_page: true })
}

async fn send(
    website: &Website,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
) -> TestResponse {
    read(&method, website.handle(request(method.clone(), uri, headers)).await).await
}

async fn get(website: &Website, uri: &str, headers: &[(&str, &str)]) -> TestResponse {
    send(website, Method::GET, uri, headers).await
}

#[tokio::test]
async fn the_first_form_that_a_client_accepts_is_sent() {
    let website = website().await;
    for (accepted, encoding, body) in [
        ("gzip, br", "br", "in br"),
        ("gzip", "gzip", "in gzip"),
        ("br;q=0, gzip", "gzip", "in gzip"),
        ("identity", "", "plain"),
        ("zstd", "", "plain"),
    ] {
        let response = get(&website, "/app.css", &[("accept-encoding", accepted)]).await;
        assert_eq!((response.status.as_u16(), response.text()), (200, body), "{accepted}");
        assert_eq!(response.header("content-encoding"), encoding);
        assert_eq!(response.header("content-type"), "text/css");
        assert_eq!(response.header("vary"), "accept-encoding");
    }
    assert_eq!(get(&website, "/app.css", &[]).await.text(), "plain");
}

#[tokio::test]
async fn each_form_has_its_own_etag_and_ranges() {
    let website = website().await;
    let plain = get(&website, "/app.css", &[]).await;
    let accepts_br = ("accept-encoding", "br");
    let encoded = get(&website, "/app.css", &[accepts_br]).await;
    assert_ne!(plain.header("etag"), encoded.header("etag"));
    let part = get(&website, "/app.css", &[accepts_br, ("range", "bytes=3-4")]).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "br"));
    let known = ("if-none-match", encoded.header("etag"));
    let unchanged = get(&website, "/app.css", &[accepts_br, known]).await;
    assert_eq!((unchanged.status.as_u16(), unchanged.header("vary")), (304, "accept-encoding"));
    assert_eq!(get(&website, "/app.css", &[known]).await.status, 200);
}

#[tokio::test]
async fn an_object_is_sent_plain_if_its_encoded_form_is_missing() {
    let storage = storage().await;
    storage.delete("app.css.br").await.unwrap();
    let website = Website::new(storage, TestPaths { has_missing_page: false });
    let response = get(&website, "/app.css", &[("accept-encoding", "br")]).await;
    assert_eq!((response.text(), response.header("content-encoding")), ("plain", ""));
}

/// A website whose page has a form that is only sent if it is the expected object.
struct ExpectedForm(Expected);

impl Paths for ExpectedForm {
    fn find<'a>(&'a self, _path: &'a str) -> FindFuture<'a> {
        let key = |text: &str| Key::new(text).unwrap();
        let page = Page::new(key("app.css")).encoded_if("br", key("app.css.br"), self.0.clone());
        Box::pin(async move { Ok(Found::Page(page)) })
    }
}

#[tokio::test]
async fn a_form_is_sent_if_its_etag_or_its_metadata_is_the_expected_one() {
    let storage = storage().await;
    let save = storage.save("app.css.br", "in br").content_encoding("br");
    let etag = save.user_metadata("form-of", "v1").await.unwrap().etag;
    assert!(etag.is_some());
    for (expected, is_sent) in [
        (Expected::new("form-of", "v1"), true),
        (Expected::new("form-of", "v2").or_etag(etag), true),
        (Expected::new("form-of", "v2").or_etag(Some(ETag::strong("x").unwrap())), false),
        (Expected::new("other", "v1"), false),
    ] {
        let website = Website::new(storage.clone(), ExpectedForm(expected.clone()));
        let sent = if is_sent { ("in br", "br") } else { ("plain", "") };
        for (name, value, status) in [
            ("x", "y", 200),
            ("range", "bytes=0-", 206),
            ("if-match", "*", 200),
            ("if-none-match", "\"y\"", 200),
        ] {
            let headers = [("accept-encoding", "br"), (name, value)];
            let response = get(&website, "/app.css", &headers).await;
            assert_eq!(response.status, status, "{expected:?} {name}");
            assert_eq!((response.text(), response.header("content-encoding")), sent, "{name}");
            assert_eq!(response.header("vary"), "accept-encoding");
        }
        let headers = [("accept-encoding", "br")];
        let head = send(&website, Method::HEAD, "/app.css", &headers).await;
        assert_eq!((head.status.as_u16(), head.header("content-encoding")), (200, sent.1));
    }
}

#[tokio::test]
async fn documents_are_sent_as_they_are() {
    let website = website().await;
    let response = get(&website, "/", &[]).await;
    assert_eq!((response.status.as_u16(), response.text()), (200, "home"));
    assert_eq!(response.header("content-disposition"), "");
    assert_eq!(response.header("content-security-policy"), "");
    assert_eq!(response.header("x-content-type-options"), "nosniff");
    assert_eq!(response.header("vary"), "");
}

#[tokio::test]
async fn a_directory_without_its_slash_is_a_relative_redirect() {
    let website = website().await;
    let response = get(&website, "/docs?page=2", &[]).await;
    assert_eq!((response.status.as_u16(), response.header("location")), (308, "./docs/?page=2"));
    let response = get(&website, "/a%20b", &[]).await;
    assert_eq!(response.header("location"), "./a%20b/");
    assert_eq!(get(&website, "/docs/", &[]).await.text(), "docs");
}

#[tokio::test]
async fn what_is_missing_has_a_page_with_status_404() {
    let website = website().await;
    for uri in ["/x", "/..%2fx", "/%ff", "/%", "/.uploads/a"] {
        let response = get(&website, uri, &[("if-none-match", "*"), ("range", "bytes=0-0")]).await;
        assert_eq!((response.status.as_u16(), response.text()), (404, "none"), "{uri}");
        assert_eq!(response.header("etag"), "", "{uri}");
    }
    let without_page = Website::new(storage().await, TestPaths { has_missing_page: false });
    assert_eq!(get(&without_page, "/x", &[]).await.status, 404);
}

#[tokio::test]
async fn other_methods_are_refused() {
    let website = website().await;
    for method in [Method::PUT, Method::DELETE, Method::POST] {
        let response = send(&website, method, "/", &[]).await;
        assert_eq!(response.status, 405);
        assert_eq!(response.header("allow"), "GET, HEAD, OPTIONS");
    }
    assert_eq!(send(&website, Method::HEAD, "/app.css", &[]).await.header("content-length"), "5");
    assert_eq!(send(&website, Method::OPTIONS, "/", &[]).await.status, 204);
}
