//! The API for synchronous code.

#![cfg(feature = "blocking")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use storage_core::blocking::{BlockingReader, BlockingStorage, BlockingWriter};
use storage_core::layers::Timeout;
use storage_core::{
    CompleteOptions, CopyOptions, ErrorKind, Memory, Metadata, MultipartOptions, OpenOptions,
    Operation, RenameOptions, SaveOptions, Storage, UrlOptions,
};
use storage_testkit::faults::Faults;

/// A storage whose calls need timers, and so a runtime that runs while they wait.
fn storage() -> BlockingStorage {
    let storage =
        Memory::storage().layer(|inner| Timeout::new(inner, std::time::Duration::from_secs(600)));
    storage.blocking().unwrap()
}

fn names(storage: &BlockingStorage) -> Vec<String> {
    storage.list("").map(|entry| entry.unwrap().name().to_owned()).collect()
}

#[test]
fn every_verb_works_without_a_runtime() {
    let storage = storage();
    let options = SaveOptions::new().create_new();
    assert_eq!(storage.save_with("a.txt", "hello", options.clone()).unwrap().size, 5);
    let taken = storage.save_with("a.txt", "again", options).unwrap_err();
    assert_eq!((taken.kind(), taken.key()), (ErrorKind::AlreadyExists, Some("a.txt")));
    assert_eq!(storage.read("a.txt").unwrap(), "hello");
    assert_eq!(storage.read_text("a.txt").unwrap(), "hello");
    assert_eq!(storage.stat("a.txt").unwrap().size, 5);
    assert!(storage.exists("a.txt").unwrap());
    storage.copy("a.txt", "b.txt").unwrap();
    let refused = storage.copy_with("a.txt", "b.txt", CopyOptions::new().create_new());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(names(&storage), ["a.txt", "b.txt"]);
    storage.delete("a.txt").unwrap();
    assert_eq!(names(&storage), ["b.txt"]);
    storage.rename("b.txt", "d.txt").unwrap();
    storage.rename_with("d.txt", "e.txt", RenameOptions::default()).unwrap();
    storage.rename("e.txt", "b.txt").unwrap();
    assert_eq!(names(&storage), ["b.txt"]);
    assert!(storage.url("b.txt").unwrap_err().is_unsupported());
    assert!(storage.url_with("b.txt", UrlOptions::new()).unwrap_err().is_unsupported());
    let save = storage.storage().save("c.txt", "c").content_type("text/x-mine");
    assert_eq!(storage.wait(save).unwrap().content_type(), Some("text/x-mine"));
}

