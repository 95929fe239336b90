//! The cost of the driver `http-cache` in addition to its HTTP request.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use cpu_time::ProcessTime;
use storage_core::Storage;
use storage_http::Http;
use storage_http_cache::HttpCache;

use super::servers::Process;
use crate::paired::{Table, rotated};
use crate::peers::Result;

const CALLS: usize = 2000;
const LINKS: u32 = 100_000;

pub async fn run(dir: &Path, rounds: usize) -> Result<()> {
    let root = dir.join("files");
    fs::create_dir_all(&root)?;
    fs::write(root.join("driver"), vec![b'x'; 64 << 10])?;
    let files = Process::files(dir, &root)?;
    let mirror = Process::ours(dir, &files.url())?;
    let origin = Http::builder(files.url().parse()?).build()?;
    let cache = HttpCache::builder(vec![mirror.url().parse()?], Storage::new(origin))
        .public(true)
        .build()?;
    let storage = Storage::new(cache.clone());
    let client = || reqwest::Client::builder().no_proxy().http1_only();
    let bare = client().build()?;
    // The driver uses timeouts, so it is also compared with a client that uses them.
    let timed =
        client().timeout(Duration::from_secs(10)).read_timeout(Duration::from_secs(10)).build()?;
    let url = format!("{}/download/driver", mirror.url());
    let mut table = Table::new(
        format!("Cache tier: {CALLS} hits of 64 KiB, one after the other"),
        CALLS as f64,
        "requests/s",
    );
    for round in 0..=rounds {
        // The first round warms up and is not recorded. The first row is anystorage.
        for peer in
            rotated(&["http-cache", "reqwest, with timeouts", "reqwest"], round.saturating_sub(1))
        {
            let (start, processor) = (Instant::now(), ProcessTime::now());
            for _ in 0..CALLS {
                let bytes = match *peer {
                    "reqwest" => bare.get(&url).send().await?.error_for_status()?.bytes().await?,
                    "reqwest, with timeouts" => {
                        timed.get(&url).send().await?.error_for_status()?.bytes().await?
                    }
                    _ => storage.open("driver").await?.bytes().await?,
                };
                assert_eq!(bytes.len(), 64 << 10);
            }
            if round > 0 {
                table.record(peer, start.elapsed(), processor.elapsed());
            }
        }
    }
    let status = cache.status();
    assert_eq!(status.from_origin, 0, "{status:?}");
    table.print();
    let start = Instant::now();
    for _ in 0..LINKS {
        assert!(storage.url("driver").await?.as_str().starts_with(&mirror.url()));
    }
    let each: Duration = start.elapsed() / LINKS;
    println!(
        "\nA link to a healthy mirror, from the cached state: {:.2} µs.",
        each.as_secs_f64() * 1e6
    );
    Ok(())
}
