//! Conditional saves and copies over failing connections: a request that may have succeeded is not
//! repeated, and its error is not retryable. A second attempt would find the object of the first
//! and report a conflict.

use std::sync::Arc;

use futures_util::future::join_all;
use storage_core::{Error, ErrorKind, Result, layers};
use storage_s3::Quirks;

use crate::common::server::Server;
use crate::fault_proxy::{CannedResponse, Fault, PlannedFault};
use crate::fixture::{ATTEMPTS, Fixture, SharedFixture, assert_bytes, two_parts};
use crate::scenarios::{ABORT, COMPLETE, CREATE};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conditional {
    CreateNew,
    IfMatch,
    UniqueName,
    UploadCreateNew,
    UploadIfMatch,
    Copy,
    /// A service without conditional copies.
    CopyThroughClient,
}

use Conditional::{
    CopyThroughClient, CreateNew, IfMatch, UniqueName, UploadCreateNew, UploadIfMatch,
};

const ALL: [Conditional; 7] = [
    CreateNew,
    IfMatch,
    UniqueName,
    UploadCreateNew,
    UploadIfMatch,
    Conditional::Copy,
    CopyThroughClient,
];

impl Conditional {
    /// Returns the operation that carries the condition.
    fn operation(self) -> &'static str {
        match self {
            CreateNew | IfMatch | UniqueName | CopyThroughClient => "PutObject",
            UploadCreateNew | UploadIfMatch => COMPLETE,
            Self::Copy => "CopyObject",
        }
    }

    /// Returns a fixture for it.
    fn shared(self) -> Arc<SharedFixture> {
        match self {
            Self::Copy => SharedFixture::with(|builder| builder.quirks(Quirks::None)),
            _ => SharedFixture::new(),
        }
    }

    /// Returns the content of the object before, if the condition needs one.
    fn before(self) -> Option<&'static [u8]> {
        matches!(self, IfMatch | UploadIfMatch).then_some(b"old")
    }

    fn after(self) -> Vec<u8> {
        match self {
            UploadCreateNew | UploadIfMatch => two_parts().to_vec(),
            _ => b"new".to_vec(),
        }
    }

    async fn prepare(self, fixture: &Fixture) {
        fixture.truth.save("source", "new").await.unwrap();
        if let Some(before) = self.before() {
            fixture.truth.save("a", before).await.unwrap();
        }
    }

    async fn run(self, fixture: &Fixture) -> Result<()> {
        let save = fixture.storage.save("a", self.after());
        let save = match self {
            CreateNew | UploadCreateNew => save.create_new(),
            UniqueName => save.unique_name(),
            IfMatch | UploadIfMatch => save.if_match(fixture.truth.stat("a").await?.etag.unwrap()),
            Self::Copy | CopyThroughClient => {
                return fixture.storage.copy("source", "a").create_new().await;
            }
        };
        save.await.map(|_| ())
    }

    /// Runs it with a fault on each request. Returns the result and the number of requests.
    async fn meets(
        self,
        shared: &Arc<SharedFixture>,
        fault: Fault,
        calls: usize,
    ) -> (Fixture, Result<()>, usize) {
        let fixture = Fixture::on(shared);
        self.prepare(&fixture).await;
        let planned = fixture.proxy.on(self.operation()).calls(1..=calls).then(fault);
        let outcome = self.run(&fixture).await;
        planned.assert_fired();
        let requests = fixture.proxy.count(self.operation());
        (fixture, outcome, requests)
    }

    async fn assert_done(self, fixture: &Fixture, is_done: bool) {
        self.assert_object(fixture, is_done).await;
        fixture.proxy.no_upload_is_left().await;
    }

    /// Asserts the same of a request whose outcome the driver does not know. The service may be
    /// completing the upload.
    async fn assert_done_or_left(self, fixture: &Fixture, is_done: bool) {
        self.assert_object(fixture, is_done).await;
        let left = usize::from(self.operation() == COMPLETE && !is_done);
        assert_eq!(fixture.proxy.inspect(|record| record.open_uploads().len()), left);
        assert_eq!(fixture.proxy.count(ABORT), 0);
    }

    async fn assert_object(self, fixture: &Fixture, is_done: bool) {
        let expected = if is_done { Some(self.after()) } else { self.before().map(<[u8]>::to_vec) };
        match (fixture.found("a").await, expected) {
            (Some(found), Some(expected)) => assert_bytes(&found, &expected),
            (None, None) => {}
            (found, _) => {
                panic!("{self:?}: there is something: {}, which is wrong", found.is_some())
            }
        }
    }
}

