//! The options of a configuration.

use storage_core::config::{Options, StorageConfig, StoragesConfig, Value};
use storage_core::{ErrorKind, Registry, Result, Storage};

fn registry() -> Registry {
    let mut registry = Registry::with_memory();
    storage_http_cache::register(&mut registry);
    registry
}

fn options() -> Options {
    Options::new().with("mirror", "https://mirror.example.com/").with("origin", "media")
}

fn open(options: Options) -> Result<Storage> {
    let mut configs = StoragesConfig::new();
    configs.insert("media", StorageConfig::new("memory", Options::new()).unwrap());
    configs.insert("default", StorageConfig::new("http-cache", options)?);
    registry().open_named(&configs, "default")
}

#[track_caller]
fn refused(options: Options, words: &[&str]) {
    let error = open(options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    for word in words {
        assert!(error.message().contains(word), "{word:?} is not in: {error}");
    }
}

#[test]
fn origin_may_be_the_name_of_another_storage() {
    let storage = open(options()).unwrap();
    assert_eq!(storage.info().name, "http-cache");
    assert_eq!(storage.info().location, "https://mirror.example.com/ -> memory:");
}

#[test]
fn origin_may_be_a_table() {
    let table = Options::new().with("driver", "memory").with("prefix", "media");
    let storage = open(options().with("origin", table)).unwrap();
    assert_eq!(storage.info().location, "https://mirror.example.com/ -> memory:/media");
}

#[test]
fn mirror_may_be_a_list() {
    let urls = ["https://m1.example.com/", "https://m2.example.com/a"].map(Value::from).to_vec();
    let storage = open(options().with("mirror", Value::Array(urls))).unwrap();
    assert_eq!(
        storage.info().location,
        "https://m1.example.com/, https://m2.example.com/a -> memory:"
    );
}

#[test]
fn every_option_is_read() {
    let all = options()
        .with("verify", "head")
        .with("memo", "120s")
        .with("header_timeout", "1s")
        .with("idle_timeout", "5s")
        .with("token", "a-token")
        .with("allow_http", true)
        .with("on_save", "prefetch")
        .with("min_size", "64KiB")
        .with("signing_key", "a secret of many bytes")
        .with("public", false)
        .with("breaker_failures", 5)
        .with("breaker_open", "30s")
        .with("key_penalty", "20s")
        .with("admin", "http://127.0.0.1:9000/");
    let storage = open(all).unwrap();
    let can = storage.info().capabilities;
    assert!(can.signed_get && !can.public_url && can.write && can.list);
}

#[test]
fn an_error_names_the_unknown_or_missing_option_and_the_known_ones() {
    refused(
        options().with("mirrors", "x"),
        &["unknown option mirrors", "mirror, origin, verify", "public_url"],
    );
    refused(Options::new().with("origin", "media"), &["mirror", "missing"]);
    refused(Options::new().with("mirror", "https://m.example.com"), &["origin", "missing"]);
    refused(options().with("verify", "perhaps"), &["verify", "cache-tier, head, none"]);
    refused(options().with("on_save", "forget"), &["on_save", "purge, prefetch, none"]);
}

#[test]
fn an_error_of_an_invalid_option_says_what_to_set() {
    refused(options().with("origin", "medium"), &["option origin", "medium", "known storages:"]);
    refused(options().with("mirror", "ftp://m.example.com/"), &["option mirror", "https://"]);
    refused(options().with("mirror", "https://m.example.com/?a=b"), &["option mirror", "query"]);
    refused(options().with("mirror", Value::Array(Vec::new())), &["option mirror", "at least one"]);
    refused(options().with("header_timeout", "0s"), &["header_timeout", "zero"]);
    refused(options().with("breaker_failures", 0), &["breaker_failures", "at least 1"]);
    refused(options().with("on_save", "purge"), &["on_save", "token"]);
    refused(options().with("min_size", "many"), &["min_size", "a number of bytes"]);
    refused(options().with("signing_key", "short"), &["signing_key", "16 bytes"]);
    let both = options().with("public", true).with("signing_key", "a secret of many bytes");
    refused(both, &["public", "signing_key"]);
}

#[test]
fn a_token_without_tls_needs_allow_http() {
    let with_token = |url: &str| options().with("mirror", url).with("token", "a-token");
    refused(with_token("http://m.example.com/"), &["token", "m.example.com", "allow_http = true"]);
    refused(with_token("http://192.0.2.1/"), &["allow_http"]);
    refused(
        with_token("https://m.example.com/").with("admin", "http://admin.example.com/"),
        &["admin.example.com"],
    );
    let one_of_two =
        ["https://m1.example.com/", "http://m2.example.com/"].map(Value::from).to_vec();
    refused(
        options().with("mirror", Value::Array(one_of_two)).with("token", "a-token"),
        &["m2.example.com"],
    );
    open(with_token("http://m.example.com/").with("allow_http", true)).unwrap();
    open(options().with("mirror", "http://m.example.com/")).unwrap();
    // The token is sent to the other address only.
    open(with_token("http://m.example.com/").with("admin", "https://admin.example.com/")).unwrap();
    for this_machine in ["http://127.0.0.1:8080/", "http://localhost/", "http://[::1]:8080/"] {
        open(with_token(this_machine)).unwrap();
    }
}

#[test]
fn a_circle_of_origins_is_refused() {
    refused(options().with("origin", "default"), &["cycle", "default -> default"]);
}

#[test]
fn no_error_contains_a_password() {
    for (option, value) in [
        ("mirror", "https://ada:canary@m.example.com/"),
        ("admin", "https://ada:canary@m.example.com/"),
        ("mirror", "canary canary"),
        ("token", "canary\ncanary"),
    ] {
        let error = open(options().with(option, value)).unwrap_err();
        assert!(error.message().contains(option), "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{option}: {error:?}");
    }
}

#[test]
fn public_url_is_the_base_of_links_to_origin() {
    let storage = open(options().with("public_url", "https://media.example.com/")).unwrap();
    assert!(storage.info().capabilities.public_url);
}
