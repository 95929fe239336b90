//! The retry layer: which calls are repeated, and how bodies and listings resume. The clock is
//! paused, so that waits take no time.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use storage_core::layers::{Retry, Timeout};
use storage_core::{
    ByteRange, ETag, Entry, Error, ErrorKind, Object, Operation, Payload, Result, Storage,
};
use storage_testkit::scripted::{BodyKind, CHUNK, End, Fault, Scripted, transient};
use tokio::time::Instant;

const TEXT: &str = "0123456789abcdef";

fn storage(scripted: &Scripted, retries: u32) -> Storage {
    Storage::new(Retry::new(scripted.arc(), retries))
}

fn lasting() -> Error {
    Error::new(ErrorKind::PermissionDenied, "not yours")
}

fn rate_limited() -> Error {
    Error::new(ErrorKind::RateLimited, "slow down")
}

fn fail(error: fn() -> Error, times: usize) -> Vec<Fault> {
    (0..times).map(|_| Fault::Fail(error())).collect()
}

fn breaks(after: usize) -> Fault {
    Fault::Break { after, with: End::Error(transient()) }
}

fn ends_early(after: usize) -> Fault {
    Fault::Break { after, with: End::Early }
}

#[track_caller]
fn kind_of<T>(result: Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it succeeded"),
        Err(error) => error.kind(),
    }
}

/// Runs a verb on the object `a`.
async fn run(storage: &Storage, verb: Operation) -> Result<()> {
    match verb {
        Operation::Save => storage.save("a", TEXT).await.map(drop),
        Operation::Open => storage.open("a").await?.text().await.map(drop),
        Operation::Stat => storage.stat("a").await.map(drop),
        Operation::Exists => storage.exists("a").await.map(drop),
        Operation::Delete => storage.delete("a").await,
        Operation::List => storage.list("").entries().collect().await.map(drop),
        Operation::Copy => storage.copy("a", "b").await.map(drop),
        Operation::Url => storage.url("a").await.map(drop),
        other => panic!("{other} is no verb"),
    }
}

const VERBS: [Operation; 8] = [
    Operation::Save,
    Operation::Open,
    Operation::Stat,
    Operation::Exists,
    Operation::List,
    Operation::Copy,
    Operation::Url,
    Operation::Delete,
];

