//! `save`: sends a PUT. Creates missing directories only if the server requires them.

use std::pin::pin;

use futures_util::future::{Either, select};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use storage_client::{etag, header_value};
use storage_core::{
    Error, ErrorKind, Key, Metadata, ObjectMeta, Payload, Result, SaveMode, SaveOptions,
};

use crate::client::Client;
use crate::shared::Shared;
use crate::upload::Upload;
use crate::webdav::{self, Resource};

/// The greatest length of a file name on common file systems, in bytes.
const MAX_NAME: usize = 255;

/// The failure of a PUT.
struct Failed {
    error: Error,
    /// The status, if there was a response.
    status: Option<StatusCode>,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { error, status: None }
    }
}

pub(crate) async fn save(
    http: &Shared,
    key: &Key,
    payload: Payload,
    options: &SaveOptions,
) -> Result<ObjectMeta> {
    // These checks fail before any byte is sent.
    check_mode(&options.mode)?;
    check_metadata(&options.metadata)?;
    let replay = payload.replay();
    let upload = Upload::begin(payload).await?;
    let failed = match put(&http.client, key, &upload, options).await {
        Ok(meta) => return Ok(meta),
        Err(failed) => failed,
    };
    let missing = match diagnose(&http.client, key, failed.status).await {
        Diagnosis::Refused(error) => return Err(error),
        Diagnosis::Unknown => return Err(failed.error),
        Diagnosis::MissingDirectories(directories) => directories,
    };
    let repeated = match replay {
        Some(payload) => Some(Upload::begin(payload).await?),
        None => upload.repeat(),
    };
    let Some(repeated) = repeated else {
        return Err(
            Error::new(ErrorKind::Conflict, without_directories(key)).with_source(failed.error)
        );
    };
    for directory in &missing {
        webdav::create_directory(&http.client, directory).await.map_err(|error| {
            Error::new(ErrorKind::Conflict, without_directories(key)).with_source(error)
        })?;
    }
    put(&http.client, key, &repeated, options).await.map_err(|failed| failed.error)
}

fn check_mode(mode: &SaveMode) -> Result<()> {
    match mode {
        SaveMode::Overwrite => Ok(()),
        _ => Err(Error::unsupported(
            "file servers ignore the conditions of a PUT, so create_new, if_match and unique_name \
             are not supported: save without them, which overwrites",
        )),
    }
}

/// Refuses all metadata except a content type, because the server would drop it. The server derives
/// a content type from the name.
fn check_metadata(metadata: &Metadata) -> Result<()> {
    let mut others = metadata.clone();
    others.content_type = None;
    if others.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(
        "file servers store no headers and no user metadata: save without them, or configure the \
         server to send them",
    ))
}

async fn put(
    client: &Client,
    key: &Key,
    upload: &Upload,
    options: &SaveOptions,
) -> Result<ObjectMeta, Failed> {
    let url = client.url(key);
    let mut request = client.request(Method::PUT, url.clone());
    let headers = request.headers_mut();
    if let Some(content_type) = &options.metadata.content_type {
        headers.insert(CONTENT_TYPE, header_value(content_type)?);
    }
    if let Some(size) = upload.size {
        headers.insert(CONTENT_LENGTH, size.into());
    }
    *request.body_mut() = Some(upload.body());
    let state = upload.state();
    let idle = client.idle_timeout();
    // The server may receive the last chunks for a while after the connection has taken them.
    let stalled = pin!(state.stalled(idle, idle + client.header_timeout()));
    let result = match select(pin!(client.execute(request)), stalled).await {
        Either::Left((result, _)) => result,
        Either::Right(_) => Err(no_progress(client)),
    };
    if let Some(failure) = state.failure() {
        return Err(failure.into());
    }
    let response = result?;
    let status = response.status;
    if !status.is_success() || status == StatusCode::MULTI_STATUS {
        return Err(Failed { error: client.error_of(response, &url).await, status: Some(status) });
    }
    let (size, checksums) = state.sent();
    let mut meta = ObjectMeta::new(key.clone(), size);
    // A server sends an ETag only if it stored the bytes unchanged (RFC 9110, section 9.3.4).
    meta.etag = etag(&response.headers);
    meta.metadata = options.metadata.clone();
    meta.checksums = checksums;
    Ok(meta)
}

fn no_progress(client: &Client) -> Error {
    let message = format!(
        "{} stopped accepting the body, or did not respond to it (options idle_timeout and \
         header_timeout); the save may have happened",
        client.place()
    );
    Error::new(ErrorKind::Timeout, message)
}

/// Why the server refused a PUT.
enum Diagnosis {
    Refused(Error),
    /// These directories are missing, the outer ones first. Empty if they have been created since.
    MissingDirectories(Vec<String>),
    Unknown,
}

/// Finds the reason why the server refused a PUT. If a directory is missing, or the key names one,
/// servers respond with 409 (RFC 4918, section 9.7.1), with 500 (nginx), with a redirection into
/// the directory (Apache), or with another status.
async fn diagnose(client: &Client, key: &Key, status: Option<StatusCode>) -> Diagnosis {
    let Some(301 | 302 | 307 | 308 | 400 | 403 | 404 | 405 | 409 | 414 | 500) =
        status.map(|status| status.as_u16())
    else {
        return Diagnosis::Unknown;
    };
    if key.segments().any(|segment| segment.len() > MAX_NAME) {
        let message = "a segment of the key has more than 255 bytes, which file systems do not \
                       support: use a shorter name";
        return Diagnosis::Refused(Error::new(ErrorKind::InvalidKey, message));
    }
    if let Ok(Resource::Directory) = webdav::find_by_head(client, key.as_str()).await {
        let message = "the server has a directory with the name of this key";
        return Diagnosis::Refused(Error::new(ErrorKind::Conflict, message));
    }
    let mut missing = Vec::new();
    let mut parent = key.parent();
    while let Some(directory) = parent {
        match webdav::find_by_head(client, directory).await {
            Ok(Resource::Object) => {
                let message = format!("{directory:?} is an object, so no key below it can exist");
                return Diagnosis::Refused(Error::new(ErrorKind::Conflict, message));
            }
            Ok(Resource::Missing) => missing.insert(0, directory.to_owned()),
            Ok(Resource::Directory) => break,
            Err(_) => return Diagnosis::Unknown,
        }
        parent = directory.rsplit_once('/').map(|(parent, _)| parent);
    }
    let reports_missing = status == Some(StatusCode::CONFLICT) && key.parent().is_some();
    if missing.is_empty() && !reports_missing {
        Diagnosis::Unknown
    } else {
        Diagnosis::MissingDirectories(missing)
    }
}

fn without_directories(key: &Key) -> String {
    let directory = key.parent().unwrap_or_default();
    format!(
        "the server has no directory {directory:?} and does not create it (nginx: \
         create_full_put_path on)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_other_than_a_content_type_is_refused() {
        assert!(check_metadata(&Metadata::new().content_type("text/css")).is_ok());
        for metadata in [
            Metadata::new().content_encoding("gzip"),
            Metadata::new().content_disposition("inline"),
            Metadata::new().content_language("de"),
            Metadata::new().cache_control("no-store"),
            Metadata::new().expires(std::time::UNIX_EPOCH),
            Metadata::new().user("a", "b"),
        ] {
            assert_eq!(
                check_metadata(&metadata).unwrap_err().kind(),
                ErrorKind::Unsupported,
                "{metadata:?}"
            );
        }
    }
}
