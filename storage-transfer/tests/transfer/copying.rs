//! One object is copied whole, with everything that belongs to it, or not at all.

use std::future::IntoFuture;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use storage_core::{
    ChecksumAlgorithm, CopyMode, ErrorKind, Memory, Metadata, Operation, SaveMode, Storage,
};
use storage_testkit::faults::Faults;
use storage_transfer::{
    Bandwidth, CopyMethod, LostMetadata, ServerSideCopy, SyncOptions, copy, sync,
};
use tokio::time::Instant;

use crate::doubles::{opened, without_metadata};
use crate::support::{disk, memory, text, until_no_upload_is_left, uploads, whole};

/// The smallest object that is copied in parts. Its bytes share one allocation with their clones.
pub(crate) const LARGE: usize = 64 * 1024 * 1024;

pub(crate) fn large(byte: u8) -> Bytes {
    Bytes::from(vec![byte; LARGE])
}

fn all_metadata() -> Metadata {
    Metadata::new()
        .content_type("text/x-odd")
        .content_encoding("identity")
        .content_disposition("attachment")
        .content_language("de")
        .cache_control("max-age=7")
        .expires(SystemTime::UNIX_EPOCH + Duration::from_secs(4_000_000_000))
        .user("by", "ada")
}

#[tokio::test]
async fn metadata_and_checksums_survive_the_way_to_a_disk_and_back() {
    let (_root, disk) = disk();
    let (first, last) = (Memory::storage(), Memory::storage());
    let save = first.save("a", "hello").metadata(all_metadata());
    let save = save.compute_checksum(ChecksumAlgorithm::Sha256);
    let saved = save.compute_checksum(ChecksumAlgorithm::Crc32c).await.unwrap();

    copy(&first, "a", &disk, "b").await.unwrap();
    copy(&disk, "b", &last, "c").await.unwrap();

    let meta = last.stat("c").await.unwrap();
    assert_eq!(meta.metadata, all_metadata());
    for checksum in saved.checksums.iter() {
        assert_eq!(meta.checksums.get(checksum.algorithm()), Some(checksum));
    }
    assert_eq!(saved.checksums.iter().count(), 2);
}

#[tokio::test]
async fn metadata_that_the_destination_cannot_keep_fails_the_copy() {
    let source = Memory::storage();
    source.save("a", "hello").metadata(all_metadata()).await.unwrap();
    let target = without_metadata(&Memory::storage());

    let error = copy(&source, "a", &target, "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(!target.exists("a").await.unwrap());
}

#[tokio::test]
async fn metadata_that_is_dropped_is_reported() {
    let source = Memory::storage();
    source.save("a", "hello").metadata(all_metadata()).await.unwrap();
    let target = without_metadata(&Memory::storage());

    let copied =
        copy(&source, "a", &target, "a").lost_metadata(LostMetadata::DropAndReport).await.unwrap();
    let dropped: Vec<_> = copied.dropped.iter().map(storage_core::Error::message).collect();
    for field in ["content_encoding", "content_disposition", "content_language", "cache_control"] {
        assert!(dropped.iter().any(|message| message.contains(field)), "{field}: {dropped:?}");
    }
    assert_eq!(dropped.len(), 6, "{dropped:?}");
    let kept = target.stat("a").await.unwrap().metadata;
    assert_eq!(kept, Metadata::new().content_type("text/x-odd"));
}

#[tokio::test]
async fn an_empty_object_is_copied() {
    let (source, target) = (memory(&[("a", "")]).await, Memory::storage());
    let copied = copy(&source, "a", &target, "a").await.unwrap();
    assert_eq!((copied.bytes, text(&target, "a").await), (0, String::new()));
}

#[tokio::test]
async fn a_mode_decides_about_an_object_under_the_destination() {
    let (source, target) = (memory(&[("a", "new")]).await, memory(&[("a", "old")]).await);
    let error = copy(&source, "a", &target, "a").create_new().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);

    let etag = target.stat("a").await.unwrap().etag.unwrap();
    target.save("a", "newer").await.unwrap();
    let error = copy(&source, "a", &target, "a").if_match(etag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);

    let error = copy(&source, "a", &target, "a").mode(SaveMode::UniqueName).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(text(&target, "a").await, "newer");
}

