//! `part_url`: signs a link with which a client stores one part by PUT.

use storage_core::{Error, Key, Link, PartUrlOptions, Result, UploadId, UrlMethod, UrlOptions};
use url::Url;

use crate::multipart::id;
use crate::shared::Shared;
use crate::signature::Presign;
use crate::signing::SigningWindow;

pub(super) async fn part_url(
    s3: &Shared,
    key: &Key,
    id: &UploadId,
    number: u32,
    options: &PartUrlOptions,
) -> Result<Link> {
    let remote = id::required(&s3.client, key, id)?;
    let window = SigningWindow::new(&UrlOptions::new().expires_in(options.expires_in))?;
    let credential = s3.client.credential_of_links().await?;
    let url = Url::parse(&s3.signing_bucket.url(key.as_str(), &[]))
        .map_err(|cause| Error::unexpected("the key makes no valid URL", cause))?;
    let number = number.to_string();
    let headers: Vec<_> = options
        .content_length
        .iter()
        .map(|bytes| ("content-length".to_owned(), bytes.to_string()))
        .collect();
    let query = vec![("partNumber", number.as_str()), ("uploadId", &*remote.id)];
    let presign = Presign { method: UrlMethod::Put.as_str(), url, query, headers: &headers };
    let url = presign.sign(window, s3.client.region(), &credential);
    let mut link = Link::signed(url, UrlMethod::Put, window.until);
    link.headers = headers;
    Ok(link)
}
