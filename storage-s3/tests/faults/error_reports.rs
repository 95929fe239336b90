//! The content of errors, and responses that prove nothing.

use std::time::Duration;

use futures_util::stream;
use storage_core::{Error, ErrorKind, Storage, UrlMethod};
use storage_s3::{Quirks, S3Builder};

use crate::fault_proxy::{CannedResponse, Fault, Proxy, RecordedRequest};
use crate::fixture::Fixture;

/// Returns a storage on a scripted service.
fn scripted(
    script: impl Fn(&RecordedRequest) -> CannedResponse + Send + Sync + 'static,
) -> (Proxy, Storage) {
    let proxy = Proxy::scripted(script);
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    let driver = builder
        .region("us-east-1")
        .access_key_id("AKIDOFTHETESTS")
        .secret_access_key("of the tests");
    (proxy, Storage::new(driver.build().unwrap()))
}

/// Returns the error of each verb.
async fn failures(storage: &Storage) -> Vec<(&'static str, Error)> {
    vec![
        ("save", storage.save("a", "text").await.unwrap_err()),
        ("save in parts", storage.save("a", vec![0; 9 << 20]).await.unwrap_err()),
        ("open", storage.open("a").await.unwrap_err()),
        ("stat", storage.stat("a").await.unwrap_err()),
        ("exists", storage.exists("a").await.unwrap_err()),
        ("delete", storage.delete("a").await.unwrap_err()),
        (
            "delete_many",
            storage.delete_many(stream::iter(["a", "b"])).next().await.unwrap().unwrap_err(),
        ),
        ("list", storage.list("").entries().next().await.unwrap().unwrap_err()),
        ("copy", storage.copy("a", "b").await.unwrap_err()),
    ]
}

#[tokio::test]
async fn a_server_that_is_not_s3_never_causes_not_found() {
    for response in [
        CannedResponse::web_page(404),
        CannedResponse::new(404, ""),
        CannedResponse::new(404, "{\"error\":\"not found\"}"),
    ] {
        let (proxy, storage) = scripted(move |_| response.clone());
        for (verb, error) in failures(&storage).await {
            assert_eq!(error.kind(), ErrorKind::Unexpected, "{verb}: {error}");
            assert!(error.message().contains("is the endpoint an S3 service?"), "{verb}: {error}");
        }
        assert!(proxy.count("*") > 0);
    }
}

#[tokio::test]
async fn every_verb_reports_a_missing_bucket() {
    let (proxy, storage) = scripted(|_| CannedResponse::error(404, "NoSuchBucket"));
    for (verb, error) in failures(&storage).await {
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{verb}: {error}");
        assert!(error.message().contains("NoSuchBucket"), "{verb}: {error}");
    }
    assert!(proxy.count("*") > 0);
}

#[tokio::test]
async fn a_missing_object_is_not_found_once_the_bucket_is_known() {
    let (proxy, storage) = scripted(|_| CannedResponse::error(404, "NoSuchKey"));
    assert!(!storage.exists("a").await.unwrap());
    assert_eq!(storage.stat("b").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.open("c").await.unwrap_err().kind(), ErrorKind::NotFound);
    storage.delete("d").await.unwrap();
    assert_eq!(
        proxy
            .inspect(|record| ["HeadObject", "GetObject"].map(|operation| record.count(operation))),
        [2, 2]
    );
}

#[tokio::test]
async fn every_verb_names_the_region_to_set() {
    let document = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message>\
                    <Region>eu-west-1</Region></Error>";
    let by_header = |status| {
        CannedResponse::error(status, "PermanentRedirect")
            .header("x-amz-bucket-region", "eu-west-1")
    };
    for response in [by_header(301), by_header(400), by_header(307)] {
        let (_proxy, storage) = scripted(move |_| response.clone());
        for (verb, error) in failures(&storage).await {
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{verb}: {error}");
            assert!(error.message().contains("set region = \"eu-west-1\""), "{verb}: {error}");
        }
    }
    let (_proxy, storage) = scripted(move |_| CannedResponse::new(400, document));
    let error = storage.open("a").await.unwrap_err();
    assert!(error.message().contains("set region = \"eu-west-1\""), "{error}");
}

