//! A multipart upload whose process is killed before each system call, or in which each system call
//! fails. Every part that was acknowledged is kept, a part that was sent again is the old or the
//! new one, and completion is all or nothing.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::payloads::{pattern, streaming};
use common::poll::single_blocking_thread;
use common::trace::{self, Thread, Trace};
use common::{Implementation, Scratch, as_unprivileged_user, read, skip};
use futures_util::TryStreamExt;
use storage_core::{Error, ErrorKind, MultipartUpload, Result, Storage};
use storage_fs::Fs;
use storage_testkit::jobs::{self, Running};

const KEY: &str = "d/video";
const PART: usize = 70_000;

/// Returns the bytes of a version of a part. The second part is the last one, and shorter.
fn part(number: u32, version: u64) -> Vec<u8> {
    pattern(u64::from(number) * 100 + version, if number == 2 { 1_000 } else { PART })
}

fn uploads(root: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join(".anystorage/uploads")) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn index_of(implementation: Implementation) -> usize {
    Implementation::ALL.iter().position(|other| *other == implementation).unwrap()
}

/// The calls that change something. Creating a file is left out: without a later call, it has the
/// same effect as the call before.
const CHANGES: [&str; 15] = [
    "write",
    "writev",
    "renameat",
    "renameat2",
    "linkat",
    "unlinkat",
    "mkdirat",
    "mkdir",
    "ftruncate",
    "fsync",
    "fdatasync",
    "fchmod",
    "fsetxattr",
    "copy_file_range",
    "utimensat",
];

/// How often the blocking thread calls `write` before the upload. Other threads of the job, which
/// report, make fewer of these calls.
const WARM_UP: usize = 40;

/// In a job: uploads an object, and sends its parts twice.
fn upload(root: &Path) {
    let index: usize = std::env::var("IMPLEMENTATION").unwrap().parse().unwrap();
    let storage = Implementation::ALL[index].storage(Fs::builder(root));
    single_blocking_thread().block_on(async {
        let warm_up = || {
            let null = fs::File::options().write(true).open("/dev/null").unwrap();
            for _ in 0..WARM_UP {
                rustix::io::write(&null, b"x").unwrap();
            }
        };
        tokio::task::spawn_blocking(warm_up).await.unwrap();
        let upload = storage.multipart(KEY).part_size(PART as u64).await.unwrap();
        jobs::report(&format!("begun {}", upload.id()));
        for version in [1, 2] {
            for number in [1, 2] {
                jobs::report(&format!("sending {number} {version}"));
                let bytes = part(number, version);
                match version {
                    1 => upload.put_part(number, bytes).await.unwrap(),
                    _ => upload.put_part(number, streaming(bytes, 9_000)).await.unwrap(),
                };
                jobs::report(&format!("stored {number} {version}"));
            }
        }
        jobs::report("completing");
        upload.complete().await.unwrap();
        jobs::report("completed");
    });
}

/// What the job reported before it ended.
#[derive(Default)]
struct Reports {
    id: Option<String>,
    sending: BTreeMap<u32, u64>,
    stored: BTreeMap<u32, u64>,
    is_completing: bool,
    is_completed: bool,
}

