//! `uploads`: lists unfinished uploads, in pages of 1,000.
//!
//! The order is that of the service. S3 lists in byte order of the keys.

use std::collections::VecDeque;

use futures_util::{StreamExt, stream};
use http::Method;
use storage_core::{Error, ErrorKind, Key, Prefix, Result, UnfinishedUpload, UploadStream};

use crate::client::Client;
use crate::list::PageCounter;
use crate::multipart::id;
use crate::request::Request;
use crate::shared::Shared;
use crate::time::parse_time;
use crate::xml;

pub(super) fn list(s3: &Shared, prefix: &Prefix) -> UploadStream {
    let listing = Listing {
        client: s3.client.clone(),
        prefix: prefix.clone(),
        page: VecDeque::new(),
        next: Some((String::new(), String::new())),
        pages: PageCounter::default(),
    };
    let uploads = stream::unfold(Some(listing), |listing| async move {
        let mut listing = listing?;
        match listing.next().await {
            Ok(upload) => Some((upload?, Some(listing))),
            Err(error) => Some((Err(error), None)),
        }
    });
    uploads.boxed()
}

/// A listing in progress.
struct Listing {
    client: Client,
    prefix: Prefix,
    page: VecDeque<xml::UnfinishedUpload>,
    /// The key and the id after which the next page begins, if there is one.
    next: Option<(String, String)>,
    pages: PageCounter,
}

impl Listing {
    /// Returns the next upload. An upload whose key is invalid is an error after which the listing
    /// continues.
    async fn next(&mut self) -> Result<Option<Result<UnfinishedUpload>>> {
        loop {
            if let Some(listed) = self.page.pop_front() {
                // A service that ignores the prefix must not cause other uploads to be aborted.
                if listed.key.starts_with(self.prefix.as_str()) {
                    return Ok(Some(upload(listed)));
                }
                continue;
            }
            let Some((key_marker, id_marker)) = self.next.take() else { return Ok(None) };
            self.pages.count_page()?;
            let page = self.page(&key_marker, &id_marker).await?;
            if page.is_truncated {
                let next = (page.next_key_marker, page.next_upload_id_marker);
                if next.0.is_empty() || next == (key_marker.clone(), id_marker) {
                    return Err(Error::new(
                        ErrorKind::Unexpected,
                        "a truncated page of the listing of uploads has no new marker",
                    ));
                }
                // Pages are in the order of keys. The uploads of one key may fill several pages.
                if next.0 > key_marker {
                    self.pages.record_progress();
                }
                self.next = Some(next);
            }
            self.page = page.uploads.into();
        }
    }

    async fn page(&self, key_marker: &str, id_marker: &str) -> Result<xml::Uploads> {
        let mut request = Request::new(Method::GET, "").query("uploads", "");
        let parameters = [
            ("prefix", self.prefix.as_str()),
            ("key-marker", key_marker),
            ("upload-id-marker", id_marker),
        ];
        for (name, value) in parameters {
            if !value.is_empty() {
                request = request.query(name, value);
            }
        }
        let document = self.client.document(&request).await.map_err(|failed| failed.error)?;
        xml::read_response("ListMultipartUploadsResult", &document.body)
    }
}

fn upload(listed: xml::UnfinishedUpload) -> Result<UnfinishedUpload> {
    let xml::UnfinishedUpload { key: name, upload_id, initiated } = listed;
    let valid = Key::new(name.as_str()).and_then(|key| Ok((key, id::encode(&upload_id, None)?)));
    match valid {
        Ok((key, id)) => Ok(UnfinishedUpload::new(key, id).with_begun(parse_time(&initiated))),
        Err(error) => Err(error.with_key(name).with_listing_continues(true)),
    }
}
