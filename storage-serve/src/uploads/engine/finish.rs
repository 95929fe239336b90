//! Finishing an upload whose bytes are all stored, also one whose completion was lost.
//!
//! Every step can be repeated by any later request in any process.

use storage_core::{CompleteOptions, ETag, Error, ErrorKind, ObjectMeta};

use super::accept::{Accepted, is_claimed};
use super::gather::Gather;
use super::state::Status;
use super::store::Loaded;
use super::{Engine, Failure};
use crate::uploads::grant::Refusal;

/// How often a step is taken if other processes change the upload meanwhile, or if it may fail to
/// be recorded.
pub(super) const ATTEMPTS: usize = 3;

impl Engine {
    /// Returns the upload, after completing it if all its bytes are stored. So the offset of the
    /// returned upload equals its length only if the object is visible.
    pub(in crate::uploads) async fn current(&self, id: String) -> Result<Loaded, Failure> {
        self.detached(move |engine| async move {
            let _turn = engine.turns.take(&id).await?;
            let mut attempt = 1;
            loop {
                let loaded = engine.load(&id).await?;
                match engine.settle(loaded).await {
                    // Another process has taken a step meanwhile.
                    Err(Failure::Superseded) if attempt < ATTEMPTS => attempt += 1,
                    settled => return settled,
                }
            }
        })
        .await
    }

    /// Takes the steps that are left to an upload that has all its bytes.
    pub(super) async fn settle(&self, mut loaded: Loaded) -> Result<Loaded, Failure> {
        loop {
            loaded = match loaded.state.status.clone() {
                Status::Done => return Ok(loaded),
                Status::Lost => return Err(Failure::Gone),
                Status::Refused { status, text } => return Err(Failure::refused(status, text)),
                Status::Open if loaded.state.has_all_parts() => self.complete(loaded).await?,
                Status::Open if loaded.state.has_all_bytes() => {
                    self.store_rest_as_part(loaded).await?
                }
                Status::Open => return Ok(loaded),
                Status::Stored { .. } if loaded.state.is_stored_partial() => return Ok(loaded),
                Status::Stored { etag, claimed_until } => {
                    self.accept(loaded, etag, claimed_until).await?
                }
                Status::Accepted { claimed_until, .. } if is_claimed(claimed_until) => {
                    return Err(Failure::Busy);
                }
                Status::Accepted { etag, content_type, before, .. } => {
                    let accepted = Accepted { etag, content_type, before };
                    self.claim_and_promote(loaded, accepted).await?
                }
            };
        }
    }

    async fn store_rest_as_part(&self, loaded: Loaded) -> Result<Loaded, Failure> {
        let state = loaded.state.clone();
        Gather::new(self, loaded, state, None, None).store_last_part().await
    }

    /// Completes the multipart upload, and records that. Succeeds again for the object of this
    /// upload.
    async fn complete(&self, loaded: Loaded) -> Result<Loaded, Failure> {
        let state = &loaded.state;
        let options = CompleteOptions::new().exactly(state.parts.iter().cloned());
        let object = match self.upload(state)?.complete_with(options).await {
            Ok(object) => object,
            Err(error) => return Err(self.failed_completion(loaded, error).await),
        };
        if state.staging.is_some() {
            let etag = self.etag_of(&object).await?;
            let stored = state.with_status(Status::Stored { etag, claimed_until: None });
            return self.states.commit(&loaded, stored).await;
        }
        Ok(self.record_done(loaded).await)
    }

    /// Records that the object is visible. The request succeeds even if that fails: the next one
    /// finds the object.
    pub(super) async fn record_done(&self, mut loaded: Loaded) -> Loaded {
        let done = loaded.state.with_status(Status::Done);
        match self.states.commit(&loaded, done.clone()).await {
            Ok(recorded) => {
                self.close_in_group(&recorded.id, recorded.state.group.as_deref()).await;
                recorded
            }
            Err(failure) => {
                tracing::warn!(?failure, "a completed upload could not be recorded");
                loaded.state = done;
                loaded
            }
        }
    }

    async fn etag_of(&self, object: &ObjectMeta) -> Result<ETag, Failure> {
        let etag = match &object.etag {
            Some(etag) => Some(etag.clone()),
            None => self.storage.stat(&object.key).await?.etag,
        };
        let missing =
            || Error::unsupported("the storage returns no ETags, which on_complete and sniff need");
        Ok(etag.ok_or_else(missing)?)
    }

    /// Sorts the error of a completion or a promotion, and records what is final.
    pub(super) async fn failed_completion(&self, loaded: Loaded, error: Error) -> Failure {
        match Failure::of_completion(error) {
            Failure::Gone => self.record_loss(&loaded).await,
            failure => failure,
        }
    }

    /// Sorts the error of a part.
    pub(super) async fn failed_put(&self, loaded: &Loaded, error: Error) -> Failure {
        match error.kind() {
            ErrorKind::NotFound => self.record_loss(loaded).await,
            _ => error.into(),
        }
    }

    /// Records that the multipart upload vanished. If another request has changed the upload
    /// meanwhile, that request decides.
    pub(super) async fn record_loss(&self, loaded: &Loaded) -> Failure {
        match self.states.commit(loaded, loaded.state.with_status(Status::Lost)).await {
            Err(Failure::Superseded) => Failure::Superseded,
            Ok(lost) => {
                self.close_in_group(&lost.id, lost.state.group.as_deref()).await;
                Failure::Gone
            }
            Err(_) => Failure::Gone,
        }
    }

    /// Records a refusal, and then removes what is stored. If another request has changed the
    /// upload meanwhile, that request decides.
    pub(super) async fn refuse(&self, loaded: Loaded, refusal: Refusal) -> Failure {
        let (status, text) = (refusal.status.as_u16(), refusal.text.clone());
        let state = loaded.state.with_status(Status::Refused { status, text });
        match self.states.commit(&loaded, state).await {
            // The sweep removes what this cannot.
            Ok(refused) => {
                if let Err(error) = self.remove_object(&loaded.state).await {
                    tracing::warn!(%error, "a refused upload could not be removed");
                }
                self.states.delete_segments(&refused.id, &loaded.state.rest).await;
                self.close_in_group(&refused.id, refused.state.group.as_deref()).await;
            }
            Err(failure) => return failure,
        }
        Failure::Refused(refusal)
    }
}
