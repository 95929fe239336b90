//! Errors of services, with the advice for them.

use storage_core::{ErrorKind, Storage};
use storage_s3::Quirks;

use crate::fake::Fake;
use crate::fault_proxy::{CannedResponse, Fault};

const PART: usize = 5 << 20;

fn in_parts(fake: &Fake) -> Storage {
    Storage::new(fake.builder(Quirks::None).part_size(PART as u64).build().unwrap())
}

#[tokio::test]
async fn a_save_whose_upload_another_write_ended_is_a_retryable_conflict() {
    for operation in ["UploadPart", "CompleteMultipartUpload"] {
        let fake = Fake::without(&[]);
        let gone = fake
            .proxy
            .on(operation)
            .then(Fault::Respond(CannedResponse::error(404, "NoSuchUpload")));
        let error = in_parts(&fake).save("a", vec![0; PART + 1]).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Conflict, true),
            "{operation}: {error}"
        );
        assert!(error.message().contains("another write of the key"), "{error}");
        gone.assert_fired();
        assert_eq!(fake.left(), (Vec::new(), 0));
    }
}

#[tokio::test]
async fn an_upload_that_is_gone_after_a_lost_response_is_not_retryable() {
    let fake = Fake::without(&[]);
    let lost = fake.proxy.on("CompleteMultipartUpload").call(1).then(Fault::Drop);
    let gone = fake
        .proxy
        .on("CompleteMultipartUpload")
        .then(Fault::Respond(CannedResponse::error(404, "NoSuchUpload")));
    let error = in_parts(&fake).save("a", vec![0; PART + 1]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, false), "{error}");
    assert!(error.message().contains("is unknown"), "{error}");
    lost.assert_fired();
    gone.assert_fired();
}

#[tokio::test]
async fn an_error_about_too_many_headers_names_the_limit() {
    let fake = Fake::without(&[]);
    let refused = fake.proxy.on("PutObject").then(Fault::Respond(CannedResponse::new(431, "")));
    let error = fake.storage(Quirks::None).save("a", "text").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(error.message().contains("fewer than 100 names"), "{error}");
    assert_eq!(refused.fired(), 1);
}

/// Garage refuses a wrong region so: the document names the region, and a HEAD has no document.
#[tokio::test]
async fn a_head_with_a_wrong_region_fails_with_the_region_to_set() {
    let document = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>unexpected scope</Message>\
                    <Region>garage</Region></Error>";
    let fake = Fake::without(&[]);
    let refused = fake.proxy.on("*").then(Fault::Respond(CannedResponse::new(400, document)));
    let storage = fake.storage(Quirks::None);
    for error in [storage.stat("a").await.unwrap_err(), storage.exists("a").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.message().contains("set region = \"garage\""), "{error}");
    }
    refused.assert_fired();
}

#[tokio::test]
async fn a_bad_request_of_a_head_stays_an_error() {
    let fake = Fake::without(&[]);
    let storage = fake.storage(Quirks::None);
    storage.save("a", "text").await.unwrap();
    let refused = fake.proxy.on("HeadObject").then(Fault::Respond(CannedResponse::new(400, "")));
    let error = storage.stat("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    refused.assert_fired();
}

#[tokio::test]
async fn a_denial_of_the_service_advises_to_check_the_keys() {
    let fake = Fake::without(&[]);
    let denied =
        fake.proxy.on("*").then(Fault::Respond(CannedResponse::error(403, "AccessDenied")));
    let error = fake.storage(Quirks::None).open("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.message().contains("check access_key_id and secret_access_key"), "{error}");
    denied.assert_fired();
}
