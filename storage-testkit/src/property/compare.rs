//! [`Pair`]: a driver and its model, on which the same steps run.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use storage_core::{
    ETag, Error, ErrorKind, Key, Metadata, Object, ObjectMeta, Payload, Result, Save, Storage,
};

use super::step::{Body, Condition, Given, How, Mode, Step, Version};
use crate::case::{Checked, Failure};
use crate::harness::Harness;
use crate::support::content::pattern;
use crate::support::payloads::{chunks_of, failing, streaming};

/// The ETags of one version on both sides.
type ETags = (ETag, ETag);

pub(super) struct Pair<'a> {
    harness: &'a dyn Harness,
    pub(super) real: Storage,
    pub(super) model: Storage,
    /// The ETags of the previous versions.
    older: Mutex<HashMap<&'static str, ETags>>,
}

impl<'a> Pair<'a> {
    pub(super) fn new(harness: &'a dyn Harness, real: Storage, model: Storage) -> Self {
        Self { harness, real, model, older: Mutex::default() }
    }

    /// Runs a step on both sides and compares the results. Skips a step that the driver does not
    /// support.
    pub(super) async fn take(&self, step: &Step) -> Checked {
        let can = self.real.info().capabilities;
        match step {
            Step::Save { key, body, mode, metadata } => {
                self.save(key, body, *mode, *metadata).await
            }
            Step::Open { key, range, condition } => self.open(key, *range, *condition).await,
            Step::Stat { key } => same(
                self.real.stat(*key).await.map(|meta| self.shown(meta)),
                self.model.stat(*key).await.map(|meta| self.shown(meta)),
            ),
            Step::Exists { key } => {
                same(self.real.exists(*key).await, self.model.exists(*key).await)
            }
            Step::Delete { key } => {
                same(self.real.delete(*key).await, self.model.delete(*key).await)
            }
            Step::DeleteMany { keys } => {
                let delete = |storage: &Storage| {
                    storage.delete_many(stream::iter(keys.clone())).collect::<Vec<_>>()
                };
                let (real, model) = (delete(&self.real).await, delete(&self.model).await);
                same(Ok(real.len()), Ok(model.len()))?;
                real.into_iter().zip(model).try_for_each(|(real, model)| same(real, model))
            }
            Step::List { prefix, delimiter, start_after } if can.list => {
                let list = |storage| list(storage, prefix, *delimiter, *start_after);
                same(list(&self.real).await, list(&self.model).await)
            }
            Step::Copy { from, to, create_new, condition, metadata }
                if can.copy && (can.create_new || !create_new) =>
            {
                self.copy(from, to, *create_new, *condition, *metadata).await
            }
            Step::Rename { from, to, create_new, condition }
                if can.rename && (can.create_new || !create_new) =>
            {
                self.rename(from, to, *create_new, *condition).await
            }
            Step::Upload(upload) => self.upload(upload).await,
            Step::List { .. } | Step::Copy { .. } | Step::Rename { .. } => Ok(()),
        }
    }

    async fn save(&self, key: &'static str, body: &Body, mode: Mode, given: Given) -> Checked {
        let can = self.real.info().capabilities;
        let etags = match mode {
            Mode::CreateNew | Mode::UniqueName if !can.create_new => return Ok(()),
            Mode::IfMatch(_) if !can.save_if_match => return Ok(()),
            Mode::IfMatch(version) => match self.etags(key, version).await? {
                Some(etags) => Some(etags),
                None => return Ok(()),
            },
            _ => None,
        };
        let (etag, model_etag) = etags.unzip();
        let replaced = self.etags(key, Version::Present).await?;
        let real = in_mode(self.real.save(key, payload(body)), mode, etag)
            .metadata(self.given(given))
            .await;
        if matches!(body.how, How::Failing | How::MisDeclared) {
            return must_fail(real);
        }
        if self.is_refused(&real, key).await? {
            return Ok(());
        }
        let model = match (mode, &real) {
            // The name is random: the model uses the driver's name.
            (Mode::UniqueName, Ok(meta)) => {
                self.check_name(key, &meta.key).await?;
                self.model
                    .save(&meta.key, payload(body))
                    .create_new()
                    .metadata(self.given(given))
                    .await
            }
            _ => {
                in_mode(self.model.save(key, payload(body)), mode, model_etag)
                    .metadata(self.given(given))
                    .await
            }
        };
        if model.is_ok() {
            self.remember(key, replaced);
        }
        same(real.map(|meta| self.shown(meta)), model.map(|meta| self.shown(meta)))
    }

