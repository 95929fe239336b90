//! The observing layer: what it reports to `metrics` and `tracing`, and what it omits.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

#[path = "common/tracing_log.rs"]
mod tracing_log;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use metrics_util::MetricKind;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use storage_core::layers::Observed;
use storage_core::{Error, ErrorKind, Operation, Payload, Result, Storage};
use storage_testkit::extra_entries::ExtraEntries;
use storage_testkit::scripted::{BodyKind, End, Fault, Scripted, transient};
use tracing::Level;
use tracing_log::{Line, Log};

const SECRET: &str = "do-not-show";

/// Metrics as `name{label=value,...}`, sorted; of a histogram, how many values it has.
type Metrics = BTreeMap<String, u64>;

/// Runs an application, and returns what is recorded meanwhile.
fn observe<F: Future<Output = ()>>(
    level: Level,
    application: impl FnOnce() -> F,
) -> (Metrics, Log) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let (recorder, log) = (DebuggingRecorder::new(), Log::new(level));
    tracing::subscriber::with_default(log.clone(), || {
        metrics::with_local_recorder(&recorder, || runtime.block_on(application()));
    });
    let mut metrics = Metrics::new();
    for (key, _, _, value) in recorder.snapshotter().snapshot().into_vec() {
        let mut labels: Vec<_> =
            key.key().labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
        labels.sort();
        let value = match (key.kind(), value) {
            (MetricKind::Counter, DebugValue::Counter(count)) => count,
            (MetricKind::Histogram, DebugValue::Histogram(values)) => values.len() as u64,
            other => panic!("an unexpected metric: {other:?}"),
        };
        metrics.insert(format!("{}{{{}}}", key.key().name(), labels.join(",")), value);
    }
    (metrics, log)
}

fn storage(scripted: &Scripted) -> Storage {
    Storage::new(Observed::new(scripted.arc()))
}

fn operations(metrics: &Metrics, operation: &str, result: &str) -> u64 {
    let name = format!(
        "storage_operations_total{{driver=scripted,operation={operation},result={result}}}"
    );
    metrics.get(&name).copied().unwrap_or_default()
}

fn seconds(metrics: &Metrics, operation: &str) -> u64 {
    let name = format!("storage_operation_seconds{{driver=scripted,operation={operation}}}");
    metrics.get(&name).copied().unwrap_or_default()
}

fn bytes(metrics: &Metrics, direction: &str) -> u64 {
    let name = format!("storage_bytes_total{{direction={direction},driver=scripted}}");
    metrics.get(&name).copied().unwrap_or_default()
}

fn field<'a>(line: &'a Line, name: &str) -> &'a str {
    line.fields.get(name).map_or("", String::as_str)
}

fn chunks(chunks: &'static [&'static str]) -> Payload {
    Payload::from_stream(stream::iter(
        chunks.iter().map(|chunk| Ok::<_, Error>(Bytes::from_static(chunk.as_bytes()))),
    ))
}

async fn every_verb_once(storage: Storage) {
    storage.save("a", SECRET).await.unwrap();
    storage.open("a").await.unwrap().bytes().await.unwrap();
    storage.stat("a").await.unwrap();
    storage.exists("a").await.unwrap();
    storage.list("").entries().collect().await.unwrap();
    storage.copy("a", "b").await.unwrap();
    storage.url("a").await.unwrap();
    storage.delete("a").await.unwrap();
}

const VERBS: [&str; 8] = ["save", "open", "stat", "exists", "list", "copy", "url", "delete"];

mod metrics_are {
    use super::*;

    #[test]
    fn each_operation_has_one_count_and_one_time() {
        let (metrics, _) = observe(Level::ERROR, || every_verb_once(storage(&Scripted::new())));
        for verb in VERBS {
            assert_eq!(
                (operations(&metrics, verb, "ok"), seconds(&metrics, verb)),
                (1, 1),
                "{verb}"
            );
        }
        assert_eq!(
            (bytes(&metrics, "in"), bytes(&metrics, "out")),
            (SECRET.len() as u64, SECRET.len() as u64)
        );
        assert_eq!(metrics.len(), 2 * VERBS.len() + 2, "{metrics:?}");
    }

