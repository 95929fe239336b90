//! `save`: one PUT; directories are made only where the server asks for them.

use std::pin::pin;

use futures_util::future::{Either, select};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use storage_client::header_value;
use storage_core::{
    Error, ErrorKind, Key, Metadata, ObjectMeta, Payload, Result, SaveMode, SaveOptions,
};

use crate::client::Client;
use crate::shared::Shared;
use crate::upload::Upload;
use crate::webdav;

/// The longest name that file systems have.
const LONGEST_NAME: usize = 255;

/// Why a PUT did not succeed.
struct Failed {
    error: Error,
    /// What the server said, if it said something.
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
    // What can be refused is refused before anybody sends a byte.
    check_mode(&options.mode)?;
    check_metadata(&options.metadata)?;
    let again = payload.replay();
    let upload = Upload::begin(payload).await?;
    let failed = match put(&http.client, key, &upload, options).await {
        Ok(meta) => return Ok(meta),
        Err(failed) => failed,
    };
    let missing = match why(&http.client, key, failed.status).await {
        Why::Refused(error) => return Err(error),
        Why::Unknown => return Err(failed.error),
        Why::Missing(directories) => directories,
    };
    let again = match again {
        Some(payload) => Some(Upload::begin(payload).await?),
        None => upload.again(),
    };
    let Some(again) = again else {
        return Err(
            Error::new(ErrorKind::Conflict, without_directories(key)).with_source(failed.error)
        );
    };
    for directory in &missing {
        webdav::make_directory(&http.client, directory).await.map_err(|error| {
            Error::new(ErrorKind::Conflict, without_directories(key)).with_source(error)
        })?;
    }
    put(&http.client, key, &again, options).await.map_err(|failed| failed.error)
}

fn check_mode(mode: &SaveMode) -> Result<()> {
    match mode {
        SaveMode::Overwrite => Ok(()),
        _ => Err(Error::unsupported(
            "servers of files ignore the conditions of a PUT and do not say so: create_new, if_match and unique_name cannot be had \
             from them",
        )),
    }
}

/// Content types are told from names by the server; everything else it would drop.
fn check_metadata(metadata: &Metadata) -> Result<()> {
    let mut others = metadata.clone();
    others.content_type = None;
    if others.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(
        "servers of files keep no headers and no user metadata: save without them, or configure the server to send them",
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
    // What was handed over last may still be on its way for a while.
    let stalled = pin!(state.stalled(idle, idle + client.header_timeout()));
    let answered = match select(pin!(client.execute(request)), stalled).await {
        Either::Left((answered, _)) => answered,
        Either::Right(_) => Err(no_progress(client)),
    };
    if let Some(failure) = state.failure() {
        return Err(failure.into());
    }
    let answer = answered?;
    let status = answer.status;
    if !status.is_success() || status == StatusCode::MULTI_STATUS {
        return Err(Failed { error: client.refused(answer, &url).await, status: Some(status) });
    }
    let (size, checksums) = state.sent();
    let mut meta = ObjectMeta::new(key.clone(), size);
    // A server that tells an ETag has stored the bytes as they are (RFC 9110, section 9.3.4).
    meta.etag = storage_client::etag(&answer.headers);
    meta.metadata = options.metadata.clone();
    meta.checksums = checksums;
    Ok(meta)
}

fn no_progress(client: &Client) -> Error {
    let message = format!(
        "{} takes no more of the body, or gives no answer to it (options idle_timeout and header_timeout); the save may have \
         happened all the same",
        client.place()
    );
    Error::new(ErrorKind::Timeout, message)
}

/// Why the server did not take an object.
enum Why {
    Refused(Error),
    /// These directories were not there, the outer ones first. None of them if somebody has made
    /// them by now.
    Missing(Vec<String>),
    Unknown,
}

/// Looks around after a PUT that was refused. Where a directory is missing or in the way, servers
/// say 409, as WebDAV has it, or 500 (nginx), or redirect into the directory (Apache), or other
/// things.
async fn why(client: &Client, key: &Key, status: Option<StatusCode>) -> Why {
    let Some(301 | 302 | 307 | 308 | 400 | 403 | 404 | 405 | 409 | 414 | 500) =
        status.map(|status| status.as_u16())
    else {
        return Why::Unknown;
    };
    if key.segments().any(|segment| segment.len() > LONGEST_NAME) {
        let message = "the server refuses the key, and a segment of it has more than 255 bytes, which file systems do not hold";
        return Why::Refused(Error::new(ErrorKind::InvalidKey, message));
    }
    if let Ok(webdav::There::Directory) = webdav::look(client, key.as_str()).await {
        return Why::Refused(Error::new(ErrorKind::Conflict, "there is a directory of this name"));
    }
    let mut missing = Vec::new();
    let mut parent = key.parent();
    while let Some(directory) = parent {
        match webdav::look(client, directory).await {
            Ok(webdav::There::Object) => {
                let message =
                    format!("{directory:?} is an object, so that there can be none below it");
                return Why::Refused(Error::new(ErrorKind::Conflict, message));
            }
            Ok(webdav::There::Nothing) => missing.insert(0, directory.to_owned()),
            Ok(webdav::There::Directory) => break,
            Err(_) => return Why::Unknown,
        }
        parent = directory.rsplit_once('/').map(|(parent, _)| parent);
    }
    let is_for_want_of_them = status == Some(StatusCode::CONFLICT) && key.parent().is_some();
    if missing.is_empty() && !is_for_want_of_them { Why::Unknown } else { Why::Missing(missing) }
}

fn without_directories(key: &Key) -> String {
    let directory = key.parent().unwrap_or_default();
    format!(
        "the server has no directory {directory:?} and makes none by itself (nginx: create_full_put_path on)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_servers_of_files_do_not_keep_is_refused() {
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
