//! Multipart uploads: parts that are sent again, puts that stall, completions that fail, several
//! drivers and processes, and hostile ids and directories.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::payloads::{Feed, fed, pattern, streaming};
use common::{Implementation, Scratch, read, refused, until};
use futures_util::TryStreamExt;
use storage_core::{CompleteOptions, ErrorKind, MultipartUpload, Part, Storage, UploadId};
use storage_fs::{Fs, NameRules};
use storage_testkit::jobs;

const PART: usize = 70_000;
const KEY: &str = "d/video";

/// Returns the bytes of a version of a part.
fn part(number: u32, version: u64) -> Vec<u8> {
    pattern(u64::from(number) * 100 + version, if number == 3 { 1_000 } else { PART })
}

async fn begin(storage: &Storage) -> MultipartUpload {
    storage.multipart(KEY).part_size(PART as u64).await.unwrap()
}

/// Continues an upload as another process does, which knows only the id.
fn resumed(storage: &Storage, upload: &MultipartUpload) -> MultipartUpload {
    storage.resume_multipart(KEY, upload.id().to_string().parse().unwrap()).unwrap()
}

fn uploads(scratch: &Scratch) -> PathBuf {
    scratch.root().join(".anystorage/uploads")
}

fn directory(scratch: &Scratch, upload: &MultipartUpload) -> PathBuf {
    uploads(scratch).join(upload.id().upload())
}

fn names_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Runs a test on each implementation.
#[allow(clippy::needless_pass_by_value, reason = "callers pass a closure")]
fn on_each(test: impl AsyncFn(Implementation, &Scratch, &Storage)) {
    for implementation in Implementation::ALL {
        let scratch = Scratch::in_memory();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let storage = implementation.storage(scratch.builder());
            test(implementation, &scratch, &storage).await;
        });
    }
}

#[test]
fn the_file_of_the_parts_becomes_the_object_without_a_copy() {
    on_each(async |_, scratch, storage| {
        let upload = begin(storage).await;
        for number in [3, 1, 2] {
            upload.put_part(number, part(number, 1)).await.unwrap();
        }
        let data = fs::metadata(directory(scratch, &upload).join("data")).unwrap().ino();
        upload.complete().await.unwrap();
        assert_eq!(fs::metadata(scratch.file(KEY)).unwrap().ino(), data);
        let whole = [part(1, 1), part(2, 1), part(3, 1)].concat();
        assert!(read(storage, KEY).await.unwrap() == whole);
        assert_eq!(names_in(&uploads(scratch)), [""; 0]);
    });
}

#[test]
fn the_object_of_an_upload_has_the_mode_of_every_object() {
    for implementation in Implementation::ALL {
        let scratch = Scratch::in_memory();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let storage = implementation.storage(scratch.builder().file_mode(0o640));
            let upload = begin(&storage).await;
            upload.put_part(1, "body").await.unwrap();
            upload.complete().await.unwrap();
        });
        let mode = fs::metadata(scratch.file(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640, "{implementation:?}");
    }
}

#[test]
fn the_last_upload_of_a_root_leaves_only_the_object() {
    for implementation in Implementation::ALL {
        let scratch = Scratch::in_memory();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let storage = implementation.storage(scratch.builder().remove_locks(true));
            let upload = begin(&storage).await;
            upload.put_part(1, "body").await.unwrap();
            upload.abort().await.unwrap();
        });
        drop(runtime);
        assert_eq!(scratch.tree(), [""; 0], "{implementation:?}");
    }
}

/// The bytes of a part that was sent again are in `data` before the completion.
#[test]
fn a_part_that_was_sent_again_is_put_in_place_at_once() {
    on_each(async |_, scratch, storage| {
        let upload = begin(storage).await;
        for version in [1, 2, 3] {
            upload.put_part(2, part(2, version)).await.unwrap();
        }
        let directory = directory(scratch, &upload);
        assert_eq!(names_in(&directory.join("beside")), [""; 0]);
        assert!(fs::read(directory.join("data")).unwrap()[PART..] == part(2, 3));
    });
}

/// Larger than two batches, so that the beginning is in the file when the stream stalls.
const LARGE: usize = 3_000_000;