impl Reports {
    fn new(lines: &[String]) -> Self {
        let mut reports = Self::default();
        for line in lines {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["begun", id] => reports.id = Some(id.to_owned()),
                ["sending", number, version] => {
                    reports.sending.insert(number.parse().unwrap(), version.parse().unwrap());
                }
                ["stored", number, version] => {
                    reports.stored.insert(number.parse().unwrap(), version.parse().unwrap());
                }
                ["completing"] => reports.is_completing = true,
                ["completed"] => reports.is_completed = true,
                _ => panic!("{line}"),
            }
        }
        reports
    }

    /// Returns whether the bytes are those of a version of the part that may be stored.
    fn allows(&self, number: u32, bytes: &[u8]) -> bool {
        let versions = [self.stored.get(&number), self.sending.get(&number)];
        versions.into_iter().flatten().any(|version| bytes == part(number, *version))
    }

    async fn check(&self, root: &Path, storage: &Storage, what: &str) {
        let Some(id) = &self.id else {
            assert!(!storage.exists(KEY).await.unwrap(), "{what}");
            storage.abort_stale("", Duration::ZERO).await.unwrap();
            return;
        };
        let upload = storage.resume_multipart(KEY, id.parse().unwrap()).unwrap();
        let is_there = storage.exists(KEY).await.unwrap();
        assert!(is_there || !self.is_completed, "{what}: the object is lost");
        assert!(!is_there || self.is_completing, "{what}: the object is early");
        if !is_there {
            let listed: Vec<_> = upload.parts().try_collect().await.unwrap();
            for number in self.stored.keys() {
                assert!(listed.iter().any(|part| part.number == *number), "{what}: {number}");
            }
            for number in [1, 2] {
                if !listed.iter().any(|part| part.number == number) {
                    upload.put_part(number, part(number, 9)).await.unwrap();
                }
            }
        }
        let meta = upload.complete().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let found = read(storage, KEY).await.unwrap();
        assert_eq!(meta.size, found.len() as u64, "{what}");
        let (first, second) = found.split_at(PART);
        for (number, bytes) in [(1, first), (2, second)] {
            let is_sent_here = !self.stored.contains_key(&number) && bytes == part(number, 9);
            assert!(self.allows(number, bytes) || is_sent_here, "{what}: part {number} is torn");
        }
        // The record is removed last, and then the directory.
        let driver = Fs::builder(root).durable(false).build().unwrap();
        let swept = driver.sweep(Duration::ZERO).await.unwrap();
        assert!(swept == 0 || self.is_completing, "{what}");
        assert_eq!(uploads(root), [""; 0], "{what}");
    }
}

/// Kills the job before each call.
fn kill_before_each_call(implementation: Implementation) {
    let mut kills = 0;
    for call in CHANGES {
        let mut at = if call == "write" { WARM_UP + 1 } else { 1 };
        while kill_before(implementation, call, at) {
            kills += 1;
            at += 1;
            assert!(at < 2_000, "the job does not end");
        }
    }
    assert!(kills > 60, "{kills} kills");
}

/// Kills the job before a call. Returns `false` if it makes fewer such calls.
fn kill_before(implementation: Implementation, call: &str, at: usize) -> bool {
    let (trace, inject) = (format!("trace={call}"), format!("inject={call}:signal=KILL:when={at}"));
    // With --seccomp-bpf, strace 6.1 injects a signal only at the first call.
    let wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null"];
    let wrapper = [&wrapper[..], &["-e", &trace, "-e", &inject]].concat();
    let scratch = Scratch::in_memory();
    let mut command = jobs::command("child", &wrapper, "upload", &scratch.root());
    command.env("IMPLEMENTATION", index_of(implementation).to_string());
    let mut running = Running::start(command);
    let lines: Vec<_> = std::iter::from_fn(|| running.next_report()).collect();
    drop(running);
    let reports = Reports::new(&lines);
    let what = format!("{implementation:?}, killed before {call} {at}, after {lines:?}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let storage = implementation.storage(scratch.builder());
        reports.check(&scratch.root(), &storage, &what).await;
    });
    !reports.is_completed
}

fn killing(implementation: Implementation) {
    if trace::without_openat2().is_none() {
        return skip("strace cannot run a program here");
    }
    kill_before_each_call(implementation);
}

#[test]
fn a_kill_before_any_call_loses_no_part_and_tears_no_object() {
    killing(Implementation::ALL[0]);
}

#[test]
fn a_kill_before_any_call_loses_no_part_with_sidecars() {
    killing(Implementation::ALL[1]);
}

#[test]
fn a_kill_before_any_call_loses_no_part_of_the_portable_driver() {
    killing(Implementation::ALL[2]);
}

/// In a job: completes an upload.
fn complete(root: &Path) {
    let index: usize = std::env::var("IMPLEMENTATION").unwrap().parse().unwrap();
    let mode = std::env::var("MODE").unwrap().parse().unwrap();
    let storage = Implementation::ALL[index].storage(Fs::builder(root).file_mode(mode));
    let id = std::env::var("UPLOAD").unwrap().parse().unwrap();
    single_blocking_thread().block_on(async {
        let upload = storage.resume_multipart(KEY, id).unwrap();
        jobs::report("completing");
        upload.complete().await.unwrap();
        jobs::report("completed");
    });
}

/// What happens to the object after the process was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Afterwards {
    Deleted,
    Replaced,
}

/// The default permission bits of an object.
const DEFAULT_MODE: u32 = 0o644;