#[tokio::test]
async fn a_copy_within_one_storage_evaluates_the_mode_too() {
    let storage = memory(&[("a", "new"), ("b", "old")]).await;
    let error = copy(&storage, "a", &storage, "b").create_new().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    let etag = storage.stat("a").await.unwrap().etag.unwrap();
    let error = copy(&storage, "a", &storage, "b").if_match(etag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(text(&storage, "b").await, "old");
}

#[tokio::test]
async fn a_copy_within_one_storage_transfers_no_bytes() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    storage.save("a", "hello").cache_control("no-cache").await.unwrap();

    let copied = copy(&storage, "a", &storage, "b").await.unwrap();
    assert_eq!((copied.method, copied.bytes), (CopyMethod::ServerSide, 0));
    assert_eq!(faults.calls(Operation::Open), 0);
    assert_eq!(storage.stat("b").await.unwrap().metadata.cache_control.unwrap(), "no-cache");
}

#[tokio::test]
async fn an_object_is_streamed_if_the_service_refuses_to_copy_it() {
    let faults = Faults::new();
    let storage = faults.in_memory();
    storage.save("a", "hello").await.unwrap();
    for kind in [ErrorKind::Unsupported, ErrorKind::PermissionDenied] {
        let plan = faults.on(Operation::Copy).call(1).fail(kind);
        let copied = copy(&storage, "a", &storage, "b").await.unwrap();
        assert_eq!((copied.method, plan.fired()), (CopyMethod::Stream, 1));
    }
    assert_eq!(text(&storage, "b").await, "hello");
}

#[tokio::test]
async fn another_version_than_the_listed_one_is_not_copied() {
    let (source, target) = (memory(&[("a", "old")]).await, Memory::storage());
    let listed = source.list("").objects().await.unwrap().remove(0);
    source.save("a", "new").await.unwrap();
    let error = copy(&source, "a", &target, "a").listed(listed).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    assert!(!target.exists("a").await.unwrap());
}

#[tokio::test]
async fn a_copy_that_fails_leaves_the_old_object() {
    let source_faults = Faults::new();
    let source = source_faults.in_memory();
    let target_faults = Faults::new();
    let target = target_faults.in_memory();
    source.save("a", "new").compute_checksum(ChecksumAlgorithm::Sha256).await.unwrap();
    target.save("a", "old").await.unwrap();

    let broken = source_faults.on(Operation::Open).call(1).fail_midway(1, ErrorKind::Unexpected);
    let damaged = source_faults.on(Operation::Open).call(2).corrupt(1);
    let full = target_faults.on(Operation::Save).call(3).fail(ErrorKind::StorageFull);
    for kind in [ErrorKind::Unexpected, ErrorKind::Integrity, ErrorKind::StorageFull] {
        let error = copy(&source, "a", &target, "a").await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(text(&target, "a").await, "old");
    }
    assert_eq!((broken.fired(), damaged.fired(), full.fired()), (1, 1, 1));
}

#[tokio::test]
async fn a_large_object_is_copied_in_parts_with_its_metadata_and_checksum() {
    let (source, target) = (Memory::storage(), Memory::storage());
    let save = source.save("a", large(7)).metadata(all_metadata());
    let saved = save.compute_checksum(ChecksumAlgorithm::Crc64Nvme).await.unwrap();

    let copied = copy(&source, "a", &target, "a").await.unwrap();
    assert_eq!((copied.method, copied.bytes), (CopyMethod::Parts, LARGE as u64));
    let meta = target.stat("a").await.unwrap();
    assert_eq!(meta.metadata, all_metadata());
    let algorithm = ChecksumAlgorithm::Crc64Nvme;
    assert_eq!(meta.checksums.get(algorithm), saved.checksums.get(algorithm));
    assert_eq!(target.open("a").await.unwrap().bytes().await.unwrap(), large(7));
    assert_eq!(uploads(&target).await, 0);
}