/// A put of part 1 whose client stalls after a part of the bytes was written.
struct StalledPut {
    feed: Feed,
    put: tokio::task::JoinHandle<storage_core::Result<Part>>,
}

impl StalledPut {
    async fn begin(scratch: &Scratch, upload: MultipartUpload) -> Self {
        let data = directory(scratch, &upload).join("data");
        let (feed, payload) = fed();
        let put = tokio::spawn(async move { upload.put_part(1, payload).await });
        feed.send_at_least(2_500_000).await;
        until("no byte was written", || fs::metadata(&data).unwrap().len() > 0).await;
        Self { feed, put }
    }

    async fn finish(self) -> storage_core::Result<Part> {
        self.feed.send("the end").await;
        drop(self.feed);
        self.put.await.unwrap()
    }
}

#[test]
fn a_put_that_stalls_delays_no_other_put_and_no_completion() {
    on_each(async |implementation, scratch, storage| {
        let upload = storage.multipart(KEY).part_size(LARGE as u64).await.unwrap();
        let stalled = StalledPut::begin(scratch, resumed(storage, &upload)).await;
        // Another process sends the same part meanwhile.
        let other = implementation.storage(scratch.builder());
        let other = resumed(&other, &upload);
        let new = pattern(7, LARGE - 10);
        other.put_part(1, new.clone()).await.unwrap();
        other.complete().await.unwrap();
        assert!(read(storage, KEY).await.unwrap() == new);
        let before = fs::metadata(scratch.file(KEY)).unwrap();

        refused(stalled.finish().await, ErrorKind::NotFound);
        assert!(read(storage, KEY).await.unwrap() == new);
        let after = fs::metadata(scratch.file(KEY)).unwrap();
        assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
    });
}

/// A completion that fails by its mode has put a part in the place where the stalled put writes.
#[test]
fn a_put_in_whose_place_a_completion_has_written_fails_and_can_be_repeated() {
    on_each(async |_, scratch, storage| {
        let begin = storage.multipart(KEY).part_size(LARGE as u64).create_new();
        let upload = begin.await.unwrap();
        let stalled = StalledPut::begin(scratch, resumed(storage, &upload)).await;
        let new = pattern(7, LARGE - 10);
        resumed(storage, &upload).put_part(1, new.clone()).await.unwrap();
        let beside = directory(scratch, &upload).join("beside");
        assert_eq!(names_in(&beside).len(), 1);
        // The mode is checked before, so only a directory that is not empty makes the completion
        // fail after it has changed the data.
        fs::create_dir_all(scratch.file(KEY).join("sub")).unwrap();
        assert!(resumed(storage, &upload).complete().await.is_err());
        assert_eq!(names_in(&beside), [""; 0]);

        assert!(refused(stalled.finish().await, ErrorKind::Conflict).is_retryable());
        fs::remove_dir_all(scratch.file(KEY)).unwrap();
        resumed(storage, &upload).complete().await.unwrap();
        assert!(read(storage, KEY).await.unwrap() == new);
    });
}

#[test]
fn an_upload_stays_usable_after_a_completion_that_made_its_file_read_only() {
    for implementation in Implementation::ALL {
        let scratch = Scratch::in_memory();
        if common::is_root() {
            // The permissions do not bind the superuser, so drop them for the whole test.
            let owner = Some(common::UNPRIVILEGED_USER);
            std::os::unix::fs::chown(scratch.path(), owner, owner).unwrap();
            std::os::unix::fs::chown(scratch.root(), owner, owner).unwrap();
        }
        common::as_unprivileged_user(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let storage = implementation.storage(scratch.builder().file_mode(0o444));
                let upload = begin(&storage).await;
                upload.put_part(1, part(1, 1)).await.unwrap();
                fs::create_dir_all(scratch.file(KEY).join("sub")).unwrap();
                assert!(upload.complete().await.is_err());
                let data = fs::metadata(directory(&scratch, &upload).join("data")).unwrap();
                assert_eq!(data.permissions().mode() & 0o777, 0o444, "or this proves nothing");
                upload.put_part(1, part(1, 2)).await.unwrap();
                upload.put_part(2, "last").await.unwrap();
                fs::remove_dir_all(scratch.file(KEY)).unwrap();
                upload.complete().await.unwrap();
                let whole = [part(1, 2), b"last".to_vec()].concat();
                assert!(read(&storage, KEY).await.unwrap() == whole, "{implementation:?}");
            });
        });
    }
}

