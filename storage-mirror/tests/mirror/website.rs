//! A mirror of a website: pages by path, and precompressed forms.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Response;
use storage_core::{ErrorKind, Key, Operation, Storage};
use storage_mirror::{Server, check};
use storage_serve::website::{Expected, FindFuture, Found, Page, Paths};

use crate::common::{Mirror, PATIENCE, cache_status, config, faulty};

/// A website whose start page is replaced, with a style that has two forms.
#[derive(Clone, Debug, Default)]
struct TestPaths {
    has_second_page: Arc<AtomicBool>,
}

impl TestPaths {
    fn found(&self, path: &str) -> Found {
        let key = |text: &str| Key::new(text).unwrap();
        let form = |of: &str| Expected::new("form-of", of);
        match path {
            "" if self.has_second_page.load(Ordering::SeqCst) => {
                Found::Page(Page::new(key("releases/2/index.html")))
            }
            "" => Found::Page(Page::new(key("releases/1/index.html"))),
            "app.css" => Found::Page(
                Page::new(key("app.css"))
                    .encoded_if("br", key("app.css.br"), form("v1"))
                    .encoded_if("gzip", key("app.css.gz"), form("v1")),
            ),
            "docs" => Found::Directory,
            "status" => Found::Page(Page::new(key("status"))),
            _ => Found::Missing(Some(Page::new(key("404.html")))),
        }
    }
}

impl Paths for TestPaths {
    fn find<'a>(&'a self, path: &'a str) -> FindFuture<'a> {
        Box::pin(async move { Ok(self.found(path)) })
    }
}

async fn fill(origin: &Storage) {
    for (key, text) in [
        ("releases/1/index.html", "<p>one"),
        ("releases/2/index.html", "<p>two"),
        ("404.html", "<p>none"),
        ("status", "a page"),
        ("private.txt", "of another program"),
    ] {
        origin.save(key, text).content_type("text/html").await.unwrap();
    }
    origin.save("app.css", "plain").content_type("text/css").await.unwrap();
    for (key, encoding, of) in [("app.css.br", "br", "v1"), ("app.css.gz", "gzip", "v0")] {
        let save = origin.save(key, format!("in {encoding}")).content_type("text/css");
        save.content_encoding(encoding).user_metadata("form-of", of).await.unwrap();
    }
}

