//! The cache tier on one machine: an origin, a mirror in a separate process, and an application.
//!
//! The application downloads a podcast. During a download the mirror is killed, as in a power
//! failure. The download continues from origin, and the application gets every byte.

mod mirror;
mod report;

use std::path::Path;
use std::time::Duration;

use anystorage::http_cache::HttpCache;
use anystorage::{Loader, Payload, Result, Storage};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};

use crate::mirror::{MirrorProcess, TOKEN};
use crate::report::print_row;

const EPISODE: &str = "episodes/001.mp3";
const MIB: usize = 1 << 20;
/// More than network buffers can hold, so that killing the mirror interrupts a download.
const LENGTH: usize = 64 * MIB;

fn main() -> Result<()> {
    // The mirror process runs this program with an argument.
    match mirror::config_argument() {
        Some(config) => mirror::serve(&config),
        None => demonstrate(),
    }
}

#[tokio::main]
async fn demonstrate() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let origin =
        anystorage::open(&format!("file://{}", directory.path().join("origin").display()))?;
    let episode = recording();
    origin
        .save(EPISODE, Payload::from_bytes(episode.clone()))
        .cache_control("public, max-age=86400")
        .await?;
    let digest = Sha256::digest(&episode);
    print_row("origin", format_args!("has {EPISODE}, {} MiB", LENGTH / MIB));

    let mut mirror = MirrorProcess::start(directory.path())?;
    let (storage, cache) = application(directory.path(), &mirror, &origin)?;
    print_row("mirror", format_args!("listens at {}", mirror.url()));

    assert_eq!(download(&storage, || {}).await?, digest);
    print_row(
        "app",
        format_args!("first download: correct, the mirror cached it ({})", mirror.hits()?),
    );
    assert_eq!(download(&storage, || {}).await?, digest);
    print_row("app", format_args!("second download: correct ({})", mirror.hits()?));

    let interrupted = download(&storage, || mirror.kill()).await?;
    assert_eq!(interrupted, digest);
    let status = cache.status();
    print_row("mirror", format_args!("was killed during the third download"));
    print_row(
        "app",
        format_args!("third download: correct; {} body continued from origin", resumed(&status)),
    );
    assert_eq!(download(&storage, || {}).await?, digest);
    print_row(
        "app",
        format_args!("fourth download: correct, from origin, because the mirror is down"),
    );

    mirror.restart()?;
    let storage = application(directory.path(), &mirror, &origin)?.0;
    assert_eq!(download(&storage, || {}).await?, digest);
    print_row(
        "mirror",
        format_args!("is back with its cache: fifth download correct ({})", mirror.hits()?),
    );
    print_row("done", format_args!("five downloads, one crash, no wrong byte"));
    Ok(())
}

/// Opens the storage of the application, as its configuration file would define it.
fn application(
    directory: &Path,
    mirror: &MirrorProcess,
    origin: &Storage,
) -> Result<(Storage, HttpCache)> {
    // Applications open the storage from a configuration, as here. This program also needs the
    // driver for its status, so it builds the driver in code below.
    let configured = Loader::new().toml_str(&format!(
        "[storages.default]\ndriver = \"http-cache\"\nmirror = \"{}\"\norigin = \"media\"\ntoken = \"{TOKEN}\"\n\n\
         [storages.media]\ndriver = \"fs\"\nroot = \"{}\"\n",
        mirror.url(),
        directory.join("origin").display(),
    ))?;
    configured.open("default")?;
    let url = mirror.url().parse().map_err(|_| anystorage::Error::config("the mirror's URL"))?;
    let cache = HttpCache::builder(vec![url], origin.clone())
        .header_timeout(Duration::from_secs(5))
        .build()?;
    Ok((Storage::new(cache.clone()), cache))
}

fn resumed(status: &anystorage::http_cache::Status) -> u64 {
    status.mirrors.iter().map(|mirror| mirror.resumed_bodies).sum()
}

/// Downloads the episode and returns its digest. Calls `meanwhile` after the first 2 MiB.
async fn download(
    storage: &Storage,
    meanwhile: impl FnOnce(),
) -> Result<sha2::digest::Output<Sha256>> {
    let mut meanwhile = Some(meanwhile);
    let (mut hasher, mut received) = (Sha256::new(), 0);
    let mut body = storage.open(EPISODE).await?.into_stream();
    while let Some(chunk) = body.try_next().await? {
        hasher.update(&chunk);
        received += chunk.len();
        if received > 2 * MIB
            && let Some(meanwhile) = meanwhile.take()
        {
            meanwhile();
        }
    }
    assert_eq!(received, LENGTH);
    Ok(hasher.finalize())
}

/// Returns pseudo-random bytes, so that misplaced bytes change the digest.
fn recording() -> Vec<u8> {
    let mut state = 1_u64;
    let mut bytes = Vec::with_capacity(LENGTH);
    while bytes.len() < LENGTH {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