/// Runs a test on each implementation, as a user whom permissions bind.
fn on_each_unprivileged(
    test: impl AsyncFn(Implementation, &Scratch, &Storage) + Copy + Send + 'static,
) {
    for implementation in Implementation::ALL {
        common::as_unprivileged_user(move || {
            let scratch = Scratch::in_memory();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                let storage = implementation.storage(scratch.builder());
                test(implementation, &scratch, &storage).await;
            });
        });
    }
}

fn make_unreadable(path: &Path) {
    fs::set_permissions(path, PermissionsExt::from_mode(0o000)).unwrap();
    assert!(fs::read(path).is_err(), "or this proves nothing");
}

/// A save fails in the portable implementation, which has to read the version of the present
/// object.
#[test]
fn a_completion_replaces_an_object_that_cannot_be_read_if_a_save_does() {
    on_each_unprivileged(async |implementation, scratch, storage| {
        let upload = begin(storage).await;
        upload.put_part(1, part(1, 1)).await.unwrap();
        scratch.put(KEY, "theirs");
        make_unreadable(&scratch.file(KEY));
        if implementation == Implementation::Portable {
            refused(storage.save(KEY, "ours").await, ErrorKind::PermissionDenied);
            refused(upload.complete().await, ErrorKind::PermissionDenied);
            fs::remove_file(scratch.file(KEY)).unwrap();
        } else {
            storage.save(KEY, "ours").await.unwrap();
            make_unreadable(&scratch.file(KEY));
        }
        upload.complete().await.unwrap();
        assert!(read(storage, KEY).await.unwrap() == part(1, 1));
    });
}

#[test]
fn an_upload_with_hard_links_is_in_progress_beside_an_object_that_cannot_be_read() {
    on_each_unprivileged(async |_, scratch, storage| {
        let upload = begin(storage).await;
        upload.put_part(1, part(1, 1)).await.unwrap();
        scratch.put(KEY, "theirs");
        make_unreadable(&scratch.file(KEY));
        link_tree(&directory(scratch, &upload), &scratch.path().join("snapshot"));
        upload.put_part(2, part(2, 1)).await.unwrap();
        let parts: Vec<_> = resumed(storage, &upload).parts().try_collect().await.unwrap();
        assert_eq!(parts.len(), 2);
        let listed: Vec<_> = storage.multipart_uploads("").try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        upload.abort().await.unwrap();
        assert_eq!(names_in(&uploads(scratch)), [""; 0]);
    });
}

#[test]
fn an_upload_whose_data_cannot_be_read_can_be_aborted() {
    on_each_unprivileged(async |_, scratch, storage| {
        let upload = begin(storage).await;
        upload.put_part(1, part(1, 1)).await.unwrap();
        make_unreadable(&directory(scratch, &upload).join("data"));
        refused(resumed(storage, &upload).put_part(2, "b").await, ErrorKind::PermissionDenied);
        upload.abort().await.unwrap();
        assert_eq!(names_in(&uploads(scratch)), [""; 0]);
    });
}

#[test]
fn the_parts_that_a_completion_discards_are_not_listed_after_it_failed() {
    on_each(async |_, scratch, storage| {
        let upload = begin(storage).await;
        let mut known = Vec::new();
        for number in [1, 2, 3] {
            known.push(upload.put_part(number, part(number, 1)).await.unwrap());
        }
        fs::create_dir_all(scratch.file(KEY).join("sub")).unwrap();
        known.pop();
        let exactly = CompleteOptions::new().exactly(known);
        assert!(upload.complete_with(exactly).await.is_err());
        let listed: Vec<_> = upload.parts().map_ok(|part| part.number).try_collect().await.unwrap();
        assert_eq!(listed, [1, 2]);
        fs::remove_dir_all(scratch.file(KEY)).unwrap();
        refused(upload.complete().await, ErrorKind::Conflict);
    });
}

