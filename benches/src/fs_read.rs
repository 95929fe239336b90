//! Reads of large files: in the page cache, from the disk, and what other tasks notice of them.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::Advice;

use crate::fs::root;
use crate::paired::{Table, rotated};
use crate::peers::{self, Peer, Result};

const LARGE: u64 = 1 << 30;
const NAME: &str = "large.bin";

/// How many tasks read at a time while the delay of another task is measured.
const READERS: usize = 16;

/// How often the delay is measured in a round.
const SAMPLES: usize = 400;

pub async fn run(dir: &Path, rounds: usize, only: &str) -> Result<()> {
    if "open and read 1 GiB, streamed".contains(only) {
        read(dir, rounds, false).await?;
    }
    if "open and read 1 GiB, not cached".contains(only) {
        read(dir, rounds, true).await?;
    }
    if "delay of another task, cached".contains(only) {
        delay(dir, rounds, false).await?;
    }
    if "delay of another task, not cached".contains(only) {
        delay(dir, rounds, true).await?;
    }
    Ok(())
}

fn all_peers(root: &Path) -> Vec<Box<dyn Peer>> {
    vec![
        peers::ours(root, false),
        peers::object_store(root, false),
        peers::opendal(root),
        peers::std_fs(root),
    ]
}

async fn read(dir: &Path, rounds: usize, is_cold: bool) -> Result<()> {
    let (_scratch, root) = root(dir, "large")?;
    let path = root.join(NAME);
    std::fs::write(&path, vec![7; LARGE as usize])?;
    let kind = if is_cold { "not cached" } else { "streamed" };
    let all = all_peers(&root);
    let mut table = Table::new(format!("open and read 1 GiB, {kind}"), LARGE as f64 / 1e9, "GB/s");
    for round in 0..rounds {
        for peer in rotated(&all, round) {
            if is_cold {
                drop_from_cache(&path)?;
            }
            let len = table.time(peer.name(), peer.read(NAME)).await?;
            assert_eq!(len, LARGE);
        }
    }
    table.print();
    Ok(())
}

/// Removes a file from the page cache, which needs no privilege.
fn drop_from_cache(path: &Path) -> std::io::Result<()> {
    let file = std::fs::File::open(path)?;
    file.sync_all()?;
    Ok(rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?)
}

/// Measures how much later than planned a task runs, while other tasks read.
async fn delay(dir: &Path, rounds: usize, is_cold: bool) -> Result<()> {
    let (_scratch, root) = root(dir, "delay")?;
    let path = root.join(NAME);
    std::fs::write(&path, vec![7; LARGE as usize / 4])?;
    let all: Vec<Arc<dyn Peer>> = all_peers(&root).into_iter().map(Arc::from).collect();
    let kind = if is_cold { "not cached" } else { "cached" };
    let title =
        |part| format!("delay of another task while {READERS} tasks read 256 MiB, {kind}, {part}");
    let mut tables = [Table::new(title("median"), 1.0, ""), Table::new(title("99 %"), 1.0, "")];
    for round in 0..rounds {
        for peer in rotated(&all, round) {
            let mut delays = delays_beside(peer, is_cold.then_some(path.as_path())).await?;
            delays.sort_unstable();
            let at = [delays.len() / 2, delays.len() * 99 / 100];
            for (table, at) in tables.iter_mut().zip(at) {
                table.record(peer.name(), delays[at], Duration::from_secs(1));
            }
        }
    }
    for table in tables {
        table.print_times();
    }
    Ok(())
}

async fn delays_beside(peer: &Arc<dyn Peer>, drop: Option<&Path>) -> Result<Vec<Duration>> {
    let is_done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (peer, is_done) = (Arc::clone(peer), Arc::clone(&is_done));
            tokio::spawn(async move {
                while !is_done.load(Ordering::Relaxed) {
                    peer.read(NAME).await?;
                }
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
            })
        })
        .collect();
    let drop = drop.map(Path::to_owned);
    let delays = tokio::spawn(async move {
        let mut delays = Vec::with_capacity(SAMPLES);
        for n in 0..SAMPLES {
            if let Some(path) = drop.as_ref().filter(|_| n % 50 == 0) {
                let path = path.clone();
                tokio::task::spawn_blocking(move || drop_from_cache(&path)).await??;
            }
            let start = Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            delays.push(start.elapsed().saturating_sub(Duration::from_millis(1)));
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(delays)
    });
    let delays = delays.await??;
    is_done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await??;
    }
    Ok(delays)
}