    #[test]
    fn delete_many_is_one_operation_with_the_result_of_its_keys() {
        let (metrics, log) = observe(Level::DEBUG, || async {
            let scripted = Scripted::new();
            let storage = storage(&scripted);
            let keys = || stream::iter(["a", "b", "c"]);
            assert_eq!(storage.delete_many(keys()).finish().await.unwrap(), 3);
            let fail = |kind| Fault::Fail(Error::new(kind, "why"));
            // The result is the failure that is not caused by the caller, although it is not the
            // first.
            scripted.script(
                Operation::Delete,
                [Fault::Pass, fail(ErrorKind::Conflict), fail(ErrorKind::StorageFull)],
            );
            storage.delete_many(keys()).finish().await.unwrap_err();
            scripted.script(Operation::Delete, [fail(ErrorKind::Conflict)]);
            storage.delete_many(keys()).finish().await.unwrap_err();
            scripted.script(Operation::Delete, [Fault::Stall]);
            assert!(storage.delete_many(keys()).next().now_or_never().is_none());
            scripted.assert_script_done();
        });
        let results = ["ok", "StorageFull", "Conflict", "cancelled"];
        assert_eq!(
            results.map(|result| operations(&metrics, "delete", result)),
            [1; 4],
            "{metrics:?}"
        );
        assert_eq!(seconds(&metrics, "delete"), 4);
        let spans = log.spans();
        assert_eq!(spans.len(), 4);
        let names = ["operation", "driver", "keys", "failed", "result"];
        let fields: Vec<_> = spans.iter().map(|span| names.map(|name| field(span, name))).collect();
        let line = |failed, result| ["delete", "scripted", "3", failed, result];
        let expected = [
            line("0", "ok"),
            line("2", "StorageFull"),
            line("1", "Conflict"),
            line("", "cancelled"),
        ];
        assert_eq!(fields, expected);
        let events = log.events();
        let levels: Vec<_> = events.iter().map(|event| event.level).collect();
        assert_eq!(levels, [Level::DEBUG, Level::WARN, Level::DEBUG, Level::DEBUG]);
        assert_eq!((field(&events[1], "key"), field(&events[1], "result")), ("c", "StorageFull"));
    }

    #[test]
    fn a_failed_operation_is_labelled_with_the_kind_of_its_error() {
        let (metrics, _) = observe(Level::ERROR, || async {
            let scripted = Scripted::new();
            scripted.script(
                Operation::Delete,
                [Fault::Fail(Error::new(ErrorKind::StorageFull, "full"))],
            );
            let storage = storage(&scripted);
            storage.stat("a").await.unwrap_err();
            storage.stat("b").await.unwrap_err();
            storage.delete("a").await.unwrap_err();
            scripted.assert_script_done();
        });
        assert_eq!((operations(&metrics, "stat", "NotFound"), seconds(&metrics, "stat")), (2, 2));
        assert_eq!(operations(&metrics, "delete", "StorageFull"), 1);
    }

    #[test]
    fn a_cancelled_operation_is_counted() {
        let (metrics, log) = observe(Level::DEBUG, || async {
            let scripted = Scripted::new();
            scripted.script(Operation::Stat, [Fault::Stall]);
            let storage = storage(&scripted);
            assert!(tokio::time::timeout(Duration::from_secs(1), storage.stat("a")).await.is_err());
            assert_eq!(scripted.abandoned(), 1);
        });
        assert_eq!((operations(&metrics, "stat", "cancelled"), seconds(&metrics, "stat")), (1, 1));
        assert_eq!(field(&log.spans()[0], "result"), "cancelled");
        assert_eq!(
            (log.events()[0].level, field(&log.events()[0], "result")),
            (Level::DEBUG, "cancelled")
        );
    }

    #[test]
    fn bytes_of_a_stream_are_counted_as_far_as_they_are_read() {
        let (metrics, _) = observe(Level::ERROR, || async {
            let scripted = Scripted::new();
            let storage = storage(&scripted);
            storage
                .save("a", chunks(&["0123", "456789"]))
                .content_type("text/plain")
                .await
                .unwrap();
            let mut body = storage.open("a").await.unwrap().into_stream();
            body.next().await.unwrap().unwrap();
            body.next().await.unwrap().unwrap();
        });
        assert_eq!((bytes(&metrics, "in"), bytes(&metrics, "out")), (10, 8));
    }

