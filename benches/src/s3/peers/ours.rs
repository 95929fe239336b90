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
    Ok(Arc::new(Anystorage { storage: server.storage()?, name: "anystorage s3" }))
}

/// Returns anystorage with the default checksum of AWS. The server does not verify it, nor those of
/// other libraries, so this is the one to compare with them.
pub fn with_crc(server: &Server) -> Result<Arc<dyn Peer>> {
    let server = Server { quirks: "none".to_owned(), ..server.clone() };
    Ok(Arc::new(Anystorage { storage: server.storage()?, name: "anystorage s3, CRC-64/NVME" }))
}

struct Anystorage {
    storage: Storage,
    name: &'static str,
}

#[async_trait]
impl Files for Anystorage {
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
impl Peer for Anystorage {
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
