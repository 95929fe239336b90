//! The names of published files: `Assets::url` in each mode, with a map of the standard library as
//! the lower bound.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use storage_core::Memory;
use storage_publish::testing::hashed;
use storage_publish::{Assets, Manifest, PublishOptions, Site, publish, releases};

use crate::peers::Result;

/// The number of files of the site.
const FILES: usize = 5_000;
/// How often all names are looked up in one round.
const REPEATS: usize = 200;

/// Prints the time of one lookup, as the median, the minimum and the maximum over the rounds.
pub async fn run(rounds: usize) -> Result<()> {
    let paths: Vec<String> = (0..FILES).map(|n| format!("assets/pages/part-{n}.css")).collect();
    let storage = Memory::storage();
    let mut site = Site::default();
    site.assets = paths.iter().map(|path| hashed(path, path.as_bytes())).collect();
    publish(&site, &storage, &PublishOptions::new()).await?;
    let current = releases(&storage).await?.current.ok_or("there is no release")?;
    let manifest = Manifest::read(&storage, &current.release).await?;
    let loaded = Assets::load(&storage).await?;
    let embedded = Assets::embedded(&manifest, "/");
    let map: HashMap<Box<str>, Arc<str>> = manifest
        .entries
        .iter()
        .map(|(path, entry)| (path.as_str().into(), format!("/{}", entry.name).into()))
        .collect();

    println!("\n### Names of published files\n");
    println!("| | median ns (min to max) |\n|-|-|");
    row("`Assets::load`", rounds, &paths, |path| loaded.url(path).is_ok());
    row("`Assets::embedded`", rounds, &paths, |path| embedded.url(path).is_ok());
    row("`HashMap<Box<str>, Arc<str>>` of std", rounds, &paths, |path| {
        map.get(path).cloned().is_some()
    });
    Ok(())
}

fn row(name: &str, rounds: usize, paths: &[String], is_found: impl Fn(&str) -> bool) {
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..REPEATS {
                for path in paths {
                    assert!(is_found(black_box(path)), "{path}");
                }
            }
            start.elapsed()
        })
        .collect();
    times.sort();
    let calls = (REPEATS * paths.len()) as f64;
    let ns = |time: Duration| time.as_secs_f64() * 1e9 / calls;
    let (min, median, max) = (ns(times[0]), ns(times[rounds / 2]), ns(times[rounds - 1]));
    println!("| {name} | {median:.1} ({min:.1} to {max:.1}) |");
}
