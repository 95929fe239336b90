//! object_store, which signs its bodies with SHA-256, as anystorage does on this server.

use std::path::Path;
use std::sync::Arc;

use ::object_store::aws::{AmazonS3, AmazonS3Builder};
use ::object_store::{ObjectStore, ObjectStoreExt, WriteMultipart};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::{Chunks, Files, Listed, PART, PARTS, Peer, Server};
use crate::peers::Result;
use crate::s3::server::chunks_of_file;

pub fn peer(server: &Server) -> Result<Arc<dyn Peer>> {
    let store = AmazonS3Builder::new()
        .with_endpoint(&server.endpoint)
        .with_allow_http(true)
        .with_bucket_name(&server.bucket)
        .with_region(&server.region)
        .with_access_key_id(&server.access_key_id)
        .with_secret_access_key(&server.secret_access_key)
        .build()?;
    Ok(Arc::new(Bare(store)))
}

struct Bare(AmazonS3);

#[async_trait]
impl Files for Bare {
    fn name(&self) -> &'static str {
        "object_store"
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<()> {
        self.save_stream(key, chunks_of_file(file).await?).await
    }

    async fn download(&self, key: &str, file: &Path) -> Result<()> {
        let mut file = File::create(file).await?;
        let mut chunks = self.0.get(&key.into()).await?.into_stream();
        while let Some(chunk) = chunks.try_next().await? {
            file.write_all(&chunk).await?;
        }
        Ok(file.flush().await?)
    }
}

#[async_trait]
impl Peer for Bare {
    async fn save(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.0.put(&key.into(), bytes.into()).await?;
        Ok(())
    }

    async fn read_small(&self, key: &str) -> Result<usize> {
        Ok(self.0.get(&key.into()).await?.bytes().await?.len())
    }

    async fn save_stream(&self, key: &str, mut chunks: Chunks) -> Result<()> {
        let upload = self.0.put_multipart(&key.into()).await?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, PART);
        while let Some(chunk) = chunks.try_next().await? {
            writer.wait_for_capacity(PARTS).await?;
            writer.put(chunk);
        }
        writer.finish().await?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<u64> {
        let mut chunks = self.0.get(&key.into()).await?.into_stream();
        let mut len = 0;
        while let Some(chunk) = chunks.try_next().await? {
            len += chunk.len() as u64;
        }
        Ok(len)
    }

    async fn list(&self, prefix: &str) -> Result<Listed> {
        let mut entries = self.0.list(Some(&prefix.into()));
        let mut listed = Listed::default();
        while let Some(entry) = entries.next().await {
            entry?;
            listed.add(1);
        }
        Ok(listed)
    }
}