/// Completes an upload in a job, which is killed before a call. Returns whether the job makes fewer
/// such calls, so that it completed the upload.
fn complete_in_job(
    implementation: Implementation,
    scratch: &Scratch,
    upload: &MultipartUpload,
    mode: u32,
    faults: &[&str],
    call: &str,
    at: usize,
) -> bool {
    let inject = format!("inject={call}:signal=KILL:when={at}");
    let calls = [&[call], &faults.iter().map(|fault| call_of(fault)).collect::<Vec<_>>()[..]];
    let trace = format!("trace={}", calls.concat().join(","));
    let wrapper = ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
    let faults = faults.iter().flat_map(|fault| ["-e", fault]);
    let wrapper: Vec<_> = wrapper.into_iter().chain(faults).collect();
    let mut command = jobs::command("child", &wrapper, "complete", &scratch.root());
    command.env("IMPLEMENTATION", index_of(implementation).to_string());
    command.env("UPLOAD", upload.id().to_string());
    command.env("MODE", mode.to_string());
    let mut running = Running::start(command);
    let lines: Vec<_> = std::iter::from_fn(|| running.next_report()).collect();
    assert_eq!(lines.first().map(String::as_str), Some("completing"), "the job did not start");
    lines.iter().any(|line| line == "completed")
}

/// Kills the completion of an upload before a call. An object that was visible by then is deleted
/// or replaced, and must not come back. Returns `None` if the completion makes fewer such calls,
/// and otherwise whether the object was visible.
fn kill_completion(
    implementation: Implementation,
    faults: &[&str],
    call: &str,
    at: usize,
    afterwards: Afterwards,
) -> Option<bool> {
    let scratch = Scratch::in_memory();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begun = || async {
        let storage = implementation.storage(scratch.builder());
        let upload = storage.multipart(KEY).part_size(PART as u64).create_new().await.unwrap();
        upload.put_part(1, part(1, 1)).await.unwrap();
        upload
    };
    let upload = runtime.block_on(begun());
    let is_completed =
        complete_in_job(implementation, &scratch, &upload, DEFAULT_MODE, faults, call, at);
    let what = format!("{implementation:?}, killed before {call} {at}, {afterwards:?}");
    runtime.block_on(async {
        let storage = implementation.storage(scratch.builder());
        let upload = storage.resume_multipart(KEY, upload.id().clone()).unwrap();
        let was_visible = storage.exists(KEY).await.unwrap();
        if was_visible {
            match afterwards {
                Afterwards::Deleted => storage.delete(KEY).await.unwrap(),
                Afterwards::Replaced => drop(storage.save(KEY, "newer").await.unwrap()),
            }
            for _ in 0..2 {
                let error = upload.complete().await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
            }
            let put = upload.put_part(1, "late").await.unwrap_err();
            assert_eq!(put.kind(), ErrorKind::NotFound, "{what}: {put}");
            let listed: Vec<_> = storage.multipart_uploads("").try_collect().await.unwrap();
            assert_eq!(listed, [], "{what}");
            match afterwards {
                Afterwards::Deleted => assert!(!storage.exists(KEY).await.unwrap(), "{what}"),
                Afterwards::Replaced => {
                    assert_eq!(read(&storage, KEY).await.unwrap(), b"newer", "{what}");
                }
            }
        } else {
            upload.put_part(2, part(2, 1)).await.unwrap();
            upload.complete().await.unwrap_or_else(|error| panic!("{what}: {error}"));
            let whole = [part(1, 1), part(2, 1)].concat();
            assert!(read(&storage, KEY).await.unwrap() == whole, "{what}");
        }
        let driver = Fs::builder(scratch.root()).durable(false).build().unwrap();
        driver.sweep(Duration::ZERO).await.unwrap();
        assert_eq!(uploads(&scratch.root()), [""; 0], "{what}");
        (!is_completed).then_some(was_visible)
    })
}

/// Returns the call of a fault: `inject=CALL:error=...`.
fn call_of(fault: &str) -> &str {
    fault.trim_start_matches("inject=").split(':').next().unwrap_or_default()
}

