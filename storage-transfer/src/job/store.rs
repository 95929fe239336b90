//! [`Store`]: reads and writes the documents of a job on conditions.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use storage_core::{ETag, Error, ErrorKind, Key, Metadata, Result, SaveMode, SaveOptions, Storage};

use crate::directory::{Directory, refuse_state_overlap};
use crate::filter::Filter;
use crate::job::documents::{FORMAT, JobDocument, ShardDocument};
use crate::job::records::{self, Kind};
use crate::retry::Retry;

/// Upper bound for the size of a document in bytes.
const MAX_DOCUMENT: u64 = 64 * 1024 * 1024;

/// How many documents are read or created at a time.
const AT_ONCE: usize = 16;

/// Upper bound for the passes of a job, and for the claims and saves of a shard.
const MAX_COUNTER: u64 = 1 << 40;

/// Upper bound for the objects and the bytes of a shard: one EiB.
const MAX_COUNT: u64 = 1 << 60;

/// A document, and the version that was read.
#[derive(Debug, Clone)]
pub(crate) struct Document<T> {
    pub(crate) value: T,
    pub(crate) etag: ETag,
}

/// What every document begins with.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The documents of a job.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    at: Directory,
}

impl Store {
    /// # Errors
    /// `Unsupported` if the storage has no conditional saves.
    pub(crate) fn new(at: &Directory) -> Result<Self> {
        let info = at.storage().info();
        let capabilities = info.capabilities;
        if capabilities.write && capabilities.create_new && capabilities.save_if_match {
            return Ok(Self { at: at.clone() });
        }
        let message = "a job needs a storage with conditional saves (create_new and if_match), such \
                       as fs or s3";
        Err(Error::unsupported(message).with_driver(info.name.clone()))
    }

    /// Fails with `Conflict` if the directory of the job and a side contain each other and the
    /// filter does not exclude the documents.
    pub(crate) fn check_place(
        &self,
        (source, target): (&Directory, &Directory),
        filter: &Filter,
    ) -> Result<()> {
        let is_excluded = |path: &str| !filter.may_admit_below(path);
        refuse_state_overlap(&self.at, source, is_excluded)?;
        refuse_state_overlap(&self.at, target, is_excluded)
    }

    fn storage(&self) -> &Storage {
        self.at.storage()
    }

