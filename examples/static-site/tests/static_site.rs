//! What a browser gets from the application, before and after a second release.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::path::Path;

use anystorage::{Memory, Storage};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use static_site::{SITE, development_router, publish, router};
use tower_service::Service;

/// Sends a GET as a browser does. Returns the status, the headers and the body.
async fn get(router: &Router, path: &str, encodings: &str) -> (u16, HeaderMap, Vec<u8>) {
    let request = Request::get(path).header("accept-encoding", encodings).body(Body::empty());
    let response = router.clone().call(request.unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    (head.status.as_u16(), head.headers, body)
}

async fn text(router: &Router, path: &str) -> (u16, String) {
    let (status, _, body) = get(router, path, "identity").await;
    (status, String::from_utf8(body).unwrap())
}

/// Returns the paths that a page loads: the values of `href` and `src` below `/`, without links.
fn loaded(page: &str) -> Vec<String> {
    let values = page.split(['"', '\'']).filter(|value| value.starts_with('/'));
    values.filter(|value| value.contains('.')).map(str::to_owned).collect()
}

/// Copies the site to a directory that the test may change.
fn copy_site(to: &Path) {
    for name in ["css/site.css", "js/site.js", "js/clock.js", "images/logo.svg", "404.html"] {
        let copy = to.join(name);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(Path::new(SITE).join(name), copy).unwrap();
    }
}

async fn published() -> (Storage, Router) {
    let destination = Memory::storage();
    publish(SITE, &destination).await.unwrap();
    let (router, _) = router(&destination).await.unwrap();
    (destination, router)
}

#[tokio::test]
async fn every_file_that_a_page_loads_may_be_kept_for_a_year() {
    let (_, router) = published().await;
    for page in ["/", "/about"] {
        let (status, body) = text(&router, page).await;
        assert_eq!(status, 200);
        let files = loaded(&body);
        assert!(files.iter().any(|file| file.starts_with("/css/site.")), "{body}");
        for file in files {
            let (status, headers, _) = get(&router, &file, "identity").await;
            assert_eq!(status, 200, "{file}");
            assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
        }
    }
}

#[tokio::test]
async fn a_script_imports_the_published_name_and_a_style_loads_it() {
    let (_, router) = published().await;
    let home = text(&router, "/").await.1;
    let files = loaded(&home);
    let script = files.iter().find(|file| file.starts_with("/js/site.")).unwrap();
    let style = files.iter().find(|file| file.starts_with("/css/site.")).unwrap();
    assert!(!text(&router, script).await.1.contains("\"./clock.js\""));
    assert!(!text(&router, style).await.1.contains("logo.svg\""));
}

#[tokio::test]
async fn a_browser_gets_brotli_and_a_simple_client_the_plain_bytes() {
    let (_, router) = published().await;
    let home = text(&router, "/").await.1;
    let style = loaded(&home).into_iter().find(|file| file.starts_with("/css/")).unwrap();
    let (_, headers, encoded) = get(&router, &style, "gzip, br").await;
    assert_eq!(headers["content-encoding"], "br");
    assert_eq!(headers["vary"], "accept-encoding");
    let (_, headers, plain) = get(&router, &style, "identity").await;
    assert!(headers.get("content-encoding").is_none() && encoded.len() < plain.len());
    assert!(headers["content-type"].to_str().unwrap().starts_with("text/css"));
}

#[tokio::test]
async fn a_missing_page_has_the_page_of_the_site_and_its_rules_apply() {
    let (_, router) = published().await;
    let (status, body) = text(&router, "/no/such/page").await;
    assert!(status == 404 && body.contains("This page does not exist."), "{status} {body}");
    let (_, headers, _) = get(&router, "/robots.txt", "identity").await;
    assert_eq!(headers["cache-control"], "public, max-age=3600");
}

#[tokio::test]
async fn a_second_release_changes_the_pages_and_keeps_the_files_of_the_first() {
    let (directory, destination) = (tempfile::tempdir().unwrap(), Memory::storage());
    copy_site(directory.path());
    publish(directory.path(), &destination).await.unwrap();
    let (router, assets) = router(&destination).await.unwrap();
    let first = loaded(&text(&router, "/").await.1);
    std::fs::write(directory.path().join("css/site.css"), "body { color: red }").unwrap();
    publish(directory.path(), &destination).await.unwrap();
    assert!(assets.refresh().await.unwrap());
    let second = loaded(&text(&router, "/").await.1);
    assert_ne!(first, second);
    for file in first.iter().chain(&second) {
        assert_eq!(text(&router, file).await.0, 200, "{file}");
    }
}

#[tokio::test]
async fn development_serves_plain_names_and_a_change_is_visible_at_once() {
    let directory = tempfile::tempdir().unwrap();
    copy_site(directory.path());
    let router = development_router(directory.path()).unwrap();
    let (status, home) = text(&router, "/").await;
    assert_eq!(status, 200);
    assert!(home.contains("href=\"/css/site.css\" integrity=\"\""), "{home}");
    assert_eq!(text(&router, "/js/site.js").await.0, 200);
    std::fs::write(directory.path().join("css/site.css"), "body { color: red }").unwrap();
    assert_eq!(text(&router, "/css/site.css").await.1, "body { color: red }");
}

#[tokio::test]
async fn a_page_that_names_a_file_that_is_gone_fails() {
    let (directory, destination) = (tempfile::tempdir().unwrap(), Memory::storage());
    copy_site(directory.path());
    std::fs::remove_file(directory.path().join("js/site.js")).unwrap();
    publish(directory.path(), &destination).await.unwrap();
    let (router, _) = router(&destination).await.unwrap();
    assert_eq!(text(&router, "/").await.0, 500);
}
