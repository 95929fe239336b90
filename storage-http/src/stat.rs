//! `stat` and `exists`: send a HEAD, or a GET of one byte if the server does not support HEAD.

use http::header::RANGE;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use storage_client::{BodyEnd, Response, ResponseBody, body_end, content_length, content_range};
use storage_core::{Error, ErrorKind, Key, ObjectMeta, Result, UnknownSize};

use crate::client::Client;

/// Upper bound for reading a body to measure it, in bytes: about what arrives in the first round
/// trips.
const MAX_MEASURED: u64 = 64 * 1024;

pub(crate) async fn stat(client: &Client, key: &Key) -> Result<ObjectMeta> {
    match client.object(Method::HEAD, key, HeaderMap::new()).await {
        Ok(response) => match content_length(&response.headers) {
            Some(size) => Ok(response.object_meta(key, size)),
            // Some servers state a length for GET but not for HEAD.
            None => by_get(client, key).await,
        },
        Err(error) if lacks_head(&error) => by_get(client, key).await,
        Err(error) => Err(error),
    }
}

pub(crate) async fn exists(client: &Client, key: &Key) -> Result<bool> {
    let result = match client.object(Method::HEAD, key, HeaderMap::new()).await {
        Err(error) if lacks_head(&error) => client.object(Method::GET, key, first_byte()).await,
        result => result,
    };
    match result {
        Ok(_) => Ok(true),
        Err(error) => match error.kind() {
            ErrorKind::NotFound => Ok(false),
            // The object is empty.
            ErrorKind::RangeNotSatisfiable => Ok(true),
            _ => Err(error),
        },
    }
}

/// Returns whether an error is a 405 or 501.
fn lacks_head(error: &Error) -> bool {
    error.kind() == ErrorKind::Unsupported
}

fn first_byte() -> HeaderMap {
    [(RANGE, HeaderValue::from_static("bytes=0-0"))].into_iter().collect()
}

async fn by_get(client: &Client, key: &Key) -> Result<ObjectMeta> {
    let response = match client.object(Method::GET, key, first_byte()).await {
        Err(error) if error.kind() == ErrorKind::RangeNotSatisfiable => {
            client.object(Method::GET, key, HeaderMap::new()).await?
        }
        result => result?,
    };
    if response.status == StatusCode::PARTIAL_CONTENT {
        let (_, size) = content_range(&response.headers).ok_or_else(|| {
            Error::new(ErrorKind::Unexpected, "the server does not state the size of the object")
        })?;
        return Ok(response.object_meta(key, size));
    }
    of_whole(key, response).await
}

/// Returns the metadata of an object from a response that contains it whole.
async fn of_whole(key: &Key, mut response: Response) -> Result<ObjectMeta> {
    match content_length(&response.headers) {
        Some(size) => Ok(response.object_meta(key, size)),
        None => {
            let end = body_end(&response.headers)?;
            let size = measure(&mut response.body).await?;
            let mut meta = response.object_meta(key, size);
            keep_out_of_caches(end, &mut meta);
            Ok(meta)
        }
    }
}

/// Counts the bytes of a short body.
///
/// # Errors
/// `Unsupported` with the source [`UnknownSize`] if there are more than 64 KiB, and the errors of
/// reading the body.
async fn measure(body: &mut ResponseBody) -> Result<u64> {
    let mut size = 0;
    while let Some(chunk) = body.next().await? {
        size += chunk.len() as u64;
        if size > MAX_MEASURED {
            return Err(Error::unsupported(
                "the server does not state the length of the object, which has more than 64 KiB and is \
                 not downloaded to measure it: have the server send Content-Length",
            )
            .with_source(UnknownSize));
        }
    }
    Ok(size)
}

/// Forbids caches to store an object that may be incomplete. If a body ends with its connection, a
/// connection that breaks off cannot be distinguished from the end.
pub(crate) fn keep_out_of_caches(end: BodyEnd, meta: &mut ObjectMeta) {
    if end == BodyEnd::Close {
        meta.metadata.cache_control = Some("no-store".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_object_that_may_be_incomplete_is_kept_out_of_caches() {
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
