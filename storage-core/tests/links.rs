//! The options of links, relative links, and the lifetime of stable links.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use storage_core::{
    ErrorKind, Link, Operation, Registry, Storage, UrlBuilder, UrlMethod, UrlOptions,
};
use storage_testkit::scripted::Scripted;

const MINUTE: Duration = Duration::from_secs(60);

async fn refusal(set: impl FnOnce(UrlBuilder) -> UrlBuilder) -> String {
    let scripted = Scripted::new();
    let error = set(Storage::new(scripted.clone()).url("a")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.operation(), error.key()),
        (ErrorKind::InvalidInput, Some(Operation::Url), Some("a"))
    );
    assert!(scripted.calls().is_empty(), "the driver was called");
    error.message().to_owned()
}

/// Returns the options that the driver receives.
async fn received(set: impl FnOnce(UrlBuilder) -> UrlBuilder) -> String {
    let scripted = Scripted::new();
    set(Storage::new(scripted.clone()).url("a")).await.unwrap();
    scripted.calls().remove(0)
}

fn post(link: UrlBuilder) -> UrlBuilder {
    link.method(UrlMethod::Post).expires_in(MINUTE)
}

fn put(link: UrlBuilder) -> UrlBuilder {
    link.method(UrlMethod::Put).expires_in(MINUTE)
}

#[tokio::test]
async fn links_for_uploading_are_signed() {
    assert!(refusal(|link| link.method(UrlMethod::Put)).await.contains("PUT needs expires_in"));
    assert!(refusal(|link| link.method(UrlMethod::Post)).await.contains("POST needs expires_in"));
}

#[tokio::test]
async fn response_headers_are_for_signed_links_for_get() {
    assert!(refusal(|link| link.response_content_type("a/b")).await.contains("set expires_in"));
    for upload in [put, post] {
        assert!(
            refusal(|link| upload(link).response_content_type("a/b")).await.contains("GET only")
        );
        assert!(
            refusal(|link| upload(link).response_content_disposition("inline"))
                .await
                .contains("GET only")
        );
    }
}

#[tokio::test]
async fn a_link_for_a_download_refuses_the_conditions_of_uploads() {
    for method in [UrlMethod::Get, UrlMethod::Head] {
        let get = |link: UrlBuilder| link.method(method).expires_in(MINUTE);
        assert!(refusal(|link| get(link).content_type("a/b")).await.contains("for uploading"));
        assert!(refusal(|link| get(link).content_length(1)).await.contains("for uploading"));
        assert!(refusal(|link| get(link).content_length_range(1..=2)).await.contains("POST only"));
        assert!(refusal(|link| get(link).any_name()).await.contains("uploading with POST"));
    }
}

#[tokio::test]
async fn a_link_for_put_refuses_the_options_of_forms() {
    assert!(refusal(|link| put(link).content_length_range(1..=2)).await.contains("content_length"));
    assert!(refusal(|link| put(link).any_name()).await.contains("uploading with POST"));
    assert!(refusal(|link| put(link).content_type("image/*")).await.contains("one type"));
}

#[tokio::test]
async fn a_form_refuses_an_empty_range_of_lengths_and_an_invalid_type() {
    let empty = std::ops::RangeInclusive::new(2, 1);
    assert!(refusal(|link| post(link).content_length_range(empty)).await.contains("empty"));
    assert!(refusal(|link| post(link).content_length(5)).await.contains("content_length_range"));
    assert!(refusal(|link| post(link).content_type("*/*")).await.contains("unset"));
    assert!(refusal(|link| post(link).content_type("image")).await.contains("type/subtype"));
    assert!(refusal(|link| post(link).content_type("image/\u{e9}")).await.contains("non-ASCII"));
}

#[tokio::test]
async fn stable_links_are_signed_and_have_a_window() {
    assert!(refusal(|link| link.stable_for(MINUTE)).await.contains("set expires_in"));
    let short = Duration::from_millis(999);
    assert!(refusal(|link| link.expires_in(MINUTE).stable_for(short)).await.contains("one second"));
    assert!(refusal(|link| link.expires_in(short)).await.contains("one second"));
}

#[tokio::test]
async fn the_driver_receives_every_option_of_the_builder() {
    let form = received(|link| {
        post(link)
            .content_type("image/*")
            .content_length_range(1..=5_000_000)
            .any_name()
            .stable_for(10 * MINUTE)
    });
    let mut options = UrlOptions::default();
    options.method = UrlMethod::Post;
    options.expires_in = Some(MINUTE);
    options.content_type = Some("image/*".into());
    options.content_length_range = Some(1..=5_000_000);
    options.any_name = true;
    options.stable_for = Some(10 * MINUTE);
    assert_eq!(form.await, format!("url a {options:?}"));
    assert!(
        received(|link| put(link).content_type("a/b").content_length(5))
            .await
            .contains("content_length: Some(5)")
    );
    assert!(
        received(|link| link.expires_in(MINUTE).stable_for(MINUTE))
            .await
            .contains("stable_for: Some(60s)")
    );
    assert!(received(|link| post(link).content_length_range(7..=7)).await.contains("Some(7..=7)"));
}

