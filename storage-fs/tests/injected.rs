//! A fault at each system call of each verb, injected with strace. The error has the right kind,
//! the old object is intact, no debris stays, and no failure is reported as absence.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::sync::{Mutex, PoisonError};

use common::payloads::{pattern, streaming};
use common::poll::single_blocking_thread;
use common::trace::{self, Thread, Trace};
use common::{Implementation, Scratch, read, skip};
use storage_core::{Error, ErrorKind, ObjectMeta, Result, Storage};
use storage_fs::MetadataStore;

const AUTO: Implementation = Implementation::Linux(MetadataStore::Auto);
const SIDECAR: Implementation = Implementation::Linux(MetadataStore::Sidecar);
const LINUX: [Implementation; 2] = [AUTO, SIDECAR];

const OLD: &str = "d/old";
const NEW: &str = "n/e/w";
/// Larger than the size that is read in the trip to the blocking pool that opens the file.
const SIZE: usize = 70_000;

/// Larger than one batch of a stream.
const STREAMED: usize = 1_200_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Overwrite,
    OverwriteStreaming,
    CreateNew,
    IfMatch,
    Copy,
    Rename,
    Delete,
    Open,
    Stat,
    Exists,
    ExistsMissing,
    List,
    ListLevel,
}

use Verb::*;

const WRITES: [Verb; 6] = [Overwrite, OverwriteStreaming, CreateNew, IfMatch, Copy, Rename];
const READS: [Verb; 5] = [Open, Stat, ExistsMissing, List, ListLevel];

/// A system call and the error to inject.
type Fault = (&'static str, &'static str);

const WRITE_FAULTS: [Fault; 25] = [
    ("openat", "EMFILE"),
    // The error of a file system without unnamed files, if it is the first call.
    ("openat", "EOPNOTSUPP"),
    ("openat2", "EMFILE"),
    ("mkdirat", "ENOSPC"),
    ("write", "ENOSPC"),
    ("write", "EIO"),
    ("write", "EINTR"),
    ("writev", "ENOSPC"),
    ("copy_file_range", "ENOSPC"),
    ("utimensat", "EIO"),
    ("fstat", "EIO"),
    ("newfstatat", "EIO"),
    ("statx", "EIO"),
    ("fchmod", "EPERM"),
    ("fsetxattr", "EIO"),
    ("fsetxattr", "ENOSPC"),
    ("fsync", "EIO"),
    ("flock", "EINTR"),
    ("flock", "ENOLCK"),
    ("linkat", "ENOSPC"),
    ("renameat", "EIO"),
    ("pread64", "EIO"),
    ("read", "EIO"),
    ("getdents64", "EIO"),
    ("getrandom", "EIO"),
];

const READ_FAULTS: [Fault; 11] = [
    ("openat", "EMFILE"),
    ("openat2", "EMFILE"),
    ("openat2", "EIO"),
    ("newfstatat", "EACCES"),
    ("fstat", "EIO"),
    ("statx", "EACCES"),
    ("statx", "EIO"),
    ("fgetxattr", "EIO"),
    ("pread64", "EIO"),
    ("read", "EIO"),
    ("getdents64", "EIO"),
];

const CACHED_READ_FAULTS: [Fault; 4] =
    [("openat2", "EMFILE"), ("openat2", "EAGAIN"), ("fgetxattr", "EIO"), ("preadv2", "EAGAIN")];

const DELETE_FAULTS: [Fault; 12] = [
    ("openat", "EMFILE"),
    ("openat2", "EMFILE"),
    ("newfstatat", "EIO"),
    ("statx", "EIO"),
    ("mkdirat", "ENOSPC"),
    ("fchmod", "EPERM"),
    ("flock", "EINTR"),
    ("flock", "ENOLCK"),
    ("fstat", "EIO"),
    ("unlinkat", "EIO"),
    ("fsync", "EIO"),
    ("getdents64", "EIO"),
];

/// A root with an old object, and the fault to inject.
struct Fixture {
    implementation: Implementation,
    scratch: Scratch,
    storage: Storage,
    old: ObjectMeta,
    tree: Vec<String>,
    what: String,
    fault: Fault,
}