fn reached_the_server(fault: &Fault) -> bool {
    matches!(fault, Fault::LoseResponse | Fault::ResetAfterRequest | Fault::ReplaceResponse(_))
}

#[tokio::test]
async fn a_conditional_request_without_a_response_is_not_repeated() {
    for conditional in ALL {
        let shared = conditional.shared();
        let faults = [
            Fault::Drop,
            Fault::Reset,
            Fault::LoseResponse,
            Fault::ResetAfterRequest,
            Fault::Truncate(20),
            Fault::Respond(CannedResponse::error(500, "InternalError")),
            Fault::ReplaceResponse(CannedResponse::error(500, "InternalError")),
            Fault::ReplaceResponse(CannedResponse::web_page(502)),
            Fault::ReplaceResponse(CannedResponse::web_page(503)),
            Fault::ReplaceResponse(CannedResponse::web_page(504)),
        ];
        // The response to a PUT has no body that could end early.
        let faults = faults.into_iter().filter(|fault| {
            !matches!(fault, Fault::Truncate(_)) || conditional.operation() != "PutObject"
        });
        let cases = faults.map(async |fault| {
            let (fixture, outcome, requests) =
                conditional.meets(&shared, fault.clone(), usize::MAX).await;
            assert_eq!(requests, 1, "{conditional:?} {fault:?}: {outcome:?}");
            let is_done = reached_the_server(&fault) || matches!(fault, Fault::Truncate(_));
            conditional.assert_done_or_left(&fixture, is_done).await;
            if is_done && conditional.operation() == COMPLETE {
                // The object of an upload is recognised by its nonce.
                return outcome.unwrap();
            }
            let error = outcome.unwrap_err();
            assert!(!error.is_retryable(), "{conditional:?} {fault:?}: {error}");
            assert!(error.message().contains("is unknown"), "{conditional:?} {fault:?}: {error}");
            assert!(matches!(error.kind(), ErrorKind::Unexpected | ErrorKind::Timeout), "{error}");
        });
        join_all(cases).await;
    }
}

#[tokio::test]
async fn a_conditional_request_that_was_not_started_is_repeated() {
    for conditional in ALL {
        let shared = conditional.shared();
        let faults = [
            CannedResponse::error(503, "SlowDown").header("retry-after", "0"),
            CannedResponse::error(503, "ServiceUnavailable"),
            CannedResponse::new(503, "").header("retry-after", "0"),
            CannedResponse::error(429, "TooManyRequests"),
            CannedResponse::error(409, "ConditionalRequestConflict"),
        ];
        let cases = faults.map(async |response| {
            let (fixture, outcome, requests) =
                conditional.meets(&shared, Fault::Respond(response.clone()), 1).await;
            assert!(outcome.is_ok(), "{conditional:?} {}: {outcome:?}", response.status);
            assert_eq!(requests, 2, "{conditional:?} {}", response.status);
            if conditional != UniqueName {
                conditional.assert_done(&fixture, true).await;
            }
        });
        join_all(cases).await;
    }
}

#[tokio::test]
async fn a_conditional_request_that_is_never_started_fails_with_a_retryable_error() {
    let cases = ALL.map(async |conditional| {
        let fault =
            Fault::Respond(CannedResponse::error(503, "SlowDown").header("retry-after", "0"));
        let (fixture, outcome, requests) =
            conditional.meets(&conditional.shared(), fault, usize::MAX).await;
        let error = outcome.unwrap_err();
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (ErrorKind::RateLimited, true),
            "{conditional:?}: {error}"
        );
        assert_eq!(requests, ATTEMPTS, "{conditional:?}");
        conditional.assert_done(&fixture, false).await;
    });
    join_all(cases).await;
}

#[tokio::test]
async fn a_refused_conditional_request_fails_with_a_known_outcome() {
    for conditional in ALL {
        let shared = conditional.shared();
        for (response, kind) in [
            (CannedResponse::error(403, "AccessDenied"), ErrorKind::PermissionDenied),
            (CannedResponse::error(400, "BadDigest"), ErrorKind::Integrity),
        ] {
            let (fixture, outcome, requests) =
                conditional.meets(&shared, Fault::Respond(response), usize::MAX).await;
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), requests), (kind, 1), "{conditional:?}: {error}");
            assert!(!error.message().contains("is unknown"), "{conditional:?}: {error}");
            conditional.assert_done(&fixture, false).await;
        }
    }
}

