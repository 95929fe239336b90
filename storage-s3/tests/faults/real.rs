//! Uploads over failing connections on the server that the environment names. The server itself
//! lists the uploads that are left.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use storage_core::{Error, ErrorKind, Storage};
use storage_s3::S3;

use crate::common::external::External;
use crate::fault_proxy::{CannedResponse, Fault, Front, Gate, PlannedFault, Progress, Proxy};
use crate::fixture::{PART, assert_bytes, read, two_parts};
use crate::scenarios::{COMPLETE, CREATE};

const UPLOAD_PART: &str = "UploadPart";

/// The server, directly and behind a proxy.
struct SharedFixture {
    front: Arc<Front>,
    storage: Storage,
    truth: S3,
    prefix: String,
    count: AtomicUsize,
}

/// A prefix of the bucket.
struct Fixture {
    proxy: Proxy,
    prefix: String,
    storage: Storage,
    truth: S3,
}

impl SharedFixture {
    fn new() -> Option<Self> {
        let external = External::get()?;
        let endpoint = std::env::var("STORAGE_S3_TEST_ENDPOINT").unwrap().parse().unwrap();
        let front = Front::before(&endpoint);
        let builder = external.builder().part_size(PART).endpoint(front.endpoint());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        Some(Self {
            front,
            storage: Storage::new(builder.build().unwrap()),
            truth: external.builder().build().unwrap(),
            prefix: format!("anystorage-faults-{now}-{}", std::process::id()),
            count: AtomicUsize::new(0),
        })
    }

    fn fixture(&self) -> Fixture {
        let prefix = format!("{}/{:04}", self.prefix, self.count.fetch_add(1, Ordering::SeqCst));
        Fixture {
            proxy: Proxy::below(&self.front, &prefix),
            storage: self.storage.prefixed(&prefix).unwrap(),
            truth: self.truth.clone(),
            prefix,
        }
    }

    /// Deletes all objects.
    async fn clear(&self) {
        let all = Storage::new(self.truth.clone());
        all.delete_many(all.list(format!("{}/", self.prefix)).entries()).finish().await.unwrap();
    }
}

impl Fixture {
    fn truth(&self) -> Storage {
        Storage::new(self.truth.clone()).prefixed(&self.prefix).unwrap()
    }

    /// Returns the number of unfinished uploads, and aborts them.
    async fn left(&self) -> u64 {
        self.truth().abort_stale("", Duration::ZERO).await.unwrap()
    }

    /// Saves over an existing object. Afterwards the old or the new object exists.
    async fn saves(&self, planned: &PlannedFault, expected: Result<(), ErrorKind>) {
        self.truth().save("a", "old").await.unwrap();
        let outcome = self.storage.save("a", two_parts()).await.map(|_| ());
        assert_eq!(outcome.as_ref().map_err(Error::kind).copied(), expected, "{outcome:?}");
        let there = read(&self.truth(), "a").await.unwrap();
        match outcome {
            Ok(()) => assert_bytes(&there, &two_parts()),
            Err(_) => assert_bytes(&there, b"old"),
        }
        planned.assert_fired();
    }
}

#[tokio::test]
async fn a_real_server_has_no_upload_left_whatever_fails() {
    let Some(shared) = SharedFixture::new() else { return };
    let denied = || Fault::Respond(CannedResponse::error(403, "AccessDenied"));
    let error = || Fault::Respond(CannedResponse::error(500, "InternalError"));
    let cases = [
        (CREATE, Fault::Drop, 1, Ok(())),
        (CREATE, denied(), 1, Err(ErrorKind::PermissionDenied)),
        (UPLOAD_PART, Fault::Drop, 1, Ok(())),
        (UPLOAD_PART, Fault::ResetAfterRequest, 1, Ok(())),
        (UPLOAD_PART, denied(), 1, Err(ErrorKind::PermissionDenied)),
        (UPLOAD_PART, error(), usize::MAX, Err(ErrorKind::Unexpected)),
        (COMPLETE, Fault::Drop, 1, Ok(())),
        (COMPLETE, Fault::LoseResponse, 1, Ok(())),
        (COMPLETE, Fault::ReplaceResponse(CannedResponse::error(500, "InternalError")), 1, Ok(())),
        (COMPLETE, denied(), 1, Err(ErrorKind::PermissionDenied)),
    ];
    let cases = cases.map(async |(operation, fault, calls, expected)| {
        let fixture = shared.fixture();
        let planned = fixture.proxy.on(operation).calls(1..=calls).then(fault.clone());
        fixture.saves(&planned, expected).await;
        assert_eq!(fixture.left().await, 0, "{fault:?} of {operation}");
    });
    join_all(cases).await;
    shared.clear().await;
}

#[tokio::test]
async fn a_real_server_has_no_upload_left_of_a_save_that_was_dropped_before_its_completion() {
    let Some(shared) = SharedFixture::new() else { return };
    for operation in [CREATE, UPLOAD_PART] {
        let fixture = shared.fixture();
        let gate = Gate::new();
        let held = fixture.proxy.on(operation).call(1).then(Fault::Hold(gate.clone()));
        let saving = tokio::spawn({
            let storage = fixture.storage.clone();
            async move { storage.save("a", two_parts()).await.map(drop) }
        });
        fixture
            .proxy
            .until("the step", move |record| record.count_at(operation, Progress::Held) == 1)
            .await;
        saving.abort();
        if operation == CREATE {
            gate.open();
        }
        fixture.proxy.until("its abort", |record| record.aborted_uploads().len() == 1).await;
        assert_eq!(fixture.left().await, 0, "{operation}");
        assert!(!fixture.truth().exists("a").await.unwrap(), "{operation}");
        held.assert_fired();
    }
    shared.clear().await;
}

#[tokio::test]
async fn an_upload_whose_completion_has_no_known_outcome_is_found_by_abort_stale() {
    let Some(shared) = SharedFixture::new() else { return };
    let fixture = shared.fixture();
    let error = Fault::Respond(CannedResponse::error(500, "InternalError"));
    let failed = fixture.proxy.on(COMPLETE).then(error);
    fixture.saves(&failed, Err(ErrorKind::Unexpected)).await;
    assert!(fixture.proxy.inspect(|record| record.aborted_uploads().is_empty()));
    assert_eq!(fixture.left().await, 1);
    shared.clear().await;
}

#[tokio::test]
async fn an_upload_whose_id_was_lost_is_found_by_abort_stale() {
    let Some(shared) = SharedFixture::new() else { return };
    let fixture = shared.fixture();
    let lost = fixture.proxy.on(CREATE).call(1).then(Fault::LoseResponse);
    fixture.saves(&lost, Ok(())).await;
    assert_eq!(fixture.left().await, 1);
    assert_eq!(fixture.left().await, 0);
    shared.clear().await;
}
