//! [`S3::abort_stale_uploads`]: aborts unfinished uploads.

use std::time::{Duration, SystemTime};

use http::Method;
use storage_core::Result;

use crate::driver::S3;
use crate::list::PageCounter;
use crate::multipart::abort;
use crate::request::Request;
use crate::time::parse_time;
use crate::xml;

impl S3 {
    /// Aborts the multipart uploads below a prefix (`""` for the whole bucket) that were created
    /// longer ago than `older_than`. Returns how many were aborted.
    ///
    /// A save that fails or is dropped aborts its upload. If its process or machine fails, the
    /// upload remains: it is invisible, but its parts are billed. Call this once a day, or give the
    /// bucket a lifecycle rule (`AbortIncompleteMultipartUpload`), which has the same effect.
    /// `older_than` must exceed the duration of any upload, because uploads of other programs are
    /// aborted too. An upload whose creation time cannot be read is kept.
    ///
    /// If the future is dropped, the remaining uploads are not aborted. The next call finds them.
    ///
    /// # Errors
    /// `Unsupported` if the service does not list uploads, `PermissionDenied`, and other errors of
    /// the service. If uploads cannot be aborted, returns the first such error after trying all of
    /// them.
    pub async fn abort_stale_uploads(&self, prefix: &str, older_than: Duration) -> Result<usize> {
        let limit = SystemTime::now().checked_sub(older_than).unwrap_or(SystemTime::UNIX_EPOCH);
        let (mut aborted, mut first) = (0, None);
        let (mut pages, mut marker) = (PageCounter::default(), String::new());
        let mut page = self.uploads(prefix, "", "").await?;
        loop {
            pages.count_page()?;
            for upload in &page.uploads {
                // An upload without a readable time is kept.
                if parse_time(&upload.initiated).is_none_or(|initiated| initiated >= limit) {
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
            // Pages are in the order of keys. The uploads of one key may fill several pages.
            if key > marker {
                pages.record_progress();
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
        xml::read_response("ListMultipartUploadsResult", &document.body)
    }
}
