//! Uploads by Uppy's S3 plugin of versions 5 and 6, as npm has them, in node.
//!
//! `run` installs the packages and sets `UPPY_MODULES`. The tests are skipped without it.

#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use external::{External, TestPrefix};
use http::StatusCode;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use storage_core::signed_url::SigningKey;
use storage_core::{Memory, Storage};
use storage_fs::Fs;
use storage_serve::Cors;
use storage_serve::uploads::{Grant, Refusal, UploadRequest, Uploads};
use tokio::net::TcpListener;

// The S3 servers of the tests of storage-s3. They import `requests` and `skip` from their parent.
#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../../../storage-s3/tests/common/external.rs"]
mod external;
#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../../../storage-s3/tests/common/requests.rs"]
mod requests;
#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "../../../storage-s3/tests/common/server.rs"]
mod server;
#[path = "../../../storage-s3/tests/common/uploads.rs"]
mod uploads;

const MIB: usize = 1 << 20;
/// A page of another origin than that of the server.
const PAGE: &str = "http://page.example.com";

fn modules() -> Option<PathBuf> {
    let modules = std::env::var_os("UPPY_MODULES").map(PathBuf::from);
    if modules.is_none() {
        skip("Uppy in node", "UPPY_MODULES is not set");
    }
    modules
}

/// Prints that tests are skipped, past the capturing of test output.
fn skip(what: &str, reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: {reason}");
}

/// Starts a server, which counts the parts that it receives. It runs until the runtime of the test
/// ends.
async fn serve(storage: &Storage, parts: &Arc<AtomicUsize>) -> SocketAddr {
    let key = SigningKey::new("0123456789abcdef").unwrap();
    let authorize = |_, file: UploadRequest| async move {
        match file.file_name.as_deref() {
            Some("refused.bin") => Err(Refusal::new(StatusCode::FORBIDDEN, "Not this one.")),
            name => Ok(Grant::new(name.unwrap_or("none"))?.types(["application/x-test"])),
        }
    };
    let cors = Cors::origins([PAGE]).unwrap();
    // A service without conditional saves needs another place for the states.
    let capabilities = storage.info().capabilities;
    let states = match capabilities.create_new && capabilities.save_if_match {
        true => storage.clone(),
        false => Memory::storage(),
    };
    let uploads = Uploads::with_state(storage.clone(), states, key, authorize).unwrap().cors(cors);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let parts = Arc::clone(parts);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (uploads, parts) = (uploads.clone(), Arc::clone(&parts));
            let service = service_fn(move |request: Request<Incoming>| {
                let is_part = request.uri().path().contains("/s3/part/");
                parts.fetch_add(usize::from(is_part), Ordering::Relaxed);
                let uploads = uploads.clone();
                async move { Ok::<_, std::convert::Infallible>(uploads.handle(request).await) }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    address
}

async fn upload_with_both_versions(storage: Storage, page: &'static str, is_direct: bool) {
    let Some(modules) = modules() else { return };
    let parts = Arc::default();
    for version in ["5", "6"] {
        let address = serve(&storage, &parts).await;
        let mut node = Command::new("node");
        node.arg("client.mjs")
            .args([version, &format!("http://{address}/uploads"), page])
            .current_dir(modules.join(version))
            .stdin(Stdio::null());
        // The script ends by itself, after a minute for each of its uploads at the latest.
        let output = tokio::task::spawn_blocking(move || node.output()).await.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "version {version}:\n{stdout}\n{stderr}");
        // No scenario was left out.
        assert_eq!(stdout.matches("ok: ").count(), 7, "version {version}:\n{stdout}");
        assert_eq!(parts.load(Ordering::Relaxed) == 0, is_direct);
        check(&storage).await;
        storage.delete_everything().await.unwrap();
    }
}

async fn check(storage: &Storage) {
    for (name, size) in [
        ("parts.bin", 12 * MIB + 3),
        ("sized.bin", 6 * MIB),
        ("form.bin", 100_000),
        ("empty.bin", 0),
        ("paused.bin", 21 * MIB),
    ] {
        let object = storage.open(name).await.unwrap();
        assert_eq!(object.meta().metadata.content_type.as_deref(), Some("application/x-test"));
        let bytes = object.bytes().await.unwrap();
        assert_eq!(bytes.len(), size, "{name}");
        let is_right = bytes.iter().enumerate().all(|(index, byte)| *byte == (index % 251) as u8);
        assert!(is_right, "{name} has other bytes");
    }
    for name in ["cancelled.bin", "refused.bin"] {
        assert!(!storage.exists(name).await.unwrap(), "{name}");
    }
    // The cancelled upload is removed.
    assert_eq!(storage.abort_stale("", Duration::ZERO).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uppy_uploads_into_memory() {
    upload_with_both_versions(Memory::storage(), PAGE, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uppy_uploads_to_a_local_disk() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Storage::new(Fs::builder(directory.path()).build().unwrap());
    upload_with_both_versions(storage, PAGE, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uppy_uploads_straight_to_s3() {
    let bucket = server::Server::get().bucket();
    upload_with_both_versions(bucket.storage(), "node", true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uppy_uploads_straight_to_the_s3_server_of_the_environment() {
    let Some(server) = External::get() else { return };
    let place = TestPrefix::of(&Storage::new(server.builder().build().unwrap()));
    upload_with_both_versions(place.storage(), "node", true).await;
}