#[test]
fn an_object_whose_completion_was_killed_does_not_come_back() {
    if trace::without_openat2().is_none() {
        return skip("strace cannot run a program here");
    }
    // As on a file system without RENAME_NOREPLACE, such as NFS.
    let no_replace: &[&str] = &["inject=renameat2:error=EINVAL"];
    let [linux, sidecars, portable] = Implementation::ALL;
    for (implementation, faults) in
        [(linux, &[][..]), (linux, no_replace), (sidecars, no_replace), (portable, &[])]
    {
        let (mut hidden, mut visible) = (0, 0);
        for call in CHANGES.into_iter().filter(|call| !matches!(*call, "write" | "writev")) {
            if faults.iter().any(|fault| call_of(fault) == call) {
                continue;
            }
            for at in 1..200 {
                let deleted =
                    kill_completion(implementation, faults, call, at, Afterwards::Deleted);
                let Some(was_visible) = deleted else { break };
                kill_completion(implementation, faults, call, at, Afterwards::Replaced);
                *(if was_visible { &mut visible } else { &mut hidden }) += 1;
            }
        }
        assert!(hidden > 0 && visible > 3, "{implementation:?}: {hidden} and {visible} kills");
    }
}

const READ_ONLY: u32 = 0o444;

/// Kills the completion of an upload whose object becomes read-only, and continues it. Returns
/// `None` if the completion makes fewer such calls, and otherwise whether the object was visible.
fn kill_read_only_completion(
    implementation: Implementation,
    faults: &[&str],
    call: &str,
    at: usize,
) -> Option<bool> {
    let what = format!("{implementation:?}, killed before {call} {at}");
    let scratch = Scratch::in_memory();
    let storage = implementation.storage(scratch.builder().file_mode(READ_ONLY));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begun = || async {
        let upload = storage.multipart(KEY).part_size(PART as u64).await.unwrap();
        upload.put_part(1, part(1, 1)).await.unwrap();
        upload
    };
    let upload = runtime.block_on(begun());
    if complete_in_job(implementation, &scratch, &upload, READ_ONLY, faults, call, at) {
        return None;
    }
    runtime.block_on(async {
        let was_visible = storage.exists(KEY).await.unwrap();
        let upload = storage.resume_multipart(KEY, upload.id().clone()).unwrap();
        let mut whole = part(1, 1);
        if !was_visible {
            let put = upload.put_part(2, part(2, 1)).await;
            put.unwrap_or_else(|error| panic!("{what}: {error}"));
            whole.extend(part(2, 1));
        }
        upload.complete().await.unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(read(&storage, KEY).await.unwrap() == whole, "{what}");
        let mode = fs::metadata(scratch.file(KEY)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, READ_ONLY, "{what}");
        let driver = Fs::builder(scratch.root()).durable(false).build().unwrap();
        driver.sweep(Duration::ZERO).await.unwrap();
        assert_eq!(uploads(&scratch.root()), [""; 0], "{what}");
        Some(was_visible)
    })
}

#[test]
fn a_kill_during_the_completion_of_a_read_only_object_loses_no_part_and_changes_no_mode() {
    if trace::without_openat2().is_none() {
        return skip("strace cannot run a program here");
    }
    let [linux, sidecars, portable] = Implementation::ALL;
    let no_replace: &[&str] = &["inject=renameat2:error=EINVAL"];
    for (implementation, faults) in [(linux, no_replace), (sidecars, no_replace), (portable, &[])] {
        as_unprivileged_user(move || {
            let (mut hidden, mut visible) = (0, 0);
            for call in ["linkat", "unlinkat", "ftruncate"] {
                for at in 1..50 {
                    match kill_read_only_completion(implementation, faults, call, at) {
                        Some(true) => visible += 1,
                        Some(false) => hidden += 1,
                        None => break,
                    }
                }
            }
            assert!(hidden > 0 && visible > 0, "{implementation:?}: {hidden} and {visible}");
        });
    }
}

