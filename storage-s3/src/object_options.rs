//! Verifies that the options `sse`, `sse_kms_key_id` and `storage_class` had an effect. A service
//! that does not support such a header ignores it and stores the object without it.

use std::sync::atomic::Ordering;

use http::{HeaderMap, HeaderName, Method};
use storage_core::{Checksums, Error, Key, Metadata, Result};

use crate::request::Request;
use crate::shared::Shared;
use crate::tag_set::TAGGING;
use crate::{headers, stat, xml};

const SSE: HeaderName = HeaderName::from_static("x-amz-server-side-encryption");
const SSE_KEY: HeaderName = HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id");
const STORAGE_CLASS: HeaderName = HeaderName::from_static("x-amz-storage-class");
/// The class that services omit from the headers of an object ("HeadObject").
const STANDARD: &str = "STANDARD";
/// The headers that a copy with other metadata loses unless the request repeats them
/// ("CopyObject").
const HEADERS_LOST_BY_REPLACING: [HeaderName; 6] = [
    SSE,
    SSE_KEY,
    HeaderName::from_static("x-amz-server-side-encryption-bucket-key-enabled"),
    STORAGE_CLASS,
    HeaderName::from_static("x-amz-website-redirect-location"),
    headers::UPLOAD_NONCE,
];

/// Returns the headers of a new object: its metadata, the options of the driver, and its tags. The
/// headers of its checksums are not among them.
pub(crate) fn headers(s3: &Shared, metadata: &Metadata) -> Result<HeaderMap> {
    let mut headers = headers::from_metadata(metadata, &Checksums::new(), s3.features.underscores)?;
    headers.extend(s3.object_headers.clone());
    if let Some(tags) = &s3.tags {
        headers.insert(TAGGING, tags.header.clone());
    }
    Ok(headers)
}

/// Checks that the response confirms the encryption that was requested ("PutObject", "CopyObject",
/// "CreateMultipartUpload").
///
/// # Errors
/// `Unsupported` if it does not.
pub(crate) fn check_encryption(sent: &HeaderMap, response: &HeaderMap) -> Result<()> {
    let Some(requested) = sent.get(SSE) else { return Ok(()) };
    if response.get(SSE) != Some(requested) {
        return Err(Error::unsupported(
            "the service does not confirm the encryption of option sse, which means that it ignores the option: remove \
             sse, or use a service that encrypts",
        ));
    }
    let has_key = response.get(SSE_KEY).is_some_and(|key| !key.is_empty());
    if sent.contains_key(SSE_KEY) && !has_key {
        return Err(Error::unsupported(
            "the service does not confirm the key of option sse_kms_key_id, so it ignores the option: remove it, or \
             use a service that supports KMS keys",
        ));
    }
    Ok(())
}

/// Does the same as [`check_encryption`] after the object was stored, and reports that it was.
pub(crate) fn check_encryption_of_saved(sent: &HeaderMap, response: &HeaderMap) -> Result<()> {
    check_encryption(sent, response).map_err(|error| {
        error
            .with_took_effect(true)
            .with_context("the object was stored, possibly without encryption")
    })
}

/// Checks that the service applied the option `storage_class` to a saved object.
///
/// Sends a HEAD once for each driver. Sends nothing to AWS, which refuses unknown classes.
///
/// # Errors
/// `Unsupported` if the service shows another class or none.
pub(crate) async fn check_storage_class(s3: &Shared, key: &Key) -> Result<()> {
    let Some(wanted) = s3.object_headers.get(STORAGE_CLASS).and_then(|class| class.to_str().ok())
    else {
        return Ok(());
    };
    let is_certain = wanted == STANDARD || s3.client.bucket().is_at_aws();
    if is_certain || s3.storage_class_confirmed.load(Ordering::Relaxed) {
        return Ok(());
    }
    let found = match stat::head(s3, key.as_str()).await {
        Ok(headers) => {
            headers.get(STORAGE_CLASS).and_then(|class| class.to_str().ok()).map(str::to_owned)
        }
        // The credentials may allow writing but not reading.
        Err(error) => {
            tracing::debug!(%error, "the storage class of a saved object could not be read");
            return Ok(());
        }
    };
    let found = match found {
        Some(found) => Some(found),
        // Some services show the class only in listings.
        None => class_in_listing(s3, key).await.unwrap_or_default(),
    };
    if found.as_deref() == Some(wanted) {
        s3.storage_class_confirmed.store(true, Ordering::Relaxed);
        return Ok(());
    }
    Err(Error::unsupported(
        "the object was stored, but the service does not show the class of option storage_class, which means that \
         it ignores the option: remove it, or use a service that has storage classes",
    )
    .with_took_effect(true))
}

async fn class_in_listing(s3: &Shared, key: &Key) -> Result<Option<String>> {
    let request =
        Request::new(Method::GET, "").query("list-type", "2").query("prefix", key.as_str());
    let document = s3.client.document(&request.query("max-keys", "1")).await?;
    let listing: xml::Listing = xml::read_response("ListBucketResult", &document.body)?;
    let first = listing.contents.into_iter().next().filter(|listed| listed.key == key.as_str());
    Ok(first.and_then(|listed| listed.storage_class))
}

/// Returns the headers that a copy of an object onto itself repeats, so that it changes only the
/// metadata. The options of the driver take precedence.
pub(crate) fn headers_kept_in_place(s3: &Shared, source: &HeaderMap) -> HeaderMap {
    let is_set = |option: &HeaderName| s3.object_headers.contains_key(option);
    let may_send = |name: &HeaderName| match name.as_str() {
        name if name.starts_with(SSE.as_str()) => s3.features.sse && !is_set(&SSE),
        name if name == STORAGE_CLASS.as_str() => {
            s3.features.storage_class && !is_set(&STORAGE_CLASS)
        }
        _ => true,
    };
    let kept = HEADERS_LOST_BY_REPLACING.into_iter().filter(may_send);
    kept.filter_map(|name| Some((name.clone(), source.get(&name)?.clone()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), http::HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn encryption_that_the_service_does_not_confirm_is_unsupported() {
        let aes = headers(&[(SSE, "AES256")]);
        let kms = headers(&[(SSE, "aws:kms"), (SSE_KEY, "a-key")]);
        let kms_of_another_name =
            headers(&[(SSE, "aws:kms"), (SSE_KEY, "arn:aws:kms:eu-west-1:1:key/a-key")]);
        for (sent, response) in
            [(&HeaderMap::new(), &HeaderMap::new()), (&aes, &aes), (&kms, &kms_of_another_name)]
        {
            assert!(check_encryption(sent, response).is_ok());
        }
        let without_key = headers(&[(SSE, "aws:kms")]);
        for (sent, response) in [(&aes, &HeaderMap::new()), (&kms, &aes), (&kms, &without_key)] {
            let error = check_encryption(sent, response).unwrap_err();
            assert_eq!(error.kind(), storage_core::ErrorKind::Unsupported);
            assert!(error.message().contains("sse"), "{error}");
        }
    }
}