#[tokio::test]
async fn an_error_about_a_wrong_clock_states_the_skew() {
    let there = httpdate::fmt_http_date(std::time::SystemTime::now() - Duration::from_secs(3600));
    let (_proxy, storage) = scripted(move |_| {
        CannedResponse::error(403, "RequestTimeTooSkewed").header("date", &there)
    });
    let error = storage.open("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(
        error.message().contains("this machine's clock is 36") && error.message().contains("NTP"),
        "{error}"
    );
}

#[tokio::test]
async fn an_error_contains_the_code_and_the_ids_of_the_service() {
    let (_proxy, storage) = scripted(|_| CannedResponse::error(403, "SomethingNew"));
    let error = storage.open("a").await.unwrap_err();
    let message = "SomethingNew (403): on purpose [request 4442587FB7D0A2F9, host aGVyZQ==]";
    assert_eq!((error.kind(), error.message()), (ErrorKind::PermissionDenied, message));
}

#[tokio::test]
async fn a_retry_after_of_one_second_is_observed() {
    let fixture = Fixture::new();
    let slow_down = CannedResponse::error(503, "SlowDown").header("retry-after", "1");
    let request = fixture.proxy.on("PutObject").call(1).then(Fault::Respond(slow_down));
    fixture.storage.save("a", "text").await.unwrap();
    request.assert_fired();
    let times: Vec<_> =
        fixture.proxy.inspect(|record| record.of("PutObject").map(|request| request.at).collect());
    // Without it, the first delay is at most a tenth of that.
    assert!(times[1] - times[0] >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_error_contains_the_retry_after_of_the_service() {
    let (_proxy, storage) = scripted(|request| match request.method().as_str() {
        "DELETE" => CannedResponse::error(400, "SomethingNew").header("retry-after", "7"),
        _ => CannedResponse::error(400, "SomethingNew"),
    });
    assert_eq!(storage.delete("a").await.unwrap_err().retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(storage.open("a").await.unwrap_err().retry_after(), None);
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let elsewhere =
        Proxy::scripted(|_| CannedResponse::new(200, "stolen").header("etag", "\"stolen\""));
    let there = elsewhere.endpoint().join("/bucket/a").unwrap();
    for status in [301, 302, 303, 307, 308] {
        let there = there.clone();
        let (proxy, storage) =
            scripted(move |_| CannedResponse::new(status, "").header("location", there.as_str()));
        for (verb, error) in failures(&storage).await {
            assert!(!error.is_retryable(), "{verb}: {error}");
        }
        assert!(proxy.count("*") > 0);
    }
    assert_eq!(elsewhere.count("*"), 0);
}

#[tokio::test]
async fn a_save_without_an_etag_in_the_response_fails() {
    for response in
        [CannedResponse::web_page(200), CannedResponse::new(200, ""), CannedResponse::new(204, "")]
    {
        let (proxy, storage) = scripted(move |_| response.clone());
        let error = storage.save("a", "text").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
        assert_eq!(proxy.count("PutObject"), 1);
    }
}

#[tokio::test]
async fn a_stat_without_a_size_in_the_response_fails() {
    let fixture = Fixture::new();
    fixture.truth.save("a", "text").await.unwrap();
    let nameless = fixture.proxy.on("HeadObject").then(Fault::header("content-length", "many"));
    assert_eq!(fixture.storage.stat("a").await.unwrap_err().kind(), ErrorKind::Unexpected);
    nameless.assert_fired();
}

#[tokio::test]
async fn links_are_created_without_the_service() {
    let fixture = Fixture::new();
    let broken = fixture.proxy.on("*").then(Fault::Drop);
    for method in [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put, UrlMethod::Post] {
        fixture.storage.url("a").method(method).expires_in(Duration::from_secs(60)).await.unwrap();
    }
    assert_eq!(fixture.storage.url("a").await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!((fixture.proxy.count("*"), broken.fired()), (0, 0));
}
