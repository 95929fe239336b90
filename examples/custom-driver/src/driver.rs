//! [`Redb`]: the driver and its verbs.

use std::ops::Bound;

use bytes::BytesMut;
use futures_util::{TryStreamExt, stream};
use storage_core::{
    Capabilities, CopyMode, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Error, Key,
    Link, LinkVerifier, ListOptions, MetadataDirective, Multipart, Object, ObjectMeta, OpenOptions,
    Payload, Prefix, RenameOptions, Result, SaveMode, SaveOptions, UrlOptions, async_trait,
    delete_one_by_one, keys, roll_up,
};

use crate::RedbOptions;
use crate::database::{Database, blocking, failed};
use crate::listing::Cursor;
use crate::reading::read;
use crate::tables::{OBJECTS, PIECE, PIECES, Record, record};
use crate::upload::{Upload, permitted_key};

/// Keeps objects in one database file. Accepts every valid key.
#[derive(Debug, Clone)]
pub struct Redb {
    database: Database,
    location: String,
}

impl Redb {
    /// Opens the database file, or creates it. Blocks.
    ///
    /// # Errors
    /// `InvalidConfig` if the database is open already. Errors of the operating system, such as
    /// `NotFound` if the directory is missing.
    pub fn open(options: &RedbOptions) -> Result<Self> {
        let database = Database::open(&options.path, options.cache_mib << 20)?;
        Ok(Self { database, location: format!("redb:{}", options.path.display()) })
    }
}

#[async_trait]
impl Driver for Redb {
    fn info(&self) -> DriverInfo {
        DriverInfo::new("redb", self.location.clone(), Capabilities::full())
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let mut chunks = payload.into_stream();
        let mut upload = Upload::new(self.database.clone())?;
        let mut waiting = BytesMut::new();
        let mut size = 0;
        while let Some(chunk) = chunks.try_next().await? {
            size += chunk.len() as u64;
            waiting.extend_from_slice(&chunk);
            while waiting.len() >= PIECE {
                let piece = waiting.split_to(PIECE);
                upload = blocking(move || upload.stage(&piece)).await?;
            }
        }
        let checksums = chunks.checksums().cloned().unwrap_or_default();
        let record =
            Record::new(upload.body().to_owned(), size, options.metadata.clone(), checksums)?;
        let (key, tail, mode) = (key.clone(), waiting.freeze(), options.mode.clone());
        blocking(move || upload.commit(key, &tail, &mode, record)).await
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let (database, key, options) = (self.database.clone(), key.clone(), options.clone());
        blocking(move || {
            let snapshot = database.read()?;
            let objects = snapshot.open_table(OBJECTS).map_err(failed)?;
            let record = record(&objects, &key)?.ok_or_else(Error::not_found)?;
            let body = record.body.clone();
            let meta = record.into_meta(key)?;
            options.check(&meta)?;
            let range = options.range.map_or(Ok(0..meta.size), |range| range.resolve(meta.size))?;
            // The table keeps its snapshot, so an overwrite or a delete does not remove the pieces.
            let pieces = snapshot.open_table(PIECES).map_err(failed)?;
            Ok(Object::from_stream(meta, range.clone(), read(pieces, body, range)))
        })
        .await
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        let (database, key) = (self.database.clone(), key.clone());
        blocking(move || {
            let objects = database.read()?.open_table(OBJECTS).map_err(failed)?;
            record(&objects, &key)?.ok_or_else(Error::not_found)?.into_meta(key)
        })
        .await
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        let (database, key) = (self.database.clone(), key.clone());
        blocking(move || {
            let objects = database.read()?.open_table(OBJECTS).map_err(failed)?;
            Ok(objects.get(key.as_str()).map_err(failed)?.is_some())
        })
        .await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let (database, key) = (self.database.clone(), key.clone());
        blocking(move || database.write(|tables| tables.remove(&key))).await
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let (database, all) = (self.database.clone(), keys.to_vec());
        // One transaction needs one sync. An error undoes it; then each key gets its own
        // transaction.
        let removal =
            move || database.write(|tables| all.iter().try_for_each(|key| tables.remove(key)));
        match blocking(removal).await {
            Ok(()) => keys.iter().map(|_| Ok(())).collect(),
            Err(_) => delete_one_by_one(self, keys).await,
        }
    }

    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        Ok(())
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let start = match &options.start_after {
            Some(after) if after.as_str() >= prefix.as_str() => Bound::Excluded(after.clone()),
            _ => Bound::Included(prefix.as_str().to_owned()),
        };
        let (database, within) = (self.database.clone(), prefix.clone());
        let pages = stream::try_unfold(Cursor::Start(database, start), move |cursor| {
            let within = within.clone();
            blocking(move || cursor.next_page(&within))
        });
        roll_up(pages.map_ok(stream::iter).try_flatten(), prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        let (database, from, to, options) =
            (self.database.clone(), from.clone(), to.clone(), options.clone());
        let mode = save_mode(options.mode)?;
        blocking(move || {
            database.write(|tables| {
                let source = tables.record(&from)?.ok_or_else(Error::not_found)?;
                options.check_source(&source.clone().into_meta(from.clone())?)?;
                let to = permitted_key(tables, to, &mode)?;
                if from == to && options.metadata == MetadataDirective::Keep {
                    return Ok(());
                }
                let body = if from == to { source.body.clone() } else { keys::random_text(26)? };
                let metadata = match options.metadata {
                    MetadataDirective::Replace(metadata) => metadata,
                    _ => source.metadata,
                };
                if from != to {
                    tables.copy_body(&source.body, &body, source.size)?;
                }
                tables.put_record(&to, &Record::new(body, source.size, metadata, source.checksums)?)
            })
        })
        .await
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        let (database, from, to, options) =
            (self.database.clone(), from.clone(), to.clone(), options.clone());
        let mode = save_mode(options.mode)?;
        blocking(move || {
            database.write(|tables| {
                let source = tables.record(&from)?.ok_or_else(Error::not_found)?;
                options.check_source(&source.clone().into_meta(from.clone())?)?;
                let to = permitted_key(tables, to, &mode)?;
                if from != to {
                    tables.remove_record(&from)?;
                    tables.put_record(&to, &source)?;
                }
                Ok(())
            })
        })
        .await
    }

    async fn url(&self, _key: &Key, _options: &UrlOptions) -> Result<Link> {
        Err(Error::unsupported(
            "a database has no links; set public_url if a web server shows its objects",
        ))
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        Err(Error::unsupported("a database signs no links"))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        Err(Error::unsupported("a database takes objects as a whole"))
    }
}

/// Returns the mode of the destination.
fn save_mode(mode: CopyMode) -> Result<SaveMode> {
    match mode {
        CopyMode::Overwrite => Ok(SaveMode::Overwrite),
        CopyMode::CreateNew => Ok(SaveMode::CreateNew),
        other => Err(Error::unsupported(format!(
            "the redb driver does not support the copy mode {other:?}"
        ))),
    }
}