    async fn open(
        &self,
        key: &str,
        range: Option<storage_core::ByteRange>,
        condition: Condition,
    ) -> Checked {
        let etags = match condition {
            Condition::None => None,
            Condition::IfMatch(version) | Condition::IfNoneMatch(version) => {
                match self.etags(key, version).await? {
                    Some(etags) => Some(etags),
                    None => return Ok(()),
                }
            }
        };
        let open = async |storage: &Storage, etag: Option<ETag>| {
            let mut open = storage.open(key);
            if let Some(range) = range {
                open = open.range(range);
            }
            open = match (condition, etag) {
                (Condition::IfMatch(_), Some(etag)) => open.if_match(etag),
                (Condition::IfNoneMatch(_), Some(etag)) => open.if_none_match(etag),
                _ => open,
            };
            self.read(open.await?).await
        };
        let (etag, model_etag) = etags.unzip();
        same(open(&self.real, etag).await, open(&self.model, model_etag).await)
    }

    async fn copy(
        &self,
        from: &str,
        to: &'static str,
        create_new: bool,
        condition: Option<Version>,
        given: Option<Given>,
    ) -> Checked {
        let Some((etag, model_etag)) = self.source_etags(from, condition).await? else {
            return Ok(());
        };
        let copy = async |storage: &Storage, etag: Option<ETag>| {
            let mut copy = storage.copy(from, to);
            if create_new {
                copy = copy.create_new();
            }
            if let Some(etag) = etag {
                copy = copy.if_source_match(etag);
            }
            if let Some(given) = given {
                copy = copy.metadata(self.given(given));
            }
            copy.await
        };
        let replaced = self.etags(to, Version::Present).await?;
        let real = copy(&self.real, etag).await;
        if self.is_refused(&real, to).await? {
            return Ok(());
        }
        self.same_move(to, replaced, real, copy(&self.model, model_etag).await)
    }

    async fn rename(
        &self,
        from: &str,
        to: &'static str,
        create_new: bool,
        condition: Option<Version>,
    ) -> Checked {
        let Some((etag, model_etag)) = self.source_etags(from, condition).await? else {
            return Ok(());
        };
        let rename = async |storage: &Storage, etag: Option<ETag>| {
            let mut rename = storage.rename(from, to);
            if create_new {
                rename = rename.create_new();
            }
            if let Some(etag) = etag {
                rename = rename.if_source_match(etag);
            }
            rename.await
        };
        let replaced = self.etags(to, Version::Present).await?;
        let real = rename(&self.real, etag).await;
        if self.is_refused(&real, to).await? {
            return Ok(());
        }
        self.same_move(to, replaced, real, rename(&self.model, model_etag).await)
    }

    /// Returns the ETags for a condition on the source: `None` if the step is to be skipped.
    async fn source_etags(
        &self,
        from: &str,
        condition: Option<Version>,
    ) -> Result<Option<(Option<ETag>, Option<ETag>)>> {
        match condition {
            None => Ok(Some((None, None))),
            Some(version) => Ok(self.etags(from, version).await?.map(|etags| Some(etags).unzip())),
        }
    }

    /// Compares the results of a copy or a rename. If the source is wrong and the destination is
    /// taken, both errors are correct.
    fn same_move(
        &self,
        to: &'static str,
        replaced: Option<ETags>,
        real: Result<()>,
        model: Result<()>,
    ) -> Checked {
        let (source, taken) =
            ([ErrorKind::NotFound, ErrorKind::PreconditionFailed], ErrorKind::AlreadyExists);
        match (kind(&real), kind(&model)) {
            (Some(real), Some(model))
                if (real == taken && source.contains(&model))
                    || (model == taken && source.contains(&real)) =>
            {
                return Ok(());
            }
            _ => {}
        }
        if model.is_ok() {
            self.remember(to, replaced);
        }
        same(real, model)
    }

