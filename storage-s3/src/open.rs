//! `open`: one GET, whose body resumes if a connection breaks off.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::stream;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use storage_core::{
    ByteRange, Checksums, ETag, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result,
};

use crate::body::Body;
use crate::client::Response;
use crate::headers;
use crate::request::Request;
use crate::shared::Shared;
use crate::spool::{self, Spooled};
use crate::stat::{CHECKSUM_MODE, stat};

/// The last second of the year 9999, since 1970.
const LAST_HTTP_DATE: Duration = Duration::from_secs(253_402_300_799);

pub(crate) async fn open(s3: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    let response = match s3.client.send(&request(s3, key, options)?).await {
        Ok(response) => response,
        Err(failed) => return Err(check_conditions_first(s3, key, options, failed.error).await),
    };
    let Some((range, size)) = extent(&response, options.range)? else {
        return if options.allow_unknown_size {
            open_with_unknown_size(key, options, response)
        } else {
            open_spooled(s3, key, options, response).await
        };
    };
    let meta = headers::to_object_meta(key.clone(), size, &response.headers);
    // Some services ignore conditions.
    options.check(&meta)?;
    let body = Body::new(s3, &meta, range.clone(), response);
    Ok(Object::from_stream(meta, range, body.into_stream()))
}

fn request<'a>(s3: &Shared, key: &'a Key, options: &OpenOptions) -> Result<Request<'a>> {
    let mut request =
        Request::new(Method::GET, key.as_str()).accepts_gzip(!s3.features.sends_stored_encoding);
    if let Some(range) = options.range {
        request = request.header(RANGE, headers::header_value(&range.representable().to_string())?);
    } else if s3.checksum_policy.headers {
        // S3 stores checksums of whole objects only.
        request = request.header(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
    }
    if let Some(etag) = &options.if_match {
        request = request.header(IF_MATCH, headers::header_value(&etag.to_string())?);
    }
    if let Some(etag) = &options.if_none_match {
        // If-None-Match compares weakly (RFC 9110, section 13.1.2). Some services compare the text,
        // and every ETag of S3 is strong.
        let etag = ETag::strong(etag.opaque())?;
        request = request.header(IF_NONE_MATCH, headers::header_value(&etag.to_string())?);
    } else if let Some(since) = options.if_modified_since {
        // An HTTP date cannot express a time before 1970 or after 9999.
        let since = httpdate::fmt_http_date(since.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST_HTTP_DATE));
        request = request.header(IF_MODIFIED_SINCE, headers::header_value(&since)?);
    }
    Ok(request)
}

/// Returns the error of an unmet condition in place of an unsatisfiable range, because conditions
/// are evaluated first (RFC 9110, section 13.2.2). Some services evaluate the range first.
async fn check_conditions_first(
    s3: &Shared,
    key: &Key,
    options: &OpenOptions,
    error: Error,
) -> Error {
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

/// Streams an object whose response has no `Content-Length`, if the caller allows an unknown size.
/// The body cannot resume, because a range of it cannot be requested.
fn open_with_unknown_size(key: &Key, options: &OpenOptions, response: Response) -> Result<Object> {
    spool::check_end(&response.headers)?;
    let meta = meta_without_checksums(key, ObjectMeta::UNKNOWN_SIZE, &response.headers);
    options.check(&meta)?;
    let chunks = stream::try_unfold(response, |mut response| async move {
        let chunk = response.next().await?;
        Ok(chunk.map(|chunk| (chunk, response)))
    });
    Ok(Object::from_stream_of_unknown_size(meta, chunks))
}

/// Collects an object whose response has no `Content-Length` in a temporary file. A service or a
/// proxy that decodes an object sends such a response.
async fn open_spooled(
    s3: &Shared,
    key: &Key,
    options: &OpenOptions,
    response: Response,
) -> Result<Object> {
    let headers = response.headers.clone();
    // Fails before the body is received.
    options.check(&headers::to_object_meta(key.clone(), 0, &headers))?;
    let Spooled { file, size, reservations } = spool::collect(s3, response).await?;
    let meta = meta_without_checksums(key, size, &headers);
    let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
    Ok(Object::from_file(meta, range, file).with_guard(reservations))
}

/// Returns metadata without checksums, because they belong to the stored bytes, and the body may
/// have been decoded on the way.
fn meta_without_checksums(key: &Key, size: u64, headers: &HeaderMap) -> ObjectMeta {
    let mut meta = headers::to_object_meta(key.clone(), size, headers);
    meta.checksums = Checksums::new();
    meta
}

/// Returns the positions of the response's bytes and the size of the whole object, after comparing
/// them with the requested range. Returns `None` if the response states no length.
fn extent(response: &Response, wanted: Option<ByteRange>) -> Result<Option<(Range<u64>, u64)>> {
    let described = match response.status {
        StatusCode::PARTIAL_CONTENT => headers::content_range(&response.headers),
        _ => match headers::content_length(&response.headers) {
            Some(size) => Some((0..size, size)),
            None if headers::has_content_length(&response.headers) => None,
            None => return Ok(None),
        },
    };
    let Some((range, size)) = described else {
        // Garage sends positions for an empty object too (`bytes 0-18446744073709551615/0`).
        if let (Some(wanted), Some(size)) = (wanted, headers::content_range_size(&response.headers))
        {
            wanted.resolve(size)?;
        }
        return Err(Error::new(
            ErrorKind::Unexpected,
            "the response does not state which bytes it contains",
        ));
    };
    let expected = match wanted {
        Some(wanted) => wanted.resolve(size)?,
        None => 0..size,
    };
    if range != expected {
        let message =
            format!("the response contains the bytes {range:?} of {size} in place of {expected:?}");
        return Err(Error::new(ErrorKind::Unexpected, message));
    }
    Ok(Some((range, size)))
}
