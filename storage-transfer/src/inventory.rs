//! [`Inventory`]: the objects of a bucket from the lists that S3 Inventory writes every day or week.

mod borders;
mod columns;
mod csv_file;
mod data_file;
mod errors;
mod manifest;
#[cfg(feature = "parquet")]
mod parquet_file;
mod row;
mod scope;

use std::time::SystemTime;

use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use storage_core::{Error, IntoKey, Key, ObjectEntry, Result, Storage};

use crate::directory::Directory;
use crate::sort::{SortOptions, read_all, sort_listing};
use borders::Sample;
use columns::Columns;
use data_file::DataFile;
use errors::file_context;
use manifest::{Format, Manifest};
use scope::Scope;

/// The objects of a bucket, from the files of S3 Inventory. Reading them costs a request per file
/// instead of one per 1000 keys.
///
/// An inventory is a list of the past: objects saved or deleted since then are missing or listed.
/// Use it for the borders of shards ([`borders`](Self::borders)) and for a first copy
/// ([`Synchronize::source_entries`](crate::Synchronize::source_entries)), and run a pass with a
/// listing after it.
/// **It must never decide what to delete.**
///
/// Only the latest versions count; older versions, delete markers and folder markers (empty objects
/// whose name ends in `/`) are skipped. Supported are CSV, and Parquet with the feature `parquet`
/// (uncompressed, Snappy or gzip; S3 writes Snappy).
///
/// Each file is first copied to a temporary file on disk, and its MD5 is compared with that of the
/// manifest, so that no entry of a damaged file is returned.
///
/// ```no_run
/// # async fn example(storage: storage_core::Storage) -> storage_core::Result<()> {
/// use futures_util::TryStreamExt;
/// use storage_transfer::Inventory;
///
/// let manifest = "inventory/media/daily/2026-11-06T01-00Z/manifest.json";
/// let inventory = Inventory::open(&storage, manifest).await?;
/// let mut entries = inventory.entries();
/// while let Some(entry) = entries.try_next().await? {
///     println!("{} has {} bytes", entry.key, entry.size);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Inventory {
    storage: Storage,
    manifest: Manifest,
    scope: Scope,
}

impl Inventory {
    /// Reads a `manifest.json`. The storage must be the destination bucket of the inventory,
    /// without a prefix, because the manifest contains keys of that bucket.
    ///
    /// Dropping the future stops the request.
    ///
    /// # Errors
    /// - `InvalidInput` if the file is not the manifest of an inventory
    /// - `Unsupported` if the inventory has the format ORC, or Parquet without the feature
    /// - `TooLarge` if the manifest has more than 64 MiB
    /// - otherwise those of [`Storage::open`]
    pub async fn open(storage: &Storage, manifest: impl IntoKey) -> Result<Self> {
        let manifest = Manifest::read(storage, manifest.into_key()?).await?;
        Ok(Self { storage: storage.clone(), manifest, scope: Scope::default() })
    }

    /// Returns the name of the bucket whose objects are listed.
    #[must_use]
    pub fn source_bucket(&self) -> &str {
        &self.manifest.source_bucket
    }

    /// Returns when S3 began to write the inventory, if the manifest contains the time.
    #[must_use]
    pub fn created(&self) -> Option<SystemTime> {
        self.manifest.created
    }

    /// Limits the inventory to the objects of a directory, with the keys that they have in its
    /// storage. This matters for a storage with a prefix: the inventory contains the keys of the
    /// bucket.
    ///
    /// # Errors
    /// `InvalidInput` if the directory is on S3, and its location does not contain the name of the
    /// bucket of the inventory. Directories of other drivers are accepted; their root is that of
    /// the bucket.
    pub fn below(&self, directory: &Directory) -> Result<Self> {
        let scope = Scope::new(directory, self.source_bucket())?;
        Ok(Self { scope, ..self.clone() })
    }

