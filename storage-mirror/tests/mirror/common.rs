//! A mirror server in a thread, and a client for it.

use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use storage_core::{Driver, Memory, Storage};
use storage_mirror::{Handle, MirrorConfig, Server};
use storage_serve::website::Paths;
use storage_testkit::faults::Faults;
use tempfile::TempDir;

/// The time limit of every wait, far above what the tests take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const TOKEN: &str = "a-token-of-more-than-16-bytes";

/// A running mirror. Dropping it stops the server.
pub(crate) struct Mirror {
    pub(crate) url: String,
    pub(crate) handle: Handle,
    pub(crate) client: Client,
    thread: Option<JoinHandle<()>>,
    /// The cache directory, removed with the mirror.
    _cache: Option<TempDir>,
}

/// Returns a configuration for tests with further options.
pub(crate) fn config(cache: &std::path::Path, options: serde_json::Value) -> MirrorConfig {
    let mut all = serde_json::json!({
        "listen": "127.0.0.1:0",
        "cache_dir": cache,
        "max_size": "1GiB",
        "workers": 2,
        "admin_token": TOKEN,
    });
    let serde_json::Value::Object(options) = options else { panic!("options are an object") };
    for (name, value) in options {
        all[name] = value;
    }
    serde_json::from_value(all).unwrap()
}

impl Mirror {
    pub(crate) fn of(origin: Storage, options: serde_json::Value) -> Self {
        let cache = TempDir::new().unwrap();
        let mut mirror = Self::at(cache.path(), origin, options);
        mirror._cache = Some(cache);
        mirror
    }

    /// Starts a mirror on a directory that outlives it.
    pub(crate) fn at(cache: &std::path::Path, origin: Storage, options: serde_json::Value) -> Self {
        wait_until_unlocked(cache);
        Self::run(Server::bind(config(cache, options), origin).unwrap())
    }

    /// Starts a mirror of a website, without admin routes.
    pub(crate) fn of_website(origin: Storage, paths: impl Paths) -> Self {
        let cache = TempDir::new().unwrap();
        let config = config(cache.path(), serde_json::json!({ "admin_token": null }));
        let mut mirror = Self::run(Server::bind_website(config, origin, paths).unwrap());
        mirror._cache = Some(cache);
        mirror
    }

    fn run(server: Server) -> Self {
        wait_for_midnight();
        let url = format!("http://{}", server.local_addr());
        let handle = server.handle();
        let thread = std::thread::spawn(move || server.run().unwrap());
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { url, handle, client, thread: Some(thread), _cache: None }
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.url)).timeout(PATIENCE)
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.url)).bearer_auth(TOKEN).timeout(PATIENCE)
    }

    /// Sends a GET request and returns the status, `Cache-Status` and the body.
    pub(crate) async fn fetch(&self, path: &str) -> (StatusCode, String, String) {
        let response = self.get(path).send().await.unwrap();
        let (status, cache) = (response.status(), cache_status(&response));
        (status, cache, response.text().await.unwrap())
    }

    /// Returns a figure of `/status`.
    pub(crate) async fn figure(&self, name: &str) -> u64 {
        let response = self.get("/status").bearer_auth(TOKEN).send().await.unwrap();
        let document: serde_json::Value =
            serde_json::from_str(&response.text().await.unwrap()).unwrap();
        document[name].as_u64().unwrap()
    }

    /// Waits until a figure has the wanted value.
    pub(crate) async fn until(&self, name: &str, wanted: u64) {
        let reached = async {
            while self.figure(name).await != wanted {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .unwrap_or_else(|_| panic!("{name} never was {wanted}"));
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            // A second panic while the thread is panicking would abort the process.
            if thread.join().is_err() && !std::thread::panicking() {
                panic!("the mirror failed");
            }
        }
    }
}

/// Waits until a directory is unlocked, because a child process that another test has forked holds
/// the lock of an earlier mirror until it executes its program.
fn wait_until_unlocked(cache: &std::path::Path) {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE
        && let Ok(lock) = File::open(cache.join("lock"))
        && lock.try_lock().is_err()
    {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the next day in UTC if it begins within 20 seconds. A mirror counts requests and
/// clients by the day, and the requests of a test belong to one day.
fn wait_for_midnight() {
    const DAY: u64 = 24 * 60 * 60;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let left = DAY - now % DAY;
    if left <= 20 {
        std::thread::sleep(Duration::from_secs(left));
    }
}

pub(crate) fn cache_status(response: &Response) -> String {
    let header = response.headers().get("cache-status");
    header.map_or_else(String::new, |value| value.to_str().unwrap().to_owned())
}

/// Returns an origin in memory, and the plan of its faults.
pub(crate) fn faulty() -> (Storage, Faults) {
    let faults = Faults::new();
    let inner: Arc<dyn Driver> = Arc::new(Memory::new());
    (Storage::new(faults.layer(inner)), faults)
}

/// Returns bytes without a short period.
pub(crate) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0]).collect()
}