    /// Asserts that both sides contain the same objects.
    pub(super) async fn are_the_same(&self) -> Checked {
        let model = list(&self.model, "", None, None).await?;
        if self.real.info().capabilities.list {
            same(list(&self.real, "", None, None).await, Ok(model.clone()))?;
        }
        for (key, _) in model {
            let real = self.read(self.real.open(&key).await?).await;
            same(real, self.read(self.model.open(&key).await?).await)
                .map_err(|failure| failure.within(&key))?;
        }
        Ok(())
    }

    pub(super) fn given(&self, given: Given) -> Metadata {
        if self.real.info().capabilities.metadata { given.metadata() } else { Metadata::new() }
    }

    /// Returns the metadata that both sides must have in common. ETags, times and computed
    /// checksums may differ.
    pub(super) fn shown(&self, meta: ObjectMeta) -> (Key, u64, Option<Metadata>) {
        (meta.key, meta.size, self.real.info().capabilities.metadata.then_some(meta.metadata))
    }

    async fn read(
        &self,
        object: Object,
    ) -> Result<((Key, u64, Option<Metadata>), Range<u64>, Bytes)> {
        Ok((self.shown(object.meta().clone()), object.range(), object.bytes().await?))
    }

    /// Returns the ETags for a condition, or `None` if the driver has none that could match.
    pub(super) async fn etags(&self, key: &str, version: Version) -> Result<Option<ETags>> {
        let present = match (found(self.real.stat(key).await)?, found(self.model.stat(key).await)?)
        {
            (None, _) | (_, None) => None,
            (Some(real), Some(model)) => match (real.etag, model.etag) {
                (Some(real), Some(model)) if !real.is_weak() => Some((real, model)),
                _ => return Ok(None),
            },
        };
        let unknown = ETag::strong("unknown-etag")?;
        let unknown = (unknown.clone(), unknown);
        Ok(match version {
            Version::Present => Some(present.unwrap_or(unknown)),
            Version::PresentButWeak => {
                let (real, model) = present.unwrap_or(unknown);
                Some((ETag::weak(real.opaque())?, ETag::weak(model.opaque())?))
            }
            Version::Older => {
                let older =
                    self.older.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
                match (older, present) {
                    // A driver may derive the ETag from the bytes, so that it returns with them. A
                    // copy onto itself may keep the ETag of one side and renew that of the other.
                    (Some(older), Some(present))
                        if older.0 == present.0 || older.1 == present.1 =>
                    {
                        None
                    }
                    (older, _) => Some(older.unwrap_or(unknown)),
                }
            }
        })
    }

    pub(super) fn remember(&self, key: &'static str, replaced: Option<ETags>) {
        if let Some(replaced) = replaced {
            self.older.lock().unwrap_or_else(PoisonError::into_inner).insert(key, replaced);
        }
    }

    /// Returns whether the driver refused a key that it may refuse. The model skips the step then.
    pub(super) async fn is_refused<T>(&self, real: &Result<T>, key: &str) -> Result<bool, Failure> {
        match kind(real) {
            Some(ErrorKind::InvalidKey) if self.harness.rejects_key(&Key::new(key)?) => Ok(true),
            Some(ErrorKind::Conflict) if self.harness.is_tree() => {
                if self.has_conflict(key).await? {
                    return Ok(true);
                }
                Err(Failure::new(format!(
                    "Conflict, but neither a part of {key:?} nor anything below it is an object"
                )))
            }
            _ => Ok(false),
        }
    }

    /// Returns whether an object exists below this key or at a parent of it, so that a tree cannot
    /// store the key.
    pub(super) async fn has_conflict(&self, key: &str) -> Result<bool> {
        let mut ancestors = key.match_indices('/').map(|(at, _)| &key[..at]);
        let taken = list(&self.model, "", None, None).await?;
        let is_taken = |wanted: &str| taken.iter().any(|(key, _)| key == wanted);
        let below = format!("{key}/");
        Ok(ancestors.any(is_taken) || taken.iter().any(|(key, _)| key.starts_with(&below)))
    }