    /// Returns the objects **in no order**, in bounded memory. See
    /// [`sorted_entries`](Self::sorted_entries).
    ///
    /// Sends no request before the first is polled. Dropping the stream stops reading.
    ///
    /// # Errors
    /// A row whose key is not valid, or whose columns have no meaning, is an error item whose
    /// [`listing_continues`](Error::listing_continues) is `true`. Any other error is the last item:
    /// - `InvalidInput` if the inventory lacks the column `Key` or `Size`, or lists all versions
    ///   without `IsLatest` and `IsDeleteMarker`
    /// - `Integrity` if a file has another size or MD5 than the manifest, or cannot be decoded
    /// - `TooLarge` if a file has more than 16 GiB
    /// - `StorageFull` or `InvalidConfig` if there is no room for a temporary file
    /// - otherwise those of [`Storage::open`]
    #[must_use]
    pub fn entries(&self) -> BoxStream<'static, Result<ObjectEntry>> {
        self.read(Columns::KeyAndSize)
    }

    /// Returns the objects in byte order of their keys. Sorts them in temporary files first, in
    /// bounded memory. A key that occurs twice is returned once.
    ///
    /// Dropping the future or the stream removes the files.
    ///
    /// # Errors
    /// Those of [`entries`](Self::entries).
    pub async fn sorted_entries(&self) -> Result<BoxStream<'static, Result<ObjectEntry>>> {
        sort_listing(self.entries(), SortOptions::default()).await
    }

    /// Returns at most `count` keys that divide the keys of the inventory into `count + 1` ranges
    /// of about the same number of objects, in byte order.
    ///
    /// Reads all rows once and keeps a random sample in memory, the same at each call. With a
    /// sample of 32 keys per range, the numbers of objects differ by about a fifth. Rows with
    /// invalid keys are skipped.
    ///
    /// # Errors
    /// `InvalidInput` if `count` is more than 65,536, otherwise those of
    /// [`entries`](Self::entries) that end it. The column `Size` is not needed.
    pub async fn borders(&self, count: usize) -> Result<Vec<Key>> {
        let mut sample = Sample::new(count)?;
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut entries = self.read(Columns::Key);
        while let Some(entry) = entries.next().await {
            match entry {
                Ok(entry) => sample.add(entry.key),
                Err(error) if error.listing_continues() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sample.borders(count))
    }

    fn read(&self, columns: Columns) -> BoxStream<'static, Result<ObjectEntry>> {
        let this = self.clone();
        let files = stream::iter(self.manifest.files.clone());
        let rows = files.then(move |file| {
            let this = this.clone();
            async move { this.read_file(&file, columns).await }
        });
        // The error of a file is the last item.
        let items = rows.try_flatten().scan(false, |is_finished, item| {
            let is_last = matches!(&item, Err(error) if !error.listing_continues());
            let item = (!*is_finished).then_some(item);
            *is_finished |= is_last;
            future::ready(item)
        });
        let scope = self.scope.clone();
        items.filter_map(move |item| future::ready(scope.item(item))).boxed()
    }

    async fn read_file(
        &self,
        file: &DataFile,
        columns: Columns,
    ) -> Result<BoxStream<'static, Result<ObjectEntry>>> {
        let content = file.fetch(&self.storage).await?;
        let name = file.key.clone();
        let context = move |error: Error| file_context(error, &name);
        let rows = match self.manifest.format {
            Format::Csv => csv_file::rows(content, &self.manifest.schema, columns).await,
            #[cfg(feature = "parquet")]
            Format::Parquet => parquet_file::rows(content, columns).await,
        };
        let mut rows = rows.map_err(&context)?;
        let items = read_all(move || {
            let Some(row) = rows()? else { return Ok(None) };
            let size = row.key.len();
            Ok(Some((row.into_item(columns), size)))
        });
        // The errors of rows are items of their own, so that these end the file.
        let items = items.map_err(context).filter_map(|item| {
            future::ready(match item {
                Ok(None) => None,
                Ok(Some(item)) => Some(item),
                Err(error) => Some(Err(error)),
            })
        });
        Ok(items.boxed())
    }
}

#[cfg(test)]
mod tests;