/// A process was killed after the object was in its place.
#[test]
fn what_remains_of_a_completed_upload_is_removed_by_the_next_completion_or_a_sweep() {
    on_each(async |implementation, scratch, storage| {
        for by_sweep in [false, true] {
            let upload = begin(storage).await;
            upload.put_part(1, "body").await.unwrap();
            let copy = scratch.path().join("copy");
            let directory = directory(scratch, &upload);
            copy_tree(&directory, &copy);
            upload.complete().await.unwrap();
            fs::remove_file(copy.join("data")).unwrap();
            copy_tree(&copy, &directory);
            fs::remove_dir_all(&copy).unwrap();

            let listed: Vec<_> = storage.multipart_uploads("").try_collect().await.unwrap();
            assert_eq!(listed, []);
            refused(upload.put_part(2, "late").await, ErrorKind::NotFound);
            if by_sweep {
                let (young, old) = (Duration::from_secs(3600), Duration::ZERO);
                assert_eq!(sweep(implementation, scratch, young).await, 0);
                assert_eq!(sweep(implementation, scratch, old).await, 1);
            } else {
                upload.complete().await.unwrap();
            }
            assert_eq!(names_in(&uploads(scratch)), [""; 0]);
            assert_eq!(read(storage, KEY).await.unwrap(), b"body");
        }
    });
}

fn copy_tree(from: &Path, to: &Path) {
    copy_tree_by(from, to, &|from, to| assert!(fs::copy(from, to).is_ok()));
}

/// Copies as `cp -al` does.
fn link_tree(from: &Path, to: &Path) {
    copy_tree_by(from, to, &|from, to| fs::hard_link(from, to).unwrap());
}

fn copy_tree_by(from: &Path, to: &Path, copy: &dyn Fn(&Path, &Path)) {
    fs::create_dir_all(to).unwrap();
    for name in names_in(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() { copy_tree_by(&from, &to, copy) } else { copy(&from, &to) }
    }
}

#[test]
fn an_upload_of_which_a_snapshot_by_hard_links_exists_is_in_progress() {
    on_each(async |_, scratch, storage| {
        let upload = begin(storage).await;
        upload.put_part(1, part(1, 1)).await.unwrap();
        link_tree(&scratch.root(), &scratch.path().join("snapshot"));
        upload.put_part(2, part(2, 1)).await.unwrap();
        let listed: Vec<_> = storage.multipart_uploads("").try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        let parts: Vec<_> = resumed(storage, &upload).parts().try_collect().await.unwrap();
        assert_eq!(parts.len(), 2);
        upload.complete().await.unwrap();
        assert!(read(storage, KEY).await.unwrap() == [part(1, 1), part(2, 1)].concat());
    });
}

/// The directory of the upload is put back from a copy, as in a restored backup.
#[test]
fn an_upload_that_is_put_back_after_its_completion_changes_and_replaces_nothing() {
    for copy in [link_tree, copy_tree] {
        on_each(async |_, scratch, storage| {
            let upload = begin(storage).await;
            upload.put_part(1, "body").await.unwrap();
            let (directory, copied) = (directory(scratch, &upload), scratch.path().join("copy"));
            copy(&directory, &copied);
            let completed = upload.complete().await.unwrap();
            copy(&copied, &directory);
            let again = upload.complete().await.unwrap();
            assert_eq!(again.etag, completed.etag);
            assert_eq!(again.last_modified, completed.last_modified);
            assert_eq!(names_in(&uploads(scratch)), [""; 0]);

            link_tree(&copied, &directory);
            let _ = resumed(storage, &upload).put_part(1, "evil").await;
            assert_eq!(read(storage, KEY).await.unwrap(), b"body");
            fs::remove_dir_all(&copied).unwrap();
            upload.abort().await.unwrap();
        });
    }
}

/// The files of many parts are removed after the completion has returned.
#[test]
fn nothing_of_an_upload_with_many_parts_remains_after_its_completion() {
    on_each(async |_, scratch, storage| {
        let upload = storage.multipart(KEY).part_size(3).await.unwrap();
        for number in 1..=100 {
            upload.put_part(number, "abc").await.unwrap();
        }
        upload.complete().await.unwrap();
        refused(upload.put_part(101, "abc").await, ErrorKind::NotFound);
        assert_eq!(upload.complete().await.unwrap().size, 300);
        until("the directory is there", || names_in(&uploads(scratch)).is_empty()).await;
    });
}