    pub(crate) async fn job_if_any(&self) -> Result<Option<Document<JobDocument>>> {
        match self.job().await {
            Ok(job) => Ok(Some(job)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// # Errors
    /// `NotFound` if there is no job.
    pub(crate) async fn job(&self) -> Result<Document<JobDocument>> {
        let key = self.at.key("job.json")?;
        let job: Document<JobDocument> = self.read(&key).await?;
        check_counters(&key, &[job.value.pass])?;
        Ok(job)
    }

    /// Stores a new job. Succeeds if another process has stored one of the same specification at
    /// the same time.
    pub(crate) async fn create_job(&self, job: &JobDocument) -> Result<()> {
        match self.create(&self.at.key("job.json")?, job).await? {
            Some(_) => Ok(()),
            None => self.job().await?.value.spec.check_same(&job.spec),
        }
    }

    /// Returns `None` if the job was changed since it was read.
    pub(crate) async fn replace_job(
        &self,
        job: Document<JobDocument>,
    ) -> Result<Option<Document<JobDocument>>> {
        self.replace(&self.at.key("job.json")?, job).await
    }

    /// Stores new shards. Those of which there is one with the same id stay as they are.
    pub(crate) async fn create_shards(&self, shards: Vec<ShardDocument>) -> Result<()> {
        let create = |shard| async move { self.create_shard(&shard).await.map(drop) };
        stream::iter(shards).map(create).buffer_unordered(AT_ONCE).try_collect().await
    }

    /// Stores a new shard. Returns `None` if there is one of this id.
    pub(crate) async fn create_shard(
        &self,
        shard: &ShardDocument,
    ) -> Result<Option<Document<ShardDocument>>> {
        self.create(&self.shard_key(&shard.id)?, shard).await
    }

    pub(crate) async fn shard(&self, id: &str) -> Result<Document<ShardDocument>> {
        let key = self.shard_key(id)?;
        let shard: Document<ShardDocument> = self.read(&key).await?;
        check_counters(&key, &[shard.value.pass, shard.value.epoch, shard.value.seq])?;
        if shard.value.id != id || !shard.value.counts.are_below(MAX_COUNT) {
            return Err(implausible(&key));
        }
        Ok(shard)
    }

    /// Returns `None` if the shard was changed since it was read.
    pub(crate) async fn replace_shard(
        &self,
        shard: Document<ShardDocument>,
    ) -> Result<Option<Document<ShardDocument>>> {
        self.replace(&self.shard_key(&shard.value.id)?, shard).await
    }

    pub(crate) async fn delete_shard(&self, id: &str) -> Result<()> {
        self.storage().delete(self.shard_key(id)?).await
    }

    /// Returns all shards of a job, in the order of their documents' names.
    ///
    /// # Errors
    /// `Conflict` if there is a shard of another job.
    pub(crate) async fn shards(&self, job: &JobDocument) -> Result<Vec<Document<ShardDocument>>> {
        let ids = self.shard_ids().await?.into_iter().map(|(id, _)| id);
        self.shards_of_ids(job, ids.collect()).await
    }

    /// Returns these shards of a job, in this order. Leaves out those that are gone, because a
    /// worker has taken back what it had cut off.
    ///
    /// # Errors
    /// `Conflict` if there is a shard of another job.
    pub(crate) async fn shards_of_ids(
        &self,
        job: &JobDocument,
        ids: Vec<String>,
    ) -> Result<Vec<Document<ShardDocument>>> {
        let read = |id: String| async move {
            match self.shard(&id).await {
                Err(error) if error.is_not_found() => Ok(None),
                shard => shard.map(Some),
            }
        };
        let mut found = stream::iter(ids).map(read).buffered(AT_ONCE);
        let mut shards = Vec::new();
        while let Some(shard) = found.try_next().await? {
            if let Some(shard) = shard {
                shard.value.check_job(job)?;
                shards.push(shard);
            }
        }
        Ok(shards)
    }

    /// Lists the ids of all shards, with the ETags of their documents.
    pub(crate) async fn shard_ids(&self) -> Result<Vec<(String, Option<ETag>)>> {
        let prefix = format!("{}shards/", self.at.prefix().as_str());
        let mut entries = self.storage().list(prefix.as_str()).entries();
        let mut ids = Vec::new();
        while let Some(object) = entries.next_object().await? {
            let name = object.key.as_str().strip_prefix(&prefix);
            if let Some(id) = name.and_then(|name| name.strip_suffix(".json")) {
                ids.push((id.to_owned(), object.etag));
            }
        }
        Ok(ids)
    }

    /// Stores records in a new file. The number is not used yet.
    pub(crate) async fn write_records(
        &self,
        id: &str,
        kind: Kind,
        number: u64,
        text: Bytes,
    ) -> Result<()> {
        let key = self.at.key(&kind.path(id, number))?;
        let mut retry = Retry::default();
        loop {
            let save = self.storage().save(&key, text.clone()).content_type("application/x-ndjson");
            match save.await {
                Ok(_) => return Ok(()),
                Err(error) => retry.wait(error).await?,
            }
        }
    }

    /// Deletes the files of a shard with smaller numbers than this.
    pub(crate) async fn delete_records_before(&self, id: &str, number: u64) -> Result<()> {
        for kind in [Kind::Failed, Kind::Extra] {
            let prefix = format!("{}{}", self.at.prefix().as_str(), kind.directory(id));
            let mut entries = self.storage().list(prefix.as_str()).entries();
            while let Some(object) = entries.next_object().await? {
                let name = object.key.as_str().strip_prefix(&prefix);
                if name.and_then(records::number).is_some_and(|found| found < number) {
                    self.storage().delete(object.key).await?;
                }
            }
        }
        Ok(())
    }

    /// Reads the records of a file.
    pub(crate) async fn records<T: DeserializeOwned>(
        &self,
        id: &str,
        kind: Kind,
        number: u64,
    ) -> Result<Vec<T>> {
        let key = self.at.key(&kind.path(id, number))?;
        let text = self.storage().open(&key).await?.bytes_up_to(MAX_DOCUMENT).await?;
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).map_err(|error| damaged(&key, error)))
            .collect()
    }

    fn shard_key(&self, id: &str) -> Result<Key> {
        self.at.key(&format!("shards/{id}.json"))
    }

    async fn read<T: DeserializeOwned>(&self, key: &Key) -> Result<Document<T>> {
        let mut retry = Retry::default();
        loop {
            match self.read_once(key).await {
                Err(error) => retry.wait(error).await?,
                read => return read,
            }
        }
    }

    async fn read_once<T: DeserializeOwned>(&self, key: &Key) -> Result<Document<T>> {
        let object = self.storage().open(key).await?;
        let etag = object.meta().etag.clone().ok_or_else(|| {
            Error::unsupported("a job needs a storage with ETags").with_key(key.as_str())
        })?;
        let text = object.bytes_up_to(MAX_DOCUMENT).await?;
        // Documents of another format may have other fields.
        let Format { format } =
            serde_json::from_slice(&text).map_err(|error| damaged(key, error))?;
        check_format(format)?;
        let value = serde_json::from_slice(&text).map_err(|error| damaged(key, error))?;
        Ok(Document { value, etag })
    }

    async fn create<T: Serialize + Clone>(
        &self,
        key: &Key,
        value: &T,
    ) -> Result<Option<Document<T>>> {
        let saved = self.save(key, json(value)?, SaveMode::CreateNew).await?;
        Ok(saved.map(|etag| Document { value: value.clone(), etag }))
    }

    /// Replaces the version that was read. Returns `None` if there is another one, which may be
    /// this one, if the response to an attempt was lost.
    async fn replace<T: Serialize>(
        &self,
        key: &Key,
        document: Document<T>,
    ) -> Result<Option<Document<T>>> {
        let Document { value, etag } = document;
        let saved = self.save(key, json(&value)?, SaveMode::IfMatch(etag)).await?;
        Ok(saved.map(|etag| Document { value, etag }))
    }

    /// Saves a document, and repeats that after temporary failures. Returns `None` if the condition
    /// is not met.
    async fn save(&self, key: &Key, text: Vec<u8>, mode: SaveMode) -> Result<Option<ETag>> {
        let text = Bytes::from(text);
        let mut retry = Retry::default();
        loop {
            let options = SaveOptions::new()
                .mode(mode.clone())
                .metadata(Metadata::new().content_type("application/json"));
            match self.storage().save_with(key, text.clone(), options).await {
                Ok(meta) => {
                    let unsupported = || Error::unsupported("a job needs a storage with ETags");
                    return meta.etag.map(Some).ok_or_else(unsupported);
                }
                Err(error) if is_condition(&error) => return Ok(None),
                Err(error) => retry.wait(error).await?,
            }
        }
    }
}

fn is_condition(error: &Error) -> bool {
    error.is_precondition_failed() || error.is_already_exists() || error.is_not_found()
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|error| Error::unexpected("cannot write JSON", error))
}

