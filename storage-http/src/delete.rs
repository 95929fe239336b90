//! `delete`: sends a DELETE, but not for a directory, because WebDAV deletes everything in it.

use http::header::HeaderName;
use http::{HeaderValue, Method};
use storage_core::{ErrorKind, Key, Result};

use crate::shared::Shared;
use crate::stat;
use crate::webdav::Resource;

const DEPTH: HeaderName = HeaderName::from_static("depth");

pub(crate) async fn delete(http: &Shared, key: &Key) -> Result<()> {
    // Some servers delete a directory even if the URL has no slash at the end, so ask WebDAV first
    // whether the resource is a directory.
    let resource = http.webdav.find(&http.client, key).await?;
    if let Some(Resource::Directory | Resource::Missing) = resource {
        return Ok(());
    }
    let url = http.client.url(key);
    let mut request = http.client.request(Method::DELETE, url.clone());
    // If a directory has been created since, servers that follow the standard refuse this depth
    // (RFC 4918, section 9.6.1).
    request.headers_mut().insert(DEPTH, HeaderValue::from_static("0"));
    let response = http.client.send(request).await?;
    if response.status.is_success() && response.status != http::StatusCode::MULTI_STATUS {
        return Ok(());
    }
    let error = http.client.error_of(response, &url).await;
    match error.kind() {
        ErrorKind::NotFound => Ok(()),
        // Apache responds with 403 if another request deletes the file at the same time. Without
        // WebDAV, a server may hide an object from a user who may not delete it.
        ErrorKind::PermissionDenied if resource == Some(Resource::Object) => {
            match http.webdav.find(&http.client, key).await {
                Ok(Some(Resource::Missing)) => Ok(()),
                Ok(_) | Err(_) => Err(error),
            }
        }
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => Err(error),
        _ if error.is_retryable() => Err(error),
        // nginx responds with 409 if the key is a directory or is below an object. Such a key has
        // no object, so the delete has nothing to do.
        _ => match stat::exists(&http.client, key).await {
            Ok(false) => Ok(()),
            Ok(true) | Err(_) => Err(error),
        },
    }
}