/// After a loss of power, a record that came back would end an upload whose data has changed.
#[test]
fn a_durable_put_empties_the_record_of_a_killed_placing_and_syncs_it_before_it_writes() {
    single_blocking_thread().block_on(async {
        if !trace::is_possible().await || trace::without_openat2().is_none() {
            return skip("strace is missing or may not look at this process");
        }
        // With sidecars, an overwrite is a rename, which has no record.
        let [linux, _, portable] = Implementation::ALL;
        let no_replace: &[&str] = &["inject=renameat2:error=EINVAL"];
        for (implementation, faults) in [(linux, no_replace), (portable, &[])] {
            let fixture = Fixture::new(implementation).await;
            let Fixture { scratch, upload, .. } = &fixture;
            let mode = DEFAULT_MODE;
            assert!(!complete_in_job(implementation, scratch, upload, mode, faults, "linkat", 1));
            let calls = "ftruncate,fsync,unlinkat,write,writev";
            let trace = Trace::start(Thread::Blocking, calls, None).await.unwrap();
            fixture.run(PutFirst).await.unwrap();
            let lines = trace.stop();
            let first = |call: &str, what: &str| {
                let is_first = |line: &String| line.starts_with(call) && line.contains(what);
                lines.iter().position(is_first).unwrap_or_else(|| panic!("{call}: {lines:#?}"))
            };
            let steps = [
                first("ftruncate(", "/placing>, 0)"),
                first("fsync(", "/placing>)"),
                first("unlinkat(", "\"placing\""),
                first("write", "/data>"),
            ];
            assert!(steps.is_sorted(), "{implementation:?}: {lines:#?}");
        }
    });
}

/// A put that waits for the lock must not store a part in a directory that is then removed.
#[test]
fn the_data_of_an_upload_that_was_put_back_is_removed_before_the_lock_is_released() {
    single_blocking_thread().block_on(async {
        if !trace::is_possible().await {
            return skip("strace is missing or may not look at this process");
        }
        for implementation in Implementation::ALL {
            let fixture = Fixture::new(implementation).await;
            let all = fixture.scratch.root().join(".anystorage/uploads");
            let directory = all.join(fixture.upload.id().upload());
            let copy = fixture.scratch.path().join("copy");
            let copy_tree = |from: &Path, to: &Path| {
                let copied = Command::new("cp").arg("-a").args([from, to]).status();
                assert!(copied.unwrap().success());
            };
            copy_tree(&directory, &copy);
            fixture.run(Complete).await.unwrap();
            fs::create_dir_all(&all).unwrap();
            copy_tree(&copy, &directory);
            let trace = Trace::start(Thread::Blocking, "flock,unlinkat", None).await.unwrap();
            fixture.run(Complete).await.unwrap();
            let lines = trace.stop();
            let unlocked = |line: &String| line.contains("/lock>, LOCK_UN");
            let removed =
                |line: &String| line.starts_with("unlinkat(") && line.contains("\"data\"");
            let unlocked = lines.iter().position(unlocked).unwrap();
            let removed = lines.iter().position(removed).unwrap();
            assert!(removed < unlocked, "{implementation:?}: {lines:#?}");
            assert_eq!(uploads(&fixture.scratch.root()), [""; 0]);
        }
    });
}

#[test]
#[ignore = "runs in child processes of the other tests"]
fn child() {
    jobs::run(&[("upload", upload), ("complete", complete)]);
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Begin,
    PutFirst,
    PutAgain,
    StreamAgain,
    Complete,
    Abort,
}

use Verb::*;

const FAULTS: [(&str, &str); 21] = [
    ("openat", "EMFILE"),
    ("openat2", "EMFILE"),
    ("mkdirat", "ENOSPC"),
    ("write", "ENOSPC"),
    ("write", "EINTR"),
    ("writev", "EIO"),
    ("copy_file_range", "ENOSPC"),
    ("utimensat", "EIO"),
    ("fstat", "EIO"),
    ("statx", "EIO"),
    ("fchmod", "EPERM"),
    ("fsetxattr", "EIO"),
    ("ftruncate", "EIO"),
    ("fsync", "EIO"),
    ("fdatasync", "EIO"),
    ("flock", "EINTR"),
    ("renameat", "EIO"),
    ("renameat2", "EIO"),
    ("unlinkat", "EIO"),
    ("getdents64", "EIO"),
    ("read", "EIO"),
];

/// A root with an upload whose two parts are stored.
struct Fixture {
    scratch: Scratch,
    storage: Storage,
    upload: MultipartUpload,
}

impl Fixture {
    async fn new(implementation: Implementation) -> Self {
        let scratch = Scratch::in_memory();
        let storage = implementation.storage(scratch.builder().durable(true));
        let upload = storage.multipart(KEY).part_size(PART as u64).await.unwrap();
        upload.put_part(1, part(1, 1)).await.unwrap();
        Self { scratch, storage, upload }
    }

    /// Returns a handle that knows no parts.
    fn resumed(&self) -> MultipartUpload {
        self.storage.resume_multipart(KEY, self.upload.id().clone()).unwrap()
    }

