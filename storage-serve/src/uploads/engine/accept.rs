//! What happens between the completion of an object and its visibility: its type is compared with
//! its bytes, the application's function is called, and the object moves to its final key.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::StatusCode;
use storage_core::content_type::SNIFF_BYTES;
use storage_core::internal::unix_seconds;
use storage_core::{
    Checksum, ChecksumAlgorithm, ETag, Error, ErrorKind, Hasher, Key, Object, ObjectMeta,
};

use super::content;
use super::finish::ATTEMPTS;
use super::state::{BeforePromotion, Staging, State, Status};
use super::store::Loaded;
use super::{Engine, Failure, OnComplete};
use crate::uploads::completed::CompletedUpload;
use crate::uploads::grant::Refusal;

/// How long no other process calls the function, or promotes the object. Clocks that differ by a
/// minute do no harm, because the work ends a minute before.
const CLAIM: Duration = Duration::from_secs(7 * 60);
const CLOCKS_DIFFER_BY: Duration = Duration::from_secs(60);

/// How long the application's function may run.
const CALL_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// An object that is complete under its temporary key, and may become visible.
#[derive(Debug, Clone)]
pub(super) struct Accepted {
    pub(super) etag: ETag,
    pub(super) content_type: Option<String>,
    pub(super) before: BeforePromotion,
}

impl Engine {
    /// Inspects the type of the bytes, and calls the application's function. Returns the upload
    /// with a claim on its promotion, or promoted.
    pub(super) async fn accept(
        &self,
        loaded: Loaded,
        etag: ETag,
        claimed_until: Option<u64>,
    ) -> Result<Loaded, Failure> {
        let staging = staging(&loaded.state)?.clone();
        // A process without the function, such as one that only sweeps, leaves this to the others.
        let must_wait = staging.calls_on_complete && self.on_complete.is_none();
        if must_wait || is_claimed(claimed_until) {
            return Err(Failure::Busy);
        }
        let mut object = match self.storage.stat(&staging.key).await {
            Ok(object) => object,
            Err(error) => return Err(self.failed_completion(loaded, error).await),
        };
        if object.etag.as_ref().is_none_or(|found| !found.strong_eq(&etag)) {
            let message = "another client has replaced the object under its temporary key";
            return Err(Failure::Rejected(Error::new(ErrorKind::Conflict, message)));
        }
        let content_type = match &staging.sniff {
            None => None,
            Some(allowed) => match self.type_of(&object, allowed).await? {
                None => return Err(self.refuse(loaded, wrong_type()).await),
                kind => kind.filter(|kind| object.content_type() != Some(kind)),
            },
        };
        if content_type.is_some() {
            object.metadata.content_type.clone_from(&content_type);
        }
        let replaces = self.etag_under_final_key(&loaded.state).await?;
        if staging.create_new && replaces.is_some() {
            let message = "there is an object under the final key";
            return Err(Failure::Rejected(Error::new(ErrorKind::AlreadyExists, message)));
        }
        let checksums = object.checksums.iter().cloned().collect();
        let before = BeforePromotion { replaces, checksums };
        let accepted = Accepted { etag, content_type, before };
        let loaded = match self.on_complete.clone().filter(|_| staging.calls_on_complete) {
            Some(function) => self.call_on_complete(function, loaded, object, &accepted).await?,
            None => self.record(&loaded, accepted.claimed()).await?,
        };
        self.promote(loaded, accepted).await
    }

