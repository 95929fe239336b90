//! `open`: one GET, whose body goes on where a connection breaks off.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use futures_util::stream;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, RANGE};
use http::{HeaderMap, Method, StatusCode};
use storage_core::{ByteRange, Error, ErrorKind, Key, Object, ObjectMeta, OpenOptions, Result};

use crate::body::Body;
use crate::client::{Answer, Client, meta_of};
use crate::headers::{self, header_value};
use crate::spool;
use crate::stat::stat;
use crate::verbs::Shared;

/// The last second of the year 9999, since 1970.
const LAST_SECOND: Duration = Duration::from_secs(253_402_300_799);

pub(crate) async fn open(http: &Shared, key: &Key, options: &OpenOptions) -> Result<Object> {
    let answer = match http.client.object(Method::GET, key, conditions(options)?).await {
        Ok(answer) => answer,
        Err(error) => return Err(explained(&http.client, key, options, error).await),
    };
    match extent(&answer, options.range)? {
        Some((sent, size)) => {
            let meta = answer.meta(key, size);
            // Servers heed some conditions, or none.
            options.check(&meta)?;
            let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
            let body = Body::new(http, &meta, range.clone(), answer, sent);
            Ok(Object::from_stream(meta, range, body.into_stream()))
        }
        None if options.allow_unknown_size => passed_on(key, options, answer),
        None => collected(http, key, options, answer).await,
    }
}

fn conditions(options: &OpenOptions) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    if let Some(range) = options.range {
        headers.insert(RANGE, header_value(&range.representable().to_string())?);
    }
    if let Some(etag) = &options.if_match {
        headers.insert(IF_MATCH, header_value(&etag.to_string())?);
    }
    if let Some(etag) = &options.if_none_match {
        headers.insert(IF_NONE_MATCH, header_value(&etag.to_string())?);
    } else if let Some(since) = options.if_modified_since {
        // A date before 1970 or after 9999 has no form in HTTP, and is before or after every
        // object's.
        let since = since.clamp(UNIX_EPOCH, UNIX_EPOCH + LAST_SECOND);
        headers.insert(IF_MODIFIED_SINCE, header_value(&httpdate::fmt_http_date(since))?);
    }
    Ok(headers)
}

/// The positions of the answer's bytes and the size of the whole object, checked against what was
/// asked for. `None` if the server does not tell how much the whole is that it sends.
fn extent(answer: &Answer, wanted: Option<ByteRange>) -> Result<Option<(Range<u64>, u64)>> {
    if answer.status != StatusCode::PARTIAL_CONTENT {
        return Ok(headers::content_length(&answer.headers).map(|size| (0..size, size)));
    }
    let told = headers::content_range(&answer.headers);
    let (sent, size) = told.ok_or_else(|| {
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
fn passed_on(key: &Key, options: &OpenOptions, answer: Answer) -> Result<Object> {
    let end = spool::End::of(&answer.headers)?;
    let mut meta = answer.meta(key, ObjectMeta::UNKNOWN_SIZE);
    end.mark(&mut meta);
    options.check(&meta)?;
    let chunks = stream::try_unfold(answer, |mut answer| async move {
        let chunk = answer.next().await?;
        Ok(chunk.map(|chunk| (chunk, answer)))
    });
    Ok(Object::from_stream_of_unknown_size(meta, chunks))
}

/// Collects an object of which no size is known before its last byte.
async fn collected(
    http: &Shared,
    key: &Key,
    options: &OpenOptions,
    mut answer: Answer,
) -> Result<Object> {
    let (headers, sent_at) = (std::mem::take(&mut answer.headers), answer.sent_at);
    let end = spool::End::of(&headers)?;
    // Before anybody waits for the bytes.
    options.check(&headers::to_meta(key.clone(), 0, &headers))?;
    let (file, size, reservation) = spool::collect(answer, &http.spool).await?;
    let mut meta = meta_of(key, size, &headers, sent_at);
    end.mark(&mut meta);
    let range = options.range.map_or(Ok(0..size), |range| range.resolve(size))?;
    Ok(Object::from_file(meta, range, file).with_guard(reservation))
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
