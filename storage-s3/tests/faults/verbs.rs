//! Every verb that is one request, with every fault of that request, once and for good: it
//! succeeds, or fails with an error of the right kind; what it said is true; and it asked no more
//! often than it may.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use storage_core::{Error, ErrorKind, Metadata, Result};
use storage_s3::ChecksumMode;

use crate::fault_proxy::Fault;
use crate::faults::{Row, Verdict, faults};
use crate::stage::{ATTEMPTS, Ground, Stage, assert_bytes, pattern, read};

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
    /// The request that fails.
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

    async fn stage(ground: &Arc<Ground>) -> Stage {
        let stage = Stage::on(ground);
        for (key, bytes) in
            [("a", old()), ("b", Bytes::from_static(b"other")), ("c/d", Bytes::new())]
        {
            stage.truth.save(key, bytes).await.unwrap();
        }
        stage
    }

    /// Runs it; what it says it has done or found is right if it succeeds.
    async fn run(self, stage: &Stage) -> Result<()> {
        let storage = &stage.storage;
        match self {
            Self::Save => {
                let saved = storage.save("a", new()).await?;
                assert_eq!((saved.size, saved.etag), (4_000, stage.truth.stat("a").await?.etag));
            }
            Self::Open => assert_bytes(&read(storage, "a").await?, &old()),
            Self::OpenRange => {
                assert_bytes(
                    &storage.open("a").range(10..2_000).await?.bytes().await?,
                    &old()[10..2_000],
                );
            }
            Self::Stat => assert_eq!(storage.stat("a").await?, stage.truth.stat("a").await?),
            Self::Exists => assert!(storage.exists("a").await?),
            Self::Delete => storage.delete("a").await?,
            Self::DeleteMany => {
                let answers: Vec<_> = storage.delete_many(stream::iter(["a", "b"])).collect().await;
                assert_eq!(answers.len(), 2);
                for answer in answers {
                    answer?;
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
                storage.copy("a", "b").metadata(Metadata::new().content_type("text/new")).await?
            }
        }
        Ok(())
    }

    /// Asserts that the server has done what it was asked, all of it, or nothing.
    async fn assert_done(self, stage: &Stage, is_done: bool) {
        let (old, other) = (Some(old()), Some(Bytes::from_static(b"other")));
        let expected = match self {
            Self::Save if is_done => (Some(new()), other),
            Self::Delete if is_done => (None, other),
            Self::DeleteMany if is_done => (None, None),
            Self::Copy | Self::CopyWithMetadata if is_done => (old.clone(), old),
            _ => (old, other),
        };
        assert!(
            (stage.found("a").await, stage.found("b").await) == expected,
            "{self:?} is done: {is_done}"
        );
        if self == Self::CopyWithMetadata && is_done {
            assert_eq!(stage.truth.stat("b").await.unwrap().content_type(), Some("text/new"));
        }
    }

    /// With the fault at work on the first request, or on all.
    async fn meets(self, row: Row, times: usize, ground: &Arc<Ground>) {
        let Row { name, fault, verdict, kind } = row;
        let stage = Self::stage(ground).await;
        let planned = stage.proxy.on(self.operation()).calls(1..=times).then(fault.clone());
        let outcome = self.run(&stage).await;
        let passes = verdict == Verdict::Harmless || (verdict == Verdict::Passes && times == 1);
        let expected = if passes { Ok(()) } else { Err(kind) };
        assert_eq!(
            outcome.as_ref().map_err(Error::kind).copied(),
            expected,
            "{self:?} with {name}: {outcome:?}"
        );

        let requests = match verdict {
            Verdict::Passes => ATTEMPTS.min(times.saturating_add(1)),
            Verdict::Final | Verdict::Harmless => 1,
        };
        assert_eq!(stage.proxy.count(self.operation()), requests, "{self:?} with {name}");
        assert_eq!(planned.fired(), requests.min(times), "{self:?} with {name}");

        let was_passed_on =
            matches!(fault, Fault::LoseAnswer | Fault::ResetAnswer | Fault::SayInstead(_));
        self.assert_done(&stage, passes || was_passed_on).await;
        if let Err(error) = outcome {
            self.assert_told(&error, verdict);
        }
    }

    /// Whoever meets the error can tell what to do.
    fn assert_told(self, error: &Error, verdict: Verdict) {
        assert_eq!(error.is_retryable(), verdict == Verdict::Passes, "{error}");
        assert_eq!(error.driver(), Some("s3"));
        assert!(error.operation().is_some() && error.key().is_some(), "{error}");
        assert!(error.to_string().len() < 1_500, "{} characters", error.to_string().len());
    }
}

/// Each way to say what the bytes are has the service see that they are others.
#[tokio::test]
async fn bytes_that_change_on_their_way_up_are_sent_again() {
    for mode in [ChecksumMode::Crc64Nvme, ChecksumMode::Sha256, ChecksumMode::Md5] {
        let ground = Ground::with(|builder| builder.checksum(mode));
        let stage = Stage::on(&ground);
        let corrupted = stage.proxy.on("PutObject").call(1).then(Fault::Corrupt);
        stage.storage.save("a", new()).await.unwrap();
        assert_bytes(&stage.found("a").await.unwrap(), &new());
        assert_eq!((corrupted.fired(), stage.proxy.count("PutObject")), (1, 2), "{mode:?}");

        let stage = Stage::on(&ground);
        let corrupted = stage.proxy.on("PutObject").then(Fault::Corrupt);
        let error = stage.storage.save("a", new()).await.unwrap_err();
        // The server in this process has no code for bytes that are not those of the signature.
        let kind =
            if mode == ChecksumMode::Sha256 { ErrorKind::Unexpected } else { ErrorKind::Integrity };
        assert_eq!((error.kind(), corrupted.fired()), (kind, ATTEMPTS), "{mode:?}: {error}");
    }
}

/// All faults at once, each on a stage of its own: most of the time is waiting for the next
/// attempt.
async fn survives_or_says_each(verb: Verb) {
    let ground = Ground::new();
    let mut cases = Vec::new();
    for row in faults(matches!(verb, Verb::Stat | Verb::Exists)) {
        if row.verdict == Verdict::Passes {
            cases.push(verb.meets(row.clone(), 1, &ground));
        }
        cases.push(verb.meets(row, usize::MAX, &ground));
    }
    join_all(cases).await;
}

macro_rules! verbs {
    ($($name:ident: $verb:expr;)*) => {
        $(#[tokio::test]
        async fn $name() {
            survives_or_says_each($verb).await;
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
