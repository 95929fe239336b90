//! Peak memory of the kernel's counter (`VmHWM`), as growth during a case. Each case runs in a
//! separate process.

use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use futures_util::stream;
use storage_core::{Payload, Storage};
use storage_fs::Fs;

use crate::fs::{LISTED_FILES, make_tree};
use crate::peers::Result;

const CASES: [&str; 3] = ["save-4-gib-stream", "read-4-gib", "list-200000"];

pub fn run(dir: &Path) -> Result<()> {
    println!("\n### Peak memory growth\n\n| case | MiB |\n|-|-|");
    for case in CASES {
        let output = Command::new(std::env::current_exe()?)
            .arg("--dir")
            .arg(dir)
            .args(["memory-case", case])
            .output()?;
        if !output.status.success() {
            return Err(format!("{case}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        println!("| {case} | {} |", String::from_utf8_lossy(&output.stdout).trim());
    }
    Ok(())
}

pub async fn case(dir: &Path, case: &str) -> Result<()> {
    let scratch = tempfile::tempdir_in(dir)?;
    let storage = Storage::new(Fs::builder(scratch.path()).durable(false).build()?);
    match case {
        "save-4-gib-stream" => {
            let before = peak()?;
            // Every chunk has its own memory, like chunks from a socket.
            let chunks = stream::iter(0..65_536).map_chunks();
            let meta = storage.save("large", Payload::from_stream(chunks)).await?;
            assert_eq!(meta.size, 4 << 30);
            print(before)
        }
        "read-4-gib" => {
            use futures_util::TryStreamExt;
            let sparse = std::fs::File::create(scratch.path().join("large"))?;
            sparse.set_len(4 << 30)?;
            let before = peak()?;
            let mut chunks = storage.open("large").await?.into_stream();
            while let Some(chunk) = chunks.try_next().await? {
                drop(chunk);
            }
            print(before)
        }
        _ => {
            make_tree(scratch.path())?;
            let before = peak()?;
            let mut entries = storage.list("").entries();
            let mut count = 0;
            while let Some(entry) = entries.next().await {
                entry?;
                count += 1;
            }
            assert_eq!(count, LISTED_FILES);
            print(before)
        }
    }
}

trait MapChunks {
    fn map_chunks(
        self,
    ) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static;
}

impl<S: futures_util::Stream + Send + 'static> MapChunks for S {
    fn map_chunks(
        self,
    ) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> + Send + 'static {
        use futures_util::StreamExt;
        self.map(|_| Ok(Bytes::from(vec![7; 64 * 1024])))
    }
}

fn print(before: u64) -> Result<()> {
    println!("{:.1}", (peak()? - before) as f64 / 1024.0);
    Ok(())
}

/// Returns the largest resident size so far, in KiB.
pub fn peak() -> std::io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim_end_matches("kB").trim().parse().map_err(std::io::Error::other)
}
