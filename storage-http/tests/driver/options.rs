//! The options: their meaning, invalid values, and hidden secrets.

use std::time::Duration;

use storage_core::config::{Options, StorageConfig, Value};
use storage_core::{ErrorKind, Registry, Storage, UrlMethod};
use storage_http::Http;

const SECRET: &str = "canary-of-the-options";

fn registry() -> Registry {
    let mut registry = Registry::new();
    storage_http::register(&mut registry);
    registry
}

fn open(options: Options) -> storage_core::Result<Storage> {
    registry().open_config(&StorageConfig::new("http", options)?)
}

fn refused(options: Options) -> String {
    let error = open(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    error.message().to_owned()
}

fn options(base_url: &str) -> Options {
    Options::new().with("base_url", base_url)
}

#[test]
fn a_table_sets_all_options() {
    let headers = Options::new().with("Authorization", SECRET).with("X-Other", "2");
    let options = options("http://127.0.0.1:9/files")
        .with("writable", true)
        .with("header_timeout", "3s")
        .with("idle_timeout", "1m")
        .with("max_spool_size", "100MiB")
        .with("allow_http", true)
        .with("headers", Value::Table(headers));
    let storage = open(options).unwrap();
    assert_eq!(
        (&*storage.info().name, &*storage.info().location),
        ("http", "http://127.0.0.1:9/files/")
    );
    let can = storage.info().capabilities;
    assert!(can.write && can.list && can.public_url);
    assert!(!can.create_new && !can.save_if_match && !can.copy && !can.metadata && !can.signed_get);
}

#[test]
fn listing_follows_webdav_and_else_writable() {
    for (webdav, writable, list) in [
        (None, false, false),
        (None, true, true),
        (Some(true), false, true),
        (Some(false), true, false),
    ] {
        let mut options = options("http://127.0.0.1:9/files").with("writable", writable);
        if let Some(webdav) = webdav {
            options = options.with("webdav", webdav);
        }
        let can = open(options).unwrap().info().capabilities;
        assert_eq!((can.list, can.write), (list, writable), "{webdav:?} {writable}");
    }
}

#[test]
fn a_url_sets_the_base_and_its_query_the_options() {
    let storage = registry()
        .open_url("http://127.0.0.1:9/a%20b/c?writable=true&idle_timeout=5s&prefix=d")
        .unwrap();
    assert_eq!(storage.info().location, "http://127.0.0.1:9/a%20b/c/d");
    let storage = registry().open_url("https://files.example.com").unwrap();
    assert_eq!(storage.info().location, "https://files.example.com/");
    assert!(!storage.info().capabilities.write);
    for url in [
        "https://user:canary-of-the-options@files.example.com/",
        "https://files.example.com/#fragment",
        "https://files.example.com/?unknown=1",
        "https://files.example.com/?headers=Authorization",
        "https://files.example.com/?base_url=https://other.example.com/",
    ] {
        let error = registry().open_url(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}");
        assert!(!format!("{error} {error:?}").contains(SECRET), "{error:?}");
    }
}

#[test]
fn an_error_names_the_invalid_option() {
    assert!(refused(Options::new()).contains("base_url"));
    for base in [
        "ftp://example.com/",
        "file:///tmp",
        "not a URL",
        "https://user@example.com/",
        "https://:canary-of-the-options@example.com/",
        "https://example.com/?token=canary-of-the-options",
        "https://example.com/#canary-of-the-options",
    ] {
        assert!(refused(options(base)).contains("base_url"), "{base}");
    }
    for option in ["header_timeout", "idle_timeout"] {
        for value in ["0s", "soon", ""] {
            assert!(
                refused(options("http://h/").with(option, value)).contains(option),
                "{option} = {value:?}"
            );
        }
    }
    assert!(refused(options("http://h/").with("header_timout", "1s")).contains("header_timeout"));
    for (name, value) in [
        ("a b", SECRET),
        ("X-Token", "canary-of-the-options\r\nX-Other: 1"),
        ("Range", SECRET),
        ("accept-encoding", SECRET),
        ("Content-Length", SECRET),
        ("If-Match", SECRET),
    ] {
        let headers = Options::new().with(name, value);
        let message = refused(options("http://h/").with("headers", Value::Table(headers)));
        assert!(message.contains("headers") && message.contains(name), "{message}");
    }
}

#[test]
fn no_secret_appears_in_errors_and_debug_forms() {
    let builder = Http::builder("https://user:canary-of-the-options@example.com/".parse().unwrap());
    assert!(!format!("{builder:?}").contains(SECRET));
    assert!(!format!("{:?}", builder.build().unwrap_err()).contains(SECRET));
    let builder = Http::builder("https://example.com/".parse().unwrap()).header("X-Token", SECRET);
    assert!(!format!("{builder:?}").contains(SECRET));
    let http = builder.build().unwrap();
    assert!(!format!("{http:?}").contains(SECRET));
    let storage = Storage::new(http);
    assert!(!format!("{storage:?} {:?}", storage.info()).contains(SECRET));
}

#[tokio::test]
async fn links_lead_to_the_public_url_or_the_base_url() {
    let plain = registry().open_url("http://127.0.0.1:9/files").unwrap();
    assert_eq!(plain.url("a/b c").await.unwrap().as_str(), "http://127.0.0.1:9/files/a/b%20c");
    let head = plain.url("a").method(UrlMethod::Head).await.unwrap();
    assert_eq!((head.method, head.expires_at), (UrlMethod::Head, None));
    let public = registry()
        .open_url("http://127.0.0.1:9/files?public_url=https://cdn.example.com/x")
        .unwrap();
    assert_eq!(public.url("a/b c").await.unwrap().as_str(), "https://cdn.example.com/x/a/b%20c");
    for method in [UrlMethod::Get, UrlMethod::Put] {
        let signed =
            plain.url("a").method(method).expires_in(Duration::from_secs(60)).await.unwrap_err();
        assert_eq!(signed.kind(), ErrorKind::Unsupported);
    }
}

#[test]
fn headers_without_tls_need_loopback_or_allow_http() {
    let with_header = |base: &str| {
        let headers = Value::Table(Options::new().with("Authorization", SECRET));
        options(base).with("headers", headers)
    };
    for base in ["http://files.example.com/", "http://10.0.0.7:8080/", "HTTP://files.example.com"] {
        let message = refused(with_header(base));
        assert!(message.contains("headers") && message.contains("allow_http = true"), "{message}");
        assert!(open(with_header(base).with("allow_http", true)).is_ok(), "{base}");
        assert!(open(options(base)).is_ok(), "{base} without headers");
    }
    for base in [
        "https://files.example.com/",
        "http://localhost:8080/",
        "http://127.0.0.1/",
        "http://[::1]/",
    ] {
        assert!(open(with_header(base)).is_ok(), "{base}");
    }
}