impl Fixture {
    async fn new(implementation: Implementation, what: String, fault: Fault) -> Self {
        let scratch = Scratch::in_memory();
        let storage = |durable| implementation.storage(scratch.builder().durable(durable));
        // Another driver prepares the root, so that the tested driver has cached nothing.
        let first = storage(false);
        let old = first.save(OLD, pattern(1, SIZE)).user_metadata("version", "old").await.unwrap();
        first.save("z", "another").await.unwrap();
        drop(first);
        let tree = objects(&scratch);
        Self { implementation, storage: storage(true), scratch, old, tree, what, fault }
    }
}

/// Counts the calls that a verb makes, then injects a fault at each of them. Returns how many
/// faults were injected.
async fn with_fault_at_each_call<F>(
    thread: Thread,
    verb: Verb,
    implementation: Implementation,
    faults: &[Fault],
    check: F,
) -> usize
where
    F: AsyncFn(&Fixture, Result<()>),
{
    let fixture =
        Fixture::new(implementation, format!("{verb:?} in {implementation:?}"), ("none", "")).await;
    let calls: Vec<_> = faults.iter().map(|(call, _)| *call).collect();
    let trace = Trace::start(thread, &calls.join(","), None).await.unwrap();
    run(verb, &fixture).await.unwrap();
    let lines = trace.stop();

    let mut fired = 0;
    for (call, error) in faults {
        let count = lines.iter().filter(|line| line.starts_with(&format!("{call}("))).count();
        for at in 1..=count {
            let what =
                format!("{verb:?} in {implementation:?} with {error} at {call} {at} of {count}");
            let fixture = Fixture::new(implementation, what, (call, error)).await;
            let trace =
                Trace::start(thread, call, Some(&format!("{call}:error={error}:when={at}")))
                    .await
                    .unwrap();
            let result = run(verb, &fixture).await;
            let lines = trace.stop();
            assert!(
                lines.iter().any(|line| line.contains("(INJECTED)")),
                "{}: it did not fire",
                fixture.what
            );
            check(&fixture, result).await;
            fired += 1;
        }
    }
    fired
}

/// Returns the tree without the state directory and the lock files, which may appear and disappear.
fn objects(scratch: &Scratch) -> Vec<String> {
    scratch.tree().into_iter().filter(|path| !common::is_own(path)).collect()
}

async fn run(verb: Verb, fixture: &Fixture) -> Result<()> {
    let Fixture { storage, old, .. } = fixture;
    let bytes = || pattern(2, SIZE);
    let save = match verb {
        Overwrite => storage.save(OLD, bytes()),
        OverwriteStreaming => storage.save(OLD, streaming(pattern(2, STREAMED), 100_000)),
        CreateNew => storage.save(NEW, bytes()).create_new(),
        IfMatch => storage.save(OLD, bytes()).if_match(old.etag.clone().unwrap()),
        Copy => return storage.copy(OLD, NEW).await,
        Rename => return storage.rename(OLD, NEW).await,
        Delete => return storage.delete(OLD).await,
        Open => return read(storage, OLD).await.map(|found| assert!(found == pattern(1, SIZE))),
        Stat => return storage.stat(OLD).await.map(|found| assert_eq!(found, *old)),
        Exists => return storage.exists(OLD).await.map(|there| assert!(there)),
        ExistsMissing => return storage.exists("d/missing").await.map(|there| assert!(!there)),
        List => return list(storage.list(""), &[OLD, "z"]).await,
        ListLevel => return list(storage.list("").delimiter("/"), &["d/", "z"]).await,
    };
    save.user_metadata("version", "new").await.map(drop)
}

/// A listing with an error ends there, or continues and omits only the key of the error and the
/// keys below it.
async fn list(listing: storage_core::List, expected: &[&str]) -> Result<()> {
    let mut entries = listing.entries();
    let (mut found, mut first) = (Vec::new(), None);
    while let Some(entry) = entries.next().await {
        match entry {
            Ok(entry) => found.push(entry.name().to_owned()),
            Err(error) if error.listing_continues() => first = first.or(Some(error)),
            Err(error) => {
                assert!(entries.next().await.is_none(), "it goes on after {error}");
                return Err(error);
            }
        }
    }
    let unknown = first.as_ref().and_then(Error::key).unwrap_or("none");
    let expected: Vec<_> = expected.iter().filter(|name| !name.starts_with(unknown)).collect();
    assert!(found.iter().eq(expected.iter().copied()), "{found:?} without {unknown:?}");
    first.map_or(Ok(()), Err)
}

