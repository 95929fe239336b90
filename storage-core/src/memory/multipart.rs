//! Multipart uploads in memory.

use std::sync::{MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};

use crate::checksum::{Checksum, ChecksumAlgorithm};
use crate::error::{Error, ErrorKind, Result};
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::memory::Memory;
use crate::metadata::{Metadata, ObjectMeta};
use crate::multipart::{
    CompleteOptions, Multipart, MultipartLimits, MultipartOptions, Part, PartStream,
    PartUrlOptions, UnfinishedUpload, UploadId, UploadPlan, UploadStream, check_completed,
    check_parts,
};
use crate::payload::Payload;

/// The largest part, which is held in memory as everything is (1 GiB).
const MAX_PART_SIZE: u64 = 1024 * 1024 * 1024;
const MAX_PARTS: u32 = 10_000;

/// The unfinished uploads, in the order of their keys and their own ids.
#[derive(Debug, Default)]
pub(super) struct Uploads(Vec<Upload>);

impl Uploads {
    fn position(&self, key: &Key, id: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|other| (&other.key, &*other.id).cmp(&(key, id)))
    }

    fn get(&mut self, key: &Key, id: &UploadId) -> Option<&mut Upload> {
        self.position(key, id.upload()).ok().map(|position| &mut self.0[position])
    }

    fn insert(&mut self, upload: Upload) {
        if let Err(position) = self.position(&upload.key, &upload.id) {
            self.0.insert(position, upload);
        }
    }

    fn remove(&mut self, key: &Key, id: &UploadId) {
        if let Ok(position) = self.position(key, id.upload()) {
            self.0.remove(position);
        }
    }
}

#[derive(Debug)]
pub(super) struct Upload {
    key: Key,
    id: Box<str>,
    metadata: Metadata,
    plan: UploadPlan,
    /// In the order of their numbers.
    parts: Vec<(Part, Bytes)>,
    begun: SystemTime,
}

impl Upload {
    fn position(&self, number: u32) -> Result<usize, usize> {
        self.parts.binary_search_by_key(&number, |(part, _)| part.number)
    }
}

impl Memory {
    // No code panics while it holds the lock.
    fn uploads(&self) -> MutexGuard<'_, Uploads> {
        self.shared.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs a function on an upload.
    fn with_upload<T>(
        &self,
        key: &Key,
        id: &UploadId,
        run: impl FnOnce(&mut Upload) -> Result<T>,
    ) -> Result<T> {
        run(self.uploads().get(key, id).ok_or_else(no_such_upload)?)
    }

    fn list_parts(&self, key: &Key, id: &UploadId) -> Result<Vec<Part>> {
        self.with_upload(key, id, |upload| {
            Ok(upload.parts.iter().map(|(part, _)| part.clone()).collect())
        })
    }

    fn list_uploads(&self, prefix: &Prefix) -> Result<Vec<UnfinishedUpload>> {
        let uploads = self.uploads();
        let matching = uploads.0.iter().filter(|upload| prefix.matches(&upload.key));
        matching
            .map(|upload| {
                let id = UploadId::new(upload.id.clone(), Some(upload.plan.clone()))?;
                Ok(UnfinishedUpload::new(upload.key.clone(), id).with_begun(Some(upload.begun)))
            })
            .collect()
    }

    /// Returns the object under the key if an upload of this id has completed it.
    fn completed(&self, key: &Key, id: &UploadId, options: &CompleteOptions) -> Result<ObjectMeta> {
        match self.get(key) {
            Ok(stored) if stored.upload.as_deref() == Some(id.upload()) => {
                check_completed(&stored.meta, id.plan(), options)?;
                Ok(stored.meta.clone())
            }
            Ok(_) => Err(no_such_upload()),
            Err(error) if error.is_not_found() => Err(no_such_upload()),
            Err(error) => Err(error),
        }
    }
}

fn no_such_upload() -> Error {
    let message = "the key has no unfinished upload of this id: it was completed and replaced, \
                   aborted or swept; begin another";
    Error::new(ErrorKind::NotFound, message)
}

