//! [`Server`]: a server that other clients can use, and [`Bucket`], a bucket of one test.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;
use serde_json::{Value, json};
use storage_core::Storage;
use storage_s3::{Quirks, S3Builder};
use url::Url;

use super::boto::Boto;
use super::moto::Moto;
use crate::common::external::External;

/// A server, with the variables that name it.
pub(crate) struct Server {
    variables: BTreeMap<String, String>,
    tools: &'static Path,
    boto: Mutex<Boto>,
    /// Set for a server that this process started.
    moto: Option<Moto>,
}

/// A bucket for one test. Dropping it deletes all objects.
pub(crate) struct Bucket {
    server: &'static Server,
    name: String,
}

impl Server {
    /// Returns the server that the environment names.
    pub(crate) fn external() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        let start = || {
            let tools = super::directory()?;
            External::get()?;
            let named = |(name, _): &(String, String)| {
                name.starts_with("AWS_") || name.starts_with("STORAGE_S3_TEST_")
            };
            Some(Self::new(tools, std::env::vars().filter(named).collect(), None))
        };
        SERVER.get_or_init(start).as_ref()
    }

    /// Returns moto.
    pub(crate) fn moto() -> Option<&'static Self> {
        static SERVER: OnceLock<Option<Server>> = OnceLock::new();
        let start = || {
            let tools = super::directory()?;
            let (moto, variables) = Moto::start(tools);
            Some(Self::new(tools, variables, Some(moto)))
        };
        SERVER.get_or_init(start).as_ref()
    }

    fn new(tools: &'static Path, variables: BTreeMap<String, String>, moto: Option<Moto>) -> Self {
        let boto = Boto::start(tools, &variables);
        Self { variables, tools, boto: Mutex::new(boto), moto }
    }

    fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    pub(crate) fn endpoint(&self) -> Url {
        self.variable("STORAGE_S3_TEST_ENDPOINT").parse().unwrap()
    }

    pub(crate) fn is_moto(&self) -> bool {
        self.moto.is_some()
    }

    fn quirks(&self) -> &str {
        self.variables.get("STORAGE_S3_TEST_QUIRKS").map_or("auto", String::as_str)
    }

    /// Returns a builder of this driver for a bucket of the server.
    pub(crate) fn builder(&self, bucket: &str) -> S3Builder {
        let quirks = IntoDeserializer::<Error>::into_deserializer(self.quirks());
        S3Builder::new(bucket)
            .endpoint(self.endpoint())
            .region(self.variable("AWS_REGION"))
            .access_key_id(self.variable("AWS_ACCESS_KEY_ID"))
            .secret_access_key(self.variable("AWS_SECRET_ACCESS_KEY"))
            .allow_http(true)
            .quirks(Quirks::deserialize(quirks).unwrap())
    }

    /// Returns another client's program, configured for the server.
    pub(crate) fn client(&self, program: &str) -> std::process::Command {
        super::aws::client(&self.tools.join(program), &self.variables)
    }

    /// Creates a bucket that no other test uses.
    pub(crate) fn bucket(&'static self) -> Bucket {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        let name = format!("anystorage-{now:016x}-{:x}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let bucket = Bucket { server: self, name };
        bucket.boto("create_bucket", json!({}));
        bucket
    }
}

impl Bucket {
    pub(crate) fn server(&self) -> &'static Server {
        self.server
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns a builder of this driver for the bucket.
    pub(crate) fn builder(&self) -> S3Builder {
        self.server.builder(&self.name)
    }

    /// Returns the bucket as a storage of this driver.
    pub(crate) fn storage(&self) -> Storage {
        Storage::new(self.builder().build().unwrap())
    }

    /// Calls a method of boto3's client on the bucket and returns the result.
    ///
    /// # Panics
    /// If the method fails.
    pub(crate) fn boto(&self, method: &str, arguments: Value) -> Value {
        match self.try_boto(method, arguments) {
            Ok(response) => response,
            Err(code) => panic!("{method} of boto3: {code}"),
        }
    }

    /// Calls a method that may fail with S3's error code.
    pub(crate) fn try_boto(&self, method: &str, mut arguments: Value) -> Result<Value, String> {
        arguments["Bucket"] = json!(self.name);
        self.server.boto.lock().unwrap_or_else(PoisonError::into_inner).call(method, &arguments)
    }

    /// Saves an object with boto3.
    pub(crate) fn put(&self, key: &str, body: &[u8]) {
        self.boto("put_object", json!({ "Key": key, "Body": super::boto::body(body) }));
    }
}

impl Drop for Bucket {
    /// Other tests cover servers that do not delete. A server of this process ends anyway.
    fn drop(&mut self) {
        if !self.server.is_moto() {
            let _ = self.try_boto("remove", json!({}));
        }
    }
}
