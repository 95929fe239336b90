//! A driver that tells of its objects what a test wants: weak ETags, odd headers, versions that
//! change.

use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use storage_core::{
    Capabilities, CopyOptions, Driver, DriverInfo, DriverRef, EntryStream, Error, Key, Link,
    ListOptions, Object, ObjectMeta, OpenOptions, Payload, Prefix, Result, SaveOptions, Storage,
    UrlOptions, async_trait,
};

/// A version of the one object there is.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) meta: ObjectMeta,
    pub(crate) bytes: Bytes,
}

impl Version {
    pub(crate) fn new(bytes: impl Into<Bytes>, set: impl FnOnce(&mut ObjectMeta)) -> Self {
        let bytes = bytes.into();
        let mut meta = ObjectMeta::new(Key::new("a.txt").unwrap(), bytes.len() as u64);
        set(&mut meta);
        Self { meta, bytes }
    }
}

/// Answers each call with the next version; the last one stays.
#[derive(Debug)]
pub(crate) struct Scripted {
    versions: Mutex<VecDeque<Version>>,
}

/// A storage whose object is the first version at the first `stat` or `open`, the second one at the
/// next, ...
pub(crate) fn scripted(versions: impl IntoIterator<Item = Version>) -> Storage {
    Storage::new(Scripted { versions: Mutex::new(versions.into_iter().collect()) })
}

impl Scripted {
    fn next(&self) -> Version {
        let mut versions = self.versions.lock().unwrap();
        if versions.len() > 1 { versions.pop_front().unwrap() } else { versions[0].clone() }
    }
}

#[async_trait]
impl Driver for Scripted {
    fn info(&self) -> DriverInfo {
        DriverInfo::new("scripted", "nowhere", Capabilities::read_only())
    }

    fn innermost(&self) -> Result<DriverRef<'_>> {
        Ok(DriverRef::new(self))
    }

    async fn open(&self, _key: &Key, options: &OpenOptions) -> Result<Object> {
        let Version { meta, bytes } = self.next();
        options.check(&meta)?;
        let range = options.range.map_or(Ok(0..meta.size), |range| range.resolve(meta.size))?;
        let slice = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        Ok(Object::from_bytes(meta, range, bytes.slice(slice)))
    }

    async fn stat(&self, _key: &Key) -> Result<ObjectMeta> {
        Ok(self.next().meta)
    }

    async fn exists(&self, _key: &Key) -> Result<bool> {
        Ok(true)
    }

    async fn save(&self, _: &Key, _: Payload, _: &SaveOptions) -> Result<ObjectMeta> {
        Err(Error::unsupported("scripted"))
    }

    async fn delete(&self, _: &Key) -> Result<()> {
        Err(Error::unsupported("scripted"))
    }

    async fn delete_many(&self, keys: &[Key]) -> Vec<Result<()>> {
        keys.iter().map(|_| Err(Error::unsupported("scripted"))).collect()
    }

    async fn delete_folder_marker(&self, _: &Prefix) -> Result<()> {
        Err(Error::unsupported("scripted"))
    }

    fn list(&self, _: &Prefix, _: &ListOptions) -> EntryStream {
        Box::pin(futures_util::stream::iter([Err(Error::unsupported("scripted"))]))
    }

    async fn copy(&self, _: &Key, _: &Key, _: &CopyOptions) -> Result<()> {
        Err(Error::unsupported("scripted"))
    }

    async fn url(&self, _: &Key, _: &UrlOptions) -> Result<Link> {
        Err(Error::unsupported("scripted"))
    }
}