#[tokio::test]
async fn a_checksum_that_parts_cannot_keep_is_kept_by_a_stream() {
    let (source, target) = (Memory::storage(), Memory::storage());
    let save = source.save("a", large(7)).compute_checksum(ChecksumAlgorithm::Sha256);
    let saved = save.await.unwrap();
    let copied = copy(&source, "a", &target, "a").await.unwrap();
    assert_eq!(copied.method, CopyMethod::Stream);
    assert_eq!(copied.target.unwrap().checksums, saved.checksums);
}

/// Returns a source whose large object is replaced before the n-th open.
async fn replaced_before(n: usize) -> Storage {
    let memory = Memory::storage();
    memory.save("a", large(1)).await.unwrap();
    let inner = memory.clone();
    let replace = move |number| {
        let inner = inner.clone();
        async move {
            if number == n {
                inner.save("a", large(2)).await.unwrap();
            }
        }
        .boxed()
    };
    opened(&memory, replace).0
}

#[tokio::test]
async fn the_parts_of_two_versions_are_never_joined() {
    let source = replaced_before(4).await;
    let target = Memory::storage();
    let error = copy(&source, "a", &target, "a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PreconditionFailed);
    assert!(!target.exists("a").await.unwrap());
    assert_eq!(uploads(&target).await, 0);
}

#[tokio::test]
async fn a_sync_copies_the_new_version_of_a_large_object_that_is_replaced_between_its_parts() {
    let source = replaced_before(4).await;
    let target = Memory::storage();
    let (from, to) = (crate::support::whole(&source), crate::support::whole(&target));
    let summary = storage_transfer::sync(&from, &to, crate::support::deleting()).await.unwrap();
    assert_eq!((summary.counts.new, summary.counts.failed), (1, 0));
    assert_eq!(target.open("a").await.unwrap().bytes().await.unwrap(), large(2));
    assert_eq!(uploads(&target).await, 0);
}

#[tokio::test]
async fn a_large_object_that_is_replaced_during_its_copy_as_one_stream_is_one_version() {
    let source = replaced_before(4).await;
    let target = Memory::storage();
    let copied = copy(&source, "a", &target, "a").as_one_stream().await.unwrap();
    assert_eq!(copied.method, CopyMethod::Stream);
    assert_eq!(target.open("a").await.unwrap().bytes().await.unwrap(), large(1));
}

#[tokio::test]
async fn a_copy_in_parts_reads_no_more_bodies_than_parts() {
    let memory = Memory::storage();
    memory.save("a", large(1)).await.unwrap();
    let (source, bodies) = opened(&memory, |_| async {}.boxed());
    let target = Memory::storage();
    copy(&source, "a", &target, "a").part_concurrency(1).await.unwrap();
    assert_eq!(bodies.most(), 1);
}

/// Copies a file of two blocks from a disk. After each block that was read, the test may change the
/// file.
async fn copied_while(
    change: impl Fn(&std::path::Path, u64) + Send + Sync + 'static,
) -> (storage_core::Result<storage_transfer::Copied>, String) {
    let ((root, source), target) = (disk(), Memory::storage());
    source.save("a", "A".repeat(8 * BLOCK)).await.unwrap();
    let (path, calls) = (root.path().join("a"), AtomicU64::new(0));
    let on_bytes = move |_| change(&path, calls.fetch_add(1, Ordering::SeqCst));
    let copied = copy(&source, "a", &target, "b").on_bytes(Arc::new(on_bytes)).await;
    let text = target.open("b").await.unwrap().text().await.unwrap();
    (copied, text)
}

/// More bytes than one read of a file.
const BLOCK: usize = 1024 * 1024;

/// Writes a file in place, as an editor that keeps the inode.
fn write_in_place(path: &std::path::Path, byte: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(byte.repeat(8 * BLOCK).as_bytes()).unwrap();
}

#[tokio::test]
async fn a_file_that_is_written_in_place_while_it_is_copied_is_copied_again() {
    let (copied, text) = copied_while(|path, call| {
        if call == 0 {
            write_in_place(path, "B");
        }
    })
    .await;
    copied.unwrap();
    assert!(text == "B".repeat(8 * BLOCK), "the copy is a mix of two versions");
}

#[tokio::test]
async fn the_copy_of_a_file_that_keeps_changing_fails_and_leaves_the_old_object() {
    let ((root, source), target) = (disk(), Memory::storage());
    source.save("a", "A".repeat(8 * BLOCK)).await.unwrap();
    target.save("b", "old").await.unwrap();
    let (path, calls) = (root.path().join("a"), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&calls);
    let on_bytes = move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        write_in_place(&path, "B");
    };
    let copied = copy(&source, "a", &target, "b").on_bytes(Arc::new(on_bytes)).await;
    let error = copied.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains("changed while it was copied"), "{error}");
    assert!(calls.load(Ordering::SeqCst) > 8, "the file was read again");
    assert_eq!(target.open("b").await.unwrap().text().await.unwrap(), "old");
}

