//! anystorage.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use storage_core::{Payload, Storage};

use super::{Chunks, Files, Listed, Peer, Server};
use crate::peers::Result;

pub fn peer(server: &Server) -> Result<Arc<dyn Peer>> {
    Ok(Arc::new(Ours { storage: server.storage()?, name: "anystorage s3" }))
}

/// With the checksum that is the default at AWS. A server that does not know it leaves it
/// unverified, as it does with those of other peers: so this is the one to compare with them.
pub fn with_crc(server: &Server) -> Result<Arc<dyn Peer>> {
    let server = Server { quirks: "none".to_owned(), ..server.clone() };
    Ok(Arc::new(Ours { storage: server.storage()?, name: "anystorage s3, CRC-64/NVME" }))
}

struct Ours {
    storage: Storage,
    name: &'static str,
}

#[async_trait]
impl Files for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<()> {
        self.storage.save(key, Payload::from_file(file).await?).await?;
        Ok(())
    }

    async fn download(&self, key: &str, file: &Path) -> Result<()> {
        Ok(self.storage.open(key).await?.save_to_file(file).await?)
    }
}

#[async_trait]
impl Peer for Ours {
    async fn save(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.storage.save(key, bytes).await?;
        Ok(())
    }

    async fn read_small(&self, key: &str) -> Result<usize> {
        Ok(self.storage.open(key).await?.bytes().await?.len())
    }

    async fn save_stream(&self, key: &str, chunks: Chunks) -> Result<()> {
        self.storage.save(key, Payload::from_stream(chunks)).await?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<u64> {
        let mut chunks = self.storage.open(key).await?.into_stream();
        let mut len = 0;
        while let Some(chunk) = chunks.try_next().await? {
            len += chunk.len() as u64;
        }
        Ok(len)
    }

    async fn list(&self, prefix: &str) -> Result<Listed> {
        let mut entries = self.storage.list(prefix).entries();
        let mut listed = Listed::default();
        while let Some(entry) = entries.next().await {
            entry?;
            listed.add(1);
        }
        Ok(listed)
    }
}
