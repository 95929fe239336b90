//! `stat` and `exists`: one HEAD, or a GET of one byte where the server has no HEAD.

use http::header::RANGE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result};

use super::{headers, spool};
use crate::client::{Answer, Client, meta_of};

pub(crate) async fn stat(client: &Client, key: &Key) -> Result<ObjectMeta> {
    match client.object(Method::HEAD, key, HeaderMap::new()).await {
        Ok(answer) => match headers::content_length(&answer.headers) {
            Some(size) => Ok(answer.meta(key, size)),
            // Some servers know the length of what they send, and not of what they would send.
            None => by_get(client, key).await,
        },
        Err(error) if has_no_head(&error) => by_get(client, key).await,
        Err(error) => Err(error),
    }
}

pub(crate) async fn exists(client: &Client, key: &Key) -> Result<bool> {
    let answered = match client.object(Method::HEAD, key, HeaderMap::new()).await {
        Err(error) if has_no_head(&error) => client.object(Method::GET, key, first_byte()).await,
        answered => answered,
    };
    match answered {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Ok(false),
            // An object without a first byte.
            ErrorKind::RangeNotSatisfiable => Ok(true),
            _ => Err(error),
        },
    }
}

/// 405 or 501.
fn has_no_head(error: &Error) -> bool {
    error.kind() == ErrorKind::Unsupported
}

fn first_byte() -> HeaderMap {
    [(RANGE, HeaderValue::from_static("bytes=0-0"))].into_iter().collect()
}

async fn by_get(client: &Client, key: &Key) -> Result<ObjectMeta> {
    let answer = match client.object(Method::GET, key, first_byte()).await {
        Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {
            client.object(Method::GET, key, HeaderMap::new()).await?
        }
        answered => answered?,
    };
    if answer.status == StatusCode::PARTIAL_CONTENT {
        let told = headers::content_range(&answer.headers);
        let (_, size) = told.ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "the server does not tell the size")
        })?;
        return Ok(answer.meta(key, size));
    }
    measured(key, answer).await
}

/// Of an answer with the whole object.
async fn measured(key: &Key, mut answer: Answer) -> Result<ObjectMeta> {
    match headers::content_length(&answer.headers) {
        Some(size) => Ok(answer.meta(key, size)),
        None => {
            let (headers, sent_at) = (std::mem::take(&mut answer.headers), answer.sent_at);
            let end = spool::End::of(&headers)?;
            let size = spool::measure(answer).await?;
            let mut meta = meta_of(key, size, &headers, sent_at);
            end.mark(&mut meta);
            Ok(meta)
        }
    }
}
