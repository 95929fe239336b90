//! Responses that do not state how long they are: measured if they are short, or collected in
//! temporary files of which all together have a limit.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use storage_core::{Error, ErrorKind, ObjectMeta, Result, UnknownSize};

use crate::client::Answer;

/// How much of a body is read only to measure it: what arrives with the first round trips.
const MAX_MEASURED: u64 = 64 * 1024;
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
            Some(coding) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                Ok(Self::LastChunk)
            }
            Some(_) => Err(Error::unsupported(
                "the server compresses for the transfer, though it was not asked to",
            )),
        }
    }

    /// Keeps what may be half of an object out of caches.
    pub(crate) fn mark(self, meta: &mut ObjectMeta) {
        if self == Self::Close {
            meta.metadata.cache_control = Some("no-store".to_owned());
        }
    }
}

/// The bytes that the temporary files of one driver may have together.
#[derive(Debug)]
pub(crate) struct Budget {
    max: u64,
    reserved: AtomicU64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Arc<Self> {
        Arc::new(Self { max, reserved: AtomicU64::new(0) })
    }

    fn reserve(self: &Arc<Self>) -> Reservation {
        Reservation { budget: Arc::clone(self), bytes: 0 }
    }
}

/// A share of the budget, which is returned when this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// Reserves more bytes.
    ///
    /// # Errors
    /// `TooLarge` if they cannot fit; `RateLimited`, which may pass, if other files hold what is
    /// missing.
    fn grow(&mut self, bytes: u64) -> Result<()> {
        let Budget { max, reserved } = &*self.budget;
        let advice = "have the server send Content-Length, or raise max_spool_size";
        if self.bytes.saturating_add(bytes) > *max {
            let message = format!(
                "the server does not state how long the object is, and it has more than the {max} bytes of \
                 max_spool_size: {advice}"
            );
            return Err(Error::new(ErrorKind::TooLarge, message));
        }
        let added = |reserved: u64| reserved.checked_add(bytes).filter(|sum| sum <= max);
        if reserved.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added).is_err() {
            let message = format!(
                "the server does not state how long the object is, and other such objects fill the {max} bytes of \
                 max_spool_size: try again later, {advice}"
            );
            return Err(Error::new(ErrorKind::RateLimited, message).with_retryable(true));
        }
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.reserved.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Counts the bytes of a short body. Of a longer one no more is read.
///
/// # Errors
/// `Unsupported`, caused by [`UnknownSize`], if there are more than 64 KiB; what reading meets.
pub(crate) async fn measure(mut answer: Answer) -> Result<u64> {
    let mut size = 0;
    while let Some(chunk) = answer.next().await? {
        size += chunk.len() as u64;
        if size > MAX_MEASURED {
            return Err(Error::unsupported(
                "the server does not state how long the object is, and it has more than 64 KiB, which are not read to \
                 measure it: have the server send Content-Length",
            )
            .with_source(UnknownSize));
        }
    }
    Ok(size)
}

/// Collects the bytes of an answer in a file without a name, which goes with its last handle.
/// Returns their number as well, and their reservation, to be kept as long as the file.
///
/// # Errors
/// `TooLarge` and `RateLimited` if the budget does not suffice; `StorageFull` if the temporary
/// directory is full; what reading meets.
pub(crate) async fn collect(
    mut answer: Answer,
    budget: &Arc<Budget>,
) -> Result<(File, u64, Reservation)> {
    let mut file = blocking(|| tempfile::tempfile().map_err(Error::from)).await?;
    let mut reservation = budget.reserve();
    let (mut gathered, mut chunks) = (0, Vec::new());
    while let Some(chunk) = answer.next().await? {
        reservation.grow(chunk.len() as u64)?;
        gathered += chunk.len();
        chunks.push(chunk);
        if gathered >= AT_A_TIME {
            file = written(file, std::mem::take(&mut chunks)).await?;
            gathered = 0;
        }
    }
    Ok((written(file, chunks).await?, reservation.bytes, reservation))
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

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    let done =
        done.map_err(|join| Error::unexpected("collecting the object did not finish", join))?;
    done.map_err(|error| {
        error.with_context(
            "in the temporary directory, where an object without a length is collected",
        )
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
    fn reservations_together_are_at_most_the_budget_and_are_returned() {
        let budget = Budget::new(10);
        let (mut first, mut second) = (budget.reserve(), budget.reserve());
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
        assert_eq!(budget.reserved.load(Ordering::Relaxed), 0);
    }
}
