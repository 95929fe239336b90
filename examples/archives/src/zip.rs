//! Zip archives, by `async_zip`.

use anystorage::{Key, ObjectMeta, Storage};
use async_zip::tokio::read::seek::ZipFileReader;
use async_zip::tokio::write::ZipFileWriter;
use async_zip::{Compression, ZipEntryBuilder};
use futures_util::AsyncReadExt;
use tokio_util::compat::FuturesAsyncWriteCompatExt;

use crate::Result;

/// Writes all objects below a prefix into one archive. It must not be below the prefix itself.
pub async fn pack(storage: &Storage, prefix: &str, archive: &str) -> Result<ObjectMeta> {
    let writer = storage.writer(archive).content_type("application/zip").await?;
    let mut zip = ZipFileWriter::with_tokio(writer);
    let mut entries = storage.list(prefix).entries();
    while let Some(object) = entries.next_object().await? {
        let mut body = storage.open(&object.key).await?.into_reader();
        let name = object.key.as_str().into();
        let file = zip.write_entry_stream(ZipEntryBuilder::new(name, Compression::Deflate)).await?;
        let mut file = file.compat_write();
        tokio::io::copy(&mut body, &mut file).await?;
        file.into_inner().close().await?;
    }
    let writer = zip.close().await?.into_inner();
    Ok(writer.finish().await?)
}

/// Writes photos, which fit into memory one by one, into one archive.
pub async fn album(storage: &Storage, photos: &[Key]) -> Result<ObjectMeta> {
    let mut zip = ZipFileWriter::with_tokio(storage.writer("album.zip").await?);
    for photo in photos {
        let entry = ZipEntryBuilder::new(photo.name().into(), Compression::Stored);
        zip.write_entry_whole(entry, &storage.read(photo).await?).await?;
    }
    Ok(zip.close().await?.into_inner().finish().await?)
}

/// Reads one file of an archive into memory. Receives only the index of the archive and this file.
/// Returns `None` if the archive has no file of this name.
pub async fn read(storage: &Storage, archive: &str, name: &str) -> Result<Option<Vec<u8>>> {
    let mut zip = ZipFileReader::with_tokio(storage.reader(archive).await?).await?;
    let is_wanted =
        |file: &async_zip::StoredZipEntry| file.filename().as_bytes() == name.as_bytes();
    let Some(index) = zip.file().entries().iter().position(is_wanted) else { return Ok(None) };
    let mut bytes = Vec::new();
    zip.reader_without_entry(index).await?.read_to_end(&mut bytes).await?;
    Ok(Some(bytes))
}
