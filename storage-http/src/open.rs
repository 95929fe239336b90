//! `open`: sends a GET. Its body resumes if a connection breaks off.

use std::ops::Range;

use http::{Method, StatusCode};
use storage_client::{Response, body_end, object_meta, open_headers, received_range};
use storage_core::{ByteRange, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result};

use crate::client::Client;
use crate::shared::Shared;
use crate::stat::{keep_out_of_caches, stat};
use crate::version;

pub(crate) async fn open(http: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    let response = match http.client.object(Method::GET, key, open_headers(options)?).await {
        Ok(response) => response,
        Err(error) => return Err(recheck(&http.client, key, options, error).await),
    };
    match checked_range(&response, options.range)? {
        Some((sent, size)) => {
            let meta = response.object_meta(key, size);
            // Some servers ignore conditions.
            options.check(&meta)?;
            let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
            let body = version::body(http, &meta, range.clone(), response, sent);
            Ok(Object::from_stream(meta, range, body.into_stream()))
        }
        None if options.allow_unknown_size => of_unknown_size(key, options, response),
        None => collected(http, key, options, response).await,
    }
}

/// Returns the positions of the response's bytes and the size of the whole object, or `None` if the
/// response is whole and has no length.
///
/// # Errors
/// `Unexpected` if a partial response has other positions than the request.
fn checked_range(
    response: &Response,
    wanted: Option<ByteRange>,
) -> Result<Option<(Range<u64>, u64)>> {
    let received = received_range(response.status, &response.headers);
    if response.status != StatusCode::PARTIAL_CONTENT {
        return Ok(received);
    }
    let (sent, size) = received.ok_or_else(|| {
        Error::new(
            ErrorKind::Unexpected,
            "the server does not state which bytes its response contains",
        )
    })?;
    let expected = wanted.map_or(Ok(0..size), |wanted| wanted.resolve(size))?;
    if sent != expected {
        let message = format!(
            "the server sent the bytes {sent:?} of {size} instead of the requested {expected:?}"
        );
        return Err(Error::new(ErrorKind::Unexpected, message));
    }
    Ok(Some((sent, size)))
}

/// Streams an object whose size is unknown before its last byte. Its body does not resume, because
/// no range of it can be requested.
fn of_unknown_size(key: &Key, options: &OpenOptions, response: Response) -> Result<Object> {
    let end = body_end(&response.headers)?;
    let mut meta = response.object_meta(key, ObjectMeta::UNKNOWN_SIZE);
    keep_out_of_caches(end, &mut meta);
    options.check(&meta)?;
    Ok(Object::from_stream_of_unknown_size(meta, response.body.into_stream()))
}

/// Collects an object whose size is unknown before its last byte.
async fn collected(
    http: &Shared,
    key: &Key,
    options: &OpenOptions,
    mut response: Response,
) -> Result<Object> {
    let end = body_end(&response.headers)?;
    // Checks the conditions before the body is received.
    options.check(&object_meta(key.clone(), 0, &response.headers))?;
    let collected = http.spool.collect(&mut response.body).await?;
    let size = collected.size;
    let mut meta = response.object_meta(key, size);
    keep_out_of_caches(end, &mut meta);
    let range = options.positions_in_whole(size)?;
    Ok(Object::from_file(meta, range, collected.file).with_guard(collected.reservation))
}

/// Evaluates the conditions again if the error may be wrong. Some servers evaluate them in another
/// order than existence, conditions, range, which RFC 9110, section 13.2.2, requires.
async fn recheck(client: &Client, key: &Key, options: &OpenOptions, error: Error) -> Error {
    let is_in_doubt = match error.kind() {
        ErrorKind::NotModified => options.if_match.is_some(),
        ErrorKind::PreconditionFailed | ErrorKind::RangeNotSatisfiable => options.is_conditional(),
        _ => false,
    };
    if !is_in_doubt {
        return error;
    }
    match stat(client, key).await {
        Ok(meta) => options.check(&meta).err().unwrap_or(error),
        Err(missing) if missing.kind() == ErrorKind::NotFound => missing,
        Err(_) => error,
    }
}