fn damaged(key: &Key, error: serde_json::Error) -> Error {
    implausible(key).with_source(error)
}

fn implausible(key: &Key) -> Error {
    let message = "the document of the job is damaged: begin a new job at another place";
    Error::new(ErrorKind::Integrity, message).with_key(key.as_str())
}

/// Refuses numbers that no job reaches, so that none overflows later.
fn check_counters(key: &Key, counters: &[u64]) -> Result<()> {
    if counters.iter().all(|counter| *counter < MAX_COUNTER) {
        return Ok(());
    }
    Err(implausible(key))
}

fn check_format(format: u32) -> Result<()> {
    if format == FORMAT {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "the job has format {format}, but this version of anystorage works with format {FORMAT}: \
         use the version that planned it"
    )))
}

#[cfg(test)]
mod tests {
    use storage_core::Memory;

    use super::*;
    use crate::sync::summary::Counts;

    /// Returns the kind of the error for this text in place of `job.json`.
    async fn refused(text: &'static str) -> ErrorKind {
        let at = Directory::new(&Memory::storage(), "job").unwrap();
        at.storage().save("job/job.json", text).await.unwrap();
        Store::new(&at).unwrap().job().await.unwrap_err().kind()
    }

    #[tokio::test]
    async fn a_job_of_another_format_is_not_taken_for_a_damaged_one() {
        assert_eq!(refused(r#"{"format": 2, "parts": []}"#).await, ErrorKind::Unsupported);
        assert_eq!(refused(r#"{"format": 1, "parts": []}"#).await, ErrorKind::Integrity);
    }

    #[tokio::test]
    async fn counts_that_no_shard_reaches_are_damage() {
        let at = Directory::new(&Memory::storage(), "job").unwrap();
        let store = Store::new(&at).unwrap();
        for (id, counts, is_damaged) in [
            ("0", Counts { extra: u64::MAX, ..Counts::default() }, true),
            ("1", Counts { bytes_sent: MAX_COUNT, ..Counts::default() }, true),
            ("2", Counts { bytes: MAX_COUNT - 1, ..Counts::default() }, false),
        ] {
            let mut shard = ShardDocument::new("job", id.to_owned(), None, None);
            shard.counts = counts;
            store.create_shard(&shard).await.unwrap().unwrap();
            let error = store.shard(id).await.err().map(|error| error.kind());
            assert_eq!(error, is_damaged.then_some(ErrorKind::Integrity), "{id}");
        }
    }

    #[test]
    fn counters_that_would_overflow_are_damage() {
        let key = Key::new("job/shards/00000.json").unwrap();
        check_counters(&key, &[1, 20_000_000]).unwrap();
        let error = check_counters(&key, &[1, u64::MAX]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
    }
}
