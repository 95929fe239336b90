//! Start, stop and reload of a mirror.

use serde_json::json;
use storage_core::{ErrorKind, Memory, Operation, Storage};
use storage_mirror::{Server, check};
use tempfile::TempDir;

use crate::common::{Mirror, config, faulty};
use crate::origin::{in_two_halves, storage};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_restores_the_stored_objects() {
    let cache = TempDir::new().unwrap();
    let (origin, faults) = faulty();
    origin
        .save("a", "hello")
        .content_type("audio/mpeg")
        .cache_control("max-age=1000")
        .await
        .unwrap();
    let mirror = Mirror::at(cache.path(), origin.clone(), json!({}));
    mirror.fetch("/a").await;
    mirror.until("objects", 1).await;
    drop(mirror);
    let down = faults.on(Operation::Open).fail(ErrorKind::Unexpected);
    let mirror = Mirror::at(cache.path(), origin, json!({}));
    let response = mirror.get("/a").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "audio/mpeg");
    assert_eq!(response.text().await.unwrap(), "hello");
    assert_eq!(down.fired(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_mirror_on_the_same_directory_fails_to_start() {
    let cache = TempDir::new().unwrap();
    let _mirror = Mirror::at(cache.path(), Memory::storage(), json!({}));
    let error = Server::bind(config(cache.path(), json!({})), Memory::storage()).unwrap_err();
    assert!(error.to_string().contains("cache"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_mirror_finishes_the_responses_under_way() {
    let (origin, gate) = in_two_halves();
    let mirror = Mirror::of(storage(&origin), json!({}));
    let response = mirror.get("/a").send().await.unwrap();
    mirror.handle.stop();
    // New connections are refused.
    while mirror.client.get(format!("{}/healthz", mirror.url)).send().await.is_ok() {
        tokio::task::yield_now().await;
    }
    gate.open();
    // The response that had begun is complete.
    assert_eq!(response.text().await.unwrap(), "0123456789");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reloaded_configuration_applies_from_the_next_request() {
    let cache = TempDir::new().unwrap();
    let origin = Memory::storage();
    origin.save("a/x", "hello").await.unwrap();
    let mirror = Mirror::at(cache.path(), origin, json!({}));
    assert_eq!(mirror.fetch("/a/x").await.0.as_u16(), 200);
    mirror.handle.reload(config(cache.path(), json!({ "allow": ["b/"] }))).unwrap();
    assert_eq!(mirror.fetch("/a/x").await.0.as_u16(), 404);
    let refused =
        mirror.handle.reload(config(cache.path(), json!({ "max_size": "2GiB" }))).unwrap_err();
    assert!(refused.message().contains("max_size"), "{refused}");
}

#[test]
fn the_error_of_an_invalid_option_names_it() {
    let wrong = [
        (json!({ "max_size": 0 }), "max_size"),
        (json!({ "max_object_size": "2GiB" }), "max_object_size"),
        (json!({ "admin_token": "short" }), "admin_token"),
        (json!({ "admin_token": "0000000000000000" }), "admin_token"),
        (json!({ "signing_key": "short" }), "signing_key"),
        (json!({ "signing_key": "                " }), "signing_key"),
        (json!({ "allow": [] }), "allow"),
        (json!({ "ttl": { "mp3": "1h" } }), "ttl"),
        (json!({ "cors_origins": ["https://a.example/"] }), "cors_origins"),
        (json!({ "cors_origins": ["*", "https://a.example"] }), "cors_origins"),
        (json!({ "workers": 0 }), "workers"),
        (json!({ "max_connections_per_client": 0 }), "max_connections_per_client"),
    ];
    for (options, name) in wrong {
        let cache = TempDir::new().unwrap();
        let error =
            Server::bind(config(cache.path(), options), Storage::new(Memory::new())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.message().contains(name), "{error}");
        assert!(!error.message().contains("short"), "{error}");
    }
}

#[test]
fn a_check_names_the_option_that_prevents_a_start_and_creates_no_files() {
    let cache = TempDir::new().unwrap();
    let file = cache.path().join("file");
    std::fs::write(&file, "").unwrap();
    let wrong = [
        (json!({ "cache_dir": file.join("cache") }), "cache_dir"),
        (json!({ "access_log": cache.path().join("no/such/directory/log") }), "access_log"),
        (json!({ "listen": "192.0.2.1:80" }), "listen"),
        (json!({ "admin_listen": "192.0.2.1:80" }), "admin_listen"),
        (json!({ "max_size": 0 }), "max_size"),
    ];
    for (options, name) in wrong {
        let error = check(config(cache.path(), options), &Memory::storage()).unwrap_err();
        assert!(error.message().contains(name), "{name}: {error}");
    }
    check(config(&cache.path().join("new"), json!({})), &Memory::storage()).unwrap();
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 1, "the file alone");
}

#[test]
fn a_check_sends_origin_a_request_and_leaves_a_running_mirror_undisturbed() {
    let cache = TempDir::new().unwrap();
    let (origin, faults) = faulty();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mirror = Mirror::at(cache.path(), origin.clone(), json!({}));
    check(config(cache.path(), json!({})), &origin).unwrap();
    let calls = faults.calls(Operation::Open);
    assert_eq!(calls, 1);
    for (kind, passes) in [
        (ErrorKind::InvalidConfig, false),
        (ErrorKind::Unauthenticated, false),
        (ErrorKind::Unexpected, false),
        // Credentials without the right to list receive this for every missing object.
        (ErrorKind::PermissionDenied, true),
    ] {
        faults.clear();
        let fails = faults.on(Operation::Open).fail(kind);
        let checked = check(config(cache.path(), json!({})), &origin);
        assert_eq!((checked.is_ok(), fails.fired()), (passes, 1), "{kind:?}");
        assert!(checked.err().is_none_or(|error| error.message().contains("origin")), "{kind:?}");
    }
    faults.clear();
    runtime.block_on(async {
        origin.save("a", "hello").await.unwrap();
        assert_eq!(mirror.fetch("/a").await.2, "hello");
    });
}
