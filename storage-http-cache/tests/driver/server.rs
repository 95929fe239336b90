//! The conformance suite with the mirror server of this project.

use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use storage_core::signed_url::SigningKey;
use storage_core::{Memory, Metadata, Storage, async_trait};
use storage_http_cache::HttpCache;
use storage_mirror::{Handle, Server};
use storage_testkit::Harness;
use tempfile::TempDir;

const TOKEN: &str = "canary-token-of-the-tests";
const SIGNING_KEY: &str = "canary-signing-key-of-the-tests";
/// A timeout that no test reaches. The defaults are shorter, and a busy machine may exceed them.
const GENEROUS: Duration = Duration::from_secs(60);

/// A running mirror server.
struct Running {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    _directory: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            // A failed test has reported its error.
            let _ = thread.join();
        }
    }
}

/// Storages with a mirror server each, which live as long as the harness.
#[derive(Default)]
struct Served {
    private: bool,
    running: Mutex<Vec<Running>>,
}

impl Served {
    fn tier(&self) -> (HttpCache, Storage) {
        let directory = tempfile::Builder::new().prefix("storage-http-cache-").tempdir().unwrap();
        let mut options = serde_json::json!({
            "listen": "127.0.0.1:0",
            "cache_dir": directory.path(),
            "max_size": "1GiB",
            "workers": 1,
            "admin_token": TOKEN,
        });
        if self.private {
            options["signing_key"] = SIGNING_KEY.into();
        }
        let origin = Memory::storage();
        let server =
            Server::bind(serde_json::from_value(options).unwrap(), origin.clone()).unwrap();
        let mirror = format!("http://{}/", server.local_addr()).parse().unwrap();
        let handle = server.handle();
        let thread = Some(std::thread::spawn(move || server.run().unwrap()));
        self.running.lock().unwrap().push(Running { handle, thread, _directory: directory });
        let builder = HttpCache::builder(vec![mirror], origin);
        let mut builder = builder.token(TOKEN).header_timeout(GENEROUS).idle_timeout(GENEROUS);
        if self.private {
            builder = builder.signing_key(SigningKey::new(SIGNING_KEY).unwrap());
        }
        let cache = builder.build().unwrap();
        (cache.clone(), Storage::new(cache))
    }
}

#[async_trait]
impl Harness for Served {
    async fn storage(&self) -> Storage {
        self.tier().1
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned(), SIGNING_KEY.to_owned()]
    }
}

storage_testkit::conformance!(our_server, Served::default());
storage_testkit::conformance!(our_private_server, Served { private: true, ..Served::default() });

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_server_serves_reads_and_purges_after_writes() {
    let served = Served::default();
    let (cache, storage) = served.tier();
    let large = "0123456789".repeat(100_000);
    for body in ["one", "two", large.as_str()] {
        storage.save("a b/c?.txt", body.to_owned()).await.unwrap();
        for _ in 0..3 {
            assert_eq!(storage.open("a b/c?.txt").await.unwrap().text().await.unwrap(), body);
        }
    }
    let status = cache.status();
    let mirror = &status.mirrors[0];
    assert_eq!(
        (mirror.hits, mirror.failures, mirror.stale, status.from_origin),
        (9, 0, 0, 0),
        "{status:?}"
    );
    assert_eq!(mirror.unconfirmed_purges, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mirror_server_sends_the_same_metadata_as_origin() {
    let served = Served::default();
    let (cache, storage) = served.tier();
    // The server adds a `Content-Disposition` to active types and hides user metadata, unless the
    // request has the token.
    let metadata = Metadata::new()
        .content_type("image/svg+xml")
        .user("author", "Ada Löveläce")
        .content_disposition("inline; filename=a.mp3")
        .content_encoding("gzip")
        .content_language("de-AT, en")
        .cache_control("public, max-age=31536000, immutable")
        .expires(std::time::UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    storage.save("a.mp3", "not compressed at all").metadata(metadata).await.unwrap();
    let known = storage.stat("a.mp3").await.unwrap();
    let mirror = cache.status().mirrors[0].url.clone();
    // Its origin is empty, so the object can only come from the mirror.
    let other = HttpCache::builder(vec![mirror], Memory::storage())
        .header_timeout(GENEROUS)
        .idle_timeout(GENEROUS)
        .token(TOKEN);
    let object = Storage::new(other.build().unwrap()).open("a.mp3").await.unwrap();
    assert_eq!(*object.meta(), known);
    assert_eq!(object.text().await.unwrap(), "not compressed at all");
}
