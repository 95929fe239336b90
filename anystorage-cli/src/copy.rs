//! Copying objects between any two storages: the engine of `cp` and `mv`.

use std::path::{Path, PathBuf};

use anystorage::{Entry, Error, ErrorKind, Key, ObjectMeta, Result, Storage};
use futures_util::StreamExt;

use crate::exit::{Exit, Failure, say};
use crate::links::{self, Kind, Links, Special, Target};
use crate::metadata::MetadataArgs;
use crate::place::Place;
use crate::places::Places;
use crate::progress::Progress;
use crate::same::{overlapping, same_object, same_storage};

/// How many failures are remembered for the end; any further one is told at once.
const REMEMBERED: usize = 1000;

/// Copies one object with its metadata: by the storage's own means where both ends are one storage,
/// else as a stream. Returns what was known of the source when it was read.
///
/// The source's checksums have to hold for the copy too.
pub(crate) async fn copy_object(
    from: (&Storage, &Key),
    to: (&Storage, &Key),
    metadata: &MetadataArgs,
    progress: &Progress,
) -> Result<ObjectMeta> {
    let ((source, from_key), (target, to_key)) = (from, to);
    if same_storage(source, target) && source.info().capabilities.copy {
        let before = source.stat(from_key).await?;
        // `Storage::copy` takes no condition on the source's version. Metadata that is derived from
        // one version must not be stored with the bytes of another, so such a copy reads both from
        // one stream.
        if !metadata.would_change(&before.metadata) {
            match source.copy(from_key, to_key).await {
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                copied => return copied.map(|()| before),
            }
        }
    }
    let object = source.open(from_key).await?;
    let meta = object.meta().clone();
    let kept = metadata.of_copy(from_key.as_str(), &meta.metadata, progress)?;
    progress.expect(meta.size);
    let payload = progress.payload(object.into());
    let mut save = target.save(to_key, payload).metadata(kept);
    for checksum in meta.checksums.iter() {
        save = save.expect_checksum(checksum.clone());
    }
    save.await?;
    Ok(meta)
}

/// Refuses a copy of an object onto itself, which would do nothing at best.
pub(crate) fn refuse_same(from: &Place, to: &Place) -> Result<(), Failure> {
    if same_object(from, to) {
        return Err(Failure::at(
            &format!("{from} -> {to}"),
            &Error::new(
                ErrorKind::Conflict,
                "source and destination are the same object; nothing was changed",
            ),
        ));
    }
    Ok(())
}

/// How to copy a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tree<'a> {
    /// How many objects are copied at a time.
    pub(crate) concurrency: usize,
    pub(crate) links: Links,
    pub(crate) metadata: &'a MetadataArgs,
}

/// Copies all objects of one directory to another, some at a time, and goes on when one fails.
pub(crate) async fn copy_directory(
    places: &mut Places,
    from: &Place,
    to: &Place,
    tree: &Tree<'_>,
) -> Result<(), Failure> {
    if overlapping(from, to) {
        return Err(Failure::at(&format!("{from} -> {to}"), &inside()));
    }
    let tally = Tally {
        progress: Progress::objects(),
        done: 0,
        failed: 0,
        folder_markers: 0,
        remembered: Vec::new(),
    };
    let mut copying = Copying { places, to, tree, tally, holders: Vec::new() };
    copying.directory(from, to).await?;
    let folder_markers = copying.tally.folder_markers;
    let done = copying.tally.finish()?;
    if done + folder_markers == 0 && !from.text.is_empty() {
        return Err(nothing_below(from).await);
    }
    Ok(())
}

/// Mentions the folder markers that a command has passed over.
pub(crate) fn say_folder_markers(count: u64) {
    if count > 0 {
        say(&format!(
            "{count} folder markers passed over: they are no objects, and rm -r deletes them"
        ));
    }
}

fn inside() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "one lies inside the other, so the copies would be copied again",
    )
}

/// A copy of a directory under way.
struct Copying<'a> {
    places: &'a mut Places,
    /// Where everything goes.
    to: &'a Place,
    tree: &'a Tree<'a>,
    tally: Tally,
    /// The directories of the symlinks that were followed to where the copy is now, the outermost
    /// first.
    holders: Vec<PathBuf>,
}

