//! Peak memory of whole processes, by the kernel's account (`VmHWM`): each case in a process of its own.

use std::path::Path;
use std::sync::Arc;

use tokio::process::Command;
use tokio::task::JoinSet;

use super::peers::{Peer, libraries};
use super::server::{Server, chunks, make_file};
use crate::memory::peak;
use crate::peers::Result;

/// How many streams there are at once, and how large each is.
const STREAMS: u64 = 64;
const STREAM: u64 = 64 << 20;

const SAVE_STREAM: &str = "save a stream";
const SAVE_FILE: &str = "save a file";
const OPEN: &str = "open";
const MANY: &str = "save 64 streams of 64 MiB at once";

/// What is there to be opened.
const MADE: &str = "memory/made";

pub async fn run(server: &Server, dir: &Path, size: u64) -> Result<()> {
    let peers = libraries(server)?;
    let names: Vec<_> = peers.iter().map(|peer| peer.name()).collect();
    println!("\n### Peak memory of the process in MiB, {} MiB moved\n\n| | {} |", size >> 20, names.join(" | "));
    println!("|-{}|", "|-".repeat(names.len()));
    for case in [SAVE_STREAM, SAVE_FILE, OPEN, MANY] {
        if case == OPEN {
            peers[0].save_stream(MADE, chunks(size)).await?;
        }
        let mut row = Vec::new();
        for name in &names {
            // Others would take gigabytes for so many streams.
            let is_measured = case != MANY || *name == names[0];
            row.push(if is_measured { one(server, dir, size, name, case).await? } else { "-".to_owned() });
        }
        println!("| {case} | {} |", row.join(" | "));
        if case == OPEN {
            server.delete(&[MADE.to_owned()]).await?;
        }
    }
    Ok(())
}

async fn one(server: &Server, dir: &Path, size: u64, name: &str, case: &str) -> Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--dir").arg(dir).args(["s3-memory-case", "--size", &(size >> 20).to_string()]);
    command.args(["--endpoint", &server.endpoint, "--bucket", &server.bucket, "--region", &server.region]);
    command.args(["--quirks", &server.quirks, "--collect", &server.collect, name, case]);
    command.env("AWS_ACCESS_KEY_ID", &server.access_key_id);
    command.env("AWS_SECRET_ACCESS_KEY", &server.secret_access_key);
    let output = command.output().await?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{name}, {case}: {}", String::from_utf8_lossy(&output.stderr)).into())
}

pub async fn case(server: &Server, dir: &Path, size: u64, name: &str, case: &str) -> Result<()> {
    let peer = libraries(server)?.into_iter().find(|peer| peer.name() == name).ok_or("there is no such peer")?;
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
            assert_eq!(peer.read(MADE).await?, size);
            Vec::new()
        }
        MANY => many(&peer).await?,
        _ => return Err("there is no such case".into()),
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
