//! The file system libraries to compare, each configured as its users would.

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreExt};
use storage_core::Storage;
use storage_fs::Fs;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[async_trait]
pub trait Peer: Send + Sync {
    fn name(&self) -> &'static str;

    async fn save(&self, key: &str, bytes: Bytes) -> Result<()>;

    /// Opens an object and reads all of it, in chunks if the peer streams. Returns its length in
    /// bytes.
    async fn read(&self, key: &str) -> Result<u64>;

    /// Opens a small object and reads it into memory, in the peer's fastest way.
    async fn read_small(&self, key: &str) -> Result<usize>;

    /// Lists all objects in order. Returns their number.
    async fn list(&self) -> Result<usize>;
}

pub fn ours(root: &Path, durable: bool) -> Box<dyn Peer> {
    let driver = Fs::builder(root).durable(durable).build().expect("a new directory can be opened");
    Box::new(Anystorage(Storage::new(driver)))
}

pub fn object_store(root: &Path, durable: bool) -> Box<dyn Peer> {
    std::fs::create_dir_all(root).expect("a new directory can be opened");
    let store = LocalFileSystem::new_with_prefix(root).expect("a new directory can be opened");
    Box::new(ObjectStoreFs(store.with_fsync(durable)))
}

pub fn opendal(root: &Path) -> Box<dyn Peer> {
    let builder = opendal::services::Fs::default()
        .root(&root.to_string_lossy())
        .atomic_write_dir(&root.with_extension("atomic").to_string_lossy());
    Box::new(Opendal(opendal::Operator::new(builder).expect("a new directory can be opened")))
}

pub fn std_fs(root: &Path) -> Box<dyn Peer> {
    Box::new(StdFs(root.to_owned()))
}

struct Anystorage(Storage);

#[async_trait]
impl Peer for Anystorage {
    fn name(&self) -> &'static str {
        "anystorage fs"
    }

    async fn save(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.0.save(key, bytes).cache_control("public, max-age=60").await?;
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

    async fn read_small(&self, key: &str) -> Result<usize> {
        Ok(self.0.open(key).await?.bytes().await?.len())
    }

    async fn list(&self) -> Result<usize> {
        let mut entries = self.0.list("").entries();
        let mut count = 0;
        while let Some(entry) = entries.next().await {
            entry?;
            count += 1;
        }
        Ok(count)
    }
}

struct ObjectStoreFs(LocalFileSystem);

#[async_trait]
impl Peer for ObjectStoreFs {
    fn name(&self) -> &'static str {
        "object_store"
    }

    async fn save(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.0.put(&key.into(), bytes.into()).await?;
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

    async fn read_small(&self, key: &str) -> Result<usize> {
        Ok(self.0.get(&key.into()).await?.bytes().await?.len())
    }

    async fn list(&self) -> Result<usize> {
        // Its order is not specified, so the entries are collected and sorted.
        let mut all: Vec<_> = self.0.list(None).try_collect().await?;
        all.sort_unstable_by(|a, b| a.location.cmp(&b.location));
        Ok(all.len())
    }
}

struct Opendal(opendal::Operator);

#[async_trait]
impl Peer for Opendal {
    fn name(&self) -> &'static str {
        "opendal fs"
    }

    async fn save(&self, key: &str, bytes: Bytes) -> Result<()> {
        self.0.write(key, bytes).await?;
        Ok(())
    }

    async fn read(&self, key: &str) -> Result<u64> {
        let mut chunks = self.0.reader(key).await?.into_bytes_stream(..).await?;
        let mut len = 0;
        while let Some(chunk) = chunks.try_next().await? {
            len += chunk.len() as u64;
        }
        Ok(len)
    }

    async fn read_small(&self, key: &str) -> Result<usize> {
        Ok(self.0.read(key).await?.len())
    }

    async fn list(&self) -> Result<usize> {
        let mut all: Vec<_> = self.0.lister_with("").recursive(true).await?.try_collect().await?;
        all.sort_unstable_by(|a, b| a.path().cmp(b.path()));
        Ok(all.iter().filter(|entry| entry.metadata().is_file()).count())
    }
}

/// A lower bound: plain file operations without staging, metadata or streams.
struct StdFs(PathBuf);

#[async_trait]
impl Peer for StdFs {
    fn name(&self) -> &'static str {
        "std::fs, one blocking call"
    }

    async fn save(&self, key: &str, bytes: Bytes) -> Result<()> {
        let path = self.0.join(key);
        Ok(tokio::task::spawn_blocking(move || std::fs::write(path, bytes)).await??)
    }

    async fn read(&self, key: &str) -> Result<u64> {
        let path = self.0.join(key);
        let read = tokio::task::spawn_blocking(move || -> std::io::Result<u64> {
            use std::io::Read;
            let mut file = std::fs::File::open(path)?;
            let mut buffer = vec![0; 1024 * 1024];
            let mut len = 0;
            loop {
                match file.read(&mut buffer)? {
                    0 => return Ok(len),
                    n => len += n as u64,
                }
            }
        });
        Ok(read.await??)
    }

    async fn read_small(&self, key: &str) -> Result<usize> {
        let path = self.0.join(key);
        Ok(tokio::task::spawn_blocking(move || std::fs::read(path)).await??.len())
    }

    async fn list(&self) -> Result<usize> {
        unimplemented!("not measured: std cannot list a tree")
    }
}
