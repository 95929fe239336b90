//! The cache tier on one machine: an origin, a mirror in a process of its own, and an application.
//!
//! The application downloads a podcast. While it does, the mirror is killed, as the power supply of
//! a cheap machine would do it. The application does not notice.

mod mirror;
mod report;

use std::path::Path;
use std::time::Duration;

use anystorage::http_cache::HttpCache;
use anystorage::{Loader, Payload, Result, Storage};
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};

use crate::mirror::{MirrorProcess, TOKEN};
use crate::report::say;

const EPISODE: &str = "episodes/001.mp3";
const MIB: usize = 1 << 20;
/// More than what fits between a server that has died and a client that still reads.
const LENGTH: usize = 64 * MIB;

fn main() -> Result<()> {
    // The mirror is this same program, in another process.
    match mirror::asked_for() {
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
    say("origin", format_args!("has {EPISODE}, {} MiB", LENGTH / MIB));

    let mut mirror = MirrorProcess::start(directory.path())?;
    let (storage, cache) = application(directory.path(), &mirror, &origin)?;
    say("mirror", format_args!("serves at {}", mirror.url()));

    assert_eq!(download(&storage, || {}).await?, digest);
    say(
        "app",
        format_args!("first download: right, the mirror filled itself ({})", mirror.hits()?),
    );
    assert_eq!(download(&storage, || {}).await?, digest);
    say("app", format_args!("second download: right ({})", mirror.hits()?));

    let killed = download(&storage, || mirror.kill()).await?;
    assert_eq!(killed, digest);
    let status = cache.status();
    say("mirror", format_args!("was killed in the middle of the third download"));
    say(
        "app",
        format_args!(
            "third download: right all the same; {} body went on at origin",
            resumed(&status)
        ),
    );
    assert_eq!(download(&storage, || {}).await?, digest);
    say(
        "app",
        format_args!("fourth download: right, from origin, since nobody answers at the mirror"),
    );

    mirror.restart()?;
    let storage = application(directory.path(), &mirror, &origin)?.0;
    assert_eq!(download(&storage, || {}).await?, digest);
    say(
        "mirror",
        format_args!("is back, and its cache is warm: fifth download right ({})", mirror.hits()?),
    );
    say("done", format_args!("five downloads, one crash, no wrong byte"));
    Ok(())
}

/// What the application's configuration file would say.
fn application(
    directory: &Path,
    mirror: &MirrorProcess,
    origin: &Storage,
) -> Result<(Storage, HttpCache)> {
    // The same by configuration, which is what applications use; the driver itself is held here to
    // ask it how it is.
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

/// Downloads the episode and calls `meanwhile` once a part of it has come. The digest of all bytes.
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

/// Bytes that are different everywhere, so that no mistake goes unnoticed.
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