#[async_trait]
impl Multipart for Memory {
    fn limits(&self) -> MultipartLimits {
        MultipartLimits::new(1, MAX_PART_SIZE, MAX_PARTS)
    }

    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        let plan = UploadPlan::new(options)?;
        let id = UploadId::new(format!("{:016x}", self.next_version()), Some(plan.clone()))?;
        let upload = Upload {
            key: key.clone(),
            id: id.upload().into(),
            metadata: options.metadata.clone(),
            plan,
            parts: Vec::new(),
            begun: SystemTime::now(),
        };
        self.uploads().insert(upload);
        Ok(id)
    }

    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        let plan = self.with_upload(key, id, |upload| Ok(upload.plan.clone()))?;
        let payload = match cfg!(feature = "checksums") {
            true => payload
                .with_computed_checksum(ChecksumAlgorithm::Crc64Nvme)
                .with_computed_checksum(plan.part_algorithm()),
            false => payload,
        };
        let (bytes, checksums) = payload.with_max_size(plan.part_size).into_bytes().await?;
        let etag = self.etag_of_part(checksums.get(ChecksumAlgorithm::Crc64Nvme))?;
        let part = Part::new(number, bytes.len() as u64, etag)
            .with_checksum(checksums.get(plan.part_algorithm()).cloned());
        self.with_upload(key, id, |upload| {
            let stored = (part.clone(), bytes);
            match upload.position(number) {
                Ok(position) => upload.parts[position] = stored,
                Err(position) => upload.parts.insert(position, stored),
            }
            Ok(part)
        })
    }

    fn parts(&self, key: &Key, id: &UploadId) -> PartStream {
        let (memory, key, id) = (self.clone(), key.clone(), id.clone());
        listing(move || memory.list_parts(&key, &id))
    }

    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        // Holds the lock until the end, so that an upload is completed once.
        let mut uploads = self.uploads();
        let Some(upload) = uploads.get(key, id) else { return self.completed(key, id, options) };
        let stored = upload.parts.iter().map(|(part, _)| part.clone());
        let checked = check_parts(stored, &upload.plan, options)?;

        let mut bytes = BytesMut::new();
        for part in &checked.parts {
            if let Ok(position) = upload.position(part.number) {
                bytes.extend_from_slice(&upload.parts[position].1);
            }
        }
        let mut meta = ObjectMeta::new(key.clone(), checked.size);
        meta.metadata = upload.metadata.clone();
        meta.checksums = upload.plan.checksum.iter().cloned().collect();
        let mode = upload.plan.mode.clone();
        let meta = self.commit(meta, bytes.freeze(), &mode, Some(id.upload().into()))?;
        uploads.remove(key, id);
        Ok(meta)
    }

    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()> {
        self.uploads().remove(key, id);
        Ok(())
    }

    fn uploads(&self, prefix: &Prefix) -> UploadStream {
        let (memory, prefix) = (self.clone(), prefix.clone());
        listing(move || memory.list_uploads(&prefix))
    }

    async fn part_url(
        &self,
        _key: &Key,
        _id: &UploadId,
        _number: u32,
        _options: &PartUrlOptions,
    ) -> Result<Link> {
        Err(Error::unsupported("parts in memory have no links"))
    }
}

impl Memory {
    /// Returns the version of a part: its checksum, or a number of its own.
    fn etag_of_part(&self, checksum: Option<&Checksum>) -> Result<crate::etag::ETag> {
        match checksum {
            Some(checksum) => crate::etag::ETag::strong(checksum.to_hex()),
            None => self.next_etag(),
        }
    }
}

/// Lists when it is polled for the first time.
fn listing<T: Send + 'static>(
    list: impl FnOnce() -> Result<Vec<T>> + Send + 'static,
) -> stream::BoxStream<'static, Result<T>> {
    let items = stream::once(async move {
        match list() {
            Ok(items) => stream::iter(items.into_iter().map(Ok)).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    });
    items.flatten().boxed()
}
