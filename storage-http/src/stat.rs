//! `stat` and `exists`: one HEAD, or a GET of one byte where the server has no HEAD.

use http::header::RANGE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use storage_client::{BodyEnd, Response, ResponseBody, body_end, content_length, content_range};
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result, UnknownSize};

use crate::client::Client;

/// How much of a body is read only to measure it: what arrives with the first round trips.
const MAX_MEASURED: u64 = 64 * 1024;

pub(crate) async fn stat(client: &Client, key: &Key) -> Result<ObjectMeta> {
    match client.object(Method::HEAD, key, HeaderMap::new()).await {
        Ok(answer) => match content_length(&answer.headers) {
            Some(size) => Ok(answer.object_meta(key, size)),
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
        let told = content_range(&answer.headers);
        let (_, size) = told.ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "the server does not tell the size")
        })?;
        return Ok(answer.object_meta(key, size));
    }
    measured(key, answer).await
}

/// Of an answer with the whole object.
async fn measured(key: &Key, mut answer: Response) -> Result<ObjectMeta> {
    match content_length(&answer.headers) {
        Some(size) => Ok(answer.object_meta(key, size)),
        None => {
            let end = body_end(&answer.headers)?;
            let size = measure(&mut answer.body).await?;
            let mut meta = answer.object_meta(key, size);
            keep_out_of_caches(end, &mut meta);
            Ok(meta)
        }
    }
}

/// Counts the bytes of a short body. Of a longer one no more is read.
///
/// # Errors
/// `Unsupported`, caused by [`UnknownSize`], if there are more than 64 KiB; errors of reading.
async fn measure(body: &mut ResponseBody) -> Result<u64> {
    let mut size = 0;
    while let Some(chunk) = body.next().await? {
        size += chunk.len() as u64;
        if size > MAX_MEASURED {
            return Err(Error::unsupported(
                "the server does not state how long the object is, and it has more than 64 KiB, \
                 which are not read to measure it: have the server send Content-Length",
            )
            .with_source(UnknownSize));
        }
    }
    Ok(size)
}

/// Forbids caches to store an object that may be incomplete: where the end of the connection is the
/// only end of the body, a break looks the same.
pub(crate) fn keep_out_of_caches(end: BodyEnd, meta: &mut ObjectMeta) {
    if end == BodyEnd::Close {
        meta.metadata.cache_control = Some("no-store".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_be_incomplete_is_kept_out_of_caches() {
        let cache_control = |end| {
            let mut meta = ObjectMeta::new(Key::new("a").unwrap(), 1);
            meta.metadata.cache_control = Some("public".to_owned());
            keep_out_of_caches(end, &mut meta);
            meta.metadata.cache_control
        };
        assert_eq!(cache_control(BodyEnd::LastChunk).as_deref(), Some("public"));
        assert_eq!(cache_control(BodyEnd::Close).as_deref(), Some("no-store"));
    }
}
