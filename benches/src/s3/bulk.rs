//! Saving and opening large objects.

use std::path::Path;
use std::sync::Arc;

use super::peers::{Files, Peer, libraries, programs, uploaders};
use super::server::{Server, chunks, make_file};
use crate::paired::{Table, rotated};
use crate::peers::Result;

/// The size of the objects, and the directories of a run.
pub struct Plan<'a> {
    pub server: &'a Server,
    pub dir: &'a Path,
    pub tools: Option<&'a Path>,
    pub size: u64,
    pub rounds: usize,
}

impl Plan<'_> {
    fn table(&self, what: &str) -> Table {
        Table::new(format!("S3: {what}, {} MiB", self.size >> 20), self.size as f64 / 1e9, "GB/s")
    }

    fn with_programs(&self, libraries: Vec<Arc<dyn Peer>>) -> Vec<Arc<dyn Files>> {
        let libraries = libraries.into_iter().map(|library| library as Arc<dyn Files>);
        libraries.chain(programs(self.server, self.tools)).collect()
    }

    /// Checks that an object is complete, and deletes it.
    async fn check_and_delete(&self, key: &str) -> Result<()> {
        assert_eq!(self.server.storage()?.stat(key).await?.size, self.size, "{key}");
        self.server.delete(&[key.to_owned()]).await
    }
}

pub async fn run(plan: &Plan<'_>, only: &str) -> Result<()> {
    if "save a stream".contains(only) {
        up_stream(plan).await?;
    }
    if "save a file".contains(only) {
        up_file(plan).await?;
    }
    if !"open a large object, discarding the bytes, to a file".contains(only) {
        return Ok(());
    }
    let key = "large/read";
    plan.server.storage()?.save(key, storage_core::Payload::from_stream(chunks(plan.size))).await?;
    if "open a large object, discarding the bytes".contains(only) {
        down(plan, key).await?;
    }
    if "open a large object, to a file".contains(only) {
        down_file(plan, key).await?;
    }
    plan.server.delete(&[key.to_owned()]).await
}

async fn up_stream(plan: &Plan<'_>) -> Result<()> {
    let peers = uploaders(plan.server)?;
    let mut table = plan.table("save a stream of unknown size");
    for round in 0..plan.rounds {
        for peer in rotated(&peers, round) {
            let key = format!("large/stream-{round}");
            table.time(peer.name(), peer.save_stream(&key, chunks(plan.size))).await?;
            plan.check_and_delete(&key).await?;
        }
    }
    table.print();
    Ok(())
}

async fn up_file(plan: &Plan<'_>) -> Result<()> {
    let scratch = tempfile::tempdir_in(plan.dir)?;
    let file = scratch.path().join("up");
    make_file(&file, plan.size)?;
    let peers = plan.with_programs(uploaders(plan.server)?);
    let mut table = plan.table("save a file");
    for round in 0..plan.rounds {
        for peer in rotated(&peers, round) {
            let key = format!("large/file-{round}");
            table.time(peer.name(), peer.upload(&key, &file)).await?;
            plan.check_and_delete(&key).await?;
        }
    }
    table.print();
    Ok(())
}

async fn down(plan: &Plan<'_>, key: &str) -> Result<()> {
    let peers = libraries(plan.server)?;
    let mut table = plan.table("open a large object, discarding the bytes");
    for round in 0..plan.rounds {
        for peer in rotated(&peers, round) {
            assert_eq!(table.time(peer.name(), peer.read(key)).await?, plan.size);
        }
    }
    table.print();
    Ok(())
}

async fn down_file(plan: &Plan<'_>, key: &str) -> Result<()> {
    let scratch = tempfile::tempdir_in(plan.dir)?;
    let file = scratch.path().join("down");
    let peers = plan.with_programs(libraries(plan.server)?);
    let mut table = plan.table("open a large object, to a file");
    for round in 0..plan.rounds {
        for peer in rotated(&peers, round) {
            table.time(peer.name(), peer.download(key, &file)).await?;
            assert_eq!(std::fs::metadata(&file)?.len(), plan.size, "{}", peer.name());
            std::fs::remove_file(&file)?;
        }
    }
    table.print();
    Ok(())
}
