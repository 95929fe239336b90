//! An upload whose parts a client stores by itself, at the storage or by a service of its own.
//!
//! The state has no parts until the completion, because parts arrive in any order and without a
//! request to this service. The completion lists them in the storage, and commits them to the
//! state. From there on it is the completion of every upload.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_core::stream::BoxStream;
use futures_util::TryStreamExt;
use http::StatusCode;
use storage_core::{Error, ErrorKind, Link, Part, PartUrlOptions, Payload, Result};

use super::append::{Append, End};
use super::begin::Beginning;
use super::state::{State, Status};
use super::store::Loaded;
use super::{Engine, Failure};
use crate::errors::TOO_LARGE;
use crate::request_body::BoxError;
use crate::uploads::grant::Refusal;

/// How often a completion begins again because another request has changed the upload.
const ATTEMPTS: usize = 4;

/// Why an upload is not complete.
#[derive(Debug)]
pub(in crate::uploads) enum Incomplete {
    /// The parts that the client names are not those that are stored, or do not make an upload.
    /// Contains the reason, for the client. The upload stays as it is.
    Parts(String),
    Failed(Failure),
}

impl From<Failure> for Incomplete {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A part as a client names it at the completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::uploads) struct NamedPart {
    pub(in crate::uploads) number: u32,
    /// Without quotes.
    pub(in crate::uploads) etag: String,
}

impl Beginning {
    /// Returns the beginning of an upload that is not complete when it has its size, but when its
    /// client says so.
    pub(in crate::uploads) fn with_explicit_end(self) -> Self {
        Self { has_explicit_end: true, ..self }
    }
}

impl Engine {
    /// Begins an upload with parts of this size, which the client chooses.
    pub(in crate::uploads) async fn begin_direct(
        &self,
        beginning: Beginning,
        part_size: u64,
    ) -> Result<Loaded, Failure> {
        self.storage.multipart_limits()?.check(part_size, beginning.size)?;
        let engine = Self { part_size: Some(part_size), ..self.clone() };
        let beginning = Beginning { sends_parts: true, ..beginning.with_explicit_end() };
        engine.begin(beginning).await
    }

    /// Stores a body as the whole object, and completes the upload. Its end is the end of the
    /// object, whose size need not be known before.
    pub(in crate::uploads) async fn append_whole(
        &self,
        id: &str,
        body: BoxStream<'static, Result<Bytes, BoxError>>,
    ) -> Result<Loaded, Failure> {
        self.append(Append {
            id: id.to_owned(),
            offset: 0,
            end: End::WithBody(None),
            body_size: None,
            checksum: None,
            body,
        })
        .await
    }

    /// Ends an upload that failed in its only request, so that no client can continue it. If all of
    /// its bytes are stored, this finishes it. If it is unclear whether it is finished, also
    /// because its state cannot be read, it stays for the sweep.
    pub(in crate::uploads) async fn give_up(
        &self,
        id: String,
        failure: Failure,
    ) -> Result<Loaded, Failure> {
        let is_unclear =
            matches!(failure, Failure::Storage(_) | Failure::Superseded | Failure::Busy);
        if is_unclear {
            match self.load(&id).await {
                Ok(loaded) if loaded.state.has_all_bytes() => {
                    return self.current(id).await.map_err(|_| failure);
                }
                Ok(_) | Err(Failure::Gone) => {}
                Err(_) => return Err(failure),
            }
        }
        match self.terminate(id).await {
            // Also if it failed before it began.
            Ok(()) | Err(Failure::Gone) => {}
            Err(failure) => tracing::warn!(?failure, "a failed upload could not be removed"),
        }
        Err(failure)
    }

