//! The conformance suite on nginx (with PUT and PROPFIND, and read-only) and on Apache.

use std::sync::{Arc, OnceLock};

use storage_core::{
    Driver, Key, Memory, Metadata, MultipartLimits, ObjectMeta, Payload, Result, SaveOptions,
    Storage, async_trait, forward,
};
use storage_testkit::http::closed_port;
use storage_testkit::{Fixture, Harness, Outcome, case};

use crate::servers::apache::Apache;
use crate::servers::nginx::Nginx;
use storage_http::Http;

/// The longest name of a file in bytes.
const LONGEST_NAME: usize = 255;
const SECRET: &str = "canary-of-the-conformance-suite";

/// nginx, started for the first storage of a case.
#[derive(Default)]
struct Server(OnceLock<Option<Nginx>>);

impl Server {
    fn get(&self) -> Option<&Nginx> {
        self.0.get_or_init(Nginx::start).as_ref()
    }
}

/// A limit of a server, and the cases that cannot pass because of it.
struct KnownLimit {
    reason: &'static str,
    cases: &'static [&'static str],
}

const NOT_INSTALLED: &str = "nginx with dav-ext is not installed";

const NGINX: &[&[KnownLimit]] = &[OF_FILES, OF_NGINX];
const APACHE: &[&[KnownLimit]] = &[OF_FILES, OF_APACHE];

/// Limits of all file servers.
const OF_FILES: &[KnownLimit] = &[
    KnownLimit {
        reason: "the server keeps empty directories, which no file can replace",
        cases: &[
            "delete::a_key_can_become_a_prefix_and_a_key_again",
            "property::random_operations_agree_with_the_memory_driver",
        ],
    },
    KnownLimit {
        reason: "the response to a PUT has no ETag, and the case compares it with the one of a stat",
        cases: &["save::a_failed_stream_leaves_the_old_object"],
    },
    KnownLimit { reason: HEADERS, cases: CASES_WITH_HEADERS },
    KnownLimit {
        reason: "the case needs Cache-Control and create_new, which file servers do not support",
        cases: &["keys::a_key_and_a_key_below_it_are_both_kept_or_refused"],
    },
];

const OF_NGINX: &[KnownLimit] = &[
    KnownLimit {
        reason: "nginx derives strong ETags from the second and the size, which two versions can share",
        cases: &[
            "concurrency::a_range_with_if_match_is_of_that_version",
            "conditions::if_match_refuses_another_version",
            "conditions::if_none_match_opens_an_overwritten_object",
            "metadata::a_strong_etag_differs_between_versions",
        ],
    },
    KnownLimit {
        reason: "dav-ext lists no names that begin with a dot",
        cases: &[
            "keys::backslashes_are_not_separators",
            "keys::characters_with_a_meaning_in_urls_are_kept",
            "keys::dots_are_kept",
            "keys::names_that_resemble_internal_files_are_kept_or_refused",
            "list::dots_in_a_prefix_have_no_meaning",
        ],
    },
];

const OF_APACHE: &[KnownLimit] = &[
    KnownLimit {
        reason: "Apache writes into the existing file",
        cases: &[
            "concurrency::an_object_that_is_replaced_and_deleted_repeatedly_is_complete_or_missing",
            "concurrency::readers_during_1000_overwrites_see_complete_versions",
            "concurrency::readers_during_overwrites_never_see_an_older_version_again",
            "concurrency::the_last_of_many_concurrent_saves_is_complete",
        ],
    },
    KnownLimit {
        reason: "Apache responds with 403 to a name that is too long",
        cases: &[
            "keys::keys_of_1024_bytes_are_kept_or_refused",
            "keys::segments_of_255_bytes_are_kept_or_refused",
        ],
    },
    KnownLimit {
        reason: "Apache creates no directories, and a large stream cannot be sent again afterwards",
        cases: &["streaming::a_stream_of_300_mib_of_unknown_size_passes_in_bounded_memory"],
    },
];

const HEADERS: &str = "the case saves with Cache-Control, which file servers do not store; another test runs it without";

/// Cases that save with metadata but do not compare it.
const CASES_WITH_HEADERS: &[&str] = &[
    "cancellation::a_delete_many_dropped_at_any_point_leaves_complete_objects_or_none",
    "cancellation::a_delete_dropped_at_any_point_leaves_a_complete_object_or_none",
    "cancellation::a_dropped_save_leaves_the_old_object",
    "checksums::bytes_with_another_checksum_are_refused_and_change_nothing",
];

fn skip_reason_for(server: &Server, case: &str) -> Option<&'static str> {
    if server.get().is_none() {
        return Some(NOT_INSTALLED);
    }
    skip_reason_of(NGINX, case)
}

