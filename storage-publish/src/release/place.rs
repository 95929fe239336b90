//! [`Placer`]: stores the files of a release before any page names them.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use storage_core::{
    ETag, Error, ErrorKind, Metadata, Payload, Result, SaveMode, SaveOptions, Storage,
};
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use super::before::Before;
use super::copy::replace_headers;
use super::digest::Sha256;
use super::draft::{Action, Draft};
use super::encoder::{Encoder, changed};
use super::encodings::Encoding;
use super::listing::Listing;
use super::manifest::{EncodedBody, Manifest, ManifestEntry, Sibling, encoded_metadata};
use super::options::{OnStored, PublishOptions};
use super::rules::PLAIN_SHA256;
use super::verify::{Wanted, form_of, verify};
use crate::site::{Asset, Content};

/// The memory for files that are compressed or uploaded at a time, in KiB. A large file may need
/// more, and is then alone.
const BUDGET: u32 = 96 * 1024;

/// The smallest share of one upload in KiB: its buffers.
const MIN_SHARE: u32 = 256;
/// The largest share of a file that is read while it is uploaded: the parts of a large object.
const MAX_SHARE_OF_FILE: u32 = 16 * 1024;

/// Stores the files of a release.
pub(crate) struct Placer<'a> {
    destination: &'a Storage,
    before: &'a Before,
    found: &'a Listing,
    /// The files of the releases before whose names are like those of siblings.
    like_siblings: OnceCell<HashSet<String>>,
    encoder: Encoder,
    budget: Semaphore,
    on_stored: Option<&'a OnStored>,
    pub(crate) tally: Tally,
}

/// What was done.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) uploaded: AtomicU64,
    pub(crate) uploaded_bytes: AtomicU64,
    pub(crate) headers: AtomicU64,
    pub(crate) unchanged: AtomicU64,
}

/// Where the bytes of an object come from.
enum Source<'s> {
    Asset(&'s Asset),
    Encoded(Bytes),
}

impl<'a> Placer<'a> {
    pub(crate) fn new(
        destination: &'a Storage,
        before: &'a Before,
        options: &'a PublishOptions,
    ) -> Self {
        Self {
            destination,
            before,
            found: &before.found,
            like_siblings: OnceCell::new(),
            encoder: Encoder::new(),
            budget: Semaphore::new(BUDGET as usize),
            on_stored: options.on_stored.as_ref(),
            tally: Tally::default(),
        }
    }

    /// Stores one file and its siblings. Returns the path and the entry for the manifest.
    ///
    /// # Errors
    /// `Integrity` if the file changed since the site was read, or if an object with other bytes
    /// has the name; errors of the storage.
    pub(crate) async fn place(&self, draft: &Draft<'_>) -> Result<(String, ManifestEntry)> {
        let mut entry = draft.entry.clone();
        if draft.is_unchanged(self.found) {
            self.tally.unchanged.fetch_add(1, Ordering::Relaxed);
        }
        self.place_object(draft, &mut entry).await?;
        for encoding in &draft.siblings {
            self.place_sibling(draft, *encoding, &mut entry).await?;
        }
        Ok((draft.asset.path.clone(), entry))
    }

    async fn place_object(&self, draft: &Draft<'_>, entry: &mut ManifestEntry) -> Result<()> {
        let Some(last) = draft.last.filter(|_| draft.action != Action::Place) else {
            return self.store_object(draft, entry).await;
        };
        entry.body.clone_from(&last.body);
        entry.without_gain.extend(draft.body.filter(|body| last.without_gain.contains(body)));
        if draft.action == Action::Keep {
            entry.etag.clone_from(&last.etag);
            entry.stored.clone_from(&last.stored);
            return Ok(());
        }
        let (from, to) = (last.object_key(), entry.object_key());
        let metadata = entry.object_metadata();
        match self.replace_headers(from, last.etag.as_ref(), to, metadata).await? {
            Some(etag) => entry.etag = etag,
            None => {
                (entry.body, entry.without_gain) = Default::default();
                self.store_object(draft, entry).await?;
            }
        }
        Ok(())
    }

    async fn store_object(&self, draft: &Draft<'_>, entry: &mut ManifestEntry) -> Result<()> {
        let mut source = Source::Asset(draft.asset);
        let (encoded, _share) = match draft.body {
            Some(encoding) => self.encoded(draft.asset, encoding).await?,
            None => (None, self.share(upload_share(draft.asset.size)).await?),
        };
        match (draft.body, encoded) {
            (Some(encoding), Some(bytes)) => {
                let (size, sha256) = (bytes.len() as u64, Sha256::of(&bytes));
                entry.body = Some(EncodedBody { encoding, size, sha256 });
                source = Source::Encoded(bytes);
            }
            (without_gain, _) => entry.without_gain.extend(without_gain),
        }
        let wanted = Wanted {
            key: entry.object_key(),
            size: entry.object_size(),
            sha256: entry.object_sha256(),
            metadata: &entry.object_metadata(),
        };
        entry.etag = match self.create(wanted, &source).await? {
            Some(etag) => etag,
            None => match self.verify(wanted).await {
                Err(error) if error.kind() == ErrorKind::Integrity => {
                    let replaced =
                        self.replace_form(wanted, &source, (entry.size, entry.sha256)).await?;
                    replaced.ok_or(error)?
                }
                verified => verified?,
            },
        };
        Ok(())
    }

