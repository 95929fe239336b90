//! The conformance suite on the driver with each metadata store, and behind a prefix with links.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that meets an unforeseen error has failed")]

mod common;

use std::path::PathBuf;
use std::sync::Mutex;

use common::Scratch;
use storage_core::signed_url::SigningKey;
use storage_core::{Key, MAX_KEY_BYTES, MultipartLimits, Storage, async_trait};
use storage_fs::{FsBuilder, MetadataStore};
use storage_testkit::extra_entries::{AROUND_UNREADABLE_DIRECTORY, UNREADABLE_DIRECTORY};
use storage_testkit::{Harness, Outcome, Requirement};

const PREFIX: &str = "some/prefix";

/// Creates storages on scratch directories, which live as long as the harness.
struct OnFiles {
    set_up: fn(FsBuilder) -> FsBuilder,
    make: fn() -> Scratch,
    prefix: Option<&'static str>,
    scratch: Mutex<Vec<Scratch>>,
    /// Directories that cannot be read.
    closed: Mutex<Vec<PathBuf>>,
}

impl OnFiles {
    fn on_disk(set_up: fn(FsBuilder) -> FsBuilder) -> Self {
        Self {
            set_up,
            make: Scratch::new,
            prefix: None,
            scratch: Mutex::default(),
            closed: Mutex::default(),
        }
    }

    /// On a file system in memory, which takes a fraction of the time.
    fn in_memory(set_up: fn(FsBuilder) -> FsBuilder) -> Self {
        let mut harness = Self::on_disk(set_up);
        harness.make = Scratch::in_memory;
        harness
    }

    fn below(prefix: &'static str) -> Self {
        let mut harness = Self::in_memory(with_links);
        harness.prefix = Some(prefix);
        harness
    }
}

fn with_links(builder: FsBuilder) -> FsBuilder {
    let signing_key = SigningKey::new("a secret for tests alone").unwrap();
    builder.public_url("https://media.example.com/files".parse().unwrap()).signing_key(signing_key)
}

#[async_trait]
impl Harness for OnFiles {
    async fn storage(&self) -> Storage {
        let scratch = (self.make)();
        let storage = Storage::new((self.set_up)(scratch.builder()).build().unwrap());
        self.scratch.lock().unwrap().push(scratch);
        match self.prefix {
            Some(prefix) => storage.prefixed(prefix).unwrap(),
            None => storage,
        }
    }

    fn multipart_limits(&self) -> Option<MultipartLimits> {
        Some(MultipartLimits::new(1, 5 << 30, 10_000))
    }

    fn rejects_key(&self, key: &Key) -> bool {
        let is_too_long =
            key.as_str().len() + self.prefix.map_or(0, |prefix| prefix.len() + 1) > MAX_KEY_BYTES;
        is_too_long
            || key.segments().any(|segment| segment.len() > 255 || segment == common::RESERVED)
    }

    fn is_tree(&self) -> bool {
        true
    }

    /// Returns a storage whose root may not be searched. Permissions do not bind the superuser.
    async fn broken_backend(&self) -> Option<Storage> {
        use std::os::unix::fs::PermissionsExt;
        if common::is_root() {
            return None;
        }
        let storage = self.storage().await;
        let root = self.scratch.lock().unwrap().last()?.root();
        std::fs::set_permissions(root, PermissionsExt::from_mode(0o000)).ok()?;
        Some(storage)
    }

    async fn unreadable_directory(&self) -> Option<Storage> {
        use std::os::unix::fs::PermissionsExt;
        let storage = self.storage().await;
        for key in AROUND_UNREADABLE_DIRECTORY {
            storage.save(*key, "x").await.unwrap();
        }
        let root = self.scratch.lock().unwrap().last()?.root();
        let directory = self
            .prefix
            .map_or_else(|| root.clone(), |prefix| root.join(prefix))
            .join(UNREADABLE_DIRECTORY);
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o000)).ok()?;
        let is_closed = std::fs::read_dir(&directory).is_err();
        self.closed.lock().unwrap().push(directory);
        is_closed.then_some(storage)
    }
}

impl Drop for OnFiles {
    /// Makes the directories readable again, so that they can be removed.
    fn drop(&mut self) {
        use std::os::unix::fs::PermissionsExt;
        for directory in self.closed.lock().unwrap().iter() {
            let _ = std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755));
        }
    }
}

/// The suite skips these cases if it runs as the superuser.
#[test]
fn the_cases_with_unreadable_directories_pass_for_a_user_without_privileges() {
    common::as_unprivileged_user(|| {
        let cases = storage_testkit::cases()
            .iter()
            .filter(|case| case.requirements().contains(&Requirement::UnreadableDirectory));
        let mut tried = 0;
        for case in cases {
            for harness in [OnFiles::in_memory(|builder| builder), OnFiles::below(PREFIX)] {
                assert_eq!(case.run(harness), Outcome::Passed, "{case:?}");
                tried += 1;
            }
        }
        assert!(tried >= 8, "{tried} cases");
    });
}

storage_testkit::conformance!(durable, OnFiles::in_memory(|builder| builder.durable(true)));
storage_testkit::conformance!(not_durable, OnFiles::on_disk(|builder| builder));
storage_testkit::conformance!(
    in_sidecars,
    OnFiles::in_memory(|builder| builder.metadata(MetadataStore::Sidecar))
);
storage_testkit::conformance!(
    in_attributes,
    OnFiles::in_memory(|builder| builder.metadata(MetadataStore::Xattr))
);
storage_testkit::conformance!(below_a_prefix, OnFiles::below(PREFIX));

/// Runs some themes of the suite again, in a process without a system call.
fn run_suite_in_process(strace: Option<&[&str]>, themes: &[&str]) {
    let Some(strace) = strace else { return common::skip("strace cannot run a program here") };
    let mut command = std::process::Command::new(strace[0]);
    command.args(&strace[1..]).arg(std::env::current_exe().unwrap());
    command.args(themes.iter().map(|theme| format!("not_durable::{theme}::")));
    let output = command.output().unwrap();
    let output_text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output_text}");
    for theme in themes {
        assert!(
            output_text.contains(&format!("test not_durable::{theme}::")),
            "no case of {theme}:\n{output_text}"
        );
    }
}

/// Some file systems do not have `O_TMPFILE`.
#[test]
fn the_suite_passes_without_unnamed_files() {
    let themes = [
        "save",
        "create_new",
        "unique_name",
        "if_match",
        "copy",
        "checksums",
        "metadata",
        "cancellation",
    ];
    run_suite_in_process(common::trace::without_unnamed_files(), &themes);
}

/// Old kernels lack the call, and some containers block it.
#[test]
fn the_suite_passes_without_openat2() {
    let themes = ["save", "open", "range", "stat_exists", "delete", "keys", "copy", "metadata"];
    run_suite_in_process(common::trace::without_openat2(), &themes);
}
