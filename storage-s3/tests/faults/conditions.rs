//! Conditional saves and copies over connections that fail: what may have happened is not repeated,
//! and is not called a failure that can be tried again. Else the second attempt would take the
//! first one's object for somebody else's.

use std::sync::Arc;

use futures_util::future::join_all;
use storage_core::{Error, ErrorKind, Result, layers};
use storage_s3::Quirks;

use crate::common::server::Server;
use crate::fault_proxy::{Answer, Fault};
use crate::scenes::{COMPLETE, CREATE};
use crate::stage::{ATTEMPTS, Ground, Stage, assert_bytes, part_and_a_bit};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conditional {
    CreateNew,
    IfMatch,
    UniqueName,
    UploadCreateNew,
    UploadIfMatch,
    Copy,
    /// Where the service's own copy knows no condition.
    CopyThroughHere,
}

use Conditional::{
    CopyThroughHere, CreateNew, IfMatch, UniqueName, UploadCreateNew, UploadIfMatch,
};

const ALL: [Conditional; 7] = [
    CreateNew,
    IfMatch,
    UniqueName,
    UploadCreateNew,
    UploadIfMatch,
    Conditional::Copy,
    CopyThroughHere,
];

impl Conditional {
    /// The request that carries the condition.
    fn operation(self) -> &'static str {
        match self {
            CreateNew | IfMatch | UniqueName | CopyThroughHere => "PutObject",
            UploadCreateNew | UploadIfMatch => COMPLETE,
            Self::Copy => "CopyObject",
        }
    }

    /// Stages for it.
    fn ground(self) -> Arc<Ground> {
        match self {
            Self::Copy => Ground::with(|builder| builder.quirks(Quirks::None)),
            _ => Ground::new(),
        }
    }

    /// What is there before, where the condition wants something.
    fn before(self) -> Option<&'static [u8]> {
        matches!(self, IfMatch | UploadIfMatch).then_some(b"old")
    }

    fn after(self) -> Vec<u8> {
        match self {
            UploadCreateNew | UploadIfMatch => part_and_a_bit().to_vec(),
            _ => b"new".to_vec(),
        }
    }

    async fn prepare(self, stage: &Stage) {
        stage.truth.save("source", "new").await.unwrap();
        if let Some(before) = self.before() {
            stage.truth.save("a", before).await.unwrap();
        }
    }

    async fn run(self, stage: &Stage) -> Result<()> {
        let save = stage.storage.save("a", self.after());
        let save = match self {
            CreateNew | UploadCreateNew => save.create_new(),
            UniqueName => save.unique_name(),
            IfMatch | UploadIfMatch => save.if_match(stage.truth.stat("a").await?.etag.unwrap()),
            Self::Copy | CopyThroughHere => {
                return stage.storage.copy("source", "a").create_new().await;
            }
        };
        save.await.map(|_| ())
    }

    /// Runs it with a fault at work on each request; answers what came of it, and of how many
    /// requests.
    async fn meets(
        self,
        ground: &Arc<Ground>,
        fault: Fault,
        calls: usize,
    ) -> (Stage, Result<()>, usize) {
        let stage = Stage::on(ground);
        self.prepare(&stage).await;
        let planned = stage.proxy.on(self.operation()).calls(1..=calls).then(fault);
        let outcome = self.run(&stage).await;
        planned.assert_fired();
        let requests = stage.proxy.count(self.operation());
        (stage, outcome, requests)
    }

    async fn assert_done(self, stage: &Stage, is_done: bool) {
        let expected = if is_done { Some(self.after()) } else { self.before().map(<[u8]>::to_vec) };
        match (stage.found("a").await, expected) {
            (Some(found), Some(expected)) => assert_bytes(&found, &expected),
            (None, None) => {}
            (found, _) => {
                panic!("{self:?}: there is something: {}, which is wrong", found.is_some())
            }
        }
        stage.proxy.no_upload_is_left().await;
    }
}

fn was_passed_on(fault: &Fault) -> bool {
    matches!(fault, Fault::LoseAnswer | Fault::ResetAnswer | Fault::SayInstead(_))
}

#[tokio::test]
async fn what_may_have_happened_is_not_repeated_and_is_said_to_be_unknown() {
    for conditional in ALL {
        let ground = conditional.ground();
        let faults = [
            Fault::Drop,
            Fault::Reset,
            Fault::LoseAnswer,
            Fault::ResetAnswer,
            Fault::Truncate(20),
            Fault::Say(Answer::error(500, "InternalError")),
            Fault::SayInstead(Answer::error(500, "InternalError")),
            Fault::SayInstead(Answer::web_page(502)),
            Fault::SayInstead(Answer::web_page(504)),
        ];
        // The answer to a PUT has no body that could end early.
        let faults = faults.into_iter().filter(|fault| {
            !matches!(fault, Fault::Truncate(_)) || conditional.operation() != "PutObject"
        });
        let cases = faults.map(async |fault| {
            let (stage, outcome, requests) =
                conditional.meets(&ground, fault.clone(), usize::MAX).await;
            let error = outcome.unwrap_err();
            assert_eq!(requests, 1, "{conditional:?} {fault:?}: {error}");
            assert!(!error.is_retryable(), "{conditional:?} {fault:?}: {error}");
            assert!(error.message().contains("is unknown"), "{conditional:?} {fault:?}: {error}");
            assert!(matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::Timeout), "{error}");
            let is_done = was_passed_on(&fault) || matches!(fault, Fault::Truncate(_));
            conditional.assert_done(&stage, is_done).await;
        });
        join_all(cases).await;
    }
}