impl Fixture {
    /// Returns the version of an object, and asserts that it is whole with its own metadata.
    async fn version(&self, key: &str) -> Option<String> {
        let object = match self.storage.open(key).await {
            Ok(object) => object,
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            Err(error) => panic!("{}: {error}", self.what),
        };
        let meta = object.meta().clone();
        let bytes = object.bytes().await.unwrap();
        let Some(version) = meta.metadata.user_metadata.get("version") else {
            panic!("{}: {key} has lost its metadata", self.what);
        };
        let is_whole = match &**version {
            "old" => bytes == pattern(1, SIZE),
            _ => bytes == pattern(2, SIZE) || bytes == pattern(2, STREAMED),
        };
        assert!(is_whole, "{}: {version} is torn", self.what);
        Some(version.clone())
    }

    /// Returns whether the fault may have hit the sync of a directory, for which the portable
    /// implementation opens the directory again.
    fn may_be_in_sync(&self) -> bool {
        let reopens = self.implementation == Implementation::Portable;
        self.fault.0 == "fsync" || (self.fault.0 == "openat2" && reopens)
    }

    /// Asserts that the error has the right kind.
    fn check_error(&self, error: &Error) {
        let (kind, retryable) = match self.fault.1 {
            "EMFILE" => (ErrorKind::Unexpected, true),
            "ENOSPC" => (ErrorKind::StorageFull, false),
            "EPERM" | "EACCES" => (ErrorKind::PermissionDenied, false),
            "EOPNOTSUPP" => (ErrorKind::Unsupported, false),
            "ENOLCK" if error.kind() == ErrorKind::Unsupported => (ErrorKind::Unsupported, false),
            _ => (ErrorKind::Unexpected, false),
        };
        assert_eq!(
            (error.kind(), error.is_retryable()),
            (kind, retryable),
            "{}: {error}",
            self.what
        );
    }

    async fn check_write(&self, verb: Verb, result: Result<()>) {
        let place = if matches!(verb, CreateNew | Copy | Rename) { NEW } else { OLD };
        let old = (place == OLD).then(|| "old".to_owned());
        let new = Some(if matches!(verb, Copy | Rename) { "old" } else { "new" }.to_owned());
        let there = self.version(place).await;
        let is_in_place = match &result {
            Ok(()) => true,
            Err(error) => {
                self.check_error(error);
                // After the object is in its place, only syncing directories can fail.
                let is_in_place = ["is in its place", "has its new name"]
                    .iter()
                    .any(|place| error.message().contains(place));
                self.may_be_in_sync() && is_in_place
            }
        };
        assert_eq!(there, if is_in_place { new } else { old }, "{}: {result:?}", self.what);
        assert!(self.scratch.staged().is_empty(), "{}: {:?}", self.what, self.scratch.tree());
        if !is_in_place {
            assert_eq!(objects(&self.scratch), self.tree, "{}", self.what);
            assert_eq!(self.storage.stat(OLD).await.unwrap(), self.old, "{}", self.what);
        }
        if verb == Rename && result.is_ok() {
            assert_eq!(self.version(OLD).await, None, "{}", self.what);
        }
        // The next save succeeds.
        self.storage.save(place, pattern(2, SIZE)).user_metadata("version", "new").await.unwrap();
        assert_eq!(self.version(place).await.as_deref(), Some("new"), "{}", self.what);
    }

    async fn check_delete(&self, result: Result<()>) {
        let there = self.version(OLD).await;
        match result {
            Ok(()) => assert_eq!(there, None, "{}", self.what),
            Err(error) => {
                self.check_error(&error);
                // If the sync failed, the object may or may not be deleted.
                assert!(there.is_some() || self.may_be_in_sync(), "{}: {error}", self.what);
            }
        }
        self.storage.delete(OLD).await.unwrap();
        assert!(!self.storage.exists(OLD).await.unwrap());
    }

    fn check_read(&self, verb: Verb, result: Result<()>) {
        match result {
            Err(error) => self.check_error(&error),
            // After a failed call, absence is not certain.
            Ok(()) => assert!(verb != ExistsMissing, "{}", self.what),
        }
    }
}

/// Runs a test on a runtime with one blocking thread, if strace can watch it.
fn with_strace(test: impl Future<Output = ()>) {
    // A process that starts strace holds copies of the lock descriptors for a moment.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    single_blocking_thread().block_on(async {
        match trace::is_possible().await {
            true => test.await,
            false => skip("strace is missing or may not look at this process"),
        }
    });
}