    /// Calls the application's function. The claim keeps other processes from calling it at the
    /// same time. After a crash the claim ends by itself.
    async fn call_on_complete(
        &self,
        OnComplete(function): OnComplete,
        loaded: Loaded,
        object: ObjectMeta,
        accepted: &Accepted,
    ) -> Result<Loaded, Failure> {
        let ends = claim_end();
        let etag = accepted.etag.clone();
        let claim = Status::Stored { etag: etag.clone(), claimed_until: Some(ends) };
        let loaded = self.record(&loaded, claim).await?;
        let completed = CompletedUpload {
            id: loaded.id.clone(),
            object,
            key: loaded.state.key.clone(),
            metadata: loaded.state.metadata.clone(),
            storage: self.storage.clone(),
        };
        // To record the claim may have taken a part of its time.
        let left = Duration::from_secs(ends.saturating_sub(now())).saturating_sub(CLOCKS_DIFFER_BY);
        let call =
            async move { tokio::time::timeout(left.min(CALL_TIMEOUT), function(completed)).await };
        // In a task of its own, so that a panic ends only the call.
        let refusal = match tokio::spawn(call).await {
            Ok(Ok(Ok(()))) => match self.record_firmly(&loaded, accepted.claimed()).await {
                Ok(accepted) => return Ok(accepted),
                Err(failure) => {
                    tracing::warn!(?failure, "the function's result could not be recorded");
                    failed("The upload could not be accepted.\n")
                }
            },
            Ok(Ok(Err(refusal))) if refusal.status.is_client_error() => {
                return Err(self.refuse(loaded, refusal).await);
            }
            Ok(Ok(Err(refusal))) => refusal,
            Ok(Err(_)) => failed("The application did not finish with the upload in time.\n"),
            Err(_) => failed("The application failed.\n"),
        };
        // The function has ended, so the next request may call it again.
        let open = Status::Stored { etag, claimed_until: None };
        if let Err(failure) = self.record(&loaded, open).await {
            tracing::warn!(?failure, "the claim of an upload stays until it ends by itself");
        }
        Err(Failure::Refused(refusal))
    }

    /// Promotes an object that another process accepted and did not promote.
    pub(super) async fn claim_and_promote(
        &self,
        loaded: Loaded,
        accepted: Accepted,
    ) -> Result<Loaded, Failure> {
        let loaded = self.record(&loaded, accepted.claimed()).await?;
        self.promote(loaded, accepted).await
    }

    /// Makes exactly the version visible that was accepted. This process has the claim.
    async fn promote(&self, loaded: Loaded, accepted: Accepted) -> Result<Loaded, Failure> {
        let moved = self.move_to_final_key(&loaded.state, &accepted).await;
        let Err(failure) = moved else { return Ok(self.record_done(loaded).await) };
        let failure = match failure {
            Failure::Storage(error) => self.failed_completion(loaded.clone(), error).await,
            failure => failure,
        };
        if !matches!(failure, Failure::Gone)
            && let Err(failure) = self.record(&loaded, accepted.unclaimed()).await
        {
            tracing::warn!(?failure, "the claim of an upload stays until it ends by itself");
        }
        Err(failure)
    }

    async fn move_to_final_key(&self, state: &State, accepted: &Accepted) -> Result<(), Failure> {
        let Staging { key, create_new, .. } = staging(state)?;
        let mut promotion = self.storage.promote(key, accepted.etag.clone(), &state.key);
        if *create_new {
            promotion = promotion.create_new();
        }
        if let Some(content_type) = &accepted.content_type {
            promotion = match self.storage.stat(key).await {
                Ok(object) => promotion.metadata(object.metadata.content_type(content_type)),
                Err(error) if error.is_not_found() => promotion,
                Err(error) => return Err(error.into()),
            };
        }
        let Err(error) = promotion.await else { return Ok(()) };
        match error.kind() {
            ErrorKind::NotFound if self.was_promoted(state, accepted).await? => Ok(()),
            ErrorKind::AlreadyExists if self.is_copied(state, key).await? => {
                Ok(self.storage.delete(key).await?)
            }
            _ => Err(error.into()),
        }
    }

