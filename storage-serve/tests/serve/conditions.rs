//! Preconditions and If-Range.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use storage_core::ETag;
use storage_serve::Serve;
use storage_testkit::wait::until;

use crate::common::scripted::{Version, scripted};
use crate::common::{TestResponse, get, head};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

fn serve_with(etag: Option<ETag>) -> Serve {
    Serve::new(scripted([Version::new("0123456789", |meta| {
        meta.etag = etag;
        meta.last_modified =
            Some(httpdate::parse_http_date(DATE).unwrap() + Duration::from_millis(300));
        meta.metadata.cache_control = Some("max-age=9".to_owned());
        meta.metadata.content_type = Some("text/html".to_owned());
    })]))
}

fn serve() -> Serve {
    serve_with(Some(ETag::strong("v1").unwrap()))
}

async fn status(headers: &[(&str, &str)]) -> u16 {
    let (got, had) =
        (get(&serve(), "/a.txt", headers).await, head(&serve(), "/a.txt", headers).await);
    assert_eq!(got.status, had.status, "{headers:?}");
    got.status.as_u16()
}

#[tokio::test]
async fn if_none_match_returns_304_only_for_the_version_of_the_client() {
    for known in ["\"v1\"", "W/\"v1\"", "\"a\", \"v1\"", "*"] {
        assert_eq!(status(&[("if-none-match", known)]).await, 304, "{known}");
    }
    for other in ["\"v2\"", "\"V1\"", "W/\"v\""] {
        assert_eq!(status(&[("if-none-match", other)]).await, 200, "{other}");
    }
}

#[tokio::test]
async fn a_304_has_only_the_headers_that_caches_need() {
    let response = get(&serve(), "/a.txt", &[("if-none-match", "\"v1\"")]).await;
    let mut names: Vec<_> = response.headers.keys().map(http::HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["cache-control", "etag", "last-modified"]);
}

#[tokio::test]
async fn if_modified_since_compares_seconds_and_is_ignored_beside_etags() {
    assert_eq!(status(&[("if-modified-since", DATE)]).await, 304);
    assert_eq!(status(&[("if-modified-since", BEFORE)]).await, 200);
    assert_eq!(status(&[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")]).await, 304);
    assert_eq!(status(&[("if-modified-since", "yesterday")]).await, 200);
    assert_eq!(status(&[("if-modified-since", DATE), ("if-none-match", "\"v2\"")]).await, 200);
    assert_eq!(status(&[("if-modified-since", BEFORE), ("if-none-match", "\"v1\"")]).await, 304);
}

#[tokio::test]
async fn if_match_requires_the_same_strong_version() {
    assert_eq!(status(&[("if-match", "\"v1\"")]).await, 200);
    assert_eq!(status(&[("if-match", "\"a\", \"v1\"")]).await, 200);
    assert_eq!(status(&[("if-match", "*")]).await, 200);
    assert_eq!(status(&[("if-match", "W/\"v1\"")]).await, 412);
    assert_eq!(status(&[("if-match", "\"v2\"")]).await, 412);
    assert_eq!(status(&[("if-match", "\"v1\""), ("if-unmodified-since", BEFORE)]).await, 200);
    assert_eq!(status(&[("if-match", "\"v2\""), ("if-none-match", "\"v1\"")]).await, 412);
}

#[tokio::test]
async fn if_unmodified_since_compares_seconds() {
    assert_eq!(status(&[("if-unmodified-since", DATE)]).await, 200);
    assert_eq!(status(&[("if-unmodified-since", BEFORE)]).await, 412);
    assert_eq!(status(&[("if-unmodified-since", "tomorrow")]).await, 200);
}

#[tokio::test]
async fn conditions_are_evaluated_before_the_range() {
    let range = ("range", "bytes=50-");
    assert_eq!(
        get(&serve(), "/a.txt", &[range, ("if-none-match", "\"v1\"")]).await.status,
        StatusCode::NOT_MODIFIED
    );
    assert_eq!(
        get(&serve(), "/a.txt", &[range, ("if-match", "\"v2\"")]).await.status,
        StatusCode::PRECONDITION_FAILED
    );
    let response = get(&serve(), "/a.txt", &[range, ("if-match", "\"v1\"")]).await;
    assert_eq!(response.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let response =
        get(&serve(), "/a.txt", &[("range", "bytes=1-2"), ("if-none-match", "\"v2\"")]).await;
    assert_eq!((response.status, response.text()), (StatusCode::PARTIAL_CONTENT, "12"));
}

async fn resumed(serve: &Serve, validator: &str) -> TestResponse {
    get(serve, "/a.txt", &[("range", "bytes=8-"), ("if-range", validator)]).await
}

#[tokio::test]
async fn if_range_with_the_present_version_sends_the_range() {
    for validator in ["\"v1\"", DATE] {
        let response = resumed(&serve(), validator).await;
        assert_eq!(
            (response.status, response.text()),
            (StatusCode::PARTIAL_CONTENT, "89"),
            "{validator}"
        );
    }
}

#[tokio::test]
async fn if_range_with_another_validator_sends_the_whole_object() {
    for validator in ["\"v2\"", "W/\"v1\"", BEFORE, "Sun, 06 Nov 2044 08:49:37 GMT", "nonsense"] {
        let response = resumed(&serve(), validator).await;
        assert_eq!(
            (response.status, response.text()),
            (StatusCode::OK, "0123456789"),
            "{validator}"
        );
    }
    let weak = serve_with(Some(ETag::weak("v1").unwrap()));
    for validator in ["\"v1\"", "W/\"v1\""] {
        assert_eq!(resumed(&weak, validator).await.status, StatusCode::OK, "{validator}");
    }
}

#[tokio::test]
async fn an_unsatisfiable_range_with_if_range_is_416_only_for_the_present_version() {
    let range = ("range", "bytes=50-");
    let same = get(&serve(), "/a.txt", &[range, ("if-range", "\"v1\"")]).await;
    assert_eq!(same.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(
        get(&serve(), "/a.txt", &[range, ("if-range", "\"v2\"")]).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn a_date_does_not_validate_an_object_that_changed_within_the_last_second() {
    let responds_within_the_second = async || {
        let now = SystemTime::now();
        let version = Version::new("0123456789", |meta| meta.last_modified = Some(now));
        let serve = Serve::new(scripted([version]));
        let status = resumed(&serve, &httpdate::fmt_http_date(now)).await.status;
        let is_within = now.elapsed().is_ok_and(|age| age < Duration::from_secs(1));
        assert!(!is_within || status == StatusCode::OK, "{status}");
        is_within
    };
    assert!(until(responds_within_the_second).await, "the server is too slow");
}
