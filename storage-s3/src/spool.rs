//! Objects whose response does not say how long they are: they are collected in a temporary file,
//! because an object of the contract has a size before its first byte is read.

use std::fs::File;
use std::io::Write;

use bytes::Bytes;
use http::HeaderMap;
use http::header::TRANSFER_ENCODING;
use storage_core::{Error, ErrorKind, Result};

use crate::budget::Reservation;
use crate::client::Response;
use crate::shared::Shared;

/// The most that is collected of one object.
const MAX_OBJECT: u64 = 1024 * 1024 * 1024;
/// The most that all collected objects of a driver take of the temporary directory together.
pub(crate) const MAX_TOTAL: u64 = 2 * MAX_OBJECT;
/// How much is written at a time: each time costs a trip to the threads that may block.
const WRITE_SIZE: u64 = 1024 * 1024;

/// A collected body. Its file has no name and goes with the last handle; dropping it gives its reservation
/// back.
pub(crate) struct Spooled {
    pub(crate) file: File,
    pub(crate) size: u64,
    /// What it takes of the reservation of the driver.
    pub(crate) reservations: Vec<Reservation>,
}

/// Collects the body of a response without a length.
///
/// # Errors
/// `TooLarge` above 1 GiB; `StorageFull` if the temporary directory, or its share for this driver,
/// is full; `Unsupported` for a body without a marked end, which could be a broken connection;
/// errors of reading the body.
pub(crate) async fn collect(s3: &Shared, mut response: Response) -> Result<Spooled> {
    check_end(&response.headers)?;
    let mut spooled = Spooled {
        file: blocking(|| Ok(tempfile::tempfile()?)).await?,
        size: 0,
        reservations: Vec::new(),
    };
    let (mut buffered, mut chunks) = (0, Vec::new());
    while let Some(chunk) = response.next().await? {
        buffered = add_size(buffered, &chunk)?;
        chunks.push(chunk);
        if buffered >= WRITE_SIZE {
            spooled = write(s3, spooled, std::mem::take(&mut chunks), buffered).await?;
            buffered = 0;
        }
    }
    write(s3, spooled, chunks, buffered).await
}

/// A chunked body has an end of its own (RFC 9112, section 7.1). One that ends with its connection
/// may be half of the object.
///
/// # Errors
/// `Unsupported` for such a body, and for one that is compressed for its transfer.
pub(crate) fn check_end(headers: &HeaderMap) -> Result<()> {
    let coding =
        headers.get(TRANSFER_ENCODING).map(|coding| coding.as_bytes().to_ascii_lowercase());
    if coding.as_deref() == Some(b"chunked") {
        return Ok(());
    }
    Err(Error::unsupported(
        "the response has neither Content-Length nor chunks, so a break of the connection would pass for its end: have \
         the service, or the proxy before it, send Content-Length",
    ))
}

fn add_size(size: u64, chunk: &Bytes) -> Result<u64> {
    let size = size.checked_add(chunk.len() as u64);
    size.filter(|size| *size <= MAX_OBJECT).ok_or_else(|| {
        let message = "the response does not say how long the object is, and it has more than 1 GiB: have the service, \
                       or the proxy before it, send Content-Length";
        Error::new(ErrorKind::TooLarge, message)
    })
}

async fn write(s3: &Shared, mut spooled: Spooled, chunks: Vec<Bytes>, len: u64) -> Result<Spooled> {
    let reservation = s3.spool_budget.try_reserve(len).ok_or_else(|| {
        let message = "objects without a length take all reservation of the temporary directory that this driver uses (2 GiB): \
                       read fewer at a time";
        Error::new(ErrorKind::StorageFull, message).with_retryable(true)
    })?;
    for chunk in &chunks {
        spooled.size = add_size(spooled.size, chunk)?;
    }
    spooled.reservations.push(reservation);
    blocking(move || {
        for chunk in chunks {
            spooled.file.write_all(&chunk)?;
        }
        Ok(spooled)
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

    use super::*;

    #[test]
    fn a_body_that_ends_with_its_connection_is_refused() {
        let of = |coding: &'static str| {
            [(TRANSFER_ENCODING, HeaderValue::from_static(coding))].into_iter().collect()
        };
        assert!(check_end(&of("Chunked")).is_ok());
        for headers in [HeaderMap::new(), of("gzip, chunked"), of("gzip")] {
            assert_eq!(check_end(&headers).unwrap_err().kind(), ErrorKind::Unsupported);
        }
    }

    #[test]
    fn more_than_is_collected_is_too_large() {
        assert_eq!(add_size(MAX_OBJECT - 1, &Bytes::from_static(b"x")).unwrap(), MAX_OBJECT);
        for size in [MAX_OBJECT, u64::MAX] {
            assert_eq!(
                add_size(size, &Bytes::from_static(b"x")).unwrap_err().kind(),
                ErrorKind::TooLarge
            );
        }
    }
}
