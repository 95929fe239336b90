//! A server that the environment names: any that speaks S3.
//!
//! | variable | what it says |
//! |---|---|
//! | `STORAGE_S3_TEST_ENDPOINT` | where it is: `http://127.0.0.1:7480` |
//! | `STORAGE_S3_TEST_BUCKET` | a bucket that is there; the tests write below prefixes of their own, and tidy up |
//! | `STORAGE_S3_TEST_QUIRKS` | the option `quirks`, if it needs one |
//! | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` | as everywhere |

use std::env;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;
use storage_core::Storage;
use storage_s3::{Quirks, S3Builder};
use url::Url;

const ENDPOINT: &str = "STORAGE_S3_TEST_ENDPOINT";

/// What the environment says of the server.
pub(crate) struct External {
    endpoint: Url,
    bucket: String,
    quirks: String,
    access_key_id: String,
    secret_access_key: String,
    region: String,
}

impl External {
    /// The server, if the environment names one; else a line says that nothing is tried on one.
    ///
    /// # Panics
    /// If the environment says but half of it, since nobody should take that for a server that
    /// passed.
    pub(crate) fn get() -> Option<&'static Self> {
        static EXTERNAL: OnceLock<Option<External>> = OnceLock::new();
        let external = EXTERNAL.get_or_init(|| {
            let external = Self::from_environment();
            if external.is_none() {
                super::skip("a server beside this process", &format!("{ENDPOINT} is not set"));
            }
            external
        });
        external.as_ref()
    }

    fn from_environment() -> Option<Self> {
        let endpoint = set(ENDPOINT)?.parse().unwrap();
        let needed =
            |name| set(name).unwrap_or_else(|| panic!("{ENDPOINT} is set, but {name} is not"));
        Some(Self {
            endpoint,
            bucket: needed("STORAGE_S3_TEST_BUCKET"),
            quirks: set("STORAGE_S3_TEST_QUIRKS").unwrap_or_else(|| "auto".to_owned()),
            access_key_id: needed("AWS_ACCESS_KEY_ID"),
            secret_access_key: needed("AWS_SECRET_ACCESS_KEY"),
            region: needed("AWS_REGION"),
        })
    }

    /// The name of the quirks, by which its faults are known.
    pub(crate) fn quirks(&self) -> &str {
        &self.quirks
    }

    pub(crate) fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    /// How to reach it.
    pub(crate) fn builder(&self) -> S3Builder {
        let quirks = IntoDeserializer::<Error>::into_deserializer(self.quirks.as_str());
        S3Builder::new(&self.bucket)
            .endpoint(self.endpoint.clone())
            .region(&self.region)
            .access_key_id(&self.access_key_id)
            .secret_access_key(&self.secret_access_key)
            .path_style(true)
            .allow_http(true)
            .quirks(Quirks::deserialize(quirks).unwrap())
    }
}

/// Returns whether the profile of a driver has canned ACLs. Prints a note about skipped tests if it
/// has none.
pub(crate) fn has_acls(builder: &S3Builder) -> bool {
    match builder.clone().acl("private").build() {
        Ok(_) => true,
        Err(error) => {
            super::skip("canned ACLs", error.message());
            false
        }
    }
}

/// Returns whether the profile of a storage has signed forms. Prints a note about skipped tests if
/// it has none.
pub(crate) fn has_forms(storage: &Storage) -> bool {
    let has_forms = storage.info().capabilities.signed_post;
    if !has_forms {
        super::skip("signed forms", "the profile of the server has none");
    }
    has_forms
}

/// Returns whether the profile of a storage heeds the conditions of saves. Prints a note about
/// skipped tests if not.
pub(crate) fn supports_conditions(storage: &Storage) -> bool {
    let capabilities = storage.info().capabilities;
    let heeds = capabilities.create_new && capabilities.save_if_match;
    if !heeds {
        super::skip("conditional saves", "the profile of the server has none");
    }
    heeds
}

fn set(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A part of the bucket that is a test's own. What is in it ends with this.
pub(crate) struct TestPrefix {
    storage: Storage,
}

impl TestPrefix {
    /// How long the prefix is that keys get, with its slash: the same for all.
    pub(crate) const PREFIX_LEN: usize = "anystorage-0123456789abcdef-01234567-01234567/".len();

    /// A prefix that nobody has used, in this process or another.
    pub(crate) fn of(storage: &Storage) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let process = std::process::id();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("anystorage-{now:016x}-{process:08x}-{number:08x}");
        assert_eq!(prefix.len() + 1, Self::PREFIX_LEN);
        Self { storage: storage.prefixed(prefix).unwrap() }
    }

    pub(crate) fn storage(&self) -> Storage {
        self.storage.clone()
    }
}

impl Drop for TestPrefix {
    /// On a thread of its own, since tests end within runtimes. A server that does not delete has
    /// been told of by other means.
    fn drop(&mut self) {
        let storage = self.storage.clone();
        let tidied = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut deleted = storage.delete_many(storage.list("").entries());
                while deleted.next().await.is_some() {}
            });
        });
        let _ = tidied.join();
    }
}