    #[test]
    fn bytes_of_a_stream_whose_save_fails_are_counted_as_far_as_they_are_read() {
        let (metrics, _) = observe(Level::ERROR, || async {
            let scripted = Scripted::new();
            scripted.script(
                Operation::Save,
                [Fault::Break { after: 1, with: End::Error(transient()) }],
            );
            let payload = chunks(&["0123", "456789"]);
            storage(&scripted).save("a", payload).content_type("text/plain").await.unwrap_err();
            scripted.assert_script_done();
        });
        assert_eq!(bytes(&metrics, "in"), 4);
        assert_eq!(operations(&metrics, "save", "Unexpected"), 1);
    }

    #[test]
    fn bytes_in_memory_and_in_files_are_counted_by_their_length() {
        for kind in [BodyKind::Memory, BodyKind::File] {
            let (metrics, _) = observe(Level::ERROR, || async {
                let scripted = Scripted::with_objects(&[("a", "0123456789")]).await;
                scripted.bodies_are(kind);
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), "12345").unwrap();
                let storage = storage(&scripted);
                storage.save("b", Payload::from_file(file.path()).await.unwrap()).await.unwrap();
                storage.save("c", "1234567").await.unwrap();
                drop(storage.open("a").range(2..5).await.unwrap());
                scripted.script(Operation::Save, [Fault::Fail(transient())]);
                storage.save("d", "1234567").await.unwrap_err();
                scripted.assert_script_done();
            });
            assert_eq!((bytes(&metrics, "in"), bytes(&metrics, "out")), (12, 3), "{kind:?}");
        }
    }

    #[test]
    fn a_listing_is_one_operation_however_it_ends() {
        let (metrics, _) = observe(Level::ERROR, || async {
            let mut scripted = Scripted::with_objects(&[("a", ""), ("b", "")]).await;
            scripted.invalid_names = vec![("//odd", "b")];
            scripted.script(
                Operation::List,
                [
                    Fault::Pass,
                    Fault::Pass,
                    Fault::Break { after: 1, with: End::Error(Error::not_found()) },
                ],
            );
            let storage = storage(&scripted);
            assert_eq!(storage.list("").entries().count().await, 3);
            storage.list("").entries().next().await.unwrap().unwrap();
            let mut fails = storage.list("").entries();
            assert!(fails.next().await.unwrap().is_ok());
            assert!(fails.next().await.unwrap().is_err());
            assert!(fails.next().await.is_none());
            drop(storage.list("").entries());
            scripted.assert_script_done();
        });
        assert_eq!(operations(&metrics, "list", "ok"), 2, "{metrics:?}");
        assert_eq!(operations(&metrics, "list", "NotFound"), 1);
        assert_eq!(seconds(&metrics, "list"), 3);
    }

    #[test]
    fn an_unreadable_directory_is_the_result_of_a_listing_that_continues() {
        let (metrics, log) = observe(Level::WARN, || async {
            let scripted =
                Scripted::with_objects(&[("a", ""), ("b/1", ""), ("c/1", ""), ("d", "")]).await;
            let storage = Storage::new(scripted).layer(|inner| {
                let foreign =
                    ExtraEntries::new(inner).unreadable_directory("b/").unreadable_directory("c/");
                Observed::new(Arc::new(foreign))
            });
            assert_eq!(storage.list("").entries().count().await, 4);
        });
        assert_eq!(operations(&metrics, "list", "PermissionDenied"), 1, "{metrics:?}");
        assert_eq!(operations(&metrics, "list", "ok"), 0);
        let [warning] = &log.events()[..] else { panic!("one warning: {:?}", log.events()) };
        assert_eq!((field(warning, "key"), field(warning, "result")), ("b/", "PermissionDenied"));
    }

    #[test]
    fn the_metrics_are_described() {
        let recorder = DebuggingRecorder::new();
        let log = Log::new(Level::ERROR);
        let run = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(every_verb_once(storage(&Scripted::new())));
        };
        tracing::subscriber::with_default(log, || metrics::with_local_recorder(&recorder, run));
        let metrics = recorder.snapshotter().snapshot().into_vec();
        assert!(!metrics.is_empty());
        for (key, unit, description, _) in metrics {
            assert!(unit.is_some() && description.is_some(), "{key:?}");
        }
    }
}

mod tracing_is {
    use super::*;

