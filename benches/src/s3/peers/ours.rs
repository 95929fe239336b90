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
    Ok(Arc::new(Ours(server.storage()?)))
}

struct Ours(Storage);

#[async_trait]
impl Files for Ours {
    fn name(&self) -> &'static str {
        "anystorage s3"
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<()> {
        self.0.save(key, Payload::from_file(file).await?).await?;
        Ok(())
    }

    async fn download(&self, key: &str, file: &Path) -> Result<()> {
        Ok(self.0.open(key).await?.save_to_file(file).await?)
    }
}

#[async_trait]
impl Peer for Ours {
    async fn save(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.0.save(key, bytes).await?;
        Ok(())
    }

    async fn read_small(&self, key: &str) -> Result<usize> {
        Ok(self.0.open(key).await?.bytes().await?.len())
    }

    async fn save_stream(&self, key: &str, chunks: Chunks) -> Result<()> {
        self.0.save(key, Payload::from_stream(chunks)).await?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<u64> {
        let mut chunks = self.0.open(key).await?.into_stream();
        let mut len = 0;
        while let Some(chunk) = chunks.try_next().await? {
            len += chunk.len() as u64;
        }
        Ok(len)
    }

    async fn list(&self, prefix: &str) -> Result<Listed> {
        let mut entries = self.0.list(prefix).entries();
        let mut listed = Listed::default();
        while let Some(entry) = entries.next().await {
            entry?;
            listed.add(1);
        }
        Ok(listed)
    }
}
