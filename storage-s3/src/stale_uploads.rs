//! Uploads that were begun and never ended, as by a process that was killed.

use std::time::{Duration, SystemTime};

use http::Method;
use storage_core::{Result, parse_time};

use crate::driver::S3;
use crate::list::Pages;
use crate::multipart::abort;
use crate::request::Request;
use crate::xml;

impl S3 {
    /// Aborts the multipart uploads below a prefix (`""` for all of the bucket) that were begun
    /// longer ago than this, and answers how many.
    ///
    /// A save that fails or is dropped aborts its upload itself; one whose process or machine died
    /// leaves it behind, invisible and paid for. Run this once a day, or give the bucket a
    /// lifecycle rule (`AbortIncompleteMultipartUpload`), which does the same. The time must be
    /// longer than any upload takes: other programs' uploads are aborted too.
    ///
    /// Dropping the future leaves the rest for the next time.
    ///
    /// # Errors
    /// `Unsupported` where the service does not list uploads, `PermissionDenied` and the like.
    /// Where it is but the aborting that fails, the first such error, after all the others have
    /// been tried.
    pub async fn abort_stale_uploads(&self, prefix: &str, older_than: Duration) -> Result<usize> {
        let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        let (mut aborted, mut first) = (0, None);
        let (mut pages, mut marker) = (Pages::default(), String::new());
        let mut page = self.uploads(prefix, "", "").await?;
        loop {
            pages.page()?;
            for upload in &page.uploads {
                // One whose age nobody knows is left alone.
                if !parse_time(&upload.initiated).is_ok_and(|initiated| initiated < limit) {
                    continue;
                }
                match abort(&self.shared().client, &upload.key, &upload.upload_id).await {
                    Ok(()) => aborted += 1,
                    Err(error) => first = first.or(Some(error.with_key(upload.key.as_str()))),
                }
            }
            let (key, id) = (page.next_key_marker.clone(), page.next_upload_id_marker.clone());
            if !page.is_truncated || key.is_empty() {
                return first.map_or(Ok(aborted), Err);
            }
            // Pages come in the order of keys. Many uploads of one key may fill several of them.
            if key > marker {
                pages.progress();
            }
            page = self.uploads(prefix, &key, &id).await?;
            marker = key;
        }
    }

    async fn uploads(
        &self,
        prefix: &str,
        key_marker: &str,
        id_marker: &str,
    ) -> Result<xml::Uploads> {
        let mut request = Request::new(Method::GET, "").query("uploads", "");
        for (name, value) in
            [("prefix", prefix), ("key-marker", key_marker), ("upload-id-marker", id_marker)]
        {
            if !value.is_empty() {
                request = request.query(name, value);
            }
        }
        let document =
            self.shared().client.document(&request).await.map_err(|failed| failed.error)?;
        xml::answer("ListMultipartUploadsResult", &document.body)
    }
}
