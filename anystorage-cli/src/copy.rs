//! Copying objects between any two storages: the engine of `cp` and `mv`.

use anystorage::{Entry, Error, ErrorKind, Key, ObjectMeta, Result, Storage};
use futures_util::StreamExt;

use crate::exit::{Exit, Failure, say};
use crate::place::Place;
use crate::progress::Progress;
use crate::same::{overlapping, same_object, same_storage};

/// How many failures are remembered for the end; any further one is told at once.
const REMEMBERED: usize = 1000;

/// Copies one object with its metadata: by the storage's own means where both ends are one storage, else as a stream.
/// Answers what was known of the source when it was read.
///
/// The source's checksums have to hold for the copy too.
pub(crate) async fn copy_object(
    from: (&Storage, &Key),
    to: (&Storage, &Key),
    progress: &Progress,
) -> Result<ObjectMeta> {
    let ((source, from_key), (target, to_key)) = (from, to);
    if same_storage(source, target) && source.info().capabilities.copy {
        let before = source.stat(from_key).await?;
        match source.copy(from_key, to_key).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => {}
            copied => return copied.map(|()| before),
        }
    }
    let object = source.open(from_key).await?;
    let meta = object.meta().clone();
    progress.expect(meta.size);
    let payload = progress.payload(object.into());
    let mut save = target.save(to_key, payload).metadata(meta.metadata.clone());
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
            &Error::new(ErrorKind::Conflict, "source and destination are the same object; nothing was changed"),
        ));
    }
    Ok(())
}

/// Copies all objects of one directory to another, some at a time, and goes on when one fails.
pub(crate) async fn copy_directory(from: &Place, to: &Place, concurrency: usize) -> Result<(), Failure> {
    if overlapping(from, to) {
        return Err(Failure::at(
            &format!("{from} -> {to}"),
            &Error::new(ErrorKind::Conflict, "one lies inside the other, so the copies would be copied again"),
        ));
    }
    let mut tally =
        Tally { progress: Progress::objects(), done: 0, failed: 0, folder_markers: 0, remembered: Vec::new() };
    let progress = tally.progress.clone();
    let entries = from.storage.list(from.prefix()?).with_folder_markers().entries();
    let copies = entries.map(|entry| copy_entry(from, to, entry, &progress));
    let mut copies = copies.buffer_unordered(concurrency);
    while let Some(copied) = copies.next().await {
        tally.count(copied);
    }
    drop(copies);
    let folder_markers = tally.folder_markers;
    let done = tally.finish()?;
    say_folder_markers(folder_markers);
    if done + folder_markers == 0 && !from.text.is_empty() {
        return Err(nothing_below(from).await);
    }
    Ok(())
}

/// Mentions the folder markers that a command has passed over.
pub(crate) fn say_folder_markers(count: u64) {
    if count > 0 {
        say(&format!("{count} folder markers passed over: they are no objects, and rm -r deletes them"));
    }
}

/// Why a directory has nothing to copy. Keys may begin with its name all the same, and `ls` shows them.
async fn nothing_below(from: &Place) -> Failure {
    let name = from.with_text(from.text.trim_end_matches('/'));
    let told = |message: String| Failure::at(from, &Error::new(ErrorKind::NotFound, message));
    let (Ok(key), Ok(prefix)) = (name.key(), name.prefix()) else { return told("nothing is below this".to_owned()) };
    match from.storage.exists(key).await {
        Ok(true) => return told(format!("nothing is below this, but {name} is an object: copy it without -r")),
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

async fn copy_entry(from: &Place, to: &Place, entry: Result<Entry>, progress: &Progress) -> Result<Copied, Failure> {
    let source = match entry {
        Ok(Entry::Object(object)) => object.key,
        // Nothing is rolled up without a delimiter, so the rest are folder markers.
        Ok(_) => return Ok(Copied::FolderMarker),
        Err(error) => return Err(from.entry_failure(&error)),
    };
    let rest = source.as_str().strip_prefix(from.text.as_str()).unwrap_or(source.as_str());
    let target = to.with_text(format!("{}{rest}", to.text));
    let copied = match Key::new(target.text.as_str()) {
        Ok(key) => copy_object((&from.storage, &source), (&to.storage, &key), progress).await.map(|_| Copied::Object),
        Err(error) => Err(error),
    };
    copied.map_err(|error| Failure::at(&format!("{} -> {target}", from.with_text(source.as_str())), &error))
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
        let Self { progress, done, failed, folder_markers: _, remembered } = self;
        drop(progress);
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
        copy_object((&source, &key), (&target, &key), &progress).await.unwrap();
        let copied = target.stat(&key).await.unwrap();
        let expected = Checksum::of(ChecksumAlgorithm::Sha256, b"hello");
        assert_eq!(copied.checksums.get(ChecksumAlgorithm::Sha256), Some(&expected));
    }

    #[tokio::test]
    async fn one_storage_copies_within_itself() {
        let storage = Memory::storage();
        let (a, b) = (Key::new("a").unwrap(), Key::new("b").unwrap());
        storage.save(&a, "hello").user_metadata("k", "v").await.unwrap();
        let before = copy_object((&storage, &a), (&storage, &b), &Progress::bytes(false, None)).await.unwrap();
        assert_eq!(before, storage.stat(&a).await.unwrap());
        assert_eq!(storage.stat(&b).await.unwrap().metadata, before.metadata);
    }
}
