//! [`Uploads`]: the multipart uploads of a driver. One line for each verb.

use std::sync::Arc;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use storage_core::{
    CompleteOptions, Error, Key, Link, Multipart, MultipartLimits, MultipartOptions, ObjectMeta,
    Part, PartStream, PartUrlOptions, Payload, Prefix, Result, UploadId, UploadStream, async_trait,
};

use super::files::Files;
use super::{begin, complete, list, put};
use crate::blocking;

/// The largest part: 5 GiB, as on S3.
const MAX_PART_SIZE: u64 = 5 * 1024 * 1024 * 1024;
const MAX_PARTS: u32 = 10_000;

/// The multipart uploads of a driver.
pub(crate) struct Uploads<F> {
    files: Arc<F>,
}

impl<F> Clone for Uploads<F> {
    fn clone(&self) -> Self {
        Self { files: Arc::clone(&self.files) }
    }
}

impl<F: Files> Uploads<F> {
    pub(crate) fn new(files: &Arc<F>) -> Self {
        Self { files: Arc::clone(files) }
    }
}

#[async_trait]
impl<F: Files> Multipart for Uploads<F> {
    fn limits(&self) -> MultipartLimits {
        MultipartLimits::new(1, MAX_PART_SIZE, MAX_PARTS)
    }

    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        self.files.check_new(key)?;
        let (files, key, options) = (Arc::clone(&self.files), key.clone(), options.clone());
        blocking::run(move |_| begin::begin(&files, &key, &options)).await
    }

    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        self.files.check(key)?;
        put::put_part(&self.files, key, id, number, payload, self.limits().checksum).await
    }

    fn parts(&self, key: &Key, id: &UploadId) -> PartStream {
        let (files, key, id) = (Arc::clone(&self.files), key.clone(), id.clone());
        listing(move || {
            files.check(&key)?;
            list::parts(&files, &key, &id)
        })
    }

    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        self.files.check(key)?;
        let (files, key, id) = (Arc::clone(&self.files), key.clone(), id.clone());
        let options = options.clone();
        blocking::run(move |caller| complete::complete(&files, &key, &id, &options, caller)).await
    }

    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()> {
        self.files.check(key)?;
        let (files, key, id) = (Arc::clone(&self.files), key.clone(), id.clone());
        blocking::run(move |caller| complete::abort(&files, &key, &id, caller)).await
    }

    fn uploads(&self, prefix: &Prefix) -> UploadStream {
        let (files, prefix) = (Arc::clone(&self.files), prefix.clone());
        listing(move || list::uploads(&files, &prefix))
    }

    async fn part_url(
        &self,
        _key: &Key,
        _id: &UploadId,
        _number: u32,
        _options: &PartUrlOptions,
    ) -> Result<Link> {
        Err(Error::unsupported("the file system makes no links to parts: send parts by put_part"))
    }
}

/// Lists on the blocking pool when it is polled for the first time.
fn listing<T: Send + 'static>(
    list: impl FnOnce() -> Result<Vec<Result<T>>> + Send + 'static,
) -> BoxStream<'static, Result<T>> {
    let items = stream::once(async move {
        match blocking::run(move |_| list()).await {
            Ok(items) => stream::iter(items).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        }
    });
    items.flatten().boxed()
}