fn skip_reason_of(limits: &[&'static [KnownLimit]], case: &str) -> Option<&'static str> {
    limits
        .iter()
        .copied()
        .flatten()
        .find(|limit| limit.cases.contains(&case))
        .map(|limit| limit.reason)
}

fn is_too_long(key: &Key) -> bool {
    key.segments().any(|segment| segment.len() > LONGEST_NAME)
}

fn broken() -> Storage {
    Storage::new(
        Http::builder(closed_port())
            .header("Authorization", SECRET)
            .writable(true)
            .build()
            .unwrap(),
    )
}

/// nginx with PUT and PROPFIND.
#[derive(Default)]
struct Writable(Server);

#[async_trait]
impl Harness for Writable {
    async fn storage(&self) -> Storage {
        // All cases are excused then, but the suite needs a storage.
        self.0.get().map_or_else(Memory::storage, |nginx| nginx.storage().1)
    }

    fn rejects_key(&self, key: &Key) -> bool {
        is_too_long(key)
    }

    fn is_tree(&self) -> bool {
        true
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        self.0.get().is_none()
    }

    async fn broken_backend(&self) -> Option<Storage> {
        Some(broken())
    }

    fn skip_reason(&self, case: &str) -> Option<&str> {
        skip_reason_for(&self.0, case)
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }
}

/// nginx read-only, with WebDAV or without.
struct ReadOnly {
    server: Server,
    webdav: bool,
}

impl ReadOnly {
    fn new(webdav: bool) -> Self {
        Self { server: Server::default(), webdav }
    }
}

#[async_trait]
impl Harness for ReadOnly {
    async fn storage(&self) -> Storage {
        self.fixture().await.storage
    }

    fn multipart_limits(&self) -> Option<MultipartLimits> {
        Some(MultipartLimits::none())
    }

    async fn fixture(&self) -> Fixture {
        let Some(nginx) = self.server.get() else {
            let memory = Memory::storage();
            return Fixture::new(memory.clone(), memory);
        };
        let (name, seed) = nginx.storage();
        let directory = if self.webdav { "dav" } else { "plain" };
        let http = nginx.http(&format!("/{directory}/{name}/")).header("X-Token", SECRET);
        Fixture::new(Storage::new(http.webdav(self.webdav).build().unwrap()), seed)
    }

    fn rejects_key(&self, key: &Key) -> bool {
        is_too_long(key)
    }

    fn is_tree(&self) -> bool {
        true
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        self.server.get().is_none()
    }

    async fn broken_backend(&self) -> Option<Storage> {
        Some(broken())
    }

    fn skip_reason(&self, case: &str) -> Option<&str> {
        skip_reason_for(&self.server, case)
    }

    fn secrets(&self) -> Vec<String> {
        vec![SECRET.to_owned()]
    }
}

/// Apache with mod_dav.
#[derive(Default)]
struct OnApache(OnceLock<Option<Apache>>);

impl OnApache {
    fn get(&self) -> Option<&Apache> {
        self.0.get_or_init(Apache::start).as_ref()
    }
}

#[async_trait]
impl Harness for OnApache {
    async fn storage(&self) -> Storage {
        self.get().map_or_else(Memory::storage, |apache| apache.storage().1)
    }

    fn rejects_key(&self, key: &Key) -> bool {
        is_too_long(key)
    }

    fn is_tree(&self) -> bool {
        true
    }

    fn keeps_bodies_in_memory(&self) -> bool {
        self.get().is_none()
    }

    fn skip_reason(&self, case: &str) -> Option<&str> {
        if self.get().is_none() {
            return Some("Apache is not installed");
        }
        skip_reason_of(APACHE, case)
    }
}

storage_testkit::conformance!(nginx_dav, Writable::default());
storage_testkit::conformance!(apache_dav, OnApache::default());
storage_testkit::conformance!(nginx_read_only, ReadOnly::new(false));
storage_testkit::conformance!(nginx_dav_read_only, ReadOnly::new(true));

/// As [`Writable`], with a layer that removes the metadata of saves.
struct WithoutHeaders(Writable);

#[async_trait]
impl Harness for WithoutHeaders {
    async fn storage(&self) -> Storage {
        self.0.storage().await.layer(RemoveMetadata)
    }

    fn is_tree(&self) -> bool {
        true
    }
}

/// A layer that removes the metadata of saves.
#[derive(Debug)]
struct RemoveMetadata(Arc<dyn Driver>);

#[async_trait]
impl Driver for RemoveMetadata {
    async fn save(&self, key: &Key, payload: Payload, options: &SaveOptions) -> Result<ObjectMeta> {
        let mut bare = options.clone();
        bare.metadata = Metadata::new();
        self.0.save(key, payload, &bare).await
    }

    forward! {
        to self.0: info, innermost, open, stat, exists, delete, delete_many, delete_folder_marker,
        list, copy, rename, url, link_verifier, multipart
    }
}

#[test]
fn cases_that_save_with_metadata_pass_without_it() {
    if Writable::default().0.get().is_none() {
        return;
    }
    for name in CASES_WITH_HEADERS {
        let verdict = case(name).run(WithoutHeaders(Writable::default()));
        assert_eq!(verdict, Outcome::Passed, "{name}");
    }
}

#[test]
fn all_excused_cases_exist() {
    let known: Vec<_> = storage_testkit::cases().iter().map(storage_testkit::Case::name).collect();
    let excused = NGINX.iter().chain(APACHE).copied().flatten().flat_map(|fault| fault.cases);
    let unknown: Vec<_> = excused.filter(|case| !known.contains(case)).collect();
    assert!(unknown.is_empty(), "no case has these names: {unknown:?}");
}
