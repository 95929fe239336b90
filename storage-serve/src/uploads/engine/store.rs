//! [`StateStore`]: the objects below the prefix of uploads.

use std::time::SystemTime;

use bytes::Bytes;
use storage_core::{ETag, Entries, Entry, Error, ErrorKind, Result, Save, Storage, keys};

use super::failure::Failure;
use super::state::{Segment, State};

/// The largest state that is read: 10,000 parts have about 2 MiB.
const MAX_STATE_BYTES: u64 = 16 << 20;

/// The objects of uploads: `<prefix><id>/state.json` and `<prefix><id>/rest-<random>`.
#[derive(Debug, Clone)]
pub(in crate::uploads) struct StateStore {
    pub(in crate::uploads) storage: Storage,
    /// Ends in a slash, or is empty.
    pub(in crate::uploads) prefix: String,
}

/// A state, and the version of its object.
#[derive(Debug, Clone)]
pub(in crate::uploads) struct Loaded {
    pub(in crate::uploads) id: String,
    pub(in crate::uploads) state: State,
    etag: ETag,
}

impl StateStore {
    pub(super) fn new(storage: Storage) -> Self {
        Self { storage, prefix: ".uploads/".to_owned() }
    }

    fn state_key(&self, id: &str) -> String {
        format!("{}{id}/state.json", self.prefix)
    }

    fn segment_key(&self, id: &str, segment: &Segment) -> String {
        format!("{}{id}/{}", self.prefix, segment.name)
    }

    /// Returns the temporary key of the object of an upload.
    pub(super) fn object_key(&self, id: &str) -> String {
        format!("{}{id}/object", self.prefix)
    }

    /// Returns the save of a state. Other servers change it too, so a storage with a cache must not
    /// keep it. A storage without metadata has no such cache.
    fn save_state(&self, id: &str, saved: Bytes) -> Save {
        let save = self.storage.save(self.state_key(id), saved).content_type("application/json");
        match self.storage.info().capabilities.metadata {
            true => save.cache_control("no-store"),
            false => save,
        }
    }

    /// Saves the state of a new upload.
    pub(super) async fn create(&self, id: &str, mut state: State) -> Result<Loaded> {
        let saved = self.encode(&mut state)?;
        let created = self.save_state(id, saved).create_new().await;
        self.settle(id, state, created.map(|meta| meta.etag)).await
    }

    /// Reads the state of an upload. `None` if there is none.
    pub(super) async fn load(&self, id: &str) -> Result<Option<Loaded>> {
        let object = match self.storage.open(self.state_key(id)).await {
            Err(error) if error.is_not_found() => return Ok(None),
            object => object?,
        };
        if object.content_length() > MAX_STATE_BYTES {
            return Err(Error::new(ErrorKind::Unexpected, "the state of the upload is damaged"));
        }
        let etag = object.meta().etag.clone().ok_or_else(no_etag)?;
        let state = State::parse(&object.bytes().await?)?;
        Ok(Some(Loaded { id: id.to_owned(), state, etag }))
    }

    /// Returns when a state was saved last, by the clock of the storage.
    pub(super) async fn last_changed(&self, id: &str) -> Result<Option<SystemTime>> {
        Ok(self.storage.stat(self.state_key(id)).await?.last_modified)
    }

    /// Replaces the state, unless another request has replaced or removed it.
    pub(super) async fn commit(
        &self,
        loaded: &Loaded,
        mut state: State,
    ) -> Result<Loaded, Failure> {
        let saved = self.encode(&mut state)?;
        let saved = self.save_state(&loaded.id, saved).if_match(loaded.etag.clone()).await;
        match self.settle(&loaded.id, state, saved.map(|meta| meta.etag)).await {
            Err(error) if error.is_precondition_failed() => Err(Failure::Superseded),
            Err(error) if error.is_not_found() => Err(Failure::Gone),
            settled => Ok(settled?),
        }
    }

    /// Reads the state back if the save failed or returned no ETag, because a save whose response
    /// was lost may have happened. Returns the error of the save if it did not.
    async fn settle(&self, id: &str, state: State, saved: Result<Option<ETag>>) -> Result<Loaded> {
        let failure = match saved {
            Ok(Some(etag)) => return Ok(Loaded { id: id.to_owned(), state, etag }),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        match (self.load(id).await, failure) {
            (Ok(Some(found)), _) if found.state.commit == state.commit => Ok(found),
            (Ok(None), None) => Err(Error::not_found()),
            // Removed by another request. The save of a storage reports either kind.
            (Ok(None), Some(error)) if error.is_precondition_failed() => Err(Error::not_found()),
            (Ok(Some(_)), None) => {
                Err(Error::new(ErrorKind::PreconditionFailed, "another request has the upload"))
            }
            // The outcome stays unclear, so the error must not say that another request won.
            (Err(error), _) | (Ok(Some(_)) | Ok(None), Some(error)) => Err(error),
        }
    }

    fn encode(&self, state: &mut State) -> Result<Bytes> {
        state.commit = keys::random_text(20)?;
        let json = serde_json::to_vec(state)
            .map_err(|cause| Error::unexpected("the state of the upload is not JSON", cause))?;
        Ok(json.into())
    }

    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        self.storage.delete(self.state_key(id)).await
    }

    /// Stores bytes under a key of their own. It is never replaced.
    pub(super) async fn save_segment(&self, id: &str, bytes: Bytes) -> Result<Segment> {
        let size = bytes.len() as u64;
        let segment = Segment { name: format!("rest-{}", keys::random_text(20)?), size };
        let save = self.storage.save(self.segment_key(id, &segment), bytes);
        save.content_type("application/octet-stream").await?;
        Ok(segment)
    }

    pub(super) async fn load_segment(&self, id: &str, segment: &Segment) -> Result<Bytes> {
        let object = self.storage.open(self.segment_key(id, segment)).await?;
        if object.content_length() != segment.size {
            return Err(Error::new(ErrorKind::Integrity, "the rest of the upload is damaged"));
        }
        object.bytes().await
    }

    /// Deletes segments that no state names. A failure only leaves objects, which the sweep
    /// removes, so it is logged.
    pub(super) async fn delete_segments(&self, id: &str, segments: &[Segment]) {
        for segment in segments {
            if let Err(error) = self.storage.delete(self.segment_key(id, segment)).await {
                tracing::warn!(%error, "a rest of an upload could not be deleted");
            }
        }
    }

    /// Lists the ids of all uploads in the order of their expiry.
    pub(super) fn ids(&self) -> Ids {
        let entries = self.storage.list(self.prefix.as_str()).one_level().entries();
        Ids { entries, prefix: self.prefix.clone() }
    }

    /// Removes everything of an upload.
    pub(super) async fn remove_all(&self, id: &str) -> Result<()> {
        self.storage.delete_prefix(format!("{}{id}/", self.prefix)).await.map(drop)
    }
}

/// The ids of uploads.
pub(super) struct Ids {
    entries: Entries,
    prefix: String,
}

impl Ids {
    /// Returns the next id.
    pub(super) async fn next(&mut self) -> Result<Option<String>> {
        while let Some(entry) = self.entries.next().await {
            if let Entry::Prefix(name) = entry? {
                let id = name.as_str().strip_prefix(self.prefix.as_str()).unwrap_or_default();
                return Ok(Some(id.trim_end_matches('/').to_owned()));
            }
        }
        Ok(None)
    }
}

fn no_etag() -> Error {
    Error::unsupported("the storage of unfinished uploads returns no ETags")
}
