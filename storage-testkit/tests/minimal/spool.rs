//! A driver with as few capabilities as the contract allows, and its objects in temporary files.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, ETag, EntryStream, Error, Key, Link,
    LinkVerifier, ListOptions, Multipart, Object, ObjectMeta, OpenOptions, Payload, Prefix,
    RenameOptions, Result, SaveMode, SaveOptions, UrlOptions, async_trait, delete_one_by_one,
};

#[derive(Debug, Default)]
pub(crate) struct Spool {
    objects: Mutex<BTreeMap<Key, (ObjectMeta, Arc<File>)>>,
    versions: AtomicU64,
}

impl Spool {
    fn get(&self, key: &Key) -> Result<(ObjectMeta, Arc<File>)> {
        self.objects.lock().unwrap().get(key).cloned().ok_or_else(Error::not_found)
    }
}

#[async_trait]
impl Driver for Spool {
    fn info(&self) -> DriverInfo {
        let mut capabilities = Capabilities::read_only();
        capabilities.write = true;
        capabilities.metadata = true;
        DriverInfo::new("spool", "spool:", capabilities)
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        if options.mode != SaveMode::Overwrite {
            return Err(Error::unsupported("objects can be overwritten only"));
        }
        let mut chunks = payload.into_stream();
        let mut file = tempfile::tempfile()?;
        let mut size = 0;
        while let Some(chunk) = chunks.try_next().await? {
            file.write_all(&chunk)?;
            size += chunk.len() as u64;
        }
        let mut meta = ObjectMeta::new(key.clone(), size);
        meta.metadata = options.metadata.clone();
        meta.checksums = chunks.checksums().cloned().unwrap_or_default();
        meta.etag = Some(ETag::strong(self.versions.fetch_add(1, Ordering::Relaxed).to_string())?);
        meta.last_modified = Some(SystemTime::now());
        self.objects.lock().unwrap().insert(key.clone(), (meta.clone(), Arc::new(file)));
        Ok(meta)
    }

    async fn open(&self, key: &Key, options: &OpenOptions) -> Result<Object> {
        let (meta, file) = self.get(key)?;
        options.check(&meta)?;
        let whole = 0..meta.size;
        let range = options.range.map_or(Ok(whole), |range| range.resolve(meta.size))?;
        Ok(Object::from_file(meta, range, file.try_clone()?))
    }

    async fn stat(&self, key: &Key) -> Result<ObjectMeta> {
        Ok(self.get(key)?.0)
    }

    async fn exists(&self, key: &Key) -> Result<bool> {
        Ok(self.objects.lock().unwrap().contains_key(key))
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.objects.lock().unwrap().remove(key);
        Ok(())
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        delete_one_by_one(self, keys).await
    }

    async fn delete_folder_marker(&self, _marker: &Prefix) -> Result<()> {
        Ok(())
    }

    fn list(&self, _prefix: &Prefix, _options: &ListOptions) -> EntryStream {
        stream::iter([Err(Error::unsupported("a spool is not listed"))]).boxed()
    }

    async fn copy(&self, _from: &Key, _to: &Key, _options: &CopyOptions) -> Result<()> {
        Err(Error::unsupported("a spool does not copy"))
    }

    async fn rename(&self, _from: &Key, _to: &Key, _options: &RenameOptions) -> Result<()> {
        Err(Error::unsupported("a spool does not rename"))
    }

    async fn url(&self, _key: &Key, _options: &UrlOptions) -> Result<Link> {
        Err(Error::unsupported("a spool has no links"))
    }

    fn link_verifier(&self) -> Result<LinkVerifier> {
        Err(Error::unsupported("a spool has no links"))
    }

    fn multipart(&self) -> Result<&dyn Multipart> {
        Err(Error::unsupported("a spool takes objects as a whole"))
    }
}