#[test]
fn only_a_pattern_of_types_has_a_type_prefix() {
    let prefix = |content_type: Option<&str>| {
        let mut options = UrlOptions::default();
        options.content_type = content_type.map(str::to_owned);
        options.content_type_prefix().map(str::to_owned)
    };
    assert_eq!(prefix(Some("image/*")).as_deref(), Some("image/"));
    for exact in [None, Some("image/png"), Some("image/x*"), Some("*")] {
        assert_eq!(prefix(exact), None, "{exact:?}");
    }
}

fn window(now: u64, expires_in: Duration, stable_for: Option<Duration>) -> (u64, u64) {
    let mut options = UrlOptions::default();
    (options.expires_in, options.stable_for) = (Some(expires_in), stable_for);
    let (from, lifetime) = options.signing_window(at(now)).unwrap();
    (from.duration_since(UNIX_EPOCH).unwrap().as_secs(), lifetime.as_secs())
}

fn at(second: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(second)
}

#[test]
fn the_lifetime_of_a_link_begins_now_if_it_is_not_stable() {
    assert_eq!(window(12_345, MINUTE, None), (12_345, 60));
    assert_eq!(
        UrlOptions::default().signing_window(at(1)).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn the_lifetime_of_a_stable_link_begins_with_its_window_and_is_longer_by_it() {
    let hour = Some(60 * MINUTE);
    for now in [7_200, 7_201, 10_799] {
        assert_eq!(window(now, MINUTE, hour), (7_200, 3_660), "at {now}");
    }
    assert_eq!(window(10_800, MINUTE, hour), (10_800, 3_660));
    // A fraction of a second does not count.
    assert_eq!(window(10_801, MINUTE, Some(Duration::from_millis(2_900))), (10_800, 62));
    assert_eq!(window(5, Duration::MAX, hour), (0, u64::MAX));
}

#[test]
fn a_stable_link_works_at_least_for_the_requested_time() {
    for (now, stable_for) in (990..1_010).flat_map(|now| (1..50).map(move |window| (now, window))) {
        let (from, lifetime) = window(now, MINUTE, Some(Duration::from_secs(stable_for)));
        assert!(
            from + lifetime >= now + 60 && from + lifetime <= now + 60 + stable_for,
            "{now}, {stable_for}"
        );
    }
}

#[test]
fn debug_of_a_link_omits_its_query_and_its_fields() {
    let mut form = Link::signed(
        "https://example.com/?Signature=secret".parse().unwrap(),
        UrlMethod::Post,
        at(1),
    );
    form.fields = vec![("policy".into(), "secret".into())];
    assert!(!format!("{form:?}").contains("secret"), "{form:?}");
    assert_eq!(form.method.as_str(), "POST");
}

#[tokio::test]
async fn a_storage_with_a_relative_public_url_makes_relative_links() {
    let url = "memory:?prefix=p&public_url=/media/";
    let storage = Registry::with_memory().open_url(url).unwrap();
    assert!(storage.info().capabilities.public_url);
    let link = storage.url("a b/50%?#.png").await.unwrap();
    assert_eq!(link.as_str(), "/media/p/a%20b/50%25%3F%23.png");
    assert_eq!(link.url().unwrap_err().kind(), ErrorKind::Unsupported);
    let head = storage.url("a").method(UrlMethod::Head).await.unwrap();
    assert_eq!((head.as_str(), head.method), ("/media/p/a", UrlMethod::Head));
    // A public link never replaces a signed one.
    let signed = storage.url("a").expires_in(MINUTE).await.unwrap_err();
    assert!(signed.is_unsupported(), "{signed}");
}

#[test]
fn a_hostile_public_url_is_refused_without_showing_it() {
    for base in [
        "//evil.example/",
        "/%5Cevil.example",
        "%5C%5Cevil.example",
        "/%09/evil.example",
        "/a/../..",
        "/a?evil",
        "javascript:evil()",
        "evil",
    ] {
        let base = base.replace('?', "%3F");
        let url = format!("memory:?public_url={base}");
        let error = Registry::with_memory().open_url(&url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{base}");
        assert!(error.message().starts_with("option public_url: "), "{base}: {error}");
        assert!(error.message().contains("as in /media/"), "{base}: {error}");
        assert!(!error.message().contains("evil"), "{base}: {error}");
    }
}

#[test]
fn a_serialized_link_contains_everything_that_a_script_needs() {
    let url = "https://example.com/a?signature=1".parse().unwrap();
    let mut link = Link::signed(url, UrlMethod::Post, UNIX_EPOCH + MINUTE);
    link.headers.push(("content-type".to_owned(), "image/png".to_owned()));
    link.fields.push(("key".to_owned(), "a".to_owned()));
    let expected = serde_json::json!({
        "url": "https://example.com/a?signature=1",
        "method": "POST",
        "headers": [["content-type", "image/png"]],
        "fields": [["key", "a"]],
        "expires_at": "1970-01-01T00:01:00Z",
    });
    assert_eq!(serde_json::to_value(&link).unwrap(), expected);
    let public = Link::public("https://example.com/a".parse().unwrap());
    assert_eq!(serde_json::to_value(public).unwrap()["expires_at"], serde_json::Value::Null);
}
