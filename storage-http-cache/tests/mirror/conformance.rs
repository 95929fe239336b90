//! The conformance suite on the driver, with the real server as its mirror: private, and purged after every write.

use std::sync::Mutex;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use storage_core::signed_url::SigningKey;
use storage_core::{Memory, Storage, async_trait};
use storage_http_cache::HttpCache;
use storage_http_cache::server::{Handle, Server};
use storage_testkit::Harness;
use tempfile::TempDir;

use crate::common::{TOKEN, config};

const SIGNING_KEY: &str = "the signing key of the mirror";

#[derive(Default)]
struct Tiers {
    running: Mutex<Vec<Running>>,
}

struct Running {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    _cache: TempDir,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[async_trait]
impl Harness for Tiers {
    async fn storage(&self) -> Storage {
        let cache = TempDir::new().unwrap();
        let origin = Memory::storage();
        let options = json!({ "signing_key": SIGNING_KEY, "workers": 1 });
        let server = Server::bind(config(cache.path(), options), origin.clone()).unwrap();
        let url = format!("http://{}/", server.local_addr()).parse().unwrap();
        let handle = server.handle();
        let thread = Some(std::thread::spawn(move || server.run().unwrap()));
        self.running.lock().unwrap().push(Running { handle, thread, _cache: cache });
        let driver = HttpCache::builder(vec![url], origin)
            .token(TOKEN)
            .signing_key(SigningKey::new(SIGNING_KEY).unwrap())
            // A machine under load is no mirror in trouble.
            .header_timeout(Duration::from_secs(20));
        Storage::new(driver.build().unwrap())
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        true
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned(), SIGNING_KEY.to_owned()]
    }
}

storage_testkit::conformance!(real, Tiers::default());