    /// Drops the bytes of an upload that is sent in one request, so that the request can be
    /// repeated.
    pub(in crate::uploads) async fn restart(&self, id: String) -> Result<Loaded, Failure> {
        self.detached(move |engine| async move {
            let _turn = engine.turns.take(&id).await?;
            let loaded = engine.load(&id).await?;
            if loaded.state.has_all_bytes() {
                return Err(Failure::Superseded);
            }
            let mut state = loaded.state.clone();
            state.parts.clear();
            let old = std::mem::take(&mut state.rest);
            let restarted = engine.states.commit(&loaded, state).await?;
            engine.states.delete_segments(&id, &old).await;
            Ok(restarted)
        })
        .await
    }

    /// Returns the parts of an upload that are stored. Those of a completed one are in its state.
    pub(in crate::uploads) async fn direct_parts(
        &self,
        loaded: &Loaded,
    ) -> Result<Vec<Part>, Failure> {
        match &loaded.state.status {
            Status::Lost => return Err(Failure::Gone),
            Status::Refused { status, text } => {
                return Err(Failure::refused(*status, text.clone()));
            }
            Status::Stored { .. } | Status::Accepted { .. } | Status::Done => {
                return Ok(loaded.state.parts.clone());
            }
            Status::Open => {}
        }
        let stored: Result<Vec<_>> = match self.upload(&loaded.state) {
            Ok(upload) => upload.parts().try_collect().await,
            Err(error) => Err(error),
        };
        match stored {
            // A completion whose response was lost.
            Err(error) if error.is_not_found() && loaded.state.has_all_parts() => {
                Ok(loaded.state.parts.clone())
            }
            Err(error) if error.is_not_found() => Err(self.record_loss(loaded).await),
            parts => Ok(parts?),
        }
    }

    /// Returns how many bytes a part may have at most. If the size of the object is known, the part
    /// has exactly as many.
    pub(in crate::uploads) fn part_limit(
        &self,
        loaded: &Loaded,
        number: u32,
    ) -> Result<u64, Failure> {
        let State { part_size, .. } = loaded.state;
        if loaded.state.status != Status::Open {
            return Err(Failure::Gone);
        }
        if !(1..=self.storage.multipart_limits()?.max_parts).contains(&number) {
            let message = format!("there is no part {number}");
            return Err(Error::new(ErrorKind::InvalidInput, message).into());
        }
        let before = u64::from(number - 1).saturating_mul(part_size);
        match loaded.state.limit().checked_sub(before) {
            Some(left) if left > 0 || number == 1 => Ok(left.min(part_size)),
            _ => Err(Failure::TooLarge),
        }
    }

