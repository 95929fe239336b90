//! Servers that stop responding: every verb times out, retries, and can be dropped meanwhile.
//!
//! The driver's timeouts are 30 s and more. The tests advance the clock once the server has stopped
//! responding.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::stream;
use storage_core::{Error, ErrorKind, Metadata, Result, Storage};
use tokio::task::JoinHandle;

use crate::fault_proxy::{Fault, Progress, Record};
use crate::fixture::{
    ATTEMPTS, Fixture, PART, SharedFixture, advance_clock, read, two_parts, within_timeout,
};
use crate::scenarios::COMPLETE;

/// Longer than the driver waits for a response, or for more of a body.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(31);
/// Longer than the driver waits for slow calls and for large bodies.
const SLOW_TIMEOUT: Duration = Duration::from_secs(3_600);

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

fn shared() -> Arc<SharedFixture> {
    SharedFixture::with(|builder| builder.largest_copy(PART))
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

    fn timeout(self) -> Duration {
        match self {
            Self::Part | Self::Complete | Self::Copy | Self::CopyRange => SLOW_TIMEOUT,
            _ => RESPONSE_TIMEOUT,
        }
    }

    async fn fixture(self, shared: &Arc<SharedFixture>) -> Fixture {
        let fixture = Fixture::on(shared);
        fixture.truth.save("a", "old").await.unwrap();
        if self == Self::CopyRange {
            fixture.truth.save("large", two_parts()).await.unwrap();
        }
        fixture
    }

    async fn run(self, storage: Storage) -> Result<()> {
        match self {
            Self::Save => storage.save("a", "new").await.map(|_| ()),
            Self::Create | Self::Part | Self::Complete => {
                storage.save("a", two_parts()).await.map(|_| ())
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

    fn begin(self, fixture: &Fixture) -> JoinHandle<Result<()>> {
        tokio::spawn(self.run(fixture.storage.clone()))
    }
}

/// Waits until the server stops responding, and advances the clock past the timeout.
async fn exhaust_timeouts(fixture: &Fixture, operation: &'static str, by: Duration) {
    fixture
        .proxy
        .until("silence", move |record| record.count_at(operation, Progress::Held) > 0)
        .await;
    advance_clock(by).await;
    fixture
        .proxy
        .until("the end of timeout", move |record| record.count_at(operation, Progress::Held) == 0)
        .await;
}

/// Waits until the server stops within a body, and advances the clock past the timeout of the body.
async fn exhaust_body_timeout(fixture: &Fixture, operation: &'static str) {
    let is_held = move |record: &Record| record.count_at(operation, Progress::Held) > 0;
    fixture.proxy.until("silence", is_held).await;
    // The timeout begins when the driver has read the head, which may take a moment. Afterwards the
    // clock runs normally, because the repeated request has timeouts too.
    for _ in 0..20 {
        advance_clock(RESPONSE_TIMEOUT).await;
        let has_ended = move |record: &Record| !is_held(record);
        if fixture.proxy.occurs_within(Duration::from_secs(2), has_ended).await {
            return;
        }
    }
    panic!("the driver still waits for the rest of the body");
}

#[tokio::test]
async fn a_request_without_a_response_is_repeated() {
    let shared = shared();
    for step in ALL {
        for fault in [Fault::Stall, Fault::StallResponse] {
            // The id of an upload is unknown if the response to its creation was lost.
            if step == Step::Create && matches!(fault, Fault::StallResponse) {
                continue;
            }
            let fixture = step.fixture(&shared).await;
            let silent = fixture.proxy.on(step.operation()).call(1).then(fault);
            let running = step.begin(&fixture);
            exhaust_timeouts(&fixture, step.operation(), step.timeout()).await;
            running.await.unwrap().unwrap_or_else(|error| panic!("{step:?}: {error}"));
            silent.assert_fired();
            fixture.proxy.no_upload_is_left().await;
        }
    }
}

#[tokio::test]
async fn a_server_that_never_responds_fails_after_a_few_requests() {
    let shared = shared();
    for step in [Step::Save, Step::Stat, Step::List] {
        let fixture = step.fixture(&shared).await;
        let silent = fixture.proxy.on(step.operation()).then(Fault::Stall);
        let running = step.begin(&fixture);
        for _ in 0..ATTEMPTS {
            exhaust_timeouts(&fixture, step.operation(), step.timeout()).await;
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
async fn a_request_whose_response_stops_in_its_headers_is_repeated() {
    let shared = shared();
    for step in [Step::Save, Step::Open, Step::Stat, Step::List] {
        let fixture = step.fixture(&shared).await;
        let silent = fixture.proxy.on(step.operation()).call(1).then(Fault::StallHead);
        let running = step.begin(&fixture);
        exhaust_timeouts(&fixture, step.operation(), step.timeout()).await;
        running.await.unwrap().unwrap_or_else(|error| panic!("{step:?}: {error}"));
        silent.assert_fired();
    }
}

#[tokio::test]
async fn a_request_whose_document_stalls_is_repeated() {
    let shared = shared();
    for step in [Step::Complete, Step::DeleteMany, Step::List, Step::Copy, Step::CopyRange] {
        let fixture = step.fixture(&shared).await;
        let silent = fixture.proxy.on(step.operation()).call(1).then(Fault::StallBody(30));
        let running = step.begin(&fixture);
        exhaust_body_timeout(&fixture, step.operation()).await;
        running.await.unwrap().unwrap_or_else(|error| panic!("{step:?}: {error}"));
        silent.assert_fired();
        fixture.proxy.no_upload_is_left().await;
    }
}

#[tokio::test]
async fn a_copy_whose_response_is_spaces_without_an_end_is_repeated() {
    let shared = shared();
    for step in [Step::Copy, Step::CopyRange, Step::Complete] {
        let fixture = step.fixture(&shared).await;
        let sent = Arc::<AtomicUsize>::default();
        let endless =
            fixture.proxy.on(step.operation()).call(1).then(Fault::Spaces(Arc::clone(&sent)));
        let running = step.begin(&fixture);
        let is_sending = move |record: &Record| record.count_at(step.operation(), Progress::Held);
        fixture.proxy.until("spaces", move |record| is_sending(record) > 0).await;
        for _ in 0..40 {
            // Each space begins the time limit of a chunk (30 s) again.
            let (counted, enough) = (Arc::clone(&sent), sent.load(Ordering::SeqCst) + 10);
            let has_more = move |record: &Record| {
                counted.load(Ordering::SeqCst) > enough || is_sending(record) == 0
            };
            fixture.proxy.until("more spaces", has_more).await;
            advance_clock(Duration::from_secs(25)).await;
        }
        within_timeout(running).await.unwrap().unwrap_or_else(|error| panic!("{step:?}: {error}"));
        endless.assert_fired();
        fixture.proxy.no_upload_is_left().await;
    }
}

#[tokio::test]
async fn a_conditional_save_without_a_response_is_not_repeated() {
    for fault in [Fault::Stall, Fault::StallResponse] {
        let fixture = Fixture::new();
        let silent = fixture.proxy.on("PutObject").then(fault);
        let storage = fixture.storage.clone();
        let running =
            tokio::spawn(async move { storage.save("new", "new").create_new().await.map(|_| ()) });
        exhaust_timeouts(&fixture, "PutObject", RESPONSE_TIMEOUT).await;
        let error: Error = running.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Timeout, false), "{error}");
        assert!(error.message().contains("is unknown"), "{error}");
        assert_eq!((silent.fired(), fixture.proxy.count("PutObject")), (1, 1));
    }
}

#[tokio::test]
async fn dropping_a_call_cancels_its_request() {
    let shared = shared();
    for step in ALL {
        let fixture = step.fixture(&shared).await;
        let operation = step.operation();
        let silent = fixture.proxy.on(operation).call(1).then(Fault::Stall);
        let running = step.begin(&fixture);
        fixture
            .proxy
            .until("silence", move |record| record.count_at(operation, Progress::Held) == 1)
            .await;
        running.abort();
        assert!(running.await.unwrap_err().is_cancelled());
        if step != Step::Create {
            // The creation completes, so that the id of the upload is known.
            fixture
                .proxy
                .until("its end", move |record| record.count_at(operation, Progress::Held) == 0)
                .await;
        }
        silent.assert_fired();
        // A service may be completing the upload that is left then.
        if matches!(step, Step::Part | Step::CopyRange) {
            fixture.proxy.no_upload_is_left().await;
        }
        assert_eq!(&fixture.found("a").await.unwrap()[..], b"old", "{step:?}");
    }
}
