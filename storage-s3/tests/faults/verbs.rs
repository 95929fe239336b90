//! Every verb of one request, with every fault of that request, once and persistently: it succeeds
//! or fails with an error of the right kind, its result is true, and it sends no more requests than
//! allowed.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Metadata, Result};
use storage_s3::ChecksumMode;

use crate::fault_proxy::Fault;
use crate::faults::{FaultCase, Outcome, faults};
use crate::fixture::{ATTEMPTS, Fixture, SharedFixture, assert_bytes, pattern, read};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Save,
    Open,
    OpenRange,
    Stat,
    Exists,
    Delete,
    DeleteMany,
    List,
    Copy,
    CopyWithMetadata,
}

fn old() -> Bytes {
    pattern(3_000)
}

fn new() -> Bytes {
    pattern(5_000).slice(1_000..)
}

impl Verb {
    /// Returns the operation that fails.
    fn operation(self) -> &'static str {
        match self {
            Self::Save => "PutObject",
            Self::Open | Self::OpenRange => "GetObject",
            Self::Stat | Self::Exists => "HeadObject",
            Self::Delete => "DeleteObject",
            Self::DeleteMany => "DeleteObjects",
            Self::List => "ListObjectsV2",
            Self::Copy | Self::CopyWithMetadata => "CopyObject",
        }
    }

    async fn fixture(shared: &Arc<SharedFixture>) -> Fixture {
        let fixture = Fixture::on(shared);
        for (key, bytes) in
            [("a", old()), ("b", Bytes::from_static(b"other")), ("c/d", Bytes::new())]
        {
            fixture.truth.save(key, bytes).await.unwrap();
        }
        fixture
    }

    /// Runs the verb and checks its result if it succeeds.
    async fn run(self, fixture: &Fixture) -> Result<()> {
        let storage = &fixture.storage;
        match self {
            Self::Save => {
                let saved = storage.save("a", new()).await?;
                assert_eq!((saved.size, saved.etag), (4_000, fixture.truth.stat("a").await?.etag));
            }
            Self::Open => assert_bytes(&read(storage, "a").await?, &old()),
            Self::OpenRange => {
                assert_bytes(
                    &storage.open("a").range(10..2_000).await?.bytes().await?,
                    &old()[10..2_000],
                );
            }
            Self::Stat => assert_eq!(storage.stat("a").await?, fixture.truth.stat("a").await?),
            Self::Exists => assert!(storage.exists("a").await?),
            Self::Delete => storage.delete("a").await?,
            Self::DeleteMany => {
                let responses: Vec<_> =
                    storage.delete_many(stream::iter(["a", "b"])).collect().await;
                assert_eq!(responses.len(), 2);
                for response in responses {
                    response?;
                }
            }
            Self::List => {
                let entries = storage.list("").delimiter("/").entries().collect().await?;
                assert_eq!(
                    entries.iter().map(storage_core::Entry::name).collect::<Vec<_>>(),
                    ["a", "b", "c/"]
                );
            }
            Self::Copy => storage.copy("a", "b").await?,
            Self::CopyWithMetadata => {
                storage.copy("a", "b").metadata(Metadata::new().content_type("text/new")).await?;
            }
        }
        Ok(())
    }

    /// Asserts that the server has done all of the operation, or nothing.
    async fn assert_done(self, fixture: &Fixture, is_done: bool) {
        let (old, other) = (Some(old()), Some(Bytes::from_static(b"other")));
        let expected = match self {
            Self::Save if is_done => (Some(new()), other),
            Self::Delete if is_done => (None, other),
            Self::DeleteMany if is_done => (None, None),
            Self::Copy | Self::CopyWithMetadata if is_done => (old.clone(), old),
            _ => (old, other),
        };
        assert!(
            (fixture.found("a").await, fixture.found("b").await) == expected,
            "{self:?} is done: {is_done}"
        );
        if self == Self::CopyWithMetadata && is_done {
            assert_eq!(fixture.truth.stat("b").await.unwrap().content_type(), Some("text/new"));
        }
    }

    /// Runs the verb with the fault on the first request, or on all.
    async fn meets(self, case: FaultCase, times: usize, shared: &Arc<SharedFixture>) {
        let FaultCase { name, fault, outcome, kind } = case;
        let fixture = Self::fixture(shared).await;
        let planned = fixture.proxy.on(self.operation()).calls(1..=times).then(fault.clone());
        let result = self.run(&fixture).await;
        let passes = outcome == Outcome::Harmless || (outcome == Outcome::Retried && times == 1);
        let expected = if passes { Ok(()) } else { Err(kind) };
        assert_eq!(
            result.as_ref().map_err(Error::kind).copied(),
            expected,
            "{self:?} with {name}: {result:?}"
        );

        let requests = match outcome {
            Outcome::Retried => ATTEMPTS.min(times.saturating_add(1)),
            Outcome::Final | Outcome::Harmless => 1,
        };
        assert_eq!(fixture.proxy.count(self.operation()), requests, "{self:?} with {name}");
        assert_eq!(planned.fired(), requests.min(times), "{self:?} with {name}");

        let reached_the_server = matches!(
            fault,
            Fault::LoseResponse | Fault::ResetAfterRequest | Fault::ReplaceResponse(_)
        );
        self.assert_done(&fixture, passes || reached_the_server).await;
        if let Err(error) = result {
            self.assert_error(&error, outcome);
        }
    }

    /// Asserts that the error contains what its reader needs.
    fn assert_error(self, error: &Error, outcome: Outcome) {
        assert_eq!(error.is_retryable(), outcome == Outcome::Retried, "{error}");
        assert_eq!(error.driver(), Some("s3"));
        assert!(error.operation().is_some() && error.key().is_some(), "{error}");
        assert!(error.to_string().len() < 1_500, "{} characters", error.to_string().len());
    }
}