    /// Makes a link with which a client stores a part in the storage. `None` if the storage makes
    /// no such links, and if the link could not limit the size.
    pub(in crate::uploads) async fn part_link(
        &self,
        loaded: &Loaded,
        number: u32,
        expires_in: Duration,
    ) -> Result<Option<Link>, Failure> {
        let limit = self.part_limit(loaded, number)?;
        let length = loaded.state.known_length();
        // A link without a length would let the client store more than its grant.
        let is_limited = loaded.state.max_size != self.largest(None, loaded.state.part_size);
        if length.is_none() && is_limited {
            return Ok(None);
        }
        if !self.storage.multipart_limits()?.part_url {
            return Ok(None);
        }
        let mut options = PartUrlOptions::new(expires_in);
        options.content_length = length.map(|_| limit);
        match self.upload(&loaded.state)?.part_url(number, options).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => Ok(None),
            link => Ok(Some(link?)),
        }
    }

    /// Stores a part that a client sends to this service.
    pub(in crate::uploads) async fn put_direct_part(
        &self,
        loaded: &Loaded,
        number: u32,
        payload: Payload,
    ) -> Result<Part, Failure> {
        self.part_limit(loaded, number)?;
        // A link works any number of times, and a part may be in memory while it arrives.
        let turn = self.turns.take(&format!("{}-{number}", loaded.id)).await?;
        let upload = self.upload(&loaded.state)?;
        let stored = tokio::select! {
            () = turn.superseded() => return Err(Failure::Superseded),
            stored = upload.put_part(number, payload) => stored,
        };
        match stored {
            // The completion or the removal may be underway. They record what they do.
            Err(error) if error.is_not_found() => Err(Failure::Gone),
            part => Ok(part?),
        }
    }

    /// Completes an upload with the parts that the client names. Succeeds again. An upload that is
    /// larger than its grant is removed.
    pub(in crate::uploads) async fn complete_direct(
        &self,
        id: String,
        named: Vec<NamedPart>,
    ) -> Result<Loaded, Incomplete> {
        let completed = self.detached(move |engine| async move {
            let _turn = engine.turns.take(&id).await?;
            for _ in 0..ATTEMPTS {
                let loaded = engine.load(&id).await?;
                match engine.try_complete(loaded, &named).await {
                    Err(Incomplete::Failed(Failure::Superseded)) => {}
                    // The reason is no failure of the task.
                    Err(Incomplete::Parts(reason)) => return Ok(Err(reason)),
                    Err(Incomplete::Failed(failure)) => return Err(failure),
                    Ok(completed) => return Ok(Ok(completed)),
                }
            }
            Err(Failure::Superseded)
        });
        completed.await?.map_err(Incomplete::Parts)
    }

    async fn try_complete(
        &self,
        loaded: Loaded,
        named: &[NamedPart],
    ) -> Result<Loaded, Incomplete> {
        let stored = self.direct_parts(&loaded).await?;
        if loaded.state.has_all_parts() && is_same(&loaded.state.parts, named) {
            return Ok(self.settle(loaded).await?);
        }
        if loaded.state.status != Status::Open {
            return Err(Incomplete::Parts("The upload was completed with other parts.".to_owned()));
        }
        let mut state = loaded.state.clone();
        state.parts = chosen(stored, named).map_err(Incomplete::Parts)?;
        if state.max_size.is_some_and(|max| state.stored_in_parts() > max) {
            let refusal = Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE);
            return Err(self.refuse(loaded, refusal).await.into());
        }
        check_sizes(&state).map_err(Incomplete::Parts)?;
        state.length = Some(state.stored_in_parts());
        let loaded = self.states.commit(&loaded, state).await?;
        Ok(self.settle(loaded).await?)
    }
}

fn is_same(stored: &[Part], named: &[NamedPart]) -> bool {
    stored.len() == named.len()
        && stored.iter().zip(named).all(|(stored, named)| {
            stored.number == named.number && stored.etag.opaque() == named.etag
        })
}

/// Returns the stored parts that the client names, which must be those from 1 on without a gap.
fn chosen(stored: Vec<Part>, named: &[NamedPart]) -> Result<Vec<Part>, String> {
    let mut stored: BTreeMap<_, _> = stored.into_iter().map(|part| (part.number, part)).collect();
    let mut parts = Vec::with_capacity(named.len().min(stored.len()));
    for (named, number) in named.iter().zip(1..) {
        if named.number != number {
            return Err(format!("Part {number} is not named, or not in order."));
        }
        match stored.remove(&number).filter(|part| part.etag.opaque() == named.etag) {
            Some(part) => parts.push(part),
            None => return Err(format!("Part {number} is not stored with this ETag.")),
        }
    }
    Ok(parts)
}

/// Compares the sizes of the parts with those that the upload may have.
fn check_sizes(state: &State) -> Result<(), String> {
    let Some((last, whole)) = state.parts.split_last() else {
        return Err("No part is named.".to_owned());
    };
    let size = state.stored_in_parts();
    if state.known_length().is_some_and(|length| length != size) {
        return Err(format!("The parts have {size} bytes, which is not the size of the file."));
    }
    let part_size = state.part_size;
    if whole.iter().any(|part| part.size != part_size) || last.size > part_size {
        return Err(format!(
            "All parts but the last must have {part_size} bytes: getChunkSize of the client and \
             client_part_size of the server must be equal."
        ));
    }
    Ok(())
}
