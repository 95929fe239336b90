//! Beginning and removing an upload.

use std::collections::BTreeMap;

use storage_core::{
    Error, Key, MultipartLimits, MultipartOptions, MultipartUpload, Result, SaveMode, UploadId,
    content_type,
};

use super::gather::Gather;
use super::state::{Concat, Staging, State, Status};
use super::store::Loaded;
use super::{Engine, Failure};
use crate::uploads::grant::{Grant, is_well_formed};

/// What is known of an upload when it begins.
#[derive(Debug)]
pub(in crate::uploads) struct Beginning {
    pub(in crate::uploads) id: String,
    pub(in crate::uploads) grant: Grant,
    pub(in crate::uploads) size: Option<u64>,
    /// Whether the upload ends only when a request says so, and not when it has its size.
    pub(in crate::uploads) has_explicit_end: bool,
    /// Whether the client stores the parts itself, so that none is gathered in memory.
    pub(in crate::uploads) sends_parts: bool,
    /// The metadata as the client sent it.
    pub(in crate::uploads) metadata: BTreeMap<String, String>,
    /// The same as the text of a header.
    pub(in crate::uploads) sent_metadata: Option<String>,
    pub(in crate::uploads) concat: Option<Concat>,
}

impl Engine {
    /// Begins an upload. An empty one is complete at once.
    pub(in crate::uploads) async fn begin(&self, beginning: Beginning) -> Result<Loaded, Failure> {
        // If the future were dropped midway, an upload without a state could remain.
        self.detached(move |engine| async move {
            let loaded = engine.begin_open(beginning).await?;
            if loaded.state.length != Some(0) {
                return Ok(loaded);
            }
            let state = loaded.state.clone();
            let gather = Gather::new(&engine, loaded, state, Some(0), None);
            engine.settle(gather.store_last_part().await?).await
        })
        .await
    }

    /// Begins an upload whose bytes follow.
    pub(super) async fn begin_open(&self, beginning: Beginning) -> Result<Loaded, Failure> {
        let Beginning {
            id,
            mut grant,
            size,
            has_explicit_end,
            sends_parts,
            metadata,
            sent_metadata,
            concat,
        } = beginning;
        if let (Some(size), Some(max)) = (size, grant.max_size)
            && size > max
        {
            return Err(Failure::TooLarge);
        }
        // Browsers take the last type of a list, so a malformed one is none.
        grant.metadata.content_type.take_if(|declared| !is_well_formed(declared));
        let staging = self.staging(&id, &grant, concat.as_ref())?;
        if staging.is_some() && grant.metadata.content_type.is_none() {
            // The storage would guess the type from the temporary key.
            grant.metadata.content_type = Some(content_type::of_key(&grant.key));
        }
        let declared = grant.metadata.content_type.clone();
        let options = self.options(&grant, size, staging.is_some(), sends_parts)?;
        let part_size = options.part_size.unwrap_or_default();
        // The bytes of a final upload are those of open ones, which would count twice.
        let is_final = matches!(concat, Some(Concat::Final(_)));
        let group = match &grant.open_limit {
            Some(limit) if !is_final => Some(self.open_in_group(&id, limit).await?),
            _ => None,
        };
        let describe = |upload: UploadId| {
            let mut state = State::new(grant.key.clone(), upload, part_size);
            state.max_size = self.largest(grant.max_size, part_size);
            state.staging.clone_from(&staging);
            state.concat = concat;
            state.content_type = declared;
            state.group.clone_from(&group);
            match has_explicit_end {
                true => state.announced = size,
                false => state.length = size,
            }
            state.metadata = metadata;
            state.sent_metadata = sent_metadata;
            state
        };
        let key = staging.as_ref().map_or(&grant.key, |staging| &staging.key);
        let created = self.create(&id, key, options, describe).await;
        if created.is_err() {
            self.close_in_group(&id, group.as_deref()).await;
        }
        Ok(created?)
    }

    /// Begins the multipart upload, and saves the state that describes it.
    async fn create(
        &self,
        id: &str,
        key: &Key,
        options: MultipartOptions,
        describe: impl FnOnce(UploadId) -> State,
    ) -> Result<Loaded> {
        let upload = self.storage.multipart_with(key, options).await?;
        let created = self.states.create(id, describe(upload.id().clone())).await;
        // If the state exists nevertheless, its upload is lost.
        if created.is_err()
            && let Err(error) = upload.abort().await
        {
            tracing::warn!(%error, "an upload without a state could not be aborted");
        }
        created
    }

    /// Returns the largest size that the grant and the number of parts allow.
    pub(super) fn largest(&self, max_size: Option<u64>, part_size: u64) -> Option<u64> {
        let parts = self.storage.multipart_limits().ok()?.max_parts;
        let largest = part_size.saturating_mul(u64::from(parts));
        Some(max_size.map_or(largest, |max| max.min(largest)))
    }

