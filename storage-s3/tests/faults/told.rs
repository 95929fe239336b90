//! What errors say, so that people know what to do; and what is not believed.

use std::time::Duration;

use futures_util::stream;
use storage_core::{Error, ErrorKind, Storage, UrlMethod};
use storage_s3::{Quirks, S3Builder};

use crate::fault_proxy::{Answer, Asked, Fault, Proxy};
use crate::stage::Stage;

/// A service that says what the script says.
fn scripted(script: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> (Proxy, Storage) {
    let proxy = Proxy::scripted(script);
    let builder =
        S3Builder::new("bucket").quirks(Quirks::None).endpoint(proxy.endpoint()).allow_http(true);
    let driver = builder
        .region("us-east-1")
        .access_key_id("AKIDOFTHETESTS")
        .secret_access_key("of the tests");
    (proxy, Storage::new(driver.build().unwrap()))
}

/// What each verb fails with.
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
async fn something_that_is_no_s3_does_not_make_anything_absent() {
    for answer in
        [Answer::web_page(404), Answer::new(404, ""), Answer::new(404, "{\"error\":\"not found\"}")]
    {
        let (proxy, storage) = scripted(move |_| answer.clone());
        for (verb, error) in failures(&storage).await {
            assert_eq!(error.kind(), ErrorKind::Unexpected, "{verb}: {error}");
            assert!(error.message().contains("is the endpoint an S3 service?"), "{verb}: {error}");
        }
        assert!(proxy.count("*") > 0);
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_by_every_verb() {
    let (proxy, storage) = scripted(|_| Answer::error(404, "NoSuchBucket"));
    for (verb, error) in failures(&storage).await {
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{verb}: {error}");
        assert!(error.message().contains("NoSuchBucket"), "{verb}: {error}");
    }
    assert!(proxy.count("*") > 0);
}

#[tokio::test]
async fn an_object_that_is_not_there_is_absent_once_the_bucket_is_known() {
    let (proxy, storage) = scripted(|_| Answer::error(404, "NoSuchKey"));
    assert!(!storage.exists("a").await.unwrap());
    assert_eq!(storage.stat("b").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.open("c").await.unwrap_err().kind(), ErrorKind::NotFound);
    storage.delete("d").await.unwrap();
    assert_eq!(
        proxy.look(|record| ["HeadObject", "GetObject"].map(|operation| record.count(operation))),
        [2, 2]
    );
}

#[tokio::test]
async fn every_verb_names_the_region_to_set() {
    let document = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region is wrong</Message>\
                    <Region>eu-west-1</Region></Error>";
    let by_header = |status| {
        Answer::error(status, "PermanentRedirect").header("x-amz-bucket-region", "eu-west-1")
    };
    for answer in [by_header(301), by_header(400), by_header(307)] {
        let (_proxy, storage) = scripted(move |_| answer.clone());
        for (verb, error) in failures(&storage).await {
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{verb}: {error}");
            assert!(error.message().contains("set region = \"eu-west-1\""), "{verb}: {error}");
        }
    }
    let (_proxy, storage) = scripted(move |_| Answer::new(400, document));
    let error = storage.open("a").await.unwrap_err();
    assert!(error.message().contains("set region = \"eu-west-1\""), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_told_with_how_far() {
    let there = httpdate::fmt_http_date(std::time::SystemTime::now() - Duration::from_secs(3600));
    let (_proxy, storage) =
        scripted(move |_| Answer::error(403, "RequestTimeTooSkewed").header("date", &there));
    let error = storage.open("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(
        error.message().contains("this machine's clock is 36") && error.message().contains("NTP"),
        "{error}"
    );
}

#[tokio::test]
async fn the_services_code_and_ids_are_told() {
    let (_proxy, storage) = scripted(|_| Answer::error(403, "SomethingNew"));
    let error = storage.open("a").await.unwrap_err();
    let message = "SomethingNew (403): on purpose [request 4442587FB7D0A2F9, host aGVyZQ==]";
    assert_eq!((error.kind(), error.message()), (ErrorKind::PermissionDenied, message));
}

#[tokio::test]
async fn a_service_that_asks_for_a_second_is_given_it() {
    let stage = Stage::new();
    let slow_down = Answer::error(503, "SlowDown").header("retry-after", "1");
    let asked = stage.proxy.on("PutObject").call(1).then(Fault::Say(slow_down));
    stage.storage.save("a", "text").await.unwrap();
    asked.assert_fired();
    let times: Vec<_> =
        stage.proxy.look(|record| record.of("PutObject").map(|seen| seen.at).collect());
    // Else the first wait is a tenth of it at most.
    assert!(times[1] - times[0] >= Duration::from_secs(1));
}

#[tokio::test]
async fn an_error_tells_how_long_the_service_asked_for() {
    let (_proxy, storage) = scripted(|asked| match asked.method().as_str() {
        "DELETE" => Answer::error(400, "SomethingNew").header("retry-after", "7"),
        _ => Answer::error(400, "SomethingNew"),
    });
    assert_eq!(storage.delete("a").await.unwrap_err().retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(storage.open("a").await.unwrap_err().retry_after(), None);
}

#[tokio::test]
async fn a_redirection_is_not_followed() {
    let elsewhere = Proxy::scripted(|_| Answer::new(200, "stolen").header("etag", "\"stolen\""));
    let there = elsewhere.endpoint().join("/bucket/a").unwrap();
    for status in [301, 302, 303, 307, 308] {
        let there = there.clone();
        let (proxy, storage) =
            scripted(move |_| Answer::new(status, "").header("location", there.as_str()));
        for (verb, error) in failures(&storage).await {
            assert!(!error.is_retryable(), "{verb}: {error}");
        }
        assert!(proxy.count("*") > 0);
    }
    assert_eq!(elsewhere.count("*"), 0);
}

#[tokio::test]
async fn what_is_saved_without_a_version_was_not_saved_by_s3() {
    for answer in [Answer::web_page(200), Answer::new(200, ""), Answer::new(204, "")] {
        let (proxy, storage) = scripted(move |_| answer.clone());
        let error = storage.save("a", "text").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
        assert_eq!(proxy.count("PutObject"), 1);
    }
}

#[tokio::test]
async fn an_object_without_a_size_is_not_told_of() {
    let stage = Stage::new();
    stage.truth.save("a", "text").await.unwrap();
    let nameless = stage.proxy.on("HeadObject").then(Fault::header("content-length", "many"));
    assert_eq!(stage.storage.stat("a").await.unwrap_err().kind(), ErrorKind::Unexpected);
    nameless.assert_fired();
}

#[tokio::test]
async fn links_are_made_whatever_the_service_says() {
    let stage = Stage::new();
    let broken = stage.proxy.on("*").then(Fault::Drop);
    for method in [UrlMethod::Get, UrlMethod::Head, UrlMethod::Put, UrlMethod::Post] {
        stage.storage.url("a").method(method).expires_in(Duration::from_secs(60)).await.unwrap();
    }
    assert_eq!(stage.storage.url("a").await.unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!((stage.proxy.count("*"), broken.fired()), (0, 0));
}
