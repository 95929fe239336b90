//! Concurrent reads, writes and deletes: readers see complete versions with their metadata.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryStreamExt};
use storage_core::{ErrorKind, Metadata, Object, ObjectMeta, Result, Storage};

use crate::case::{Checked, Failure};
use crate::kit::{Kit, refused};
use crate::support::content::{assert_same, pattern};
use crate::support::payloads::streaming;
use crate::support::race::race;

const KEY: &str = "a/shared.bin";
const OVERWRITES: usize = 1000;
// More readers see the same versions again, and slow the writer down.
const READERS: usize = 2;

/// Returns the bytes of a version: its number, repeated. Consecutive versions differ in size.
fn body_of(version: usize) -> Bytes {
    let number = format!("{version:08}");
    Bytes::from(number.repeat(1 + version * 37 % 600))
}

fn metadata_of(version: usize) -> Metadata {
    Metadata::new().content_type("application/x-version").user("version", version.to_string())
}

async fn save_version(storage: &Storage, key: &str, version: usize) -> Checked {
    // Every third version is a stream, because drivers may treat small bytes in memory differently.
    let payload = match version % 3 {
        0 => streaming(body_of(version), 1000),
        _ => body_of(version).into(),
    };
    let save = storage.save(key, payload).content_type("application/x-version");
    let save = if storage.info().capabilities.metadata {
        save.metadata(metadata_of(version))
    } else {
        save
    };
    save.await?;
    Ok(())
}

/// Returns the version, after asserting that bytes and metadata belong to the same one.
fn version_of(meta: &ObjectMeta, bytes: &[u8]) -> usize {
    let number = bytes
        .get(..8)
        .and_then(|number| std::str::from_utf8(number).ok())
        .and_then(|text| text.parse().ok());
    let version = number
        .unwrap_or_else(|| panic!("no version has a body of {} bytes like this", bytes.len()));
    assert_same(bytes, &body_of(version));
    assert_eq!(meta.size, bytes.len() as u64, "the size is another version's");
    if let Some(stored) = meta.metadata.user_metadata.get("version") {
        assert_eq!(*stored, version.to_string(), "the metadata is another version's");
    }
    version
}

async fn read_version(storage: &Storage, key: &str) -> Result<usize, Failure> {
    let object = storage.open(key).await?;
    let meta = object.meta().clone();
    let kept = meta.metadata.user_metadata.contains_key("version");
    assert!(kept || !storage.info().capabilities.metadata, "the metadata was missing for a moment");
    Ok(version_of(&meta, &object.bytes().await?))
}

/// Replaces the shared object with a version of this number.
type Replace = fn(Storage, usize) -> BoxFuture<'static, Checked>;

fn by_save(storage: Storage, version: usize) -> BoxFuture<'static, Checked> {
    async move { save_version(&storage, KEY, version).await }.boxed()
}

fn by_rename(storage: Storage, version: usize) -> BoxFuture<'static, Checked> {
    async move {
        save_version(&storage, "next.bin", version).await?;
        storage.rename("next.bin", KEY).await?;
        Ok(())
    }
    .boxed()
}

/// Overwrites the shared object with all versions while the readers read.
async fn beside_overwrites<F, Fut>(kit: &Kit, overwrites: usize, read: F) -> Checked
where
    F: Fn(Storage) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Checked> + Send + 'static,
{
    beside(kit, &kit.seed, by_save, overwrites, read).await
}

async fn beside<F, Fut>(
    kit: &Kit,
    writer: &Storage,
    replace: Replace,
    overwrites: usize,
    read: F,
) -> Checked
where
    F: Fn(Storage) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Checked> + Send + 'static,
{
    save_version(writer, KEY, 0).await?;
    let done = Arc::new(AtomicBool::new(false));
    let reads = Arc::new(AtomicUsize::new(0));
    let ended = race(READERS + 1, |number| {
        let (writer, storage) = (writer.clone(), kit.storage.clone());
        let (done, reads, read) = (Arc::clone(&done), Arc::clone(&reads), read.clone());
        let writing = (number == 0).then(|| Writing(Arc::clone(&done)));
        async move {
            if let Some(_writing) = writing {
                for version in 1..=overwrites {
                    replace(writer.clone(), version).await?;
                    tokio::task::yield_now().await;
                }
                return Ok(());
            }
            // At least once, even if this reader starts after the last version.
            loop {
                let is_last = done.load(Ordering::SeqCst);
                read(storage.clone()).await?;
                reads.fetch_add(1, Ordering::Relaxed);
                if is_last {
                    return Ok(());
                }
                tokio::task::yield_now().await;
            }
        }
    });
    ended.await.into_iter().collect::<Checked>()?;
    assert!(reads.load(Ordering::Relaxed) >= READERS, "each reader reads at least once");
    assert_eq!(read_version(&kit.storage, KEY).await?, overwrites);
    Ok(())
}

