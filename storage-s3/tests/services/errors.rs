//! Errors of services, with what to do about them.

use storage_core::{ErrorKind, Storage};
use storage_s3::Quirks;

use crate::fake::Fake;
use crate::fault_proxy::{Answer, Fault};

const PART: usize = 5 << 20;

fn in_parts(fake: &Fake) -> Storage {
    Storage::new(fake.builder(Quirks::None).part_size(PART as u64).build().unwrap())
}

#[tokio::test]
async fn a_save_whose_upload_another_write_ended_is_a_conflict_that_can_be_tried_again() {
    for operation in ["UploadPart", "CompleteMultipartUpload"] {
        let fake = Fake::without(&[]);
        let gone = fake.proxy.on(operation).then(Fault::Say(Answer::error(404, "NoSuchUpload")));
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
async fn an_upload_that_is_gone_after_a_lost_answer_is_not_said_to_be_safe_to_try_again() {
    let fake = Fake::without(&[]);
    let lost = fake.proxy.on("CompleteMultipartUpload").call(1).then(Fault::Drop);
    let gone = fake
        .proxy
        .on("CompleteMultipartUpload")
        .then(Fault::Say(Answer::error(404, "NoSuchUpload")));
    let error = in_parts(&fake).save("a", vec![0; PART + 1]).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, false), "{error}");
    assert!(error.message().contains("is unknown"), "{error}");
    lost.assert_fired();
    gone.assert_fired();
}

#[tokio::test]
async fn too_many_headers_are_too_large_and_the_error_names_the_limit() {
    let fake = Fake::without(&[]);
    let refused = fake.proxy.on("PutObject").then(Fault::Say(Answer::new(431, "")));
    let error = fake.storage(Quirks::None).save("a", "text").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(error.message().contains("fewer than 100 names"), "{error}");
    assert_eq!(refused.fired(), 1);
}

/// As Garage refuses another region: the document names it, and a HEAD has none.
#[tokio::test]
async fn a_wrong_region_that_a_head_meets_names_the_region_to_set() {
    let document = "<Error><Code>AuthorizationHeaderMalformed</Code><Message>unexpected scope</Message>\
                    <Region>garage</Region></Error>";
    let fake = Fake::without(&[]);
    let refused = fake.proxy.on("*").then(Fault::Say(Answer::new(400, document)));
    let storage = fake.storage(Quirks::None);
    for error in [storage.stat("a").await.unwrap_err(), storage.exists("a").await.unwrap_err()] {
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
        assert!(error.message().contains("set region = \"garage\""), "{error}");
    }
    refused.assert_fired();
}

#[tokio::test]
async fn a_bad_request_that_only_a_head_meets_stays_one() {
    let fake = Fake::without(&[]);
    let storage = fake.storage(Quirks::None);
    storage.save("a", "text").await.unwrap();
    let refused = fake.proxy.on("HeadObject").then(Fault::Say(Answer::new(400, "")));
    let error = storage.stat("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unexpected, "{error}");
    refused.assert_fired();
}

#[tokio::test]
async fn a_denial_hints_at_the_keys_because_some_services_say_it_of_unknown_ones() {
    let fake = Fake::without(&[]);
    let denied = fake.proxy.on("*").then(Fault::Say(Answer::error(403, "AccessDenied")));
    let error = fake.storage(Quirks::None).open("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    assert!(error.message().contains("check access_key_id and secret_access_key"), "{error}");
    denied.assert_fired();
}