/// The service detects changed bytes with every checksum mode.
#[tokio::test]
async fn bytes_that_change_during_the_upload_are_sent_again() {
    for mode in [ChecksumMode::Crc64Nvme, ChecksumMode::Sha256, ChecksumMode::Md5] {
        let shared = SharedFixture::with(|builder| builder.checksum(mode));
        let fixture = Fixture::on(&shared);
        let corrupted = fixture.proxy.on("PutObject").call(1).then(Fault::Corrupt);
        fixture.storage.save("a", new()).await.unwrap();
        assert_bytes(&fixture.found("a").await.unwrap(), &new());
        assert_eq!((corrupted.fired(), fixture.proxy.count("PutObject")), (1, 2), "{mode:?}");

        let fixture = Fixture::on(&shared);
        let corrupted = fixture.proxy.on("PutObject").then(Fault::Corrupt);
        let error = fixture.storage.save("a", new()).await.unwrap_err();
        // The server in this process has no error code for bytes that do not match the signature.
        let kind =
            if mode == ChecksumMode::Sha256 { ErrorKind::Unexpected } else { ErrorKind::Integrity };
        assert_eq!((error.kind(), corrupted.fired()), (kind, ATTEMPTS), "{mode:?}: {error}");
    }
}

/// Runs all faults concurrently, each on its own fixture, because most of the time is spent waiting
/// for the next attempt.
async fn survives_or_reports_each(verb: Verb) {
    let shared = SharedFixture::new();
    let mut cases = Vec::new();
    for case in faults(matches!(verb, Verb::Stat | Verb::Exists)) {
        if case.outcome == Outcome::Retried {
            cases.push(verb.meets(case.clone(), 1, &shared));
        }
        cases.push(verb.meets(case, usize::MAX, &shared));
    }
    join_all(cases).await;
}

macro_rules! verbs {
    ($($name:ident: $verb:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            survives_or_reports_each($verb).await;
        })*
    };
}

verbs! {
    save_survives_or_says_each_fault: Verb::Save;
    open_survives_or_says_each_fault: Verb::Open;
    open_of_a_range_survives_or_says_each_fault: Verb::OpenRange;
    stat_survives_or_says_each_fault: Verb::Stat;
    exists_survives_or_says_each_fault: Verb::Exists;
    delete_survives_or_says_each_fault: Verb::Delete;
    delete_many_survives_or_says_each_fault: Verb::DeleteMany;
    list_survives_or_says_each_fault: Verb::List;
    copy_survives_or_says_each_fault: Verb::Copy;
    copy_with_metadata_survives_or_says_each_fault: Verb::CopyWithMetadata;
}
