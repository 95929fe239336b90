//! The requests for tags of an object.

use std::collections::BTreeMap;

use http::Method;
use storage_core::{Checksum, ChecksumAlgorithm, Error, Key, Result};

use crate::checksums::BodyChecksum;
use crate::request::Request;
use crate::shared::Shared;
use crate::tag_set::Tags;
use crate::xml;

/// Returns the tags of an object.
pub(crate) async fn of(s3: &Shared, key: &Key) -> Result<Tags> {
    let request = Request::new(Method::GET, key.as_str()).query("tagging", "");
    let document = s3.client.document(&request).await?;
    // RadosGW sends nothing for an object of a multipart upload without tags.
    let tagging: xml::Tagging = match document.body.is_empty() {
        true => xml::Tagging::default(),
        false => xml::read_response("Tagging", &document.body)?,
    };
    Tags::new(tagging.tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

/// Returns whether the service may drop tags that it should store. AWS stores them.
pub(crate) fn may_be_dropped(s3: &Shared) -> bool {
    !s3.client.bucket().is_at_aws()
}

/// Checks that a saved object has the tags of the driver, and sets them if they differ.
pub(crate) async fn confirm(s3: &Shared, key: &Key) -> Result<()> {
    match &s3.tags {
        Some(tags) => ensure(s3, key, tags).await,
        None => Ok(()),
    }
}

/// Sets the tags of an object if they differ from these. Sends nothing to AWS.
///
/// RadosGW drops the tags of a multipart upload, and those of an object whose metadata is replaced.
pub(crate) async fn ensure(s3: &Shared, key: &Key, tags: &Tags) -> Result<()> {
    if !may_be_dropped(s3) {
        return Ok(());
    }
    let ensured = async {
        if of(s3, key).await?.pairs != tags.pairs {
            set(s3, key, tags.pairs.clone()).await?;
        }
        Ok(())
    };
    ensured.await.map_err(|error: Error| {
        // A repeated call that creates an object would find this one.
        let error = error.with_retryable(false).with_took_effect(true);
        error.with_context("the object is stored, but its tags are not confirmed")
    })
}

/// Replaces the tags of an object.
pub(crate) async fn set(s3: &Shared, key: &Key, tags: BTreeMap<String, String>) -> Result<()> {
    if tags.is_empty() {
        let request = Request::new(Method::DELETE, key.as_str()).query("tagging", "");
        s3.client.send(&request).await?;
        return Ok(());
    }
    let tags: Vec<_> = tags.into_iter().map(|(key, value)| xml::Tag { key, value }).collect();
    let body = xml::tagging(&tags);
    // S3 requires a checksum for this request. Every service supports MD5.
    let checksum = Checksum::of(ChecksumAlgorithm::Md5, &body);
    let body_checksum = BodyChecksum { checksum, in_header: true, in_signature: false };
    let request = Request::new(Method::PUT, key.as_str())
        .query("tagging", "")
        .body(body)
        .with_checksum(&body_checksum)?;
    s3.client.send(&request).await?;
    Ok(())
}