/// Tries verbs with these implementations. Each verb must meet some fault in each of them, except
/// that the blocking thread may have nothing to do for a read of extended attributes.
fn in_each(
    implementations: &[Implementation],
    verbs: &[Verb],
    check: impl AsyncFn(Verb, Implementation) -> usize,
) {
    with_strace(async {
        for verb in verbs {
            for implementation in implementations {
                let fired = check(*verb, *implementation).await;
                assert!(
                    fired > 0 || *implementation == AUTO,
                    "no fault fired in {verb:?} in {implementation:?}"
                );
            }
        }
    });
}

#[test]
fn a_fault_at_any_call_of_a_write_leaves_the_old_object_or_the_new_one() {
    in_each(&Implementation::ALL, &WRITES, async |verb, implementation| {
        let check = async |fixture: &Fixture, result| fixture.check_write(verb, result).await;
        with_fault_at_each_call(Thread::Blocking, verb, implementation, &WRITE_FAULTS, check).await
    });
}

#[test]
fn a_fault_at_any_call_of_a_delete_leaves_the_object_or_none() {
    in_each(&Implementation::ALL, &[Delete], async |verb, implementation| {
        let check = async |fixture: &Fixture, result| fixture.check_delete(result).await;
        with_fault_at_each_call(Thread::Blocking, verb, implementation, &DELETE_FAULTS, check).await
    });
}

#[test]
fn a_fault_at_any_call_of_a_read_is_an_error_and_never_absence() {
    in_each(&Implementation::ALL, &READS, async |verb, implementation| {
        let check = async |fixture: &Fixture, result| fixture.check_read(verb, result);
        with_fault_at_each_call(Thread::Blocking, verb, implementation, &READ_FAULTS, check).await
    });
}

/// Simulates another program that truncates the file between `stat` and the read.
#[test]
fn a_small_file_that_is_truncated_while_it_is_opened_is_an_error() {
    with_strace(async {
        let scratch = Scratch::in_memory();
        // The name determines the type of an image, so the first read is that of the body.
        scratch.put("theirs.png", "another program's");
        let storage = scratch.storage();
        let trace = Trace::start(Thread::Blocking, "pread64", Some("pread64:retval=0:when=1"))
            .await
            .unwrap();
        let error = read(&storage, "theirs.png").await.unwrap_err();
        assert!(trace.stop().iter().any(|line| line.contains("(INJECTED)")), "it did not fire");
        assert!(error.is_retryable(), "{error}");
        assert_eq!(read(&storage, "theirs.png").await.unwrap(), b"another program's");
    });
}

#[test]
fn a_fault_in_the_cached_read_falls_back_to_the_blocking_read() {
    in_each(&LINUX, &[Open, Stat, Exists], async |verb, implementation| {
        let check = async |fixture: &Fixture, result: Result<()>| {
            result.unwrap_or_else(|error| panic!("{}: {error}", fixture.what));
        };
        with_fault_at_each_call(Thread::This, verb, implementation, &CACHED_READ_FAULTS, check)
            .await
    });
}

/// Returns the calls of one verb, with their paths below the root.
async fn calls_of(fixture: &Fixture, verb: Verb, calls: &str) -> Vec<String> {
    let trace = Trace::start(Thread::Blocking, calls, None).await.unwrap();
    run(verb, fixture).await.unwrap();
    let root = format!("<{}", fixture.scratch.root().display());
    let shown = |line: String| {
        let (call, arguments) = line.split_once('(').unwrap_or_default();
        let path = arguments
            .rsplit_once(&root)
            .map_or("", |(_, path)| path.split('>').next().unwrap_or_default());
        // strace shows an unnamed file by its number.
        let path = if path.contains("/#") || path.contains("staging/") { "/staged" } else { path };
        format!("{call} {path}/")
    };
    // The first save finds the method to link unnamed files with a link that cannot succeed.
    let is_probe =
        |line: &String| line.starts_with("getppid") || line.contains("\".\", AT_EMPTY_PATH");
    trace.stop().into_iter().filter(|line| !is_probe(line)).map(shown).collect()
}

