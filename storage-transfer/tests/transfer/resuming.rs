//! The copy of a large object is continued by a later copy, or begins again.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use storage_core::{ChecksumAlgorithm, Error, ErrorKind, Memory, Operation, Result, Storage};
use storage_testkit::faults::Faults;
use storage_transfer::{CopyMethod, UnfinishedCopy, UploadRecorder, copy};

use crate::copying::{LARGE, large};
use crate::support::{disk, uploads};

/// The number of parts of a large object, of 8 MiB each.
const PARTS: usize = 8;
const PART: u64 = LARGE as u64 / PARTS as u64;

/// Remembers the uploads, or fails.
#[derive(Default)]
struct Recorder {
    uploads: Mutex<Vec<UnfinishedCopy>>,
    fails: bool,
}

impl Recorder {
    fn last(&self) -> UnfinishedCopy {
        self.uploads.lock().unwrap().last().unwrap().clone()
    }

    fn count(&self) -> usize {
        self.uploads.lock().unwrap().len()
    }
}

#[async_trait]
impl UploadRecorder for Recorder {
    async fn begun(&self, unfinished: &UnfinishedCopy) -> Result<()> {
        if self.fails {
            return Err(Error::new(ErrorKind::StorageFull, "the journal is full"));
        }
        self.uploads.lock().unwrap().push(unfinished.clone());
        Ok(())
    }
}

/// A source with a large object, and a destination whose third part fails.
struct Begun {
    source: Storage,
    faults: Faults,
    target: Storage,
    recorder: Arc<Recorder>,
    unfinished: UnfinishedCopy,
}

/// Sends two parts of a copy, which then fails.
async fn begun() -> Begun {
    let source = Memory::storage();
    source.save("a", large(1)).await.unwrap();
    let faults = Faults::new();
    let target = faults.in_memory();
    let recorder = Arc::new(Recorder::default());
    let denied = faults.on(Operation::PutPart).call(3).fail(ErrorKind::PermissionDenied);
    let copy = copy(&source, "a", &target, "b").part_concurrency(1);
    let error = copy.resumable(recorder.clone()).await.unwrap_err();
    assert_eq!((error.kind(), denied.fired()), (ErrorKind::PermissionDenied, 1));
    assert_eq!(uploads(&target).await, 1);
    let unfinished = recorder.last();
    Begun { source, faults, target, recorder, unfinished }
}

impl Begun {
    fn copy(&self) -> storage_transfer::ObjectCopy<'static> {
        let copy = copy(&self.source, "a", &self.target, "b").resumable(self.recorder.clone());
        copy.resume(self.unfinished.clone())
    }

    async fn assert_copied(&self, byte: u8) {
        assert_eq!(self.target.open("b").await.unwrap().bytes().await.unwrap(), large(byte));
        assert_eq!(uploads(&self.target).await, 0);
    }
}

#[tokio::test]
async fn only_the_missing_parts_are_sent() {
    let begun = begun().await;
    let sent = begun.faults.calls(Operation::PutPart);
    let copied = begun.copy().await.unwrap();
    assert_eq!(begun.faults.calls(Operation::PutPart) - sent, PARTS - 2);
    assert_eq!(copied.bytes, PART * (PARTS as u64 - 2));
    assert_eq!(begun.recorder.count(), 1);
    begun.assert_copied(1).await;
}

#[tokio::test]
async fn a_resumable_copy_in_parts_reports_the_checksum_that_it_does_not_keep() {
    let (source, target) = (Memory::storage(), Memory::storage());
    source.save("a", large(1)).compute_checksum(ChecksumAlgorithm::Sha256).await.unwrap();
    let copied = copy(&source, "a", &target, "b").resumable(Arc::new(Recorder::default())).await;
    let copied = copied.unwrap();
    assert_eq!(copied.method, CopyMethod::Parts);
    let dropped: Vec<_> = copied.dropped.iter().map(|lost| (lost.kind(), lost.message())).collect();
    let message = "sha256: a copy in parts does not keep this checksum here";
    assert_eq!(dropped, [(ErrorKind::Unsupported, message)]);
    assert_eq!(target.stat("b").await.unwrap().checksums.get(ChecksumAlgorithm::Sha256), None);
}

#[tokio::test]
async fn a_source_that_changed_begins_again_and_the_old_upload_is_aborted() {
    let begun = begun().await;
    begun.source.save("a", large(2)).await.unwrap();
    let copied = begun.copy().await.unwrap();
    assert_eq!((copied.bytes, begun.recorder.count()), (LARGE as u64, 2));
    begun.assert_copied(2).await;
}

#[tokio::test]
async fn an_upload_on_another_condition_begins_again() {
    let begun = begun().await;
    // The upload would replace this object.
    begun.target.save("b", "of another program").await.unwrap();
    let error = begun.copy().create_new().await.unwrap_err();
    assert_eq!((error.kind(), begun.recorder.count()), (ErrorKind::AlreadyExists, 2));
    assert_eq!(begun.target.open("b").await.unwrap().text().await.unwrap(), "of another program");
    assert_eq!(uploads(&begun.target).await, 0);
}

#[tokio::test]
async fn a_source_that_is_small_now_is_streamed_and_the_old_upload_is_aborted() {
    let begun = begun().await;
    begun.source.save("a", "small").await.unwrap();
    let copied = begun.copy().await.unwrap();
    assert_eq!(copied.method, CopyMethod::Stream);
    assert_eq!(uploads(&begun.target).await, 0);
}

