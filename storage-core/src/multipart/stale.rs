//! Listing and sweeping unfinished multipart uploads.

use std::time::{Duration, SystemTime};

use futures_util::{StreamExt, stream};

use crate::error::{Error, Operation, Result};
use crate::key::{IntoPrefix, Prefix};
use crate::multipart::{UnfinishedUpload, UploadStream};
use crate::storage::Storage;

impl Storage {
    /// Lists the unfinished multipart uploads of the keys that begin with the prefix, in byte order
    /// of the key. `""` stands for all keys. An error is the last item, unless
    /// [`listing_continues`](Error::listing_continues): an upload whose name is not a valid key, or
    /// that cannot be read.
    ///
    /// On S3, uploads that other programs and running saves have begun are listed too.
    ///
    /// ```
    /// use futures_util::TryStreamExt;
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> storage_core::Result<()> {
    /// # let storage = storage_core::Memory::storage();
    /// let upload = storage.multipart("videos/1.mp4").await?;
    /// let unfinished: Vec<_> = storage.multipart_uploads("videos/").try_collect().await?;
    /// assert_eq!(unfinished[0].key, "videos/1.mp4");
    /// assert!(unfinished[0].id.is_same_upload(upload.id()));
    /// # Ok(()) }
    /// ```
    pub fn multipart_uploads(&self, prefix: impl IntoPrefix) -> UploadStream {
        let prefix = prefix.into_prefix();
        let listed = prefix.and_then(|prefix| {
            let uploads = self.driver().multipart()?.uploads(&prefix);
            Ok((uploads, prefix))
        });
        let storage = self.clone();
        match listed {
            Ok((uploads, prefix)) => uploads
                .map(move |upload| upload.map_err(|error| listing_error(&storage, error, &prefix)))
                .boxed(),
            Err(error) => {
                let error = self.with_driver(error, Operation::ListMultipart);
                stream::iter([Err(error)]).boxed()
            }
        }
    }

    /// Aborts the unfinished multipart uploads of the keys that begin with the prefix and that were
    /// begun longer ago than `older_than`. Returns how many were aborted.
    ///
    /// Call it once a day, or on S3 give the bucket a lifecycle rule
    /// (`AbortIncompleteMultipartUpload`), which has the same effect. `older_than` must exceed the
    /// duration of any upload: on S3, those of other programs and of running saves are aborted
    /// too. An upload whose beginning is not known is kept.
    ///
    /// If the future is dropped, the remaining uploads are not aborted. The next call finds them.
    ///
    /// # Errors
    /// `Unsupported` if the driver does not list uploads, `PermissionDenied`, and other errors of
    /// the backend. If uploads cannot be aborted, for example because their names are no valid keys
    /// (`InvalidKey`), returns the first such error after trying all others.
    pub async fn abort_stale(&self, prefix: impl IntoPrefix, older_than: Duration) -> Result<u64> {
        let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        let is_stale = |upload: &UnfinishedUpload| upload.begun.is_some_and(|begun| begun < limit);
        let mut uploads = self.multipart_uploads(prefix);
        let (mut aborted, mut first) = (0, None);
        while let Some(upload) = uploads.next().await {
            let upload = match upload {
                Ok(upload) => upload,
                Err(error) if error.listing_continues() => {
                    first = first.or(Some(error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            if !is_stale(&upload) {
                continue;
            }
            match self.resume_multipart(upload.key, upload.id)?.abort().await {
                Ok(()) => aborted += 1,
                Err(error) => first = first.or(Some(error)),
            }
        }
        first.map_or(Ok(aborted), Err)
    }
}

fn listing_error(storage: &Storage, error: Error, prefix: &Prefix) -> Error {
    storage.with_context(error, Operation::ListMultipart, prefix.as_str())
}
