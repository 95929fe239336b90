//! Saving and opening objects of 4 KiB.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::peers::{Peer, libraries};
use super::server::Server;
use crate::paired::{Table, rotated};
use crate::peers::Result;

pub const SIZE: usize = 4096;
const KEYS: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Save,
    Open,
}

impl Verb {
    pub const ALL: [Self; 2] = [Self::Save, Self::Open];

    pub fn name(self) -> &'static str {
        match self {
            Self::Save => "save",
            Self::Open => "open",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Self::Save => "save 4 KiB",
            Self::Open => "open and read 4 KiB",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Save => "saves/s",
            Self::Open => "opens/s",
        }
    }

    /// Makes one call for one of a thousand objects.
    pub async fn call(self, peer: &dyn Peer, n: usize) -> Result<()> {
        let key = format!("small/{}.png", n % KEYS);
        match self {
            Self::Save => peer.save(&key, Bytes::from(vec![7; SIZE])).await,
            Self::Open => {
                assert_eq!(peer.read_small(&key).await?, SIZE);
                Ok(())
            }
        }
    }
}

/// Saves the objects to open.
pub async fn prepare(peers: &[Arc<dyn Peer>]) -> Result<()> {
    calls(&peers[0], Verb::Save, KEYS, 16).await
}

/// Makes `count` calls from `callers` tasks.
async fn calls(peer: &Arc<dyn Peer>, verb: Verb, count: usize, callers: usize) -> Result<()> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::<Result<()>>::new();
    for _ in 0..callers {
        let (peer, next) = (Arc::clone(peer), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                match next.fetch_add(1, Ordering::Relaxed) {
                    n if n < count => verb.call(&*peer, n).await?,
                    _ => return Ok(()),
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

pub async fn run(server: &Server, rounds: usize, only: &str) -> Result<()> {
    let peers = libraries(server)?;
    prepare(&peers).await?;
    for verb in Verb::ALL {
        for (callers, count) in [(1, 300), (16, 1_000), (64, 1_000)] {
            let title = format!("S3: {}, {callers} concurrent", verb.title());
            if !title.contains(only) {
                continue;
            }
            let mut table = Table::new(title, count as f64, verb.unit());
            // Opens the connections before the measurement.
            for peer in &peers {
                calls(peer, verb, 2 * callers, callers).await?;
            }
            for round in 0..rounds {
                for peer in rotated(&peers, round) {
                    table.time(peer.name(), calls(peer, verb, count, callers)).await?;
                }
            }
            table.print();
        }
    }
    Ok(())
}
