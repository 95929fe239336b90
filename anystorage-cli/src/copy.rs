//! Copies objects between any two storages, for `cp` and `mv`.

use std::path::{Path, PathBuf};

use anystorage::{Entry, Error, ErrorKind, Key, ObjectMeta, Result, Storage};
use futures_util::StreamExt;

use crate::compare::{overlap, same_object, same_storage};
use crate::exit::{ExitStatus, Failure, print_line};
use crate::links::{self, LinkPolicy, LinkTarget, SpecialFile, SpecialKind};
use crate::metadata::MetadataArgs;
use crate::place::Place;
use crate::progress::Progress;
use crate::resolver::Resolver;

/// How many failures are printed at the end. Any further one is printed at once.
const MAX_DEFERRED_FAILURES: usize = 1000;

/// Copies one object with its metadata: with the storage's own copy within one storage, and as a
/// stream otherwise. Returns the metadata of the version that was copied.
///
/// Fails if the bytes do not match the checksums of the source.
pub(crate) async fn copy_object(
    from: (&Storage, &Key),
    to: (&Storage, &Key),
    metadata: &MetadataArgs,
    progress: &Progress,
) -> Result<ObjectMeta> {
    let ((source, from_key), (target, to_key)) = (from, to);
    if same_storage(source, target) && source.info().capabilities.copy {
        let before = source.stat(from_key).await?;
        // `Storage::copy` has no condition on the version of the source. Changed metadata of one
        // version must not be stored with the bytes of another, so such a copy is streamed.
        if !metadata.would_change(&before.metadata) {
            match source.copy(from_key, to_key).await {
                Err(error) if error.kind() == ErrorKind::Unsupported => {}
                copied => return copied.map(|()| before),
            }
        }
    }
    let object = source.open(from_key).await?;
    let meta = object.meta().clone();
    let kept = metadata.for_copy(from_key.as_str(), &meta.metadata, progress)?;
    progress.set_total(meta.size);
    let payload = progress.count_payload(object.into());
    let mut save = target.save(to_key, payload).metadata(kept);
    for checksum in meta.checksums.iter() {
        save = save.expect_checksum(checksum.clone());
    }
    save.await?;
    Ok(meta)
}

/// Fails with `Conflict` if source and destination are the same object.
pub(crate) fn refuse_same_object(from: &Place, to: &Place) -> Result<(), Failure> {
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

/// The options of a copy of a directory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DirectoryOptions<'a> {
    /// How many objects are copied at a time.
    pub(crate) concurrency: usize,
    pub(crate) links: LinkPolicy,
    pub(crate) metadata: &'a MetadataArgs,
}

/// Copies all objects of a directory, several at a time. Continues if one fails.
pub(crate) async fn copy_directory(
    resolver: &mut Resolver,
    from: &Place,
    to: &Place,
    options: &DirectoryOptions<'_>,
) -> Result<(), Failure> {
    if overlap(from, to) {
        return Err(Failure::at(&format!("{from} -> {to}"), &overlap_error()));
    }
    let tally = Tally {
        progress: Progress::objects(),
        done: 0,
        failed: 0,
        folder_markers: 0,
        deferred: Vec::new(),
    };
    let mut copying = DirectoryCopy { resolver, to, options, tally, link_directories: Vec::new() };
    copying.directory(from, to).await?;
    let folder_markers = copying.tally.folder_markers;
    let done = copying.tally.finish()?;
    if done + folder_markers == 0 && !from.text.is_empty() {
        return Err(empty_directory_failure(from).await);
    }
    Ok(())
}

/// Prints the number of folder markers that a command has skipped, if there are any.
pub(crate) fn report_folder_markers(count: u64) {
    if count > 0 {
        print_line(&format!(
            "{count} folder markers skipped: they are not objects; rm -r deletes them"
        ));
    }
}

fn overlap_error() -> Error {
    Error::new(
        ErrorKind::Conflict,
        "one directory is inside the other, so the copies would be copied again",
    )
}

/// A copy of a directory in progress.
struct DirectoryCopy<'a> {
    resolver: &'a mut Resolver,
    /// The destination of the whole copy.
    to: &'a Place,
    options: &'a DirectoryOptions<'a>,
    tally: Tally,
    /// The directories of the symlinks that were followed to the current directory, outermost
    /// first.
    link_directories: Vec<PathBuf>,
}

