//! [`Requests`]: counts the requests to a server by their S3 operation.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hyper::{HeaderMap, Method, Request, Uri};

/// Requests by operation: `"PutObject"`, `"ListObjectsV2"`.
#[derive(Debug, Default)]
pub(crate) struct Requests(Mutex<BTreeMap<&'static str, usize>>);

impl Requests {
    pub(crate) fn count<B>(&self, request: &Request<B>) {
        let operation = operation(request.method(), request.uri(), request.headers());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(operation).or_default() += 1;
    }

    /// Returns the counts since the last call.
    pub(crate) fn take(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the operation's name in the API reference of S3.
fn operation(method: &Method, uri: &Uri, headers: &HeaderMap) -> &'static str {
    let query = uri.query().unwrap_or_default();
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let is_copy = headers.contains_key("x-amz-copy-source");
    let is_bucket = uri.path().trim_matches('/').split('/').count() == 1;
    match method.as_str() {
        "PUT" if has("partNumber") && is_copy => "UploadPartCopy",
        "PUT" if has("partNumber") => "UploadPart",
        "PUT" if has("acl") => "PutObjectAcl",
        "PUT" if has("tagging") => "PutObjectTagging",
        "PUT" if is_copy => "CopyObject",
        "PUT" if is_bucket => "CreateBucket",
        "PUT" => "PutObject",
        "POST" if has("uploads") => "CreateMultipartUpload",
        "POST" if has("uploadId") => "CompleteMultipartUpload",
        "POST" if has("delete") => "DeleteObjects",
        "POST" => "PostObject",
        "GET" if has("uploads") => "ListMultipartUploads",
        "GET" if has("uploadId") => "ListParts",
        "GET" if has("versions") => "ListObjectVersions",
        "GET" if has("tagging") => "GetObjectTagging",
        "GET" if has("list-type") => "ListObjectsV2",
        "GET" if is_bucket => "ListObjects",
        "GET" => "GetObject",
        "HEAD" if is_bucket => "HeadBucket",
        "HEAD" => "HeadObject",
        "DELETE" if has("tagging") => "DeleteObjectTagging",
        "DELETE" if has("uploadId") => "AbortMultipartUpload",
        "DELETE" => "DeleteObject",
        _ => "other",
    }
}
