//! [`Scenario`]: a save or a copy by a multipart upload, with a fault.
//!
//! The result is the new object, or the old one and an error. No upload is left, except one whose
//! completion the service may still be running.

use std::sync::Arc;

use futures_util::future::join_all;
use storage_core::{ErrorKind, Metadata, Result};

use crate::fault_proxy::Fault;
use crate::fixture::{ATTEMPTS, Fixture, PART, SharedFixture, assert_bytes, two_parts};

pub(crate) const CREATE: &str = "CreateMultipartUpload";
pub(crate) const COMPLETE: &str = "CompleteMultipartUpload";
pub(crate) const ABORT: &str = "AbortMultipartUpload";

/// The operation. Each replaces an object `a` by one of two parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A save.
    Save,
    /// A copy of an object that is too large for one request.
    Copy,
}

/// A fault and the expected result.
pub(crate) struct Case {
    fault: Fault,
    /// How many requests the fault applies to.
    calls: usize,
    expected: Result<(), ErrorKind>,
    /// Whether the client knows that the service did not carry out the request.
    is_refusal: bool,
}

/// The fault occurs once, and the operation succeeds.
pub(crate) fn once(fault: Fault) -> Case {
    Case { fault, calls: 1, expected: Ok(()), is_refusal: false }
}

/// The service always refuses the request, which is reported.
pub(crate) fn refused(fault: Fault, kind: ErrorKind) -> Case {
    Case { is_refusal: true, ..unknown(fault, kind) }
}

/// The outcome of the request is never known, which is reported.
pub(crate) fn unknown(fault: Fault, kind: ErrorKind) -> Case {
    Case { fault, calls: usize::MAX, expected: Err(kind), is_refusal: false }
}

impl Scenario {
    /// Returns a fixture for it.
    pub(crate) fn shared(self) -> Arc<SharedFixture> {
        match self {
            Self::Save => SharedFixture::new(),
            Self::Copy => SharedFixture::with(|builder| builder.largest_copy(PART)),
        }
    }

    /// Runs it.
    pub(crate) async fn run(self, fixture: &Fixture) -> Result<()> {
        fixture.truth.save("a", "old").await.unwrap();
        match self {
            Self::Save => fixture.storage.save("a", two_parts()).await.map(|_| ()),
            Self::Copy => {
                fixture.truth.save("source", two_parts()).await.unwrap();
                fixture
                    .storage
                    .copy("source", "a")
                    .metadata(Metadata::new().content_type("text/new"))
                    .await
            }
        }
    }

    /// Runs each case with each operation concurrently, because most of the time is spent waiting
    /// for the next attempt.
    pub(crate) async fn assert_each_outcome<const N: usize>(
        self,
        operations: &[&'static str],
        cases: impl Fn() -> [Case; N],
    ) {
        let shared = self.shared();
        let all = operations.iter().flat_map(|operation| {
            cases().map(|case| self.assert_outcome(&shared, operation, case))
        });
        join_all(all).await;
    }

    async fn assert_outcome(
        self,
        shared: &Arc<SharedFixture>,
        operation: &'static str,
        case: Case,
    ) {
        let Case { fault, calls, expected, is_refusal } = case;
        let fixture = Fixture::on(shared);
        let planned = fixture.proxy.on(operation).calls(1..=calls).then(fault.clone());
        let outcome = self.run(&fixture).await.map_err(|error| error.kind());
        assert_eq!(outcome, expected, "{fault:?} of {operation}");
        planned.assert_fired();
        match outcome {
            Ok(()) => assert_new(&fixture).await,
            Err(_) if operation == COMPLETE && !is_refusal => assert_old_and_upload(&fixture).await,
            Err(_) => assert_old(&fixture).await,
        }
        // Each part has its own attempts.
        let most = if operation.starts_with("UploadPart") { 2 * ATTEMPTS } else { ATTEMPTS };
        assert!(planned.fired() <= most, "{} times {fault:?} of {operation}", planned.fired());
    }
}

/// Asserts that the old object exists and that no upload is left.
pub(crate) async fn assert_old(fixture: &Fixture) {
    assert_bytes(&fixture.found("a").await.unwrap(), b"old");
    fixture.proxy.no_upload_is_left().await;
}

/// Asserts that the old object exists, and that the upload, whose completion the service may be
/// running, was not aborted.
async fn assert_old_and_upload(fixture: &Fixture) {
    assert_bytes(&fixture.found("a").await.unwrap(), b"old");
    assert_eq!(fixture.proxy.inspect(|record| record.open_uploads().len()), 1);
    assert_eq!(fixture.proxy.count(ABORT), 0);
}

/// Asserts that the new object exists and that no upload is left.
pub(crate) async fn assert_new(fixture: &Fixture) {
    assert_bytes(&fixture.found("a").await.unwrap(), &two_parts());
    fixture.proxy.no_upload_is_left().await;
}