impl Copying<'_> {
    /// Copies one directory: its objects, and then what the listing of a local one passes over.
    ///
    /// # Errors
    /// Only if the directory cannot be named. What cannot be copied is in the tally.
    async fn directory(&mut self, from: &Place, to: &Place) -> Result<(), Failure> {
        let progress = self.tally.progress.clone();
        let tree = self.tree;
        let copies = from.storage.list(from.prefix()?).with_folder_markers().entries();
        let copies = copies.map(|entry| copy_entry(from, to, entry, tree.metadata, &progress));
        let mut copies = copies.buffer_unordered(tree.concurrency);
        while let Some(copied) = copies.next().await {
            self.tally.count(copied);
        }
        drop(copies);
        if !from.local || tree.links == Links::Skip {
            return Ok(());
        }
        let mut specials =
            links::specials(Path::new(&from.storage.info().location).join(&from.text));
        while let Some(special) = specials.recv().await {
            self.special(&special, from, to).await;
        }
        Ok(())
    }

    /// Copies what a symlink leads to, or counts a special file as a failure.
    async fn special(&mut self, special: &Special, from: &Place, to: &Place) {
        let at = from.with_text(format!("{}{}", from.text, special.name));
        let to = to.with_text(format!("{}{}", to.text, special.name));
        let refused = match &special.kind {
            Kind::Symlink(Ok(target)) if self.tree.links == Links::Follow => {
                return self.follow(&at, target, &to).await;
            }
            Kind::Symlink(Err(cause)) if self.tree.links == Links::Follow => leads_nowhere(cause),
            Kind::Symlink(_) => {
                let message = "a symlink, not copied: --follow copies what it leads to, --skip-links leaves it out";
                Error::unsupported(message)
            }
            Kind::Other(what) => {
                Error::unsupported(format!("{what}, not copied: --skip-links leaves it out"))
            }
            Kind::Unnameable => Error::new(
                ErrorKind::InvalidKey,
                "a symlink or special file whose name is not UTF-8 text",
            ),
        };
        self.tally.count(Err(at.failure(&refused)));
    }

    async fn follow(&mut self, at: &Place, target: &Target, to: &Place) {
        if !target.file_type.is_file() && !target.file_type.is_dir() {
            let message =
                format!("a symlink to {}, not copied", links::described(target.file_type));
            return self.tally.count(Err(at.failure(&Error::unsupported(message))));
        }
        if target.file_type.is_dir() && target.is_loop(&self.holders) {
            let message = "a symlink to a directory that it lies in: following it would not end";
            return self.tally.count(Err(at.failure(&Error::new(ErrorKind::Conflict, message))));
        }
        let followed = match self.places.followed(&target.path) {
            Ok(followed) => followed,
            Err(failure) => return self.tally.count(Err(failure)),
        };
        if target.file_type.is_file() {
            let copied = self.file(&followed, to).await;
            return self.tally.count(copied);
        }
        // Also what lies around the whole destination, whatever its name there: the copies would be
        // found in it.
        if overlapping(&followed, self.to) {
            return self.tally.count(Err(Failure::at(&format!("{at} -> {}", self.to), &inside())));
        }
        self.holders.push(target.holder.clone());
        let to = to.with_text(format!("{}/", to.text));
        if let Err(failure) = Box::pin(self.directory(&followed, &to)).await {
            self.tally.count(Err(failure));
        }
        self.holders.pop();
    }

    async fn file(&self, from: &Place, to: &Place) -> Result<Copied, Failure> {
        refuse_same(from, to)?;
        let (from_key, to_key) = (from.key()?, to.key()?);
        let ends = ((&from.storage, &from_key), (&to.storage, &to_key));
        let copied = copy_object(ends.0, ends.1, self.tree.metadata, &self.tally.progress).await;
        copied
            .map(|_| Copied::Object)
            .map_err(|error| Failure::at(&format!("{from} -> {to}"), &error))
    }
}

fn leads_nowhere(cause: &std::io::Error) -> Error {
    let kind = match cause.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unsupported,
    };
    Error::new(
        kind,
        format!("a symlink that cannot be followed: {cause}; --skip-links leaves it out"),
    )
}

