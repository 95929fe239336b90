//! [`ObjectVersion`]: requests ranges of one version of an object.

use std::ops::Range;
use std::sync::Arc;

use http::header::{IF_MATCH, RANGE};
use http::{Method, StatusCode};
use storage_client::{
    Reopen, ResumableBody, Segment, changed_while_read, content_range, etag, header_value,
};
use storage_core::{ByteRange, ETag, Error, ErrorKind, Key, Result};

use crate::client::Client;
use crate::request::Request;

/// The parameter that names a version.
pub(crate) const VERSION_ID: &str = "versionId";

/// One version of one object.
#[derive(Debug, Clone)]
pub(crate) struct ObjectVersion {
    pub(crate) client: Client,
    pub(crate) key: Key,
    /// The version of a bucket with versions. `None` for the latest.
    pub(crate) version_id: Option<Arc<str>>,
    /// A strong ETag, so that bytes of two responses with this ETag may be joined.
    pub(crate) etag: ETag,
    pub(crate) size: u64,
    /// See [`Request::accepts_gzip`].
    pub(crate) accepts_gzip: bool,
}

impl ObjectVersion {
    /// Returns the bytes of a range, which is requested when the first of them is read.
    pub(crate) fn range(&self, range: Range<u64>) -> ResumableBody<Self> {
        ResumableBody::new(range, None, Some(self.clone()))
    }
}

impl Reopen for ObjectVersion {
    /// [`Client::send`] repeats requests.
    const REPEATS: bool = true;

    async fn reopen(&self, rest: Range<u64>) -> Result<Segment> {
        let mut request = Request::new(Method::GET, self.key.as_str())
            .accepts_gzip(self.accepts_gzip)
            .header(RANGE, header_value(&ByteRange::from(rest.clone()).to_string())?)
            .header(IF_MATCH, header_value(&self.etag.to_string())?);
        if let Some(id) = &self.version_id {
            request = request.query(VERSION_ID, id);
        }
        let response =
            self.client.send(&request).await.map_err(|failed| changed_while_read(failed.error))?;
        // Some services ignore the condition.
        if etag(&response.headers).as_ref() != Some(&self.etag) {
            let unmet = Error::new(ErrorKind::PreconditionFailed, "the ETag differs");
            return Err(changed_while_read(unmet));
        }
        // Every service supports ranges, so a response with the whole object is an error.
        let stated = content_range(&response.headers);
        if response.status != StatusCode::PARTIAL_CONTENT
            || stated != Some((rest.clone(), self.size))
        {
            return Err(Error::new(
                ErrorKind::Unexpected,
                "the response does not contain the requested bytes",
            ));
        }
        Ok(Segment::new(response.body, rest))
    }
}
