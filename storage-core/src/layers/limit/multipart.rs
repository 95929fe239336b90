//! Multipart uploads of which a bounded number of calls runs at a time.

use async_trait::async_trait;

use super::Limit;
use crate::error::Result;
use crate::forward_multipart;
use crate::key::{Key, Prefix};
use crate::link::Link;
use crate::metadata::ObjectMeta;
use crate::multipart::{
    CompleteOptions, Multipart, MultipartOptions, Part, PartStream, PartUrlOptions, UploadId,
    UploadStream, stream_or_error,
};
use crate::payload::Payload;

#[async_trait]
impl Multipart for Limit {
    forward_multipart! { to self.inner: limits }

    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        let _permit = self.permit().await;
        self.inner.multipart()?.begin(key, options).await
    }

    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        let _permit = self.permit().await;
        self.inner.multipart()?.put_part(key, id, number, payload).await
    }

    fn parts(&self, key: &Key, id: &UploadId) -> PartStream {
        let parts = self.inner.multipart().map(|multipart| multipart.parts(key, id));
        stream_or_error(parts.map(|parts| self.limited(parts)))
    }

    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        let _permit = self.permit().await;
        self.inner.multipart()?.complete(key, id, options).await
    }

    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()> {
        let _permit = self.permit().await;
        self.inner.multipart()?.abort(key, id).await
    }

    fn uploads(&self, prefix: &Prefix) -> UploadStream {
        let uploads = self.inner.multipart().map(|multipart| multipart.uploads(prefix));
        stream_or_error(uploads.map(|uploads| self.limited(uploads)))
    }

    async fn part_url(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        options: &PartUrlOptions,
    ) -> Result<Link> {
        let _permit = self.permit().await;
        self.inner.multipart()?.part_url(key, id, number, options).await
    }
}