    async fn place_sibling(
        &self,
        draft: &Draft<'_>,
        encoding: Encoding,
        entry: &mut ManifestEntry,
    ) -> Result<()> {
        let known = draft.last.and_then(|last| last.encodings.get(&encoding));
        let placed = match (draft.sibling_action(encoding, self.found), known) {
            (None, _) => None,
            (Some(Action::Keep), Some(known)) => Some(known.clone()),
            (Some(Action::ReplaceHeaders), Some(known)) => {
                let name = draft.sibling_key(encoding);
                let metadata = encoded_metadata(&entry.metadata, encoding, entry.sha256);
                let etag = known.etag.as_ref();
                match self.replace_headers(&known.name, etag, &name, metadata).await? {
                    Some(etag) => Some(Sibling { name, etag, ..known.clone() }),
                    None => self.store_sibling(draft, encoding, entry).await?,
                }
            }
            _ => self.store_sibling(draft, encoding, entry).await?,
        };
        match placed {
            Some(sibling) => drop(entry.encodings.insert(encoding, sibling)),
            None => drop(entry.without_gain.insert(encoding)),
        }
        Ok(())
    }

    /// Returns `None` if the encoding is without gain, or if a file of another release has the
    /// name.
    async fn store_sibling(
        &self,
        draft: &Draft<'_>,
        encoding: Encoding,
        entry: &ManifestEntry,
    ) -> Result<Option<Sibling>> {
        let (encoded, _share) = self.encoded(draft.asset, encoding).await?;
        let Some(bytes) = encoded else { return Ok(None) };
        let metadata = encoded_metadata(&entry.metadata, encoding, entry.sha256);
        let (size, sha256) = (bytes.len() as u64, Sha256::of(&bytes));
        let name = draft.sibling_key(encoding);
        let wanted = Wanted { key: &name, size, sha256, metadata: &metadata };
        let source = Source::Encoded(bytes);
        let etag = match self.create(wanted, &source).await? {
            Some(etag) => etag,
            None if self.is_file(wanted.key).await? => return Ok(None),
            None => match self.verify(wanted).await {
                Err(error) if error.kind() == ErrorKind::Integrity => {
                    match self.replace_form(wanted, &source, (entry.size, entry.sha256)).await? {
                        Some(etag) => etag,
                        // Another program stored it.
                        None => return Ok(None),
                    }
                }
                verified => verified?,
            },
        };
        Ok(Some(Sibling { name, size, sha256, etag }))
    }

    /// Returns whether a listed release has a file of its own under the name of a sibling. Reads
    /// the manifests once, and only if an object does not say that it is a sibling.
    async fn is_file(&self, key: &str) -> Result<bool> {
        let metadata = self.destination.stat(key).await?.metadata;
        if metadata.user_metadata.contains_key(PLAIN_SHA256) {
            return Ok(false);
        }
        let read = || like_siblings(self.destination, self.before);
        Ok(self.like_siblings.get_or_try_init(read).await?.contains(key))
    }

    /// Replaces an object by the wanted form of the same file: a rule now wants another encoding,
    /// or another version of the compressor made it. Returns `None` if it is another file.
    async fn replace_form(
        &self,
        wanted: Wanted<'_>,
        source: &Source<'_>,
        plain: (u64, Sha256),
    ) -> Result<Option<Option<ETag>>> {
        let Some(found) = form_of(self.destination, wanted.key, plain).await? else {
            return Ok(None);
        };
        let etag = found.strong_etag().cloned();
        let mode = etag.map_or(SaveMode::Overwrite, SaveMode::IfMatch);
        self.save(wanted, source, mode).await.map(Some)
    }

    /// Copies an object with other headers, and returns the ETag of the copy. Returns `None` if the
    /// object is not the version that the last release recorded: a rollback may have copied it, and
    /// not every listing has ETags. Its bytes have to be compared then.
    async fn replace_headers(
        &self,
        from: &str,
        etag: Option<&ETag>,
        to: &str,
        metadata: Metadata,
    ) -> Result<Option<Option<ETag>>> {
        match replace_headers(self.destination, from, etag, to, metadata).await {
            Err(error) if error.kind() == ErrorKind::PreconditionFailed => Ok(None),
            replaced => {
                let etag = replaced?;
                self.tally.headers.fetch_add(1, Ordering::Relaxed);
                Ok(Some(etag))
            }
        }
    }

