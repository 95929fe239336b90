//! `open`: one GET, whose body goes on where a connection breaks off.

use std::ops::Range;

use futures_util::stream;
use http::header::IF_NONE_MATCH;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use storage_client::open_headers;
use storage_core::{
    ByteRange, Checksums, ETag, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result,
};

use crate::body::Body;
use crate::client::Answer;
use crate::headers;
use crate::request::Request;
use crate::shared::Shared;
use crate::spool::{self, Spooled};
use crate::stat::{CHECKSUM_MODE, stat};

pub(crate) async fn open(s3: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    let answer = match s3.client.send(&request(s3, key, options)?).await {
        Ok(answer) => answer,
        Err(failed) => return Err(explained(s3, key, options, failed.error).await),
    };
    let Some((range, size)) = extent(&answer, options.range)? else {
        return if options.allow_unknown_size {
            passed_on(key, options, answer)
        } else {
            collected(s3, key, options, answer).await
        };
    };
    let meta = headers::to_meta(key.clone(), size, &answer.headers);
    // Not every service heeds every condition.
    options.check(&meta)?;
    let body = Body::new(s3, &meta, range.clone(), answer);
    Ok(Object::from_stream(meta, range, body.into_stream()))
}

fn request<'a>(s3: &Shared, key: &'a Key, options: &OpenOptions) -> Result<Request<'a>> {
    let mut request =
        Request::new(Method::GET, key.as_str()).accepts_gzip(!s3.abilities.sends_stored_encoding);
    if options.range.is_none() && s3.checking.headers {
        // S3 keeps checksums of whole objects.
        request = request.header(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
    }
    let mut conditions = open_headers(options)?;
    if let Some(etag) = &options.if_none_match {
        // The comparison is the weak one (RFC 9110, section 13.1.2), and all ETags of S3 are
        // strong: some services compare the text.
        let etag = ETag::strong(etag.opaque())?;
        conditions.insert(IF_NONE_MATCH, headers::header_value(&etag.to_string())?);
    }
    Ok(request.headers(conditions))
}

/// Conditions are evaluated before the range (RFC 9110, section 13.2.2). Some services do not, so
/// that a range that the object does not have, asked for on a condition, is looked at once more.
async fn explained(s3: &Shared, key: &Key, options: &OpenOptions, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotModified => Error::new(ErrorKind::NotModified, "the object has not changed"),
        ErrorKind::RangeNotSatisfiable if options.is_conditional() => {
            match stat(s3, key).await.and_then(|meta| options.check(&meta)) {
                Ok(()) => error,
                Err(unmet) => unmet,
            }
        }
        _ => error,
    }
}

/// Streams an object whose response has no `Content-Length`, for a caller that needs no size. A
/// body that breaks off is not taken up again, because no range of it can be asked for.
fn passed_on(key: &Key, options: &OpenOptions, answer: Answer) -> Result<Object> {
    spool::check_end(&answer.headers)?;
    let meta = decoded_meta(key, ObjectMeta::UNKNOWN_SIZE, &answer.headers);
    options.check(&meta)?;
    let chunks = stream::try_unfold(answer, |mut answer| async move {
        let chunk = answer.next().await?;
        Ok(chunk.map(|chunk| (chunk, answer)))
    });
    Ok(Object::from_stream_of_unknown_size(meta, chunks))
}

/// Collects an object whose response has no `Content-Length`, as where a service or a proxy decodes
/// it on the way.
async fn collected(
    s3: &Shared,
    key: &Key,
    options: &OpenOptions,
    answer: Answer,
) -> Result<Object> {
    let headers = answer.headers.clone();
    // Fails before the bytes are waited for.
    options.check(&headers::to_meta(key.clone(), 0, &headers))?;
    let Spooled { file, size, rooms } = spool::collect(s3, answer).await?;
    let meta = decoded_meta(key, size, &headers);
    let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
    Ok(Object::from_file(meta, range, file).with_guard(rooms))
}

/// The metadata of an object that was perhaps decoded on the way: checksums of the stored bytes say
/// nothing about it.
fn decoded_meta(key: &Key, size: u64, headers: &HeaderMap) -> ObjectMeta {
    let mut meta = headers::to_meta(key.clone(), size, headers);
    meta.checksums = Checksums::new();
    meta
}

/// The positions of the answer's bytes and the size of the whole object, checked against what was
/// asked for. `None` for a response that does not say how long it is.
fn extent(answer: &Answer, wanted: Option<ByteRange>) -> Result<Option<(Range<u64>, u64)>> {
    let told = match answer.status {
        StatusCode::PARTIAL_CONTENT => headers::content_range(&answer.headers),
        _ => match headers::content_length(&answer.headers) {
            Some(size) => Some((0..size, size)),
            None if headers::has_content_length(&answer.headers) => None,
            None => return Ok(None),
        },
    };
    let Some((range, size)) = told else {
        // Garage sends positions of an empty object too (`bytes 0-18446744073709551615/0`).
        if let (Some(wanted), Some(size)) = (wanted, headers::content_range_size(&answer.headers)) {
            wanted.resolve(size)?;
        }
        return Err(Error::new(
            ErrorKind::Unexpected,
            "the service does not tell which bytes it sends",
        ));
    };
    let expected = match wanted {
        Some(wanted) => wanted.resolve(size)?,
        None => 0..size,
    };
    if range != expected {
        let message = format!(
            "the service sends the bytes {range:?} of {size}, not {expected:?} as it was asked to"
        );
        return Err(Error::new(ErrorKind::Unexpected, message));
    }
    Ok(Some((range, size)))
}
