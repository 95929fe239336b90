//! The original client reads from the mirror of this project.

use std::process::Command;

use serde_json::json;
use storage_core::Memory;

use crate::common::Mirror;
use crate::named;

const SCRIPT: &str = r#"
import sys, time
import requests
from cache_tier import CacheTierClient

client = CacheTierClient(sys.argv[1], request_timeout=60.0, local_cache_time=0.0)
# The first request starts the fetch, and the result changes when it ends.
first = client.verify_file("Episode 1.mp3")
deadline = time.time() + 60
while not client.verify_file("Episode 1.mp3"):
    assert time.time() < deadline, "never available"
response = requests.get(client.build_download_url("Episode 1.mp3"), timeout=60)
assert response.status_code == 200, response.status_code
assert response.content == b"hello", response.content
assert client.verify_file("nope.mp3") is False
print("first:", first, "cache:", response.headers["cache-status"])
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_original_client_works_unchanged() {
    let Some(python) = named("STORAGE_HTTP_TEST_PYTHON", "the original client") else { return };
    let origin = Memory::storage();
    origin.save("Episode 1.mp3", "hello").await.unwrap();
    let mirror = Mirror::of(origin, json!({}));
    let url = mirror.url.clone();
    let run = move || Command::new(python).args(["-c", SCRIPT, &url]).output().unwrap();
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let (said, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}\n{complained}");
    assert!(said.contains("first: False"), "{said}");
    assert!(said.contains("anystorage; hit"), "{said}");
}