#[tokio::test]
async fn a_file_that_is_replaced_while_it_is_copied_is_copied_again() {
    let (copied, text) = copied_while(|path, call| {
        if call == 0 {
            let new = path.with_extension("new");
            std::fs::write(&new, "B".repeat(8 * BLOCK)).unwrap();
            std::fs::rename(&new, path).unwrap();
        }
    })
    .await;
    copied.unwrap();
    assert!(text == "B".repeat(8 * BLOCK), "a sync would take the old version for the new one");
}

/// Changes a file of a disk while the copy of what was read before is being saved.
async fn changed_before_save(of: usize) -> String {
    let ((root, source), target) = (disk(), Memory::storage());
    source.save("a", "A".repeat(of)).await.unwrap();
    let faults = Faults::new();
    let held = faults.on(Operation::Save).call(1).hold();
    let target = target.layer(|inner| faults.layer(inner));
    let changed = async {
        held.reached().await;
        std::fs::write(root.path().join("a"), "B".repeat(of)).unwrap();
        held.release();
    };
    let (copied, ()) = tokio::join!(copy(&source, "a", &target, "b").into_future(), changed);
    copied.unwrap();
    target.open("b").await.unwrap().text().await.unwrap()
}

#[tokio::test]
async fn a_small_file_that_changes_before_its_copy_is_saved_is_copied_again() {
    assert_eq!(changed_before_save(5).await, "BBBBB");
}

#[tokio::test]
async fn a_file_that_a_disk_has_copied_is_looked_up_after_the_copy() {
    let (_root, disk) = disk();
    let mut looks = Vec::new();
    for storage in [disk, Memory::storage()] {
        let faults = Faults::new();
        let storage = storage.layer(|inner| faults.layer(inner));
        storage.save("a", "A").await.unwrap();
        let copied = copy(&storage, "a", &storage, "b").await.unwrap();
        assert_eq!(copied.method, CopyMethod::ServerSide);
        looks.push(faults.calls(Operation::Stat));
    }
    assert_eq!(looks[0], looks[1] + 1, "objects in memory do not change");
}

#[tokio::test]
async fn a_file_of_a_disk_that_changed_since_its_listing_is_copied_within_the_disk() {
    let (_root, storage) = disk();
    storage.save("a", "old").await.unwrap();
    let listed = storage.list("").entries().next_object().await.unwrap().unwrap();
    storage.save("a", "newer").await.unwrap();
    let copied = copy(&storage, "a", &storage, "b").listed(listed).create_new().await.unwrap();
    assert_eq!((copied.method, copied.source.size), (CopyMethod::ServerSide, 5));
    assert_eq!(storage.open("b").await.unwrap().text().await.unwrap(), "newer");
}

#[tokio::test]
async fn a_copy_that_is_dropped_leaves_no_upload() {
    let source = Memory::storage();
    source.save("a", large(1)).await.unwrap();
    let faults = Faults::new();
    let target = faults.in_memory();
    let held = faults.on(Operation::PutPart).call(3).hold();
    let copying = tokio::spawn(copy(&source, "a", &target, "a").into_future());
    held.reached().await;
    assert_eq!(uploads(&target).await, 1);
    copying.abort();
    assert!(copying.await.unwrap_err().is_cancelled());
    until_no_upload_is_left(&target).await;
    assert!(!target.exists("a").await.unwrap());
}

