//! The workloads of the file system driver.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::file_system::FileSystem;
use crate::fs_read;
use crate::paired::{Table, median, rotated};
use crate::peers::{self, Peer, Result};

const SMALL: usize = 4096;

pub async fn run(dir: &Path, rounds: usize, only: &str) -> Result<()> {
    let system = FileSystem::of(dir)?;
    println!("{} is on {system}.", dir.display());
    for callers in [1, 64] {
        for durable in [true, false] {
            let kind = if durable { "durable" } else { "not durable" };
            let title = format!("save 4 KiB, {kind}, {callers} concurrent, {}", system.name());
            if title.contains(only) {
                save_small(dir, rounds, title, durable, callers).await?;
            }
        }
        let title = format!("open and read 4 KiB, {callers} concurrent");
        if title.contains(only) {
            read_small(dir, rounds, title, callers).await?;
        }
    }
    fs_read::run(dir, rounds, only).await?;
    if "list".contains(only) {
        list(dir, rounds.min(5)).await?;
    }
    Ok(())
}

/// Calls `work` for all numbers below `count`, with `callers` calls at a time.
async fn concurrently<F>(count: usize, callers: usize, work: impl Fn(usize) -> F) -> Result<()>
where
    F: Future<Output = Result<()>>,
{
    stream::iter(0..count).map(|n| Ok(work(n))).try_for_each_concurrent(callers, |work| work).await
}

pub fn root(dir: &Path, name: &str) -> Result<(tempfile::TempDir, PathBuf)> {
    let scratch = tempfile::tempdir_in(dir)?;
    let root = scratch.path().join(name);
    std::fs::create_dir(&root)?;
    Ok((scratch, root))
}

async fn save_small(
    dir: &Path,
    rounds: usize,
    title: String,
    durable: bool,
    callers: usize,
) -> Result<()> {
    let count = match (durable, callers) {
        (true, 1) => 400,
        (true, _) => 4_000,
        (false, _) => 4_000,
    };
    let bytes = Bytes::from(vec![7; SMALL]);
    let mut table = Table::new(title, count as f64, "saves/s");
    let (system, mut commits) = (FileSystem::of(dir)?, Vec::new());
    // ext4 does not reuse an inode within five seconds, and has to skip such inodes. Files that
    // were removed would slow down the next measurement, so this waits first and removes files at
    // the end.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let scratch = tempfile::tempdir_in(dir)?;
    let scratch_dir = std::fs::File::open(scratch.path())?;
    for round in 0..rounds {
        let root = scratch.path().join(round.to_string());
        std::fs::create_dir(&root)?;
        let mut all: Vec<Box<dyn Peer>> = vec![
            peers::ours(&root.join("ours"), durable),
            peers::object_store(&root.join("object_store"), durable),
        ];
        if !durable {
            all.push(peers::opendal(&root.join("opendal")));
        }
        for peer in rotated(&all, round) {
            let work = concurrently(count, callers, |n| {
                let bytes = bytes.clone();
                async move { peer.save(&format!("d{}/{n}.png", n % 10), bytes).await }
            });
            // No peer waits for what another one has left to write.
            rustix::fs::syncfs(&scratch_dir)?;
            let before = system.commits();
            table.time(peer.name(), work).await?;
            if let (Some(before), Some(after)) = (before, system.commits()) {
                commits.push((peer.name(), (after - before) as f64 * 1_000.0 / count as f64));
            }
        }
    }
    table.print();
    print_commits(&commits);
    Ok(())
}

/// Prints the median of the commits of the journal for each peer.
fn print_commits(commits: &[(&str, f64)]) {
    let mut names: Vec<_> = commits.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of_peer = commits.iter().filter(|(peer, _)| *peer == name).map(|(_, count)| *count);
        println!("\nCommits of the journal for 1,000 saves, {name}: {:.0}", median(of_peer).1);
    }
}

async fn read_small(dir: &Path, rounds: usize, title: String, callers: usize) -> Result<()> {
    const FILES: usize = 1_000;
    const READS: usize = 20_000;
    let (_scratch, root) = root(dir, "read")?;
    let ours = peers::ours(&root, false);
    for n in 0..FILES {
        ours.save(&format!("{n}.png"), Bytes::from(vec![7; SMALL])).await?;
    }
    let all =
        [ours, peers::object_store(&root, false), peers::opendal(&root), peers::std_fs(&root)];
    let mut table = Table::new(title, READS as f64, "reads/s");
    for round in 0..rounds {
        for peer in rotated(&all, round) {
            let work = concurrently(READS, callers, |n| async move {
                let len = peer.read_small(&format!("{}.png", n % FILES)).await?;
                assert_eq!(len, SMALL);
                Ok(())
            });
            table.time(peer.name(), work).await?;
        }
    }
    table.print();
    Ok(())
}

pub const LISTED_DIRECTORIES: usize = 2_000;
pub const LISTED_FILES: usize = 200_000;

/// Creates a tree of 200,000 empty files in 2,000 directories.
pub fn make_tree(root: &Path) -> std::io::Result<()> {
    for directory in 0..LISTED_DIRECTORIES {
        let directory = root.join(format!("directory-{directory:04}"));
        std::fs::create_dir(&directory)?;
        for file in 0..LISTED_FILES / LISTED_DIRECTORIES {
            std::fs::File::create(directory.join(format!("file-{file:04}.txt")))?;
        }
    }
    Ok(())
}

async fn list(dir: &Path, rounds: usize) -> Result<()> {
    let (_scratch, root) = root(dir, "list")?;
    make_tree(&root)?;
    let all = [peers::ours(&root, false), peers::object_store(&root, false), peers::opendal(&root)];
    let mut table = Table::new(
        "list 200,000 files in 2,000 directories, sorted",
        LISTED_FILES as f64,
        "files/s",
    );
    for round in 0..rounds {
        for peer in rotated(&all, round) {
            assert_eq!(table.time(peer.name(), peer.list()).await?, LISTED_FILES);
        }
    }
    table.print();
    Ok(())
}
