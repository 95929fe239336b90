//! `open`: one GET, whose body goes on where a connection breaks off.

use std::ops::Range;

use http::{Method, StatusCode};
use storage_client::{Response, body_end, object_meta, open_headers, received_range};
use storage_core::{ByteRange, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result};

use crate::client::Client;
use crate::shared::Shared;
use crate::stat::{keep_out_of_caches, stat};
use crate::version;

pub(crate) async fn open(http: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    let answer = match http.client.object(Method::GET, key, open_headers(options)?).await {
        Ok(answer) => answer,
        Err(error) => return Err(explained(&http.client, key, options, error).await),
    };
    match extent(&answer, options.range)? {
        Some((sent, size)) => {
            let meta = answer.object_meta(key, size);
            // Servers heed some conditions, or none.
            options.check(&meta)?;
            let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
            let body = version::body(http, &meta, range.clone(), answer, sent);
            Ok(Object::from_stream(meta, range, body.into_stream()))
        }
        None if options.allow_unknown_size => passed_on(key, options, answer),
        None => collected(http, key, options, answer).await,
    }
}

/// The positions of the answer's bytes and the size of the whole object, checked against what was
/// asked for. `None` if the server does not tell how much the whole is that it sends.
fn extent(answer: &Response, wanted: Option<ByteRange>) -> Result<Option<(Range<u64>, u64)>> {
    let received = received_range(answer.status, &answer.headers);
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return Ok(received);
    }
    let (sent, size) = received.ok_or_else(|| {
        Error::new(ErrorKind::Unexpected, "the server does not tell which bytes it sends")
    })?;
    let expected = wanted.map_or(Ok(0..size), |wanted| wanted.resolve(size))?;
    if sent != expected {
        let message = format!(
            "the server sends the bytes {sent:?} of {size}, not {expected:?} as it was asked to"
        );
        return Err(Error::new(ErrorKind::Unexpected, message));
    }
    Ok(Some((sent, size)))
}

/// Streams an object of which no size is known before its last byte. A body that breaks off is not
/// taken up again, because no range of it can be asked for.
fn passed_on(key: &Key, options: &OpenOptions, answer: Response) -> Result<Object> {
    let end = body_end(&answer.headers)?;
    let mut meta = answer.object_meta(key, ObjectMeta::UNKNOWN_SIZE);
    keep_out_of_caches(end, &mut meta);
    options.check(&meta)?;
    Ok(Object::from_stream_of_unknown_size(meta, answer.body.into_stream()))
}

/// Collects an object of which no size is known before its last byte.
async fn collected(
    http: &Shared,
    key: &Key,
    options: &OpenOptions,
    mut answer: Response,
) -> Result<Object> {
    let end = body_end(&answer.headers)?;
    // Fails before the bytes are waited for.
    options.check(&object_meta(key.clone(), 0, &answer.headers))?;
    let collected = http.spool.collect(&mut answer.body).await?;
    let size = collected.size;
    let mut meta = answer.object_meta(key, size);
    keep_out_of_caches(end, &mut meta);
    let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
    Ok(Object::from_file(meta, range, collected.file).with_guard(collected.reservation))
}

/// Conditions are evaluated in an order, and before the range (RFC 9110, section 13.2.2), and all
/// that only for an object that is there. Servers that heed a part of it are asked what they have.
async fn explained(client: &Client, key: &Key, options: &OpenOptions, error: Error) -> Error {
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