/// Ends the readers when it is dropped, also if a failed assertion of a reader drops the writer.
struct Writing(Arc<AtomicBool>);

impl Drop for Writing {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

pub(crate) async fn readers_during_1000_overwrites_see_complete_versions(kit: &Kit) -> Checked {
    beside_overwrites(kit, OVERWRITES, |storage| async move {
        read_version(&storage, KEY).await?;
        let meta = storage.stat(KEY).await?;
        if let Some(version) =
            meta.metadata.user_metadata.get("version").and_then(|text| text.parse().ok())
        {
            assert_eq!(meta.size, body_of(version).len() as u64, "stat mixed two versions");
        }
        assert!(storage.exists(KEY).await?, "an overwritten object was missing for a moment");
        Ok(())
    })
    .await
}

pub(crate) async fn readers_during_overwrites_never_see_an_older_version_again(
    kit: &Kit,
) -> Checked {
    let newest = Arc::new(AtomicUsize::new(0));
    beside_overwrites(kit, 300, move |storage| {
        let newest = Arc::clone(&newest);
        async move {
            let known = newest.load(Ordering::SeqCst);
            let version = read_version(&storage, KEY).await?;
            assert!(version >= known, "version {version} was read after {known}");
            newest.fetch_max(version, Ordering::SeqCst);
            Ok(())
        }
    })
    .await
}

pub(crate) async fn a_range_with_if_match_is_of_that_version(kit: &Kit) -> Checked {
    beside_overwrites(kit, 300, |storage| async move {
        let object = storage.open(KEY).await?;
        let meta = object.meta().clone();
        let version = version_of(&meta, &object.bytes().await?);
        let etag = meta.etag.clone().unwrap_or_else(|| panic!("{KEY:?} has no ETag"));
        tokio::task::yield_now().await;
        match storage.open(KEY).range(3..8).if_match(etag).await {
            Ok(part) => {
                let mut of_part = part.meta().clone();
                // Checksums cover the whole object, so an open of a range may omit them, as S3
                // does.
                for checksum in of_part.checksums.iter() {
                    assert_eq!(
                        meta.checksums.get(checksum.algorithm()),
                        Some(checksum),
                        "one ETag, two versions"
                    );
                }
                of_part.checksums = meta.checksums.clone();
                assert_eq!(of_part, meta, "one ETag, two versions");
                assert_same(&part.bytes().await?, &body_of(version)[3..8]);
            }
            other => drop(refused(other, ErrorKind::PreconditionFailed)),
        }
        Ok(())
    })
    .await
}

pub(crate) async fn a_listing_during_overwrites_contains_the_object_once(kit: &Kit) -> Checked {
    beside_overwrites(kit, 300, |storage| async move {
        let entries = storage.list("").entries().collect().await?;
        let names: Vec<_> = entries.iter().map(storage_core::Entry::name).collect();
        assert_eq!(names, [KEY]);
        Ok(())
    })
    .await
}

pub(crate) async fn copies_during_overwrites_are_complete(kit: &Kit) -> Checked {
    let copies = Arc::new(AtomicUsize::new(0));
    beside_overwrites(kit, 300, move |storage| {
        let to = format!("copies/{}.bin", copies.fetch_add(1, Ordering::Relaxed) % 2);
        async move {
            storage.copy(KEY, &to).await?;
            // Another reader may copy to the same key. The object is complete in any case.
            for _ in 0..3 {
                tokio::task::yield_now().await;
                read_version(&storage, &to).await?;
            }
            Ok(())
        }
    })
    .await
}

pub(crate) async fn renames_during_reads_are_complete(kit: &Kit) -> Checked {
    beside(kit, &kit.storage, by_rename, 300, |storage| async move {
        read_version(&storage, KEY).await?;
        assert!(storage.exists(KEY).await?, "an object that is replaced was away for a moment");
        Ok(())
    })
    .await
}

pub(crate) async fn a_copy_with_if_source_match_during_overwrites_is_of_that_version(
    kit: &Kit,
) -> Checked {
    let copies = Arc::new(AtomicUsize::new(0));
    beside_overwrites(kit, 300, move |storage| {
        let to = format!("copies/{}.bin", copies.fetch_add(1, Ordering::Relaxed));
        async move {
            let object = storage.open(KEY).await?;
            let meta = object.meta().clone();
            let version = version_of(&meta, &object.bytes().await?);
            let etag = meta.etag.unwrap_or_else(|| panic!("{KEY:?} has no ETag"));
            tokio::task::yield_now().await;
            match storage.copy(KEY, &to).if_source_match(etag).await {
                Ok(()) => assert_eq!(read_version(&storage, &to).await?, version),
                other => drop(refused(other, ErrorKind::PreconditionFailed)),
            }
            Ok(())
        }
    })
    .await
}

/// Readers get either all of the old metadata or all of the new, while the bytes stay the same.
pub(crate) async fn metadata_that_changes_during_reads_is_consistent(kit: &Kit) -> Checked {
    const CHANGES: usize = 200;
    let bytes = pattern(1, 5000);
    kit.storage.save(KEY, bytes.clone()).metadata(metadata_of(0)).await?;
    let ended = race(READERS + 1, |number| {
        let (storage, bytes) = (kit.storage.clone(), bytes.clone());
        async move {
            for version in 1..=CHANGES {
                if number == 0 {
                    storage.copy(KEY, KEY).metadata(metadata_of(version)).await?;
                } else {
                    let object = storage.open(KEY).await?;
                    let stored = object
                        .meta()
                        .metadata
                        .user_metadata
                        .get("version")
                        .and_then(|stored| stored.parse().ok());
                    assert_eq!(
                        Some(&object.meta().metadata),
                        stored.map(metadata_of).as_ref(),
                        "a mixture of metadata"
                    );
                    assert_same(&object.bytes().await?, &bytes);
                }
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    });
    ended.await.into_iter().collect::<Checked>()?;
    assert_eq!(kit.storage.stat(KEY).await?.metadata, metadata_of(CHANGES));
    Ok(())
}

pub(crate) async fn all_objects_that_are_saved_concurrently_exist(kit: &Kit) -> Checked {
    // Several saves need the same directories, which do not exist yet.
    let key_of = |task: usize| format!("new-{}/{}/deep/{task}.bin", task % 2, task % 4);
    let ended = race(64, |task| {
        let storage = kit.storage.clone();
        let body = pattern(task as u8, 1000 + task);
        let payload = if task % 2 == 0 { streaming(body, 300) } else { body.into() };
        async move { storage.save(key_of(task), payload).await }
    });
    ended.await.into_iter().collect::<Result<Vec<_>>>()?;
    for task in 0..64 {
        assert_same(&kit.read(&key_of(task)).await?, &pattern(task as u8, 1000 + task));
    }
    kit.holds_only(
        &(0..64).map(key_of).collect::<Vec<_>>().iter().map(String::as_str).collect::<Vec<_>>(),
    )
    .await?;
    Ok(())
}

pub(crate) async fn the_last_of_many_concurrent_saves_is_complete(kit: &Kit) -> Checked {
    for _ in 0..5 {
        let ended = race(16, |writer| {
            let storage = kit.storage.clone();
            async move {
                for version in 0..5 {
                    save_version(&storage, KEY, writer * 5 + version).await?;
                }
                Ok(())
            }
        });
        ended.await.into_iter().collect::<Checked>()?;
        let version = read_version(&kit.storage, KEY).await?;
        assert_eq!(version % 5, 4, "version {version} was replaced by its own writer");
        kit.holds_only(&[KEY]).await?;
    }
    Ok(())
}

/// Size of several MiB, so that the body is still being read when the object changes.
const LARGE: usize = 6_000_000;

async fn half_open(kit: &Kit) -> Result<(storage_core::ObjectStream, Vec<u8>), Failure> {
    kit.seed.save(KEY, pattern(1, LARGE)).await?;
    let mut chunks = kit.storage.open(KEY).await.map(Object::into_stream)?;
    let first = chunks.try_next().await?.unwrap_or_default().to_vec();
    Ok((chunks, first))
}

/// Asserts that the body continues with the old version or fails.
async fn ends_as_the_old_version(mut chunks: storage_core::ObjectStream, mut read: Vec<u8>) {
    loop {
        match chunks.try_next().await {
            Ok(Some(chunk)) => read.extend_from_slice(&chunk),
            Ok(None) => break assert_same(&read, &pattern(1, LARGE)),
            Err(_) => break assert_same(&read, &pattern(1, LARGE)[..read.len()]),
        }
    }
}

pub(crate) async fn a_body_that_is_being_read_stays_the_old_version_after_an_overwrite(
    kit: &Kit,
) -> Checked {
    for len in [LARGE, 10, 2 * LARGE] {
        let (chunks, first) = half_open(kit).await?;
        kit.seed.save(KEY, pattern(2, len)).await?;
        ends_as_the_old_version(chunks, first).await;
        assert_same(&kit.read(KEY).await?, &pattern(2, len));
    }
    Ok(())
}

pub(crate) async fn a_body_that_is_being_read_stays_the_old_version_after_a_delete(
    kit: &Kit,
) -> Checked {
    let (chunks, first) = half_open(kit).await?;
    kit.seed.delete(KEY).await?;
    ends_as_the_old_version(chunks, first).await;
    refused(kit.storage.open(KEY).await, ErrorKind::NotFound);
    Ok(())
}

pub(crate) async fn a_body_that_is_read_after_an_overwrite_is_of_one_version(kit: &Kit) -> Checked {
    for len in [10, 3000, LARGE] {
        kit.seed.save(KEY, pattern(1, len)).await?;
        let object = kit.storage.open(KEY).await?;
        let part = kit.storage.open(KEY).range(5..).await?;
        kit.seed.save(KEY, pattern(2, len)).await?;
        for (object, from) in [(object, 0), (part, 5)] {
            if let Ok(bytes) = object.bytes().await {
                assert_same(&bytes, &pattern(1, len)[from..]);
            }
        }
    }
    Ok(())
}

/// On a file system the last delete removes the directory that the next save needs.
pub(crate) async fn saves_and_deletes_in_one_directory_do_not_disturb_each_other(
    kit: &Kit,
) -> Checked {
    let ended = race(12, |task| {
        let storage = kit.storage.clone();
        async move {
            let key = format!("d/{}/e/{task}.bin", task % 3);
            for round in 0..40_u8 {
                storage.save(&key, pattern(round, 500)).await?;
                assert_same(&storage.open(&key).await?.bytes().await?, &pattern(round, 500));
                storage.delete(&key).await?;
                assert!(!storage.exists(&key).await?, "{key:?} is still there");
            }
            Ok(())
        }
    });
    ended.await.into_iter().collect::<Checked>()?;
    kit.holds_only(&[]).await?;
    Ok(())
}

pub(crate) async fn concurrent_deletes_of_one_object_all_succeed(kit: &Kit) -> Checked {
    for _ in 0..5 {
        kit.storage.save("a/b/c.bin", "c").await?;
        let ended = race(16, |_| {
            let storage = kit.storage.clone();
            async move { storage.delete("a/b/c.bin").await }
        });
        ended.await.into_iter().collect::<Result<()>>()?;
        assert!(!kit.storage.exists("a/b/c.bin").await?);
    }
    Ok(())
}

pub(crate) async fn an_object_that_is_replaced_and_deleted_repeatedly_is_complete_or_missing(
    kit: &Kit,
) -> Checked {
    let ended = race(8, |task| {
        let storage = kit.storage.clone();
        async move {
            for round in 0..60 {
                match task {
                    0..3 => save_version(&storage, KEY, task * 1000 + round).await?,
                    3 => storage.delete(KEY).await?,
                    _ => match storage.open(KEY).await {
                        Ok(object) => {
                            let meta = object.meta().clone();
                            version_of(&meta, &object.bytes().await?);
                        }
                        missing => drop(refused(missing, ErrorKind::NotFound)),
                    },
                }
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    });
    ended.await.into_iter().collect::<Checked>()?;
    Ok(())
}
