//! [`Spool`]: bodies without a length, collected in temporary files.
//!
//! The size of an object must be known before its first byte is returned. If the response does not
//! state it, the whole body is collected first, so that its bytes can be counted.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use storage_core::internal::run_blocking;
use storage_core::{Error, ErrorKind, Result};

use crate::response::ResponseBody;

/// How many bytes are collected before they are written (1 MiB), because each write costs a trip to
/// the blocking pool.
const WRITE_SIZE: usize = 1024 * 1024;

/// How a body without a length ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyEnd {
    /// It ends with a last chunk (RFC 9112, section 7.1). A body that ends without one is an error.
    LastChunk,
    /// It ends when the server closes the connection. A connection that breaks off looks the same.
    Close,
}

/// Returns how a body without a length ends.
///
/// # Errors
/// `Unsupported` for a transfer coding other than `chunked`, which no request of this client
/// allows.
pub fn body_end(headers: &HeaderMap) -> Result<BodyEnd> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(BodyEnd::Close),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
            Ok(BodyEnd::LastChunk)
        }
        _ => Err(Error::unsupported(
            "the server compresses the body for its transfer, though the request does not allow it",
        )),
    }
}

/// Collects bodies in temporary files, within one limit for all files of a driver.
#[derive(Debug)]
pub struct Spool {
    max_object: u64,
    max_total: u64,
    reserved: AtomicU64,
    advice: &'static str,
}

/// A collected body. The file has no name, so that it disappears with its last handle.
#[derive(Debug)]
pub struct Spooled {
    /// The file. Its position is at the end.
    pub file: File,
    /// How many bytes the file has.
    pub size: u64,
    /// Counts the bytes as used. Keep it as long as the file.
    pub reservation: Reservation,
}

/// A share of the limit for all files, which is returned when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    spool: Arc<Spool>,
    bytes: u64,
}

impl Spool {
    /// Creates a spool whose files have at most `max_total` bytes together, and `max_object` bytes
    /// each. `advice` is the end of the error message if a limit is exceeded, such as `raise the
    /// option max_spool_size`.
    #[must_use]
    pub fn new(max_object: u64, max_total: u64, advice: &'static str) -> Arc<Self> {
        let max_object = max_object.min(max_total);
        Arc::new(Self { max_object, max_total, reserved: AtomicU64::new(0), advice })
    }

    /// Collects a body in a file in the temporary directory of the system.
    ///
    /// Holds at most about 1 MiB in memory. If this fails, or the future is dropped, the file is
    /// removed and its bytes no longer count.
    ///
    /// # Errors
    /// - `TooLarge` if the body has more than `max_object` bytes.
    /// - `RateLimited`, retryable, if other files use the bytes of `max_total` that it needs.
    /// - `StorageFull` if the temporary directory is full, and other errors of writing the file.
    /// - The errors of [`ResponseBody::next`].
    pub async fn collect(self: &Arc<Self>, body: &mut ResponseBody) -> Result<Spooled> {
        let mut file = blocking(|| tempfile::tempfile().map_err(Error::from)).await?;
        let mut reservation = self.reserve();
        let (mut gathered, mut chunks) = (0, Vec::new());
        while let Some(chunk) = body.next().await? {
            reservation.grow(chunk.len() as u64)?;
            gathered += chunk.len();
            chunks.push(chunk);
            if gathered >= WRITE_SIZE {
                file = write(file, std::mem::take(&mut chunks)).await?;
                gathered = 0;
            }
        }
        let file = write(file, chunks).await?;
        Ok(Spooled { file, size: reservation.bytes, reservation })
    }

    fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { spool: Arc::clone(self), bytes: 0 }
    }
}

impl Reservation {
    /// Reserves more bytes.
    fn grow(&mut self, bytes: u64) -> Result<()> {
        let Spool { max_object, max_total, reserved, advice } = &*self.spool;
        if self.bytes.saturating_add(bytes) > *max_object {
            let message = format!(
                "the response does not state how long the object is, and the object has more than \
                 {max_object} bytes: {advice}"
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let added = |reserved: u64| reserved.checked_add(bytes).filter(|sum| sum <= max_total);
        if reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added).is_err() {
            let message = format!(
                "the response does not state how long the object is, and other such objects use \
                 the {max_total} bytes that temporary files may have: try again later, or {advice}"
            );
            return Err(Error::new(ErrorKind::RateLimited, message).with_retryable(true));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.spool.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

async fn write(mut file: File, chunks: Vec<Bytes>) -> Result<File> {
    blocking(move || {
        for chunk in chunks {
            file.write_all(&chunk)?;
        }
        Ok(file)
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    run_blocking(work).await.map_err(|error| {
        error.with_context("in the temporary directory, where a body without a length is collected")
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_body_that_is_compressed_for_its_transfer_is_refused() {
        let end = |codings: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            body_end(&headers)
        };
        assert_eq!(end(&["Chunked"]).unwrap(), BodyEnd::LastChunk);
        assert_eq!(end(&[]).unwrap(), BodyEnd::Close);
        for odd in [&["gzip, chunked"][..], &["gzip"], &["gzip", "chunked"], &["chunked", "gzip"]] {
            assert_eq!(end(odd).unwrap_err().kind(), ErrorKind::Unsupported, "{odd:?}");
        }
    }

    #[test]
    fn reservations_never_exceed_the_total_and_are_returned() {
        let spool = Spool::new(u64::MAX, 10, "");
        let (mut first, mut second) = (spool.reserve(), spool.reserve());
        first.grow(6).unwrap();
        second.grow(4).unwrap();
        let full = second.grow(1).unwrap_err();
        assert_eq!((full.kind(), full.is_retryable()), (ErrorKind::RateLimited, true));
        let large = first.grow(5).unwrap_err();
        assert_eq!((large.kind(), large.is_retryable()), (ErrorKind::TooLarge, false));
        drop(first);
        second.grow(6).unwrap();
        assert_eq!(second.grow(u64::MAX).unwrap_err().kind(), ErrorKind::TooLarge);
        drop(second);
        assert_eq!(spool.reserved.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_object_is_bounded_even_if_the_total_has_room() {
        let spool = Spool::new(4, 10, "");
        let mut object = spool.reserve();
        object.grow(4).unwrap();
        assert_eq!(object.grow(1).unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(spool.reserved.load(Ordering::Relaxed), 4);
    }
}
