//! opendal, which does not sign bodies. CRC-32C is its only checksum for uploads of every size.

use std::path::Path;
use std::sync::Arc;

use ::opendal::{Operator, services};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

use super::{Chunks, Files, Listed, PART, PARTS, Peer, Server};
use crate::peers::Result;
use crate::s3::server::chunks_of_file;

pub fn peer(server: &Server) -> Result<Arc<dyn Peer>> {
    ::opendal::install_default();
    let s3 = services::S3::default()
        .endpoint(&server.endpoint)
        .bucket(&server.bucket)
        .region(&server.region)
        .access_key_id(&server.access_key_id)
        .secret_access_key(&server.secret_access_key)
        .checksum_algorithm("crc32c")
        .disable_config_load();
    Ok(Arc::new(Opendal(Operator::new(s3)?)))
}

struct Opendal(Operator);

#[async_trait]
impl Files for Opendal {
    fn name(&self) -> &'static str {
        "opendal s3"
    }

    async fn upload(&self, key: &str, file: &Path) -> Result<()> {
        self.save_stream(key, chunks_of_file(file).await?).await
    }

    async fn download(&self, key: &str, file: &Path) -> Result<()> {
        let mut file = File::create(file).await?;
        let mut chunks = self
            .0
            .reader_with(key)
            .chunk(PART)
            .concurrent(PARTS)
            .await?
            .into_bytes_stream(..)
            .await?;
        while let Some(chunk) = chunks.try_next().await? {
            file.write_all(&chunk).await?;
        }
        Ok(file.flush().await?)
    }
}

#[async_trait]
impl Peer for Opendal {
    async fn save(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.0.write(key, bytes).await?;
        Ok(())
    }

    async fn read_small(&self, key: &str) -> Result<usize> {
        Ok(self.0.read(key).await?.len())
    }

    async fn save_stream(&self, key: &str, mut chunks: Chunks) -> Result<()> {
        let mut writer = self.0.writer_with(key).chunk(PART).concurrent(PARTS).await?;
        while let Some(chunk) = chunks.try_next().await? {
            writer.write(chunk).await?;
        }
        writer.close().await?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<u64> {
        let mut chunks = self
            .0
            .reader_with(key)
            .chunk(PART)
            .concurrent(PARTS)
            .await?
            .into_bytes_stream(..)
            .await?;
        let mut len = 0;
        while let Some(chunk) = chunks.try_next().await? {
            len += chunk.len() as u64;
        }
        Ok(len)
    }

    async fn list(&self, prefix: &str) -> Result<Listed> {
        let mut entries = self.0.lister_with(prefix).recursive(true).await?;
        let mut listed = Listed::default();
        while let Some(entry) = entries.try_next().await? {
            if entry.metadata().is_file() {
                listed.add(1);
            }
        }
        Ok(listed)
    }
}
