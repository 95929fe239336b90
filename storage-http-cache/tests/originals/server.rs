//! This driver reads correct bytes from the original server, regardless of its faults.

use std::fs;
use std::path::Path;
use std::process::Command;

use storage_core::{Memory, Storage};
use storage_http_cache::HttpCache;
use storage_serve::Serve;
use storage_testkit::servers::Running;
use tempfile::TempDir;

use crate::common::PATIENCE;
use crate::named;

/// The original server, run as by its start script, and the origin that it caches.
struct Original {
    _running: Running,
    url: String,
    origin: Storage,
    /// A copy, because the server stores its files beside its code.
    _directory: TempDir,
}

impl Original {
    async fn start() -> Option<Self> {
        let python = named("STORAGE_HTTP_TEST_PYTHON", "the original server")?;
        let code = named("STORAGE_HTTP_TEST_CACHE_TIER", "the original server")?;
        let directory = TempDir::new().unwrap();
        copy(Path::new(&code), directory.path());
        let origin = Memory::storage();
        let source = serve(origin.clone()).await;
        let config = serde_json::json!({ "download_base_url": source, "cache_folder": "../static/files_cache/" });
        fs::write(directory.path().join("config_data/dev.json"), config.to_string()).unwrap();
        let running = Running::start(|[port]| {
            let start = format!("import srv_app; srv_app.app.run(port={port})");
            let mut command = Command::new(&python);
            command.args(["-c", &start]).current_dir(directory.path());
            command
        });
        let url = format!("http://{}/", running.address(0));
        Some(Self { _running: running, url, origin, _directory: directory })
    }

    fn driver(&self) -> HttpCache {
        let mirrors = vec![self.url.parse().unwrap()];
        HttpCache::builder(mirrors, self.origin.clone())
            .header_timeout(PATIENCE)
            .idle_timeout(PATIENCE)
            .public(true)
            .build()
            .unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Serves a storage at an address of its own.
async fn serve(storage: Storage) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service =
                hyper_util::service::TowerToHyperService::new(Serve::new(storage.clone()));
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    });
    url
}

/// Waits until a mirror sends the object itself.
async fn until_mirrored(driver: &HttpCache, key: &str) -> String {
    let storage = Storage::new(driver.clone());
    let mirrored = async {
        loop {
            let hits = driver.status().mirrors[0].hits;
            let body = storage.open(key).await.unwrap().text().await.unwrap();
            if driver.status().mirrors[0].hits > hits {
                return body;
            }
        }
    };
    tokio::time::timeout(PATIENCE, mirrored).await.expect("the original server caches the object")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_server_works_as_a_mirror() {
    let Some(original) = Original::start().await else { return };
    original.origin.save("episode.mp3", "hello").await.unwrap();
    let driver = original.driver();
    // Until the server has cached the object, it comes from origin.
    assert_eq!(
        Storage::new(driver.clone()).open("episode.mp3").await.unwrap().text().await.unwrap(),
        "hello"
    );
    assert_eq!(until_mirrored(&driver, "episode.mp3").await, "hello");
    let range = Storage::new(driver.clone()).open("episode.mp3").range(1..3).await.unwrap();
    assert_eq!(range.text().await.unwrap(), "el");
    let link = Storage::new(driver).url("episode.mp3").await.unwrap();
    assert_eq!(link.as_str(), format!("{}download/episode.mp3", original.url));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_differ_in_case_are_not_confused() {
    let Some(original) = Original::start().await else { return };
    original.origin.save("foo.mp3", "small").await.unwrap();
    original.origin.save("Foo.mp3", "Large").await.unwrap();
    let driver = original.driver();
    assert_eq!(until_mirrored(&driver, "foo.mp3").await, "small");
    // The server would send foo.mp3.
    for _ in 0..3 {
        let body =
            Storage::new(driver.clone()).open("Foo.mp3").await.unwrap().text().await.unwrap();
        assert_eq!(body, "Large");
    }
}