    /// Checks an object that exists, and counts it if its headers were replaced.
    async fn verify(&self, wanted: Wanted<'_>) -> Result<Option<ETag>> {
        let (etag, is_replaced) = verify(self.destination, wanted).await?;
        self.tally.headers.fetch_add(u64::from(is_replaced), Ordering::Relaxed);
        Ok(etag)
    }

    /// Creates an object, and returns its ETag. Returns `None` if there is one already.
    async fn create(
        &self,
        wanted: Wanted<'_>,
        source: &Source<'_>,
    ) -> Result<Option<Option<ETag>>> {
        if self.found.contains(wanted.key) {
            return Ok(None);
        }
        match self.save(wanted, source, SaveMode::CreateNew).await {
            Ok(etag) => Ok(Some(etag)),
            Err(error) if error.is_already_exists() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn save(
        &self,
        wanted: Wanted<'_>,
        source: &Source<'_>,
        mode: SaveMode,
    ) -> Result<Option<ETag>> {
        let payload = source.payload(wanted.size).await?;
        let payload = payload.with_expected_checksum(wanted.sha256.checksum()?);
        let options = SaveOptions::new().mode(mode).metadata(wanted.metadata.clone());
        let saved = self.destination.save_with(wanted.key, payload, options).await;
        let meta = saved.map_err(|error| source.explain(error))?;
        self.tally.uploaded.fetch_add(1, Ordering::Relaxed);
        self.tally.uploaded_bytes.fetch_add(wanted.size, Ordering::Relaxed);
        if let Some(on_stored) = self.on_stored {
            on_stored(wanted.key, wanted.size);
        }
        Ok(meta.etag)
    }

    /// Returns the encoded bytes of a file, and the memory that they take until they are stored.
    /// Takes all that is needed at once, so that no two files wait for each other.
    async fn encoded(
        &self,
        asset: &Asset,
        encoding: Encoding,
    ) -> Result<(Option<Bytes>, SemaphorePermit<'_>)> {
        let kept = kib(asset.size).clamp(MIN_SHARE, BUDGET);
        let working = kib(asset.size.saturating_add(encoding.working_memory(asset.size)));
        let mut share = self.share(working.saturating_add(kept)).await?;
        let encoded = self.encoder.encode(asset, encoding).await?;
        drop(share.split(share.num_permits() - kept as usize));
        Ok((encoded, share))
    }

    async fn share(&self, kib: u32) -> Result<SemaphorePermit<'_>> {
        let share = self.budget.acquire_many(kib.min(BUDGET)).await;
        share.map_err(|error| Error::unexpected("uploading was stopped", error))
    }
}

/// Returns the share of a file that is read while it is uploaded.
fn upload_share(size: u64) -> u32 {
    kib(size).clamp(MIN_SHARE, MAX_SHARE_OF_FILE)
}

fn kib(size: u64) -> u32 {
    u32::try_from(size / 1024).unwrap_or(BUDGET)
}

async fn like_siblings(destination: &Storage, before: &Before) -> Result<HashSet<String>> {
    let is_like = |name: &&str| Encoding::ALL.iter().any(|other| name.ends_with(other.suffix()));
    let own = |manifest: &Manifest| -> Vec<String> {
        let names = manifest.entries.values().map(ManifestEntry::object_key);
        names.filter(is_like).map(str::to_owned).collect()
    };
    let mut found: HashSet<String> = before.last.iter().flat_map(own).collect();
    for previous in &before.read.pointer.previous {
        let manifest = Manifest::read_if_whole(destination, &previous.release).await?;
        found.extend(manifest.iter().flat_map(own));
    }
    Ok(found)
}

impl Source<'_> {
    async fn payload(&self, size: u64) -> Result<Payload> {
        match self {
            Self::Encoded(bytes) => Ok(Payload::from_bytes(bytes.clone())),
            Self::Asset(Asset { content, path, .. }) => match content {
                Content::Rewritten(bytes) => Ok(Payload::from_bytes(bytes.clone())),
                Content::File(file) => payload_of_file(file, path, size).await,
                Content::Spooled(file) => payload_of_file(file.path(), path, size).await,
            },
        }
    }

    /// Names the file whose bytes are not those that were hashed.
    fn explain(&self, error: Error) -> Error {
        match self {
            Self::Asset(asset) if error.kind() == ErrorKind::Integrity => {
                changed(&asset.path).with_source(error)
            }
            _ => error,
        }
    }
}

/// Opens the file with the bytes of the asset with this path.
async fn payload_of_file(file: &Path, path: &str, size: u64) -> Result<Payload> {
    let opened = Payload::from_file(file).await;
    let payload = opened.map_err(|error| match error.is_not_found() {
        true => changed(path),
        false => error.with_context(&file.display().to_string()),
    })?;
    match payload.size() == Some(size) {
        true => Ok(payload),
        false => Err(changed(path)),
    }
}
