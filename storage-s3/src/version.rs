//! [`ObjectVersion`]: reads ranges of one version of an object.

use std::ops::Range;

use bytes::Bytes;
use http::header::{IF_MATCH, RANGE};
use http::{Method, StatusCode};
use storage_core::{ByteRange, ETag, Error, ErrorKind, Key, Result, Waits};

use crate::client::{Client, Response};
use crate::headers;
use crate::request::Request;

/// One version of one object.
#[derive(Debug, Clone)]
pub(crate) struct ObjectVersion {
    pub(crate) client: Client,
    pub(crate) key: Key,
    /// A strong ETag: bytes of two responses with this ETag may be joined.
    pub(crate) etag: ETag,
    pub(crate) size: u64,
    /// See [`Request::accepts_gzip`].
    pub(crate) accepts_gzip: bool,
}

impl ObjectVersion {
    /// Requests a range, on the condition that the object is still this version.
    pub(crate) async fn get(&self, range: Range<u64>) -> Result<Response> {
        let range_value = headers::header_value(&ByteRange::from(range.clone()).to_string())?;
        let request = Request::new(Method::GET, self.key.as_str())
            .accepts_gzip(self.accepts_gzip)
            .header(RANGE, range_value)
            .header(IF_MATCH, headers::header_value(&self.etag.to_string())?);
        let response =
            self.client.send(&request).await.map_err(|failed| as_changed(failed.error))?;
        // Some services ignore the condition.
        if headers::etag(&response.headers).as_ref() != Some(&self.etag) {
            return Err(replaced());
        }
        let received = headers::content_range(&response.headers);
        if response.status != StatusCode::PARTIAL_CONTENT || received != Some((range, self.size)) {
            return Err(Error::new(
                ErrorKind::Unexpected,
                "the response does not contain the requested bytes",
            ));
        }
        Ok(response)
    }

    /// Reads a range into memory. Resumes at the next byte if a connection breaks off.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Vec<Bytes>> {
        let mut waits = Waits::default();
        let (mut at, mut chunks) = (range.start, Vec::new());
        while at < range.end {
            let mut response = self.get(at..range.end).await?;
            let error = loop {
                match response.next().await {
                    Ok(Some(chunk)) if chunk.len() as u64 <= range.end - at => {
                        at += chunk.len() as u64;
                        chunks.push(chunk);
                        waits.reset();
                    }
                    Ok(Some(_)) => return Err(too_long()),
                    Ok(None) if at == range.end => return Ok(chunks),
                    Ok(None) => break ended_early(range.end - at),
                    Err(error) => break error,
                }
            };
            match waits.next(error.retry_after()) {
                Some(wait) if error.is_retryable() => tokio::time::sleep(wait).await,
                _ => return Err(error),
            }
        }
        Ok(chunks)
    }
}

pub(crate) fn too_long() -> Error {
    Error::new(ErrorKind::Integrity, "the response is longer than announced")
}

pub(crate) fn ended_early(missing: u64) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the response ended {missing} bytes early"))
        .with_retryable(true)
}

fn as_changed(error: Error) -> Error {
    match error.kind() {
        ErrorKind::PreconditionFailed => replaced(),
        ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, "the object was deleted while it was read")
        }
        _ => error,
    }
}

fn replaced() -> Error {
    Error::new(
        ErrorKind::PreconditionFailed,
        "the object was replaced while it was read: open it again",
    )
}