/// A process that was killed while it began an upload holds no lock. One that is alive does.
#[test]
fn a_sweep_leaves_an_upload_that_is_being_begun() {
    on_each(async |implementation, scratch, storage| {
        let upload = begin(storage).await;
        let directory = directory(scratch, &upload);
        fs::remove_file(directory.join("upload")).unwrap();
        let lock = fs::File::open(directory.join("lock")).unwrap();
        lock.lock().unwrap();
        assert_eq!(sweep(implementation, scratch, Duration::ZERO).await, 0);
        assert_eq!(names_in(&uploads(scratch)).len(), 1);
        drop(lock);
        assert_eq!(sweep(implementation, scratch, Duration::ZERO).await, 1);
    });
}

/// Each beginning either succeeds, and the upload is whole, or fails, and nothing of it is left.
#[test]
fn uploads_that_are_begun_during_sweeps_are_whole() {
    on_each(async |implementation, scratch, storage| {
        let sweeping = async {
            for _ in 0..200 {
                sweep(implementation, scratch, Duration::ZERO).await;
            }
        };
        let beginning = async {
            let mut begun = Vec::new();
            for _ in 0..100 {
                begun.push(begin(storage).await);
            }
            begun
        };
        let ((), begun) = tokio::join!(sweeping, beginning);
        for upload in begun {
            upload.put_part(1, "body").await.unwrap();
            upload.abort().await.unwrap();
        }
    });
}

#[test]
fn a_put_that_waits_for_a_lock_ends_when_its_future_is_dropped() {
    on_each(async |_, scratch, storage| {
        let upload = begin(storage).await;
        let lock = fs::File::open(directory(scratch, &upload).join("lock")).unwrap();
        lock.lock().unwrap();
        for payload in [part(1, 1).into(), streaming(part(1, 1), 9_000)] {
            let put = upload.put_part(1, payload);
            tokio::time::timeout(Duration::from_millis(100), put).await.unwrap_err();
        }
        // The runtime waits for its blocking threads, so the test would last for minutes.
        drop(lock);
        upload.put_part(1, part(1, 2)).await.unwrap();
    });
}

async fn sweep(implementation: Implementation, scratch: &Scratch, age: Duration) -> usize {
    match implementation {
        Implementation::Linux(store) => {
            scratch.builder().metadata(store).build().unwrap().sweep(age).await.unwrap()
        }
        Implementation::Portable => {
            let driver = scratch.builder().build_portable(NameRules::default()).unwrap();
            driver.sweep(age).await.unwrap()
        }
    }
}

#[test]
fn the_sweep_of_staged_files_leaves_uploads() {
    on_each(async |implementation, scratch, storage| {
        let upload = begin(storage).await;
        upload.put_part(1, "body").await.unwrap();
        assert_eq!(sweep(implementation, scratch, Duration::ZERO).await, 0);
        upload.complete().await.unwrap();
        assert_eq!(read(storage, KEY).await.unwrap(), b"body");
    });
}

#[test]
fn hostile_ids_reach_no_file() {
    on_each(async |_, scratch, storage| {
        begin(storage).await;
        let canary = Canary::beside(scratch);
        symlink(&canary.path, uploads(scratch).join("link")).unwrap();
        let zeros = "0".repeat(32);
        symlink(&canary.path, uploads(scratch).join(&zeros)).unwrap();
        let before = scratch.tree();
        for id in [&zeros, "link", "staging", "-", "~", &"a".repeat(31), &"A".repeat(32)] {
            let id = UploadId::new(id, None).unwrap();
            let upload = storage.resume_multipart(KEY, id).unwrap();
            refused(upload.put_part(1, "evil").await, ErrorKind::NotFound);
            refused(upload.put_part(1, streaming("evil", 2)).await, ErrorKind::NotFound);
            refused(upload.complete().await, ErrorKind::NotFound);
            let parts: Result<Vec<_>, _> = upload.parts().try_collect().await;
            refused(parts, ErrorKind::NotFound);
            upload.abort().await.unwrap();
        }
        assert_eq!(scratch.tree(), before);
        let listed: Vec<_> = storage.multipart_uploads("").try_collect().await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(storage.abort_stale("", Duration::ZERO).await.unwrap(), 1);
        canary.assert_untouched();
    });
}