mod calls {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_temporary_failure_is_retried_up_to_the_limit() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        for verb in VERBS {
            scripted.script(verb, fail(transient, 3));
            run(&storage(&scripted, 3), verb).await.unwrap();
            assert_eq!(scripted.count(verb), 4, "{verb}");
        }
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn the_error_of_the_last_attempt_states_the_number_of_attempts() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        for verb in VERBS {
            scripted.script(verb, fail(transient, 3));
            let error = run(&storage(&scripted, 2), verb).await.unwrap_err();
            assert_eq!(scripted.count(verb), 3, "{verb}");
            assert_eq!(error.message(), "tried 3 times: the connection was reset");
            assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unexpected, true));
        }
        scripted.assert_script_done();
    }

    async fn delete_three(storage: &Storage) -> Vec<Option<String>> {
        let results = storage.delete_many(stream::iter(["a", "b", "c"]));
        results.map(|result| result.err().map(|error| error.message().to_owned())).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn delete_many_retries_the_keys_with_a_temporary_failure() {
        let scripted = Scripted::with_objects(&[("a", TEXT), ("b", TEXT), ("c", TEXT)]).await;
        let first = [Fault::Fail(transient()), Fault::Fail(lasting()), Fault::Fail(transient())];
        let second = [Fault::Pass, Fault::Fail(transient())];
        scripted.script(Operation::Delete, first.into_iter().chain(second));
        assert_eq!(
            delete_three(&storage(&scripted, 2)).await,
            [None, Some("not yours".to_owned()), None]
        );
        assert_eq!(scripted.calls(), ["delete_many a b c", "delete_many a c", "delete_many c"]);
        assert_eq!(scripted.text("b").await, TEXT);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn delete_many_states_the_number_of_attempts_for_keys_that_keep_failing() {
        let scripted = Scripted::with_objects(&[("b", TEXT)]).await;
        let first = [Fault::Pass, Fault::Fail(transient()), Fault::Fail(transient())];
        let second = [Fault::Fail(transient()), Fault::Fail(lasting())];
        scripted.script(Operation::Delete, first.into_iter().chain(second));
        let messages = delete_three(&storage(&scripted, 1)).await;
        let twice = Some("tried 2 times: the connection was reset".to_owned());
        assert_eq!(messages, [None, twice, Some("not yours".to_owned())]);
        assert_eq!(scripted.calls(), ["delete_many a b c", "delete_many b c"]);
        scripted.assert_script_done();

        scripted.script(Operation::Delete, fail(transient, 3));
        let reset = || Some("the connection was reset".to_owned());
        assert_eq!(delete_three(&storage(&scripted, 0)).await, [reset(), reset(), reset()]);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn delete_many_waits_for_the_longest_requested_time() {
        let scripted = Scripted::new();
        let slow_down =
            |seconds| Fault::Fail(rate_limited().with_retry_after(Duration::from_secs(seconds)));
        scripted.script(Operation::Delete, [Fault::Fail(transient()), slow_down(30), slow_down(5)]);
        let begin = Instant::now();
        assert_eq!(delete_three(&storage(&scripted, 1)).await, [None, None, None]);
        assert!((30..31).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_failure_is_not_retried() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        let begin = Instant::now();
        for verb in VERBS {
            scripted.script(verb, fail(lasting, 1));
            let error = run(&storage(&scripted, 3), verb).await.unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::PermissionDenied, "not yours"));
            assert_eq!(scripted.count(verb), 1, "{verb}");
        }
        assert_eq!(begin.elapsed(), Duration::ZERO);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_failure_ends_the_retries() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        for verb in VERBS {
            scripted.script(verb, [Fault::Fail(transient()), Fault::Fail(lasting())]);
            assert_eq!(
                kind_of(run(&storage(&scripted, 9), verb).await),
                ErrorKind::PermissionDenied
            );
            assert_eq!(scripted.count(verb), 2, "{verb}");
        }
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn zero_retries_disable_the_layer() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        for verb in VERBS {
            scripted.script(verb, fail(transient, 1));
            let error = run(&storage(&scripted, 0), verb).await.unwrap_err();
            assert_eq!(error.message(), "the connection was reset");
            assert_eq!(scripted.count(verb), 1, "{verb}");
        }
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn each_attempt_has_its_own_timeout() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        let timeout = Timeout::new(scripted.arc(), Duration::from_secs(10));
        let storage = Storage::new(Retry::new(std::sync::Arc::new(timeout), 3));
        for verb in VERBS {
            scripted.script(verb, [Fault::Stall, Fault::Stall]);
            run(&storage, verb).await.unwrap();
            assert_eq!(scripted.count(verb), 3, "{verb}");
        }
        scripted.assert_script_done();
    }
}

mod waiting {
    use super::*;

    async fn time_of_a_stat(scripted: &Scripted, retry: Retry) -> Duration {
        let begin = Instant::now();
        Storage::new(retry).stat("a").await.unwrap();
        scripted.assert_script_done();
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_is_random_and_its_bound_doubles_up_to_the_cap() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        let (base, cap) = (Duration::from_secs(1), Duration::from_secs(5));
        let mut times = BTreeSet::new();
        for _ in 0..8 {
            scripted.script(Operation::Stat, fail(transient, 6));
            let retry = Retry::new(scripted.arc(), 6).with_backoff(base, cap);
            times.insert(time_of_a_stat(&scripted, retry).await);
        }
        // 1 + 2 + 4 + 5 + 5 + 5, and a millisecond each that a timer may be late.
        assert!(times.iter().all(|&time| time <= Duration::from_millis(22_006)), "{times:?}");
        assert!(times.len() > 1, "no jitter: {times:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_backoff_does_not_overflow() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        scripted.script(Operation::Stat, fail(transient, 40));
        let retry = Retry::new(scripted.arc(), u32::MAX)
            .with_backoff(Duration::from_nanos(1), Duration::MAX);
        time_of_a_stat(&scripted, retry).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_the_backend_requests_is_kept_up_to_a_minute() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        for (asked, least) in [(7, 7), (60, 60), (86_400, 60)] {
            let error = rate_limited().with_retry_after(Duration::from_secs(asked));
            scripted.script(Operation::Stat, [Fault::Fail(error)]);
            let time = time_of_a_stat(&scripted, Retry::new(scripted.arc(), 1)).await;
            let least = Duration::from_secs(least);
            assert!(
                time >= least && time <= least + Duration::from_millis(102),
                "asked for {asked}, waited {time:?}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_call_stops_the_wait() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        let error = rate_limited().with_retry_after(Duration::from_secs(60));
        scripted.script(Operation::Delete, [Fault::Fail(error)]);
        let storage = storage(&scripted, 3);
        let given_up = tokio::time::timeout(Duration::from_secs(30), storage.delete("a")).await;
        assert!(given_up.is_err());
        tokio::time::sleep(Duration::from_secs(3600)).await;
        assert_eq!(scripted.count(Operation::Delete), 1);
        assert!(storage.exists("a").await.unwrap());
    }
}

mod saves {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_second_attempt_has_the_whole_payload_and_its_checks() {
        let scripted = Scripted::new();
        scripted.script(
            Operation::Save,
            [Fault::Break { after: 1, with: End::Error(transient()) }, Fault::Pass],
        );
        storage(&scripted, 1).save("a", TEXT).await.unwrap();
        assert_eq!(scripted.text("a").await, TEXT);

        scripted.script(Operation::Save, fail(transient, 1));
        let too_large = storage(&scripted, 1).save("b", TEXT).max_size(3).await;
        assert_eq!(kind_of(too_large), ErrorKind::TooLarge);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_payload_in_a_file_is_read_again() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TEXT).unwrap();
        let scripted = Scripted::new();
        scripted.script(Operation::Save, fail(transient, 2));
        storage(&scripted, 2)
            .save("a", Payload::from_file(file.path()).await.unwrap())
            .await
            .unwrap();
        assert_eq!(scripted.text("a").await, TEXT);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_save_of_a_stream_is_not_retried() {
        let scripted = Scripted::new();
        scripted.script(Operation::Save, fail(rate_limited, 1));
        let payload = Payload::from_reader(TEXT.as_bytes());
        let error = storage(&scripted, 3).save("a", payload).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (ErrorKind::RateLimited, "slow down"));
        assert_eq!(scripted.count(Operation::Save), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_save_with_a_lost_response_is_retried() {
        let scripted = Scripted::new();
        scripted.script(Operation::Save, [Fault::LoseResponse(transient())]);
        let saved = storage(&scripted, 1).save("a", TEXT).await.unwrap();
        assert_eq!(scripted.count(Operation::Save), 2);
        assert_eq!(storage(&scripted, 1).stat("a").await.unwrap().etag, saved.etag);
        scripted.assert_script_done();
    }

    /// Returns a save in each of the three conditional modes, on a storage with the object that the
    /// mode needs.
    async fn conditional_saves() -> Vec<(Scripted, storage_core::Save)> {
        let mut all = Vec::new();
        for mode in 0..3 {
            let scripted = Scripted::new();
            let storage = storage(&scripted, 3);
            let etag = storage.save("there", "old").await.unwrap().etag.unwrap();
            all.push((
                scripted,
                match mode {
                    0 => storage.save("a", TEXT).create_new(),
                    1 => storage.save("there", TEXT).if_match(etag),
                    _ => storage.save("there", TEXT).unique_name(),
                },
            ));
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn a_conditional_save_with_a_lost_response_is_not_retried() {
        for (scripted, save) in conditional_saves().await {
            scripted.script(Operation::Save, [Fault::LoseResponse(transient())]);
            let error = save.await.unwrap_err();
            assert_eq!(
                (error.kind(), error.message()),
                (ErrorKind::Unexpected, "the connection was reset")
            );
            assert_eq!(scripted.count(Operation::Save), 2, "the first made `there`");
            scripted.assert_script_done();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_conditional_save_that_did_not_begin_is_retried() {
        for (scripted, save) in conditional_saves().await {
            scripted.script(Operation::Save, fail(rate_limited, 2));
            save.await.unwrap();
            assert_eq!(scripted.count(Operation::Save), 4, "the first made `there`");
            scripted.assert_script_done();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_must_not_overwrite_is_retried_only_if_it_did_not_begin() {
        let scripted = Scripted::with_objects(&[("a", TEXT)]).await;
        let storage = storage(&scripted, 3);
        scripted.script(
            Operation::Copy,
            [Fault::Fail(rate_limited()), Fault::LoseResponse(transient())],
        );
        let error = storage.copy("a", "b").create_new().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.message()),
            (ErrorKind::Unexpected, "the connection was reset")
        );
        assert_eq!(scripted.count(Operation::Copy), 2);

        scripted.script(Operation::Copy, [Fault::LoseResponse(transient())]);
        storage.copy("a", "c").await.unwrap();
        assert_eq!(scripted.count(Operation::Copy), 4);
        scripted.assert_script_done();
    }
}

mod bodies {
    use super::*;

    async fn object() -> Scripted {
        Scripted::with_objects(&[("a", TEXT)]).await
    }

    async fn read(opened: Result<Object>) -> (String, Option<Error>) {
        let mut body = opened.unwrap().into_stream();
        let mut text = String::new();
        while let Some(chunk) = body.next().await {
            match chunk {
                Ok(chunk) => text.push_str(std::str::from_utf8(&chunk).unwrap()),
                Err(error) => return (text, Some(error)),
            }
        }
        (text, None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_breaks_off_resumes_at_the_next_byte() {
        let scripted = object().await;
        scripted.script(Operation::Open, [breaks(1), breaks(0), breaks(2)]);
        assert_eq!(storage(&scripted, 2).open("a").await.unwrap().text().await.unwrap(), TEXT);
        let rest = |from: usize| {
            format!(
                "range: Some(FromTo({from}, 16)), if_match: Some(ETag(\"0\")), if_none_match: None"
            )
        };
        let asked = scripted.calls();
        assert_eq!(asked.len(), 4);
        assert!(asked[1].contains(&rest(CHUNK)), "{asked:?}");
        assert!(asked[2].contains(&rest(CHUNK)), "{asked:?}");
        assert!(asked[3].contains(&rest(3 * CHUNK)), "{asked:?}");
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_ends_early_without_an_error_resumes() {
        let scripted = object().await;
        scripted.script(Operation::Open, [ends_early(1), ends_early(2)]);
        assert_eq!(storage(&scripted, 1).open("a").await.unwrap().text().await.unwrap(), TEXT);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_range_is_opened_with_the_version_as_the_only_condition() {
        let scripted = object().await;
        scripted.script(Operation::Open, [breaks(1)]);
        let other = ETag::strong("other").unwrap();
        let open = storage(&scripted, 1).open("a").range(ByteRange::last(10)).if_none_match(other);
        assert_eq!(open.await.unwrap().text().await.unwrap(), "6789abcdef");
        let last = scripted.calls().pop().unwrap();
        assert!(
            last.contains(
                "range: Some(FromTo(10, 16)), if_match: Some(ETag(\"0\")), if_none_match: None"
            ),
            "{last}"
        );
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_body_may_come_from_memory_or_a_file() {
        for body in [BodyKind::Memory, BodyKind::File] {
            let scripted = object().await;
            scripted.script(Operation::Open, [breaks(1)]);
            let object = storage(&scripted, 1).open("a").await;
            scripted.bodies_are(body);
            let (text, error) = read(object).await;
            assert_eq!((text.as_str(), error.is_none()), (TEXT, true), "{body:?}");
            assert_eq!(scripted.count(Operation::Open), 2);
            scripted.assert_script_done();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_progress_a_body_uses_up_its_retries() {
        let scripted = object().await;
        scripted.script(Operation::Open, [breaks(2), breaks(0), Fault::Fail(transient())]);
        let (text, error) = read(storage(&scripted, 2).open("a").await).await;
        assert_eq!(text, "01234567");
        let error = error.unwrap();
        assert!(error.message().starts_with("tried 3 times: "), "{error}");
        assert!(error.is_retryable());
        assert_eq!(scripted.count(Operation::Open), 3);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn progress_of_a_body_resets_its_retries() {
        let scripted = object().await;
        scripted.script(Operation::Open, [breaks(1), breaks(1), breaks(1)]);
        let (text, error) = read(storage(&scripted, 1).open("a").await).await;
        assert_eq!((text.as_str(), error.is_none()), (TEXT, true));
        assert_eq!(scripted.count(Operation::Open), 4);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_a_replaced_object_fails_and_is_never_mixed() {
        for ignores_conditions in [false, true] {
            let mut scripted = object().await;
            scripted.ignores_conditions = ignores_conditions;
            scripted.script(Operation::Open, [breaks(1)]);
            let object = storage(&scripted, 3).open("a").await;
            scripted.put("a", "ANOTHER VERSION!").await;
            let (text, error) = read(object).await;
            assert_eq!(text, "0123");
            assert_eq!(error.unwrap().kind(), ErrorKind::PreconditionFailed);
            assert_eq!(scripted.count(Operation::Open), 2);
            scripted.assert_script_done();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_a_deleted_object_ends_with_an_error() {
        let scripted = object().await;
        scripted.script(Operation::Open, [breaks(1)]);
        let storage = storage(&scripted, 3);
        let object = storage.open("a").await;
        storage.delete("a").await.unwrap();
        let (text, error) = read(object).await;
        assert_eq!(text, "0123");
        let error = error.unwrap();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().contains("broke off"), "{error}");
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_resumed_body_with_another_range_is_refused() {
        let mut scripted = object().await;
        scripted.ignores_ranges = true;
        scripted.script(Operation::Open, [breaks(1)]);
        let (text, error) = read(storage(&scripted, 3).open("a").await).await;
        assert_eq!(text, "0123");
        assert_eq!(error.unwrap().kind(), ErrorKind::Integrity);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_without_a_strong_etag_does_not_resume() {
        let weak: fn(ETag) -> Option<ETag> = |etag| ETag::weak(etag.opaque()).ok();
        for etag in [weak, |_| None] {
            let mut scripted = object().await;
            scripted.etag = etag;
            scripted.script(Operation::Open, [breaks(1)]);
            let (text, error) = read(storage(&scripted, 3).open("a").await).await;
            assert_eq!(text, "0123");
            assert_eq!(error.unwrap().message(), "the connection was reset");
            assert_eq!(scripted.count(Operation::Open), 1);
            scripted.assert_script_done();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_error_ends_the_body() {
        let scripted = object().await;
        scripted.script(Operation::Open, [Fault::Break { after: 1, with: End::Error(lasting()) }]);
        let (text, error) = read(storage(&scripted, 3).open("a").await).await;
        assert_eq!(text, "0123");
        assert_eq!(error.unwrap().kind(), ErrorKind::PermissionDenied);
        assert_eq!(scripted.count(Operation::Open), 1);
        assert_eq!(scripted.streams(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_temporary_error_after_the_last_byte_is_ignored_but_a_failed_check_is_not() {
        let scripted = object().await;
        let corrupt = Error::new(ErrorKind::Integrity, "the checksum differs");
        scripted.script(
            Operation::Open,
            [breaks(4), Fault::Break { after: 4, with: End::Error(corrupt) }],
        );
        let (text, error) = read(storage(&scripted, 3).open("a").await).await;
        assert_eq!((text.as_str(), error.is_none()), (TEXT, true));
        let (text, error) = read(storage(&scripted, 3).open("a").await).await;
        assert_eq!((text.as_str(), error.unwrap().kind()), (TEXT, ErrorKind::Integrity));
        assert_eq!(scripted.count(Operation::Open), 2);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_stalled_body_resumes_after_its_timeout() {
        let scripted = object().await;
        scripted.script(Operation::Open, [Fault::Break { after: 2, with: End::Stall }]);
        let timeout = Timeout::new(scripted.arc(), Duration::from_secs(10));
        let storage = Storage::new(Retry::new(std::sync::Arc::new(timeout), 1));
        assert_eq!(storage.open("a").await.unwrap().text().await.unwrap(), TEXT);
        assert_eq!(scripted.count(Operation::Open), 2);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn an_empty_body_is_not_resumed() {
        let scripted = Scripted::with_objects(&[("a", "")]).await;
        assert_eq!(storage(&scripted, 3).open("a").await.unwrap().text().await.unwrap(), "");
        assert_eq!(scripted.count(Operation::Open), 1);
    }
}

mod listings {
    use super::*;

    async fn objects() -> Scripted {
        Scripted::with_objects(&[("a", ""), ("b/1", ""), ("b/2", ""), ("c", ""), ("d", "")]).await
    }

    fn name(entry: &Result<Entry>) -> String {
        match entry {
            Ok(entry) => entry.name().to_owned(),
            Err(error) => format!("{}: {}", error.kind(), error.key().unwrap_or_default()),
        }
    }

    async fn names(list: storage_core::List) -> Vec<String> {
        list.entries().map(|entry| name(&entry)).collect().await
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_that_breaks_off_resumes_after_the_last_entry() {
        let scripted = objects().await;
        scripted.script(Operation::List, [breaks(2), breaks(0), breaks(1)]);
        assert_eq!(names(storage(&scripted, 2).list("")).await, ["a", "b/1", "b/2", "c", "d"]);
        let asked = scripted.calls();
        let after: Vec<_> =
            asked.iter().map(|call| call.split_once("start_after: ").unwrap().1).collect();
        assert_eq!(after, ["None }", "Some(\"b/1\") }", "Some(\"b/1\") }", "Some(\"b/2\") }"]);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_rolled_up_prefix_is_listed_once() {
        let scripted = objects().await;
        scripted.script(Operation::List, [breaks(1), breaks(1), breaks(1)]);
        assert_eq!(
            names(storage(&scripted, 1).list("").delimiter("/")).await,
            ["a", "b/", "c", "d"]
        );
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn an_entry_that_the_backend_repeats_is_skipped() {
        let mut scripted = objects().await;
        scripted.ignores_start_after = true;
        scripted.script(Operation::List, [breaks(2), breaks(3)]);
        assert_eq!(
            names(storage(&scripted, 1).list("").delimiter("/")).await,
            ["a", "b/", "c", "d"]
        );
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_listing_without_entries_restarts_at_the_start_of_the_caller() {
        let scripted = objects().await;
        scripted.script(Operation::List, [breaks(0), breaks(1)]);
        assert_eq!(names(storage(&scripted, 1).list("b/").start_after("b/1")).await, ["b/2"]);
        let asked = scripted.calls();
        assert!(asked.iter().all(|call| call.starts_with("list b/ ")), "{asked:?}");
        assert!(asked[1].ends_with("start_after: Some(\"b/1\") }"), "{asked:?}");
        assert!(asked[2].ends_with("start_after: Some(\"b/2\") }"), "{asked:?}");
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn without_progress_a_listing_uses_up_its_retries_and_ends() {
        let scripted = objects().await;
        scripted.script(Operation::List, [breaks(1), breaks(0), breaks(0)]);
        let entries = names(storage(&scripted, 2).list("")).await;
        assert_eq!(entries, ["a", "Unexpected: "]);
        assert_eq!(scripted.count(Operation::List), 3);
        assert_eq!(scripted.streams(), 0);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_permanent_error_ends_the_listing() {
        let scripted = objects().await;
        scripted.script(Operation::List, [Fault::Break { after: 1, with: End::Error(lasting()) }]);
        assert_eq!(names(storage(&scripted, 2).list("")).await, ["a", "PermissionDenied: "]);
        assert_eq!(scripted.count(Operation::List), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn invalid_names_are_listed_once_at_each_place_where_the_listing_breaks_off() {
        let all = [
            "a",
            "InvalidKey: b//1",
            "b/1",
            "InvalidKey: b/1//",
            "InvalidKey: b/1//\u{fffd}",
            "b/2",
            "c",
            "InvalidKey: *",
            "d",
        ];
        for at in 0..=all.len() {
            for lists_all_again in [false, true] {
                let mut scripted = objects().await;
                scripted.ignores_start_after = lists_all_again;
                // One name, two in a row, and one whose lossy form sorts at another place.
                scripted.invalid_names =
                    vec![("b//1", "b/1"), ("b/1//", "b/2"), ("b/1//\u{fffd}", "b/2"), ("*", "d")];
                scripted.script(Operation::List, [breaks(at), Fault::Pass]);
                let entries = names(storage(&scripted, 1).list("")).await;
                // If the listing breaks off right before `*`, the layer counts `*` as returned and
                // omits it.
                let expected: Vec<_> =
                    all.into_iter().filter(|name| at != 7 || *name != "InvalidKey: *").collect();
                assert_eq!(
                    entries, expected,
                    "broke off after {at}, all entries again: {lists_all_again}"
                );
                scripted.assert_script_done();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_invalid_name_resets_the_retries_of_a_listing() {
        let mut scripted = objects().await;
        scripted.invalid_names = vec![("b//1", "b/1"), ("b//2", "b/1")];
        scripted.script(Operation::List, [breaks(1), breaks(1), breaks(2)]);
        let entries = names(storage(&scripted, 1).list("")).await;
        assert_eq!(entries, ["a", "InvalidKey: b//1", "InvalidKey: b//2", "b/1", "b/2", "c", "d"]);
        scripted.assert_script_done();
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_is_unreadable_for_a_moment_is_listed() {
        let mut scripted = objects().await;
        (scripted.invalid_names, scripted.failing_listings) = (vec![("b/", "b/1")], 2);
        assert_eq!(names(storage(&scripted, 2).list("")).await, ["a", "b/1", "b/2", "c", "d"]);
        assert_eq!(scripted.count(Operation::List), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_stays_unreadable_is_one_error_before_its_siblings() {
        let mut scripted = objects().await;
        (scripted.invalid_names, scripted.failing_listings) =
            (vec![("b/", "b/1"), ("c/", "d")], 100);
        let entries = names(storage(&scripted, 2).list("")).await;
        assert_eq!(entries, ["a", "Unexpected: b/", "b/1", "b/2", "c", "Unexpected: c/", "d"]);
        // Each has its own attempts.
        assert_eq!(scripted.count(Operation::List), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_becomes_unreadable_during_the_listing_is_an_error() {
        let mut scripted = objects().await;
        // Simulates that `b/` cannot be read when the listing resumes after `b/1`.
        scripted.invalid_names = vec![("b/", "b/2")];
        scripted.script(Operation::List, [breaks(2)]);
        let entries = names(storage(&scripted, 1).list("")).await;
        assert_eq!(entries, ["a", "b/1", "InvalidKey: b/", "b/2", "c", "d"]);
        scripted.assert_script_done();
    }
}
