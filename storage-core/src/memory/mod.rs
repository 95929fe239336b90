//! [`Memory`]: the driver that keeps objects in memory, for tests and as the model of the
//! contract.

mod multipart;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;

use crate::config::Secret;
use crate::driver::{Capabilities, Driver, DriverInfo};
use crate::driver_ref::DriverRef;
use crate::entry::{Entry, EntryStream, ObjectEntry, roll_up};
use crate::error::{Error, ErrorKind, Result};
use crate::etag::ETag;
use crate::key::{Key, Prefix};
use crate::keys;
use crate::layers::PublicUrl;
use crate::link::{Link, LinkBase};
use crate::link_verifier::LinkVerifier;
use crate::metadata::ObjectMeta;
use crate::multipart::Multipart;
use crate::object::Object;
use crate::options::{
    CopyMode, CopyOptions, ListOptions, MetadataDirective, OpenOptions, RenameOptions, SaveMode,
    SaveOptions, UrlOptions,
};
use crate::payload::Payload;
use crate::signed_url::SigningKey;
use crate::storage::Storage;

/// How many entries a listing reads from the map at a time.
const PAGE_SIZE: usize = 256;

/// Keeps objects in memory until the last clone is dropped. Clones share the objects.
///
/// It is meant for tests, and is the model of the contract that the conformance suite compares
/// other drivers with. It accepts every valid key. It has no folder markers. A saved object takes
/// as much memory as it has bytes, without a limit.
///
/// The layer [`PublicUrl`](crate::layers::PublicUrl) makes its links, public and signed. In a
/// configuration, the options `public_url` and `signing_key` add it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
/// let storage = storage_core::Memory::storage();
/// storage.save("a.txt", "hello").await?;
/// assert_eq!(storage.open("a.txt").await?.text().await?, "hello");
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Memory {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    objects: RwLock<BTreeMap<Key, Arc<Stored>>>,
    uploads: Mutex<multipart::Uploads>,
    versions: AtomicU64,
}

#[derive(Debug)]
struct Stored {
    meta: ObjectMeta,
    bytes: Bytes,
    /// The multipart upload that it was completed from.
    upload: Option<Box<str>>,
}

type Objects = BTreeMap<Key, Arc<Stored>>;

crate::options! {
    /// The options as a configuration contains them.
    #[derive(Debug)]
    pub(crate) struct MemoryOptions {
        /// The secret of signed links. Requires `public_url`.
        signing_key: Option<Secret> => "secret";
    }
}

/// Builds the driver of a configuration.
pub(crate) fn build(
    options: MemoryOptions,
    public_url: Option<LinkBase>,
) -> Result<Arc<dyn Driver>> {
    let memory = Arc::new(Memory::new());
    let Some(secret) = options.signing_key else { return Ok(memory) };
    let base = public_url.ok_or_else(|| {
        Error::config("option signing_key needs public_url too: signed links begin with it")
    })?;
    let key = SigningKey::new(secret.expose())?;
    Ok(Arc::new(PublicUrl::new(memory, base).signing_key(key)))
}

impl Memory {
    /// Creates a driver without objects.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a storage on a driver without objects.
    #[must_use]
    pub fn storage() -> Storage {
        Storage::new(Self::new())
    }

    // No code panics while it holds the lock, so the map of a poisoned lock is consistent.
    fn read(&self) -> RwLockReadGuard<'_, Objects> {
        self.shared.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects> {
        self.shared.objects.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, key: &Key) -> Result<Arc<Stored>> {
        self.read().get(key).cloned().ok_or_else(Error::not_found)
    }

    fn next_etag(&self) -> Result<ETag> {
        ETag::strong(format!("{:x}", self.next_version()))
    }

    fn next_version(&self) -> u64 {
        self.shared.versions.fetch_add(1, Ordering::Relaxed)
    }

    /// Stores an object in one step, if the mode permits it.
    fn commit(
        &self,
        mut meta: ObjectMeta,
        bytes: Bytes,
        mode: &SaveMode,
        upload: Option<Box<str>>,
    ) -> Result<ObjectMeta> {
        meta.etag = Some(self.next_etag()?);
        meta.last_modified = Some(SystemTime::now());
        let mut objects = self.write();
        check_mode(&objects, &meta.key, mode)?;
        if *mode == SaveMode::UniqueName {
            while objects.contains_key(&meta.key) {
                meta.key = keys::alternative(&meta.key)?;
            }
        }
        objects.insert(meta.key.clone(), Arc::new(Stored { meta: meta.clone(), bytes, upload }));
        Ok(meta)
    }

    fn page(&self, prefix: &Prefix, after: Option<&Key>) -> Vec<Result<Entry>> {
        let start = match after {
            Some(key) => Bound::Excluded(key.as_str()),
            None => Bound::Included(prefix.as_str()),
        };
        let objects = self.read();
        let matching = objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| prefix.matches(key));
        matching
            .take(PAGE_SIZE)
            .map(|(_, stored)| Ok(Entry::Object(entry_of(&stored.meta))))
            .collect()
    }
}

fn already_exists() -> Error {
    Error::new(ErrorKind::AlreadyExists, "an object of this key exists")
}