    async fn run(&self, verb: Verb) -> Result<()> {
        let upload = self.resumed();
        match verb {
            Begin => self.storage.multipart("other").await.map(drop),
            PutFirst => upload.put_part(2, part(2, 1)).await.map(drop),
            PutAgain => upload.put_part(1, part(1, 2)).await.map(drop),
            StreamAgain => upload.put_part(1, streaming(part(1, 2), 9_000)).await.map(drop),
            Complete => upload.complete().await.map(drop),
            Abort => upload.abort().await,
        }
    }

    async fn check(&self, verb: Verb, result: Result<()>, fault: (&str, &str), what: &str) {
        if let Err(error) = &result {
            check_error(error, fault, what);
        }
        // The record of a part may be in place, or the object, if syncing its directory failed.
        let may_be_new = result.is_ok() || matches!(fault.0, "fsync" | "openat2");
        let upload = self.resumed();
        if verb == Abort {
            upload.abort().await.unwrap();
        } else {
            let completed = upload.complete().await;
            completed.unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = read(&self.storage, KEY).await.unwrap();
            let (first, rest) = found.split_at(PART);
            let is_new = first == part(1, 2);
            assert!(is_new || first == part(1, 1), "{what}: the part is torn");
            if matches!(verb, PutAgain | StreamAgain) {
                assert!(may_be_new || !is_new, "{what}: the part that failed is stored");
                assert!(is_new || result.is_err(), "{what}: the part is lost");
            } else {
                assert!(!is_new, "{what}");
            }
            let has_second = rest == part(2, 1);
            assert!(has_second || rest.is_empty(), "{what}: the second part is torn");
            assert!(has_second || verb != PutFirst || result.is_err(), "{what}");
        }
        self.storage.abort_stale("", Duration::ZERO).await.unwrap();
        let swept = Fs::builder(self.scratch.root()).durable(false).build().unwrap();
        swept.sweep(Duration::ZERO).await.unwrap();
        assert_eq!(uploads(&self.scratch.root()), [""; 0], "{what}");
    }
}

fn check_error(error: &Error, fault: (&str, &str), what: &str) {
    let kind = match fault.1 {
        "ENOSPC" => ErrorKind::StorageFull,
        "EPERM" => ErrorKind::PermissionDenied,
        _ => ErrorKind::Unexpected,
    };
    assert_eq!(error.kind(), kind, "{what}: {error}");
}

#[test]
fn a_fault_at_any_call_leaves_the_old_part_or_the_new_one() {
    single_blocking_thread().block_on(async {
        if !trace::is_possible().await {
            return skip("strace is missing or may not look at this process");
        }
        for implementation in Implementation::ALL {
            for verb in [Begin, PutFirst, PutAgain, StreamAgain, Complete, Abort] {
                let fired = with_fault_at_each_call(implementation, verb).await;
                assert!(fired > 5, "{verb:?} in {implementation:?}: {fired} faults");
            }
        }
    });
}

async fn with_fault_at_each_call(implementation: Implementation, verb: Verb) -> usize {
    let mut calls: Vec<_> = FAULTS.iter().map(|(call, _)| *call).collect();
    calls.dedup();
    let fixture = Fixture::new(implementation).await;
    let trace = Trace::start(Thread::Blocking, &calls.join(","), None).await.unwrap();
    fixture.run(verb).await.unwrap();
    let lines = trace.stop();
    let calls_in = |lines: &[String], call: &str| {
        lines.iter().filter(|line| line.starts_with(&format!("{call}("))).count()
    };
    let mut fired = 0;
    for fault @ (call, error) in FAULTS {
        let count = calls_in(&lines, call);
        for at in 1..=count {
            let what = format!("{verb:?} in {implementation:?}: {error} at {call} {at} of {count}");
            let fixture = Fixture::new(implementation).await;
            let inject = format!("{call}:error={error}:when={at}");
            let trace = Trace::start(Thread::Blocking, call, Some(&inject)).await.unwrap();
            let result = fixture.run(verb).await;
            let lines = trace.stop();
            // How often a stream takes its lock depends on how fast its chunks arrive.
            if at > 1 && calls_in(&lines, call) < at {
                result.unwrap_or_else(|error| panic!("{what}: {error}"));
                break;
            }
            assert!(lines.iter().any(|line| line.contains("(INJECTED)")), "{what}: no fault");
            fixture.check(verb, result, fault, &what).await;
            fired += 1;
        }
    }
    fired
}
