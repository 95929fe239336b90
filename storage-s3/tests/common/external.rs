//! A server that the environment names.
//!
//! | variable | content |
//! |---|---|
//! | `STORAGE_S3_TEST_ENDPOINT` | the URL: `http://127.0.0.1:7480` |
//! | `STORAGE_S3_TEST_BUCKET` | an existing bucket. The tests write below prefixes of their own and delete what they write |
//! | `STORAGE_S3_TEST_QUIRKS` | the option `quirks`, if the service needs one |
//! | `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION` | as for the AWS tools |

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

/// The server of the environment.
pub(crate) struct External {
    endpoint: Url,
    bucket: String,
    quirks: String,
    access_key_id: String,
    secret_access_key: String,
    region: String,
}

impl External {
    /// Returns the server if the environment names one. Otherwise prints that the tests are
    /// skipped.
    ///
    /// # Panics
    /// If some of the variables are missing, so that an incomplete environment does not count as a
    /// passed server.
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

    /// Returns the name of the profile, which selects the known failures.
    pub(crate) fn quirks(&self) -> &str {
        &self.quirks
    }

    pub(crate) fn secret_access_key(&self) -> &str {
        &self.secret_access_key
    }

    /// Returns the keys in the form of curl's option `--user`.
    pub(crate) fn curl_user(&self) -> String {
        format!("{}:{}", self.access_key_id, self.secret_access_key)
    }

    pub(crate) fn url_of_bucket(&self, name: &str) -> String {
        format!("{}/{name}", self.endpoint.as_str().trim_end_matches('/'))
    }

    /// Returns a builder for drivers of the server.
    pub(crate) fn builder(&self) -> S3Builder {
        self.builder_of_bucket(&self.bucket)
    }

    /// Returns a builder for drivers of another bucket of the server.
    pub(crate) fn builder_of_bucket(&self, name: &str) -> S3Builder {
        let quirks = IntoDeserializer::<Error>::into_deserializer(self.quirks.as_str());
        S3Builder::new(name)
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

/// Returns whether the profile of a storage supports conditional saves. Prints a note about skipped
/// tests if it does not.
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

/// A prefix of the bucket for one test. Dropping it deletes all objects below it.
pub(crate) struct TestPrefix {
    storage: Storage,
}

impl TestPrefix {
    /// The length of the prefix with its slash.
    pub(crate) const PREFIX_LEN: usize = "anystorage-0123456789abcdef-01234567-01234567/".len();

    /// Returns a prefix that no other test uses.
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
    /// Runs on a thread of its own, because tests end within a runtime. Other tests cover servers
    /// that do not delete.
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
