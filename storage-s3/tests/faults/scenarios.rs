//! [`Scenario`]: what is done by a multipart upload, with a fault at work.
//!
//! The new object comes of it or the old one with an error; and no upload is left.

use std::sync::Arc;

use futures_util::future::join_all;
use storage_core::{ErrorKind, Metadata, Result};

use crate::fault_proxy::Fault;
use crate::fixture::{ATTEMPTS, Fixture, PART, SharedFixture, assert_bytes, two_parts};

pub(crate) const CREATE: &str = "CreateMultipartUpload";
pub(crate) const COMPLETE: &str = "CompleteMultipartUpload";
pub(crate) const ABORT: &str = "AbortMultipartUpload";

/// What is done. Each makes an object `a` of two parts where there was another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// A save.
    Save,
    /// A copy of an object that is too large for one request.
    Copy,
}

/// A fault, and what has to come of it.
pub(crate) struct Case {
    fault: Fault,
    /// How many requests it is for.
    calls: usize,
    expected: Result<(), ErrorKind>,
}

/// The fault comes to pass but once, and does no harm.
pub(crate) fn once(fault: Fault) -> Case {
    Case { fault, calls: 1, expected: Ok(()) }
}

/// The fault stays, and has to be said.
pub(crate) fn always(fault: Fault, kind: ErrorKind) -> Case {
    Case { fault, calls: usize::MAX, expected: Err(kind) }
}

impl Scenario {
    /// Stages for it.
    pub(crate) fn shared(self) -> Arc<SharedFixture> {
        match self {
            Self::Save => SharedFixture::new(),
            Self::Copy => SharedFixture::with(|builder| builder.largest_copy(PART)),
        }
    }

    /// Does it.
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

    /// Tries each case on each operation, all at once: most of the time is waiting for the next
    /// attempt.
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
        let Case { fault, calls, expected } = case;
        let fixture = Fixture::on(shared);
        let planned = fixture.proxy.on(operation).calls(1..=calls).then(fault.clone());
        let outcome = self.run(&fixture).await.map_err(|error| error.kind());
        assert_eq!(outcome, expected, "{fault:?} of {operation}");
        planned.assert_fired();
        match outcome {
            Ok(()) => assert_new(&fixture).await,
            Err(_) => assert_old(&fixture).await,
        }
        // Each part is sent for itself.
        let most = if operation.starts_with("UploadPart") { 2 * ATTEMPTS } else { ATTEMPTS };
        assert!(planned.fired() <= most, "{} times {fault:?} of {operation}", planned.fired());
    }
}

/// Asserts that the old object is there, and no upload left.
pub(crate) async fn assert_old(fixture: &Fixture) {
    assert_bytes(&fixture.found("a").await.unwrap(), b"old");
    fixture.proxy.no_upload_is_left().await;
}

/// Asserts that the new object is there, and no upload left.
pub(crate) async fn assert_new(fixture: &Fixture) {
    assert_bytes(&fixture.found("a").await.unwrap(), &two_parts());
    fixture.proxy.no_upload_is_left().await;
}
