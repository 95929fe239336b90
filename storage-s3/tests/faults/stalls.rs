//! Servers that say nothing: every verb gives up on a request in the end, tries again, and can be
//! dropped meanwhile.
//!
//! The driver's patience is half a minute and more. The tests turn its clock on when the server has
//! begun to keep silent.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use storage_core::{Error, ErrorKind, Metadata, Result, Storage};
use tokio::task::JoinHandle;

use crate::fault_proxy::{Fault, Reached};
use crate::scenes::COMPLETE;
use crate::stage::{ATTEMPTS, Ground, PART, Stage, part_and_a_bit, read, turn_clock_on};

/// Longer than the driver waits for an answer, or for more of one.
const PATIENCE: Duration = Duration::from_secs(31);
/// Longer than it waits where the service has much to do, or much to receive.
const LONG_PATIENCE: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Save,
    Create,
    Part,
    Complete,
    Open,
    Stat,
    Exists,
    Delete,
    DeleteMany,
    List,
    Copy,
    CopyRange,
}

const ALL: [Step; 12] = [
    Step::Save,
    Step::Create,
    Step::Part,
    Step::Complete,
    Step::Open,
    Step::Stat,
    Step::Exists,
    Step::Delete,
    Step::DeleteMany,
    Step::List,
    Step::Copy,
    Step::CopyRange,
];

fn ground() -> Arc<Ground> {
    Ground::with(|builder| builder.largest_copy(PART))
}

impl Step {
    fn operation(self) -> &'static str {
        match self {
            Self::Save => "PutObject",
            Self::Create => "CreateMultipartUpload",
            Self::Part => "UploadPart",
            Self::Complete => COMPLETE,
            Self::Open => "GetObject",
            Self::Stat | Self::Exists => "HeadObject",
            Self::Delete => "DeleteObject",
            Self::DeleteMany => "DeleteObjects",
            Self::List => "ListObjectsV2",
            Self::Copy => "CopyObject",
            Self::CopyRange => "UploadPartCopy",
        }
    }

    fn patience(self) -> Duration {
        match self {
            Self::Part | Self::Complete | Self::Copy | Self::CopyRange => LONG_PATIENCE,
            _ => PATIENCE,
        }
    }

    async fn stage(self, ground: &Arc<Ground>) -> Stage {
        let stage = Stage::on(ground);
        stage.truth.save("a", "old").await.unwrap();
        if self == Self::CopyRange {
            stage.truth.save("large", part_and_a_bit()).await.unwrap();
        }
        stage
    }

    async fn run(self, storage: Storage) -> Result<()> {
        match self {
            Self::Save => storage.save("a", "new").await.map(|_| ()),
            Self::Create | Self::Part | Self::Complete => {
                storage.save("a", part_and_a_bit()).await.map(|_| ())
            }
            Self::Open => read(&storage, "a").await.map(|_| ()),
            Self::Stat => storage.stat("a").await.map(|_| ()),
            Self::Exists => storage.exists("a").await.map(|_| ()),
            Self::Delete => storage.delete("a").await,
            Self::DeleteMany => {
                storage.delete_many(stream::iter(["a", "b"])).next().await.unwrap().map(|_| ())
            }
            Self::List => storage.list("").entries().collect().await.map(|_| ()),
            Self::Copy => storage.copy("a", "b").await,
            Self::CopyRange => storage.copy("large", "b").metadata(Metadata::new()).await,
        }
    }

    fn begin(self, stage: &Stage) -> JoinHandle<Result<()>> {
        tokio::spawn(self.run(stage.storage.clone()))
    }
}