    async fn check_name(&self, requested: &str, got: &Key) -> Checked {
        let requested = Key::new(requested)?;
        let fits = got.parent() == requested.parent() && got.extension() == requested.extension();
        let is_free =
            !self.model.exists(&requested).await? && !self.has_conflict(requested.as_str()).await?;
        if (is_free && *got != requested) || (!is_free && !fits) {
            return Err(Failure::new(format!("unique_name made {got} of {requested}")));
        }
        Ok(())
    }
}

fn payload(body: &Body) -> Payload {
    let bytes = pattern(body.seed, body.len);
    match body.how {
        How::InMemory => Payload::from_bytes(bytes),
        How::Streamed => streaming(bytes, 1 + body.len / 3),
        How::Failing => failing(chunks_of(&bytes, 1 + body.len / 3)),
        How::MisDeclared => streaming(bytes, 1 + body.len / 3).with_size(body.len as u64 + 1),
    }
}

fn in_mode(save: Save, mode: Mode, etag: Option<ETag>) -> Save {
    match (mode, etag) {
        (Mode::CreateNew, _) => save.create_new(),
        (Mode::UniqueName, _) => save.unique_name(),
        (Mode::IfMatch(_), Some(etag)) => save.if_match(etag),
        _ => save,
    }
}

/// Asserts that a save failed. If there are several reasons, the driver chooses one.
fn must_fail(real: Result<ObjectMeta>) -> Checked {
    let kinds = [
        ErrorKind::Unexpected,
        ErrorKind::Integrity,
        ErrorKind::AlreadyExists,
        ErrorKind::PreconditionFailed,
        ErrorKind::Conflict,
        ErrorKind::InvalidKey,
    ];
    match real {
        Ok(_) => Err(Failure::new("a save whose payload failed succeeded")),
        Err(error) if kinds.contains(&error.kind()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

type Listed = Vec<(String, Option<u64>)>;

async fn list(
    storage: &Storage,
    prefix: &str,
    delimiter: Option<&str>,
    start_after: Option<&str>,
) -> Result<Listed> {
    let mut list = storage.list(prefix);
    if let Some(delimiter) = delimiter {
        list = list.delimiter(delimiter);
    }
    if let Some(after) = start_after {
        list = list.start_after(after);
    }
    let entries = list.entries().collect().await?.into_iter();
    let listed = entries
        .map(|entry| (entry.name().to_owned(), entry.into_object().map(|object| object.size)));
    Ok(listed.collect())
}

fn found(meta: Result<ObjectMeta>) -> Result<Option<ObjectMeta>> {
    match meta {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        meta => meta.map(Some),
    }
}

pub(super) fn kind<T>(result: &Result<T>) -> Option<ErrorKind> {
    result.as_ref().err().map(Error::kind)
}

/// Asserts that both results are the same value or errors of the same kind.
pub(super) fn same<T: PartialEq + std::fmt::Debug>(real: Result<T>, model: Result<T>) -> Checked {
    match (real, model) {
        (Ok(real), Ok(model)) if real == model => Ok(()),
        (Err(real), Err(model)) if real.kind() == model.kind() => Ok(()),
        (real, model) => Err(Failure::new(format!(
            "the driver returned {}, the model {}",
            shortened(&real),
            shortened(&model)
        ))),
    }
}

/// Returns the `Debug` form, cut after 1,000 characters.
fn shortened(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(1000) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use storage_core::{Memory, async_trait};

    use super::*;

    struct InMemory;

    #[async_trait]
    impl Harness for InMemory {
        async fn storage(&self) -> Storage {
            Memory::storage()
        }
    }

    #[tokio::test]
    async fn an_etag_that_is_still_that_of_the_model_is_no_older_one() {
        let pair = Pair::new(&InMemory, Memory::storage(), Memory::storage());
        for storage in [&pair.real, &pair.model] {
            storage.save("a", "1").await.unwrap();
        }
        pair.remember("a", pair.etags("a", Version::Present).await.unwrap());
        // As a driver whose copy of an object onto itself has a new ETag.
        pair.real.save("a", "1").await.unwrap();
        assert_eq!(pair.etags("a", Version::Older).await.unwrap(), None);
        pair.model.save("a", "2").await.unwrap();
        assert!(pair.etags("a", Version::Older).await.unwrap().is_some());
    }
}
