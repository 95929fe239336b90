//! [`Multipart`] for [`S3`]: one line for each verb, and what the service accepts.

use storage_core::{
    CompleteOptions, Key, Link, Multipart, MultipartLimits, MultipartOptions, ObjectMeta, Part,
    PartStream, PartUrlOptions, Payload, Prefix, Result, UploadId, UploadStream, async_trait,
};

use crate::driver::S3;
use crate::multipart::{begin, complete, id, part_url, parts, put_part, uploads};
use crate::shared::Shared;

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
const TIB: u64 = 1024 * GIB;

/// Returns the limits of S3 ("Amazon S3 multipart upload limits"), and what the service supports.
fn limits(s3: &Shared) -> MultipartLimits {
    let mut limits = MultipartLimits::new(5 * MIB, 5 * GIB, 10_000);
    limits.max_size = 5 * TIB;
    limits.create_new = s3.features.conditional_complete;
    limits.if_match = s3.features.conditional_complete;
    // An unknown service may ignore the headers, and then no other process could verify it.
    limits.checksum = s3.checksum_policy.stores_crc() && s3.features.is_known;
    limits.part_url = s3.can_sign;
    limits
}

#[async_trait]
impl Multipart for S3 {
    fn limits(&self) -> MultipartLimits {
        limits(self.shared())
    }

    async fn begin(&self, key: &Key, options: &MultipartOptions) -> Result<UploadId> {
        begin::begin(self.shared(), key, options).await
    }

    async fn put_part(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        payload: Payload,
    ) -> Result<Part> {
        put_part::put_part(self.shared(), key, id, number, payload).await
    }

    fn parts(&self, key: &Key, id: &UploadId) -> PartStream {
        parts::list(self.shared(), key, id)
    }

    async fn complete(
        &self,
        key: &Key,
        id: &UploadId,
        options: &CompleteOptions,
    ) -> Result<ObjectMeta> {
        complete::complete(self.shared(), key, id, options).await
    }

    async fn abort(&self, key: &Key, id: &UploadId) -> Result<()> {
        match id::decode(&self.shared().client, key, id) {
            Some(remote) => remote.abort().await,
            None => Ok(()),
        }
    }

    fn uploads(&self, prefix: &Prefix) -> UploadStream {
        uploads::list(self.shared(), prefix)
    }

    async fn part_url(
        &self,
        key: &Key,
        id: &UploadId,
        number: u32,
        options: &PartUrlOptions,
    ) -> Result<Link> {
        part_url::part_url(self.shared(), key, id, number, options).await
    }
}
