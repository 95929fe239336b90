//! Multipart uploads below a prefix.

use async_trait::async_trait;
use futures_util::StreamExt;

use super::Prefixed;
use crate::error::Result;
use crate::forward_multipart;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::{
    CompleteOptions, Multipart, MultipartOptions, Part, PartStream, PartUrlOptions,
    UnfinishedUpload, UploadId, UploadStream, stream_or_error,
};
use crate::payload::Payload;

impl Prefixed {
    fn outside_upload(&self, upload: Result<UnfinishedUpload>) -> Result<UnfinishedUpload> {
        let mut upload = upload.map_err(|error| self.outside_error(error))?;
        upload.key = self.outside(&upload.key)?;
        Ok(upload)
    }
}

#[async_trait]
impl Multipart for Prefixed {
    forward_multipart! { to self.inner: limits }

    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        let begun = self.inner.multipart()?.begin(&self.inside(key)?, options).await;
        begun.map_err(|error| self.outside_error(error))
    }

    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        let key = self.inside(key)?;
        let stored = self.inner.multipart()?.put_part(&key, id, number, payload).await;
        stored.map_err(|error| self.outside_error(error))
    }

    fn parts(&self, key: &Key, id: &UploadId) -> PartStream {
        let parts = self.inside(key).and_then(|key| Ok(self.inner.multipart()?.parts(&key, id)));
        let layer = self.clone();
        let outside = move |part: Result<Part>| part.map_err(|error| layer.outside_error(error));
        stream_or_error(parts.map(|parts| parts.map(outside).boxed()))
    }

    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        let completed = self.inner.multipart()?.complete(&self.inside(key)?, id, options).await;
        completed
            .map_err(|error| self.outside_error(error))
            .and_then(|meta| self.outside_meta(meta))
    }

    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()> {
        let aborted = self.inner.multipart()?.abort(&self.inside(key)?, id).await;
        aborted.map_err(|error| self.outside_error(error))
    }

    fn uploads(&self, prefix: &Prefix) -> UploadStream {
        let inside = Prefix::new(format!("{}{prefix}", self.prefix))
            .map_err(|_| self.too_long(prefix.as_str()));
        let uploads = inside.and_then(|inside| Ok(self.inner.multipart()?.uploads(&inside)));
        let layer = self.clone();
        let outside = move |upload| layer.outside_upload(upload);
        stream_or_error(uploads.map(|uploads| uploads.map(outside).boxed()))
    }

    async fn part_url(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        options: &PartUrlOptions,
    ) -> Result<Link> {
        let link = self.inner.multipart()?.part_url(&self.inside(key)?, id, number, options).await;
        link.map_err(|error| self.outside_error(error))
    }
}