#[tokio::test]
async fn a_failed_condition_has_the_kind_of_its_mode() {
    for conditional in [CreateNew, UploadCreateNew, Conditional::Copy, CopyThroughClient] {
        let fixture = Fixture::on(&conditional.shared());
        conditional.prepare(&fixture).await;
        fixture.truth.save("a", "of another").await.unwrap();
        // The server in this process ignores the conditions of a copy.
        let unmet = Fault::Respond(CannedResponse::error(412, "PreconditionFailed"));
        let planned = fixture.proxy.on(conditional.operation()).then(unmet);
        let error = conditional.run(&fixture).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{conditional:?}: {error}");
        assert_eq!(planned.fired(), 1);
        assert_bytes(&fixture.found("a").await.unwrap(), b"of another");
        fixture.proxy.no_upload_is_left().await;
    }
    let shared = SharedFixture::new();
    for (response, conditional) in [
        (CannedResponse::error(412, "PreconditionFailed"), IfMatch),
        (CannedResponse::error(404, "NoSuchKey"), IfMatch),
        (CannedResponse::error(412, "PreconditionFailed"), UploadIfMatch),
        (CannedResponse::error(404, "NoSuchKey"), UploadIfMatch),
    ] {
        let (fixture, outcome, requests) =
            conditional.meets(&shared, Fault::Respond(response), usize::MAX).await;
        assert_eq!(outcome.unwrap_err().kind(), ErrorKind::PreconditionFailed, "{conditional:?}");
        assert_eq!(requests, 1);
        conditional.assert_done(&fixture, false).await;
    }
}

#[tokio::test]
async fn a_failed_connection_has_a_known_outcome() {
    let bucket = Server::get().bucket();
    let endpoint = storage_testkit::http::closed_port();
    let storage = storage_core::Storage::new(bucket.builder().endpoint(endpoint).build().unwrap());
    let error: Error = storage.save("a", "new").create_new().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert!(error.message().contains("no connection to 127.0.0.1"), "{error}");
    assert!(!error.message().contains("is unknown"), "{error}");
}

#[tokio::test]
async fn the_retry_layer_does_not_repeat_a_request_of_unknown_outcome() {
    for conditional in ALL {
        let mut fixture = Fixture::on(&conditional.shared());
        fixture.storage = fixture.storage.layer(|inner| layers::Retry::new(inner, 3));
        conditional.prepare(&fixture).await;
        let lost = fixture.proxy.on(conditional.operation()).then(Fault::LoseResponse);
        let unreadable = (conditional.operation() == COMPLETE).then(|| {
            // Otherwise, the object of an upload is recognised.
            let denied = Fault::Respond(CannedResponse::error(403, "AccessDenied"));
            fixture.proxy.on("HeadObject").then(denied)
        });
        let error = conditional.run(&fixture).await.unwrap_err();
        assert!(error.message().contains("is unknown"), "{conditional:?}: {error}");
        unreadable.iter().for_each(PlannedFault::assert_fired);
        assert_eq!(
            (lost.fired(), fixture.proxy.count(conditional.operation())),
            (1, 1),
            "{conditional:?}"
        );
        conditional.assert_done(&fixture, true).await;
    }
}

#[tokio::test]
async fn a_completion_that_is_not_confirmed_by_s3_has_an_unknown_outcome() {
    for response in [CannedResponse::web_page(200), CannedResponse::new(200, "")] {
        let (fixture, outcome, requests) = UploadCreateNew
            .meets(&UploadCreateNew.shared(), Fault::Respond(response), usize::MAX)
            .await;
        let error = outcome.unwrap_err();
        assert!(!error.is_retryable() && error.message().contains("is unknown"), "{error}");
        assert_eq!((requests, fixture.proxy.count(CREATE)), (1, 1));
        UploadCreateNew.assert_done_or_left(&fixture, false).await;
    }
}

/// The caller must find its own object, and not the one that has the wanted name.
#[tokio::test]
async fn an_unknown_outcome_of_a_save_under_a_unique_name_states_the_name_that_was_tried() {
    for bytes in [b"new".to_vec(), two_parts().to_vec()] {
        let fixture = Fixture::new();
        fixture.truth.save("a", "of another").await.unwrap();
        let operation = if bytes.len() < 10 { "PutObject" } else { COMPLETE };
        let call = if bytes.len() < 10 { 2 } else { 1 };
        let lost = fixture.proxy.on(operation).call(call).then(Fault::LoseResponse);
        let saved = fixture.storage.save("a", bytes.clone()).unique_name().await;
        lost.assert_fired();
        let name = match saved {
            // The object of a multipart upload is recognised.
            Ok(meta) => meta.key.to_string(),
            Err(error) => error.key().unwrap().to_owned(),
        };
        assert_ne!(name, "a");
        assert_bytes(&fixture.found(&name).await.unwrap(), &bytes);
        assert_bytes(&fixture.found("a").await.unwrap(), b"of another");
    }
}