    /// Returns whether an earlier promotion succeeded: the temporary object, which no one else
    /// knows, is gone, and the final key has another version than before, or the same bytes.
    async fn was_promoted(&self, state: &State, accepted: &Accepted) -> Result<bool, Failure> {
        let found = match self.storage.stat(&state.key).await {
            Ok(found) => found,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let BeforePromotion { replaces, checksums } = &accepted.before;
        let is_new = replaces.is_none() || found.etag != *replaces;
        let has_same_etag = found.etag.as_ref().is_some_and(|etag| etag.strong_eq(&accepted.etag));
        let has_same_checksum =
            checksums.iter().any(|of| found.checksums.get(of.algorithm()) == Some(of));
        let is_it = is_new || has_same_etag || has_same_checksum;
        Ok(is_it && Some(found.size) == state.length)
    }

    /// Returns whether the object under the final key is a copy of the temporary one, which an
    /// earlier promotion did not delete.
    async fn is_copied(&self, state: &State, key: &Key) -> Result<bool, Failure> {
        let copy = self.storage.open(&state.key).await?;
        let source = match self.storage.open(key).await {
            Ok(source) => source,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        // The ETags of equal bytes may differ, and not every service stores checksums. This happens
        // only after a crash.
        Ok(copy.content_length() == source.content_length()
            && digest(copy).await? == digest(source).await?)
    }

    /// Returns the type of an object by its first bytes. `None` if it is not allowed.
    async fn type_of(
        &self,
        object: &ObjectMeta,
        allowed: &[String],
    ) -> Result<Option<String>, Failure> {
        let start = match object.size.min(SNIFF_BYTES as u64) {
            0 => Bytes::new(),
            end => self.storage.open(&object.key).range(0..end).await?.bytes().await?,
        };
        Ok(content::type_of(&start, object.content_type(), allowed))
    }

    /// Refuses an upload as soon as its first part shows that its type is not allowed.
    pub(super) async fn check_first_part(
        &self,
        loaded: &Loaded,
        number: u32,
        bytes: &Bytes,
    ) -> Result<(), Failure> {
        let Some(Staging { sniff: Some(allowed), .. }) = &loaded.state.staging else {
            return Ok(());
        };
        let declared = loaded.state.content_type.as_deref();
        if number != 1 || content::type_of(bytes, declared, allowed).is_some() {
            return Ok(());
        }
        Err(self.refuse(loaded.clone(), wrong_type()).await)
    }

    async fn etag_under_final_key(&self, state: &State) -> Result<Option<ETag>, Failure> {
        match self.storage.stat(&state.key).await {
            Ok(found) => Ok(found.etag),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Records a status that must not be lost. A save whose outcome is unclear is repeated.
    async fn record_firmly(&self, loaded: &Loaded, status: Status) -> Result<Loaded, Failure> {
        let mut attempt = 1;
        loop {
            match self.record(loaded, status.clone()).await {
                Err(Failure::Storage(error)) if attempt < ATTEMPTS => {
                    tracing::debug!(%error, attempt, "the status of an upload is saved again");
                    attempt += 1;
                }
                Err(Failure::Superseded) => match self.load(&loaded.id).await? {
                    now if now.state.status == status => return Ok(now),
                    _ => return Err(Failure::Superseded),
                },
                recorded => return recorded,
            }
        }
    }

    async fn record(&self, loaded: &Loaded, status: Status) -> Result<Loaded, Failure> {
        self.states.commit(loaded, loaded.state.with_status(status)).await
    }
}

fn staging(state: &State) -> Result<&Staging, Failure> {
    state.staging.as_ref().ok_or_else(|| {
        Error::new(ErrorKind::Unexpected, "the state of the upload is damaged").into()
    })
}

impl Accepted {
    fn with_claim(&self, claimed_until: Option<u64>) -> Status {
        let Self { etag, content_type, before } = self.clone();
        Status::Accepted { etag, content_type, before, claimed_until }
    }

    fn claimed(&self) -> Status {
        self.with_claim(Some(claim_end()))
    }

    fn unclaimed(&self) -> Status {
        self.with_claim(None)
    }
}

/// Returns whether another process is at work.
pub(super) fn is_claimed(until: Option<u64>) -> bool {
    until.is_some_and(|until| until > now())
}

fn claim_end() -> u64 {
    now().saturating_add(CLAIM.as_secs())
}

async fn digest(object: Object) -> Result<Checksum, Failure> {
    let mut hasher = Hasher::new(ChecksumAlgorithm::Sha256);
    let mut stream = object.into_stream();
    while let Some(chunk) = stream.try_next().await? {
        hasher.update(&chunk);
    }
    Ok(hasher.finish())
}

fn now() -> u64 {
    unix_seconds(SystemTime::now())
}

fn wrong_type() -> Refusal {
    let text = "The file is not of the type that was declared, or its type is not allowed.\n";
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
}

fn failed(text: &str) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text)
}