/// Waits until the server keeps silent, and until the driver has had enough of it.
async fn wear_out_patience(stage: &Stage, operation: &'static str, by: Duration) {
    stage.proxy.until("silence", move |record| record.count_at(operation, Reached::Held) > 0).await;
    turn_clock_on(by).await;
    stage
        .proxy
        .until("the end of patience", move |record| record.count_at(operation, Reached::Held) == 0)
        .await;
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_sent_again() {
    let ground = ground();
    for step in ALL {
        for fault in [Fault::Stall, Fault::StallAnswer] {
            // Of a creation that was done and not answered nobody knows the name.
            if step == Step::Create && matches!(fault, Fault::StallAnswer) {
                continue;
            }
            let stage = step.stage(&ground).await;
            let silent = stage.proxy.on(step.operation()).call(1).then(fault);
            let running = step.begin(&stage);
            wear_out_patience(&stage, step.operation(), step.patience()).await;
            running.await.unwrap().unwrap_or_else(|error| panic!("{step:?}: {error}"));
            silent.assert_fired();
            stage.proxy.no_upload_is_left().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_after_a_few_requests() {
    let ground = ground();
    for step in [Step::Save, Step::Stat, Step::List] {
        let stage = step.stage(&ground).await;
        let silent = stage.proxy.on(step.operation()).then(Fault::Stall);
        let running = step.begin(&stage);
        for _ in 0..ATTEMPTS {
            wear_out_patience(&stage, step.operation(), step.patience()).await;
        }
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::Timeout, true),
            "{step:?}: {error}"
        );
        assert_eq!(silent.fired(), ATTEMPTS);
    }
}

#[tokio::test]
async fn an_answer_that_stops_in_the_middle_of_its_head_is_asked_for_again() {
    let ground = ground();
    for step in [Step::Save, Step::Open, Step::Stat, Step::List] {
        let stage = step.stage(&ground).await;
        let silent = stage.proxy.on(step.operation()).call(1).then(Fault::StallHead);
        let running = step.begin(&stage);
        wear_out_patience(&stage, step.operation(), step.patience()).await;
        running.await.unwrap().unwrap_or_else(|error| panic!("{step:?}: {error}"));
        silent.assert_fired();
    }
}

#[tokio::test]
async fn a_document_that_stalls_is_asked_for_again() {
    let ground = ground();
    for step in [Step::Complete, Step::DeleteMany, Step::List, Step::Copy, Step::CopyRange] {
        let stage = step.stage(&ground).await;
        let silent = stage.proxy.on(step.operation()).call(1).then(Fault::StallBody(30));
        let running = step.begin(&stage);
        stage
            .proxy
            .until("silence", move |record| record.count_at(step.operation(), Reached::Held) > 0)
            .await;
        // The head has to have come before, with which the patience for the body begins.
        for _ in 0..20 {
            turn_clock_on(PATIENCE).await;
        }
        running.await.unwrap().unwrap_or_else(|error| panic!("{step:?}: {error}"));
        silent.assert_fired();
        stage.proxy.no_upload_is_left().await;
    }
}

#[tokio::test]
async fn a_conditional_save_that_is_never_answered_is_not_repeated() {
    for fault in [Fault::Stall, Fault::StallAnswer] {
        let stage = Stage::new();
        let silent = stage.proxy.on("PutObject").then(fault);
        let storage = stage.storage.clone();
        let running =
            tokio::spawn(async move { storage.save("new", "new").create_new().await.map(|_| ()) });
        wear_out_patience(&stage, "PutObject", PATIENCE).await;
        let error: Error = running.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, false), "{error}");
        assert!(error.message().contains("is unknown"), "{error}");
        assert_eq!((silent.fired(), stage.proxy.count("PutObject")), (1, 1));
    }
}

#[tokio::test]
async fn whatever_is_dropped_takes_its_request_along() {
    let ground = ground();
    for step in ALL {
        let stage = step.stage(&ground).await;
        let operation = step.operation();
        let silent = stage.proxy.on(operation).call(1).then(Fault::Stall);
        let running = step.begin(&stage);
        stage
            .proxy
            .until("silence", move |record| record.count_at(operation, Reached::Held) == 1)
            .await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        if step != Step::Create {
            // A creation is seen through, so that the upload's name is known.
            stage
                .proxy
                .until("its end", move |record| record.count_at(operation, Reached::Held) == 0)
                .await;
        }
        silent.assert_fired();
        if matches!(step, Step::Part | Step::Complete | Step::CopyRange) {
            stage.proxy.no_upload_is_left().await;
        }
        assert_eq!(&stage.found("a").await.unwrap()[..], b"old", "{step:?}");
    }
}
