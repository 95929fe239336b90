//! Answers that do not say how long they are: they are collected before anything is told of them.

use std::fs::File;
use std::io::Write;

use bytes::Bytes;
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use storage_core::{Error, ErrorKind, ObjectMeta, Result};

use super::client::Answer;

/// The most that is collected: what a temporary directory holds on most machines.
const MOST: u64 = 1024 * 1024 * 1024;
/// How much is written at a time: each time costs a trip to the threads that may block.
const AT_A_TIME: usize = 1024 * 1024;

/// How the end of a body without a length shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By a last chunk. A body without one is an error of the connection.
    LastChunk,
    /// By the end of the connection, from which a break cannot be told.
    Close,
}

impl End {
    /// How the body with these headers ends, which have no length.
    ///
    /// # Errors
    /// `Unsupported` for a body that is compressed for its transfer.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self> {
        match headers.get(TRANSFER_ENCODING) {
            None => Ok(Self::Close),
            Some(coding) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(Self::LastChunk),
            Some(_) => Err(Error::unsupported("the server compresses for the transfer, though it was not asked to")),
        }
    }

    /// Keeps what may be half of an object out of caches.
    pub(crate) fn mark(self, meta: &mut ObjectMeta) {
        if self == Self::Close {
            meta.metadata.cache_control = Some("no-store".to_owned());
        }
    }
}

/// Counts the bytes of an answer.
pub(crate) async fn measure(mut answer: Answer) -> Result<u64> {
    let mut size = 0;
    while let Some(chunk) = answer.next().await? {
        size = added(size, &chunk)?;
    }
    Ok(size)
}

/// Collects the bytes of an answer in a file without a name, which goes with its last handle. Answers their number as well.
///
/// # Errors
/// `TooLarge`; `StorageFull` if the temporary directory is; what reading meets.
pub(crate) async fn collect(mut answer: Answer) -> Result<(File, u64)> {
    let mut file = blocking(|| tempfile::tempfile().map_err(Error::from)).await?;
    let (mut size, mut gathered, mut chunks) = (0, 0, Vec::new());
    while let Some(chunk) = answer.next().await? {
        size = added(size, &chunk)?;
        gathered += chunk.len();
        chunks.push(chunk);
        if gathered >= AT_A_TIME {
            file = written(file, std::mem::take(&mut chunks)).await?;
            gathered = 0;
        }
    }
    Ok((written(file, chunks).await?, size))
}

fn added(size: u64, chunk: &Bytes) -> Result<u64> {
    let size = size + chunk.len() as u64;
    if size <= MOST {
        return Ok(size);
    }
    let message =
        "the server does not say how long the object is, and it has more than 1 GiB: have it send Content-Length";
    Err(Error::new(ErrorKind::TooLarge, message))
}

async fn written(mut file: File, chunks: Vec<Bytes>) -> Result<File> {
    blocking(move || {
        for chunk in chunks {
            file.write_all(&chunk)?;
        }
        Ok(file)
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|join| Error::unexpected("collecting the object did not finish", join))?;
    done.map_err(|error| {
        error.with_context("in the temporary directory, where an object without a length is collected")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use storage_core::Key;

    use super::*;

    #[test]
    fn only_what_may_be_half_of_an_object_is_kept_out_of_caches() {
        let marked = |end: End| {
            let mut meta = ObjectMeta::new(Key::new("a").unwrap(), 1);
            meta.metadata.cache_control = Some("public".to_owned());
            end.mark(&mut meta);
            meta.metadata.cache_control
        };
        assert_eq!(marked(End::LastChunk).as_deref(), Some("public"));
        assert_eq!(marked(End::Close).as_deref(), Some("no-store"));
    }

    #[test]
    fn a_body_that_is_compressed_for_its_transfer_is_refused() {
        let end = |coding: &'static str| {
            End::of(&[(TRANSFER_ENCODING, HeaderValue::from_static(coding))].into_iter().collect())
        };
        assert_eq!(end("Chunked").unwrap(), End::LastChunk);
        assert_eq!(end("gzip, chunked").unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(End::of(&HeaderMap::new()).unwrap(), End::Close);
    }

    #[test]
    fn more_than_is_collected_is_refused() {
        assert_eq!(added(MOST - 1, &Bytes::from_static(b"x")).unwrap(), MOST);
        assert_eq!(added(MOST, &Bytes::from_static(b"x")).unwrap_err().kind(), ErrorKind::TooLarge);
    }
}
