//! An upload whose bytes are those of other uploads, in their order.

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use storage_core::{ETag, Key, Object, Storage};

use super::append::{Append, End};
use super::begin::Beginning;
use super::state::Status;
use super::store::Loaded;
use super::{Engine, Failure};
use crate::request_body::BoxError;

/// A partial upload that has all its bytes.
#[derive(Debug, Clone)]
pub(in crate::uploads) struct Partial {
    id: String,
    key: Key,
    etag: ETag,
    pub(in crate::uploads) size: u64,
}

impl Engine {
    /// Reads a partial upload. `None` if the upload is no partial one, or lacks bytes.
    pub(in crate::uploads) async fn partial(&self, id: &str) -> Result<Option<Partial>, Failure> {
        let Loaded { id, state, .. } = self.load(id).await?;
        let is_stored = state.is_stored_partial();
        match (is_stored, state.staging, state.status) {
            (true, Some(staging), Status::Stored { etag, .. }) => {
                let size = state.length.unwrap_or_default();
                Ok(Some(Partial { id, key: staging.key, etag, size }))
            }
            _ => Ok(None),
        }
    }

    /// Copies the bytes of partial uploads into a new upload, and removes them. After a failure the
    /// partial uploads are still there, and the new one is not, unless it is unclear whether it is
    /// finished.
    pub(in crate::uploads) async fn concatenate(
        &self,
        beginning: Beginning,
        partials: Vec<Partial>,
    ) -> Result<Loaded, Failure> {
        self.detached(move |engine| async move {
            let id = beginning.id.clone();
            let mut done = match engine.begin(beginning).await {
                Ok(begun) => begun,
                Err(failure) => engine.give_up(id.clone(), failure).await?,
            };
            if done.state.status != Status::Done {
                done = match engine.append(append(&engine.storage, &id, &partials)).await {
                    Ok(done) => done,
                    Err(failure) => engine.give_up(id, failure).await?,
                };
            }
            for partial in partials {
                engine.remove_logged(partial.id).await;
            }
            Ok(done)
        })
        .await
    }

    async fn remove_logged(&self, id: String) {
        if let Err(failure) = self.terminate(id).await {
            tracing::warn!(?failure, "an upload stays until the sweep removes it");
        }
    }
}

fn append(storage: &Storage, id: &str, partials: &[Partial]) -> Append {
    Append {
        id: id.to_owned(),
        offset: 0,
        end: End::AtLength(None),
        body_size: None,
        checksum: None,
        body: bytes_of(storage.clone(), partials.to_vec()),
    }
}

/// Reads the objects one after the other. Each is the version that its upload has stored.
fn bytes_of(
    storage: Storage,
    partials: Vec<Partial>,
) -> BoxStream<'static, Result<Bytes, BoxError>> {
    stream::iter(partials)
        .then(move |partial| {
            let open = storage.open(&partial.key).if_match(partial.etag);
            async move { open.await.map(Object::into_stream) }
        })
        .try_flatten()
        .map_err(BoxError::from)
        .boxed()
}
