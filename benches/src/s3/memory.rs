//! Peak memory of the kernel's counter (`VmHWM`). Each case runs in a separate process.

use std::path::Path;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::peers::{Peer, libraries};
use super::server::{Server, chunks, make_file, output_of};
use crate::memory::peak;
use crate::peers::Result;

/// The number of concurrent streams, and the size of each in bytes.
const STREAMS: u64 = 64;
const STREAM: u64 = 64 << 20;

const SAVE_STREAM: &str = "save a stream";
const SAVE_FILE: &str = "save a file";
const OPEN: &str = "open, discarding the bytes";
const OPEN_TO_FILE: &str = "open, to a file";
const MANY: &str = "save 64 streams of 64 MiB at once";

/// The key of the object to open.
const PREPARED: &str = "memory/made";

pub async fn run(server: &Server, dir: &Path, size: u64) -> Result<()> {
    let peers = libraries(server)?;
    let names: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
    println!(
        "\n### S3: Peak memory of the process in MiB, {} MiB moved\n\n| | {} |",
        size >> 20,
        names.join(" | ")
    );
    println!("|-{}|", "|-".repeat(names.len()));
    peers[0].save_stream(PREPARED, chunks(size)).await?;
    for case in [OPEN, OPEN_TO_FILE, SAVE_STREAM, SAVE_FILE, MANY] {
        if case == SAVE_STREAM {
            server.delete(&[PREPARED.to_owned()]).await?;
        }
        let mut row = Vec::new();
        for name in &names {
            // Other peers would use gigabytes for so many streams.
            let is_measured = case != MANY || *name == names[0];
            row.push(if is_measured {
                one(server, dir, size, name, case).await?
            } else {
                "-".to_owned()
            });
        }
        println!("| {case} | {} |", row.join(" | "));
    }
    Ok(())
}

async fn one(server: &Server, dir: &Path, size: u64, name: &str, case: &str) -> Result<String> {
    let mut child = server.child(dir, "s3-memory-case")?;
    child.args(["--size", &(size >> 20).to_string(), name, case]);
    output_of(child).await
}

pub async fn case(server: &Server, dir: &Path, size: u64, name: &str, case: &str) -> Result<()> {
    let peer =
        libraries(server)?.into_iter().find(|peer| peer.name() == name).ok_or("unknown peer")?;
    let key = "memory/saved".to_owned();
    let keys = match case {
        SAVE_STREAM => {
            peer.save_stream(&key, chunks(size)).await?;
            vec![key]
        }
        SAVE_FILE => {
            let scratch = tempfile::tempdir_in(dir)?;
            let file = scratch.path().join("up");
            make_file(&file, size)?;
            peer.upload(&key, &file).await?;
            vec![key]
        }
        OPEN => {
            assert_eq!(peer.read(PREPARED).await?, size);
            Vec::new()
        }
        OPEN_TO_FILE => {
            let scratch = tempfile::tempdir_in(dir)?;
            let file = scratch.path().join("down");
            peer.download(PREPARED, &file).await?;
            assert_eq!(std::fs::metadata(&file)?.len(), size);
            Vec::new()
        }
        MANY => many(&peer).await?,
        _ => return Err("unknown case".into()),
    };
    println!("{:.0}", peak()? as f64 / 1024.0);
    server.delete(&keys).await
}

async fn many(peer: &Arc<dyn Peer>) -> Result<Vec<String>> {
    let keys: Vec<_> = (0..STREAMS).map(|n| format!("memory/many/{n}")).collect();
    let mut tasks = JoinSet::new();
    for key in keys.clone() {
        let peer = Arc::clone(peer);
        tasks.spawn(async move { peer.save_stream(&key, chunks(STREAM)).await });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(keys)
}