#[tokio::test]
async fn a_source_that_is_gone_leaves_no_upload() {
    let begun = begun().await;
    begun.source.delete("a").await.unwrap();
    assert_eq!(begun.copy().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(uploads(&begun.target).await, 0);
}

#[tokio::test]
async fn an_upload_that_is_gone_begins_again() {
    let begun = begun().await;
    let upload = begun.target.resume_multipart("b", begun.unfinished.upload.clone()).unwrap();
    upload.abort().await.unwrap();
    begun.copy().await.unwrap();
    assert_eq!(begun.recorder.count(), 2);
    begun.assert_copied(1).await;
}

#[tokio::test]
async fn an_upload_that_disappears_between_its_parts_begins_again() {
    let begun = begun().await;
    let gone = begun.faults.on(Operation::PutPart).call(2).fail(ErrorKind::NotFound);
    begun.copy().await.unwrap();
    assert_eq!((gone.fired(), begun.recorder.count()), (1, 2));
    assert_eq!(begun.target.open("b").await.unwrap().bytes().await.unwrap(), large(1));
}

#[tokio::test]
async fn a_copy_whose_upload_cannot_be_recorded_fails_and_leaves_no_upload() {
    let source = Memory::storage();
    source.save("a", large(1)).await.unwrap();
    let target = Memory::storage();
    let recorder = Arc::new(Recorder { fails: true, ..Recorder::default() });
    let error = copy(&source, "a", &target, "b").resumable(recorder).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(uploads(&target).await, 0);
    assert!(!target.exists("b").await.unwrap());
}

#[tokio::test]
async fn a_resumable_copy_that_is_dropped_leaves_its_upload() {
    let begun = begun().await;
    let held = begun.faults.on(Operation::PutPart).call(1).hold();
    let copying = tokio::spawn(begun.copy().into_future());
    held.reached().await;
    copying.abort();
    assert!(copying.await.unwrap_err().is_cancelled());
    begun.copy().await.unwrap();
    assert_eq!(begun.recorder.count(), 1);
    begun.assert_copied(1).await;
}

#[tokio::test]
async fn an_upload_that_can_never_complete_is_aborted() {
    let begun = begun().await;
    begun.target.save("b", "of another program").await.unwrap();
    let taken = begun.faults.on(Operation::CompleteMultipart).fail(ErrorKind::AlreadyExists);
    let error = begun.copy().await.unwrap_err();
    assert_eq!((error.kind(), taken.fired()), (ErrorKind::AlreadyExists, 1));
    assert_eq!(uploads(&begun.target).await, 0);
}

#[tokio::test]
async fn parts_that_were_damaged_are_not_continued_for_ever() {
    let begun = begun().await;
    let damaged = begun.faults.on(Operation::CompleteMultipart).call(1).fail(ErrorKind::Integrity);
    assert_eq!(begun.copy().await.unwrap_err().kind(), ErrorKind::Integrity);
    assert_eq!(damaged.fired(), 1);
    let copied = begun.copy().await.unwrap();
    assert_eq!(copied.bytes, LARGE as u64);
    begun.assert_copied(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_fails_for_a_while_keeps_the_upload() {
    let begun = begun().await;
    let limited = begun.faults.on(Operation::CompleteMultipart).call(1).fail(ErrorKind::Timeout);
    assert_eq!(begun.copy().await.unwrap_err().kind(), ErrorKind::Timeout);
    let sent = begun.faults.calls(Operation::PutPart);
    begun.copy().await.unwrap();
    assert_eq!((limited.fired(), begun.faults.calls(Operation::PutPart) - sent), (1, 0));
    begun.assert_copied(1).await;
}

#[tokio::test]
async fn a_completion_whose_response_was_lost_is_recognised() {
    let begun = begun().await;
    let lost =
        begun.faults.on(Operation::CompleteMultipart).call(1).lose_response(ErrorKind::Timeout);
    assert_eq!(begun.copy().await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(lost.fired(), 1);
    begun.copy().await.unwrap();
    begun.assert_copied(1).await;
}

#[tokio::test]
async fn parts_of_a_file_that_changed_meanwhile_are_never_completed() {
    let ((root, source), faults) = (disk(), Faults::new());
    source.save("a", large(1)).await.unwrap();
    let file = std::fs::File::options().write(true).open(root.path().join("a")).unwrap();
    let target = faults.in_memory();
    target.save("b", "old").await.unwrap();
    let passed = AtomicU64::new(0);
    let on_bytes = move |bytes| {
        if passed.fetch_add(bytes, Ordering::SeqCst) + bytes >= LARGE as u64 {
            (&file).write_all(b"x").unwrap();
        }
    };
    let copy = copy(&source, "a", &target, "b").on_bytes(Arc::new(on_bytes));
    let error = copy.resumable(Arc::new(Recorder::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert!(faults.calls(Operation::PutPart) > 0, "the file was copied in parts");
    assert_eq!(faults.calls(Operation::CompleteMultipart), 0);
    assert_eq!(target.open("b").await.unwrap().text().await.unwrap(), "old");
    assert_eq!(uploads(&target).await, 0);
}