/// Why a directory has nothing to copy. Keys may begin with its name all the same, and `ls` shows
/// them.
async fn nothing_below(from: &Place) -> Failure {
    let name = from.with_text(from.text.trim_end_matches('/'));
    let told = |message: String| Failure::at(from, &Error::new(ErrorKind::NotFound, message));
    let (Ok(key), Ok(prefix)) = (name.key(), name.prefix()) else {
        return told("nothing is below this".to_owned());
    };
    match from.storage.exists(key).await {
        Ok(true) => {
            return told(format!(
                "nothing is below this, but {name} is an object: copy it without -r"
            ));
        }
        Ok(false) => {}
        Err(error) => return name.failure(&error),
    }
    match from.storage.list(prefix).entries().next().await {
        Some(Ok(_)) => told(format!(
            "-r copies what is below this directory, and nothing is; anystorage ls -r {name} shows the keys that only \
             begin so: copy them one by one"
        )),
        Some(Err(error)) => from.entry_failure(&error),
        None => told("nothing is below this".to_owned()),
    }
}

/// What an entry of the source was.
enum Copied {
    Object,
    FolderMarker,
}

async fn copy_entry(
    from: &Place,
    to: &Place,
    entry: Result<Entry>,
    metadata: &MetadataArgs,
    progress: &Progress,
) -> Result<Copied, Failure> {
    let source = match entry {
        Ok(Entry::Object(object)) => object.key,
        // Nothing is rolled up without a delimiter, so the rest are folder markers.
        Ok(_) => return Ok(Copied::FolderMarker),
        Err(error) => return Err(from.entry_failure(&error)),
    };
    let rest = source.as_str().strip_prefix(from.text.as_str()).unwrap_or(source.as_str());
    let target = to.with_text(format!("{}{rest}", to.text));
    let copied = match Key::new(target.text.as_str()) {
        Ok(key) => copy_object((&from.storage, &source), (&to.storage, &key), metadata, progress)
            .await
            .map(|_| Copied::Object),
        Err(error) => Err(error),
    };
    copied.map_err(|error| {
        Failure::at(&format!("{} -> {target}", from.with_text(source.as_str())), &error)
    })
}

/// What became of the objects.
struct Tally {
    progress: Progress,
    done: u64,
    failed: u64,
    folder_markers: u64,
    remembered: Vec<Failure>,
}

impl Tally {
    fn count(&mut self, copied: Result<Copied, Failure>) {
        match copied {
            Ok(Copied::FolderMarker) => self.folder_markers += 1,
            Ok(Copied::Object) => {
                self.done += 1;
                self.progress.set_objects(self.done);
            }
            Err(failure) => {
                self.failed += 1;
                if self.remembered.len() < REMEMBERED {
                    self.remembered.push(failure);
                } else {
                    self.progress.suspend(|| failure.tell());
                }
            }
        }
    }

    /// Names what failed, and answers how many objects were copied.
    fn finish(self) -> Result<u64, Failure> {
        let Self { progress, done, failed, folder_markers, remembered } = self;
        drop(progress);
        say_folder_markers(folder_markers);
        if failed > 0 {
            for failure in remembered {
                failure.tell();
            }
            say(&format!("{failed} not copied, {done} copied"));
            return Err(Failure::told(Exit::Failed));
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use anystorage::{Checksum, ChecksumAlgorithm, Memory};

    use super::*;

    #[tokio::test]
    async fn the_checksums_of_the_source_are_verified_and_kept() {
        let (source, target) = (Memory::storage(), Memory::storage());
        let key = Key::new("a").unwrap();
        source.save(&key, "hello").compute_checksum(ChecksumAlgorithm::Sha256).await.unwrap();
        let progress = Progress::bytes(false, None);
        copy_object((&source, &key), (&target, &key), &MetadataArgs::default(), &progress)
            .await
            .unwrap();
        let copied = target.stat(&key).await.unwrap();
        let expected = Checksum::of(ChecksumAlgorithm::Sha256, b"hello");
        assert_eq!(copied.checksums.get(ChecksumAlgorithm::Sha256), Some(&expected));
    }

    #[tokio::test]
    async fn one_storage_copies_within_itself() {
        let storage = Memory::storage();
        let (a, b) = (Key::new("a").unwrap(), Key::new("b").unwrap());
        storage.save(&a, "hello").user_metadata("k", "v").await.unwrap();
        let (metadata, progress) = (MetadataArgs::default(), Progress::bytes(false, None));
        let before =
            copy_object((&storage, &a), (&storage, &b), &metadata, &progress).await.unwrap();
        assert_eq!(before, storage.stat(&a).await.unwrap());
        assert_eq!(storage.stat(&b).await.unwrap().metadata, before.metadata);
    }
}
