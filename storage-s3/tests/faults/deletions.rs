//! Many deletions in one request: each key has its own answer, and what is called gone is gone.

use futures_util::{StreamExt, stream};
use storage_core::{ErrorKind, Result};

use crate::fault_proxy::{Answer, Fault, Reached};
use crate::stage::Stage;

const MANY: &str = "DeleteObjects";
const KEYS: [&str; 3] = ["a", "b", "c"];

async fn three() -> Stage {
    let stage = Stage::new();
    for key in KEYS {
        stage.truth.save(key, key).await.unwrap();
    }
    stage
}

async fn delete_many(stage: &Stage) -> Vec<Result<String>> {
    let answers = stage.storage.delete_many(stream::iter(KEYS));
    answers.map(|answer| answer.map(|key| key.to_string())).collect().await
}

async fn left(stage: &Stage) -> Vec<&'static str> {
    let mut left = Vec::new();
    for key in KEYS {
        if stage.truth.exists(key).await.unwrap() {
            left.push(key);
        }
    }
    left
}

#[tokio::test]
async fn a_key_that_cannot_be_deleted_does_not_keep_the_others() {
    let stage = three().await;
    let failing = stage.proxy.on(MANY).then(Fault::SayInstead(Answer::new(
        200,
        "<DeleteResult><Error><Key>stage-0000/b</Key><Code>AccessDenied</Code><Message>no</Message></Error>\
         <Error><Key>stage-0000/c</Key><Code>InternalError</Code><Message>once more</Message></Error></DeleteResult>",
    )));
    let answers = delete_many(&stage).await;
    assert_eq!(answers[0].as_deref().unwrap(), "a");
    let errors: Vec<_> = answers[1..].iter().map(|answer| answer.as_ref().unwrap_err()).collect();
    assert_eq!(
        errors.iter().map(|error| error.kind()).collect::<Vec<_>>(),
        [ErrorKind::PermissionDenied, ErrorKind::Unexpected]
    );
    assert_eq!(errors.iter().map(|error| error.key().unwrap()).collect::<Vec<_>>(), ["b", "c"]);
    assert_eq!(errors.iter().map(|error| error.is_retryable()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(failing.fired(), 1);
}

#[tokio::test]
async fn what_is_no_answer_of_s3_is_not_taken_for_deleted() {
    let answers = [
        Answer::web_page(200),
        Answer::new(200, ""),
        Answer::new(200, "<DeleteResult><Error>"),
        Answer::new(200, "<ListBucketResult/>"),
    ];
    for answer in answers {
        let stage = three().await;
        let wrong = stage.proxy.on(MANY).then(Fault::Say(answer));
        for answer in delete_many(&stage).await {
            assert_eq!(answer.unwrap_err().kind(), ErrorKind::Unexpected);
        }
        assert_eq!(left(&stage).await, KEYS);
        assert_eq!(wrong.fired(), 1);
    }
}

#[tokio::test]
async fn an_error_inside_an_answer_of_success_is_every_keys() {
    let stage = three().await;
    let denied = stage
        .proxy
        .on(MANY)
        .then(Fault::Say(Answer { status: 200, ..Answer::error(403, "AccessDenied") }));
    for answer in delete_many(&stage).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    assert_eq!((left(&stage).await.len(), denied.fired()), (3, 1));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_asked_for_again() {
    let stage = three().await;
    let broken = stage.proxy.on(MANY).call(1).then(Fault::Truncate(10));
    assert!(delete_many(&stage).await.iter().all(Result::is_ok));
    assert!(left(&stage).await.is_empty());
    assert_eq!((broken.fired(), stage.proxy.count(MANY)), (1, 2));
}

#[tokio::test]
async fn deletions_that_are_dropped_take_their_request_along() {
    let stage = three().await;
    let held = stage.proxy.on(MANY).then(Fault::Stall);
    let deleting = tokio::spawn({
        let deletions = stage.storage.delete_many(stream::iter(KEYS));
        deletions.collect::<Vec<_>>()
    });
    stage.proxy.until("the request", |record| record.count_at(MANY, Reached::Held) == 1).await;
    deleting.abort();
    stage.proxy.until("its end", |record| record.count_at(MANY, Reached::Abandoned) == 1).await;
    assert_eq!((held.fired(), left(&stage).await.len()), (1, 3));
}