/// The order matters when the power fails.
#[test]
fn a_durable_write_syncs_the_file_then_its_name_then_the_directories() {
    with_strace(async {
        let calls = "fsync,fdatasync,linkat,renameat,renameat2,unlinkat";
        let fixture = Fixture::new(AUTO, String::new(), ("", "")).await;
        if !common::has_unnamed_files(&fixture.scratch.root()) {
            return skip("files without a name cannot be made here, so that the calls are others");
        }
        let made = ["fsync /staged/", "linkat /n/e/", "fsync /n/e/", "fsync /n/", "fsync /"];
        assert_eq!(calls_of(&fixture, CreateNew, calls).await, made);
        assert_eq!(
            calls_of(&fixture, Delete, calls).await,
            ["unlinkat /d/", "fsync /d/", "unlinkat /"]
        );

        let fixture = Fixture::new(AUTO, String::new(), ("", "")).await;
        let over = calls_of(&fixture, Overwrite, calls).await;
        // A failed link shows that there is an object to replace.
        assert_eq!(over[..2], ["fsync /staged/", "linkat /d/"]);
        assert_eq!(over[over.len() - 2..], ["renameat /d/", "fsync /d/"], "{over:?}");

        let fixture = Fixture::new(SIDECAR, String::new(), ("", "")).await;
        let over = calls_of(&fixture, Overwrite, calls).await;
        let (first, last) = (over.first().unwrap(), &over[over.len() - 4..]);
        assert_eq!(first, "fsync /staged/");
        let expected = [
            "renameat /.anystorage/meta/",
            "fsync /.anystorage/meta/",
            "renameat /d/",
            "fsync /d/",
        ];
        assert_eq!(*last, expected, "{over:?}");
        assert_eq!(
            over.iter().filter(|call| *call == "fsync /staged/").count(),
            2,
            "the sidecar too: {over:?}"
        );
    });
}

/// Each opening of a directory is a lookup of its whole path.
#[test]
fn a_small_save_into_an_existing_directory_opens_it_once() {
    with_strace(async {
        for verb in [Overwrite, CreateNew] {
            let fixture = Fixture::new(AUTO, String::new(), ("", "")).await;
            if !common::has_unnamed_files(&fixture.scratch.root()) {
                return skip("files without a name cannot be made here, so it is opened twice");
            }
            let save = fixture.storage.save("d/new", "body");
            let save = if verb == CreateNew { save.create_new() } else { save };
            let trace = Trace::start(Thread::Blocking, "openat2,openat", None).await.unwrap();
            save.await.unwrap();
            let lines = trace.stop();
            let opened = |line: &&String| line.contains("O_DIRECTORY");
            assert_eq!(lines.iter().filter(opened).count(), 1, "{verb:?}: {lines:#?}");
        }
    });
}

/// The earlier save created the directories but failed to sync them.
#[test]
fn a_save_syncs_directories_that_an_earlier_failed_save_created() {
    with_strace(async {
        let fixture = Fixture::new(AUTO, String::new(), ("", "")).await;
        let inject = Some("fsync:error=EIO:when=3");
        let trace = Trace::start(Thread::Blocking, "fsync", inject).await.unwrap();
        let error = fixture.storage.save("n/e/w", "1").await.unwrap_err();
        assert!(trace.stop().iter().any(|line| line.contains("(INJECTED)")), "it did not fire");
        assert!(error.message().contains("is in its place"), "{error}");

        let next = async |key| {
            let trace = Trace::start(Thread::Blocking, "fsync", None).await.unwrap();
            fixture.storage.save(key, "2").await.unwrap();
            trace.stop().iter().filter(|line| line.starts_with("fsync(")).count()
        };
        // The file, n/e, n and the root. After that, no directory is dirty.
        assert_eq!(next("n/e/x").await, 4);
        assert_eq!(next("n/e/y").await, 2);
    });
}

#[test]
fn a_driver_that_is_not_durable_syncs_nothing() {
    with_strace(async {
        for implementation in Implementation::ALL {
            let mut fixture = Fixture::new(implementation, String::new(), ("", "")).await;
            fixture.storage = implementation.storage(fixture.scratch.builder());
            for verb in [Overwrite, OverwriteStreaming, CreateNew, IfMatch, Delete] {
                if verb == IfMatch {
                    fixture.old = fixture.storage.stat(OLD).await.unwrap();
                }
                let synced = calls_of(&fixture, verb, "fsync,fdatasync").await;
                assert!(synced.is_empty(), "{verb:?} in {implementation:?}: {synced:?}");
            }
        }
    });
}