#[tokio::test]
async fn what_certainly_has_not_begun_is_tried_again() {
    for conditional in ALL {
        let ground = conditional.ground();
        let faults = [
            Answer::error(503, "SlowDown").header("retry-after", "0"),
            Answer::error(503, "ServiceUnavailable"),
            Answer::error(429, "TooManyRequests"),
            Answer::error(409, "ConditionalRequestConflict"),
        ];
        let cases = faults.map(async |answer| {
            let (stage, outcome, requests) =
                conditional.meets(&ground, Fault::Say(answer.clone()), 1).await;
            assert!(outcome.is_ok(), "{conditional:?} {}: {outcome:?}", answer.status);
            assert_eq!(requests, 2, "{conditional:?} {}", answer.status);
            if conditional != UniqueName {
                conditional.assert_done(&stage, true).await;
            }
        });
        join_all(cases).await;
    }
}

#[tokio::test]
async fn what_never_begins_is_given_up_and_may_be_tried_later() {
    let cases = ALL.map(async |conditional| {
        let fault = Fault::Say(Answer::error(503, "SlowDown").header("retry-after", "0"));
        let (stage, outcome, requests) =
            conditional.meets(&conditional.ground(), fault, usize::MAX).await;
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::RateLimited, true),
            "{conditional:?}: {error}"
        );
        assert_eq!(requests, ATTEMPTS, "{conditional:?}");
        conditional.assert_done(&stage, false).await;
    });
    join_all(cases).await;
}

#[tokio::test]
async fn what_is_refused_outright_is_that_error_and_not_unknown() {
    for conditional in ALL {
        let ground = conditional.ground();
        for (answer, kind) in [
            (Answer::error(403, "AccessDenied"), ErrorKind::PermissionDenied),
            (Answer::error(400, "BadDigest"), ErrorKind::Integrity),
        ] {
            let (stage, outcome, requests) =
                conditional.meets(&ground, Fault::Say(answer), usize::MAX).await;
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), requests), (kind, 1), "{conditional:?}: {error}");
            assert!(!error.message().contains("is unknown"), "{conditional:?}: {error}");
            conditional.assert_done(&stage, false).await;
        }
    }
}

#[tokio::test]
async fn a_condition_that_does_not_hold_is_said_as_what_it_means() {
    for conditional in [CreateNew, UploadCreateNew, Conditional::Copy, CopyThroughHere] {
        let stage = Stage::on(&conditional.ground());
        conditional.prepare(&stage).await;
        stage.truth.save("a", "of another").await.unwrap();
        // The server in this process knows no condition of a copy.
        let unmet = Fault::Say(Answer::error(412, "PreconditionFailed"));
        let planned = stage.proxy.on(conditional.operation()).then(unmet);
        let error = conditional.run(&stage).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{conditional:?}: {error}");
        assert_eq!(planned.fired(), 1);
        assert_bytes(&stage.found("a").await.unwrap(), b"of another");
        stage.proxy.no_upload_is_left().await;
    }
    let ground = Ground::new();
    for (answer, conditional) in [
        (Answer::error(412, "PreconditionFailed"), IfMatch),
        (Answer::error(404, "NoSuchKey"), IfMatch),
        (Answer::error(412, "PreconditionFailed"), UploadIfMatch),
        (Answer::error(404, "NoSuchKey"), UploadIfMatch),
    ] {
        let (stage, outcome, requests) =
            conditional.meets(&ground, Fault::Say(answer), usize::MAX).await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::PreconditionFailed, "{conditional:?}");
        assert_eq!(requests, 1);
        conditional.assert_done(&stage, false).await;
    }
}

#[tokio::test]
async fn without_a_connection_nothing_has_happened_and_that_is_known() {
    let bucket = Server::get().bucket();
    let endpoint = storage_testkit::http::closed_port();
    let storage = storage_core::Storage::new(bucket.builder().endpoint(endpoint).build().unwrap());
    let error: Error = storage.save("a", "new").create_new().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(error.message().contains("no connection to 127.0.0.1"), "{error}");
    assert!(!error.message().contains("is unknown"), "{error}");
}

#[tokio::test]
async fn the_layer_that_tries_again_leaves_what_may_have_happened_alone() {
    for conditional in ALL {
        let mut stage = Stage::on(&conditional.ground());
        stage.storage = stage.storage.layer(|inner| layers::Retry::new(inner, 3));
        conditional.prepare(&stage).await;
        let lost = stage.proxy.on(conditional.operation()).then(Fault::LoseAnswer);
        let error = conditional.run(&stage).await.unwrap_err();
        assert!(error.message().contains("is unknown"), "{conditional:?}: {error}");
        assert_eq!(
            (lost.fired(), stage.proxy.count(conditional.operation())),
            (1, 1),
            "{conditional:?}"
        );
        conditional.assert_done(&stage, true).await;
    }
}

#[tokio::test]
async fn a_completion_that_something_else_than_s3_confirms_is_unknown() {
    for answer in [Answer::web_page(200), Answer::new(200, "")] {
        let (stage, outcome, requests) =
            UploadCreateNew.meets(&UploadCreateNew.ground(), Fault::Say(answer), usize::MAX).await;
        let error = outcome.unwrap_err();
        assert!(!error.is_retryable() && error.message().contains("is unknown"), "{error}");
        assert_eq!((requests, stage.proxy.count(CREATE)), (1, 1));
        UploadCreateNew.assert_done(&stage, false).await;
    }
}
