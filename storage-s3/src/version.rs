//! [`Version`]: one version of one object, of which ranges can be read over and over.

use std::ops::Range;

use bytes::Bytes;
use http::header::{IF_MATCH, RANGE};
use http::{Method, StatusCode};
use storage_client::Backoff;
use storage_core::{ByteRange, ETag, Error, ErrorKind, Key, Result};

use crate::client::{Answer, Client};
use crate::headers;
use crate::request::Request;

/// One version of one object.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) client: Client,
    pub(crate) key: Key,
    /// A strong one: what two answers of this ETag bring can be spliced.
    pub(crate) etag: ETag,
    pub(crate) size: u64,
    /// See [`Request::accepts_gzip`].
    pub(crate) accepts_gzip: bool,
}

impl Version {
    /// Opens a range, if the object is still this version.
    pub(crate) async fn get(&self, range: Range<u64>) -> Result<Answer> {
        let asked_for = headers::header_value(&ByteRange::from(range.clone()).to_string())?;
        let request = Request::new(Method::GET, self.key.as_str())
            .accepts_gzip(self.accepts_gzip)
            .header(RANGE, asked_for)
            .header(IF_MATCH, headers::header_value(&self.etag.to_string())?);
        let answer = self.client.send(&request).await.map_err(|failed| explained(failed.error))?;
        // What the service makes of the condition is not taken on trust.
        if headers::etag(&answer.headers).as_ref() != Some(&self.etag) {
            return Err(replaced());
        }
        let told = headers::content_range(&answer.headers);
        if answer.status != StatusCode::PARTIAL_CONTENT || told != Some((range, self.size)) {
            return Err(Error::new(
                ErrorKind::Unexpected,
                "the service sends other bytes than those it was asked for",
            ));
        }
        Ok(answer)
    }

    /// Reads a range into memory; goes on at the next byte where a connection breaks off.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Vec<Bytes>> {
        let mut waits = Backoff::default();
        let (mut at, mut chunks) = (range.start, Vec::new());
        while at < range.end {
            let mut answer = self.get(at..range.end).await?;
            let error = loop {
                match answer.next().await {
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
            match waits.next_delay(error.retry_after()) {
                Some(wait) if error.is_retryable() => tokio::time::sleep(wait).await,
                _ => return Err(error),
            }
        }
        Ok(chunks)
    }
}

pub(crate) fn too_long() -> Error {
    Error::new(ErrorKind::Integrity, "the answer is longer than it was said to be")
}

pub(crate) fn ended_early(missing: u64) -> Error {
    Error::new(ErrorKind::Unexpected, format!("the answer ended {missing} bytes early"))
        .with_retryable(true)
}

fn explained(error: Error) -> Error {
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
