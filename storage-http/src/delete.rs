//! `delete`: one DELETE, and never one of a directory, which WebDAV takes for all that is in it.

use http::header::HeaderName;
use http::{HeaderValue, Method};
use storage_core::{ErrorKind, Key, Result};

use crate::shared::Shared;
use crate::stat;
use crate::webdav::There;

const DEPTH: HeaderName = HeaderName::from_static("depth");

pub(crate) async fn delete(http: &Shared, key: &Key) -> Result<()> {
    // Some servers delete a directory whose name was asked for without its slash. Those that speak
    // WebDAV can be asked.
    if let Some(There::Directory | There::Nothing) = http.webdav.look(&http.client, key).await? {
        return Ok(());
    }
    let url = http.client.url(key);
    let mut request = http.client.request(Method::DELETE, url.clone());
    // Not a directory, should there be one by now: servers that go by the book refuse it (RFC 4918,
    // section 9.6.1).
    request.headers_mut().insert(DEPTH, HeaderValue::from_static("0"));
    let answer = http.client.send(request).await?;
    if answer.status.is_success() && answer.status != http::StatusCode::MULTI_STATUS {
        return Ok(());
    }
    let error = http.client.refused(answer, &url).await;
    match error.kind() {
        ErrorKind::NotFound => Ok(()),
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => Err(error),
        _ if error.is_retryable() => Err(error),
        // nginx refuses with 409 what is a directory, or below an object, and so not there.
        _ => match stat::exists(&http.client, key).await {
            Ok(false) => Ok(()),
            Ok(true) | Err(_) => Err(error),
        },
    }
}