/// A service may still be completing it, and lose the object if it is aborted.
#[tokio::test]
async fn an_upload_is_aborted_after_a_completion_only_if_that_was_refused() {
    let cases = [
        (ErrorKind::Timeout, 1),
        (ErrorKind::Unexpected, 1),
        (ErrorKind::Conflict, 0),
        (ErrorKind::PermissionDenied, 0),
        (ErrorKind::RateLimited, 0),
    ];
    for (kind, left) in cases {
        let source = Memory::storage();
        source.save("a", large(1)).await.unwrap();
        let faults = Faults::new();
        let target = faults.in_memory();
        let failed = faults.on(Operation::CompleteMultipart).fail(kind);
        let error = copy(&source, "a", &target, "a").await.unwrap_err();
        assert_eq!((error.kind(), failed.fired()), (kind, 1));
        assert_eq!(uploads(&target).await, left, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_part_is_sent_again_after_a_temporary_failure() {
    let source = Memory::storage();
    source.save("a", large(1)).await.unwrap();
    let faults = Faults::new();
    let target = faults.in_memory();
    let limited = faults.on(Operation::PutPart).calls(3).fail(ErrorKind::RateLimited);
    copy(&source, "a", &target, "a").await.unwrap();
    assert_eq!((limited.fired(), faults.calls(Operation::PutPart)), (3, 11));
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_bandwidth_is_kept_and_all_bytes_are_counted() {
    let source = Memory::storage();
    source.save("a", vec![1; 1_000_000]).await.unwrap();
    let target = Memory::storage();
    let (bandwidth, bytes) = (Bandwidth::new(100_000), Arc::new(AtomicU64::new(0)));
    let start = Instant::now();
    for key in ["b", "c"] {
        let bytes = Arc::clone(&bytes);
        let count = move |passed| {
            bytes.fetch_add(passed, Ordering::SeqCst);
        };
        let copy = copy(&source, "a", &target, key).bandwidth(bandwidth.clone());
        copy.on_bytes(Arc::new(count)).await.unwrap();
    }
    let elapsed = start.elapsed();
    assert!(elapsed >= Duration::from_millis(19_700), "{elapsed:?}");
    assert!(elapsed <= Duration::from_millis(20_300), "{elapsed:?}");
    assert_eq!(bytes.load(Ordering::SeqCst), 2_000_000);
}

/// A service that copies between two storages, and evaluates no condition on the destination.
fn without_conditions(copies: &Arc<AtomicUsize>) -> ServerSideCopy {
    let copies = Arc::clone(copies);
    ServerSideCopy::within_one_storage().with(move |source, from, target, to, options| {
        if options.mode == CopyMode::CreateNew {
            return None;
        }
        let copy = source.copy_to(from, target, to);
        let copies = Arc::clone(&copies);
        Some(Box::pin(async move {
            copies.fetch_add(1, Ordering::Relaxed);
            copy.await.map(drop)
        }))
    })
}

#[tokio::test]
async fn a_service_without_conditions_copies_for_a_sync_but_not_for_a_conditional_copy() {
    let (source, target) = (memory(&[("a", "1"), ("b", "2")]).await, memory(&[]).await);
    let copies = Arc::default();
    let options = SyncOptions::new();
    let run = sync(&whole(&source), &whole(&target), options);
    let summary = run.server_side(without_conditions(&copies)).await.unwrap();
    assert_eq!((summary.counts.new, copies.load(Ordering::Relaxed)), (2, 2));
    let copied = copy(&source, "a", &target, "c").create_new();
    let copied = copied.server_side(without_conditions(&copies)).await.unwrap();
    assert_eq!((copied.method, copies.load(Ordering::Relaxed)), (CopyMethod::Stream, 2));
}
