//! [`AnyStore`]: a storage of anystorage as a driver of loco's own storage.

use std::path::Path;
use std::time::Duration;

use anystorage::{Entry, Error, ErrorKind, Link, ObjectEntry, Payload, Storage, UrlMethod};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use loco_rs::storage::drivers::{
    GetResponse, ListEntry, PresignPutOptions, PresignedRequest, StoreDriver, UploadResponse,
};
use loco_rs::storage::stream::BytesStream;
use loco_rs::storage::{StorageError, StorageResult};

/// A storage of anystorage behind `ctx.storage`, for code that uses loco's own storage.
///
/// Uploads and downloads stream, except `get`, whose response contains the whole object, because
/// loco has no other constructor for it. Errors are `StorageError::Any` with an
/// [`anystorage::Error`], so that `downcast_ref` returns its kind.
pub struct AnyStore(pub Storage);

#[async_trait]
impl StoreDriver for AnyStore {
    async fn upload(&self, path: &Path, content: &Bytes) -> StorageResult<UploadResponse> {
        let saved = self.0.save(key(path)?, content.clone()).await.map_err(any)?;
        Ok(UploadResponse::new(saved.etag.map(|etag| etag.to_string()), None))
    }

    async fn upload_stream(
        &self,
        path: &Path,
        stream: BytesStream,
    ) -> StorageResult<UploadResponse> {
        let saved = self.0.save(key(path)?, Payload::from_stream(stream)).await.map_err(any)?;
        Ok(UploadResponse::new(saved.etag.map(|etag| etag.to_string()), None))
    }

    async fn get(&self, path: &Path) -> StorageResult<GetResponse> {
        Ok(GetResponse::from_bytes(self.0.read(key(path)?).await.map_err(any)?))
    }

    async fn get_stream(&self, path: &Path) -> StorageResult<BytesStream> {
        let object = self.0.open(key(path)?).await.map_err(any)?;
        Ok(BytesStream::from_body_stream(object.into_stream().map_err(std::io::Error::from)))
    }

    async fn delete(&self, path: &Path) -> StorageResult<()> {
        self.0.delete(key(path)?).await.map_err(any)
    }

    async fn rename(&self, from: &Path, to: &Path) -> StorageResult<()> {
        self.0.rename(key(from)?, key(to)?).await.map_err(any)?;
        Ok(())
    }

    async fn copy(&self, from: &Path, to: &Path) -> StorageResult<()> {
        self.0.copy(key(from)?, key(to)?).await.map_err(any)?;
        Ok(())
    }

    async fn exists(&self, path: &Path) -> StorageResult<bool> {
        self.0.exists(key(path)?).await.map_err(any)
    }

    async fn list(&self, path: &Path, recursive: bool) -> StorageResult<Vec<ListEntry>> {
        let mut directory = key(path)?.to_owned();
        if !directory.is_empty() && !directory.ends_with('/') {
            directory.push('/');
        }
        let list = self.0.list(directory);
        let list = if recursive { list } else { list.one_level() };
        let entries = list.collect().await.map_err(any)?;
        Ok(entries.into_iter().map(list_entry).collect())
    }

    async fn stat(&self, path: &Path) -> StorageResult<ListEntry> {
        let meta = self.0.stat(key(path)?).await.map_err(any)?;
        let mut entry = ObjectEntry::new(meta.key, meta.size);
        (entry.etag, entry.last_modified) = (meta.etag, meta.last_modified);
        Ok(list_entry(Entry::Object(entry)))
    }

    async fn presign_get(&self, path: &Path, expire: Duration) -> StorageResult<PresignedRequest> {
        presigned(&self.0.url(key(path)?).expires_in(expire).await.map_err(any)?)
    }

    async fn presign_put(
        &self,
        path: &Path,
        expire: Duration,
        options: PresignPutOptions,
    ) -> StorageResult<PresignedRequest> {
        let mut url = self.0.url(key(path)?).method(UrlMethod::Put).expires_in(expire);
        if let Some(content_type) = options.content_type {
            url = url.content_type(content_type);
        }
        presigned(&url.await.map_err(any)?)
    }
}

/// Returns the key of a path, which is checked when it is used.
fn key(path: &Path) -> StorageResult<&str> {
    path.to_str().ok_or_else(|| any(Error::new(ErrorKind::InvalidKey, "a path is not UTF-8")))
}

fn any(error: Error) -> StorageError {
    StorageError::Any(Box::new(error))
}

fn list_entry(entry: Entry) -> ListEntry {
    match entry {
        Entry::Object(object) => ListEntry::new(
            object.key.to_string(),
            false,
            Some(object.size),
            object.last_modified.map(Into::into),
            object.etag.map(|etag| etag.to_string()),
        ),
        directory => ListEntry::new(directory.name().to_owned(), true, None, None, None),
    }
}

fn presigned(link: &Link) -> StorageResult<PresignedRequest> {
    let error = |error: http::Error| StorageError::Any(Box::new(error));
    let method = Method::from_bytes(link.method.as_str().as_bytes());
    let uri = link.as_str().parse::<http::Uri>();
    let mut headers = HeaderMap::new();
    for (name, value) in &link.headers {
        let name = HeaderName::try_from(name).map_err(|cause| error(cause.into()))?;
        headers.insert(name, HeaderValue::try_from(value).map_err(|cause| error(cause.into()))?);
    }
    let method = method.map_err(|cause| error(cause.into()))?;
    Ok(PresignedRequest::new(method, uri.map_err(|cause| error(cause.into()))?, headers))
}