    /// Decides whether the object is completed under a temporary key.
    fn staging(&self, id: &str, grant: &Grant, concat: Option<&Concat>) -> Result<Option<Staging>> {
        let is_partial = concat == Some(&Concat::Partial);
        if self.on_complete.is_none() && !grant.sniff && !is_partial {
            return Ok(None);
        }
        let key = Key::new(self.states.object_key(id))?;
        // The first bytes of a partial upload may be in the middle of the object.
        let sniff = (grant.sniff && !is_partial).then(|| grant.types.clone());
        let calls_on_complete = self.on_complete.is_some() && !is_partial;
        Ok(Some(Staging { key, create_new: grant.create_new, calls_on_complete, sniff }))
    }

    fn options(
        &self,
        grant: &Grant,
        size: Option<u64>,
        is_staged: bool,
        sends_parts: bool,
    ) -> Result<MultipartOptions, Failure> {
        let limits = self.storage.multipart_limits()?;
        let part_size = match self.part_size {
            // An upload that needs larger parts gets them.
            Some(wanted) if limits.check(wanted, size).is_ok() => wanted,
            _ => match (size, grant.max_size) {
                // A deferred size may be the largest.
                (None, Some(max)) => {
                    limits.part_size(Some(max)).or_else(|_| limits.part_size(None))?
                }
                _ => limits.part_size(size)?,
            },
        };
        let part_size = match sends_parts {
            true => part_size,
            false => self.part_size_in_memory(&limits, part_size, size)?,
        };
        if is_staged && grant.create_new {
            self.check_promotion(size, part_size)?;
        }
        let is_new = grant.create_new && !is_staged;
        let mode = if is_new { SaveMode::CreateNew } else { SaveMode::Overwrite };
        let mut options = MultipartOptions::new()
            .metadata(grant.metadata.clone())
            .mode(mode)
            .part_size(part_size);
        options.size = size;
        Ok(options)
    }

    /// Returns a part size that the budget for memory allows: the wanted one, or a smaller one if
    /// its parts suffice. A client that declares a huge size must not choose how much memory is
    /// used.
    fn part_size_in_memory(
        &self,
        limits: &MultipartLimits,
        wanted: u64,
        size: Option<u64>,
    ) -> Result<u64, Failure> {
        let budget = self.budget.bytes();
        let smaller = limits.part_size(None).unwrap_or(budget).min(budget);
        let fits = |part_size: &u64| limits.check(*part_size, size).is_ok();
        match [wanted, smaller, budget].into_iter().find(|it| *it <= budget && fits(it)) {
            Some(part_size) => Ok(part_size),
            None => {
                tracing::warn!(wanted, "an upload needs larger parts than Uploads::memory allows");
                Err(Failure::TooLarge)
            }
        }
    }

    /// Fails if an object of this size cannot move to its key on the condition that this is free.
    fn check_promotion(&self, size: Option<u64>, part_size: u64) -> Result<()> {
        let has_one_part = size.is_some_and(|size| size <= part_size);
        let is_possible = self.storage.multipart_limits()?.create_new
            || (has_one_part && self.storage.info().capabilities.create_new);
        if is_possible {
            return Ok(());
        }
        Err(Error::unsupported(
            "this storage cannot move an object of this size to a key that is free, which \
             create_new with on_complete or sniff needs: use unique keys without create_new",
        ))
    }

    /// Removes an upload. The object of a finished one stays.
    pub(in crate::uploads) async fn terminate(&self, id: String) -> Result<(), Failure> {
        self.detached(move |engine| async move {
            let _turn = engine.turns.take(&id).await?;
            let loaded = engine.load(&id).await?;
            engine.remove_object(&loaded.state).await?;
            // The state goes last, so that a request that fails midway can be repeated.
            engine.states.delete_segments(&id, &loaded.state.rest).await;
            engine.close_in_group(&id, loaded.state.group.as_deref()).await;
            Ok(engine.states.remove(&id).await?)
        })
        .await
    }

    /// Removes what is stored of an object that is not visible.
    pub(super) async fn remove_object(&self, state: &State) -> Result<()> {
        if matches!(state.status, Status::Done | Status::Lost) {
            return Ok(());
        }
        self.upload(state)?.abort().await?;
        match &state.staging {
            // It may be complete although that is not recorded.
            Some(staging) => self.storage.delete(&staging.key).await,
            None => Ok(()),
        }
    }

    /// Returns the multipart upload of a state.
    pub(super) fn upload(&self, state: &State) -> Result<MultipartUpload> {
        self.storage.resume_multipart(state.upload_key(), state.upload.clone())
    }

    /// Reads an upload, or fails with `Gone` if there is none.
    pub(in crate::uploads) async fn load(&self, id: &str) -> Result<Loaded, Failure> {
        self.states.load(id).await?.ok_or(Failure::Gone)
    }
}