async fn get(mirror: &Mirror, path: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = mirror.get(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Requests until the response comes from the cache.
async fn until_hit(mirror: &Mirror, path: &str, headers: &[(&str, &str)]) -> Response {
    let hit = async {
        loop {
            let response = get(mirror, path, headers).await;
            if cache_status(&response).contains("; hit") {
                return response;
            }
        }
    };
    tokio::time::timeout(PATIENCE, hit).await.unwrap()
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_form_comes_from_the_cache_with_its_own_etag_and_ranges() {
    let (origin, faults) = faulty();
    fill(&origin).await;
    let mirror = Mirror::of_website(origin, TestPaths::default());
    let br = ("accept-encoding", "br");
    let first = get(&mirror, "/app.css", &[br]).await;
    assert_eq!((header(&first, "vary"), header(&first, "content-encoding")), both("br"));
    let etag = header(&first, "etag");
    assert_eq!(first.text().await.unwrap(), "in br");
    let second = until_hit(&mirror, "/app.css", &[br, ("range", "bytes=3-4")]).await;
    let opens = faults.calls(Operation::Open);
    assert_eq!((second.status().as_u16(), header(&second, "etag")), (206, etag.clone()));
    assert_eq!(second.text().await.unwrap(), "br");
    let known = get(&mirror, "/app.css", &[br, ("if-none-match", &etag)]).await;
    assert_eq!((known.status().as_u16(), &*header(&known, "vary")), (304, "accept-encoding"));
    assert_eq!(faults.calls(Operation::Open), opens);
    let plain = get(&mirror, "/app.css", &[("accept-encoding", "identity")]).await;
    assert_ne!(header(&plain, "etag"), etag);
    assert_eq!((header(&plain, "vary"), header(&plain, "content-encoding")), both(""));
    assert_eq!(plain.text().await.unwrap(), "plain");
}

/// Returns the expected `Vary` and `Content-Encoding`.
fn both(encoding: &str) -> (String, String) {
    ("accept-encoding".to_owned(), encoding.to_owned())
}

#[tokio::test]
async fn a_form_of_other_content_is_never_sent() {
    let (origin, _) = faulty();
    fill(&origin).await;
    let mirror = Mirror::of_website(origin.clone(), TestPaths::default());
    for _ in 0..2 {
        for method in ["GET", "HEAD"] {
            let url = format!("{}/app.css", mirror.url);
            let request = mirror.client.request(method.parse().unwrap(), url);
            let response = request.header("accept-encoding", "gzip").send().await.unwrap();
            assert_eq!(response.status(), 200, "{method}");
            assert_eq!(
                (header(&response, "vary"), header(&response, "content-encoding")),
                both("")
            );
        }
    }
    origin.delete("app.css.br").await.unwrap();
    let response = get(&mirror, "/app.css", &[("accept-encoding", "br")]).await;
    assert_eq!(response.text().await.unwrap(), "plain");
}

#[tokio::test]
async fn a_page_is_replaced_when_the_paths_change_although_the_old_one_is_fresh() {
    let (origin, _) = faulty();
    fill(&origin).await;
    let paths = TestPaths::default();
    let mirror = Mirror::of_website(origin, paths.clone());
    let page = get(&mirror, "/", &[]).await;
    // The owner of the website has written it, so its scripts run.
    assert_eq!(header(&page, "content-disposition"), "");
    assert_eq!(page.text().await.unwrap(), "<p>one");
    paths.has_second_page.store(true, Ordering::SeqCst);
    assert_eq!(get(&mirror, "/", &[]).await.text().await.unwrap(), "<p>two");
}

#[tokio::test]
async fn only_paths_of_the_website_are_served_whatever_their_names() {
    let (origin, _) = faulty();
    fill(&origin).await;
    let mirror = Mirror::of_website(origin, TestPaths::default());
    assert_eq!(get(&mirror, "/status", &[]).await.text().await.unwrap(), "a page");
    assert_eq!(get(&mirror, "/healthz", &[]).await.text().await.unwrap(), "ok\n");
    for path in ["/private.txt", "/download/private.txt", "/verify/status", "/metrics", "/%ff"] {
        let response = get(&mirror, path, &[("if-none-match", "*")]).await;
        assert_eq!((response.status().as_u16(), header(&response, "etag")), (404, String::new()));
        assert_eq!(response.text().await.unwrap(), "<p>none", "{path}");
    }
    let response = get(&mirror, "/docs?a=b", &[]).await;
    assert_eq!(response.status(), 308);
    assert_eq!(header(&response, "location"), "./docs/?a=b");
    assert_eq!(mirror.post("/status").send().await.unwrap().status(), 405);
}

#[test]
fn options_that_have_no_meaning_for_a_website_are_refused() {
    let cache = tempfile::tempdir().unwrap();
    for (options, named) in [
        (serde_json::json!({ "website": true }), "admin_listen"),
        (serde_json::json!({ "website": true, "allow": ["a"] }), "allow"),
        (serde_json::json!({ "website": true, "redirect_on_miss": true }), "redirect_on_miss"),
        (serde_json::json!({ "website": true, "signing_key": "k".repeat(40) }), "signing_key"),
    ] {
        let error = config(cache.path(), options).validated().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.message().contains(named), "{error}");
    }
    let options = serde_json::json!({ "website": true, "admin_token": null });
    let (origin, _) = faulty();
    check(config(cache.path(), options.clone()), &origin).unwrap();
    let error = Server::bind(config(cache.path(), options), origin).unwrap_err();
    assert!(error.message().contains("bind_website"), "{error}");
}

#[tokio::test]
async fn a_reload_keeps_the_website() {
    let (origin, _) = faulty();
    fill(&origin).await;
    let cache = tempfile::tempdir().unwrap();
    let options = serde_json::json!({ "website": true, "admin_token": null });
    let config = config(cache.path(), options);
    let server = Server::bind_website(config.clone(), origin, TestPaths::default()).unwrap();
    let handle = server.handle();
    let url = format!("http://{}/", server.local_addr());
    let thread = std::thread::spawn(move || server.run().unwrap());
    handle.reload(config.clone()).unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    assert_eq!(client.get(url).send().await.unwrap().text().await.unwrap(), "<p>one");
    let mut without = config;
    without.website = false;
    assert!(handle.reload(without).unwrap_err().message().contains("website"));
    handle.stop();
    thread.join().unwrap();
}