#[test]
fn an_object_is_copied_to_another_storage_with_its_metadata() {
    let (from, to) = (storage(), storage());
    from.save_with(
        "a.bin",
        vec![7; 300_000],
        SaveOptions::new().metadata(Metadata::new().user("k", "v")),
    )
    .unwrap();
    let copied = from.copy_to("a.bin", &to, "b/a.bin").unwrap();
    assert_eq!((copied.key.as_str(), copied.size), ("b/a.bin", 300_000));
    assert_eq!(to.read("b/a.bin").unwrap(), vec![7; 300_000]);
    assert_eq!(to.stat("b/a.bin").unwrap().metadata, from.stat("a.bin").unwrap().metadata);
    assert_eq!(from.copy_to("x", &to, "x").unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(names(&to), ["b/a.bin"]);
}

#[test]
fn deleting_a_prefix_leaves_objects_beside_it() {
    let storage = storage();
    for key in ["tmp/1", "tmp/a/2", "tmp.txt", "other"] {
        storage.save(key, "").unwrap();
    }
    for refused in ["tmp", ""] {
        assert_eq!(storage.delete_prefix(refused).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    assert_eq!(storage.delete_prefix("tmp/").unwrap(), 2);
    assert_eq!(names(&storage), ["other", "tmp.txt"]);
    assert_eq!(storage.delete_everything().unwrap(), 2);
    assert!(names(&storage).is_empty());
}

#[test]
fn deleting_many_objects_tries_all_and_reports_the_first_error() {
    let faults = Faults::new();
    let storage = Memory::storage().layer(|inner| faults.layer(inner)).blocking().unwrap();
    for key in ["a", "b", "c"] {
        storage.save(key, "").unwrap();
    }
    let refused = storage.delete_many(["a", "../b", "c"]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidKey);
    assert_eq!(names(&storage), ["b"]);
    let broken = faults.on(Operation::List).fail(ErrorKind::Timeout);
    assert_eq!(storage.delete_everything().unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(broken.fired(), 1);
    faults.clear();
    assert_eq!(names(&storage), ["b"]);
}

#[test]
fn files_of_the_local_disk_are_saved_and_written() {
    let (storage, directory) = (storage(), tempfile::tempdir().unwrap());
    let (from, to) = (directory.path().join("from"), directory.path().join("to"));
    std::fs::write(&from, "hello").unwrap();
    storage.save_file("a.txt", &from).unwrap();
    storage.download("a.txt", &to).unwrap();
    assert_eq!(std::fs::read(&to).unwrap(), b"hello");
}

#[test]
fn a_body_is_read_from_its_beginning() {
    let storage = storage();
    storage.save("a.txt", "one\ntwo\nthree\n").unwrap();
    let mut object = storage.open_with("a.txt", OpenOptions::new().range(4..)).unwrap();
    assert_eq!((object.meta().size, object.range()), (14, 4..14));
    let mut line = String::new();
    object.read_line(&mut line).unwrap();
    assert_eq!(line, "two\n");
    let mut rest = String::new();
    object.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "three\n");
    assert_eq!(storage.open("b.txt").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn an_object_is_read_at_any_position() {
    let whole: Vec<u8> = (0..500_000_u32).map(|at| (at % 251) as u8).collect();
    let storage = storage();
    storage.save("a.bin", whole.clone()).unwrap();
    let mut reader = storage.reader("a.bin").unwrap();
    assert_eq!(reader.meta().size, 500_000);
    let mut piece = [0; 1000];
    for at in [499_000_u64, 0, 250_000] {
        assert_eq!(reader.seek(SeekFrom::Start(at)).unwrap(), at);
        reader.read_exact(&mut piece).unwrap();
        assert_eq!(piece[..], whole[at as usize..][..1000]);
    }
    let negative = reader.seek(SeekFrom::Start(0)).and_then(|_| reader.seek(SeekFrom::Current(-1)));
    assert_eq!(negative.unwrap_err().kind(), std::io::ErrorKind::InvalidInput);
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert!(read == whole);
    assert!(reader.fill_buf().unwrap().is_empty());
}

#[test]
fn only_a_finished_writer_saves() {
    let storage = storage();
    storage.save("a.bin", "old").unwrap();
    let mut writer = storage.writer("a.bin").unwrap();
    writer.write_all(&[7; 200_000]).unwrap();
    writer.flush().unwrap();
    drop(writer);
    assert_eq!(storage.read_text("a.bin").unwrap(), "old");
    let mut writer = storage.writer("a.bin").unwrap();
    writer.write_all(&[7; 200_000]).unwrap();
    assert_eq!(writer.finish().unwrap().size, 200_000);
    assert_eq!(storage.read("a.bin").unwrap(), vec![7; 200_000]);
    let refused = storage.writer_with("a.bin", SaveOptions::new().create_new());
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[test]
fn a_listing_ends_after_its_last_error() {
    let faults = Faults::new();
    let storage = Memory::storage().layer(|inner| faults.layer(inner)).blocking().unwrap();
    storage.save("a", "").unwrap();
    storage.save("b", "").unwrap();
    let broken = faults.on(Operation::List).fail_midway(1, ErrorKind::Timeout);
    let mut entries = storage.list("");
    assert_eq!(entries.next().unwrap().unwrap().name(), "a");
    assert_eq!(entries.next().unwrap().unwrap_err().kind(), ErrorKind::Timeout);
    assert!(entries.next().is_none());
    assert_eq!(broken.fired(), 1);
}

/// Asserts that each call on a thread that polls futures fails, and that its message states what to
/// do.
fn refuse_in_asynchronous_code(storage: &Storage) {
    let blocking = storage.blocking().unwrap();
    for error in [
        blocking.read("a.txt").unwrap_err(),
        blocking.save("a.txt", "new").unwrap_err(),
        blocking.list("").next().unwrap().unwrap_err(),
    ] {
        assert!(error.is_unsupported(), "{error}");
        assert!(error.message().contains("spawn_blocking"), "{error}");
    }
}

async fn only_blocking_closures_may_wait() {
    let storage = Memory::storage();
    storage.save("a.txt", "hello").await.unwrap();
    refuse_in_asynchronous_code(&storage);
    let blocking = storage.blocking().unwrap();
    let mut reader = tokio::task::spawn_blocking({
        let blocking = blocking.clone();
        move || {
            let text = blocking.read_text("a.txt").unwrap();
            blocking.save("b.txt", text).unwrap();
            blocking.reader("b.txt").unwrap()
        }
    })
    .await
    .unwrap();
    assert_eq!(storage.read_text("b.txt").await.unwrap(), "hello");
    // The object is in memory, so reading it waits for nothing.
    let mut text = String::new();
    let read = (&mut reader).take(5).read_to_string(&mut text);
    assert_eq!((read.unwrap(), &text[..]), (5, "hello"));
}

#[tokio::test]
async fn calls_in_asynchronous_code_fail_and_those_in_blocking_closures_succeed() {
    only_blocking_closures_may_wait().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_on_a_runtime_of_several_threads_fail_outside_of_blocking_closures() {
    only_blocking_closures_may_wait().await;
    tokio::spawn(only_blocking_closures_may_wait()).await.unwrap();
}

#[test]
fn a_storage_that_was_made_without_a_runtime_fails_in_asynchronous_code() {
    let storage = storage();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let error = runtime.block_on(async { storage.exists("a").unwrap_err() });
    assert!(error.is_unsupported(), "{error}");
    assert!(!storage.exists("a").unwrap());
    runtime.block_on(async { drop(storage) });
}

#[test]
fn clones_are_used_by_many_threads() {
    let storage = storage();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let storage = storage.clone();
            scope.spawn(move || storage.save(format!("{thread}"), "x").unwrap());
        }
    });
    assert_eq!(names(&storage).len(), 8);
}

#[test]
fn storages_readers_and_writers_can_be_sent_to_threads() {
    fn send<T: Send>() {}
    fn share<T: Send + Sync + Clone>() {}
    share::<BlockingStorage>();
    send::<BlockingReader>();
    send::<BlockingWriter>();
}

#[test]
fn an_upload_in_parts_is_resumed_and_completed() {
    let storage = Memory::storage().blocking().unwrap();
    // Two handles send parts, so the size is declared.
    let options = MultipartOptions::new().part_size(2).size(3);
    let upload = storage.multipart("a", options).unwrap();
    upload.put_part(1, "ab").unwrap();
    let listed = storage.multipart_uploads("").unwrap();
    assert!(listed[0].id.is_same_upload(upload.upload().id()));

    let resumed = storage.resume_multipart("a", upload.upload().id().clone()).unwrap();
    resumed.put_part(2, "c").unwrap();
    let parts = resumed.parts().unwrap();
    assert_eq!(parts.len(), 2);
    let complete = CompleteOptions::new().exactly(parts);
    assert_eq!(resumed.complete_with(complete).unwrap().size, 3);
    assert_eq!(upload.complete().unwrap().size, 3);
    assert_eq!(storage.read_text("a").unwrap(), "abc");
}

#[test]
fn an_upload_is_aborted_or_swept() {
    let storage = Memory::storage().blocking().unwrap();
    let upload = storage.multipart("a", MultipartOptions::new()).unwrap();
    upload.abort().unwrap();
    assert_eq!(upload.put_part(1, "a").unwrap_err().kind(), ErrorKind::NotFound);
    storage.multipart("b", MultipartOptions::new()).unwrap();
    assert_eq!(storage.abort_stale("", Duration::from_secs(3_600)).unwrap(), 0);
    assert_eq!(storage.multipart_uploads("").unwrap().len(), 1);
}

#[test]
fn a_verified_version_is_promoted() {
    let storage = Memory::storage().blocking().unwrap();
    let verified = storage.save("incoming/a", "good").unwrap().etag.unwrap();
    storage.promote("incoming/a", verified.clone(), "a").unwrap();
    storage.save("incoming/a", "evil").unwrap();
    let refused = storage.promote("incoming/a", verified, "a").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PreconditionFailed);
    assert_eq!(storage.read_text("a").unwrap(), "good");
}