/// Each name in the directory of an upload, in turn, is a symlink to a canary.
#[test]
fn symlinks_in_an_upload_are_not_followed() {
    on_each(async |_, scratch, storage| {
        for name in ["data", "upload", "lock", "parts", "beside", "locks", "parts/1", "parts/1.new"]
        {
            let upload = begin(storage).await;
            upload.put_part(1, part(1, 1)).await.unwrap();
            let canary = Canary::beside(scratch);
            let place = directory(scratch, &upload).join(name);
            let target =
                if place.is_dir() { canary.path.clone() } else { canary.path.join("file") };
            let _ =
                if place.is_dir() { fs::remove_dir_all(&place) } else { fs::remove_file(&place) };
            symlink(target, &place).unwrap();
            // Each call succeeds or fails, and reaches nothing outside.
            let _ = upload.put_part(1, part(1, 2)).await;
            let _ = upload.put_part(2, part(2, 1)).await;
            let _: Result<Vec<_>, _> = upload.parts().try_collect().await;
            let _ = upload.complete().await;
            let _ = upload.abort().await;
            canary.assert_untouched();
            let _ = fs::remove_dir_all(directory(scratch, &upload));
            let _ = storage.delete(KEY).await;
        }
    });
}

struct Canary {
    path: PathBuf,
}

impl Canary {
    fn beside(scratch: &Scratch) -> Self {
        let path = scratch.path().join("canary");
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("file"), "outside").unwrap();
        fs::write(path.join("1"), "outside").unwrap();
        Self { path }
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let mut names = names_in(&self.path);
        names.sort_unstable();
        assert_eq!(names, ["1", "file"]);
        for name in names {
            assert_eq!(fs::read(self.path.join(name)).unwrap(), b"outside");
        }
    }
}

#[test]
fn two_processes_on_one_upload_store_whole_parts() {
    on_each(async |implementation, scratch, storage| {
        let upload = begin(storage).await;
        let start = |seed: u64| {
            let mut command = jobs::command("child", &[], "put parts", &scratch.root());
            command.env("UPLOAD", upload.id().to_string()).env("SEED", seed.to_string());
            command
                .env("PORTABLE", if implementation == Implementation::Portable { "1" } else { "" });
            command
        };
        let running = jobs::Running::start_together([start(1), start(2)]);
        for mut running in running {
            assert_eq!(running.next_report().as_deref(), Some("done"));
        }
        upload.complete().await.unwrap();
        let found = read(storage, KEY).await.unwrap();
        for (number, bytes) in (1u32..).zip(found.chunks(PART)) {
            assert!(
                [1, 2].iter().any(|seed| bytes == part(number, *seed)),
                "part {number} is torn"
            );
        }
        assert_eq!(found.len(), 2 * PART + 1_000);
    });
}

/// In a job: sends each part ten times.
fn put_parts(root: &Path) {
    let builder = Fs::builder(root).durable(false);
    let storage = match &*std::env::var("PORTABLE").unwrap() {
        "" => Storage::new(builder.build().unwrap()),
        _ => Storage::new(builder.build_portable(NameRules::default()).unwrap()),
    };
    let id = std::env::var("UPLOAD").unwrap().parse().unwrap();
    let seed = std::env::var("SEED").unwrap().parse().unwrap();
    jobs::await_go();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let upload = storage.resume_multipart(KEY, id).unwrap();
        for round in 0..10 {
            for number in [1, 2, 3] {
                let bytes = part(number, seed);
                match round % 2 {
                    0 => upload.put_part(number, bytes).await.unwrap(),
                    _ => upload.put_part(number, streaming(bytes, 9_000)).await.unwrap(),
                };
            }
        }
    });
    jobs::report("done");
}

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[("put parts", put_parts)]);
}
