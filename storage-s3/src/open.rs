//! `open`: sends a GET. Its body resumes if a connection breaks off.

use std::ops::Range;
use std::sync::Arc;

use http::header::{CONTENT_LENGTH, IF_NONE_MATCH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use storage_client::{
    BodyEnd, Response, Spooled, body_end, content_length, content_range, content_range_size,
    header_value, open_headers,
};
use storage_core::{
    ByteRange, Checksums, ETag, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result,
};

use crate::body::Body;
use crate::client::FailedRequest;
use crate::headers;
use crate::request::Request;
use crate::shared::Shared;
use crate::stat::{CHECKSUM_MODE, stat};
use crate::version::VERSION_ID;

/// The largest object without a length that is collected in a temporary file, in bytes.
pub(crate) const MAX_SPOOLED: u64 = 1024 * 1024 * 1024;
/// The limit for all such objects of a driver, in bytes.
pub(crate) const MAX_SPOOLED_TOTAL: u64 = 2 * MAX_SPOOLED;
/// The advice of errors about a missing length.
pub(crate) const SEND_LENGTH: &str =
    "configure the service, or the proxy in front of it, to send Content-Length";

pub(crate) async fn open(s3: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    open_version(s3, key, None, options).await
}

/// Opens a version of an object, or the latest one.
pub(crate) async fn open_version(
    s3: &Shared,
    key: &Key,
    version_id: Option<&str>,
    options: &OpenOptions,
) -> Result<Object> {
    let mut request = request(s3, key, options)?;
    if let Some(id) = version_id {
        request = request.query(VERSION_ID, id);
    }
    let response = match s3.client.send(&request).await {
        Ok(response) => response,
        Err(failed) if version_id.is_some() => return Err(version_error(failed)),
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
    let body = Body::new(s3, &meta, version_id.map(Arc::from), range.clone(), response);
    Ok(Object::from_stream(meta, range, body.into_stream()))
}

/// Returns the error of a request for a version. S3 responds with 405 for a delete marker.
/// Conditions are not checked again, because a `stat` would compare them with the latest version.
fn version_error(failed: FailedRequest) -> Error {
    if failed.status() == Some(405) {
        return Error::new(ErrorKind::NotFound, "this version is a delete marker");
    }
    failed.error
}

fn request<'a>(s3: &Shared, key: &'a Key, options: &OpenOptions) -> Result<Request<'a>> {
    let mut request =
        Request::new(Method::GET, key.as_str()).accepts_gzip(!s3.features.sends_stored_encoding);
    if options.range.is_none() && s3.checksum_policy.headers {
        // S3 stores checksums of whole objects only.
        request = request.header(CHECKSUM_MODE, HeaderValue::from_static("ENABLED"));
    }
    let mut conditions = open_headers(options)?;
    if let Some(etag) = &options.if_none_match {
        // If-None-Match compares weakly (RFC 9110, section 13.1.2). Some services compare the text,
        // and every ETag of S3 is strong.
        let etag = ETag::strong(etag.opaque())?;
        conditions.insert(IF_NONE_MATCH, header_value(&etag.to_string())?);
    }
    Ok(request.headers(conditions))
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
    check_body_end(&response.headers)?;
    let meta = meta_without_checksums(key, ObjectMeta::UNKNOWN_SIZE, &response.headers);
    options.check(&meta)?;
    Ok(Object::from_stream_of_unknown_size(meta, response.body.into_stream()))
}

/// Checks that the end of a body without a length can be detected. A chunked body ends with a last
/// chunk (RFC 9112, section 7.1).
///
/// # Errors
/// `Unsupported` for a body that ends with its connection, because it may be incomplete, and for
/// one that is compressed for its transfer.
fn check_body_end(headers: &HeaderMap) -> Result<()> {
    match body_end(headers)? {
        BodyEnd::LastChunk => Ok(()),
        BodyEnd::Close => Err(Error::unsupported(format!(
            "the response has neither Content-Length nor chunks, so a broken connection would look \
             like its end: {SEND_LENGTH}"
        ))),
    }
}

/// Collects an object whose response has no `Content-Length` in a temporary file. A service or a
/// proxy that decodes an object sends such a response.
async fn open_spooled(
    s3: &Shared,
    key: &Key,
    options: &OpenOptions,
    mut response: Response,
) -> Result<Object> {
    let headers = response.headers.clone();
    // Checks the conditions before the body is received.
    options.check(&headers::to_object_meta(key.clone(), 0, &headers))?;
    check_body_end(&headers)?;
    let Spooled { file, size, reservation } = s3.spool.collect(&mut response.body).await?;
    let meta = meta_without_checksums(key, size, &headers);
    let range = options.positions_in_whole(size)?;
    Ok(Object::from_file(meta, range, file).with_guard(reservation))
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
    let stated = match response.status {
        // A body that is shorter than its range resumes, so that its length is not compared.
        StatusCode::PARTIAL_CONTENT => content_range(&response.headers),
        _ if has_no_length(&response.headers) => return Ok(None),
        _ => content_length(&response.headers).map(|size| (0..size, size)),
    };
    let Some((range, size)) = stated else {
        // Garage sends positions for an empty object too (`bytes 0-18446744073709551615/0`).
        if let (Some(wanted), Some(size)) = (wanted, content_range_size(&response.headers)) {
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
            format!("the response contains the bytes {range:?} of {size} instead of {expected:?}");
        return Err(Error::new(ErrorKind::Unexpected, message));
    }
    Ok(Some((range, size)))
}

/// Whether a response has no length. A `Transfer-Encoding` overrides the length (RFC 9112, section
/// 6.3).
fn has_no_length(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING) || !headers.contains_key(CONTENT_LENGTH)
}