    #[test]
    fn each_operation_is_a_span_with_an_event_at_its_end() {
        let (_, log) = observe(Level::DEBUG, || every_verb_once(storage(&Scripted::new())));
        let (spans, events) = (log.spans(), log.events());
        assert_eq!((spans.len(), events.len()), (VERBS.len(), VERBS.len()));
        for (n, verb) in VERBS.into_iter().enumerate() {
            let (span, event) = (&spans[n], &events[n]);
            assert_eq!((span.level, span.name), (Level::DEBUG, "storage"));
            let key = if verb == "list" { "" } else { "a" };
            let fields = ["operation", "driver", "key", "result"].map(|name| field(span, name));
            assert_eq!(fields, [verb, "scripted", key, "ok"]);
            assert_eq!(
                (event.level, event.within, field(event, "result")),
                (Level::DEBUG, Some(n), "ok")
            );
            assert!(event.fields.contains_key("elapsed"));
        }
    }

    #[test]
    fn events_of_the_driver_are_inside_the_span() {
        // The retry layer reports its attempts as events, here as part of the driver.
        let (_, log) = observe(Level::DEBUG, || async {
            let scripted = Scripted::with_objects(&[("a", "")]).await;
            scripted.script(Operation::Stat, [Fault::Fail(transient())]);
            scripted.script(Operation::List, [Fault::Fail(transient())]);
            let retry = storage_core::layers::Retry::new(scripted.arc(), 1);
            let storage = Storage::new(Observed::new(std::sync::Arc::new(retry)));
            storage.stat("a").await.unwrap();
            storage.list("").entries().collect().await.unwrap();
            scripted.assert_script_done();
        });
        let events = log.events();
        let places: Vec<_> =
            events.iter().map(|event| (field(event, "message"), event.within)).collect();
        assert_eq!(
            places,
            [("trying again", Some(0)), ("", Some(0)), ("trying again", Some(1)), ("", Some(1))]
        );
        assert_eq!(field(&events[0], "error"), "the connection was reset");
    }

    #[test]
    fn failures_that_the_caller_causes_are_debug_events_and_others_are_warnings() {
        use ErrorKind::*;
        let quiet = [
            NotFound,
            AlreadyExists,
            Conflict,
            PreconditionFailed,
            NotModified,
            RangeNotSatisfiable,
            InvalidKey,
            InvalidInput,
            TooLarge,
            Unsupported,
        ];
        let loud = [
            InvalidConfig,
            PermissionDenied,
            Unauthenticated,
            RateLimited,
            Timeout,
            StorageFull,
            Integrity,
            Unexpected,
        ];
        for kind in quiet.into_iter().chain(loud) {
            let (_, log) = observe(Level::DEBUG, || async {
                let scripted = Scripted::new();
                scripted.script(Operation::Stat, [Fault::Fail(Error::new(kind, "why"))]);
                storage(&scripted).stat("a").await.unwrap_err();
                scripted.assert_script_done();
            });
            let events = log.events();
            assert_eq!(events.len(), 1, "{kind}");
            let level = if loud.contains(&kind) { Level::WARN } else { Level::DEBUG };
            assert_eq!(
                (events[0].level, field(&events[0], "result")),
                (level, kind.as_str()),
                "{kind}"
            );
            assert_eq!(field(&log.spans()[0], "result"), kind.as_str());
        }
    }

    #[test]
    fn a_warning_has_all_fields_where_spans_are_disabled() {
        let (_, log) = observe(Level::WARN, || async {
            let scripted = Scripted::new();
            let cause = std::io::Error::other("no route\nto host");
            let error = Error::unexpected("the connection failed", cause);
            scripted.script(Operation::Stat, [Fault::Pass, Fault::Fail(error)]);
            let storage = storage(&scripted);
            storage.stat("a").await.unwrap_err();
            storage.stat("b").await.unwrap_err();
            scripted.assert_script_done();
        });
        assert!(log.spans().is_empty());
        let [warning] = &log.events()[..] else { panic!("one warning: {:?}", log.events()) };
        let names = ["operation", "driver", "key", "result", "error", "cause"];
        let fields = names.map(|name| field(warning, name));
        assert_eq!(
            fields,
            ["stat", "scripted", "b", "Unexpected", "the connection failed", "no route\nto host"]
        );
    }

