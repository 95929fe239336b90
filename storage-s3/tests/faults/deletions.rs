//! Bulk deletes: each key has its own result, and a key that is reported as deleted is deleted.

use futures_util::{StreamExt, stream};
use storage_core::{ErrorKind, Result};

use crate::fault_proxy::{CannedResponse, Fault, Progress};
use crate::fixture::Fixture;

const MANY: &str = "DeleteObjects";
const KEYS: [&str; 3] = ["a", "b", "c"];

async fn three() -> Fixture {
    let fixture = Fixture::new();
    for key in KEYS {
        fixture.truth.save(key, key).await.unwrap();
    }
    fixture
}

async fn delete_many(fixture: &Fixture) -> Vec<Result<String>> {
    let responses = fixture.storage.delete_many(stream::iter(KEYS));
    responses.map(|response| response.map(|key| key.to_string())).collect().await
}

async fn left(fixture: &Fixture) -> Vec<&'static str> {
    let mut left = Vec::new();
    for key in KEYS {
        if fixture.truth.exists(key).await.unwrap() {
            left.push(key);
        }
    }
    left
}

#[tokio::test]
async fn a_key_that_cannot_be_deleted_does_not_prevent_the_others() {
    let fixture = three().await;
    let failing = fixture.proxy.on(MANY).then(Fault::ReplaceResponse(CannedResponse::new(
        200,
        "<DeleteResult><Error><Key>fixture-0000/b</Key><Code>AccessDenied</Code><Message>no</Message></Error>\
         <Error><Key>fixture-0000/c</Key><Code>InternalError</Code><Message>once more</Message></Error></DeleteResult>",
    )));
    let responses = delete_many(&fixture).await;
    assert_eq!(responses[0].as_deref().unwrap(), "a");
    let errors: Vec<_> =
        responses[1..].iter().map(|response| response.as_ref().unwrap_err()).collect();
    assert_eq!(
        errors.iter().map(|error| error.kind()).collect::<Vec<_>>(),
        [ErrorKind::PermissionDenied, ErrorKind::Unexpected]
    );
    assert_eq!(errors.iter().map(|error| error.key().unwrap()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(errors.iter().map(|error| error.is_retryable()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(failing.fired(), 1);
}

#[tokio::test]
async fn an_error_of_no_known_key_fails_every_key_without_an_error_of_its_own() {
    for key in ["", "<Key>fixture-0000/B</Key>"] {
        let fixture = three().await;
        let body = format!(
            "<DeleteResult><Error>{key}<Code>InternalError</Code></Error><Error>\
             <Key>fixture-0000/c</Key><Code>AccessDenied</Code></Error></DeleteResult>"
        );
        let response = CannedResponse::new(200, body);
        let failing = fixture.proxy.on(MANY).then(Fault::ReplaceResponse(response));
        let kinds: Vec<_> = delete_many(&fixture)
            .await
            .into_iter()
            .map(|response| response.unwrap_err().kind())
            .collect();
        let (unexpected, denied) = (ErrorKind::Unexpected, ErrorKind::PermissionDenied);
        assert_eq!((kinds, failing.fired()), (vec![unexpected, unexpected, denied], 1));
    }
}

#[tokio::test]
async fn a_response_that_is_not_from_s3_fails_the_deletion() {
    let responses = [
        CannedResponse::web_page(200),
        CannedResponse::new(200, ""),
        CannedResponse::new(200, "<DeleteResult><Error>"),
        CannedResponse::new(200, "<ListBucketResult/>"),
    ];
    for response in responses {
        let fixture = three().await;
        let wrong = fixture.proxy.on(MANY).then(Fault::Respond(response));
        for response in delete_many(&fixture).await {
            assert_eq!(response.unwrap_err().kind(), ErrorKind::Unexpected);
        }
        assert_eq!(left(&fixture).await, KEYS);
        assert_eq!(wrong.fired(), 1);
    }
}

#[tokio::test]
async fn an_error_in_a_response_of_success_applies_to_every_key() {
    let fixture = three().await;
    let denied = fixture.proxy.on(MANY).then(Fault::Respond(CannedResponse {
        status: 200,
        ..CannedResponse::error(403, "AccessDenied")
    }));
    for response in delete_many(&fixture).await {
        assert_eq!(response.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!((left(&fixture).await.len(), denied.fired()), (3, 1));
}

#[tokio::test]
async fn a_bulk_delete_whose_response_breaks_off_is_repeated() {
    let fixture = three().await;
    let broken = fixture.proxy.on(MANY).call(1).then(Fault::Truncate(10));
    assert!(delete_many(&fixture).await.iter().all(Result::is_ok));
    assert!(left(&fixture).await.is_empty());
    assert_eq!((broken.fired(), fixture.proxy.count(MANY)), (1, 2));
}

#[tokio::test]
async fn dropping_a_deletion_cancels_its_request() {
    let fixture = three().await;
    let held = fixture.proxy.on(MANY).then(Fault::Stall);
    let deleting = tokio::spawn({
        let deletions = fixture.storage.delete_many(stream::iter(KEYS));
        deletions.collect::<Vec<_>>()
    });
    fixture.proxy.until("the request", |record| record.count_at(MANY, Progress::Held) == 1).await;
    deleting.abort();
    fixture.proxy.until("its end", |record| record.count_at(MANY, Progress::Abandoned) == 1).await;
    assert_eq!((held.fired(), left(&fixture).await.len()), (1, 3));
}