/// Returns whether the mode permits a save under the key.
fn check_mode(objects: &Objects, key: &Key, mode: &SaveMode) -> Result<()> {
    let present = objects.get(key);
    match mode {
        SaveMode::CreateNew if present.is_some() => Err(already_exists()),
        SaveMode::IfMatch(wanted) => check_version(present, wanted),
        SaveMode::Overwrite | SaveMode::CreateNew | SaveMode::UniqueName => Ok(()),
    }
}

fn check_version(present: Option<&Arc<Stored>>, wanted: &ETag) -> Result<()> {
    let matches = present
        .and_then(|stored| stored.meta.etag.as_ref())
        .is_some_and(|etag| etag.strong_eq(wanted));
    if matches {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::PreconditionFailed,
        format!("the object does not have the ETag {wanted}"),
    ))
}

fn entry_of(meta: &ObjectMeta) -> ObjectEntry {
    let mut entry = ObjectEntry::new(meta.key.clone(), meta.size);
    entry.etag.clone_from(&meta.etag);
    entry.last_modified = meta.last_modified;
    entry
}

#[async_trait]
impl Driver for Memory {
    fn info(&self) -> DriverInfo {
        DriverInfo::new("memory", "memory:", Capabilities::full())
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        // Fails before the payload is received. The commit checks again.
        check_mode(&self.read(), key, &options.mode)?;
        let (bytes, checksums) = payload.into_bytes().await?;
        let mut meta = ObjectMeta::new(key.clone(), bytes.len() as u64);
        meta.metadata = options.metadata.clone();
        meta.checksums = checksums;
        self.commit(meta, bytes, &options.mode, None)
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let stored = self.get(key)?;
        options.check(&stored.meta)?;
        let size = stored.meta.size;
        let range = options.positions_in_whole(size)?;
        let bytes = match (usize::try_from(range.start), usize::try_from(range.end)) {
            (Ok(start), Ok(end)) => stored.bytes.slice(start..end),
            _ => {
                return Err(Error::new(
                    ErrorKind::RangeNotSatisfiable,
                    "the range does not fit in memory",
                ));
            }
        };
        Ok(Object::from_bytes(stored.meta.clone(), range, bytes))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        Ok(self.get(key)?.meta.clone())
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        Ok(self.read().contains_key(key))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.write().remove(key);
        Ok(())
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        let mut objects = self.write();
        keys.iter()
            .map(|key| {
                objects.remove(key);
                Ok(())
            })
            .collect()
    }

    /// Returns `Ok(())`, because this driver has no folder markers.
    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        Ok(())
    }

    fn list(&self, prefix: &Prefix, options: &ListOptions) -> EntryStream {
        let (memory, of_prefix) = (self.clone(), prefix.clone());
        let pages = stream::unfold(Some(None), move |after: Option<Option<Key>>| {
            let page = after.map(|after| memory.page(&of_prefix, after.as_ref()));
            std::future::ready(page.map(|page| {
                let last = match page.last() {
                    Some(Ok(Entry::Object(object))) => Some(Some(object.key.clone())),
                    _ => None,
                };
                (stream::iter(page), last)
            }))
        });
        roll_up(futures_util::StreamExt::flatten(pages), prefix, options)
    }

    async fn copy(&self, from: &Key, to: &Key, options: &CopyOptions) -> Result<()> {
        let source = self.get(from)?;
        options.check_source(&source.meta)?;
        let is_onto_itself = from == to && options.mode == CopyMode::Overwrite;
        if is_onto_itself && options.metadata == MetadataDirective::Keep {
            return Ok(());
        }
        let mut meta = source.meta.clone();
        meta.key = to.clone();
        if let MetadataDirective::Replace(metadata) = &options.metadata {
            meta.metadata = metadata.clone();
        }
        let mode = match (options.mode, source.meta.etag.clone()) {
            (CopyMode::CreateNew, _) => SaveMode::CreateNew,
            // Without the condition, this would undo a save that happens meanwhile.
            (CopyMode::Overwrite, Some(etag)) if is_onto_itself => SaveMode::IfMatch(etag),
            (CopyMode::Overwrite, _) => SaveMode::Overwrite,
        };
        self.commit(meta, source.bytes.clone(), &mode, None).map(|_| ())
    }

    async fn rename(&self, from: &Key, to: &Key, options: &RenameOptions) -> Result<()> {
        let mut objects = self.write();
        let source = objects.get(from).cloned().ok_or_else(Error::not_found)?;
        options.check_source(&source.meta)?;
        if options.mode == CopyMode::CreateNew && objects.contains_key(to) {
            return Err(already_exists());
        }
        let meta = ObjectMeta { key: to.clone(), ..source.meta.clone() };
        objects.remove(from);
        let bytes = source.bytes.clone();
        objects.insert(to.clone(), Arc::new(Stored { meta, bytes, upload: None }));
        Ok(())
    }

    async fn url(&self, _key: &Key, _options: &UrlOptions) -> Result<Link> {
        Err(Error::unsupported(
            "objects in memory have no links; set public_url for public ones, and signing_key for \
             signed ones",
        ))
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        Err(Error::config(
            "objects in memory have signed links with public_url and signing_key: set both, or add \
             layers::PublicUrl with a signing key",
        ))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        Ok(self)
    }
}