    #[test]
    fn a_key_cannot_forge_an_event() {
        let key = "a\u{202e}\u{2028}result=\"ok\"";
        let (_, log) = observe(Level::DEBUG, || async {
            let scripted = Scripted::new();
            let fail = Error::new(ErrorKind::Unexpected, "why");
            scripted.script(Operation::Stat, [Fault::Fail(fail)]);
            storage(&scripted).stat(key).await.unwrap_err();
            scripted.assert_script_done();
        });
        let shown = "a\\u{202e}\\u{2028}result=\"ok\"";
        assert_eq!(field(&log.spans()[0], "key"), shown);
        assert_eq!(field(&log.events()[0], "key"), shown);
    }

    #[test]
    fn a_failure_of_the_callers_stream_is_not_a_warning() {
        let (_, log) = observe(Level::DEBUG, || async {
            let broken = stream::iter([
                Ok(Bytes::from_static(b"text")),
                Err(std::io::Error::other("client gone")),
            ]);
            let save = storage(&Scripted::new())
                .save("a", Payload::from_stream(broken))
                .content_type("text/plain");
            assert_eq!(save.await.unwrap_err().kind(), ErrorKind::Unexpected);
        });
        let [event] = &log.events()[..] else { panic!("one event: {:?}", log.events()) };
        assert_eq!((event.level, field(event, "result")), (Level::DEBUG, "Unexpected"));
    }

    #[test]
    fn a_body_that_fails_after_the_open_is_an_event() {
        let (metrics, log) = observe(Level::DEBUG, || async {
            let scripted = Scripted::with_objects(&[("a", "01234567")]).await;
            scripted.script(
                Operation::Open,
                [Fault::Break { after: 1, with: End::Error(transient()) }],
            );
            storage(&scripted).open("a").await.unwrap().bytes().await.unwrap_err();
            scripted.assert_script_done();
        });
        let events = log.events();
        assert_eq!(events.len(), 2);
        assert_eq!((events[0].level, field(&events[0], "result")), (Level::DEBUG, "ok"));
        let fields =
            ["operation", "driver", "key", "result", "error"].map(|name| field(&events[1], name));
        assert_eq!(fields, ["open", "scripted", "a", "Unexpected", "the connection was reset"]);
        assert_eq!((events[1].level, events[1].within), (Level::WARN, None));
        assert_eq!(operations(&metrics, "open", "ok"), 1);
        assert_eq!(bytes(&metrics, "out"), 4);
    }

    #[test]
    fn events_contain_no_bytes_and_no_links_and_labels_contain_no_keys() {
        let key = "private/key";
        let (metrics, log) = observe(Level::TRACE, || async move {
            let storage = storage(&Scripted::new());
            storage.save(key, SECRET).await.unwrap();
            storage.save(key, chunks(&[SECRET])).await.unwrap();
            storage.open(key).await.unwrap().bytes().await.unwrap();
            let link = storage.url(key).expires_in(Duration::from_secs(9)).await.unwrap();
            assert!(link.as_str().starts_with("https://inner.example/"));
        });
        let shown = format!("{:?}{:?}", log.spans(), log.events());
        assert!(shown.contains(key), "{shown}");
        assert!(!shown.contains(SECRET) && !shown.contains("inner.example"), "{shown}");
        let labels = format!("{metrics:?}");
        assert!(labels.contains("operation=save") && !labels.contains("private"), "{labels}");
    }
}

#[test]
fn a_call_that_is_polled_by_hand_leaves_no_span_entered() {
    let (_, log) = observe(Level::DEBUG, || async {
        let scripted = Scripted::new();
        scripted.script(Operation::List, [Fault::Stall]);
        scripted.script(Operation::Stat, [Fault::Stall]);
        let storage = storage(&scripted);
        let mut entries = storage.list("").entries();
        let mut stat = Box::pin(storage.stat("a"));
        assert!(entries.next().now_or_never().is_none());
        assert!((&mut stat).now_or_never().is_none());
        assert!(entries.next().now_or_never().is_none());
        let _: Result<()> = storage.delete("b").await;
        scripted.assert_script_done();
    });
    let delete = log.spans().iter().position(|span| field(span, "operation") == "delete");
    assert!(delete.is_some());
    assert_eq!(
        log.events()[0].within,
        delete,
        "the event of the delete came first, within its own span"
    );
}