impl DirectoryCopy<'_> {
    /// Copies one directory: its objects, and then the symlinks and special files of a local one.
    ///
    /// # Errors
    /// Fails only if the name of the directory is invalid. The tally contains all other failures.
    async fn directory(&mut self, from: &Place, to: &Place) -> Result<(), Failure> {
        let progress = self.tally.progress.clone();
        let options = self.options;
        let copies = from.storage.list(from.prefix()?).with_folder_markers().entries();
        let copies = copies.map(|entry| copy_entry(from, to, entry, options.metadata, &progress));
        let mut copies = copies.buffer_unordered(options.concurrency);
        while let Some(copied) = copies.next().await {
            self.tally.count(copied);
        }
        drop(copies);
        if !from.local || options.links == LinkPolicy::Skip {
            return Ok(());
        }
        let mut specials =
            links::find_special_files(Path::new(&from.storage.info().location).join(&from.text));
        while let Some(special) = specials.recv().await {
            self.special(&special, from, to).await;
        }
        Ok(())
    }

    /// Copies the target of a symlink, or counts a special file as a failure.
    async fn special(&mut self, special: &SpecialFile, from: &Place, to: &Place) {
        let at = from.with_text(format!("{}{}", from.text, special.name));
        let to = to.with_text(format!("{}{}", to.text, special.name));
        let refused = match &special.kind {
            SpecialKind::Symlink(Ok(target)) if self.options.links == LinkPolicy::Follow => {
                return self.follow(&at, target, &to).await;
            }
            SpecialKind::Symlink(Err(cause)) if self.options.links == LinkPolicy::Follow => {
                broken_link_error(cause)
            }
            SpecialKind::Symlink(_) => {
                let message = "a symlink, not copied: --follow copies its target, \
                               --skip-links skips it";
                Error::unsupported(message)
            }
            SpecialKind::Other(what) => {
                Error::unsupported(format!("{what}, not copied: --skip-links skips it"))
            }
            SpecialKind::InvalidName => Error::new(
                ErrorKind::InvalidKey,
                "a symlink or special file whose name is not UTF-8 text",
            ),
        };
        self.tally.count(Err(at.failure(&refused)));
    }

    async fn follow(&mut self, at: &Place, target: &LinkTarget, to: &Place) {
        if !target.file_type.is_file() && !target.file_type.is_dir() {
            let message = format!("a symlink to {}, not copied", links::describe(target.file_type));
            return self.tally.count(Err(at.failure(&Error::unsupported(message))));
        }
        if target.file_type.is_dir() && target.is_loop(&self.link_directories) {
            let message = "a symlink to a directory that contains it: following it would not end";
            return self.tally.count(Err(at.failure(&Error::new(ErrorKind::Conflict, message))));
        }
        let followed = match self.resolver.followed(&target.path) {
            Ok(followed) => followed,
            Err(failure) => return self.tally.count(Err(failure)),
        };
        if target.file_type.is_file() {
            let copied = self.file(&followed, to).await;
            return self.tally.count(copied);
        }
        // A directory that contains the destination would yield the copies again, so the check
        // compares with the destination of the whole copy.
        if overlap(&followed, self.to) {
            return self
                .tally
                .count(Err(Failure::at(&format!("{at} -> {}", self.to), &overlap_error())));
        }
        self.link_directories.push(target.link_directory.clone());
        let to = to.with_text(format!("{}/", to.text));
        if let Err(failure) = Box::pin(self.directory(&followed, &to)).await {
            self.tally.count(Err(failure));
        }
        self.link_directories.pop();
    }

    async fn file(&self, from: &Place, to: &Place) -> Result<Copied, Failure> {
        refuse_same_object(from, to)?;
        let (from_key, to_key) = (from.key()?, to.key()?);
        let ends = ((&from.storage, &from_key), (&to.storage, &to_key));
        let copied = copy_object(ends.0, ends.1, self.options.metadata, &self.tally.progress).await;
        copied
            .map(|_| Copied::Object)
            .map_err(|error| Failure::at(&format!("{from} -> {to}"), &error))
    }
}

fn broken_link_error(cause: &std::io::Error) -> Error {
    let kind = match cause.kind() {
        std::io::ErrorKind::NotFound => ErrorKind::NotFound,
        std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unsupported,
    };
    Error::new(kind, format!("a symlink that cannot be followed: {cause}; --skip-links skips it"))
}

/// Returns the failure for a directory without objects. It names an object of that name, or keys
/// that begin with the name, if they exist.
async fn empty_directory_failure(from: &Place) -> Failure {
    let name = from.with_text(from.text.trim_end_matches('/'));
    let failure = |message: String| Failure::at(from, &Error::new(ErrorKind::NotFound, message));
    let (Ok(key), Ok(prefix)) = (name.key(), name.prefix()) else {
        return failure("nothing is below this directory".to_owned());
    };
    match from.storage.exists(key).await {
        Ok(true) => {
            return failure(format!(
                "nothing is below this directory, but {name} is an object: copy it without -r"
            ));
        }
        Ok(false) => {}
        Err(error) => return name.failure(&error),
    }
    match from.storage.list(prefix).entries().next().await {
        Some(Ok(_)) => failure(format!(
            "nothing is below this directory; anystorage ls -r {name} shows keys that begin with \
             this name, which are copied without -r"
        )),
        Some(Err(error)) => from.entry_failure(&error),
        None => failure("nothing is below this directory".to_owned()),
    }
}

/// What was copied.
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
        // A listing without a delimiter has no common prefixes, so this is a folder marker.
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

/// The results of a copy of a directory.
struct Tally {
    progress: Progress,
    done: u64,
    failed: u64,
    folder_markers: u64,
    deferred: Vec<Failure>,
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
                if self.deferred.len() < MAX_DEFERRED_FAILURES {
                    self.deferred.push(failure);
                } else {
                    self.progress.suspend(|| failure.report());
                }
            }
        }
    }

    /// Prints the failures. Returns the number of copied objects.
    fn finish(self) -> Result<u64, Failure> {
        let Self { progress, done, failed, folder_markers, deferred } = self;
        drop(progress);
        report_folder_markers(folder_markers);
        if failed > 0 {
            for failure in deferred {
                failure.report();
            }
            print_line(&format!("{failed} not copied, {done} copied"));
            return Err(Failure::silent(ExitStatus::Failed));
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
    async fn a_copy_within_a_storage_keeps_the_metadata() {
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
